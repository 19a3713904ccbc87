//! Rows as JSON objects: the clean stream, in Kafka and in files.
//!
//! NULLs are left out, times are RFC 3339 in UTC. Why not `arrow-json` alone: text, truth values and whole seconds are
//! nearly all of a row, and it writes them through several virtual calls each; this was a fifteenth of all CPU time. It
//! still writes every other type, and the tests compare with it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, StringArray, TimestampMicrosecondArray},
    buffer::NullBuffer,
    compute::{and, is_not_null, nullif},
    datatypes::{DataType, FieldRef, TimeUnit, TimestampMicrosecondType},
    json::{
        EncoderOptions,
        writer::{NullableEncoder, make_encoder},
    },
    record_batch::RecordBatch,
};
use chrono::{DateTime, Datelike, Timelike};

use crate::error::{Context, Result};

/// Columns that are left out where another column says it already.
#[derive(Clone, Debug, Default)]
pub struct Unread {
    /// What is left out, and what says it.
    pub pairs: Vec<(Arc<str>, Arc<str>)>,
    /// The column of flags. One that begins with `other:` finds something in what the other column says, so that nothing is
    /// left out there.
    pub flags: Option<Arc<str>>,
}

impl Unread {
    /// The rows in which a column is flagged.
    fn flagged<'r>(&self, rows: &'r RecordBatch) -> HashMap<&'r str, Vec<usize>> {
        let mut flagged: HashMap<&str, Vec<usize>> = HashMap::new();
        let column = self.flags.as_ref().and_then(|name| rows.column_by_name(name));
        if let Some(lists) = column.and_then(|column| column.as_list_opt::<i32>())
            && let Some(flags) = lists.values().as_string_opt::<i32>()
        {
            for row in (0..lists.len()).filter(|row| lists.is_valid(*row)) {
                let of_row = lists.value_offsets()[row] as usize..lists.value_offsets()[row + 1] as usize;
                for column in of_row.filter_map(|at| flags.value(at).split_once(':')).map(|(column, _)| column) {
                    flagged.entry(column).or_default().push(row);
                }
            }
        }
        flagged
    }
}

/// The rows of a batch.
pub struct Rows {
    columns: Vec<(FieldRef, ArrayRef)>,
    options: EncoderOptions,
}

impl Rows {
    pub fn new(rows: &RecordBatch, unread: &Unread) -> Result<Rows> {
        let fields = rows.schema_ref().fields();
        let mut columns: Vec<_> = fields.iter().cloned().zip(rows.columns().iter().cloned()).collect();
        let flagged = unread.flagged(rows);
        // A text that several columns were made of is said when all of them say something.
        let mut said: BTreeMap<usize, BooleanArray> = BTreeMap::new();
        for (name, other) in &unread.pairs {
            let Some((at, _)) = fields.find(name) else { continue };
            let Some(says) = rows.column_by_name(other) else { continue };
            let mut says = is_not_null(says).or_bug("tell where a column says something")?;
            if let Some(rows) = flagged.get(&**other) {
                let mut unsaid = says.values().iter().collect::<Vec<_>>();
                rows.iter().for_each(|row| unsaid[*row] = false);
                says = unsaid.into();
            }
            if let Some(before) = said.get(&at) {
                says = and(before, &says).or_bug("tell where all columns say something")?;
            }
            said.insert(at, says);
        }
        for (at, said) in said {
            columns[at].1 = nullif(&columns[at].1, &said).or_bug("leave out what is said already")?;
        }
        // A column without values costs nothing per row.
        columns.retain(|(_, column)| column.null_count() < column.len());
        Ok(Rows { columns, options: EncoderOptions::default() })
    }

    /// What writes them.
    pub fn encoder(&self) -> Result<Encoder<'_>> {
        let columns = self.columns.iter().map(|(field, array)| Column::new(field, array, &self.options));
        Ok(Encoder { columns: columns.collect::<Result<_>>()? })
    }
}

/// Writes rows, one at a time.
pub struct Encoder<'a> {
    columns: Vec<Column<'a>>,
}

struct Column<'a> {
    /// `,"name":`, and the quote with which a text begins.
    name: Vec<u8>,
    nulls: Option<&'a NullBuffer>,
    values: Values<'a>,
}

enum Values<'a> {
    /// None of them has anything to escape.
    Plain(&'a StringArray),
    Text(&'a StringArray),
    Truth(&'a BooleanArray),
    /// In UTC; what is not of a whole second in a year of four digits goes the other way.
    Time(&'a TimestampMicrosecondArray, NullableEncoder<'a>),
    Other(NullableEncoder<'a>),
}

impl<'a> Column<'a> {
    fn new(field: &'a FieldRef, array: &'a ArrayRef, options: &'a EncoderOptions) -> Result<Column<'a>> {
        let other = || make_encoder(field, array, options).or_bug("write rows as JSON");
        let values = match field.data_type() {
            DataType::Utf8 if plain(array.as_string()) => Values::Plain(array.as_string()),
            DataType::Utf8 => Values::Text(array.as_string()),
            DataType::Boolean => Values::Truth(array.as_boolean()),
            DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if matches!(&**zone, "UTC" | "+00:00") => {
                Values::Time(array.as_primitive::<TimestampMicrosecondType>(), other()?)
            }
            _ => Values::Other(other()?),
        };
        let name = serde_json::to_string(field.name()).expect("a name is text");
        let quote = if matches!(values, Values::Plain(_) | Values::Text(_)) { "\"" } else { "" };
        Ok(Column { name: format!(",{name}:{quote}").into_bytes(), nulls: array.nulls(), values })
    }
}

impl Encoder<'_> {
    /// Appends a row.
    pub fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let start = out.len();
        for column in &mut self.columns {
            if column.nulls.is_some_and(|nulls| nulls.is_null(row)) {
                continue;
            }
            out.extend_from_slice(&column.name);
            match &mut column.values {
                Values::Plain(texts) => {
                    out.extend_from_slice(texts.value(row).as_bytes());
                    out.push(b'"');
                }
                Values::Text(texts) => text(texts.value(row), out),
                Values::Truth(truths) => out.extend_from_slice(if truths.value(row) { b"true" } else { b"false" }),
                Values::Time(times, other) => {
                    if !time(times.value(row), out) {
                        other.encode(row, out);
                    }
                }
                Values::Other(other) => other.encode(row, out),
            }
        }
        // The first comma is where the object begins.
        match out.get_mut(start) {
            Some(first) => *first = b'{',
            None => out.push(b'{'),
        }
        out.push(b'}');
    }
}

/// Appends the rest of a text whose first quote is there.
fn text(text: &str, out: &mut Vec<u8>) {
    if special(text.as_bytes()) {
        out.pop();
        return serde_json::to_writer(out, text).expect("text goes into memory");
    }
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Whether no text of a batch has anything to escape: one look at all of them costs far less than one at each.
fn plain(texts: &StringArray) -> bool {
    let offsets = texts.value_offsets();
    let (from, to) = (offsets[0] as usize, offsets[texts.len()] as usize);
    // Blocks, so that a column of long texts is given up where the first line ends.
    !texts.value_data()[from..to].chunks(4096).any(special)
}

/// Without an early end, so that it compiles to a few wide comparisons: almost no text has any.
fn special(text: &[u8]) -> bool {
    text.iter().fold(false, |any, &byte| any | (byte < 0x20) | (byte == b'"') | (byte == b'\\'))
}

/// Appends a whole second, unless its year has not four digits; tells whether it did.
fn time(micros: i64, out: &mut Vec<u8>) -> bool {
    if micros.rem_euclid(1_000_000) != 0 {
        return false;
    }
    let Some(time) = DateTime::from_timestamp(micros.div_euclid(1_000_000), 0) else { return false };
    let time = time.naive_utc();
    let year = time.year();
    if !(1000..=9999).contains(&year) {
        return false;
    }
    let two = |number: u32| [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
    let [[a, b], [c, d]] = [two(year as u32 / 100), two(year as u32 % 100)];
    let [[m, n], [e, f]] = [two(time.month()), two(time.day())];
    let [[h, i], [j, k], [s, t]] = [two(time.hour()), two(time.minute()), two(time.second())];
    out.extend_from_slice(&[b'"', a, b, c, d, b'-', m, n, b'-', e, f, b'T', h, i, b':', j, k, b':', s, t, b'Z', b'"']);
    true
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{Float64Array, Int32Array, ListBuilder, StringBuilder, StructArray},
        datatypes::Field,
    };
    use proptest::prelude::*;

    use super::*;

    fn batch(texts: &[Option<String>], times: &[Option<i64>]) -> RecordBatch {
        let rows = texts.len();
        let mut lists = ListBuilder::new(StringBuilder::new());
        for text in texts {
            lists.values().append_option(text.as_ref());
            lists.append(text.is_some());
        }
        let times = TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC");
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("te\"xt", Arc::new(StringArray::from(texts.to_vec()))),
            ("time", Arc::new(times)),
            ("truth", Arc::new((0..rows).map(|row| (row % 3 > 0).then_some(row % 2 == 0)).collect::<BooleanArray>())),
            ("number", Arc::new((0..rows).map(|row| (row % 4 > 0).then_some(row as i32)).collect::<Int32Array>())),
            ("lng", Arc::new((0..rows).map(|row| Some(row as f64 / 7.0)).collect::<Float64Array>())),
            ("list", Arc::new(lists.finish())),
            ("nothing", Arc::new(StringArray::new_null(rows))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap()
    }

    fn ours(rows: &RecordBatch, unread: &Unread) -> Vec<String> {
        let count = rows.num_rows();
        let rows = Rows::new(rows, unread).unwrap();
        let mut encoder = rows.encoder().unwrap();
        let line = |row| {
            let mut out = b"before".to_vec();
            encoder.encode(row, &mut out);
            String::from_utf8(out.split_off(6)).unwrap()
        };
        (0..count).map(line).collect()
    }

    fn arrows(rows: &RecordBatch) -> Vec<String> {
        let rows = StructArray::from(rows.clone());
        let field: FieldRef = Arc::new(Field::new("row", rows.data_type().clone(), false));
        let options = EncoderOptions::default();
        let mut encoder = make_encoder(&field, &rows, &options).unwrap();
        let line = |row| {
            let mut out = Vec::new();
            encoder.encode(row, &mut out);
            String::from_utf8(out).unwrap()
        };
        (0..rows.len()).map(line).collect()
    }

    proptest! {
        #[test]
        fn rows_are_written_as_arrow_json_writes_them(
            texts in prop::collection::vec(prop::option::of(any::<String>()), 1..20),
            seconds in prop::collection::vec(prop::option::of(-80_000_000_000i64..300_000_000_000), 20),
            micros in 0i64..3,
        ) {
            let times: Vec<_> = seconds[..texts.len()].iter().map(|s| s.map(|s| s * 1_000_000 + micros)).collect();
            let rows = batch(&texts, &times);
            prop_assert_eq!(ours(&rows, &Unread::default()), arrows(&rows));
        }
    }

    #[test]
    fn what_the_other_column_says_is_left_out() {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("channel", Arc::new(StringArray::from(vec![Some("01"), None, None]))),
            ("channel_raw", Arc::new(StringArray::from(vec![Some("电话"), Some("飞鸽"), None]))),
        ];
        let rows = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap();
        let unread = Unread { pairs: vec![("channel_raw".into(), "channel".into())], flags: None };
        assert_eq!(ours(&rows, &unread), [r#"{"channel":"01"}"#, r#"{"channel_raw":"飞鸽"}"#, "{}"]);
        assert_eq!(ours(&rows, &Unread::default())[0], r#"{"channel":"01","channel_raw":"电话"}"#);
    }

    #[test]
    fn what_several_columns_were_made_of_is_left_out_when_all_say_something() {
        let numbers = |numbers: [Option<i32>; 3]| Arc::new(Int32Array::from(numbers.to_vec())) as ArrayRef;
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("lng", numbers([Some(1), Some(1), None])),
            ("lat", numbers([Some(2), None, Some(2)])),
            ("place_raw", Arc::new(StringArray::from(vec!["1,2", "1,?", "?,2"]))),
        ];
        let rows = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap();
        for pairs in [["lng", "lat"], ["lat", "lng"]] {
            let pairs = pairs.map(|name| ("place_raw".into(), name.into())).into();
            let kept: Vec<bool> =
                ours(&rows, &Unread { pairs, flags: None }).iter().map(|row| row.contains("place_raw")).collect();
            assert_eq!(kept, [false, true, true]);
        }
    }

    /// Whoever is told that something is odd about a column can see what stood there.
    #[test]
    fn what_is_flagged_is_not_left_out() {
        let mut flags = ListBuilder::new(StringBuilder::new());
        flags.append_value([Some("region_code:region_only_city"), Some("title:too_long")]);
        flags.append_value([Some("region_code_of:other"), Some("title:too_long")]);
        flags.append_null();
        let texts = |text: &str| Arc::new(StringArray::from(vec![text; 3]));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("region_code", texts("360100")),
            ("region_raw", texts("南昌市高新区")),
            ("flags", Arc::new(flags.finish())),
        ];
        let rows = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap();
        let pairs = vec![("region_raw".into(), "region_code".into())];
        let unread = Unread { pairs, flags: Some("flags".into()) };
        let kept: Vec<bool> = ours(&rows, &unread).iter().map(|row| row.contains("南昌市高新区")).collect();
        assert_eq!(kept, [true, false, false]);
    }
}
