//! When an outlet commits while batches keep coming, and what it holds meanwhile.

use super::*;
use crate::batch::{Fault, Reject};

const LIMIT: Duration = Duration::from_secs(20);

fn batch(number: i64, bytes: usize) -> Arc<Outcome> {
    Arc::new(Outcome { held: Some(Budget::new(1).hold(bytes)), ..outcome(number, number + 1) })
}

/// A sink that has taken the partition over.
fn ready(depth: usize) -> (Place, Arc<Told>) {
    let (place, told) = place_of("kafka", &[0], &Permit::default(), depth);
    place.outlet.assign(&[partition()]).unwrap().recv().unwrap().unwrap();
    (place, told)
}

fn commit_all(place: &Place) {
    place.outlet.release(&[]).unwrap().recv().unwrap().unwrap();
}

/// Returns when the sink is there.
fn until(there: &AtomicBool) {
    let begun = Instant::now();
    while !there.load(Ordering::SeqCst) {
        assert!(begun.elapsed() < LIMIT, "nothing is committed");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Withdraws the permit, and tells when that is done.
fn kill(permit: Permit) -> mpsc::Receiver<()> {
    let (killed, answer) = mpsc::channel();
    std::thread::spawn(move || {
        permit.kill();
        let _ = killed.send(());
    });
    answer
}

/// However fast batches come: a transaction must not grow without bound.
#[test]
fn a_transaction_holds_four_megabytes_and_not_all_that_waits() {
    let count = 18;
    let (place, told) = ready(count);
    let _released = Released(told.clone());
    // All of them are there before the first is taken.
    told.stuck.store(true, Ordering::SeqCst);
    for number in 0..count {
        assert!(place.outlet.offer(&batch(number as i64, 1 << 20)).unwrap());
    }
    told.stuck.store(false, Ordering::SeqCst);
    commit_all(&place);
    let commits = intervals(&told.committed);
    assert!(commits.iter().all(|(from, next)| next - from <= 4), "{commits:?}");
    assert_eq!((commits[0].0, commits.last().unwrap().1), (0, count as i64));
}

/// Large batches must not fill up what all may hold together: nothing more would be read, and nobody would notice.
#[test]
fn a_sink_that_hangs_is_full_with_its_share_of_bytes_too() {
    let (place, told) = ready(10);
    let _released = Released(told.clone());
    told.stuck.store(true, Ordering::SeqCst);
    let offered: Vec<bool> = (0..4).map(|number| place.outlet.offer(&batch(number, SHARE * 2 / 5)).unwrap()).collect();
    assert_eq!(offered, [true, true, false, false]);
    told.stuck.store(false, Ordering::SeqCst);
    commit_all(&place);
    assert!(place.outlet.offer(&batch(2, SHARE * 2)).unwrap(), "one is always taken");
    commit_all(&place);
    assert_eq!(intervals(&told.committed).last().unwrap().1, 3);
}

/// However small batches are: when they keep coming, what was written must become visible all the same.
#[test]
fn a_commit_is_not_put_off_for_as_long_as_batches_come() {
    let (place, told) = ready(2);
    let _released = Released(told.clone());
    // A write returns when the next batch waits already.
    told.hurried.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    let mut number = 0;
    while intervals(&told.committed).is_empty() {
        assert!(begun.elapsed() < LIMIT, "{number} batches have come, and nothing is committed");
        if place.outlet.offer(&batch(number, 10)).unwrap() {
            number += 1;
            told.handed.fetch_add(1, Ordering::SeqCst);
        } else {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
    told.hurried.store(false, Ordering::SeqCst);
    commit_all(&place);
    assert_eq!(intervals(&told.committed).last().unwrap().1, number);
}

/// A checkpoint of a large table takes seconds; a source that has lost its partitions must not wait for it.
#[test]
fn what_follows_a_commit_does_not_keep_the_permit() {
    let permit = Permit::default();
    let (place, told) = place("archive", &[0], &permit);
    let _released = Released(told.clone());
    place.outlet.assign(&[partition()]).unwrap().recv().unwrap().unwrap();
    told.untidy.store(true, Ordering::SeqCst);
    assert!(place.outlet.offer(&batch(0, 10)).unwrap());
    until(&told.tidying);
    let answer = kill(permit).recv_timeout(LIMIT / 2);
    told.untidy.store(false, Ordering::SeqCst);
    assert!(answer.is_ok(), "whoever withdraws the permit waits for what follows the commit");
    assert_eq!(intervals(&told.committed), [(0, 1)]);
}

/// Nor must a source that lets partitions go in peace: its time for that is short.
#[test]
fn what_follows_a_commit_keeps_no_partitions() {
    let permit = Permit::default();
    let (place, told) = place("archive", &[0], &permit);
    let _released = Released(told.clone());
    place.outlet.assign(&[partition()]).unwrap().recv().unwrap().unwrap();
    told.untidy.store(true, Ordering::SeqCst);
    told.patient.store(true, Ordering::SeqCst);
    assert!(place.outlet.offer(&batch(0, 10)).unwrap());
    let let_go = place.outlet.release(&[partition()]).unwrap().recv_timeout(LIMIT / 2);
    assert!(
        let_go.is_ok_and(|done| done.is_ok()),
        "whoever wants the partitions back waits for what follows the commit"
    );
    assert_eq!(intervals(&told.committed), [(0, 1)]);
    until(&told.tidying);
}

/// Who withdraws the permit gives the partitions away: what is under way must have come to its end.
#[test]
fn t15_who_withdraws_the_permit_waits_for_the_commit_under_way() {
    let permit = Permit::default();
    let (place, told) = place("archive", &[0], &permit);
    let _released = Released(told.clone());
    place.outlet.assign(&[partition()]).unwrap().recv().unwrap().unwrap();
    told.slow.store(true, Ordering::SeqCst);
    assert!(place.outlet.offer(&batch(0, 10)).unwrap());
    until(&told.committing);
    let killed = kill(permit);
    assert!(killed.recv_timeout(Duration::from_millis(300)).is_err(), "a commit is under way");
    told.slow.store(false, Ordering::SeqCst);
    killed.recv_timeout(LIMIT).unwrap();
    assert_eq!(intervals(&told.committed), [(0, 1)]);
}

/// A sink may throw away what is half-way when it takes partitions over.
#[test]
fn what_was_written_is_committed_before_partitions_are_taken_over() {
    let (place, told) = ready(2);
    told.patient.store(true, Ordering::SeqCst);
    assert!(place.outlet.offer(&batch(0, 10)).unwrap());
    place.outlet.assign(&[Partition::new("orders", 1)]).unwrap().recv().unwrap().unwrap();
    assert_eq!(intervals(&told.committed), [(0, 1)]);
}

/// What is committed is not committed again: a batch that begins below the cursor and does not end there is our mistake.
#[test]
fn t15_a_batch_across_the_cursor_is_refused() {
    let (only, told) = place("kafka", &[10], &Permit::default());
    let mut line = line(vec![only], PATIENCE);
    line.take_over(&[partition()]).unwrap();
    line.hand_out(outcome(5, 10)).unwrap();
    line.let_go(&[]).expect("what lies below is dropped");
    line.hand_out(outcome(5, 15)).unwrap();
    let error = line.let_go(&[]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Bug);
    assert!(error.to_string().contains("cursor at 10 and got orders/0 [5, 15)"), "{error}");
    assert!(intervals(&told.written).is_empty() && intervals(&told.committed).is_empty());
}

/// Nor one that would have to be taken for one of its partitions and dropped for another.
#[test]
fn t15_a_batch_on_both_sides_of_the_cursor_is_refused() {
    let (only, told) = place("kafka", &[10], &Permit::default());
    let mut line = line(vec![only], PATIENCE);
    let other = Partition::new("orders", 1);
    line.take_over(&[partition(), other.clone()]).unwrap();
    let mut both = outcome(5, 10);
    both.covers.push(Interval { partition: other, from: 10, next: 15 });
    line.hand_out(both).unwrap();
    let error = line.let_go(&[]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Bug);
    assert!(error.to_string().contains("both sides of the kafka cursor"), "{error}");
    assert!(intervals(&told.written).is_empty() && intervals(&told.committed).is_empty());
}

/// Its error is told, and nobody waits for room that nobody will make.
#[test]
fn a_sink_that_has_died_is_not_full() {
    let (place, told) = ready(10);
    let _released = Released(told.clone());
    told.stuck.store(true, Ordering::SeqCst);
    for number in 0..2 {
        assert!(place.outlet.offer(&batch(number, SHARE * 2 / 5)).unwrap());
    }
    assert!(!place.outlet.offer(&batch(2, SHARE)).unwrap());
    told.broken.store(true, Ordering::SeqCst);
    told.stuck.store(false, Ordering::SeqCst);
    ended(&place);
    let error = place.outlet.offer(&batch(2, SHARE)).unwrap_err();
    assert!(error.to_string().contains("disk full"), "{error}");
}

/// Returns when the sink's thread has ended.
fn ended(place: &Place) {
    let begun = Instant::now();
    while !place.outlet.ended() {
        assert!(begun.elapsed() < LIMIT, "it does not end");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

#[test]
fn what_is_committed_is_counted_under_its_names() {
    let metrics = Metrics::new();
    let sink = || {
        let (place, told) = counted("kafka", &[0], &Permit::default(), 2, metrics.clone());
        place.outlet.assign(&[partition()]).unwrap().recv().unwrap().unwrap();
        (place, told)
    };
    let up = || metrics.sink_up.with_label_values(&["test", "kafka"]).get();
    let (place, told) = sink();
    let reject = Reject {
        partition: partition(),
        offset: 1,
        row: None,
        timestamp: None,
        key: None,
        message: None,
        payload: None,
        stage: "checks".into(),
        faults: vec![Fault { code: "missing".into(), field: None, reason: String::new(), value: None }],
    };
    let some = Outcome {
        source: "nanchang".into(),
        tally: Tally { input: 6, written: 2, rejected: 1, duplicate: 3 },
        rejects: vec![reject],
        flags: BTreeMap::from([("phone:unreadable".into(), 2)]),
        ..outcome(0, 6)
    };
    assert!(place.outlet.offer(&Arc::new(some)).unwrap());
    commit_all(&place);
    let text = metrics.text();
    let lines = text.lines().filter(|line| line.contains("pipeline=\"test\"") && !line.contains("seconds"));
    expect_test::expect![[r#"
        huiju_flagged_rows_total{flag="phone:unreadable",pipeline="test",sink="kafka"} 2
        huiju_rejected_rows_total{code="missing",pipeline="test",sink="kafka",stage="checks"} 1
        huiju_rows_total{outcome="duplicate",pipeline="test",sink="kafka",source="nanchang"} 3
        huiju_rows_total{outcome="rejected",pipeline="test",sink="kafka",source="nanchang"} 1
        huiju_rows_total{outcome="written",pipeline="test",sink="kafka",source="nanchang"} 2
        huiju_sink_up{pipeline="test",sink="kafka"} 1
    "#]]
    .assert_eq(&lines.fold(String::new(), |all, line| all + line + "\n"));

    told.broken.store(true, Ordering::SeqCst);
    assert!(place.outlet.offer(&batch(6, 10)).unwrap());
    ended(&place);
    assert_eq!(up(), 0, "it has died");
    let (mut another, _) = sink();
    assert_eq!(up(), 1);
    another.outlet.close();
    assert_eq!(up(), 0, "it takes no more");
}
