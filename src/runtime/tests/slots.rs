use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
};

use crate::{
    error::{Error, ErrorKind},
    runtime::{
        build::writable,
        slot::{Slot, folder},
    },
};

fn user() -> u32 {
    // SAFETY: always succeeds.
    unsafe { libc::geteuid() }
}

#[test]
fn a_slot_is_taken_by_one_and_its_folder_passed_over_by_who_cleans_up() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("huiju-0");
    let take = || Slot::take_in(&folder, user(), "host").unwrap();
    let (first, second) = (take(), take());
    assert_eq!([first.name(), second.name()], ["host.0", "host.1"]);
    let cleaner = File::open(&folder).unwrap();
    assert!(cleaner.try_lock().is_err());
    drop(first);
    assert!(cleaner.try_lock().is_err(), "the other is there still");
    assert_eq!(take().name(), "host.0");
    drop(second);
    cleaner.try_lock().unwrap();
    assert_eq!(take().name(), "host.0", "a cleaner keeps nobody from starting");
}

/// Two processes that look into two folders take the same number, and each fences the other.
#[test]
fn slots_lie_in_one_folder_wherever_a_process_is_started() {
    for (temporary, slots) in [("/run/a", "/run/a/huiju-7"), ("", "/tmp/huiju-7"), ("tmp", "/tmp/huiju-7")] {
        assert_eq!(folder(Path::new(temporary), 7), Path::new(slots), "{temporary:?}");
    }
}

/// Its name can be told beforehand, and others may write into the folder.
#[test]
fn who_tries_whether_it_can_write_follows_no_link() {
    let folder = tempfile::tempdir().unwrap();
    let there = tempfile::tempdir().unwrap();
    let (victim, absent) = (there.path().join("victim"), there.path().join("absent"));
    fs::write(&victim, "mine").unwrap();
    let probe = folder.path().join(format!(".huiju-probe-{}", std::process::id()));
    for to in [&victim, &absent] {
        symlink(to, &probe).unwrap();
        writable(folder.path()).unwrap();
        assert!(!probe.is_symlink() && !absent.exists());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
    }
    fs::create_dir(&probe).unwrap();
    assert_eq!(writable(folder.path()).unwrap_err().kind, ErrorKind::Unavailable);
    assert!(probe.is_dir(), "what is not ours is let alone");
}

#[track_caller]
fn refused(folder: &Path, user: u32, words: &[&str]) {
    let error: Error = Slot::take_in(folder, user, "host").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "no {word} in {error}");
    }
}

#[test]
fn the_folder_of_slots_is_ours_alone() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("tmp/huiju-0");
    let mode = || fs::metadata(&folder).unwrap().mode() & 0o777;
    Slot::take_in(&folder, user(), "host").unwrap();
    assert_eq!(mode(), 0o700);
    // As somebody may have made it, for a group that is the user's own.
    fs::set_permissions(&folder, Permissions::from_mode(0o775)).unwrap();
    Slot::take_in(&folder, user(), "host").unwrap();
    assert_eq!(mode(), 0o700);
    // Whoever else was there first.
    let other = user() + 1;
    refused(&folder, other, &["tmp/huiju-0 is of user", &format!("(user {other})"), "remove it", "TMPDIR"]);
    let link = temporary.path().join("huiju-1");
    symlink(&folder, &link).unwrap();
    refused(&link, user(), &["huiju-1 is no folder", "remove it"]);
    let file = temporary.path().join("huiju-2");
    fs::write(&file, "").unwrap();
    refused(&file, user(), &["huiju-2 is no folder", "remove it"]);
}

#[test]
fn what_lies_in_the_place_of_a_slot_is_neither_followed_nor_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let slot = folder.path().join("host.0");
    let victim = folder.path().join("victim");
    symlink(&victim, &slot).unwrap();
    refused(folder.path(), user(), &["host.0 is in the way", "remove it"]);
    assert!(!victim.exists());
    fs::write(&victim, "").unwrap();
    refused(folder.path(), user(), &["host.0 is in the way", "remove it"]);
    fs::remove_file(&slot).unwrap();
    let pipe = std::ffi::CString::new(slot.to_str().unwrap()).unwrap();
    // SAFETY: a path that ends with a zero.
    assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
    refused(folder.path(), user(), &["host.0 is in the way", "remove it"]);
    fs::remove_file(&slot).unwrap();
    fs::create_dir(&slot).unwrap();
    refused(folder.path(), user(), &["host.0 is in the way", "remove it"]);
}
