//! `huiju demo`: the whole way on this machine, without a broker.
//!
//! The folder it leaves is a complete project: pipelines and schemas to look at and to change, topics as folders of
//! files, the archive, and a `huiju.toml` that `huiju run` takes.

use std::{
    fs::{self, File, TryLockError},
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::Args;
use include_dir::{Dir, include_dir};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    check,
    cli::{
        flags::Format,
        out::{say, tell},
        run::{Started, Summary},
    },
    config::{Config, folder_of_tables},
    error::{Error, Result, refuse},
    file,
    runtime::{Accounts, build::committed},
    sample,
};

static PIPELINES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/pipelines");
static SCHEMAS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/schemas");

/// The weights in the binary; the first by name if there are several.
pub fn shipped_weights() -> Option<&'static [u8]> {
    let files = SCHEMAS.get_dir("weights")?.files();
    files
        .filter(|file| file.path().extension().is_some_and(|ending| ending == "weights"))
        .map(|file| file.contents())
        .next()
}

const CONFIG: &str = r#"# Made by `huiju demo`. Topics are folders of files here; see huiju.example.toml for everything else.
pipelines = "pipelines"
schemas   = "schemas"

[files]
folder = "topics"

[archive]
location = "archive"
"#;

#[derive(Args)]
pub struct Options {
    /// Folder to work in: absent, empty, or of an earlier demo
    #[arg(long, default_value = "demo")]
    dir: PathBuf,
    /// How many messages to generate, over all cities
    #[arg(long, default_value_t = 30_000)]
    messages: u64,
    /// The same seed gives the same messages
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How the summary is written to standard output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// `huiju demo`.
pub fn run(options: &Options) -> Result<()> {
    let dir = &options.dir;
    make(dir, options)?;
    let started = Started::new(true, options.format)?;
    let config = Config::read(&dir.join("huiju.toml"))?;
    let prepared = check::prepare(&config, &[])?;
    let done = Arc::new(AtomicBool::new(false));
    let total = options.messages;
    let finished = done.clone();
    let summary = started.run(Arc::new(config), prepared, |accounts| watch(accounts, total, finished));
    done.store(true, Ordering::SeqCst);
    let summary = summary?;
    if options.format == Format::Text && summary.failed.is_none() {
        next(dir, total, &summary);
    }
    summary.print(options.format);
    summary.failed.map_or(Ok(()), Err)
}

/// A file in the folder that says whose it is: that the demo is being made, then its messages and seed. Whoever makes the
/// demo holds a lock on it.
const MARK: &str = ".made";
const MAKING: &str = "huiju demo is making this\n";

/// What a folder holds.
enum Found {
    Nothing,
    Unfinished,
    /// A demo of so many messages and this seed.
    Demo(u64, u64),
}

/// Makes the demo in the folder if it is not there; a folder with anything else in it is left alone.
fn make(dir: &Path, options: &Options) -> Result<()> {
    let mark = dir.join(MARK);
    if !matches!(look(dir)?, Found::Demo(..)) {
        let odd = folder_of_tables(&dir.join("archive"));
        odd.map_err(|why| Error::config(format!("--dir {}: {why}", dir.display())))?;
        file::folder(dir)?;
        let write = |error| file::failed(format_args!("write {}", mark.display()), error);
        let mut locked = File::options().create(true).append(true).open(&mark).map_err(write)?;
        match locked.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let todo = "wait for it, or name another folder with --dir";
                return Err(Error::config(format!("another huiju demo is making {}: {todo}", dir.display())));
            }
            Err(TryLockError::Error(error)) => {
                return Err(file::failed(format_args!("lock {}", mark.display()), error));
            }
        }
        // Another may have been faster.
        if !matches!(look(dir)?, Found::Demo(..)) {
            locked.set_len(0).and_then(|()| locked.write_all(MAKING.as_bytes())).map_err(write)?;
            prepare(dir, options)?;
            file::write(&mark, format!("{} {}\n", options.messages, options.seed).as_bytes())?;
        }
    }
    match look(dir)? {
        Found::Demo(messages, seed) if (messages, seed) != (options.messages, options.seed) => {
            Err(Error::config(format!(
                "{} holds the demo of --messages {messages} --seed {seed}; use these, another --dir, or remove the folder",
                dir.display(),
            )))
        }
        _ => Ok(()),
    }
}

fn look(dir: &Path) -> Result<Found> {
    let mark = dir.join(MARK);
    match fs::read_to_string(&mark) {
        Ok(text) if text == MAKING && !dir.join("archive").exists() => return Ok(Found::Unfinished),
        // Where nothing else is, somebody has died before he wrote a word, or is about to.
        Ok(text) if text.is_empty() && fs::read_dir(dir).is_ok_and(|entries| entries.count() == 1) => {
            return Ok(Found::Unfinished);
        }
        Ok(text) => {
            let made = text
                .trim()
                .split_once(' ')
                .and_then(|(messages, seed)| Some(Found::Demo(messages.parse().ok()?, seed.parse().ok()?)));
            let todo = "name another folder with --dir, or remove this one";
            return made.ok_or_else(|| Error::config(format!("{} is not of a whole demo: {todo}", mark.display())));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(file::failed(format_args!("read {}", mark.display()), error)),
    }
    match fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(Found::Nothing),
            Some(_) => Err(Error::config(format!(
                "{0} is not empty, and no demo (it has no {MARK}): name an absent or empty folder with --dir; \
                 a project is run with huiju run --config {0}/huiju.toml",
                dir.display()
            ))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
        Err(error) => Err(file::failed(format_args!("read {}", dir.display()), error)),
    }
}

/// Unpacks what is shipped and generates the messages, over what an interrupted demo has left.
fn prepare(dir: &Path, options: &Options) -> Result<()> {
    for (name, files) in [("pipelines", &PIPELINES), ("schemas", &SCHEMAS)] {
        let to = dir.join(name);
        file::folder(&to)?;
        let unpacked = files.extract(&to);
        unpacked.map_err(|error| file::failed(format_args!("unpack {name} into {}", dir.display()), error))?;
    }
    file::write(&dir.join("huiju.toml"), CONFIG.as_bytes())?;
    let (pipelines, findings) = crate::config::pipeline::read_all(&dir.join("pipelines"), &[]);
    if !findings.is_empty() {
        return Err(refuse(findings));
    }
    let topics = dir.join("topics");
    let sources: u64 = pipelines.iter().map(|pipeline| pipeline.sources.len() as u64).sum();
    tell!(INFO, "generating {} messages of {sources} sources into {}", options.messages, topics.display());
    if let Err(error) = fs::remove_dir_all(&topics)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(file::failed(format_args!("remove {}", topics.display()), error));
    }
    let mut left = options.messages;
    let mut number = 0;
    for pipeline in &pipelines {
        for source in &pipeline.sources {
            number += 1;
            let messages = if number == sources { left } else { options.messages / sources };
            left -= messages;
            let settings = sample::Options { messages, seed: options.seed, ..sample::Options::default() };
            let generator = sample::Generator::read(pipeline, &source.name, settings).map_err(refuse)?;
            sample::write_files(vec![generator], &topics)?;
        }
    }
    Ok(())
}

/// Shows how far it is: a bar on a terminal, a line now and then elsewhere.
fn watch(accounts: Vec<(Arc<str>, Accounts)>, total: u64, done: Arc<AtomicBool>) {
    let bar = std::io::stderr().is_terminal().then(|| {
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} messages  {per_sec}");
        ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    });
    std::thread::spawn(move || {
        let mut shown = 0;
        while !done.load(Ordering::SeqCst) {
            std::thread::park_timeout(Duration::from_millis(200));
            let rows: u64 = accounts
                .iter()
                .filter_map(|(_, accounts)| committed(accounts).values().map(|account| account.total.input).max())
                .sum();
            match &bar {
                Some(bar) => bar.set_position(rows.min(total)),
                None if rows >= shown + (total / 4).max(1) => {
                    tell!(INFO, "{rows} rows done");
                    shown = rows;
                }
                None => {}
            }
        }
        bar.iter().for_each(ProgressBar::finish_and_clear);
    });
}

fn next(dir: &Path, messages: u64, summary: &Summary) {
    let dir = dir.display();
    if messages == 0 {
        say!("Nothing in {dir}/topics: no messages were wanted (--messages 0), so there is nothing to carry over.\n");
    } else if summary.total().total.input == 0 {
        say!("Nothing new in {dir}/topics: everything was carried over by an earlier run, nothing is written twice.\n");
    }
    say!("What you have now, in {dir}/:");
    say!("  topics/hotline.raw.*       what the cities sent");
    say!("  topics/hotline.standard.*  the clean stream, JSON Lines");
    say!("  topics/hotline.rejected.*  what was refused, and why");
    say!("  archive/                   the same as Parquet with a Delta log");
    say!("  pipelines/, schemas/       how it was done: SQL, contracts, code tables");
    say!("\nNext:");
    say!(
        "  duckdb -c \"SELECT appeal_type, count(*) FROM read_parquet('{dir}/archive/work_orders/ingested_on=*/*.parquet', hive_partitioning=true) GROUP BY 1\""
    );
    say!(
        "  python -c \"import deltalake; print(deltalake.DeltaTable('{dir}/archive/work_orders').to_pandas().head())\""
    );
    say!("  huiju test --config {dir}/huiju.toml       # the pipeline's own test cases");
    say!("  huiju run --config {dir}/huiju.toml        # follow the topics as files are added");
    say!("  to use Kafka, replace [files] in {dir}/huiju.toml by [kafka] brokers = \"…\"\n");
}
