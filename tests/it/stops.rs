//! T40: a stop (SIGTERM) in every phase. The process ends within its time with code 0, as the README says; what it had not
//! committed is read again at the next start, and nothing is half-done.

use std::time::Duration;

use crate::{
    doors::{edit, lamps},
    other_feed::{account, project},
    support::{
        Huiju, Kafka, Project, Sent, Settings, carried::Table, eventually, kafka, project::was_killed, read_committed,
        samples, truth,
    },
};

/// Points on the way that are stopped at, not only died at.
pub const POINTS: &[&str] = &["line.before_take_over"];

const SOON: Duration = Duration::from_secs(60);
const DRAIN: Duration = Duration::from_secs(2);
/// What comes on top of `drain` before the process ends though something has not come back: `LEAVE` in `src/cli/run.rs`.
const LEAVE: Duration = Duration::from_secs(5);
/// For a machine that does other things too.
const SLACK: Duration = Duration::from_secs(10);
/// Small batches, so that there are many.
const SETTINGS: Settings = Settings {
    partitions: 2,
    interval: "150ms",
    session: "3000",
    properties: "",
    top: "drain = \"2s\"\nmemory = \"1MiB\"",
};

/// The same with so much time that nothing is cut short: whoever does not notice the stop is still there when it is over.
const PATIENT: Settings = Settings { top: "drain = \"60s\"\nmemory = \"1MiB\"", ..SETTINGS };
/// What a process says that ends without those who did not come back.
const CUT_SHORT: &str = "stopped before everything in flight was committed; it is read again";

/// Stops it; it ends because everybody in it has noticed, not because its time was over.
#[track_caller]
pub fn notices(project: &Project<'_>, huiju: Huiju) {
    let (status, took) = project.terminate_timed(huiju);
    println!("took {took:?}");
    assert_eq!(status.code(), Some(0), "{}", project.logs());
    assert!(!project.logs().contains(CUT_SHORT), "{}", project.logs());
}

/// Stops it; gives how long that took, and its exit code.
#[track_caller]
fn stop(project: &Project<'_>, huiju: Huiju) -> (Duration, Option<i32>) {
    let (status, took) = project.terminate_timed(huiju);
    assert!(took < DRAIN + LEAVE + SLACK, "took {took:?}:\n{}", project.logs());
    (took, status.code())
}

#[test]
fn t40_a_stop_before_the_broker_answers() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "unanswered", PATIENT);
    let messages = samples(300, 401);
    project.send(&messages);
    let [nobody] = kafka::free_ports();
    project.configure(&format!("127.0.0.1:{nobody}"), PATIENT);
    // As soon as it listens for the signal, and when it has tried in vain.
    let huiju = project.start(&["run"], &[]);
    notices(&project, huiju);
    let mut huiju = project.start(&["run"], &[]);
    huiju.says("tries again", SOON);
    notices(&project, huiju);
    project.configure(&kafka.bootstrap(), PATIENT);
    assert_eq!(project.finish(&messages), truth(&messages).input);
}

#[test]
fn t40_a_stop_while_partitions_are_taken_over() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "taking", PATIENT);
    let messages = samples(600, 402);
    project.send(&messages);
    let mut huiju = project.start(&["run"], &[("HUIJU_FAULT", "line.before_take_over:1:5000")]);
    huiju.says("standing still", SOON);
    notices(&project, huiju);
    assert!(!project.logs().contains("assigned"), "a stop does not wait until partitions are taken over");
    // And dead at the same place, because every point is died at.
    let (status, huiju) = project.drain(&[("HUIJU_FAULT", "line.before_take_over")]);
    assert!(was_killed(status), "{status}\n{}", huiju.stderr());
    project.finish(&messages);
}

/// Every queue is full when the signal comes: the line has not come further than its tenth batch.
#[test]
fn t40_a_stop_at_full_load() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "load", PATIENT);
    let messages = samples(9000, 403);
    let mut huiju = project.start(&["run"], &[("HUIJU_FAULT", "line.after_decode:10:1000")]);
    huiju.says("assigned", SOON);
    project.send(&messages);
    huiju.says("standing still", SOON);
    notices(&project, huiju);
    completed(&project, "at full load");
    let rest = project.finish(&messages);
    assert!(rest > 0 && rest < truth(&messages).input, "it was in the middle of its work: {rest} rows were left");
}

#[test]
fn t40_a_stop_in_the_middle_of_a_transaction() {
    stop_at(&["kafka.before_offsets", "kafka.prepared", "kafka.after_commit"]);
}

#[test]
fn t40_a_stop_in_the_middle_of_a_commit_to_the_archive() {
    stop_at(&["archive.after_intent", "archive.after_rejects_commit", "archive.before_commit"]);
}

/// The commit is held up for less than the stop may take, and is completed.
fn stop_at(points: &[&str]) {
    let Some(kafka) = kafka::shared() else { return };
    for point in points {
        let stood = Stood::at(kafka, PATIENT, point, 5000);
        notices(&stood.project, stood.huiju);
        let logs = stood.project.logs();
        assert!(!logs.contains("stopped before"), "{point}: it had the time\n{logs}");
        completed(&stood.project, point);
        stood.project.send(&stood.messages[stood.sent..]);
        stood.project.finish(&stood.messages);
    }
}

/// What one sink has committed the other has, too: no commit was cut off.
#[track_caller]
fn completed(project: &Project<'_>, when: &str) {
    let archived = Table::skim(&project.path("archive/work_orders")).account();
    let rejected = Table::skim(&project.path("archive/work_orders_rejects")).account().rejected;
    let clean = read_committed(&project.kafka.bootstrap(), &project.clean_topic()).len() as u64;
    assert_eq!((archived.written, archived.rejected), (clean, rejected), "{when}\n{}", project.logs());
}

/// The commit does not come back: the process ends all the same, and what it was about to do is taken back or completed.
#[test]
fn t40_a_stop_that_a_commit_outlasts() {
    let Some(kafka) = kafka::shared() else { return };
    for point in ["kafka.prepared", "archive.after_rename"] {
        let stood = Stood::at(kafka, SETTINGS, point, 600_000);
        let (took, code) = stop(&stood.project, stood.huiju);
        println!("{point}: took {took:?}");
        let logs = stood.project.logs();
        assert!(code == Some(3) && logs.contains(CUT_SHORT), "{point}: {code:?} {logs}");
        stood.project.send(&stood.messages[stood.sent..]);
        stood.project.finish(&stood.messages);
    }
}

/// Whoever reads what it prints has its line all the same, and the log says who did not come back.
#[test]
fn a_stop_whose_time_runs_out_tells_what_was_done_and_what_hung() {
    let folder = project();
    let folder = folder.path();
    edit(&folder.join("huiju.toml"), "pipelines =", "drain = \"1s\"\npipelines =");
    lamps(folder, 1);
    // A bounded run still waits for its last commit, which has more time than a stop.
    let waits =
        "street_lamps (waiting: what is in flight was not committed within 1 s; waiting for what its sinks have";
    for (bounded, left) in [(false, waits), (true, "street_lamps (running)")] {
        let arguments =
            if bounded { &["run", "--format", "json", "--until-end"][..] } else { &["run", "--format", "json"] };
        let mut huiju = Huiju::start(folder, arguments, &[("HUIJU_FAULT", "archive.before_commit:1:600000")]);
        huiju.says("standing still", SOON);
        huiju.process.signal(libc::SIGTERM);
        let (status, said) = (huiju.wait(SOON), huiju.stderr());
        assert_eq!(status.code(), Some(3), "{said}");
        let summary = account(&huiju.stdout());
        assert_eq!((&summary["in"], &summary["pipelines"]["street_lamps"]["in"]), (&0.into(), &0.into()), "{summary}");
        let line = said.lines().find(|line| line.contains(CUT_SHORT)).unwrap_or_else(|| panic!("{said}"));
        assert!(line.contains(&format!("left={left}")), "{line}");
        assert!(said.contains(&format!("huiju: stopped before everything in flight was committed: {left}")), "{said}");
    }
}

/// A process that stands still at a point, after some commits, while messages come.
pub struct Stood<'k> {
    pub project: Project<'k>,
    pub huiju: Huiju,
    pub messages: Vec<Sent>,
    /// How many of them are in the topics.
    pub sent: usize,
}

impl Stood<'_> {
    pub fn at<'k>(kafka: &'k Kafka, settings: Settings, point: &str, hold_ms: u32) -> Stood<'k> {
        let project = Project::new(kafka, "middle", settings);
        let messages = samples(900, 404);
        // Where partitions begin is remembered before, in as many transactions as it takes.
        project.drained();
        let pass = if point.starts_with("kafka") { 2 } else { 3 };
        let mut huiju = project.start(&["run"], &[("HUIJU_FAULT", &format!("{point}:{pass}:{hold_ms}"))]);
        huiju.says("assigned", SOON);
        let mut sent = 0;
        for slice in messages.chunks(75) {
            project.send(slice);
            sent += slice.len();
            // A commit at least of each sink.
            let still = eventually("the slice is carried", SOON, || {
                let still = huiju.stderr().contains("standing still");
                (still || project.has_carried(&messages[..sent])).then_some(still)
            });
            if still {
                break;
            }
        }
        huiju.says("standing still", SOON);
        Stood { project, huiju, messages, sent }
    }
}

/// A broker of its own: it is killed here.
#[test]
fn t40_a_stop_while_the_broker_is_away() {
    let Some(kafka) = Kafka::start() else { return };
    let project = Project::new(&kafka, "gone", SETTINGS);
    let messages = samples(900, 406);
    let (before, after) = messages.split_at(450);
    let mut huiju = project.start(&["run"], &[]);
    huiju.says("assigned", SOON);
    project.send(before);
    eventually("rows are in the clean topic", SOON, || {
        (!read_committed(&kafka.bootstrap(), &project.clean_topic()).is_empty()).then_some(())
    });
    kafka.kill();
    huiju.says("Kafka is in trouble", SOON);
    let (took, code) = stop(&project, huiju);
    println!("took {took:?}");
    // Whether anything was in flight is the moment's.
    assert!(matches!(code, Some(0 | 3)), "{code:?} {}", project.logs());
    kafka.restart();
    project.send(after);
    project.finish(&messages);
}

#[test]
fn t40_a_stop_of_a_process_that_has_nothing_to_do() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "idle", PATIENT);
    let messages = samples(600, 407);
    project.send(&messages);
    project.drained();
    let mut huiju = project.start(&["run"], &[]);
    huiju.says("assigned", SOON);
    notices(&project, huiju);
    assert_eq!(project.finish(&messages), 0);
}
