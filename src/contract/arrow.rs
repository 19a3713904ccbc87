//! The contract as an Arrow schema: what the engine's output, Parquet files and Delta tables look like.

use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::{Column, Contract, Kind, Severity};

impl Kind {
    pub fn arrow(&self) -> DataType {
        match self {
            Kind::Text => DataType::Utf8,
            Kind::Integer => DataType::Int32,
            Kind::Long => DataType::Int64,
            Kind::Double => DataType::Float64,
            Kind::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale),
            Kind::Boolean => DataType::Boolean,
            Kind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Kind::Date => DataType::Date32,
            // `element` is what the Parquet format and Delta call it; Arrow's own default (`item`) is not.
            Kind::Texts => DataType::List(Arc::new(Field::new("element", DataType::Utf8, true))),
        }
    }
}

impl Column {
    /// Whether a row that passed the checks may lack it: it is not required, or its raw text is enough.
    pub fn nullable(&self) -> bool {
        !self.required || (self.raw.is_some() && self.unread() == Severity::Warning)
    }

    /// What it means that the raw text is there and nothing could be made of it. Of a required column a code may come
    /// later, once its table knows the word; anything else is missing.
    pub fn unread(&self) -> Severity {
        if self.required && self.codes.is_none() { Severity::Error } else { self.unknown }
    }

    /// Term and meaning in one line, as tables carry it.
    pub fn comment(&self) -> String {
        if *self.title == *self.name {
            self.description.clone()
        } else {
            format!("{}：{}", self.title, self.description)
        }
    }
}

impl Contract {
    /// Each field carries its `comment`, the schema `contract` and `contract_version`.
    pub fn arrow_schema(&self) -> SchemaRef {
        let field = |column: &Column| {
            let metadata = HashMap::from([("comment".to_owned(), column.comment())]);
            Field::new(column.name.as_ref(), column.kind.arrow(), column.nullable()).with_metadata(metadata)
        };
        let fields: Vec<Field> = self.columns.iter().map(field).collect();
        let metadata = HashMap::from([
            ("contract".to_owned(), self.name.to_string()),
            ("contract_version".to_owned(), self.version.clone()),
        ]);
        Arc::new(Schema::new_with_metadata(fields, metadata))
    }

    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| *column.name == *name)
    }
}
