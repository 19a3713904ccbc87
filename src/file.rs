//! Files that people write, and those that we write for them: small, and really files.

use std::{
    fmt,
    fs::{self, File, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, fchown},
    path::{Path, PathBuf},
};

use crate::error::{Error, Result};

/// More than any code table, contract or model has.
const LARGEST: u64 = 256 << 20;

/// A file that is locked for as long as this lives.
///
/// Why not by the file alone: a process that is begun from here holds all open files until it is another program, and a lock
/// with them.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// For us alone.
    pub fn take(file: File) -> Result<Lock, TryLockError> {
        file.try_lock().map(|()| Lock(file))
    }

    /// Together with others who do the same.
    pub fn share(file: File) -> Result<Lock, TryLockError> {
        file.try_lock_shared().map(|()| Lock(file))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

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

/// Makes the file hold these bytes. When that fails it holds what it held before; it never holds a part of them. Only
/// where its folder takes no other file, or it is a mount of its own, it is written in place.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |error| failed(format_args!("write {}", path.display()), error);
    let target = target(path).map_err(failed)?;
    let (draft, mut file) = match draft(&target) {
        Ok(draft) => draft,
        Err(error) if in_place(&error) && target.exists() => return fs::write(&target, bytes).map_err(failed),
        Err(error) => return Err(failed(error)),
    };
    let written = fill(&mut file, &target, bytes).and_then(|()| fs::rename(&draft, &target));
    let Err(error) = written else {
        // The name is on the disk when its folder is; not every folder can be asked for that.
        let _ = File::open(folder_of(&target)).and_then(|folder| folder.sync_all());
        return Ok(());
    };
    let _ = fs::remove_file(&draft);
    if in_place(&error) { fs::write(&target, bytes).map_err(failed) } else { Err(failed(error)) }
}

/// Makes the folder of a file, and says now if the file could not be written later, when the work for it is done.
pub fn ready(path: &Path) -> Result<()> {
    path.parent().map_or(Ok(()), folder)?;
    let tried = target(path).and_then(|target| match draft(&target) {
        Ok((draft, _)) => fs::remove_file(&draft),
        Err(error) if in_place(&error) && target.exists() => File::options().append(true).open(&target).map(drop),
        Err(error) => Err(error),
    });
    tried.map_err(|error| failed(format_args!("write {}", path.display()), error))
}

/// Whether a file may be written in place because no other can take its place.
fn in_place(error: &io::Error) -> bool {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, ReadOnlyFilesystem, ResourceBusy};
    matches!(error.kind(), CrossesDevices | PermissionDenied | ReadOnlyFilesystem | ResourceBusy)
}

/// Makes a folder and those above it, if they are not there.
pub fn folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|error| failed(format_args!("create {}", path.display()), error))
}

/// The line of a row of CSV. The reader gives the place before any empty lines that it skips.
pub fn csv_line(text: &str, at: Option<&csv::Position>) -> usize {
    let Some(at) = at else { return 1 };
    let rest = text.get(at.byte() as usize..).unwrap_or_default();
    let skipped = rest.bytes().take_while(|byte| matches!(byte, b'\r' | b'\n')).filter(|byte| *byte == b'\n').count();
    at.line() as usize + skipped
}

/// What to do about a quote in CSV that is opened and never closed.
pub const OPEN_QUOTE: &str = "a quote is opened here and never closed: close it, and write each quote inside it twice";

/// The line of a quote in CSV that is never closed: for the reader it goes to the end of the file.
pub fn open_quote(text: &str) -> Option<usize> {
    let (mut line, mut begins, mut open) = (1, true, None);
    for byte in text.bytes() {
        begins = match byte {
            b'"' if open.is_some() => {
                open = None;
                true // the second of two opens it again
            }
            b'"' if begins => {
                open = Some(line);
                false
            }
            b',' | b'\r' | b'\n' => open.is_none(),
            _ => false,
        };
        line += usize::from(byte == b'\n');
    }
    open
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

/// The file that is meant. A link stays one: what it points to is replaced, or made.
fn target(path: &Path) -> io::Result<PathBuf> {
    let no_file = || io::Error::new(io::ErrorKind::InvalidInput, "it is no file");
    match fs::canonicalize(path) {
        Ok(target) if target.is_file() => Ok(target),
        Ok(_) => Err(no_file()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let named = fs::read_link(path).map_or_else(|_| path.to_owned(), |to| folder_of(path).join(to));
            if named.file_name().is_some() { Ok(named) } else { Err(no_file()) }
        }
        Err(error) => Err(error),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A new file beside another that is to take its place.
fn draft(target: &Path) -> io::Result<(PathBuf, File)> {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    // Short enough whatever the name is.
    let name: String = name.chars().take(50).collect();
    for number in 0.. {
        let draft = target.with_file_name(format!(".{name}.{number}.unfinished"));
        // Never one that is there: another may be writing it, or have put a link in its place.
        match File::options().write(true).create_new(true).open(&draft) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 100 => {}
            made => return made.map(|file| (draft, file)),
        }
    }
    unreachable!("it ends with the hundredth")
}

fn fill(file: &mut File, target: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Ok(before) = fs::metadata(target) {
        // Only who may gives files away.
        let _ = fchown(&*file, Some(before.uid()), Some(before.gid()));
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
    fn a_lock_is_given_back_though_another_process_has_the_file_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let open = || File::options().create(true).truncate(false).write(true).open(&path).unwrap();
        let file = open();
        // As a process that is begun meanwhile has it until it is another program.
        let inherited = file.try_clone().unwrap();
        let lock = Lock::take(file).unwrap();
        assert!(Lock::take(open()).is_err());
        drop(lock);
        assert!(Lock::take(open()).is_ok());
        drop(inherited);
    }

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
        // Also one that points to nothing yet.
        let dangling = folder.path().join("dangling");
        symlink("b", &dangling).unwrap();
        ready(&dangling).unwrap();
        write(&dangling, b"three").unwrap();
        assert!(dangling.is_symlink());
        assert_eq!(fs::read(folder.path().join("b")).unwrap(), b"three");
    }

    /// Whoever may write into the folder too could have put a link there.
    #[test]
    fn a_file_that_stands_where_a_new_one_is_written_is_let_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a"), folder.path().join("other"));
        fs::write(&other, "mine").unwrap();
        symlink("other", folder.path().join(".a.0.unfinished")).unwrap();
        ready(&path).unwrap();
        write(&path, b"one").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::read(&other).unwrap(), b"mine");
    }

    #[test]
    fn a_quote_that_is_never_closed_has_a_line() {
        for (text, line) in [
            ("a,b\n1,\"x", Some(2)),
            ("a,b\n\"1\",\"x\n2,3\n", Some(2)),
            ("a,\"b\n\"\"c\",1\n\n2,\"\"\"", Some(4)),
            ("a,\"b\nc\"\n", None),
            ("a,\"b \"\"c\"\"\"\nd,\"\"\n", None),
            ("a,5\" wide, 6\"\"\n", None),
        ] {
            assert_eq!(open_quote(text), line, "{text}");
        }
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
