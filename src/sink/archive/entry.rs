//! A log entry, as far as we have to understand what others wrote.

use std::collections::{BTreeMap, HashMap};

use deltalake_core::kernel::Remove;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

/// Writer features of a table that a plain append need not know about.
const HARMLESS: [&str; 6] =
    ["appendOnly", "deletionVectors", "invariants", "timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"];

/// Of the others, those that Delta can take out of a table again.
const DROPPABLE: [&str; 4] = ["checkConstraints", "columnMapping", "inCommitTimestamp", "typeWidening"];

#[derive(Default, Debug)]
pub(super) struct Entry {
    info: Info,
    /// Files added that hold new data.
    files: usize,
    /// Paths of files taken out of the table.
    pub removed: Vec<String>,
    pub cursors: HashMap<String, i64>,
    pub metadata: Option<Metadata>,
    pub protocol: Option<Protocol>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Line {
    commit_info: Option<Info>,
    txn: Option<Txn>,
    add: Option<AddFile>,
    remove: Option<Remove>,
    meta_data: Option<Metadata>,
    protocol: Option<Protocol>,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default, rename_all = "camelCase")]
struct Info {
    timestamp: Option<i64>,
    operation: Option<String>,
    engine_info: Option<String>,
    huiju: Option<Own>,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
struct Own {
    commit_id: Uuid,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Txn {
    app_id: String,
    version: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AddFile {
    data_change: bool,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Metadata {
    pub schema_string: String,
    pub partition_columns: Vec<String>,
    pub configuration: BTreeMap<String, Option<String>>,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Protocol {
    pub min_writer_version: i32,
    pub writer_features: Option<Vec<String>>,
}

impl Entry {
    /// An entry without actions is none.
    pub fn parse(bytes: &[u8]) -> serde_json::Result<Entry> {
        let mut entry = Entry::default();
        if bytes.trim_ascii().is_empty() {
            return Err(serde::de::Error::custom("there is nothing in it"));
        }
        for line in serde_json::Deserializer::from_slice(bytes).into_iter::<Line>() {
            let line = line?;
            entry.info = line.commit_info.unwrap_or(entry.info);
            entry.files += usize::from(line.add.is_some_and(|add| add.data_change));
            entry.removed.extend(line.remove.map(|remove| remove.path));
            entry.cursors.extend(line.txn.map(|txn| (txn.app_id, txn.version)));
            entry.metadata = line.meta_data.or(entry.metadata);
            entry.protocol = line.protocol.or(entry.protocol);
        }
        Ok(entry)
    }

    /// Id of the commit when it is huiju's, of whatever pipeline and instance.
    pub fn commit(&self) -> Option<Uuid> {
        self.info.huiju.as_ref().map(|own| own.commit_id)
    }

    /// When it was written, by its own word.
    pub fn at_ms(&self) -> Option<i64> {
        self.info.timestamp
    }

    /// Says what another program did to the data, if it did.
    pub fn foreign_data(&self) -> Option<String> {
        let operation = self.info.operation.as_deref().unwrap_or("of unknown kind");
        // A DELETE writes files that hold the rows it left. RESTORE turns back the data but not the cursors.
        let changes = match operation {
            "DELETE" => false,
            "RESTORE" => true,
            _ => self.files > 0,
        };
        if self.info.huiju.is_some() || !changes {
            return None;
        }
        let by = self.info.engine_info.as_ref().map(|engine| format!(" by {engine}")).unwrap_or_default();
        Some(format!("operation {operation}{by}, {} files added", self.files))
    }
}

impl Metadata {
    pub fn schema(&self) -> serde_json::Result<Value> {
        serde_json::from_str(&self.schema_string)
    }
}

impl Protocol {
    /// What of it we cannot honour.
    pub fn beyond_us(&self) -> Option<String> {
        if self.min_writer_version <= 2 {
            return None;
        }
        let Some(features) = &self.writer_features else {
            let what = match self.min_writer_version {
                3 => "CHECK constraints",
                4 => "a change data feed or generated columns",
                5 => "column mapping",
                6 => "identity columns",
                _ => "features that it does not name",
            };
            return Some(format!(
                "writer version {} ({what}, or what the versions before have)",
                self.min_writer_version
            ));
        };
        let unknown = harmful(features);
        (!unknown.is_empty()).then(|| format!("table features {}", unknown.join(", ")))
    }

    /// The statements that take out what we cannot honour, where there are any.
    pub fn statements(&self) -> Option<String> {
        let features = match &self.writer_features {
            Some(features) => harmful(features),
            None if self.min_writer_version == 3 => vec!["checkConstraints"],
            // Those after it stand for a change data feed, too, which stays.
            None => return None,
        };
        if !features.iter().all(|feature| DROPPABLE.contains(feature)) {
            return None;
        }
        let drop = features.iter().map(|feature| format!("`ALTER TABLE … DROP FEATURE {feature}`"));
        // Delta does not drop that feature while there is a constraint.
        let before = features.contains(&"checkConstraints");
        let before = before.then(|| "`ALTER TABLE … DROP CONSTRAINT …` for each constraint".to_owned());
        Some(before.into_iter().chain(drop).collect::<Vec<_>>().join(", then "))
    }
}

fn harmful(features: &[String]) -> Vec<&str> {
    features.iter().map(String::as_str).filter(|feature| !HARMLESS.contains(feature)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINES: [&str; 7] = [
        r#"{"commitInfo":{"timestamp":1,"operation":"WRITE","huiju":{"commitId":"67e55044-10b1-426f-9247-bb680e5fe0c8"}}}"#,
        r#"{"txn":{"appId":"p/t/0","version":42,"lastUpdated":1}}"#,
        r#"{"add":{"path":"a%20b","partitionValues":{},"size":1,"modificationTime":0,"dataChange":true}}"#,
        r#"{"remove":{"path":"a%20b","dataChange":false,"deletionTimestamp":7}}"#,
        r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}"#,
        r#"{"metaData":{"schemaString":"{}","partitionColumns":[],"configuration":{}}}"#,
        r#"{"unheardOf":{"a":[1,2]}}"#,
    ];

    proptest! {
        #[test]
        fn an_entry_that_is_spoiled_is_an_error_or_an_entry(
            lines in prop::collection::vec(0..LINES.len(), 1..6),
            at in 0..2000_usize,
            bytes in prop::collection::vec(any::<u8>(), 0..4),
        ) {
            let mut text = lines.iter().map(|line| LINES[*line]).collect::<Vec<_>>().join("\n").into_bytes();
            let whole = Entry::parse(&text).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(whole.removed.len(), lines.iter().filter(|line| **line == 3).count());
            prop_assert!(whole.removed.iter().all(|path| path == "a b"));
            let at = at.min(text.len());
            text.splice(at..(at + bytes.len()).min(text.len()), bytes);
            if let Ok(entry) = Entry::parse(&text) {
                let _ = (entry.commit(), entry.foreign_data(), entry.at_ms());
                let _ = entry.metadata.map(|metadata| metadata.schema());
                let _ = entry.protocol.map(|protocol| (protocol.beyond_us(), protocol.statements()));
            }
        }
    }
}
