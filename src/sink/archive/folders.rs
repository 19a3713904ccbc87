//! Hive partitions: which rows go to which folder.

use std::{collections::HashMap, fmt::Write, ops::RangeInclusive, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Date32Builder, UInt32Array},
    compute::take_record_batch,
    datatypes::{DataType, Date32Type, Int32Type, Int64Type, TimestampMicrosecondType},
    record_batch::RecordBatch,
    row::{RowConverter, SortField},
};
use chrono::{DateTime, Datelike, NaiveDate};
use chrono_tz::Tz;

use super::{
    schema::{DAY, Shape},
    stats,
};
use crate::error::{Context, Error, Result};

/// The values of a table's partition columns, in their order; `None` is NULL.
pub(super) type Key = Vec<Option<String>>;

/// Bytes that a folder's name may have.
const NAME_BYTES: usize = 255;

/// Years that every reader takes in a partition: Python's dates have no others.
const YEARS: RangeInclusive<i32> = 1..=9999;

/// What Hive calls NULL.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// Splits rows by partition and keeps the stored columns.
pub(super) fn split(batch: &RecordBatch, shape: &Shape, zone: Tz) -> Result<Vec<(Key, RecordBatch)>> {
    let mut keys: Vec<ArrayRef> = Vec::with_capacity(shape.partition_by.len());
    for name in &shape.partition_by {
        keys.push(match batch.column_by_name(name) {
            Some(column) => column.clone(),
            None => {
                debug_assert_eq!(name, DAY);
                days(batch, shape, zone)?
            }
        });
    }
    let stored = stored(batch, shape)?;
    let groups = groups(&keys)?;
    if let [(first, _)] = &groups[..] {
        return Ok(vec![(key(batch, shape, &keys, *first)?, stored)]);
    }
    let mut parts = Vec::with_capacity(groups.len());
    for (first, rows) in groups {
        let part = take_record_batch(&stored, &UInt32Array::from(rows)).or_bug("archive: split by partition")?;
        parts.push((key(batch, shape, &keys, first)?, part));
    }
    Ok(parts)
}

/// `city=南昌/ingested_on=2026-11-25`, escaped as Hive and Spark do. A value that is too long for a folder's name ends
/// in `…`: readers of Delta take it from the log, where it is whole.
pub(super) fn folder(names: &[String], key: &Key) -> String {
    let mut folders = Vec::with_capacity(key.len());
    for (name, value) in names.iter().zip(key) {
        let mut folder = String::new();
        escape(name, &mut folder);
        folder.push('=');
        match value {
            Some(value) => escape(value, &mut folder),
            None => folder.push_str(NULL),
        }
        if folder.len() > NAME_BYTES {
            shorten(&mut folder);
        }
        folders.push(folder);
    }
    folders.join("/")
}

/// Cuts between characters, and not within an escaped one.
fn shorten(folder: &mut String) {
    let end = folder.floor_char_boundary(NAME_BYTES - '…'.len_utf8());
    let escaped = folder[..end].rfind('%').filter(|at| at + "%XX".len() > end);
    folder.truncate(escaped.unwrap_or(end));
    folder.push('…');
}

fn escape(text: &str, into: &mut String) {
    for c in text.chars() {
        if c.is_ascii_control() || "\"#%'*/:=?\\{}[]^".contains(c) {
            let _ = write!(into, "%{:02X}", c as u32);
        } else {
            into.push(c);
        }
    }
}

fn stored(batch: &RecordBatch, shape: &Shape) -> Result<RecordBatch> {
    let names = shape.stored.fields().iter().map(|field| field.name());
    let columns = names.map(|name| batch.column_by_name(name).cloned()).collect::<Option<Vec<_>>>();
    let columns = columns.ok_or_else(|| Error::bug("archive: a column of the contract is missing"))?;
    RecordBatch::try_new(shape.stored.clone(), columns).or_bug("archive: a column is not the contract's")
}

/// Rows with equal keys: the first one, and all of them.
fn groups(keys: &[ArrayRef]) -> Result<Vec<(usize, Vec<u32>)>> {
    if keys.is_empty() {
        return Ok(vec![(0, Vec::new())]);
    }
    let fields = keys.iter().map(|key| SortField::new(key.data_type().clone())).collect();
    let converter = RowConverter::new(fields).or_bug("archive: partition columns")?;
    let rows = converter.convert_columns(keys).or_bug("archive: partition columns")?;
    let mut groups: Vec<(usize, Vec<u32>)> = Vec::new();
    let mut known: HashMap<&[u8], usize> = HashMap::new();
    let mut last: Option<(&[u8], usize)> = None;
    for (index, row) in rows.iter().enumerate() {
        let row = row.data();
        let group = match last {
            Some((same, group)) if same == row => group,
            _ => *known.entry(row).or_insert_with(|| {
                groups.push((index, Vec::new()));
                groups.len() - 1
            }),
        };
        groups[group].1.push(index as u32);
        last = Some((row, group));
    }
    Ok(groups)
}

fn key(batch: &RecordBatch, shape: &Shape, keys: &[ArrayRef], row: usize) -> Result<Key> {
    let value = |(column, name): (&ArrayRef, &String)| {
        if column.is_null(row) {
            return Ok(None);
        }
        let text = match column.data_type() {
            DataType::Date32 => {
                let day = stats::day(column.as_primitive::<Date32Type>().value(row));
                day.filter(|day| YEARS.contains(&day.year())).ok_or_else(|| no_day(batch, name, row))?.to_string()
            }
            DataType::Int32 => column.as_primitive::<Int32Type>().value(row).to_string(),
            DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
            _ => column.as_string::<i32>().value(row).to_owned(),
        };
        // Delta reads an empty text as NULL, so it is one.
        Ok((!text.is_empty()).then_some(text))
    };
    keys.iter().zip(&shape.partition_by).map(value).collect()
}

/// A date that would keep readers from the whole table; and without it the row would not be what it was.
fn no_day(batch: &RecordBatch, name: &str, row: usize) -> Error {
    let column = |of: &str| batch.column_by_name(of);
    let of = column("_topic").zip(column("_partition")).zip(column("_offset")).map(|((topic, number), offset)| {
        let (topic, number) = (topic.as_string::<i32>().value(row), number.as_primitive::<Int32Type>().value(row));
        format!(" of {topic}/{number}, offset {}", offset.as_primitive::<Int64Type>().value(row))
    });
    Error::config(format!(
        "archive: cannot partition by `{name}`: a row{} has a date in it that is not within the years 1 to 9999, which \
         readers of the table cannot read: let the SQL make it NULL, or a rule of the contract reject it",
        of.unwrap_or_default()
    ))
}

/// The day of each message time, in the zone where people read calendars.
fn days(batch: &RecordBatch, shape: &Shape, zone: Tz) -> Result<ArrayRef> {
    let times = batch.column_by_name(shape.time);
    let times = times.ok_or_else(|| Error::bug("archive: the message time is missing"))?;
    let mut days = Date32Builder::with_capacity(times.len());
    let mut calendar = Calendar { zone, known: None };
    for time in times.as_primitive::<TimestampMicrosecondType>() {
        days.append_option(time.and_then(|time| calendar.day(time)));
    }
    Ok(Arc::new(days.finish()))
}

/// Remembers the last minute: messages come nearly in order, and looking up a zone's rules for each would be felt.
struct Calendar {
    zone: Tz,
    known: Option<(i64, Option<i32>)>,
}

impl Calendar {
    fn day(&mut self, micros: i64) -> Option<i32> {
        // Before 1973 zones had odd seconds.
        let minute = (micros > 94_694_400_000_000).then_some(micros / 60_000_000);
        if let (Some((known, day)), Some(minute)) = (self.known, minute)
            && known == minute
        {
            return day;
        }
        let day = DateTime::from_timestamp_micros(micros)
            .map(|time| time.with_timezone(&self.zone).date_naive())
            .filter(|day| YEARS.contains(&day.year()))
            .map(|day| day.signed_duration_since(NaiveDate::default()).num_days() as i32);
        self.known = minute.map(|minute| (minute, day));
        day
    }
}
