//! The floor: a topic copied by librdkafka, exactly once, and nothing else done.
//!
//! Settings are those of huiju's own source and sink, so that the difference is what huiju does with the messages.

use std::time::{Duration, Instant};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::RDKafkaErrorCode,
    producer::{BaseProducer, BaseRecord, Producer},
};

use crate::{PARTITIONS, Result, counts};

const TRANSACTION: u64 = 50_000;
const CALL: Duration = Duration::from_secs(30);
const LIMIT: Duration = Duration::from_secs(600);

/// Copies all that is in `source` now.
pub fn run(bootstrap: &str, source: &str, target: &str, group: &str) -> Result<()> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", group)
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("fetch.wait.max.ms", "100")
        .set("queued.max.messages.kbytes", "8192")
        .set("queued.min.messages", "10000")
        .set("fetch.queue.backoff.ms", "20")
        .set("fetch.message.max.bytes", "262144")
        .set("fetch.max.bytes", "8388608")
        .set("check.crcs", "true")
        .create()?;
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("transactional.id", group)
        .set("delivery.report.only.error", "true")
        .set("linger.ms", "5")
        .set("batch.size", "1048576")
        .set("compression.type", "lz4")
        .set("partitioner", "murmur2_random")
        .set("queue.buffering.max.kbytes", "16384")
        .set("queue.buffering.max.messages", "200000")
        .create()?;
    producer.init_transactions(CALL)?;
    let ends = counts::ends(bootstrap, source)?;
    let mut next = vec![0; PARTITIONS as usize];
    consumer.subscribe(&[source])?;

    let (begun, mut pending) = (Instant::now(), 0);
    producer.begin_transaction()?;
    while next != ends {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            if begun.elapsed() > LIMIT {
                return Err(format!("not copied within {LIMIT:?}").into());
            }
            continue;
        };
        let message = message?;
        send(&producer, target, &message)?;
        next[message.partition() as usize] = message.offset() + 1;
        pending += 1;
        if pending == TRANSACTION {
            commit(&producer, &consumer, source, &next)?;
            producer.begin_transaction()?;
            pending = 0;
        }
    }
    commit(&producer, &consumer, source, &next)
}

fn send(producer: &BaseProducer, target: &str, message: &impl Message) -> Result<()> {
    let mut record = BaseRecord::<[u8], [u8]>::to(target);
    record.key = message.key();
    record.payload = message.payload();
    record.timestamp = message.timestamp().to_millis();
    while let Err((error, again)) = producer.send(record) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
            return Err(error.into());
        }
        producer.poll(Duration::from_millis(5));
        record = again;
    }
    Ok(())
}

fn commit(producer: &BaseProducer, consumer: &BaseConsumer, source: &str, next: &[i64]) -> Result<()> {
    let mut offsets = TopicPartitionList::new();
    for (partition, next) in next.iter().enumerate() {
        offsets.add_partition_offset(source, partition as i32, Offset::Offset(*next))?;
    }
    let group = consumer.group_metadata().ok_or("the consumer is in no group")?;
    producer.send_offsets_to_transaction(&offsets, &group, CALL)?;
    producer.commit_transaction(CALL)?;
    Ok(())
}
