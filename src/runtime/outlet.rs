//! Drives one sink from one thread.
//!
//! What is the same for all sinks is here: dropping what lies below the sink's cursor, checking that intervals are
//! contiguous, deciding when to commit, asking for permission to commit, and counting what was committed.
//!
//! An outlet that meets an error stops and keeps it. It never goes on after one: whether a commit landed is answered
//! by opening the sink again and reading its cursor, not by guessing.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use prometheus::IntGauge;
use tracing::debug;

use super::values::{self, Values};
use crate::{
    batch::{Held, Outcome, Tally},
    cpu::{self, Step},
    cursor::{Cursors, Interval, Partition},
    error::{Error, ErrorKind, Result},
    metrics::Metrics,
    sink::{self, Covered, Pending, Sink},
    source::Permit,
};

/// A commit is not put off beyond this while batches keep coming, once it is due.
const LARGEST: usize = 4 << 20;
const LONGEST: Duration = Duration::from_millis(250);

pub(super) enum Job {
    Take(Arc<Outcome>),
    Assign(Vec<Partition>, SyncSender<Result<Cursors>>),
    /// Commit everything; then let go of these partitions.
    Release(Vec<Partition>, SyncSender<Result<()>>),
}

/// The line's end of an outlet.
pub(super) struct Outlet {
    pub kind: &'static str,
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    failure: Arc<Mutex<Option<Error>>>,
    /// 1 while the sink takes rows.
    up: IntGauge,
    /// Bytes of the batches that wait for it and of the one in work.
    holds: Arc<AtomicUsize>,
    /// How many it may hold: more would leave the others no room to read on, and then nobody notices that it hangs.
    share: usize,
}

/// What a run has committed, for its summary.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    pub total: Tally,
    pub by_source: BTreeMap<Arc<str>, Tally>,
    /// Rejected rows by the code of their first fault.
    pub reasons: BTreeMap<Arc<str>, u64>,
    pub flags: BTreeMap<Arc<str>, u64>,
    pub files: u64,
}

pub(super) struct Watch {
    pub pipeline: Arc<str>,
    pub metrics: Arc<Metrics>,
    pub committed: Arc<Mutex<Committed>>,
    pub values: Arc<Values>,
}

impl Outlet {
    /// Starts the thread. `depth` batches may wait for it, of `share` bytes together, but always one.
    pub fn start(sink: Box<dyn Sink>, depth: usize, share: usize, permit: Permit, watch: Watch) -> Result<Outlet> {
        let (jobs, queue) = mpsc::sync_channel(depth);
        let failure = Arc::new(Mutex::new(None));
        let kind = sink.kind();
        let up = watch.metrics.sink_up.with_label_values(&[&watch.pipeline, kind]);
        up.set(1);
        let (keep, down) = (failure.clone(), up.clone());
        let name = format!("{kind}-{}", watch.pipeline);
        let holds = Arc::new(AtomicUsize::new(0));
        let mut worker = Worker {
            sink,
            permit,
            watch,
            next: BTreeMap::new(),
            pending: None,
            untidy: false,
            files: 0,
            holds: holds.clone(),
        };
        let body = move || {
            // After a panic the sink is as after a crash: what it has open is found by whoever opens it next.
            let ran = catch_unwind(AssertUnwindSafe(|| worker.run(&queue).inspect_err(|_| worker.sink.abort())));
            let ran = ran.unwrap_or_else(|_| Err(Error::bug(format!("the {kind} sink panicked"))));
            if let Err(error) = ran {
                down.set(0);
                *keep.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        };
        let thread = std::thread::Builder::new().name(name).spawn(body);
        let thread = thread.map_err(|error| Error::unavailable(format!("start a thread for {kind}: {error}")))?;
        Ok(Outlet { kind, jobs: Some(jobs), thread: Some(thread), failure, up, holds, share })
    }

    /// Hands a batch over without waiting; `false` when it holds as much as it may.
    pub fn offer(&self, outcome: &Arc<Outcome>) -> Result<bool> {
        let bytes = bytes_of(outcome);
        let before = self.holds.fetch_add(bytes, Ordering::SeqCst);
        let full = before > 0 && before + bytes > self.share && !self.ended();
        let sent = if full {
            Ok(false)
        } else {
            match self.jobs().try_send(Job::Take(outcome.clone())) {
                Ok(()) => return Ok(true),
                Err(TrySendError::Full(_)) => Ok(false),
                Err(TrySendError::Disconnected(_)) => Err(self.error()),
            }
        };
        self.holds.fetch_sub(bytes, Ordering::SeqCst);
        sent
    }

    /// Asks, and gives the answer to be waited for.
    pub fn assign(&self, partitions: &[Partition]) -> Result<Receiver<Result<Cursors>>> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.jobs().send(Job::Assign(partitions.to_vec(), reply)).map_err(|_| self.error())?;
        Ok(answer)
    }

    pub fn release(&self, partitions: &[Partition]) -> Result<Receiver<Result<()>>> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.jobs().send(Job::Release(partitions.to_vec(), reply)).map_err(|_| self.error())?;
        Ok(answer)
    }

    /// Whether it has stopped with an error.
    pub fn failed(&self) -> bool {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The error it stopped with.
    pub fn error(&self) -> Error {
        // Who waits for an answer hears of a panic a moment before the thread has kept it.
        while !self.failed() && !self.ended() {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        let kept = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        kept.unwrap_or_else(|| Error::unavailable(format!("the {} sink has stopped", self.kind)))
    }

    /// Whether its thread has ended: queue empty, everything committed or aborted.
    pub fn ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Takes no more; the thread ends when it has committed what it holds.
    pub fn close(&mut self) {
        self.up.set(0);
        self.jobs = None;
    }

    fn jobs(&self) -> &SyncSender<Job> {
        self.jobs.as_ref().expect("an outlet that is closed is not asked")
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn bytes_of(outcome: &Outcome) -> usize {
    outcome.held.as_ref().map_or(0, Held::bytes)
}

struct Worker {
    sink: Box<dyn Sink>,
    permit: Permit,
    watch: Watch,
    /// Per partition: the smallest offset the sink still wants.
    next: BTreeMap<Partition, Option<i64>>,
    pending: Option<Waiting>,
    /// Something was committed since it was tidied up.
    untidy: bool,
    /// Files of this sink that are in the account already.
    files: u64,
    holds: Arc<AtomicUsize>,
}

/// What was written since the last commit.
struct Waiting {
    since: Instant,
    rows: u64,
    bytes: usize,
    intervals: BTreeMap<Partition, (i64, i64)>,
    committed: Committed,
    rejects: BTreeMap<(Arc<str>, Arc<str>), u64>,
    values: BTreeMap<Arc<str>, values::Counts>,
}

impl Worker {
    fn run(&mut self, queue: &Receiver<Job>) -> Result<()> {
        loop {
            let job = match &self.pending {
                None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(waiting) => {
                    let pending = Pending { since: waiting.since, rows: waiting.rows, bytes: waiting.bytes };
                    let due = self.sink.commit_in(&pending);
                    let overdue = waiting.bytes >= LARGEST || waiting.since.elapsed() >= LONGEST;
                    if due.is_zero() && overdue { Err(RecvTimeoutError::Timeout) } else { queue.recv_timeout(due) }
                }
            };
            match job {
                Ok(Job::Take(outcome)) => {
                    self.take(&outcome)?;
                    self.holds.fetch_sub(bytes_of(&outcome), Ordering::SeqCst);
                }
                Ok(Job::Assign(partitions, reply)) => {
                    let answer = self.assign(&partitions);
                    let failed = answer.as_ref().err().map(|error| Error::new(error.kind, error.to_string()));
                    let _ = reply.send(answer);
                    failed.map_or(Ok(()), Err)?;
                    self.tidy();
                }
                Ok(Job::Release(partitions, reply)) => {
                    let answer = self.commit();
                    let failed = answer.as_ref().err().map(|error| Error::new(error.kind, error.to_string()));
                    if failed.is_none() {
                        self.sink.release(&partitions);
                        self.next.retain(|partition, _| !partitions.contains(partition));
                    }
                    let _ = reply.send(answer);
                    failed.map_or(Ok(()), Err)?;
                    self.tidy();
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.commit()?;
                    self.tidy();
                }
                Err(RecvTimeoutError::Disconnected) if self.permit.killed() => {
                    self.sink.abort();
                    return Ok(());
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.commit()?;
                    self.tidy();
                    return Ok(());
                }
            }
        }
    }

    /// What can wait until whoever waits for a commit has heard of it.
    fn tidy(&mut self) {
        if std::mem::take(&mut self.untidy) {
            self.sink.tidy();
            cpu::spent(Step::Commit);
        }
    }

    fn assign(&mut self, partitions: &[Partition]) -> Result<Cursors> {
        // A sink may have to begin a new transaction or snapshot to take over: nothing may be half-way.
        self.commit()?;
        let cursors = self.sink.assign(partitions)?;
        for partition in partitions {
            let first = cursors.get(partition).and_then(|cuts| cuts.first().copied());
            self.next.insert(partition.clone(), first);
        }
        Ok(cursors)
    }

    fn take(&mut self, outcome: &Outcome) -> Result<()> {
        let mut below = 0;
        for interval in &outcome.covers {
            let next = self.next.get(&interval.partition);
            let Some(next) = next else {
                return Err(Error::bug(format!("{} got {interval}, which is not assigned", self.sink.kind())));
            };
            match next {
                Some(next) if interval.next <= *next && interval.from < *next => below += 1,
                Some(next) if interval.from != *next => {
                    let kind = self.sink.kind();
                    return Err(Error::bug(format!("{kind} has its cursor at {next} and got {interval}")));
                }
                _ => {}
            }
        }
        if below > 0 {
            if below < outcome.covers.len() {
                return Err(Error::bug(format!("a batch lies on both sides of the {} cursor", self.sink.kind())));
            }
            return Ok(());
        }
        self.sink.write(outcome)?;
        let waiting = self.pending.get_or_insert_with(|| Waiting {
            since: Instant::now(),
            rows: 0,
            bytes: 0,
            intervals: BTreeMap::new(),
            committed: Committed::default(),
            rejects: BTreeMap::new(),
            values: BTreeMap::new(),
        });
        for interval in &outcome.covers {
            self.next.insert(interval.partition.clone(), Some(interval.next));
            let whole = waiting.intervals.entry(interval.partition.clone()).or_insert((interval.from, interval.from));
            whole.1 = interval.next;
        }
        waiting.add(outcome);
        let counts = waiting.values.entry(outcome.source.clone()).or_default();
        self.watch.values.count(&outcome.rows, counts);
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        let Some(waiting) = self.pending.take() else { return Ok(()) };
        let kind = self.sink.kind();
        let permit = self.permit.clone();
        let Some(permission) = permit.commit() else {
            self.sink.abort();
            let why = format!("{kind}: the partitions were taken away before the commit");
            return Err(Error::new(ErrorKind::Evicted, why));
        };
        let interval = |(partition, (from, next)): (&Partition, &(i64, i64))| Interval {
            partition: partition.clone(),
            from: *from,
            next: *next,
        };
        let covered =
            Covered { intervals: waiting.intervals.iter().map(interval).collect(), tally: waiting.committed.total };
        let begun = Instant::now();
        self.sink.commit(&covered)?;
        let took = begun.elapsed();
        drop(permission);
        self.untidy = true;
        cpu::spent(Step::Commit);
        let Watch { pipeline, metrics, committed, values } = &self.watch;
        metrics.commit_seconds.with_label_values(&[pipeline, kind]).observe(took.as_secs_f64());
        debug!(%pipeline, sink = kind, rows = waiting.rows, took_ms = took.as_millis() as u64, "committed");
        let mut committed = committed.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.count(kind, pipeline, metrics);
        values.tell(&waiting.values, kind, pipeline, metrics);
        committed.add(&waiting.committed);
        // The sink counts since it was opened; the account outlives it.
        let more = self.sink.files() - self.files;
        self.files += more;
        committed.files += more;
        if kind == sink::ARCHIVE {
            metrics.archive_files.with_label_values(&[pipeline]).inc_by(more);
        }
        Ok(())
    }
}

impl Waiting {
    fn add(&mut self, outcome: &Outcome) {
        self.rows += outcome.tally.input;
        self.bytes += bytes_of(outcome);
        self.committed.total += outcome.tally;
        *self.committed.by_source.entry(outcome.source.clone()).or_default() += outcome.tally;
        for reject in &outcome.rejects {
            let code = reject.faults.first().map_or_else(|| "unknown".into(), |fault| fault.code.clone());
            *self.committed.reasons.entry(code.clone()).or_default() += 1;
            *self.rejects.entry((reject.stage.clone(), code)).or_default() += 1;
        }
        for (flag, count) in &outcome.flags {
            *self.committed.flags.entry(flag.clone()).or_default() += count;
        }
    }

    fn count(&self, kind: &str, pipeline: &str, metrics: &Metrics) {
        for (source, tally) in &self.committed.by_source {
            let rows = |outcome: &str, count: u64| {
                metrics.rows.with_label_values(&[pipeline, source, kind, outcome]).inc_by(count);
            };
            rows("written", tally.written);
            rows("rejected", tally.rejected);
            rows("duplicate", tally.duplicate);
        }
        for ((stage, code), count) in &self.rejects {
            metrics.rejected.with_label_values(&[pipeline, kind, stage, code]).inc_by(*count);
        }
        for (flag, count) in &self.committed.flags {
            metrics.flagged.with_label_values(&[pipeline, kind, flag]).inc_by(*count);
        }
    }
}

impl Committed {
    pub fn add(&mut self, other: &Committed) {
        self.total += other.total;
        for (source, tally) in &other.by_source {
            *self.by_source.entry(source.clone()).or_default() += *tally;
        }
        for (reason, count) in &other.reasons {
            *self.reasons.entry(reason.clone()).or_default() += count;
        }
        for (flag, count) in &other.flags {
            *self.flags.entry(flag.clone()).or_default() += count;
        }
    }
}
