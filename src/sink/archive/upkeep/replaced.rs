//! Files that a compaction has replaced and left where they are.

use std::{collections::HashSet, path::Path};

use crate::{
    error::Result,
    sink::archive::{disk, replay::Newest, table::Table},
};

/// Those of compactions of ours, as one leaves them that was interrupted between its entry and their end. What other
/// programs took out stays, for whoever wants it back.
pub(super) fn left(table: &Table) -> Result<Vec<String>> {
    let newest = Newest::of_table(table)?;
    let mut left = HashSet::new();
    newest.each_tombstone(|path, _| {
        if disk::is_inside(Path::new(path)) && !left.contains(path) && table.root().join(path).is_file() {
            left.insert(path.to_owned());
        }
    })?;
    if left.is_empty() {
        return Ok(Vec::new());
    }
    newest.each_live(|file| {
        left.remove(&*file.path());
    })?;
    // Who took them out only the entries tell.
    let mut ours = Vec::new();
    for version in (0..=table.version()).rev() {
        if left.is_empty() {
            break;
        }
        let Some(entry) = table.read(version)? else { break };
        let is_ours = entry.commit().is_some();
        ours.extend(entry.removed.into_iter().filter(|path| left.remove(path) && is_ours));
    }
    Ok(ours)
}
