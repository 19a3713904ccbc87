//! Counts what came out, from outside, and compares it with what went in.

use std::{
    collections::{BTreeSet, HashSet},
    fs::{self, File},
    path::Path,
    time::{Duration, Instant},
};

use parquet::file::reader::{FileReader, SerializedFileReader};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};
use xxhash_rust::xxh3::xxh3_64;

use crate::{PARTITIONS, Result, load::Loaded};

const LIMIT: Duration = Duration::from_secs(300);

pub struct Counted {
    pub clean: Topic,
    pub rejected: Topic,
    pub archive: Table,
    pub archive_rejects: Table,
}

pub struct Topic {
    pub messages: u64,
    /// Different ones among them: a row that is there twice must not make up for one that is missing.
    pub distinct: u64,
}

#[derive(Default)]
pub struct Table {
    pub rows: u64,
    pub files: u64,
}

impl Table {
    /// What is more than there was before.
    pub fn less(self, before: &Table) -> Table {
        Table { rows: self.rows - before.rows, files: self.files - before.files }
    }
}

/// The end of each partition.
pub fn ends(bootstrap: &str, topic: &str) -> Result<Vec<i64>> {
    let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", bootstrap).create()?;
    let end = |partition| Ok(client.fetch_watermarks(topic, partition, Duration::from_secs(30))?.1);
    (0..PARTITIONS).map(end).collect()
}

/// Committed messages from these offsets on.
pub fn committed(bootstrap: &str, topic: &str, from: &[i64]) -> Result<Topic> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "bench-counts")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("queued.max.messages.kbytes", "16384")
        .create()?;
    let mut partitions = TopicPartitionList::new();
    for (partition, offset) in from.iter().enumerate() {
        partitions.add_partition_offset(topic, partition as i32, Offset::Offset(*offset))?;
    }
    consumer.assign(&partitions)?;
    let mut open: BTreeSet<i32> = (0..PARTITIONS).collect();
    let (mut messages, mut distinct) = (0, HashSet::new());
    let begun = Instant::now();
    while !open.is_empty() {
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => {
                messages += 1;
                distinct.insert(xxh3_64(message.payload().unwrap_or_default()));
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
            Some(Err(error)) => return Err(error.into()),
            None if begun.elapsed() > LIMIT => return Err(format!("{topic}: no end after {LIMIT:?}").into()),
            None => {}
        }
    }
    Ok(Topic { messages, distinct: distinct.len() as u64 })
}

/// Rows by the files' own footers, as a reader that does not know Delta finds them.
pub fn archive(folder: &Path) -> Result<Table> {
    let mut table = Table::default();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('_') {
            let inner = archive(&path)?;
            table.rows += inner.rows;
            table.files += inner.files;
        } else if name.ends_with(".parquet") {
            let rows = SerializedFileReader::new(File::open(&path)?)?.metadata().file_metadata().num_rows();
            table.rows += rows as u64;
            table.files += 1;
        }
    }
    Ok(table)
}

/// Every count, against what was generated; all differences at once.
pub fn check(said: &[serde_json::Value], counted: &Counted, loaded: &Loaded) -> Result<()> {
    let says = |name: &str| said.iter().map(|said| said[name].as_u64().unwrap_or(u64::MAX / 4)).sum();
    let facts = [
        ("huiju says in", says("in"), loaded.rows()),
        ("huiju says written", says("written"), loaded.good()),
        ("huiju says rejected", says("rejected"), loaded.bad),
        ("huiju says duplicate", says("duplicate"), loaded.duplicates),
        ("rows in the clean topic", counted.clean.messages, loaded.good()),
        ("different rows in the clean topic", counted.clean.distinct, loaded.good()),
        ("messages in the rejected topic", counted.rejected.messages, loaded.bad),
        ("rows in the archive", counted.archive.rows, loaded.good()),
        ("rejects in the archive", counted.archive_rejects.rows, loaded.bad),
    ];
    let wrong: Vec<String> = facts
        .iter()
        .filter(|(_, found, expected)| found != expected)
        .map(|(what, found, expected)| format!("{what}: {found}, expected {expected}"))
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(format!("counts do not agree:\n{}", wrong.join("\n")).into()) }
}
