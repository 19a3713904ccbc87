//! The folder of a table's log, by the names in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use super::disk;
use crate::error::Result;

pub(super) const FOLDER: &str = "_delta_log";

/// What a file of the log is. There are other ones, such as checkpoints in parts, which we neither write nor delete.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Kind {
    Entry,
    Checksum,
    Checkpoint,
}

/// A file of the log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Part {
    pub version: u64,
    pub kind: Kind,
}

impl Part {
    pub fn entry(version: u64) -> Part {
        Part { version, kind: Kind::Entry }
    }
    pub fn checkpoint(version: u64) -> Part {
        Part { version, kind: Kind::Checkpoint }
    }

    fn named(name: &str) -> Option<Part> {
        let kind = match version(name)?.1 {
            "json" => Kind::Entry,
            "crc" => Kind::Checksum,
            "checkpoint.parquet" => Kind::Checkpoint,
            _ => return None,
        };
        Some(Part { version: version(name)?.0, kind })
    }

    /// Relative to the table.
    pub fn path(self) -> PathBuf {
        let ending = match self.kind {
            Kind::Entry => "json",
            Kind::Checksum => "crc",
            Kind::Checkpoint => "checkpoint.parquet",
        };
        Path::new(FOLDER).join(format!("{:020}.{ending}", self.version))
    }
}

/// The version that a name begins with, and what follows it.
fn version(name: &str) -> Option<(u64, &str)> {
    let (digits, ending) = name.split_once('.')?;
    let is_version = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    Some((digits.parse().ok().filter(|_| is_version)?, ending))
}

/// Whether a folder is a table: its log holds anything of a version. One that was emptied is none.
pub(super) fn is_begun(root: &Path) -> bool {
    let of_version = |entry: io::Result<fs::DirEntry>| match entry {
        Ok(entry) => entry.file_name().to_str().and_then(version).is_some(),
        Err(_) => true,
    };
    match fs::read_dir(root.join(FOLDER)) {
        Ok(mut entries) => entries.any(of_version),
        // What cannot be looked into may hold one.
        Err(e) => !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
    }
}

/// Whether a folder surely is a table.
pub(super) fn is_seen(root: &Path) -> bool {
    let of_version = |entry: fs::DirEntry| entry.file_name().to_str().and_then(version).is_some();
    fs::read_dir(root.join(FOLDER)).is_ok_and(|entries| entries.flatten().any(of_version))
}

/// The files of a log, the lowest version first.
pub(super) fn list(root: &Path) -> Result<Vec<Part>> {
    let folder = root.join(FOLDER);
    let failed = |e| disk::failed("read", &folder, e);
    let mut parts = Vec::new();
    for entry in fs::read_dir(&folder).map_err(failed)? {
        parts.extend(entry.map_err(failed)?.file_name().to_str().and_then(Part::named));
    }
    parts.sort_unstable();
    Ok(parts)
}

/// Whether nothing was written after the entry of a version, nor any checkpoint that holds it.
pub(super) fn ends_with(root: &Path, version: u64) -> bool {
    let is_before = |part: &Part| part.version < version || part.version == version && part.kind != Kind::Checkpoint;
    list(root).is_ok_and(|parts| parts.iter().all(is_before))
        && other_checkpoints(root).iter().all(|checkpoint| *checkpoint < version)
}

/// The versions that other programs have written a whole checkpoint of in forms of their own: in parts, or of version 2
/// of the protocol's checkpoints, with a random part in its name.
pub(super) fn other_checkpoints(root: &Path) -> BTreeSet<u64> {
    // By version and number of parts: how many are there.
    let mut found: BTreeMap<(u64, usize), usize> = BTreeMap::new();
    for entry in fs::read_dir(root.join(FOLDER)).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some((version, ending)) = name.to_str().and_then(version) else { continue };
        let parts = match ending.split('.').collect::<Vec<_>>()[..] {
            ["checkpoint", _, parts, "parquet"] => parts.parse().unwrap_or(0),
            ["checkpoint", _, "parquet" | "json"] => 1,
            _ => 0,
        };
        if parts > 0 && entry.metadata().is_ok_and(|about| about.len() > 0) {
            *found.entry((version, parts)).or_default() += 1;
        }
    }
    found.into_iter().filter(|((_, parts), found)| found >= parts).map(|((version, _), _)| version).collect()
}

/// Where readers begin to read the log.
#[derive(Debug, PartialEq)]
pub(super) enum Pointer {
    /// There is none: they look at all names.
    Absent,
    /// To a checkpoint, and how many actions are in it, as far as it tells.
    To(u64, u64),
    /// Nobody can understand it.
    Odd,
}

pub(super) fn pointer(root: &Path) -> Pointer {
    let Ok(text) = fs::read(root.join(FOLDER).join("_last_checkpoint")) else { return Pointer::Absent };
    let pointer: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    pointer["version"]
        .as_u64()
        .map_or(Pointer::Odd, |version| Pointer::To(version, pointer["size"].as_u64().unwrap_or(0)))
}

/// Whether the entry of a version may stand where a cleanup took others away: readers begin behind it, and it counts for
/// nothing. An entry that counts may look the same when its table was idle for long; the newest state tells.
pub(super) fn may_be_passed_over(root: &Path, version: u64) -> bool {
    let before = version.checked_sub(1).map(|before| root.join(Part::entry(before).path()));
    before.is_some_and(|before| !before.exists()) || matches!(pointer(root), Pointer::To(at, _) if at > version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_was_emptied_is_no_table() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join(FOLDER);
        assert!(!is_begun(folder.path()));
        fs::write(&log, "").unwrap();
        assert!(!is_begun(folder.path()), "a file in its place");
        fs::remove_file(&log).unwrap();
        fs::create_dir(&log).unwrap();
        let put = |name: &str| fs::write(log.join(name), "").unwrap();
        ["_last_checkpoint", "_commit_1.json.tmp", "1.json", "0000000000000000001x.json"].into_iter().for_each(put);
        assert!(!is_begun(folder.path()));
        for name in ["00000000000000000007.checkpoint.0000000001.0000000002.parquet", "00000000000000000007.json"] {
            put(name);
            assert!(is_begun(folder.path()), "{name}");
            fs::remove_file(log.join(name)).unwrap();
        }
    }

    #[test]
    fn a_checkpoint_of_others_counts_when_all_of_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(FOLDER)).unwrap();
        let put = |name: &str, text: &str| fs::write(folder.path().join(FOLDER).join(name), text).unwrap();
        put("00000000000000000003.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json", "{}");
        put("00000000000000000004.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.parquet", "");
        put("00000000000000000005.checkpoint.0000000001.0000000002.parquet", "x");
        put("00000000000000000006.checkpoint.0000000001.0000000000.parquet", "x");
        put("00000000000000000007.checkpoint.parquet", "x");
        assert_eq!(Vec::from_iter(other_checkpoints(folder.path())), [3]);
        put("00000000000000000005.checkpoint.0000000002.0000000002.parquet", "x");
        assert_eq!(Vec::from_iter(other_checkpoints(folder.path())), [3, 5]);
    }

    #[test]
    fn files_of_a_log_are_told_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(FOLDER)).unwrap();
        let parts = [
            Part::entry(9),
            Part { version: 9, kind: Kind::Checksum },
            Part::entry(10),
            Part::checkpoint(10),
            Part::entry(11),
        ];
        parts.iter().rev().for_each(|part| fs::write(folder.path().join(part.path()), "").unwrap());
        for other in ["00000000000000000003.00000000000000000005.compacted.json", "00000000000000000009.json.bak"] {
            fs::write(folder.path().join(FOLDER).join(other), "").unwrap();
        }
        assert_eq!(list(folder.path()).unwrap(), parts);
        let point = |text: &str| fs::write(folder.path().join(FOLDER).join("_last_checkpoint"), text).unwrap();
        assert_eq!(pointer(folder.path()), Pointer::Absent);
        point(r#"{"version":10,"size":3}"#);
        assert_eq!(pointer(folder.path()), Pointer::To(10, 3));
        for text in ["", "x", "{}"] {
            point(text);
            assert_eq!(pointer(folder.path()), Pointer::Odd, "{text}");
        }
    }
}
