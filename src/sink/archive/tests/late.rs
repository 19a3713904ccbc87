//! T05: a list of the log that lacks its newest entry.

use super::{
    super::upkeep::{Compact, Upkeep, Vacuum},
    faulty::{Faulty, Trick},
    upkeep::age,
    *,
};
use crate::error::ErrorKind;

const LOG: &str = "orders/_delta_log";
const LATER: i64 = EVENING + 30 * 24 * 3600 * 1000;

fn upkeep(bench: &Bench, store: Arc<dyn ObjectStore>) -> Upkeep {
    let clock = Clock::from_fn(|| DateTime::from_timestamp_millis(LATER).unwrap());
    let runtime = bench.runtime.handle().clone();
    Upkeep::open_over(store, &bench.settings, &contract(), &bench.schema, clock, runtime).unwrap()
}

#[test]
fn t05_a_late_list_hides_no_commit_from_who_opens_the_archive() {
    let bench = Bench::new();
    // First the table itself, then the start of the partition, then its rows.
    drop(bench.open(&[]));
    for step in 0..4 {
        let mut archive = bench.open_over(Faulty::new(LOG, Trick::LateList, 1), &[0]);
        let cursors = cursors(&mut archive, 0);
        assert_eq!(cursors, if step == 0 { vec![] } else { vec![step] });
        carry(&mut archive, 0, step, step + 1).unwrap();
    }
    assert_eq!(bench.offsets(), [0, 1, 2, 3]);
    assert_eq!((plain_rows(&bench.rows()), last_version(&bench.rows())), (4, 5));
}

/// A row that the cursor counts as done and deduplication does not know would be let in again.
#[test]
fn t05_a_late_list_hides_no_row_from_deduplication() {
    let bench = Bench::new();
    let store = Faulty::new(LOG, Trick::LateList, 1);
    let mut archive = bench.open_over(store.clone(), &[0]);
    let reader = archive.reader();
    carry(&mut archive, 0, 0, 3).unwrap();
    carry(&mut bench.open(&[1]), 1, 0, 2).unwrap(); // by another, who then hands over
    assert_eq!(cursors(&mut archive, 1), [2]);
    store.again(1);
    let mut seen = 0;
    let mut each = |batch: &RecordBatch| {
        seen += batch.num_rows();
        Ok(())
    };
    reader.keys(&[], &[(partition(0), 3), (partition(1), 2)], None, &mut each).unwrap();
    assert_eq!(seen, 5);
}

#[test]
fn t05_a_compaction_with_a_late_list_doubles_no_row() {
    let bench = Bench::new();
    let mut archive = bench.open(&[0]);
    (0..6).for_each(|step| carry(&mut archive, 0, step, step + 1).unwrap());
    bench.try_compact().unwrap();
    let store = Faulty::new(LOG, Trick::LateList, 1);
    let upkeep = upkeep(&bench, store.clone());
    store.again(1);
    let mut all = Vec::new();
    upkeep.compact(&Compact::default(), |done| all.push(done.clone())).unwrap();
    assert_eq!((all[0].files_before, all[0].commits), (1, 0), "{all:?}");
    assert_eq!(bench.offsets(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn t05_a_vacuum_with_a_late_list_takes_no_live_file() {
    let bench = Bench::new();
    let mut archive = bench.open(&[0]);
    (0..2).for_each(|step| carry(&mut archive, 0, step, step + 1).unwrap());
    age(&bench.rows(), EVENING);
    let store = Faulty::new(LOG, Trick::LateList, 1);
    // A disk that never tells the truth, and one that was late once.
    for (times, deleted) in [(100, Err(ErrorKind::Unavailable)), (1, Ok(0))] {
        let upkeep = upkeep(&bench, store.clone());
        store.again(times);
        let mut all = Vec::new();
        let done = upkeep.vacuum(&Vacuum::default(), |done| all.push(done.clone()));
        assert_eq!(done.map(|()| all[0].deleted).map_err(|e| e.kind), deleted);
        assert_eq!(bench.offsets(), [0, 1]);
    }
}
