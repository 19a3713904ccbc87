//! Fills topics and reads them with a client that shares nothing with huiju's own source and sink.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{
        KafkaError,
        RDKafkaErrorCode::{self, AllBrokersDown, BrokerTransportFailure},
    },
    message::Headers,
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext},
};

use super::{Kafka, unique};

const LIMIT: Duration = Duration::from_secs(120);

/// A message as it lies in a topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Read {
    pub partition: i32,
    pub offset: i64,
    pub timestamp: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub payload: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Read {
    /// The value of a header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(header, _)| header == name)?;
        std::str::from_utf8(value.as_deref()?).ok()
    }
}

/// Counts what the broker has not taken.
#[derive(Default)]
struct Deliveries {
    failed: AtomicU64,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        self.failed.fetch_add(u64::from(result.is_err()), Ordering::Relaxed);
    }
}

/// Writes messages.
pub struct Sender(BaseProducer<Deliveries>);

impl Sender {
    pub fn new(bootstrap: &str) -> Sender {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap)
            // Not idempotent: waiting for a producer id takes longer than most tests' messages. The order is kept.
            .set("max.in.flight.requests.per.connection", "1")
            .set("linger.ms", "1")
            .set("batch.size", "1000000")
            .set("message.max.bytes", "16000000")
            .set("queue.buffering.max.messages", "200000")
            .set("compression.type", "lz4");
        Sender(config.create_with_context(Deliveries::default()).unwrap())
    }

    /// One that keeps the order of its messages though the broker dies: a retry may not be overtaken.
    pub fn in_order(bootstrap: &str) -> Sender {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap)
            .set("enable.idempotence", "true")
            .set("linger.ms", "1")
            .set("queue.buffering.max.messages", "200000")
            .set("compression.type", "lz4");
        Sender(config.create_with_context(Deliveries::default()).unwrap())
    }

    /// Sends partition, key, payload, timestamp in milliseconds; returns when the broker has them all.
    pub fn send<K: AsRef<[u8]>, P: AsRef<[u8]>>(
        &self,
        topic: &str,
        messages: impl IntoIterator<Item = (i32, Option<K>, Option<P>, i64)>,
    ) {
        for (number, (partition, key, payload, timestamp)) in messages.into_iter().enumerate() {
            let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition).timestamp(timestamp);
            record.key = key.as_ref().map(AsRef::as_ref);
            record.payload = payload.as_ref().map(AsRef::as_ref);
            while let Err((error, again)) = self.0.send(record) {
                let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                assert!(full, "produce to {topic}: {error}");
                // Room comes when something has been delivered.
                self.0.poll(Duration::from_millis(10));
                record = again;
            }
            if number % 1000 == 0 {
                self.0.poll(Duration::ZERO);
            }
        }
        let start = Instant::now();
        while self.0.in_flight_count() > 0 {
            assert!(start.elapsed() < LIMIT, "{topic} does not take everything");
            self.0.poll(Duration::from_millis(2));
        }
        assert_eq!(self.0.context().failed.load(Ordering::Relaxed), 0, "messages that {topic} did not take");
    }
}

/// Writes messages (partition, key, payload, timestamp in milliseconds) and returns when the broker has them all.
pub fn produce<K: AsRef<[u8]>, P: AsRef<[u8]>>(
    bootstrap: &str,
    topic: &str,
    messages: impl IntoIterator<Item = (i32, Option<K>, Option<P>, i64)>,
) {
    Sender::new(bootstrap).send(topic, messages);
}

/// Writes messages (partition, key, payload) in one transaction, which is committed or aborted.
pub fn transaction<'m>(
    kafka: &Kafka,
    topic: &str,
    messages: impl IntoIterator<Item = (i32, Option<&'m [u8]>, &'m [u8])>,
    committed: bool,
) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.bootstrap()).set("transactional.id", unique("transaction"));
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(LIMIT).unwrap();
    producer.begin_transaction().unwrap();
    for (partition, key, payload) in messages {
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition).payload(payload);
        record.key = key;
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(LIMIT).unwrap();
    if committed { producer.commit_transaction(LIMIT) } else { producer.abort_transaction(LIMIT) }.unwrap();
}

/// All messages of committed transactions, in the order of partition and offset.
pub fn read_committed(bootstrap: &str, topic: &str) -> Vec<Read> {
    read_all(bootstrap, topic, "read_committed")
}

/// All messages, those of open and aborted transactions too.
pub fn read_uncommitted(bootstrap: &str, topic: &str) -> Vec<Read> {
    read_all(bootstrap, topic, "read_uncommitted")
}

/// Where a group and the readers of a topic stand: for a test that has waited in vain.
pub fn standing(bootstrap: &str, group: &str, topic: &str) -> String {
    let ask = Duration::from_secs(5);
    let reader = |isolation| -> BaseConsumer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap).set("group.id", group).set("isolation.level", isolation);
        config.create().unwrap()
    };
    let (committed, all) = (reader("read_committed"), reader("read_uncommitted"));
    let metadata = all.fetch_metadata(Some(topic), ask).unwrap();
    let lines = metadata.topics()[0].partitions().iter().map(|partition| {
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition.id());
        let marks = all.fetch_watermarks(topic, partition.id(), ask).map(|(_, high)| high);
        let stable = committed.fetch_watermarks(topic, partition.id(), ask).map(|(_, high)| high);
        let offset = all.committed_offsets(list, ask).map(|list| list.elements()[0].offset());
        format!("{topic}/{}: high {marks:?}, stable {stable:?}, group at {offset:?}\n", partition.id())
    });
    lines.collect()
}

fn read_all(bootstrap: &str, topic: &str, isolation: &str) -> Vec<Read> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "huiju-tests-read-committed")
        .set("isolation.level", isolation)
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("check.crcs", "true")
        .set("fetch.wait.max.ms", "20")
        .set("fetch.error.backoff.ms", "20")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), LIMIT).unwrap();
    let mut partitions = TopicPartitionList::new();
    let mut open: BTreeSet<i32> = metadata.topics()[0].partitions().iter().map(|p| p.id()).collect();
    for partition in &open {
        partitions.add_partition_offset(topic, *partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&partitions).unwrap();

    let mut all = Vec::new();
    let start = Instant::now();
    while !open.is_empty() {
        assert!(start.elapsed() < LIMIT, "{topic}: no end of the partitions {open:?}");
        match consumer.poll(Duration::from_millis(20)) {
            Some(Ok(message)) => all.push(read(&message)),
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
            // A connection that broke is made again by the client, which goes on where it was.
            Some(Err(KafkaError::MessageConsumption(AllBrokersDown | BrokerTransportFailure))) => {}
            Some(Err(error)) => panic!("read {topic}: {error}"),
            None => {}
        }
    }
    all.sort_by_key(|message| (message.partition, message.offset));
    all
}

fn read(message: &impl Message) -> Read {
    let headers = message.headers().map(|headers| {
        headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
    });
    Read {
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        payload: message.payload().map(<[u8]>::to_vec),
        headers: headers.unwrap_or_default(),
    }
}
