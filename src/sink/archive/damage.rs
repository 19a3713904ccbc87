//! What is wrong with a log that cannot be read. What the kernel says of it names no file, or a page of them.

use std::{fs, path::Path};

use super::{
    accept, disk,
    entry::{Entry, Protocol},
    live,
    log::{self, Kind, Part, Pointer},
};
use crate::error::{Error, Result};

/// The error of reading a log: about a file that is not what it should be when there is one, which waiting does not mend.
pub(super) fn or(root: &Path, error: impl std::fmt::Display) -> Error {
    if let Some((version, protocol)) = protocol(root)
        && let Err(unknown) = accept::refuse_unknown(root, version, &protocol)
    {
        return unknown;
    }
    match find(root) {
        // It may be there tomorrow: a right that is missing, a disk that does not answer.
        Some(what) if what.contains(CANNOT_BE_OPENED) => disk::failed("read the log of", root, what),
        Some(what) => refused(root, &what),
        None => disk::failed("read the log of", root, error.to_string().lines().next().unwrap_or_default()),
    }
}

fn refused(root: &Path, what: &str) -> Error {
    Error::config(format!("archive: the log of {} is damaged: {what}", root.display()))
}

/// What the table asks of its readers and writers, by the newest entry that tells, if that is not long ago and all
/// after it can be read. The kernel refuses what it does not know, too, but as one error among others.
pub(super) fn protocol(root: &Path) -> Option<(u64, Protocol)> {
    const NEWEST: usize = 1000;
    let parts = log::list(root).ok()?;
    for part in parts.iter().rev().filter(|part| part.kind == Kind::Entry).take(NEWEST) {
        let entry = Entry::parse(&fs::read(root.join(part.path())).ok()?).ok()?;
        if let Some(protocol) = entry.protocol {
            return Some((part.version, protocol));
        }
    }
    None
}

/// The first file that the newest version needs and that is not what it should be, and what to do about it.
fn find(root: &Path) -> Option<String> {
    let parts = log::list(root).ok()?;
    let versions = |kind: Kind| parts.iter().filter(move |part| part.kind == kind).map(|part| part.version);
    let opens = |version: &u64| live::open(&root.join(Part::checkpoint(*version).path())).is_ok();
    // Of those that other programs write we know no more than that they are there.
    let others = log::other_checkpoints(root);
    let good = versions(Kind::Checkpoint).rev().find(opens).max(others.last().copied());
    let from = good.map_or(0, |version| version + 1);
    let newest = versions(Kind::Entry).next_back();
    if let Some(what) = newest.and_then(|newest| (from..=newest).find_map(|version| wrong(root, version))) {
        return Some(match what.contains(CANNOT_BE_OPENED) {
            true => what,
            false => format!("{what}: bring it back from a copy"),
        });
    }
    let rest = match good {
        Some(version) => format!("the checkpoint of version {version} and all entries after it are there"),
        None => "all entries are there".to_owned(),
    };
    if let Some(bad) = versions(Kind::Checkpoint).next_back().filter(|version| good < Some(*version)) {
        let path = root.join(Part::checkpoint(bad).path());
        return Some(format!("{} cannot be read: remove it, and `_last_checkpoint` too: {rest}", path.display()));
    }
    match log::pointer(root) {
        Pointer::To(version, _) if !parts.contains(&Part::checkpoint(version)) && !others.contains(&version) => {
            Some(format!(
                "{} names a checkpoint of version {version}, which is not there: remove `_last_checkpoint`: {rest}",
                root.join(log::FOLDER).join("_last_checkpoint").display()
            ))
        }
        _ => None,
    }
}

/// Said of what is there and cannot be opened.
const CANNOT_BE_OPENED: &str = " cannot be opened: ";

/// What is wrong with an entry.
fn wrong(root: &Path, version: u64) -> Option<String> {
    let path = root.join(Part::entry(version).path());
    match fs::read(&path) {
        Ok(text) => Entry::parse(&text).err().map(|e| format!("{} cannot be understood: {e}", path.display())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Some(format!("{} cannot be read: {e}", path.display())),
        Err(e) => Some(format!("{}{CANNOT_BE_OPENED}{e}", path.display())),
    }
}

/// Refuses entries of nothing, which other readers pass over without a word: whatever was in them is not in the table.
pub(super) fn refuse_empty(root: &Path, versions: impl IntoIterator<Item = u64>) -> Result<()> {
    for version in versions {
        let path = root.join(Part::entry(version).path());
        if fs::metadata(&path).is_ok_and(|about| about.len() == 0) {
            return Err(refused(root, &format!("{} is empty: bring it back from a copy", path.display())));
        }
    }
    Ok(())
}
