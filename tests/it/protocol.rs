//! The orders of things that exactly once hangs on, one by one against a real broker.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use huiju::{
    batch::Budget,
    config::{self, Secret},
    cursor::{Cursors, Partition},
    error::Error,
    sink::{self, Pending, Sink},
    source::{
        Feed, Intake, Permit, Source,
        kafka::{Kafka as KafkaSource, Settings},
    },
    stop::Stop,
};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::RDKafkaErrorCode,
    producer::{BaseProducer, Producer},
};

use crate::support::{Kafka, eventually, kafka, produce, project::KEEP, unique};

const SOON: Duration = Duration::from_secs(60);

fn source(kafka: &Kafka, group: &str, topic: &str, properties: &[(&str, &str)]) -> (config::Kafka, KafkaSource) {
    let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect();
    let (brokers, client_id, group) = (kafka.bootstrap(), "huiju".into(), group.into());
    let config = config::Kafka { brokers, client_id, group, properties, lacking: Vec::new() };
    let settings = Settings::new("orders".into(), vec![(topic.to_owned(), 0)]);
    let source = KafkaSource::new(&config, settings, Arc::new(|_, _| {})).unwrap();
    (config, source)
}

/// Of a sink that puts everything into one topic.
fn settings(topic: &str) -> sink::kafka::Settings {
    sink::kafka::Settings {
        pipeline: "orders".into(),
        topic: topic.to_owned(),
        rejected: topic.to_owned(),
        key: Vec::new(),
        unread: huiju::sink::Unread::default(),
        contract_version: "orders/1".into(),
        transactional_id: topic.to_owned(),
    }
}

/// The line takes nothing for twice as long as a member may be silent: polling goes on, the group keeps it, and what
/// waits stays within its bound.
#[test]
fn t22_a_line_that_is_stuck_beyond_the_poll_interval_stays_in_the_group() {
    let Some(kafka) = kafka::shared() else { return };
    let topic = unique("stuck");
    kafka.create_topic(&topic, 1, &KEEP);
    let payload = vec![b'x'; 1000];
    let sent = 40_000;
    produce(&kafka.bootstrap(), &topic, (0..sent).map(|_| (0, None::<&[u8]>, Some(&payload), 1_780_300_000_000)));
    let patience = [("max.poll.interval.ms", "6000"), ("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "300")];
    let (_, mut source) = source(kafka, &topic, &topic, &patience);
    let bound = 4 << 20;
    let (budget, permit) = (Budget::new(bound), Permit::default());
    // Batches without number may wait: it is the bytes that bind.
    let (mut intake, feed) = Intake::new(100_000, budget.clone(), permit.clone(), Duration::from_secs(10));
    let stop = Stop::new();
    let most = std::thread::scope(|scope| {
        let asked = stop.clone();
        let run = scope.spawn(move || source.run(&mut intake, &asked));
        let (mut next, mut stuck, mut most) = (0, false, 0);
        while next < sent {
            match feed.recv_timeout(SOON).expect("the source goes on") {
                Feed::Assign(partitions, reply) => {
                    let begun = if next == 0 && most == 0 { Vec::new() } else { vec![next] };
                    most = most.max(1);
                    let cursors: Cursors = partitions.into_iter().map(|partition| (partition, begun.clone())).collect();
                    reply.send(Ok(cursors)).unwrap();
                }
                Feed::Batch(batch) => {
                    for interval in &batch.covers {
                        assert_eq!(interval.from, next, "nothing is left out, nothing comes twice");
                        next = interval.next;
                    }
                    drop(batch);
                    if !stuck && next > 0 {
                        stuck = true;
                        // Not for luck: this is the disturbance.
                        std::thread::sleep(Duration::from_secs(12));
                        most = most.max(budget.used());
                    }
                }
                Feed::Revoke(partitions, reply) => {
                    assert!(partitions.is_empty(), "the group has not taken the partition away");
                    reply.send(Ok(())).unwrap();
                }
                Feed::Finish(_) => panic!("nobody has asked"),
            }
        }
        assert!(!permit.killed());
        stop.ask();
        while let Ok(last) = feed.recv_timeout(SOON) {
            match last {
                Feed::Finish(reply) => reply.send(Ok(())).unwrap(),
                Feed::Revoke(_, reply) => reply.send(Ok(())).unwrap(),
                _ => {}
            }
        }
        run.join().unwrap().unwrap();
        most
    });
    println!("at most {most} bytes waited, the bound is {bound}");
    assert!(most < bound + (8 << 20), "{most} of {} MB", sent / 1000);
}

/// A predecessor has sent offsets in a transaction that it has not ended. Whoever reads cursors before fencing it would
/// start behind what it may still commit.
#[test]
fn t26_a_predecessor_is_fenced_before_cursors_are_read() {
    let Some(kafka) = kafka::shared() else { return };
    let topic = unique("fence");
    kafka.create_topic(&topic, 1, &KEEP);
    let group = format!("{topic}.orders");
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", kafka.bootstrap()).set("group.id", &group).create().unwrap();
    consumer.subscribe(&[&topic]).unwrap();
    eventually("a member", SOON, || {
        drop(consumer.poll(Duration::from_millis(50)));
        (consumer.assignment().unwrap().count() > 0).then_some(())
    });
    let predecessor: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap())
        .set("transactional.id", &topic)
        .set("transaction.timeout.ms", "300000")
        .create()
        .unwrap();
    predecessor.init_transactions(SOON).unwrap();
    predecessor.begin_transaction().unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&topic, 0, Offset::Offset(7)).unwrap();
    predecessor.send_offsets_to_transaction(&offsets, &consumer.group_metadata().unwrap(), SOON).unwrap();

    let (config, source) = source(kafka, &topic, &topic, &[]);
    let begun = Instant::now();
    let mut sink = sink::kafka::Kafka::open(&config, settings(&topic), source.group()).unwrap();
    let partition = Partition::new(topic.as_str(), 0);
    let cursors = sink.assign(std::slice::from_ref(&partition)).unwrap();
    assert!(cursors[&partition].is_empty(), "what was not committed is not there: {cursors:?}");
    assert!(begun.elapsed() < Duration::from_secs(90), "it did not wait for the transaction to run out");
    let refused = predecessor.commit_transaction(SOON).expect_err("it is fenced");
    let code = refused.rdkafka_error_code();
    assert!(matches!(code, Some(RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced)), "{refused}");
    assert!(
        sink.assign(std::slice::from_ref(&partition)).unwrap()[&partition].is_empty(),
        "and it has committed nothing"
    );
}

/// What stands behind the source cannot take the partitions over, for instance because the group's offsets are not told.
/// librdkafka waits for an answer to its assignment; without one the client could not be closed.
#[test]
fn partitions_that_cannot_be_taken_over_do_not_keep_the_source_from_ending() {
    let Some(kafka) = kafka::shared() else { return };
    let topic = unique("refused");
    kafka.create_topic(&topic, 2, &KEEP);
    let (_, mut source) = source(kafka, &topic, &topic, &[]);
    let (mut intake, feed) = Intake::new(2, Budget::new(1 << 20), Permit::default(), Duration::from_secs(10));
    std::thread::scope(|scope| {
        let run = scope.spawn(move || (source.run(&mut intake, &Stop::new()), Instant::now()));
        let Ok(Feed::Assign(_, reply)) = feed.recv_timeout(SOON) else { panic!("partitions are offered first") };
        let refused = Instant::now();
        reply.send(Err(Error::unavailable("not now"))).unwrap();
        let (ended, at) = run.join().unwrap();
        assert!(ended.unwrap_err().to_string().contains("not now"));
        let took = at - refused;
        println!("it ended {took:?} after the refusal");
        assert!(took < SOON, "{took:?}");
    });
}

/// Offsets alone are nothing that a reader waits for: where a pipeline begins to read comes as one batch per partition, and
/// is to be one transaction.
#[test]
fn offsets_without_rows_wait_for_company_and_rows_do_not() {
    let Some(kafka) = kafka::shared() else { return };
    let topic = unique("company");
    kafka.create_topic(&topic, 1, &KEEP);
    let (config, source) = source(kafka, &topic, &topic, &[]);
    let sink = sink::kafka::Kafka::open(&config, settings(&topic), source.group()).unwrap();
    let waits = |since: Instant, rows: u64| sink.commit_in(&Pending { since, rows, bytes: 0 });
    let now = Instant::now();
    // As long as it has not begun, no time has passed, however slow the machine is.
    let later = now + Duration::from_secs(3600);
    assert_eq!(waits(later, 0), Duration::from_millis(100));
    assert_eq!(waits(later, 1), Duration::ZERO);
    while now.elapsed() < Duration::from_millis(100) {
        std::thread::yield_now();
    }
    assert_eq!(waits(now, 0), Duration::ZERO, "not for longer");
}

/// T40: who takes nothing more does not keep the source from noticing a stop, neither at once nor later.
#[test]
fn a_stop_is_noticed_while_there_is_no_room() {
    let Some(kafka) = kafka::shared() else { return };
    let topic = unique("full");
    kafka.create_topic(&topic, 1, &KEEP);
    produce(&kafka.bootstrap(), &topic, (0..10).map(|_| (0, None::<&[u8]>, Some("x"), 1_780_300_000_000)));
    // At once is less than the time for which it stops polling; a busy machine has three tries.
    let at_once = Duration::from_millis(700);
    assert!((0..3).any(|_| stop_without_room(kafka, &topic, Duration::ZERO) < at_once));
    // Its partitions are paused by then.
    stop_without_room(kafka, &topic, Duration::from_secs(2));
}

/// How long the source takes to hand over what it has when a batch is all that there is room for, and the stop comes `after`.
fn stop_without_room(kafka: &Kafka, topic: &str, after: Duration) -> Duration {
    let (_, mut source) = source(kafka, &unique("full"), topic, &[]);
    let (mut intake, feed) = Intake::new(2, Budget::new(1), Permit::default(), Duration::from_secs(10));
    let stop = Stop::new();
    std::thread::scope(|scope| {
        let asked = stop.clone();
        let run = scope.spawn(move || source.run(&mut intake, &asked));
        let Ok(Feed::Assign(partitions, reply)) = feed.recv_timeout(SOON) else { panic!("partitions come first") };
        reply.send(Ok(partitions.into_iter().map(|partition| (partition, vec![0])).collect())).unwrap();
        let Ok(Feed::Batch(_held)) = feed.recv_timeout(SOON) else { panic!("then messages") };
        std::thread::sleep(after);
        stop.ask();
        let begun = Instant::now();
        let reply = loop {
            match feed.recv_timeout(SOON).expect("it notices") {
                Feed::Finish(reply) => break reply,
                Feed::Batch(_) => {}
                _ => panic!("nobody else is in the group"),
            }
        };
        let took = begun.elapsed();
        reply.send(Ok(())).unwrap();
        while let Ok(last) = feed.recv_timeout(SOON) {
            if let Feed::Revoke(_, reply) = last {
                reply.send(Ok(())).unwrap();
            }
        }
        run.join().unwrap().unwrap();
        println!("noticed after {took:?}");
        took
    })
}
