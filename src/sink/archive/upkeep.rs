//! Maintenance of the tables, beside a running writer: compaction, vacuum, columns, history.
//!
//! # Compaction
//!
//! Small files of a partition are copied, row group by row group, into few large ones; one log entry takes the old ones
//! out and puts the new ones in (operation OPTIMIZE). It goes the way every commit goes: staged
//! files, an intent, renames, one `put if absent`; a crash in between is settled by the next `open`, as for a writer.
//!
//! - **The writer's appends** never touch a file that is there, so they do not conflict: whoever loses the race for a
//!   version reads the other's entry and takes the next one. Our signature in the entry tells the writer that it is no
//!   stranger's.
//! - **Two compactions, or a DELETE by another program:** an entry that takes away one of our files since we listed
//!   them makes ours impossible; it is given up, its files are taken back, and nothing has changed.
//! - **Another program's OPTIMIZE that ours overtakes:** deltalake lets an entry stand in its way only if it takes files out
//!   with `dataChange = true`. Of others it takes out a second time what is gone already, and puts its rows in a second
//!   time; so ours says `true` of the files that it takes out, and `false` of those that it puts in. The price: who streams
//!   changes from the table (Spark) has to pass over them (`skipChangeCommits`). What two other programs do to each other
//!   we cannot prevent. A table with `delta.appendOnly` allows no such entry: there it says `false`, and one program alone may
//!   compact.
//! - **Cursors** are `txn` actions of earlier entries. A compaction writes none, so it cannot move one.
//! - **Deleted rows** must stay deleted: files with a deletion vector are left alone.
//!
//! Files that were replaced stay on the disk, for readers that are still at an older version; a vacuum takes them away
//! after its retention. A reader *without* Delta sees their rows twice until then. Who has such readers compacts with
//! `remove_replaced`: the old files go as soon as the entry is there, those that earlier compactions have left too, and what
//! suffers instead are Delta readers in the middle of an older version, which fail and have to start over.
//!
//! # Vacuum
//!
//! Deletes Parquet files that no version within the retention refers to. Never anything in a folder that begins with
//! `_` (`_delta_log`, `_staging`) or that is a table of its own, and nothing but `*.parquet`: deletion vectors and what
//! people put there stay. And log entries of more than an hour ago that were never finished.
//!
//! Of finished ones, with their checkpoints, those below a checkpoint that is older than `delta.logRetentionDuration` (30
//! days) and not the newest: a reader whose list of the log is late begins at the one before. A version within
//! that time can be read as before. Cursors and live files are in the checkpoint. They go from the oldest on, so whoever
//! finds the entry that he has read last has missed none after it.
//!
//! A file of ours may lie in its place before its entry is in the log. The order protects it, whatever the clocks say:
//! files are listed first, then the intents are read, then the log. A file that lay there when it was listed had its
//! intent written before; so the intent is still there, or its commit has ended, and the log tells how. Files of other
//! programs have no intents; their age protects them (see [`LEAST_RETENTION`]).
//!
//! # Columns
//!
//! Columns that the contract has gained are added by an entry of metadata alone: rows that are there have NULL in them. A
//! writer with the contract of before sees the entry, takes its files back and stops with the difference; its cursor has
//! not moved, so it begins there with the new contract. Nothing else is ever changed: a column that is gone, or of another
//! type, would change what readers get for rows that are there.

mod cleanup;
mod columns;
mod compact;
mod history;
mod replaced;
mod vacuum;

use std::{sync::Arc, time::Duration};

use arrow::datatypes::SchemaRef;
use object_store::ObjectStore;
use serde::Serialize;
use tokio::runtime::Handle;
use uuid::Uuid;

pub use self::{
    columns::Widened,
    compact::{Compact, Compacted},
    history::Version,
    vacuum::{Vacuum, Vacuumed},
};
use super::{
    Settings, places,
    schema::Shape,
    side::Side,
    store,
    table::{self, Place, Table},
};
use crate::{
    clock::Clock,
    contract::Contract,
    error::{Error, ErrorKind, Result},
};

/// Other programs write into the table without an intent; nobody's upload takes longer than this.
pub const LEAST_RETENTION: Duration = Duration::from_secs(3600);

/// Files that are named when many cannot be read.
const MOST_TOLD: usize = 10;

/// The tables of a pipeline, for maintenance.
pub struct Upkeep {
    clock: Clock,
    /// As they are: what dead processes have left is settled by whoever writes, and who only looks writes nothing.
    tables: Vec<Table>,
    file_size: usize,
}

/// A table that was asked for.
#[derive(Debug, Serialize)]
pub struct Created {
    pub table: String,
    /// Not when it was there before.
    pub created: bool,
}

impl Upkeep {
    /// Makes the tables, without data, where they are not there yet. All or none must be there.
    pub fn create(
        settings: &Settings,
        contract: &Contract,
        schema: &SchemaRef,
        clock: &Clock,
        runtime: &Handle,
    ) -> Result<Vec<Created>> {
        let places = places(settings, contract, schema)?;
        all_or_none(&places)?;
        let create = |(place, shape): (Place, Shape)| {
            let created = !place.is_there();
            let table = Table::open(store::local(), place, shape, clock.clone(), runtime.clone())?;
            Ok(Created { table: name(&table), created })
        };
        places.into_iter().map(create).collect()
    }

    /// Adds the contract's columns that the tables lack; tells of each table that is there.
    pub fn add_columns(
        settings: &Settings,
        contract: &Contract,
        schema: &SchemaRef,
        clock: Clock,
        runtime: Handle,
        dry_run: bool,
    ) -> Result<Vec<Widened>> {
        Upkeep::add_columns_over(store::local(), settings, contract, schema, clock, runtime, dry_run)
    }

    // Over another object store for the log: tests make it fail.
    pub(super) fn add_columns_over(
        store: Arc<dyn ObjectStore>,
        settings: &Settings,
        contract: &Contract,
        schema: &SchemaRef,
        clock: Clock,
        runtime: Handle,
        dry_run: bool,
    ) -> Result<Vec<Widened>> {
        let mut done = Vec::new();
        let places = places(settings, contract, schema)?;
        all_or_none(&places)?;
        for (place, shape) in places {
            if place.is_there() {
                let table = Table::unread(store.clone(), place, shape, clock.clone(), runtime.clone())?;
                done.extend(columns::add(&table, dry_run)?);
            }
        }
        Ok(done)
    }

    /// Opens the tables, if they are there; creates nothing. `settings` are those of the pipeline's archive sink.
    pub fn open(
        settings: &Settings,
        contract: &Contract,
        schema: &SchemaRef,
        clock: Clock,
        runtime: Handle,
    ) -> Result<Upkeep> {
        Upkeep::open_over(store::local(), settings, contract, schema, clock, runtime)
    }

    pub(super) fn open_over(
        store: Arc<dyn ObjectStore>,
        settings: &Settings,
        contract: &Contract,
        schema: &SchemaRef,
        clock: Clock,
        runtime: Handle,
    ) -> Result<Upkeep> {
        let mut tables = Vec::new();
        let places = places(settings, contract, schema)?;
        all_or_none(&places)?;
        for (place, shape) in places {
            tables.extend(Table::find(store.clone(), place, shape, clock.clone(), runtime.clone())?);
        }
        Ok(Upkeep { clock, tables, file_size: settings.file_size })
    }

    /// Compacts all tables, one entry at a time; `told` hears of each table when it is done. A file that cannot be read is an
    /// error when all others have had their turn.
    pub fn compact(self, how: &Compact, mut told: impl FnMut(&Compacted)) -> Result<()> {
        let mut damage = Vec::new();
        for table in self.tables {
            table.recover()?;
            let mut side = Side::open(table, Uuid::new_v4(), self.file_size)?;
            told(&compact::compact(&mut side, how, &self.clock, &mut damage)?);
        }
        let Some(kind) = ErrorKind::of_all(&damage) else { return Ok(()) };
        let mut all: Vec<String> = damage.iter().take(MOST_TOLD).map(ToString::to_string).collect();
        if damage.len() > MOST_TOLD {
            all.push(format!("and {} more", damage.len() - MOST_TOLD));
        }
        Err(Error::new(kind, all.join("\n")))
    }

    pub fn vacuum(self, how: &Vacuum, mut told: impl FnMut(&Vacuumed)) -> Result<()> {
        for mut table in self.tables {
            if !how.dry_run {
                table.recover()?;
            }
            told(&vacuum::vacuum(&mut table, how, &self.clock)?);
        }
        Ok(())
    }

    /// The versions of each table, newest first, at most `limit` of a table; also of one that is refused for what was done to
    /// it.
    pub fn history(
        settings: &Settings,
        contract: &Contract,
        schema: &SchemaRef,
        clock: &Clock,
        runtime: &Handle,
        limit: usize,
        mut told: impl FnMut(&Version) -> Result<()>,
    ) -> Result<()> {
        let places = places(settings, contract, schema)?;
        for (place, shape) in places.iter().filter(|(place, _)| place.is_there()) {
            let (place, shape) = (place.clone(), shape.clone());
            let table = Table::unread(store::local(), place, shape, clock.clone(), runtime.clone())?;
            history::history(&table, limit, &mut told)?;
        }
        all_or_none(&places)
    }
}

/// One alone has lost the other.
fn all_or_none(places: &[(Place, Shape)]) -> Result<()> {
    let [there, missing] = [true, false].map(|yes| places.iter().find(|(place, _)| place.is_there() == yes));
    there.zip(missing).map_or(Ok(()), |((there, _), (missing, _))| Err(table::alone(there, missing)))
}

/// A table as people call it: the last part of its path.
fn name(table: &Table) -> String {
    table.root().file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
