//! Reads back what is committed: deduplication rebuilds its memory from it.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Date32Array, StringArray, new_null_array},
    compute::{cast, filter_record_batch},
    datatypes::{DataType, Field, Int32Type, Schema, SchemaRef, TimestampMicrosecondType},
    record_batch::RecordBatch,
};
use chrono::{DateTime, NaiveDate, Utc};
use deltalake_core::logstore::LogStoreRef;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
    },
    file::{metadata::RowGroupMetaData, statistics::Statistics},
};
use serde::Deserialize;
use tokio::runtime::Handle;

use super::{
    disk, replay,
    schema::{Shape, TIME},
};
use crate::{
    cursor::Partition,
    error::{Context, Result},
};

/// Columns of the batches that [`Reader::keys`] hands over, after the key's.
pub const LINEAGE: [&str; 5] = ["_topic", "_partition", "_offset", "_row", TIME];

/// Reads the rows table. Sees what is committed at the moment of the call; needs no open archive.
pub struct Reader {
    log: LogStoreRef,
    root: PathBuf,
    columns: SchemaRef,
    runtime: Handle,
}

/// Rows whose message is not older than `window` before the newest message of the table.
#[derive(Clone, Copy, Debug)]
pub struct Recent {
    pub window: Duration,
    /// Message times after this are not believed.
    pub latest: DateTime<Utc>,
}

impl Reader {
    pub(super) fn new(log: LogStoreRef, root: &Path, shape: &Shape, runtime: Handle) -> Reader {
        Reader { log, root: root.to_path_buf(), columns: shape.columns.clone(), runtime }
    }

    /// Hands over `columns` and [`LINEAGE`] of the rows that came from `partitions`, batch by batch, in no particular
    /// order: all, or the recent ones; rows whose message had no time always come.
    ///
    /// Rows deleted by deletion vectors of other programs still come: they were written once, which is what matters.
    pub fn keys(
        &self,
        columns: &[String],
        partitions: &[Partition],
        recent: Option<Recent>,
        each: &mut dyn FnMut(&RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let wanted = self.wanted(columns)?;
        let files = self.files()?;
        let since = recent.and_then(|Recent { window, latest }| {
            let latest = latest.timestamp_micros();
            let newest = files.iter().filter_map(|file| file.newest).map(|newest| newest.min(latest)).max()?;
            Some(newest.saturating_sub(i64::try_from(window.as_micros()).unwrap_or(i64::MAX)))
        });
        for file in files.iter().filter(|file| file.may_hold(since)) {
            self.read(file, &wanted, partitions, since, each)?;
        }
        Ok(())
    }

    fn wanted(&self, columns: &[String]) -> Result<SchemaRef> {
        let mut fields = Vec::new();
        for name in columns.iter().map(String::as_str).chain(LINEAGE) {
            let field = self.columns.field_with_name(name);
            fields
                .push(field.or_config(format!("archive: no key column `{name}` in {}", self.root.display()))?.clone());
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    /// The live files.
    fn files(&self) -> Result<Vec<Live>> {
        let mut live = Vec::new();
        replay::each_live(&self.log, &self.runtime, &self.root, |file| {
            let (newest, timeless) = times(file.stats());
            live.push(Live { path: file.path().into_owned(), values: file.partition_values_map(), newest, timeless });
        })?;
        Ok(live)
    }

    fn read(
        &self,
        file: &Live,
        wanted: &SchemaRef,
        partitions: &[Partition],
        since: Option<i64>,
        each: &mut dyn FnMut(&RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let path = self.root.join(&file.path);
        let failed = |e: &dyn std::fmt::Display| disk::failed("read", &path, e);
        let handle = File::open(&path).map_err(|e| failed(&e))?;
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::load(&handle, options).map_err(|e| failed(&e))?;
        let groups: Vec<usize> = (0..metadata.metadata().num_row_groups())
            .filter(|&group| {
                let group = metadata.metadata().row_group(group);
                since.is_none_or(|since| group_may_hold(group, since)) && group_has_number(group, partitions)
            })
            .collect();
        if groups.is_empty() {
            return Ok(());
        }
        let names: HashSet<&str> = wanted.fields().iter().map(|f| f.name().as_str()).collect();
        let roots: Vec<usize> = metadata
            .schema()
            .fields()
            .iter()
            .enumerate()
            .filter_map(|(index, field)| names.contains(field.name().as_str()).then_some(index))
            .collect();
        let mask = ProjectionMask::roots(metadata.parquet_schema(), roots);
        let batches = ParquetRecordBatchReaderBuilder::new_with_metadata(handle, metadata)
            .with_row_groups(groups)
            .with_projection(mask)
            .with_batch_size(8192)
            .build()
            .map_err(|e| failed(&e))?;
        for batch in batches {
            let batch = file.complete(&batch.map_err(|e| failed(&e))?, wanted)?;
            let batch = select(&batch, partitions, since)?;
            if batch.num_rows() > 0 {
                each(&batch)?;
            }
        }
        Ok(())
    }
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
    let handle = File::open(&path).map_err(|e| failed(&e))?;
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(handle, options).map_err(|e| failed(&e))?;
    let rows = builder.metadata().file_metadata().num_rows();
    let mut read = 0;
    for batch in builder.with_batch_size(8192).build().map_err(|e| failed(&e))? {
        let batch = batch.map_err(|e| failed(&e))?;
        read += batch.num_rows() as i64;
        each(file.complete(&batch, wanted)?)?;
    }
    if read == rows { Ok(()) } else { Err(failed(&format_args!("it says {rows} rows and holds {read}"))) }
}

/// A live file.
#[derive(Debug)]
pub(super) struct Live {
    pub path: String,
    /// Values of the partition columns, which are not in the file.
    pub values: HashMap<String, Option<String>>,
    /// Newest message time in microseconds; `None` when the statistics do not tell.
    pub newest: Option<i64>,
    /// Whether it may hold rows whose message had no time.
    pub timeless: bool,
}

impl Live {
    fn may_hold(&self, since: Option<i64>) -> bool {
        self.timeless || since.is_none_or(|since| self.newest.is_none_or(|newest| newest >= since))
    }

    /// Brings a batch into the wanted order and types, with constants for partition columns.
    fn complete(&self, batch: &RecordBatch, wanted: &SchemaRef) -> Result<RecordBatch> {
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

/// Rows of these partitions that are young enough.
fn select(batch: &RecordBatch, partitions: &[Partition], since: Option<i64>) -> Result<RecordBatch> {
    let column = |name: &str| batch.column_by_name(name).expect("lineage is always read");
    let topics = column("_topic").as_string::<i32>();
    let numbers = column("_partition").as_primitive::<Int32Type>();
    let times = column(TIME).as_primitive::<TimestampMicrosecondType>();
    let chosen: HashSet<(&str, i32)> = partitions.iter().map(|p| (&*p.topic, p.number)).collect();
    let keep: BooleanArray = (0..batch.num_rows())
        .map(|row| {
            let young = since.is_none_or(|since| times.is_null(row) || times.value(row) >= since);
            Some(young && chosen.contains(&(topics.value(row), numbers.value(row))))
        })
        .collect();
    filter_record_batch(batch, &keep).or_bug("archive: select keys")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    #[serde(default)]
    max_values: Time<Option<String>>,
    #[serde(default)]
    null_count: Time<Option<i64>>,
}

#[derive(Deserialize, Default)]
struct Time<T> {
    #[serde(rename = "_ingested_at", default)]
    value: T,
}

/// Newest message time, and whether there may be rows without one, by a file's statistics.
fn times(stats: Option<String>) -> (Option<i64>, bool) {
    let Some(stats) = stats.and_then(|text| serde_json::from_str::<Stats>(&text).ok()) else { return (None, true) };
    let newest = stats.max_values.value.and_then(|newest| DateTime::parse_from_rfc3339(&newest).ok());
    // Other writers round down to milliseconds.
    (newest.map(|newest| newest.timestamp_micros() + 999), stats.null_count.value != Some(0))
}

fn statistics<'a>(group: &'a RowGroupMetaData, name: &str) -> Option<&'a Statistics> {
    let column = group.columns().iter().find(|column| column.column_path().parts() == [name]);
    column.and_then(|column| column.statistics())
}

fn group_may_hold(group: &RowGroupMetaData, since: i64) -> bool {
    match statistics(group, TIME) {
        Some(Statistics::Int64(stats)) => {
            stats.null_count_opt() != Some(0) || stats.max_opt().is_none_or(|newest| *newest >= since)
        }
        _ => true,
    }
}

fn group_has_number(group: &RowGroupMetaData, partitions: &[Partition]) -> bool {
    match statistics(group, "_partition") {
        Some(Statistics::Int32(stats)) => match (stats.min_opt(), stats.max_opt()) {
            (Some(min), Some(max)) => partitions.iter().any(|p| (min..=max).contains(&&p.number)),
            _ => true,
        },
        _ => true,
    }
}
