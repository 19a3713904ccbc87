//! Where the CPU time of a pipeline goes, step by step.
//!
//! The threads of a pipeline say at the end of a step that it has ended ([`spent`]); what the thread has used since the
//! last time is counted for that step. That costs a call of the kernel per batch and step, and is counted always: what
//! an operator is asked first when something is slow should not need a profiler. The Kafka client has threads of its
//! own, which do not speak to us; what they use is the rest of the process.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering},
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Messages out of the client, into batches.
    Consume,
    /// Into columns of text.
    Decode,
    /// The source's mapping and the stages of the pipeline.
    Stages,
    /// The contract's rules, rejects, and leaving out what is not alive.
    Checks,
    Dedup,
    /// Rows as JSON, keys.
    Encode,
    /// Into the client's queue.
    Produce,
    /// Files of the archive: encoded, compressed, and closed.
    Parquet,
    /// Transactions, the archive's log, accounts.
    Commit,
}

const STEPS: [(Step, &str); 9] = [
    (Step::Consume, "consume"),
    (Step::Decode, "decode"),
    (Step::Stages, "stages"),
    (Step::Checks, "checks"),
    (Step::Dedup, "dedup"),
    (Step::Encode, "encode"),
    (Step::Produce, "produce"),
    (Step::Parquet, "parquet"),
    (Step::Commit, "commit"),
];

/// Nanoseconds of the whole process.
static USED: [AtomicU64; STEPS.len()] = [const { AtomicU64::new(0) }; STEPS.len()];

thread_local! {
    static COUNTED: Cell<u64> = const { Cell::new(0) };
}

/// This thread has come to the end of a step.
pub fn spent(step: Step) {
    let now = nanoseconds(libc::CLOCK_THREAD_CPUTIME_ID);
    let before = COUNTED.replace(now);
    USED[step as usize].fetch_add(now.saturating_sub(before), Ordering::Relaxed);
}

/// Seconds by step, of all pipelines of this process; and `other`, what the process has used besides.
pub fn used() -> impl Iterator<Item = (&'static str, f64)> {
    let seconds = |nanoseconds: u64| nanoseconds as f64 / 1e9;
    let steps = STEPS.map(|(step, name)| (name, USED[step as usize].load(Ordering::Relaxed)));
    let counted: u64 = steps.iter().map(|(_, used)| used).sum();
    let other = nanoseconds(libc::CLOCK_PROCESS_CPUTIME_ID).saturating_sub(counted);
    steps.into_iter().chain([("other", other)]).map(move |(name, used)| (name, seconds(used)))
}

/// What such a clock shows; 0 where there is none.
fn nanoseconds(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a local.
    match unsafe { libc::clock_gettime(clock, &mut time) } {
        0 => time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_its_place() {
        assert!(STEPS.iter().enumerate().all(|(at, (step, _))| *step as usize == at));
    }

    #[test]
    fn what_a_thread_has_used_is_counted_for_the_step_that_ends() {
        let seconds = |name: &str| used().find(|(step, _)| *step == name).map(|(_, seconds)| seconds);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                spent(Step::Commit);
                let before = seconds("dedup").unwrap_or_default();
                let begun = nanoseconds(libc::CLOCK_THREAD_CPUTIME_ID);
                while nanoseconds(libc::CLOCK_THREAD_CPUTIME_ID) < begun + 20_000_000 {}
                spent(Step::Dedup);
                // Other tests may add to it meanwhile.
                assert!(seconds("dedup").unwrap_or_default() >= before + 0.02);
            });
        });
        assert_eq!(used().last().map(|(name, _)| name), Some("other"));
    }
}
