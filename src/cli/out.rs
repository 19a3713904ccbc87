//! What is written to standard output and standard error, where nobody may be reading any more.
//!
//! `println!` panics then, in the middle of the work. Here the work goes on: a reader that has gone away has seen
//! enough; any other failure is kept and told at the end.

use std::{
    fmt,
    io::{self, ErrorKind, Write},
    sync::Mutex,
};

/// The first thing that went wrong with standard output.
static FAILED: Mutex<Option<io::Error>> = Mutex::new(None);

/// `println!`, for [`line`].
macro_rules! say {
    ($($what:tt)*) => { $crate::cli::out::line(format_args!($($what)*)) };
}
/// `eprintln!` to whoever listens.
macro_rules! tell {
    ($($what:tt)*) => { $crate::cli::out::aside(format_args!($($what)*)) };
}
pub(crate) use {say, tell};

/// A line to standard output.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    check(writeln!(io::stdout().lock(), "{text}"));
}

/// Keeps what went wrong with standard output, for [`failure`]; tells whether it is worth while to go on writing.
pub(crate) fn check(written: io::Result<()>) -> bool {
    match written {
        Ok(()) => true,
        Err(error) => {
            if error.kind() != ErrorKind::BrokenPipe {
                FAILED.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert(error);
            }
            false
        }
    }
}

/// A line to standard error.
pub(crate) fn aside(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// What went wrong with standard output, once everything is written; a reader that has gone away is nothing wrong.
pub(crate) fn failure() -> Option<io::Error> {
    check(io::stdout().lock().flush());
    FAILED.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take()
}
