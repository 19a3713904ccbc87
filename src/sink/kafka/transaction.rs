//! The transactional producer, and what its errors mean.
//!
//! # What is left to the broker
//!
//! `init_transactions` has the coordinator end what a predecessor left open, and returns when every partition has the
//! marker that says how. We rely on it: nothing here can tell whether rows without a marker were committed. Kafka 4.3.0
//! to 4.4.0 do not keep the promise (KAFKA-20734): a coordinator that comes up while a partition has no leader takes the
//! partition for deleted and leaves its marker out, which happens whenever the only replica of everything is killed in
//! the middle of a commit. Aborting what has no marker before anything else was tried and given up: it loses the rows of
//! transactions that were committed.

use std::{
    cell::Cell,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, TopicPartitionList,
    bindings::rd_kafka_flush,
    consumer::ConsumerGroupMetadata,
    error::{KafkaError, KafkaResult, RDKafkaError},
    message::ToBytes,
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext},
    types::RDKafkaErrorCode::{
        self, IllegalGeneration, MessageSizeTooLarge, NoError, PurgeInflight, PurgeQueue, QueueFull,
        RebalanceInProgress, StaleMemberEpoch, State,
    },
};

use super::caller::{Caller, HUNG};
use crate::{
    config,
    error::{Error, ErrorKind, Result},
    fault,
    kafka::{self, Troubles},
};

/// How long a call that may be repeated is repeated. Longer than a transaction may stay open: then the broker has
/// aborted it, and says so.
pub const PATIENCE: Duration = Duration::from_secs(30);
const METADATA: Duration = Duration::from_secs(10);
/// One call; between calls the client's events are looked at.
const CALL: Duration = Duration::from_secs(5);
const ABORT: Duration = Duration::from_millis(50);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How often events are looked at while messages are sent.
const LOOK: u32 = 1024;

/// What the producer tells us, and why the first message that was not delivered was not.
pub type Told = kafka::Told<Mutex<Option<RDKafkaErrorCode>>>;

impl ProducerContext for Told {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let Err((error, _)) = result else { return };
        let code = error.rdkafka_error_code().unwrap_or(NoError);
        if !matches!(code, PurgeQueue | PurgeInflight) {
            self.more.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(code);
        }
    }
}

/// A producer and its one transaction.
pub struct Transaction {
    producer: Arc<BaseProducer<Told>>,
    caller: Caller,
    id: String,
    open: bool,
    /// It has failed for good: a new one must be opened.
    broken: bool,
    sent: Cell<u32>,
}

/// Whether the settings that people have written go together with ours.
pub fn check(config: &config::Kafka) -> Result<()> {
    kafka::agree::<BaseProducer<_>>(settings(config, "check"))
}

fn settings(config: &config::Kafka, id: &str) -> ClientConfig {
    let defaults = [
        // Short, so that a crash blocks readers for a short time; long enough for a broker to restart.
        ("transaction.timeout.ms", "15000"),
        ("message.timeout.ms", "10000"),
        ("linger.ms", "5"),
        // A request that comes before the markers of the last commit are written is sent again after this.
        ("retry.backoff.ms", "10"),
        ("batch.size", "1048576"),
        ("compression.type", "lz4"),
        // What a topic takes by default; the sink keeps below it.
        ("message.max.bytes", "1048588"),
        // As Java's producers place keys; librdkafka's own default places them elsewhere.
        ("partitioner", "murmur2_random"),
        ("queue.buffering.max.kbytes", "16384"),
        ("queue.buffering.max.messages", "200000"),
    ];
    let fixed = [("transactional.id", id), ("enable.idempotence", "true"), ("delivery.report.only.error", "true")];
    kafka::client_for(config, &defaults, &fixed)
}

impl Transaction {
    pub fn open(config: &config::Kafka, id: &str, topics: &[&str]) -> Result<Transaction> {
        let producer: KafkaResult<BaseProducer<Told>> = settings(config, id).create_with_context(Told::new(config));
        let producer = producer.map_err(|error| {
            let (kind, text) = kafka::classify(&error);
            Error::new(kind, text).context(format!("producer {id}"))
        })?;
        let producer = Arc::new(producer);
        let caller = Caller::start(producer.clone(), id, HUNG)?;
        let transaction =
            Transaction { producer, caller, id: id.to_owned(), open: false, broken: false, sent: Cell::new(0) };
        transaction.check_topics(topics)?;
        transaction.call("take over", |producer| producer.init_transactions(CALL))?;
        transaction.troubles().forget();
        Ok(transaction)
    }

    /// Looks that the topics are there.
    fn check_topics(&self, topics: &[&str]) -> Result<()> {
        for topic in topics {
            let doing = format!("topic {topic}");
            let metadata = self.producer.client().fetch_metadata(Some(topic), METADATA).map_err(|error| {
                self.producer.poll(Duration::from_millis(50)); // why it does not answer is told by events
                self.troubles().explain(&doing, &error)
            })?;
            let code = metadata.topics().iter().find_map(|topic| topic.error()).map(RDKafkaErrorCode::from);
            if let Some(code) = code.filter(|code| kafka::meaning(*code) != (ErrorKind::Unavailable, None)) {
                return Err(self.troubles().explain(&doing, &KafkaError::MetadataFetch(code)));
            }
        }
        Ok(())
    }

    fn troubles(&self) -> &Troubles {
        &self.producer.context().troubles
    }

    /// Begins, unless one is open.
    pub fn begin(&mut self) -> Result<()> {
        if self.broken {
            return Err(Error::unavailable(format!("producer {} has failed and must be opened anew", self.id)));
        }
        if !self.open {
            let begun = self.call("begin a transaction", |producer| producer.begin_transaction());
            self.checked(begun)?;
            self.open = true;
        }
        Ok(())
    }

    /// Queues a message. While the queue is full it waits for the broker.
    pub fn send<K: ToBytes + ?Sized, V: ToBytes + ?Sized>(&self, mut record: BaseRecord<'_, K, V>) -> Result<()> {
        self.sent.set(self.sent.get().wrapping_add(1));
        if self.sent.get().is_multiple_of(LOOK) {
            self.producer.poll(Duration::ZERO);
            self.delivered()?;
        }
        let mut since = None;
        loop {
            let (error, back) = match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            let full = error.rdkafka_error_code() == Some(QueueFull);
            if !full || since.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                self.producer.poll(Duration::ZERO); // an event may tell more
                return Err(self.troubles().explain(format!("producer {}", self.id), &error));
            }
            record = back;
            self.producer.poll(Duration::from_millis(5));
            self.delivered()?;
        }
    }

    /// Whether all messages so far are delivered or on their way.
    fn delivered(&self) -> Result<()> {
        let failed = *self.producer.context().more.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(code) = failed else { return Ok(()) };
        let error = self.troubles().explain("a message was not delivered", &KafkaError::MessageProduction(code));
        if code == MessageSizeTooLarge {
            let (kind, words) = kafka::meaning(code);
            return Err(Error::new(kind, words.unwrap_or_default()));
        }
        Err(error)
    }

    pub fn send_offsets(&mut self, offsets: &TopicPartitionList, group: ConsumerGroupMetadata) -> Result<(), Failed> {
        let group = Arc::new(group);
        let send = || {
            let (offsets, group) = (offsets.clone(), group.clone());
            self.call("send offsets", move |producer| {
                fault::point("kafka.in_offsets");
                producer.send_offsets_to_transaction(&offsets, &group, CALL)
            })
        };
        let mut sent = send();
        // The transaction has failed while the call was under way: only another call is told why.
        if sent.as_ref().is_err_and(|failed| failed.overtaken) {
            sent = send();
        }
        self.checked(sent)
    }

    pub fn commit(&mut self) -> Result<()> {
        self.flush();
        let delivered = self.delivered();
        if delivered.is_err() {
            self.abort();
            return delivered;
        }
        fault::point("kafka.prepared");
        let committed = self.call("commit", |producer| {
            fault::point("kafka.in_commit");
            producer.commit_transaction(CALL)
        });
        self.checked(committed)?;
        self.open = false;
        self.troubles().forget();
        Ok(())
    }

    /// Sends what lingers and waits for it. The crate's own `flush` looks only ten times a second whether it is done.
    fn flush(&self) {
        let deadline = Instant::now() + PATIENCE;
        let producer = self.producer.client().native_ptr();
        while self.producer.in_flight_count() > 0 && Instant::now() < deadline {
            // SAFETY: the pointer is of a client that lives as long as `self`; librdkafka's clients are thread-safe.
            unsafe { rd_kafka_flush(producer, 100) };
            self.producer.poll(Duration::ZERO);
        }
    }

    /// Forgets what was written since the last commit. When even that fails, the producer is not used again: opening a
    /// new one aborts.
    pub fn abort(&mut self) {
        if !self.open || self.broken {
            return;
        }
        self.open = false;
        let deadline = Instant::now() + METADATA;
        // The call throws away what is queued and waits for what is on its way; both count until their reports are
        // looked at, which is ours to do between short calls. Purging by ourselves would leave a hole in the sequence
        // numbers, and the next transaction would fail of it.
        loop {
            let Some(called) = self.caller.call(|producer| producer.abort_transaction(ABORT)) else {
                tracing::info!(producer = self.id, "abort hangs: the next producer of this name aborts");
                self.broken = true;
                break;
            };
            let Err(error) = called else { break };
            let retriable = matches!(&error, KafkaError::Transaction(why) if why.is_retriable());
            if !retriable || Instant::now() >= deadline {
                tracing::info!(producer = self.id, %error, "abort failed: the next producer of this name aborts");
                self.broken = true;
                break;
            }
            self.producer.poll(Duration::ZERO);
        }
        *self.producer.context().more.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Calls, and calls again what may be repeated.
    fn call(
        &self,
        doing: &str,
        call: impl Fn(&BaseProducer<Told>) -> KafkaResult<()> + Send + Sync + 'static,
    ) -> Result<(), Failed> {
        let call = Arc::new(call);
        let deadline = Instant::now() + PATIENCE;
        let mut pause = FIRST_PAUSE;
        loop {
            let again = call.clone();
            let error = match self.caller.call(move |producer| again(producer)) {
                Some(Ok(())) => return Ok(()),
                Some(Err(error)) => error,
                None => return Err(Failed::hung(doing, &self.id)),
            };
            self.producer.poll(Duration::ZERO);
            let verdict = verdict(&error);
            let told = self.troubles().explain(format!("{doing}, producer {}", self.id), &error);
            // A refusal (password, permission) is told by an event while the call itself only times out.
            if verdict != Verdict::Repeat || told.kind != ErrorKind::Unavailable || Instant::now() >= deadline {
                let code = error.rdkafka_error_code().unwrap_or(NoError);
                let rejoined = verdict == Verdict::Abort
                    && matches!(code, IllegalGeneration | RebalanceInProgress | StaleMemberEpoch);
                return Err(Failed { verdict, rejoined, overtaken: code == State, error: told });
            }
            tracing::debug!(producer = self.id, error = %told, "again");
            self.producer.poll(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn checked(&mut self, called: Result<(), Failed>) -> Result<(), Failed> {
        if let Err(failed) = &called {
            match failed.verdict {
                Verdict::Abort => self.abort(),
                Verdict::Dead | Verdict::Unknown | Verdict::Repeat => self.broken = true,
            }
        }
        called
    }
}

pub struct Failed {
    verdict: Verdict,
    /// The group is in a later generation than the one we have shown; the transaction is aborted.
    pub rejoined: bool,
    /// The transaction was in another state than we thought.
    overtaken: bool,
    pub error: Error,
}

impl Failed {
    fn hung(doing: &str, id: &str) -> Failed {
        let error = Error::unavailable(format!(
            "{doing}, producer {id}: the Kafka client has not come back from the call for {} s; it is left alone, and a \
             new one fences it",
            HUNG.as_secs()
        ));
        Failed { verdict: Verdict::Dead, rejoined: false, overtaken: false, error }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed { verdict: Verdict::Unknown, rejoined: false, overtaken: false, error }
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Error {
        failed.error
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Repeat,
    Abort,
    /// The producer is of no use any more.
    Dead,
    /// Nobody knows whether it happened.
    Unknown,
}

fn verdict(error: &KafkaError) -> Verdict {
    let of = |why: &RDKafkaError| match () {
        () if why.is_fatal() => Verdict::Dead,
        () if why.txn_requires_abort() => Verdict::Abort,
        () if why.is_retriable() => Verdict::Repeat,
        () => Verdict::Unknown,
    };
    match error {
        KafkaError::Transaction(why) => of(why),
        KafkaError::Flush(_) => Verdict::Repeat,
        _ => Verdict::Unknown,
    }
}
