//! One of the two tables together with what waits for its next commit.

use std::{collections::HashMap, fs, io, path::Path};

use arrow::record_batch::RecordBatch;
use chrono_tz::Tz;
use deltalake_core::kernel::{Add, Remove};
use serde_json::Value;
use uuid::Uuid;

use super::{
    commit::{Advance, Refused},
    disk,
    files::{Done, Files},
    folders::{self, Key},
    staging::{Intent, Staging},
    table::Table,
};
use crate::{
    cursor::Interval,
    error::{Error, Result},
    fault,
};

pub(super) struct Side {
    pub table: Table,
    pub(super) files: Files,
    rows: u64,
    done: Vec<Done>,
    /// Files made visible since it was opened.
    pub published: u64,
}

impl Side {
    pub fn open(table: Table, writer: Uuid, file_size: usize) -> Result<Side> {
        let staging = Staging::open(table.root(), writer)?;
        let mut about = HashMap::from([("huiju.columns", table.shape().comments())]);
        about.insert("huiju.pipeline", table.place().pipeline.to_string());
        about.insert("huiju.contract", table.place().contract.clone());
        let files = Files::new(staging, table.shape().clone(), file_size, about)?;
        Ok(Side { table, files, rows: 0, done: Vec::new(), published: 0 })
    }

    /// Adds rows, the day column still to be made, to the files of their partitions.
    pub fn write(&mut self, batch: &RecordBatch, covers: &[Interval], zone: Tz, now_ms: i64) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        for (key, part) in folders::split(batch, self.table.shape(), zone)? {
            self.files.write(key, part, covers, now_ms)?;
        }
        Ok(())
    }

    /// Rows handed over since the last commit.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Finishes all files; nothing is visible yet.
    pub fn finish(&mut self) -> Result<()> {
        self.files.finish()?;
        self.done.append(&mut self.files.done);
        let written: u64 = self.done.iter().map(|done| done.rows).sum();
        if written != self.rows {
            let table = self.table.root().display();
            return Err(Error::bug(format!(
                "archive: {} rows were written to {table}, its files hold {written}",
                self.rows
            )));
        }
        Ok(())
    }

    /// Makes the finished files visible together with the advanced cursors.
    ///
    /// After an error the files are either gone again (refused), or stay with their intent until the next open.
    pub fn publish(&mut self, advances: &[Advance], account: &Value) -> Result<()> {
        if advances.is_empty() && self.done.is_empty() {
            return Ok(());
        }
        if advances.is_empty() {
            return Err(Error::bug(format!("archive: rows of no interval in {}", self.table.root().display())));
        }
        self.make_visible(|table, id, adds| table.commit(id, advances, adds, account))
    }

    /// Puts the finished files in the place of others that hold the same rows.
    pub fn replace(&mut self, removes: &[Remove], account: &Value) -> Result<()> {
        self.done.iter_mut().for_each(|done| done.add.data_change = false);
        self.make_visible(|table, id, adds| table.replace(id, removes, adds, account))
    }

    /// How many files are finished, and their bytes.
    pub fn finished(&self) -> (usize, u64) {
        (self.done.len(), self.done.iter().map(|done| done.add.size.max(0) as u64).sum())
    }

    /// Adds rows, with the stored columns only, to the files of one partition.
    pub fn write_part(&mut self, key: Key, part: RecordBatch, covers: &[Interval], now_ms: i64) -> Result<()> {
        self.rows += part.num_rows() as u64;
        self.files.write(key, part, covers, now_ms)
    }

    /// Whether the outcome of the last commit is not known, or could not be noted: then only a new `open` may go on.
    pub fn is_unsettled(&self) -> bool {
        self.files.staging.is_unsettled()
    }

    fn make_visible(&mut self, commit: impl FnOnce(&mut Table, Uuid, &[Add]) -> Result<u64, Refused>) -> Result<()> {
        let id = Uuid::new_v4();
        let files: Vec<String> = self.done.iter().map(|done| done.add.path.clone()).collect();
        if !files.is_empty() {
            self.files.staging.intend(&Intent { commit: id, base: self.table.version(), files: files.clone() })?;
            fault::point("archive.after_intent");
            if let Err(e) = self.move_into_place() {
                self.files.staging.take_back(&files)?;
                return Err(e);
            }
            fault::point("archive.after_rename");
        }
        let adds: Vec<_> = self.done.iter().map(|done| done.add.clone()).collect();
        fault::point("archive.before_commit");
        if let Err(refused) = commit(&mut self.table, id, &adds) {
            if refused.proven && !files.is_empty() {
                self.files.staging.take_back(&files)?;
            }
            return Err(refused.error);
        }
        fault::point("archive.after_commit");
        self.published += self.done.len() as u64;
        self.done.clear();
        self.rows = 0;
        if !files.is_empty()
            && let Err(error) = self.files.staging.settle()
        {
            // The next intent takes its place, or the next start finds that its commit has landed.
            tracing::warn!(table = %self.table.root().display(), %error, "the commit has landed, its intent is still there");
        }
        Ok(())
    }

    /// Forgets what was written since the last commit.
    pub fn clear(&mut self) {
        self.files.clear();
        for done in self.done.drain(..) {
            // After a failed commit it may have been moved already; then the intent takes care of it.
            let _ = fs::remove_file(&done.staged);
        }
        self.rows = 0;
    }

    fn move_into_place(&self) -> Result<()> {
        let root = self.table.root();
        let mut folders: Vec<&Path> = Vec::new();
        for done in &self.done {
            let folder = Path::new(&done.add.path).parent().unwrap_or(Path::new(""));
            rename(root, folder, done)?;
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        folders.into_iter().try_for_each(|folder| disk::sync(&root.join(folder)))
    }
}

/// Moves a file into its folder. Whoever takes back a commit of his own may just have removed the empty folder.
fn rename(root: &Path, folder: &Path, done: &Done) -> Result<()> {
    let target = root.join(&done.add.path);
    let mut tries = 3;
    loop {
        disk::create_folder(root, folder)?;
        match disk::rename(&done.staged, &target) {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound && tries > 1 => tries -= 1,
            Err(e) => return Err(disk::failed("write", &target, e)),
        }
    }
}

/// Which of a batch's intervals a table takes. It takes or drops one as a whole.
pub(super) struct Take(Vec<bool>);

impl Take {
    pub fn above(covers: &[Interval], cursors: impl Iterator<Item = Option<i64>>) -> Result<Take> {
        let mut take = Vec::with_capacity(covers.len());
        for (cover, cursor) in covers.iter().zip(cursors) {
            let cursor = cursor.unwrap_or(i64::MIN);
            if cover.from < cursor && cursor < cover.next {
                return Err(Error::bug(format!("archive: batch {cover} straddles the cursor {cursor}")));
            }
            take.push(cover.from >= cursor);
        }
        Ok(Take(take))
    }

    pub fn has(&self, cover: usize) -> bool {
        self.0[cover]
    }
}
