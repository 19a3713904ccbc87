//! A file's statistics for the Delta log, from its Parquet footer.
//!
//! Bounds may be wider than the values, never narrower: texts come truncated from the footer (the upper one is
//! incremented there), timestamps have milliseconds in the log, so the lower one is rounded down and the upper one up.
//! Personal columns have no bounds: the log is not guarded like the data, and a bound is somebody's value.
//! A column without a bound for one of its row groups gets none.

use std::collections::{BTreeMap, HashSet};

use arrow::datatypes::{DataType, SchemaRef};
use chrono::{DateTime, Datelike, NaiveDate, TimeDelta};
use parquet::file::{metadata::ParquetMetaData, statistics::Statistics};
use serde::Serialize;
use serde_json::value::RawValue;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    num_records: i64,
    min_values: BTreeMap<String, Box<RawValue>>,
    max_values: BTreeMap<String, Box<RawValue>>,
    null_count: BTreeMap<String, u64>,
}

/// The JSON that goes into an `add` action.
pub(super) fn of(footer: &ParquetMetaData, schema: &SchemaRef, untold: &HashSet<String>) -> String {
    let mut stats = Stats {
        num_records: footer.file_metadata().num_rows(),
        min_values: BTreeMap::new(),
        max_values: BTreeMap::new(),
        null_count: BTreeMap::new(),
    };
    for (leaf, column) in footer.file_metadata().schema_descr().columns().iter().enumerate() {
        // Lists and structs have leaves of their own, whose counts are not the column's.
        let [name] = column.path().parts() else { continue };
        let Ok(field) = schema.field_with_name(name) else { continue };
        let groups: Option<Vec<(&Statistics, i64)>> = footer
            .row_groups()
            .iter()
            .map(|group| Some((group.column(leaf).statistics()?, group.num_rows())))
            .collect();
        let Some(groups) = groups else { continue };
        let nulls: Option<u64> = groups.iter().map(|(stats, _)| stats.null_count_opt()).sum();
        if let Some(nulls) = nulls {
            stats.null_count.insert(name.clone(), nulls);
        }
        if !untold.contains(name)
            && let Some((min, max)) = bounds(&groups, field.data_type())
        {
            stats.min_values.insert(name.clone(), min);
            stats.max_values.insert(name.clone(), max);
        }
    }
    serde_json::to_string(&stats).expect("statistics are plain data")
}

/// Whether columns of this type have bounds: [`bounds`] tells them.
pub(super) fn are_bounded(kind: &DataType) -> bool {
    use DataType::{Date32, Decimal128, Float64, Int32, Int64, Timestamp, Utf8};
    matches!(kind, Utf8 | Int32 | Int64 | Float64 | Date32 | Timestamp(..) | Decimal128(..))
}

type Bounds = (Box<RawValue>, Box<RawValue>);

fn bounds(groups: &[(&Statistics, i64)], kind: &DataType) -> Option<Bounds> {
    match kind {
        DataType::Utf8 => {
            let (min, max) = range(groups, |s| match s {
                Statistics::ByteArray(s) => {
                    let text = |bytes: &parquet::data_type::ByteArray| bytes.as_utf8().ok().map(str::to_owned);
                    Some((text(s.min_opt()?)?, text(s.max_opt()?)?))
                }
                _ => None,
            })?;
            Some((quoted(&min)?, quoted(&max)?))
        }
        DataType::Int32 => both(range(groups, int32)?, |n| raw(n.to_string())),
        DataType::Int64 => both(range(groups, int64)?, |n| raw(n.to_string())),
        DataType::Float64 => {
            let (min, max) = range(groups, |s| match s {
                Statistics::Double(s) => Some((*s.min_opt()?, *s.max_opt()?)),
                _ => None,
            })?;
            let finite = min.is_finite() && max.is_finite();
            finite.then_some(())?;
            both((min, max), |n| serde_json::value::to_raw_value(&n).ok())
        }
        DataType::Date32 => both(range(groups, int32)?, |days| {
            let day = day(days)?;
            four_digits(day.year()).then(|| quoted(&day.to_string()))?
        }),
        DataType::Timestamp(..) => {
            let (min, max) = range(groups, int64)?;
            let rounded = max.div_euclid(1000) + i64::from(max.rem_euclid(1000) > 0);
            // What has no bounds is passed over as if it were NULL everywhere, by readers such as deltalake.
            let max = if rounded == YEAR_10000 { Some(LAST.to_owned()) } else { time(rounded) };
            Some((quoted(&time(min.div_euclid(1000))?)?, quoted(&max?)?))
        }
        DataType::Decimal128(_, scale) => both(range(groups, unscaled)?, |n| raw(decimal(n, *scale))),
        _ => None,
    }
}

/// Smallest and largest over the row groups; `None` when one that has values does not tell.
fn range<T: PartialOrd>(groups: &[(&Statistics, i64)], read: impl Fn(&Statistics) -> Option<(T, T)>) -> Option<(T, T)> {
    let mut range: Option<(T, T)> = None;
    for (stats, rows) in groups {
        if stats.null_count_opt() == Some(*rows as u64) {
            continue;
        }
        let (min, max) = read(stats)?;
        range = Some(match range {
            None => (min, max),
            Some((low, high)) => (if min < low { min } else { low }, if max > high { max } else { high }),
        });
    }
    range
}

fn int32(stats: &Statistics) -> Option<(i32, i32)> {
    match stats {
        Statistics::Int32(s) => Some((*s.min_opt()?, *s.max_opt()?)),
        _ => None,
    }
}

fn int64(stats: &Statistics) -> Option<(i64, i64)> {
    match stats {
        Statistics::Int64(s) => Some((*s.min_opt()?, *s.max_opt()?)),
        _ => None,
    }
}

/// A decimal lies in an integer or in big-endian bytes, by its precision.
fn unscaled(stats: &Statistics) -> Option<(i128, i128)> {
    fn bytes(bytes: &[u8]) -> Option<i128> {
        let fill = if bytes.first()? & 0x80 == 0 { 0 } else { 0xff };
        let mut wide = [fill; 16];
        wide[16_usize.checked_sub(bytes.len())?..].copy_from_slice(bytes);
        Some(i128::from_be_bytes(wide))
    }
    match stats {
        Statistics::Int32(_) => int32(stats).map(|(min, max)| (min.into(), max.into())),
        Statistics::Int64(_) => int64(stats).map(|(min, max)| (min.into(), max.into())),
        // Truncated bytes are another number.
        Statistics::FixedLenByteArray(s) if s.min_is_exact() && s.max_is_exact() => {
            Some((bytes(s.min_opt()?.data())?, bytes(s.max_opt()?.data())?))
        }
        _ => None,
    }
}

fn both<T>((min, max): (T, T), write: impl Fn(T) -> Option<Box<RawValue>>) -> Option<Bounds> {
    Some((write(min)?, write(max)?))
}

fn raw(json: String) -> Option<Box<RawValue>> {
    RawValue::from_string(json).ok()
}

fn quoted(text: &str) -> Option<Box<RawValue>> {
    serde_json::value::to_raw_value(text).ok()
}

/// Days since 1970 as a date.
pub(super) fn day(days: i32) -> Option<NaiveDate> {
    NaiveDate::default().checked_add_signed(TimeDelta::try_days(days.into())?)
}

/// Milliseconds from 1970 to where four digits end, and the last microsecond before.
const YEAR_10000: i64 = 253_402_300_800_000;
const LAST: &str = "9999-12-31T23:59:59.999999Z";

fn time(millis: i64) -> Option<String> {
    let time = DateTime::from_timestamp_millis(millis)?;
    four_digits(time.year()).then(|| time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

/// Other years are written in ways that few readers know.
fn four_digits(year: i32) -> bool {
    (0..=9999).contains(&year)
}

fn decimal(unscaled: i128, scale: i8) -> String {
    let Ok(scale) = usize::try_from(scale) else {
        return format!("{unscaled}{}", "0".repeat(scale.unsigned_abs().into()));
    };
    if scale == 0 {
        return unscaled.to_string();
    }
    let digits = format!("{:0width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{}{whole}.{fraction}", if unscaled < 0 { "-" } else { "" })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{Array, ArrayRef, RecordBatch, TimestampMicrosecondArray},
        datatypes::{Field, Schema},
    };
    use parquet::arrow::ArrowWriter;

    use super::*;

    /// Readers take a column that has no bounds for one that is NULL everywhere.
    #[test]
    fn the_last_moment_of_the_calendar_has_a_bound() {
        let told = |last: i64| {
            let array = TimestampMicrosecondArray::from(vec![0, last]).with_timezone("UTC");
            let schema = Arc::new(Schema::new(vec![Field::new("until", array.data_type().clone(), true)]));
            let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(array) as ArrayRef]).unwrap();
            let mut writer = ArrowWriter::try_new(Vec::new(), schema.clone(), None).unwrap();
            writer.write(&batch).unwrap();
            let footer = writer.finish().unwrap();
            let stats: serde_json::Value = serde_json::from_str(&of(&footer, &schema, &HashSet::new())).unwrap();
            stats["maxValues"]["until"].as_str().map(str::to_owned)
        };
        let end = YEAR_10000 * 1000;
        for (last, bound) in [
            (end - 1, LAST),
            (end - 999, LAST),
            (end - 1000, "9999-12-31T23:59:59.999Z"),
            (end - 1001, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(told(last).as_deref(), Some(bound), "{last}");
        }
    }
}
