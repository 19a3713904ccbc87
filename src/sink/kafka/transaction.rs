//! The transactional producer, and what its errors mean.
//!
//! # What a predecessor leaves in the partitions
//!
//! `init_transactions` has the coordinator abort what a predecessor left open. A broker that was killed while the
//! transaction was open may call it aborted and yet not write the marker into a partition (seen with Kafka 4.3, the only
//! broker killed with -9). The rows then lie there under our producer id, undecided, and the marker of *our next commit*
//! decides them: rows that nobody committed become visible, beside those that took their place. So before anything else
//! a new producer puts one empty message into every partition, and an offset that means nothing into the group's, and
//! aborts ([`Transaction::sweep`]): whatever is undecided under its id is decided by those markers, rows and offsets alike.

use std::{
    cell::Cell,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    bindings::rd_kafka_flush,
    config::RDKafkaLogLevel,
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
    error::{Context as _, Error, ErrorKind, Result},
    fault,
    kafka::{self, SharedGroup, Troubles},
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
/// Key of the message that a new producer puts into every partition, and aborts.
const SWEPT: &str = "huiju.swept";
/// How often events are looked at while messages are sent.
const LOOK: u32 = 1024;

/// What the producer tells us.
#[derive(Default)]
pub struct Told {
    troubles: Troubles,
    /// Why the first message that was not delivered was not.
    failed: Mutex<Option<RDKafkaErrorCode>>,
}

impl ClientContext for Told {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        kafka::log(level, facility, text);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        self.troubles.note(&error, reason);
    }
}

impl ProducerContext for Told {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let Err((error, _)) = result else { return };
        let code = error.rdkafka_error_code().unwrap_or(NoError);
        if !matches!(code, PurgeQueue | PurgeInflight) {
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(code);
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

impl Transaction {
    /// `read` is a topic that the group reads.
    pub fn open(
        config: &config::Kafka,
        id: &str,
        topics: &[&str],
        (read, group): (&str, &SharedGroup),
    ) -> Result<Transaction> {
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
        let client = kafka::client_for(config, &defaults, &fixed);
        let producer: KafkaResult<BaseProducer<Told>> =
            client.create_with_context(Told { troubles: Troubles::new(config), failed: Mutex::default() });
        let producer = producer.map_err(|error| {
            let (kind, text) = kafka::classify(&error);
            Error::new(kind, text).context(format!("producer {id}"))
        })?;
        let producer = Arc::new(producer);
        let caller = Caller::start(producer.clone(), id)?;
        let mut transaction =
            Transaction { producer, caller, id: id.to_owned(), open: false, broken: false, sent: Cell::new(0) };
        let partitions = transaction.check_topics(topics)?;
        transaction.check_topics(&[read])?;
        transaction.call("take over", |producer| producer.init_transactions(CALL))?;
        transaction.sweep(topics, &partitions, read, group)?;
        transaction.troubles().forget();
        Ok(transaction)
    }

    /// Aborts whatever a predecessor's producer has left undecided in these topics and in the group.
    fn sweep(&mut self, topics: &[&str], partitions: &[usize], read: &str, group: &SharedGroup) -> Result<()> {
        self.begin()?;
        for (topic, partitions) in topics.iter().zip(partitions) {
            for partition in 0..*partitions {
                // With a key, or a compacted topic would not take it.
                self.send(BaseRecord::to(topic).partition(partition as i32).key(SWEPT).payload(""))?;
            }
        }
        self.flush();
        let touched = self.delivered().and_then(|()| self.touch_group(read, group));
        self.abort();
        touched?;
        match self.broken {
            true => Err(Error::unavailable(format!("producer {}: cannot abort what its predecessor left", self.id))),
            false => Ok(()),
        }
    }

    /// Brings the group's partition of offsets into the transaction. As we are no member yet, the broker may refuse the
    /// offset, but only after that.
    fn touch_group(&mut self, read: &str, group: &SharedGroup) -> Result<()> {
        let Some(group) = group.metadata() else { return Ok(()) };
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(read, 0, Offset::Offset(0)).or_bug("an offset that means nothing")?;
        let sent =
            self.call("touch the group", move |producer| producer.send_offsets_to_transaction(&offsets, &group, CALL));
        let Err(failed) = sent else { return Ok(()) };
        match (failed.verdict, failed.error.kind) {
            (Verdict::Abort, ErrorKind::Config) => Err(failed.error),
            (Verdict::Abort, _) => Ok(()),
            _ => {
                self.broken = true;
                Err(failed.error)
            }
        }
    }

    /// Looks that the topics are there; tells how many partitions each has.
    fn check_topics(&self, topics: &[&str]) -> Result<Vec<usize>> {
        let mut partitions = Vec::new();
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
            partitions.push(metadata.topics().iter().map(|topic| topic.partitions().len()).sum());
        }
        Ok(partitions)
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
        let failed = *self.producer.context().failed.lock().unwrap_or_else(PoisonError::into_inner);
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
            self.call("send offsets", move |producer| producer.send_offsets_to_transaction(&offsets, &group, CALL))
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
        let committed = self.call("commit", |producer| producer.commit_transaction(CALL));
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
        *self.producer.context().failed.lock().unwrap_or_else(PoisonError::into_inner) = None;
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
