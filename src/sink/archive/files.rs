//! Data files in the making: one open file per partition of the table, streamed out row group by row group.
//!
//! Memory: a Parquet writer holds one row group, encoded and compressed. A row group is closed at 8 MiB or 128 Ki rows,
//! and when all open ones together pass 32 MiB the largest is closed early. So the sink's share of the process stays at
//! about 32 MiB plus a batch, whatever the number of partitions; row groups of 8 MiB are some 50,000 orders, still far
//! above what makes readers slow. At most 16 files are open; the largest is finished when one more is needed.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    path::PathBuf,
};

use arrow::{
    array::{Array, AsArray},
    datatypes::DataType,
    record_batch::RecordBatch,
};
use deltalake_core::kernel::Add;
use parquet::{
    arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions},
    basic::{Compression, Encoding, ZstdLevel},
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties},
    },
    schema::types::ColumnPath,
};
use uuid::Uuid;

use super::{
    disk,
    folders::{self, Key},
    schema::Shape,
    staging::Staging,
    stats,
};
use crate::{
    cursor::{Interval, Partition},
    error::{Error, Result},
    fault,
};

const ROW_GROUP_BYTES: usize = 8 << 20;
const ROW_GROUP_ROWS: usize = 128 << 10;
const BYTES_IN_MEMORY: usize = 32 << 20;
const OPEN_FILES: usize = 16;
/// Values that tell whether a dictionary pays.
const SAMPLE: usize = 1000;

/// The files of one table since its last commit.
pub(super) struct Files {
    shape: Shape,
    file_size: usize,
    /// Key-value metadata that is the same for all.
    about: HashMap<&'static str, String>,
    open: HashMap<Key, Open>,
    pub done: Vec<Done>,
}

struct Open {
    writer: ArrowWriter<File>,
    path: PathBuf,
    target: String,
    created_ms: i64,
    rows: u64,
    covers: BTreeMap<Partition, (i64, i64)>,
}

/// A finished file, on the disk.
pub(super) struct Done {
    pub staged: PathBuf,
    pub add: Add,
    pub rows: u64,
}

impl Files {
    pub fn new(shape: Shape, file_size: usize, about: HashMap<&'static str, String>) -> Files {
        Files { shape, file_size, about, open: HashMap::new(), done: Vec::new() }
    }

    pub fn write(
        &mut self,
        staging: &Staging,
        key: Key,
        batch: &RecordBatch,
        covers: &[Interval],
        now_ms: i64,
    ) -> Result<()> {
        if !self.open.contains_key(&key) {
            if self.open.len() >= OPEN_FILES {
                self.finish_largest()?;
            }
            let open = self.create(staging, &key, batch, now_ms)?;
            self.open.insert(key.clone(), open);
        }
        let open = self.open.get_mut(&key).expect("just made");
        open.writer.write(batch).map_err(|e| disk::failed("write", &open.path, e))?;
        open.rows += batch.num_rows() as u64;
        for Interval { partition, from, next } in covers {
            let covered = open.covers.entry(partition.clone()).or_insert((*from, *next));
            *covered = (covered.0.min(*from), covered.1.max(*next));
        }
        if open.writer.bytes_written() + open.writer.in_progress_size() >= self.file_size {
            return self.finish_one(&key);
        }
        self.bound_memory()
    }

    /// Finishes all files.
    pub fn finish(&mut self) -> Result<()> {
        let mut keys: Vec<Key> = self.open.keys().cloned().collect();
        keys.sort();
        keys.iter().try_for_each(|key| self.finish_one(key))
    }

    /// Forgets all files.
    pub fn clear(&mut self) {
        for path in self.open.drain().map(|(_, open)| open.path).chain(self.done.drain(..).map(|done| done.staged)) {
            let _ = std::fs::remove_file(path);
        }
    }

    fn create(&self, staging: &Staging, key: &Key, batch: &RecordBatch, now_ms: i64) -> Result<Open> {
        fault::point("archive.before_file");
        let name = format!("part-{}.zstd.parquet", Uuid::new_v4());
        let path = staging.partial(&name);
        let file = File::create_new(&path).map_err(|e| disk::failed("create", &path, e))?;
        let options = ArrowWriterOptions::new()
            .with_properties(self.properties(batch))
            // Every column's Parquet type tells its Arrow type; the embedded copy would only bind other readers to ours.
            .with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(file, self.shape.stored.clone(), options)
            .map_err(|e| disk::failed("write", &path, e))?;
        let folder = folders::folder(&self.shape.partition_by, key);
        let target = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        Ok(Open { writer, path, target, created_ms: now_ms, rows: 0, covers: BTreeMap::new() })
    }

    fn properties(&self, sample: &RecordBatch) -> WriterProperties {
        let about = self.about.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), value.clone())).collect();
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).expect("1 is a level")))
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_coerce_types(true)
            .set_created_by(concat!("huiju version ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_key_value_metadata(Some(about));
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
        let used: usize = self.open.values().map(|open| open.writer.memory_size()).sum();
        for open in self.open.values_mut() {
            let full = open.writer.in_progress_size() >= ROW_GROUP_BYTES;
            if full {
                open.writer.flush().map_err(|e| disk::failed("write", &open.path, e))?;
            }
        }
        if used > BYTES_IN_MEMORY
            && let Some(open) = self.open.values_mut().max_by_key(|open| open.writer.memory_size())
        {
            open.writer.flush().map_err(|e| disk::failed("write", &open.path, e))?;
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

fn finish(open: &mut Open, key: &Key, shape: &Shape) -> Result<Done> {
    let covers = std::mem::take(&mut open.covers).into_iter();
    let covers = covers.map(|(partition, (from, next))| super::interval_json(&Interval { partition, from, next }));
    let covers = serde_json::Value::Array(covers.collect()).to_string();
    open.writer.append_key_value_metadata(KeyValue::new("huiju.intervals".to_owned(), covers));
    let footer = open.writer.finish().map_err(|e| disk::failed("write", &open.path, e))?;
    let file = open.writer.inner();
    file.sync_all().map_err(|e| disk::failed("sync", &open.path, e))?;
    let size = file.metadata().map_err(|e| disk::failed("read", &open.path, e))?.len();
    if footer.file_metadata().num_rows() != open.rows as i64 {
        return Err(Error::bug(format!("archive: {} holds other rows than were written to it", open.path.display())));
    }
    let values = shape.partition_by.iter().cloned().zip(key.iter().cloned());
    let add = Add {
        path: open.target.clone(),
        partition_values: values.collect(),
        size: size as i64,
        modification_time: open.created_ms,
        data_change: true,
        stats: Some(stats::of(&footer, &shape.stored)),
        ..Add::default()
    };
    Ok(Done { staged: open.path.clone(), add, rows: open.rows })
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

