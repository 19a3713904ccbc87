//! Columns that every stage can see beside its own: where the row came from and when.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int32Array, Int64Array, StringBuilder, TimestampMicrosecondArray},
    datatypes::{DataType, Field, TimeUnit},
};

use crate::{
    batch::{Fetched, Origin},
    decode::Place,
};

pub(super) const NAMES: [&str; 7] = ["_source", "_topic", "_partition", "_offset", "_row", "_key", "_timestamp"];

pub(super) fn is_meta(name: &str) -> bool {
    NAMES.contains(&name)
}

pub(super) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

pub(super) fn fields() -> Vec<Field> {
    let kind = |name: &str| match name {
        "_partition" | "_row" => DataType::Int32,
        "_offset" => DataType::Int64,
        "_timestamp" => timestamp(),
        _ => DataType::Utf8,
    };
    NAMES.iter().map(|name| Field::new(*name, kind(name), true)).collect()
}

/// The meta column `name` of some rows.
pub(super) fn column(name: &str, source: &str, fetched: &Fetched, origins: &[Origin], places: &[Place]) -> ArrayRef {
    match name {
        "_partition" => Arc::new(Int32Array::from_iter_values(
            origins.iter().map(|origin| fetched.covers[origin.cover as usize].partition.number),
        )),
        "_row" => Arc::new(Int32Array::from_iter_values(origins.iter().map(|origin| origin.row as i32))),
        "_offset" => Arc::new(Int64Array::from_iter_values(origins.iter().map(|origin| origin.offset))),
        "_timestamp" => Arc::new(
            origins
                .iter()
                .map(|origin| origin.timestamp.map(|ms| ms.saturating_mul(1000)))
                .collect::<TimestampMicrosecondArray>()
                .with_timezone("UTC"),
        ),
        "_source" => texts(origins.len(), |_| Some(source)),
        "_topic" => texts(origins.len(), |i| Some(fetched.covers[origins[i].cover as usize].partition.topic.as_ref())),
        "_key" => texts(origins.len(), |i| {
            let message = &fetched.messages[places[i].message as usize];
            fetched.key(message).and_then(|key| std::str::from_utf8(key).ok())
        }),
        other => unreachable!("{other} is not one of the meta columns"),
    }
}

fn texts<'a>(len: usize, text: impl Fn(usize) -> Option<&'a str>) -> ArrayRef {
    let mut builder = StringBuilder::with_capacity(len, len * 16);
    (0..len).for_each(|i| builder.append_option(text(i)));
    Arc::new(builder.finish())
}
