//! `huiju sample`: generated messages into files or into Kafka.

use std::{
    fs,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use clap::Args;

use super::{
    Generator, Options as Settings,
    files::in_the_way,
    taken,
    topics::{Producer, create},
    write_files,
};
use crate::{
    cli::{flags::Where, out::say},
    clock::Clock,
    config::{self, Config, Topics, pipeline},
    error::{Error, Finding, Result, refuse},
    near, text,
};

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    at: Where,
    /// The pipeline whose sources are imitated
    pipeline: String,
    /// Only these sources; all when none is named
    #[arg(long)]
    source: Vec<String>,
    /// How many messages, over all sources
    #[arg(long, default_value_t = 1000)]
    messages: u64,
    /// The same seed gives the same messages
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Share of messages that are sent again
    #[arg(long, default_value_t = 0.02, value_parser = share)]
    duplicates: f64,
    /// Share of messages that are damaged
    #[arg(long, default_value_t = 0.005, value_parser = share)]
    bad: f64,
    /// Pad texts so that a message has about this many bytes, 16 MiB at most; Kafka's topics take 1 MB by default
    #[arg(long, value_parser = size)]
    size: Option<usize>,
    /// Time of the first message, as 2026-06-02 or 2026-06-02T08:00:00, in Shanghai; otherwise, for files 2026-06-01, for
    /// Kafka a day ago, so that retention leaves them alone
    #[arg(long, value_parser = time)]
    start: Option<DateTime<Utc>>,
    /// Folder for topics of files; without it they go where the configuration has its topics, in Kafka or files
    #[arg(long)]
    to: Option<PathBuf>,
    /// Create the topics in Kafka, those of the pipeline's sinks too, with this many partitions
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=100_000))]
    partitions: Option<i32>,
}

/// More than any topic should take; every message of so many bytes is made in memory.
const LARGEST: usize = 16 << 20;

fn size(typed: &str) -> Result<usize, String> {
    let size = typed.parse().ok().filter(|size| *size <= LARGEST);
    size.ok_or_else(|| format!("write a number of bytes, at most {LARGEST} (16 MiB)"))
}

fn share(typed: &str) -> Result<f64, String> {
    let share = typed.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "write a share of 0 to 1, as 0.02".to_owned())
}

fn time(typed: &str) -> Result<DateTime<Utc>, String> {
    let time = text::parse_time(typed, chrono_tz::Asia::Shanghai);
    time.ok_or_else(|| "write a day or a time, as 2026-06-02 or 2026-06-02T08:00:00".to_owned())
}

/// `huiju sample`.
pub fn run(options: &Options) -> Result<()> {
    let config = Config::read(&options.at.config)?;
    let folder = folder(&config, &options.pipeline).map_err(|finding| refuse(vec![finding]))?;
    let pipeline = pipeline::read(&folder).map_err(refuse)?;
    let generators = generators(options, &pipeline, &config.topics)?;
    match (&options.to, &config.topics) {
        (Some(folder), _) | (None, Topics::Files { folder }) => {
            if options.partitions.is_some() {
                let what = "--partitions is for topics in Kafka, and these messages become files: leave it out";
                return Err(Error::config(what));
            }
            if let Some(path) = taken(self::generators(options, &pipeline, &config.topics)?, folder) {
                return Err(in_the_way(&path));
            }
            let written = write_files(generators, folder)?;
            say!("{} messages in {} files under {}", written.messages, written.files, folder.display());
            Ok(())
        }
        (None, Topics::Kafka(kafka)) => {
            kafka.look_for_secrets()?;
            produce(kafka, &pipeline, generators, options.partitions)
        }
    }
}

/// The folder of a pipeline. Its name is one of those in there: no path leads elsewhere.
fn folder(config: &Config, name: &str) -> Result<PathBuf, Finding> {
    let names = names(&config.pipelines).map_err(|error| {
        let todo = if config.pipelines.exists() { "" } else { ": name the folder in which the pipelines lie" };
        let what = format!("pipelines: {}: cannot be read: {error}{todo}", config.pipelines.display());
        Finding::new(config.place("pipelines"), what)
    })?;
    if names.iter().any(|known| known == name) {
        return Ok(config.pipelines.join(name));
    }
    let near = near::did_you_mean(name, names.iter().map(String::as_str));
    Err(Finding::new(config.pipelines.display().to_string(), format!("there is no pipeline \"{name}\"{near}")))
}

/// The names of the folders in a folder; not of hidden ones.
fn names(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        names.extend(name.filter(|name| !name.starts_with('.') && path.is_dir()).map(str::to_owned));
    }
    Ok(names)
}

fn produce(
    kafka: &config::Kafka,
    pipeline: &config::Pipeline,
    generators: Vec<Generator>,
    partitions: Option<i32>,
) -> Result<()> {
    let producer = Producer::connect(kafka)?;
    // Before any is created too: this tells soon, and why, that no broker can be reached.
    let missing = producer.missing(generators.iter().map(Generator::topic))?;
    if let Some(partitions) = partitions {
        let mut topics: Vec<String> = generators.iter().map(|one| one.topic().to_owned()).collect();
        for sink in &pipeline.sinks {
            if let config::Sink::Kafka { topic, rejected, .. } = sink {
                topics.extend([topic.clone(), rejected.clone()]);
            }
        }
        create(kafka, &topics, partitions)?;
    } else if !missing.is_empty() {
        let lines: Vec<String> =
            missing.iter().map(|topic| format!("topic {topic} does not exist: create it")).collect();
        let todo = "--partitions creates them, and those of the pipeline's sinks";
        return Err(Error::unavailable(lines.join("\n")).advising(todo));
    }
    let produced = producer.produce(generators)?;
    say!("{} messages, {} bytes on average", produced.messages, produced.bytes / produced.messages.max(1));
    Ok(())
}

fn generators(options: &Options, pipeline: &config::Pipeline, topics: &Topics) -> Result<Vec<Generator>> {
    let default = Settings::default();
    let to_kafka = options.to.is_none() && matches!(topics, Topics::Kafka(_));
    let day_ago = || Clock::system().now() - default.span;
    let start = options.start.unwrap_or_else(|| if to_kafka { day_ago() } else { default.start });
    let names: Vec<String> = match options.source.is_empty() {
        true => pipeline.sources.iter().map(|source| source.name.to_string()).collect(),
        false => options.source.clone(),
    };
    for (number, name) in names.iter().enumerate() {
        if names[..number].contains(name) {
            return Err(Error::config(format!("--source {name} is there twice: name each source once")));
        }
    }
    let mut generators = Vec::new();
    let count = names.len().max(1) as u64;
    for (number, name) in names.iter().enumerate() {
        let rest = if number == 0 { options.messages % count } else { 0 };
        let settings = Settings {
            messages: options.messages / count + rest,
            seed: options.seed,
            duplicates: options.duplicates,
            bad: options.bad,
            size: options.size,
            start,
            span: default.span,
        };
        generators.push(Generator::read(pipeline, name, settings).map_err(refuse)?);
    }
    Ok(generators)
}
