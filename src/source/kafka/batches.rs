//! Batching: from messages to intervals that never overlap, never leave a hole, and never straddle a cut.
//!
//! There is one buffer per source, and one of its own for each partition that is still below its largest cut: what a
//! sink drops must not share a batch with what it takes. A buffer is finished when it is full, when its partition
//! reaches a cut, or when the caller takes it because its time is up. Finished batches wait in `ready`, in order.
//!
//! Pure arithmetic: no client, no clock, no line. The caller tells the time.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    batch::{Fetched, Gap, Message},
    cursor::{Interval, Partition},
};

/// A partition that is ours.
#[derive(Debug)]
pub struct Track {
    pub partition: Partition,
    pub source: usize,
    /// All offsets below are in a batch, in a buffer, or were never ours.
    pub next: i64,
    /// A bounded run takes nothing from here on.
    pub end: Option<i64>,
    /// Time of the newest message.
    pub newest: Option<i64>,
    /// Cuts above `next`, smallest first.
    cuts: VecDeque<i64>,
    buffer: usize,
    /// Place in the buffer's `covers`, when it is in there.
    cover: Option<u32>,
}

impl Track {
    pub fn new(partition: Partition, source: usize, next: i64, cuts: &[i64], end: Option<i64>) -> Track {
        let cuts = cuts.iter().copied().filter(|cut| *cut > next).collect();
        Track { partition, source, next, end, newest: None, cuts, buffer: source, cover: None }
    }

    pub fn ended(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }
}

/// A message as the client hands it over.
pub struct Incoming<'a> {
    pub offset: i64,
    pub timestamp: Option<i64>,
    pub key: Option<&'a [u8]>,
    pub payload: Option<&'a [u8]>,
}

#[derive(Debug, Default)]
struct Buffer {
    fetched: Fetched,
    /// The track of each cover.
    members: Vec<usize>,
    since: Option<Instant>,
    /// Bytes of the last batch: what the next one will need.
    usual: usize,
}

#[derive(Debug)]
pub struct Batches {
    tracks: Vec<Track>,
    /// First one per source, then those of partitions that catch up.
    buffers: Vec<Buffer>,
    sources: usize,
    /// Finished, oldest first.
    pub ready: VecDeque<Fetched>,
    /// Bytes in all buffers.
    bytes: usize,
    max_bytes: usize,
    max_messages: usize,
    /// The track of the last message: the next one is likely of the same.
    last: usize,
}

impl Batches {
    pub fn new(sources: usize, max_bytes: usize, max_messages: usize) -> Batches {
        Batches {
            tracks: Vec::new(),
            buffers: (0..sources).map(|_| Buffer::default()).collect(),
            sources,
            ready: VecDeque::new(),
            bytes: 0,
            max_bytes,
            max_messages,
            last: 0,
        }
    }

    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    pub fn find(&mut self, topic: &str, number: i32) -> Option<usize> {
        let is = |track: &Track| track.partition.number == number && *track.partition.topic == *topic;
        if self.tracks.get(self.last).is_none_or(|track| !is(track)) {
            self.last = self.tracks.iter().position(is)?;
        }
        Some(self.last)
    }

    /// Takes a partition in; one that has cuts ahead gets a buffer of its own until it has passed them.
    pub fn assign(&mut self, mut track: Track) -> usize {
        if !track.cuts.is_empty() {
            let free = (self.sources..self.buffers.len()).find(|b| self.tracks.iter().all(|t| t.buffer != *b));
            track.buffer = free.unwrap_or_else(|| {
                self.buffers.push(Buffer::default());
                self.buffers.len() - 1
            });
        }
        self.tracks.push(track);
        self.tracks.len() - 1
    }

    /// Finishes all buffers and forgets the partitions.
    pub fn revoke(&mut self, gone: impl Fn(&Partition) -> bool) {
        self.finish_all();
        self.tracks.retain(|track| !gone(&track.partition));
    }

    pub fn add(&mut self, at: usize, message: Incoming<'_>, now: Instant) {
        let track = &mut self.tracks[at];
        if message.offset < track.next {
            return; // the client fetched it twice, after a pause
        }
        if let Some(end) = track.end.filter(|end| message.offset >= *end) {
            return self.cover(at, end, now);
        }
        track.newest = message.timestamp.or(track.newest);
        self.pass_cuts(at, message.offset, now);
        let cover = self.open(at, now);
        let next = message.offset + 1;
        let buffer = &mut self.buffers[self.tracks[at].buffer];
        let before = buffer.fetched.arena.len();
        let key = message.key.map(|bytes| buffer.fetched.store(bytes));
        let payload = message.payload.map(|bytes| buffer.fetched.store(bytes));
        let Incoming { offset, timestamp, .. } = message;
        buffer.fetched.messages.push(Message { cover, offset, timestamp, key, payload });
        buffer.fetched.covers[cover as usize].next = next;
        self.tracks[at].next = next;
        self.bytes += buffer.fetched.arena.len() - before;
        self.pass_cuts(at, next, now);
        self.finish_full(self.tracks[at].buffer);
    }

    /// Covers the offsets up to `next`: no message of ours is in them.
    pub fn cover(&mut self, at: usize, next: i64, now: Instant) {
        let next = self.tracks[at].end.map_or(next, |end| next.min(end));
        if next <= self.tracks[at].next {
            return;
        }
        self.pass_cuts(at, next, now);
        if next > self.tracks[at].next {
            let cover = self.open(at, now);
            let track = &mut self.tracks[at];
            track.next = next;
            self.buffers[track.buffer].fetched.covers[cover as usize].next = next;
        }
    }

    /// Covers the offsets up to `next` as lost, in batches of their own.
    pub fn lose(&mut self, at: usize, next: i64, code: &'static str) {
        self.finish(self.tracks[at].buffer);
        let track = &mut self.tracks[at];
        while track.next < next {
            let upto = track.cuts.front().map_or(next, |cut| next.min(*cut));
            let lost = Interval { partition: track.partition.clone(), from: track.next, next: upto };
            self.ready.push_back(Fetched {
                source: track.source,
                covers: vec![lost.clone()],
                gaps: vec![Gap { lost, code, timestamp: None }],
                ..Fetched::default()
            });
            track.next = upto;
            Self::drop_cuts(track, self.sources);
        }
    }

    /// An empty batch at the partition's place: sinks remember where they start, so that a restart starts there too.
    pub fn pin(&mut self, at: usize) {
        let Track { partition, source, next, .. } = &self.tracks[at];
        let here = Interval { partition: partition.clone(), from: *next, next: *next };
        self.ready.push_back(Fetched { source: *source, covers: vec![here], ..Fetched::default() });
    }

    /// How long until a buffer's time is up; `None` when all are empty.
    pub fn due_in(&self, linger: Duration, now: Instant) -> Option<Duration> {
        let oldest = self.buffers.iter().filter_map(|buffer| buffer.since).min()?;
        Some((oldest + linger).saturating_duration_since(now))
    }

    /// A buffer whose time is up.
    pub fn due(&self, linger: Duration, now: Instant) -> Option<usize> {
        self.buffers.iter().position(|buffer| buffer.since.is_some_and(|since| since + linger <= now))
    }

    /// Takes a buffer's batch; [`Batches::restore`] gives it back if nobody wants it yet.
    pub fn take(&mut self, buffer: usize) -> Taken {
        let room = self.buffers[buffer].usual;
        let fresh = Buffer {
            usual: room,
            fetched: Fetched { arena: Vec::with_capacity(room), ..Fetched::default() },
            ..Buffer::default()
        };
        let taken = std::mem::replace(&mut self.buffers[buffer], fresh);
        for track in &taken.members {
            self.tracks[*track].cover = None;
        }
        let bytes = taken.fetched.arena.len();
        self.buffers[buffer].usual = bytes;
        self.bytes -= bytes;
        let source = taken.members.first().map_or(buffer, |track| self.tracks[*track].source);
        Taken { buffer, members: taken.members, since: taken.since, fetched: Fetched { source, ..taken.fetched } }
    }

    pub fn restore(&mut self, taken: Taken) {
        for (cover, track) in taken.members.iter().enumerate() {
            self.tracks[*track].cover = Some(cover as u32);
        }
        self.bytes += taken.fetched.arena.len();
        let Taken { buffer, members, since, fetched } = taken;
        let usual = self.buffers[buffer].usual;
        self.buffers[buffer] = Buffer { fetched, members, since, usual };
    }

    pub fn finish_all(&mut self) {
        for buffer in 0..self.buffers.len() {
            self.finish(buffer);
        }
    }

    fn finish(&mut self, buffer: usize) {
        if self.buffers[buffer].since.is_some() {
            let taken = self.take(buffer);
            self.ready.push_back(taken.fetched);
        }
    }

    /// Keeps one buffer within its number of messages, and all of them together within the bytes of one batch.
    fn finish_full(&mut self, buffer: usize) {
        if self.buffers[buffer].fetched.messages.len() >= self.max_messages {
            return self.finish(buffer);
        }
        if self.bytes >= self.max_bytes {
            let largest = (0..self.buffers.len()).max_by_key(|b| self.buffers[*b].fetched.arena.len());
            self.finish(largest.unwrap_or(buffer));
        }
    }

    /// Ends a batch at each cut at or below `upto`.
    fn pass_cuts(&mut self, at: usize, upto: i64, now: Instant) {
        while let Some(cut) = self.tracks[at].cuts.front().copied().filter(|cut| *cut <= upto) {
            if self.tracks[at].next < cut {
                let cover = self.open(at, now);
                let track = &mut self.tracks[at];
                track.next = cut;
                self.buffers[track.buffer].fetched.covers[cover as usize].next = cut;
            }
            self.finish(self.tracks[at].buffer);
            Self::drop_cuts(&mut self.tracks[at], self.sources);
        }
    }

    fn drop_cuts(track: &mut Track, sources: usize) {
        while track.cuts.front().is_some_and(|cut| *cut <= track.next) {
            track.cuts.pop_front();
        }
        if track.cuts.is_empty() {
            debug_assert!(track.cover.is_none() || track.buffer < sources, "what was below the cut is finished");
            track.buffer = track.source;
        }
    }

    /// The partition's place in its buffer.
    fn open(&mut self, at: usize, now: Instant) -> u32 {
        let track = &mut self.tracks[at];
        if let Some(cover) = track.cover {
            return cover;
        }
        let buffer = &mut self.buffers[track.buffer];
        let cover = buffer.members.len() as u32;
        let Track { partition, next, .. } = track;
        buffer.fetched.covers.push(Interval { partition: partition.clone(), from: *next, next: *next });
        buffer.members.push(at);
        buffer.since.get_or_insert(now);
        track.cover = Some(cover);
        cover
    }
}

/// A batch taken out of its buffer.
pub struct Taken {
    buffer: usize,
    members: Vec<usize>,
    since: Option<Instant>,
    pub fetched: Fetched,
}

#[cfg(test)]
mod tests;
