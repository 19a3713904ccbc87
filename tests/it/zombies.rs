//! Members of the group come, go, die, and come back from the dead: who has lost its partitions commits nothing, and who
//! comes back under its name goes on at once.

use std::time::{Duration, Instant};

use huiju::sample::Made;
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
};

use crate::support::{
    Huiju, Kafka, Project, Sender, Sent, Settings, eventually, kafka,
    project::{KEEP, SOURCES},
    read_committed, samples, truth,
};

const SOON: Duration = Duration::from_secs(60);
/// Long enough that whatever waits for it is noticed.
const PATIENT: Settings = Settings { partitions: 3, interval: "300ms", session: "120000", properties: "", top: "" };

fn written(project: &Project<'_>) -> u64 {
    read_committed(&project.kafka.bootstrap(), &project.clean_topic()).len() as u64
}

#[track_caller]
fn come_through(project: &Project<'_>, messages: &[Sent], limit: Duration) -> Duration {
    let (begun, expected) = (Instant::now(), truth(messages).written);
    eventually("everything has come through", limit, || (written(project) >= expected).then_some(()));
    begun.elapsed()
}

/// The rest is carried, and the counts are those of the truth.
#[track_caller]
fn settle(project: &Project<'_>, messages: &[Sent]) {
    project.drained();
    assert_eq!(project.settle().account, truth(messages));
}

#[test]
fn a_killed_process_that_is_started_again_goes_on_at_once() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "restart", PATIENT);
    let messages = samples(1800, 41);
    let (before, after) = messages.split_at(900);
    let mut huiju = project.start(&["run"], &[]);
    huiju.says("assigned", SOON);
    project.send(before);
    come_through(&project, before, SOON);
    project.kill(huiju);
    project.send(after);
    let already = written(&project);
    let begun = Instant::now();
    let huiju = project.start(&["run"], &[]);
    eventually("the first new row", SOON, || (written(&project) > already).then_some(()));
    let took = begun.elapsed();
    println!("the first new row came {took:?} after the start; the session is two minutes");
    assert!(took < SOON, "{took:?}\n{}", huiju.stderr());
    assert!(project.terminate(huiju).success(), "{}", project.logs());
    settle(&project, &messages);
}

#[test]
fn a_process_that_is_told_to_stop_hands_over_at_once() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "handover", PATIENT);
    let messages = samples(1800, 42);
    let (before, after) = messages.split_at(900);
    let mut first = project.start(&["run"], &[]);
    first.says("assigned", SOON);
    let mut second = project.start(&["run"], &[]);
    second.says("assigned", SOON);
    project.send(before);
    assert!(project.terminate(second).success(), "{}", project.logs());
    project.send(after);
    let took = come_through(&project, &messages, SOON);
    println!("everything had come through {took:?} after the stop; the session is two minutes");
    assert!(project.terminate(first).success(), "{}", project.logs());
    settle(&project, &messages);
}

/// It stands still for longer than its session and its transaction may take; another takes over; it comes back to life.
#[test]
fn t04_a_zombie_commits_nothing_and_joins_again() {
    let Some(kafka) = kafka::shared() else { return };
    let properties = "\"transaction.timeout.ms\" = \"4000\"\n\"message.timeout.ms\" = \"3000\"";
    let project = Project::new(kafka, "zombie", Settings { partitions: 3, properties, ..Settings::default() });
    let messages = samples(6000, 4);
    let mut slices = messages.chunks(messages.len() / 3);
    let mut zombie = project.start(&["run"], &[]);
    zombie.says("assigned", SOON);
    project.send(slices.next().unwrap());
    eventually("it is at work", SOON, || zombie.stderr().contains("assigned").then_some(()));
    zombie.process.signal(libc::SIGSTOP);
    let mut other = project.start(&["run"], &[]);
    other.says("assigned", SOON);
    project.send(slices.next().unwrap());
    come_through(&project, &messages[..messages.len() / 3 * 2], Duration::from_secs(90));
    zombie.process.signal(libc::SIGCONT);
    // By the group, or by the broker of the transaction that it had begun, whoever is first.
    let told =
        ["the group has given our partitions to another member", "another instance with the same name has taken over"];
    eventually("it notices", SOON, || told.iter().any(|told| zombie.stderr().contains(told)).then_some(()));
    slices.for_each(|slice| project.send(slice));
    come_through(&project, &messages, Duration::from_secs(90));
    assert!(zombie.process.is_running() && other.process.is_running(), "{}\n{}", zombie.stderr(), other.stderr());
    // It is a member again: it can go on alone.
    assert!(project.terminate(other).success(), "{}", project.logs());
    assert!(project.terminate(zombie).success(), "{}", project.logs());
    settle(&project, &messages);
}

#[test]
fn t02_members_join_and_leave_every_other_second_cooperatively() {
    join_and_leave("sticky", Settings { partitions: 3, interval: "200ms", ..Settings::default() });
}

#[test]
fn t02_members_join_and_leave_every_other_second_in_a_group_of_the_next_generation() {
    let properties = "\"group.protocol\" = \"consumer\"";
    let settings = Settings { partitions: 3, interval: "200ms", session: "", properties, ..Settings::default() };
    join_and_leave("next", settings);
}

fn join_and_leave(name: &str, settings: Settings) {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, name, settings);
    let messages = samples(12_000, 2);
    let mut slices = messages.chunks(messages.len() / 12);
    let mut first = project.start(&["run"], &[]);
    first.says("assigned", SOON);
    let mut others: Vec<Huiju> = Vec::new();
    for round in 0..5 {
        project.send(slices.next().unwrap());
        match round {
            2 => assert!(project.terminate(others.remove(0)).success(), "{}", project.logs()),
            // One dies without a word.
            4 => project.kill(others.remove(0)),
            _ => others.push(project.start(&["run"], &[])),
        }
        project.send(slices.next().unwrap());
        assert!(first.process.wait(Duration::from_secs(2)).is_none(), "{}", first.stderr());
    }
    slices.for_each(|slice| project.send(slice));
    // Without a session of ours the broker waits for the dead one for 45 s.
    let took = come_through(&project, &messages, Duration::from_secs(150));
    println!("everything had come through {took:?} after the last message");
    for huiju in others.into_iter().chain([first]) {
        assert!(project.terminate(huiju).success(), "{}", project.logs());
    }
    settle(&project, &messages);
}

#[test]
fn t18_partitions_that_are_added_are_read_from_their_beginning() {
    let Some(kafka) = kafka::shared() else { return };
    let properties = "\"topic.metadata.refresh.interval.ms\" = \"1000\"";
    let settings = Settings { partitions: 6, properties, ..Settings::default() };
    let mut project = Project::without_topics(kafka, "growth", settings);
    let topics: Vec<String> = crate::support::project::SOURCES.iter().map(|source| project.topic(source)).collect();
    for topic in topics.iter().chain([&project.clean_topic(), &project.rejected_topic()]) {
        kafka.create_topic(topic, 3, &KEEP);
    }
    let messages = samples(3000, 18);
    let (old, new): (Vec<Sent>, Vec<Sent>) = messages.iter().cloned().partition(|message| message.partition(6) < 3);
    assert!(old.len() > 500 && new.len() > 500);
    let mut huiju = project.start(&["run"], &[]);
    huiju.says("assigned", SOON);
    project.send(&old);
    come_through(&project, &old, SOON);
    topics.iter().for_each(|topic| kafka.grow(topic, 6));
    // A sender that knows of them.
    project.sender = Sender::new(&kafka.bootstrap());
    // Written before anybody has found the new partitions.
    project.send(&new);
    let took = come_through(&project, &messages, SOON);
    println!("the new partitions were through after {took:?}");
    assert!(project.terminate(huiju).success(), "{}", project.logs());
    settle(&project, &messages);
}

/// A pipeline that starts at the end, with messages in topics of one partition that it is to skip; messages for the same
/// partition, and such that need a second one.
fn at_the_end<'k>(kafka: &'k Kafka, name: &str, properties: &'static str) -> (Project<'k>, Vec<Sent>, Vec<Sent>) {
    let project = Project::without_topics(kafka, name, Settings { properties, ..Settings::default() });
    project.edit("pipelines/work_orders/pipeline.toml", "start    = \"beginning\"", "start    = \"end\"");
    SOURCES.iter().for_each(|source| kafka.create_topic(&project.topic(source), 1, &KEEP));
    kafka.create_topic(&project.clean_topic(), 2, &KEEP);
    kafka.create_topic(&project.rejected_topic(), 1, &KEEP);
    // Copies of what is skipped would be none.
    let messages = samples(1800, 19).into_iter().filter(|message| !matches!(message.made, Made::Duplicate));
    let (mut old, added): (Vec<Sent>, Vec<Sent>) = messages.partition(|message| message.partition(2) == 0);
    let after = old.split_off(old.len() / 2);
    project.send(&old);
    (project, after, added)
}

/// The topics get a second partition, and a sender that knows of it.
fn grow(kafka: &Kafka, project: &mut Project<'_>) {
    SOURCES.iter().for_each(|source| kafka.grow(&project.topic(source), 2));
    project.sender = Sender::new(&kafka.bootstrap());
}

/// `end` is where a topic begins, not where a partition does that it gets later.
#[test]
fn t18_what_starts_at_the_end_takes_what_comes_later_and_added_partitions_whole() {
    let Some(kafka) = kafka::shared() else { return };
    let (mut project, after, added) = at_the_end(kafka, "end", "");
    let mut huiju = project.start(&["run"], &[]);
    huiju.says("assigned", SOON);
    project.send(&after);
    come_through(&project, &after, SOON);
    assert!(project.terminate(huiju).success(), "{}", project.logs());
    grow(kafka, &mut project);
    project.send(&added);
    project.drained();
    let taken = [after, added].concat();
    assert_eq!(crate::support::Carried::skim(&project).account, truth(&taken));
    assert_eq!(written(&project), truth(&taken).written);
}

#[test]
fn t18_what_starts_at_the_end_takes_a_partition_whole_that_it_finds_while_it_runs() {
    let Some(kafka) = kafka::shared() else { return };
    let often = "\"topic.metadata.refresh.interval.ms\" = \"1000\"";
    let (mut project, after, added) = at_the_end(kafka, "finds", often);
    let mut huiju = project.start(&["run"], &[]);
    huiju.says("assigned", SOON);
    project.send(&after);
    come_through(&project, &after, SOON);
    grow(kafka, &mut project);
    project.send(&added);
    let taken = [after, added].concat();
    come_through(&project, &taken, SOON);
    assert!(project.terminate(huiju).success(), "{}", project.logs());
    assert_eq!(crate::support::Carried::skim(&project).account, truth(&taken));
}

/// A process that is started when others have not found a partition yet may be given that one alone.
#[test]
fn t18_what_starts_at_the_end_takes_a_partition_whole_that_only_a_new_process_has_found() {
    let Some(kafka) = kafka::shared() else { return };
    let (mut project, after, added) = at_the_end(kafka, "found", "");
    let mut first = project.start(&["run"], &[]);
    first.says("assigned", SOON);
    project.send(&after);
    come_through(&project, &after, SOON);
    grow(kafka, &mut project);
    project.send(&added);
    let second = project.start(&["run"], &[]);
    let taken = [after, added].concat();
    come_through(&project, &taken, SOON);
    for huiju in [first, second] {
        assert!(project.terminate(huiju).success(), "{}", project.logs());
    }
    assert_eq!(crate::support::Carried::skim(&project).account, truth(&taken));
    assert_eq!(written(&project), truth(&taken).written);
}

/// A dead process has left a transaction open, and the broker would leave it open for five minutes.
#[test]
fn t24_an_open_transaction_of_a_dead_process_blocks_readers_no_longer_than_its_restart() {
    let Some(kafka) = kafka::shared() else { return };
    let properties = "\"transaction.timeout.ms\" = \"300000\"";
    let project = Project::new(kafka, "lingering", Settings { properties, ..Settings::default() });
    let messages = samples(1500, 24);
    project.send(&messages);
    let mut dying = project.start(&["run"], &[("HUIJU_FAULT", "kafka.after_offsets:2")]);
    dying.wait(SOON);
    project.keep_log(&dying);
    let begun = Instant::now();
    let huiju = project.start(&["run"], &[]);
    come_through(&project, &messages, Duration::from_secs(90));
    println!("readers had everything {:?} after the restart", begun.elapsed());
    assert!(project.terminate(huiju).success(), "{}", project.logs());
    settle(&project, &messages);
}

/// The last records of the topics are a transaction that was aborted, and one that was committed: markers, which no reader
/// ever sees, are at the end.
#[test]
fn t03_a_bounded_run_ends_at_a_tail_that_holds_no_messages() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "tail", Settings::default());
    let messages = samples(900, 3);
    project.send(&messages);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap())
        .set("transactional.id", format!("{}.tail", project.prefix))
        .create()
        .unwrap();
    producer.init_transactions(SOON).unwrap();
    let topic = project.topic("nanchang");
    for partition in 0..2 {
        producer.begin_transaction().unwrap();
        for number in 0..50 {
            let text = format!("{{\"orderNum\":\"aborted {number}\"}}");
            let record = BaseRecord::<(), _>::to(&topic).partition(partition).payload(&text);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(SOON).unwrap();
        producer.abort_transaction(SOON).unwrap();
    }
    let summary = project.drained();
    assert_eq!(summary["in"], truth(&messages).input);
    assert_eq!(project.drained()["in"], 0, "and again");
    assert_eq!(project.settle().account, truth(&messages));
}

/// Two machines that know nothing of each other are set up with the same `instance`: one name in the group, one
/// transactional id. They take everything from each other until one gives way, and whatever they do, nothing comes twice.
#[test]
fn of_two_processes_with_one_name_one_gives_way_with_4_and_the_other_goes_on() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "namesakes", Settings::default());
    let messages = samples(900, 43);
    let (before, after) = messages.split_at(450);
    let mut first = project.start(&["run"], &[]);
    first.says("assigned", SOON);
    project.send(before);
    let elsewhere = project.path("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let variables = [("TMPDIR", elsewhere.to_str().unwrap())];
    let mut second = Huiju::start(project.folder.path(), &["run"], &variables);
    let first_gave_way = eventually("one gives way", Duration::from_secs(90), || {
        let running = [&mut first, &mut second].map(|huiju| huiju.process.is_running());
        (running != [true, true]).then_some(running[1])
    });
    let (mut gone, mut left) = if first_gave_way { (first, second) } else { (second, first) };
    let said = gone.stderr();
    assert_eq!(gone.wait(SOON).code(), Some(4), "{said}");
    let taken = |line: &&str| line.contains("another instance with the same name has taken over");
    let tried = said.lines().filter(taken).filter(|line| line.contains("waits and tries again")).count();
    assert!(tried >= 2, "once may be a namesake that is just ending: {said}");
    project.keep_log(&gone);
    project.send(after);
    come_through(&project, &messages, Duration::from_secs(90));
    assert!(left.process.is_running(), "{}", left.stderr());
    assert!(project.terminate(left).success(), "{}", project.logs());
    settle(&project, &messages);
}
