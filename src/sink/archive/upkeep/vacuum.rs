//! Files that nobody needs any more.

use std::{
    collections::HashSet,
    fs::{self, Metadata},
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_128;

use super::{LEAST_RETENTION, cleanup, name};
use crate::{
    clock::Clock,
    error::{Error, Result},
    sink::archive::{disk, replay::Newest, staging, store, table::Table},
};

#[derive(Clone, Copy, Debug)]
pub struct Vacuum {
    /// Versions younger than this stay readable, and so do files younger than this.
    pub retention: Duration,
    /// Only say what would go.
    pub dry_run: bool,
}

impl Default for Vacuum {
    fn default() -> Vacuum {
        Vacuum { retention: Duration::from_secs(7 * 24 * 3600), dry_run: false }
    }
}

/// What a vacuum has done to one table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Vacuumed {
    pub table: String,
    pub deleted: usize,
    /// Entries and checkpoints of the log that no version within its own retention needs.
    pub log_deleted: usize,
    /// Of all that is deleted.
    pub bytes: u64,
    /// Live, needed by a version within the retention, in flight, or too young to tell.
    pub kept: usize,
    pub dry_run: bool,
}

/// Paths by their hash: 16 bytes each, however long the names are. Two names with one hash would only keep a file.
type Paths = HashSet<u128>;

pub(super) fn vacuum(table: &mut Table, how: &Vacuum, clock: &Clock) -> Result<Vacuumed> {
    if how.retention < LEAST_RETENTION {
        return Err(Error::config(format!(
            "archive: a retention of {} s may delete what another program is just writing: at least {} s",
            how.retention.as_secs(),
            LEAST_RETENTION.as_secs()
        )));
    }
    let retention = i64::try_from(how.retention.as_millis()).unwrap_or(i64::MAX);
    let horizon = clock.now_ms().saturating_sub(retention);
    // The order matters: see `upkeep`.
    let mut files = Vec::new();
    list(table.root(), Path::new(""), &mut files)?;
    let mut needed = Paths::new();
    staging::intended(table.root(), |path| needed.extend([hash(path)]))?;
    table.refresh()?;
    referenced(table, horizon, &mut needed)?;

    let mut done = Vacuumed { table: name(table), dry_run: how.dry_run, ..Vacuumed::default() };
    for Found { path, size, .. } in abandoned(table, clock.now_ms())? {
        done.deleted += 1;
        done.bytes += size;
        if !how.dry_run {
            disk::remove(&table.root().join(&path))?;
        }
    }
    for Found { path, size, modified_ms } in files {
        if needed.contains(&hash(&path)) || modified_ms >= horizon {
            done.kept += 1;
            continue;
        }
        done.deleted += 1;
        done.bytes += size;
        if how.dry_run {
            continue;
        }
        disk::remove(&table.root().join(&path))?;
        // A folder that is empty now goes; a writer that needs it makes it anew.
        if let Some(folder) = Path::new(&path).parent().filter(|folder| !folder.as_os_str().is_empty()) {
            let _ = fs::remove_dir(table.root().join(folder));
        }
    }
    for part in cleanup::expired(table, how, clock.now_ms())? {
        let path = table.root().join(part.path());
        done.log_deleted += 1;
        done.bytes += fs::metadata(&path).map_or(0, |about| about.len());
        if !how.dry_run {
            disk::remove(&path)?;
        }
    }
    Ok(done)
}

fn hash(path: &str) -> u128 {
    xxh3_128(path.as_bytes())
}

/// All files that a version at or after `horizon` refers to: the live ones, and those taken out since.
fn referenced(table: &Table, horizon: i64, needed: &mut Paths) -> Result<()> {
    let newest = Newest::of_table(table)?;
    newest.each_live(|file| {
        needed.insert(hash(&file.path()));
    })?;
    // A checkpoint forgets what was taken out longer ago than a week, entries do not; and entries may be cleaned up.
    newest.each_tombstone(|path, at_ms| {
        if at_ms >= horizon {
            needed.insert(hash(path));
        }
    })?;
    for version in (0..=table.version()).rev() {
        let Some(entry) = table.read(version)? else { break };
        if entry.at_ms().is_some_and(|at_ms| at_ms < horizon) {
            break;
        }
        needed.extend(entry.removed.iter().map(|path| hash(path)));
    }
    Ok(())
}

struct Found {
    /// Relative to the table, as the log has it.
    path: String,
    size: u64,
    modified_ms: i64,
}

/// Parquet files in the folders of partitions.
fn list(root: &Path, folder: &Path, found: &mut Vec<Found>) -> Result<()> {
    for (name, about) in entries(&root.join(folder))? {
        if name.starts_with('_') || name.starts_with('.') {
            continue;
        }
        let path = folder.join(&name);
        if about.is_dir() {
            // Another table may lie below this one: its files are its own.
            if !root.join(&path).join("_delta_log").exists() {
                list(root, &path, found)?;
            }
        } else if about.is_file() && name.ends_with(".parquet") {
            found.push(Found::new(&path, &about));
        }
    }
    Ok(())
}

/// Entries and checkpoints in the log that nobody can be writing any more.
fn abandoned(table: &Table, now_ms: i64) -> Result<Vec<Found>> {
    let folder = Path::new("_delta_log");
    let mut found = Vec::new();
    for (name, about) in entries(&table.root().join(folder))? {
        if store::is_partial(&name) && about.is_file() {
            found.push(Found::new(&folder.join(&name), &about));
        }
    }
    let horizon = now_ms.saturating_sub(LEAST_RETENTION.as_millis() as i64);
    found.retain(|file| file.modified_ms < horizon);
    Ok(found)
}

/// What is in a folder now; names that are no text are nobody's.
fn entries(folder: &Path) -> Result<Vec<(String, Metadata)>> {
    let failed = |e| disk::failed("read", folder, e);
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        match entry.metadata() {
            Ok(about) => entries.push((name, about)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(failed(e)),
        }
    }
    Ok(entries)
}

impl Found {
    fn new(path: &Path, about: &Metadata) -> Found {
        let modified = about.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        // A file whose age is not known counts as new.
        let modified_ms = modified.map_or(i64::MAX, |since| since.as_millis() as i64);
        Found { path: path.to_string_lossy().into_owned(), size: about.len(), modified_ms }
    }
}
