//! Files before their commit: a folder per writer, held by a lock; and the intent that tells what a crash left behind.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::disk;
use crate::{
    error::{Error, Result},
    file::{self, Lock},
};

const FOLDER: &str = "_staging";
const LOCK: &str = "lock";
const INTENT: &str = "intent";

/// A writer's folder. Whoever holds the lock owns what is in it.
pub(super) struct Staging {
    root: PathBuf,
    folder: PathBuf,
    _lock: Lock,
}

/// What a commit is about to do, written before its first rename.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct Intent {
    pub commit: Uuid,
    /// The commit's log entry, if there is one, has a version above this.
    pub base: u64,
    /// Where the files go, relative to the table.
    pub files: Vec<String>,
}

impl Staging {
    pub fn open(root: &Path, writer: Uuid) -> Result<Staging> {
        // Another process that cleans up may take the folder between its creation and our lock: then another one.
        for attempt in 0..10 {
            let relative = PathBuf::from(FOLDER).join(format!("{writer}-{attempt}"));
            disk::create_folder(root, &relative)?;
            let folder = root.join(relative);
            let path = folder.join(LOCK);
            let lock = match disk::may(&path).and_then(|()| File::create(&path)) {
                Ok(lock) => lock,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(disk::failed("create", &path, e)),
            };
            match Lock::take(lock) {
                Ok(lock) if path.exists() => return Ok(Staging { root: root.to_path_buf(), folder, _lock: lock }),
                Ok(_) | Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(e)) => return Err(disk::failed("lock", &path, e)),
            }
        }
        Err(Error::unavailable(format!("archive: cannot get a folder of our own in {}", root.join(FOLDER).display())))
    }

    /// Path for a file in progress.
    pub fn partial(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.partial"))
    }

    pub fn intend(&self, intent: &Intent) -> Result<()> {
        let text = serde_json::to_vec(intent).expect("an intent is plain data");
        disk::write_whole(&self.folder.join(INTENT), &text)
    }

    /// Whether a commit's outcome is still to be found out.
    pub fn is_unsettled(&self) -> bool {
        self.folder.join(INTENT).exists()
    }

    /// The commit landed, or its files are gone again.
    pub fn settle(&self) -> Result<()> {
        disk::remove(&self.folder.join(INTENT))
    }

    /// Takes back the files of a commit that was provably refused.
    pub fn take_back(&self, files: &[String]) -> Result<()> {
        take_back(&self.root, files)?;
        self.settle()
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // With an intent, only the next `open` knows what to do.
        if !self.is_unsettled() {
            let _ = remove_folder(&self.folder);
        }
    }
}

/// Settles what dead writers left. `landed` tells whether an intent's commit is in the log.
pub(super) fn recover(root: &Path, mut landed: impl FnMut(&Intent) -> Result<bool>) -> Result<()> {
    let folder = root.join(FOLDER);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(disk::failed("read", &folder, e)),
    };
    for entry in entries {
        let entry = entry.map_err(|e| disk::failed("read", &folder, e))?;
        let writer = entry.path();
        // A link may lead anywhere: it is none of ours, and what lies behind it is not to be removed.
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = writer.join(LOCK);
        let lock = match open_lock(&path) {
            Ok(lock) if lock.metadata().is_ok_and(|about| about.is_file()) => lock,
            Ok(_) => continue,
            Err(_) => {
                // Created a moment ago, or left at that very moment: goes only when it is empty.
                let _ = fs::remove_dir(&writer);
                continue;
            }
        };
        let _lock = match Lock::take(lock) {
            Ok(lock) => lock,
            Err(TryLockError::WouldBlock) => continue, // its writer lives
            Err(TryLockError::Error(e)) => return Err(disk::failed("lock", &path, e)),
        };
        if !path.exists() {
            continue; // whoever had the lock has cleared up
        }
        if let Some(intent) = read_intent(&writer)?
            && !landed(&intent)?
        {
            tracing::warn!(table = %root.display(), files = intent.files.len(), "removing files of a commit that never came about");
            take_back(root, &intent.files)?;
        }
        remove_folder(&writer).map_err(|e| disk::failed("remove", &writer, e))?;
    }
    Ok(())
}

/// For writing, without which some network file systems lock nothing for one alone; a lock of another user only for reading.
fn open_lock(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK; // a pipe would be waited for
    let open = |write| File::options().read(true).write(write).custom_flags(flags).open(path);
    open(true).or_else(|error| if error.kind() == io::ErrorKind::PermissionDenied { open(false) } else { Err(error) })
}

/// Tells the files that commits are about to put into place, of whatever writer.
pub(super) fn intended(root: &Path, mut each: impl FnMut(&str)) -> Result<()> {
    let folder = root.join(FOLDER);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(disk::failed("read", &folder, e)),
    };
    for entry in entries {
        let writer = entry.map_err(|e| disk::failed("read", &folder, e))?.path();
        if let Some(intent) = read_intent(&writer)? {
            intent.files.iter().for_each(|file| each(file));
        }
    }
    Ok(())
}

fn read_intent(writer: &Path) -> Result<Option<Intent>> {
    let path = writer.join(INTENT);
    match file::read(&path) {
        Ok(text) => match serde_json::from_slice::<Intent>(&text) {
            Ok(intent) => match intent.files.iter().find(|file| !disk::is_inside(Path::new(file))) {
                None => Ok(Some(intent)),
                Some(odd) => Err(Error::config(format!(
                    "{} names {odd:?}, which is not in the table: no huiju has written that; remove it when you know who has",
                    path.display()
                ))),
            },
            Err(e) => Err(disk::failed("understand", &path, e)),
        },
        // A file beside the writers' folders, such as `.DS_Store`, is nobody's.
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(disk::failed("read", &path, e)),
    }
}

fn take_back(root: &Path, files: &[String]) -> Result<()> {
    for file in files {
        disk::remove(&root.join(file))?;
        // An empty partition folder would be harmless, but a surprise; it stays when it is not empty.
        if let Some(folder) = Path::new(file).parent()
            && !folder.as_os_str().is_empty()
        {
            let _ = fs::remove_dir(root.join(folder));
        }
    }
    Ok(())
}

/// The lock goes last: until then the folder is not up for grabs.
fn remove_folder(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name() != LOCK {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_file(folder.join(LOCK))?;
    fs::remove_dir(folder)
}
