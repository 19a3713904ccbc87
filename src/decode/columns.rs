//! Columns of text that can forget their last row.
//!
//! A message is written straight into the columns while it is read. When it turns out to be bad half-way, its row is
//! taken back, so neighbours never notice. Arrow's own builders cannot do that, and would check text again that the
//! reader has already checked.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{ArrayRef, NullBufferBuilder, StringArray, StructArray},
    buffer::{Buffer, OffsetBuffer, ScalarBuffer},
    datatypes::Fields as ArrowFields,
};

use super::{Field, Fields, Unseen};
use crate::near::nearest;

/// The columns of an object's used fields.
#[derive(Debug)]
pub(super) struct Table {
    pub names: Vec<Arc<str>>,
    pub columns: Vec<Column>,
    pub keys: Keys,
    fields: ArrowFields,
    /// Whether the object itself is there; its length is the number of rows begun.
    present: NullBufferBuilder,
    /// Whether the object has ever been there.
    seen: bool,
}

#[derive(Debug)]
pub(super) enum Column {
    Text(Texts),
    Struct(Table),
}

impl Table {
    pub fn new(fields: &Fields) -> Table {
        let column = |field: &Field| match field {
            Field::Text => Column::Text(Texts::default()),
            Field::Struct(fields) => Column::Struct(Table::new(fields)),
        };
        let names: Vec<Arc<str>> = fields.0.iter().map(|(name, _)| name.clone()).collect();
        Table {
            keys: Keys::new(&names),
            names,
            columns: fields.0.iter().map(|(_, field)| column(field)).collect(),
            fields: fields.arrow(),
            present: NullBufferBuilder::new(0),
            seen: false,
        }
    }

    /// Adds the fields that have had a value in no batch, each with the key in its place that it may be a slip of.
    pub fn unseen(&self, path: &str, found: &mut Vec<Unseen>) {
        for (name, column) in self.names.iter().zip(&self.columns) {
            let field = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
            match column {
                Column::Struct(table) if table.seen => table.unseen(&field, found),
                Column::Text(texts) if texts.seen => {}
                _ => found.push(Unseen { field, near: self.keys.near(name) }),
            }
        }
    }

    /// Rows, the one being written included.
    pub fn rows(&self) -> usize {
        self.present.len()
    }

    /// Opens a row. Columns that already hold something for it have been written.
    pub fn begin(&mut self) {
        self.present.append_non_null();
        self.keys.begin();
    }

    /// Closes the row: what was not written is NULL.
    pub fn end(&mut self) {
        let rows = self.rows();
        for column in &mut self.columns {
            if column.rows() < rows {
                column.push_null();
            }
        }
    }

    /// A row in which there is no object at all.
    pub fn push_null(&mut self) {
        self.present.append_null();
        self.columns.iter_mut().for_each(Column::push_null);
    }

    /// Forgets all rows from `rows` on.
    pub fn truncate(&mut self, rows: usize) {
        if self.rows() > rows {
            self.present.truncate(rows);
        }
        self.columns.iter_mut().for_each(|column| column.truncate(rows));
    }

    /// Appends the first row of a table of the same fields; tells whether it fits.
    pub fn push_first_of(&mut self, other: &Table) -> bool {
        self.present.append_non_null();
        self.columns.iter_mut().zip(&other.columns).all(|(column, from)| match (column, from) {
            (Column::Text(column), Column::Text(from)) => match from.first() {
                Some(text) => column.push(text),
                None => {
                    column.push_null();
                    true
                }
            },
            (Column::Struct(table), Column::Struct(from)) if from.present.is_valid(0) => table.push_first_of(from),
            (column, _) => {
                column.push_null();
                true
            }
        })
    }

    /// Bytes of text in all columns.
    pub fn bytes(&self) -> usize {
        self.columns.iter().map(Column::bytes).sum()
    }

    /// The columns, and an empty table again.
    pub fn finish(&mut self) -> Vec<ArrayRef> {
        self.present = NullBufferBuilder::new(0);
        self.columns.iter_mut().map(Column::finish).collect()
    }
}

impl Column {
    pub fn rows(&self) -> usize {
        match self {
            Column::Text(texts) => texts.rows(),
            Column::Struct(table) => table.rows(),
        }
    }

    pub fn push_null(&mut self) {
        match self {
            Column::Text(texts) => texts.push_null(),
            Column::Struct(table) => table.push_null(),
        }
    }

    fn truncate(&mut self, rows: usize) {
        match self {
            Column::Text(texts) => texts.truncate(rows),
            Column::Struct(table) => table.truncate(rows),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Column::Text(texts) => texts.values.len(),
            Column::Struct(table) => table.bytes(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Column::Text(texts) => Arc::new(texts.finish()),
            Column::Struct(table) => {
                let (rows, nulls) = (table.rows(), table.present.finish());
                table.seen |= nulls.as_ref().map_or(rows > 0, |nulls| nulls.null_count() < rows);
                let fields = table.fields.clone();
                let columns = table.finish();
                let array = StructArray::try_new_with_length(fields, columns, nulls, rows);
                Arc::new(array.expect("the columns of a table have its fields' types and one length"))
            }
        }
    }
}

/// A column of text.
#[derive(Debug)]
pub(super) struct Texts {
    /// Only whole pieces of `str` are appended: always valid UTF-8.
    values: Vec<u8>,
    /// Where each row ends, after a leading 0.
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
    /// Whether a batch has had a value.
    seen: bool,
}

impl Default for Texts {
    fn default() -> Texts {
        Texts { values: Vec::new(), offsets: vec![0], nulls: NullBufferBuilder::new(0), seen: false }
    }
}

impl Texts {
    #[inline]
    fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Appends a row; `false`, and nothing appended, when the column would grow beyond 2 GiB.
    #[inline]
    #[must_use]
    pub fn push(&mut self, text: &str) -> bool {
        let end = self.values.len() + text.len();
        let Ok(offset) = i32::try_from(end) else { return false };
        self.values.extend_from_slice(text.as_bytes());
        self.offsets.push(offset);
        self.nulls.append_non_null();
        true
    }

    #[inline]
    pub fn push_null(&mut self) {
        self.offsets.push(self.values.len() as i32);
        self.nulls.append_null();
    }

    #[inline]
    fn truncate(&mut self, rows: usize) {
        if self.rows() > rows {
            self.values.truncate(self.offsets[rows] as usize);
            self.offsets.truncate(rows + 1);
            self.nulls.truncate(rows);
        }
    }

    fn first(&self) -> Option<&str> {
        let text = &self.values[..*self.offsets.get(1)? as usize];
        self.nulls.is_valid(0).then(|| std::str::from_utf8(text).expect("only text was appended"))
    }

    fn finish(&mut self) -> StringArray {
        let (rows, nulls) = (self.rows(), self.nulls.finish());
        self.seen |= nulls.as_ref().map_or(rows > 0, |nulls| nulls.null_count() < rows);
        // The next batch will be about as large as this one.
        let room = Vec::with_capacity(self.values.len().min(1 << 20));
        let values = std::mem::replace(&mut self.values, room);
        let mut next = Vec::with_capacity(self.offsets.len());
        next.push(0);
        let offsets = std::mem::replace(&mut self.offsets, next);
        debug_assert!(std::str::from_utf8(&values).is_ok());
        // SAFETY: offsets begin with 0 and only ever grow with `values`; a truncation cuts both at a row's start.
        let offsets = unsafe { OffsetBuffer::new_unchecked(ScalarBuffer::from(offsets)) };
        // SAFETY: `values` is a concatenation of whole `str`s, and offsets stand between them.
        unsafe { StringArray::new_unchecked(offsets, Buffer::from_vec(values), nulls) }
    }
}

/// Finds an object's keys among the used fields, by guessing: the messages of a feed have their keys in the same order,
/// so we remember which two keys followed which (a field that is not always there has one behind it), and a key is usually
/// found by one comparison.
#[derive(Debug)]
pub(super) struct Keys {
    /// All used fields and other keys seen; the first stands for the start of an object.
    known: Vec<Known>,
    by_name: HashMap<Box<str>, u32>,
    last: u32,
}

#[derive(Debug)]
struct Known {
    name: Box<str>,
    field: Option<u32>,
    /// Keys that have followed, the later one first; 0 if none.
    next: [u32; 2],
}

/// Other keys are remembered up to this number and length: a hostile feed must not fill the memory.
pub(super) const MOST_KEYS: usize = 1024;
const LONGEST_KEY: usize = 128;

impl Keys {
    fn new(names: &[Arc<str>]) -> Keys {
        let start = Known { name: "".into(), field: None, next: [0; 2] };
        let mut keys = Keys { known: vec![start], by_name: HashMap::new(), last: 0 };
        for (field, name) in names.iter().enumerate() {
            keys.learn(name, Some(field as u32));
        }
        keys
    }

    /// Makes a field unknown: it is filled from elsewhere.
    pub fn hide(&mut self, name: &str) {
        if let Some(at) = self.by_name.get(name) {
            self.known[*at as usize].field = None;
        }
    }

    fn begin(&mut self) {
        self.last = 0;
    }

    /// The key seen that is no used field and may be meant by one; of two letters any other would be near.
    fn near(&self, field: &str) -> Option<String> {
        let others = self.known[1..].iter().filter(|known| known.field.is_none()).map(|known| &*known.name);
        let near = nearest(field, others)?;
        (field.chars().count() > 2 || near.eq_ignore_ascii_case(field)).then(|| near.to_owned())
    }

    /// The index of the field, if it is used.
    #[inline]
    pub fn find(&mut self, key: &str) -> Option<usize> {
        for guess in self.known[self.last as usize].next {
            let known = &self.known[guess as usize];
            if guess != 0 && *known.name == *key {
                self.last = guess;
                return known.field.map(|field| field as usize);
            }
        }
        self.search(key)
    }

    #[cold]
    fn search(&mut self, key: &str) -> Option<usize> {
        let at = match self.by_name.get(key) {
            Some(at) => *at,
            None if self.known.len() < MOST_KEYS && key.len() <= LONGEST_KEY => self.learn(key, None),
            None => return None,
        };
        let next = &mut self.known[self.last as usize].next;
        *next = [at, next[0]];
        self.last = at;
        self.known[at as usize].field.map(|field| field as usize)
    }

    #[cfg(test)]
    pub fn remembered(&self) -> usize {
        self.known.len()
    }

    fn learn(&mut self, key: &str, field: Option<u32>) -> u32 {
        let at = self.known.len() as u32;
        self.known.push(Known { name: key.into(), field, next: [0; 2] });
        self.by_name.insert(key.into(), at);
        at
    }
}
