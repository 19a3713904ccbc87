//! Columns that a contract has gained since its table was made.

use deltalake_core::{kernel::transaction::TransactionError, logstore::CommitOrBytes};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::name;
use crate::{
    error::{Error, Result},
    sink::archive::{
        log, replay,
        schema::Widen,
        table::{BOUNDED, ENGINE, Table},
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
    /// The list of columns that have bounds was brought up to date.
    pub bounds: bool,
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
        let bounded = bounded(table, &metadata["configuration"], &widened.added);
        let bounds = metadata["configuration"][BOUNDED] != *bounded;
        metadata["configuration"][BOUNDED] = bounded.into();
        // What is missing is there now; what still differs nobody can add.
        let understood = serde_json::from_value(metadata.clone()).map_err(|e| failed(&e))?;
        table.check_metadata(snapshot.version(), &understood)?;

        let Widen { added, described, .. } = widened;
        let done = Widened { table: name(table), added, described, bounds, version: None, dry_run };
        if dry_run || (done.added.is_empty() && done.described == 0 && !bounds) {
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
        let (store, version) = (table.log(), snapshot.version() + 1);
        let put =
            async move { store.write_commit_entry(version, CommitOrBytes::LogBytes(text.into()), Uuid::nil()).await };
        match table.runtime().block_on(put) {
            Ok(()) if log::may_be_passed_over(table.root(), version) => {
                let table = table.root().display();
                let what = "a checkpoint was written, or the log cleaned up, meanwhile: run it again, and it tells what is missing";
                return Err(Error::unavailable(format!("archive: {table}: {what}")));
            }
            Ok(()) => return Ok(Some(Widened { version: Some(version), ..done })),
            Err(TransactionError::VersionAlreadyExists(_)) => {}
            Err(e) => return Err(table.failed(format_args!("add columns to the log"), e)),
        }
    }
    Err(Error::unavailable(format!("archive: others write into {} all the time; try again", table.root().display())))
}

/// The columns that have bounds in all files: of those that are listed the ones that still have, without a list those that
/// were there before. Files that are there have none of a column that is new, so it stays out.
fn bounded(table: &Table, configuration: &Value, added: &[String]) -> String {
    let ours = table.shape().bounded();
    let listed: Vec<&str> = match configuration[BOUNDED].as_str() {
        Some(list) => list.split(',').map(str::trim).filter(|name| ours.contains(name)).collect(),
        None => ours.into_iter().filter(|name| !added.iter().any(|new| new == name)).collect(),
    };
    listed.join(",")
}
