//! Panics of the SQL engine's own kernels, caught.
//!
//! Catching is sound there: expressions are shared read-only, and what a kernel was building is dropped. Our own
//! functions keep counters between two calls that a panic leaves in disorder, and a panic in them is our mistake: those
//! are not caught.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use datafusion::common::DataFusionError;
use futures::FutureExt;

thread_local! {
    static SHIELDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread would be caught, and is nothing to be told about.
pub fn shielded() -> bool {
    SHIELDED.get()
}

/// Does the engine's work; a panic in it becomes an error.
pub(super) fn shield<T>(work: impl FnOnce() -> Result<T, DataFusionError>) -> Result<T, DataFusionError> {
    let before = SHIELDED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    caught(done, before)
}

/// The same for what waits; nothing else may run on this thread meanwhile.
pub(super) async fn shield_future<T>(
    work: impl Future<Output = Result<T, DataFusionError>>,
) -> Result<T, DataFusionError> {
    let before = SHIELDED.replace(true);
    let done = AssertUnwindSafe(work).catch_unwind().await;
    caught(done, before)
}

fn caught<T>(done: std::thread::Result<Result<T, DataFusionError>>, before: bool) -> Result<T, DataFusionError> {
    let ours = !SHIELDED.replace(before);
    match done {
        Ok(done) => done,
        Err(panic) if ours => resume_unwind(panic),
        Err(panic) => {
            let said = panic.downcast_ref::<&str>().copied().unwrap_or("it cannot be computed");
            Err(DataFusionError::Execution(said.to_owned()))
        }
    }
}

/// Does our own work inside of the engine's.
pub(super) fn open<T>(work: impl FnOnce() -> T) -> T {
    let before = SHIELDED.replace(false);
    let done = work();
    SHIELDED.set(before);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_of_kernels_are_caught_and_our_own_are_not() {
        let caught = shield::<()>(|| panic!("byte array offset overflow")).unwrap_err();
        assert!(caught.to_string().contains("byte array offset overflow"), "{caught}");
        assert!(!shielded());
        let ours = catch_unwind(|| shield::<u8>(|| open(|| panic!("ours"))).is_ok());
        assert!(ours.is_err());
        assert_eq!(shield(|| Ok((open(shielded), shielded()))).unwrap(), (false, true));
    }
}
