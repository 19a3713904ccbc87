//! The parts of the log that only a checkpoint tells: cursors of long ago, the live files.
//!
//! deltalake keeps these behind snapshots that hold all live files in memory. The kernel underneath reads just the
//! columns asked for, and hands itself out through a scan.

use std::{collections::HashMap, path::Path, time::Duration};

use arrow::{
    array::{Array, AsArray, StructArray},
    datatypes::Int64Type,
    record_batch::RecordBatch,
};
use deltalake_core::{
    DeltaResult, DeltaTableError,
    kernel::{DataType, LogicalFileView, Snapshot, StructField, StructType, engine::arrow_data::ArrowEngineData},
    logstore::LogStoreRef,
};
use futures::StreamExt;
use serde_json::Value;
use tokio::runtime::Handle;

use super::{
    commit::pause,
    damage, disk,
    entry::{Metadata, Protocol},
    log::{self, Pointer},
    staging::Intent,
    table::Table,
};
use crate::error::{Error, Result};

/// What a table is, at a version.
pub(super) struct State {
    pub metadata: Metadata,
    pub protocol: Protocol,
    pub cursors: HashMap<String, i64>,
    pub checkpoint: Option<u64>,
}

/// What `delta.logRetentionDuration` is where it is not set.
const LOG_RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);

/// Lists of the log before we give up on one that shows what we know is there.
const LISTS: u32 = 5;

/// The newest version that the log's list shows; `None` when there is no table. A list that lacks version `known`, whose
/// entry was read already, is late: then the log is listed again.
pub(super) fn snapshot(log: &LogStoreRef, runtime: &Handle, root: &Path, known: u64) -> Result<Option<Snapshot>> {
    let mut lists = 0;
    loop {
        let shown = match runtime.block_on(async { Snapshot::try_new(log.as_ref(), None).await }) {
            Ok(snapshot) if snapshot.version() >= known => return Ok(Some(snapshot)),
            Ok(snapshot) => format!("ends at version {}", snapshot.version()),
            Err(DeltaTableError::NotATable(_)) if known > 0 => "is empty".to_owned(),
            Err(DeltaTableError::NotATable(_)) => return Ok(None),
            Err(e) => return Err(damage::or(root, e)),
        };
        lists += 1;
        if lists == LISTS {
            let late = format_args!("its list {shown}, but version {known} has been read");
            return Err(disk::failed("read the log of", root, late));
        }
        pause(lists);
    }
}

/// The table's metadata as its log has them, and its protocol.
pub(super) fn metadata(snapshot: &Snapshot) -> serde_json::Result<(Value, Protocol)> {
    Ok((
        serde_json::to_value(snapshot.metadata())?,
        serde_json::from_value(serde_json::to_value(snapshot.protocol())?)?,
    ))
}

/// All cursors in one pass over the `txn` actions, newest first.
pub(super) fn state(log: &LogStoreRef, runtime: &Handle, snapshot: &Snapshot) -> DeltaResult<State> {
    let (metadata, protocol) = metadata(snapshot)?;
    let metadata = serde_json::from_value(metadata)?;
    let kernel = snapshot.scan_builder().build()?.snapshot().clone();
    let checkpoint = kernel.log_segment().checkpoint_version;
    let engine = runtime.block_on(async { log.engine(None) });
    let txn = StructType::try_new([
        StructField::nullable("appId", DataType::STRING),
        StructField::nullable("version", DataType::LONG),
    ])?;
    let wanted = StructType::try_new([StructField::nullable("txn", txn)])?;
    let mut cursors = HashMap::new();
    for actions in kernel.log_segment().read_actions(engine.as_ref(), wanted.into())? {
        let actions: RecordBatch = ArrowEngineData::try_from_engine_data(actions?.actions)?.into();
        let txn = actions.column(0).as_struct();
        let (apps, versions) = (txn.column(0).as_string::<i32>(), txn.column(1).as_primitive::<Int64Type>());
        for row in (0..txn.len()).filter(|&row| txn.is_valid(row) && apps.is_valid(row)) {
            cursors.entry(apps.value(row).to_owned()).or_insert(versions.value(row));
        }
    }
    Ok(State { metadata, protocol, cursors, checkpoint })
}

/// Writes a checkpoint of the newest version, unless somebody did lately; returns the version of the last one.
pub(super) fn checkpoint(table: &Table) -> Result<u64> {
    let Some(snapshot) = table.snapshot()? else { return Ok(table.version()) };
    let failed = |e: DeltaTableError| table.failed(format_args!("write a checkpoint"), e);
    let kernel = snapshot.scan_builder().build().map_err(failed)?.snapshot().clone();
    if let Some(last) = kernel.log_segment().checkpoint_version
        && last + 10 > snapshot.version()
    {
        return Ok(last);
    }
    let engine = table.runtime().block_on(async { table.log().engine(None) });
    kernel.checkpoint(engine.as_ref(), None).map_err(|e| failed(e.into()))?;
    Ok(snapshot.version())
}

/// Actions in the last checkpoint, as far as the pointer to it tells: about as many as there are live files.
pub(super) fn checkpoint_size(table: &Table) -> u64 {
    if let Pointer::To(_, size) = log::pointer(table.root()) { size } else { 0 }
}

/// Whether a dead writer's commit is in the log. Asked when its lock is ours, so that it can write no more: the log is
/// read to its end now, because what we have read of it before the lock was ours may lack that very commit.
pub(super) fn landed(table: &Table, intent: &Intent) -> Result<bool> {
    for version in intent.base + 1.. {
        match table.read(version)? {
            Some(entry) if entry.commit() == Some(intent.commit) => {
                return if log::may_be_passed_over(table.root(), version) {
                    any_known(table, version, intent)
                } else {
                    Ok(true)
                };
            }
            Some(_) => {}
            // Cleaned up, a month later.
            None if version <= table.version() => return any_known(table, version, intent),
            None => break,
        }
    }
    Ok(false)
}

/// Whether one of its files is in the table, or was and has been taken out: that is for a vacuum to delete, when its time
/// has come. The names of files are unique, and those of an entry that does not count are in neither. `version` is in the
/// log.
fn any_known(table: &Table, version: u64, intent: &Intent) -> Result<bool> {
    let newest = Newest::of(table.log(), table.runtime(), table.root(), table.version().max(version))?;
    let is_its = |path: &str| intent.files.iter().any(|file| file == path);
    let mut found = false;
    newest.each_live(|file| found |= is_its(&file.path()))?;
    if !found {
        newest.each_tombstone(|path, _| found |= is_its(path))?;
    }
    Ok(found)
}

/// The newest version of a table that is there, and what the log tells of its files.
pub(super) struct Newest<'a> {
    log: &'a LogStoreRef,
    runtime: &'a Handle,
    root: &'a Path,
    snapshot: Snapshot,
}

/// A table that was opened is in no list: it has vanished, or the list is late.
fn gone(root: &Path) -> Error {
    Error::unavailable(format!("archive: there is no table in {} any more", root.display()))
}

impl<'a> Newest<'a> {
    /// At least version `known`.
    pub fn of(log: &'a LogStoreRef, runtime: &'a Handle, root: &'a Path, known: u64) -> Result<Newest<'a>> {
        let snapshot = snapshot(log, runtime, root, known)?.ok_or_else(|| gone(root))?;
        Ok(Newest { log, runtime, root, snapshot })
    }

    pub fn of_table(table: &'a Table) -> Result<Newest<'a>> {
        Newest::of(table.log(), table.runtime(), table.root(), table.version())
    }

    /// How long entries of the log are kept, as the table's properties say; `None` when they are never to be cleaned up.
    pub fn log_retention(&self) -> Option<Duration> {
        let properties = self.snapshot.table_properties();
        // What cannot be understood may mean longer.
        let is_odd = ["delta.logRetentionDuration", "delta.enableExpiredLogCleanup"]
            .iter()
            .any(|name| properties.unknown_properties.contains_key(*name));
        if is_odd || properties.enable_expired_log_cleanup == Some(false) {
            return None;
        }
        Some(properties.log_retention_duration.unwrap_or(LOG_RETENTION))
    }

    /// Whether nothing may be taken out of the table but what is put in again. What cannot be understood may mean that.
    pub fn is_append_only(&self) -> bool {
        let properties = self.snapshot.table_properties();
        properties.append_only == Some(true) || properties.unknown_properties.contains_key("delta.appendOnly")
    }

    /// Shows the live files, one after the other.
    pub fn each_live(&self, mut each: impl FnMut(&LogicalFileView)) -> Result<()> {
        self.runtime.block_on(async {
            let mut live = self.snapshot.file_views(self.log.as_ref(), None);
            while let Some(file) = live.next().await {
                each(&file.map_err(|e| damage::or(self.root, e))?);
            }
            Ok(())
        })
    }

    /// Shows the paths of files that were taken out of the table, as far as the log still tells, and when that was.
    pub fn each_tombstone(&self, mut each: impl FnMut(&str, i64)) -> Result<()> {
        let time = StructField::nullable("deletionTimestamp", DataType::LONG);
        let paths = self.each_path("remove", Some(time), |_, path, action, row| {
            let times = action.column(1).as_primitive::<Int64Type>();
            each(path, if times.is_valid(row) { times.value(row) } else { 0 });
        });
        paths.map_err(|e| disk::failed("read the remove actions of", self.root, e))
    }

    /// Shows the paths of files that were ever put into the table, as far as the log still tells: as they stand there, and
    /// what they mean.
    pub fn each_added(&self, mut each: impl FnMut(&str, &str)) -> Result<()> {
        let paths = self.each_path("add", None, |raw, path, _, _| each(raw, path));
        paths.map_err(|e| disk::failed("read the add actions of", self.root, e))
    }

    /// Shows the actions of a kind that have a path.
    fn each_path(
        &self,
        kind: &str,
        more: Option<StructField>,
        mut each: impl FnMut(&str, &str, &StructArray, usize),
    ) -> DeltaResult<()> {
        let kernel = self.snapshot.scan_builder().build()?.snapshot().clone();
        let engine = self.runtime.block_on(async { self.log.engine(None) });
        let action = StructType::try_new([StructField::nullable("path", DataType::STRING)].into_iter().chain(more))?;
        let wanted = StructType::try_new([StructField::nullable(kind, action)])?;
        for actions in kernel.log_segment().read_actions(engine.as_ref(), wanted.into())? {
            let actions: RecordBatch = ArrowEngineData::try_from_engine_data(actions?.actions)?.into();
            let action = actions.column(0).as_struct();
            let paths = action.column(0).as_string::<i32>();
            for row in (0..action.len()).filter(|&row| action.is_valid(row) && paths.is_valid(row)) {
                let raw = paths.value(row);
                each(raw, &percent_encoding::percent_decode_str(raw).decode_utf8_lossy(), action, row);
            }
        }
        Ok(())
    }
}
