//! Rows and rejects to Kafka, exactly once: one transaction holds them and the offsets they came from.
//!
//! The cursor of this sink **is** the committed offset of the consumer group, which the producer's transaction moves. The
//! topic's id stands beside it: in another topic of the same name it is no cursor.
//! A reader with `isolation.level=read_committed` sees rows, rejects and cursor together or not at all.
//!
//! # Order of things
//!
//! - [`Kafka::open`] calls `init_transactions` first: it fences out a predecessor with the same transactional id and
//!   aborts what it left open. Only then [`Sink::assign`] reads cursors; reading waits for transactions of other members
//!   that still hold offsets of these partitions.
//! - [`Sink::write`] begins a transaction when there is none. [`Sink::commit`] does too: a batch in which every row was
//!   dropped still moves the cursor.
//! - [`Sink::commit`] sends the offsets with the group's metadata *of that moment*: a member that has lost its partitions
//!   is refused by the broker, even if it does not know yet.
//!
//! - **A rebalance is not a reason to give up.** In a cooperative rebalance the group's generation moves on while we keep
//!   our partitions; a commit that crosses that moment is refused, and its transaction has to be aborted. What was
//!   written is still at hand, so it is written again in a new transaction, under the new generation. That is safe:
//!   librdkafka joins a group anew only after the source has answered for lost partitions, and by then the line is
//!   killed; until then it shows the broker the old membership, which is refused for good.
//!
//! # What an error means
//!
//! | librdkafka says | we |
//! | --- | --- |
//! | retriable | call again, with growing pauses, for [`transaction::PATIENCE`] |
//! | the generation has moved on | abort, write again, up to [`REJOINS`] times; then `Evicted` |
//! | abort required | abort; `Unavailable`, or `Evicted` when the group does not know us |
//! | fatal, fenced | `Fenced`; this producer is of no use any more |
//! | anything else, nothing at all ([`caller`]), or patience is over | the outcome is unknown: `Unavailable`, and the runtime opens a new sink, whose `init_transactions` makes it definite |
//!
//! # What goes out
//!
//! A row: its JSON (nulls omitted, timestamps RFC 3339 in UTC) under the key columns' texts joined by `|`, at the time
//! of its message, with the headers `huiju.source`, `huiju.pipeline`, `huiju.contract`. A rejected message: once, its
//! original bytes under its original key, with where it stood and all that is wrong in headers ([`encode`]).
//!
//! It creates no topics, and does not check who else writes to them. Whether it has itself written to them before is asked
//! where no archive tells ([`earlier`]).

mod caller;
mod earlier;
mod encode;
#[cfg(test)]
mod tests;
mod transaction;

use std::{sync::Arc, time::Duration};

use arrow::record_batch::RecordBatch;
use rdkafka::{Offset, TopicPartitionList, message::OwnedHeaders, producer::BaseRecord};

pub use self::transaction::check;
use self::transaction::{Failed, Transaction};
use crate::{
    batch::{Origin, Outcome, Reject},
    config,
    cpu::{self, Step},
    cursor::{Cursors, Partition},
    error::{Context as _, Error, Result},
    fault,
    kafka::{self, SharedGroup},
    sink::{Covered, Pending, Sink, Unread, json},
};

#[derive(Clone, Debug)]
pub struct Settings {
    pub pipeline: Arc<str>,
    /// For rows.
    pub topic: String,
    /// For rejected messages.
    pub rejected: String,
    /// Columns whose texts, joined by `|`, are a row's key; none: rows have no key.
    pub key: Vec<String>,
    /// What rows leave out.
    pub unread: Unread,
    /// `name/version`, for the header `huiju.contract`.
    pub contract_version: String,
    /// One per process that shares the work, the same after a restart: `{group}.{pipeline}.{instance}`.
    pub transactional_id: String,
}

/// Headers of rows and rejects.
const SOURCE: &str = "huiju.source";
const PIPELINE: &str = "huiju.pipeline";

/// How often what was written is written again because the group's generation has moved on.
const REJOINS: u32 = 5;
/// A topic takes a megabyte by default, and one huge message must not stop a province: of a rejected message longer than
/// this the rejected topic gets the beginning, and a header `huiju.cut` with its length. The archive has all of it.
const LARGEST_REJECT: usize = 900_000;
/// The same for its key, and `huiju.key_cut`.
const LARGEST_KEY: usize = 64_000;
/// How long offsets without rows wait for company.
const OFFSETS: Duration = Duration::from_millis(100);
/// The broker is in the new generation a moment before we are.
const REJOIN: Duration = Duration::from_millis(50);

/// What stands in the open transaction; its columns are shared, not copied.
struct Written {
    source: Arc<str>,
    rows: RecordBatch,
    origins: Vec<Origin>,
    rejects: Vec<Reject>,
}

pub struct Kafka {
    settings: Settings,
    transaction: Transaction,
    group: SharedGroup,
    written: Vec<Written>,
    /// The rows being written.
    encoded: encode::Encoded,
}

impl Kafka {
    /// Connects, looks that the topics are there, and fences out predecessors.
    pub fn open(config: &config::Kafka, settings: Settings, group: SharedGroup) -> Result<Kafka> {
        let Settings { topic, rejected, transactional_id, .. } = &settings;
        let transaction = Transaction::open(config, transactional_id, &[topic, rejected])
            .map_err(|error| error.context(format!("topics {topic} and {rejected}")))?;
        Ok(Kafka { settings, transaction, group, written: Vec::new(), encoded: encode::Encoded::default() })
    }

    /// Refuses to begin anew in a topic that has rows of this pipeline, for one whose only cursor is the group's; `begun`
    /// asks whether the group has any. To be asked before the source runs.
    pub fn refuse_to_begin_again(&self, config: &config::Kafka, begun: impl Fn() -> Result<bool>) -> Result<()> {
        let Settings { pipeline, topic, .. } = &self.settings;
        if begun()? {
            return Ok(());
        }
        let group = format!("{}.{pipeline}", config.group);
        match earlier::rows(config, topic, pipeline, &group)? {
            // Another process has begun meanwhile; it commits where it begins before it writes.
            Some(_) if begun()? => Ok(()),
            Some(earlier) => Err(earlier.without_cursor(topic, &group)),
            None => Ok(()),
        }
    }

    fn produce(&mut self, written: &Written) -> Result<()> {
        self.transaction.begin()?;
        self.write_rows(written).map_err(|e| e.context(format!("topic {}", self.settings.topic)))?;
        self.write_rejects(written).map_err(|e| e.context(format!("topic {}", self.settings.rejected)))
    }

    fn produce_again(&mut self) -> Result<()> {
        let written = std::mem::take(&mut self.written);
        let produced = written.iter().try_for_each(|written| self.produce(written));
        self.written = written;
        produced
    }

    fn commit_once(&mut self, offsets: &TopicPartitionList) -> Result<(), Failed> {
        self.transaction.begin()?;
        fault::point("kafka.before_offsets");
        let group = self.group.metadata();
        let group = group.ok_or_else(|| Error::unavailable("the consumer group is gone: its source has stopped"))?;
        self.transaction.send_offsets(offsets, group)?;
        fault::point("kafka.after_offsets");
        self.transaction.commit()?;
        fault::point("kafka.after_commit");
        Ok(())
    }

    fn write_rows(&mut self, written: &Written) -> Result<()> {
        let Settings { pipeline, topic, key, unread, contract_version, .. } = &self.settings;
        let mut headers = OwnedHeaders::new_with_capacity(3);
        for (name, value) in [(SOURCE, &*written.source), (PIPELINE, pipeline), ("huiju.contract", contract_version)] {
            headers = encode::header(headers, name, value);
        }
        let keys = encode::Keys::new(&written.rows, key)?;
        let rows = json::Rows::new(&written.rows, unread)?;
        let mut values = rows.encoder()?;
        let mut rows = 0..written.origins.len();
        while !rows.is_empty() {
            self.encoded.take(&mut rows, &mut values, &keys)?;
            cpu::spent(Step::Encode);
            for (row, value, key) in self.encoded.rows() {
                let mut record = BaseRecord::to(topic).payload(value).headers(headers.clone());
                record.timestamp = written.origins[row].timestamp;
                record.key = key;
                self.transaction.send(record)?;
            }
            cpu::spent(Step::Produce);
        }
        Ok(())
    }

    fn write_rejects(&mut self, written: &Written) -> Result<()> {
        for rejected in encode::by_message(&written.rejects) {
            let first = rejected[0];
            let headers = encode::reject_headers(&self.settings.pipeline, &written.source, &rejected);
            let mut record = BaseRecord::to(&self.settings.rejected).headers(headers);
            record.timestamp = first.timestamp;
            record.key = first.key.as_deref();
            record.payload = first.message.as_deref();
            if let Some(key) = first.key.as_deref().filter(|key| key.len() > LARGEST_KEY) {
                let length = key.len().to_string();
                record.headers = record.headers.map(|headers| encode::header(headers, "huiju.key_cut", &length));
                record.key = Some(&key[..LARGEST_KEY]);
            }
            if let Some(message) = first.message.as_deref().filter(|message| message.len() > LARGEST_REJECT) {
                let length = message.len().to_string();
                record.headers = record.headers.map(|headers| encode::header(headers, "huiju.cut", &length));
                record.payload = Some(&message[..LARGEST_REJECT]);
            }
            self.transaction.send(record)?;
        }
        Ok(())
    }
}

impl Sink for Kafka {
    fn kind(&self) -> &'static str {
        super::KAFKA
    }

    fn assign(&mut self, partitions: &[Partition]) -> Result<Cursors> {
        self.group.committed(partitions)
    }

    fn release(&mut self, _partitions: &[Partition]) {}

    fn write(&mut self, outcome: &Outcome) -> Result<()> {
        fault::point("kafka.before_produce");
        let Outcome { source, rows, origins, rejects, .. } = outcome;
        let (source, rows) = (source.clone(), rows.clone());
        let written = Written { source, rows, origins: origins.clone(), rejects: rejects.clone() };
        self.produce(&written)?;
        self.written.push(written);
        fault::point("kafka.after_produce");
        Ok(())
    }

    /// At once: the runtime drains its queue before it asks, so transactions grow with the load. Offsets alone are nothing
    /// that a reader waits for; where a pipeline begins to read comes as one batch per partition, and is one transaction.
    fn commit_in(&self, pending: &Pending) -> Duration {
        if pending.rows > 0 { Duration::ZERO } else { OFFSETS.saturating_sub(pending.since.elapsed()) }
    }

    fn commit(&mut self, covered: &Covered) -> Result<()> {
        let mut offsets = TopicPartitionList::with_capacity(covered.intervals.len());
        for interval in &covered.intervals {
            let Partition { topic, number } = &interval.partition;
            let mut offset = offsets.add_partition(topic, *number);
            offset.set_offset(Offset::Offset(interval.next)).or_bug(format!("offset of {interval}"))?;
            if let Some(id) = self.group.topic_id(topic) {
                offset.set_metadata(kafka::note_of(&id));
            }
        }
        let mut rejoins = 0;
        loop {
            match self.commit_once(&offsets) {
                Ok(()) => break,
                Err(failed) if failed.rejoined && rejoins < REJOINS => {
                    rejoins += 1;
                    tracing::info!(
                        pipeline = &*self.settings.pipeline,
                        rejoins,
                        "rebalance: the transaction is done again"
                    );
                    std::thread::sleep(REJOIN * rejoins);
                    self.produce_again()?;
                }
                Err(failed) => {
                    let Settings { topic, rejected, .. } = &self.settings;
                    return Err(failed.error.context(format!("topics {topic} and {rejected}")));
                }
            }
        }
        self.written.clear();
        Ok(())
    }

    fn abort(&mut self) {
        self.written.clear();
        self.transaction.abort();
    }
}
