//! What flows: messages as fetched, rows that passed, rejects that did not, and the account of all of them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arrow::{
    array::{Array, AsArray, BooleanArray},
    compute::filter_record_batch,
    datatypes::SchemaRef,
    record_batch::{RecordBatch, RecordBatchOptions},
};
use bytes::Bytes;
use prometheus::IntGauge;

use crate::{
    cursor::{Interval, Partition},
    error::{Error, Result},
};

/// A piece of [`Fetched::arena`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    pub start: u32,
    pub len: u32,
}

impl Span {
    pub fn of(self, arena: &[u8]) -> &[u8] {
        &arena[self.start as usize..][..self.len as usize]
    }
}

/// One message: where it stood and where its bytes are.
#[derive(Clone, Debug)]
pub struct Message {
    /// Index into [`Fetched::covers`]: the partition it came from.
    pub cover: u32,
    pub offset: i64,
    /// The broker's (or producer's) time in milliseconds since 1970, in the years 1 to 9999; `None` when the message carries
    /// none, see [`told`].
    pub timestamp: Option<i64>,
    pub key: Option<Span>,
    /// `None` for a tombstone.
    pub payload: Option<Span>,
}

/// The time that a message carries.
///
/// Why one outside of the years 1 to 9999 is none: a producer that counts nanoseconds tells one of the year 57,000,000, which
/// the archive cannot hold, and readers of the archive know no such years. What cannot be kept must not be judged by either,
/// or rows would be judged anew after a restart.
pub fn told(timestamp_ms: Option<i64>) -> Option<i64> {
    const YEARS: std::ops::Range<i64> = -62_135_596_800_000..253_402_300_800_000;
    timestamp_ms.filter(|ms| YEARS.contains(ms))
}

/// Messages of one source, bytes in one arena, in the order of their offsets per partition.
///
/// `covers` says which offsets they stand for, holes included; it may cover offsets without any message.
#[derive(Debug, Default)]
pub struct Fetched {
    /// Index into the pipeline's sources.
    pub source: usize,
    pub covers: Vec<Interval>,
    pub arena: Vec<u8>,
    pub messages: Vec<Message>,
    /// Offsets within `covers` that were lost before we could read them.
    pub gaps: Vec<Gap>,
    /// Gives the bytes back to the budget when the batch is gone from every sink.
    pub held: Option<Held>,
}

impl Fetched {
    pub fn payload(&self, message: &Message) -> Option<&[u8]> {
        message.payload.map(|span| span.of(&self.arena))
    }
    pub fn key(&self, message: &Message) -> Option<&[u8]> {
        message.key.map(|span| span.of(&self.arena))
    }
    pub fn partition(&self, message: &Message) -> &Partition {
        &self.covers[message.cover as usize].partition
    }
    /// Takes the messages from this one on away, as a batch of their own, with the offsets and gaps that belong to them.
    pub fn split_off(&mut self, at: usize) -> Fetched {
        let mut rest = Fetched { source: self.source, ..Fetched::default() };
        let (before, after) = self.messages.split_at(at);
        // Of each cover: whether it has messages before, and where those after it begin.
        let mut has = vec![false; self.covers.len()];
        before.iter().for_each(|message| has[message.cover as usize] = true);
        let mut cuts = vec![None; self.covers.len()];
        after.iter().rev().for_each(|message| cuts[message.cover as usize] = Some(message.offset));
        let (mut first, mut second) = (vec![0; self.covers.len()], vec![0; self.covers.len()]);
        for (index, mut cover) in std::mem::take(&mut self.covers).into_iter().enumerate() {
            let mut later = cover.clone();
            match cuts[index] {
                Some(cut) if has[index] => (cover.next, later.from) = (cut, cut),
                Some(_) => cover.next = cover.from,
                None => later.from = later.next,
            }
            if cuts[index].is_some() {
                let is_later = |gap: &Gap| gap.lost.partition == later.partition && gap.lost.from >= later.from;
                rest.gaps.extend(self.gaps.extract_if(.., |gap| is_later(gap)));
                second[index] = rest.covers.len() as u32;
                rest.covers.push(later);
            }
            if cuts[index].is_none() || has[index] {
                first[index] = self.covers.len() as u32;
                self.covers.push(cover);
            }
        }
        for message in self.messages.split_off(at) {
            let mut copy = |span: Option<Span>| span.map(|span| rest.store(span.of(&self.arena)));
            let (key, payload) = (copy(message.key), copy(message.payload));
            let cover = second[message.cover as usize];
            rest.messages.push(Message { cover, key, payload, ..message });
        }
        self.messages.iter_mut().for_each(|message| message.cover = first[message.cover as usize]);
        rest.held = self.held.as_mut().map(|held| held.split_off(rest.arena.len()));
        rest
    }

    /// Appends bytes to the arena.
    pub fn store(&mut self, bytes: &[u8]) -> Span {
        let start = self.arena.len() as u32;
        self.arena.extend_from_slice(bytes);
        Span { start, len: bytes.len() as u32 }
    }
}

/// A longer line of a file is no message, in bytes.
pub const LONGEST_LINE: usize = 64 << 20;

/// Messages that are gone for good, recorded as a reject of stage `fetch`: because the pipeline's policy says so, or
/// because nobody can hold them.
#[derive(Clone, Debug)]
pub struct Gap {
    /// The lost offsets; they lie within one of the batch's `covers`.
    pub lost: Interval,
    /// `gap.retention`, `gap.truncated`, `decode.too_large`.
    pub code: &'static str,
    /// The messages' time in milliseconds since 1970, where it is known without them: a file has one for all.
    pub timestamp: Option<i64>,
}

/// Where a row came from. A message holds several rows when it is an array or an envelope.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    /// Index into the batch's `covers`.
    pub cover: u32,
    /// Number of the row within its message, from 0.
    pub row: u32,
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp: Option<i64>,
}

/// One thing that is wrong with a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Stable, from a closed list: `decode.syntax`, `missing`, `unknown_code`, or the name of a contract's rule.
    pub code: Arc<str>,
    /// The column, if it is about one.
    pub field: Option<Arc<str>>,
    /// For people, in Chinese.
    pub reason: String,
    /// The offending value as received; masked when the column is personal; shortened.
    pub value: Option<String>,
}

/// A row (or a whole message) that cannot go on, with everything needed to understand and to replay it.
#[derive(Clone, Debug)]
pub struct Reject {
    pub partition: Partition,
    pub offset: i64,
    /// Number of the row within its message; `None` when the message as a whole could not be read.
    pub row: Option<u32>,
    pub timestamp: Option<i64>,
    pub key: Option<Bytes>,
    /// The message's bytes as received; `None` for a tombstone.
    pub message: Option<Bytes>,
    /// The row's own bytes; the same as `message` when the message holds one row.
    pub payload: Option<Bytes>,
    /// `decode`, the name of an SQL stage, or `checks`.
    pub stage: Arc<str>,
    /// All of them, not the first.
    pub faults: Vec<Fault>,
}

/// The account of a batch: `input = written + rejected + duplicate`, in rows. A message that cannot be read counts as
/// one row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    pub input: u64,
    pub written: u64,
    pub rejected: u64,
    pub duplicate: u64,
}

impl Tally {
    pub fn balances(&self) -> bool {
        self.input == self.written + self.rejected + self.duplicate
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.input += other.input;
        self.written += other.written;
        self.rejected += other.rejected;
        self.duplicate += other.duplicate;
    }
}

/// What the engine made of a [`Fetched`]: this is what sinks take.
#[derive(Debug)]
pub struct Outcome {
    /// Name of the source.
    pub source: Arc<str>,
    pub covers: Vec<Interval>,
    /// The columns of the contract, in its order and types. Rows of one partition are in the order of their offsets.
    pub rows: RecordBatch,
    /// One per row of `rows`.
    pub origins: Vec<Origin>,
    /// In the order of their offsets per partition.
    pub rejects: Vec<Reject>,
    pub tally: Tally,
    /// How often each warning was raised, as `field:code`.
    pub flags: BTreeMap<Arc<str>, u64>,
    pub held: Option<Held>,
}

/// Rows as computed, with those struck out that do not go on.
#[derive(Debug)]
pub struct Checked {
    pub source: Arc<str>,
    pub covers: Vec<Interval>,
    /// The contract's columns; includes rows that are not alive.
    pub rows: RecordBatch,
    pub origins: Vec<Origin>,
    /// Whether a row goes on. Dedup strikes out more.
    pub alive: Vec<bool>,
    pub duplicates: u64,
    pub rejects: Vec<Reject>,
    pub input: u64,
    /// Position of the flags column in `rows`.
    pub flagged: Option<usize>,
    /// How often each flag stands in rows that are alive.
    pub flags: BTreeMap<Arc<str>, u64>,
    pub held: Option<Held>,
}

impl Checked {
    /// A row that is alive was there before.
    pub fn strike_out(&mut self, row: usize) {
        self.alive[row] = false;
        self.duplicates += 1;
        let Some(at) = self.flagged.filter(|at| self.rows.column(*at).is_valid(row)) else { return };
        let flags = self.rows.column(at).as_list::<i32>().value(row);
        for flag in flags.as_string::<i32>().iter().flatten() {
            if let Some(count) = self.flags.get_mut(flag) {
                *count -= 1;
            }
        }
    }

    /// Leaves only what is alive, and closes the account.
    ///
    /// `schema` is the contract's; a batch whose required columns still hold NULL is our mistake.
    pub fn finish(self, schema: &SchemaRef) -> Result<Outcome> {
        let written = self.alive.iter().filter(|alive| **alive).count();
        let (rows, origins) = if written == self.alive.len() {
            (self.rows, self.origins)
        } else {
            let mask = BooleanArray::from(self.alive.clone());
            let rows = filter_record_batch(&self.rows, &mask).expect("the mask has a bit per row");
            let alive = self.alive.iter().zip(&self.origins).filter(|(alive, _)| **alive);
            (rows, alive.map(|(_, origin)| *origin).collect())
        };
        let columns = rows.columns().to_vec();
        let options = RecordBatchOptions::new().with_row_count(Some(written));
        let rows = RecordBatch::try_new_with_options(schema.clone(), columns, &options)
            .map_err(|error| Error::bug(format!("rows do not fit their contract: {error}")))?;
        let tally = Tally {
            input: self.input,
            written: written as u64,
            rejected: self.rejects.len() as u64,
            duplicate: self.duplicates,
        };
        if !tally.balances() {
            return Err(Error::bug(format!("a batch of source {} does not add up: {tally:?}", self.source)));
        }
        let mut flags = self.flags;
        flags.retain(|_, count| *count > 0);
        Ok(Outcome {
            source: self.source,
            covers: self.covers,
            rows,
            origins,
            rejects: self.rejects,
            tally,
            flags,
            held: self.held,
        })
    }
}

/// Bytes in flight between the source and the slowest sink. The source asks before it reads on.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: Mutex<usize>,
    freed: Condvar,
    /// Shows what is used.
    gauge: IntGauge,
}

impl Budget {
    pub fn new(limit: usize) -> Arc<Budget> {
        Budget::shown(limit, IntGauge::new("in_flight_bytes", "shown to nobody").expect("a name"))
    }

    /// One whose use is shown.
    pub fn shown(limit: usize, gauge: IntGauge) -> Arc<Budget> {
        Arc::new(Budget { limit, used: Mutex::new(0), freed: Condvar::new(), gauge })
    }

    /// Takes `bytes` without waiting: the batch exists already. Waiting is [`Budget::wait`]'s business.
    pub fn hold(self: &Arc<Budget>, bytes: usize) -> Held {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) += bytes;
        self.gauge.add(bytes as i64);
        Held { bytes, budget: self.clone() }
    }

    /// Bytes in flight.
    pub fn used(&self) -> usize {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is room or `patience` is over; tells whether there is room.
    pub fn wait(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        while *used >= self.limit {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return false };
            used = self.freed.wait_timeout(used, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// Bytes of a [`Budget`], given back on drop.
#[derive(Debug)]
pub struct Held {
    bytes: usize,
    budget: Arc<Budget>,
}

impl Held {
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives some of the bytes, if it has as many, to another.
    fn split_off(&mut self, bytes: usize) -> Held {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Held { bytes, budget: self.budget.clone() }
    }

    /// Holds no less than this, whether or not there is room: what is there already is counted, so that the source waits.
    pub fn at_least(&mut self, bytes: usize) {
        let more = bytes.saturating_sub(self.bytes);
        if more > 0 {
            self.bytes += std::mem::take(&mut self.budget.hold(more).bytes);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        *self.budget.used.lock().unwrap_or_else(PoisonError::into_inner) -= self.bytes;
        self.budget.gauge.sub(self.bytes as i64);
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests;
