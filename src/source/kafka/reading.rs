//! The loop of the source: poll, batch, hand on.

mod trouble;

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use rdkafka::{Message as _, Offset, Statistics, consumer::Consumer, error::KafkaError, message::BorrowedMessage};

use self::trouble::{TELL, Trouble};
use super::{
    Lag, Settings,
    batches::{Batches, Incoming},
    begin,
    member::{self, Client},
    others::Others,
};
use crate::{
    batch::{self, Fetched},
    config::Start,
    cursor::Partition,
    error::{Error, Result},
    fault,
    kafka::{Group, ids},
    source::Intake,
    stop::Stop,
};

/// Longest poll; a stop is noticed within it.
const IDLE: Duration = Duration::from_millis(100);
/// How long we wait for room before partitions are paused.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the client's positions are looked at while it is quiet.
const TAIL: Duration = Duration::from_secs(1);
/// The same in a bounded run, which ends by it.
const BOUNDED_TAIL: Duration = Duration::from_millis(20);
/// What a client has fetched is thrown away by a pause, and by a rebalance, which pauses all partitions without telling; its
/// end-of-partition says nothing until it has fetched again.
const SETTLED: Duration = Duration::from_secs(10);
/// A bounded run waits this long for its last commit; less than `max.poll.interval.ms`, for it does not poll.
const LAST_COMMIT: Duration = Duration::from_secs(240);
/// How long a bounded run waits for messages that must be there. Less than what makes a line that is built anew well again, or
/// it would be built anew for ever.
const STUCK: Duration = Duration::from_secs(45);
const METADATA: Duration = Duration::from_secs(10);
/// A dead member may be missed by so much later than its session ends.
const MISSED: Duration = Duration::from_secs(2);
/// How long a look at the topics' ids may keep us from reading.
const GLANCE: Duration = Duration::from_secs(1);

pub struct Reading<'a> {
    pub(super) client: &'a Client,
    group: &'a dyn Group,
    pub(super) settings: &'a Settings,
    pub(super) lag: &'a dyn Fn(&Partition, Option<Lag>),
    pub(super) intake: &'a mut Intake,
    pub(super) stop: &'a Stop,
    pub(super) batches: Batches,
    /// Since when the line has had no room.
    blocked: Option<Instant>,
    paused: bool,
    /// Since when what the client has fetched is ours.
    pub(super) resumed: Option<Instant>,
    /// When positions were looked at last.
    tail: Instant,
    /// When we last had a partition or said that we have none.
    employed: Instant,
    trouble: Option<Trouble>,
    /// Whether a broker was, as the newest statistics have it.
    connected: bool,
    /// How many partitions each topic had when its reading began, as far as we know: those with higher numbers came later.
    pub(super) known: HashMap<String, usize>,
    /// All of them, then.
    count: usize,
    others: Others,
    /// Since when everything of ours in a bounded run has been at its end.
    at_end: Option<Instant>,
    /// In a bounded run: how far all partitions were together, and since when.
    reached: (i64, Instant),
}

impl<'a> Reading<'a> {
    pub fn new(
        client: &'a Client,
        group: &'a dyn Group,
        settings: &'a Settings,
        lag: &'a dyn Fn(&Partition, Option<Lag>),
        intake: &'a mut Intake,
        stop: &'a Stop,
    ) -> Reading<'a> {
        let sources = settings.topics.iter().map(|(_, source)| source + 1).max().unwrap_or(0);
        let now = Instant::now();
        Reading {
            client,
            group,
            settings,
            lag,
            intake,
            stop,
            batches: Batches::new(sources, settings.max_batch_bytes, settings.max_batch_messages),
            blocked: None,
            paused: false,
            resumed: None,
            tail: now,
            employed: now,
            trouble: None,
            connected: true,
            known: HashMap::new(),
            count: 0,
            others: Others::new(now, settings.drain),
            at_end: None,
            reached: (0, now),
        }
    }

    pub fn run(mut self) -> Result<()> {
        let ended = self.read();
        self.batches.tracks().iter().for_each(|track| (self.lag)(&track.partition, None));
        ended
    }

    fn read(&mut self) -> Result<()> {
        self.subscribe()?;
        self.intake.begun();
        let mut patience = IDLE;
        let (mut taken, mut now) = (0_u32, Instant::now());
        loop {
            let polled = self.client.poll(patience);
            if !patience.is_zero() {
                now = Instant::now();
            }
            let found = match polled {
                Some(Ok(message)) => {
                    self.take(&message, now)?;
                    taken = taken.wrapping_add(1);
                    patience = Duration::ZERO;
                    // Looking after the rest costs more than a message does.
                    if !taken.is_multiple_of(64) && self.batches.ready.is_empty() {
                        continue;
                    }
                    true
                }
                Some(Err(error)) => {
                    self.judge(&error)?;
                    true
                }
                None => false,
            };
            match self.tend(found)? {
                Some(wait) => patience = wait,
                None => return self.finish(),
            }
            now = Instant::now();
        }
    }

    /// Looks that the topics are there, then joins the group.
    fn subscribe(&mut self) -> Result<()> {
        for (topic, _) in &self.settings.topics {
            self.known.insert(topic.clone(), member::partitions(self.client, topic)?);
        }
        self.count = self.known.values().sum();
        let troubles = &self.client.context().troubles;
        let topics = self.topics();
        let ids = ids::ids(self.client.client(), &topics, METADATA);
        self.client.context().set_ids(ids.map_err(|error| troubles.explain("ask for the topics' ids", &error))?);
        troubles.forget();
        if self.settings.start == Start::End {
            self.recall()?;
        }
        self.client.context().attend(true);
        self.client
            .subscribe(&topics)
            .map_err(|error| troubles.explain(format!("subscribe to {}", topics.join(", ")), &error))
    }

    /// A topic that the group has read before we join it was begun then, and has got partitions since that have no offset:
    /// another process may not have found them yet, and they may be given to us alone.
    fn recall(&mut self) -> Result<()> {
        for (topic, count) in &mut self.known {
            let all: Vec<Partition> = (0..*count).map(|number| Partition::new(topic.as_str(), number as i32)).collect();
            if self.group.committed(&all)?.values().flatten().any(|next| *next >= 0) {
                *count = 0;
            }
        }
        Ok(())
    }

    fn topics(&self) -> Vec<&'a str> {
        self.settings.topics.iter().map(|(topic, _)| topic.as_str()).collect()
    }

    /// Looks whether the topics are still those that they were. No answer tells nothing.
    fn look_at_ids(&self) -> Result<()> {
        let before = self.client.context().ids();
        let now = ids::ids(self.client.client(), &self.topics(), GLANCE).unwrap_or_default();
        let other = before.iter().find(|(topic, id)| now.get(*topic).is_some_and(|now| now != *id));
        other.map_or(Ok(()), |(topic, _)| Err(begin::created_anew(topic, "while we read it")))
    }

    fn take(&mut self, message: &BorrowedMessage<'_>, now: Instant) -> Result<()> {
        if self.trouble.is_some() {
            self.recovered();
        }
        let Some(at) = self.batches.find(message.topic(), message.partition()) else {
            let (topic, number) = (message.topic(), message.partition());
            return Err(Error::bug(format!("a message of {topic}/{number}, which is not assigned to us")));
        };
        let incoming = Incoming {
            offset: message.offset(),
            timestamp: batch::told(message.timestamp().to_millis()),
            key: message.key(),
            payload: message.payload(),
        };
        self.batches.add(at, incoming, now);
        Ok(())
    }

    /// Everything but taking messages. Returns how long the next poll may wait; `None` when the work is done.
    fn tend(&mut self, found: bool) -> Result<Option<Duration>> {
        while let Some(rebalance) = self.client.context().next_rebalance() {
            self.rebalance(rebalance)?;
            self.reached.1 = Instant::now();
        }
        if let Some(statistics) = self.client.context().statistics() {
            self.study(&statistics);
            self.get_on(Instant::now())?;
            self.look_at_ids()?;
            if self.others.lack_a_reader(self.client, self.count, Instant::now()) {
                self.client.context().tear();
                return Err(Error::unavailable("the group has given some partitions to nobody: joining it anew"));
            }
        }
        self.stale_trouble(Instant::now());
        if !self.make_room()? {
            return Ok((!self.stop.asked()).then_some(IDLE / 2));
        }
        if self.stop.asked() {
            return Ok(None);
        }
        let now = Instant::now();
        while let Some(buffer) = self.batches.due(self.settings.linger, now) {
            let mut taken = self.batches.take(buffer);
            match self.intake.offer(std::mem::take(&mut taken.fetched))? {
                None => fault::point("kafka.after_fetch"),
                Some(fetched) => {
                    taken.fetched = fetched;
                    self.batches.restore(taken);
                    return Ok(Some(if found { Duration::ZERO } else { Duration::from_millis(1) }));
                }
            }
        }
        if !found {
            self.cover_tails(now)?;
        }
        // Also while messages come in: a topic that is written all the time would never be at its end.
        if self.settings.bounded && self.ended(now) {
            self.intake.reached_end();
            return Ok(None);
        }
        if found {
            return Ok(Some(Duration::ZERO));
        }
        Ok(Some(self.batches.due_in(self.settings.linger, now).map_or(IDLE, |due| due.min(IDLE))))
    }

    /// Hands on what is finished. False when the line has no room and partitions are paused.
    fn make_room(&mut self) -> Result<bool> {
        loop {
            if self.hand_over(Intake::offer)? && self.intake.room(Duration::ZERO) {
                self.blocked = None;
                self.resume()?;
                return Ok(true);
            }
            let since = *self.blocked.get_or_insert_with(Instant::now);
            if since.elapsed() >= PATIENCE {
                self.pause()?;
                return Ok(false);
            }
            if self.stop.asked() {
                return Ok(false);
            }
            if self.intake.room(IDLE / 2) && !self.batches.ready.is_empty() {
                self.stop.wait(Duration::from_millis(1));
            }
        }
    }

    /// Offers finished batches, oldest first; tells whether all are gone.
    fn hand_over(&mut self, offer: fn(&mut Intake, Fetched) -> Result<Option<Fetched>>) -> Result<bool> {
        while let Some(batch) = self.batches.ready.pop_front() {
            if let Some(batch) = offer(self.intake, batch)? {
                self.batches.ready.push_front(batch);
                return Ok(false);
            }
            fault::point("kafka.after_fetch");
        }
        Ok(true)
    }

    /// Pushes all we have, for at most `patience`. It is no more than what was begun, and does not wait for room.
    pub(super) fn push_all(&mut self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        self.batches.finish_all();
        while !self.hand_over(Intake::insist)? {
            if Instant::now() >= deadline {
                return Err(Error::unavailable(format!(
                    "the line behind the source has taken nothing for {} s",
                    patience.as_secs()
                )));
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        Ok(())
    }

    fn pause(&mut self) -> Result<()> {
        if !self.paused {
            tracing::debug!(pipeline = &*self.settings.pipeline, "no room: partitions paused");
            self.client.pause(&self.ours()).map_err(|error| self.explain("pause", &error))?;
            self.paused = true;
        }
        Ok(())
    }

    pub(super) fn resume(&mut self) -> Result<()> {
        if self.paused {
            self.client.resume(&self.ours()).map_err(|error| self.explain("resume", &error))?;
            self.paused = false;
            self.resumed = Some(Instant::now());
        }
        Ok(())
    }

    fn ours(&self) -> rdkafka::TopicPartitionList {
        member::list(self.batches.tracks().iter().map(|track| &track.partition))
    }

    /// Covers what lies between the last messages and the client's positions: nothing of ours is there.
    fn cover_tails(&mut self, now: Instant) -> Result<()> {
        let every = if self.settings.bounded { BOUNDED_TAIL } else { TAIL };
        if now.duration_since(self.tail) < every || self.batches.tracks().is_empty() || self.paused {
            return Ok(());
        }
        self.tail = now;
        let positions = self.client.position().map_err(|error| self.explain("read positions", &error))?;
        for element in positions.elements() {
            if let Offset::Offset(position) = element.offset()
                && let Some(at) = self.batches.find(element.topic(), element.partition())
            {
                self.batches.cover(at, position, now);
            }
        }
        Ok(())
    }

    /// Whether every partition that is ours is at its end.
    fn ended(&mut self, now: Instant) -> bool {
        if self.batches.tracks().is_empty() {
            if now.duration_since(self.employed) > TELL {
                self.employed = now;
                tracing::info!(pipeline = &*self.settings.pipeline, "waiting: other members hold all partitions");
            }
            return false;
        }
        self.employed = now;
        if !self.batches.tracks().iter().all(|track| track.ended()) {
            self.at_end = None;
            return false;
        }
        let since = *self.at_end.get_or_insert(now);
        // Whoever has the rest may be dead, and not be missed yet.
        self.batches.tracks().len() >= self.count || now.duration_since(since) > self.client.context().session + MISSED
    }

    /// A bounded run ends, one way or the other: a partition without a leader, or a batch that the client cannot read, brings
    /// neither messages nor an error.
    fn get_on(&mut self, now: Instant) -> Result<()> {
        let reached = self.batches.tracks().iter().map(|track| track.next).sum();
        let short = || self.batches.tracks().iter().filter(|track| !track.ended());
        let waits = self.paused || self.blocked.is_some() || !self.settings.bounded;
        if waits || reached != self.reached.0 || short().next().is_none() {
            self.reached = (reached, now);
        }
        if now.duration_since(self.reached.1) < STUCK {
            return Ok(());
        }
        let names: Vec<String> =
            short().map(|track| format!("{} (read up to {})", track.partition, track.next)).collect();
        let (names, patience) = (names.join(", "), STUCK.as_secs());
        Err(Error::unavailable(format!("nothing has come for {patience} s of what is not read to its end: {names}")))
    }

    /// Tells the lag; in a bounded run also finds ends that no message and no control record marks (compaction).
    fn study(&mut self, statistics: &Statistics) {
        self.connected = statistics.brokers.values().any(|broker| broker.nodeid >= 0 && broker.state == "UP");
        let settled = !self.paused && self.resumed.is_none_or(|resumed| resumed.elapsed() > SETTLED);
        for (topic, statistics) in &statistics.topics {
            for partition in statistics.partitions.values() {
                let Some(at) = self.batches.find(topic, partition.partition) else { continue };
                let track = &self.batches.tracks()[at];
                let end = if partition.ls_offset >= 0 { partition.ls_offset } else { partition.hi_offset };
                if end >= 0 {
                    let lag = Lag { messages: (end - track.next).max(0), newest_ms: track.newest };
                    (self.lag)(&track.partition, Some(lag));
                }
                if settled && partition.fetchq_cnt == 0 && track.end.is_some_and(|end| partition.eof_offset >= end) {
                    self.batches.cover(at, partition.eof_offset, Instant::now());
                }
            }
        }
    }

    pub(super) fn explain(&self, doing: &str, error: &KafkaError) -> Error {
        let (topics, group) = (self.topics().join(", "), &self.client.context().group);
        self.client.context().troubles.explain(format!("{doing} topics {topics} in group {group}"), error)
    }

    fn finish(&mut self) -> Result<()> {
        let patience = if self.stop.asked() { self.settings.drain } else { LAST_COMMIT };
        let started = Instant::now();
        self.push_all(patience)?;
        self.intake.finish(patience.saturating_sub(started.elapsed()))
    }
}

#[cfg(test)]
mod tests;
