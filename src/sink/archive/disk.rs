//! The few things we ask of a file system, with errors that name the file.
//!
//! Each asks [`may`] first: in tests it makes the disk full, read-only or broken at any of them.

use std::{
    fs::{self, File, Metadata},
    io::{self, Write},
    path::{Component, Path, PathBuf},
};

use crate::error::{Error, Result};

/// Says which file it was. A disk that is full or not writable is something to wait for, not a mistake of ours.
pub(super) fn failed(doing: &str, path: &Path, error: impl std::fmt::Display) -> Error {
    Error::unavailable(format!("archive: cannot {doing} {}: {error}", path.display()))
}

/// The disk does as it can.
#[cfg(not(test))]
#[inline(always)]
pub(super) fn may(_: &Path) -> io::Result<()> {
    Ok(())
}
#[cfg(test)]
pub(super) use super::tests::trouble::may;

/// A file that is written once, from its beginning.
pub(super) struct Out {
    file: File,
    path: PathBuf,
}

impl Out {
    pub fn create(path: &Path) -> io::Result<Out> {
        may(path)?;
        Ok(Out { file: File::create_new(path)?, path: path.to_path_buf() })
    }

    /// Puts it on the disk, and tells about it.
    pub fn sync(&self) -> io::Result<Metadata> {
        may(&self.path)?;
        self.file.sync_all()?;
        self.file.metadata()
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        may(&self.path)?;
        self.file.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Moves a file; its name is on the disk after a [`sync`] of the folder.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    may(to)?;
    fs::rename(from, to)
}

/// Puts a file's bytes, or a folder's entries, on the disk.
pub(super) fn sync(path: &Path) -> Result<()> {
    may(path).and_then(|()| File::open(path)).and_then(|file| file.sync_all()).map_err(|e| failed("sync", path, e))
}

/// Whether a path that somebody else may have written stays in the table that it is relative to.
pub(super) fn is_inside(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_)))
}

/// Creates `root/relative` and syncs each folder that got a new entry.
pub(super) fn create_folder(root: &Path, relative: &Path) -> Result<()> {
    let mut folder = root.to_path_buf();
    for part in relative.components() {
        let parent = folder.clone();
        folder.push(part);
        match may(&folder).and_then(|()| fs::create_dir(&folder)) {
            Ok(()) => sync(&parent)?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
            Err(e) => return Err(failed("create", &folder, e)),
        }
    }
    Ok(())
}

/// Creates a folder and those above it that are missing, and syncs each that got a new entry.
pub(super) fn create_all(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_all(parent)?;
    match may(folder).and_then(|()| fs::create_dir(folder)) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        made => made.and_then(|()| may(parent)).and_then(|()| File::open(parent)?.sync_all()),
    }
}

/// Removes a file; one that is not there, or cannot be, is fine.
pub(super) fn remove(path: &Path) -> Result<()> {
    use io::ErrorKind::{InvalidFilename, NotADirectory, NotFound};
    match may(path).and_then(|()| fs::remove_file(path)) {
        // A name that is too long, or a file where a folder would have to be.
        Err(e) if matches!(e.kind(), NotFound | InvalidFilename | NotADirectory) => Ok(()),
        other => other.map_err(|e| failed("remove", path, e)),
    }
}

/// Writes a small file so that it is there as a whole or not at all.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let partial = path.with_extension("tmp");
    may(&partial).and_then(|()| fs::write(&partial, bytes)).map_err(|e| failed("write", &partial, e))?;
    sync(&partial)?;
    rename(&partial, path).map_err(|e| failed("write", path, e))?;
    path.parent().map_or(Ok(()), sync)
}
