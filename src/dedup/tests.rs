use std::sync::Arc;

use arrow::{
    array::{Int32Array, Int64Array, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, TimeUnit},
};
use proptest::prelude::*;

use super::*;
use crate::{batch::Origin, cursor::Interval};

const DAY: i64 = 86_400_000;
const START: i64 = 1_780_000_000_000;

fn dedup() -> Dedup {
    let config = config::Dedup {
        key: vec!["id".into()],
        within: Duration::from_secs(7 * 86_400),
        per_partition: false,
        max_keys: 1000,
    };
    Dedup::new(&config, Clock::from_fn(|| chrono::DateTime::from_timestamp_millis(START + 100 * DAY).unwrap()))
}

fn partition() -> Partition {
    Partition::new("orders", 3)
}

/// `(key, offset, row, message time)` of rows that passed the checks.
type Row = (&'static str, i64, u32, i64);

fn checked(rows: &[Row]) -> Checked {
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Utf8, true)]));
    let ids: StringArray = rows.iter().map(|row| Some(row.0)).collect();
    let origin = |row: &Row| Origin { cover: 0, offset: row.1, row: row.2, timestamp: Some(row.3) };
    let from = rows.first().map_or(0, |row| row.1);
    let next = rows.last().map_or(0, |row| row.1 + 1);
    Checked {
        source: "test".into(),
        covers: vec![Interval { partition: partition(), from, next }],
        rows: RecordBatch::try_new(schema, vec![Arc::new(ids)]).unwrap(),
        origins: rows.iter().map(origin).collect(),
        alive: vec![true; rows.len()],
        duplicates: 0,
        rejects: Vec::new(),
        input: rows.len() as u64,
        flags: Default::default(),
        held: None,
    }
}

fn alive(dedup: &mut Dedup, rows: &[Row]) -> Vec<bool> {
    let mut checked = checked(rows);
    dedup.strike_out(&mut checked).unwrap();
    assert_eq!(checked.duplicates as usize, checked.alive.iter().filter(|alive| !**alive).count());
    checked.alive
}

/// Rows as the archive gives them back.
fn archived(rows: &[Row]) -> RecordBatch {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let schema = Schema::new(vec![
        Field::new("id", DataType::Utf8, true),
        Field::new("_topic", DataType::Utf8, false),
        Field::new("_partition", DataType::Int32, false),
        Field::new("_offset", DataType::Int64, false),
        Field::new("_row", DataType::Int32, false),
        Field::new("_ingested_at", time, true),
    ]);
    let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.3 * 1000)).with_timezone("UTC");
    RecordBatch::try_new(
        Arc::new(schema),
        vec![
            Arc::new(rows.iter().map(|row| Some(row.0)).collect::<StringArray>()),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|_| "orders"))),
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|_| 3))),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1))),
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.2 as i32))),
            Arc::new(times),
        ],
    )
    .unwrap()
}

#[test]
fn the_first_stays_and_later_copies_go() {
    let mut dedup = dedup();
    assert_eq!(alive(&mut dedup, &[("a", 0, 0, START), ("b", 1, 0, START), ("a", 2, 0, START)]), [true, true, false]);
    assert_eq!(alive(&mut dedup, &[("b", 3, 0, START)]), [false]);
}

#[test]
fn copies_within_one_message_are_found() {
    let mut dedup = dedup();
    let rows = [("a", 0, 0, START), ("a", 0, 1, START)];
    assert_eq!(alive(&mut dedup, &rows), [true, false]);
    assert_eq!(alive(&mut dedup, &rows), [true, false], "the same when the message is read again");
}

#[test]
fn a_copy_after_the_window_is_a_row_of_its_own() {
    let mut dedup = dedup();
    assert_eq!(alive(&mut dedup, &[("a", 0, 0, START), ("a", 1, 0, START + 7 * DAY)]), [true, false]);
    assert_eq!(alive(&mut dedup, &[("a", 2, 0, START + 8 * DAY)]), [true]);
    assert_eq!(alive(&mut dedup, &[("a", 3, 0, START + 9 * DAY)]), [false], "the new first starts a window");
}

#[test]
fn a_partition_that_is_gone_is_forgotten_and_learned_from_the_archive() {
    let mut dedup = dedup();
    alive(&mut dedup, &[("a", 0, 0, START)]);
    dedup.forget(&[partition()]);
    assert_eq!(dedup.keys(), 0);
    dedup.learn(&archived(&[("a", 0, 0, START), ("c", 5, 0, START)])).unwrap();
    // `c` at 5 is what the archive holds beyond some other sink's cursor: read again, it is still itself.
    assert_eq!(alive(&mut dedup, &[("a", 4, 0, START), ("c", 5, 0, START), ("c", 6, 0, START)]), [false, true, false]);
}

/// T16: a row whose output failed is read again and must not be taken for its own copy.
#[test]
fn t16_a_row_that_is_read_again_is_not_its_own_copy() {
    let mut dedup = dedup();
    assert_eq!(alive(&mut dedup, &[("a", 0, 0, START), ("a", 1, 0, START)]), [true, false]);
    assert_eq!(alive(&mut dedup, &[("a", 0, 0, START)]), [true]);
    assert_eq!(alive(&mut dedup, &[("a", 1, 0, START)]), [false]);
}

#[test]
fn too_many_keys_stop_the_pipeline_with_advice() {
    let mut dedup = dedup();
    let names: Vec<String> = (0..1001).map(|i| format!("key {i}")).collect();
    let rows: Vec<Row> =
        names.iter().enumerate().map(|(i, name)| (name.clone().leak() as &'static str, i as i64, 0, START)).collect();
    let error = dedup.strike_out(&mut checked(&rows)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.to_string().contains("max_keys = 1000"), "{error}");
}

proptest! {
    /// However the rows are cut into batches, and wherever it restarts from the archive, the same rows stay.
    #[test]
    fn batches_and_restarts_do_not_matter(
        keys in prop::collection::vec(0..20_usize, 1..80),
        size in 1..20_usize,
        restart in 0..80_usize,
    ) {
        const NAMES: [&str; 20] =
            ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"];
        let rows: Vec<Row> =
            keys.iter().enumerate().map(|(i, key)| (NAMES[*key], i as i64, 0, START + i as i64 * DAY / 4)).collect();
        let whole = alive(&mut dedup(), &rows);
        let mut cut = Vec::new();
        let mut one = dedup();
        for (number, batch) in rows.chunks(size).enumerate() {
            if number * size >= restart && (number.saturating_sub(1)) * size < restart {
                let kept: Vec<Row> = rows.iter().zip(&cut).filter(|(_, alive)| **alive).map(|(row, _)| *row).collect();
                one.forget(&[partition()]);
                one.learn(&archived(&kept)).unwrap();
            }
            cut.extend(alive(&mut one, batch));
        }
        prop_assert_eq!(whole, cut);
    }
}
