//! T05: entries that a cleanup of the log has taken away before they were read.

use std::time::SystemTime;

use deltalake_core::kernel::Snapshot;

use super::{
    faulty::{Faulty, Trick},
    strangers::{info, stranger},
    upkeep::DAY,
    *,
};
use crate::{
    error::ErrorKind,
    sink::archive::{log, replay, upkeep::Vacuum},
};

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

/// The same between its look and its put: the version it puts is free again, and counts for nothing.
#[test]
fn a_commit_among_what_was_cleaned_up_does_not_count() {
    for (trick, version) in [
        (Trick::Meanwhile, "orders/_delta_log/00000000000000000003"),
        (Trick::MeanwhileButFails, "orders/_delta_log/00000000000000000003"),
        (Trick::Meanwhile, "orders_rejects/_delta_log/00000000000000000002"),
    ] {
        let bench = Arc::new(Bench::in_memory());
        carry(&mut bench.open(&[1]), 1, 7, 9).unwrap();
        let other = bench.clone();
        let others_go_on = move || {
            let mut awake = other.open(&[0]);
            (0..120).for_each(|offset| carry(&mut awake, 0, offset, offset + 1).unwrap());
            [other.rows(), other.rejects()].iter().for_each(|table| clean_up(table));
        };
        let mut slept = bench.open_over(Faulty::meanwhile(version, trick, others_go_on), &[1]);
        let refused = carry(&mut slept, 1, 9, 12).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Unavailable, "{refused}");
        drop(slept);
        let mut again = bench.open(&[1]);
        assert_eq!(cursors(&mut again, 1)[0], 9, "{trick:?} {version}: not past what is not there");
        carry(&mut again, 1, 9, 12).unwrap();
        assert_eq!(bench.offsets().len(), 125);
        assert_eq!(plain_rows(&bench.rows()), 125, "{trick:?} {version}: no file without an entry");
        assert_eq!(cursors(&mut bench.open(&[]), 1), [12]);
    }
}

/// Nor one behind such an entry, which looks like the end of the log.
#[test]
fn a_commit_behind_one_that_does_not_count_does_not_count_either() {
    let bench = Arc::new(Bench::in_memory());
    carry(&mut bench.open(&[1]), 1, 7, 9).unwrap();
    let mut second = bench.open(&[2]);
    carry(&mut second, 2, 0, 2).unwrap();
    let other = bench.clone();
    let others_go_on = move || {
        let mut awake = other.open(&[0]);
        (0..120).for_each(|offset| carry(&mut awake, 0, offset, offset + 1).unwrap());
        clean_up(&other.rows());
    };
    let place = format!("orders/_delta_log/{:020}", last_version(&bench.rows()) + 1);
    let mut first = bench.open_over(Faulty::meanwhile(&place, Trick::Meanwhile, others_go_on), &[1]);
    carry(&mut first, 1, 9, 12).unwrap_err();
    let refused = carry(&mut second, 2, 2, 5).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Unavailable, "{refused}");
    drop((first, second));
    let mut again = bench.open(&[1, 2]);
    assert_eq!((cursors(&mut again, 1)[0], cursors(&mut again, 2)[0]), (9, 2));
    carry(&mut again, 1, 9, 12).unwrap();
    carry(&mut again, 2, 2, 5).unwrap();
    assert_eq!((bench.offsets().len(), plain_rows(&bench.rows())), (130, 130));
}

/// Its writer has died behind it; then another program took its files out, and somebody wrote a checkpoint.
#[test]
fn files_that_were_taken_out_of_the_table_stay_for_readers_of_older_versions() {
    let bench = Bench::in_memory();
    let mut archive = bench.open(&[0]);
    carry(&mut archive, 0, 0, 3).unwrap();
    let version = last_version(&bench.rows());
    let actions = entry(&bench.rows(), version);
    let commit = actions.iter().find_map(|action| action["commitInfo"]["huiju"]["commitId"].as_str()).unwrap();
    let path = actions.iter().find_map(|action| action["add"]["path"].as_str()).unwrap();
    let removed = serde_json::json!({ "remove": { "path": path, "deletionTimestamp": EVENING, "dataChange": true } });
    stranger(&bench, &[info("DELETE"), removed]);
    (3..20).for_each(|offset| carry(&mut archive, 0, offset, offset + 1).unwrap());
    replay::checkpoint(&archive.rows.table).unwrap();
    drop(archive);
    let file = bench.rows().join(path);
    for cleaned in [false, true] {
        if cleaned {
            clean_up(&bench.rows());
        }
        let dead = dead_writer(&bench.rows(), commit, version - 1, &[path]);
        assert_eq!(cursors(&mut bench.open(&[0]), 0), [20]);
        assert!(!dead.exists() && file.exists(), "its entry was cleaned up: {cleaned}");
    }
}

/// After a month without traffic all that came before an entry may go as soon as it is there, and it counts.
#[test]
fn a_commit_whose_past_was_cleaned_up_counts() {
    let bench = Bench::in_memory();
    let mut archive = bench.open(&[0]);
    (0..20).for_each(|offset| carry(&mut archive, 0, offset, offset + 1).unwrap());
    let version = last_version(&bench.rows());
    let actions = entry(&bench.rows(), version);
    let commit = actions.iter().find_map(|action| action["commitInfo"]["huiju"]["commitId"].as_str()).unwrap();
    let files: Vec<_> = actions.iter().filter_map(|action| action["add"]["path"].as_str()).collect();
    replay::checkpoint(&archive.rows.table).unwrap();
    clean_up(&bench.rows());
    drop(archive);
    dead_writer(&bench.rows(), commit, version - 1, &files);
    assert_eq!(cursors(&mut bench.open(&[0]), 0), [20]);
    assert_eq!((plain_rows(&bench.rows()), bench.offsets().len()), (20, 20));
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

/// A table with three checkpoints, all of EVENING, and their versions.
fn with_checkpoints() -> (Bench, Vec<u64>) {
    let bench = Bench::in_memory();
    let mut archive = bench.open(&[0, 1]);
    carry(&mut archive, 1, 7, 9).unwrap();
    let mut checkpoints = Vec::new();
    for offset in 0..36 {
        carry(&mut archive, 0, offset, offset + 1).unwrap();
        if offset % 12 == 10 {
            checkpoints.push(replay::checkpoint(&archive.rows.table).unwrap());
        }
    }
    age_log(&bench);
    (bench, checkpoints)
}

fn age_log(bench: &Bench) {
    let log = bench.rows().join(log::FOLDER);
    for path in find(&log, "") {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(EVENING as u64);
        fs::File::options().write(true).open(log.join(path)).unwrap().set_modified(time).unwrap();
    }
}

/// Everything is there, the log begins at a version, and all from there on can be read.
#[track_caller]
fn is_whole_from(bench: &Bench, first: u64) {
    let mut archive = bench.open(&[0, 1]);
    let (one, other) = (cursors(&mut archive, 1), cursors(&mut archive, 0));
    assert_eq!((one, other.clone()), (vec![9], vec![36]));
    assert_eq!(bench.offsets().len(), 38);
    assert_eq!(log::list(&bench.rows()).unwrap()[0].version, first);
    for version in first..=last_version(&bench.rows()) {
        let store = archive.rows.table.log().clone();
        let read = bench.runtime.block_on(async move { Snapshot::try_new(store.as_ref(), Some(version)).await });
        assert_eq!(read.unwrap().version(), version);
    }
    if let Some(seen) = seen_by_others(&bench.rows()) {
        assert_eq!((&seen["rows"], &seen["places"]), (&38.into(), &38.into()));
    }
}

#[test]
fn vacuum_cleans_the_log_up_below_the_checkpoint_before_the_last() {
    let (bench, checkpoints) = with_checkpoints();
    let late = EVENING + 31 * DAY;
    let vacuum = |now_ms: i64, how: Vacuum| bench.vacuum(now_ms, how).log_deleted;
    assert_eq!(vacuum(EVENING + 30 * DAY, Vacuum::default()), 0, "30 days are not over");
    let long = Vacuum { retention: Duration::from_secs(60 * 24 * 3600), ..Vacuum::default() };
    assert_eq!(vacuum(late, long), 0, "versions within the retention stay readable");
    // Entries of the versions below, and the first checkpoint.
    let expired = checkpoints[1] as usize + 1;
    let dry = bench.vacuum(late, Vacuum { dry_run: true, ..Vacuum::default() });
    assert_eq!(dry.log_deleted, expired);
    is_whole_from(&bench, 0);
    let done = bench.vacuum(late, Vacuum::default());
    assert_eq!((done.log_deleted, done.bytes), (expired, dry.bytes));
    is_whole_from(&bench, checkpoints[1]);
    assert_eq!(vacuum(late, Vacuum::default()), 0, "nothing is left to do");
    is_whole_from(&bench, checkpoints[1]);
}

/// However old the entries say they are: they may come from a copy.
#[test]
fn vacuum_keeps_a_log_that_is_not_old_by_all_measures() {
    let (bench, checkpoints) = with_checkpoints();
    let late = EVENING + 31 * DAY;
    let expired = || bench.vacuum(late, Vacuum { dry_run: true, ..Vacuum::default() }).log_deleted;
    let log = bench.rows().join(log::FOLDER);
    let entry = |at: usize| log.join(format!("{:020}.json", checkpoints[at]));
    let young = |path: &Path| {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis((late - DAY) as u64);
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    };
    young(&entry(1));
    assert_eq!(expired(), checkpoints[0] as usize, "only below the first");
    young(&entry(0));
    assert_eq!(expired(), 0);
    age_log(&bench);
    // Readers begin where the pointer says.
    let pointer = log.join("_last_checkpoint");
    fs::write(&pointer, format!(r#"{{"version":{},"size":9}}"#, checkpoints[0])).unwrap();
    assert_eq!(expired(), checkpoints[0] as usize);
    fs::write(&pointer, "torn").unwrap();
    assert_eq!(expired(), 0);
    fs::remove_file(&pointer).unwrap();
    assert_eq!(expired(), checkpoints[1] as usize + 1);
    // A checkpoint that cannot be read stands for nothing.
    fs::write(log.join(format!("{:020}.checkpoint.parquet", checkpoints[1])), "x").unwrap();
    assert_eq!(expired(), checkpoints[0] as usize);
}

#[test]
fn vacuum_keeps_the_log_as_the_table_says() {
    let (bench, checkpoints) = with_checkpoints();
    let metadata = entry(&bench.rows(), 0).into_iter().find(|action| action.get("metaData").is_some()).unwrap();
    let all = checkpoints[1] as usize + 1;
    for (property, value, days, expired) in [
        ("delta.logRetentionDuration", "interval 10 days", 11, all),
        ("delta.logRetentionDuration", "interval 10 days", 9, 0),
        ("delta.logRetentionDuration", "interval 40 days", 39, 0),
        ("delta.logRetentionDuration", "for a while", 400, 0),
        ("delta.enableExpiredLogCleanup", "false", 400, 0),
        ("delta.enableExpiredLogCleanup", "true", 31, all),
    ] {
        let mut metadata = metadata.clone();
        metadata["metaData"]["configuration"][property] = value.into();
        stranger(&bench, &[info("SET TBLPROPERTIES"), metadata]);
        let done = bench.vacuum(EVENING + days * DAY, Vacuum { dry_run: true, ..Vacuum::default() });
        assert_eq!(done.log_deleted, expired, "{property} {value} after {days} days");
    }
}

/// From the oldest on: whatever is left has no hole, and nobody writes into one.
#[test]
fn a_cleanup_that_dies_in_the_middle_leaves_a_log_that_can_be_read() {
    let (bench, checkpoints) = with_checkpoints();
    let log = bench.rows().join(log::FOLDER).canonicalize().unwrap();
    for left in [0, 3, 9] {
        trouble::fail(&log, left, libc::EIO, true);
        let died = bench.upkeep(EVENING + 31 * DAY).vacuum(&Vacuum::default(), |_| {});
        assert!(trouble::mend(&log) && died.is_err());
        let versions: Vec<u64> = log::list(&bench.rows()).unwrap().into_iter().map(|part| part.version).collect();
        let rest = versions[0]..=last_version(&bench.rows());
        assert!(rest.clone().all(|version| versions.contains(&version)), "{versions:?}");
        assert_eq!(bench.offsets().len(), 38);
        assert_eq!(cursors(&mut bench.open(&[]), 1), [9]);
    }
    bench.vacuum(EVENING + 31 * DAY, Vacuum::default());
    is_whole_from(&bench, checkpoints[1]);
}
