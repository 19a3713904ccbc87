//! Files that people write, and those that we write for them: small, and really files.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, fchown},
    path::{Path, PathBuf},
};

use crate::error::{Error, Result};

/// More than any code table, contract or model has.
const LARGEST: u64 = 256 << 20;

/// All bytes of a file. What is none (a device, a pipe) or is larger than 256 MiB is refused: reading it might never end.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe waits for somebody to write.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::other(format!("it is larger than {} MiB", LARGEST >> 20)));
    }
    Ok(bytes)
}

/// Makes the file hold these bytes. When that fails it holds what it held before; it never holds a part of them.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |error| failed(format_args!("write {}", path.display()), error);
    let (target, draft) = places(path).map_err(failed)?;
    let written = fill(&draft, &target, bytes).and_then(|()| fs::rename(&draft, &target));
    if let Err(error) = written {
        let _ = fs::remove_file(&draft);
        return Err(failed(error));
    }
    // The name is on the disk when its folder is.
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// Makes the folder of a file, and says now if the file could not be written later, when the work for it is done.
pub fn ready(path: &Path) -> Result<()> {
    path.parent().map_or(Ok(()), folder)?;
    let tried = places(path).and_then(|(_, draft)| File::create(&draft).and_then(|_| fs::remove_file(&draft)));
    tried.map_err(|error| failed(format_args!("write {}", path.display()), error))
}

/// Makes a folder and those above it, if they are not there.
pub fn folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|error| failed(format_args!("create {}", path.display()), error))
}

/// Whether both name one file that is there.
pub fn same(one: &Path, other: &Path) -> bool {
    let id = |path| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    id(one).is_some_and(|one| id(other) == Some(one))
}

/// What went wrong with a path. One that cannot be used is a slip of whoever named it; a disk that is full or does not
/// answer may pass.
pub fn failed(doing: impl fmt::Display, error: io::Error) -> Error {
    use io::ErrorKind as Kind;
    let what = format!("{doing}: {error}");
    match error.kind() {
        Kind::NotFound
        | Kind::AlreadyExists
        | Kind::PermissionDenied
        | Kind::NotADirectory
        | Kind::IsADirectory
        | Kind::InvalidFilename
        | Kind::InvalidInput
        | Kind::ReadOnlyFilesystem => Error::config(what),
        _ => Error::unavailable(what),
    }
}

/// The file that is meant, and one beside it that becomes it.
fn places(path: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let no_file = || io::Error::new(io::ErrorKind::InvalidInput, "it is no file");
    // A link stays one: what it points to is replaced.
    let target = match fs::canonicalize(path) {
        Ok(target) if target.is_file() => target,
        Ok(_) => return Err(no_file()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    let name = target.file_name().ok_or_else(no_file)?.to_string_lossy();
    // Short enough whatever the name is.
    let name: String = name.chars().take(50).collect();
    let draft = target.with_file_name(format!(".{name}.{}.unfinished", std::process::id()));
    Ok((target, draft))
}

fn fill(draft: &Path, target: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(draft)?;
    if let Ok(before) = fs::metadata(target) {
        // Only who may gives files away.
        let _ = fchown(&file, Some(before.uid()), Some(before.gid()));
        file.set_permissions(before.permissions())?;
    }
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn what_is_no_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("codes.csv");
        assert_eq!(read(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::write(&path, "code,label\n").unwrap();
        assert_eq!(read(&path).unwrap(), b"code,label\n");
        for other in [Path::new("/dev/zero"), folder.path()] {
            assert_eq!(read(other).unwrap_err().to_string(), "it is no file");
        }
        let pipe = std::ffi::CString::new(folder.path().join("pipe").to_str().unwrap()).unwrap();
        // SAFETY: a path that ends with a zero.
        assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
        assert_eq!(read(&folder.path().join("pipe")).unwrap_err().to_string(), "it is no file");
    }

    #[test]
    fn a_file_that_is_written_anew_keeps_its_place_and_its_permissions() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("a"), folder.path().join("link"));
        write(&path, b"one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("a", &link).unwrap();
        assert!(same(&path, &link) && !same(&path, folder.path()));
        write(&link, b"two").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left");
    }

    #[test]
    fn a_path_that_cannot_be_used_is_a_slip_and_a_disk_that_cannot_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        write(&file, b"one").unwrap();
        let long = folder.path().join("x".repeat(300));
        for wrong in [folder.path(), &file.join("b"), &folder.path().join("none/b"), Path::new("/dev/null"), &long] {
            assert_eq!(write(wrong, b"two").unwrap_err().kind, ErrorKind::Config, "{}", wrong.display());
        }
        for wrong in [folder.path(), &file.join("b"), Path::new("/dev/null")] {
            assert_eq!(ready(wrong).unwrap_err().kind, ErrorKind::Config, "{}", wrong.display());
        }
        ready(&folder.path().join("new/b")).unwrap();
        assert_eq!(fs::read_dir(folder.path().join("new")).unwrap().count(), 0);
        let full = failed("write it", io::Error::from_raw_os_error(libc::ENOSPC));
        assert_eq!(full.kind, ErrorKind::Unavailable);
    }
}
