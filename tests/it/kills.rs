//! The process is killed again and again, others join it and leave it, and what has come out is checked by readers of
//! another make: Kafka's console consumer and offset tool, DuckDB, deltalake.
//!
//! `HUIJU_KILLS` says how often the longest test kills (20 in the gate), `HUIJU_TEST_MESSAGES` how many messages it moves
//! (10,000 for each); `HUIJU_TEST_SEED` repeats a run.

use std::{
    collections::{BTreeMap, HashMap},
    env,
    fmt::Write as _,
    fs,
    time::{Duration, Instant},
};

use huiju::sample::Made;

use crate::{
    faults::numbers,
    support::{
        self, Kafka, Project, Sent, Settings,
        carried::{Table, places_of},
        kafka,
        project::SOURCES,
        read_committed, samples, truth,
    },
};

const PARTITIONS: i32 = 4;

pub fn from_environment(name: &str, otherwise: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Samples in which orders of one city come again with a later update time: versions, which must keep their order.
pub fn with_versions(count: u64, seed: u64) -> Vec<Sent> {
    let mut random = numbers(seed);
    let mut all: Vec<Sent> = Vec::new();
    let mut later: Vec<(usize, Sent)> = Vec::new();
    for (at, message) in samples(count * 10 / 12, seed).into_iter().enumerate() {
        if message.source == "nanchang" && message.made == Made::Good && random().is_multiple_of(3) {
            for version in 1..=1 + random() % 3 {
                let due = at + version as usize * 40 + (random() % 40) as usize;
                later.extend(message.updated(version as i64).map(|update| (due, update)));
            }
        }
        let timestamp = message.timestamp;
        all.push(message);
        let due = later.extract_if(.., |(due, _)| *due <= at).map(|(_, update)| Sent { timestamp, ..update });
        all.extend(due);
    }
    all.extend(later.into_iter().map(|(_, update)| update));
    all
}

#[test]
fn killed_again_and_again_nothing_is_lost_and_nothing_comes_twice() {
    let Some(kafka) = kafka::shared() else { return };
    let seed = from_environment("HUIJU_TEST_SEED", 12345);
    let kills = from_environment("HUIJU_KILLS", 20);
    let count = from_environment("HUIJU_TEST_MESSAGES", kills * 10_000);
    println!("HUIJU_TEST_SEED={seed} HUIJU_KILLS={kills} HUIJU_TEST_MESSAGES={count}");
    let settings = Settings { partitions: PARTITIONS, interval: "200ms", session: "1500", ..Settings::default() };
    let project = Project::new(kafka, "kills", settings);
    let begun = Instant::now();
    let messages = with_versions(count, seed);
    println!("{} messages made after {:?}", messages.len(), begun.elapsed());
    let mut random = numbers(seed);
    let (mut ended_early, mut sent, mut at_work) = (0, 0, 0);
    for (round, slice) in messages.chunks(messages.len().div_ceil(kills as usize)).enumerate() {
        project.send(slice);
        sent += truth(slice).input;
        let mut huiju = project.start(&["run"], &[]);
        // Now and then in the middle of starting, else in the middle of the work.
        let moment = if round % 5 == 4 {
            Duration::from_millis(random() % 1500)
        } else {
            huiju.says("assigned", Duration::from_secs(60));
            Duration::from_millis(random() % 2500)
        };
        ended_early += u32::from(huiju.process.wait(moment).is_some());
        project.kill(huiju);
        at_work += u64::from(Table::skim(&project.path("archive/work_orders")).account().input < sent);
    }
    assert_eq!(ended_early, 0, "runs that ended by themselves:\n{}", project.logs());
    println!("killed {kills} times after {:?}, {at_work} times with work left", begun.elapsed());
    assert!(at_work >= kills / 2, "only {at_work} of {kills} kills came while there was work");
    let rest = project.drained();
    println!("drained after {:?}: {} rows were left", begun.elapsed(), rest["in"]);
    verify(kafka, &project, &messages);
    println!("verified after {:?}", begun.elapsed());
}

#[test]
fn a_second_process_joins_and_leaves_and_nothing_is_lost_or_comes_twice() {
    let Some(kafka) = kafka::shared() else { return };
    let settings = Settings { partitions: PARTITIONS, interval: "300ms", ..Settings::default() };
    let project = Project::new(kafka, "joins", settings);
    let messages = with_versions(24_000, 7);
    let mut slices = messages.chunks(messages.len().div_ceil(12));
    let mut first = project.start(&["run"], &[]);
    first.says("assigned", Duration::from_secs(60));
    for _ in 0..2 {
        slices.by_ref().take(2).for_each(|slice| project.send(slice));
        let mut second = project.start(&["run"], &[]);
        slices.by_ref().take(1).for_each(|slice| project.send(slice));
        second.says("assigned", Duration::from_secs(60));
        slices.by_ref().take(2).for_each(|slice| project.send(slice));
        second.process.wait(Duration::from_millis(700));
        let status = project.terminate(second);
        assert!(status.success(), "{status}\n{}", project.logs());
    }
    slices.for_each(|slice| project.send(slice));
    assert!(first.process.is_running(), "{}", first.stderr());
    let status = project.terminate(first);
    assert!(status.success(), "{status}\n{}", project.logs());
    project.drained();
    verify(kafka, &project, &messages);
}

/// The one that is left takes over when the broker has given up the other and its open transaction.
#[test]
fn one_of_two_is_killed_and_the_other_takes_over() {
    let Some(kafka) = kafka::shared() else { return };
    let settings = Settings { partitions: PARTITIONS, interval: "300ms", ..Settings::default() };
    let project = Project::new(kafka, "takeover", settings);
    let messages = with_versions(12_000, 8);
    let mut slices = messages.chunks(messages.len().div_ceil(6));
    let mut first = project.start(&["run"], &[]);
    first.says("assigned", Duration::from_secs(60));
    let mut second = project.start(&["run"], &[]);
    second.says("assigned", Duration::from_secs(60));
    slices.by_ref().take(3).for_each(|slice| project.send(slice));
    second.process.wait(Duration::from_millis(150));
    project.kill(second);
    slices.for_each(|slice| project.send(slice));
    project.carry(&messages, Duration::from_secs(90));
    assert!(project.terminate(first).success(), "{}", project.logs());
    // Nothing is left for another run, but it clears away what the dead one had not committed.
    assert_eq!(project.drained()["in"], 0);
    assert_eq!(project.settle().account, truth(&messages));
}

/// What [`Project::settle_without_rows`] checks; rows are read by others.
pub fn verify(kafka: &Kafka, project: &Project<'_>, messages: &[Sent]) {
    let carried = project.settle_without_rows();
    assert_eq!(carried.account, truth(messages));

    let shell = |topic: &str| {
        let said = kafka.tool("GetOffsetShell", &["--topic", topic, "--time", "latest"]);
        said.lines().map(|line| line.rsplit(':').next().unwrap().parse::<u64>().unwrap()).sum::<u64>()
    };
    let sent: u64 = SOURCES.iter().map(|source| shell(&project.topic(source))).sum();
    assert_eq!(sent, messages.len() as u64, "the offset tool sees what was sent");

    assert_rejected(project, messages);

    let printed = project.path("clean.txt");
    kafka.print_committed(&project.clean_topic(), carried.account.written, &printed);
    let file = project.path("truth.csv");
    fs::write(&file, table_of_truth(project, messages)).unwrap();
    let paths = [project.path("archive"), printed, file].map(|path| path.display().to_string());
    let arguments: Vec<&str> = paths.iter().map(String::as_str).collect();
    let Some(said) = support::python("readers/carried.py", &arguments) else { return };
    println!("{said}");
    let counts: serde_json::Value = serde_json::from_str(said.trim()).unwrap();
    assert_eq!(counts["rows"], carried.account.written);
    assert_eq!(counts["clean"], carried.account.written);
    assert_eq!(counts["rejects"], carried.account.rejected);
    assert!(counts["orders_with_versions"].as_u64().unwrap() > 100, "orders whose order could be wrong");
}

/// The rejected topic has each message of which something is rejected once, as it was sent.
fn assert_rejected(project: &Project<'_>, messages: &[Sent]) {
    let rejected = read_committed(&project.kafka.bootstrap(), &project.rejected_topic());
    let sent: BTreeMap<_, _> = places(project, messages).zip(messages).collect();
    let expected = sent.iter().filter(|(_, message)| truth(std::slice::from_ref(message)).rejected > 0);
    assert_eq!(places_of(&rejected), expected.map(|(place, _)| place.clone()).collect::<Vec<_>>());
    for message in &rejected {
        let sent = sent[&places_of(std::slice::from_ref(message))[0]];
        assert_eq!((&message.key, &message.payload), (&sent.key, &sent.payload), "as it was sent");
        assert_eq!(message.timestamp, Some(sent.timestamp));
    }
}

/// Where each message stands: topic, partition, offset.
fn places(project: &Project<'_>, messages: &[Sent]) -> impl Iterator<Item = (String, i64, i64)> {
    let mut next: HashMap<(&str, i32), i64> = HashMap::new();
    messages.iter().map(move |message| {
        let partition = message.partition(project.partitions);
        let offset = next.entry((message.source, partition)).or_default();
        *offset += 1;
        (project.topic(message.source), partition.into(), *offset - 1)
    })
}

/// A line per message: where it stands, and how many rows and rejects must have come of it.
fn table_of_truth(project: &Project<'_>, messages: &[Sent]) -> String {
    let mut csv = String::from("topic,partition,offset,written,rejected\n");
    for ((topic, partition, offset), message) in places(project, messages).zip(messages) {
        let fate = truth(std::slice::from_ref(message));
        writeln!(csv, "{topic},{partition},{offset},{},{}", fate.written, fate.rejected).unwrap();
    }
    csv
}
