//! T36: what is in flight is bounded by bytes, not by the number of messages or partitions: 64 partitions full of messages
//! of the largest size.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    faults::numbers,
    support::{Huiju, Project, Settings, kafka, project::KEEP},
};

const PARTITIONS: i32 = 64;
const MESSAGES: usize = 256;
const SIZE: usize = 1_000_000;
/// What may be in flight: the `memory` of the settings and the batch that used it up.
const IN_FLIGHT: u64 = 8 << 20;
/// An eighth of it and one message, and what it has room for beyond them.
const BATCH: u64 = 4 << 20;
/// What a run may take beyond one that has nothing to do. It takes 30 to 40 MB here: what is in flight, what the client has
/// fetched in advance, and what a batch is decoded and written into. With librdkafka's own limit for the second it takes 90.
const GROWTH: u64 = 58 << 20;
/// No run takes longer.
const LIMIT: Duration = Duration::from_secs(900);

#[test]
fn t36_peak_memory_is_bounded_with_64_partitions_of_large_messages() {
    let Some(kafka) = kafka::shared() else { return };
    let settings = Settings { partitions: PARTITIONS, top: "memory = \"8MiB\"", ..Settings::default() };
    let project = Project::without_topics(kafka, "large", settings);
    let large = [KEEP[0], ("max.message.bytes", "1100000")];
    for source in crate::support::project::SOURCES {
        kafka.create_topic(&project.topic(source), PARTITIONS, &large);
    }
    kafka.create_topic(&project.clean_topic(), 4, &KEEP);
    kafka.create_topic(&project.rejected_topic(), 1, &KEEP);
    // The program, its clients and its threads, with nothing to do.
    let idle = run(&project, &[]);
    let filler = text_that_does_not_compress();
    let messages = (0..MESSAGES).map(|number| {
        let payload = message(number, &filler);
        (number as i32 % PARTITIONS, Some(format!("L{number}")), Some(payload), 1_780_300_000_000)
    });
    project.sender.send(&project.topic("nanchang"), messages);

    // The line stands still for long enough that all there is could be fetched meanwhile.
    let stuck = [("HUIJU_FAULT", "line.after_decode:3:6000")];
    let full = run(&project, &stuck);
    let growth = full.taken.saturating_sub(idle.taken);
    println!("idle {} MB, {} MB more, in flight {} MB", idle.taken >> 20, growth >> 20, full.in_flight >> 20);
    let (account, rejected) = (project.settle().account, MESSAGES as u64 / 16);
    assert_eq!((account.input, account.written), (MESSAGES as u64, MESSAGES as u64 - rejected));
    assert_eq!(full.summary["reasons"]["too_large"], rejected);
    let most = full.in_flight;
    assert!((IN_FLIGHT..=IN_FLIGHT + BATCH).contains(&most), "{most} bytes in flight");
    assert!(growth < GROWTH, "{} MB more than the {} MB of an idle run", growth >> 20, idle.taken >> 20);
}

/// What a run has taken and held at most, in bytes.
struct Run {
    /// Without its program.
    taken: u64,
    in_flight: u64,
    summary: Value,
}

fn run(project: &Project, variables: &[(&str, &str)]) -> Run {
    let mut huiju = project.start(&["run", "--until-end", "--format", "json"], variables);
    let (begun, mut peak, mut program, mut held) = (Instant::now(), 0, 0, 0);
    while huiju.process.wait(Duration::from_millis(20)).is_none() {
        assert!(begun.elapsed() < LIMIT, "it still runs:\n{}", huiju.stderr());
        // The kernel keeps the peak, so how often we look does not matter.
        peak = status(&huiju, "VmHWM:").unwrap_or(peak);
        program = status(&huiju, "RssFile:").unwrap_or(0).max(program);
        held = in_flight(&huiju).unwrap_or(0).max(held);
    }
    assert!(huiju.wait(Duration::ZERO).success(), "{}", huiju.stderr());
    // What it has looked at of the program's own file is more by far, and more or less as the machine pleases.
    Run { taken: peak - program, in_flight: held, summary: huiju.summary() }
}

/// A line of what the kernel says about its memory, in bytes.
fn status(huiju: &Huiju, line: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", huiju.process.id())).ok()?;
    let value = status.lines().find_map(|told| told.strip_prefix(line))?;
    Some(value.trim().split(' ').next()?.parse::<u64>().ok()? * 1024)
}

/// What it says that it holds, in bytes.
fn in_flight(huiju: &Huiju) -> Option<u64> {
    let (_, metrics) = huiju.get("/metrics")?;
    let line = metrics.lines().find(|line| line.starts_with("huiju_in_flight_bytes{"))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Most have the bulk in a field that nobody uses, and become rows; one of 16 has it in the content, and its row is too large
/// for the clean topic.
fn message(number: usize, filler: &str) -> String {
    let bulk = &filler[number * 97..][..SIZE - 300];
    let (content, attachment) = if number % 16 == 7 { (bulk, "") } else { ("路灯坏了", bulk) };
    format!(
        r#"{{"orderNum":"L{number}","callerName":"王晓峰","callTime":"2026-05-31 14:30:05","callType":"投诉","updateTime":"2026-05-31 15:00:00","appealContent":"{content}","attachment":"{attachment}"}}"#
    )
}

fn text_that_does_not_compress() -> String {
    let mut random = numbers(36);
    let mut text = String::new();
    while text.len() < SIZE + MESSAGES * 97 {
        text.push_str(&format!("{:016x}", random()));
    }
    text
}
