//! Where messages come from: Kafka topics, or files in a folder (`files`, cursor = byte position).
//!
//! A source runs on its own thread and feeds an [`Intake`]. The protocol:
//!
//! 1. When partitions become ours the source calls [`Intake::assign`], **before** it reads a single message of them.
//!    Everything behind it — dedup state, every sink — takes over these partitions and answers with its cursors. The
//!    source starts reading at the smallest cursor.
//! 2. It pushes batches with [`Intake::push`]. Intervals of a partition are contiguous, and no batch straddles a cut
//!    (see [`crate::cursor::Cuts`]); while a partition is below its largest cut it is batched alone.
//! 3. When partitions are taken away in peace it calls [`Intake::revoke`], which returns when all that was pushed is
//!    committed; when that takes too long or fails, or when the partitions are already lost, [`Intake::kill`] makes
//!    sure that nothing more of this line is ever committed, and the line is built anew.
//! 4. It never stops polling: when [`Intake::room`] says no, it pauses its partitions and goes on polling.

pub mod files;
pub mod intake;
pub mod kafka;

pub use intake::{Feed, Intake, Permit};

use crate::{error::Result, stop::Stop};

/// Feeds an intake until it is told to stop or, when bounded, until it has reached the ends it saw at its start.
pub trait Source: Send {
    fn run(&mut self, intake: &mut Intake, stop: &Stop) -> Result<()>;
}
