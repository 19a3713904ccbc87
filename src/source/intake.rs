//! The door between a source and the line behind it.

use std::{
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError},
    },
    time::{Duration, Instant},
};

use crate::{
    batch::{Budget, Fetched},
    cpu::{self, Step},
    cursor::{Cursors, Partition},
    error::{Error, Result},
    stop::Stop,
};

/// How often a stop is looked for while something is waited for.
const LOOK: Duration = Duration::from_millis(50);

/// What a source tells the line, in order.
#[derive(Debug)]
pub enum Feed {
    Batch(Fetched),
    /// Take these partitions over and answer with every sink's cursors.
    Assign(Vec<Partition>, SyncSender<Result<Cursors>>),
    /// Commit everything, then let go of these partitions.
    Revoke(Vec<Partition>, SyncSender<Result<()>>),
    /// Commit everything: the source is at its end, or told to stop.
    Finish(SyncSender<Result<()>>),
}

/// Whether the line may still commit. Committing holds it for reading; killing waits for commits in flight, and
/// after it no commit begins.
#[derive(Clone, Debug)]
pub struct Permit(Arc<RwLock<bool>>);

impl Default for Permit {
    fn default() -> Permit {
        Permit(Arc::new(RwLock::new(true)))
    }
}

impl Permit {
    /// The right to commit, for as long as the guard lives; `None` when the line has been killed.
    pub fn commit(&self) -> Option<RwLockReadGuard<'_, bool>> {
        let alive = self.0.read().unwrap_or_else(PoisonError::into_inner);
        (*alive).then_some(alive)
    }
    pub fn kill(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = false;
    }
    pub fn killed(&self) -> bool {
        !*self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

type TellFailed = Box<dyn FnOnce(&Error) + Send>;
type TellTroubled = Box<dyn FnMut(Option<&Error>) + Send>;

/// The source's end of the line.
pub struct Intake {
    feed: SyncSender<Feed>,
    budget: Arc<Budget>,
    permit: Permit,
    /// How long revoked partitions may take to finish what is in flight.
    drain: Duration,
    /// Whether the source has read all that it was to read.
    at_end: bool,
    begun: Option<Box<dyn FnOnce() + Send>>,
    failed: Option<TellFailed>,
    troubled: Option<TellTroubled>,
}

impl Intake {
    /// An intake and the line's end of it. `depth` batches may wait in between.
    pub fn new(depth: usize, budget: Arc<Budget>, permit: Permit, drain: Duration) -> (Intake, Receiver<Feed>) {
        let (feed, fed) = mpsc::sync_channel(depth);
        (Intake { feed, budget, permit, drain, at_end: false, begun: None, failed: None, troubled: None }, fed)
    }

    /// What is to be done once the source has found all it reads from.
    pub fn when_begun(&mut self, tell: impl FnOnce() + Send + 'static) {
        self.begun = Some(Box::new(tell));
    }

    /// The source has found all it reads from: messages can flow.
    pub fn begun(&mut self) {
        if let Some(tell) = self.begun.take() {
            tell();
        }
    }

    /// The source has read all that it was to read, and does not end for another reason.
    pub fn reached_end(&mut self) {
        self.at_end = true;
    }

    pub fn is_at_end(&self) -> bool {
        self.at_end
    }

    /// What is to be done when messages do not flow for a while, and why, and when they do again.
    pub fn when_troubled(&mut self, tell: impl FnMut(Option<&Error>) + Send + 'static) {
        self.troubled = Some(Box::new(tell));
    }

    /// What the source reads from does not answer, or does again. Of one that has not begun it is told that it has not.
    pub fn troubled(&mut self, why: Option<&Error>) {
        if let Some(tell) = self.troubled.as_mut().filter(|_| self.begun.is_none()) {
            tell(why);
        }
    }

    /// What is to be done once the source has failed.
    pub fn when_failed(&mut self, tell: impl FnOnce(&Error) + Send + 'static) {
        self.failed = Some(Box::new(tell));
    }

    /// The source has failed. To be told before anything is waited for.
    pub fn failed(&mut self, error: &Error) {
        if let Some(tell) = self.failed.take() {
            tell(error);
        }
    }

    /// Hands the partitions to everything behind and returns each sink's cursors. That may take long while something does
    /// not answer, or there is much to learn; a stop does not wait for it.
    pub fn assign(&mut self, partitions: Vec<Partition>, patience: Duration, stop: &Stop) -> Result<Cursors> {
        self.ask(patience, Some(stop), |reply| Feed::Assign(partitions, reply))
    }

    /// Returns when everything pushed so far is committed and the partitions are let go. On `Err` the caller kills.
    pub fn revoke(&mut self, partitions: Vec<Partition>) -> Result<()> {
        self.let_go(partitions, self.drain)
    }

    /// The same of partitions that nobody waits for.
    pub fn let_go(&mut self, partitions: Vec<Partition>, patience: Duration) -> Result<()> {
        self.ask(patience, None, |reply| Feed::Revoke(partitions, reply))
    }

    /// Returns when everything pushed so far is committed.
    pub fn finish(&mut self, patience: Duration) -> Result<()> {
        self.ask(patience, None, Feed::Finish)
    }

    /// From here on nothing of this line is committed any more. Waits for a commit in flight.
    pub fn kill(&mut self) {
        self.permit.kill();
    }

    /// How long a stop waits for what is in flight.
    pub fn drain(&self) -> Duration {
        self.drain
    }

    /// Whether there is room for more bytes; waits up to `patience` for it.
    pub fn room(&self, patience: Duration) -> bool {
        self.budget.wait(patience)
    }

    /// Hands a batch on if there is room and the line can take it now; gives it back if not, so that it can grow meanwhile.
    pub fn offer(&mut self, batch: Fetched) -> Result<Option<Fetched>> {
        if self.room(Duration::ZERO) { self.insist(batch) } else { Ok(Some(batch)) }
    }

    /// Hands a batch on if the line can take it now, whether or not there is room.
    pub fn insist(&mut self, batch: Fetched) -> Result<Option<Fetched>> {
        match self.feed.try_send(Feed::Batch(self.hold(batch))) {
            Ok(()) => Ok(None),
            Err(TrySendError::Full(Feed::Batch(mut batch))) => {
                batch.held = None;
                Ok(Some(batch))
            }
            Err(_) => Err(gone()),
        }
    }

    /// Hands a batch on, waiting until the line takes it.
    pub fn push(&mut self, batch: Fetched) -> Result<()> {
        self.feed.send(Feed::Batch(self.hold(batch))).map_err(|_| gone())
    }

    fn hold(&self, mut batch: Fetched) -> Fetched {
        cpu::spent(Step::Consume);
        batch.held = Some(self.budget.hold(batch.arena.capacity()));
        batch
    }

    fn ask<T>(
        &mut self,
        patience: Duration,
        stop: Option<&Stop>,
        feed: impl FnOnce(SyncSender<Result<T>>) -> Feed,
    ) -> Result<T> {
        let deadline = Instant::now() + patience;
        let (reply, answer) = mpsc::sync_channel(1);
        let mut feed = feed(reply);
        loop {
            match self.feed.try_send(feed) {
                Ok(()) => break,
                Err(TrySendError::Disconnected(_)) => return Err(gone()),
                Err(TrySendError::Full(_)) if stop.is_some_and(Stop::asked) => return Err(stopped()),
                Err(TrySendError::Full(back)) if Instant::now() < deadline => feed = back,
                Err(TrySendError::Full(_)) => return Err(late(patience, stop)),
            }
            std::thread::park_timeout(Duration::from_millis(2));
        }
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match answer.recv_timeout(if stop.is_some() { left.min(LOOK) } else { left }) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Disconnected) => return Err(gone()),
                Err(RecvTimeoutError::Timeout) if stop.is_some_and(Stop::asked) => return Err(stopped()),
                Err(RecvTimeoutError::Timeout) if left <= LOOK || stop.is_none() => {
                    return Err(late(patience, stop));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

/// The line is gone; its own error tells why.
fn gone() -> Error {
    Error::unavailable("the line behind the source has stopped")
}

fn stopped() -> Error {
    Error::unavailable("stopped while partitions were being taken over")
}

/// A stop ends only a take-over early: what is given to others, or finished, has its time.
fn late(patience: Duration, takes_over: Option<&Stop>) -> Error {
    let within = patience.as_secs();
    Error::unavailable(match takes_over {
        Some(_) => format!(
            "partitions were not taken over within {within} s: where dedup reads its keys from very many files of the \
             archive, `huiju archive compact` makes them fewer"
        ),
        None => format!("what is in flight was not committed within {within} s"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_ends_a_take_over_that_the_line_has_not_heard_of() {
        let (mut intake, _line) = Intake::new(1, Budget::new(10), Permit::default(), LOOK);
        assert!(intake.insist(Fetched::default()).unwrap().is_none(), "now its queue is full");
        let stop = Stop::new();
        stop.ask();
        const SOON: Duration = Duration::from_secs(20);
        let begun = Instant::now();
        assert!(intake.assign(Vec::new(), 10 * SOON, &stop).is_err());
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    }

    #[test]
    fn a_batch_is_given_back_while_there_is_no_room_but_for_the_last_ones() {
        let budget = Budget::new(10);
        let (mut intake, line) = Intake::new(4, budget.clone(), Permit::default(), LOOK);
        let batch = |bytes: usize| Fetched { arena: vec![b'x'; bytes], ..Fetched::default() };
        assert!(intake.offer(batch(8)).unwrap().is_none());
        assert!(intake.offer(batch(8)).unwrap().is_none(), "a little room is room for one");
        let back = intake.offer(batch(1)).unwrap().expect("there is no room");
        assert!(back.held.is_none());
        assert_eq!(budget.used(), 16);
        assert!(intake.insist(back).unwrap().is_none(), "nothing comes after it");
        line.try_iter().for_each(drop);
        assert_eq!(budget.used(), 0);
        assert!(intake.offer(batch(20)).unwrap().is_none(), "one is always taken");
    }
}
