//! What tells the processes of one machine apart.

use std::{
    fs::{DirBuilder, File, Permissions},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::{
    error::{Context, Error, Result},
    file::{self, Lock},
};

/// A number that no other living process of this machine holds, so that each has transactional ids and a name in the
/// consumer group of its own, and a process that is started again gets those of the one that died: its open transactions
/// are aborted at once, and its partitions are taken up again at once.
///
/// Slots are files, `<instance>.<number>`, in a folder of the temporary directory that is named by the user's id; whoever
/// holds the lock of one has it. They work only while all processes of a user look into the same folder, so it is not in
/// `$XDG_RUNTIME_DIR`: a service has none where a shell of the same user has one, both would take the number 0, and
/// each would fence the other; and it is deleted when the last shell ends, under processes that go on.
///
/// Anybody may make such a folder first, so one that is not the user's own is refused, and nobody else may write into it.
#[derive(Debug)]
pub struct Slot {
    instance: String,
    number: usize,
    /// Locked for as long as we live: the slot by us alone, and its folder by all, because what cleans up temporary files
    /// (systemd-tmpfiles) passes over a locked folder.
    _locks: (Lock, Option<Lock>),
}

impl Slot {
    /// Takes the first free one.
    pub fn take(instance: &str) -> Result<Slot> {
        // SAFETY: always succeeds.
        let user = unsafe { libc::geteuid() };
        Slot::take_in(&folder(&std::env::temp_dir(), user), user, instance)
    }

    pub(super) fn take_in(folder: &Path, user: u32, instance: &str) -> Result<Slot> {
        let whole = own(folder, user)?;
        let whole = Lock::share(whole).ok(); // who cleans up at this moment finds nothing that is old enough
        for number in 0..1000 {
            let file = open(&folder.join(format!("{instance}.{number}")))?;
            if let Ok(lock) = Lock::take(file) {
                return Ok(Slot { instance: instance.to_owned(), number, _locks: (lock, whole) });
            }
        }
        Err(Error::unavailable(format!("all slots in {} are taken", folder.display())))
    }

    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.instance, self.number)
    }

    pub(super) fn transactional_id(&self, group: &str, pipeline: &str) -> String {
        format!("{group}.{pipeline}.{}", self.name())
    }
}

/// The folder of a user's slots in the temporary directory. One that `TMPDIR` leaves empty or names relatively would be
/// another for each folder in which a process is started, and is taken for none.
pub(super) fn folder(temporary: &Path, user: u32) -> PathBuf {
    let temporary = if temporary.is_absolute() { temporary } else { Path::new("/tmp") };
    temporary.join(format!("huiju-{user}"))
}

/// The folder, made where it is not there; a user's own, and only his to write into.
fn own(folder: &Path, user: u32) -> Result<File> {
    let made = folder.parent().map_or(Ok(()), std::fs::create_dir_all);
    match made.and_then(|()| DirBuilder::new().mode(0o700).create(folder)) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => {
            return Err(file::failed(format_args!("create {}", folder.display()), e));
        }
        _ => {}
    }
    // In the temporary directory nobody can put another in the place of what is ours.
    let found = folder.symlink_metadata().or_unavailable(format!("look at {}", folder.display()))?;
    if !found.is_dir() || found.uid() != user {
        let what = if found.is_dir() { format!("is of user {}", found.uid()) } else { "is no folder".to_owned() };
        return Err(Error::config(format!(
            "{} {what}, and ours (user {user}) has to be there: remove it, or set TMPDIR for all processes to a folder that only \
             they write into",
            folder.display()
        )));
    }
    let whole = File::open(folder).or_unavailable(format!("open {}", folder.display()))?;
    // It may have been made with another umask.
    if found.mode() & 0o022 != 0 {
        whole
            .set_permissions(Permissions::from_mode(0o700))
            .or_unavailable(format!("close {} to others", folder.display()))?;
    }
    Ok(whole)
}

/// The file of a slot: neither a link to another, nor a pipe, which would be waited for.
fn open(path: &Path) -> Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = File::options().create(true).truncate(false).write(true).custom_flags(flags).open(path);
    if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
        return Err(Error::config(format!("{} is in the way of a file of ours: remove it", path.display())));
    }
    file.or_unavailable(format!("open {}", path.display()))
}
