//! What is done about offsets that the broker does not have, against the one that librdkafka has for tests.

use std::sync::Arc;

use rdkafka::{
    ClientConfig, TopicPartitionList,
    mocking::MockCluster,
    producer::{BaseProducer, BaseRecord, Producer},
    types::RDKafkaErrorCode::{self, AutoOffsetReset, LogTruncation, OffsetOutOfRange},
};

use super::{
    super::{batches::Track, member::Rebalance},
    *,
};
use crate::{
    batch::Budget,
    config,
    error::ErrorKind,
    source::{Feed, Permit, kafka::Kafka},
};

const LIMIT: Duration = Duration::from_secs(30);
/// The partition holds the offsets below it.
const END: i64 = 10;

/// What becomes of a reader that wants `next` when the client tells it this.
fn judged(code: RDKafkaErrorCode, next: i64) -> Result<()> {
    with_reader(next, |reading| reading.judge(&KafkaError::MessageConsumption(code)))
}

/// A reader that wants `next` of the partition.
fn with_reader<T>(next: i64, work: impl FnOnce(&mut Reading<'_>) -> T) -> T {
    with(next, false, work)
}

fn with_bounded_reader<T>(next: i64, work: impl FnOnce(&mut Reading<'_>) -> T) -> T {
    with(next, true, work)
}

fn with<T>(next: i64, bounded: bool, work: impl FnOnce(&mut Reading<'_>) -> T) -> T {
    let broker = MockCluster::new(1).unwrap();
    broker.create_topic("t", 1, 1).unwrap();
    let brokers = broker.bootstrap_servers();
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
    for _ in 0..END {
        producer.send(BaseRecord::<str, str>::to("t").partition(0).payload("{}")).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(LIMIT).unwrap();

    let config = config::Kafka {
        brokers,
        client_id: "test".into(),
        group: "test".into(),
        properties: Vec::new(),
        lacking: Vec::new(),
    };
    let settings = Settings { bounded, ..Settings::new("orders".into(), vec![("t".into(), 0)]) };
    let mut source = Kafka::new(&config, settings.clone(), Arc::new(|_, _| {})).unwrap();
    let (client, group) = (source.client.take().unwrap(), source.group());
    let (mut intake, line) = Intake::new(1, Budget::new(1 << 20), Permit::default(), LIMIT);
    // It ends with the intake.
    std::thread::spawn(move || {
        for feed in line {
            if let Feed::Revoke(_, committed) = feed {
                committed.send(Ok(())).unwrap();
            }
        }
    });
    let stop = Stop::default();
    let mut reading = Reading::new(&client, &*group, &settings, &|_, _| {}, &mut intake, &stop);
    reading.batches.assign(Track::new(Partition::new("t", 0), 0, next, &[next], Some(END)));
    work(&mut reading)
}

/// T06: a partition that was cut short. How the client calls it depends on how it has found out.
#[test]
fn t06_offsets_that_a_truncated_partition_has_lost_stop_the_pipeline() {
    for code in [AutoOffsetReset, OffsetOutOfRange, LogTruncation] {
        let error = judged(code, END + 2).expect_err("must stop");
        assert_eq!(error.kind, ErrorKind::Gap, "{code:?}: {error}");
        assert!(error.to_string().contains("our cursor is 12, but the partition ends at 10"), "{code:?}: {error}");
    }
}

/// The broker decides, not what the client calls it: a follower may have been behind for a moment.
#[test]
fn an_offset_that_the_broker_still_has_is_read_on_from() {
    for code in [AutoOffsetReset, OffsetOutOfRange, LogTruncation] {
        for next in [0, 5, END] {
            let error = judged(code, next).expect_err("the partition is not fetched any more");
            assert_eq!(error.kind, ErrorKind::Unavailable, "{code:?} at {next}: {error}");
            assert!(error.to_string().contains("reading begins anew at the cursors"), "{code:?} at {next}: {error}");
        }
    }
}

/// What the client tells of a partition from which nothing waits for us.
fn at_its_end() -> Statistics {
    let mut partition = rdkafka::statistics::Partition::default();
    (partition.partition, partition.fetchq_cnt) = (0, 0);
    (partition.eof_offset, partition.ls_offset, partition.hi_offset) = (END, END, END);
    let mut topic = rdkafka::statistics::Topic::default();
    topic.partitions.insert(0, partition);
    let mut statistics = Statistics::default();
    statistics.topics.insert("t".into(), topic);
    statistics
}

/// A rebalance throws away what the client has fetched, and the client goes on saying that it has come to the end.
#[test]
fn an_end_that_is_told_after_a_rebalance_is_not_believed() {
    let covered = |before: fn(&mut Reading<'_>)| {
        with_reader(4, |reading| {
            before(reading);
            reading.study(&at_its_end());
            reading.batches.tracks()[0].next
        })
    };
    assert_eq!(covered(|_| {}), END, "compaction took what was there");
    assert_eq!(covered(|reading| reading.rebalance(Rebalance::Assign(TopicPartitionList::new())).unwrap()), 4);
}

/// One without a leader brings neither messages nor an error.
#[test]
fn a_bounded_run_does_not_wait_for_ever_for_what_does_not_come() {
    let begun = Instant::now();
    let after = |tenths: u32| begun + STUCK / 10 * tenths;
    with_bounded_reader(4, |reading| {
        reading.get_on(after(0)).unwrap();
        reading.get_on(after(9)).unwrap();
        reading.batches.cover(0, 5, after(9));
        reading.get_on(after(12)).expect("it got on");
        reading.paused = true;
        reading.get_on(after(30)).expect("it is the line that has no room");
        reading.paused = false;
        let error = reading.get_on(after(40)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert!(error.to_string().contains("(read up to 5)"), "{error}");
        reading.batches.cover(0, END, after(40));
        reading.get_on(after(60)).expect("it is at its end, another member may not be");
        reading.get_on(after(80)).expect("it is at its end, another member may not be");
    });
    with_reader(4, |reading| {
        reading.get_on(after(0)).unwrap();
        reading.get_on(after(40)).expect("who follows a topic waits");
    });
}

/// A partition that goes while it is paused would still be when it comes back, and nobody would resume it.
#[test]
fn a_rebalance_finds_no_partition_paused() {
    with_reader(0, |reading| {
        reading.pause().unwrap();
        assert!(reading.paused);
        reading.rebalance(Rebalance::Assign(TopicPartitionList::new())).unwrap();
        assert!(!reading.paused);
    });
}
