//! The few things we ask of a file system, with errors that name the file.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use crate::error::{Error, Result};

/// Says which file it was. A disk that is full or not writable is something to wait for, not a mistake of ours.
pub(super) fn failed(doing: &str, path: &Path, error: impl std::fmt::Display) -> Error {
    Error::unavailable(format!("archive: cannot {doing} {}: {error}", path.display()))
}

/// Puts a file's bytes, or a folder's entries, on the disk.
pub(super) fn sync(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|e| failed("sync", path, e))
}

/// Creates `root/relative` and syncs each folder that got a new entry.
pub(super) fn create_folder(root: &Path, relative: &Path) -> Result<()> {
    let mut folder = root.to_path_buf();
    for part in relative.components() {
        let parent = folder.clone();
        folder.push(part);
        match fs::create_dir(&folder) {
            Ok(()) => sync(&parent)?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
            Err(e) => return Err(failed("create", &folder, e)),
        }
    }
    Ok(())
}

/// Removes a file; one that is not there is fine.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("remove", path, e)),
        _ => Ok(()),
    }
}

/// Writes a small file so that it is there as a whole or not at all.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let partial = path.with_extension("tmp");
    fs::write(&partial, bytes).map_err(|e| failed("write", &partial, e))?;
    sync(&partial)?;
    fs::rename(&partial, path).map_err(|e| failed("write", path, e))?;
    path.parent().map_or(Ok(()), sync)
}
