//! Strikes out rows whose key has come before.
//!
//! A hotline publishes an order again whenever somebody presses save or a request times out, so the same key comes
//! several times. We keep the first within a window of message time.
//!
//! # Why it is sound
//!
//! The memory maps a key to the **position** (offset, row) of its first row. A row is a duplicate if, and only if, a
//! row with the same key stands *before* it and not further back than the window. Asking twice about the same position gives the
//! same answer, so a batch that is read again after a rewind or a crash is judged as it was the first time.
//!
//! The memory is rebuilt from the archive when a partition becomes ours: from what was committed, so a failed output
//! never swallows a row. Rows that the archive holds beyond its cursor's reading are harmless: their positions are
//! their own. Only rows that pass the checks claim a key, because only those reach the archive.
//!
//! # Where the promise ends
//!
//! Memory is per partition. Equal keys in different partitions are not found; `huiju check` wants the key to contain
//! the columns that decide the partition, or a line in `pipeline.toml` that accepts it. A window is as long as it
//! says: a copy that comes later is a row of its own. When more keys are alive than `max_keys`, the pipeline stops and says so, because forgetting
//! early would let duplicates through in silence. Message times may run out of order by one more window; a time in
//! the future (a producer's clock) is not believed when old keys are thrown out.
//!
//! Keys are remembered as 96 bits of their xxh3 hash: among a thousand million keys the chance that any two collide
//! is below 10⁻¹⁰.

use std::{collections::HashMap, time::Duration};

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::{DataType, Int32Type, Int64Type, TimestampMicrosecondType},
    record_batch::RecordBatch,
};
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

/// A key seen: 24 bytes, because there are millions of them.
#[derive(Clone, Copy, Debug)]
struct Seen {
    hash: u64,
    more: u32,
    /// Message time in seconds since 1970; 0 when the message had none.
    second: u32,
    /// Offset and row of the first row, packed so that comparing compares positions.
    position: u64,
}

/// Rows of one message beyond this are told apart no more; 2²⁰ rows in a message are refused by the decoder's limits.
const ROW_BITS: u32 = 20;

fn position(offset: i64, row: u32) -> u64 {
    ((offset as u64) << ROW_BITS) | u64::from(row.min((1 << ROW_BITS) - 1))
}

#[derive(Debug)]
struct Memory {
    seen: HashTable<Seen>,
    /// Newest believable message time seen, in seconds.
    newest: u32,
    /// Size at which the outdated are thrown out next.
    sweep_at: usize,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory { seen: HashTable::new(), newest: 0, sweep_at: 1 << 16 }
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

    /// Columns of the contract that make the key.
    pub fn key(&self) -> &[String] {
        &self.key
    }

    pub fn window(&self) -> Duration {
        Duration::from_secs(self.window.into())
    }

    /// Keys remembered.
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
        let (window, latest) = (self.window, self.latest());
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
            self.memory(partition).first(seen, window, latest);
        }
        self.bounded()
    }

    /// Strikes out rows whose key stands before them.
    pub fn strike_out(&mut self, checked: &mut Checked) -> Result<()> {
        let keys = self.key_columns(&checked.rows)?;
        let (window, latest) = (self.window, self.latest());
        let mut hasher = Xxh3::new();
        // One look-up of the memory per partition, not per row.
        for (cover, interval) in checked.covers.iter().enumerate() {
            let memory = match self.memories.get_mut(&interval.partition) {
                Some(memory) => memory,
                None => self.memories.entry(interval.partition.clone()).or_default(),
            };
            for (row, origin) in checked.origins.iter().enumerate() {
                if origin.cover as usize != cover || !checked.alive[row] {
                    continue;
                }
                let (hash, more) = hash(&mut hasher, &keys, row);
                let second = origin.timestamp.map_or(0, seconds);
                let position = position(origin.offset, origin.row);
                if !memory.first(Seen { hash, more, second, position }, window, latest) {
                    checked.alive[row] = false;
                    checked.duplicates += 1;
                }
            }
        }
        self.bounded()
    }

    /// Message times after this are not believed.
    fn latest(&self) -> u32 {
        seconds(self.clock.now_ms()).saturating_add(24 * 60 * 60)
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

    fn bounded(&self) -> Result<()> {
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
    /// Whether the row is the first of its key; remembers it if so.
    fn first(&mut self, row: Seen, window: u32, latest: u32) -> bool {
        if row.second <= latest {
            self.newest = self.newest.max(row.second);
        }
        let entry = self.seen.entry(row.hash, |seen| seen.hash == row.hash && seen.more == row.more, |seen| seen.hash);
        match entry {
            hashbrown::hash_table::Entry::Occupied(mut seen) => {
                let seen = seen.get_mut();
                let outdated = row.second > seen.second.saturating_add(window) && row.position > seen.position;
                if row.position <= seen.position || outdated {
                    *seen = row;
                    true
                } else {
                    false
                }
            }
            hashbrown::hash_table::Entry::Vacant(place) => {
                place.insert(row);
                if self.seen.len() >= self.sweep_at {
                    let newest = self.newest;
                    // Twice the window, because a row may be older than the newest we saw.
                    self.seen.retain(|seen| {
                        seen.second == 0 || seen.second.saturating_add(window.saturating_mul(2)) >= newest
                    });
                    self.sweep_at = (self.seen.len() * 5 / 4).max(1 << 16);
                }
                true
            }
        }
    }
}

fn seconds(ms: i64) -> u32 {
    u32::try_from(ms.max(0) / 1000).unwrap_or(u32::MAX)
}

/// 96 bits of a row's key. Lengths are hashed too, so `("a", "bc")` differs from `("ab", "c")`.
fn hash(hasher: &mut Xxh3, keys: &[ArrayRef], row: usize) -> (u64, u32) {
    hasher.reset();
    for key in keys {
        if key.is_null(row) {
            hasher.update(&[0]);
            continue;
        }
        match key.data_type() {
            DataType::Utf8 => {
                let text = key.as_string::<i32>().value(row);
                hasher.update(&(text.len() as u32 + 1).to_le_bytes());
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
            _ => hasher.update(&[1]),
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
