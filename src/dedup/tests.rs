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

/// The time of a message that has none.
const TIMELESS: i64 = i64::MIN;

fn time_of(row: &Row) -> Option<i64> {
    (row.3 != TIMELESS).then_some(row.3)
}

fn checked(rows: &[Row]) -> Checked {
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Utf8, true)]));
    let ids: StringArray = rows.iter().map(|row| Some(row.0)).collect();
    let origin = |row: &Row| Origin { cover: 0, offset: row.1, row: row.2, timestamp: time_of(row) };
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
        flagged: None,
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
    let times = rows.iter().map(|row| time_of(row).map(|ms| ms * 1000)).collect::<TimestampMicrosecondArray>();
    RecordBatch::try_new(
        Arc::new(schema),
        vec![
            Arc::new(rows.iter().map(|row| Some(row.0)).collect::<StringArray>()),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|_| "orders"))),
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|_| 3))),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1))),
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.2 as i32))),
            Arc::new(times.with_timezone("UTC")),
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

/// Rows of several partitions, one after the other or mixed, are judged as if each partition came alone.
#[test]
fn partitions_of_a_batch_are_judged_each_in_its_own_order() {
    let names = ["orders", "others", "empty"];
    let rows = [(0, "a"), (1, "a"), (0, "b"), (1, "b"), (1, "a"), (0, "a"), (1, "c")];
    let mut batch = checked(&rows.map(|(_, key)| (key, 0, 0, START)));
    batch.covers = names.map(|name| Interval { partition: Partition::new(name, 3), from: 0, next: 9 }).to_vec();
    for (at, origin) in batch.origins.iter_mut().enumerate() {
        (origin.cover, origin.offset) = (rows[at].0, at as i64);
    }
    // Was struck out before: claims no key.
    batch.alive[3] = false;
    let mut dedup = dedup();
    dedup.strike_out(&mut batch).unwrap();
    assert_eq!(batch.alive, [true, true, true, false, false, false, true]);
    assert_eq!((batch.duplicates, dedup.keys()), (2, 4));
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

/// T36: keys that nothing can be a copy of any more make room, or a pipeline would stop after some weeks.
#[test]
fn t36_keys_that_are_too_old_make_room() {
    let mut dedup = dedup();
    for i in 0..3000_i64 {
        let name: &'static str = i.to_string().leak();
        assert_eq!(alive(&mut dedup, &[(name, i, 0, START + i * DAY / 30)]), [true]);
    }
    assert!(dedup.keys() <= 600, "{} keys, and two windows have 420", dedup.keys());
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

/// None of the partitions is large enough to have thrown anything out by itself.
#[test]
fn keys_that_are_outdated_do_not_count() {
    let mut dedup = dedup();
    dedup.max_keys = 60;
    let mut strike_out = |number: i32, rows: &[Row]| {
        let mut checked = checked(rows);
        checked.covers[0].partition = Partition::new("orders", number);
        dedup.strike_out(&mut checked).map(|()| dedup.keys())
    };
    let keys: Vec<Row> = ["a", "b", "c", "d", "e", "f"].iter().zip(0..).map(|(key, at)| (*key, at, 0, START)).collect();
    for number in 0..10 {
        strike_out(number, &keys).unwrap();
    }
    assert_eq!(strike_out(0, &[("late", 10, 0, START + 21 * DAY)]).unwrap(), 55, "its own six have gone");
    assert_eq!(strike_out(10, &keys[..5]).unwrap(), 60);
    assert!(strike_out(11, &keys[..1]).is_err(), "all others are alive");
}

/// The archive hands its files newest first; both rows of the key still matter.
#[test]
fn a_key_that_was_accepted_twice_is_learned_twice() {
    for order in [[10, 50], [50, 10]] {
        let mut dedup = dedup();
        let row = |offset: i64| ("a", offset, 0, if offset == 10 { START } else { START + 8 * DAY });
        order.iter().for_each(|offset| dedup.learn(&archived(&[row(*offset)])).unwrap());
        assert_eq!(alive(&mut dedup, &[("a", 60, 0, START + 9 * DAY)]), [false], "learned in the order {order:?}");
        dedup.learn(&archived(&[row(10), row(50)])).unwrap();
        assert_eq!(dedup.keys(), 2, "a row is learned once");
    }
}

/// What was taken the first time is taken again, and nothing else.
#[test]
fn rows_beyond_the_cursor_do_not_change_what_stands_before_them() {
    for order in [[10, 150], [150, 10]] {
        let mut dedup = dedup();
        let day = |offset: i64| match offset {
            10 => START,
            120 => START + 2 * DAY,
            _ => START + 8 * DAY,
        };
        let row = |offset: i64| ("a", offset, 0, day(offset));
        order.iter().for_each(|offset| dedup.learn(&archived(&[row(*offset)])).unwrap());
        let replayed = [row(120), row(150), ("a", 160, 0, START + 9 * DAY)];
        assert_eq!(alive(&mut dedup, &replayed), [false, true, false], "learned in the order {order:?}");
    }
}

/// A message without a time is as old as can be: a copy of whatever stands before it, and followed by no copy with one.
#[test]
fn messages_without_a_time() {
    let mut dedup = dedup();
    let rows = [("a", 0, 0, TIMELESS), ("a", 1, 0, TIMELESS), ("a", 2, 0, START), ("a", 3, 0, TIMELESS)];
    assert_eq!(alive(&mut dedup, &rows), [true, false, true, false]);
}

/// Rows of a key that comes again all the time do not pile up.
#[test]
fn outdated_rows_of_a_key_make_room() {
    let mut dedup = dedup();
    for i in 0..12 {
        assert_eq!(alive(&mut dedup, &[("a", i, 0, START + i * 8 * DAY)]), [true]);
    }
    assert!(dedup.keys() <= 4, "{}", dedup.keys());
}

/// What the module says: accepted, unless the last accepted row before it is not further back than the window.
fn by_the_rule(rows: &[Row]) -> Vec<bool> {
    let second = |row: &Row| time_of(row).unwrap_or(0) / 1000;
    let mut accepted: Vec<Row> = Vec::new();
    let mut verdicts = Vec::new();
    for row in rows {
        let before = accepted.iter().rev().find(|before| before.0 == row.0);
        let copy = before.is_some_and(|before| second(row) <= second(before) + 7 * 86_400);
        verdicts.push(!copy);
        accepted.extend((!copy).then_some(*row));
    }
    verdicts
}

/// Rows of a partition: some keys are of messages without a time, times run out of order by up to a window, and some
/// are far in the future.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    const NAMES: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let row = (0..12_usize, 0..3 * DAY, prop_oneof![Just(0), 0..=7 * DAY], 0..40);
    prop::collection::vec(row, 1..120).prop_map(|rows| {
        let mut newest = START;
        let row = |(i, (key, step, back, odd)): (usize, (usize, i64, i64, i32))| {
            newest += step;
            let time = match (key, odd) {
                (0..2, _) => TIMELESS,
                (_, 0) => newest + 2000 * DAY,
                _ => newest - back,
            };
            (NAMES[key], i as i64 / 2, (i % 2) as u32, time)
        };
        rows.into_iter().enumerate().map(row).collect()
    })
}

/// The newest time that is believed, of all these rows.
fn newest(rows: &[Row]) -> i64 {
    rows.iter().filter_map(time_of).filter(|time| *time <= START + 101 * DAY).max().unwrap_or(0)
}

/// `id` and two integers, as a batch of a partition.
fn of_integers(rows: &[(Option<&str>, Option<i32>, Option<i32>)]) -> Checked {
    let kind = |name: &str| Field::new(name, DataType::Int32, true);
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Utf8, true), kind("a"), kind("b")]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.0).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.1).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|row| row.2).collect::<Int32Array>()),
    ];
    let same: Vec<Row> = (0..rows.len()).map(|at| ("", at as i64, 0, START)).collect();
    Checked { rows: RecordBatch::try_new(schema, columns).unwrap(), ..checked(&same) }
}

#[test]
fn keys_that_differ_are_told_apart_whatever_is_missing() {
    let mut dedup = dedup();
    dedup.key = ["id", "a", "b"].map(str::to_owned).into();
    let all = [None, Some("a"), Some("\0"), Some("\u{1}")];
    let numbers = [None, Some(0), Some(1), Some(255), Some(256), Some(0x0101_0101)];
    let mut rows = Vec::new();
    for id in all {
        rows.extend(numbers.into_iter().flat_map(|a| numbers.map(|b| (id, a, b))));
    }
    let mut checked = of_integers(&rows);
    dedup.strike_out(&mut checked).unwrap();
    assert_eq!(checked.duplicates, 0, "{:?}", checked.alive);
}

/// A folder of the archive cannot be named after an empty text, so that comes back as NULL.
#[test]
fn an_empty_text_is_the_same_key_as_none() {
    let mut dedup = dedup();
    let mut checked = of_integers(&[(Some(""), None, None), (None, None, None), (Some(" "), None, None)]);
    dedup.strike_out(&mut checked).unwrap();
    assert_eq!(checked.alive, [true, false, true]);
}

proptest! {
    /// However the rows are cut into batches, wherever it restarts from the archive, however far the archive is ahead
    /// of the cursor, and in whatever order it hands over its rows: the same rows stay.
    #[test]
    fn batches_and_restarts_do_not_matter(
        rows in rows(),
        size in 1..20_usize,
        restarts in prop::collection::vec((0..120_usize, 0..120_usize, any::<bool>(), any::<u64>()), 0..4),
    ) {
        let whole = by_the_rule(&rows);
        prop_assert_eq!(&alive(&mut dedup(), &rows), &whole, "all at once");
        let mut one = dedup();
        let mut at = 0;
        let mut restarts = restarts.into_iter();
        let mut restart = restarts.next();
        while at < rows.len() {
            if let Some((from, ahead, recent, order)) = restart.filter(|(from, ..)| *from <= at) {
                // Something is committed up to `at`, and the archive is ahead of the cursor.
                at = from.min(at);
                let held = (at + ahead).min(rows.len());
                let since = newest(&rows[..at]) - 14 * DAY;
                let kept = rows[..held].iter().zip(&whole).enumerate();
                let mut kept: Vec<Row> = kept
                    .filter(|(i, (row, alive))| {
                        let young = row.3 == TIMELESS || row.3 >= since;
                        **alive && (!recent || (young && *i < at))
                    })
                    .map(|(_, (row, _))| *row)
                    .collect();
                kept.sort_by_cached_key(|row| xxhash_rust::xxh3::xxh3_64_with_seed(&position(row.1, row.2).to_le_bytes(), order));
                one.forget(&[partition()]);
                kept.chunks(size).for_each(|rows| one.learn(&archived(rows)).unwrap());
                restart = restarts.next();
                continue;
            }
            let next = (at + size).min(rows.len());
            prop_assert_eq!(&alive(&mut one, &rows[at..next]), &whole[at..next], "rows {}..{}", at, next);
            at = next;
        }
    }

    /// What is asked again within the window has the same answer.
    #[test]
    fn asking_again_changes_nothing(rows in rows(), size in 1..20_usize, again in 1..60_usize) {
        let whole = by_the_rule(&rows);
        let mut one = dedup();
        for (number, batch) in rows.chunks(size).enumerate() {
            alive(&mut one, batch);
            let next = number * size + batch.len();
            let since = newest(&rows[..next]) - 7 * DAY;
            let young = |i: &usize| rows[*i].3 == TIMELESS || rows[*i].3 >= since;
            let same: Vec<usize> = (next.saturating_sub(again)..next).filter(young).collect();
            let asked: Vec<Row> = same.iter().map(|i| rows[*i]).collect();
            let answers: Vec<bool> = same.iter().map(|i| whole[*i]).collect();
            prop_assert_eq!(alive(&mut one, &asked), answers, "rows up to {}", next);
        }
    }
}
