//! `huiju run`: pipelines side by side until a signal or their ends, and what they have done.

use std::{
    collections::BTreeSet,
    mem::MaybeUninit,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Args;
use serde_json::json;
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
};
use tracing::{info, warn};

use super::{
    flags::{Format, Where},
    out::say,
};
use crate::{
    batch::Tally,
    check,
    clock::Clock,
    config::{Config, Topics},
    cpu,
    error::{Context, Error, ErrorKind, Result},
    fault,
    metrics::Metrics,
    runtime::{
        Accounts, Committed,
        build::{Prepared, Setup, Slot, committed},
        supervise::{self, State, Status, Statuses},
    },
    serve, sink,
    stop::Stop,
};

/// Signals that come together are one: `timeout` tells the process and its group.
const TOGETHER: Duration = Duration::from_millis(100);
/// How long leaving may take after what is in flight had its time: groups are left, threads end.
const LEAVE: Duration = Duration::from_secs(5);
/// What is in flight has so much time before the configuration is read.
const DRAIN: Duration = Duration::from_secs(10);

#[derive(Args)]
pub struct Options {
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

impl Options {
    pub fn execute(&self) -> Result<()> {
        let started = Started::new(self.until_end, self.format)?;
        fault::point("run.listening");
        let config = Config::read(&self.at.config)?;
        if let Topics::Kafka(kafka) = &config.topics {
            kafka.look_for_secrets()?;
            kafka.open_doors().iter().for_each(|door| warn!("[kafka.properties]: {door}"));
        }
        let prepared = check::prepare(&config, &self.pipelines)?;
        let summary = started.run(Arc::new(config), prepared, |_| {})?;
        summary.print(self.format);
        summary.failed.map_or(Ok(()), Err)
    }
}

/// What a pipeline has done.
pub struct Done {
    name: Arc<str>,
    /// The account of its archive, or of its only sink.
    committed: Committed,
    /// Those of its other sinks. They differ while one takes up what it lacks, or is left behind.
    others: Vec<(&'static str, Tally)>,
}

/// What a run has done.
pub struct Summary {
    pub pipelines: Vec<Done>,
    pub seconds: f64,
    /// Why a pipeline stopped, if one did.
    pub failed: Option<Error>,
}

/// A run from its first moment on: a signal is an orderly end too while files are read and SQL is planned.
pub struct Started {
    runtime: Runtime,
    course: Arc<Course>,
}

/// How far a run has come: what its end tells, also when that comes because the time for it is over.
struct Course {
    begun: Instant,
    bounded: bool,
    format: Format,
    statuses: Arc<Statuses>,
    stop: Stop,
    /// Of the configuration, once it is read.
    drain: OnceLock<Duration>,
    /// By pipeline, once they have begun.
    accounts: OnceLock<Vec<(Arc<str>, Accounts)>>,
    /// Pipelines that have not come back.
    working: Mutex<BTreeSet<Arc<str>>>,
    /// Somebody tells the end: nobody else does.
    ended: AtomicBool,
}

impl Course {
    /// How long the end may take from when it is asked for.
    fn patience(&self) -> Duration {
        self.drain.get().copied().unwrap_or(DRAIN) + LEAVE
    }

    /// Whether the end is the caller's to tell.
    fn end(&self) -> bool {
        !self.ended.swap(true, Ordering::SeqCst)
    }

    fn summary(&self, failed: Option<Error>) -> Summary {
        let accounts = self.accounts.get().into_iter().flatten();
        let pipelines = accounts.map(|(name, accounts)| done(name.clone(), accounts)).collect();
        Summary { pipelines, seconds: self.begun.elapsed().as_secs_f64(), failed }
    }

    fn working(&self) -> std::sync::MutexGuard<'_, BTreeSet<Arc<str>>> {
        self.working.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pipelines that have not come back, and what each is doing.
    fn left(&self) -> String {
        let all = self.statuses.all();
        let doing = |name: &Arc<str>| match all.get(name) {
            Some(Status { state, reason: Some(reason), .. }) => format!("{name} ({}: {reason})", state.name()),
            Some(status) => format!("{name} ({})", status.state.name()),
            None => name.to_string(),
        };
        let left: Vec<String> = self.working().iter().map(doing).collect();
        if left.is_empty() { "no pipeline has begun".to_owned() } else { left.join(", ") }
    }

    /// The time is over: the process ends without what has not come back. One sink may lack what another has: no success.
    fn cut_short(&self) {
        if !self.end() {
            return;
        }
        let (waited_s, left) = (self.patience().as_secs(), self.left());
        warn!(waited_s, %left, "stopped before everything in flight was committed; it is read again at the next start");
        let failed = self.statuses.failed();
        // Who failed is told first: its kind is the exit code, and the advice is for it.
        let what = match self.statuses.all().iter().find(|(_, status)| status.state == State::Stopped) {
            Some((name, Status { reason: Some(reason), .. })) if failed.is_some() => {
                format!("{name}: {reason}; not back in time: {left}")
            }
            _ => format!("stopped before everything in flight was committed: {left}"),
        };
        let several = |(_, accounts): &(Arc<str>, Accounts)| accounts.len() > 1;
        let incomplete = self.bounded || self.accounts.get().is_some_and(|all| all.iter().any(several));
        let kind = failed.or(incomplete.then_some(ErrorKind::Unavailable));
        let summary = self.summary(kind.map(|kind| Error::new(kind, what)));
        summary.print(self.format);
        std::process::exit(super::end(summary.failed.map_or(Ok(()), Err), true).into());
    }
}

impl Started {
    pub fn new(bounded: bool, format: Format) -> Result<Started> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.or_unavailable("start the runtime")?;
        let course = Arc::new(Course {
            begun: Instant::now(),
            bounded,
            format,
            statuses: Arc::default(),
            stop: Stop::new(),
            drain: OnceLock::new(),
            accounts: OnceLock::new(),
            working: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        signals(&runtime, course.clone())?;
        Ok(Started { runtime, course })
    }

    /// Runs pipelines until a signal, or their ends.
    ///
    /// `watch` is given the accounts, which grow while it runs.
    pub fn run(
        self,
        config: Arc<Config>,
        prepared: Vec<Prepared>,
        watch: impl FnOnce(Vec<(Arc<str>, Accounts)>),
    ) -> Result<Summary> {
        let Started { runtime, course } = self;
        let Course { bounded, statuses, stop, .. } = &*course;
        let bounded = *bounded;
        let _ = course.drain.set(config.drain);
        let clock = Clock::system();
        let metrics = Metrics::new();
        for one in &prepared {
            statuses.set(&one.pipeline.name, State::Waiting, Some("starting".to_owned()), clock.now());
        }
        if let Some(listen) = config.listen {
            match runtime.block_on(serve::serve(listen, metrics.clone(), statuses.clone())) {
                Ok(address) => info!(%address, "serving /metrics, /health and /ready"),
                // It comes beside one that runs, with the same file.
                Err(error) if bounded => warn!(%error, "not serving /metrics, /health and /ready"),
                Err(error) => return Err(error),
            }
        }
        // Told to stop already, it begins nothing.
        let prepared = if stop.asked() { Vec::new() } else { prepared };
        let memory = config.memory / prepared.len().max(1);
        let account = |one: &Prepared| (one.pipeline.name.clone(), Setup::accounts(&one.pipeline, &config.topics));
        let accounts: Vec<(Arc<str>, Accounts)> = prepared.iter().map(account).collect();
        let _ = course.accounts.set(accounts.clone());
        let mut threads = Vec::new();
        // Before anything is begun: what is refused now has changed nothing.
        let slots = prepared.iter().map(|_| Slot::take(&config.instance)).collect::<Result<Vec<_>>>()?;
        for ((prepared, slot), (name, accounts)) in prepared.into_iter().zip(slots).zip(&accounts) {
            let setup = Setup {
                config: config.clone(),
                prepared,
                clock: clock.clone(),
                metrics: metrics.clone(),
                statuses: statuses.clone(),
                runtime: runtime.handle().clone(),
                bounded,
                memory,
                accounts: accounts.clone(),
                archived: AtomicBool::new(false),
                slot,
            };
            let (stop, course) = (stop.clone(), course.clone());
            course.working().insert(name.clone());
            let body = move || {
                // A panic is said by the hook; here it must not leave the others running as if all were well.
                let ended = catch_unwind(AssertUnwindSafe(|| supervise::run(&setup, &stop)));
                let pipeline = &setup.prepared.pipeline.name;
                let ended = ended.unwrap_or_else(|_| {
                    let statuses = &setup.statuses;
                    statuses.set(pipeline, State::Stopped, Some("it panicked".to_owned()), setup.clock.now());
                    statuses.fail(ErrorKind::Bug);
                    Err(Error::bug(format!("pipeline {pipeline} panicked")))
                });
                if ended.is_err() {
                    // One pipeline that cannot go on ends the process, so that somebody notices; the others finish first.
                    stop.ask();
                }
                course.working().remove(pipeline);
                ended
            };
            let thread = std::thread::Builder::new().name(format!("fetch-{name}")).spawn(body);
            threads.push(thread.or_unavailable("start a thread")?);
        }
        watch(accounts);
        let (mut failed, mut at_end) = (None, !threads.is_empty());
        for thread in threads {
            match thread.join().unwrap_or_else(|_| Err(Error::bug("a pipeline panicked"))) {
                Ok(reached) => at_end &= reached,
                // One that was only cut off by another's end is not why.
                Err(error) if failed.as_ref().is_none_or(|other: &Error| other.kind == ErrorKind::Unavailable) => {
                    failed = Some(error);
                }
                Err(_) => {}
            }
        }
        if bounded && failed.is_none() && !at_end {
            let early = Error::unavailable("told to stop before the end was reached");
            failed = Some(early.advising("nothing is lost: the next run goes on where this one was"));
        }
        while !course.end() {
            std::thread::park(); // whoever tells it ends the process
        }
        runtime.shutdown_background();
        Ok(course.summary(failed))
    }
}

/// The account that a summary shows is the archive's where there is one.
fn done(name: Arc<str>, accounts: &Accounts) -> Done {
    let mut all = committed(accounts);
    let first = all.remove(sink::ARCHIVE).or_else(|| all.pop_first().map(|(_, first)| first));
    let others = all.into_iter().map(|(kind, committed)| (kind, committed.total)).collect();
    Done { name, committed: first.unwrap_or_default(), others }
}

/// The first signal asks to stop; the second ends the process at once. So does the time, from the first signal on or
/// since a pipeline could not go on: a commit that is under way waits for a broker or a disk for as long as that takes,
/// and an end must not.
///
/// A terminal that closes asks too, but is no second signal: it comes several times, or with another.
fn signals(runtime: &Runtime, course: Arc<Course>) -> Result<()> {
    let _entered = runtime.enter();
    let mut terminate = signal(SignalKind::terminate()).or_unavailable("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).or_unavailable("listen for SIGINT")?;
    let mut hangup = match nohup() {
        true => None,
        false => Some(signal(SignalKind::hangup()).or_unavailable("listen for SIGHUP")?),
    };
    runtime.spawn(async move {
        let mut first: Option<Instant> = None;
        let leave = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(leave);
        let (mut leaving, mut over) = (false, false);
        loop {
            let signalled = tokio::select! {
                _ = terminate.recv() => true,
                _ = interrupt.recv() => true,
                () = next(&mut hangup) => {
                    if !leaving {
                        info!("stopping, for the terminal is gone: finishing what is in flight");
                    }
                    false
                }
                () = course.statuses.failing() => false,
                () = &mut leave, if leaving && !over => {
                    over = true;
                    // Apart: where nobody takes what it tells, a second signal has to be heard.
                    let course = course.clone();
                    tokio::task::spawn_blocking(move || course.cut_short());
                    continue;
                }
            };
            if !leaving {
                leaving = true;
                leave.as_mut().reset((Instant::now() + course.patience()).into());
                course.stop.ask();
            }
            match first {
                _ if !signalled => {}
                None => {
                    info!("stopping: finishing what is in flight");
                    first = Some(Instant::now());
                }
                Some(first) if first.elapsed() < TOGETHER => {}
                Some(_) => {
                    warn!("second signal: exiting at once; what was in flight is read again at the next start");
                    std::process::exit(130);
                }
            }
        }
    });
    Ok(())
}

/// The next signal; never, where none is listened for.
async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether whoever started the process wants it to outlive the terminal.
fn nohup() -> bool {
    let mut now = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: it asks, and changes nothing; what it fills in is read only when it has.
    unsafe {
        libc::sigaction(libc::SIGHUP, std::ptr::null(), now.as_mut_ptr()) == 0
            && now.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

impl Summary {
    /// All pipelines together.
    pub fn total(&self) -> Committed {
        let mut total = Committed::default();
        for Done { committed, .. } in &self.pipelines {
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
        let each = |Done { name, committed, others }: &Done| {
            let mut object = object(committed);
            for (kind, tally) in others {
                let Tally { input, written, rejected, duplicate } = tally;
                object["other_sinks"][kind] =
                    json!({ "in": input, "written": written, "rejected": rejected, "duplicate": duplicate });
            }
            (name.to_string(), object)
        };
        all["pipelines"] = self.pipelines.iter().map(each).collect::<serde_json::Map<_, _>>().into();
        all
    }

    pub fn print(&self, format: Format) {
        if format == Format::Json {
            say!("{}", self.json());
            return;
        }
        for Done { name, committed, others } in &self.pipelines {
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
            let line = |of: &str, Tally { input, written, rejected, duplicate }: &Tally| {
                say!("  {of}: in {input} written {written} rejected {rejected} duplicate {duplicate}");
            };
            committed.by_source.iter().for_each(|(source, tally)| line(source, tally));
            let differs = |(_, tally): &&(&str, Tally)| *tally != total;
            others.iter().filter(differs).for_each(|(kind, tally)| line(&format!("the {kind} sink"), tally));
            let list = |title: &str, counts: &std::collections::BTreeMap<Arc<str>, u64>| {
                let mut counts: Vec<_> = counts.iter().collect();
                counts.sort_by_key(|(code, count)| (std::cmp::Reverse(**count), (*code).clone()));
                if !counts.is_empty() {
                    say!("  {title}:");
                    counts.iter().for_each(|(code, count)| say!("    {count:>8}  {code}"));
                }
            };
            list("rejected because of (the first fault of each row)", &committed.reasons);
            list("flagged", &committed.flags);
        }
    }
}
