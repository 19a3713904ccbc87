//! Everything at once, at random: processes are killed, stopped and joined by others, the broker stands still and dies.
//! Numbered messages go in; what has come out is checked by readers of another make, message by message.
//!
//! `HUIJU_CHAOS` says how many disturbances there are (12 in the gate, 200 for a long run, with 10,000 messages for
//! each); `HUIJU_TEST_SEED` repeats a run: the disturbances are the same, their moments are as exact as the machine.

use std::time::{Duration, Instant};

use crate::{
    faults::numbers,
    kills::{from_environment, verify, with_versions},
    support::{Huiju, Kafka, Project, Sender, Settings},
};

const SHORT: u64 = 12;
/// A throw of the dice for each kind of disturbance.
const KINDS: [u64; 6] = [55, 0, 70, 80, 94, 40];

#[test]
fn whatever_happens_every_message_ends_exactly_once() {
    let Some(kafka) = Kafka::start() else { return };
    let rounds = from_environment("HUIJU_CHAOS", SHORT);
    let count = rounds * if rounds > SHORT { 10_000 } else { 2_000 };
    let seed = from_environment("HUIJU_TEST_SEED", 4_040_404);
    println!("HUIJU_TEST_SEED={seed} HUIJU_CHAOS={rounds}, {count} messages");
    let properties = "\"transaction.timeout.ms\" = \"6000\"\n\"message.timeout.ms\" = \"5000\"";
    let settings = Settings { partitions: 4, interval: "250ms", session: "2000", properties, ..Settings::default() };
    let mut project = Project::new(&kafka, "chaos", settings);
    project.sender = Sender::in_order(&kafka.bootstrap());
    let messages = with_versions(count, seed);
    let begun = Instant::now();
    let mut random = numbers(seed);
    let mut crew = vec![project.start(&["run"], &[])];
    for (round, slice) in messages.chunks(messages.len().div_ceil(rounds as usize)).enumerate() {
        project.send(slice);
        let moment = Duration::from_millis(100 + random() % 1500);
        crew[0].process.wait(moment);
        let chosen = random() as usize % crew.len();
        // Each kind once, then by chance.
        let dice = KINDS.get(round).copied().unwrap_or(random() % 100);
        println!("{:?}: round {round}, {} processes, {}", begun.elapsed(), crew.len(), name(dice));
        disturb(&project, &kafka, &mut crew, chosen, dice, Duration::from_millis(1000 + random() % 3000));
        for huiju in &mut crew {
            assert!(huiju.process.is_running(), "ended by itself:\n{}", huiju.stderr());
        }
    }
    println!("disturbed {rounds} times after {:?}", begun.elapsed());
    if rounds <= SHORT {
        // Those that are left carry the rest.
        project.come_through(&messages, Duration::from_secs(90));
        println!("everything has come through after {:?}", begun.elapsed());
    }
    crew.into_iter().for_each(|huiju| project.stop(huiju));
    project.drained();
    verify(&kafka, &project, &messages);
    println!("verified after {:?}", begun.elapsed());
}

fn name(dice: u64) -> &'static str {
    match dice {
        0..40 => "kill -9 and start again",
        40..55 => "stop and start again",
        55..70 => "another joins, or leaves",
        70..80 => "a process stands still",
        80..94 => "the broker stands still",
        _ => "the broker is killed",
    }
}

fn disturb<'k>(
    project: &Project<'k>,
    kafka: &Kafka,
    crew: &mut Vec<Huiju>,
    chosen: usize,
    dice: u64,
    while_: Duration,
) {
    match dice {
        0..40 => {
            project.kill(crew.remove(chosen));
            crew.push(project.start(&["run"], &[]));
        }
        40..55 => {
            project.stop(crew.remove(chosen));
            crew.push(project.start(&["run"], &[]));
        }
        55..70 if crew.len() < 3 => crew.push(project.start(&["run"], &[])),
        55..70 => project.stop(crew.remove(chosen)),
        70..80 => {
            crew[chosen].process.signal(libc::SIGSTOP);
            crew[chosen].process.wait(while_);
            crew[chosen].process.signal(libc::SIGCONT);
        }
        80..94 => {
            kafka.pause();
            crew[chosen].process.wait(while_);
            kafka.resume();
        }
        _ => {
            kafka.kill();
            crew[chosen].process.wait(while_ / 3);
            kafka.restart();
        }
    }
}
