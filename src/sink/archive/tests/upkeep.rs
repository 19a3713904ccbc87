//! Compaction and vacuum beside a writer. T07, T30, T31.

use std::{
    fs::File,
    time::{Duration, SystemTime},
};

use super::{
    faulty::{Faulty, Trick},
    strangers::{info, stranger},
    *,
};
use crate::{
    error::ErrorKind,
    sink::archive::upkeep::{Compact, Compacted, Upkeep, Vacuum, Vacuumed, Version},
};

pub const DAY: i64 = 24 * 3600 * 1000;

impl Bench {
    pub fn upkeep_over(&self, store: Arc<dyn ObjectStore>, now_ms: i64) -> Result<Upkeep> {
        let clock = Clock::from_fn(move || DateTime::from_timestamp_millis(now_ms).unwrap());
        Upkeep::open_over(store, &self.settings, &contract(), &self.schema, clock, self.runtime.handle().clone())
    }

    pub fn upkeep(&self, now_ms: i64) -> Upkeep {
        self.upkeep_over(store::local(), now_ms).unwrap()
    }

    pub fn history(&self, limit: usize, tell: &mut dyn FnMut(&Version) -> Result<()>) -> Result<()> {
        let (clock, runtime) = (Clock::system(), self.runtime.handle());
        Upkeep::history(&self.settings, &contract(), &self.schema, &clock, runtime, limit, tell)
    }

    /// All there is to compact, on a disk that may refuse.
    pub fn try_compact(&self) -> Result<()> {
        let how = Compact { min_files: 2, ..Compact::default() };
        self.upkeep_over(store::local(), EVENING)?.compact(&how, |_| {})
    }

    /// Of the rows table.
    pub fn compact(&self, how: Compact) -> Compacted {
        let mut all = Vec::new();
        self.upkeep(EVENING).compact(&how, |done| all.push(done.clone())).unwrap();
        all.remove(0)
    }

    pub fn vacuum(&self, now_ms: i64, how: Vacuum) -> Vacuumed {
        let mut all = Vec::new();
        self.upkeep(now_ms).vacuum(&how, |done| all.push(done.clone())).unwrap();
        all.remove(0)
    }

    pub fn files(&self) -> Vec<PathBuf> {
        let all = find(&self.rows(), ".parquet");
        all.into_iter().filter(|path| !path.starts_with("_delta_log")).collect()
    }
}

/// Makes all data files as old as that.
pub fn age(folder: &Path, now_ms: i64) {
    for path in find(folder, "").into_iter().filter(|path| !path.starts_with("_delta_log")) {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(now_ms as u64);
        File::options().write(true).open(folder.join(path)).unwrap().set_modified(time).unwrap();
    }
}

#[test]
fn compaction_keeps_rows_and_cursors_and_the_writer_goes_on() {
    let bench = Bench::partitioned_by(&["city"]);
    let mut archive = bench.open(&[0]);
    for step in 0..12 {
        let mut some = rows(step * 3..step * 3 + 3);
        some[1].2 = (step % 2 == 0).then_some("赣州");
        let batch = with_rejects(outcome(0, step * 3, step * 3 + 3, &some), &[step * 3 + 2]);
        archive.write(&batch).unwrap();
        archive.commit(&covered(0, step * 3, step * 3 + 3)).unwrap();
        archive.tidy();
    }
    let (before, all) = (bench.files().len(), bench.offsets());
    let done = bench.compact(Compact::default());
    assert_eq!((done.files_before, done.files_after, done.replaced, done.commits), (24, 3, 24, 3));
    assert_eq!((done.rows, done.given_up, before), (36, 0, 24));
    assert_eq!(bench.offsets(), all);
    let entry = entry(&bench.rows(), last_version(&bench.rows()));
    assert_eq!(entry[0]["commitInfo"]["operation"], "OPTIMIZE");
    assert!(entry.iter().all(|action| action.get("txn").is_none()));
    for action in &entry[1..] {
        // Else deltalake would optimize the same files beside us.
        assert!(action["remove"]["dataChange"] == true || action["add"]["dataChange"] == false, "{action}");
    }
    // The writer that was there all the time, and one that comes new.
    carry(&mut archive, 0, 36, 38).unwrap();
    drop(archive);
    let mut archive = bench.open(&[]);
    assert_eq!(cursors(&mut archive, 0), [38]);
    assert_eq!(bench.offsets().len(), 38);
    assert_eq!(bench.compact(Compact::default()).replaced, 0, "nothing is left to do");
    assert_eq!(find(&bench.rows(), ".partial"), Vec::<PathBuf>::new());
}

#[test]
fn compaction_with_readers_without_delta_leaves_no_row_twice() {
    let bench = Bench::new();
    let mut archive = bench.open(&[0]);
    (0..8).for_each(|step| carry(&mut archive, 0, step, step + 1).unwrap());
    bench.compact(Compact { remove_replaced: true, ..Compact::default() });
    assert_eq!((plain_rows(&bench.rows()), bench.files().len()), (8, 1));
    assert_eq!(bench.offsets().len(), 8);
}

/// One that is interrupted has put its entry into the log and not taken away what it replaced: nobody's next one did.
#[test]
fn files_that_a_compaction_has_left_go_with_the_next_one() {
    let bench = Bench::new();
    let mut archive = bench.open(&[0]);
    (0..6).for_each(|step| carry(&mut archive, 0, step, step + 1).unwrap());
    let kept = bench.files()[0].display().to_string();
    bench.compact(Compact::default());
    let live = bench.files().len() - 6;
    carry(&mut archive, 0, 6, 7).unwrap();
    // Another program has a file of its own taken out, and may want it back.
    let theirs = "ingested_on=2026-11-26/theirs.parquet";
    fs::copy(bench.rows().join(&kept), bench.rows().join(theirs)).unwrap();
    let remove = serde_json::json!({ "remove": { "path": theirs, "dataChange": true, "deletionTimestamp": EVENING } });
    stranger(&bench, &[info("DELETE"), remove]);
    assert_eq!((live, plain_rows(&bench.rows()), bench.offsets().len()), (1, 14, 7));

    let done = bench.compact(Compact { remove_replaced: true, ..Compact::default() });
    assert_eq!((done.commits, done.replaced), (0, 0), "there is nothing to compact");
    assert_eq!((plain_rows(&bench.rows()), bench.offsets().len()), (8, 7));
    assert!(bench.rows().join(theirs).exists());
}

#[test]
fn compactions_and_writers_side_by_side() {
    let bench = Bench::new();
    let mut archive = bench.open(&[0]);
    (0..10).for_each(|step| carry(&mut archive, 0, step, step + 1).unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| (10..60).for_each(|step| carry(&mut archive, 0, step, step + 1).unwrap()));
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..8 {
                    let how = Compact { min_files: 2, ..Compact::default() };
                    bench.upkeep(EVENING).compact(&how, |_| {}).unwrap();
                }
            });
        }
    });
    assert_eq!(bench.offsets(), (0..60).collect::<Vec<_>>());
    assert_eq!(cursors(&mut bench.open(&[]), 0), [60]);
    bench.compact(Compact { min_files: 2, ..Compact::default() });
    assert_eq!(bench.vacuum(EVENING + 20 * 366 * DAY, Vacuum::default()).kept, 1);
    assert_eq!(plain_rows(&bench.rows()), 60);
}

/// Another program deletes rows of a file that is just being replaced: they must not come back.
#[test]
fn a_compaction_gives_way_to_whoever_takes_its_files() {
    let bench = Bench::new();
    let mut archive = bench.open(&[0]);
    (0..6).for_each(|step| carry(&mut archive, 0, step, step + 1).unwrap());
    let gone = bench.files()[2].display().to_string();
    let remove = format!(r#"{{"remove":{{"path":"{gone}","dataChange":true,"deletionTimestamp":{EVENING}}}}}"#);
    let text = format!("{{\"commitInfo\":{{\"operation\":\"DELETE\"}}}}\n{remove}\n").leak();
    let next = format!("orders/_delta_log/{:020}", last_version(&bench.rows()) + 1);
    let upkeep = bench.upkeep_over(Faulty::new(&next, Trick::Overtaken(text), 1), EVENING).unwrap();
    let mut all = Vec::new();
    upkeep.compact(&Compact::default(), |done| all.push(done.clone())).unwrap();
    assert_eq!((all[0].given_up, all[0].commits, all[0].files_after), (1, 0, 6));
    assert_eq!(bench.files().len(), 6, "the new file is taken back");
    assert_eq!(bench.offsets().len(), 5, "what was deleted stays so");
    bench.compact(Compact::default());
    assert_eq!(bench.offsets().len(), 5);
}

#[test]
fn an_unknown_outcome_of_a_compaction_is_found_out_at_the_next_open() {
    for (trick, there) in [(Trick::LandsButFails, true), (Trick::Fails, false)] {
        let bench = Bench::new();
        let mut archive = bench.open(&[0]);
        (0..6).for_each(|step| carry(&mut archive, 0, step, step + 1).unwrap());
        let upkeep = bench.upkeep_over(Faulty::deaf("orders/_delta_log/", trick, 100), EVENING).unwrap();
        let failed = upkeep.compact(&Compact::default(), |_| {});
        assert_eq!(failed.unwrap_err().kind, ErrorKind::Unavailable);
        assert_eq!(bench.files().len(), 7, "{trick:?}: the file waits for the truth");
        // The writer puts it right when it is given partitions.
        assert_eq!(cursors(&mut archive, 0), [6]);
        assert_eq!(bench.files().len(), if there { 7 } else { 6 }, "{trick:?}");
        carry(&mut archive, 0, 6, 7).unwrap();
        assert_eq!(bench.offsets(), (0..7).collect::<Vec<_>>(), "{trick:?}");
    }
}

#[test]
fn vacuum_takes_what_no_version_within_the_retention_needs() {
    let bench = Bench::new();
    let mut archive = bench.open(&[0]);
    (0..6).for_each(|step| carry(&mut archive, 0, step, step + 1).unwrap());
    bench.compact(Compact::default());
    let strange = bench.rows().join("ingested_on=2026-11-26");
    for name in ["abandoned.parquet", "deletion_vector_1.bin", "notes.txt"] {
        fs::write(strange.join(name), "x").unwrap();
    }
    fs::write(bench.rows().join("_delta_log/00000000000000000001.checkpoint.parquet.old.parquet"), "x").unwrap();
    age(&bench.rows(), EVENING - 30 * DAY);
    let ever = Vacuum { retention: Duration::from_millis(u64::MAX), dry_run: true };
    assert_eq!(bench.vacuum(EVENING + 8 * DAY, ever).deleted, 0, "longer than a clock can tell is for ever");
    // Replaced at EVENING: within the retention, versions before it can be read.
    let early = bench.vacuum(EVENING + 6 * DAY, Vacuum::default());
    assert_eq!((early.deleted, early.kept), (1, 7), "only what was abandoned");
    let dry = bench.vacuum(EVENING + 8 * DAY, Vacuum { dry_run: true, ..Vacuum::default() });
    assert_eq!((dry.deleted, dry.kept, bench.files().len()), (6, 1, 7));
    let late = bench.vacuum(EVENING + 8 * DAY, Vacuum::default());
    assert_eq!((late.deleted, late.kept, late.bytes), (6, 1, dry.bytes));
    assert_eq!((plain_rows(&bench.rows()), bench.offsets().len()), (6, 6));
    for name in ["deletion_vector_1.bin", "notes.txt"] {
        assert!(strange.join(name).exists(), "{name} is not ours to delete");
    }
    assert_eq!(find(&bench.rows().join("_delta_log"), ".old.parquet").len(), 1);
    let short = Vacuum { retention: Duration::from_secs(60), ..Vacuum::default() };
    assert_eq!(bench.upkeep(EVENING).vacuum(&short, |_| {}).unwrap_err().kind, ErrorKind::Config);
}

/// Another program may be about to commit it, and has no intent that we could read.
#[test]
fn vacuum_does_not_touch_a_file_of_others_that_is_younger_than_the_retention() {
    let bench = Bench::new();
    carry(&mut bench.open(&[0]), 0, 0, 5).unwrap();
    let file = bench.rows().join("ingested_on=2026-11-26/upload.parquet");
    fs::write(&file, "x").unwrap();
    for (age_ms, kept) in [(7 * DAY - 60_000, true), (7 * DAY + 60_000, false)] {
        age(&bench.rows(), EVENING - age_ms);
        assert_eq!(bench.vacuum(EVENING, Vacuum::default()).deleted, usize::from(!kept));
        assert_eq!(file.exists(), kept, "{age_ms}");
    }
    assert_eq!(bench.offsets().len(), 5);
}

/// Somebody may have put a table into the folder of another one.
#[test]
fn vacuum_does_not_touch_a_table_that_lies_below() {
    let mut bench = Bench::new();
    bench.settings.path = "orders/inner".into();
    carry(&mut bench.open(&[0]), 0, 0, 4).unwrap();
    bench.settings.path = "orders".into();
    carry(&mut bench.open(&[0]), 0, 0, 5).unwrap();
    age(&bench.settings.location, EVENING - 30 * DAY);
    let done = bench.vacuum(EVENING, Vacuum::default());
    assert_eq!((done.deleted, done.kept), (0, 1));
    assert_eq!(plain_rows(&bench.rows().join("inner")), 4);
}

/// However old the files look: a commit may have been waiting for a week.
#[test]
fn vacuum_does_not_touch_what_is_in_flight() {
    let bench = Bench::new();
    carry(&mut bench.open(&[0]), 0, 0, 5).unwrap();
    let later = EVENING + 30 * DAY;
    let mut archive = bench.open_over(Faulty::deaf("orders/_delta_log", Trick::Fails, 100), &[0]);
    archive.write(&outcome(0, 5, 9, &rows(5..9))).unwrap();
    age(&bench.rows(), EVENING - 30 * DAY);
    assert_eq!(bench.vacuum(later, Vacuum::default()).kept, 1, "the rest is staged, and no business of a vacuum");
    // In place, with an intent, not in the log; its writer lives.
    assert_eq!(archive.commit(&covered(0, 5, 9)).unwrap_err().kind, ErrorKind::Unavailable);
    age(&bench.rows(), EVENING - 30 * DAY);
    let done = bench.vacuum(later, Vacuum::default());
    assert_eq!((done.deleted, done.kept, bench.files().len()), (0, 2, 2));
    archive.abort();
    drop(archive);
    assert_eq!(cursors(&mut bench.open(&[]), 0), [5, 9]);
    assert_eq!((plain_rows(&bench.rows()), bench.offsets().len()), (5, 5));
}

/// Entries and checkpoints are written beside their place; a crash leaves what was written so far.
#[test]
fn vacuum_takes_half_written_entries_of_the_dead() {
    let bench = Bench::new();
    carry(&mut bench.open(&[0]), 0, 0, 5).unwrap();
    let left = |name: &str, age_ms: i64| {
        let path = bench.rows().join("_delta_log").join(name);
        fs::write(&path, "x").unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis((EVENING - age_ms) as u64);
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        path
    };
    let old = left("_commit_67e55044-10b1-426f-9247-bb680e5fe0c8.json.tmp", 61 * 60_000);
    let young = left("_commit_00000000-10b1-426f-9247-bb680e5fe0c8.json.tmp", 59 * 60_000);
    let other = left("_commit_notes.txt", 30 * DAY);
    let dry = bench.vacuum(EVENING, Vacuum { dry_run: true, ..Vacuum::default() });
    assert_eq!((dry.deleted, dry.bytes, old.exists()), (1, 1, true));
    assert_eq!(bench.vacuum(EVENING, Vacuum::default()).deleted, 1);
    assert_eq!([old, young, other].map(|path| path.exists()), [false, true, true]);
}

#[test]
fn history_tells_who_did_what() {
    let bench = Bench::new();
    let mut archive = bench.open(&[0]);
    (0..6).for_each(|step| carry(&mut archive, 0, step, step + 1).unwrap());
    bench.compact(Compact::default());
    let mut told = Vec::new();
    let mut tell = |version: &Version| {
        told.push(version.clone());
        Ok(())
    };
    bench.history(3, &mut tell).unwrap();
    let [newest, carried, ..] = &told[..] else { panic!("{told:?}") };
    assert_eq!((newest.operation.as_str(), newest.added, newest.removed, newest.rows), ("OPTIMIZE", 1, 6, 6));
    assert_eq!((carried.operation.as_str(), carried.rows, carried.by.as_str()), ("WRITE", 1, "work_orders a"));
    assert_eq!(carried.cursors, BTreeMap::from([("work_orders/raw.orders/0".to_owned(), 6)]));
    assert_eq!(told.len(), 6, "three of each table");
}

/// Five messages a second, a commit a minute, compaction every hour.
#[test]
fn t30_a_day_of_small_commits_ends_in_few_files() {
    let commits = 24 * 60;
    let bench = Bench::in_memory();
    let mut archive = bench.open(&[0]);
    let midnight = 1_795_622_400_000; // in Shanghai
    let mut most = 0;
    for minute in 0..commits {
        let mut some = rows(minute * 300..(minute + 1) * 300);
        some.iter_mut().enumerate().for_each(|(at, row)| row.3 = Some(midnight + minute * 60_000 + at as i64 * 200));
        archive.write(&outcome(0, minute * 300, (minute + 1) * 300, &some)).unwrap();
        archive.commit(&covered(0, minute * 300, (minute + 1) * 300)).unwrap();
        archive.tidy();
        if minute % 60 == 59 {
            let done = bench.compact(Compact { remove_replaced: true, ..Compact::default() });
            most = most.max(done.files_before);
            assert!(done.files_after <= 5, "{done:?}");
        }
    }
    assert!(most <= 65, "{most} files between two compactions");
    assert!(bench.files().len() <= 5);
    assert_eq!(plain_rows(&bench.rows()), commits as usize * 300);
    assert_eq!(cursors(&mut archive, 0), [commits * 300]);
}
