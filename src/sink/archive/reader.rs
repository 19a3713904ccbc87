//! Reads back what is committed: deduplication rebuilds its memory from it.
//!
//! # What is recent
//!
//! A partition's recent rows reach back from the newest of *its own* message times that is believed; one partition may
//! be a year behind another. A file's bounds in the log tell which partitions it may hold and its newest time, but not
//! the newest time of each partition. So the files are read newest first, and what a partition's newest time is known to
//! be so far tells whether the next file matters to it: as long as none is known, every file does that may hold the
//! partition by its bounds. A newest time that is too low only makes us read more.
//!
//! When the partitions are level with each other, files before the window are not opened. A partition that is behind costs
//! the look through the files in between, one whose cursor has moved over no row at all the look through all: of files
//! where only it matters, topic and number are read, and other columns only for its rows.
//!
//! Files whose bounds tell no time that is believed have no place in this order. They are looked through for newer times
//! first, and read last.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arrow::{
    array::{Array, AsArray, BooleanArray},
    compute::{cast, filter_record_batch},
    datatypes::{DataType, Int32Type, Int64Type, Schema, SchemaRef, TimestampMicrosecondType},
    error::ArrowError,
    record_batch::RecordBatch,
};
use chrono::{DateTime, Utc};
use deltalake_core::logstore::LogStoreRef;
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{ArrowPredicateFn, ArrowReaderMetadata, ParquetRecordBatchReaderBuilder, RowFilter},
};
use tokio::runtime::Handle;

use super::{
    bounds::Bounds,
    disk,
    live::{self, Live},
    replay::Newest,
    schema::TIME,
    table::Table,
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
    /// The version that the archive has read up to: what it knows to be committed must be found.
    known: Arc<AtomicU64>,
    root: PathBuf,
    columns: SchemaRef,
    runtime: Handle,
}

/// Rows whose message is not older than `window` before the newest of its partition.
#[derive(Clone, Copy, Debug)]
pub struct Recent {
    pub window: Duration,
    /// Message times after this are not believed: they are recent, but move nothing.
    pub latest: DateTime<Utc>,
}

/// A partition whose rows are wanted.
struct Sought<'p> {
    partition: &'p Partition,
    /// Rows at this offset and after are not wanted.
    below: i64,
    /// Newest believable message time found so far, in microseconds.
    newest: Option<i64>,
}

/// [`Recent`] in microseconds.
#[derive(Clone, Copy)]
struct Limits {
    window: i64,
    latest: i64,
}

impl Reader {
    pub(super) fn new(table: &Table) -> Reader {
        let (root, columns) = (table.root().to_path_buf(), table.shape().columns.clone());
        Reader { log: table.log().clone(), known: table.known(), root, columns, runtime: table.runtime().clone() }
    }

    /// Hands over `columns` and [`LINEAGE`] of the rows that came from `partitions`, of each those below an offset, batch
    /// by batch, in no particular order: all, or at least the recent ones; rows whose message had no time always come.
    ///
    /// Rows deleted by deletion vectors of other programs still come: they were written once, which is what matters.
    pub fn keys(
        &self,
        columns: &[String],
        partitions: &[(Partition, i64)],
        recent: Option<Recent>,
        each: &mut dyn FnMut(&RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let wanted = self.wanted(columns)?;
        let sought = partitions.iter().map(|(partition, below)| Sought { partition, below: *below, newest: None });
        let mut sought: Vec<Sought<'_>> = sought.filter(|sought| sought.below > 0).collect();
        let limits = recent.map(|Recent { window, latest }| Limits {
            window: i64::try_from(window.as_micros()).unwrap_or(i64::MAX),
            latest: latest.timestamp_micros(),
        });
        let mut files = self.files()?;
        if let Some(Limits { latest, .. }) = limits {
            let placed = |file: &Live| file.bounds.newest.filter(|newest| *newest <= latest);
            files.sort_by_key(|file| Reverse(placed(file)));
            let lineage = self.wanted(&[])?;
            for file in files.iter().filter(|file| placed(file).is_none() && !file.bounds.all_timeless) {
                self.read(file, &lineage, &mut sought, limits, &mut |_| Ok(()))?;
            }
        }
        for file in &files {
            // Its first file must not hand over a partition's rows of months.
            if let Some(Limits { window, latest }) = limits
                && file.bounds.newest.is_some_and(|newest| newest <= latest)
                && file.bounds.may_span(window)
                && sought.iter().any(|sought| sought.newest.is_none() && sought.may_be_in(&file.bounds))
                && self.read(file, &self.wanted(&[])?, &mut sought, limits, &mut |_| Ok(()))? == 0
            {
                continue;
            }
            self.read(file, &wanted, &mut sought, limits, each)?;
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
        let known = self.known.load(Ordering::SeqCst);
        Newest::of(&self.log, &self.runtime, &self.root, known)?.each_live(|file| {
            let bounds = file.stats().map(|stats| Bounds::of_file(&stats)).unwrap_or_default();
            live.push(Live { path: file.path().into_owned(), values: file.partition_values_map(), bounds });
        })?;
        Ok(live)
    }

    /// Hands over what is wanted of a file, and notes newer times; returns how many rows that were.
    fn read(
        &self,
        file: &Live,
        wanted: &SchemaRef,
        sought: &mut [Sought<'_>],
        limits: Option<Limits>,
        each: &mut dyn FnMut(&RecordBatch) -> Result<()>,
    ) -> Result<usize> {
        let held = |sought: &&Sought<'_>| sought.may_be_in(&file.bounds);
        let matters = |bounds: &Bounds, sought: &Sought<'_>| {
            sought.may_be_in(bounds) && bounds.may_be_recent(sought.since(limits))
        };
        let open: Vec<usize> = (0..sought.len()).filter(|at| matters(&file.bounds, &sought[*at])).collect();
        if open.is_empty() {
            return Ok(0);
        }
        let others = sought.iter().filter(held).count() > open.len();
        let path = self.root.join(&file.path);
        let failed = |e: &dyn std::fmt::Display| disk::failed("read", &path, e);
        let (handle, metadata) = live::open(&path)?;
        let groups: Vec<usize> = (0..metadata.metadata().num_row_groups())
            .filter(|&group| {
                let bounds = Bounds::of_group(metadata.metadata().row_group(group));
                open.iter().any(|at| matters(&bounds, &sought[*at]))
            })
            .collect();
        if groups.is_empty() {
            return Ok(0);
        }
        let mask = mask(&metadata, wanted.fields().iter().map(|field| field.name().as_str()));
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(handle, metadata.clone())
            .with_row_groups(groups)
            .with_projection(mask)
            .with_batch_size(8192);
        if others {
            builder = builder.with_row_filter(only(&metadata, open.iter().map(|at| sought[*at].partition)));
        }
        let open: HashMap<(&str, i32), usize> = open
            .into_iter()
            .map(|at| {
                let partition: &Partition = sought[at].partition;
                ((&*partition.topic, partition.number), at)
            })
            .collect();
        let mut rows = 0;
        for batch in builder.build().map_err(|e| failed(&e))? {
            let batch = file.complete(&batch.map_err(|e| failed(&e))?, wanted)?;
            let batch = select(&batch, &open, sought, limits)?;
            if batch.num_rows() > 0 {
                rows += batch.num_rows();
                each(&batch)?;
            }
        }
        Ok(rows)
    }
}

impl Sought<'_> {
    fn may_be_in(&self, bounds: &Bounds) -> bool {
        bounds.may_hold(self.partition, self.below)
    }

    /// Rows before this are not recent.
    fn since(&self, limits: Option<Limits>) -> Option<i64> {
        Some(self.newest?.saturating_sub(limits?.window))
    }
}

/// Leaves out the rows of other partitions before their other columns are read.
fn only<'p>(metadata: &ArrowReaderMetadata, partitions: impl Iterator<Item = &'p Partition>) -> RowFilter {
    let mut numbers: HashMap<String, Vec<i32>> = HashMap::new();
    partitions.for_each(|partition| numbers.entry(partition.topic.to_string()).or_default().push(partition.number));
    let chosen = move |batch: RecordBatch| {
        let column = |name: &str, kind: &DataType| {
            let missing = || ArrowError::SchemaError(format!("there is no column {name}"));
            cast(batch.column_by_name(name).ok_or_else(missing)?, kind)
        };
        let (topics, these) = (column("_topic", &DataType::Utf8)?, column("_partition", &DataType::Int32)?);
        let (topics, these) = (topics.as_string::<i32>(), these.as_primitive::<Int32Type>());
        let is_chosen = |row| numbers.get(topics.value(row)).is_some_and(|numbers| numbers.contains(&these.value(row)));
        Ok((0..batch.num_rows()).map(|row| Some(is_chosen(row))).collect::<BooleanArray>())
    };
    let mask = mask(metadata, ["_topic", "_partition"].into_iter());
    RowFilter::new(vec![Box::new(ArrowPredicateFn::new(mask, chosen))])
}

/// These columns, as far as the file has them.
fn mask<'n>(metadata: &ArrowReaderMetadata, names: impl Iterator<Item = &'n str>) -> ProjectionMask {
    let names: HashSet<&str> = names.collect();
    let fields = metadata.schema().fields().iter().enumerate();
    let roots = fields.filter_map(|(index, field)| names.contains(field.name().as_str()).then_some(index));
    ProjectionMask::roots(metadata.parquet_schema(), roots.collect::<Vec<_>>())
}

/// Rows of these partitions, by their places in `sought`, that are wanted. Notes newer times.
fn select(
    batch: &RecordBatch,
    open: &HashMap<(&str, i32), usize>,
    sought: &mut [Sought<'_>],
    limits: Option<Limits>,
) -> Result<RecordBatch> {
    let column = |name: &str| batch.column_by_name(name).expect("lineage is always read");
    let topics = column("_topic").as_string::<i32>();
    let numbers = column("_partition").as_primitive::<Int32Type>();
    let offsets = column("_offset").as_primitive::<Int64Type>();
    let times = column(TIME).as_primitive::<TimestampMicrosecondType>();
    let of_row = |row: usize, sought: &[Sought<'_>]| {
        let at = open.get(&(topics.value(row), numbers.value(row))).copied();
        at.filter(|at| offsets.value(row) < sought[*at].below)
    };
    let places: Vec<Option<usize>> = (0..batch.num_rows()).map(|row| of_row(row, sought)).collect();
    if let Some(Limits { latest, .. }) = limits {
        for (row, at) in places.iter().enumerate() {
            if let Some(at) = *at
                && times.is_valid(row)
                && times.value(row) <= latest
            {
                sought[at].newest = sought[at].newest.max(Some(times.value(row)));
            }
        }
    }
    let young = |row: usize, at: usize| {
        sought[at].since(limits).is_none_or(|since| times.is_null(row) || times.value(row) >= since)
    };
    let keep: BooleanArray =
        places.iter().enumerate().map(|(row, at)| Some(at.is_some_and(|at| young(row, at)))).collect();
    filter_record_batch(batch, &keep).or_bug("archive: select keys")
}
