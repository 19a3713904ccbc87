//! Small files into large ones.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
};

use deltalake_core::kernel::Remove;
use serde::Serialize;
use serde_json::json;

use super::{name, replaced};
use crate::{
    clock::Clock,
    error::{Error, ErrorKind, Result},
    fault,
    sink::archive::{
        bounds::Bounds,
        disk,
        folders::Key,
        live::{self, Live},
        replay::Newest,
        side::Side,
        table::Table,
    },
};

#[derive(Clone, Copy, Debug)]
pub struct Compact {
    /// Files below half of this are small; new ones are about as large as this.
    pub file_size: u64,
    /// Fewer small files than this are not worth an entry.
    pub min_files: usize,
    /// Delete replaced files at once rather than leave them to a vacuum.
    pub remove_replaced: bool,
}

/// What a compaction has done to one table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Compacted {
    pub table: String,
    /// Live files before and after.
    pub files_before: usize,
    pub files_after: usize,
    pub replaced: usize,
    pub rows: u64,
    pub bytes_before: u64,
    pub bytes_after: u64,
    /// Log entries written.
    pub commits: usize,
    /// Parts given up because somebody else changed their files meanwhile.
    pub given_up: usize,
    /// Parts left as they are because a file that the table has cannot be read.
    pub damaged: usize,
}

/// A file worth replacing.
struct Small {
    live: Live,
    size: u64,
}

/// Times that somebody else may be faster before we leave the rest for another time.
const GIVE_UP: usize = 10;
/// Files replaced by one entry, whatever their size.
const FILES_PER_ENTRY: usize = 1000;

/// What is wrong with files that cannot be read goes to `damage`; the others have their turn.
pub(super) fn compact(side: &mut Side, how: &Compact, clock: &Clock, damage: &mut Vec<Error>) -> Result<Compacted> {
    let mut done = Compacted { table: name(&side.table), ..Compacted::default() };
    side.table.watch_files();
    side.table.refresh()?;
    if how.remove_replaced {
        let left = replaced::left(&side.table)?;
        left.iter().try_for_each(|path| disk::remove(&side.table.root().join(path)))?;
    }
    let (small, tells_change) = small_files(side, how, &mut done.files_before)?;
    for (key, small) in small {
        for part in parts(small, how) {
            match replace(side, &key, &part, (how, tells_change), clock, &mut done) {
                Ok(None) => {}
                Ok(Some(error)) => {
                    done.damaged += 1;
                    damage.push(error);
                }
                // Somebody else was faster with these files; the others are still ours to take.
                Err(error) if error.kind == ErrorKind::Fenced && !side.is_unsettled() && done.given_up < GIVE_UP => {
                    tracing::warn!(%error, "left as it is");
                    side.clear();
                    done.given_up += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
    done.files_after = done.files_before + done.files_after - done.replaced;
    Ok(done)
}

/// The small files of each partition, how many files there are, and whether taking them out may be called a change.
fn small_files(side: &Side, how: &Compact, all: &mut usize) -> Result<(BTreeMap<Key, Vec<Small>>, bool)> {
    let table = &side.table;
    let mut small: BTreeMap<Key, Vec<Small>> = BTreeMap::new();
    let newest = Newest::of_table(table)?;
    newest.each_live(|file| {
        *all += 1;
        let size = file.size().max(0) as u64;
        let path = file.path();
        // A vector marks rows as deleted, and another program may keep files elsewhere.
        if size >= how.file_size / 2 || file.deletion_vector_descriptor().is_some() || path.contains("://") {
            return;
        }
        let values: HashMap<String, Option<String>> = file.partition_values_map();
        let key = table.shape().partition_by.iter().map(|name| values.get(name).cloned().flatten()).collect();
        let live = Live { path: path.into_owned(), values, bounds: Bounds::default() };
        small.entry(key).or_default().push(Small { live, size });
    })?;
    small.retain(|_, files| files.len() >= how.min_files.max(2));
    // Letters and digits are spelt one way.
    let is_plain = |path: &str| path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_.=-".contains(&byte));
    if small.values().flatten().any(|small| !is_plain(&small.live.path)) {
        let odd = oddly_spelt(&newest)?;
        small.values_mut().for_each(|files| files.retain(|small| !odd.contains(&small.live.path)));
        small.retain(|_, files| files.len() >= how.min_files.max(2));
    }
    Ok((small, !newest.is_append_only()))
}

/// Files whose path stands in the log in another spelling than ours, as `city=南昌/…` where we write `city=%E5…/…`.
///
/// Why they are left alone: the log is read by the letters of a path, so an entry that takes the file away under our
/// spelling would take nothing away, and its rows would be there twice.
fn oddly_spelt(newest: &Newest<'_>) -> Result<HashSet<String>> {
    let mut odd = HashSet::new();
    newest.each_added(|raw, path| {
        let ours = serde_json::to_value(remove(path, 0, HashMap::new(), 0)).expect("an action is plain data");
        if ours["path"] != raw {
            odd.insert(path.to_owned());
        }
    })?;
    Ok(odd)
}

/// Which files are replaced together.
fn parts(mut files: Vec<Small>, how: &Compact) -> Vec<Vec<Small>> {
    files.sort_by(|a, b| a.live.path.cmp(&b.live.path));
    let mut parts: Vec<(u64, Vec<Small>)> = Vec::new();
    for file in files {
        match parts.last_mut() {
            Some((size, part)) if *size + file.size <= how.file_size && part.len() < FILES_PER_ENTRY => {
                *size += file.size;
                part.push(file);
            }
            _ => parts.push((file.size, vec![file])),
        }
    }
    parts.into_iter().map(|(_, part)| part).filter(|part| part.len() >= how.min_files.max(2)).collect()
}

/// Tells what is wrong with a file that cannot be read; then all are left as they are.
fn replace(
    side: &mut Side,
    key: &Key,
    part: &[Small],
    (how, tells_change): (&Compact, bool),
    clock: &Clock,
    done: &mut Compacted,
) -> Result<Option<Error>> {
    let (root, wanted) = (side.table.root().to_path_buf(), side.table.shape().stored.clone());
    let mut rows = 0;
    for small in part {
        let mut is_read = true;
        let copied = live::whole(&root, &small.live, &wanted, &mut |batch| {
            rows += batch.num_rows() as u64;
            side.write_part(key.clone(), batch, &[], clock.now_ms()).inspect_err(|_| is_read = false)
        });
        let Err(error) = copied else { continue };
        side.clear();
        if !is_read {
            return Err(error); // the copy's disk, not the file
        }
        // Whoever has taken the file away has taken it out of the log first: that decides.
        side.table.refresh()?;
        side.table.check_there([small.live.path.as_str()].into_iter())?;
        return Ok(Some(unreadable(&side.table, &small.live, error)));
    }
    // The same rows, counted three times: in the footers, as they were read, and in the new files.
    side.finish()?;
    let (files, bytes) = side.finished();
    let now = clock.now_ms();
    let gone = |Small { live, size }: &Small| Remove {
        data_change: tells_change,
        ..remove(&live.path, *size, live.values.clone(), now)
    };
    let removes: Vec<Remove> = part.iter().map(gone).collect();
    let before: u64 = part.iter().map(|small| small.size).sum();
    let account = json!({ "rows": rows, "bytes_before": before, "bytes_after": bytes });
    fault::point("compact.before_commit");
    side.replace(&removes, &account)?;
    fault::point("compact.after_commit");
    done.commits += 1;
    done.replaced += part.len();
    done.files_after += files;
    done.rows += rows;
    done.bytes_before += before;
    done.bytes_after += bytes;
    if how.remove_replaced {
        let ours = part.iter().filter(|small| disk::is_inside(Path::new(&small.live.path)));
        ours.map(|small| root.join(&small.live.path)).try_for_each(|path| disk::remove(&path))?;
    }
    side.table.checkpoint_if_due();
    Ok(None)
}

/// What to do about a file that waiting does not mend.
const MEND: &str = "bring it back from a copy, or move it away and let deltalake's `DeltaTable.repair()` take it out of the \
                    table: its rows are lost then";

/// Tells a file that is not there, or not what it was, from a disk that does not answer.
fn unreadable(table: &Table, file: &Live, error: Error) -> Error {
    let path = table.root().join(&file.path);
    match path.try_exists() {
        Ok(false) => {
            let (root, version) = (table.root().display(), table.version());
            let what = format!("it is not there, but table {root} has it in version {version}");
            Error::config(format!("archive: cannot read {}: {what}: {MEND}", path.display()))
        }
        Ok(true)
            if error.kind == ErrorKind::Unavailable && live::is_damaged(table.root(), file, &table.shape().stored) =>
        {
            Error::config(format!("{error}: {MEND}"))
        }
        _ => error,
    }
}

fn remove(path: &str, size: u64, values: HashMap<String, Option<String>>, now_ms: i64) -> Remove {
    Remove {
        path: path.to_owned(),
        data_change: true, // see `upkeep`
        deletion_timestamp: Some(now_ms),
        extended_file_metadata: Some(true),
        partition_values: Some(values),
        size: Some(size as i64),
        tags: None,
        deletion_vector: None,
        base_row_id: None,
        default_row_commit_version: None,
    }
}

impl Default for Compact {
    fn default() -> Compact {
        Compact { file_size: 128 << 20, min_files: 5, remove_replaced: false }
    }
}
