//! T33: a disk that is full, read-only or broken, at each thing that is asked of it.

use std::{
    io,
    sync::{Mutex, PoisonError},
};

use super::*;
use crate::error::ErrorKind;

/// What happens to whatever lies below a folder.
struct Plan {
    root: PathBuf,
    /// Things that still go well.
    left: usize,
    code: i32,
    /// Whether it goes on failing.
    lasts: bool,
    failed: usize,
}

static PLANS: Mutex<Vec<Plan>> = Mutex::new(Vec::new());

/// The disk's answer.
pub fn may(path: &Path) -> io::Result<()> {
    let mut plans = PLANS.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(plan) = plans.iter_mut().find(|plan| path.starts_with(&plan.root)) else { return Ok(()) };
    if plan.left > 0 {
        plan.left -= 1;
        return Ok(());
    }
    if plan.failed > 0 && !plan.lasts {
        return Ok(());
    }
    plan.failed += 1;
    Err(io::Error::from_raw_os_error(plan.code))
}

pub fn fail(root: &Path, left: usize, code: i32, lasts: bool) {
    let plan = Plan { root: root.to_path_buf(), left, code, lasts, failed: 0 };
    PLANS.lock().unwrap_or_else(PoisonError::into_inner).push(plan);
}

/// The disk is well again; whether anything has failed.
pub fn mend(root: &Path) -> bool {
    let mut plans = PLANS.lock().unwrap_or_else(PoisonError::into_inner);
    let at = plans.iter().position(|plan| plan.root == root).unwrap();
    plans.remove(at).failed > 0
}

fn batch() -> Outcome {
    with_rejects(outcome(0, 3, 6, &rows(3..5)), &[5])
}

#[test]
fn whatever_the_disk_refuses_nothing_is_acknowledged_lost_or_doubled() {
    let codes = [libc::ENOSPC, libc::EROFS, libc::EIO];
    for lasts in [false, true] {
        let mut steps = 0;
        loop {
            let bench = Bench::in_memory();
            let root = bench.settings.location.clone();
            let mut archive = bench.open(&[0]);
            carry(&mut archive, 0, 0, 3).unwrap();
            fail(&root, steps, codes[steps % 3], lasts);
            let carried = archive.write(&batch()).and_then(|()| archive.commit(&covered(0, 3, 6)));
            let failed = mend(&root);
            archive.abort();
            drop(archive);

            let what = format!("step {steps}, lasts: {lasts}, {carried:?}");
            let mut archive = bench.open(&[0]);
            let cuts = cursors(&mut archive, 0);
            match &carried {
                Ok(()) => assert_eq!(cuts, [6], "{what}"),
                Err(error) => {
                    assert_eq!(error.kind, ErrorKind::Unavailable, "{what}");
                    assert_eq!(cuts[0], 3, "{what}: a commit that landed is none that failed");
                }
            }
            if cuts[0] == 3 {
                archive.write(&batch()).unwrap();
                archive.commit(&covered(0, 3, 6)).unwrap();
            }
            assert_eq!(cursors(&mut archive, 0), [6], "{what}");
            drop(archive);
            assert_eq!(bench.offsets(), [0, 1, 2, 3, 4], "{what}");
            assert_eq!((plain_rows(&bench.rows()), plain_rows(&bench.rejects())), (5, 1), "{what}");
            if !failed {
                break;
            }
            steps += 1;
        }
        assert!(steps > 30, "only {steps} things are asked of the disk in a commit?");
    }
}

#[test]
fn a_table_that_cannot_be_opened_on_a_bad_disk_can_be_later() {
    let mut steps = 0;
    loop {
        let bench = Bench::in_memory();
        fail(&bench.settings.location, steps, libc::ENOSPC, true);
        let opened = bench.try_open();
        let failed = mend(&bench.settings.location);
        assert!(opened.as_ref().err().is_none_or(|error| error.kind == ErrorKind::Unavailable), "{:?}", opened.err());
        drop(opened);
        carry(&mut bench.open(&[0]), 0, 0, 3).unwrap();
        assert_eq!(bench.offsets(), [0, 1, 2], "step {steps}");
        if !failed {
            break;
        }
        steps += 1;
    }
    assert!(steps > 10, "{steps}");
}

#[test]
fn a_compaction_that_the_disk_refuses_changes_no_row() {
    for lasts in [false, true] {
        let mut steps = 0;
        loop {
            let bench = Bench::in_memory();
            let mut archive = bench.open(&[0]);
            (0..4).for_each(|step| carry(&mut archive, 0, step, step + 1).unwrap());
            fail(&bench.settings.location, steps, libc::ENOSPC, lasts);
            let compacted = bench.try_compact();
            let failed = mend(&bench.settings.location);
            let kind = compacted.err().map(|error| error.kind);
            assert!(matches!(kind, None | Some(ErrorKind::Unavailable)), "step {steps}: {kind:?}");
            // The writer is still there, and puts right what was left.
            assert_eq!(cursors(&mut archive, 0), [4], "step {steps}, lasts: {lasts}");
            carry(&mut archive, 0, 4, 5).unwrap();
            assert_eq!(bench.offsets(), [0, 1, 2, 3, 4], "step {steps}, lasts: {lasts}");
            bench.try_compact().unwrap();
            assert_eq!(bench.offsets(), [0, 1, 2, 3, 4], "step {steps}, lasts: {lasts}");
            if !failed {
                break;
            }
            steps += 1;
        }
        assert!(steps > 15, "{steps}");
    }
}

/// What tells of files that a dead writer has left goes after them, or they would stay for ever.
#[test]
fn what_cannot_be_taken_back_now_is_taken_back_later() {
    let mut steps = 0;
    loop {
        let bench = Bench::in_memory();
        carry(&mut bench.open(&[0]), 0, 0, 3).unwrap();
        let (dead, stray) = dead_with_a_stray_file(&bench);
        fail(&bench.settings.location, steps, libc::EIO, true);
        drop(bench.try_open());
        let failed = mend(&bench.settings.location);
        drop(bench.try_open().unwrap());
        assert!(!stray.exists() && !dead.exists(), "step {steps}");
        assert_eq!((plain_rows(&bench.rows()), bench.offsets()), (3, vec![0, 1, 2]), "step {steps}");
        if !failed {
            break;
        }
        steps += 1;
    }
    assert!(steps > 3, "{steps}");
}
