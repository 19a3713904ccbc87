//! The engine room. Read [`Line::run`] first: it is the main flow, whole.
//!
//! # Threads of a pipeline
//!
//! ```text
//!  source thread ──Feed──► line thread ──Job──► outlet thread (kafka sink)
//!  polls, batches          decode, engine,  └─► outlet thread (archive sink)
//!                          checks, dedup
//! ```
//!
//! Queues are short; what bounds memory is the [`Budget`](crate::batch::Budget): a batch holds its bytes from the
//! fetch until the last sink lets it go, and the source does not read on while the budget is used up.
//!
//! # Delivery
//!
//! A line is built, runs, and is thrown away as a whole: that is the only way to recover from anything
//! ([`supervise`]). Building it again reads every cursor anew, so an unknown outcome of a commit is answered by the
//! sink itself. Nothing is repaired in place.
//!
//! - *Partitions come*: dedup forgets them, every sink takes them over and tells its cursors, dedup learns the
//!   archive's keys below the smallest; then the source starts at the smallest cursor.
//! - *Partitions go*: every sink commits what is in flight; then they are let go. When that takes longer than the drain
//!   time, when a Kafka sink that was left behind hangs, or when the partitions are lost already, the line's
//!   [`Permit`](crate::source::Permit) is withdrawn: no commit begins after that, and the line is built anew.
//! - *A sink fails or falls behind* while another goes on: it is left behind, and when it can take rows again the line
//!   is built anew from the smallest cursor; the others drop what they have already. So one sink's trouble delays
//!   the others by no more than [`PATIENCE`] at a time. One that takes rows all the time, and is too slow, sets the pace
//!   of all: the others would have to wait for it anyway while it gets what it lacks. One that fails again as soon as it
//!   is back is left behind for longer each time ([`supervise`]), or the others would spend their time on what they have
//!   already.

mod breaker;
pub mod build;
mod columns;
mod flow;
mod outlet;
mod probe;
mod slot;
pub mod supervise;
#[cfg(test)]
mod tests;
mod values;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use arrow::{datatypes::SchemaRef, record_batch::RecordBatch};
use tracing::{info, warn};

pub use outlet::Committed;
use outlet::Outlet;
use supervise::Statuses;

use self::flow::Flow;
use crate::{
    batch::{Fetched, Outcome},
    cpu::{self, Step},
    cursor::{Cursors, Cuts, FORGOTTEN, NEVER, Partition},
    dedup::Dedup,
    error::{Error, ErrorKind, Result},
    metrics::Metrics,
    sink::{self, archive::Recent},
    source::Feed,
};

/// How long a full queue of one sink may hold up the others before it is left behind.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of a reject in memory, about: a message of three bytes may lack five fields, and each is said in words.
const REJECT: usize = 2048;

/// Reads committed key columns from the archive, batch by batch: of partitions, each below an offset.
pub type Keys =
    Box<dyn FnMut(&[(Partition, i64)], Recent, &mut dyn FnMut(&RecordBatch) -> Result<()>) -> Result<()> + Send>;

/// How a line ended, when it did not fail.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The source is at its end or was told to stop, and everything is committed.
    Finished,
    /// The same, but this sink was left behind and lacks rows, and why.
    Lacking(&'static str, String),
    /// A sink that was left behind can take rows again: build the line anew, now.
    Rejoin,
}

/// Everything behind the source of one pipeline.
pub struct Line {
    pipeline: Arc<str>,
    schema: SchemaRef,
    /// Per source, in the order of the pipeline's sources.
    sources: Vec<Flow>,
    dedup: Option<(Dedup, Keys)>,
    breaker: breaker::Breaker,
    outlets: Vec<Place>,
    metrics: Arc<Metrics>,
    statuses: Arc<Statuses>,
    /// How long a full queue of one sink may hold up the others.
    patience: Duration,
}

/// A sink's place in the line.
struct Place {
    outlet: Outlet,
    /// Left behind, and why: takes nothing more until the line is built anew.
    behind: Option<String>,
    /// Tells, asked again and again, whether a sink that failed could be opened now.
    probe: probe::Probe,
    next_probe: Instant,
    pause: Duration,
}

impl Place {
    /// Keeps why it is left behind; tells it.
    fn left_behind(&mut self, why: String) -> String {
        let told = format!("the {} sink is left behind: {why}", self.outlet.kind);
        self.behind = Some(why);
        told
    }
}

impl Line {
    /// Carries what the source feeds to the sinks, until it says that it is finished.
    ///
    /// The feed outlives the line: what its sinks have in hand when it ends is committed, and the source, which would
    /// withdraw the permit, must not hear of it before.
    pub fn run(&mut self, feed: &Receiver<Feed>) -> Result<End> {
        loop {
            match feed.recv_timeout(Duration::from_millis(200)) {
                Ok(Feed::Batch(fetched)) => {
                    let mut next = Some(fetched);
                    while let Some(fetched) = next {
                        let (outcome, rest) = self.transform(fetched)?;
                        self.hand_out(outcome)?;
                        next = rest;
                    }
                }
                Ok(Feed::Assign(partitions, reply)) => {
                    let answer = self.take_over(&partitions);
                    let kept = copy(&answer);
                    let _ = reply.send(answer);
                    kept?;
                }
                Ok(Feed::Revoke(partitions, reply)) => {
                    let answer = self.let_go(&partitions);
                    let kept = copy(&answer);
                    let _ = reply.send(answer);
                    kept?;
                }
                Ok(Feed::Finish(reply)) => {
                    let answer = self.let_go(&[]);
                    let kept = copy(&answer);
                    let _ = reply.send(answer);
                    let behind = self.outlets.iter().find_map(|place| Some((place.outlet.kind, place.behind.clone()?)));
                    return kept.map(|()| behind.map_or(End::Finished, |(kind, why)| End::Lacking(kind, why)));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::unavailable("the source has stopped"));
                }
            }
            if self.look_after_sinks()? {
                return Ok(End::Rejoin);
            }
        }
    }

    /// From messages to rows and rejects: decode, map, clean, standardize, classify, checks, dedup. Of what would be too
    /// much for one batch the rest comes back.
    fn transform(&mut self, mut fetched: Fetched) -> Result<(Outcome, Option<Fetched>)> {
        let flow = &mut self.sources[fetched.source];
        let mut decoded = flow.decoder.decode(&mut fetched);
        let rest = decoded.rest.take();
        flow.tell_unseen(&self.pipeline, decoded.origins.len());
        cpu::spent(Step::Decode);
        crate::fault::point("line.after_decode");
        let mut checked = flow.program.run(fetched, decoded);
        if let Some((dedup, _)) = &mut self.dedup {
            dedup.strike_out(&mut checked)?;
            cpu::spent(Step::Dedup);
        }
        self.tell_keys();
        let mut outcome = checked.finish(&self.schema)?;
        let rejects = outcome.rejects.len() * REJECT;
        outcome.held.iter_mut().for_each(|held| held.at_least(rejects));
        self.breaker.observe(&outcome)?;
        cpu::spent(Step::Checks);
        Ok((outcome, rest))
    }

    /// Gives a batch to every sink. One whose queue stays full while another waits is left behind.
    fn hand_out(&mut self, outcome: Outcome) -> Result<()> {
        let outcome = Arc::new(outcome);
        let mut waiting: Vec<usize> = (0..self.outlets.len()).filter(|at| self.outlets[*at].behind.is_none()).collect();
        let begun = Instant::now();
        while !waiting.is_empty() {
            let mut full = Vec::new();
            for at in waiting {
                match self.outlets[at].outlet.offer(&outcome) {
                    Ok(true) => {}
                    Ok(false) => full.push(at),
                    Err(error) => self.leave_behind(at, error)?,
                }
            }
            let alone = self.outlets.iter().filter(|place| place.behind.is_none()).count() == full.len();
            if !full.is_empty() && !alone && begun.elapsed() >= self.patience {
                for at in full.drain(..) {
                    let kind = self.outlets[at].outlet.kind;
                    let slow = Error::unavailable(format!("the {kind} sink took nothing for {:?}", self.patience));
                    self.leave_behind(at, slow)?;
                }
            }
            if !full.is_empty() {
                let since = Instant::now();
                std::thread::park_timeout(Duration::from_millis(1));
                let waited = since.elapsed().as_secs_f64();
                for at in &full {
                    let labels = [&*self.pipeline, self.outlets[*at].outlet.kind];
                    self.metrics.sink_full_seconds.with_label_values(&labels).inc_by(waited);
                }
            }
            waiting = full;
        }
        Ok(())
    }

    /// A sink cannot go on. If it may recover by itself and another sink can, the line goes on without it.
    fn leave_behind(&mut self, at: usize, error: Error) -> Result<()> {
        let others = self.outlets.iter().enumerate().any(|(other, place)| other != at && place.behind.is_none());
        let place = &mut self.outlets[at];
        let why = error.to_string();
        let error = error.context(format!("{} sink", place.outlet.kind));
        if error.kind != ErrorKind::Unavailable || !others {
            return Err(error);
        }
        warn!(pipeline = %self.pipeline, sink = place.outlet.kind, %error, "sink left behind, the others go on");
        self.statuses.remark(&self.pipeline, place.left_behind(why));
        place.outlet.close();
        place.next_probe = Instant::now() + place.pause;
        Ok(())
    }

    /// Notices sinks that failed between batches; tells whether one that was left behind can come back.
    fn look_after_sinks(&mut self) -> Result<bool> {
        for at in 0..self.outlets.len() {
            if self.outlets[at].behind.is_none() && self.outlets[at].outlet.failed() {
                let error = self.outlets[at].outlet.error();
                self.leave_behind(at, error)?;
            }
            let place = &mut self.outlets[at];
            if place.behind.is_some() && place.outlet.ended() && Instant::now() >= place.next_probe {
                match place.probe.look() {
                    None => {}
                    Some(Ok(())) => {
                        info!(pipeline = %self.pipeline, sink = place.outlet.kind, "sink can take rows again");
                        self.let_go(&[])?;
                        return Ok(true);
                    }
                    Some(Err(error)) if error.kind == ErrorKind::Unavailable => {
                        place.pause = (place.pause * 2).min(Duration::from_secs(30));
                        place.next_probe = Instant::now() + place.pause;
                        warn!(pipeline = %self.pipeline, sink = place.outlet.kind, %error, "sink still not answering");
                        self.statuses.remark(&self.pipeline, place.left_behind(error.to_string()));
                    }
                    Some(Err(error)) => return Err(error),
                }
            }
        }
        Ok(false)
    }

    /// Partitions become ours: every sink fences its predecessor and tells its cursors; dedup learns what was committed.
    fn take_over(&mut self, partitions: &[Partition]) -> Result<Cursors> {
        if let Some((kind, why)) =
            self.outlets.iter().find_map(|place| Some((place.outlet.kind, place.behind.as_ref()?)))
        {
            let what = format!("partitions cannot be taken over while the {kind} sink is behind: {why}");
            return Err(Error::unavailable(what));
        }
        let begun = Instant::now();
        crate::fault::point("line.before_take_over");
        let asked: Result<Vec<_>> = self.outlets.iter().map(|place| place.outlet.assign(partitions)).collect();
        let mut cursors: Cursors = partitions.iter().map(|partition| (partition.clone(), Vec::new())).collect();
        let mut archived = BTreeSet::new();
        let mut lowest: Vec<(&'static str, Cursors)> = Vec::new();
        for (answer, place) in asked?.into_iter().zip(&self.outlets) {
            let theirs = answer.recv().map_err(|_| place.outlet.error())??;
            lowest.push((place.outlet.kind, theirs.clone()));
            for (partition, cuts) in &mut cursors {
                match theirs.get(partition) {
                    Some(more) if !more.is_empty() => {
                        cuts.extend(more);
                        if place.outlet.kind == sink::ARCHIVE {
                            archived.insert(partition.clone());
                        }
                    }
                    _ if place.outlet.kind == sink::KAFKA => cuts.push(FORGOTTEN),
                    _ => cuts.push(NEVER),
                }
            }
        }
        for cuts in cursors.values_mut() {
            cuts.sort_unstable();
            cuts.dedup();
        }
        self.tell_behind(&cursors, &lowest);
        if let Some((dedup, keys)) = &mut self.dedup {
            dedup.forget(partitions);
            // What is read again is judged again: needed is what stands before it.
            let begin = |cuts: &Cuts| cuts.iter().copied().find(|cut| *cut >= 0).unwrap_or(0);
            let before: Vec<(Partition, i64)> =
                archived.into_iter().map(|partition| (partition.clone(), begin(&cursors[&partition]))).collect();
            let recent = Recent { window: dedup.reach(), latest: dedup.latest() };
            keys(&before, recent, &mut |batch| dedup.learn(batch))?;
        }
        let keys = self.tell_keys();
        info!(pipeline = %self.pipeline, partitions = partitions.len(), keys, took_ms = begun.elapsed().as_millis() as u64, "partitions taken over");
        Ok(cursors)
    }

    /// Says which sinks lack what another one has: the archive after a crash, a sink that was left behind; or somebody has set
    /// the group's offsets to others.
    fn tell_behind(&self, cursors: &Cursors, of_sinks: &[(&'static str, Cursors)]) {
        for (sink, theirs) in of_sinks {
            let others = || of_sinks.iter().filter(|(other, _)| other != sink);
            let behind = |partition: &Partition| {
                let furthest = *others().filter_map(|(_, cursors)| cursors.get(partition)?.iter().max()).max()?;
                let cursor = *theirs.get(partition)?.iter().min()?;
                (cursor >= 0 && cursor < furthest)
                    .then(|| (furthest - cursor, format!("{partition}: {cursor} of {furthest}")))
            };
            let behind: Vec<(i64, String)> = cursors.keys().filter_map(behind).collect();
            let Some((_, example)) = behind.first() else { continue };
            let (partitions, offsets): (_, i64) = (behind.len(), behind.iter().map(|(offsets, _)| offsets).sum());
            let pipeline = &*self.pipeline;
            if *sink == sink::KAFKA {
                warn!(
                    pipeline,
                    sink,
                    partitions,
                    offsets,
                    example,
                    "behind the other sinks: it gets what it lacks, and gets it again if somebody has set back the group's offsets"
                );
            } else {
                info!(pipeline, sink, partitions, offsets, example, "behind the other sinks: it gets what it lacks");
            }
        }
    }

    /// Everything in flight is committed; then the partitions are no longer ours.
    ///
    /// Not while a Kafka sink that was left behind still has batches in hand. When it wakes it commits for partitions that
    /// are another member's by then, which has begun at the offset before: brokers ask who commits, and in which
    /// generation, and not whose the partition is. On our error the permit is withdrawn before the partitions are.
    fn let_go(&mut self, partitions: &[Partition]) -> Result<()> {
        let at_large =
            |place: &Place| place.behind.is_some() && place.outlet.kind == sink::KAFKA && !place.outlet.ended();
        if !partitions.is_empty() && self.outlets.iter().any(at_large) {
            return Err(Error::unavailable("the kafka sink was left behind and still has batches in hand"));
        }
        // Where a topic begins the sink remembers first whose cursor the broker keeps: one that is missing there while
        // another sink has it was lost, as far as anybody can tell.
        if partitions.is_empty() {
            self.commit(partitions, |place| place.outlet.kind == sink::KAFKA)?;
        }
        self.commit(partitions, |_| true)?;
        if let Some((dedup, _)) = &mut self.dedup {
            dedup.forget(partitions);
        }
        self.tell_keys();
        Ok(())
    }

    /// How many keys dedup remembers.
    fn tell_keys(&self) -> usize {
        let Some((dedup, _)) = &self.dedup else { return 0 };
        self.metrics.dedup_keys.with_label_values(&[&self.pipeline]).set(dedup.keys() as i64);
        dedup.keys()
    }

    /// Returns when those sinks that are not behind have committed what they have.
    fn commit(&self, partitions: &[Partition], which: impl Fn(&Place) -> bool) -> Result<()> {
        let here = || self.outlets.iter().filter(|place| place.behind.is_none() && which(place));
        let asked: Result<Vec<_>> = here().map(|place| place.outlet.release(partitions)).collect();
        for (answer, place) in asked?.into_iter().zip(here()) {
            answer.recv().map_err(|_| place.outlet.error())??;
        }
        Ok(())
    }
}

/// The same answer for the one who asked and for us.
fn copy<T>(answer: &Result<T>) -> Result<()> {
    match answer {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::new(error.kind, error.to_string())),
    }
}

/// Committed accounts by sink.
pub type Accounts = BTreeMap<&'static str, Arc<std::sync::Mutex<Committed>>>;
