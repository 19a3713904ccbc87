//! What others may have done to a table, and what not.

use std::path::Path;

use super::{
    damage,
    entry::{Entry, Metadata, Protocol},
    log::{self, Part},
    table::{BOUNDED, Table},
};
use crate::error::{Error, Result};

/// Cursors are forgotten after so long, if it is set.
const FORGETS: &str = "delta.setTransactionRetentionDuration";

impl Table {
    /// Looks at the data that was written while we were away, up to a version: everything after the last commit of ours.
    /// What the table's columns were in between does not matter.
    pub fn look_back(&self, version: u64) -> Result<()> {
        if self.place().accept_foreign {
            return Ok(());
        }
        for version in (0..=version).rev() {
            match self.read(version)? {
                Some(entry) if entry.commit().is_none() => self.check_data(version, &entry)?,
                _ => break,
            }
        }
        Ok(())
    }

    pub fn accept(&self, version: u64, entry: &Entry) -> Result<()> {
        if let Some(metadata) = &entry.metadata {
            self.check_metadata(version, metadata)?;
        }
        if let Some(protocol) = &entry.protocol {
            self.check_protocol(version, protocol)?;
        }
        self.check_data(version, entry)
    }

    fn check_data(&self, version: u64, entry: &Entry) -> Result<()> {
        if self.place().accept_foreign {
            return Ok(());
        }
        let Some(what) = entry.foreign_data() else { return Ok(()) };
        Err(Error::config(format!(
            "table {} was written by another program: version {version}, {what}; if that is meant, set \
             foreign_writes = \"accept\" under [archive] in huiju.toml",
            self.root().display()
        )))
    }

    pub fn check_metadata(&self, version: u64, metadata: &Metadata) -> Result<()> {
        let schema = metadata.schema().map_err(|e| self.failed(format_args!("understand the schema"), e))?;
        let mut wrong = self.shape().differences(&schema, &metadata.partition_columns);
        let widened = self.shape().widen(&schema).schema;
        if !wrong.is_empty() && self.shape().differences(&widened, &metadata.partition_columns).is_empty() {
            wrong.push(format!("`huiju archive add-columns {}` adds what is not in the table", self.place().pipeline));
        }
        let unbounded = self.listed_without_bounds(metadata);
        if !unbounded.is_empty() {
            wrong.push(format!(
                "{BOUNDED} lists {}, of which new files have no bounds: readers that filter by it would miss their rows. \
                 `huiju archive add-columns {}` takes it off the list",
                unbounded.join(", "),
                self.place().pipeline
            ));
        }
        if metadata.configuration.contains_key(FORGETS) {
            wrong.push(format!(
                "{FORGETS} is set: cursors of idle partitions would be lost; take it away with \
                 `ALTER TABLE … UNSET TBLPROPERTIES ('{FORGETS}')`"
            ));
        }
        if wrong.is_empty() {
            return Ok(());
        }
        Err(Error::config(format!(
            "table {} (version {version}) is not what contract {} says; nothing was changed:\n  {}",
            self.root().display(),
            self.place().contract,
            wrong.join("\n  ")
        )))
    }

    /// Columns that readers look for bounds of, and that the contract gives none (any more).
    fn listed_without_bounds<'m>(&self, metadata: &'m Metadata) -> Vec<&'m str> {
        let listed = metadata.configuration.get(BOUNDED).and_then(Option::as_deref).unwrap_or_default();
        let (ours, stored) = (self.shape().bounded(), &self.shape().stored);
        let lacks = |name: &&str| stored.index_of(name).is_ok() && !ours.contains(name);
        listed.split(',').map(str::trim).filter(lacks).collect()
    }

    pub fn check_protocol(&self, version: u64, protocol: &Protocol) -> Result<()> {
        refuse_unknown(self.root(), version, protocol)
    }
}

/// Refuses a table that asks its writers for what we cannot honour, with a way out that is open.
pub(super) fn refuse_unknown(root: &Path, version: u64, protocol: &Protocol) -> Result<()> {
    let Some(unknown) = protocol.beyond_us() else { return Ok(()) };
    let statements = protocol.statements();
    let mut ways = Vec::from_iter(statements.as_ref().map(|statements| format!("take that out ({statements})")));
    let asked = damage::protocol(root).map(|(version, _)| version);
    if let Some(asked) = asked.filter(|asked| *asked > 0 && log::ends_with(root, *asked)) {
        ways.push(format!(
            "remove {}, which asked for it, with all of its number beside it, as long as nothing was written after it",
            root.join(Part::entry(asked).path()).display()
        ));
    }
    ways.push("give the pipeline's [[sink]] another `path`".to_owned());
    let stays = if statements.is_none() { "; Delta cannot drop that again" } else { "" };
    Err(Error::config(format!(
        "table {} (version {version}) needs {unknown}, which this version of huiju cannot write{stays}: {}",
        root.display(),
        ways.join(", or ")
    )))
}
