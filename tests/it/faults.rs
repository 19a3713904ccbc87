//! T01: the process dies, as by `kill -9`, at every named point of the way. It is started again, and everything must
//! be as if nothing had happened: the same rows, none twice, the same rejects, an account that adds up.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::OnceLock,
    time::{Duration, Instant},
};

use crate::support::{
    Kafka, Project, Sent, Settings, carried::Logical, eventually, kafka, project::was_killed, read_committed,
    read_uncommitted, samples, truth,
};

/// A test per point, so that a failure says which.
macro_rules! points {
    ($($test:ident: $point:literal,)*) => {
        const POINTS: &[&str] = &[$($point),*];
        $(
            #[test]
            fn $test() {
                dies_at($point);
            }
        )*
    };
}

points! {
    t01_after_fetch: "kafka.after_fetch",
    t01_after_decode: "line.after_decode",
    t01_before_produce: "kafka.before_produce",
    t01_after_produce: "kafka.after_produce",
    t01_before_offsets: "kafka.before_offsets",
    t01_after_offsets: "kafka.after_offsets",
    t01_prepared: "kafka.prepared",
    t01_after_transaction: "kafka.after_commit",
    t01_before_file: "archive.before_file",
    t01_after_file: "archive.after_file",
    t01_after_intent: "archive.after_intent",
    t01_after_rename: "archive.after_rename",
    t01_before_log_entry: "archive.before_commit",
    t01_after_log_entry: "archive.after_commit",
    t01_after_commit_of_rejects: "archive.after_rejects_commit",
}

const MESSAGES: u64 = 2400;

fn messages() -> &'static [Sent] {
    static MESSAGES_MADE: OnceLock<Vec<Sent>> = OnceLock::new();
    MESSAGES_MADE.get_or_init(|| samples(MESSAGES, 20))
}

/// What comes out when nothing disturbs; it is also what the generator meant.
fn undisturbed(kafka: &Kafka) -> &'static Logical {
    static UNDISTURBED: OnceLock<Logical> = OnceLock::new();
    UNDISTURBED.get_or_init(|| {
        let project = Project::new(kafka, "undisturbed", Settings::default());
        project.send(messages());
        // Whoever looks for a fault turns the log up: it must be as discreet then.
        let (status, huiju) = project.drain(&[("HUIJU_LOG", "debug")]);
        assert!(status.success(), "{status}: {}", huiju.stderr());
        let summary = huiju.summary();
        let carried = project.settle();
        let truth = truth(messages());
        assert_eq!(carried.account, truth, "what the messages were made to be");
        for (name, count) in [
            ("in", truth.input),
            ("written", truth.written),
            ("rejected", truth.rejected),
            ("duplicate", truth.duplicate),
        ] {
            assert_eq!(summary[name], count, "{name} of the summary");
        }
        carried.logical(&project)
    })
}

fn dies_at(point: &str) {
    let Some(kafka) = kafka::shared() else { return };
    let undisturbed = undisturbed(kafka);
    the_first_time(kafka, point).assert_same(undisturbed);
    later_while_messages_come(kafka, point).assert_same(undisturbed);
}

/// Everything is there already; it dies at the first pass.
fn the_first_time(kafka: &Kafka, point: &str) -> Logical {
    let project = Project::new(kafka, "first", Settings::default());
    project.send(messages());
    let (status, huiju) = project.drain(&[("HUIJU_FAULT", point)]);
    assert!(was_killed(status), "{point} was not passed: {status}\n{}", huiju.stderr());
    project.drained();
    project.settle().logical(&project)
}

/// Messages come while it runs; it dies at the fourth pass, when several commits have been made.
fn later_while_messages_come(kafka: &Kafka, point: &str) -> Logical {
    let project = Project::new(kafka, "later", Settings::default());
    let mut huiju = project.start(&["run"], &[("HUIJU_FAULT", &format!("{point}:4"))]);
    let mut slices = messages().chunks(MESSAGES as usize / 12);
    let mut sent = 0;
    for slice in slices.by_ref() {
        project.send(slice);
        sent += slice.len();
        // A commit at least of each sink.
        let died = eventually("the slice is carried", Duration::from_secs(60), || {
            let died = !huiju.process.is_running();
            (died || project.has_carried(&messages()[..sent])).then_some(died)
        });
        if died {
            break;
        }
    }
    let died = huiju.wait(Duration::from_secs(20));
    assert!(was_killed(died), "{point} was not passed four times: {died}\n{}", huiju.stderr());
    slices.for_each(|slice| project.send(slice));
    project.drained();
    project.settle().logical(&project)
}

/// Rows and offsets are with the broker, only the word that they count is missing; and the broker would wait for it for
/// longer than this test takes. The restart takes the transaction back.
#[test]
fn t17_a_transaction_that_is_prepared_and_not_committed_was_never_done() {
    let Some(kafka) = kafka::shared() else { return };
    let undisturbed = undisturbed(kafka);
    let properties = "\"transaction.timeout.ms\" = \"300000\"";
    let project = Project::new(kafka, "prepared", Settings { properties, ..Settings::default() });
    let (before, after) = messages().split_at(MESSAGES as usize / 2);
    project.send(before);
    project.drained();
    project.send(after);
    let (status, huiju) = project.drain(&[("HUIJU_FAULT", "kafka.prepared")]);
    assert!(was_killed(status), "{status}\n{}", huiju.stderr());
    let (bootstrap, topic) = (kafka.bootstrap(), project.clean_topic());
    let open = read_uncommitted(&bootstrap, &topic).len() - read_committed(&bootstrap, &topic).len();
    assert!(open > 0, "rows of the open transaction are with the broker");
    project.drained();
    let carried = project.settle();
    let aborted = read_uncommitted(&bootstrap, &topic).len() - carried.clean.len();
    // One that had to begin anew has aborted rows of its own.
    let begun_anew = project.logs().contains("waits and tries again");
    let are_there = aborted == open || aborted > open && begun_anew;
    assert!(are_there, "{aborted} of {open}: they are there still, and nobody counts them");
    carried.logical(&project).assert_same(undisturbed);
}

/// Where a call of the Kafka client is held up for longer than it is waited for.
const CALLS: &[&str] = &["kafka.in_offsets", "kafka.in_commit"];

/// A mistake of ours in the middle of a transaction is no call that hangs: nothing is tried again.
#[test]
fn a_panic_in_a_call_of_the_client_ends_the_process_with_70_and_nothing_is_lost() {
    let Some(kafka) = kafka::shared() else { return };
    for point in CALLS {
        let project = Project::new(kafka, "panics", Settings::default());
        project.send(messages());
        let (status, huiju) = project.drain(&[("HUIJU_FAULT", &format!("{point}:1:panic"))]);
        let said = huiju.stderr();
        assert_eq!(status.code(), Some(70), "{point}: {said}");
        assert!(said.contains("thread transaction panicked at src/"), "{point}: {said}");
        project.drained();
        project.settle().logical(&project).assert_same(undisturbed(kafka));
    }
}

/// It is given up, a new producer takes over, and when the call goes on at last nobody listens to it any more.
#[test]
fn a_call_of_the_client_that_hangs_is_given_up() {
    let Some(kafka) = kafka::shared() else { return };
    let undisturbed = undisturbed(kafka);
    let hangs = |point: &str| {
        let project = Project::new(kafka, "hangs", Settings::default());
        let (before, after) = messages().split_at(MESSAGES as usize / 2);
        project.send(before);
        let mut huiju = project.start(&["run"], &[("HUIJU_FAULT", &format!("{point}:3:10000"))]);
        huiju.says("standing still", Duration::from_secs(60));
        let begun = Instant::now();
        huiju.says("has not come back from the call", Duration::from_secs(60));
        project.send(after);
        // Until the call has gone on, which is part of the disturbance.
        huiju.process.wait(Duration::from_secs(12).saturating_sub(begun.elapsed()));
        assert!(project.terminate(huiju).success(), "{point}: {}", project.logs());
        project.drained();
        project.settle().logical(&project).assert_same(undisturbed);
    };
    std::thread::scope(|scope| CALLS.iter().for_each(|point| drop(scope.spawn(|| hangs(point)))));
}

#[test]
fn every_point_in_the_code_has_its_test() {
    let mut named = BTreeSet::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut named);
    let tested: BTreeSet<String> = POINTS
        .iter()
        .chain(CALLS)
        .chain(crate::files::POINTS)
        .chain(crate::upkeep::POINTS)
        .chain(crate::stops::POINTS)
        .chain(crate::behind::POINTS)
        .chain(crate::signals::POINTS)
        .map(|point| (*point).to_owned())
        .collect();
    assert_eq!(named, tested);
}

fn read(folder: &Path, named: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(&path, named);
        } else {
            let text = fs::read_to_string(&path).unwrap();
            let points = text.split("fault::point(\"").skip(1).filter_map(|rest| rest.split('"').next());
            named.extend(points.map(str::to_owned));
        }
    }
}

/// T20: the same input, ended at random moments again and again: the same result.
#[test]
fn t20_the_same_result_however_often_it_is_restarted() {
    const ROUNDS: usize = 50;
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "restarts", Settings::default());
    let seed = 20_260_601_u64;
    println!("seed {seed}");
    let mut random = numbers(seed);
    let begun = Instant::now();
    let (mut sent, mut at_work) = (0, 0);
    for (round, slice) in messages().chunks(messages().len().div_ceil(ROUNDS)).enumerate() {
        project.send(slice);
        sent += slice.len();
        let mut huiju = project.start(&["run"], &[]);
        // Every other time it has come so far that it has work; else anywhere, also before it has begun.
        if round % 2 == 0 {
            huiju.says("assigned", Duration::from_secs(60));
        }
        let moment = Duration::from_millis(random() % 700);
        assert!(huiju.process.wait(moment).is_none(), "round {round} ended by itself:\n{}", huiju.stderr());
        match round % 3 {
            0 => project.stop(huiju),
            _ => project.kill(huiju),
        }
        at_work += u32::from(!project.has_carried(&messages()[..sent]));
    }
    println!("restarts took {:?}, {at_work} of them with work left", begun.elapsed());
    assert!(at_work >= ROUNDS as u32 / 4, "only {at_work} of {ROUNDS} ends left work");
    project.drained();
    project.settle().logical(&project).assert_same(undisturbed(kafka));
}

/// A seeded row of numbers.
pub fn numbers(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = xxhash_rust::xxh3::xxh3_64(&state.to_le_bytes());
        state
    }
}
