//! A live file, whoever has written it.

use std::{collections::HashMap, fs::File, io, path::Path, sync::Arc};

use arrow::{
    array::{ArrayRef, Date32Array, StringArray, new_null_array},
    compute::cast,
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    record_batch::RecordBatch,
};
use chrono::NaiveDate;
use parquet::{
    arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
    basic::Type as PhysicalType,
    file::metadata::{ParquetMetaData, RowGroupMetaData},
};

use super::{bounds::Bounds, disk};
use crate::error::{Context, Result};

/// Rows that are read at once. Among small ones there may be large ones, of up to a megabyte each, and equal, so that the
/// file does not show it.
const ROWS: usize = 512;
/// The same where whole messages are kept, which may be larger yet.
const MESSAGES: usize = 32;
/// What they come to, as far as the file tells.
const BYTES: u64 = 16 << 20;

/// What to do about a file that the log lists and that stays away.
const AWAY: &str =
    "if it stays away, bring it back from a copy; `huiju archive compact` says how to do without its rows";

/// Opens a file and reads its footer.
///
/// Why INT96 is read as microseconds: nanoseconds in 64 bits end in the year 2262, and what lies beyond comes out as another
/// time, without an error. Spark writes INT96 unless it is told not to.
pub(super) fn open(path: &Path) -> Result<(File, ArrowReaderMetadata)> {
    let failed = |e: &dyn std::fmt::Display| disk::failed("read", path, e);
    let file = File::open(path).map_err(|e| match e.kind() {
        // Who cleans a table up beside us may have been quicker.
        io::ErrorKind::NotFound => failed(&e).advising(AWAY),
        _ => failed(&e),
    })?;
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let metadata = ArrowReaderMetadata::load(&file, options).map_err(|e| failed(&e))?;
    let wide = |column: usize| {
        let columns = metadata.parquet_schema();
        (0..columns.num_columns()).any(|leaf| {
            columns.get_column_root_idx(leaf) == column && columns.column(leaf).physical_type() == PhysicalType::INT96
        })
    };
    let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let fields: Vec<Field> = (metadata.schema().fields().iter().enumerate())
        .map(|(at, field)| match field.data_type() {
            DataType::Timestamp(..) if wide(at) => field.as_ref().clone().with_data_type(micros.clone()),
            _ => field.as_ref().clone(),
        })
        .collect();
    if fields.iter().zip(metadata.schema().fields()).all(|(read, found)| read.data_type() == found.data_type()) {
        return Ok((file, metadata));
    }
    let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(fields)));
    let metadata = ArrowReaderMetadata::try_new(metadata.metadata().clone(), options).map_err(|e| failed(&e))?;
    Ok((file, metadata))
}

/// All rows of a file in the columns `wanted`, batch by batch.
pub(super) fn whole(
    root: &Path,
    file: &Live,
    wanted: &SchemaRef,
    each: &mut dyn FnMut(RecordBatch) -> Result<()>,
) -> Result<()> {
    let path = root.join(&file.path);
    let failed = |e: &dyn std::fmt::Display| disk::failed("read", &path, e);
    let (handle, metadata) = open(&path)?;
    let rows = metadata.metadata().file_metadata().num_rows();
    let at_once = rows_at_once(metadata.metadata(), wanted);
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(handle, metadata).with_batch_size(at_once);
    let mut read = 0;
    for batch in builder.build().map_err(|e| failed(&e))? {
        let batch = batch.map_err(|e| failed(&e))?;
        read += batch.num_rows() as i64;
        each(file.complete(&batch, wanted)?)?;
    }
    if read == rows { Ok(()) } else { Err(failed(&format_args!("it says {rows} rows and holds {read}"))) }
}

/// Whether a file that could not be read is no longer what was written: the disk hands over all of its bytes, and then
/// they cannot be understood.
pub(super) fn is_damaged(root: &Path, file: &Live, wanted: &SchemaRef) -> bool {
    let bytes = File::open(root.join(&file.path)).and_then(|mut file| io::copy(&mut file, &mut io::sink()));
    bytes.is_ok() && whole(root, file, wanted, &mut |_| Ok(())).is_err()
}

/// How many rows of a file may be read at once, by the size of those of its largest row group. A text that comes again and
/// again is in the file once and in memory as often as it comes, so what counts is its size without a dictionary.
fn rows_at_once(file: &ParquetMetaData, wanted: &SchemaRef) -> usize {
    let messages = wanted.fields().iter().any(|field| *field.data_type() == DataType::Binary);
    let row = |group: &RowGroupMetaData| {
        let bytes = group.columns().iter().map(|column| {
            column.unencoded_byte_array_data_bytes().unwrap_or(0).max(column.uncompressed_size()).max(0) as u64
        });
        bytes.sum::<u64>() / group.num_rows().max(1) as u64
    };
    let largest = file.row_groups().iter().map(row).max().unwrap_or(0);
    let fit = usize::try_from(BYTES / largest.max(1)).unwrap_or(usize::MAX);
    fit.clamp(1, if messages { MESSAGES } else { ROWS })
}

/// A live file.
#[derive(Debug)]
pub(super) struct Live {
    pub path: String,
    /// Values of the partition columns, which are not in the file.
    pub values: HashMap<String, Option<String>>,
    pub bounds: Bounds,
}

impl Live {
    /// Brings a batch into the wanted order and types, with constants for partition columns.
    pub fn complete(&self, batch: &RecordBatch, wanted: &SchemaRef) -> Result<RecordBatch> {
        let columns = wanted.fields().iter().map(|field| match batch.column_by_name(field.name()) {
            Some(column) if column.data_type() == field.data_type() => Ok(column.clone()),
            Some(column) => cast(column, field.data_type()).or_bug(format!("archive: column {}", field.name())),
            None => self.constant(field, batch.num_rows()),
        });
        RecordBatch::try_new(wanted.clone(), columns.collect::<Result<_>>()?).or_bug("archive: read keys")
    }

    fn constant(&self, field: &Field, rows: usize) -> Result<ArrayRef> {
        let Some(Some(value)) = self.values.get(field.name()) else {
            return Ok(new_null_array(field.data_type(), rows));
        };
        let texts = StringArray::from_iter_values(std::iter::repeat_n(value, rows));
        if *field.data_type() == DataType::Date32 {
            let day: NaiveDate = value.parse().or_bug(format!("archive: partition {}={value}", field.name()))?;
            let days = day.signed_duration_since(NaiveDate::default()).num_days() as i32;
            return Ok(Arc::new(Date32Array::from_value(days, rows)));
        }
        cast(&texts, field.data_type()).or_bug(format!("archive: partition {}={value}", field.name()))
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{AsArray, BinaryArray},
        datatypes::TimestampMicrosecondType,
    };
    use parquet::{
        arrow::ArrowWriter,
        data_type::{Int64Type, Int96, Int96Type},
        file::writer::SerializedFileWriter,
        schema::parser::parse_message_type,
    };

    use super::*;

    fn live() -> Live {
        Live { path: "a.parquet".into(), values: HashMap::new(), bounds: Bounds::default() }
    }

    /// Reads the file in these columns.
    fn read(root: &Path, wanted: Vec<Field>) -> Vec<RecordBatch> {
        let mut batches = Vec::new();
        let each = &mut |batch| {
            batches.push(batch);
            Ok(())
        };
        whole(root, &live(), &Arc::new(Schema::new(wanted)), each).unwrap();
        batches
    }

    #[test]
    fn instants_of_int96_are_those_that_were_written() {
        // The first and the last day that the archive knows, and those that 64 bits of nanoseconds end with.
        let days = ["0001-01-01", "1677-09-20", "1970-01-01", "2026-11-25", "2262-04-12", "9999-12-31"];
        let julian = |day: &&str| {
            let day: NaiveDate = day.parse().unwrap();
            (2_440_588 + (day - NaiveDate::default()).num_days()) as u32
        };
        let nanos = 5_u64 * 3_600_000_000_000 + 123_456_000;
        let wide: Vec<Int96> =
            days.iter().map(|day| Int96::from(vec![nanos as u32, (nanos >> 32) as u32, julian(day)])).collect();
        let narrow: Vec<i64> = (0..days.len() as i64).map(|number| number * 1000).collect();

        let folder = tempfile::tempdir().unwrap();
        let file = File::create(folder.path().join("a.parquet")).unwrap();
        let schema = "message m { required int96 wide; required int64 narrow (timestamp(nanos,false)); }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int96Type>().write_batch(&wide, None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&narrow, None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();

        let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let batches =
            read(folder.path(), ["wide", "narrow"].map(|name| Field::new(name, instant.clone(), true)).into());
        let values = |column: usize| batches[0].column(column).as_primitive::<TimestampMicrosecondType>();
        let told = |row: usize| values(0).value_as_datetime(row).unwrap().to_string();
        for (row, day) in days.iter().enumerate() {
            assert_eq!(told(row), format!("{day} 05:00:00.123456"));
        }
        assert_eq!(values(1).values().to_vec(), Vec::from_iter(0..days.len() as i64));
    }

    #[test]
    fn large_values_that_a_file_holds_once_do_not_come_all_at_once() {
        const ROWS: usize = 1000;
        let folder = tempfile::tempdir().unwrap();
        let large = "路".repeat(33_000);
        let columns: [ArrayRef; 2] = [
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&large, ROWS))),
            Arc::new(BinaryArray::from_iter_values(std::iter::repeat_n(&large, ROWS))),
        ];
        for (column, most) in columns.into_iter().zip([BYTES as usize * 2, MESSAGES * 100_000]) {
            let field = Field::new("large", column.data_type().clone(), true);
            let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field.clone()])), vec![column]).unwrap();
            let file = File::create(folder.path().join("a.parquet")).unwrap();
            let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
            writer.write(&batch).unwrap();
            writer.close().unwrap();
            assert!(folder.path().join("a.parquet").metadata().unwrap().len() < 1 << 20);
            let batches = read(folder.path(), vec![field]);
            assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), ROWS);
            let largest = batches.iter().map(RecordBatch::get_array_memory_size).max().unwrap();
            assert!(largest <= most, "{largest} bytes at once");
        }
    }
}
