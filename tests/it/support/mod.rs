//! What the tests stand on: a broker, processes, other people's readers.

mod again;
pub mod carried;
mod huiju;
mod jars;
pub mod kafka;
mod process;
pub mod project;
mod sent;
mod topics;

use std::{
    io::Write,
    path::Path,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

pub use again::again;
pub use carried::Carried;
pub use huiju::Huiju;
pub use kafka::Kafka;
pub use project::{Project, Settings};
pub use sent::{Sent, samples, shipped, truth};
pub use topics::{Read, Sender, produce, read_committed, read_uncommitted, standing, transaction};

/// Says that a test did not do its work. Goes around the test harness, which keeps what a passing test prints.
pub fn skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "skipped: {why} ({test})");
}

/// A name no other test has, for topics and groups.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}.{}.{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Asks again and again until there is an answer; panics after `limit`.
#[track_caller]
pub fn eventually<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What a Python script (a path below `tests/`) prints, run by the interpreter in `HUIJU_TEST_PYTHON`, which has duckdb
/// and deltalake; or none, said in words.
pub fn python(script: &str, arguments: &[&str]) -> Option<String> {
    let Some(interpreter) = std::env::var_os("HUIJU_TEST_PYTHON") else {
        skipped("no Python with duckdb and deltalake here (HUIJU_TEST_PYTHON names its interpreter)");
        return None;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script);
    let output = Command::new(&interpreter).arg(&script).args(arguments).output();
    let output = output.unwrap_or_else(|e| panic!("{}: {e}", interpreter.display()));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {arguments:?}:\n{errors}", script.display());
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}
