//! The archive: Parquet files with a Delta log, exactly once, on a local folder.
//!
//! Two tables: the rows in `<location>/<path>`, the rejects in `<location>/<path>_rejects`. Readers that know Delta
//! get snapshots; readers that do not see ordinary files in Hive partitions. Their pattern must name the partition
//! (`orders/ingested_on=*/*.parquet`): `**/*.parquet` also finds the log's checkpoints, and DuckDB then refuses.
//!
//! # Exactly once
//!
//! The cursors live in the log, as `txn` actions in the same entry that adds the files: application id
//! `{pipeline}/{topic}/{number}`, version = the next offset. An entry is one `put if absent` of version *n*+1 by a
//! writer that has read everything up to *n*, so whoever is late finds that its cursor has moved, and is fenced.
//! We write entries ourselves rather than through deltalake's commit builder: it keeps the list of all live files in
//! memory and re-filters it for each commit, retries blindly, and reports a landed commit as failed when a checkpoint
//! fails. Here a commit costs a few reads (nothing follows, what we know last is still there) and one write for each table,
//! whatever its size.
//!
//! After **any** error of that write the log is read again. An entry with our commit id: it landed. Another entry: the
//! cursors in it decide whether we may try the next version. Nothing: we try again with the same bytes, which is safe
//! because an earlier try that lands late makes this one fail with "exists", under our own id.
//!
//! An entry is asked for by its name. A list of the log may be late, so what it shows is taken only if it shows what has
//! been read already: a list that lacks the last commit would hide rows from deduplication, live files from a vacuum, and
//! from a compaction that they were replaced.
//!
//! Each table has its own cursors and drops what lies below them. Rejects are committed first, for the same intervals;
//! a crash in between leaves the rejects ahead, [`Sink::assign`] returns both cursors, and the replay drops the part
//! that is there already. Either log's accounts can be added up: nothing counts twice. Before a partition's very
//! first commit its start is written to the rows table, so that a crash between the two cannot hide where it began.
//!
//! # Rejects that are ahead
//!
//! What was rejected in a message whose rows are not committed yet is decided for good, though the message is read once
//! more. That is right as long as it is judged as it was. If another program judges it (SQL, contract, code tables or
//! dictionaries were changed in between), a row may end in both tables or in neither. So whatever the rows table refuses
//! for a reason that people mend by changing the program, such as columns that were added, is refused before rejects are
//! committed. What remains is a process that is killed, or meets a broken disk, between the two commits, and is started
//! with another program before the old one has caught up: change a program after a stop with exit code 0 that left
//! nothing in flight.
//!
//! # Files
//!
//! Rows stream into `_staging/<writer>/*.parquet.partial`; a folder there is held by a lock file as long as its writer
//! lives. A commit then
//!
//! 1. finishes the files and syncs them,
//! 2. writes an `intent`: commit id, log version it starts from, the files' final places,
//! 3. renames the files into place, syncs the folders,
//! 4. puts the log entry (synced before it becomes visible, see [`store`]),
//! 5. removes the intent.
//!
//! Renaming comes before the entry because the other order can leave a log that names files which are not there, and
//! then no Delta reader can read the table at all. The price: between 3 and 4 (milliseconds), or after a crash there
//! until the pipeline is started again, a reader *without* Delta sees rows of a commit that never came about.
//! [`Archive::open`] takes every staging folder whose lock is free, looks for the intent's commit id in the log, and
//! when it is not there deletes the files. Nothing else ever deletes a data file, except a commit that was provably
//! refused. (VACUUM passes over `_staging`: its name starts with an underscore.)
//!
//! A version whose entry was cleaned up is free again, and who puts one there commits nothing: every reader begins at a
//! checkpoint behind it. So whoever has put an entry looks once more whether the one before it is there and no checkpoint
//! is ahead. If not, he does not know what he has done, opens the table again, and its newest state tells.
//!
//! # Strangers
//!
//! OPTIMIZE, VACUUM and DELETE by any program are fine, but not two OPTIMIZEs at a time (see [`upkeep`]). Other data is
//! refused by default, and so is a table whose columns are not the contract's: with the difference named, and nothing
//! touched.
//!
//! # What is not in here
//!
//! Compaction, vacuum, log cleanup and history are [`upkeep`]'s; anybody else may do them too.
//! `delta.setTransactionRetentionDuration` must stay unset: it makes cursors of idle partitions disappear.

mod accept;
mod bounds;
mod commit;
mod damage;
mod disk;
mod entry;
mod files;
mod folders;
mod live;
mod log;
mod reader;
mod rejects;
mod replay;
mod schema;
mod settings;
mod side;
mod staging;
mod stats;
mod store;
mod table;
#[cfg(test)]
mod tests;
pub mod upkeep;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::datatypes::SchemaRef;
use object_store::ObjectStore;
use tokio::runtime::Handle;
use uuid::Uuid;

use self::{
    commit::Advance,
    schema::Shape,
    side::{Side, Take},
    table::{Place, Table},
};
pub use self::{
    reader::{LINEAGE, Reader, Recent},
    settings::Settings,
};
use super::{Covered, Pending, Sink};
use crate::{
    batch::Outcome,
    clock::Clock,
    contract::{Column, Contract, Kind},
    cpu::{self, Step},
    cursor::{Cursors, Interval, Partition},
    error::{Error, Result},
    fault,
};

/// Commit early when this many files' worth of messages is pending, so that a restart never repeats too much.
const FILES_PER_COMMIT: usize = 16;

/// The archive sink.
pub struct Archive {
    settings: Settings,
    clock: Clock,
    rows: Side,
    rejects: Side,
    /// What the tables' cursors must be when we commit, by partition.
    assigned: BTreeMap<Partition, Own>,
    /// The outcome of a commit is not known: only a new `open` can tell.
    unsure: bool,
}

/// The cursors of one partition.
#[derive(Clone, Copy, Debug)]
struct Own {
    rows: Option<i64>,
    rejects: Option<i64>,
}

impl Archive {
    /// Opens the tables, and creates them (without data) when they are not there and may be. Puts right what a crash left
    /// behind.
    ///
    /// `schema` is the contract's ([`Outcome::rows`] has exactly it). Call it from a thread outside `runtime`.
    pub fn open(
        settings: Settings,
        contract: Arc<Contract>,
        schema: SchemaRef,
        clock: Clock,
        runtime: Handle,
    ) -> Result<Archive> {
        Archive::open_over(store::local(), settings, contract, schema, clock, runtime)
    }

    /// The same over another object store for the log: tests make it fail.
    fn open_over(
        store: Arc<dyn ObjectStore>,
        settings: Settings,
        contract: Arc<Contract>,
        schema: SchemaRef,
        clock: Clock,
        runtime: Handle,
    ) -> Result<Archive> {
        settings.refuse_a_place_in_a_table()?;
        let writer = Uuid::new_v4();
        let open = |(place, shape): (Place, Shape), create: bool| {
            let (root, store, clock, runtime) = (place.root.clone(), store.clone(), clock.clone(), runtime.clone());
            let table = match create {
                true => Table::open(store, place, shape, clock, runtime)?,
                false => {
                    let table = Table::find(store, place, shape, clock, runtime)?;
                    let table = table.ok_or_else(|| table::vanished(&root))?;
                    table.recover()?;
                    table
                }
            };
            Side::open(table, writer, settings.file_size)
        };
        let [rows, rejects] = places(&settings, &contract, &schema)?;
        // The rows' table is made first: rejects are never alone unless somebody has taken it away.
        if settings.create && rejects.0.is_there() && !rows.0.is_there() {
            return Err(table::alone(&rejects.0, &rows.0));
        }
        let place = rows.0.clone();
        let rows = open(rows, settings.create)?;
        // Both are made before the first cursor is written.
        let begun = rows.table.apps().next().is_some();
        if settings.create && begun && !rejects.0.is_there() {
            return Err(table::alone(&place, &rejects.0));
        }
        let rejects = open(rejects, settings.create && !begun)?;
        for table in [&rows.table, &rejects.table] {
            settings.refuse_other_pipelines(table)?;
        }
        Ok(Archive { settings, clock, rows, rejects, assigned: BTreeMap::new(), unsure: false })
    }

    /// Reads what is committed, independently of this sink's life.
    pub fn reader(&self) -> Reader {
        Reader::new(&self.rows.table)
    }

    fn app(&self, partition: &Partition) -> String {
        format!("{}/{partition}", self.settings.pipeline)
    }

    fn own(&self, partition: &Partition) -> Result<Own> {
        let own = self.assigned.get(partition).copied();
        own.ok_or_else(|| Error::bug(format!("archive: {partition} is not assigned")))
    }

    /// Writes down where partitions begin that the rows table has never seen.
    fn begin(&mut self, covered: &Covered) -> Result<()> {
        let mut starts = Vec::new();
        for Interval { partition, from, .. } in &covered.intervals {
            let own = self.own(partition)?;
            if own.rows.is_some() {
                continue;
            }
            if let Some(ahead) = own.rejects {
                let (rows, rejects) = (self.rows.table.root(), self.rejects.table.root());
                return Err(Error::config(format!(
                    "{} has no cursor for {partition}, but {} has {ahead}: was the table deleted? delete both or none",
                    rows.display(),
                    rejects.display(),
                )));
            }
            starts.push(Advance { app: self.app(partition), expected: None, next: *from });
        }
        if starts.is_empty() {
            return Ok(());
        }
        // An account of nothing: whoever sums up the log must not count the first commit's rows twice.
        let mut nothing = Covered { intervals: covered.intervals.clone(), ..Covered::default() };
        nothing.intervals.iter_mut().for_each(|interval| interval.next = interval.from);
        self.rows
            .table
            .commit(Uuid::new_v4(), &starts, &[], &covered_json(&nothing))
            .map_err(|refused| refused.error)?;
        for interval in &covered.intervals {
            if let Some(own) = self.assigned.get_mut(&interval.partition) {
                own.rows.get_or_insert(interval.from);
            }
        }
        Ok(())
    }

    /// The cursors that `cursor` picks, moved over what is covered. Those that are past it already stay.
    fn advances(&self, covered: &Covered, cursor: impl Fn(Own) -> Option<i64>) -> Result<Vec<Advance>> {
        let mut advances = Vec::new();
        for Interval { partition, from, next } in &covered.intervals {
            let expected = cursor(self.own(partition)?);
            if let Some(expected) = expected
                && *from > expected
            {
                return Err(Error::bug(format!(
                    "archive: {partition} goes on at {from}, but its cursor is {expected}: messages between them are missing"
                )));
            }
            if expected.is_none_or(|expected| *next > expected) {
                advances.push(Advance { app: self.app(partition), expected, next: *next });
            }
        }
        Ok(advances)
    }

    /// The account of a commit to the rejects table: of what it does not have yet, and of rejects only. What came in and
    /// was written is in that of the rows.
    fn rejects_json(&self, covered: &Covered) -> Result<serde_json::Value> {
        let mut intervals = Vec::new();
        for Interval { partition, from, next } in &covered.intervals {
            let from = self.own(partition)?.rejects.map_or(*from, |cursor| cursor.max(*from));
            if from < *next {
                intervals.push(interval_json(&Interval { partition: partition.clone(), from, next: *next }));
            }
        }
        Ok(serde_json::json!({ "rejected": self.rejects.rows(), "intervals": intervals }))
    }

    fn try_commit(&mut self, covered: &Covered) -> Result<()> {
        // Both tables' files first: what can go wrong with the disk should do so before anything is committed.
        self.rows.finish()?;
        self.rejects.finish()?;
        cpu::spent(Step::Parquet);
        self.begin(covered)?;
        // What the rows table refuses it refuses before rejects are committed: see "Rejects that are ahead".
        let advances = self.advances(covered, |own| own.rows)?;
        self.rows.table.refresh()?;
        self.rows.table.check(&advances)?;

        let account = self.rejects_json(covered)?;
        let rejected = self.advances(covered, |own| own.rejects)?;
        self.rejects.publish(&rejected, &account).inspect_err(|_| self.unsure = true)?;
        for interval in &covered.intervals {
            if let Some(own) = self.assigned.get_mut(&interval.partition) {
                own.rejects = own.rejects.max(Some(interval.next));
            }
        }
        fault::point("archive.after_rejects_commit");

        self.rows.publish(&advances, &covered_json(covered)).inspect_err(|_| self.unsure = true)?;
        for interval in &covered.intervals {
            if let Some(own) = self.assigned.get_mut(&interval.partition) {
                own.rows = own.rows.max(Some(interval.next));
            }
        }
        Ok(())
    }
}

impl Sink for Archive {
    fn kind(&self) -> &'static str {
        super::ARCHIVE
    }

    fn assign(&mut self, partitions: &[Partition]) -> Result<Cursors> {
        for table in [&mut self.rejects.table, &mut self.rows.table] {
            table.refresh()?;
            // We may have these partitions because their last owner has died, with files in place and no entry.
            table.recover()?;
        }
        let mut cursors = Cursors::new();
        for partition in partitions {
            let app = self.app(partition);
            let own = Own { rows: self.rows.table.cursor(&app), rejects: self.rejects.table.cursor(&app) };
            let mut cuts: Vec<i64> = own.rows.into_iter().chain(own.rejects).collect();
            cuts.sort_unstable();
            cuts.dedup();
            self.assigned.insert(partition.clone(), own);
            cursors.insert(partition.clone(), cuts);
        }
        Ok(cursors)
    }

    fn release(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            self.assigned.remove(partition);
        }
    }

    fn write(&mut self, outcome: &Outcome) -> Result<()> {
        let owns = outcome.covers.iter().map(|cover| self.own(&cover.partition)).collect::<Result<Vec<_>>>()?;
        let rows = Take::above(&outcome.covers, owns.iter().map(|own| own.rows))?;
        let rejects = Take::above(&outcome.covers, owns.iter().map(|own| own.rejects))?;
        if let Some(batch) = schema::rows_batch(outcome, &rows, self.rows.table.shape())? {
            self.rows.write(&batch, &outcome.covers, self.settings.time_zone, self.clock.now_ms())?;
        }
        if let Some(batch) = rejects::batch(outcome, &rejects, self.rejects.table.shape())? {
            self.rejects.write(&batch, &outcome.covers, self.settings.time_zone, self.clock.now_ms())?;
        }
        cpu::spent(Step::Parquet);
        Ok(())
    }

    fn commit_in(&self, pending: &Pending) -> Duration {
        if pending.bytes >= self.settings.file_size.saturating_mul(FILES_PER_COMMIT) {
            return Duration::ZERO;
        }
        self.settings.interval.saturating_sub(Instant::now().saturating_duration_since(pending.since))
    }

    fn commit(&mut self, covered: &Covered) -> Result<()> {
        if self.unsure {
            return Err(Error::bug("archive: the last commit failed; open the archive again to learn its outcome"));
        }
        self.try_commit(covered).map_err(|e| e.context(format!("commit to archive {}", self.settings.path)))
    }

    fn tidy(&mut self) {
        self.rejects.table.checkpoint_if_due();
        self.rows.table.checkpoint_if_due();
    }

    fn abort(&mut self) {
        self.rows.clear();
        self.rejects.clear();
    }

    fn files(&self) -> u64 {
        self.rows.published + self.rejects.published
    }
}

/// Where the two tables are, rows and rejects, and what is in them.
fn places(settings: &Settings, contract: &Contract, schema: &SchemaRef) -> Result<[(Place, Shape); 2]> {
    let place = |path: String, name: String, description: String| Place {
        root: settings.location.join(path),
        name,
        description,
        accept_foreign: settings.accept_foreign_writes,
        pipeline: settings.pipeline.clone(),
        instance: settings.instance.clone(),
        contract: contract.with_version(),
    };
    let title = if contract.title.is_empty() { contract.name.to_string() } else { contract.title.clone() };
    let rows = place(settings.path.clone(), contract.name.to_string(), title.clone());
    let rejects = place(
        format!("{}_rejects", settings.path),
        format!("{}_rejects", contract.name),
        format!("{title}：未通过的数据"),
    );
    // A smallest text helps a reader who looks for a code or a number; in a free text it helps nobody, and finding it is
    // an eighth of what writing a file costs.
    let free = |column: &Column| column.kind == Kind::Text && column.codes.is_none() && !column.required;
    let untold = contract.columns.iter().filter(|column| column.personal || free(column));
    let untold = untold.map(|column| column.name.to_string()).collect();
    Ok([(rows, Shape::of_rows(schema, &settings.partition_by, untold)?), (rejects, Shape::of_rejects())])
}

/// The account of a commit as it stands in the log of the rows.
fn covered_json(covered: &Covered) -> serde_json::Value {
    let intervals: Vec<_> = covered.intervals.iter().map(interval_json).collect();
    let tally = covered.tally;
    serde_json::json!({
        "in": tally.input,
        "written": tally.written,
        "rejected": tally.rejected,
        "duplicate": tally.duplicate,
        "intervals": intervals,
    })
}

fn interval_json(interval: &Interval) -> serde_json::Value {
    let Interval { partition, from, next } = interval;
    serde_json::json!({ "topic": &*partition.topic, "partition": partition.number, "from": from, "next": next })
}
