//! From bytes to rows of text.
//!
//! Types stay text here: what a text means is the business of SQL, which can give reasons. What cannot be read is
//! rejected, the rest goes on; one bad message never touches its neighbours.

use std::sync::Arc;

use arrow::{
    datatypes::{DataType, Field as ArrowField, Fields as ArrowFields, Schema},
    record_batch::RecordBatch,
};

use crate::batch::{Origin, Reject};

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
    /// Rows and unreadable messages: what the account starts from.
    pub input: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    pub message: u32,
    /// Start and length within the message's payload.
    pub part: Option<(u32, u32)>,
}
