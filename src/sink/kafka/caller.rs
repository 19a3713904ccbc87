//! Calls of librdkafka that may never return.
//!
//! The calls that make a transaction take a timeout, but it is looked at only when something happens. After a broker's
//! stop and return there may be nothing left that happens: the request waits for a coordinator that nobody looks for any
//! more. Seen: `send_offsets_to_transaction`, called again after it had timed out while the broker was away, slept for
//! minutes beside a healthy broker though it was asked for five seconds; and with it all that waits for a commit, such
//! as the source that had lost its partitions.
//!
//! So the calls are made by a thread of their own, and who waits for it gives up after [`HUNG`]. The producer is left to
//! that thread then, and a new one of the same name fences it: whether its last call did anything is answered by the
//! cursor, as after a crash. A call that panics is a panic of who waits for it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use rdkafka::{error::KafkaResult, producer::BaseProducer};

use super::transaction::Told;
use crate::error::{Context as _, Result};

/// Longer than any call is asked for.
pub const HUNG: Duration = Duration::from_secs(8);
/// How often events are looked at meanwhile.
const LOOK: Duration = Duration::from_millis(100);

type Call = Box<dyn FnOnce(&BaseProducer<Told>) -> KafkaResult<()> + Send>;

pub struct Caller {
    producer: Arc<BaseProducer<Told>>,
    /// When a call is given up.
    patience: Duration,
    calls: Sender<Call>,
    answers: Receiver<thread::Result<KafkaResult<()>>>,
}

impl Caller {
    pub fn start(producer: Arc<BaseProducer<Told>>, name: &str, patience: Duration) -> Result<Caller> {
        let (calls, asked) = mpsc::channel::<Call>();
        let (answer, answers) = mpsc::channel();
        let theirs = producer.clone();
        let body = move || {
            for call in asked {
                let answered = catch_unwind(AssertUnwindSafe(|| call(&theirs)));
                // Nobody waits for the answer of a call that was given up.
                if answer.send(answered).is_err() {
                    break;
                }
            }
        };
        thread::Builder::new().name("transaction".into()).spawn(body).or_unavailable(format!("producer {name}"))?;
        Ok(Caller { producer, patience, calls, answers })
    }

    /// Makes the call; none when it has not returned in time. It must not be asked again then.
    pub fn call(
        &self,
        call: impl FnOnce(&BaseProducer<Told>) -> KafkaResult<()> + Send + 'static,
    ) -> Option<KafkaResult<()>> {
        let begun = Instant::now();
        self.calls.send(Box::new(call)).ok()?;
        loop {
            match self.answers.recv_timeout(LOOK) {
                Ok(answer) => return Some(answer.unwrap_or_else(|panic| resume_unwind(panic))),
                Err(RecvTimeoutError::Timeout) if begun.elapsed() < self.patience => {
                    self.producer.poll(Duration::ZERO);
                }
                Err(_) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;

    use super::*;

    const SHORT: Duration = Duration::from_secs(2);
    /// A backtrace takes its time.
    const LONG: Duration = Duration::from_secs(60);

    fn producer() -> Arc<BaseProducer<Told>> {
        Arc::new(ClientConfig::new().create_with_context(Told::default()).unwrap())
    }

    #[test]
    fn a_call_that_panics_is_not_one_that_hangs() {
        let caller = Caller::start(producer(), "panics", LONG).unwrap();
        let called = catch_unwind(AssertUnwindSafe(|| caller.call(|_| panic!("a mistake"))));
        assert_eq!(called.unwrap_err().downcast_ref(), Some(&"a mistake"));
    }

    #[test]
    fn a_call_that_never_returns_is_given_up() {
        let producer = producer();
        let caller = Caller::start(producer.clone(), "hangs", SHORT).unwrap();
        assert!(matches!(caller.call(|_| Ok(())), Some(Ok(()))), "one that returns is answered");
        let (release, hangs) = mpsc::channel::<()>();
        let begun = Instant::now();
        let called = caller.call(move |_| {
            let _ = hangs.recv();
            Ok(())
        });
        assert!(called.is_none());
        assert!(begun.elapsed() >= SHORT, "not before its time");
        // The producer stays with the call, and nobody waits for either.
        let begun = Instant::now();
        drop(caller);
        assert!(begun.elapsed() < SHORT, "{:?}", begun.elapsed());
        assert_eq!(Arc::strong_count(&producer), 2);
        release.send(()).unwrap();
        let begun = Instant::now();
        while Arc::strong_count(&producer) > 1 {
            assert!(begun.elapsed() < Duration::from_secs(10), "the thread ends when its call has come back");
            std::thread::yield_now();
        }
    }
}
