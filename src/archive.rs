//! `huiju archive`: the tables of a pipeline looked after, while it runs or not.

use std::{cell::Cell, sync::Arc, time::Duration};

use chrono::DateTime;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;
use tokio::runtime::Handle;

use crate::{
    check,
    cli::{
        flags::{Format, Where},
        out::say,
    },
    clock::Clock,
    config::{self, Config},
    contract::Contract,
    error::{Context, Error, ErrorKind, Result},
    runtime::build::Prepared,
    sink::archive::{
        Settings,
        upkeep::{Compact, Compacted, Created, Upkeep, Vacuum, Vacuumed, Version, Widened},
    },
};

#[derive(Subcommand)]
pub enum Verb {
    /// Put the rows of many small files into few large ones
    #[command(after_help = COMPACT)]
    Compact(CompactOptions),
    /// Delete files that no version within the retention refers to
    #[command(after_help = VACUUM)]
    Vacuum(VacuumOptions),
    /// Add columns that the contract has gained; rows that are there have NULL in them
    #[command(after_help = ADD_COLUMNS)]
    AddColumns(AddColumnsOptions),
    /// Make the tables, without data, of a pipeline that has run before
    #[command(after_help = CREATE)]
    Create(CreateOptions),
    /// Tell what happened to the tables: who committed what, and when
    #[command(after_help = "Example: huiju archive history work_orders --limit 20 --format json")]
    History(HistoryOptions),
}

const COMPACT: &str = concat!(
    "Example: huiju archive compact work_orders --format json\n\n",
    "Safe beside running writers, and to be interrupted. Readers of Delta see no difference. Readers without it see the ",
    "rows of replaced files twice until `huiju archive vacuum` takes those away; --remove-replaced takes them away at ",
    "once, and Delta readers that are in the middle of an older version fail and have to start over.",
);

const VACUUM: &str = concat!(
    "Example: huiju archive vacuum --retention 7d --dry-run\n\n",
    "Never deletes what a running huiju is about to commit. The retention is for readers of older versions, and for uploads of ",
    "other programs. Of the log it deletes what lies below a checkpoint that is older than the retention and the table's ",
    "delta.logRetentionDuration (30 days).",
);

const ADD_COLUMNS: &str = concat!(
    "Example: huiju archive add-columns work_orders --dry-run\n\n",
    "Stop the pipeline (SIGTERM), add the column to contract and SQL, run this, start it again. Nothing is written but an ",
    "entry in the log, and descriptions are brought up to date with it. What the contract has no longer, or with another ",
    "type, is refused.",
);

const CREATE: &str = concat!(
    "Example: huiju archive create work_orders\n\n",
    "A pipeline makes them itself when it runs for the first time. Later, if it has or had a Kafka sink too, it takes missing ones ",
    "for a disk that is not mounted, and waits: this is for an archive that was given up, or added. It is filled from where the topics begin (`start = \"end\"`: from the other sink's cursor); ",
    "dedup knows no keys of before.",
);

#[derive(Args)]
struct Which {
    #[command(flatten)]
    at: Where,
    /// Only these pipelines; all when none is named
    pipelines: Vec<String>,
    /// How the account is written to standard output: a line per table, or per version
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Args)]
pub struct CompactOptions {
    #[command(flatten)]
    which: Which,
    /// Files below half of this are small; at least 64KiB [default: file_size of the configuration]
    #[arg(long, value_parser = config::size)]
    file_size: Option<usize>,
    /// Fewer small files in a partition than this are left alone
    #[arg(long, default_value_t = Compact::default().min_files)]
    min_files: usize,
    /// Delete replaced files at once, for readers without Delta
    #[arg(long)]
    remove_replaced: bool,
}

#[derive(Args)]
pub struct VacuumOptions {
    #[command(flatten)]
    which: Which,
    /// How old a version, or a file that is in none, may be; at least 1h
    #[arg(long, default_value = "7d", value_parser = config::duration)]
    retention: Duration,
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
}

#[derive(Args)]
pub struct AddColumnsOptions {
    #[command(flatten)]
    which: Which,
    /// Only say what would be added
    #[arg(long)]
    dry_run: bool,
}

#[derive(Args)]
pub struct CreateOptions {
    #[command(flatten)]
    which: Which,
}

#[derive(Args)]
pub struct HistoryOptions {
    #[command(flatten)]
    which: Which,
    /// Versions of each table, the newest first
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

pub fn run(verb: &Verb) -> Result<()> {
    match verb {
        Verb::Compact(options) => each(&options.which, options.file_size, |tables, config, tell| {
            let file_size = config.archive.file_size as u64;
            let how = Compact { file_size, min_files: options.min_files, remove_replaced: options.remove_replaced };
            tables.open()?.compact(&how, |done| tell(done, compacted(done)))
        }),
        Verb::Vacuum(options) => each(&options.which, None, |tables, _, tell| {
            let how = Vacuum { retention: options.retention, dry_run: options.dry_run };
            tables.open()?.vacuum(&how, |done| tell(done, vacuumed(done)))
        }),
        Verb::AddColumns(options) => each(&options.which, None, |tables, _, tell| {
            tables.add_columns(options.dry_run)?.iter().for_each(|done| tell(done, widened(done)));
            Ok(())
        }),
        Verb::Create(options) => each(&options.which, None, |tables, _, tell| {
            tables.create()?.iter().for_each(|done| tell(done, created(done)));
            Ok(())
        }),
        Verb::History(options) => each(&options.which, None, |tables, _, tell| {
            tables.history(options.limit as usize, |version| {
                tell(version, told(version));
                Ok(())
            })
        }),
    }
}

/// The tables of a pipeline's archive sink, not opened yet.
struct Tables<'a> {
    settings: Settings,
    contract: &'a Contract,
    runtime: &'a Handle,
}

impl Tables<'_> {
    fn open(&self) -> Result<Upkeep> {
        let schema = self.contract.arrow_schema();
        Upkeep::open(&self.settings, self.contract, &schema, Clock::system(), self.runtime.clone())
    }

    fn create(&self) -> Result<Vec<Created>> {
        let schema = self.contract.arrow_schema();
        Upkeep::create(&self.settings, self.contract, &schema, &Clock::system(), self.runtime)
    }

    fn history(&self, limit: usize, told: impl FnMut(&Version) -> Result<()>) -> Result<()> {
        let schema = self.contract.arrow_schema();
        Upkeep::history(&self.settings, self.contract, &schema, &Clock::system(), self.runtime, limit, told)
    }

    fn add_columns(&self, dry_run: bool) -> Result<Vec<Widened>> {
        let schema = self.contract.arrow_schema();
        Upkeep::add_columns(&self.settings, self.contract, &schema, Clock::system(), self.runtime.clone(), dry_run)
    }
}

/// How an account is told: as an object, or in words.
type Tell<'t, T> = &'t dyn Fn(&T, String);

/// Does something to the tables of each pipeline that has an archive. What fails for one is told when the others have had
/// their turn: they are looked after at night, and nobody is there to ask again.
fn each<T: Serialize>(
    which: &Which,
    file_size: Option<usize>,
    work: impl Fn(&Tables<'_>, &Config, Tell<'_, T>) -> Result<()>,
) -> Result<()> {
    let mut config = Config::read(&which.at.config)?;
    // What is small, and where new files end, must be one measure: else they would be small again.
    config.archive.file_size = file_size.unwrap_or(config.archive.file_size);
    let config = &config;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.or_unavailable("start the runtime")?;
    let mut archives = 0;
    let (mut none, mut failed) = (Vec::new(), Vec::new());
    for prepared in check::prepare(config, &which.pipelines)? {
        let name: Arc<str> = prepared.pipeline.name.clone();
        let Some(settings) = settings(config, &prepared) else { continue };
        archives += 1;
        let tables = Tables { settings, contract: &prepared.contract, runtime: runtime.handle() };
        let told = Cell::new(false);
        let tell = |account: &T, words: String| {
            told.set(true);
            match which.format {
                Format::Json => {
                    let mut object = json!(account);
                    object["pipeline"] = json!(&*name);
                    say!("{object}");
                }
                Format::Text => say!("{name}: {words}"),
            }
        };
        if let Err(error) = work(&tables, config, &tell) {
            failed.push(error);
        } else if !told.get() {
            none.push(format!("{name}: there is no table under {} yet", config.archive.location.display()));
        }
    }
    if let Some(kind) = ErrorKind::of_all(&failed) {
        let all: Vec<String> = failed.iter().map(ToString::to_string).collect();
        return Err(Error::new(kind, all.join("\n")));
    }
    if !none.is_empty() {
        let todo = "`huiju run` makes it; or name another configuration with --config FILE";
        return Err(Error::config(format!("{}: {todo}", none.join("\n"))));
    }
    if archives == 0 {
        return Err(Error::config(format!("{}: no pipeline named here has an archive", which.at.config.display())));
    }
    Ok(())
}

/// Those of the pipeline's archive sink.
fn settings(config: &Config, prepared: &Prepared) -> Option<Settings> {
    let (path, partition_by) = prepared.pipeline.sinks.iter().find_map(|sink| match sink {
        config::Sink::Archive { path, partition_by } => Some((path, partition_by)),
        config::Sink::Kafka { .. } => None,
    })?;
    Some(Settings::new(config, path, partition_by, &prepared.pipeline.name))
}

fn compacted(done: &Compacted) -> String {
    let Compacted { table, files_before, files_after, replaced, rows, bytes_before, bytes_after, .. } = done;
    let given_up = match done.given_up {
        0 => String::new(),
        parts => format!("; {parts} parts were changed by others meanwhile and left as they are"),
    };
    let damaged = match done.damaged {
        0 => String::new(),
        parts => format!("; {parts} parts have a file that cannot be read and were left as they are"),
    };
    format!(
        "{table}: {files_before} files, now {files_after}; {replaced} with {rows} rows replaced, {bytes_before} bytes \
         became {bytes_after}{given_up}{damaged}"
    )
}

fn vacuumed(done: &Vacuumed) -> String {
    let Vacuumed { table, deleted, log_deleted, bytes, kept, dry_run } = done;
    let would = if *dry_run { "would be " } else { "" };
    let of_log = if *log_deleted > 0 { format!(" and {log_deleted} of the log") } else { String::new() };
    format!("{table}: {deleted} files{of_log} with {bytes} bytes {would}deleted, {kept} kept")
}

fn widened(done: &Widened) -> String {
    let Widened { table, added, described, bounds, version, .. } = done;
    let mut changes = Vec::new();
    if !added.is_empty() {
        changes.push(format!("{} added", added.join(", ")));
    }
    if *described > 0 {
        changes.push(format!("descriptions changed: {described}"));
    }
    if *bounds {
        changes.push("list of columns with bounds changed".to_owned());
    }
    if changes.is_empty() {
        return format!("{table}: has all columns of the contract");
    }
    let changes = changes.join(", ");
    match version {
        Some(version) => format!("{table}: {changes} in version {version}"),
        None => format!("{table}: {changes}, if it were not --dry-run"),
    }
}

fn created(done: &Created) -> String {
    format!("{}: {}", done.table, if done.created { "created" } else { "is there already" })
}

fn told(version: &Version) -> String {
    let at = version.at_ms.and_then(DateTime::from_timestamp_millis);
    let at = at.map_or_else(|| "at an unknown time".to_owned(), |at| at.format("%Y-%m-%dT%H:%M:%SZ").to_string());
    let Version { table, version, operation, by, added, removed, rows, .. } = version;
    format!("{table} {version}: {at} {operation} by {by}: +{added} -{removed} files, {rows} rows")
}
