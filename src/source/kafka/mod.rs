//! Messages from Kafka topics, as one member of the consumer group `{group}.{pipeline}`.
//!
//! # The protocol
//!
//! One thread, the one that calls [`Source::run`], owns the client and polls it; nothing else does.
//!
//! - **Assign.** The partitions are handed to the line ([`Intake::assign`]), which answers with every sink's cursors.
//!   What the broker still has is compared with them ([`begin`]), the offsets are written into the assignment, and the
//!   assignment is given to librdkafka once. There is no seek, so no message is ever read from a wrong place.
//! - **Revoke.** What is buffered is pushed, [`Intake::revoke`] waits until it is committed, then the partitions are let
//!   go. If that takes longer than `drain`, or if the partitions are lost already, the line is killed instead and
//!   [`Source::run`] returns an error: a new line starts from the cursors.
//! - **Batches** are per source, contiguous, and cut at cursors ([`batches`]). A batch is handed on after `linger`; while
//!   the line is busy it goes on growing until it is full.
//! - **Back-pressure.** When the line has no room we stop polling for up to a second, because pausing throws away what
//!   librdkafka has fetched; after that the partitions are paused and polling goes on, so the group keeps us.
//! - **Control records and aborted transactions** leave holes, which intervals cover. Holes at a partition's tail are
//!   covered by the client's position, not by the last message: after a second of quiet, and at the end of a bounded
//!   run.
//! - **Bounded runs** end at the last stable offset each partition had when it was assigned; they cover exactly the
//!   offsets up to there. They end when every partition *that is ours* has got there: members of one group each finish
//!   their own. While others have partitions too, they stay for as long as a dead one of them is not missed, and then
//!   are given what it had.
//! - **Gaps** are found at assignment; when the broker says that an offset is out of range the line is built anew, for
//!   that. `auto.offset.reset` is `error`. See [`begin`] for what cannot be found.
//!
//! # What it refuses to do
//!
//! It commits nothing: cursors belong to the sinks. It creates no topics: a missing one is `Unavailable`, by name.

mod batches;
mod begin;
mod member;
mod others;
mod reading;
mod rebalance;

use std::{sync::Arc, time::Duration};

pub use self::member::check;
use crate::{
    config::{self, Gaps, Start},
    cursor::Partition,
    error::{Error, Result},
    kafka::SharedGroup,
    source::{Intake, Source},
    stop::Stop,
};

#[derive(Clone, Debug)]
pub struct Settings {
    pub pipeline: Arc<str>,
    /// Each topic and the index of its source.
    pub topics: Vec<(String, usize)>,
    /// A name for this member that no other process has, and that is the same after a restart.
    pub instance: Option<String>,
    /// Stop at the ends that the partitions have when they are assigned.
    pub bounded: bool,
    /// Where to begin without any cursor.
    pub start: Start,
    pub gaps: Gaps,
    /// How long a stop or a revocation waits for what is in flight.
    pub drain: Duration,
    pub max_batch_bytes: usize,
    pub max_batch_messages: usize,
    /// How long a message waits for company.
    pub linger: Duration,
}

impl Settings {
    pub fn new(pipeline: Arc<str>, topics: Vec<(String, usize)>) -> Settings {
        Settings {
            pipeline,
            topics,
            instance: None,
            bounded: false,
            start: Start::Beginning,
            gaps: Gaps::Stop,
            drain: Duration::from_secs(10),
            max_batch_bytes: 4 << 20,
            max_batch_messages: 2048,
            linger: Duration::from_millis(5),
        }
    }
}

/// How far a partition is behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lag {
    /// Offsets between what we have read and the last stable offset; control records count.
    pub messages: i64,
    /// Time of the newest message we have read, in milliseconds since 1970.
    pub newest_ms: Option<i64>,
}

/// Told every few seconds for each partition that is ours, and `None` of one that is no longer; its labels are the
/// caller's business.
pub type TellLag = Arc<dyn Fn(&Partition, Option<Lag>) + Send + Sync>;

pub struct Kafka {
    settings: Settings,
    lag: TellLag,
    /// Gone when it has run: a client that has left its group does not come back.
    client: Option<Arc<member::Client>>,
    group: SharedGroup,
}

impl Kafka {
    /// Builds the client; the broker is not asked before [`Source::run`].
    pub fn new(config: &config::Kafka, settings: Settings, lag: TellLag) -> Result<Kafka> {
        let client = Arc::new(member::join(config, &settings)?);
        let group = Arc::new(member::Handle { client: Arc::downgrade(&client) });
        Ok(Kafka { settings, lag, client: Some(client), group })
    }

    /// The group, for the sink that commits for it. It answers until [`Source::run`] returns.
    pub fn group(&self) -> SharedGroup {
        self.group.clone()
    }
}

impl Source for Kafka {
    fn run(&mut self, intake: &mut Intake, stop: &Stop) -> Result<()> {
        let client = self.client.take().ok_or_else(|| Error::bug("a Kafka source runs once"))?;
        let outcome = reading::Reading::new(&client, &*self.group, &self.settings, &*self.lag, intake, stop).run();
        if let Err(error) = &outcome {
            intake.failed(error);
            // Whatever is in flight: after this thread has left the group, nothing of it may be committed.
            intake.kill();
        }
        // Otherwise a new line comes back under the same name.
        let for_good = stop.for_good() || !outcome.as_ref().is_err_and(|error| error.kind.may_pass());
        member::leave(client, for_good);
        outcome
    }
}
