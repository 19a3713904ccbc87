//! Members of the group come, go, die, and come back from the dead: who has lost its partitions commits nothing, and who
//! comes back under its name goes on at once.

use std::time::{Duration, Instant};

use huiju::sample::Made;

use crate::{
    stops::Stood,
    support::{
        Huiju, Kafka, Project, Sender, Sent, Settings, eventually, kafka,
        project::{KEEP, SOURCES, was_killed},
        read_uncommitted, samples, transaction, truth,
    },
};

const SOON: Duration = Duration::from_secs(60);
/// Long enough that whatever waits for it is noticed.
const PATIENT: Settings = Settings { partitions: 3, interval: "300ms", session: "120000", properties: "", top: "" };

#[test]
fn a_killed_process_that_is_started_again_goes_on_at_once() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "restart", PATIENT);
    let messages = samples(1800, 41);
    let (before, after) = messages.split_at(900);
    let mut huiju = project.start(&["run"], &[]);
    huiju.says("assigned", SOON);
    project.send(before);
    project.come_through(before, SOON);
    project.kill(huiju);
    project.send(after);
    let already = project.written();
    let begun = Instant::now();
    let huiju = project.start(&["run"], &[]);
    eventually("the first new row", SOON, || (project.written() > already).then_some(()));
    let took = begun.elapsed();
    println!("the first new row came {took:?} after the start; the session is two minutes");
    assert!(project.terminate(huiju).success(), "{}", project.logs());
    project.finish(&messages);
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
    let took = project.come_through(&messages, SOON);
    println!("everything had come through {took:?} after the stop; the session is two minutes");
    assert!(project.terminate(first).success(), "{}", project.logs());
    project.finish(&messages);
}

/// It stands still in the middle of a commit, for longer than its session and its transaction may take; another takes over
/// what it had in hand; it comes back to life, and is refused.
#[test]
fn t04_a_zombie_in_a_transaction_commits_nothing_and_joins_again() {
    comes_back_to_life("kafka.before_offsets");
}

#[test]
fn t04_a_zombie_in_a_commit_to_the_archive_commits_nothing_and_joins_again() {
    comes_back_to_life("archive.before_commit");
}

fn comes_back_to_life(point: &str) {
    let Some(kafka) = kafka::shared() else { return };
    let properties = "\"transaction.timeout.ms\" = \"4000\"\n\"message.timeout.ms\" = \"3000\"";
    let stood = Stood::at(kafka, Settings { properties, ..Settings::default() }, point, 10_000);
    let Stood { project, huiju: mut zombie, messages, sent } = stood;
    zombie.process.signal(libc::SIGSTOP);
    let mut other = project.start(&["run"], &[]);
    other.says("assigned", SOON);
    let (before, after) = messages.split_at(sent + (messages.len() - sent) / 2);
    project.send(&before[sent..]);
    project.carry(before, SOON);
    zombie.process.signal(libc::SIGCONT);
    // By the group, by the broker of the transaction that it had begun, or by the table, whoever is first.
    let told = [
        "the group has given our partitions to another member",
        "another instance with the same name has taken over",
        "archive: cursor ",
    ];
    eventually("it notices", SOON, || told.iter().any(|told| zombie.stderr().contains(told)).then_some(()));
    // It is a member again: it goes on alone.
    assert!(project.terminate(other).success(), "{}", project.logs());
    project.send(after);
    project.carry(&messages, SOON);
    assert!(project.terminate(zombie).success(), "{}", project.logs());
    assert_eq!(project.finish(&messages), 0);
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
            _ => {
                others.push(project.start(&["run"], &[]));
                others.last_mut().unwrap().says("assigned", SOON);
            }
        }
        project.send(slices.next().unwrap());
        assert!(first.process.wait(Duration::from_secs(2)).is_none(), "{}", first.stderr());
    }
    slices.for_each(|slice| project.send(slice));
    // Without a session of ours the broker waits for the dead one for 45 s.
    let took = project.come_through(&messages, Duration::from_secs(150));
    println!("everything had come through {took:?} after the last message");
    let gave_away = first.stderr().matches("revoked").count();
    assert!(gave_away >= 2, "others took partitions from it {gave_away} times:\n{}", first.stderr());
    for huiju in others.into_iter().chain([first]) {
        assert!(project.terminate(huiju).success(), "{}", project.logs());
    }
    project.finish(&messages);
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
    project.come_through(&old, SOON);
    topics.iter().for_each(|topic| kafka.grow(topic, 6));
    // A sender that knows of them.
    project.sender = Sender::new(&kafka.bootstrap());
    // Written before anybody has found the new partitions.
    project.send(&new);
    let took = project.come_through(&messages, SOON);
    println!("the new partitions were through after {took:?}");
    assert!(project.terminate(huiju).success(), "{}", project.logs());
    project.finish(&messages);
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
    project.carry(&after, SOON);
    assert!(project.terminate(huiju).success(), "{}", project.logs());
    grow(kafka, &mut project);
    project.send(&added);
    project.drained();
    let taken = [after, added].concat();
    assert_eq!(crate::support::Carried::skim(&project).account, truth(&taken));
    assert_eq!(project.written(), truth(&taken).written);
}

#[test]
fn t18_what_starts_at_the_end_takes_a_partition_whole_that_it_finds_while_it_runs() {
    let Some(kafka) = kafka::shared() else { return };
    let often = "\"topic.metadata.refresh.interval.ms\" = \"1000\"";
    let (mut project, after, added) = at_the_end(kafka, "finds", often);
    let mut huiju = project.start(&["run"], &[]);
    huiju.says("assigned", SOON);
    project.send(&after);
    project.come_through(&after, SOON);
    grow(kafka, &mut project);
    project.send(&added);
    let taken = [after, added].concat();
    project.carry(&taken, SOON);
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
    project.come_through(&after, SOON);
    grow(kafka, &mut project);
    project.send(&added);
    let second = project.start(&["run"], &[]);
    let taken = [after, added].concat();
    project.carry(&taken, SOON);
    for huiju in [first, second] {
        assert!(project.terminate(huiju).success(), "{}", project.logs());
    }
    assert_eq!(crate::support::Carried::skim(&project).account, truth(&taken));
    assert_eq!(project.written(), truth(&taken).written);
}

/// A dead process has left a transaction open, and the broker would leave it open for five minutes: more than anybody here
/// waits.
#[test]
fn t24_an_open_transaction_of_a_dead_process_blocks_readers_no_longer_than_its_restart() {
    let Some(kafka) = kafka::shared() else { return };
    let properties = "\"transaction.timeout.ms\" = \"300000\"";
    let project = Project::new(kafka, "lingering", Settings { properties, ..Settings::default() });
    let messages = samples(1500, 24);
    project.drained(); // where partitions begin is remembered, in as many transactions as it takes
    project.send(&messages);
    let mut dying = project.start(&["run"], &[("HUIJU_FAULT", "kafka.prepared")]);
    assert!(was_killed(dying.wait(SOON)), "{}", dying.stderr());
    let open = read_uncommitted(&kafka.bootstrap(), &project.clean_topic()).len() as u64 - project.written();
    assert!(open > 0, "rows of the open transaction are with the broker");
    let huiju = project.start(&["run"], &[]);
    println!("readers had everything {:?} after the restart", project.come_through(&messages, SOON));
    assert!(project.terminate(huiju).success(), "{}", project.logs());
    project.finish(&messages);
}

/// The last records of the topics are a transaction that was aborted, or one that was committed: markers, which no reader
/// ever sees, are at the end.
#[test]
fn t03_a_bounded_run_ends_at_a_tail_that_holds_no_messages() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "tail", Settings::default());
    let messages = samples(900, 3);
    let last = |message: &&Sent| message.source == "nanchang" && message.partition(2) == 1;
    let (at, _) = messages.iter().enumerate().rfind(|(_, message)| last(message)).unwrap();
    let (plain, rest) = (&messages[..at], &messages[at..]);
    project.send(plain);
    let aborted: Vec<String> = (0..50).map(|number| format!("{{\"orderNum\":\"aborted {number}\"}}")).collect();
    let aborted = |partition| aborted.iter().map(move |text| (partition, None, text.as_bytes()));
    transaction(kafka, &project.topic("nanchang"), aborted(0), false);
    transaction(kafka, &project.topic("nanchang"), aborted(1), false);
    let (committed, others): (Vec<Sent>, Vec<Sent>) = rest.iter().cloned().partition(|message| last(&message));
    project.send(&others);
    let committed = committed.iter().map(|message| (1, message.key.as_deref(), message.payload.as_deref().unwrap()));
    transaction(kafka, &project.topic("nanchang"), committed, true);
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
    project.watch(&second);
    let first_gave_way = eventually("one gives way", Duration::from_secs(240), || {
        let running = [&mut first, &mut second].map(|huiju| huiju.process.is_running());
        (running != [true, true]).then_some(running[1])
    });
    let (mut gone, mut left) = if first_gave_way { (first, second) } else { (second, first) };
    let said = gone.stderr();
    assert_eq!(gone.wait(SOON).code(), Some(4), "{said}");
    let taken = |line: &&str| line.contains("another instance with the same name has taken over");
    let tried = said.lines().filter(taken).filter(|line| line.contains("waits and tries again")).count();
    assert!(tried >= 2, "once may be a namesake that is just ending: {said}");
    project.send(after);
    project.come_through(&messages, Duration::from_secs(90));
    assert!(left.process.is_running(), "{}", left.stderr());
    assert!(project.terminate(left).success(), "{}", project.logs());
    project.finish(&messages);
}
