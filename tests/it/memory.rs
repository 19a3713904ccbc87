//! T36: what is in flight is bounded by bytes, not by the number of messages or partitions: 64 partitions full of messages
//! of the largest size.

use std::{fs, time::Duration};

use crate::{
    faults::numbers,
    support::{Huiju, Project, Settings, kafka, project::KEEP},
};

const PARTITIONS: i32 = 64;
const MESSAGES: usize = 256;
const SIZE: usize = 1_000_000;
/// What may be in flight: the `memory` of the settings, and the batch that used it up.
const IN_FLIGHT: u64 = 8 << 20;
/// 4 MiB and what it has room for beyond them.
const BATCH: u64 = 11 << 20;
/// Of the debug build, which needs 180 to 190 MB here: 110 MB for the program and the two clients, what is in flight, and what
/// that is decoded and written into. It needs 213 with librdkafka's own limit for what it fetches in advance, and 400 when
/// partitions are not paused.
const PEAK_MB: u64 = 200;

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
    let filler = text_that_does_not_compress();
    let messages = (0..MESSAGES).map(|number| {
        let payload = message(number, &filler);
        (number as i32 % PARTITIONS, Some(format!("L{number}")), Some(payload), 1_780_300_000_000)
    });
    project.sender.send(&project.topic("nanchang"), messages);

    // The line stands still for long enough that all there is could be fetched meanwhile.
    let stuck = [("HUIJU_FAULT", "line.after_decode:3:6000")];
    let mut huiju = project.start(&["run", "--until-end", "--format", "json"], &stuck);
    let status = format!("/proc/{}/status", huiju.process.id());
    let (mut peak, mut most) = (0, 0);
    // The kernel keeps the peak, so how often we look does not matter, but for the last moments.
    while huiju.process.wait(Duration::from_millis(20)).is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok()).unwrap_or(peak);
        most = most.max(in_flight(&huiju).unwrap_or(0));
    }
    assert!(huiju.wait(Duration::ZERO).success(), "{}", huiju.stderr());
    println!("peak {} MB, in flight {} MB", peak / 1000, most / 1_000_000);
    let (account, rejected) = (project.settle().account, MESSAGES as u64 / 16);
    assert_eq!((account.input, account.written), (MESSAGES as u64, MESSAGES as u64 - rejected));
    assert_eq!(huiju.summary()["reasons"]["too_large"], rejected);
    assert!((IN_FLIGHT..=IN_FLIGHT + BATCH).contains(&most), "{most} bytes in flight");
    assert!(peak / 1000 < PEAK_MB, "peak {} MB", peak / 1000);
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
