//! A pipeline folder.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::table::place;
pub use super::{
    folder::{read, read_all},
    rules::with_files,
};

#[derive(Clone, Debug)]
pub struct Pipeline {
    /// The folder's name.
    pub name: Arc<str>,
    pub folder: PathBuf,
    /// Name of the contract its rows follow.
    pub contract: String,
    pub dedup: Option<Dedup>,
    pub rejects: RejectLimit,
    pub gaps: Gaps,
    pub start: Start,
    pub sinks: Vec<Sink>,
    /// Columns whose values are counted by source.
    pub values: Vec<String>,
    /// In the order of their names.
    pub sources: Vec<Source>,
    /// In the order of their numbers.
    pub stages: Vec<Stage>,
}

impl Pipeline {
    /// Where `path`, such as `sink.1.key.0`, is written in its `pipeline.toml`: file and line.
    pub fn place(&self, path: &str) -> String {
        place(&self.folder.join("pipeline.toml"), path)
    }
}

/// Which rows are the same, and for how long we remember.
#[derive(Clone, Debug)]
pub struct Dedup {
    pub key: Vec<String>,
    pub within: Duration,
    /// Accepts that equal keys in different partitions are not found.
    pub per_partition: bool,
    /// Stop rather than remember more keys than this.
    pub max_keys: usize,
}

/// The circuit breaker.
#[derive(Clone, Copy, Debug)]
pub struct RejectLimit {
    /// Share of rejected rows, 0 to 1, at which the pipeline stops.
    pub limit: f64,
    /// Rows of a source it is measured over.
    pub over: u64,
}

/// What to do when messages that we have not read are gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gaps {
    Stop,
    /// Go on after it, and keep a record in the archive.
    Record,
}

/// Where to start in a partition that no sink has a cursor for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    Beginning,
    End,
}

#[derive(Clone, Debug)]
pub enum Sink {
    Kafka { topic: String, rejected: String, key: Vec<String>, raw: RawTexts },
    Archive { path: String, partition_by: Vec<String> },
}

/// Which texts as received (the contract's `raw` columns) the clean topic carries. The archive has all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RawTexts {
    Always,
    /// Only where nothing could be made of them: the column they belong to is NULL, or flagged.
    Unread,
}

/// One feed: a city's or department's.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file's stem.
    pub name: Arc<str>,
    pub topics: Vec<String>,
    /// A name of the WHATWG Encoding Standard; `utf-8` if absent.
    pub charset: Option<&'static encoding_rs::Encoding>,
    pub time_zone: chrono_tz::Tz,
    /// Division code of the feed's home: area code of local phones, parent of bare place names.
    pub home: Option<String>,
    /// Path of the array that holds the rows, e.g. `data.orders`; a message is one row when absent.
    pub rows: Option<String>,
    /// Columns of the contract that decide a message's partition; empty when not known.
    pub keyed_by: Vec<String>,
    /// The SQL that maps its fields to the pipeline's raw columns.
    pub map: Stage,
    /// `table, alias, code, where it is written`: what this source calls the codes.
    pub aliases: Vec<Alias>,
}

impl Source {
    /// Where `path`, such as `keyed_by.0`, is written in its file: file and line.
    pub fn place(&self, path: &str) -> String {
        place(&self.map.path.with_extension("toml"), path)
    }
}

#[derive(Clone, Debug)]
pub struct Alias {
    pub table: String,
    /// `*` with code `*`: this source sends the standard's own codes.
    pub alias: String,
    pub code: String,
    pub at: String,
}

/// One SQL file: one SELECT.
#[derive(Clone, Debug)]
pub struct Stage {
    /// File name without number and ending: the name later stages select from.
    pub name: Arc<str>,
    /// As the user would write it.
    pub path: PathBuf,
    pub sql: String,
}
