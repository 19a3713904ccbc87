//! Tables that something has happened to: files that are gone, empty or not what they were.

use super::{
    upkeep::{DAY, age},
    *,
};
use crate::{
    error::ErrorKind,
    sink::archive::{
        log, replay,
        upkeep::{Compact, Vacuum},
    },
};

/// A table with that many commits, and what is in its log.
fn table(commits: i64) -> (Bench, PathBuf) {
    let bench = Bench::in_memory();
    let mut archive = bench.open(&[0]);
    (0..commits).for_each(|offset| carry(&mut archive, 0, offset, offset + 1).unwrap());
    let log = bench.rows().join(log::FOLDER);
    (bench, log)
}

#[track_caller]
fn refused(bench: &Bench, parts: &[&str]) {
    let error = bench.try_open().err().expect("it is refused");
    assert_eq!(error.kind, ErrorKind::Config, "waiting does not help: {error}");
    for part in parts {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    assert_eq!(error.to_string().lines().count(), 1, "{error}");
}

#[test]
fn a_bad_entry_is_named() {
    let name = "00000000000000000003.json";
    for (bytes, what) in [
        (Some("garbage"), "cannot be understood"),
        (Some("{\"commitInfo\":{"), "cannot be understood"),
        (Some(""), "is empty"),
        (None, "cannot be read"),
    ] {
        let (bench, log) = table(5);
        let path = log.join(name);
        match bytes {
            Some(bytes) => fs::write(path, bytes).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
        refused(&bench, &[name, what, "bring it back"]);
    }
}

/// It may be half written by somebody who does not put entries into place as a whole.
#[test]
fn an_entry_of_nothing_is_not_passed_over_while_we_run() {
    let (bench, log) = table(2);
    let mut archive = bench.open(&[0]);
    let path = log.join(format!("{:020}.json", last_version(&bench.rows()) + 1));
    fs::write(&path, "").unwrap();
    let error = archive.assign(&[partition(0)]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    fs::remove_file(&path).unwrap();
    carry(&mut archive, 0, 2, 3).unwrap();
    assert_eq!(bench.offsets(), [0, 1, 2]);
}

/// What a checkpoint stands for may be gone, whoever has written it, and in whatever form.
#[test]
fn entries_before_a_checkpoint_in_parts_are_not_missed() {
    let (bench, log) = table(14);
    let version = replay::checkpoint(&bench.open(&[]).rows.table).unwrap();
    let name = |version: u64, ending: &str| log.join(format!("{version:020}.{ending}"));
    let part = name(version, "checkpoint.0000000001.0000000001.parquet");
    fs::rename(name(version, "checkpoint.parquet"), &part).unwrap();
    fs::write(log.join("_last_checkpoint"), format!(r#"{{"version":{version},"size":1,"parts":1}}"#)).unwrap();
    (0..version).for_each(|version| fs::remove_file(name(version, "json")).unwrap());
    carry(&mut bench.open(&[0]), 0, 14, 15).unwrap();
    fs::write(name(version + 1, "json"), "garbage").unwrap();
    refused(&bench, &[&format!("{:020}.json cannot be understood", version + 1)]);
    // What is wrong with the part is not ours to say: it is there.
    fs::remove_file(name(version + 1, "json")).unwrap();
    fs::write(part, "garbage").unwrap();
    assert_eq!(bench.try_open().err().unwrap().kind, ErrorKind::Unavailable);
}

/// A feature that was taken out again with an entry that we may not read yet.
#[test]
fn what_an_older_entry_asks_for_is_not_believed_beside_one_that_cannot_be_read() {
    let (bench, log) = table(2);
    let asks =
        r#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["odd"],"writerFeatures":["odd"]}}"#;
    let name = |version: u64| log.join(format!("{version:020}.json"));
    let next = last_version(&bench.rows()) + 1;
    fs::write(name(next), asks).unwrap();
    refused(&bench, &["needs table features odd"]);
    fs::write(name(next + 1), "{").unwrap();
    refused(&bench, &[&format!("{:020}.json cannot be understood", next + 1)]);
}

#[test]
fn what_to_do_about_a_bad_checkpoint_or_pointer_is_told() {
    let (bench, log) = table(14);
    let pointer = log.join("_last_checkpoint");
    fs::write(&pointer, r#"{"version":9,"size":10}"#).unwrap();
    refused(&bench, &["_last_checkpoint names a checkpoint of version 9", "remove `_last_checkpoint`", "all entries"]);
    fs::remove_file(&pointer).unwrap();
    let version = replay::checkpoint(&bench.open(&[]).rows.table).unwrap();
    let checkpoint = log.join(format!("{version:020}.checkpoint.parquet"));
    fs::write(&checkpoint, "x".repeat(100)).unwrap();
    refused(&bench, &["checkpoint.parquet cannot be read: remove it, and `_last_checkpoint` too"]);
    [&checkpoint, &pointer].into_iter().for_each(|path| fs::remove_file(path).unwrap());
    assert_eq!(bench.offsets(), Vec::from_iter(0..14));
}

/// It was taken for one that another program had just replaced, and kept whole partitions from being compacted.
#[test]
fn a_live_file_that_is_gone_is_named_and_the_others_have_their_turn() {
    let bench = Bench::partitioned_by(&["city"]);
    let mut archive = bench.open(&[0]);
    let cities = ["上饶", "九江", "南昌", "吉安", "宜春", "抚州", "新余", "景德镇", "萍乡", "赣州", "鹰潭", "南城"];
    for step in 0..3 {
        let from = step * 12;
        let mut some = rows(from..from + 12);
        some.iter_mut().zip(cities).for_each(|(row, city)| row.2 = Some(city));
        archive.write(&outcome(0, from, from + 12, &some)).unwrap();
        archive.commit(&covered(0, from, from + 12)).unwrap();
    }
    let lost: Vec<PathBuf> = cities[..11]
        .iter()
        .map(|city| find(&bench.rows().join(format!("city={city}")), ".parquet").remove(0))
        .collect();
    let lost: Vec<PathBuf> =
        lost.iter().zip(cities).map(|(file, city)| bench.rows().join(format!("city={city}")).join(file)).collect();
    lost.iter().for_each(|path| fs::remove_file(path).unwrap());
    let mut all = Vec::new();
    let how = Compact { min_files: 2, ..Compact::default() };
    let error = bench.upkeep(EVENING).compact(&how, |done| all.push(done.clone())).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config, "waiting does not bring it back: {error}");
    for part in [lost[0].file_name().unwrap().to_str().unwrap(), "it is not there", "bring it back", "and 1 more"] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    assert_eq!((all[0].damaged, all[0].given_up, all[0].commits, all[0].files_after), (11, 0, 1, 34));
    assert_eq!(all.len(), 2, "the other table too");
    assert_eq!(cursors(&mut archive, 0), [36]);
}

/// Waiting mends no file that was cut short or written over; a disk may answer again.
#[test]
fn a_file_that_is_damaged_is_told_from_a_disk_that_does_not_answer() {
    type Spoil = fn(&Path);
    let cut = |path: &Path| fs::write(path, &fs::read(path).unwrap()[..100]).unwrap();
    let overwritten = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[4..200].fill(0xff); // pages, while the footer is as it was
        fs::write(path, bytes).unwrap();
    };
    let unreadable = |path: &Path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap(); // it opens, and every read is an error
    };
    let ways: [(Spoil, ErrorKind); 3] =
        [(cut, ErrorKind::Config), (overwritten, ErrorKind::Config), (unreadable, ErrorKind::Unavailable)];
    for (at, (spoil, kind)) in ways.into_iter().enumerate() {
        let (bench, _) = table(3);
        let file = bench.rows().join(&bench.files()[1]);
        spoil(&file);
        let error = bench.try_compact().unwrap_err();
        assert_eq!(error.kind, kind, "{at}: {error}");
        assert!(error.to_string().contains(file.file_name().unwrap().to_str().unwrap()), "{error}");
        let ends = error.to_string().ends_with("take it out of the table: its rows are lost then");
        assert_eq!(ends, kind == ErrorKind::Config, "{error}");
    }
}

#[test]
fn a_stray_file_beside_the_writers_folders_stops_no_vacuum() {
    let (bench, _) = table(2);
    fs::create_dir_all(bench.rows().join("_staging")).unwrap();
    fs::write(bench.rows().join("_staging/.DS_Store"), "x").unwrap();
    age(&bench.rows(), EVENING - 30 * DAY);
    assert_eq!(bench.vacuum(EVENING, Vacuum::default()).kept, 2);
    drop(bench.open(&[0]));
}

#[test]
fn a_table_whose_log_was_emptied_is_not_begun_anew_beside_the_other() {
    let (bench, log) = table(2);
    let all: Vec<PathBuf> = find(&log, "").into_iter().map(|path| log.join(path)).collect();
    all.iter().for_each(|path| fs::remove_file(path).unwrap());
    // Whoever looks after the tables says the same.
    let tell = &mut |_: &_| Ok(());
    let opened = bench.try_open().map(drop);
    for refused in [opened, bench.upkeep_over(store::local(), EVENING).map(drop), bench.history(1, tell)] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        for part in ["orders_rejects is there and", "orders is not: bring it back, or delete both"] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
    assert_eq!(find(&log, ".json").len(), 0, "nothing was written");
}

/// Who cleans up beside us may have taken it, so it is waited for; but nobody should be told that nothing is lost.
#[test]
fn a_file_that_the_log_lists_and_that_is_away_is_told_with_what_to_do() {
    let (bench, _) = table(1);
    bench.files().iter().for_each(|path| fs::remove_file(bench.rows().join(path)).unwrap());
    let reader = bench.try_open().unwrap().reader();
    let error = reader.keys(&["order_no".to_owned()], &[(partition(0), i64::MAX)], None, &mut |_| Ok(())).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.to_string().contains(".parquet: No such file"), "{error}");
    assert!(error.context("pipeline x").advice().contains("bring it back from a copy"));
}
