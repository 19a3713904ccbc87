//! What messages look like beside their values: keys and headers.
//!
//! Headers of a rejected message: `huiju.source`, `huiju.pipeline`, where it stood (`huiju.topic`, `huiju.partition`,
//! `huiju.offset`), the first fault (`huiju.stage`, `huiju.code`, `huiju.field`, `huiju.reason`), and `huiju.faults`: a
//! JSON array of all of them, each with the number of its row. Values of personal columns are masked before they come
//! here.

use std::{collections::BTreeMap, fmt::Write as _, ops::Range};

use arrow::{
    array::{Array, AsArray, StringArray},
    datatypes::DataType,
    record_batch::RecordBatch,
    util::display::{ArrayFormatter, FormatOptions},
};
use rdkafka::message::{Header, OwnedHeaders};
use serde::Serialize;

use crate::{
    batch::Reject,
    cursor::Partition,
    error::{Context, Error, Result},
    sink::json::Encoder,
};

/// A message of many rows may have many faults, and a broker refuses messages that are too large.
const MOST_FAULTS: usize = 100;

/// So many rows, or bytes of rows, are encoded before the client is given them: either's code and data stay in the cache,
/// and rows of a megabyte are not held in dozens.
pub const TOGETHER: usize = 64;
pub const TOGETHER_BYTES: usize = 256 << 10;

/// Values and keys of some rows.
#[derive(Default)]
pub struct Encoded {
    texts: Vec<u8>,
    /// Row; where in `texts` its value ends; whether it has a key, and where that ends.
    ends: Vec<(usize, usize, bool, usize)>,
}

impl Encoded {
    /// Encodes the next of `rows` in place of those before: one at least, and not more than are wanted together.
    pub fn take(&mut self, rows: &mut Range<usize>, values: &mut Encoder<'_>, keys: &Keys<'_>) -> Result<()> {
        self.texts.clear();
        self.ends.clear();
        for row in rows.take(TOGETHER) {
            values.encode(row, &mut self.texts);
            let value = self.texts.len();
            let keyed = keys.write(row, &mut self.texts)?;
            self.ends.push((row, value, keyed, self.texts.len()));
            if self.texts.len() >= TOGETHER_BYTES {
                break;
            }
        }
        Ok(())
    }

    /// Row, value and key.
    pub fn rows(&self) -> impl Iterator<Item = (usize, &[u8], Option<&[u8]>)> {
        let mut begin = 0;
        self.ends.iter().map(move |(row, value, keyed, end)| {
            let from = std::mem::replace(&mut begin, *end);
            (*row, &self.texts[from..*value], keyed.then_some(&self.texts[*value..*end]))
        })
    }
}

/// Keys of rows.
pub struct Keys<'a>(Vec<KeyColumn<'a>>);

enum KeyColumn<'a> {
    Text(&'a StringArray),
    Other(&'a dyn Array, ArrayFormatter<'a>),
}

impl<'a> Keys<'a> {
    pub fn new(rows: &'a RecordBatch, columns: &[String]) -> Result<Keys<'a>> {
        let mut keys = Vec::with_capacity(columns.len());
        for name in columns {
            let column = rows.column_by_name(name);
            let column = column.ok_or_else(|| Error::config(format!("key column {name} is not in the contract")))?;
            keys.push(match column.data_type() {
                DataType::Utf8 => KeyColumn::Text(column.as_string()),
                _ => {
                    let formatter = ArrayFormatter::try_new(column, &FormatOptions::default());
                    KeyColumn::Other(column, formatter.or_config(format!("key column {name}"))?)
                }
            });
        }
        Ok(Keys(keys))
    }

    /// Appends the key of a row; tells whether it has one: without any value it has none.
    pub fn write(&self, row: usize, key: &mut Vec<u8>) -> Result<bool> {
        let mut any = false;
        for (at, column) in self.0.iter().enumerate() {
            if at > 0 {
                key.push(b'|');
            }
            match column {
                KeyColumn::Text(texts) if texts.is_valid(row) => key.extend_from_slice(texts.value(row).as_bytes()),
                KeyColumn::Other(column, formatter) if column.is_valid(row) => {
                    let text = formatter.value(row).try_to_string().or_bug("write a key")?;
                    key.extend_from_slice(text.as_bytes());
                }
                _ => continue,
            }
            any = true;
        }
        Ok(any)
    }
}

pub fn header(headers: OwnedHeaders, name: &str, value: &str) -> OwnedHeaders {
    headers.insert(Header { key: name, value: Some(value) })
}

/// Rejects of one message together, in the order of messages.
pub fn by_message(rejects: &[Reject]) -> Vec<Vec<&Reject>> {
    let mut messages: BTreeMap<(&Partition, i64), Vec<&Reject>> = BTreeMap::new();
    for reject in rejects {
        messages.entry((&reject.partition, reject.offset)).or_default().push(reject);
    }
    messages.into_values().collect()
}

#[derive(Serialize)]
struct Fault<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<u32>,
    stage: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
}

pub fn reject_headers(pipeline: &str, source: &str, rejects: &[&Reject]) -> OwnedHeaders {
    let faults = rejects.iter().flat_map(|reject| {
        reject.faults.iter().map(|fault| Fault {
            row: reject.row,
            stage: &reject.stage,
            code: &fault.code,
            field: fault.field.as_deref(),
            reason: &fault.reason,
            value: fault.value.as_deref(),
        })
    });
    let faults: Vec<Fault<'_>> = faults.take(MOST_FAULTS).collect();
    let first = rejects[0];
    let mut headers = OwnedHeaders::new_with_capacity(10);
    let mut number = String::new();
    for (name, value) in [(super::SOURCE, source), (super::PIPELINE, pipeline), ("huiju.topic", &first.partition.topic)]
    {
        headers = header(headers, name, value);
    }
    for (name, value) in [("huiju.partition", i64::from(first.partition.number)), ("huiju.offset", first.offset)] {
        number.clear();
        let _ = write!(number, "{value}");
        headers = header(headers, name, &number);
    }
    headers = header(headers, "huiju.stage", &first.stage);
    if let Some(fault) = faults.first() {
        headers = header(headers, "huiju.code", fault.code);
        if let Some(field) = fault.field {
            headers = header(headers, "huiju.field", field);
        }
        headers = header(headers, "huiju.reason", fault.reason);
    }
    let faults = serde_json::to_string(&faults).expect("texts and numbers are always JSON");
    header(headers, "huiju.faults", &faults)
}
