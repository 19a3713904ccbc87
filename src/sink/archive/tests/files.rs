//! What lies in the files and what the log says about it. T34.

use arrow::datatypes::{Date32Type, TimestampMicrosecondType};
use parquet::{
    basic::{LogicalType, TimeUnit},
    file::reader::{FileReader, SerializedFileReader},
};
use serde_json::json;

use super::*;
use crate::error::ErrorKind;

fn adds(folder: &Path) -> Vec<serde_json::Value> {
    let entries = (0..=last_version(folder)).flat_map(|version| entry(folder, version));
    entries.filter_map(|action| action.get("add").cloned()).collect()
}

fn keys(bench: &Bench, columns: &[&str], numbers: &[i32], recent: Option<Recent>) -> Vec<RecordBatch> {
    let below: Vec<_> = numbers.iter().map(|n| (*n, i64::MAX)).collect();
    keys_below(bench, columns, &below, recent)
}

fn keys_below(bench: &Bench, columns: &[&str], below: &[(i32, i64)], recent: Option<Recent>) -> Vec<RecordBatch> {
    let columns: Vec<String> = columns.iter().map(|c| (*c).to_owned()).collect();
    let partitions: Vec<_> = below.iter().map(|(n, below)| (partition(*n), *below)).collect();
    let reader = bench.try_open().unwrap().reader();
    let mut batches = Vec::new();
    let mut each = |batch: &RecordBatch| {
        batches.push(batch.clone());
        Ok(())
    };
    reader.keys(&columns, &partitions, recent, &mut each).unwrap();
    batches
}

#[test]
fn statistics_bound_the_values() {
    let bench = Bench::new();
    let mut archive = bench.open(&[0]);
    let mut batch = rows(100..103);
    batch[1].1 = "工".repeat(50);
    batch[2].2 = None;
    archive.write(&outcome(0, 100, 103, &batch)).unwrap();
    archive.commit(&covered(0, 100, 103)).unwrap();
    let add = &adds(&bench.rows())[0];
    assert_eq!(add["partitionValues"], json!({ "ingested_on": "2026-11-26" }));
    let stats: serde_json::Value = serde_json::from_str(add["stats"].as_str().unwrap()).unwrap();
    let (min, max) = (&stats["minValues"], &stats["maxValues"]);
    assert_eq!(stats["numRecords"], 3);
    let max_order = max["order_no"].as_str().unwrap();
    assert!(max_order > "工".repeat(50).as_str() && max_order.len() <= 64, "{max_order}");
    for (column, low, high, nulls) in [
        ("city", json!("南昌"), json!("南昌"), 1),
        ("count", json!(100), json!(102), 1),
        ("seconds", json!(100), json!(102), 0),
        ("score", json!(25.0), json!(25.5), 0),
        ("amount", json!(-0.5), json!(-0.48), 0),
        ("appeal_time", json!("1970-01-01T00:01:39.999Z"), json!("1970-01-01T00:01:42.000Z"), 0),
        ("due", json!("1970-04-11"), json!("1970-04-13"), 0),
        ("_offset", json!(100), json!(102), 0),
        ("_ingested_at", json!("2026-11-25T16:30:00.223Z"), json!("2026-11-25T16:30:00.225Z"), 0),
    ] {
        assert_eq!((&min[column], &max[column]), (&low, &high), "{column}");
        assert_eq!(stats["nullCount"][column], nulls, "{column}");
    }
    assert!(add["stats"].as_str().unwrap().contains("\"amount\":-0.50"));
    assert_eq!((min.get("flags"), min.get("urgent")), (None, None));
}

#[test]
fn files_hold_what_others_can_read() {
    let bench = Bench::new();
    carry(&mut bench.open(&[0]), 0, 0, 3).unwrap();
    let path = find(&bench.rows(), ".parquet").remove(0);
    assert!(path.starts_with("ingested_on=2026-11-26"));
    let file = SerializedFileReader::new(fs::File::open(bench.rows().join(path)).unwrap()).unwrap();
    let metadata = file.metadata().file_metadata();
    let about: Vec<_> = metadata.key_value_metadata().unwrap().iter().map(|pair| pair.key.as_str()).collect();
    for key in ["huiju.pipeline", "huiju.contract", "huiju.columns", "huiju.intervals"] {
        assert!(about.contains(&key), "{about:?}");
    }
    assert!(!about.contains(&"ARROW:schema"));
    let column = |name: &str| metadata.schema_descr().columns().iter().find(|c| c.path().parts()[0] == name).cloned();
    for name in ["_ingested_at", "appeal_time"] {
        let kind = column(name).unwrap().logical_type_ref().cloned();
        let wanted = LogicalType::timestamp(true, TimeUnit::MICROS);
        assert_eq!(kind, Some(wanted), "{name}");
    }
    assert_eq!(column("flags").unwrap().path().string(), "flags.list.element");
    assert!(column("ingested_on").is_none());
}

#[test]
fn comments_are_in_the_tables_metadata() {
    let bench = Bench::new();
    drop(bench.open(&[]));
    let metadata = entry(&bench.rows(), 0).into_iter().find_map(|action| action.get("metaData").cloned()).unwrap();
    let schema: serde_json::Value = serde_json::from_str(metadata["schemaString"].as_str().unwrap()).unwrap();
    assert_eq!(schema["fields"][0]["metadata"]["comment"], "工单编号");
    assert_eq!(metadata["description"], "服务工单");
    // Readers look for bounds of no other columns.
    let bounded = "order_no,city,count,seconds,score,amount,appeal_time,due,\
                   _source,_topic,_partition,_offset,_row,_ingested_at";
    assert_eq!(metadata["configuration"], json!({ "delta.dataSkippingStatsColumns": bounded }));
}

#[test]
fn the_account_is_in_the_commit() {
    let bench = Bench::new();
    let mut archive = bench.open(&[0]);
    archive.write(&with_rejects(outcome(0, 0, 5, &rows(0..3)), &[3])).unwrap();
    let tally = Tally { input: 5, written: 3, rejected: 1, duplicate: 1 };
    archive.commit(&Covered { tally, ..covered(0, 0, 5) }).unwrap();
    let own = &entry(&bench.rows(), 2)[0]["commitInfo"]["huiju"];
    assert_eq!(
        (&own["in"], &own["written"], &own["rejected"], &own["duplicate"]),
        (&json!(5), &json!(3), &json!(1), &json!(1))
    );
    assert_eq!(own["intervals"], json!([{ "topic": "raw.orders", "partition": 0, "from": 0, "next": 5 }]));
    assert_eq!(own["pipeline"], "work_orders");
    let txn = entry(&bench.rows(), 2).into_iter().find_map(|action| action.get("txn").cloned()).unwrap();
    assert_eq!((&txn["appId"], &txn["version"]), (&json!("work_orders/raw.orders/0"), &json!(5)));
}

/// T32: rows that a mistake of ours has lost on their way into files are not committed as written.
#[test]
fn files_that_hold_other_rows_than_were_written_are_not_committed() {
    let bench = Bench::new();
    let mut archive = bench.open(&[0]);
    archive.write(&outcome(0, 0, 3, &rows(0..3))).unwrap();
    archive.rows.files.clear();
    let refused = archive.commit(&covered(0, 0, 3)).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Bug);
    let told = refused.to_string();
    assert!(told.contains("3 rows were written to") && told.contains("its files hold 0"), "{told}");
    drop(archive);
    assert!(cursors(&mut bench.open(&[]), 0).is_empty());
}

#[test]
fn folders_have_odd_names_and_rows_find_their_way() {
    let bench = Bench::partitioned_by(&["city", "ingested_on"]);
    let mut archive = bench.open(&[0]);
    let cities = [Some("南昌 市"), None, Some("a/b=c%d"), Some("南昌 市"), Some("")];
    let batch: Vec<Row> =
        rows(0..5).into_iter().zip(cities).map(|(row, city)| Row(row.0, row.1, city, row.3)).collect();
    archive.write(&outcome(0, 0, 5, &batch)).unwrap();
    let late = [Row(5, "x".into(), Some("九江"), None)];
    archive.write(&outcome(0, 5, 6, &late)).unwrap();
    archive.commit(&covered(0, 0, 6)).unwrap();
    let folders: Vec<_> = find(&bench.rows(), ".parquet").into_iter().map(|p| p.parent().unwrap().to_owned()).collect();
    assert_eq!(
        folders,
        [
            "city=__HIVE_DEFAULT_PARTITION__/ingested_on=2026-11-26",
            "city=a%2Fb%3Dc%25d/ingested_on=2026-11-26",
            "city=九江/ingested_on=__HIVE_DEFAULT_PARTITION__",
            "city=南昌 市/ingested_on=2026-11-26",
        ]
        .map(PathBuf::from)
    );
    let batches = keys(&bench, &["city", "ingested_on"], &[0], None);
    let mut seen: Vec<(i64, Option<&str>, Option<i32>)> = batches
        .iter()
        .flat_map(|batch| {
            let offsets = batch["_offset"].as_primitive::<Int64Type>().iter().map(Option::unwrap);
            let days = batch["ingested_on"].as_primitive::<Date32Type>().iter();
            offsets.zip(batch["city"].as_string::<i32>()).zip(days).map(|((o, c), d)| (o, c, d))
        })
        .collect();
    seen.sort_unstable();
    let day = Some(20783);
    let (nanchang, odd) = (Some("南昌 市"), Some("a/b=c%d"));
    assert_eq!(
        seen,
        [
            (0, nanchang, day),
            (1, None, day),
            (2, odd, day),
            (3, nanchang, day),
            (4, None, day),
            (5, Some("九江"), None)
        ]
    );
}

const DAY: i64 = 24 * 3600 * 1000;

fn at(offset: i64, time: Option<i64>) -> Row {
    Row(offset, format!("NC{offset}"), None, time)
}

/// Writes and commits rows of a partition, which it covers.
fn put(archive: &mut Archive, number: i32, rows: &[Row]) {
    let (from, next) = (rows[0].0, rows[rows.len() - 1].0 + 1);
    archive.write(&outcome(number, from, next, rows)).unwrap();
    archive.commit(&covered(number, from, next)).unwrap();
}

/// Offsets of what is recent, sorted. Times are believed up to a minute after the evening.
fn recent(bench: &Bench, numbers: &[i32], window_ms: i64) -> Vec<i64> {
    let below: Vec<_> = numbers.iter().map(|n| (*n, i64::MAX)).collect();
    recent_below(bench, &below, window_ms)
}

fn recent_below(bench: &Bench, below: &[(i32, i64)], window_ms: i64) -> Vec<i64> {
    let latest = DateTime::from_timestamp_millis(EVENING + 60_000).unwrap();
    let window = std::time::Duration::from_millis(window_ms as u64);
    let batches = keys_below(bench, &["order_no"], below, Some(Recent { window, latest }));
    let offsets = batches.iter().flat_map(|batch| batch["_offset"].as_primitive::<Int64Type>().values().to_vec());
    let mut offsets: Vec<i64> = offsets.collect();
    offsets.sort_unstable();
    offsets
}

#[test]
fn what_is_recent_is_so_for_each_partition() {
    let bench = Bench::new();
    let mut archive = bench.open(&[0, 1, 2]);
    // Partition 1 is a year behind, in files of its own and in one with partition 0.
    put(&mut archive, 1, &[at(100, Some(EVENING - 380 * DAY)), at(101, Some(EVENING - 366 * DAY))]);
    archive.write(&outcome(1, 102, 103, &[at(102, Some(EVENING - 365 * DAY))])).unwrap();
    archive.write(&outcome(0, 0, 1, &[at(0, Some(EVENING - 365 * DAY))])).unwrap();
    let intervals = [covered(1, 102, 103), covered(0, 0, 1)].into_iter().flat_map(|one| one.intervals).collect();
    archive.commit(&Covered { intervals, ..Covered::default() }).unwrap();
    put(&mut archive, 0, &[at(1, Some(EVENING - 20 * DAY))]);
    put(&mut archive, 0, &[at(2, Some(EVENING - 13 * DAY)), at(3, Some(EVENING))]);
    assert_eq!(recent(&bench, &[0, 1, 2], 14 * DAY), [2, 3, 101, 102]);
    assert_eq!(recent(&bench, &[1], 14 * DAY), [101, 102]);
    assert_eq!(recent(&bench, &[1], 15 * DAY), [100, 101, 102]);
    assert_eq!(recent(&bench, &[0, 2], 14 * DAY), [2, 3]);
}

#[test]
fn a_time_in_the_future_hides_nothing() {
    let bench = Bench::new();
    let mut archive = bench.open(&[0, 1]);
    put(&mut archive, 0, &[at(0, Some(EVENING - 30 * DAY)), at(1, Some(EVENING - 3_600_000))]);
    put(&mut archive, 0, &[at(2, Some(EVENING + DAY)), at(3, Some(EVENING - 1000)), at(4, Some(EVENING + 900 * DAY))]);
    carry(&mut archive, 1, 10, 12).unwrap();
    assert_eq!(recent(&bench, &[0, 1], 2 * 3_600_000), [1, 2, 3, 4, 10, 11]);
    assert_eq!(recent(&bench, &[0, 1], 1000), [2, 3, 4, 10, 11]);
    // Nothing else is there.
    put(&mut archive, 1, &[at(12, Some(EVENING + 900 * DAY))]);
    assert_eq!(recent(&bench, &[1], 1000), [10, 11, 12]);
}

/// Partitions of the table need not be days.
#[test]
fn of_a_file_that_spans_months_only_what_is_recent_comes() {
    let bench = Bench::partitioned_by(&["city"]);
    let mut archive = bench.open(&[0, 1, 2]);
    let days =
        |from: i64, to: i64| (from..to).map(|day| at(day, Some(EVENING - (200 - day) * DAY))).collect::<Vec<_>>();
    archive.write(&outcome(0, 0, 201, &days(0, 201))).unwrap();
    archive.write(&outcome(1, 0, 50, &days(0, 50))).unwrap();
    // Covers messages, but has no row.
    archive.write(&outcome(2, 0, 9, &[])).unwrap();
    let intervals = [covered(0, 0, 201), covered(1, 0, 50), covered(2, 0, 9)];
    let intervals = intervals.into_iter().flat_map(|one| one.intervals).collect();
    archive.commit(&Covered { intervals, ..Covered::default() }).unwrap();
    put(&mut archive, 0, &[at(201, Some(EVENING))]);
    assert_eq!(recent(&bench, &[0, 1, 2], 3 * DAY), [46, 47, 48, 49, 197, 198, 199, 200, 201]);
    assert_eq!(recent(&bench, &[1, 2], 3 * DAY), [46, 47, 48, 49]);
    assert!(recent(&bench, &[2], 3 * DAY).is_empty());
}

/// What is read again is judged by what stands before it, however far the archive is ahead.
#[test]
fn what_is_recent_is_so_below_an_offset() {
    let bench = Bench::new();
    let mut archive = bench.open(&[0]);
    let days = [0, 20, 25, 90, 91];
    for (offset, day) in days.into_iter().enumerate() {
        put(&mut archive, 0, &[at(offset as i64, Some(EVENING - 100 * DAY + day * DAY))]);
    }
    assert_eq!(recent_below(&bench, &[(0, 5)], 14 * DAY), [3, 4]);
    assert_eq!(recent_below(&bench, &[(0, 3)], 14 * DAY), [1, 2]);
    assert_eq!(recent_below(&bench, &[(0, 1)], 14 * DAY), [0]);
    assert!(recent_below(&bench, &[(0, 0)], 14 * DAY).is_empty());
}

/// Files that cannot matter are not opened: here they could not even be.
#[test]
fn old_files_stay_closed() {
    let bench = Bench::new();
    let mut archive = bench.open(&[0, 1]);
    for days in (1..=20).rev() {
        for number in [0, 1] {
            put(&mut archive, number, &[at(20 - days, Some(EVENING - days * DAY + i64::from(number) * 1000))]);
        }
    }
    for days in 9..=20 {
        let day =
            DateTime::from_timestamp_millis(EVENING - days * DAY).unwrap().with_timezone(&chrono_tz::Asia::Shanghai);
        fs::remove_dir_all(bench.rows().join(format!("ingested_on={}", day.date_naive()))).unwrap();
    }
    assert_eq!(recent(&bench, &[0, 1], 8 * DAY - 5000).len(), 2 * 8);
}

#[test]
fn keys_leave_out_other_partitions_and_old_rows() {
    let bench = Bench::new();
    let mut archive = bench.open(&[0, 1]);
    let batch = [at(0, Some(EVENING - 9 * DAY)), at(1, Some(EVENING)), at(2, None)];
    put(&mut archive, 0, &batch);
    carry(&mut archive, 1, 10, 12).unwrap();

    assert_eq!(recent(&bench, &[0, 1], 10 * DAY), [0, 1, 2, 10, 11]);
    assert_eq!(recent(&bench, &[0], 10 * DAY), [0, 1, 2]);
    assert_eq!(recent(&bench, &[1], 1), [10, 11]);
    assert_eq!(recent(&bench, &[0], 0), [1, 2]);
    assert!(recent(&bench, &[], 10 * DAY).is_empty());
    let batch = &keys(&bench, &["order_no"], &[1], None)[0];
    let names: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["order_no", "_topic", "_partition", "_offset", "_row", "_ingested_at"]);
    assert_eq!(batch["_ingested_at"].as_primitive::<TimestampMicrosecondType>().value(0), (EVENING + 10) * 1000);
}

#[test]
fn files_roll_by_size() {
    let mut bench = Bench::partitioned_by(&["city"]);
    bench.settings.file_size = 200_000;
    let mut archive = bench.open(&[0]);
    let cities: Vec<&'static str> = (0..40).map(|n| &*format!("城{n:02}").leak()).collect();
    let mut batch = rows(0..8000);
    for row in &mut batch {
        row.2 = Some(cities[row.0 as usize % 40]);
    }
    archive.write(&outcome(0, 0, 8000, &batch)).unwrap();
    for row in &mut batch {
        row.2 = Some("南昌");
        row.1 = format!("{:032x}", (row.0 as u128 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C834));
    }
    for step in 1..8 {
        let batch: Vec<Row> =
            batch.iter().map(|r| Row(r.0 + step * 8000, format!("{}{step}", r.1), r.2, r.3)).collect();
        archive.write(&outcome(0, step * 8000, (step + 1) * 8000, &batch)).unwrap();
    }
    archive.commit(&covered(0, 0, 64_000)).unwrap();
    let files = adds(&bench.rows());
    let big: Vec<i64> =
        files.iter().filter(|f| f["partitionValues"]["city"] == "南昌").map(|f| f["size"].as_i64().unwrap()).collect();
    assert!(big.len() > 3 && big.iter().all(|size| *size < 800_000), "{big:?}");
    assert_eq!(plain_rows(&bench.rows()), 64_000);
    assert_eq!(bench.offsets().len(), 64_000);
}

/// Interleaved partitions once made a new file for every few rows.
#[test]
fn many_partitions_in_every_batch_make_one_file_each() {
    let bench = Bench::partitioned_by(&["city"]);
    let mut archive = bench.open(&[0]);
    let cities: Vec<&'static str> = (0..60).map(|n| &*format!("城{n:02}").leak()).collect();
    for step in 0..20 {
        let mut batch = rows(step * 600..(step + 1) * 600);
        batch.iter_mut().for_each(|row| row.2 = Some(cities[row.0 as usize % 60]));
        archive.write(&outcome(0, step * 600, (step + 1) * 600, &batch)).unwrap();
    }
    archive.commit(&covered(0, 0, 12_000)).unwrap();
    assert_eq!(adds(&bench.rows()).len(), 60);
    // More at once than may be open: some are finished early, nothing is lost.
    let mut batch = rows(12_000..12_400);
    for row in &mut batch {
        row.2 = Some(&*format!("区{}", row.0 % 200).leak());
    }
    archive.write(&outcome(0, 12_000, 12_400, &batch)).unwrap();
    archive.commit(&covered(0, 12_000, 12_400)).unwrap();
    assert_eq!(bench.offsets().len(), 12_400);
}

#[test]
fn rejects_keep_bytes_and_all_faults() {
    let bench = Bench::new();
    let mut archive = bench.open(&[0]);
    archive.write(&with_rejects(outcome(0, 0, 1, &[]), &[0])).unwrap();
    archive.commit(&covered(0, 0, 1)).unwrap();
    let path = bench.rejects().join(find(&bench.rejects(), ".parquet").remove(0));
    let mut batches = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap().build().unwrap();
    let batch = batches.next().unwrap().unwrap();
    assert_eq!(batch["key"].as_binary::<i32>().value(0), [0xff, 0]);
    assert_eq!(batch["payload"].as_binary::<i32>().value(0), b"{");
    assert_eq!(batch["code"].as_string::<i32>().value(0), "missing");
    let faults = batch["faults"].as_list::<i32>().value(0);
    let faults = faults.as_struct();
    assert_eq!(faults.column(0).as_string::<i32>().value(1), "too_long");
    assert_eq!(faults.column(1).as_string::<i32>().value(1), "phone");
}

#[test]
fn personal_values_are_in_no_statistics() {
    let mut bench = Bench::new();
    bench.personal = Some("order_no");
    let mut archive = bench.open(&[0]);
    archive.write(&with_rejects(outcome(0, 0, 4, &rows(0..3)), &[3])).unwrap();
    archive.commit(&covered(0, 0, 4)).unwrap();
    let of = |folder: &Path| -> serde_json::Value {
        serde_json::from_str(adds(folder)[0]["stats"].as_str().unwrap()).unwrap()
    };
    let stats = of(&bench.rows());
    assert!(stats["minValues"].get("order_no").is_none() && stats["maxValues"].get("order_no").is_none(), "{stats}");
    assert_eq!(stats["minValues"]["city"], "南昌");
    let stats = of(&bench.rejects());
    for name in ["payload", "key", "value"] {
        assert!(stats["minValues"].get(name).is_none(), "{name}: {stats}");
    }
    assert_eq!(stats["minValues"]["code"], "missing");
    assert_untold(&bench.rows(), "order_no", 1);
    assert_untold(&bench.rejects(), "payload", 1);
    assert_untold(&bench.rejects(), "faults", 4);
}

/// A list's values stand one level below its column.
#[test]
fn personal_lists_are_in_no_statistics() {
    let mut bench = Bench::new();
    bench.personal = Some("flags");
    carry(&mut bench.open(&[0]), 0, 0, 3).unwrap();
    assert_untold(&bench.rows(), "flags", 1);
}

#[track_caller]
fn assert_untold(folder: &Path, column: &str, leaves: usize) {
    let data = find(folder, ".parquet").into_iter().find(|path| !path.starts_with("_delta_log")).unwrap();
    let footer = SerializedFileReader::new(fs::File::open(folder.join(data)).unwrap()).unwrap();
    let group = footer.metadata().row_group(0);
    let of_column: Vec<_> = group.columns().iter().filter(|c| c.column_path().parts()[0] == column).collect();
    assert_eq!(of_column.len(), leaves);
    for leaf in of_column {
        assert!(leaf.statistics().is_none() && leaf.column_index_offset().is_none(), "{leaf:?}");
    }
}
