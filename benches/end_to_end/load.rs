//! Fills the source topic.

use std::time::Duration;

use huiju::{
    config::Pipeline,
    error::refuse,
    sample::{Generator, Made, Options as Settings},
};
use rdkafka::{
    ClientConfig,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer},
};

use crate::{Options, Result, SOURCE, SOURCE_OF_ENVELOPES};

/// What the topic holds.
pub struct Loaded {
    pub messages: u64,
    pub bytes: u64,
    pub duplicates: u64,
    pub bad: u64,
    /// Orders in a message.
    pub orders: u64,
}

impl Loaded {
    pub fn rows(&self) -> u64 {
        self.messages * self.orders
    }

    pub fn good(&self) -> u64 {
        self.rows() - self.duplicates - self.bad
    }
}

/// Generates and produces; tells the topic.
pub fn load(bootstrap: &str, pipeline: &Pipeline, options: &Options) -> Result<(String, Loaded)> {
    let (messages, seed) = (options.messages, options.seed);
    let settings = Settings { messages, seed, bad: options.bad, size: options.size, ..Settings::default() };
    let (source, settings) = match options.envelope {
        0 => (SOURCE, settings),
        _ => (SOURCE_OF_ENVELOPES, Settings { bad: 0.0, duplicates: 0.0, size: None, ..settings }),
    };
    let generator = Generator::read(pipeline, source, settings).map_err(refuse)?;
    let topic = generator.topic().to_owned();
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .set("compression.type", "zstd")
        .set("linger.ms", "50")
        .set("batch.size", "1000000")
        .set("queue.buffering.max.kbytes", "65536")
        .create()?;
    let mut loaded = Loaded { messages: 0, bytes: 0, duplicates: 0, bad: 0, orders: options.envelope.max(1) };
    for sample in generator {
        loaded.messages += 1;
        loaded.bytes += sample.payload.len() as u64;
        match sample.made {
            Made::Good => {}
            Made::Duplicate => loaded.duplicates += 1,
            Made::Bad => loaded.bad += 1,
        }
        let mut record = BaseRecord::<[u8], [u8]>::to(&topic).payload(&sample.payload).timestamp(sample.timestamp);
        record.key = sample.key.as_deref();
        while let Err((error, again)) = producer.send(record) {
            if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
                return Err(error.into());
            }
            producer.poll(Duration::from_millis(20));
            record = again;
        }
        if loaded.messages.is_multiple_of(1000) {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(Duration::from_secs(120))?;
    let there: i64 = crate::counts::ends(bootstrap, &topic)?.iter().sum();
    if there as u64 != loaded.messages {
        return Err(format!("{topic} took {there} of {} messages", loaded.messages).into());
    }
    Ok((topic, loaded))
}
