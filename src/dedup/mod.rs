//! Strikes out rows whose key has come before.
//!
//! A hotline publishes an order again whenever somebody presses save or a request times out, so the same key comes
//! several times. We keep the first within a window of message time.
//!
//! # The rule
//!
//! The memory holds the **position** (offset, row) and the message time of accepted rows. A row is accepted if it is in
//! the memory itself. Otherwise the last accepted row with the same key *before* it decides: the row is a duplicate if
//! its time is not later than that one's plus the window. If it is later, or if there is no such row, the row is
//! accepted and remembered. A message without a time counts as of 1970.
//!
//! # Why it is sound
//!
//! The verdict about a position depends on what stands before it, and on nothing that is learned, asked or remembered
//! after it. So a batch that is read again after a rewind or a crash is judged as it was the first time, and the order in
//! which rows are learned does not matter. Rows that the archive holds beyond the place where reading begins again are
//! harmless: they were accepted, and stay so.
//!
//! Forgetting is sound because the accepted rows of a key, in the order of their positions, are each more than a window
//! later than the one before. Thrown out are rows that are more than two windows older than the newest message: of each
//! key the first few, never one between two that stay. A row that comes after that is, out of order or not, no older
//! than a window before the newest, so it is no copy of any of them.
//!
//! The memory is rebuilt from the archive when a partition becomes ours: from what was committed, so a failed output
//! never swallows a row. Needed are the rows before the place where reading begins, down to two windows before the
//! newest of them ([`Dedup::reach`]). Only rows that pass the checks claim a key, because only those reach the archive.
//!
//! # Where the promise ends
//!
//! Memory is per partition. Equal keys in different partitions are not found; `huiju check` wants the key to contain
//! the columns that decide the partition, or a line in `pipeline.toml` that accepts it. A window is as long as it
//! says: a copy that comes later is a row of its own. When more rows are remembered than `max_keys`, the pipeline stops
//! and says so, because forgetting early would let duplicates through in silence. Message times may run out of order by
//! one more window; a message without a time among others of its key that have one does not keep to that. A time that
//! is further in the future than a window, or than a day (a producer's clock), is not believed when old rows are thrown
//! out.
//!
//! Keys are remembered as 96 bits of their xxh3 hash: among a thousand million keys the chance that any two collide
//! is below 10⁻¹⁰.

use std::{collections::HashMap, time::Duration};

use arrow::{
    array::{Array, ArrayRef, AsArray, StringArray},
    datatypes::{DataType, Int32Type, Int64Type, TimestampMicrosecondType},
    record_batch::RecordBatch,
};
use chrono::{DateTime, TimeDelta, Utc};
use hashbrown::HashTable;
use xxhash_rust::xxh3::Xxh3;

use crate::{
    batch::Checked,
    clock::Clock,
    config,
    cursor::Partition,
    error::{Error, ErrorKind, Result},
};

#[cfg(test)]
mod tests;

/// An accepted row: 24 bytes, because there are millions of them. Most keys have one.
#[derive(Clone, Copy, Debug)]
struct Seen {
    hash: u64,
    more: u32,
    /// Message time in seconds since 1970; 0 when the message had none.
    second: u32,
    /// Offset and row, packed so that comparing compares positions.
    position: u64,
}

impl Seen {
    fn same_key(&self, other: &Seen) -> bool {
        self.hash == other.hash && self.more == other.more
    }

    /// Twice the window, because a row may be older than the newest we saw.
    fn outdated(&self, window: u32, newest: u32) -> bool {
        self.second != 0 && self.second.saturating_add(window.saturating_mul(2)) < newest
    }
}

/// Rows of one message beyond this are told apart no more; 2²⁰ rows in a message are refused by the decoder's limits.
const ROW_BITS: u32 = 20;

fn position(offset: i64, row: u32) -> u64 {
    ((offset as u64) << ROW_BITS) | u64::from(row.min((1 << ROW_BITS) - 1))
}

/// Rows below which nothing is thrown out.
const FEW: usize = if cfg!(test) { 8 } else { 1 << 16 };

#[derive(Debug)]
struct Memory {
    /// A key has an entry for each of its rows.
    seen: HashTable<Seen>,
    /// Newest believable message time among the rows judged, in seconds. What is learned may lie beyond them.
    newest: u32,
    /// Size at which the outdated are thrown out next.
    sweep_at: usize,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory { seen: HashTable::new(), newest: 0, sweep_at: FEW }
    }
}

/// Dedup of one pipeline, all partitions that are ours.
#[derive(Debug)]
pub struct Dedup {
    key: Vec<String>,
    window: u32,
    max_keys: usize,
    clock: Clock,
    memories: HashMap<Partition, Memory>,
}

impl Dedup {
    pub fn new(config: &config::Dedup, clock: Clock) -> Dedup {
        Dedup {
            key: config.key.clone(),
            window: u32::try_from(config.within.as_secs()).unwrap_or(u32::MAX),
            max_keys: config.max_keys,
            clock,
            memories: HashMap::new(),
        }
    }

    /// How far the memory reaches back from the newest message of a partition: rows older than that it need not learn. A
    /// second more than two windows, because the memory counts whole ones.
    pub fn reach(&self) -> Duration {
        Duration::from_secs(u64::from(self.window) * 2 + 1)
    }

    /// Rows remembered: one for most keys, more for those that were accepted again.
    pub fn keys(&self) -> usize {
        self.memories.values().map(|memory| memory.seen.len()).sum()
    }

    /// Forgets what it knows of these partitions: they are new to us, or no longer ours.
    pub fn forget(&mut self, partitions: &[Partition]) {
        partitions.iter().for_each(|partition| drop(self.memories.remove(partition)));
    }

    /// Learns committed rows: the key columns, then `_topic, _partition, _offset, _row, _ingested_at`.
    pub fn learn(&mut self, batch: &RecordBatch) -> Result<()> {
        let keys = self.key_columns(batch)?;
        let of = |name: &str| {
            batch.column_by_name(name).ok_or_else(|| Error::bug(format!("the archive gives no column {name}")))
        };
        let topic = arrow::compute::cast(of("_topic")?, &DataType::Utf8).map_err(|e| Error::bug(e.to_string()))?;
        let topic = topic.as_string::<i32>();
        let (number, row) = (of("_partition")?.as_primitive::<Int32Type>(), of("_row")?.as_primitive::<Int32Type>());
        let offset = of("_offset")?.as_primitive::<Int64Type>();
        let time = of("_ingested_at")?.as_primitive::<TimestampMicrosecondType>();
        let mut hasher = Xxh3::new();
        let mut last: Option<Partition> = None;
        for i in 0..batch.num_rows() {
            let same = last.as_ref().is_some_and(|p| p.number == number.value(i) && p.topic.as_ref() == topic.value(i));
            if !same {
                last = Some(Partition::new(topic.value(i), number.value(i)));
            }
            let partition = last.as_ref().expect("set above");
            let second = if time.is_valid(i) { seconds(time.value(i) / 1000) } else { 0 };
            let (hash, more) = hash(&mut hasher, &keys, i);
            let seen = Seen { hash, more, second, position: position(offset.value(i), row.value(i) as u32) };
            self.memory(partition).learn(seen);
        }
        self.bounded()
    }

    /// Strikes out rows whose key stands before them.
    pub fn strike_out(&mut self, checked: &mut Checked) -> Result<()> {
        let keys = self.key_columns(&checked.rows)?;
        let window = self.window;
        let latest = u32::try_from(self.latest().timestamp().max(0)).unwrap_or(u32::MAX);
        let mut hasher = Xxh3::new();
        let mut seen_before = Vec::new();
        // One look-up of the memory per partition, not per row; within a partition the order stays.
        let cover = |row: usize| checked.origins[row].cover;
        let mut rows: Vec<usize> = (0..checked.origins.len()).filter(|row| checked.alive[*row]).collect();
        rows.sort_by_key(|row| cover(*row));
        for rows in rows.chunk_by(|one, next| cover(*one) == cover(*next)) {
            let memory = self.memory(&checked.covers[cover(rows[0]) as usize].partition);
            for &row in rows {
                let origin = &checked.origins[row];
                let (hash, more) = hash(&mut hasher, &keys, row);
                let second = origin.timestamp.map_or(0, seconds);
                let position = position(origin.offset, origin.row);
                if !memory.accept(Seen { hash, more, second, position }, window, latest) {
                    seen_before.push(row);
                }
            }
        }
        seen_before.into_iter().for_each(|row| checked.strike_out(row));
        self.bounded()
    }

    /// Message times after this are not believed: we forget what is two windows older than a time that is, and that must
    /// be nothing that is within a window of now.
    pub fn latest(&self) -> DateTime<Utc> {
        self.clock.now() + TimeDelta::seconds(i64::from(self.window).min(24 * 60 * 60))
    }

    fn memory(&mut self, partition: &Partition) -> &mut Memory {
        if !self.memories.contains_key(partition) {
            self.memories.insert(partition.clone(), Memory::default());
        }
        self.memories.get_mut(partition).expect("inserted above")
    }

    fn key_columns(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let column = |name: &String| {
            batch.column_by_name(name).cloned().ok_or_else(|| Error::bug(format!("there is no key column {name}")))
        };
        self.key.iter().map(column).collect()
    }

    /// Only what is alive counts: of many partitions, none of them large, nothing has been thrown out yet.
    fn bounded(&mut self) -> Result<()> {
        if self.keys() <= self.max_keys {
            return Ok(());
        }
        let window = self.window;
        self.memories.values_mut().for_each(|memory| memory.sweep(window));
        let keys = self.keys();
        if keys <= self.max_keys {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Config,
            format!(
                "dedup remembers {keys} keys, more than max_keys = {}: shorten [dedup] within or raise max_keys \
                 (about 40 bytes a key) in pipeline.toml",
                self.max_keys
            ),
        ))
    }
}

impl Memory {
    /// Remembers a row that was accepted before.
    fn learn(&mut self, row: Seen) {
        if !self.seen.iter_hash(row.hash).any(|seen| seen.same_key(&row) && seen.position == row.position) {
            self.seen.insert_unique(row.hash, row, |seen| seen.hash);
        }
    }

    /// Whether the row is no duplicate; remembers it if so.
    fn accept(&mut self, row: Seen, window: u32, latest: u32) -> bool {
        if row.second <= latest {
            self.newest = self.newest.max(row.second);
        }
        let newest = self.newest;
        let mut before: Option<Seen> = None;
        let mut free = None;
        for seen in self.seen.iter_hash_mut(row.hash).filter(|seen| seen.same_key(&row)) {
            if seen.position == row.position {
                return true;
            }
            if seen.position < row.position && before.is_none_or(|before| before.position < seen.position) {
                before = Some(*seen);
            }
            if seen.outdated(window, newest) {
                free = Some(seen);
            }
        }
        if before.is_some_and(|before| row.second <= before.second.saturating_add(window)) {
            return false;
        }
        // A key that comes again all the time takes no more room than it needs.
        if let Some(free) = free {
            *free = row;
            return true;
        }
        self.seen.insert_unique(row.hash, row, |seen| seen.hash);
        if self.seen.len() >= self.sweep_at {
            self.sweep(window);
        }
        true
    }

    /// Throws the outdated out.
    fn sweep(&mut self, window: u32) {
        let newest = self.newest;
        self.seen.retain(|seen| !seen.outdated(window, newest));
        self.sweep_at = (self.seen.len() * 5 / 4).max(FEW);
    }
}

fn seconds(ms: i64) -> u32 {
    u32::try_from(ms.max(0) / 1000).unwrap_or(u32::MAX)
}

/// 96 bits of a row's key. Lengths are hashed too, so `("a", "bc")` differs from `("ab", "c")`; and whether there is a
/// value, so `(NULL, 1)` differs from `(256, NULL)`. An empty text counts as NULL in every column: the archive gives it
/// back as NULL when it is one of `partition_by`, and the row must have the key it had when it came.
fn hash(hasher: &mut Xxh3, keys: &[ArrayRef], row: usize) -> (u64, u32) {
    hasher.reset();
    for key in keys {
        let is_empty = |text: &StringArray| text.value_length(row) == 0;
        if key.is_null(row) || key.as_string_opt::<i32>().is_some_and(is_empty) {
            hasher.update(&[0]);
            continue;
        }
        hasher.update(&[1]);
        match key.data_type() {
            DataType::Utf8 => {
                let text = key.as_string::<i32>().value(row);
                hasher.update(&(text.len() as u32).to_le_bytes());
                hasher.update(text.as_bytes());
            }
            DataType::Timestamp(..) => {
                hasher.update(&key.as_primitive::<TimestampMicrosecondType>().value(row).to_le_bytes())
            }
            DataType::Int64 => hasher.update(&key.as_primitive::<Int64Type>().value(row).to_le_bytes()),
            DataType::Int32 => hasher.update(&key.as_primitive::<Int32Type>().value(row).to_le_bytes()),
            DataType::Date32 => {
                hasher.update(&key.as_primitive::<arrow::datatypes::Date32Type>().value(row).to_le_bytes())
            }
            // `check` lets only these be keys.
            _ => {}
        }
    }
    let hash = hasher.digest128();
    (hash as u64, (hash >> 64) as u32)
}

/// Whether a column of this type can be part of a key.
pub fn can_be_key(kind: &crate::contract::Kind) -> bool {
    use crate::contract::Kind::*;
    matches!(kind, Text | Integer | Long | Timestamp | Date)
}
