//! T06: messages that we have not read are gone: retention passes the cursor, or the topic is deleted and made again. The
//! pipeline stops with cause and range, or records the gap by policy; never is it silent.

use std::{fs, time::Duration};

use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value};

use crate::support::{
    Kafka, Project, Sent, Settings, eventually, kafka,
    project::{KEEP, SOURCES},
    read_committed, samples, truth,
};

const SOON: Duration = Duration::from_secs(60);
const PIPELINE: &str = "pipelines/work_orders/pipeline.toml";

/// Half of the messages are carried over; of the other half the first of one partition are deleted.
fn passed_by<'k>(kafka: &'k Kafka, name: &str) -> (Project<'k>, Vec<Sent>, i64, i64) {
    let project = Project::new(kafka, name, Settings { partitions: 1, ..Settings::default() });
    let messages = only_nanchang(6);
    let half = messages.len() / 2;
    project.send(&messages[..half]);
    project.drained();
    project.send(&messages[half..]);
    let (from, low) = (half as i64, half as i64 + 40);
    kafka.delete_records(&project.topic("nanchang"), 0, low);
    (project, messages, from, low)
}

fn only_nanchang(seed: u64) -> Vec<Sent> {
    samples(900, seed).into_iter().filter(|message| message.source == "nanchang").collect()
}

#[test]
fn t06_retention_that_passes_the_cursor_stops_the_pipeline_with_the_range() {
    let Some(kafka) = kafka::shared() else { return };
    let (project, ..) = passed_by(kafka, "retention");
    for _ in 0..2 {
        let (status, huiju) = project.drain(&[]);
        let said = huiju.stderr();
        assert_eq!(status.code(), Some(6), "{said}");
        assert!(said.contains("nanchang/0: the offsets 150 to 189 are gone"), "{said}");
    }
}

#[test]
fn t06_retention_that_passes_the_cursor_is_recorded_where_the_policy_says_so() {
    let Some(kafka) = kafka::shared() else { return };
    let (project, messages, from, low) = passed_by(kafka, "gap");
    project.edit(PIPELINE, "gaps     = \"stop\"", "gaps     = \"record\"");
    let (status, huiju) = project.drain(&[]);
    assert!(status.success(), "{}", huiju.stderr());
    assert!(huiju.stderr().contains("recorded as a gap"), "{}", huiju.stderr());
    let carried = project.settle();
    let left: Vec<Sent> = messages
        .iter()
        .enumerate()
        .filter(|(at, _)| !(from..low).contains(&(*at as i64)))
        .map(|(_, m)| m.clone())
        .collect();
    let (found, expected) = (carried.account, truth(&left));
    // One reject stands for the range, in the archive and in the rejected topic.
    assert_eq!(found.rejected, expected.rejected + 1, "{found:?} {expected:?}");
    // A copy is none when what it is a copy of is gone.
    assert_eq!(found.written + found.duplicate, expected.written + expected.duplicate, "{found:?} {expected:?}");
    let is_gap = |row: &&Map<String, Value>| row["faults"].to_string().contains("gap.retention");
    let recorded: Vec<_> = carried.rejects.rows.iter().filter(is_gap).collect();
    assert_eq!(recorded.len(), 1, "the gap is data");
    assert_eq!(recorded[0]["offset"], from);
    let reason = recorded[0]["faults"].to_string();
    assert!(reason.contains("150 至 190"), "{reason}");
    let again = project.drained();
    assert_eq!(again["in"], 0, "it is recorded once");
}

/// The same beneath a process that runs, and has stood still meanwhile.
#[test]
fn t06_retention_that_passes_a_running_process_is_noticed_too() {
    let Some(kafka) = kafka::shared() else { return };
    // In the last one what was read is not in the archive yet, and no longer in the topic.
    for (gaps, recorded, interval) in [("stop", false, "150ms"), ("record", true, "150ms"), ("record", true, "60s")] {
        let settings = Settings { partitions: 1, session: "120000", interval, ..Settings::default() };
        let project = Project::new(kafka, "passed", settings);
        project.edit(PIPELINE, "gaps     = \"stop\"", &format!("gaps     = \"{gaps}\""));
        let messages = only_nanchang(10);
        let (before, after) = messages.split_at(messages.len() / 2);
        let mut huiju = project.start(&["run"], &[]);
        huiju.says("assigned", SOON);
        project.send(before);
        let written = truth(before).written;
        let in_flight = interval == "60s";
        eventually("it has read them", SOON, || {
            let read = if in_flight { project.written() == written } else { project.has_carried(before) };
            read.then_some(())
        });
        huiju.process.signal(libc::SIGSTOP);
        if in_flight {
            assert_eq!(crate::support::Carried::skim(&project).account.input, 0, "the archive has none of it yet");
        }
        // Who stands still may have asked for messages already, and has the answer when he wakes up: the first, or a few.
        project.send(&after[..1]);
        project.send(&after[1..]);
        let low = before.len() as i64 + 40;
        kafka.delete_records(&project.topic("nanchang"), 0, low);
        huiju.process.signal(libc::SIGCONT);
        if recorded {
            huiju.says("recorded as a gap", SOON);
            assert!(project.terminate(huiju).success(), "{}", project.logs());
            project.drained();
            let carried = project.settle();
            let is_gap = |row: &&Map<String, Value>| row["faults"].to_string().contains("gap.retention");
            let gap = carried.rejects.rows.iter().find(is_gap).unwrap();
            let first = gap["offset"].as_u64().unwrap() as usize - before.len();
            let left = truth(&[before, &after[..first], &after[40..]].concat());
            assert_eq!(
                (carried.account.written, carried.account.rejected),
                (left.written, left.rejected + 1),
                "{gap:?}"
            );
        } else {
            let status = huiju.wait(SOON);
            let said = huiju.stderr();
            assert_eq!(status.code(), Some(6), "{said}");
            let mut told = (150..190).map(|from| format!("nanchang/0: the offsets {from} to 189 are gone"));
            assert!(told.any(|told| said.contains(&told)), "{said}");
        }
    }
}

#[test]
fn t06_a_topic_made_again_with_fewer_messages_stops_the_pipeline() {
    let Some(kafka) = kafka::shared() else { return };
    let (project, said) = made_again(kafka, "fewer", "record", 20);
    assert!(said.contains("created anew"), "{said}");
    drop(project);
}

/// By its offsets it looks like the old one; but the broker has forgotten the group's offsets with the topic.
#[test]
fn t06_a_topic_made_again_with_more_messages_stops_the_pipeline() {
    let Some(kafka) = kafka::shared() else { return };
    let (project, said) = made_again(kafka, "more", "stop", 1000);
    assert!(said.contains("--reset-offsets") && said.contains("nanchang/0"), "{said}");
    let taken = crate::support::Carried::skim(&project).account.input;
    assert_eq!(taken, 150, "nothing of it was taken");
}

fn made_again<'k>(kafka: &'k Kafka, name: &str, gaps: &str, count: usize) -> (Project<'k>, String) {
    let project = Project::new(kafka, name, Settings { partitions: 1, ..Settings::default() });
    project.edit(PIPELINE, "gaps     = \"stop\"", &format!("gaps     = \"{gaps}\""));
    project.send(&only_nanchang(7)[..150]);
    project.drained();
    let topic = project.topic("nanchang");
    kafka.delete_topic(&topic);
    kafka.create_topic(&topic, 1, &KEEP);
    let others: Vec<Sent> = samples(3000, 8).into_iter().filter(|message| message.source == "nanchang").collect();
    project.send(&others[..count]);
    let (status, huiju) = project.drain(&[]);
    let said = huiju.stderr();
    assert_eq!(status.code(), Some(6), "{said}");
    (project, said)
}

/// The client goes on in the new topic at the old offset, and what it has read there is committed.
#[test]
fn t06_a_topic_made_again_while_it_is_read_stops_the_pipeline() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "live", Settings { partitions: 1, ..Settings::default() });
    let messages: Vec<Sent> = samples(3000, 10).into_iter().filter(|message| message.source == "nanchang").collect();
    let (old, new) = messages[..950].split_at(150);
    let mut huiju = project.start(&["run"], &[]);
    huiju.says("assigned", SOON);
    project.send(old);
    eventually("the old topic is carried", SOON, || project.has_carried(old).then_some(()));
    let topic = project.topic("nanchang");
    kafka.delete_topic(&topic);
    kafka.create_topic(&topic, 1, &KEEP);
    project.send(new);
    assert_eq!(huiju.wait(SOON).code(), Some(6), "{}", huiju.stderr());
    assert!(huiju.stderr().contains("created anew"), "{}", huiju.stderr());
    // However often it is started.
    for _ in 0..2 {
        let (status, again) = project.drain(&[]);
        assert_eq!(status.code(), Some(6), "{}", again.stderr());
        assert!(again.stderr().contains("created anew"), "{}", again.stderr());
    }
    // As it says; here it is no copy.
    kafka.set_offset(&format!("{}.work_orders", project.prefix), &topic, 0, new.len() as i64);
    project.drained();
}

/// Before the first message is taken, every sink knows where each partition begins: from then on a missing cursor is a lost
/// one.
#[test]
fn t06_where_partitions_begin_is_remembered_before_the_first_message() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "remembered", Settings { partitions: 2, ..Settings::default() });
    let mut huiju = project.start(&["run"], &[]);
    huiju.says("assigned", SOON);
    let group = format!("{}.work_orders", project.prefix);
    for source in SOURCES {
        assert_eq!(kafka.offsets(&group, &project.topic(source), 2), [Some(0), Some(0)], "{source}");
    }
    let log = fs::read_dir(project.path("archive/work_orders/_delta_log")).unwrap();
    let entries = log.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect::<String>();
    let cursors = entries.lines().filter(|line| line.starts_with("{\"txn\"")).count();
    assert_eq!(cursors, 2 * SOURCES.len(), "{entries}");
    assert!(project.terminate(huiju).success(), "{}", project.logs());
}

/// The group's offsets are gone, the archive's cursor is not: the clean topic would begin anew.
#[test]
fn t06_offsets_that_the_broker_has_forgotten_are_not_taken_for_a_beginning() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "forgotten", Settings { partitions: 1, ..Settings::default() });
    let messages = only_nanchang(9);
    project.send(&messages[..150]);
    project.drained();
    let group = format!("{}.work_orders", project.prefix);
    kafka.delete_group(&group);
    project.send(&messages[150..]);
    let (status, huiju) = project.drain(&[]);
    let said = huiju.stderr();
    assert_eq!(status.code(), Some(6), "{said}");
    assert!(said.contains("--reset-offsets") && said.contains(&group) && said.contains("150"), "{said}");
    // As it says.
    kafka.set_offset(&group, &project.topic("nanchang"), 0, 150);
    project.finish(&messages);
}

/// Without an archive only the clean topic itself tells that it would begin again.
#[test]
fn t06_a_pipeline_without_an_archive_does_not_begin_its_clean_topic_again() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "alone", Settings { partitions: 1, ..Settings::default() });
    project.edit(
        PIPELINE,
        "[[sink]]\nkind = \"archive\"\npath = \"work_orders\"\npartition_by = [\"ingested_on\"]\n",
        "",
    );
    let dedup = "[dedup]\nkey = [\"app_id\", \"order_no\", \"update_time\"]\nwithin = \"7d\"\n\
                 across_partitions = \"refuse\"\nmax_keys = 5000000\n";
    project.edit(PIPELINE, dedup, "");
    let messages = only_nanchang(12);
    let clean = || read_committed(&kafka.bootstrap(), &project.clean_topic());
    project.send(&messages[..150]);
    project.drained();
    let (group, before) = (format!("{}.work_orders", project.prefix), clean());
    kafka.delete_group(&group);
    project.send(&messages[150..]);
    let (status, huiju) = project.drain(&[]);
    let said = huiju.stderr();
    assert_eq!(status.code(), Some(6), "{said}");
    assert!(said.contains(&group) && said.contains(&project.clean_topic()) && said.contains("--to-earliest"), "{said}");
    let newest = before.iter().filter_map(|row| row.timestamp).max().and_then(DateTime::from_timestamp_millis);
    let newest = newest.unwrap().to_rfc3339_opts(SecondsFormat::Millis, true);
    assert!(said.contains(&format!("nanchang {newest}")), "{newest}: {said}");
    assert_eq!(clean().len(), before.len());
    // As it says.
    kafka.set_offset(&group, &project.topic("nanchang"), 0, 150);
    project.drained();
    let rejected = read_committed(&kafka.bootstrap(), &project.rejected_topic()).len();
    assert_eq!(clean().len() + rejected, messages.len());
}

/// Each partition would cost a start of its own.
#[test]
fn t06_all_offsets_that_the_broker_has_forgotten_are_told_at_once() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "lost", Settings { partitions: 2, ..Settings::default() });
    let messages = only_nanchang(10);
    project.send(&messages[..150]);
    project.drained();
    let (group, topic) = (format!("{}.work_orders", project.prefix), project.topic("nanchang"));
    let offsets = kafka.offsets(&group, &topic, 2);
    kafka.delete_group(&group);
    project.send(&messages[150..]);
    let (status, huiju) = project.drain(&[]);
    let said = huiju.stderr();
    assert_eq!(status.code(), Some(6), "{said}");
    assert!(said.contains(&format!("--group {group} --topic")), "{said}");
    for (number, offset) in offsets.into_iter().map(|offset| offset.unwrap()).enumerate() {
        assert!(offset > 0 && said.contains(&format!("{topic},{number},{offset}")), "{offset}: {said}");
        // As it says.
        kafka.set_offset(&group, &topic, number as i32, offset);
    }
    project.finish(&messages);
}

/// Nobody can take them back, but somebody can read what has come of it.
#[test]
fn offsets_that_somebody_sets_back_are_told() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "back", Settings { partitions: 1, ..Settings::default() });
    project.send(&only_nanchang(11)[..150]);
    project.drained();
    let clean = || read_committed(&kafka.bootstrap(), &project.clean_topic()).len();
    let before = clean();
    kafka.set_offset(&format!("{}.work_orders", project.prefix), &project.topic("nanchang"), 0, 100);
    let (status, huiju) = project.drain(&[]);
    let said = huiju.stderr();
    assert!(status.success(), "{said}");
    let told = said.lines().find(|line| line.contains("behind the other sinks")).unwrap_or_default();
    assert!(told.contains("WARN") && told.contains("kafka") && told.contains("100 of 150"), "{said}");
    assert!(clean() > before, "the clean topic has them again");
}
