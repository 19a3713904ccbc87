//! Data files in the making: one open file per partition of the table, streamed out row group by row group.
//!
//! Memory: a Parquet writer holds one row group, encoded and compressed; for 60 columns that starts at about 1 MiB
//! (dictionaries), and is nothing between row groups. A row group is closed at 8 MiB or 128 Ki rows, and when all in
//! progress together pass 24 MiB the largest is closed early. When a batch is spread over many partitions, small parts
//! wait as they are until they are 8,192 rows, or 12 MiB in all: an encoder started for 50 rows costs more than they
//! do. Measured over a million rows of 17 columns: 30 MB with one partition at a time, which is the usual case, 80 MB
//! with 11 to 100 partitions in every batch. Row groups of 8 MiB are some 50,000 orders, far above what makes readers
//! slow. Up to 128 files are open (they are little more than descriptors); the largest is finished when one more is
//! needed.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::PathBuf,
};

use arrow::{
    array::{Array, AsArray},
    compute::concat_batches,
    datatypes::DataType,
    record_batch::RecordBatch,
};
use deltalake_core::kernel::Add;
use parquet::{
    arrow::{ArrowSchemaConverter, ArrowWriter, arrow_writer::ArrowWriterOptions},
    basic::{Compression, Encoding, ZstdLevel},
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties},
    },
    schema::types::ColumnPath,
};
use uuid::Uuid;

use super::{
    disk::{self, Out},
    folders::{self, Key},
    schema::Shape,
    staging::Staging,
    stats,
};
use crate::{
    cursor::{Interval, Partition},
    error::{Context, Result},
    fault,
};

const ROW_GROUP_BYTES: usize = 8 << 20;
const ROW_GROUP_ROWS: usize = 128 << 10;
const BYTES_ENCODED: usize = 24 << 20;
/// A part of at least this many rows goes to its encoder at once.
const ROWS_AT_ONCE: usize = 1024;
const ROWS_WAITING: usize = 8192;
const BYTES_WAITING: usize = 12 << 20;
const OPEN_FILES: usize = 128;
/// Lists are then named as the format wants it.
const COERCE_TYPES: bool = true;
/// Values that tell whether a dictionary pays.
const SAMPLE: usize = 1000;

/// The files of one table since its last commit.
pub(super) struct Files {
    pub staging: Staging,
    shape: Shape,
    /// Leaves of its untold columns: of a list, what is in it.
    untold: Vec<ColumnPath>,
    file_size: usize,
    /// Key-value metadata that is the same for all.
    about: HashMap<&'static str, String>,
    /// Creation time of files, which come into being later than the rows that need them.
    now_ms: i64,
    waiting: HashMap<Key, Waiting>,
    open: HashMap<Key, Open>,
    pub done: Vec<Done>,
}

type Covers = BTreeMap<Partition, (i64, i64)>;

/// Rows that are too few for an encoder.
#[derive(Default)]
struct Waiting {
    parts: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
    covers: Covers,
}

struct Open {
    writer: ArrowWriter<Out>,
    path: PathBuf,
    target: String,
    created_ms: i64,
    /// Of the row group in progress, as of the last write.
    memory: usize,
    covers: Covers,
}

/// A finished file, on the disk.
pub(super) struct Done {
    pub staged: PathBuf,
    pub add: Add,
    /// As its footer tells.
    pub rows: u64,
}

impl Files {
    pub fn new(
        staging: Staging,
        shape: Shape,
        file_size: usize,
        about: HashMap<&'static str, String>,
    ) -> Result<Files> {
        let leaves = ArrowSchemaConverter::new().with_coerce_types(COERCE_TYPES).convert(&shape.stored);
        let leaves = leaves.or_bug("archive: a column that Parquet does not have")?;
        let untold =
            leaves.columns().iter().map(|leaf| leaf.path()).filter(|path| shape.untold.contains(&path.parts()[0]));
        let untold = untold.cloned().collect();
        let (waiting, open, done) = (HashMap::new(), HashMap::new(), Vec::new());
        Ok(Files { staging, shape, untold, file_size, about, now_ms: 0, waiting, open, done })
    }

    /// Takes rows of one partition of the table.
    pub fn write(&mut self, key: Key, part: RecordBatch, covers: &[Interval], now_ms: i64) -> Result<()> {
        self.now_ms = now_ms;
        let at_once = part.num_rows() >= ROWS_AT_ONCE;
        let waiting = self.waiting.entry(key.clone()).or_default();
        waiting.rows += part.num_rows();
        waiting.bytes += part.get_array_memory_size();
        waiting.parts.push(part);
        let covers = covers.iter().map(|Interval { partition, from, next }| (partition.clone(), (*from, *next)));
        extend(&mut waiting.covers, covers);
        if at_once || waiting.rows >= ROWS_WAITING {
            self.encode(&key)?;
        }
        let mut bytes: usize = self.waiting.values().map(|waiting| waiting.bytes).sum();
        while bytes > BYTES_WAITING {
            let Some((key, most)) = self.waiting.iter().max_by_key(|(_, waiting)| waiting.bytes) else { break };
            bytes -= most.bytes;
            let key = key.clone();
            self.encode(&key)?;
        }
        Ok(())
    }

    /// Finishes all files.
    pub fn finish(&mut self) -> Result<()> {
        let mut keys: Vec<Key> = self.waiting.keys().chain(self.open.keys()).cloned().collect();
        keys.sort();
        keys.dedup();
        for key in &keys {
            self.encode(key)?;
            self.finish_one(key)?;
        }
        Ok(())
    }

    /// Forgets all files.
    pub fn clear(&mut self) {
        self.waiting.clear();
        for path in self.open.drain().map(|(_, open)| open.path).chain(self.done.drain(..).map(|done| done.staged)) {
            let _ = std::fs::remove_file(path);
        }
    }

    /// Hands what waits for a partition to its encoder.
    fn encode(&mut self, key: &Key) -> Result<()> {
        let Some(waiting) = self.waiting.remove(key) else { return Ok(()) };
        let rows = match <[RecordBatch; 1]>::try_from(waiting.parts) {
            Ok([rows]) => rows,
            Err(parts) => concat_batches(&self.shape.stored, &parts).or_bug("archive: gather rows")?,
        };
        if !self.open.contains_key(key) {
            if self.open.len() >= OPEN_FILES {
                self.finish_largest()?;
            }
            let open = self.create(key, &rows)?;
            self.open.insert(key.clone(), open);
        }
        let open = self.open.get_mut(key).expect("just made");
        open.writer.write(&rows).map_err(|e| disk::failed("write", &open.path, e))?;
        extend(&mut open.covers, waiting.covers);
        if open.writer.bytes_written() + open.writer.in_progress_size() >= self.file_size {
            return self.finish_one(key);
        }
        if open.writer.in_progress_size() >= ROW_GROUP_BYTES {
            open.close_row_group()?;
        }
        open.memory = open.writer.memory_size();
        self.bound_memory()
    }

    fn create(&self, key: &Key, sample: &RecordBatch) -> Result<Open> {
        fault::point("archive.before_file");
        let name = format!("part-{}.zstd.parquet", Uuid::new_v4());
        let path = self.staging.partial(&name);
        let file = Out::create(&path).map_err(|e| disk::failed("create", &path, e))?;
        let options = ArrowWriterOptions::new()
            .with_properties(self.properties(sample))
            // Every column's Parquet type tells its Arrow type; the embedded copy would only bind other readers to ours.
            .with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(file, self.shape.stored.clone(), options)
            .map_err(|e| disk::failed("write", &path, e))?;
        let folder = folders::folder(&self.shape.partition_by, key);
        let target = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        let covers = Covers::new();
        Ok(Open { writer, path, target, created_ms: self.now_ms, memory: 0, covers })
    }

    fn properties(&self, sample: &RecordBatch) -> WriterProperties {
        let about = self.about.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), value.clone())).collect();
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).expect("1 is a level")))
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_coerce_types(COERCE_TYPES)
            .set_created_by(concat!("huiju version ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_key_value_metadata(Some(about));
        for leaf in &self.untold {
            properties = properties.set_column_statistics_enabled(leaf.clone(), EnabledStatistics::None);
        }
        for (field, column) in self.shape.stored.fields().iter().zip(sample.columns()) {
            let path = || ColumnPath::from(field.name().as_str());
            match field.data_type() {
                // Offsets and times grow by small steps.
                DataType::Int64 | DataType::Timestamp(..) => {
                    properties = properties
                        .set_column_dictionary_enabled(path(), false)
                        .set_column_encoding(path(), Encoding::DELTA_BINARY_PACKED);
                }
                DataType::Utf8 | DataType::Binary if mostly_different(column) => {
                    properties = properties.set_column_dictionary_enabled(path(), false);
                }
                _ => {}
            }
        }
        properties.build()
    }

    fn bound_memory(&mut self) -> Result<()> {
        let mut used: usize = self.open.values().map(|open| open.memory).sum();
        while used > BYTES_ENCODED {
            let Some(open) = self.open.values_mut().max_by_key(|open| open.memory) else { break };
            used -= open.memory;
            open.close_row_group()?;
        }
        Ok(())
    }

    fn finish_largest(&mut self) -> Result<()> {
        let size = |open: &Open| open.writer.bytes_written() + open.writer.in_progress_size();
        let largest = self.open.iter().max_by_key(|(_, open)| size(open)).map(|(key, _)| key.clone());
        largest.map_or(Ok(()), |key| self.finish_one(&key))
    }

    fn finish_one(&mut self, key: &Key) -> Result<()> {
        let Some(mut open) = self.open.remove(key) else { return Ok(()) };
        let done = finish(&mut open, key, &self.shape);
        if done.is_err() {
            let _ = std::fs::remove_file(&open.path);
        }
        self.done.push(done?);
        fault::point("archive.after_file");
        Ok(())
    }
}

impl Open {
    fn close_row_group(&mut self) -> Result<()> {
        self.memory = 0;
        self.writer.flush().map_err(|e| disk::failed("write", &self.path, e))
    }
}

fn extend(covers: &mut Covers, more: impl IntoIterator<Item = (Partition, (i64, i64))>) {
    for (partition, (from, next)) in more {
        let covered = covers.entry(partition).or_insert((from, next));
        *covered = (covered.0.min(from), covered.1.max(next));
    }
}

fn finish(open: &mut Open, key: &Key, shape: &Shape) -> Result<Done> {
    let covers = std::mem::take(&mut open.covers).into_iter();
    let covers = covers.map(|(partition, (from, next))| super::interval_json(&Interval { partition, from, next }));
    let covers = serde_json::Value::Array(covers.collect()).to_string();
    open.writer.append_key_value_metadata(KeyValue::new("huiju.intervals".to_owned(), covers));
    let footer = open.writer.finish().map_err(|e| disk::failed("write", &open.path, e))?;
    let file = open.writer.inner();
    let size = file.sync().map_err(|e| disk::failed("sync", &open.path, e))?.len();
    let values = shape.partition_by.iter().cloned().zip(key.iter().cloned());
    let add = Add {
        path: open.target.clone(),
        partition_values: values.collect(),
        size: size as i64,
        modification_time: open.created_ms,
        data_change: true,
        stats: Some(stats::of(&footer, &shape.stored, &shape.untold)),
        ..Add::default()
    };
    Ok(Done { staged: open.path.clone(), add, rows: footer.file_metadata().num_rows() as u64 })
}

/// Whether a dictionary would only cost: more than half of the first values are different.
fn mostly_different(column: &dyn Array) -> bool {
    let values = column.len().min(SAMPLE);
    let value = |row: usize| -> Option<&[u8]> {
        if column.is_null(row) {
            return None;
        }
        match column.data_type() {
            DataType::Utf8 => Some(column.as_string::<i32>().value(row).as_bytes()),
            _ => Some(column.as_binary::<i32>().value(row)),
        }
    };
    let given = (0..values).filter_map(value).count();
    let different = (0..values).filter_map(value).collect::<HashSet<_>>().len();
    given >= 16 && different * 2 > given
}
