use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
    mpsc,
};

use arrow::datatypes::Schema;

use super::*;
use crate::{
    batch::{Budget, Outcome, Tally},
    config::RejectLimit,
    cursor::Interval,
    runtime::supervise::State,
    sink::{Covered, Pending, Sink},
    source::{Permit, kafka::Lag},
};

fn partition() -> Partition {
    Partition::new("orders", 0)
}

/// What a fake sink has been told, for the test to look at.
#[derive(Default)]
struct Told {
    written: Mutex<Vec<Interval>>,
    committed: Mutex<Vec<Interval>>,
    broken: AtomicBool,
    stuck: AtomicBool,
    /// A write returns when more than what is written has been handed over.
    hurried: AtomicBool,
    handed: AtomicUsize,
    /// Stuck in what follows a commit; and whether it is there.
    untidy: AtomicBool,
    tidying: AtomicBool,
    /// Commits when it is told to, and not by itself.
    patient: AtomicBool,
    /// Does not commit.
    refusing: AtomicBool,
    /// Stuck in a commit; and whether it is there.
    slow: AtomicBool,
    committing: AtomicBool,
    released: Mutex<Vec<Partition>>,
}

impl Told {
    /// Waits until the batch that ends behind `number` has been written.
    #[track_caller]
    fn has_written(&self, number: i64) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.written.lock().unwrap().last().is_none_or(|interval| interval.next <= number) {
            assert!(Instant::now() < deadline, "batch {number} is not written");
            std::thread::yield_now();
        }
    }
}

struct Fake {
    kind: &'static str,
    cuts: Vec<i64>,
    told: Arc<Told>,
}

impl Sink for Fake {
    fn kind(&self) -> &'static str {
        self.kind
    }
    fn assign(&mut self, partitions: &[Partition]) -> Result<Cursors> {
        Ok(partitions.iter().map(|partition| (partition.clone(), self.cuts.clone())).collect())
    }
    fn release(&mut self, partitions: &[Partition]) {
        self.told.released.lock().unwrap().extend_from_slice(partitions);
    }
    fn write(&mut self, outcome: &Outcome) -> Result<()> {
        while self.told.stuck.load(Ordering::SeqCst) {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        if self.told.broken.load(Ordering::SeqCst) {
            return Err(Error::unavailable("disk full"));
        }
        let mut written = self.told.written.lock().unwrap();
        written.extend(outcome.covers.clone());
        while self.told.hurried.load(Ordering::SeqCst) && self.told.handed.load(Ordering::SeqCst) <= written.len() {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        Ok(())
    }
    fn commit_in(&self, _: &Pending) -> Duration {
        if self.told.patient.load(Ordering::SeqCst) { Duration::from_secs(3600) } else { Duration::ZERO }
    }
    fn commit(&mut self, covered: &Covered) -> Result<()> {
        if self.told.refusing.load(Ordering::SeqCst) {
            return Err(Error::unavailable("no answer"));
        }
        self.told.committing.store(true, Ordering::SeqCst);
        while self.told.slow.load(Ordering::SeqCst) {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        self.told.committed.lock().unwrap().extend(covered.intervals.clone());
        Ok(())
    }
    fn tidy(&mut self) {
        self.told.tidying.store(true, Ordering::SeqCst);
        while self.told.untidy.load(Ordering::SeqCst) {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
    fn abort(&mut self) {}
}

/// A test that fails must end all the same: whoever drops an outlet waits for its thread.
struct Released(Arc<Told>);

impl Drop for Released {
    fn drop(&mut self) {
        for held in [&self.0.stuck, &self.0.hurried, &self.0.untidy, &self.0.slow] {
            held.store(false, Ordering::SeqCst);
        }
    }
}

/// What an outlet may hold.
const SHARE: usize = 20 << 20;

fn place(kind: &'static str, cuts: &[i64], permit: &Permit) -> (Place, Arc<Told>) {
    place_of(kind, cuts, permit, 2)
}

/// `depth` batches may wait for it.
fn place_of(kind: &'static str, cuts: &[i64], permit: &Permit, depth: usize) -> (Place, Arc<Told>) {
    counted(kind, cuts, permit, depth, Metrics::new())
}

fn counted(
    kind: &'static str,
    cuts: &[i64],
    permit: &Permit,
    depth: usize,
    metrics: Arc<Metrics>,
) -> (Place, Arc<Told>) {
    let told = Arc::new(Told::default());
    let watch = outlet::Watch { pipeline: "test".into(), metrics, committed: Arc::default(), values: Arc::default() };
    let fake = Fake { kind, cuts: cuts.to_vec(), told: told.clone() };
    let outlet = Outlet::start(Box::new(fake), depth, SHARE, permit.clone(), watch).unwrap();
    let asked = told.clone();
    let probe = probe::Probe::new(move || match asked.broken.load(Ordering::SeqCst) {
        true => Err(Error::unavailable("disk full")),
        false => Ok(()),
    });
    (Place { outlet, behind: None, probe, next_probe: Instant::now(), pause: Duration::from_millis(1) }, told)
}

fn line(places: Vec<Place>, patience: Duration) -> Line {
    Line {
        pipeline: "test".into(),
        schema: Arc::new(Schema::empty()),
        sources: Vec::new(),
        dedup: None,
        breaker: breaker::Breaker::new(RejectLimit { limit: 0.5, over: 10 }),
        outlets: places,
        metrics: Metrics::new(),
        statuses: Arc::default(),
        patience,
    }
}

fn outcome(from: i64, next: i64) -> Outcome {
    let options = arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(0));
    let rows = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options).unwrap();
    Outcome {
        source: "test".into(),
        covers: vec![Interval { partition: partition(), from, next }],
        rows,
        origins: Vec::new(),
        rejects: Vec::new(),
        tally: Tally { input: (next - from) as u64, duplicate: (next - from) as u64, ..Tally::default() },
        flags: BTreeMap::new(),
        held: Some(Budget::new(1000).hold(10)),
    }
}

fn intervals(all: &Mutex<Vec<Interval>>) -> Vec<(i64, i64)> {
    all.lock().unwrap().iter().map(|interval| (interval.from, interval.next)).collect()
}

#[test]
fn each_sink_drops_what_lies_below_its_own_cursor() {
    let permit = Permit::default();
    let ((fast, fast_told), (slow, slow_told)) = (place("kafka", &[20], &permit), place("archive", &[10], &permit));
    let mut line = line(vec![fast, slow], PATIENCE);
    let cursors = line.take_over(&[partition()]).unwrap();
    assert_eq!(cursors[&partition()], [10, 20], "the source starts at 10 and cuts at 20");
    line.hand_out(outcome(10, 20)).unwrap();
    line.hand_out(outcome(20, 25)).unwrap();
    line.let_go(&[]).unwrap();
    assert_eq!(intervals(&fast_told.written), [(20, 25)]);
    assert_eq!(intervals(&slow_told.written), [(10, 20), (20, 25)]);
    let whole = intervals(&slow_told.committed);
    assert_eq!((whole.first().unwrap().0, whole.last().unwrap().1), (10, 25));
}

/// What the archive alone remembers would look, at the next start, as if the broker had forgotten.
#[test]
fn where_a_topic_begins_the_kafka_sink_remembers_first() {
    let permit = Permit::default();
    let ((archive, archived), (kafka, refused)) = (place("archive", &[10], &permit), place("kafka", &[10], &permit));
    archived.patient.store(true, Ordering::SeqCst);
    refused.patient.store(true, Ordering::SeqCst);
    refused.refusing.store(true, Ordering::SeqCst);
    let mut line = line(vec![archive, kafka], PATIENCE);
    line.take_over(&[partition()]).unwrap();
    line.hand_out(outcome(10, 10)).unwrap();
    assert_eq!(line.let_go(&[]).unwrap_err().kind, ErrorKind::Unavailable);
    assert!(intervals(&archived.committed).is_empty());
}

#[test]
fn a_sink_that_has_never_taken_anything_is_told_apart() {
    let permit = Permit::default();
    let ((old, _), (new, _)) = (place("kafka", &[20], &permit), place("archive", &[], &permit));
    let cursors = line(vec![old, new], PATIENCE).take_over(&[partition()]).unwrap();
    assert_eq!(cursors[&partition()], [NEVER, 20]);
}

#[test]
fn t23_batches_that_are_not_contiguous_are_our_mistake() {
    let permit = Permit::default();
    let (only, told) = place("kafka", &[10], &permit);
    let mut line = line(vec![only], PATIENCE);
    line.take_over(&[partition()]).unwrap();
    line.hand_out(outcome(12, 15)).unwrap();
    let error = line.let_go(&[]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Bug);
    assert!(error.to_string().contains("cursor at 10"), "{error}");
    assert!(intervals(&told.committed).is_empty());
}

#[test]
fn t15_after_the_permit_is_withdrawn_nothing_is_committed() {
    let permit = Permit::default();
    let (only, told) = place("kafka", &[10], &permit);
    let mut line = line(vec![only], PATIENCE);
    line.take_over(&[partition()]).unwrap();
    permit.kill();
    line.hand_out(outcome(10, 15)).unwrap();
    assert_eq!(line.let_go(&[]).unwrap_err().kind, ErrorKind::Evicted, "it was us who withdrew it");
    assert!(intervals(&told.committed).is_empty());
}

#[test]
fn the_line_ends_when_the_source_is_finished() {
    let permit = Permit::default();
    let (only, _) = place("kafka", &[0], &permit);
    let (feed, fed) = mpsc::sync_channel(4);
    let (reply, answer) = mpsc::sync_channel(1);
    feed.send(Feed::Finish(reply)).unwrap();
    assert_eq!(line(vec![only], PATIENCE).run(&fed).unwrap(), End::Finished);
    answer.recv().unwrap().unwrap();
}

/// Else a bounded run would end with "done" while a sink lacks rows.
#[test]
fn a_line_that_ends_while_a_sink_is_behind_says_so() {
    let permit = Permit::default();
    let ((well, _), (ill, ill_told)) = (place("kafka", &[0], &permit), place("archive", &[0], &permit));
    let mut line = line(vec![well, ill], PATIENCE);
    line.take_over(&[partition()]).unwrap();
    ill_told.broken.store(true, Ordering::SeqCst);
    let deadline = Instant::now() + Duration::from_secs(20);
    for number in 0.. {
        line.hand_out(outcome(number, number + 1)).unwrap();
        line.look_after_sinks().unwrap();
        if line.outlets[1].behind.is_some() {
            break;
        }
        assert!(Instant::now() < deadline, "nobody noticed");
    }
    let (feed, fed) = mpsc::sync_channel(4);
    let (reply, answer) = mpsc::sync_channel(1);
    feed.send(Feed::Finish(reply)).unwrap();
    assert_eq!(line.run(&fed).unwrap(), End::Lacking("archive", "disk full".to_owned()));
    answer.recv().unwrap().unwrap();
}

mod behind;
mod handover;
mod outlets;
mod slots;

mod breaking {
    use super::{super::breaker::Breaker, *};

    fn share(rejected: u64, rows: u64) -> Outcome {
        let tally = Tally { input: rows, rejected, written: rows - rejected, duplicate: 0 };
        Outcome { tally, ..outcome(0, 1) }
    }

    #[test]
    fn t13_a_flood_of_rejects_stops_the_pipeline() {
        let mut breaker = Breaker::new(RejectLimit { limit: 0.5, over: 100 });
        breaker.observe(&share(40, 99)).unwrap();
        breaker.observe(&share(5, 50)).unwrap();
        let error = (0..10).find_map(|_| breaker.observe(&share(100, 100)).err()).expect("it must stop");
        assert_eq!(error.kind, ErrorKind::TooManyRejects);
        assert!(error.to_string().contains("source test"), "{error}");
    }

    #[test]
    fn a_few_bad_rows_at_the_start_do_not() {
        let mut breaker = Breaker::new(RejectLimit { limit: 0.5, over: 100 });
        breaker.observe(&share(3, 3)).unwrap();
        breaker.observe(&share(0, 1000)).unwrap();
    }

    #[test]
    fn a_share_that_is_the_limit_is_within_it() {
        let mut breaker = Breaker::new(RejectLimit { limit: 0.5, over: 100 });
        breaker.observe(&share(50, 100)).unwrap();
        assert!(breaker.observe(&share(1, 1)).is_err());
    }

    #[test]
    fn a_flood_is_not_hidden_by_a_long_good_time_before_it() {
        let mut breaker = Breaker::new(RejectLimit { limit: 0.5, over: 100 });
        (0..100).for_each(|_| breaker.observe(&share(0, 100)).unwrap());
        assert!(
            (0..3).any(|_| breaker.observe(&share(100, 100)).is_err()),
            "300 bad rows in a row, the limit is over 100"
        );
    }

    #[test]
    fn one_bad_source_is_not_hidden_by_good_ones() {
        let mut breaker = Breaker::new(RejectLimit { limit: 0.5, over: 100 });
        breaker.observe(&Outcome { source: "good".into(), ..share(0, 100_000) }).unwrap();
        assert!(breaker.observe(&share(90, 100)).is_err());
    }
}

/// T35: the clock is an hour behind the one that stamped the messages.
#[test]
fn a_lag_is_as_old_as_the_newest_message_and_never_in_the_future() {
    let lag = |messages, newest_ms| build::lag_seconds(Lag { messages, newest_ms }, 10_000_000);
    assert_eq!(lag(1, Some(9_997_500)), 2.5);
    assert_eq!(lag(1, Some(13_600_000)), 0.0);
    assert_eq!(lag(0, Some(5_000)), 0.0, "nothing is left to read");
    assert_eq!(lag(7, None), 0.0, "nobody knows");
}

/// Two processes would tell it, each another one.
#[test]
fn the_lag_of_a_partition_that_went_is_told_no_more() {
    let metrics = Metrics::new();
    let tell = build::tell_lag("test".into(), metrics.clone(), crate::clock::Clock::system());
    let told =
        || metrics.text().lines().filter(|line| line.starts_with("huiju_lag_")).map(str::to_owned).collect::<Vec<_>>();
    tell(&partition(), Some(Lag { messages: 7, newest_ms: None }));
    assert!(told().iter().any(|line| line.contains("topic=\"orders\"") && line.ends_with(" 7")), "{:?}", told());
    tell(&partition(), None);
    assert!(told().is_empty(), "{:?}", told());
}
