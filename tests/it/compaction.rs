//! T03: a raw topic that the broker compacts has holes: where a key came again, its earlier messages are gone. Nobody has lost
//! anything, so it is not a gap, and a bounded run ends at the end of the topic with exact counts.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use huiju::sample::Made;

use crate::support::{Kafka, Project, Sent, Settings, eventually, read_committed, samples, truth};

const SOON: Duration = Duration::from_secs(60);
const DAY: i64 = 24 * 3_600_000;
const ROUNDS: i64 = 6;

/// A broker of its own, whose cleaner does not rest for 15 seconds between looks.
#[test]
fn t03_holes_of_compaction_are_not_gaps_and_a_bounded_run_ends_behind_them() {
    let Some(kafka) = Kafka::start_with(&[("log.cleaner.backoff.ms", "100")]) else { return };
    let project = Project::without_topics(&kafka, "holes", Settings::default());
    let compacted = [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("max.compaction.lag.ms", "100"),
        // By the messages' times: each round of messages has a segment of its own.
        ("segment.ms", "3600000"),
    ];
    for source in crate::support::project::SOURCES {
        kafka.create_topic(&project.topic(source), 2, &compacted);
    }
    kafka.create_topic(&project.clean_topic(), 2, &crate::support::project::KEEP);
    kafka.create_topic(&project.rejected_topic(), 1, &crate::support::project::KEEP);

    let orders = orders();
    let mut sent: BTreeMap<i32, Vec<Sent>> = BTreeMap::new();
    let mut send = |round: i64| {
        let messages: Vec<Sent> = round_of(&orders, round);
        project.send(&messages);
        messages.iter().for_each(|message| sent.entry(message.partition(2)).or_default().push(message.clone()));
    };
    // The active segment is not compacted: this run sees all of the first round.
    send(0);
    assert_eq!(project.drained()["in"], orders.len());
    (1..ROUNDS).for_each(&mut send);

    // What must be left: of all rounds but the last, the newest message of each key; and the last.
    let last = round_of(&orders, ROUNDS - 1).len();
    let mut left: BTreeSet<(i32, i64)> = BTreeSet::new();
    for (partition, messages) in &sent {
        let is_last = |message: &Sent| message.timestamp >= orders[0].timestamp + (ROUNDS - 1) * DAY;
        let newest: BTreeMap<_, _> =
            (0..).zip(messages).filter(|(_, m)| !is_last(m)).map(|(offset, m)| (m.key.clone(), offset)).collect();
        left.extend(newest.values().map(|offset| (*partition, *offset)));
        left.extend((0..).zip(messages).filter(|(_, m)| is_last(m)).map(|(offset, _)| (*partition, offset)));
    }
    let first = |partition: i32| round_of(&orders, 0).iter().filter(|m| m.partition(2) == partition).count() as i64;
    eventually("the broker has compacted the topic", SOON, || {
        let there = read_committed(&kafka.bootstrap(), &project.topic("nanchang"));
        let there: BTreeSet<_> = there.iter().map(|message| (message.partition, message.offset)).collect();
        (there == left).then_some(())
    });
    let new: Vec<Sent> = left
        .iter()
        .filter(|(partition, offset)| *offset >= first(*partition))
        .map(|(partition, offset)| sent[partition][*offset as usize].clone())
        .collect();
    assert!(new.len() > last && (0..2).all(|partition| !left.contains(&(partition, first(partition)))));

    // The cursor stands at a message that is gone.
    let summary = project.drained();
    assert_eq!((&summary["in"], &summary["written"]), (&new.len().into(), &new.len().into()), "{summary}");
    assert_eq!(project.drained()["in"], 0, "and again");
    let all: Vec<Sent> = orders.iter().cloned().chain(new).collect();
    assert_eq!(project.settle().account, truth(&all));
    assert!(!project.logs().contains("gap"), "{}", project.logs());
}

/// Good ones of one city that have an update time, all of one moment.
fn orders() -> Vec<Sent> {
    let mut keys = BTreeSet::new();
    let good = samples(900, 33).into_iter().filter(|message| {
        message.source == "nanchang"
            && message.made == Made::Good
            && message.updated(1).is_some()
            && keys.insert(message.key.clone())
    });
    let mut orders: Vec<Sent> = good.collect();
    let newest = orders.iter().map(|message| message.timestamp).max().unwrap();
    orders.iter_mut().for_each(|message| message.timestamp = newest);
    orders
}

/// In every round a day has passed, and fewer orders have a new version: the first have most. The last round has all of them
/// again.
fn round_of(orders: &[Sent], round: i64) -> Vec<Sent> {
    let due = |number: usize| round == ROUNDS - 1 || (number as i64) < orders.len() as i64 * (ROUNDS - round) / ROUNDS;
    let of = orders.iter().enumerate().filter(|(number, _)| due(*number)).map(|(_, order)| {
        let version = if round == 0 { order.clone() } else { order.updated(round).unwrap() };
        Sent { timestamp: order.timestamp + round * DAY, ..version }
    });
    of.collect()
}
