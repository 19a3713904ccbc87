//! The columns of both tables, in Arrow's words and in Delta's, and how a table's differ from ours.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, Int32Builder, Int64Builder, StringArray, TimestampMicrosecondBuilder, UInt32Array},
    compute::take_record_batch,
    datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit},
    record_batch::RecordBatch,
};
use serde_json::{Value, json};

use super::{side::Take, stats};
use crate::{
    batch::Outcome,
    error::{Context, Error, Result},
};

/// The day of the message time: the one partition column that is not the contract's.
pub(super) const DAY: &str = "ingested_on";
pub(super) const TIME: &str = "_ingested_at";

/// A table's columns.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// All of them, partition columns included, nullable (Delta engines differ in what they do with NOT NULL).
    pub columns: SchemaRef,
    pub partition_by: Vec<String>,
    /// What the files hold: all but the partition columns.
    pub stored: SchemaRef,
    /// The column that [`DAY`] is derived from.
    pub time: &'static str,
    /// Columns whose smallest and largest values are told nowhere, neither in the log, which is not guarded like the
    /// data, nor in a file's footer: personal ones, and free texts.
    pub untold: HashSet<String>,
}

impl Shape {
    pub fn of_rows(contract: &Schema, partition_by: &[String], untold: HashSet<String>) -> Result<Shape> {
        let mut columns: Vec<Field> = contract.fields().iter().map(|field| plain(field)).collect();
        columns.extend([
            column("_source", DataType::Utf8, "数据来源"),
            column("_topic", DataType::Utf8, "来源主题"),
            column("_partition", DataType::Int32, "来源分区"),
            column("_offset", DataType::Int64, "来源位移"),
            column("_row", DataType::Int32, "消息内行号，从 0 起"),
            column(TIME, instant(), "消息时间"),
        ]);
        if partition_by.iter().any(|name| name == DAY) {
            columns.push(column(DAY, DataType::Date32, "消息日期"));
        }
        let mut names = std::collections::HashSet::new();
        if let Some(twice) = columns.iter().find(|c| !names.insert(c.name().to_ascii_lowercase())) {
            return Err(Error::config(format!(
                "archive: the contract's column `{}` has a name that the archive uses itself",
                twice.name()
            )));
        }
        Ok(Shape { untold, ..Shape::new(columns, partition_by, TIME)? })
    }

    pub fn of_rejects() -> Shape {
        let text = || DataType::Utf8;
        let fault = Fields::from(vec![
            Field::new("code", text(), true),
            Field::new("field", text(), true),
            Field::new("reason", text(), true),
            Field::new("value", text(), true),
        ]);
        let columns = vec![
            column("source", text(), "数据来源"),
            column("topic", text(), "来源主题"),
            column("partition", DataType::Int32, "来源分区"),
            column("offset", DataType::Int64, "来源位移"),
            column("row", DataType::Int32, "消息内行号，从 0 起；整条消息无法读取时为空"),
            column("message_time", instant(), "消息时间"),
            column("key", DataType::Binary, "消息键，原始字节"),
            column("payload", DataType::Binary, "该行的原始字节；删除标记为空"),
            column("stage", text(), "未通过的环节"),
            column("code", text(), "首个错误代码"),
            column("field", text(), "首个错误所在字段"),
            column("reason", text(), "首个错误原因"),
            column("value", text(), "首个错误的原值，涉及个人信息时脱敏"),
            column("faults", DataType::new_list(DataType::Struct(fault), true), "全部错误"),
            column(DAY, DataType::Date32, "消息日期"),
        ];
        let shape = Shape::new(columns, &[DAY.to_owned()], "message_time");
        // Whatever a city has sent.
        let untold = ["key", "payload", "value", "faults"].map(str::to_owned).into();
        Shape { untold, ..shape.expect("its partition column is one of its columns") }
    }

    fn new(columns: Vec<Field>, partition_by: &[String], time: &'static str) -> Result<Shape> {
        for name in partition_by {
            let Some(field) = columns.iter().find(|field| field.name() == name) else {
                return Err(Error::config(format!(
                    "archive: cannot partition by `{name}`: the contract has no such column; use `{DAY}` or one of its columns"
                )));
            };
            if !matches!(field.data_type(), DataType::Utf8 | DataType::Date32 | DataType::Int32 | DataType::Int64) {
                return Err(Error::config(format!(
                    "archive: cannot partition by `{name}`: only texts, dates and integers make folders"
                )));
            }
        }
        let stored: Vec<Field> = columns.iter().filter(|f| !partition_by.contains(f.name())).cloned().collect();
        if stored.is_empty() {
            return Err(Error::config("archive: partition_by leaves no column to store"));
        }
        Ok(Shape {
            columns: Arc::new(Schema::new(columns)),
            partition_by: partition_by.to_vec(),
            stored: Arc::new(Schema::new(stored)),
            time,
            untold: HashSet::new(),
        })
    }

    /// The schema as Delta writes it.
    pub fn delta(&self) -> Value {
        delta_struct(self.columns.fields())
    }

    /// How a table that is there differs from this, column by column, for people; empty when it does not.
    pub fn differences(&self, there: &Value, partitioned_by: &[String]) -> Vec<String> {
        let (ours, theirs) = (types(&self.delta()), types(there));
        let find = |list: &[(String, String)], name: &str| list.iter().find(|(n, _)| n == name).map(|(_, t)| t.clone());
        let mut differences = Vec::new();
        for (name, ours) in &ours {
            match find(&theirs, name) {
                None => differences.push(format!("column `{name}` ({ours}) is not in the table")),
                Some(theirs) if theirs != *ours => {
                    differences.push(format!("column `{name}` is {theirs} in the table, {ours} in the contract"));
                }
                Some(_) => {}
            }
        }
        for (name, theirs) in &theirs {
            if find(&ours, name).is_none() {
                differences.push(format!("column `{name}` ({theirs}) of the table is not in the contract"));
            }
        }
        if self.partition_by != partitioned_by {
            let (there, here) = (partitioned_by.join(", "), self.partition_by.join(", "));
            differences.push(format!("the table is partitioned by [{there}], the pipeline says [{here}]"));
        }
        // Only columns can be added.
        if !differences.iter().all(|difference| difference.ends_with(" is not in the table")) {
            differences.push("give the sink a new `path` in pipeline.toml, or take the change back".to_owned());
        }
        differences
    }

    /// A table's schema with our columns that it lacks at its end, and with our descriptions.
    pub fn widen(&self, there: &Value) -> Widen {
        let ours = self.delta();
        let mut widen = Widen { schema: there.clone(), added: Vec::new(), described: 0 };
        let Some(fields) = widen.schema["fields"].as_array_mut() else { return widen };
        for field in ours["fields"].as_array().into_iter().flatten() {
            let Some(there) = fields.iter_mut().find(|there| there["name"] == field["name"]) else {
                widen.added.extend(field["name"].as_str().map(str::to_owned));
                fields.push(field.clone());
                continue;
            };
            let comment = &field["metadata"]["comment"];
            if there["metadata"].is_object() && !comment.is_null() && there["metadata"]["comment"] != *comment {
                there["metadata"]["comment"] = comment.clone();
                widen.described += 1;
            }
        }
        widen
    }

    /// Columns that have bounds in the log.
    pub fn bounded(&self) -> Vec<&str> {
        let told = |field: &&Arc<Field>| stats::are_bounded(field.data_type()) && !self.untold.contains(field.name());
        self.stored.fields().iter().filter(told).map(|field| field.name().as_str()).collect()
    }

    /// Column names and their descriptions, for readers without Delta.
    pub fn comments(&self) -> String {
        let comments: serde_json::Map<String, Value> =
            self.columns.fields().iter().map(|f| (f.name().clone(), json!(comment(f)))).collect();
        Value::Object(comments).to_string()
    }
}

/// What [`Shape::widen`] makes of a schema.
pub(super) struct Widen {
    pub schema: Value,
    /// Columns that were not in it.
    pub added: Vec<String>,
    /// Columns that have another description now.
    pub described: usize,
}

/// The rows that `take` lets through, with their lineage; `None` when there are none.
pub(super) fn rows_batch(outcome: &Outcome, take: &Take, shape: &Shape) -> Result<Option<RecordBatch>> {
    let taken: Vec<u32> = (0..outcome.origins.len() as u32)
        .filter(|&row| take.has(outcome.origins[row as usize].cover as usize))
        .collect();
    if taken.is_empty() {
        return Ok(None);
    }
    let some;
    let rows = if taken.len() == outcome.origins.len() {
        &outcome.rows
    } else {
        let taken = UInt32Array::from(taken.clone());
        some = take_record_batch(&outcome.rows, &taken).or_bug("archive: select rows")?;
        &some
    };

    let count = taken.len();
    let (mut offsets, mut numbers) = (Int64Builder::with_capacity(count), Int32Builder::with_capacity(count));
    let (mut partitions, mut times) =
        (Int32Builder::with_capacity(count), TimestampMicrosecondBuilder::with_capacity(count));
    let mut topics = Vec::with_capacity(count);
    for &row in &taken {
        let origin = outcome.origins[row as usize];
        let partition = &outcome.covers[origin.cover as usize].partition;
        topics.push(&*partition.topic);
        partitions.append_value(partition.number);
        offsets.append_value(origin.offset);
        numbers.append_value(origin.row as i32);
        times.append_option(origin.timestamp.and_then(|ms| ms.checked_mul(1000)));
    }
    let mut columns = rows.columns().to_vec();
    let lineage: [ArrayRef; 6] = [
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&*outcome.source, count))),
        Arc::new(StringArray::from(topics)),
        Arc::new(partitions.finish()),
        Arc::new(offsets.finish()),
        Arc::new(numbers.finish()),
        Arc::new(times.finish().with_timezone("UTC")),
    ];
    columns.extend(lineage);
    // The day column, when there is one, comes last and is made where the files are: see `side`.
    let fields: Vec<_> = shape.columns.fields().iter().take(columns.len()).cloned().collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .map(Some)
        .or_bug("archive: rows are not the contract's")
}

pub(super) fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn column(name: &str, kind: DataType, comment: &str) -> Field {
    Field::new(name, kind, true).with_metadata(HashMap::from([("comment".to_owned(), comment.to_owned())]))
}

/// Nullable, and of its metadata only the comment.
fn plain(field: &Field) -> Field {
    let metadata = field.metadata().get("comment").map(|text| ("comment".to_owned(), text.clone()));
    Field::new(field.name(), field.data_type().clone(), true).with_metadata(metadata.into_iter().collect())
}

fn comment(field: &Field) -> &str {
    field.metadata().get("comment").map_or("", String::as_str)
}

fn delta_struct(fields: &Fields) -> Value {
    let fields: Vec<Value> = fields
        .iter()
        .map(|field| {
            let metadata = match comment(field) {
                "" => json!({}),
                text => json!({ "comment": text }),
            };
            json!({ "name": field.name(), "type": delta_type(field.data_type()), "nullable": true, "metadata": metadata })
        })
        .collect();
    json!({ "type": "struct", "fields": fields })
}

fn delta_type(kind: &DataType) -> Value {
    match kind {
        DataType::Utf8 => json!("string"),
        DataType::Int32 => json!("integer"),
        DataType::Int64 => json!("long"),
        DataType::Float64 => json!("double"),
        DataType::Boolean => json!("boolean"),
        DataType::Date32 => json!("date"),
        DataType::Binary => json!("binary"),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => json!("timestamp"),
        DataType::Decimal128(precision, scale) => json!(format!("decimal({precision},{scale})")),
        DataType::List(item) => {
            json!({ "type": "array", "elementType": delta_type(item.data_type()), "containsNull": true })
        }
        DataType::Struct(fields) => delta_struct(fields),
        // Contracts cannot name others; a table made with this name would be refused by every reader.
        other => json!(format!("unsupported {other}")),
    }
}

/// Top-level columns and their types, without nullability and metadata.
fn types(schema: &Value) -> Vec<(String, String)> {
    fn bare(kind: &Value) -> String {
        match kind {
            Value::String(name) => name.clone(),
            Value::Object(parts) if parts.contains_key("elementType") => {
                format!("array<{}>", bare(&parts["elementType"]))
            }
            Value::Object(parts) if parts.contains_key("fields") => {
                let fields = types(kind);
                let fields: Vec<_> = fields.iter().map(|(name, kind)| format!("{name}: {kind}")).collect();
                format!("struct<{}>", fields.join(", "))
            }
            other => other.to_string(),
        }
    }
    let fields = schema["fields"].as_array().map(Vec::as_slice).unwrap_or_default();
    fields.iter().map(|f| (f["name"].as_str().unwrap_or_default().to_owned(), bare(&f["type"]))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(columns: &[(&str, DataType)], partition_by: &[&str]) -> Shape {
        let columns = columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect::<Vec<_>>();
        let partition_by: Vec<String> = partition_by.iter().map(|name| (*name).to_owned()).collect();
        Shape::of_rows(&Schema::new(columns), &partition_by, HashSet::new()).unwrap()
    }

    #[test]
    fn a_change_that_a_table_cannot_follow_is_told_what_to_do() {
        let there = shape(&[("no", DataType::Utf8), ("count", DataType::Int32)], &[DAY]);
        let against = |columns: &[(&str, DataType)], partition_by: &[&str]| {
            shape(columns, partition_by).differences(&there.delta(), &[DAY.to_owned()])
        };
        let same = [("no", DataType::Utf8), ("count", DataType::Int32)];
        let todo = "give the sink a new `path` in pipeline.toml, or take the change back";
        assert!(against(&same, &[DAY]).is_empty());
        let gone = "column `count` (integer) of the table is not in the contract";
        assert_eq!(against(&same[..1], &[DAY]), [gone, todo]);
        let other = "column `count` is integer in the table, long in the contract";
        assert_eq!(against(&[same[0].clone(), ("count", DataType::Int64)], &[DAY]), [other, todo]);
        let folders = "the table is partitioned by [ingested_on], the pipeline says [ingested_on, no]";
        assert_eq!(against(&same, &[DAY, "no"]), [folders, todo]);
        // This has an advice of its own.
        let more = [&same[..], &[("note", DataType::Utf8)]].concat();
        assert_eq!(against(&more, &[DAY]), ["column `note` (string) is not in the table"]);
    }
}
