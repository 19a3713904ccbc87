//! A sink is left behind, and comes back: nobody else is disturbed, and nothing is begun anew.

use std::{fs, path::PathBuf, time::Duration};

use crate::support::{
    Huiju, Kafka, Project, Sent, Settings, eventually, kafka, project::was_killed, read_committed, samples, truth,
};

/// Points on the way that only a process takes that gives partitions away.
pub const POINTS: &[&str] = &["kafka.before_revoke"];

const SOON: Duration = Duration::from_secs(60);
/// Small batches, so that the queue of a sink that takes nothing is soon full.
const SETTINGS: Settings =
    Settings { partitions: 3, interval: "150ms", session: "30000", properties: "", top: "memory = \"1MiB\"" };

/// The line of one process is built anew under its name: the group does not notice, or every other process would have to
/// take partitions over and give them back.
#[test]
fn a_line_that_is_built_anew_does_not_disturb_the_group() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "anew", SETTINGS);
    let messages = samples(9000, 501);
    let mut other = project.start(&["run"], &[]);
    other.says("assigned", SOON);
    let mut ill = project.start(&["run"], &[("HUIJU_FAULT", "archive.before_commit:3:20000")]);
    ill.says("assigned", SOON);
    let mut slices = messages.chunks(100);
    let disturbed =
        |log: String| log.lines().filter(|line| line.contains("assigned") || line.contains("revoked")).count();
    let mut before = 0;
    eventually("the archive is left behind", SOON, || {
        if ill.stderr().contains("standing still") && before == 0 {
            before = disturbed(other.stderr());
        }
        slices.next().into_iter().for_each(|slice| project.send(slice));
        ill.stderr().contains("sink left behind").then_some(())
    });
    slices.for_each(|slice| project.send(slice));
    ill.says("sink can take rows again", SOON);
    eventually("it is a member again", SOON, || {
        let log = ill.stderr();
        log.split("sink can take rows again").nth(1).is_some_and(|after| after.contains("assigned")).then_some(())
    });
    project.carry(&messages, SOON);
    assert_eq!(disturbed(other.stderr()), before, "{}", other.stderr());
    for huiju in [ill, other] {
        assert!(project.terminate(huiju).success(), "{}", project.logs());
    }
    project.finish(&messages);
}

/// A Kafka sink that hangs while its partitions go to another process must not commit for them when it wakes.
#[test]
fn a_sink_that_hangs_commits_nothing_for_partitions_that_were_given_away() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "given_away", SETTINGS);
    let messages = samples(9000, 505);
    project.drained(); // partitions have begun: what is written from here on are rows
    let mut ill = project.start(&["run"], &[("HUIJU_FAULT", "kafka.after_produce:3:45000")]);
    ill.says("assigned", SOON);
    let mut slices = messages.chunks(100);
    eventually("the Kafka sink is left behind", SOON, || {
        slices.next().into_iter().for_each(|slice| project.send(slice));
        ill.stderr().contains("sink left behind").then_some(())
    });
    let mut other = project.start(&["run"], &[]);
    other.says("assigned", 2 * SOON);
    assert!(!ill.stderr().contains("pipeline waits and tries again"), "it hangs still:\n{}", ill.stderr());
    slices.for_each(|slice| project.send(slice));
    project.carry(&messages, SOON);
    ill.says("still has batches in hand", 2 * SOON);
    for huiju in [ill, other] {
        assert!(project.terminate(huiju).success(), "{}", project.logs());
    }
    project.finish(&messages);
}

/// What a process was to give away when it died belongs to nobody once it is back under its name.
#[test]
fn partitions_that_nobody_was_given_are_given_out_again() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "nobodys", Settings { top: "drain = \"2s\"", ..SETTINGS });
    let messages = samples(900, 507);
    let mut dies = project.start(&["run"], &[("HUIJU_FAULT", &format!("{}:1", POINTS[0]))]);
    dies.says("assigned", SOON);
    let mut other = project.start(&["run"], &[]);
    assert!(was_killed(dies.wait(SOON)), "{}", dies.stderr());
    let mut back = project.start(&["run"], &[]);
    back.says("assigned", SOON);
    project.send(&messages);
    other.says("assigned", 2 * SOON); // within three looks
    project.carry(&messages, SOON);
    for huiju in [back, other] {
        assert!(project.terminate(huiju).success(), "{}", project.logs());
    }
    project.finish(&messages);
}

/// The broker still counts them as members, and what they held as read by somebody.
#[test]
fn a_bounded_run_reads_what_dead_processes_hold() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "dead", Settings { session: "10000", ..SETTINGS });
    let messages = samples(900, 508);
    let mut first = project.start(&["run"], &[]);
    first.says("assigned", SOON);
    let mut second = project.start(&["run"], &[]);
    second.says("assigned", SOON); // what the first one had
    project.kill(first);
    project.kill(second);
    project.send(&messages);
    let (status, huiju) = project.drain(&[]);
    assert!(status.success(), "{}", huiju.stderr());
    assert!(project.has_carried(&messages), "{}", huiju.stderr());
    project.finish(&messages);
}

/// One that hangs hides neither why the pipeline cannot go on nor the exit code.
#[test]
fn a_sink_that_hangs_does_not_hide_why_the_pipeline_stops() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "hidden", SETTINGS);
    let messages = samples(900, 506);
    let mut huiju = project.start(&["run"], &[("HUIJU_FAULT", "archive.before_file:1:600000")]);
    huiju.says("assigned", SOON);
    project.send(&messages);
    huiju.says("standing still", SOON);
    project.send(&(0..3000).map(Sent::broken).collect::<Vec<_>>());
    huiju.says("pipeline cannot go on", SOON);
    assert_eq!(huiju.wait(SOON).code(), Some(5), "{}", huiju.stderr());
    assert!(huiju.stderr().contains("limit 50 %"), "{}", huiju.stderr());
}

/// As when the disk is not mounted yet: dedup would know none of the keys that it knew.
#[test]
fn a_process_that_is_started_without_its_archive_waits_for_it() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "unmounted", SETTINGS);
    let messages = samples(1800, 503);
    let (before, after) = messages.split_at(900);
    project.send(before);
    project.drained();
    let (archive, away) = (project.path("archive"), project.path("away"));
    fs::rename(&archive, &away).unwrap();
    project.send(after);
    let mut huiju = project.start(&["run"], &[]);
    huiju.says("though the pipeline has run before: bring it back", SOON);
    huiju.says("is its disk mounted?", SOON);
    assert!(!archive.join("work_orders").exists(), "{}", huiju.stderr());
    // What was made beneath its place meanwhile is hidden when it is mounted.
    let _ = fs::remove_dir_all(&archive);
    fs::rename(&away, &archive).unwrap();
    project.carry(&messages, SOON);
    assert!(project.terminate(huiju).success(), "{}", project.logs());
    project.finish(&messages);
}

/// One that was given up is made anew when somebody says so, and filled from the beginning; the clean topic has nothing twice.
#[test]
fn an_archive_that_was_given_up_is_made_anew_on_demand() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "given_up", SETTINGS);
    let messages = samples(1800, 504);
    project.send(&messages[..900]);
    project.drained();
    let create = |code: i32| {
        let mut huiju = project.start(&["archive", "create"], &[]);
        assert_eq!(huiju.wait(SOON).code(), Some(code), "{}", huiju.stderr());
        huiju.stdout() + &huiju.stderr()
    };
    fs::remove_dir_all(project.path("archive/work_orders")).unwrap();
    let mut huiju = project.start(&["run"], &[]);
    assert_eq!(huiju.wait(SOON).code(), Some(2), "{}", huiju.stderr());
    for said in [huiju.stderr(), create(2)] {
        assert!(
            said.contains("work_orders_rejects is there and") && said.contains("bring it back, or delete both"),
            "{said}"
        );
    }
    fs::remove_dir_all(project.path("archive/work_orders_rejects")).unwrap();
    let said = create(0);
    assert!(said.contains("work_orders: created") && said.contains("work_orders_rejects: created"), "{said}");
    let said = create(0);
    assert!(said.contains("work_orders: is there already"), "{said}");
    project.send(&messages[900..]);
    project.finish(&messages);
}

/// A process whose archive has gone while it runs, and which goes on with its clean topic.
struct Vanished<'k> {
    project: Project<'k>,
    messages: Vec<Sent>,
    huiju: Huiju,
    table: PathBuf,
    away: PathBuf,
}

impl Vanished<'_> {
    fn new<'k>(kafka: &'k Kafka, name: &str, seed: u64) -> Vanished<'k> {
        let project = Project::new(kafka, name, SETTINGS);
        let messages = samples(1800, seed);
        let (before, after) = messages.split_at(900);
        let mut huiju = project.start(&["run"], &[]);
        huiju.says("assigned", SOON);
        project.send(before);
        project.carry(before, SOON);
        let (table, away) = (project.path("archive/work_orders"), project.path("away"));
        fs::rename(&table, &away).unwrap();
        project.send(after);
        huiju.says("sink still not answering", SOON);
        let clean = || read_committed(&kafka.bootstrap(), &project.clean_topic()).len() as u64;
        eventually("the clean topic goes on", SOON, || (clean() == truth(&messages).written).then_some(()));
        Vanished { project, messages, huiju, table, away }
    }
}

/// As a disk does that is taken away: a new table in its place would lack what is in the old one.
#[test]
fn an_archive_that_vanishes_is_waited_for_and_not_begun_anew() {
    let Some(kafka) = kafka::shared() else { return };
    let Vanished { project, messages, huiju, table, away } = Vanished::new(kafka, "vanished", 502);
    assert!(huiju.stderr().contains("though the pipeline has run before: bring it back"), "{}", huiju.stderr());
    assert!(!table.exists(), "{}", huiju.stderr());
    fs::rename(&away, &table).unwrap();
    project.carry(&messages, SOON);
    assert!(project.terminate(huiju).success(), "{}", project.logs());
    project.finish(&messages);
}

/// Another program that judges otherwise must not be the next to start: no success.
#[test]
fn a_stop_that_leaves_a_sink_behind_ends_with_3_and_the_next_start_gives_it_what_it_lacks() {
    let Some(kafka) = kafka::shared() else { return };
    let Vanished { project, messages, huiju, table, away } = Vanished::new(kafka, "lacking", 503);
    assert_eq!(project.terminate(huiju).code(), Some(3), "{}", project.logs());
    let logs = project.logs();
    assert!(logs.contains("stopped while the archive sink is behind: "), "{logs}");
    assert!(logs.contains("the next start gives each sink what it lacks"), "{logs}");
    fs::rename(&away, &table).unwrap();
    project.drained();
    project.finish(&messages);
}
