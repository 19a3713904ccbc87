//! Keeps a pipeline running: builds its line, runs it, and builds it again when that can help.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use tracing::{error, info, warn};

use super::{
    End,
    build::{self, Setup},
};
use crate::{
    clock::Clock,
    error::{Error, ErrorKind, Result},
    metrics::Metrics,
    source::{Intake, Permit},
    stop::Stop,
};

/// Batches that may wait between the source and the line.
const DEPTH: usize = 2;
/// How long a bounded run waits for something that does not answer.
const BOUNDED_PATIENCE: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause between two attempts: whatever comes back is noticed within it.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Fenced this often in a row within a minute of running each, we give way.
const FENCED_OFTEN: u32 = 3;
/// How long a sink that fails is left behind at first, and at most. Twice as long each time that it fails within
/// [`RECOVERED`] of coming back: with each return the others begin again where it stands.
const BEHIND: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(300)];
/// What has run for so long is well again.
const RECOVERED: Duration = Duration::from_secs(60);

/// What is to be done after a stop that left a sink behind: another program would judge anew what the others have.
const AS_IT_WAS: &str =
    "nothing is lost: the next start gives each sink what it lacks; change SQL, contract or tables after that one";

/// What each pipeline is doing, for `/health` and `/ready`.
#[derive(Debug, Default)]
pub struct Statuses {
    all: Mutex<BTreeMap<Arc<str>, Status>>,
    failed: Mutex<Option<ErrorKind>>,
    failing: Notify,
}

#[derive(Clone, Debug)]
pub struct Status {
    pub state: State,
    /// Why it waits or stopped, or what is missing while it runs; without data values.
    pub reason: Option<String>,
    pub since: DateTime<Utc>,
    /// What is missing while it runs, kept while it waits for what it reads from.
    lacks: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Its topics and tables are there, and messages can flow.
    Running,
    /// Starting, or trying again.
    Waiting,
    Finished,
    Stopped,
}

impl State {
    /// As `/health` has it.
    pub fn name(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Waiting => "waiting",
            State::Finished => "finished",
            State::Stopped => "stopped",
        }
    }
}

impl Statuses {
    pub fn set(&self, pipeline: &Arc<str>, state: State, reason: Option<String>, now: DateTime<Utc>) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get_mut(pipeline) {
            // "Since when" is when it began, not when it was last tried.
            Some(status) if status.state == state => (status.reason, status.lacks) = (reason, None),
            _ => drop(all.insert(pipeline.clone(), Status { state, reason, since: now, lacks: None })),
        }
    }

    /// What a pipeline that runs reads from does not answer, and why, or answers again. Tells whether messages can flow;
    /// nothing of one that has stopped.
    fn interrupt(&self, pipeline: &str, why: Option<String>, now: DateTime<Utc>) -> Option<bool> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let status = all.get_mut(pipeline).filter(|status| matches!(status.state, State::Running | State::Waiting))?;
        let state = if why.is_some() { State::Waiting } else { State::Running };
        if status.state != state {
            (status.state, status.since) = (state, now);
        }
        status.reason = why.or_else(|| status.lacks.clone());
        Some(state == State::Running)
    }

    /// A pipeline that runs does so no longer. Of one that waits already the first reason is the best; tells whether it ran.
    fn falter(&self, pipeline: &str, why: String, now: DateTime<Utc>) -> bool {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(status) = all.get_mut(pipeline).filter(|status| status.state == State::Running) else { return false };
        *status = Status { state: State::Waiting, reason: Some(why), since: now, lacks: None };
        true
    }

    /// Says what a running pipeline lacks, until it is set anew. One that waits or has stopped has its reason already.
    pub fn remark(&self, pipeline: &str, reason: String) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(status) = all.get_mut(pipeline) else { return };
        if status.state == State::Running {
            status.reason = Some(reason.clone());
        }
        status.lacks = Some(reason);
    }

    pub fn all(&self) -> BTreeMap<Arc<str>, Status> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A pipeline cannot go on: the process ends, with the code of the first that could not.
    pub fn fail(&self, kind: ErrorKind) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(kind);
        self.failing.notify_one();
    }

    pub fn failed(&self) -> Option<ErrorKind> {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Comes back when a pipeline cannot go on; to be awaited by one.
    pub async fn failing(&self) {
        self.failing.notified().await;
    }
}

/// Tells what one pipeline is doing.
#[derive(Clone)]
struct Told {
    pipeline: Arc<str>,
    statuses: Arc<Statuses>,
    metrics: Arc<Metrics>,
    clock: Clock,
    /// The line of which is told has ended: what its source finds out afterwards changes nothing.
    dead: Arc<AtomicBool>,
}

impl Told {
    fn set(&self, state: State, reason: Option<String>) {
        self.metrics.running.with_label_values(&[&self.pipeline]).set((state == State::Running).into());
        self.statuses.set(&self.pipeline, state, reason, self.clock.now());
    }

    /// Messages can flow, unless the line has ended meanwhile.
    fn begun(&self) {
        if !self.dead.load(Ordering::SeqCst) {
            self.set(State::Running, None);
        }
    }

    /// What it reads from does not answer, or answers again.
    fn interrupt(&self, why: Option<&Error>) {
        if self.dead.load(Ordering::SeqCst) {
            return;
        }
        if let Some(flows) = self.statuses.interrupt(&self.pipeline, why.map(Error::to_string), self.clock.now()) {
            self.metrics.running.with_label_values(&[&self.pipeline]).set(flows.into());
        }
    }

    /// It has stopped for good.
    fn fail(&self, error: &Error) {
        self.set(State::Stopped, Some(error.to_string()));
        self.statuses.fail(error.kind);
    }

    /// Its line has ended: for good, or to be built anew. Told before its sinks are waited for: one may hang.
    fn falters(&self, error: &Error) {
        self.dead.store(true, Ordering::SeqCst);
        if error.kind.may_pass() {
            let why = format!("{error}; waiting for what its sinks have in hand");
            if self.statuses.falter(&self.pipeline, why, self.clock.now()) {
                self.metrics.running.with_label_values(&[&self.pipeline]).set(0);
            }
            return;
        }
        warn!(pipeline = %self.pipeline, %error, "pipeline cannot go on, waiting for what its sinks have in hand");
        self.fail(error);
    }
}

/// Runs a pipeline until it is told to stop, has reached its end, or cannot go on; tells whether it has reached its end.
pub fn run(setup: &Setup, stop: &Stop) -> Result<bool> {
    let name = &setup.prepared.pipeline.name;
    let told = Told {
        pipeline: name.clone(),
        statuses: setup.statuses.clone(),
        metrics: setup.metrics.clone(),
        clock: setup.clock.clone(),
        dead: Arc::default(),
    };
    setup.show();
    told.set(State::Waiting, Some("starting".to_owned()));
    let mut trouble = Trouble::default();
    let mut behind = BEHIND[0];
    loop {
        let (begun, before) = (Instant::now(), carried(setup));
        let ended = once(setup, stop, behind, &told);
        trouble.lived(begun.elapsed(), setup.bounded, carried(setup) - before);
        let error = match ended {
            Ok((End::Finished, at_end)) => {
                told.set(State::Finished, None);
                return Ok(at_end);
            }
            Ok((End::Rejoin, _)) => {
                setup.metrics.restarts.with_label_values(&[name, "rejoin"]).inc();
                behind = left_behind_next(behind, begun.elapsed());
                continue;
            }
            Ok((End::Lacking(sink, why), _)) if stop.asked() => {
                told.set(State::Stopped, None);
                return Err(Error::unavailable(format!("stopped while the {sink} sink is behind: {why}"))
                    .advising(AS_IT_WAS)
                    .context(format!("pipeline {name}")));
            }
            Ok((End::Lacking(sink, why), _)) => {
                Error::unavailable(format!("the {sink} sink is behind, it lacks rows up to the end: {why}"))
            }
            Err(error) => error,
        };
        setup.metrics.restarts.with_label_values(&[name, error.kind.name()]).inc();
        let since = *trouble.since.get_or_insert_with(Instant::now);
        let helps = trouble.may_pass(error.kind, setup.bounded, since.elapsed());
        if stop.asked() && error.kind.may_pass() {
            // What was in flight could not be committed: it is read again at the next start.
            warn!(pipeline = %name, %error, "stopped before everything in flight was committed; nothing is lost");
            told.set(State::Stopped, Some(error.to_string()));
            return Ok(false);
        }
        if !helps {
            error!(pipeline = %name, %error, "pipeline stopped");
            told.fail(&error);
            return Err(error.context(format!("pipeline {name}")));
        }
        let (waiting, pause) = (since.elapsed().as_secs(), trouble.pause());
        warn!(pipeline = %name, %error, waiting_s = waiting, retry_in_ms = pause.as_millis() as u64, "pipeline waits and tries again");
        told.set(State::Waiting, Some(error.to_string()));
        stop.wait(pause);
        if stop.asked() {
            told.set(State::Stopped, Some(error.to_string()));
            return Ok(false);
        }
    }
}

/// What a pipeline has not got over yet.
struct Trouble {
    since: Option<Instant>,
    /// Before the next attempt.
    pause: Duration,
    /// How often in a row.
    fenced: u32,
}

impl Default for Trouble {
    fn default() -> Trouble {
        Trouble { since: None, pause: FIRST_PAUSE, fenced: 0 }
    }
}

impl Trouble {
    /// What has run for so long is well again. A bounded run has work all the time: it is well if it has brought rows to
    /// a sink, however soon it failed, for it has come nearer to its end.
    fn lived(&mut self, lived: Duration, bounded: bool, rows: u64) {
        let well = if bounded { rows > 0 } else { lived > RECOVERED };
        if well {
            *self = Trouble::default();
        }
    }

    /// Whether another attempt can help against one more error.
    fn may_pass(&mut self, kind: ErrorKind, bounded: bool, lasting: Duration) -> bool {
        self.fenced = if kind == ErrorKind::Fenced { self.fenced + 1 } else { 0 };
        match kind {
            ErrorKind::Unavailable | ErrorKind::Evicted => !bounded || lasting < BOUNDED_PATIENCE,
            ErrorKind::Fenced => self.fenced < FENCED_OFTEN,
            _ => false,
        }
    }

    /// Longer each time.
    fn pause(&mut self) -> Duration {
        let next = (self.pause * 2).min(LONGEST_PAUSE);
        std::mem::replace(&mut self.pause, next)
    }
}

/// Rows that were committed, in all sinks.
fn carried(setup: &Setup) -> u64 {
    build::committed(&setup.accounts).values().map(|account| account.total.input).sum()
}

/// How long a sink is left behind the next time, when a line that left it behind for `pause` has lived for `lived`.
fn left_behind_next(pause: Duration, lived: Duration) -> Duration {
    if lived > RECOVERED + pause { BEHIND[0] } else { (pause * 2).min(BEHIND[1]) }
}

/// One line, from building to its end, and whether that was the source's. A sink that fails is left behind for `pause`.
fn once(setup: &Setup, stop: &Stop, pause: Duration, told: &Told) -> Result<(End, bool)> {
    let name = setup.prepared.pipeline.name.clone();
    let permit = Permit::default();
    let build::Built { mut source, mut line, budget } = build::build(setup, &permit, pause)?;
    told.dead.store(false, Ordering::SeqCst);
    let running = told.clone();
    let (mut intake, feed) = Intake::new(DEPTH, budget, permit.clone(), setup.config.drain);
    intake.when_begun(move || running.begun());
    let interrupted = told.clone();
    intake.when_troubled(move |why| interrupted.interrupt(why));
    let failing = told.clone();
    intake.when_failed(move |error| failing.falters(error));
    info!(pipeline = %name, "line built");
    // The line's end is the source's; one that does not come back ends it for good.
    let for_good = stop.child();
    let stop = for_good.child();
    let ask = stop.clone();
    let thread = std::thread::Builder::new().name(format!("line-{name}"));
    let told = told.clone();
    let line = thread.spawn(move || {
        let ran = catch_unwind(AssertUnwindSafe(|| line.run(&feed)));
        let ended = ran.unwrap_or_else(|_| Err(Error::bug(format!("the line of {} panicked", told.pipeline))));
        ended.as_ref().inspect_err(|error| told.falters(error)).ok();
        drop(line);
        drop(feed);
        if ended.as_ref().is_err_and(|error| !error.kind.may_pass()) {
            for_good.ask();
        }
        // A source that has nothing to hand on would not notice.
        ask.ask();
        ended
    });
    let line = line.map_err(|error| Error::unavailable(format!("start a thread: {error}")))?;
    let fetched = source.run(&mut intake, &stop);
    if let Err(error) = &fetched {
        // Whatever is still in flight must not be committed behind our back while a new line is built. That waits for a
        // commit that hangs, which nobody would know of.
        intake.failed(error);
        permit.kill();
    }
    let at_end = intake.is_at_end();
    drop(intake);
    let ended = line.join().unwrap_or_else(|_| Err(Error::bug(format!("the line of {name} panicked"))));
    match (ended, fetched) {
        // The line knows best why it ended; "the source has stopped" is only an echo.
        (Ok(_), Err(fetched)) if !fetched.kind.may_pass() => Err(fetched),
        (Ok(end), _) => Ok((end, at_end)),
        (Err(line), _) if !line.kind.may_pass() => Err(line),
        (Err(_), Err(fetched)) if fetched.kind != ErrorKind::Unavailable => Err(fetched),
        (Err(line), Err(fetched)) if line.kind == ErrorKind::Unavailable && echo(&line) => Err(fetched),
        (Err(line), _) => Err(line),
    }
}

fn echo(error: &Error) -> bool {
    error.to_string() == "the source has stopped"
}
