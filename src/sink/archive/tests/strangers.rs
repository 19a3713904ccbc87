//! Tables that others wrote into, or changed. T07.

use super::*;
use crate::{
    error::ErrorKind,
    sink::archive::upkeep::{Compact, Version},
};

/// Puts an entry into the rows table's log, as another program would.
pub fn stranger(bench: &Bench, actions: &[serde_json::Value]) {
    let version = last_version(&bench.rows()) + 1;
    let text: String = actions.iter().map(|action| format!("{action}\n")).collect();
    fs::write(bench.rows().join(format!("_delta_log/{version:020}.json")), text).unwrap();
}

pub fn info(operation: &str) -> serde_json::Value {
    serde_json::json!({ "commitInfo": { "operation": operation, "engineInfo": "elsewhere/1.0" } })
}

/// The add action of the first live file.
fn add(bench: &Bench, data_change: bool) -> serde_json::Value {
    let mut found = None;
    for version in 0..=last_version(&bench.rows()) {
        found = found.or(entry(&bench.rows(), version).into_iter().find(|action| action.get("add").is_some()));
    }
    let mut add = found.unwrap();
    add["add"]["dataChange"] = data_change.into();
    add
}

#[test]
fn a_pipeline_with_another_name_does_not_write_everything_once_more() {
    let mut bench = Bench::new();
    carry(&mut bench.open(&[0]), 0, 0, 3).unwrap();
    bench.settings.pipeline = "orders_of_work".into();
    let error = bench.try_open().err().expect("it is refused");
    assert_eq!(error.kind, ErrorKind::Config);
    for part in ["the pipeline work_orders", "this is orders_of_work", "old name"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    bench.settings.accept_foreign_writes = true;
    assert!(cursors(&mut bench.open(&[]), 0).is_empty(), "who says that he knows may");
}

#[test]
fn data_of_others_is_refused_while_running_and_at_the_start() {
    let mut bench = Bench::new();
    let mut archive = bench.open(&[0]);
    carry(&mut archive, 0, 0, 3).unwrap();
    let rejects = last_version(&bench.rejects());
    stranger(&bench, &[info("WRITE"), add(&bench, true)]);
    let error = carry(&mut archive, 0, 3, 4).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    for part in ["version 3", "operation WRITE", "elsewhere/1.0", "foreign_writes"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(plain_rows(&bench.rows()), 3, "our files are taken back");
    assert_eq!(last_version(&bench.rejects()), rejects, "rejects are not ahead");
    drop(archive);
    assert_eq!(bench.try_open().err().unwrap().kind, ErrorKind::Config);

    bench.settings.accept_foreign_writes = true;
    let mut archive = bench.open(&[0]);
    carry(&mut archive, 0, 3, 4).unwrap();
    drop(archive);
    bench.settings.accept_foreign_writes = false;
    assert_eq!(cursors(&mut bench.open(&[]), 0), [4], "it was accepted once");
}

#[test]
fn maintenance_by_others_is_fine() {
    let bench = Bench::new();
    let mut archive = bench.open(&[0]);
    carry(&mut archive, 0, 0, 3).unwrap();
    stranger(&bench, &[info("OPTIMIZE"), add(&bench, false)]);
    stranger(&bench, &[info("VACUUM START")]);
    carry(&mut archive, 0, 3, 4).unwrap();
    stranger(&bench, &[info("DELETE"), add(&bench, true)]);
    carry(&mut archive, 0, 4, 5).unwrap();
    stranger(&bench, &[info("OPTIMIZE")]);
    drop(archive);
    carry(&mut bench.open(&[0]), 0, 5, 6).unwrap();
    assert_eq!(cursors(&mut bench.open(&[]), 0), [6]);
}

#[test]
fn a_restore_would_turn_back_rows_but_not_cursors() {
    let bench = Bench::new();
    let mut archive = bench.open(&[0]);
    carry(&mut archive, 0, 0, 3).unwrap();
    stranger(&bench, &[info("RESTORE")]);
    assert_eq!(archive.assign(&[partition(0)]).unwrap_err().kind, ErrorKind::Config);
}

#[test]
fn another_schema_is_refused_with_the_difference() {
    let mut bench = Bench::new();
    carry(&mut bench.open(&[0]), 0, 0, 3).unwrap();
    let before = find(bench.folder.path(), "");
    let mut fields: Vec<Field> = schema().fields().iter().map(|field| (**field).clone()).collect();
    fields[2] = Field::new("count", DataType::Int64, true);
    fields[0] = Field::new("order_id", DataType::Utf8, true);
    bench.schema = Arc::new(Schema::new(fields));
    let error = bench.try_open().err().unwrap();
    assert_eq!(error.kind, ErrorKind::Config);
    for line in [
        "column `order_id` (string) is not in the table",
        "column `count` is integer in the table, long in the contract",
        "column `order_no` (string) of the table is not in the contract",
    ] {
        assert!(error.to_string().contains(line), "{error}");
    }
    bench.schema = schema();
    bench.settings.partition_by = vec!["city".into()];
    let error = bench.try_open().err().unwrap();
    assert!(error.to_string().contains("partitioned by [ingested_on], the pipeline says [city]"), "{error}");
    assert_eq!(find(bench.folder.path(), ""), before, "nothing was touched");
}

#[test]
fn a_schema_that_is_changed_while_we_run_is_refused() {
    let bench = Bench::new();
    let mut archive = bench.open(&[0]);
    carry(&mut archive, 0, 0, 3).unwrap();
    let mut metadata = entry(&bench.rows(), 0).into_iter().find(|action| action.get("metaData").is_some()).unwrap();
    let changed = metadata["metaData"]["schemaString"].as_str().unwrap().replace("\"seconds\"", "\"minutes\"");
    metadata["metaData"]["schemaString"] = changed.into();
    stranger(&bench, &[info("CHANGE COLUMN"), metadata]);
    let error = carry(&mut archive, 0, 3, 4).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.to_string().contains("`minutes`"), "{error}");
    assert_eq!(plain_rows(&bench.rows()), 3);
}

/// It would take away the cursors of partitions that have been quiet for so long.
#[test]
fn a_table_that_forgets_cursors_is_refused() {
    let bench = Bench::new();
    let mut archive = bench.open(&[0]);
    carry(&mut archive, 0, 0, 3).unwrap();
    let mut metadata = entry(&bench.rows(), 0).into_iter().find(|action| action.get("metaData").is_some()).unwrap();
    metadata["metaData"]["configuration"] =
        serde_json::json!({"delta.setTransactionRetentionDuration": "interval 7 days"});
    stranger(&bench, &[info("SET TBLPROPERTIES"), metadata]);
    for refused in [carry(&mut archive, 0, 3, 4), bench.try_open().map(drop)] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        for part in ["delta.setTransactionRetentionDuration is set", "UNSET TBLPROPERTIES"] {
            assert!(error.to_string().contains(part), "{error}");
        }
        assert!(!error.to_string().contains("add-columns"), "no column is missing: {error}");
    }
    assert_eq!(plain_rows(&bench.rows()), 3);
}

#[test]
fn features_that_we_do_not_know_are_refused() {
    let bench = Bench::new();
    let mut archive = bench.open(&[0]);
    let protocol = |features: &[&str]| {
        serde_json::json!({ "protocol": {
            "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": [], "writerFeatures": features,
        }})
    };
    stranger(&bench, &[info("ADD FEATURE"), protocol(&["appendOnly", "deletionVectors"])]);
    carry(&mut archive, 0, 0, 3).unwrap();
    stranger(&bench, &[info("ADD FEATURE"), protocol(&["columnMapping"])]);
    let error = carry(&mut archive, 0, 3, 4).unwrap_err();
    assert!(error.to_string().contains("columnMapping"), "{error}");
    // The kernel, which reads the log, does not know it either.
    let bench = Bench::new();
    drop(bench.open(&[]));
    let protocol = serde_json::json!({ "protocol": {
        "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["unheardOf"], "writerFeatures": ["unheardOf"],
    }});
    stranger(&bench, &[info("ADD FEATURE"), protocol]);
    let error = bench.try_open().err().unwrap();
    assert_eq!(error.kind, ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("(version 1) needs table features unheardOf"), "{error}");
    // Versions of before there were names.
    for (version, what) in [(3, "CHECK constraints"), (4, "a change data feed"), (5, "column mapping")] {
        let bench = Bench::new();
        drop(bench.open(&[]));
        let protocol = serde_json::json!({ "protocol": { "minReaderVersion": 1, "minWriterVersion": version } });
        stranger(&bench, &[info("SET TBLPROPERTIES"), protocol]);
        let error = bench.try_open().err().unwrap().to_string();
        for part in [what, "another `path`"] {
            assert!(error.contains(part), "{error}");
        }
    }
}

/// Delta drops few features, and CHECK constraints only without constraints; what is advised must be possible.
#[test]
fn the_way_out_of_a_feature_is_one_that_is_open() {
    let old = |version: i32| serde_json::json!({ "minReaderVersion": 1, "minWriterVersion": version });
    let named = |features: &[&str]| serde_json::json!({ "minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": features });
    let constraints =
        "`ALTER TABLE … DROP CONSTRAINT …` for each constraint, then `ALTER TABLE … DROP FEATURE checkConstraints`";
    let two = "(`ALTER TABLE … DROP FEATURE columnMapping`, then `ALTER TABLE … DROP FEATURE typeWidening`)";
    for (protocol, statements) in [
        (old(3), Some(constraints)),
        (named(&["appendOnly", "checkConstraints"]), Some(constraints)),
        (named(&["columnMapping", "typeWidening"]), Some(two)),
        (old(4), None),
        (old(5), None),
        (named(&["changeDataFeed", "checkConstraints"]), None),
    ] {
        let bench = Bench::new();
        carry(&mut bench.open(&[0]), 0, 0, 3).unwrap();
        let asked = last_version(&bench.rows()) + 1;
        let name = format!("_delta_log/{asked:020}.json");
        let mut running = bench.open(&[0]);
        stranger(&bench, &[info("SET TBLPROPERTIES"), serde_json::json!({ "protocol": protocol })]);
        for refused in [carry(&mut running, 0, 3, 4), bench.try_open().map(drop)] {
            let error = refused.unwrap_err().to_string();
            assert_eq!(error.contains("DROP"), statements.is_some(), "{error}");
            assert_eq!(error.contains("Delta cannot drop that again"), statements.is_none(), "{error}");
            for part in [statements.unwrap_or_default(), &format!("remove {}", bench.rows().join(&name).display())] {
                assert!(error.contains(part), "{part}: {error}");
            }
        }
        drop(running);
        // What was written after it builds on it.
        stranger(&bench, &[info("VACUUM START")]);
        let error = bench.try_open().err().unwrap().to_string();
        assert!(!error.contains("remove") && error.contains("another `path`"), "{error}");
        fs::remove_file(bench.rows().join(format!("_delta_log/{:020}.json", asked + 1))).unwrap();
        fs::remove_file(bench.rows().join(&name)).unwrap();
        carry(&mut bench.open(&[0]), 0, 3, 4).unwrap();
        assert_eq!(bench.offsets(), [0, 1, 2, 3]);
    }
}

/// Whoever wants to know why a table is refused looks there.
#[test]
fn history_tells_of_a_table_that_is_refused() {
    let bench = Bench::new();
    carry(&mut bench.open(&[0]), 0, 0, 3).unwrap();
    let mut metadata = entry(&bench.rows(), 0).into_iter().find(|action| action.get("metaData").is_some()).unwrap();
    let changed = metadata["metaData"]["schemaString"].as_str().unwrap().replace("\"seconds\"", "\"minutes\"");
    metadata["metaData"]["schemaString"] = changed.into();
    let protocol = serde_json::json!({ "protocol": { "minReaderVersion": 2, "minWriterVersion": 5 } });
    stranger(&bench, &[info("CHANGE COLUMN"), metadata, protocol]);
    assert_eq!(bench.try_open().err().unwrap().kind, ErrorKind::Config);
    let mut told = Vec::new();
    let mut tell = |version: &Version| {
        told.push((version.table.clone(), version.version, version.operation.clone(), version.by.clone()));
        Ok(())
    };
    bench.history(1, &mut tell).unwrap();
    assert_eq!(told[0], ("orders".into(), last_version(&bench.rows()), "CHANGE COLUMN".into(), "elsewhere/1.0".into()));
}

#[test]
fn partition_columns_must_exist_and_make_folders() {
    for (column, text) in [("town", "no such column"), ("score", "only texts, dates and integers")] {
        let error = Bench::partitioned_by(&[column]).try_open().err().unwrap();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.to_string().contains(text), "{error}");
    }
}

/// Who writes a path into the log as it is spoken takes nothing away that was written in percent signs, and the reverse.
#[test]
fn files_whose_paths_are_spelt_another_way_are_left_alone() {
    let bench = Bench::partitioned_by(&["city"]);
    let mut archive = bench.open(&[0]);
    carry(&mut archive, 0, 0, 3).unwrap();
    let mut theirs = add(&bench, false);
    let ours = theirs["add"]["path"].take();
    let file = percent_encoding::percent_decode_str(ours.as_str().unwrap()).decode_utf8().unwrap();
    assert_ne!(file, ours.as_str().unwrap());
    fs::copy(bench.rows().join(&*file), bench.rows().join("city=南昌/spark.parquet")).unwrap();
    theirs["add"]["path"] = "city=南昌/spark.parquet".into();
    let remove = serde_json::json!({ "remove": { "path": ours, "dataChange": false, "deletionTimestamp": EVENING } });
    stranger(&bench, &[info("OPTIMIZE"), remove, theirs]);
    for step in 1..6 {
        carry(&mut archive, 0, step * 3, step * 3 + 3).unwrap();
    }
    let done = bench.compact(Compact { min_files: 2, remove_replaced: true, ..Compact::default() });
    assert_eq!((done.files_before, done.replaced, done.files_after), (6, 5, 2));
    assert_eq!(bench.offsets(), Vec::from_iter(0..18));
}

/// Who may write into a table may not make us delete, or wait for, what is elsewhere.
#[test]
fn what_others_lay_into_staging_reaches_nothing_outside_of_the_table() {
    let bench = Bench::new();
    carry(&mut bench.open(&[0]), 0, 0, 3).unwrap();
    let elsewhere = bench.folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let victim = elsewhere.join("victim");
    fs::write(&victim, "dear").unwrap();
    fs::write(elsewhere.join("lock"), "").unwrap();
    let staging = bench.rows().join("_staging");
    fs::create_dir_all(staging.join("piped")).unwrap();
    std::os::unix::fs::symlink(&elsewhere, staging.join("linked")).unwrap();
    let pipe = std::ffi::CString::new(staging.join("piped/lock").into_os_string().into_encoded_bytes()).unwrap();
    // SAFETY: a path that ends with a zero.
    assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
    carry(&mut bench.open(&[0]), 0, 3, 5).unwrap();
    let up = "../".repeat(bench.rows().canonicalize().unwrap().components().count());
    let above = format!("{up}{}", victim.canonicalize().unwrap().display());
    for odd in [above.as_str(), victim.to_str().unwrap()] {
        let dead = dead_writer(&bench.rows(), &Uuid::new_v4().to_string(), 0, &[odd]);
        let refused = bench.try_open_over(store::local()).err().expect("it is refused");
        assert_eq!(refused.kind, ErrorKind::Config);
        assert!(refused.to_string().contains("which is not in the table"), "{refused}");
        fs::remove_dir_all(dead).unwrap();
    }
    assert!(victim.exists() && elsewhere.join("lock").exists());
    assert_eq!((plain_rows(&bench.rows()), cursors(&mut bench.open(&[0]), 0)), (5, vec![5]));
}
