//! T05: entries that a cleanup of the log has taken away before they were read.

use super::*;

/// Removes the entries that the first checkpoint stands for, as a cleanup of the log does.
fn clean_up(table: &Path) {
    let log = table.join("_delta_log");
    let checkpoint: u64 = find(&log, ".checkpoint.parquet")[0].to_str().unwrap()[..20].parse().unwrap();
    (0..checkpoint).for_each(|version| fs::remove_file(log.join(format!("{version:020}.json"))).unwrap());
}

#[test]
fn cursors_survive_checkpoint_and_log_cleanup() {
    let bench = Bench::new();
    let mut archive = bench.open(&[0, 1]);
    carry(&mut archive, 1, 7, 9).unwrap();
    (0..120).for_each(|offset| carry(&mut archive, 0, offset, offset + 1).unwrap());
    clean_up(&bench.rows());
    carry(&mut archive, 0, 120, 121).unwrap();
    assert_eq!(cursors(&mut bench.open(&[]), 1), [9]);
    assert_eq!(cursors(&mut bench.open(&[]), 0), [121]);
    assert_eq!(bench.offsets().len(), 123);
}

/// It must not write where the old entries were: nobody reads there any more.
#[test]
fn a_writer_that_slept_through_a_cleanup_goes_on_at_the_end_of_the_log() {
    let bench = Bench::in_memory();
    let (mut slept, mut awake) = (bench.open(&[1]), bench.open(&[0]));
    carry(&mut slept, 1, 7, 9).unwrap();
    (0..120).for_each(|offset| carry(&mut awake, 0, offset, offset + 1).unwrap());
    [bench.rows(), bench.rejects()].iter().for_each(|table| clean_up(table));
    carry(&mut slept, 1, 9, 12).unwrap();
    assert_eq!(cursors(&mut bench.open(&[]), 1), [12]);
    assert_eq!(cursors(&mut bench.open(&[]), 0), [120]);
    assert_eq!(bench.offsets().len(), 125);
}

/// Its commit landed long ago, and the entry that told of it is gone.
#[test]
fn files_of_a_dead_writer_stay_though_their_entry_was_cleaned_up() {
    let bench = Bench::in_memory();
    let mut archive = bench.open(&[0]);
    carry(&mut archive, 0, 0, 3).unwrap();
    let version = last_version(&bench.rows());
    let actions = entry(&bench.rows(), version);
    let commit = actions.iter().find_map(|action| action["commitInfo"]["huiju"]["commitId"].as_str()).unwrap();
    let files: Vec<_> = actions.iter().filter_map(|action| action["add"]["path"].as_str()).collect();
    assert_eq!(files.len(), 1);
    (3..120).for_each(|offset| carry(&mut archive, 0, offset, offset + 1).unwrap());
    clean_up(&bench.rows());
    let dead = dead_writer(&bench.rows(), commit, version - 1, &files);
    assert_eq!(cursors(&mut archive, 0), [120], "who is given partitions looks after the dead");
    assert!(!dead.exists());
    assert_eq!((plain_rows(&bench.rows()), bench.offsets().len()), (120, 120));
}
