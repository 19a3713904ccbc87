//! The broker and the helpers themselves: what the other tests trust.

use std::{path::Path, time::Duration};

use rdkafka::{
    ClientConfig,
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};

use crate::support::{self, Huiju, Kafka, kafka, produce, read_committed, unique};

const LIMIT: Duration = Duration::from_secs(30);

fn transactional(kafka: &Kafka) -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap())
        .set("transactional.id", unique("smoke"))
        .create()
        .unwrap();
    producer.init_transactions(LIMIT).unwrap();
    producer
}

fn send(producer: &BaseProducer, topic: &str, payload: &str) {
    let headers = OwnedHeaders::new().insert(Header { key: "source", value: Some("nanchang") });
    let record = BaseRecord::to(topic).partition(0).key("k").payload(payload).headers(headers);
    producer.send(record).map_err(|(error, _)| error).unwrap();
}

#[test]
fn committed_messages_are_read_and_aborted_ones_are_not() {
    let Some(kafka) = kafka::shared() else { return };
    let topic = unique("transactions");
    kafka.create_topic(&topic, 2, &[("retention.ms", "-1")]);
    let producer = transactional(kafka);
    for (payload, commit) in [("one", true), ("two", false), ("three", true)] {
        producer.begin_transaction().unwrap();
        send(&producer, &topic, payload);
        if commit {
            producer.commit_transaction(LIMIT).unwrap();
        } else {
            producer.flush(LIMIT).unwrap();
            producer.abort_transaction(LIMIT).unwrap();
        }
    }
    // An open transaction must not keep the reader waiting.
    producer.begin_transaction().unwrap();
    send(&producer, &topic, "open");
    producer.flush(LIMIT).unwrap();

    let read = read_committed(&kafka.bootstrap(), &topic);
    let payloads: Vec<&[u8]> = read.iter().filter_map(|message| message.payload.as_deref()).collect();
    assert_eq!(payloads, [b"one".as_slice(), b"three"]);
    assert_eq!(read[0].key.as_deref(), Some(b"k".as_slice()));
    assert_eq!(read[0].header("source"), Some("nanchang"));
    let offsets = kafka.tool("GetOffsetShell", &["--topic", &topic, "--time", "earliest"]);
    assert_eq!(offsets.lines().count(), 2, "{offsets}");
}

#[test]
fn what_is_produced_is_there() {
    let Some(kafka) = kafka::shared() else { return };
    let topic = unique("produce");
    // The messages are old, and a broker deletes what is older than a week.
    kafka.create_topic(&topic, 4, &[("retention.ms", "-1")]);
    let messages = (0..50_000).map(|n| {
        let key = (n % 3 > 0).then(|| format!("key {n}"));
        let payload = (n % 1000 > 0).then(|| format!("payload {n}"));
        (n % 4, key, payload, 1_780_000_000_000 + i64::from(n))
    });
    produce(&kafka.bootstrap(), &topic, messages);
    let read = read_committed(&kafka.bootstrap(), &topic);
    assert_eq!(read.len(), 50_000);
    assert_eq!(read.iter().filter(|message| message.payload.is_none()).count(), 50);
    let last = read.last().unwrap();
    assert_eq!((last.partition, last.offset, last.timestamp), (3, 12_499, Some(1_780_000_049_999)));
}

#[test]
fn a_broker_keeps_its_messages_through_pause_kill_and_restart() {
    let Some(kafka) = Kafka::start() else { return };
    let topic = unique("restart");
    kafka.create_topic(&topic, 1, &[("retention.ms", "-1")]);
    produce(&kafka.bootstrap(), &topic, [(0, Some("a"), Some("1"), 1)]);
    kafka.pause();
    kafka.resume();
    produce(&kafka.bootstrap(), &topic, [(0, Some("a"), Some("2"), 2)]);
    kafka.kill();
    kafka.restart();
    kafka.stop();
    kafka.restart();
    assert_eq!(read_committed(&kafka.bootstrap(), &topic).len(), 2);
}

#[test]
fn a_process_is_started_and_waited_for() {
    let (status, huiju) = Huiju::run(Path::new(env!("CARGO_MANIFEST_DIR")), &["--version"], &[]);
    assert!(status.success(), "{}{}", huiju.stdout(), huiju.stderr());
}

#[test]
fn python_reads_what_it_is_given() {
    let Some(said) = support::python("it/support/versions.py", &["duckdb", "deltalake"]) else { return };
    assert_eq!(said.lines().count(), 2, "{said}");
}
