//! The parts of the log that only a checkpoint tells: cursors of long ago, the live files.
//!
//! deltalake keeps these behind snapshots that hold all live files in memory. The kernel underneath reads just the
//! columns asked for, and hands itself out through a scan.

use std::collections::HashMap;

use arrow::{
    array::{Array, AsArray},
    datatypes::Int64Type,
    record_batch::RecordBatch,
};
use deltalake_core::{
    DeltaResult, DeltaTableError,
    kernel::{DataType, Snapshot, StructField, StructType, engine::arrow_data::ArrowEngineData},
    logstore::LogStoreRef,
};
use futures::StreamExt;
use tokio::runtime::Handle;

use super::{
    entry::{Metadata, Protocol},
    staging::Intent,
    table::Table,
};
use crate::error::Result;

/// What a table is, at a version.
pub(super) struct State {
    pub metadata: Metadata,
    pub protocol: Protocol,
    pub cursors: HashMap<String, i64>,
    pub checkpoint: Option<u64>,
}

/// The newest version; `None` when there is no table.
pub(super) fn snapshot(log: &LogStoreRef, runtime: &Handle) -> DeltaResult<Option<Snapshot>> {
    match runtime.block_on(async { Snapshot::try_new(log.as_ref(), None).await }) {
        Ok(snapshot) => Ok(Some(snapshot)),
        Err(DeltaTableError::NotATable(_)) => Ok(None),
        Err(e) => Err(e),
    }
}

/// All cursors in one pass over the `txn` actions, newest first.
pub(super) fn state(log: &LogStoreRef, runtime: &Handle, snapshot: &Snapshot) -> DeltaResult<State> {
    let metadata = serde_json::from_value(serde_json::to_value(snapshot.metadata())?)?;
    let protocol = serde_json::from_value(serde_json::to_value(snapshot.protocol())?)?;
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

/// Whether a dead writer's commit is in the log.
pub(super) fn landed(table: &Table, intent: &Intent) -> Result<bool> {
    for version in intent.base + 1..=table.version() {
        match table.read(version)? {
            Some(entry) if entry.commit() == Some(intent.commit) => return Ok(true),
            Some(_) => {}
            // Cleaned up, a month later. Then the files are live, or nobody needs them.
            None => return any_live(table, &intent.files),
        }
    }
    Ok(false)
}

fn any_live(table: &Table, files: &[String]) -> Result<bool> {
    let Some(snapshot) = table.snapshot()? else { return Ok(false) };
    let log = table.log();
    table.runtime().block_on(async move {
        let mut live = snapshot.file_views(log.as_ref(), None);
        while let Some(file) = live.next().await {
            let file = file.map_err(|e| table.failed(format_args!("list the files"), e))?;
            if files.iter().any(|path| path.as_str() == file.path()) {
                return Ok(true);
            }
        }
        Ok(false)
    })
}
