//! What goes wrong around a commit, and what must be true afterwards. T05, T07, T09, T25, T29, T33.

use super::{
    faulty::{Faulty, Trick},
    *,
};
use crate::error::ErrorKind;

#[test]
fn a_commit_makes_rows_and_cursors_visible_together() {
    let bench = Bench::new();
    let mut archive = bench.open(&[0]);
    archive.write(&with_rejects(outcome(0, 5, 10, &rows(5..9)), &[9])).unwrap();
    assert_eq!((plain_rows(&bench.rows()), plain_rows(&bench.rejects())), (0, 0));
    assert!(cursors(&mut bench.open(&[]), 0).is_empty());

    archive.commit(&covered(0, 5, 10)).unwrap();
    assert_eq!((plain_rows(&bench.rows()), plain_rows(&bench.rejects())), (4, 1));
    drop(archive);
    assert_eq!(cursors(&mut bench.open(&[]), 0), [10]);
    assert_eq!(bench.offsets(), [5, 6, 7, 8]);

    let mut archive = bench.open(&[0]);
    carry(&mut archive, 0, 10, 12).unwrap();
    carry(&mut archive, 0, 12, 13).unwrap();
    assert_eq!(bench.offsets(), [5, 6, 7, 8, 10, 11, 12]);
    drop(archive);
    assert_eq!(
        find(&bench.rows(), ""),
        find(&bench.rows(), "").into_iter().filter(|p| !p.starts_with("_staging")).collect::<Vec<_>>()
    );
}

#[test]
fn abort_leaves_no_trace() {
    let bench = Bench::new();
    let mut archive = bench.open(&[0]);
    archive.write(&with_rejects(outcome(0, 0, 10, &rows(0..9)), &[9])).unwrap();
    archive.abort();
    assert_eq!(find(bench.folder.path(), ".partial"), Vec::<PathBuf>::new());
    carry(&mut archive, 0, 0, 3).unwrap();
    assert_eq!(bench.offsets(), [0, 1, 2]);
}

#[test]
fn only_rejects_only_duplicates_and_holes_move_both_cursors() {
    let bench = Bench::new();
    let mut archive = bench.open(&[0]);
    archive.write(&with_rejects(outcome(0, 0, 1, &[]), &[0])).unwrap();
    archive.commit(&covered(0, 0, 1)).unwrap();
    archive.write(&outcome(0, 1, 7, &[])).unwrap();
    archive.commit(&covered(0, 1, 7)).unwrap();
    assert_eq!(cursors(&mut archive, 0), [7]);
    assert_eq!((find(&bench.rows(), ".parquet").len(), find(&bench.rejects(), ".parquet").len()), (0, 1));
    let version = last_version(&bench.rows());
    archive.commit(&covered(0, 7, 7)).unwrap();
    assert_eq!(last_version(&bench.rows()), version, "nothing moved, nothing to commit");
}

#[test]
fn a_commit_that_landed_but_was_reported_failed_is_a_success() {
    for trick in [Trick::LandsButFails, Trick::LandsButExists, Trick::Fails] {
        let bench = Bench::new();
        drop(bench.open(&[]));
        // The start of the partition in version 1, its first rows in version 2, more in version 3.
        for (version, from, next) in [(1, 0, 3), (3, 3, 5)] {
            let store = Faulty::new(&format!("orders/_delta_log/{version:020}"), trick, 1);
            carry(&mut bench.open_over(store, &[0]), 0, from, next).unwrap();
        }
        assert_eq!(bench.offsets(), [0, 1, 2, 3, 4], "{trick:?}");
        assert_eq!(plain_rows(&bench.rows()), 5, "{trick:?}");
        assert_eq!(last_version(&bench.rows()), 3, "{trick:?}: one entry per commit, one for the start");
        // Another program's reader: each row, at a place of its own, in one file per commit.
        let seen = serde_json::json!({ "rows": 5, "places": 5, "files": 2, "deleted": 0 });
        assert_eq!(seen_by_others(&bench.rows()).unwrap_or_else(|| seen.clone()), seen, "{trick:?}");
    }
}

/// A table that is taken away must not be begun in its place: there it would be in the way of the one that comes back.
#[test]
fn a_table_that_is_moved_away_during_a_commit_can_be_moved_back() {
    let bench = Bench::in_memory();
    carry(&mut bench.open(&[0]), 0, 0, 3).unwrap();
    let (table, away) = (bench.rows(), bench.folder.path().join("away"));
    let (from, to) = (table.clone(), away.clone());
    let moved = Faulty::meanwhile("orders/_delta_log/", Trick::Meanwhile, move || fs::rename(from, to).unwrap());
    let mut archive = bench.open_over(moved, &[0]);
    let failed = carry(&mut archive, 0, 3, 5).unwrap_err();
    assert_eq!(failed.kind, ErrorKind::Unavailable, "{failed}");
    drop(archive);
    assert!(!table.exists());
    fs::rename(&away, &table).unwrap();
    let mut archive = bench.open(&[0]);
    assert_eq!(cursors(&mut archive, 0)[0], 3);
    carry(&mut archive, 0, 3, 5).unwrap();
    assert_eq!((plain_rows(&bench.rows()), bench.offsets().len()), (5, 5));
}

/// Our entry was read, but what came behind it could not be accepted or read: we must not forget that we saw it.
#[test]
fn files_of_a_landed_commit_stay_whatever_comes_behind_it() {
    for (trick, goes_on) in [(Trick::LandsThenDeafOnce, true), (Trick::LandsThenStranger, false)] {
        let mut bench = Bench::new();
        carry(&mut bench.open(&[0]), 0, 0, 3).unwrap();
        let mut archive = bench.open_over(Faulty::new("orders/_delta_log/00000000000000000003", trick, 1), &[0]);
        carry(&mut archive, 0, 3, 5).unwrap();
        assert_eq!(plain_rows(&bench.rows()), 5, "{trick:?}");
        let next = carry(&mut archive, 0, 5, 6);
        assert_eq!(next.map_err(|e| e.kind), if goes_on { Ok(()) } else { Err(ErrorKind::Config) }, "{trick:?}");
        drop(archive);
        bench.settings.accept_foreign_writes = true;
        assert_eq!(cursors(&mut bench.open(&[]), 0)[0], if goes_on { 6 } else { 5 }, "{trick:?}");
        assert_eq!(plain_rows(&bench.rows()), if goes_on { 6 } else { 5 }, "{trick:?}");
    }
}

#[test]
fn when_the_outcome_is_unknown_the_next_open_finds_it_out() {
    for (trick, there) in [(Trick::LandsButFails, true), (Trick::Fails, false)] {
        let bench = Bench::new();
        carry(&mut bench.open(&[0]), 0, 0, 3).unwrap();
        let mut archive = bench.open_over(Faulty::deaf("orders/_delta_log", trick, 100), &[0]);
        let error = carry(&mut archive, 0, 3, 5).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
        assert_eq!(
            archive.commit(&covered(0, 3, 5)).unwrap_err().kind,
            ErrorKind::Bug,
            "not before it is opened again"
        );
        assert_eq!(plain_rows(&bench.rows()), 5, "the files wait for the truth");
        archive.abort();
        drop(archive);

        let mut archive = bench.open(&[0]);
        assert_eq!(cursors(&mut archive, 0), if there { vec![5] } else { vec![3, 5] });
        assert_eq!(plain_rows(&bench.rows()), if there { 5 } else { 3 });
        if !there {
            carry(&mut archive, 0, 3, 5).unwrap();
        }
        assert_eq!(bench.offsets(), [0, 1, 2, 3, 4]);
        assert_eq!(plain_rows(&bench.rows()), 5);
    }
}

/// A writer dies between its entry and the end of its intent, just before its folder is looked into by another, who has
/// read the log a moment earlier.
#[test]
fn an_entry_that_came_after_the_last_look_is_seen_before_files_are_taken_back() {
    let bench = Bench::new();
    let other = bench.open(&[0]);
    carry(&mut bench.open(&[1]), 1, 0, 3).unwrap();
    let version = last_version(&bench.rows());
    assert!(other.rows.table.version() < version);
    let actions = entry(&bench.rows(), version);
    let commit =
        actions.iter().find_map(|action| action["commitInfo"]["huiju"]["commitId"].as_str()).unwrap().to_owned();
    let files: Vec<_> = actions.iter().filter_map(|action| action["add"]["path"].as_str()).collect();
    assert_eq!(files.len(), 1);
    let dead = dead_writer(&bench.rows(), &commit, version - 1, &files);

    other.rows.table.recover().unwrap();
    assert!(!dead.exists());
    assert_eq!(plain_rows(&bench.rows()), 3);
}

#[test]
fn rejects_that_are_ahead_are_not_written_again() {
    let bench = Bench::new();
    carry(&mut bench.open(&[0]), 0, 0, 2).unwrap();
    let batch = || with_rejects(outcome(0, 2, 4, &rows(2..3)), &[3]);
    let mut archive = bench.open_over(Faulty::new("orders/_delta_log", Trick::Fails, 100), &[0]);
    archive.write(&batch()).unwrap();
    assert_eq!(archive.commit(&covered(0, 2, 4)).unwrap_err().kind, ErrorKind::Unavailable);
    drop(archive);

    let mut archive = bench.open(&[0]);
    assert_eq!(cursors(&mut archive, 0), [2, 4]);
    let straddling = with_rejects(outcome(0, 2, 6, &rows(2..6)), &[]);
    assert_eq!(archive.write(&straddling).unwrap_err().kind, ErrorKind::Bug);
    archive.write(&batch()).unwrap();
    archive.write(&with_rejects(outcome(0, 4, 6, &rows(5..6)), &[4])).unwrap();
    archive.commit(&covered(0, 2, 6)).unwrap();
    assert_eq!(cursors(&mut archive, 0), [6]);
    assert_eq!(
        bench.offsets(),
        [2, 5].into_iter().chain(0..2).collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    );
    assert_eq!(plain_rows(&bench.rejects()), 2);
    let accounts = |folder: &Path, name: &str| -> u64 {
        let entries = (0..=last_version(folder)).map(|version| entry(folder, version).remove(0));
        entries.map(|info| info["commitInfo"]["huiju"][name].as_u64().unwrap_or(0)).sum()
    };
    assert_eq!(accounts(&bench.rejects(), "rejected"), 2, "nothing counts twice");
    let last = entry(&bench.rejects(), last_version(&bench.rejects())).remove(0);
    let since = serde_json::json!([{ "topic": "raw.orders", "partition": 0, "from": 4, "next": 6 }]);
    assert_eq!(last["commitInfo"]["huiju"]["intervals"], since);
}

#[test]
fn a_crash_in_the_very_first_commit_does_not_hide_where_the_partition_began() {
    let bench = Bench::new();
    drop(bench.open(&[]));
    // Version 1 of the rows table is the start, version 2 the rows.
    let store = Faulty::new("orders/_delta_log/00000000000000000002", Trick::Fails, 100);
    let mut archive = bench.open_over(store, &[0]);
    carry(&mut archive, 0, 40, 45).unwrap_err();
    drop(archive);
    assert_eq!(cursors(&mut bench.open(&[]), 0), [40, 45]);
}

#[test]
fn a_table_that_was_deleted_alone_is_noticed() {
    let bench = Bench::new();
    carry(&mut bench.open(&[0]), 0, 0, 3).unwrap();
    fs::remove_dir_all(bench.rows()).unwrap();
    let error = bench.try_open().err().expect("its rejects tell that there were rows, or could have been");
    assert_eq!(error.kind, ErrorKind::Config, "that is no disk that is not mounted: {error}");
    let said = "orders_rejects is there and";
    assert!(error.to_string().contains(said) && !bench.rows().exists(), "{error}");
    assert!(bench.settings.are_there(), "it is not begun anew, so nobody needs to know whether the pipeline has run");
}

#[test]
fn rejects_that_were_deleted_alone_are_not_begun_anew() {
    let bench = Bench::new();
    drop(bench.open(&[]));
    fs::remove_dir_all(bench.rejects()).unwrap();
    carry(&mut bench.open(&[0]), 0, 0, 3).unwrap(); // a crash had left the tables half made
    fs::remove_dir_all(bench.rejects()).unwrap();
    let error = bench.try_open().err().expect("there were rejects, or there could have been");
    assert_eq!(error.kind, ErrorKind::Config, "that is no disk that is not mounted: {error}");
    let said = "orders_rejects is not: bring it back, or delete both";
    assert!(error.to_string().contains(said) && !bench.rejects().exists(), "{error}");
}

#[test]
fn the_slower_of_two_writers_is_fenced_and_takes_its_files_back() {
    let bench = Bench::new();
    let (mut zombie, mut heir) = (bench.open(&[0]), bench.open(&[0]));
    zombie.write(&outcome(0, 0, 5, &rows(0..5))).unwrap();
    carry(&mut heir, 0, 0, 3).unwrap();
    let error = zombie.commit(&covered(0, 0, 5)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Fenced, "{error}");
    zombie.abort();
    assert_eq!(bench.offsets(), [0, 1, 2]);
    assert_eq!(plain_rows(&bench.rows()), 3);
    carry(&mut heir, 0, 3, 4).unwrap();
    assert_eq!(bench.offsets(), [0, 1, 2, 3]);
}

#[test]
fn writers_of_different_partitions_do_not_disturb_each_other() {
    let bench = Bench::new();
    let (mut one, mut two) = (bench.open(&[0]), bench.open(&[1]));
    for step in 0..5 {
        carry(&mut one, 0, step, step + 1).unwrap();
        carry(&mut two, 1, 100 + step, 101 + step).unwrap();
    }
    assert_eq!(bench.offsets(), [0, 1, 2, 3, 4, 100, 101, 102, 103, 104]);
    std::thread::scope(|scope| {
        scope.spawn(|| (5..15).for_each(|step| carry(&mut one, 0, step, step + 1).unwrap()));
        scope.spawn(|| (5..15).for_each(|step| carry(&mut two, 1, 100 + step, 101 + step).unwrap()));
    });
    assert_eq!(bench.offsets().len(), 30);
}

#[test]
fn many_may_create_the_table() {
    let bench = Bench::new();
    std::thread::scope(|scope| {
        for number in 0..4 {
            let bench = &bench;
            scope.spawn(move || carry(&mut bench.open(&[number]), number, 0, 1).unwrap());
        }
    });
    assert_eq!(bench.offsets(), [0, 0, 0, 0]);
    let protocols: usize = (0..=last_version(&bench.rows()))
        .map(|version| entry(&bench.rows(), version).iter().filter(|action| action.get("protocol").is_some()).count())
        .sum();
    assert_eq!(protocols, 1);
}

#[test]
fn offsets_that_are_missing_between_commits_are_refused() {
    let bench = Bench::new();
    let mut archive = bench.open(&[0]);
    carry(&mut archive, 0, 0, 3).unwrap();
    assert_eq!(carry(&mut archive, 0, 4, 5).unwrap_err().kind, ErrorKind::Bug);
}

#[test]
fn leftovers_of_the_dead_go_and_those_of_the_living_stay() {
    let bench = Bench::new();
    let mut living = bench.open(&[0]);
    living.write(&outcome(0, 0, 5, &rows(0..5))).unwrap();
    let dead = bench.rows().join("_staging/dead");
    fs::create_dir_all(&dead).unwrap();
    fs::write(dead.join("lock"), "").unwrap();
    fs::write(dead.join("part.parquet.partial"), "half").unwrap();
    let empty = bench.rows().join("_staging/stillborn");
    fs::create_dir_all(&empty).unwrap();
    drop(bench.open(&[]));
    assert!(!dead.exists() && !empty.exists());
    living.commit(&covered(0, 0, 5)).unwrap();
    assert_eq!(bench.offsets(), [0, 1, 2, 3, 4]);
}

/// Who starts and is given no partition clears away what a crash has left, too: nobody else may be there to do it.
#[test]
fn files_of_a_commit_that_never_came_about_go_when_the_archive_is_opened() {
    let bench = Bench::new();
    carry(&mut bench.open(&[0]), 0, 0, 3).unwrap();
    let (dead, stray) = dead_with_a_stray_file(&bench);
    assert_eq!(plain_rows(&bench.rows()), 6, "a reader without Delta sees them");
    drop(bench.try_open().unwrap());
    assert!(!stray.exists() && !dead.exists());
    assert_eq!((plain_rows(&bench.rows()), bench.offsets()), (3, vec![0, 1, 2]));
}

#[test]
fn a_checkpoint_that_fails_is_not_the_commits_business() {
    let bench = Bench::in_memory();
    let mut archive =
        bench.open_over(Faulty::new("orders/_delta_log/00000000000000000100.checkpoint", Trick::Fails, 1), &[0]);
    let checkpoints = || find(&bench.rows().join("_delta_log"), ".checkpoint.parquet");
    (0..118).for_each(|offset| carry(&mut archive, 0, offset, offset + 1).unwrap());
    assert_eq!((last_version(&bench.rows()), checkpoints()), (119, vec![]));
    carry(&mut archive, 0, 118, 119).unwrap();
    let next = PathBuf::from(format!("{:020}.checkpoint.parquet", 120));
    assert_eq!(checkpoints(), [next], "tried again a while later");
    assert_eq!(bench.offsets().len(), 119);
}

#[test]
fn a_folder_that_cannot_be_written_is_named_and_nothing_is_acknowledged() {
    let bench = Bench::new();
    drop(bench.open(&[]));
    // A file where the partition's folder has to be: the last moment at which the disk can say no.
    fs::write(bench.rows().join("ingested_on=2026-11-26"), "").unwrap();
    let mut archive = bench.open(&[0]);
    let error = carry(&mut archive, 0, 0, 3).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("ingested_on=2026-11-26"), "{error}");
    drop(archive);
    fs::remove_file(bench.rows().join("ingested_on=2026-11-26")).unwrap();
    let mut archive = bench.open(&[0]);
    assert_eq!(cursors(&mut archive, 0), [0, 3], "the rejects are ahead");
    carry(&mut archive, 0, 0, 3).unwrap();
    assert_eq!(bench.offsets(), [0, 1, 2]);
    assert_eq!(plain_rows(&bench.rows()), 3);
}

/// T05: what tells where the last checkpoint is may be old, wrong or torn; the log decides.
#[test]
fn a_stale_or_broken_pointer_to_the_checkpoint_does_not_matter() {
    let bench = Bench::in_memory();
    let mut archive = bench.open(&[0, 1]);
    carry(&mut archive, 1, 7, 9).unwrap();
    (0..210).for_each(|offset| carry(&mut archive, 0, offset, offset + 1).unwrap());
    drop(archive);
    let checkpoints = find(&bench.rows().join("_delta_log"), ".checkpoint.parquet");
    assert!(checkpoints.len() >= 2, "{checkpoints:?}");
    let first: u64 = checkpoints[0].to_str().unwrap()[..20].parse().unwrap();
    let pointer = bench.rows().join("_delta_log/_last_checkpoint");
    let next = std::cell::Cell::new(210);
    let check = |what: &str| {
        let mut archive = bench.open(&[0, 1]);
        assert_eq!(cursors(&mut archive, 1), [9], "{what}");
        assert_eq!(cursors(&mut archive, 0), [next.get()], "{what}");
        carry(&mut archive, 0, next.get(), next.get() + 1).unwrap();
        next.set(next.get() + 1);
        assert_eq!(bench.offsets().len() as i64, next.get() + 2, "{what}");
    };
    fs::write(&pointer, format!("{{\"version\":{first},\"size\":3}}")).unwrap();
    check("stale");
    fs::write(&pointer, "{\"version\":").unwrap();
    check("torn");
    fs::write(&pointer, "").unwrap();
    check("empty");
    fs::remove_file(&pointer).unwrap();
    check("gone");
}

#[test]
fn a_checkpoint_that_landed_but_was_reported_failed_is_used() {
    for trick in [Trick::LandsButFails, Trick::LandsButExists] {
        let bench = Bench::in_memory();
        let store = Faulty::new("orders/_delta_log/00000000000000000100.checkpoint", trick, 1);
        let mut archive = bench.open_over(store, &[0, 1]);
        carry(&mut archive, 1, 7, 9).unwrap();
        (0..110).for_each(|offset| carry(&mut archive, 0, offset, offset + 1).unwrap());
        drop(archive);
        let log = bench.rows().join("_delta_log");
        let checkpoint = PathBuf::from(format!("{:020}.checkpoint.parquet", 100));
        assert_eq!(find(&log, ".checkpoint.parquet"), [checkpoint], "{trick:?}");
        assert!(!log.join("_last_checkpoint").exists(), "{trick:?}: nobody believes that it is there");
        (0..100).for_each(|version| fs::remove_file(log.join(format!("{version:020}.json"))).unwrap());
        assert_eq!(cursors(&mut bench.open(&[]), 1), [9], "{trick:?}: only the checkpoint tells it");
        assert_eq!(cursors(&mut bench.open(&[]), 0), [110], "{trick:?}");
        assert_eq!(bench.offsets().len(), 112, "{trick:?}");
    }
}

/// Of its rows or its rejects: neither is begun anew beside the other.
#[test]
fn a_table_that_has_vanished_is_not_begun_anew() {
    for away in ["orders", "orders_rejects"] {
        let mut bench = Bench::new();
        let mut archive = bench.open(&[0]);
        carry(&mut archive, 0, 0, 5).unwrap();
        let (from, to) = (bench.settings.location.join(away), bench.folder.path().join("away"));
        fs::rename(&from, &to).unwrap();
        let error = carry(&mut archive, 0, 5, 9).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
        drop(archive);
        bench.settings.create = false; // as of a process that has had them
        let error = bench.try_open().err().expect("it is not there");
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("bring it back") && !from.exists(), "{error}");
        fs::rename(&to, &from).unwrap();
        carry(&mut bench.open(&[0]), 0, 5, 9).unwrap();
        assert_eq!(bench.offsets(), (0..9).collect::<Vec<_>>());
    }
}
