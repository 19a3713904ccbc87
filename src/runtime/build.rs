//! Puts a pipeline together. One `match` per kind of source and sink; a new sink is one line here.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

pub use super::slot::Slot;
use super::{
    Accounts, Committed, Keys, Line, Place, breaker::Breaker, columns, flow::Flow, outlet, probe::Probe,
    supervise::Statuses, values::Values,
};
use crate::{
    batch::Budget,
    clock::Clock,
    config::{self, Config, Pipeline, Topics},
    contract::{Contract, odcs},
    cursor::Partition,
    dedup::Dedup,
    engine::{Library, Program},
    error::{Context, Finding, Result},
    metrics::Metrics,
    sink::{self, Sink},
    source::{self, Permit, Source},
};

/// Batches that may wait for an outlet: enough to keep it busy, few enough to notice that it is slow.
const DEPTH: usize = 4;

/// What a batch holds at most: few enough rows that their columns are not far away when the next step reads them, and
/// that a dozen of them in flight are little memory; enough that a call per column and step costs little, and that rules
/// and weights, once in the cache, are used for long. By the benchmark 512 cost a tenth more, 128 three quarters; 8,192
/// save at most 6 % and take 20 MB more at the peak.
const BATCH: usize = 2048;
const BATCH_BYTES: usize = 4 << 20;

/// Bytes of a batch, at most. Its memory may be twice as much, and a sink that hangs holds one at least: more than that must
/// fit, or the other sinks would wait for it.
fn batch_bytes(memory: usize) -> usize {
    BATCH_BYTES.min(memory / 8)
}

/// A pipeline compiled against its contract: done once, before anything is opened.
#[derive(Debug)]
pub struct Prepared {
    pub pipeline: Pipeline,
    pub contract: Arc<Contract>,
    /// In the order of the pipeline's sources.
    pub programs: Vec<Arc<Program>>,
    /// What `[metrics] values` names.
    pub values: Arc<Values>,
    /// Per source, whether it was told which fields of its map never had a value.
    looked: Vec<Arc<AtomicBool>>,
}

/// Compiles a pipeline; all mistakes at once. With the outline of a library it finds those that do not hang on it.
pub fn prepare(schemas: &Path, library: &Library, pipeline: Pipeline) -> Result<Prepared, Vec<Finding>> {
    let mut findings = Vec::new();
    let contract = odcs::read(schemas, &pipeline.contract).map(Arc::new).map_err(|found| {
        // Of a file that is not there it is told where it is named.
        let is_there = odcs::names(schemas).contains(&pipeline.contract);
        let at = |found: &Finding| if is_there { found.at.clone() } else { pipeline.place("contract") };
        findings.extend(found.into_iter().map(|found| Finding::new(at(&found), found.what)));
    });
    if let Ok(contract) = &contract {
        findings.extend(columns::check(&pipeline, contract));
    }
    let mut programs = Vec::new();
    for compiled in compile(&pipeline, contract.as_ref().ok(), library) {
        match compiled {
            Ok(program) => programs.push(Arc::new(program)),
            // A mistake in a stage shows once per source: once is enough.
            Err(found) => found.into_iter().for_each(|finding| {
                let known = |have: &Finding| have.at == finding.at && same(&have.what, &finding.what);
                if !findings.iter().any(known) {
                    findings.push(finding);
                }
            }),
        }
    }
    let Ok(contract) = contract else { return Err(findings) };
    if library.is_outline() {
        return Err(findings);
    }
    let values = Values::new(&pipeline, &contract, library).unwrap_or_else(|wrong| {
        findings.extend(wrong);
        Values::default()
    });
    let values = Arc::new(values);
    if !findings.is_empty() {
        return Err(findings);
    }
    let looked = programs.iter().map(|_| Arc::default()).collect();
    Ok(Prepared { pipeline, contract, programs, values, looked })
}

/// The programs of all sources, in their order: each takes a processor for some tenths of a second, and there may be hundreds.
fn compile(
    pipeline: &Pipeline,
    contract: Option<&Arc<Contract>>,
    library: &Library,
) -> Vec<Result<Program, Vec<Finding>>> {
    /// As the first thread of a process has: how deep an expression may be was found with it.
    const STACK: usize = 8 << 20;
    let (next, all) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || {
        while let Some((at, source)) = pipeline.sources.iter().enumerate().nth(next.fetch_add(1, Ordering::Relaxed)) {
            let compiled = match contract {
                Some(contract) if !library.is_outline() => Program::compile(pipeline, source, contract, library),
                _ => Err(Program::check_alone(pipeline, source, library)),
            };
            all.lock().unwrap_or_else(PoisonError::into_inner).insert(at, compiled);
        }
    };
    let processors = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 1..processors.min(pipeline.sources.len()) {
            // One that cannot be started leaves its part to the others.
            let _ = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        }
        work();
    });
    all.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

fn same(one: &str, other: &str) -> bool {
    let stem = |text: &str| text.split(" (for source ").next().unwrap_or(text).to_owned();
    stem(one) == stem(other)
}

/// What a running pipeline needs beside its own files.
pub struct Setup {
    pub config: Arc<Config>,
    pub prepared: Prepared,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    pub statuses: Arc<Statuses>,
    /// For the archive's store.
    pub runtime: tokio::runtime::Handle,
    /// Ends at the ends seen at the start.
    pub bounded: bool,
    /// Bytes in flight.
    pub memory: usize,
    /// Accounts of what was committed, by sink; survives rebuilding.
    pub accounts: Accounts,
    /// The archive's tables have been there: when they are not, they are waited for.
    pub archived: AtomicBool,
    pub slot: Slot,
}

impl Setup {
    /// Shows from the start what may come to be counted: what is absent cannot be told from what never was.
    pub(super) fn show(&self) {
        let (pipeline, metrics) = (&*self.prepared.pipeline.name, &self.metrics);
        for kind in self.accounts.keys() {
            metrics.sink_up.with_label_values(&[pipeline, kind]).set(0);
            metrics.sink_full_seconds.with_label_values(&[pipeline, kind]).inc_by(0.0);
            for source in &self.prepared.pipeline.sources {
                for outcome in ["written", "rejected", "duplicate"] {
                    metrics.rows.with_label_values(&[pipeline, &source.name, kind, outcome]).inc_by(0);
                }
            }
        }
    }

    pub fn accounts(pipeline: &Pipeline, topics: &Topics) -> Accounts {
        let kind = |sink: &config::Sink| match (sink, topics) {
            (config::Sink::Archive { .. }, _) => sink::ARCHIVE,
            (config::Sink::Kafka { .. }, Topics::Kafka(_)) => sink::KAFKA,
            (config::Sink::Kafka { .. }, Topics::Files { .. }) => sink::FILES,
        };
        pipeline.sinks.iter().map(|sink| (kind(sink), Arc::new(Mutex::new(Committed::default())))).collect()
    }
}

/// A source and the line behind it, ready to run.
pub(super) struct Built {
    pub source: Box<dyn Source>,
    pub line: Line,
    pub budget: Arc<Budget>,
}

pub(super) fn build(setup: &Setup, permit: &Permit, pause: Duration) -> Result<Built> {
    let Prepared { pipeline, contract, programs, values, looked } = &setup.prepared;
    let (source, group) = source(setup)?;
    let mut outlets = Vec::new();
    let mut keys: Option<Keys> = None;
    for wanted in &pipeline.sinks {
        let (sink, probe, reader) = open(setup, wanted, group.as_ref())?;
        keys = keys.or(reader);
        let kind = sink.kind();
        let watch = outlet::Watch {
            pipeline: pipeline.name.clone(),
            metrics: setup.metrics.clone(),
            committed: setup.accounts.get(kind).cloned().unwrap_or_default(),
            values: values.clone(),
        };
        let outlet = outlet::Outlet::start(sink, DEPTH, setup.memory / 2, permit.clone(), watch)?;
        outlets.push(Place { outlet, behind: None, probe, next_probe: Instant::now(), pause });
    }
    let dedup = pipeline.dedup.as_ref().map(|dedup| Dedup::new(dedup, setup.clock.clone()));
    let sources = pipeline.sources.iter().zip(programs).zip(looked);
    let line = Line {
        pipeline: pipeline.name.clone(),
        schema: contract.arrow_schema(),
        sources: sources
            .map(|((source, program), looked)| Flow::new(source, program.clone(), looked.clone()))
            .collect(),
        dedup: dedup.zip(keys),
        breaker: Breaker::new(pipeline.rejects),
        outlets,
        metrics: setup.metrics.clone(),
        statuses: setup.statuses.clone(),
        patience: super::PATIENCE,
    };
    let gauge = setup.metrics.in_flight_bytes.with_label_values(&[&pipeline.name]);
    Ok(Built { source, line, budget: Budget::shown(setup.memory, gauge) })
}

/// The source of a pipeline, and for Kafka the group that its sink commits for.
fn source(setup: &Setup) -> Result<(Box<dyn Source>, Option<crate::kafka::SharedGroup>)> {
    let pipeline = &setup.prepared.pipeline;
    let topics = pipeline.sources.iter().enumerate();
    match &setup.config.topics {
        Topics::Kafka(kafka) => {
            let topics = topics.flat_map(|(at, source)| source.topics.iter().map(move |topic| (topic.clone(), at)));
            let settings = source::kafka::Settings {
                pipeline: pipeline.name.clone(),
                topics: topics.collect(),
                instance: Some(setup.slot.name()),
                bounded: setup.bounded,
                start: pipeline.start,
                gaps: pipeline.gaps,
                drain: setup.config.drain,
                max_batch_bytes: batch_bytes(setup.memory),
                max_batch_messages: BATCH,
                linger: Duration::from_millis(5),
            };
            let tell = tell_lag(pipeline.name.clone(), setup.metrics.clone(), setup.clock.clone());
            let source = source::kafka::Kafka::new(kafka, settings, tell)?;
            let group = source.group();
            Ok((Box::new(source), Some(group)))
        }
        Topics::Files { folder } => {
            let topics = topics.flat_map(|(at, source)| {
                let (zone, charset) = (source.time_zone, source.charset);
                let wanted =
                    move |topic: &String| source::files::Wanted { topic: topic.clone(), source: at, zone, charset };
                source.topics.iter().map(wanted)
            });
            let settings = source::files::Settings {
                folder: folder.clone(),
                topics: topics.collect(),
                bounded: setup.bounded,
                gaps: pipeline.gaps,
                max_batch_bytes: batch_bytes(setup.memory),
                max_batch_messages: BATCH,
                poll: Duration::from_millis(200),
            };
            let source = source::files::Files::new(settings);
            source.look_for_folders()?;
            Ok((Box::new(source), None))
        }
    }
}

pub(super) fn tell_lag(pipeline: Arc<str>, metrics: Arc<Metrics>, clock: Clock) -> source::kafka::TellLag {
    Arc::new(move |partition: &Partition, lag: Option<source::kafka::Lag>| {
        let number = partition.number.to_string();
        let labels = [pipeline.as_ref(), partition.topic.as_ref(), number.as_str()];
        let Some(lag) = lag else {
            // Another process tells it now. It may never have been told here.
            let _ = metrics.lag_messages.remove_label_values(&labels);
            let _ = metrics.lag_seconds.remove_label_values(&labels);
            return;
        };
        metrics.lag_messages.with_label_values(&labels).set(lag.messages);
        metrics.lag_seconds.with_label_values(&labels).set(lag_seconds(lag, clock.now_ms()));
    })
}

/// How old the newest message that was read is, while there are others. A clock that is behind the cities' makes nothing
/// younger than now.
pub(super) fn lag_seconds(lag: source::kafka::Lag, now_ms: i64) -> f64 {
    match lag.newest_ms {
        Some(newest) if lag.messages > 0 => now_ms.saturating_sub(newest).max(0) as f64 / 1000.0,
        _ => 0.0,
    }
}

type Opened = (Box<dyn Sink>, Probe, Option<Keys>);

fn open(setup: &Setup, wanted: &config::Sink, group: Option<&crate::kafka::SharedGroup>) -> Result<Opened> {
    let Prepared { pipeline, contract, .. } = &setup.prepared;
    match (wanted, &setup.config.topics) {
        (config::Sink::Kafka { topic, rejected, key, raw }, Topics::Kafka(kafka)) => {
            let settings = sink::kafka::Settings {
                pipeline: pipeline.name.clone(),
                topic: topic.clone(),
                rejected: rejected.clone(),
                key: key.clone(),
                unread: unread(*raw, contract),
                contract_version: contract.with_version(),
                transactional_id: setup.slot.transactional_id(&kafka.group, &pipeline.name),
            };
            let shared = group.expect("a Kafka sink goes with a Kafka source").clone();
            let probe = Probe::new(|| Ok(())); // building the line anew is the only way to find out
            let opened = sink::kafka::Kafka::open(kafka, settings, shared)?;
            // The archive's cursor tells of a lost one.
            if !pipeline.sinks.iter().any(|sink| matches!(sink, config::Sink::Archive { .. })) {
                opened.refuse_to_begin_again(kafka, || has_begun(setup, group))?;
            }
            Ok((Box::new(opened), probe, None))
        }
        (config::Sink::Kafka { topic, rejected, raw, .. }, Topics::Files { folder }) => {
            let settings = sink::files::Settings {
                folder: folder.clone(),
                topic: topic.clone(),
                rejected: rejected.clone(),
                unread: unread(*raw, contract),
                interval: setup.config.archive.interval,
            };
            let at = folder.clone();
            Ok((Box::new(sink::files::Files::open(settings)?), Probe::new(move || writable(&at)), None))
        }
        (config::Sink::Archive { path, partition_by }, _) => {
            let settings = sink::archive::Settings::new(&setup.config, path, partition_by, &pipeline.name);
            let (contract, clock, runtime) = (contract.clone(), setup.clock.clone(), setup.runtime.clone());
            let of = settings.clone();
            let open = move |create: bool| {
                let (contract, schema) = (contract.clone(), contract.arrow_schema());
                let settings = sink::archive::Settings { create, ..of.clone() };
                sink::archive::Archive::open(settings, contract, schema, clock.clone(), runtime.clone())
            };
            let create = !setup.archived.load(Ordering::SeqCst) && (settings.are_there() || !has_begun(setup, group)?);
            let opened = open(create)?;
            setup.archived.store(true, Ordering::SeqCst);
            let at = setup.config.archive.location.clone();
            let probe = Probe::new(move || writable(&at).and_then(|()| open(false).map(drop)));
            let reader = opened.reader();
            let columns = pipeline.dedup.as_ref().map(|dedup| dedup.key.clone()).unwrap_or_default();
            let keys: Keys =
                Box::new(move |partitions, recent, each| reader.keys(&columns, partitions, Some(recent), each));
            Ok((Box::new(opened), probe, Some(keys)))
        }
    }
}

/// Whether the pipeline's Kafka sink has committed anything, today or in another life: then the archive was begun too.
fn has_begun(setup: &Setup, group: Option<&crate::kafka::SharedGroup>) -> Result<bool> {
    let pipeline = &setup.prepared.pipeline;
    let topics = pipeline.sources.iter().flat_map(|source| &source.topics).map(String::as_str);
    group.map_or(Ok(false), |group| group.has_begun(&topics.collect::<Vec<_>>()))
}

/// The raw columns, each with the column that says what it means.
fn unread(raw: config::RawTexts, contract: &Contract) -> sink::Unread {
    if raw == config::RawTexts::Always {
        return sink::Unread::default();
    }
    let required = |name: &str| contract.columns.iter().any(|column| *column.name == *name && column.required);
    let pairs = contract.columns.iter().filter_map(|column| Some((column.raw.clone()?, column.name.clone())));
    let pairs = pairs.filter(|(raw, _)| !required(raw)).collect();
    sink::Unread { pairs, flags: contract.flags.clone() }
}

/// Whether a few megabytes can be written and synced under `folder`.
pub(super) fn writable(folder: &Path) -> Result<()> {
    let path = folder.join(format!(".huiju-probe-{}", std::process::id()));
    // Of a process that died, or a link that somebody else has put there: never written to, it may lead anywhere.
    let _ = std::fs::remove_file(&path);
    let tried = File::options().write(true).create_new(true).open(&path).and_then(|mut file| {
        let written = file.write_all(&vec![0; 4 << 20]).and_then(|()| file.sync_all());
        let _ = std::fs::remove_file(&path);
        written
    });
    tried.or_unavailable(format!("write to {}", folder.display()))
}

/// Committed accounts, summed up for people.
pub fn committed(accounts: &Accounts) -> BTreeMap<&'static str, Committed> {
    let copy = |account: &Mutex<Committed>| account.lock().unwrap_or_else(PoisonError::into_inner).clone();
    accounts.iter().map(|(kind, account)| (*kind, copy(account))).collect()
}
