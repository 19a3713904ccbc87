//! What is written to standard output and standard error, where nobody may be reading any more.
//!
//! `println!` panics then, in the middle of the work. Here the work goes on: a reader that has gone away has seen
//! enough; any other failure is kept and told at the end.

use std::{
    fmt,
    io::{self, Write},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::json;
use tracing::Level;

use crate::{clock::Clock, error::ErrorKind};

/// The first thing that went wrong with standard output.
static FAILED: Mutex<Option<io::Error>> = Mutex::new(None);

/// `println!`, for [`line`].
macro_rules! say {
    ($($what:tt)*) => { $crate::cli::out::line(format_args!($($what)*)) };
}
/// `eprintln!` to whoever listens, for [`aside`]: of what level it is, and the words.
macro_rules! tell {
    ($level:ident, $($what:tt)*) => { $crate::cli::out::aside(tracing::Level::$level, format_args!($($what)*)) };
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
            if error.kind() != io::ErrorKind::BrokenPipe {
                FAILED.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert(error);
            }
            false
        }
    }
}

/// Whether standard error is read by a program: then all of it is JSON, an object per line.
static AS_JSON: AtomicBool = AtomicBool::new(false);

pub(super) fn as_json() {
    AS_JSON.store(true, Ordering::Relaxed);
}

/// As the log writes it.
fn now() -> String {
    Clock::system().now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

/// A line to standard error that is not of the log.
pub(crate) fn aside(level: Level, text: fmt::Arguments<'_>) {
    let line = match AS_JSON.load(Ordering::Relaxed) {
        true => json!({ "timestamp": now(), "level": level.as_str(), "message": text.to_string() }).to_string(),
        false => text.to_string(),
    };
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Why the process ends as it does, and what to do.
pub(super) fn last(kind: ErrorKind, what: &str, todo: &str) {
    if !AS_JSON.load(Ordering::Relaxed) {
        return tell!(ERROR, "huiju: {what}\n       {todo}");
    }
    let (level, kind, exit_code) = (Level::ERROR.as_str(), kind.name(), kind.exit_code());
    let line = json!({
        "timestamp": now(), "level": level, "message": what, "todo": todo, "kind": kind, "exit_code": exit_code,
    });
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// What went wrong with standard output, once everything is written; a reader that has gone away is nothing wrong.
pub(crate) fn failure() -> Option<io::Error> {
    check(io::stdout().lock().flush());
    FAILED.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take()
}
