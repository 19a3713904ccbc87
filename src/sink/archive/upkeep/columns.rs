//! Columns that a contract has gained since its table was made.

use deltalake_core::{kernel::transaction::TransactionError, logstore::CommitOrBytes};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::name;
use crate::{
    error::{Error, Result},
    sink::archive::{
        replay,
        table::{ENGINE, Table},
    },
};

/// What was added to one table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Widened {
    pub table: String,
    /// Names of the columns, in the contract's order.
    pub added: Vec<String>,
    /// Descriptions that were brought up to date.
    pub described: usize,
    /// Version that has them, if anything had to change.
    pub version: Option<u64>,
    pub dry_run: bool,
}

/// Gives up when that many others were faster.
const TRIES: usize = 100;

/// `table` need not be what its contract says yet; `None` when it is not there.
pub(super) fn add(table: &Table, dry_run: bool) -> Result<Option<Widened>> {
    for _ in 0..TRIES {
        let Some(snapshot) = table.snapshot()? else { return Ok(None) };
        let failed = |e: &dyn std::fmt::Display| table.failed(format_args!("understand the schema"), e);
        let (mut metadata, protocol) = replay::metadata(&snapshot).map_err(|e| failed(&e))?;
        table.check_protocol(snapshot.version(), &protocol)?;
        // Whoever opens the table looks back to the last entry of ours, which will be this one.
        table.look_back(snapshot.version())?;
        let there = metadata["schemaString"].as_str().unwrap_or_default();
        let there = serde_json::from_str(there).map_err(|e| failed(&e))?;
        let widened = table.shape().widen(&there);
        metadata["schemaString"] = widened.schema.to_string().into();
        // What is missing is there now; what still differs nobody can add.
        let understood = serde_json::from_value(metadata.clone()).map_err(|e| failed(&e))?;
        table.check_metadata(snapshot.version(), &understood)?;

        let done =
            Widened { table: name(table), added: widened.added, described: widened.described, version: None, dry_run };
        if dry_run || (done.added.is_empty() && done.described == 0) {
            return Ok(Some(done));
        }
        let lines = [
            json!({ "commitInfo": {
                "timestamp": table.now_ms(), "operation": "ADD COLUMNS", "engineInfo": ENGINE,
                "operationParameters": { "columns": json!(done.added).to_string() },
                "huiju": table.signature(Uuid::new_v4()),
            }}),
            json!({ "metaData": metadata }),
        ];
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let (log, version) = (table.log(), snapshot.version() + 1);
        let put =
            async move { log.write_commit_entry(version, CommitOrBytes::LogBytes(text.into()), Uuid::nil()).await };
        match table.runtime().block_on(put) {
            Ok(()) => return Ok(Some(Widened { version: Some(version), ..done })),
            Err(TransactionError::VersionAlreadyExists(_)) => {}
            Err(e) => return Err(table.failed(format_args!("add columns to the log"), e)),
        }
    }
    Err(Error::unavailable(format!("archive: others write into {} all the time; try again", table.root().display())))
}
