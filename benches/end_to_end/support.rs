//! The broker of the tests, and what it stands on.
#![allow(dead_code, reason = "the benchmark needs a part of what the tests need")]

#[path = "../../tests/it/support/jars.rs"]
pub mod jars;
#[path = "../../tests/it/support/kafka.rs"]
pub mod kafka;
#[path = "../../tests/it/support/process.rs"]
pub mod process;

use std::time::{Duration, Instant};

pub fn skipped(why: &str) {
    eprintln!("nothing measured: {why}");
}

pub fn eventually<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
