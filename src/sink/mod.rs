//! Where rows and rejects go: Kafka, the archive, files.
//!
//! Each sink owns its cursor and stores it with its data, in one atomic act. The runtime drives it, from one thread
//! (`runtime::outlet`), by this protocol:
//!
//! 1. [`Sink::assign`] fences out every predecessor, **then** reads the cursors of the partitions.
//! 2. [`Sink::write`] takes batches at or above the sink's smallest cursor. The runtime drops what lies below, checks
//!    that intervals are contiguous, and never hands over a batch that straddles a cursor. Nothing that is written
//!    becomes visible to any reader.
//! 3. [`Sink::commit`] makes everything since the last commit visible together with the new cursors. When it returns
//!    `Ok` it is durable. When it returns `Err` the outcome may be unknown: the runtime drops the sink, opens it
//!    again, and reads the cursors; they tell.
//! 4. [`Sink::abort`] forgets everything since the last commit and leaves no trace that a reader could see.
//!
//! Adding a sink is a folder of its own and one line in `runtime::build`; `tests/it/conformance.rs` is what it must
//! pass.

pub mod archive;
pub mod files;
#[doc(hidden)]
pub mod json; // for the benchmark of it
pub mod kafka;
#[cfg(test)]
mod kernel;

pub use json::Unread;

use std::time::{Duration, Instant};

use crate::{
    batch::{Outcome, Tally},
    cursor::{Cursors, Interval, Partition},
    error::Result,
};

/// The kinds of sinks, as logs and metrics call them. Which of them keeps a cursor where decides where reading begins.
pub const KAFKA: &str = "kafka";
pub const ARCHIVE: &str = "archive";
pub const FILES: &str = "files";

/// What waits for the next commit.
#[derive(Clone, Debug)]
pub struct Pending {
    /// When the first of it was written.
    pub since: Instant,
    pub rows: u64,
    /// Bytes of the messages that it comes from.
    pub bytes: usize,
}

/// What a commit stands for: one contiguous interval per partition, and the account of the rows in it.
#[derive(Clone, Debug, Default)]
pub struct Covered {
    pub intervals: Vec<Interval>,
    pub tally: Tally,
}

pub trait Sink: Send {
    /// One of [`KAFKA`], [`ARCHIVE`] and [`FILES`].
    fn kind(&self) -> &'static str;

    fn assign(&mut self, partitions: &[Partition]) -> Result<Cursors>;

    /// Everything of these partitions is committed or aborted, and they are no longer ours.
    fn release(&mut self, partitions: &[Partition]);

    fn write(&mut self, outcome: &Outcome) -> Result<()>;

    /// How long to wait until committing what is pending; zero for now.
    fn commit_in(&self, pending: &Pending) -> Duration;

    fn commit(&mut self, covered: &Covered) -> Result<()>;

    /// What may follow a commit and can take long; nobody who wants the partitions back waits for it.
    fn tidy(&mut self) {}

    fn abort(&mut self);

    /// Files made visible since it was opened; sinks without files have none.
    fn files(&self) -> u64 {
        0
    }
}
