//! Taking partitions over and letting them go.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{Offset, TopicPartitionList, consumer::Consumer};

use super::{
    batches::Track,
    begin::{Begin, Marks, NO_OFFSET, begin},
    member::{self, Rebalance},
    reading::Reading,
};
use crate::{
    config::Start,
    cursor::{Cursors, Cuts, FORGOTTEN, Partition},
    error::{Error, ErrorKind, Result},
    fault, kafka,
};

/// How long one question about watermarks, and asking again, may take.
const ASK: Duration = Duration::from_secs(5);
const ASK_AGAIN: Duration = Duration::from_secs(30);

impl Reading<'_> {
    pub(super) fn rebalance(&mut self, rebalance: Rebalance) -> Result<()> {
        let had = !self.batches.tracks().is_empty();
        // A partition that is assigned while it is paused may stay so for ever.
        self.resume()?;
        self.take_or_give(rebalance)?;
        if had || self.resumed.is_some() {
            self.resumed = Some(Instant::now());
        }
        Ok(())
    }

    fn take_or_give(&mut self, rebalance: Rebalance) -> Result<()> {
        match rebalance {
            Rebalance::Assign(list) => self.assign(&list).inspect_err(|_| {
                // It waits for an answer, and would not leave the group before it has one.
                let _ = member::assign(self.client, &TopicPartitionList::new());
            }),
            Rebalance::Revoke(list) => self.revoke(&list).inspect_err(|_| self.client.context().tear()),
        }
    }

    fn assign(&mut self, list: &TopicPartitionList) -> Result<()> {
        let partitions = self.partitions(list);
        if !partitions.is_empty() {
            let cursors = self.intake.assign(partitions.clone(), self.client.context().take_over, self.stop)?;
            let starts: Vec<Start> = partitions.iter().map(|partition| self.start(partition, &cursors)).collect();
            let mut fresh = Vec::new();
            for ((element, partition), start) in list.elements().iter_mut().zip(partitions).zip(starts) {
                let cuts = cursors.get(&partition).map_or(&[][..], Vec::as_slice);
                let placed = self.place(partition.clone(), cuts, start);
                let (at, pinned) = placed.map_err(|error| with_others(error, &cursors))?;
                fresh.extend(pinned.then_some(partition));
                element
                    .set_offset(Offset::Offset(self.batches.tracks()[at].next))
                    .map_err(|error| self.explain("assign", &error))?;
            }
            self.remember(fresh)?;
            let pipeline = &*self.settings.pipeline;
            tracing::info!(pipeline, partitions = list.count(), all = self.batches.tracks().len(), "assigned");
        }
        member::assign(self.client, list).map_err(|error| self.explain("assign", &error))
    }

    /// Returns when every sink has committed where it begins; none may be left behind here.
    fn remember(&mut self, fresh: Vec<Partition>) -> Result<()> {
        if fresh.is_empty() {
            return Ok(());
        }
        self.push_all(self.settings.drain)?;
        self.intake.revoke(Vec::new())?;
        let cursors = self.intake.assign(fresh, self.client.context().take_over, self.stop)?;
        match cursors.iter().find(|(_, cuts)| cuts.iter().any(|cut| *cut < 0)) {
            Some((partition, _)) => {
                Err(Error::unavailable(format!("a sink does not remember where {partition} begins")))
            }
            None => Ok(()),
        }
    }

    /// Where to begin without a cursor. `end` is for the first start of a topic; a partition that was added to it later
    /// is read from its beginning, or what was written before we found it would be skipped.
    fn start(&self, partition: &Partition, cursors: &Cursors) -> Start {
        // Sinks that have none are in the list too, with what stands for that.
        let has_cursor = |cuts: &Cuts| cuts.iter().any(|cut| *cut >= 0);
        if cursors.get(partition).is_some_and(has_cursor) {
            return self.settings.start;
        }
        let known = self.known.get(&*partition.topic).copied().unwrap_or(0);
        let added = partition.number as usize >= known
            || self.batches.tracks().iter().any(|track| track.partition.topic == partition.topic)
            || cursors.iter().any(|(other, cuts)| other.topic == partition.topic && has_cursor(cuts));
        if added { Start::Beginning } else { self.settings.start }
    }

    /// Decides where to begin in a partition and takes it in; tells its place, and whether sinks have to remember it.
    fn place(&mut self, partition: Partition, cuts: &[i64], start: Start) -> Result<(usize, bool)> {
        let settings = self.settings;
        let source = settings.topics.iter().find(|(topic, _)| **topic == *partition.topic).map(|(_, source)| *source);
        let source = source.ok_or_else(|| Error::bug(format!("{partition} was assigned but is not ours")))?;
        let marks = self.marks(&partition)?;
        let group = &self.client.context().group;
        let found = begin(group, &partition, cuts, marks, start, settings.gaps);
        let found = found.map_err(|error| error.context(format!("group {group}")))?;
        let next = match found {
            Begin::At(next) | Begin::Pinned(next) | Begin::After(next, _) => next,
        };
        let end = settings.bounded.then_some(marks.high);
        tracing::debug!(%partition, next, low = marks.low, high = marks.high, ?cuts, "begin");
        let at = self.batches.assign(Track::new(partition, source, next, cuts, end));
        match found {
            Begin::At(_) => {}
            Begin::Pinned(_) => self.batches.pin(at),
            Begin::After(_, low) => self.lose(at, low),
        }
        Ok((at, matches!(found, Begin::Pinned(_))))
    }

    fn lose(&mut self, at: usize, low: i64) {
        let Track { partition, next, .. } = &self.batches.tracks()[at];
        tracing::warn!(%partition, from = *next, next = low, "messages are gone before we have read them: recorded as a gap");
        self.batches.lose(at, low, "gap.retention");
    }

    fn revoke(&mut self, list: &TopicPartitionList) -> Result<()> {
        fault::point("kafka.before_revoke");
        let partitions = self.partitions(list);
        if self.client.assignment_lost() {
            self.intake.kill();
            self.release(list)?;
            return Err(Error::new(
                ErrorKind::Evicted,
                "the group has given our partitions to another member, or is about to: Kafka was away or this process \
                 stood still for longer than session.timeout.ms, or it did not poll for max.poll.interval.ms. What was in \
                 flight is discarded and read again",
            ));
        }
        let started = Instant::now();
        let drained = self
            .push_all(self.settings.drain)
            .and_then(|()| self.intake.revoke(partitions.clone()))
            .map_err(|error| error.context("let go of revoked partitions"));
        if let Err(error) = drained {
            self.intake.kill();
            self.release(list)?;
            return Err(error);
        }
        self.batches.revoke(|partition| partitions.contains(partition));
        partitions.iter().for_each(|partition| (self.lag)(partition, None));
        let (pipeline, took_ms) = (&*self.settings.pipeline, started.elapsed().as_millis() as u64);
        tracing::info!(pipeline, partitions = partitions.len(), took_ms, "revoked");
        self.release(list)
    }

    fn release(&self, list: &TopicPartitionList) -> Result<()> {
        member::release(self.client, list).map_err(|error| self.explain("release", &error))
    }

    /// The broker says that an offset is out of range, but not in which partition: what is gone by policy is told, and
    /// everything else is found at the cursors, where the next line begins. What was read is committed first: it may be
    /// what the broker has no longer.
    ///
    /// Why nothing is mended in place: such a partition is not fetched any more until it is assigned again, and
    /// librdkafka takes any giving up of partitions for the answer to a revocation, though we have not heard of it yet.
    /// The group would go on without us while we still commit.
    pub(super) fn examine(&mut self) -> Result<()> {
        self.push_all(self.settings.drain)?;
        self.intake.revoke(Vec::new())?;
        for Track { partition, next, .. } in self.batches.tracks() {
            begin(
                &self.client.context().group,
                partition,
                &[*next],
                self.marks(partition)?,
                Start::Beginning,
                self.settings.gaps,
            )?;
        }
        Err(Error::unavailable("the broker lacks an offset that we asked for: reading begins anew at the cursors"))
    }

    /// What the partition holds for readers of committed messages.
    fn marks(&self, partition: &Partition) -> Result<Marks> {
        let deadline = Instant::now() + ASK_AGAIN;
        loop {
            let error = match self.client.fetch_watermarks(&partition.topic, partition.number, ASK) {
                Ok((low, high)) => return Ok(Marks { low, high }),
                Err(error) => error,
            };
            let passes = error.rdkafka_error_code().is_some_and(kafka::passes);
            if !passes || Instant::now() >= deadline || self.stop.wait(Duration::from_millis(100)) {
                let troubles = &self.client.context().troubles;
                return Err(troubles.explain(format!("ask for the offsets of {partition}"), &error));
            }
        }
    }

    fn partitions(&self, list: &TopicPartitionList) -> Vec<Partition> {
        list.elements().iter().map(|p| Partition::new(Arc::<str>::from(p.topic()), p.partition())).collect()
    }
}

/// The error of a partition whose committed offset is lost, with all others whose is too: they can be set at once.
fn with_others(error: Error, cursors: &Cursors) -> Error {
    let lost = |(other, cuts): (&Partition, &Cuts)| {
        let furthest = *cuts.last()?;
        (cuts.contains(&FORGOTTEN) && furthest > 0).then(|| (other.clone(), furthest))
    };
    let lost: Vec<(Partition, i64)> = cursors.iter().filter_map(lost).collect();
    if lost.len() < 2 || !error.to_string().contains(NO_OFFSET) {
        return error;
    }
    let all: Vec<String> =
        lost.iter().map(|(Partition { topic, number }, offset)| format!("{topic},{number},{offset}")).collect();
    let all = all.join("; ");
    Error::new(error.kind, format!("{error}. So it is with all of these, for its --from-file a line each: {all}"))
}
