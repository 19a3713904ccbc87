//! What the kernel is asked for, in its order: for tests of what is visible after a power failure. A file may be there then
//! without its bytes, and a folder without its entries, unless they were synced before.
//!
//! The standard library calls these functions of the C library by their names, and finds ours first.

use std::{
    ffi::{CStr, OsStr, c_char, c_int},
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// What the kernel was asked for, and has done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    Synced(PathBuf),
    Named(PathBuf, PathBuf),
    Made(PathBuf),
}

/// Folders that are watched, and what was asked for below them.
static WATCHED: Mutex<Vec<(PathBuf, Vec<Asked>)>> = Mutex::new(Vec::new());
static WATCHES: AtomicUsize = AtomicUsize::new(0);

fn note(path: &Path, asked: Asked) {
    let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, all)) = watched.iter_mut().find(|(root, _)| path.starts_with(root)) {
        all.push(asked);
    }
}

/// What was asked for below a folder while `work` was done.
pub fn watch(root: &Path, work: impl FnOnce()) -> Vec<Asked> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner).push((root.to_path_buf(), Vec::new()));
    WATCHES.fetch_add(1, Ordering::SeqCst);
    work();
    WATCHES.fetch_sub(1, Ordering::SeqCst);
    let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    let at = watched.iter().position(|(watched, _)| watched == root).unwrap();
    watched.remove(at).1
}

fn watched() -> bool {
    WATCHES.load(Ordering::SeqCst) > 0
}

/// A path as the C library is given it.
///
/// # Safety
/// It is a text of C.
unsafe fn path(text: *const c_char) -> PathBuf {
    // SAFETY: as promised.
    OsStr::from_bytes(unsafe { CStr::from_ptr(text) }.to_bytes()).into()
}

fn named(done: c_int, from: PathBuf, to: PathBuf) -> c_int {
    if done == 0 {
        note(&to.clone(), Asked::Named(from, to));
    }
    done
}

/// # Safety
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn fsync(file: c_int) -> c_int {
    // SAFETY: the call that it stands for.
    let done = unsafe { libc::syscall(libc::SYS_fsync, file) } as c_int;
    if done == 0
        && watched()
        && let Ok(path) = fs::read_link(format!("/proc/self/fd/{file}"))
    {
        note(&path.clone(), Asked::Synced(path));
    }
    done
}

/// # Safety
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: the call that it stands for.
    unsafe {
        let done = libc::syscall(libc::SYS_renameat2, libc::AT_FDCWD, from, libc::AT_FDCWD, to, 0) as c_int;
        if watched() { named(done, path(from), path(to)) } else { done }
    }
}

/// # Safety
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn linkat(old: c_int, from: *const c_char, new: c_int, to: *const c_char, flags: c_int) -> c_int {
    // SAFETY: the call that it stands for.
    unsafe {
        let done = libc::syscall(libc::SYS_linkat, old, from, new, to, flags) as c_int;
        if watched() { named(done, path(from), path(to)) } else { done }
    }
}

/// # Safety
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn mkdir(folder: *const c_char, mode: libc::mode_t) -> c_int {
    // SAFETY: the call that it stands for.
    unsafe {
        let done = libc::syscall(libc::SYS_mkdirat, libc::AT_FDCWD, folder, libc::c_ulong::from(mode)) as c_int;
        if done == 0 && watched() {
            let folder = path(folder);
            note(&folder.clone(), Asked::Made(folder));
        }
        done
    }
}
