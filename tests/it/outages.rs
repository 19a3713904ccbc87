//! The broker is away: stopped, killed, standing still. What waits for it goes on by itself when it is back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use huiju::{
    config,
    cursor::Partition,
    source::kafka::{Kafka as Source, Settings as SourceSettings},
};

use crate::support::{Huiju, Kafka, Project, Sender, Settings, eventually, project::KEEP, samples};

const SOON: Duration = Duration::from_secs(60);

/// A call for committed offsets that was begun while the broker was away: nothing wakes librdkafka before the call's
/// time is up when the coordinator is found over connections that stand already.
#[test]
fn the_group_s_offsets_are_told_soon_after_the_broker_is_back() {
    let Some(kafka) = Kafka::start() else { return };
    kafka.create_topic("raw", 1, &KEEP);
    let sources: Vec<Source> = (0..4)
        .map(|number| {
            let config = config::Kafka {
                brokers: kafka.bootstrap(),
                client_id: "huiju".into(),
                group: format!("g{number}"),
                properties: Vec::new(),
                lacking: Vec::new(),
            };
            let settings = SourceSettings::new("orders".into(), vec![("raw".into(), 0)]);
            Source::new(&config, settings, Arc::new(|_, _| {})).unwrap()
        })
        .collect();
    let ask = |source: &Source| source.group().committed(&[Partition::new("raw", 0)]).map(|cursors| cursors.len());
    // One question gives up after 15 s, which a busy machine's broker may take to start.
    let patiently = |source: &Source| eventually("it answers", 6 * SOON, || ask(source).ok());
    // It has found its coordinator once.
    for source in &sources {
        patiently(source);
    }
    kafka.stop();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let asked: Vec<_> =
            sources.iter().map(|source| scope.spawn(move || (patiently(source), begun.elapsed()))).collect();
        kafka.restart();
        let back = begun.elapsed();
        for asked in asked {
            let (answer, after) = asked.join().unwrap();
            assert_eq!(answer, 1, "the broker was back after {back:?}");
            println!("the broker was back after {back:?}, the answer came after {after:?}");
            assert!(
                after < back + Duration::from_secs(40),
                "the broker was back after {back:?}, the answer after {after:?}"
            );
        }
    });
}

/// A project whose messages come once though the broker dies.
fn project<'k>(kafka: &'k Kafka, name: &str) -> Project<'k> {
    let mut project = Project::new(kafka, name, Settings::default());
    project.sender = Sender::in_order(&kafka.bootstrap());
    project
}

/// A broker of its own: it is stopped here.
#[test]
fn a_broker_that_is_away_for_ten_seconds_is_waited_for() {
    let Some(kafka) = Kafka::start() else { return };
    let project = project(&kafka, "away");
    let messages = samples(3000, 19);
    let (before, after) = messages.split_at(1500);
    let mut huiju = project.start(&["run"], &[]);
    huiju.says("assigned", SOON);
    project.send(before);
    kafka.stop();
    huiju.process.wait(Duration::from_secs(10));
    assert!(huiju.process.is_running(), "{}", huiju.stderr());
    kafka.restart();
    project.send(after);
    println!("everything has come through after {:?}", project.come_through(&messages, Duration::from_secs(90)));
    assert!(project.terminate(huiju).success(), "{}", project.logs());
    project.finish(&messages);
}

/// Its session would last for five minutes: nothing but the silence tells that messages do not flow.
#[test]
fn a_broker_that_is_away_is_told_of_whoever_asks_whether_messages_flow() {
    let Some(kafka) = Kafka::start() else { return };
    let project = Project::new(&kafka, "told", Settings { session: "300000", ..Settings::default() });
    let mut huiju = project.start(&["run"], &[]);
    huiju.says("assigned", SOON);
    let ready = |huiju: &Huiju, wanted: u16| huiju.get("/ready").filter(|(code, _)| *code == wanted);
    eventually("it is ready", SOON, || ready(&huiju, 200));
    kafka.stop();
    let (_, told) = eventually("it is not ready", SOON, || ready(&huiju, 503));
    assert!(told.contains("\"waiting\"") && told.contains("cannot be reached"), "{told}");
    let (_, metrics) = eventually("its metrics", SOON, || huiju.get("/metrics"));
    assert!(metrics.contains("huiju_pipeline_running{pipeline=\"work_orders\"} 0"), "{metrics}");
    // Whoever connects in vain says so once in a while only.
    assert!(huiju.process.wait(Duration::from_secs(45)).is_none(), "{}", huiju.stderr());
    eventually("it is not ready still", Duration::from_secs(1), || ready(&huiju, 503));
    kafka.restart();
    eventually("it is ready again", 3 * SOON, || ready(&huiju, 200));
    assert!(project.terminate(huiju).success(), "{}", project.logs());
}

/// The broker is killed three times while messages are on their way, and stands still once for a minute: longer than
/// session, messages and transactions may take.
#[test]
fn t14_a_broker_that_is_killed_or_stands_still_under_load_is_waited_for() {
    let Some(kafka) = Kafka::start() else { return };
    let project = project(&kafka, "bounce");
    let messages = samples(9000, 14);
    let mut slices = messages.chunks(messages.len() / 6);
    let mut huiju = project.start(&["run"], &[]);
    huiju.says("assigned", SOON);
    for _ in 0..3 {
        project.send(slices.next().unwrap());
        kafka.kill();
        kafka.restart();
    }
    project.send(slices.next().unwrap());
    kafka.pause();
    let before = huiju.stderr().len();
    assert!(huiju.process.wait(Duration::from_secs(60)).is_none(), "{}", huiju.stderr());
    kafka.resume();
    slices.for_each(|slice| project.send(slice));
    println!("everything has come through after {:?}", project.come_through(&messages, Duration::from_secs(90)));
    let said = huiju.stderr().split_off(before);
    assert!(said.contains("since_s") || said.contains("waiting_s"), "it says since when it waits: {said}");
    assert!(project.terminate(huiju).success(), "{}", project.logs());
    project.finish(&messages);
}

/// Three brokers, of which one after the other goes away under load, the last one killed: what it led, its consumer
/// groups and its transactions move to the others, and back when it is there again.
#[test]
fn t14_leaders_move_between_three_brokers_under_load() {
    let Some(kafka) = Kafka::start_many(3) else { return };
    let project = project(&kafka, "moves");
    let messages = samples(9000, 41);
    let mut slices = messages.chunks(messages.len() / 9);
    let mut send = || slices.next().into_iter().for_each(|slice| project.send(slice));
    let mut huiju = project.start(&["run"], &[]);
    huiju.says("assigned", SOON);
    for number in 0..3 {
        send();
        kafka.lose_one(number, number == 2);
        send();
        kafka.bring_back(number);
        send();
    }
    println!("everything has come through after {:?}", project.come_through(&messages, Duration::from_secs(90)));
    assert!(project.terminate(huiju).success(), "{}", project.logs());
    project.finish(&messages);
}
