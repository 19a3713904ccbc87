//! Rejects as rows of their table.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BinaryBuilder, Int32Builder, Int64Builder, ListBuilder, StringBuilder, StructBuilder,
        TimestampMicrosecondBuilder,
    },
    datatypes::{DataType, Fields, Schema},
    record_batch::RecordBatch,
};

use super::{schema::Shape, side::Take};
use crate::{
    batch::{Fault, Outcome, Reject},
    error::{Context, Error, Result},
};

/// The rejects that `take` lets through; `None` when there are none. The day column is made later, as for rows.
pub(super) fn batch(outcome: &Outcome, take: &Take, shape: &Shape) -> Result<Option<RecordBatch>> {
    let mut rows = Rows::new(shape);
    for reject in &outcome.rejects {
        let cover = outcome.covers.iter().position(|cover| cover.partition == reject.partition);
        let cover = cover.ok_or_else(|| {
            Error::bug(format!("archive: a reject of {} is outside of its batch's intervals", reject.partition))
        })?;
        if take.has(cover) {
            rows.push(&outcome.source, reject);
        }
    }
    if rows.count == 0 {
        return Ok(None);
    }
    let fields: Vec<_> = shape.columns.fields().iter().take(shape.columns.fields().len() - 1).cloned().collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), rows.finish()).map(Some).or_bug("archive: rejects")
}

struct Rows {
    count: usize,
    source: StringBuilder,
    topic: StringBuilder,
    partition: Int32Builder,
    offset: Int64Builder,
    row: Int32Builder,
    time: TimestampMicrosecondBuilder,
    key: BinaryBuilder,
    payload: BinaryBuilder,
    stage: StringBuilder,
    /// Of the first fault: code, field, reason, value.
    first: [StringBuilder; 4],
    faults: ListBuilder<StructBuilder>,
}

impl Rows {
    fn new(shape: &Shape) -> Rows {
        let faults = shape.columns.field_with_name("faults").expect("the rejects table has it");
        let DataType::List(item) = faults.data_type() else { unreachable!("it is a list") };
        let DataType::Struct(parts) = item.data_type() else { unreachable!("of structs") };
        Rows {
            count: 0,
            source: StringBuilder::new(),
            topic: StringBuilder::new(),
            partition: Int32Builder::new(),
            offset: Int64Builder::new(),
            row: Int32Builder::new(),
            time: TimestampMicrosecondBuilder::new(),
            key: BinaryBuilder::new(),
            payload: BinaryBuilder::new(),
            stage: StringBuilder::new(),
            first: std::array::from_fn(|_| StringBuilder::new()),
            faults: ListBuilder::new(fault_builder(parts)).with_field(item.clone()),
        }
    }

    fn push(&mut self, source: &str, reject: &Reject) {
        self.count += 1;
        self.source.append_value(source);
        self.topic.append_value(&reject.partition.topic);
        self.partition.append_value(reject.partition.number);
        self.offset.append_value(reject.offset);
        self.row.append_option(reject.row.map(|row| row as i32));
        self.time.append_option(reject.timestamp.and_then(|ms| ms.checked_mul(1000)));
        self.key.append_option(reject.key.as_ref());
        self.payload.append_option(reject.payload.as_ref().or(reject.message.as_ref()));
        self.stage.append_value(&reject.stage);
        let parts = reject.faults.first().map_or([None; 4], parts);
        for (column, part) in self.first.iter_mut().zip(parts) {
            column.append_option(part);
        }
        for fault in &reject.faults {
            let item = self.faults.values();
            for (index, part) in parts_of(fault) {
                item.field_builder::<StringBuilder>(index).expect("four texts").append_option(part);
            }
            item.append(true);
        }
        self.faults.append(true);
    }

    fn finish(mut self) -> Vec<ArrayRef> {
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.source.finish()),
            Arc::new(self.topic.finish()),
            Arc::new(self.partition.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.row.finish()),
            Arc::new(self.time.finish().with_timezone("UTC")),
            Arc::new(self.key.finish()),
            Arc::new(self.payload.finish()),
            Arc::new(self.stage.finish()),
        ];
        columns.extend(self.first.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns.push(Arc::new(self.faults.finish()));
        columns
    }
}

fn fault_builder(parts: &Fields) -> StructBuilder {
    StructBuilder::from_fields(parts.clone(), 0)
}

fn parts(fault: &Fault) -> [Option<&str>; 4] {
    [Some(&fault.code), fault.field.as_deref(), Some(&fault.reason), fault.value.as_deref()]
}

fn parts_of(fault: &Fault) -> impl Iterator<Item = (usize, Option<&str>)> {
    parts(fault).into_iter().enumerate()
}
