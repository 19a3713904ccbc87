//! From bytes to rows of text.
//!
//! Types stay text here: what a text means is the business of SQL, which can give reasons. What cannot be read is
//! rejected, the rest goes on; one bad message never touches its neighbours.
//!
//! Strict where a guess could be wrong: what follows a JSON value, a used key that comes twice, half a surrogate pair,
//! bytes that are not text are rejected. Lenient where nothing can get lost: a byte order mark of the feed's charset,
//! white space around the value, numbers in place of texts and the reverse, unknown fields, an object where an
//! envelope should have an array of one.
//!
//! A message that is an array holds several rows, and so does an envelope (`rows = "data.orders"` in the source's
//! profile; its own fields are the struct `envelope` of each row). There a row that cannot be read is rejected alone.

mod bad;
mod charset;
mod columns;
mod envelope;
mod json;
mod reject;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::{
    datatypes::{DataType, Field as ArrowField, Fields as ArrowFields, Schema},
    record_batch::{RecordBatch, RecordBatchOptions},
};

use reject::gap_rejects;
pub use reject::reject;

use bad::Bad;
use charset::{Charset, Text};
use columns::{Column, Table};
use reject::{Copies, unread};

use crate::{
    batch::{Fetched, Message, Origin, Reject},
    config::Source,
};

/// The fields of a message that the mapping SQL uses: what is decoded, and nothing else.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fields(pub Vec<(Arc<str>, Field)>);

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Field {
    /// A scalar, kept as text; an array or object in its place keeps its JSON text.
    Text,
    Struct(Fields),
}

impl Fields {
    fn arrow(&self) -> ArrowFields {
        let field = |(name, field): &(Arc<str>, Field)| {
            let kind = match field {
                Field::Text => DataType::Utf8,
                Field::Struct(fields) => DataType::Struct(fields.arrow()),
            };
            ArrowField::new(name.as_ref(), kind, true)
        };
        self.0.iter().map(field).collect()
    }

    /// The schema of [`Decoded::rows`].
    pub fn schema(&self) -> Arc<Schema> {
        Arc::new(Schema::new(self.arrow()))
    }
}

/// Rows of text, where each came from, and what could not be read.
#[derive(Debug)]
pub struct Decoded {
    pub rows: RecordBatch,
    /// One per row.
    pub origins: Vec<Origin>,
    /// One per row: index of its message in the batch and, when the message holds several rows, the row's own bytes.
    pub places: Vec<Place>,
    pub rejects: Vec<Reject>,
    /// Rows, unreadable messages and gaps: what the account starts from.
    pub input: u64,
    /// Messages that were left for the next batch: with them this one would have been too large.
    pub rest: Option<Fetched>,
    /// Messages copied for rejects, so that many rejects of a message share one copy.
    copies: Copies,
}

/// A used field that no message has had a value in: it may be misspelt in the map.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unseen {
    /// Its path, from the row.
    pub field: String,
    /// A key beside it in the messages which the map does not use, and which may be meant.
    pub near: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    pub message: u32,
    /// Start and length within the message's payload.
    pub part: Option<(u32, u32)>,
}

/// Turns the messages of one source into rows.
#[derive(Debug)]
pub struct Decoder {
    schema: Arc<Schema>,
    table: Table,
    charset: Charset,
    /// Where an envelope holds its rows.
    wrapped: Option<Wrapped>,
}

#[derive(Debug)]
struct Wrapped {
    path: Vec<String>,
    /// The envelope's own used fields; one row while a message is read.
    fields: Table,
    /// The column of `fields` in the rows, if any are used.
    column: Option<usize>,
}

/// The field of a row that stands for the envelope around it.
const ENVELOPE: &str = "envelope";

/// Fields of an envelope are repeated in every row: of one message, and of all that a batch takes before the last, not
/// beyond this.
const MOST_REPEATED: usize = 64 << 20;

/// With so many rows, good or bad, a batch takes no further message: a few megabytes of `[{},{}]` are a million rows.
const MOST_ROWS: usize = 16 << 10;

impl Decoder {
    pub fn new(fields: &Fields, source: &Source) -> Decoder {
        let mut table = Table::new(fields);
        let wrapped = source.rows.as_ref().map(|path| {
            let column = fields.0.iter().position(|(name, field)| &**name == ENVELOPE && *field != Field::Text);
            let fields = column.map(|column| match &fields.0[column].1 {
                Field::Struct(fields) => fields.clone(),
                Field::Text => Fields::default(),
            });
            if column.is_some() {
                table.keys.hide(ENVELOPE);
            }
            let fields = Table::new(&fields.unwrap_or_default());
            Wrapped { path: path.split('.').map(str::to_owned).collect(), fields, column }
        });
        Decoder { schema: fields.schema(), table, charset: Charset::new(source.charset), wrapped }
    }

    /// Reads a batch. Cannot fail: what cannot be read is rejected, the rest goes on. The batch's gaps are among the
    /// rejects and in the account. Messages that would make it too large leave it for [`Decoded::rest`].
    pub fn decode(&mut self, fetched: &mut Fetched) -> Decoded {
        let messages = fetched.messages.len();
        let mut found = Found {
            origins: Vec::with_capacity(messages),
            places: Vec::with_capacity(messages),
            rejects: Vec::new(),
            copies: Copies::default(),
            repeated: 0,
        };
        let mut rest = None;
        for index in 0..messages {
            if found.is_full() {
                rest = Some(fetched.split_off(index));
                for (origin, place) in found.origins.iter_mut().zip(&found.places) {
                    origin.cover = fetched.messages[place.message as usize].cover;
                }
                break;
            }
            if let Err(bad) = self.read(fetched, index as u32, &mut found) {
                self.table.truncate(found.origins.len());
                let reject = unread(fetched, index as u32, None, bad.into_fault(), &found.copies);
                found.rejects.push(reject);
            }
        }
        found.rejects.splice(0..0, gap_rejects(fetched));
        let Found { origins, places, rejects, copies, .. } = found;
        let options = RecordBatchOptions::new().with_row_count(Some(origins.len()));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), self.table.finish(), &options)
            .expect("the columns have the schema's types and one length");
        let input = (origins.len() + rejects.len()) as u64;
        Decoded { rows, origins, places, rejects, input, rest, copies }
    }

    /// The used fields that had no value in any of the rows so far.
    pub fn unseen(&self) -> Vec<Unseen> {
        let mut found = Vec::new();
        self.table.unseen("", &mut found);
        found
    }

    /// Reads one message. On `Err` it is rejected as a whole.
    fn read(&mut self, fetched: &Fetched, index: u32, found: &mut Found) -> Result<(), Bad> {
        let payload = fetched.payload(&fetched.messages[index as usize]);
        let payload = payload.ok_or_else(|| Bad::new(bad::TOMBSTONE, None, "空消息（墓碑），没有内容"))?;
        let text = self.charset.read(payload)?;
        let start = json::leading(text.text);
        let rows = match (text.text.as_bytes().get(start), &mut self.wrapped) {
            (None, _) => Err(Bad::new(bad::EMPTY, None, "消息为空，没有内容")),
            (Some(b'{'), None) => {
                let read = json::object(text.text, &mut self.table);
                return read.map(|()| found.push(fetched, index, None, 0)).map_err(|bad| text.trace(bad));
            }
            (Some(b'{'), Some(wrapped)) => wrapped.open(text.text, start),
            (Some(b'['), None) => json::elements(text.text),
            (Some(b'['), Some(_)) => json::elements(text.text)
                .and_then(|_| Err(Bad::new(bad::NO_ROWS, start, "消息是数组，而来源声明的是内含数据行的对象"))),
            (Some(_), _) => Err(json::scalar(text.text)),
        };
        let rows = rows.and_then(|rows| {
            if rows.is_empty() {
                return Err(Bad::new(bad::NO_ROWS, start, "数组为空，没有数据行"));
            }
            if !rows.iter().any(|row| row.starts_with('{')) {
                return Err(Bad::new(bad::NOT_AN_OBJECT, start, "数组的元素都不是 JSON 对象"));
            }
            Ok(rows)
        });
        let rows = rows.map_err(|bad| text.trace(bad))?;
        spread(&mut self.table, self.wrapped.as_ref(), text, &rows, fetched, index, found)
    }
}

/// Reads the rows of a message that holds several. A bad one is rejected alone.
fn spread(
    table: &mut Table,
    wrapped: Option<&Wrapped>,
    text: Text,
    rows: &[&str],
    fetched: &Fetched,
    index: u32,
    found: &mut Found,
) -> Result<(), Bad> {
    let repeated = wrapped.map_or(0, |wrapped| wrapped.fields.bytes().saturating_mul(rows.len()));
    if repeated > MOST_REPEATED {
        let what = "信封字段的长度乘以行数超过 64 MiB，请分批发送";
        return Err(Bad::new(bad::TOO_LARGE, None, what));
    }
    found.repeated += repeated;
    let start = |row: &str| row.as_ptr() as usize - text.text.as_ptr() as usize;
    let bounds: Vec<usize> = rows.iter().flat_map(|row| [start(row), start(row) + row.len()]).collect();
    let bounds = text.origins(&bounds);
    let mut wrong = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let (from, to) = (bounds[2 * number], bounds[2 * number + 1]);
        let part = (rows.len() > 1).then_some((from as u32, (to - from) as u32));
        let read = match row.starts_with('{') {
            true => json::object(row, table).and_then(|()| wrapped.map_or(Ok(()), |wrapped| wrapped.repeat(table))),
            false => Err(Bad::new(bad::NOT_AN_OBJECT, 0, "数组的元素不是 JSON 对象")),
        };
        match read {
            Ok(()) => found.push(fetched, index, part, number as u32),
            Err(bad) => {
                table.truncate(found.origins.len());
                wrong.push((number as u32, part, bad.shifted(start(row))));
            }
        }
    }
    // All at once: in another charset each would be looked for from the message's start.
    let places: Vec<usize> = wrong.iter().filter_map(|(_, _, bad)| bad.at).collect();
    let mut places = text.origins(&places).into_iter();
    for (number, part, mut bad) in wrong {
        bad.at = bad.at.and_then(|_| places.next());
        found.rejects.push(unread(fetched, index, Some((number, part)), bad.into_fault(), &found.copies));
    }
    Ok(())
}

impl Wrapped {
    /// Reads an envelope's own fields and finds its rows.
    fn open<'t>(&mut self, text: &'t str, start: usize) -> Result<Vec<&'t str>, Bad> {
        self.fields.truncate(0);
        let fields = self.column.is_some().then_some(&mut self.fields);
        envelope::envelope(text, fields, &self.path)?
            .ok_or_else(|| Bad::new(bad::NO_ROWS, start, format!("消息在 {} 处没有数据行的数组", self.path.join("."))))
    }

    /// Puts the envelope's fields into the row just read.
    fn repeat(&self, table: &mut Table) -> Result<(), Bad> {
        let row = table.rows() - 1;
        match self.column.map(|column| &mut table.columns[column]) {
            Some(Column::Struct(column)) => {
                column.truncate(row);
                if column.push_first_of(&self.fields) { Ok(()) } else { Err(json::too_large()) }
            }
            _ => Ok(()),
        }
    }
}

/// What a batch has given so far.
struct Found {
    origins: Vec<Origin>,
    places: Vec<Place>,
    rejects: Vec<Reject>,
    copies: Copies,
    /// Bytes of the fields of envelopes, in all rows.
    repeated: usize,
}

impl Found {
    fn is_full(&self) -> bool {
        self.origins.len() + self.rejects.len() >= MOST_ROWS || self.repeated >= MOST_REPEATED
    }

    fn push(&mut self, fetched: &Fetched, index: u32, part: Option<(u32, u32)>, row: u32) {
        let Message { cover, offset, timestamp, .. } = fetched.messages[index as usize];
        self.origins.push(Origin { cover, row, offset, timestamp });
        self.places.push(Place { message: index, part });
    }
}
