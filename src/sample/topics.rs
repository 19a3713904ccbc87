//! Messages into topics of Kafka.
//!
//! The client takes a message long before the broker does: what was delivered, and what was not, is told by reports that
//! come later.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rdkafka::{
    Message as _,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    error::KafkaError,
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext},
    types::RDKafkaErrorCode::{self, QueueFull, TopicAlreadyExists, UnknownTopic, UnknownTopicOrPartition},
};

use super::{Generator, Sample};
use crate::{
    config,
    error::{Context as _, Error, ErrorKind, Result},
    kafka,
};

const METADATA: Duration = Duration::from_secs(10);
/// Longer than `message.timeout.ms`, after which the client itself gives a message up.
const FLUSH: Duration = Duration::from_secs(120);
/// How often reports are looked at while messages are sent.
const LOOK: u64 = 1000;

/// What was produced.
#[derive(Clone, Copy, Default)]
pub struct Produced {
    pub messages: u64,
    pub bytes: u64,
}

/// A producer of samples.
pub struct Producer(BaseProducer<Told>);

impl Producer {
    pub fn connect(config: &config::Kafka) -> Result<Producer> {
        let defaults = [
            ("partitioner", "murmur2_random"),
            ("compression.type", "zstd"),
            ("linger.ms", "50"),
            ("message.timeout.ms", "60000"),
            ("queue.buffering.max.kbytes", "65536"),
        ];
        // A topic that the broker makes up when it is asked for one has not the settings that anybody wants.
        let fixed = [("enable.idempotence", "true"), ("allow.auto.create.topics", "false")];
        let producer = kafka::client_for(config, &defaults, &fixed).create_with_context(Told::new(config));
        producer.map(Producer).map_err(failed("connect"))
    }

    /// Those topics that do not exist.
    pub fn missing<'t>(&self, topics: impl IntoIterator<Item = &'t str>) -> Result<Vec<&'t str>> {
        let mut missing = Vec::new();
        for topic in topics.into_iter().collect::<BTreeSet<_>>() {
            let doing = format!("topic {topic}");
            let metadata = self.0.client().fetch_metadata(Some(topic), METADATA).map_err(|error| {
                self.0.poll(Duration::from_millis(50)); // why it does not answer is told by events
                self.told().troubles.explain(&doing, &error)
            })?;
            match metadata.topics().iter().find_map(|topic| topic.error()).map(RDKafkaErrorCode::from) {
                Some(UnknownTopic | UnknownTopicOrPartition) => missing.push(topic),
                // What means nothing to us passes: a leader is being elected.
                Some(code) if kafka::meaning(code) != (ErrorKind::Unavailable, None) => {
                    return Err(self.told().troubles.explain(&doing, &KafkaError::MetadataFetch(code)));
                }
                _ => {}
            }
        }
        self.told().troubles.forget();
        Ok(missing)
    }

    /// Produces all messages of the generators. When one is refused it sends no more: they would fare no better.
    pub fn produce(&self, generators: Vec<Generator>) -> Result<Produced> {
        let all: u64 = generators.iter().map(|generator| generator.options.messages).sum();
        let mut produced = Produced::default();
        'all: for generator in generators {
            let topic = generator.topic().to_owned();
            for sample in generator {
                self.send(&topic, &sample);
                produced.messages += 1;
                produced.bytes += sample.payload.len() as u64;
                if produced.messages.is_multiple_of(LOOK) {
                    self.0.poll(Duration::ZERO);
                }
                if self.told().reports().first.is_some() {
                    break 'all;
                }
            }
        }
        let flushed = self.0.flush(FLUSH);
        let Reports { delivered, refused, first } = self.told().reports().clone();
        let counts = format!("{delivered} of {all} messages were delivered");
        if let Some((topic, error)) = first {
            let rest = if delivered + refused < all { ", the rest was not sent" } else { "" };
            let doing = format!("{counts}, {refused} were refused{rest}; the first by topic {topic}");
            return Err(self.incomplete(doing, &error));
        }
        flushed.map_err(|error| self.incomplete(counts, &error))?;
        Ok(produced)
    }

    fn incomplete(&self, doing: String, error: &KafkaError) -> Error {
        let error = self.told().troubles.explain(doing, error);
        match error.kind {
            ErrorKind::Unavailable => error.advising("start again when it answers; what was delivered stays there"),
            _ => error,
        }
    }

    /// Hands a message to the client. While its queue is full it waits for the broker.
    fn send(&self, topic: &str, sample: &Sample) {
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).payload(&sample.payload).timestamp(sample.timestamp);
        record.key = sample.key.as_deref();
        while let Err((error, back)) = self.0.send(record) {
            if error.rdkafka_error_code() != Some(QueueFull) {
                return self.told().reports().refused(topic, error);
            }
            self.0.poll(Duration::from_millis(20));
            record = back;
        }
    }

    fn told(&self) -> &Told {
        self.0.context()
    }
}

/// Creates topics; those that are there already stay as they are.
pub fn create(config: &config::Kafka, topics: &[String], partitions: i32) -> Result<()> {
    let admin: AdminClient<Told> =
        kafka::client(config).create_with_context(Told::new(config)).map_err(failed("connect"))?;
    let new: Vec<NewTopic<'_>> =
        topics.iter().map(|topic| NewTopic::new(topic, partitions, TopicReplication::Fixed(-1))).collect();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().or_unavailable("start a runtime")?;
    let done = runtime.block_on(admin.create_topics(&new, &AdminOptions::new()));
    for one in done.map_err(failed("create topics"))? {
        match one {
            Ok(_) | Err((_, TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(Error::unavailable(format!("create topic {topic}: {code}"))),
        }
    }
    Ok(())
}

fn failed(doing: &str) -> impl Fn(KafkaError) -> Error + '_ {
    move |error| {
        let (kind, text) = kafka::classify(&error);
        Error::new(kind, text).context(doing)
    }
}

type Told = kafka::Told<Mutex<Reports>>;

impl Told {
    fn reports(&self) -> MutexGuard<'_, Reports> {
        self.more.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What has become of messages so far.
#[derive(Clone, Default)]
struct Reports {
    delivered: u64,
    refused: u64,
    /// Of the first message that was refused: its topic, and why.
    first: Option<(String, KafkaError)>,
}

impl Reports {
    fn refused(&mut self, topic: &str, error: KafkaError) {
        self.refused += 1;
        self.first.get_or_insert_with(|| (topic.to_owned(), error));
    }
}

impl ProducerContext for Told {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => self.reports().delivered += 1,
            Err((error, message)) => self.reports().refused(message.topic(), error.clone()),
        }
    }
}
