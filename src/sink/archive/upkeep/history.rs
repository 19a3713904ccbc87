//! What happened to a table, from its log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::name;
use crate::{
    error::Result,
    sink::archive::{
        disk,
        log::{self, Kind, Part},
        table::Table,
    },
};

/// One version of a table.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Version {
    pub table: String,
    pub version: u64,
    /// Milliseconds since 1970.
    pub at_ms: Option<i64>,
    pub operation: String,
    /// The program, or the pipeline and instance when it is huiju.
    pub by: String,
    pub added: usize,
    pub removed: usize,
    /// Rows in added files, as far as their statistics tell.
    pub rows: u64,
    /// What the commit says of itself: in, written, rejected, duplicate.
    pub account: BTreeMap<String, u64>,
    /// The next offsets it committed.
    pub cursors: BTreeMap<String, i64>,
}

/// Tells the versions that the log still has, newest first. The table need not be one that could be opened: who asks what
/// has happened asks for what makes it so.
pub(super) fn history(table: &Table, limit: usize, told: &mut dyn FnMut(&Version) -> Result<()>) -> Result<()> {
    let newest = log::list(table.root())?.into_iter().rfind(|part| part.kind == Kind::Entry);
    for version in (0..=newest.map_or(0, |part| part.version)).rev().take(limit) {
        let Some(text) = table.text(version)? else { break };
        let mut one = Version { table: name(table), version, ..Version::default() };
        let lines = serde_json::Deserializer::from_slice(&text).into_iter::<Line>();
        for line in lines {
            let path = table.root().join(Part::entry(version).path());
            let line = line.map_err(|e| disk::failed("understand", &path, e))?;
            one.take(line);
        }
        told(&one)?;
    }
    Ok(())
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Line {
    commit_info: Option<Info>,
    txn: Option<Txn>,
    add: Option<Add>,
    remove: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Info {
    timestamp: Option<i64>,
    operation: Option<String>,
    engine_info: Option<String>,
    huiju: Option<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Txn {
    app_id: String,
    version: i64,
}

#[derive(Deserialize)]
struct Add {
    stats: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Stats {
    num_records: u64,
}

impl Version {
    fn take(&mut self, line: Line) {
        if let Some(info) = line.commit_info {
            self.at_ms = info.timestamp;
            self.operation = info.operation.unwrap_or_default();
            self.by = info.engine_info.unwrap_or_default();
            if let Some(own) = info.huiju {
                let text = |name: &str| own.get(name).and_then(Value::as_str).unwrap_or_default();
                self.by = format!("{} {}", text("pipeline"), text("instance"));
                let counts = own.iter().filter_map(|(name, value)| Some((name.clone(), value.as_u64()?)));
                self.account = counts.collect();
            }
        }
        if let Some(add) = line.add {
            self.added += 1;
            let stats = add.stats.and_then(|text| serde_json::from_str::<Stats>(&text).ok());
            self.rows += stats.unwrap_or_default().num_records;
        }
        self.removed += usize::from(line.remove.is_some());
        self.cursors.extend(line.txn.map(|txn| (txn.app_id, txn.version)));
    }
}
