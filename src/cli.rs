//! The command line.

pub(crate) mod out;
mod panics;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::json;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use out::{say, tell};

use crate::{
    archive, cases, check, classifier,
    clock::Clock,
    config::Config,
    cpu, demo,
    error::{Context, Error, ErrorKind, Result, refuse},
    metrics::Metrics,
    runtime::{
        Accounts, Committed,
        build::{Prepared, Setup, Slot, committed},
        supervise::{self, State, Statuses},
    },
    sample, serve,
    stop::Stop,
};

const EXITS: &str = "\
Exit codes: 0 done · 2 a file or flag is wrong · 3 Kafka, archive or disk did not answer, or nothing can
be written to standard output · 4 another instance took over ·
5 too many rejects · 6 messages are gone (gap) · 70 a mistake in huiju · 130 stopped at once by a second signal";

/// Signals that come together are one: `timeout` tells the process and its group.
const TOGETHER: Duration = Duration::from_millis(100);
/// How long leaving may take after what is in flight had its time: groups are left, threads end.
const LEAVE: Duration = Duration::from_secs(5);

/// Collects 12345 hotline data from the cities' topics, cleans and classifies it, and hands it on exactly once.
#[derive(Parser)]
#[command(version, after_help = EXITS)]
struct Cli {
    /// What is logged, and from where: a level, or directives as in `info,huiju::source=debug`
    #[arg(long, global = true, env = "HUIJU_LOG", default_value = "info", value_parser = directives)]
    log: String,
    /// How logs are written to standard error
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    log_format: Format,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the pipelines until stopped, or up to the end of their topics
    #[command(after_help = concat!("Example: huiju run --config huiju.toml --until-end --format json\n\nSIGTERM and Ctrl-C finish what is in flight; a second one exits at once."))]
    Run(Run),
    /// Say what is wrong with configuration, contracts, SQL and code tables; no broker needed
    #[command(after_help = "Example: huiju check --config huiju.toml")]
    Check(Where),
    /// Run the test cases in the pipeline folders; no broker needed
    #[command(
        after_help = "Example: huiju test work_orders --case duplicate_order\n\nA case is a folder under pipelines/NAME/tests with input.jsonl, output.jsonl and rejects.jsonl."
    )]
    Test(cases::Options),
    /// Show everything on this machine: sample messages through the shipped pipeline into a clean stream and an archive
    #[command(after_help = "Example: huiju demo --messages 100000 --seed 7")]
    Demo(demo::Options),
    /// Generate raw messages, dirty on purpose, into files or Kafka
    #[command(
        after_help = "Example: huiju sample work_orders --source nanchang --messages 1000 --to topics\n         huiju sample work_orders --messages 1000000 --config huiju.toml --partitions 4"
    )]
    Sample(sample::command::Options),
    /// Learn to classify texts from labelled ones: writes a weights file, and how good it is
    #[command(
        after_help = "Example: huiju train labelled.jsonl --to schemas/weights/content_class.weights --seed 1\n\nA line of the data: {\"title\": …, \"content\": …, \"label\": …}"
    )]
    Train(classifier::command::Train),
    /// Classify texts: class, probability and the strongest reasons, a line each
    #[command(
        after_help = "Example: echo 小区门口的路灯坏了一周 | huiju classify\n         huiju classify messages.jsonl --weights schemas/weights/content_class.weights --format json\n\nA probability below the weights' threshold is marked with `?`."
    )]
    Classify(classifier::command::Classify),
    /// Measure weights with labelled texts, or the way of learning by cross-validation
    #[command(
        after_help = "Example: huiju evaluate held_out.jsonl --format json\n         huiju evaluate labelled.jsonl --folds 5 --seed 1 --compare"
    )]
    Evaluate(classifier::command::Evaluate),
    /// Look after the archive's tables: compaction, vacuum, history
    #[command(subcommand)]
    Archive(archive::Verb),
    /// Write the data dictionary and the JSON Schema of each contract
    #[command(after_help = "Example: huiju docs --to docs")]
    Docs(check::DocsOptions),
}

#[derive(Args, Clone)]
pub struct Where {
    /// The configuration; its folder is where relative paths in it start
    #[arg(long, default_value = "huiju.toml", env = "HUIJU_CONFIG")]
    pub config: PathBuf,
}

#[derive(Args)]
struct Run {
    #[command(flatten)]
    at: Where,
    /// Only these pipelines; all when none is named
    pipelines: Vec<String>,
    /// Stop at the ends that the topics have now
    #[arg(long)]
    until_end: bool,
    /// How the summary is written to standard output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Reads the arguments, does what they say, and tells the exit code.
pub fn main() -> ExitCode {
    panics::install();
    let cli = Cli::parse();
    log(&cli);
    let runs = matches!(cli.verb, Verb::Run(_));
    let done = match cli.verb {
        Verb::Run(run) => run.execute(),
        Verb::Check(at) => check::check(&at),
        Verb::Test(options) => cases::run(&options),
        Verb::Demo(options) => demo::run(&options),
        Verb::Sample(options) => sample::command::run(&options),
        Verb::Archive(verb) => archive::run(&verb),
        Verb::Train(options) => classifier::command::run_train(&options),
        Verb::Classify(options) => classifier::command::run_classify(&options),
        Verb::Evaluate(options) => classifier::command::run_evaluate(&options),
        Verb::Docs(options) => check::docs(&options),
    };
    match (done, out::failure()) {
        (Ok(()), None) => ExitCode::SUCCESS,
        (Ok(()), Some(error)) => {
            tell!(
                "huiju: write to standard output: {error}\n       the work is done; what it says of it is not complete"
            );
            ExitCode::from(ErrorKind::Unavailable.exit_code())
        }
        (Err(error), _) => {
            // Only what runs could have changed anything.
            let again =
                if runs && error.kind == ErrorKind::Config { " and start again; nothing was changed" } else { "" };
            tell!("huiju: {error}\n       {}{again}", error.kind.advice());
            ExitCode::from(error.kind.exit_code())
        }
    }
}

/// A level, or directives of [`EnvFilter`]. Those take any word for the name of a module, also a level with a slip in it.
fn directives(text: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (target, level) = part.rsplit_once('=').map_or((None, part), |(target, level)| (Some(target), level));
        let is_module = target.is_none() && (part.contains("::") || ["huiju", "librdkafka"].contains(&part));
        let is_span = part.contains('[');
        if !is_module && !is_span && !LEVELS.contains(&level.to_lowercase().as_str()) {
            let near = crate::engine::nearest(level, LEVELS.into_iter());
            let levels = LEVELS.join(", ");
            return Err(format!(
                "\"{level}\" is no level{near}; write one of {levels}, or directives such as info,huiju::source=debug"
            ));
        }
    }
    EnvFilter::try_new(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

fn log(cli: &Cli) {
    // A bare level is meant for us: the libraries below are talkative.
    let plain = !cli.log.contains([',', '=', ':', '[']) && !["huiju", "librdkafka"].contains(&cli.log.as_str());
    let directives = if plain { format!("huiju={0},librdkafka={0}", cli.log) } else { cli.log.clone() };
    let filter = EnvFilter::try_new(&directives).unwrap_or_else(|_| EnvFilter::new("huiju=info"));
    let logs =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    match cli.log_format {
        Format::Json => logs.json().flatten_event(true).init(),
        Format::Text => {
            use std::io::IsTerminal;
            logs.with_target(false).with_ansi(std::io::stderr().is_terminal()).init()
        }
    }
}

impl Run {
    fn execute(&self) -> Result<()> {
        let config = Config::read(&self.at.config)?;
        let prepared = check::prepare(&config, &self.pipelines)?;
        let stop = Stop::new();
        let summary = run(Arc::new(config), prepared, self.until_end, &stop, |_| {})?;
        summary.print(self.format);
        summary.failed.map_or(Ok(()), Err)
    }
}

/// What a run has done.
pub struct Summary {
    /// By pipeline: the account of its archive, or of its only sink.
    pub pipelines: Vec<(Arc<str>, Committed)>,
    pub seconds: f64,
    /// Why a pipeline stopped, if one did.
    pub failed: Option<Error>,
}

/// Runs pipelines until `stop`, a signal, or their ends.
///
/// `watch` is given the accounts, which grow while it runs.
pub fn run(
    config: Arc<Config>,
    prepared: Vec<Prepared>,
    bounded: bool,
    stop: &Stop,
    watch: impl FnOnce(Vec<(Arc<str>, Accounts)>),
) -> Result<Summary> {
    let begun = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.or_unavailable("start the runtime")?;
    let clock = Clock::system();
    let metrics = Metrics::new();
    let statuses = Arc::new(Statuses::default());
    if let Some(listen) = config.listen {
        let address = runtime.block_on(serve::serve(listen, metrics.clone(), statuses.clone()))?;
        info!(%address, "serving /metrics, /health and /ready");
    }
    signals(&runtime, stop.clone(), config.drain, bounded)?;
    let memory = config.memory / prepared.len().max(1);
    let mut accounts = Vec::new();
    let mut threads = Vec::new();
    for prepared in prepared {
        let name = prepared.pipeline.name.clone();
        let account = Setup::accounts(&prepared.pipeline, &config.topics);
        accounts.push((name.clone(), account.clone()));
        let setup = Setup {
            config: config.clone(),
            prepared,
            clock: clock.clone(),
            metrics: metrics.clone(),
            runtime: runtime.handle().clone(),
            bounded,
            memory,
            accounts: account,
            archived: AtomicBool::new(false),
            slot: Slot::take(&config.instance)?,
        };
        let (stop, statuses) = (stop.clone(), statuses.clone());
        let body = move || {
            // A panic is said by the hook; here it must not leave the others running as if all were well.
            let ended = catch_unwind(AssertUnwindSafe(|| supervise::run(&setup, &stop, &statuses)));
            let ended = ended.unwrap_or_else(|_| {
                let pipeline = &setup.prepared.pipeline.name;
                statuses.set(pipeline, State::Stopped, Some("it panicked".to_owned()), setup.clock.now());
                Err(Error::bug(format!("pipeline {pipeline} panicked")))
            });
            if ended.is_err() {
                // One pipeline that cannot go on ends the process, so that somebody notices; the others finish first.
                stop.ask();
            }
            ended
        };
        let thread = std::thread::Builder::new().name(format!("fetch-{name}")).spawn(body);
        threads.push(thread.or_unavailable("start a thread")?);
    }
    watch(accounts.clone());
    let mut failed = None;
    for thread in threads {
        let ended = thread.join().unwrap_or_else(|_| Err(Error::bug("a pipeline panicked")));
        failed = failed.or(ended.err());
    }
    if bounded && failed.is_none() && stop.asked() {
        failed = Some(Error::unavailable("told to stop before the end was reached"));
    }
    runtime.shutdown_background();
    let pipelines = accounts.into_iter().map(|(name, account)| (name, primary(&account))).collect();
    Ok(Summary { pipelines, seconds: begun.elapsed().as_secs_f64(), failed })
}

/// The account that a summary shows: the archive's where there is one.
fn primary(accounts: &Accounts) -> Committed {
    let mut all = committed(accounts);
    all.remove("archive").or_else(|| all.into_values().next()).unwrap_or_default()
}

/// The first signal asks to stop; the second ends the process at once. So does the time: a commit that is under way
/// waits for a broker or a disk for as long as that takes, and a stop must not. Of a bounded run that is no success.
fn signals(runtime: &tokio::runtime::Runtime, stop: Stop, drain: Duration, bounded: bool) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let _entered = runtime.enter();
    let mut terminate = signal(SignalKind::terminate()).or_unavailable("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).or_unavailable("listen for SIGINT")?;
    runtime.spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("stopping: finishing what is in flight");
        stop.ask();
        let first = Instant::now();
        let leave = tokio::time::sleep(drain + LEAVE);
        tokio::pin!(leave);
        while first.elapsed() < TOGETHER {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                () = &mut leave => {
                    let waited_s = (drain + LEAVE).as_secs();
                    warn!(waited_s, "stopped before everything in flight was committed; it is read again at the next start");
                    let code = if bounded { ErrorKind::Unavailable.exit_code() } else { 0 };
                    std::process::exit(code.into());
                }
            }
        }
        warn!("second signal: exiting at once; what was in flight is read again at the next start");
        std::process::exit(130);
    });
    Ok(())
}

impl Summary {
    /// All pipelines together.
    pub fn total(&self) -> Committed {
        let mut total = Committed::default();
        for (_, committed) in &self.pipelines {
            total.add(committed);
            total.files += committed.files;
        }
        total
    }

    pub fn json(&self) -> serde_json::Value {
        let object = |committed: &Committed| {
            json!({
                "in": committed.total.input,
                "written": committed.total.written,
                "rejected": committed.total.rejected,
                "duplicate": committed.total.duplicate,
                "reasons": committed.reasons,
                "flags": committed.flags,
                "files": committed.files,
            })
        };
        let mut all = object(&self.total());
        all["seconds"] = json!((self.seconds * 1e3).round() / 1e3);
        all["cpu_seconds"] = cpu::used().map(|(step, seconds)| (step, (seconds * 1e6).round() / 1e6)).collect();
        let each: serde_json::Map<_, _> =
            self.pipelines.iter().map(|(name, committed)| (name.to_string(), object(committed))).collect();
        all["pipelines"] = each.into();
        all
    }

    pub fn print(&self, format: Format) {
        if format == Format::Json {
            say!("{}", self.json());
            return;
        }
        for (name, committed) in &self.pipelines {
            let total = committed.total;
            say!(
                "{name}: in {}  =  written {}  +  rejected {}  +  duplicate {}      files {}   {:.1} s",
                total.input,
                total.written,
                total.rejected,
                total.duplicate,
                committed.files,
                self.seconds
            );
            for (source, tally) in &committed.by_source {
                say!(
                    "  {source}: in {} written {} rejected {} duplicate {}",
                    tally.input,
                    tally.written,
                    tally.rejected,
                    tally.duplicate
                );
            }
            let list = |title: &str, counts: &std::collections::BTreeMap<Arc<str>, u64>| {
                let mut counts: Vec<_> = counts.iter().collect();
                counts.sort_by_key(|(code, count)| (std::cmp::Reverse(**count), (*code).clone()));
                if !counts.is_empty() {
                    say!("  {title}:");
                    counts.iter().for_each(|(code, count)| say!("    {count:>8}  {code}"));
                }
            };
            list("rejected because of", &committed.reasons);
            list("flagged", &committed.flags);
        }
    }
}

/// Findings as an error.
pub fn all<T>(found: Result<T, Vec<crate::error::Finding>>) -> Result<T> {
    found.map_err(refuse)
}
