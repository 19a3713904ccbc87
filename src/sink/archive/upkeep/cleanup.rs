//! Entries of the log that nobody needs any more: a table at a commit a minute gets half a million of them a year, and who
//! opens it lists them all.

use std::{fs, time::UNIX_EPOCH};

use super::Vacuum;
use crate::{
    error::Result,
    sink::archive::{
        live,
        log::{self, Kind, Part, Pointer},
        replay::Newest,
        table::Table,
    },
};

/// What can go, the lowest version first: the order to delete it in, so that whatever is left begins somewhere and has no
/// hole.
pub(super) fn expired(table: &Table, how: &Vacuum, now_ms: i64) -> Result<Vec<Part>> {
    let Some(retention) = Newest::of_table(table)?.log_retention() else { return Ok(Vec::new()) };
    let retention = i64::try_from(retention.max(how.retention).as_millis()).unwrap_or(i64::MAX);
    let horizon = now_ms.saturating_sub(retention);
    let mut parts = log::list(table.root())?;
    let mut checkpoints: Vec<u64> =
        parts.iter().filter(|part| part.kind == Kind::Checkpoint).map(|part| part.version).collect();
    // Whose list of the log is late begins at the one before.
    checkpoints.pop();
    let first = match log::pointer(table.root()) {
        Pointer::Absent => u64::MAX,
        Pointer::To(version, _) => version,
        Pointer::Odd => 0,
    };
    for version in checkpoints.into_iter().rev().filter(|version| *version <= first) {
        if is_older(table, version, horizon)?
            && live::open(&table.root().join(Part::checkpoint(version).path())).is_ok()
        {
            parts.retain(|part| part.version < version);
            return Ok(parts);
        }
    }
    Ok(Vec::new())
}

/// Whether a version was written before that, by its own word and by its file's. One that nobody can ask was not.
fn is_older(table: &Table, version: u64, horizon: i64) -> Result<bool> {
    let modified = fs::metadata(table.root().join(Part::entry(version).path())).and_then(|about| about.modified());
    let modified = modified.ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    if modified.is_none_or(|since| since.as_millis() as i64 >= horizon) {
        return Ok(false);
    }
    Ok(table.read(version)?.is_some_and(|entry| entry.at_ms().is_none_or(|at_ms| at_ms < horizon)))
}
