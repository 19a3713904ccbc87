//! What the whole costs, on a real Kafka, and what a bare copy of the same topic costs beside it.
//!
//! `cargo bench --bench end_to_end -- [--messages 1000000] [--runs 1] [--keep] [--json]`, and what is otherwise the same
//! with other messages (`--size`, `--bad`, `--envelope`), a small pipeline (`--small`), processes (`--processes`) or an
//! archive that is old (`--old-files`). `--latency 20000`, `--idle 30` and `--restart` measure something else: see
//! [`live`] and [`restart`].
//!
//! Starts a broker of its own (needs `java` and `mvn`), loads orders of about 700 bytes, of which 2 % are sent twice
//! and 0.5 % are bad, into four partitions, and lets the release binary drain them into the clean topic **and** the
//! archive. Then every count is compared with what was generated: a benchmark of a program that loses rows is worth
//! nothing. The floor is librdkafka itself: consume, produce again in transactions with the offsets in them, and
//! nothing else, with the same settings, in a process of its own.
//!
//! Measured are CPU seconds (user and system, all threads) of those two processes. The broker is not counted, and is kept
//! on one core so that it disturbs as little as possible. Wall time depends on who else is busy; CPU time less so.

mod copy;
mod counts;
mod live;
mod load;
mod measure;
mod old;
mod restart;
mod support;

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use clap::Parser;
use huiju::{
    config::{Pipeline, pipeline},
    cpu,
    error::refuse,
};
use tempfile::TempDir;

use self::{counts::Counted, load::Loaded, measure::Cost, support::kafka::Kafka};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const PARTITIONS: i32 = 4;
/// The source whose messages are imitated; the topics of the pipeline's other sources stay empty.
const SOURCE: &str = "nanchang";
/// The one that sends many orders in one message.
const SOURCE_OF_ENVELOPES: &str = "yichun";
const CLEAN: &str = "hotline.standard.work_orders";
const REJECTED: &str = "hotline.rejected.work_orders";
const COPY: &str = "bench.copy";
/// Generated messages are of a fixed day; the broker must neither find them too old nor from the future.
const TOPIC: [(&str, &str); 3] =
    [("retention.ms", "-1"), ("message.timestamp.after.max.ms", "9223372036854775807"), ("segment.bytes", "268435456")];

#[derive(Parser)]
struct Options {
    /// Messages in the source topic
    #[arg(long, default_value_t = 1_000_000)]
    messages: u64,
    /// Drains and copies; the table shows each and the medians
    #[arg(long, default_value_t = 1)]
    runs: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Bytes that a message is padded to; without it they are as the source sends them, 700 bytes on average
    #[arg(long)]
    size: Option<usize>,
    /// Share of messages that ought to be rejected
    #[arg(long, default_value_t = 0.005)]
    bad: f64,
    /// Orders in a message, as another source sends them; none is bad or sent twice then. 0: one, without an envelope
    #[arg(long, default_value_t = 0)]
    envelope: u64,
    /// A small pipeline instead of the shipped one: all fields of the message, ten expressions, twenty classes of keywords,
    /// dedup by key
    #[arg(long, conflicts_with = "envelope")]
    small: bool,
    /// Processes that share the partitions
    #[arg(long, default_value_t = 1)]
    processes: usize,
    /// Files of 1,000 days that the archive holds before
    #[arg(long, default_value_t = 0)]
    old_files: u64,
    /// Instead: so many messages a second for 30 s, and how long each takes until it can be read from the clean topic
    #[arg(long, default_value_t = 0)]
    latency: u64,
    /// Instead: four pipelines without a message for so many seconds
    #[arg(long, default_value_t = 0)]
    idle: u64,
    /// Instead: how soon a killed process has its first new row with so many messages behind it, `--runs` times
    #[arg(long)]
    restart: bool,
    /// Leave configuration, logs and archive where they are
    #[arg(long)]
    keep: bool,
    /// One JSON object instead of the table
    #[arg(long)]
    json: bool,
    /// A line for the top of huiju.toml, for instance `memory = "64MiB"`
    #[arg(long, default_value = "")]
    with: String,
    /// A line for [kafka.properties], for instance `"linger.ms" = "50"`; may be repeated
    #[arg(long)]
    property: Vec<String>,
    /// Run this instead of plain `huiju` (words separated by spaces, for instance `perf record -g -o /tmp/p --`); its
    /// cost is then counted too
    #[arg(long, default_value = "")]
    under: String,
    /// We are the bare copy: broker, source topic, target topic, group
    #[arg(long, num_args = 4, hide = true)]
    copy: Option<Vec<String>>,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.copy {
        Some(words) => copy::run(&words[0], &words[1], &words[2], &words[3]),
        None if options.latency > 0 => live::latency(&options),
        None if options.idle > 0 => live::idle(&options),
        None if options.restart => restart::restart(&options),
        None => run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("end_to_end: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One drain and one copy.
struct Run {
    huiju: Cost,
    /// CPU seconds by step, all processes.
    steps: Vec<(&'static str, f64)>,
    copy: Cost,
    files: u64,
}

/// A broker on a core of its own, or none, said in words.
fn broker() -> Option<Kafka> {
    // Children start where we stand, so the broker gets its core by our standing there for a moment.
    let cores = measure::stand_on_one_core();
    let kafka = Kafka::start();
    measure::stand_on(&cores);
    kafka
}

fn create_topics(kafka: &Kafka, pipeline: &Pipeline) {
    let raw = pipeline.sources.iter().flat_map(|source| source.topics.iter().map(String::as_str));
    for topic in raw.chain([CLEAN, REJECTED, COPY]) {
        kafka.create_topic(topic, PARTITIONS, &TOPIC);
    }
}

fn run(options: &Options) -> Result<()> {
    let Some(kafka) = broker() else { return Ok(()) };
    let mut folder = TempDir::with_prefix("huiju-bench-")?;
    folder.disable_cleanup(options.keep);
    let root = root(folder.path(), options)?;
    let pipeline = pipeline::read(&root.join("pipelines/work_orders")).map_err(refuse)?;
    create_topics(&kafka, &pipeline);
    eprintln!("loading {} messages", options.messages);
    let (source, loaded) = load::load(&kafka.bootstrap(), &pipeline, options)?;
    eprintln!(
        "loaded: {} bytes on average, {} duplicates, {} bad",
        loaded.bytes / options.messages.max(1),
        loaded.duplicates,
        loaded.bad
    );

    let mut runs = Vec::new();
    for number in 1..=options.runs {
        eprintln!("run {number} of {}", options.runs);
        let place = Place { folder: folder.path().join(number.to_string()), root: &root, number };
        runs.push(once(&kafka, &source, &loaded, &place, options)?);
    }
    report(&runs, &loaded, options);
    if options.keep {
        eprintln!("kept: {}", folder.path().display());
    }
    Ok(())
}

/// The folder of `pipelines/` and `schemas/`: what is shipped, or a copy of it in which a message holds as many orders as
/// asked for, or one with a small pipeline.
fn root(folder: &Path, options: &Options) -> Result<PathBuf> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR"));
    if options.envelope == 0 && !options.small {
        return Ok(shipped.to_owned());
    }
    for name in ["pipelines", "schemas"] {
        copy_folder(&shipped.join(name), &folder.join(name))?;
    }
    let pipeline = folder.join("pipelines/work_orders");
    if options.envelope > 0 {
        let template = pipeline.join(format!("sources/{SOURCE_OF_ENVELOPES}.sample.json"));
        let text = fs::read_to_string(&template)?;
        let many = text.replace("${repeat:1-5}", &format!("${{repeat:{0}-{0}}}", options.envelope));
        if many == text {
            return Err(format!("{}: no array of 1 to 5 to be made longer", template.display()).into());
        }
        fs::write(&template, many)?;
    }
    if options.small {
        remove_files(&pipeline, |name| name.ends_with(".sql"))?;
        remove_files(&pipeline.join("sources"), |name| !name.starts_with(SOURCE))?;
        copy_folder(&shipped.join("benches/end_to_end/small"), folder)?;
    }
    Ok(folder.to_owned())
}

fn remove_files(folder: &Path, which: impl Fn(&str) -> bool) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() && which(&entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => copy_folder(&entry.path(), &to.join(entry.file_name()))?,
            false => drop(fs::copy(entry.path(), to.join(entry.file_name()))?),
        }
    }
    Ok(())
}

/// Where a run takes place.
struct Place<'p> {
    folder: PathBuf,
    root: &'p Path,
    number: usize,
}

fn once(kafka: &Kafka, source: &str, loaded: &Loaded, place: &Place, options: &Options) -> Result<Run> {
    let bootstrap = kafka.bootstrap();
    let (folder, number) = (&place.folder, place.number);
    fs::create_dir_all(folder)?;
    let config = folder.join("huiju.toml");
    fs::write(&config, configuration(&bootstrap, place.root, &format!("bench-{number}"), options))?;
    let old = old::fill(&config, options.old_files)?;
    let before = [counts::ends(&bootstrap, CLEAN)?, counts::ends(&bootstrap, REJECTED)?];

    let outputs = |process: usize| ["stdout", "stderr"].map(|name| folder.join(format!("{name}.{process}")));
    let mut commands = Vec::new();
    for process in 0..options.processes {
        let [stdout, stderr] = outputs(process);
        let mut command = huiju(options);
        command.args(["run", "--until-end", "--format", "json"]).current_dir(folder).stdin(Stdio::null());
        command.stdout(fs::File::create(stdout)?).stderr(fs::File::create(stderr)?);
        commands.push(command);
    }
    let huiju = measure::run(commands).map_err(|error| {
        let said = |process: usize| fs::read_to_string(&outputs(process)[1]).unwrap_or_default();
        format!("huiju {error}:\n{}", (0..options.processes).map(said).collect::<String>())
    })?;

    let mut said = Vec::new();
    for process in 0..options.processes {
        let text = fs::read_to_string(&outputs(process)[0])?;
        said.push(serde_json::from_str::<serde_json::Value>(text.lines().last().unwrap_or_default())?);
    }
    let counted = Counted {
        clean: counts::committed(&bootstrap, CLEAN, &before[0])?,
        rejected: counts::committed(&bootstrap, REJECTED, &before[1])?,
        archive: counts::archive(&folder.join("archive/work_orders"))?.less(&old),
        archive_rejects: counts::archive(&folder.join("archive/work_orders_rejects"))?,
    };
    counts::check(&said, &counted, loaded)?;

    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--copy", &bootstrap, source, COPY, &format!("bench-copy-{number}")]).stdin(Stdio::null());
    let before = counts::ends(&bootstrap, COPY)?;
    let copy = measure::run(vec![command]).map_err(|error| format!("the bare copy {error}"))?;
    let copied = counts::committed(&bootstrap, COPY, &before)?.messages;
    if copied != loaded.messages {
        return Err(format!("the bare copy wrote {copied} of {} messages", loaded.messages).into());
    }
    Ok(Run { huiju, steps: steps(&said), copy, files: counted.archive.files + counted.archive_rejects.files })
}

/// What the processes say of their steps, summed up.
fn steps(said: &[serde_json::Value]) -> Vec<(&'static str, f64)> {
    let used = |step: &str| said.iter().filter_map(|said| said["cpu_seconds"][step].as_f64()).sum();
    cpu::used().map(|(step, _)| (step, used(step))).collect()
}

fn huiju(options: &Options) -> Command {
    let binary = env!("CARGO_BIN_EXE_huiju");
    let mut words = options.under.split_whitespace();
    let Some(first) = words.next() else { return Command::new(binary) };
    let mut command = Command::new(first);
    command.args(words).arg(binary);
    command
}

/// The defaults, with a group of its own per run.
fn configuration(bootstrap: &str, root: &Path, group: &str, Options { with, property, .. }: &Options) -> String {
    let (root, properties) = (root.display(), property.join("\n"));
    format!(
        "{with}\npipelines = \"{root}/pipelines\"\nschemas = \"{root}/schemas\"\ninstance = \"bench\"\n\
         [kafka]\nbrokers = \"{bootstrap}\"\ngroup = \"{group}\"\n\
         [kafka.properties]\n{properties}\n\
         [archive]\nlocation = \"archive\"\n"
    )
}

fn report(runs: &[Run], loaded: &Loaded, options: &Options) {
    let million = loaded.rows() as f64 / 1e6;
    let per_million = |cost: &Cost| cost.cpu() / million;
    let median = |of: &dyn Fn(&Run) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let peak = runs.iter().map(|run| run.huiju.peak).max().unwrap_or(0) as f64 / 1e6;
    let [huiju, copy, ratio, wall] = [
        median(&|run| per_million(&run.huiju)),
        median(&|run| per_million(&run.copy)),
        median(&|run| run.huiju.cpu() / run.copy.cpu()),
        median(&|run| run.huiju.wall),
    ];
    let steps = runs.last().map(|run| &*run.steps).unwrap_or_default();
    let speed = loaded.bytes as f64 / 1e6 / (huiju * million);
    if options.json {
        let object = serde_json::json!({
            "messages": loaded.messages,
            "orders": loaded.rows(),
            "bytes": loaded.bytes,
            "runs": runs.len(),
            "cpu_seconds_per_million": round(huiju),
            "copy_cpu_seconds_per_million": round(copy),
            "ratio": round(ratio),
            "mb_per_cpu_second": round(speed),
            "wall_seconds": round(wall),
            "peak_rss_mb": round(peak),
            "steps": steps.iter().map(|(step, used)| (*step, round(used / million))).collect::<serde_json::Value>(),
            "files": runs.last().map(|run| run.files),
        });
        println!("{object}");
        return;
    }
    println!("                  CPU s/M    user     sys   wall s   peak MB   files");
    for run in runs {
        line("huiju", &run.huiju, million, &run.files.to_string());
        line("bare copy", &run.copy, million, "-");
    }
    println!("by step, last run (other: the Kafka client's threads, and all else):");
    for (step, used) in steps {
        println!("  {step:<14} {:>8.2}", used / million);
    }
    println!(
        "median: {huiju:.2} CPU-seconds per million orders, {ratio:.2} times the bare copy ({copy:.2}), {speed:.1} MB per \
         CPU-second, {peak:.0} MB at most"
    );
}

fn line(name: &str, cost: &Cost, million: f64, files: &str) {
    let (user, system) = (cost.user / million, cost.system / million);
    let (cpu, wall, peak) = (cost.cpu() / million, cost.wall, cost.peak as f64 / 1e6);
    println!("{name:<16} {cpu:>8.2} {user:>7.2} {system:>7.2} {wall:>8.1} {peak:>9.0} {files:>7}");
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
