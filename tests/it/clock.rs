//! T35: somebody sets the machine's clock. Commits go on, because timers do not look at it; what becomes of a message does
//! not depend on it; and no file takes another's place, because names do not come from it.
//!
//! What is set is our clock (`HUIJU_CLOCK`). librdkafka asks the machine's, and some of its waits end at a time of day; libfaketime
//! cannot show what a step does to them: it changes what `timespec_get` says, but not what `cnd_timedwait` waits for.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use crate::support::{
    Huiju, Project, Sent, Settings, carried::Table, eventually, kafka, read_committed, samples, truth,
};

const SOON: Duration = Duration::from_secs(60);
/// Many times the archive's interval, and far below an hour.
const GOES_ON: Duration = Duration::from_secs(300);
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

#[test]
fn t35_a_clock_that_is_set_back_and_forth_changes_nothing() {
    let Some(kafka) = kafka::shared() else { return };
    let messages = samples(2100, 35);
    let slices: Vec<&[Sent]> = messages.chunks(messages.len().div_ceil(7)).collect();
    let project = Project::new(kafka, "clock", Settings::default());
    let file = project.path("clock");
    let shown = file.display().to_string();
    let clock = [("HUIJU_CLOCK", shown.as_str())];
    let set = |seconds: i64| set(&file, seconds);

    set(0);
    let mut huiju = project.start(&["run"], &clock);
    huiju.says("assigned", SOON);
    let mut sent = 0;
    // Back by an hour, forward by a day and an hour, back to the truth.
    for difference in [0, -HOUR, DAY, 0] {
        set(difference);
        project.send(slices[sent]);
        sent += 1;
        goes_on(&project, &mut huiju, &messages[..sent * slices[0].len()]);
    }
    assert!(project.terminate(huiju).success(), "{}", project.logs());
    // The same between runs.
    for difference in [DAY, -HOUR, 0] {
        set(difference);
        project.send(slices[sent]);
        sent += 1;
        let (status, huiju) = project.drain(&clock);
        assert!(status.success(), "{status}: {}", huiju.stderr());
    }
    let carried = project.settle();
    assert_eq!(carried.account, truth(&messages));

    let times: Vec<i64> = written_at(&carried.rows);
    let steps = times.windows(2).map(|pair| (pair[1] - pair[0]) / 1000);
    let (back, forward) = steps.fold((0, 0), |(back, forward), step| (step.min(back), step.max(forward)));
    assert!(back < -DAY && forward > DAY, "the clock was set: {times:?}");

    let still = Project::new(kafka, "still", Settings::default());
    still.send(&messages);
    still.drained();
    carried.logical(&project).assert_same(&still.settle().logical(&still));
}

/// The clock is set while rows wait for the archive's next commit, and others join them all the time: back, it does not wait
/// for an hour; forward, it does not come at once.
#[test]
fn t35_a_commit_that_is_waited_for_comes_in_its_time_when_the_clock_is_set() {
    let Some(kafka) = kafka::shared() else { return };
    let interval = Duration::from_secs(20);
    let project = Project::new(kafka, "waiting", Settings { interval: "20s", ..Settings::default() });
    let messages = samples(1500, 351);
    let file = project.path("clock");
    set(&file, 0);
    let mut huiju = project.start(&["run"], &[("HUIJU_CLOCK", &file.display().to_string())]);
    huiju.says("assigned", SOON);
    let mut sent = 0;
    let mut send = |count: usize| {
        project.send(&messages[sent..][..count]);
        sent += count;
        &messages[..sent]
    };
    let archived = || Table::skim(&project.path("archive/work_orders")).account().input;
    for difference in [-HOUR, DAY] {
        // Where the machine is so slow that the commit came before the clock was set, nothing was tried: once more.
        let (begun, before, said) = loop {
            let (begun, before, said) = (Instant::now(), archived(), huiju.stderr().len());
            let expected = truth(send(30)).written;
            eventually("the clean topic has them", SOON, || {
                (read_committed(&kafka.bootstrap(), &project.clean_topic()).len() as u64 == expected).then_some(())
            });
            if archived() == before {
                break (begun, before, said);
            }
            println!("committed before the clock was set by {difference} s");
        };
        set(&file, difference);
        while archived() == before {
            assert!(begun.elapsed() < 3 * interval, "set by {difference} s: no commit as long as rows come");
            send(10);
            huiju.process.wait(Duration::from_secs(1));
        }
        let took = begun.elapsed();
        // Who joins the group again commits what it has.
        let in_time = took >= interval || huiju.stderr()[said..].contains("sink can take rows again");
        assert!(in_time, "set by {difference} s: committed after {took:?}");
        let so_far = send(0);
        eventually("the archive has all", SOON, || project.has_carried(so_far).then_some(()));
    }
    let sent = send(0);
    assert!(project.terminate(huiju).success(), "{}", project.logs());
    assert_eq!(project.settle().account, truth(sent));
}

/// In one act: half a number is another time.
fn set(file: &Path, seconds: i64) {
    let fresh = file.with_extension("new");
    fs::write(&fresh, seconds.to_string()).unwrap();
    fs::rename(fresh, file).unwrap();
}

/// Everything so far comes into the clean topic and is committed to the archive.
#[track_caller]
fn goes_on(project: &Project<'_>, huiju: &mut Huiju, so_far: &[Sent]) {
    let begun = Instant::now();
    eventually("both sinks have committed everything so far", GOES_ON, || {
        assert!(huiju.process.is_running(), "{}", huiju.stderr());
        project.has_carried(so_far).then_some(())
    });
    println!("went on in {:?}", begun.elapsed());
}

/// When its commits say that they were made, in milliseconds since 1970.
fn written_at(table: &Table) -> Vec<i64> {
    table.log.iter().filter_map(|(_, action)| action.get("commitInfo")?["timestamp"].as_i64()).collect()
}
