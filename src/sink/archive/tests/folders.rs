//! Values of partition columns that make no folder, or hardly one.

use super::*;
use crate::error::ErrorKind;

/// Two rows, the second one in this city and due on this day.
fn batch(city: &'static str, due: i32) -> Outcome {
    let mut outcome = outcome(0, 0, 2, &[Row(0, "a".into(), Some("南昌"), None), Row(1, "b".into(), Some(city), None)]);
    let mut columns = outcome.rows.columns().to_vec();
    columns[8] = Arc::new(Date32Array::from(vec![Some(0), Some(due)]));
    outcome.rows = RecordBatch::try_new(schema(), columns).unwrap();
    outcome
}

/// Readers of Delta have it whole; its folder must be one that a disk takes.
#[test]
fn a_value_that_is_too_long_for_a_folder_is_kept() {
    let text = |part: &str, times: usize| &*part.repeat(times).leak();
    for (city, folder) in [
        (text("x", 250), format!("city={}", "x".repeat(250))),
        (text("x", 251), format!("city={}…", "x".repeat(247))),
        (text("昌", 100), format!("city={}…", "昌".repeat(82))),
        (text("%", 84), format!("city={}…", "%25".repeat(82))),
    ] {
        let bench = Bench::partitioned_by(&["city"]);
        let mut archive = bench.open(&[0]);
        archive.write(&batch(city, 0)).unwrap();
        archive.commit(&covered(0, 0, 2)).unwrap();
        drop(archive);
        assert!(bench.rows().join(&folder).is_dir() && folder.len() <= 255, "{folder}");
        bench.try_compact().unwrap();
        let mut seen = Vec::new();
        let mut each = |batch: &RecordBatch| {
            seen.extend(batch["city"].as_string::<i32>().iter().map(|city| city.unwrap().to_owned()));
            Ok(())
        };
        let partitions = [(partition(0), i64::MAX)];
        bench.try_open().unwrap().reader().keys(&["city".to_owned()], &partitions, None, &mut each).unwrap();
        seen.sort();
        let mut all = ["南昌", city];
        all.sort();
        assert_eq!(seen, all);
    }
}

/// The log would hold a date that keeps readers from the whole table.
#[test]
fn a_date_that_makes_no_folder_is_refused() {
    let of = |year: i32| {
        let day = chrono::NaiveDate::from_ymd_opt(year, 6, 1).unwrap();
        day.signed_duration_since(chrono::NaiveDate::default()).num_days() as i32
    };
    let bench = Bench::partitioned_by(&["due"]);
    let mut archive = bench.open(&[0]);
    for due in [of(10_000), of(0), i32::MAX, i32::MIN] {
        let error = archive.write(&batch("赣州", due)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config, "{error}");
        for part in ["`due`", "raw.orders/0, offset 1", "years 1 to 9999"] {
            assert!(error.to_string().contains(part), "{error}");
        }
        archive.abort();
    }
    archive.write(&batch("赣州", of(9999))).unwrap();
    archive.commit(&covered(0, 0, 2)).unwrap();
    drop(archive);
    assert_eq!(bench.offsets(), [0, 1]);
}

/// A message time without a day that others can read has none.
#[test]
fn a_day_before_the_year_one_is_none() {
    let bench = Bench::new();
    let mut archive = bench.open(&[0]);
    let long_ago = chrono::NaiveDate::from_ymd_opt(0, 6, 1).unwrap().and_hms_opt(0, 0, 0).unwrap().and_utc();
    archive.write(&outcome(0, 0, 1, &[Row(0, "a".into(), None, Some(long_ago.timestamp_millis()))])).unwrap();
    archive.commit(&covered(0, 0, 1)).unwrap();
    assert!(bench.rows().join("ingested_on=__HIVE_DEFAULT_PARTITION__").exists());
}

/// As a crash may leave it: files of a commit that could not be put where they belong.
#[test]
fn what_cannot_be_there_need_not_be_taken_back() {
    let bench = Bench::partitioned_by(&["city"]);
    carry(&mut bench.open(&[0]), 0, 0, 2).unwrap();
    fs::write(bench.rows().join("city=九江"), "").unwrap();
    let long = format!("city={}/part-1.zstd.parquet", "x".repeat(300));
    let files = [&*long, "city=九江/part-1.zstd.parquet"];
    let commit = Uuid::new_v4().to_string();
    let dead = dead_writer(&bench.rows(), &commit, last_version(&bench.rows()), &files);
    assert_eq!(bench.offsets(), [0, 1]);
    assert!(!dead.exists());
}

/// T28: two feeds in turn, a message each, and the folders of their rows too: one file each, not one per change.
#[test]
fn t28_feeds_and_folders_that_take_turns_make_one_file_per_folder() {
    let bench = Bench::partitioned_by(&["city"]);
    let mut archive = bench.open(&[0, 1]);
    for step in 0..50 {
        for (number, source) in [(0, "nanchang"), (1, "ganzhou")] {
            let mut some = rows(step * 2..step * 2 + 2);
            some[1].2 = Some("赣州");
            let mut batch = outcome(number, step * 2, step * 2 + 2, &some);
            batch.source = source.into();
            archive.write(&batch).unwrap();
        }
    }
    let intervals = [covered(0, 0, 100).intervals, covered(1, 0, 100).intervals].concat();
    archive.commit(&Covered { intervals, ..Covered::default() }).unwrap();
    assert_eq!((find(&bench.rows(), ".parquet").len(), plain_rows(&bench.rows())), (2, 200));
}

/// The pipeline's own, of an earlier `path`, as well as anybody's.
#[test]
fn a_table_in_the_folder_of_another_is_refused() {
    let mut bench = Bench::new();
    carry(&mut bench.open(&[0]), 0, 0, 2).unwrap();
    let all = find(bench.folder.path(), "");
    bench.settings.path = "orders/new/one".into();
    let refused = bench.try_open().err().expect("it lies in `orders`");
    assert_eq!(refused.kind, ErrorKind::Config);
    assert!(refused.to_string().contains("归档 一/orders/new/one lies in the table"), "{refused}");
    assert_eq!(find(bench.folder.path(), ""), all, "nothing was made");
}

/// It is no table that is seen there: the rights may come back, and the archive is waited for.
#[test]
fn a_folder_around_that_cannot_be_looked_into_is_no_mistake() {
    let bench = Bench::new();
    carry(&mut bench.open(&[0]), 0, 0, 2).unwrap();
    let log = bench.settings.location.join("_delta_log");
    std::os::unix::fs::symlink("_delta_log", &log).unwrap();
    assert!(std::fs::read_dir(&log).is_err_and(|e| e.kind() != std::io::ErrorKind::NotFound), "root may look anywhere");
    carry(&mut bench.open(&[0]), 0, 2, 4).unwrap();
}
