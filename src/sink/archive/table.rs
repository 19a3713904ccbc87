//! A Delta table as we know it: its version, the cursors in it, and everything that came into its log since.
//!
//! Once opened, it follows the log entry by entry and never lists it again, and it does not know the live files:
//! what it costs does not grow with the table.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use deltalake_core::{
    kernel::{Snapshot, transaction::TransactionError},
    logstore::{CommitOrBytes, LogStoreRef, StorageConfig, logstore_with},
};
use object_store::ObjectStore;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use url::Url;
use uuid::Uuid;

use super::{
    commit::Advance,
    damage, disk,
    entry::Entry,
    log::{self, Part},
    replay,
    schema::Shape,
    staging,
};
use crate::{
    clock::Clock,
    config::folder_of_tables,
    error::{Error, Result},
};

pub(super) const ENGINE: &str = concat!("huiju/", env!("CARGO_PKG_VERSION"));
/// Versions after which a checkpoint is due.
const CHECKPOINT_EVERY: u64 = 100;
/// A checkpoint goes through all live files, so of a large table it is made less often: every version pays for so many.
const FILES_PER_VERSION: u64 = 50;

/// The property with the columns that have bounds, separated by commas. Without it readers look for those of the first 32
/// columns, and deltalake's for pyarrow takes a bound that is not there for one that no row keeps.
pub(super) const BOUNDED: &str = "delta.dataSkippingStatsColumns";

/// Where a table is and how we sign what we write into it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub root: PathBuf,
    pub name: String,
    pub description: String,
    pub accept_foreign: bool,
    pub pipeline: Arc<str>,
    pub instance: String,
    /// Name and version.
    pub contract: String,
}

impl Place {
    pub fn is_there(&self) -> bool {
        log::is_begun(&self.root)
    }
}

pub(super) struct Table {
    place: Place,
    shape: Shape,
    clock: Clock,
    runtime: Handle,
    log: LogStoreRef,
    /// The version up to which we have read the log. Its readers know it too.
    version: Arc<AtomicU64>,
    cursors: HashMap<String, i64>,
    /// Version of the last checkpoint, or of the last attempt at one.
    checkpoint: u64,
    /// Versions until the next one.
    checkpoint_every: u64,
    gone: Option<Gone>,
}

/// What refreshes came by.
#[derive(Default)]
pub(super) struct Seen {
    commits: HashMap<Uuid, u64>,
    /// Entries were cleaned up before we read them: what was in them we do not know.
    pub skipped: bool,
}

impl Seen {
    /// The version of a commit, if it came by.
    pub fn version(&self, commit: Uuid) -> Option<u64> {
        self.commits.get(&commit).copied()
    }
}

/// Files that were taken out of the table, and the version that did.
#[derive(Default)]
struct Gone {
    files: HashMap<String, u64>,
    /// Entries were cleaned up before we read them: there may be others.
    unknown: bool,
}

/// A new one in its place would lack all rows so far, and be in the way when the old one comes back.
pub(super) fn vanished(root: &Path) -> Error {
    Error::unavailable(format!(
        "archive: there is no table {}, though the pipeline has run before: bring it back (is its disk mounted?); if its \
         place is a new one, or it is gone for good with its like, `huiju archive create` makes new ones, with nothing in \
         them",
        root.display()
    ))
}

/// Both are made before anything is written into them, so one without the other has lost it. No disk does that: both
/// lie in one folder.
pub(super) fn alone(there: &Place, missing: &Place) -> Error {
    Error::config(format!(
        "archive: {} is there and {} is not: bring it back, or delete both, which `huiju archive create` makes anew, \
         empty",
        there.root.display(),
        missing.root.display()
    ))
}

fn refuse_odd(root: &Path) -> Result<()> {
    folder_of_tables(root).map_err(|why| Error::config(format!("archive: {why}")))
}

impl Table {
    /// Opens the table, creates it when it is not there, and settles what dead writers left.
    pub fn open(
        store: Arc<dyn ObjectStore>,
        place: Place,
        shape: Shape,
        clock: Clock,
        runtime: Handle,
    ) -> Result<Table> {
        refuse_odd(&place.root)?;
        disk::create_all(&place.root).map_err(|e| disk::failed("create", &place.root, e))?;
        let table = Table::open_or(store, place, shape, clock, runtime, Table::create)?;
        table.recover()?;
        Ok(table)
    }

    /// The same, but writes nothing; `None` when it is not there. Whoever goes on to write has to [`Table::recover`].
    pub fn find(
        store: Arc<dyn ObjectStore>,
        place: Place,
        shape: Shape,
        clock: Clock,
        runtime: Handle,
    ) -> Result<Option<Table>> {
        if !place.is_there() {
            return Ok(None);
        }
        let vanished = |table: &Table| Err(Error::config(format!("archive: no table in {}", table.root().display())));
        Table::open_or(store, place, shape, clock, runtime, vanished).map(Some)
    }

    fn open_or(
        store: Arc<dyn ObjectStore>,
        place: Place,
        shape: Shape,
        clock: Clock,
        runtime: Handle,
        create: fn(&Table) -> Result<()>,
    ) -> Result<Table> {
        let mut table = Table::unread(store, place, shape, clock, runtime)?;
        match table.snapshot()? {
            Some(snapshot) => table.load(snapshot)?,
            None => {
                create(&table)?;
                let snapshot = table.snapshot()?;
                let missing = || Error::unavailable(format!("archive: {} vanished", table.root().display()));
                table.load(snapshot.ok_or_else(missing)?)?;
            }
        }
        table.look_back(table.version())?;
        table.refresh()?;
        Ok(table)
    }

    /// The place of a table, nothing of which was read or compared yet.
    pub fn unread(
        store: Arc<dyn ObjectStore>,
        mut place: Place,
        shape: Shape,
        clock: Clock,
        runtime: Handle,
    ) -> Result<Table> {
        refuse_odd(&place.root)?;
        place.root = place.root.canonicalize().map_err(|e| disk::failed("open", &place.root, e))?;
        refuse_odd(&place.root)?; // a link may lead elsewhere by now
        let url = Url::from_directory_path(&place.root).expect("it is absolute");
        let log =
            logstore_with(store, &url, StorageConfig::default()).map_err(|e| disk::failed("open", &place.root, e))?;
        Ok(Table {
            place,
            shape,
            clock,
            runtime,
            log,
            version: Arc::default(),
            cursors: HashMap::new(),
            checkpoint: 0,
            checkpoint_every: CHECKPOINT_EVERY,
            gone: None,
        })
    }

    /// Settles what dead writers left.
    pub fn recover(&self) -> Result<()> {
        staging::recover(self.root(), |intent| replay::landed(self, intent))
    }

    /// Reads the entries that are new in the log.
    ///
    /// An entry that must not be there (foreign data, other columns) is an error, and is seen again next time.
    pub fn refresh(&mut self) -> Result<()> {
        self.refresh_and_note(&mut Seen::default())
    }

    /// The same, noting what came by. What was noted stays so when a later entry is an error: a commit that forgot it
    /// has seen itself would take back its own files.
    pub fn refresh_and_note(&mut self, seen: &mut Seen) -> Result<()> {
        let mut version = self.version();
        while let Some(entry) = self.read(version + 1)? {
            self.accept(version + 1, &entry)?;
            version += 1;
            self.reached(version);
            seen.commits.extend(entry.commit().map(|commit| (commit, version)));
            if let Some(gone) = &mut self.gone {
                gone.files.extend(entry.removed.into_iter().map(|path| (path, version)));
            }
            self.cursors.extend(entry.cursors);
        }
        // Log cleanup may have taken away what comes next, if we slept for a month. It begins with the oldest, so as long as
        // there is the last one that we have read, nothing is missing after it.
        if self.read_raw(version)?.is_none() {
            seen.skipped = true;
            if let Some(gone) = &mut self.gone {
                gone.unknown = true;
            }
            let snapshot = self.snapshot()?;
            self.load(snapshot.ok_or_else(|| vanished(self.root()))?)?;
        }
        Ok(())
    }

    /// From now on remembers which files are taken out.
    pub fn watch_files(&mut self) {
        self.gone = Some(Gone::default());
    }

    /// Whether files that were live when the watch began are so still, as of the last refresh.
    pub fn check_there<'p>(&self, mut files: impl Iterator<Item = &'p str>) -> Result<()> {
        let Some(gone) = &self.gone else { return Err(Error::bug("archive: nobody watches the files")) };
        let why = match files.find_map(|file| gone.files.get(file)) {
            Some(version) => format!("were taken out by version {version}"),
            None if gone.unknown => "may be gone: the log was cleaned up meanwhile".to_owned(),
            None => return Ok(()),
        };
        let table = self.root().display();
        Err(Error::fenced(format!("archive: files of {table} that were to be replaced {why}; they stay as they are")))
    }

    /// The next offset of an application id, as of the last refresh.
    pub fn cursor(&self, app: &str) -> Option<i64> {
        self.cursors.get(app).copied()
    }

    /// Application ids that have a cursor, as of the last refresh.
    pub fn apps(&self) -> impl Iterator<Item = &str> {
        self.cursors.keys().map(String::as_str)
    }

    /// An entry's text, `None` when it is not there (yet, or any more).
    pub fn text(&self, version: u64) -> Result<Option<bytes::Bytes>> {
        self.read_raw(version)
    }

    /// Our entry is in the log, at the next version.
    pub fn landed(&mut self, advances: &[Advance]) {
        self.reached(self.version() + 1);
        self.cursors.extend(advances.iter().map(|advance| (advance.app.clone(), advance.next)));
    }

    /// Whether this version's entry exists: then nobody can put another there.
    pub fn is_taken(&self, version: u64) -> bool {
        version <= self.version() || matches!(self.read_raw(version), Ok(Some(_)))
    }

    /// Writes a checkpoint now and then, so that opening the table stays fast. Its failure is not ours.
    pub fn checkpoint_if_due(&mut self) {
        if self.version() < self.checkpoint + self.checkpoint_every {
            return;
        }
        match replay::checkpoint(self) {
            Ok(version) => {
                self.checkpoint = version;
                self.checkpoint_every = CHECKPOINT_EVERY.max(replay::checkpoint_size(self) / FILES_PER_VERSION);
            }
            Err(error) => {
                // Not at every commit: a fifth of the usual distance.
                self.checkpoint = self.version() + CHECKPOINT_EVERY / 5 - self.checkpoint_every.min(self.version());
                tracing::warn!(table = %self.root().display(), %error, "cannot write a checkpoint, going on without");
            }
        }
    }

    pub fn read(&self, version: u64) -> Result<Option<Entry>> {
        let Some(bytes) = self.read_raw(version)? else { return Ok(None) };
        let failed = |e| disk::failed("understand", &self.root().join(Part::entry(version).path()), e);
        Entry::parse(&bytes).map(Some).map_err(failed)
    }

    fn read_raw(&self, version: u64) -> Result<Option<bytes::Bytes>> {
        let log = self.log.clone();
        let bytes = self.runtime.block_on(async move { log.read_commit_entry(version).await });
        bytes.map_err(|e| self.failed(format_args!("read log entry {version}"), e))
    }

    /// The newest state as the log's checkpoint and list tell it, at least our own; `None` when there is no table.
    pub fn snapshot(&self) -> Result<Option<Snapshot>> {
        replay::snapshot(&self.log, &self.runtime, self.root(), self.version())
    }

    fn load(&mut self, snapshot: Snapshot) -> Result<()> {
        let state = replay::state(&self.log, &self.runtime, &snapshot);
        let state = state.map_err(|e| damage::or(self.root(), e))?;
        let after = state.checkpoint.map_or(0, |version| version + 1);
        damage::refuse_empty(self.root(), after..=snapshot.version())?;
        self.check_metadata(snapshot.version(), &state.metadata)?;
        self.check_protocol(snapshot.version(), &state.protocol)?;
        self.reached(snapshot.version());
        self.checkpoint = state.checkpoint.unwrap_or(0);
        self.cursors = state.cursors;
        Ok(())
    }

    /// Version 0, without data: a data commit that lost the race for it would repeat protocol and metadata.
    fn create(&self) -> Result<()> {
        disk::create_folder(self.root(), Path::new(log::FOLDER))?;
        let now = self.now_ms();
        let partition_by = serde_json::to_string(&self.shape.partition_by).expect("names are text");
        let lines = [
            json!({ "commitInfo": {
                "timestamp": now, "operation": "CREATE TABLE", "engineInfo": ENGINE,
                "operationParameters": { "mode": "ErrorIfExists", "partitionBy": partition_by },
                "huiju": self.signature(Uuid::new_v4()),
            }}),
            json!({ "protocol": { "minReaderVersion": 1, "minWriterVersion": 2 } }),
            json!({ "metaData": {
                "id": Uuid::new_v4(), "name": self.place.name, "description": self.place.description,
                "format": { "provider": "parquet", "options": {} },
                "schemaString": self.shape.delta().to_string(), "partitionColumns": self.shape.partition_by,
                "configuration": { BOUNDED: self.shape.bounded().join(",") }, "createdTime": now,
            }}),
        ];
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let log = self.log.clone();
        let put = async move { log.write_commit_entry(0, CommitOrBytes::LogBytes(text.into()), Uuid::nil()).await };
        match self.runtime.block_on(put) {
            Ok(()) | Err(TransactionError::VersionAlreadyExists(_)) => Ok(()),
            Err(e) => Err(self.failed(format_args!("create"), e)),
        }
    }

    /// How we sign a commit.
    pub fn signature(&self, id: Uuid) -> Value {
        let Place { pipeline, instance, contract, .. } = &self.place;
        json!({ "commitId": id, "pipeline": &**pipeline, "instance": instance, "contract": contract })
    }

    pub fn failed(&self, doing: std::fmt::Arguments<'_>, error: impl std::fmt::Display) -> Error {
        Error::unavailable(format!("archive: cannot {doing} of {}: {error}", self.root().display()))
    }

    pub fn root(&self) -> &Path {
        &self.place.root
    }
    pub fn place(&self) -> &Place {
        &self.place
    }
    pub fn shape(&self) -> &Shape {
        &self.shape
    }
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }
    fn reached(&self, version: u64) {
        self.version.store(version, Ordering::SeqCst);
    }
    pub fn known(&self) -> Arc<AtomicU64> {
        self.version.clone()
    }
    pub fn log(&self) -> &LogStoreRef {
        &self.log
    }
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }
}
