//! What every sink must do, driven through [`Sink`] alone, as `runtime::outlet` drives it.
//!
//! A new sink is one more [`Stand`] here and one more line at the end of this file.

mod rejoin;
pub mod stands;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow::{
    array::{ArrayRef, Int64Array, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
    record_batch::RecordBatch,
};
use huiju::{
    batch::{Fault, Origin, Outcome, Reject, Tally},
    cursor::{Interval, Partition},
    error::{ErrorKind, Result},
    sink::{Covered, Sink},
};
use stands::{ArchiveStand, FilesStand, KafkaStand};

use crate::support::{again, eventually, project::was_killed};

/// A place for a sink, with readers that share nothing with it.
pub trait Stand {
    /// Opens the sink as another process would: with the same settings, on the same place.
    fn open(&self) -> Result<Box<dyn Sink>>;
    /// `order_no` of the rows that a reader sees, in the order of partitions and, in each, of their messages.
    fn rows(&self) -> Vec<String>;
    /// Partition and offset of the rejects that a reader sees, sorted.
    fn rejects(&self) -> Vec<(i32, i64)>;
    /// Files with data that a reader sees; none for what is not made of files.
    fn files(&self) -> usize {
        0
    }
    /// How a process of its own finds this place: [`stands::find`].
    fn address(&self) -> String;
    /// Named points on the way of a commit at which the process may die.
    fn points(&self) -> &'static [&'static str];
}

/// A commit has this many messages; every tenth is rejected.
const STEP: i64 = 20;

/// More than a process needs that opens a sink and commits once.
const LONGEST: Duration = Duration::from_secs(120);

fn partition(number: i32) -> Partition {
    Partition::new("conformance", number)
}

pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("order_no", DataType::Utf8, false),
        Field::new("number", DataType::Int64, true),
    ]))
}

fn is_rejected(offset: i64) -> bool {
    offset % 10 == 3
}

fn name(number: i32, offset: i64) -> String {
    format!("{number}/{offset:06}")
}

/// Rows of the messages `from..next`, but for those that `kept` leaves out, as duplicates are.
fn outcome(number: i32, from: i64, next: i64, kept: impl Fn(i64) -> bool) -> Outcome {
    let good: Vec<i64> = (from..next).filter(|offset| kept(*offset) && !is_rejected(*offset)).collect();
    let bad = (from..next).filter(|offset| kept(*offset) && is_rejected(*offset));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(good.iter().map(|offset| Some(name(number, *offset))).collect::<StringArray>()),
        Arc::new(good.iter().copied().map(Some).collect::<Int64Array>()),
    ];
    let timestamp = |offset: i64| Some(1_780_243_200_000 + offset);
    let fault = || Fault { code: "missing".into(), field: None, reason: "缺少".into(), value: None };
    let reject = |offset: i64| Reject {
        partition: partition(number),
        offset,
        row: Some(0),
        timestamp: timestamp(offset),
        key: Some(name(number, offset).into()),
        message: Some("{}".into()),
        payload: Some("{}".into()),
        stage: "checks".into(),
        faults: vec![fault()],
    };
    let rejects: Vec<Reject> = bad.map(reject).collect();
    let (written, rejected) = (good.len() as u64, rejects.len() as u64);
    let input = (next - from) as u64;
    let origin = |offset: &i64| Origin { cover: 0, row: 0, offset: *offset, timestamp: timestamp(*offset) };
    Outcome {
        source: "nanchang".into(),
        covers: vec![Interval { partition: partition(number), from, next }],
        rows: RecordBatch::try_new(schema(), columns).unwrap(),
        origins: good.iter().map(origin).collect(),
        rejects,
        tally: Tally { input, written, rejected, duplicate: input - written - rejected },
        flags: BTreeMap::new(),
        held: None,
    }
}

/// What a commit after these batches stands for: one interval per partition.
fn covered(outcomes: &[Outcome]) -> Covered {
    let mut covered = Covered::default();
    for outcome in outcomes {
        for interval in &outcome.covers {
            match covered.intervals.iter_mut().find(|known| known.partition == interval.partition) {
                Some(known) => known.next = interval.next,
                None => covered.intervals.push(interval.clone()),
            }
        }
        covered.tally += outcome.tally;
    }
    covered
}

fn write(sink: &mut dyn Sink, outcomes: Vec<Outcome>) -> Result<Covered> {
    outcomes.iter().try_for_each(|outcome| sink.write(outcome))?;
    Ok(covered(&outcomes))
}

/// Writes and commits everything in `from..next` of partition 0.
fn carry(sink: &mut dyn Sink, from: i64, next: i64) -> Result<()> {
    let covered = write(sink, vec![outcome(0, from, next, |_| true)])?;
    sink.commit(&covered)
}

fn cursors(sink: &mut dyn Sink, number: i32) -> Vec<i64> {
    sink.assign(&[partition(number)]).unwrap().remove(&partition(number)).unwrap_or_default()
}

#[track_caller]
fn assert_holds(stand: &dyn Stand, next: &[i64]) {
    let of = |wanted: fn(i64) -> bool| {
        let each = next.iter().enumerate().flat_map(|(number, next)| (0..*next).map(move |at| (number as i32, at)));
        each.filter(move |(_, offset)| wanted(*offset)).collect::<Vec<_>>()
    };
    let rows: Vec<String> =
        of(|offset| !is_rejected(offset)).into_iter().map(|(number, at)| name(number, at)).collect();
    assert_eq!(stand.rows(), rows, "rows");
    assert_eq!(stand.rejects(), of(is_rejected), "rejects");
}

/// A process that another test is starting right now holds our locks until it has become what it will be.
fn open(stand: &dyn Stand) -> Box<dyn Sink> {
    eventually("it can be opened", Duration::from_secs(10), || stand.open().ok())
}

fn nothing_is_visible_before_the_commit_and_everything_after(stand: &dyn Stand) {
    let mut sink = open(stand);
    assert_eq!(cursors(&mut *sink, 0), [0_i64; 0], "a new place has no cursor");
    let covered = write(&mut *sink, vec![outcome(0, 0, STEP, |_| true)]).unwrap();
    assert_holds(stand, &[0]);
    sink.commit(&covered).unwrap();
    assert_holds(stand, &[STEP]);
    carry(&mut *sink, STEP, 2 * STEP).unwrap();
    assert_holds(stand, &[2 * STEP]);
}

fn cursors_survive_reopening_and_say_where_to_go_on(stand: &dyn Stand) {
    let mut sink = open(stand);
    sink.assign(&[partition(0), partition(1)]).unwrap();
    carry(&mut *sink, 0, STEP).unwrap();
    drop(sink);
    let mut sink = open(stand);
    let cursors = sink.assign(&[partition(0), partition(1)]).unwrap();
    assert_eq!(cursors[&partition(0)], [STEP]);
    let other = cursors.get(&partition(1)).cloned().unwrap_or_default();
    assert_eq!(other, [0_i64; 0], "a partition nothing was taken from has none");
    carry(&mut *sink, STEP, 2 * STEP).unwrap();
    assert_holds(stand, &[2 * STEP]);
}

fn a_crash_before_the_commit_leaves_nothing(stand: &dyn Stand) {
    let mut sink = open(stand);
    sink.assign(&[partition(0)]).unwrap();
    carry(&mut *sink, 0, STEP).unwrap();
    write(&mut *sink, vec![outcome(0, STEP, 2 * STEP, |_| true)]).unwrap();
    drop(sink);
    assert_holds(stand, &[STEP]);
    let mut sink = open(stand);
    assert_eq!(cursors(&mut *sink, 0), [STEP]);
    carry(&mut *sink, STEP, 3 * STEP).unwrap();
    assert_holds(stand, &[3 * STEP]);
}

/// Lets a process of its own write and commit what comes next, and die at a point on the way.
fn die_at(stand: &dyn Stand, point: &str) {
    let variables = [("HUIJU_FAULT", point), ("HUIJU_TEST_STAND", &stand.address())];
    let (status, said) = again("conformance::dies_in_the_middle", &variables, LONGEST);
    assert!(was_killed(status), "{point} is not on the way: {status} {said}");
}

/// In a process of its own, which dies at each of the named points; what it left is taken up from its cursors.
fn a_crash_in_the_middle_of_a_commit_is_taken_up(stand: &dyn Stand) {
    let mut next = STEP;
    let mut sink = open(stand);
    sink.assign(&[partition(0)]).unwrap();
    carry(&mut *sink, 0, next).unwrap();
    drop(sink);
    for point in stand.points() {
        die_at(stand, point);
        let mut sink = open(stand);
        let cuts = cursors(&mut *sink, 0);
        assert!(!cuts.is_empty() && cuts.iter().all(|cut| [next, next + STEP].contains(cut)), "{point}: {cuts:?}");
        next = take_up(&mut *sink, &cuts, next + 2 * STEP);
        assert_holds(stand, &[next]);
    }
}

/// Replays from the smallest cursor, as a source would: no batch straddles a cut, each is a commit of its own.
fn take_up(sink: &mut dyn Sink, cuts: &[i64], end: i64) -> i64 {
    let mut from = cuts[0];
    for next in cuts[1..].iter().copied().chain([end]) {
        carry(sink, from, next).unwrap();
        from = next;
    }
    end
}

/// Another sink is far behind: the source starts at its cursor, and its batches are cut at the cursors of both. What lies
/// below its own cursor a sink is not given (`runtime::outlet`), and of the rest, between its two cursors if it has two, it
/// takes what is new for each of its tables; all in one commit.
fn a_replay_from_an_older_cursor_changes_nothing(stand: &dyn Stand) {
    let mut sink = open(stand);
    sink.assign(&[partition(0)]).unwrap();
    carry(&mut *sink, 0, STEP).unwrap();
    drop(sink);
    let mut moved = Vec::new();
    let mut committed = STEP;
    for point in stand.points() {
        die_at(stand, point);
        let mut sink = open(stand);
        let cuts = cursors(&mut *sink, 0);
        assert!(cuts.iter().all(|cut| [committed, committed + STEP].contains(cut)), "{point}: {cuts:?}");
        moved.push(cuts[0] > committed);
        let (older, end) = (committed - STEP, committed + 2 * STEP);
        let mut bounds: Vec<i64> = (older..end).step_by(7).chain(cuts.iter().copied()).chain([end]).collect();
        bounds.sort_unstable();
        bounds.dedup();
        let offered = bounds.windows(2).filter(|bounds| bounds[1] > cuts[0]);
        let batches = offered.map(|bounds| outcome(0, bounds[0], bounds[1], |_| true)).collect();
        let covered = write(&mut *sink, batches).unwrap();
        sink.commit(&covered).unwrap();
        assert_holds(stand, &[end]);
        committed = end;
    }
    assert!(
        moved.contains(&true) && moved.contains(&false),
        "a process dies before its commit, and after it: {moved:?}"
    );
}

fn of_two_that_hold_a_partition_only_one_can_commit(stand: &dyn Stand) {
    let mut first = open(stand);
    first.assign(&[partition(0)]).unwrap();
    carry(&mut *first, 0, STEP).unwrap();
    let mine = write(&mut *first, vec![outcome(0, STEP, 2 * STEP, |_| true)]).unwrap();
    // A sink may refuse to be opened twice, or let the later one win, or whoever commits first.
    let mut second = match stand.open() {
        Ok(second) => second,
        Err(error) => {
            assert_eq!(error.kind, ErrorKind::Fenced, "{error}");
            first.commit(&mine).unwrap();
            assert_holds(stand, &[2 * STEP]);
            return;
        }
    };
    assert_eq!(cursors(&mut *second, 0), [STEP], "what the first has not committed does not count");
    let theirs = write(&mut *second, vec![outcome(0, STEP, 2 * STEP, |_| true)]).unwrap();
    let results = [first.commit(&mine), second.commit(&theirs)];
    let refused: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert_eq!(refused.len(), 1, "one commits, one does not: {results:?}");
    assert_eq!(refused[0].kind, ErrorKind::Fenced, "{}", refused[0]);
    first.abort();
    second.abort();
    drop((first, second));
    assert_holds(stand, &[2 * STEP]);
    assert_eq!(cursors(&mut *open(stand), 0), [2 * STEP]);
}

fn after_a_stop_others_go_on(stand: &dyn Stand) {
    let mut first = open(stand);
    first.assign(&[partition(0), partition(1)]).unwrap();
    let batches = vec![outcome(0, 0, STEP, |_| true), outcome(1, 0, STEP, |_| true)];
    let covered = write(&mut *first, batches).unwrap();
    first.commit(&covered).unwrap();
    first.release(&[partition(0)]);
    // What is left goes on.
    let covered = write(&mut *first, vec![outcome(1, STEP, 2 * STEP, |_| true)]).unwrap();
    first.commit(&covered).unwrap();
    first.release(&[partition(1)]);
    drop(first);
    assert_holds(stand, &[STEP, 2 * STEP]);
    let mut second = open(stand);
    let cursors = second.assign(&[partition(0), partition(1)]).unwrap();
    assert_eq!((&cursors[&partition(0)][..], &cursors[&partition(1)][..]), (&[STEP][..], &[2 * STEP][..]));
    carry(&mut *second, STEP, 2 * STEP).unwrap();
    assert_holds(stand, &[2 * STEP, 2 * STEP]);
}

fn abort_leaves_no_trace(stand: &dyn Stand) {
    let mut sink = open(stand);
    sink.assign(&[partition(0)]).unwrap();
    sink.abort();
    carry(&mut *sink, 0, STEP).unwrap();
    let files = stand.files();
    write(&mut *sink, vec![outcome(0, STEP, 2 * STEP, |_| true)]).unwrap();
    sink.abort();
    sink.abort();
    assert_holds(stand, &[STEP]);
    assert_eq!(stand.files(), files);
    drop(sink);
    assert_holds(stand, &[STEP]);
    let mut sink = open(stand);
    assert_eq!(cursors(&mut *sink, 0), [STEP]);
    carry(&mut *sink, STEP, 2 * STEP).unwrap();
    assert_holds(stand, &[2 * STEP]);
}

/// T25: nothing but duplicates, or control records: no rows, no rejects, no files, but the cursor moves.
fn t25_an_empty_interval_moves_the_cursor(stand: &dyn Stand) {
    let mut sink = open(stand);
    sink.assign(&[partition(0), partition(1)]).unwrap();
    let covered = write(&mut *sink, vec![outcome(1, 0, STEP, |_| false)]).unwrap();
    sink.commit(&covered).unwrap();
    assert_eq!(stand.files(), 0);
    carry(&mut *sink, 0, STEP).unwrap();
    let files = stand.files();
    let covered = write(&mut *sink, vec![outcome(0, STEP, STEP + 7, |_| false)]).unwrap();
    sink.commit(&covered).unwrap();
    assert_eq!(stand.files(), files);
    drop(sink);
    let mut sink = open(stand);
    let cursors = sink.assign(&[partition(0), partition(1)]).unwrap();
    assert_eq!((&cursors[&partition(0)][..], &cursors[&partition(1)][..]), (&[STEP + 7][..], &[STEP][..]));
    assert_holds(stand, &[STEP]);
}

/// T21: nothing but rejects.
fn t21_an_interval_of_rejects_moves_the_cursor(stand: &dyn Stand) {
    let mut sink = open(stand);
    sink.assign(&[partition(0)]).unwrap();
    let covered = write(&mut *sink, vec![outcome(0, 0, STEP, is_rejected)]).unwrap();
    sink.commit(&covered).unwrap();
    drop(sink);
    assert_eq!(stand.rows(), [""; 0]);
    assert_eq!(stand.rejects(), [(0, 3), (0, 13)]);
    assert_eq!(cursors(&mut *open(stand), 0), [STEP]);
}

fn many_batches_of_many_partitions_are_one_commit_in_order(stand: &dyn Stand) {
    let mut sink = open(stand);
    sink.assign(&[partition(0), partition(1), partition(2)]).unwrap();
    for round in 0..3 {
        let mut batches = Vec::new();
        for step in 0..4 {
            let from = (round * 4 + step) * 5;
            batches.extend((0..3).map(|number| outcome(number, from, from + 5, |_| true)));
        }
        let covered = write(&mut *sink, batches).unwrap();
        assert_holds(stand, &[round * 20; 3]);
        sink.commit(&covered).unwrap();
    }
    assert_holds(stand, &[60; 3]);
}

/// Does nothing in an ordinary run: it is the process that dies, started by [`die_at`].
#[test]
fn dies_in_the_middle() {
    let Ok(address) = std::env::var("HUIJU_TEST_STAND") else { return };
    let stand = stands::find(&address);
    let mut sink = open(&*stand);
    let cuts = cursors(&mut *sink, 0);
    take_up(&mut *sink, &cuts, cuts[0] + STEP);
}

macro_rules! conforms {
    ($($sink:ident: $stand:expr;)*) => {$(
        mod $sink {
            use super::*;
            conforms!(@each $stand;
                nothing_is_visible_before_the_commit_and_everything_after
                cursors_survive_reopening_and_say_where_to_go_on
                a_crash_before_the_commit_leaves_nothing
                a_crash_in_the_middle_of_a_commit_is_taken_up
                a_replay_from_an_older_cursor_changes_nothing
                of_two_that_hold_a_partition_only_one_can_commit
                after_a_stop_others_go_on
                abort_leaves_no_trace
                t25_an_empty_interval_moves_the_cursor
                t21_an_interval_of_rejects_moves_the_cursor
                many_batches_of_many_partitions_are_one_commit_in_order
            );
        }
    )*};
    (@each $stand:expr; $($case:ident)*) => {$(
        #[test]
        fn $case() {
            if let Some(stand) = $stand {
                super::$case(&stand);
            }
        }
    )*};
}

conforms! {
    kafka: KafkaStand::new();
    archive: ArchiveStand::new();
    files: FilesStand::new();
}
