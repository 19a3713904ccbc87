//! What an archive is told: where its tables are, and how they are written.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{log, table::Table};
use crate::{
    config::Config,
    error::{Error, Result},
};

#[derive(Clone, Debug)]
pub struct Settings {
    /// Folder under which the tables lie; created when absent.
    pub location: PathBuf,
    /// The rows table's folder in it; the rejects' is `{path}_rejects`.
    pub path: String,
    /// Whether tables that are not there are begun. When they have been there, they have vanished, and with them what
    /// dedup would have learned.
    pub create: bool,
    /// `ingested_on` (the day of `_ingested_at` in `time_zone`) or text, date and integer columns of the contract.
    pub partition_by: Vec<String>,
    pub interval: Duration,
    pub file_size: usize,
    pub accept_foreign_writes: bool,
    pub pipeline: Arc<str>,
    pub instance: String,
    pub time_zone: chrono_tz::Tz,
}

impl Settings {
    /// Those of a pipeline's archive sink.
    pub fn new(config: &Config, path: &str, partition_by: &[String], pipeline: &Arc<str>) -> Settings {
        Settings {
            location: config.archive.location.clone(),
            path: path.to_owned(),
            create: true,
            partition_by: partition_by.to_vec(),
            interval: config.archive.interval,
            file_size: config.archive.file_size,
            accept_foreign_writes: config.archive.accept_foreign_writes,
            pipeline: pipeline.clone(),
            instance: config.instance.clone(),
            time_zone: chrono_tz::Asia::Shanghai,
        }
    }

    /// Whether there is a table already, of the rows or of the rejects.
    pub fn are_there(&self) -> bool {
        [self.path.clone(), format!("{}_rejects", self.path)]
            .iter()
            .any(|path| log::is_begun(&self.location.join(path)))
    }

    /// A table in the folder of another one: readers without Delta, and whoever deletes the other, take it for its files.
    pub(super) fn refuse_a_place_in_a_table(&self) -> Result<()> {
        let root = self.location.join(&self.path);
        let mut around = root.ancestors().skip(1).take_while(|folder| folder.starts_with(&self.location));
        // Into one that cannot be looked into the sink cannot write either, and says that.
        let Some(other) = around.find(|folder| log::is_seen(folder)) else { return Ok(()) };
        let (root, other) = (root.display(), other.display());
        Err(Error::config(format!(
            "archive: {root} lies in the table {other}, whose readers would take it for a part of that: give the pipeline's \
             [[sink]] another path"
        )))
    }

    /// A pipeline whose folder got another name has no cursors: it would write everything a second time.
    pub(super) fn refuse_other_pipelines(&self, table: &Table) -> Result<()> {
        let theirs = |app: &&str| {
            let parts: Vec<&str> = app.split('/').collect();
            parts.len() > 2 && parts[0] != &*self.pipeline && parts[parts.len() - 1].parse::<u32>().is_ok()
        };
        let Some(app) = table.apps().find(theirs).filter(|_| !self.accept_foreign_writes) else { return Ok(()) };
        let (root, own) = (table.root().display(), &self.pipeline);
        let other = app.split('/').next().unwrap_or_default();
        Err(Error::config(format!(
            "archive: {root} holds rows of the pipeline {other}, this is {own}, which would write them once more: give the \
             pipeline's folder its old name, or its [[sink]] another path (foreign_writes = \"accept\" allows both in one \
             table)"
        )))
    }
}
