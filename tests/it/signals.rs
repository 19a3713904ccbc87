//! Signals that a run gets before it has begun anything, and from a terminal that closes. Stops in the midst of its work are
//! in [`crate::stops`].

use std::{
    fs::{self, File},
    time::Duration,
};

use crate::{
    doors::{lamps, shell},
    other_feed::project,
    support::{Huiju, carried::Table, eventually},
};

/// Points on the way that every run passes once, before its pipelines.
pub const POINTS: &[&str] = &["run.listening"];

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_signal_ends_a_run_orderly_from_its_first_moment_on() {
    let folder = project();
    lamps(folder.path(), 1);
    let hold = [("HUIJU_FAULT", "run.listening:1:3000")];
    for (arguments, code, signal) in
        [(&["run"][..], 0, libc::SIGTERM), (&["run", "--until-end"], 3, libc::SIGTERM), (&["run"], 0, libc::SIGHUP)]
    {
        let mut huiju = Huiju::start(folder.path(), arguments, &hold);
        eventually("its first moment", LONG, || {
            huiju.stderr().contains("standing still at run.listening").then_some(())
        });
        huiju.process.signal(signal);
        let status = huiju.wait(LONG);
        assert_eq!(status.code(), Some(code), "{arguments:?} {signal}: {status}\n{}", huiju.stderr());
        assert!(!huiju.stderr().contains("line built"), "{}", huiju.stderr());
        assert!(!huiju.stderr().contains("when it answers"), "nobody was asked: {}", huiju.stderr());
    }
}

#[test]
fn a_terminal_that_closes_ends_a_run_orderly_but_for_nohup() {
    let folder = project();
    lamps(folder.path(), 1);
    let started = |huiju: &Huiju| {
        eventually("a run", LONG, || huiju.stderr().contains("partitions taken over").then_some(()));
    };
    let mut huiju = Huiju::start(folder.path(), &["run"], &[]);
    started(&huiju);
    // Shell and kernel both tell it.
    huiju.process.signal(libc::SIGHUP);
    eventually("it has heard", LONG, || huiju.stderr().contains("for the terminal is gone").then_some(()));
    huiju.process.signal(libc::SIGHUP);
    let status = huiju.wait(LONG);
    assert_eq!(status.code(), Some(0), "{status}\n{}", huiju.stderr());
    let log = folder.path().join("log");
    let mut huiju = shell(folder.path(), "trap '' HUP", &["run"]).stderr(File::create(&log).unwrap()).spawn().unwrap();
    let said = || fs::read_to_string(&log).unwrap();
    eventually("a run under nohup", LONG, || said().contains("partitions taken over").then_some(()));
    // SAFETY: signals to a child that has not been waited for.
    let signal = |signal| unsafe { libc::kill(huiju.id() as i32, signal) };
    signal(libc::SIGHUP);
    // It goes on.
    crate::panics::lamps(folder.path(), "lamps.raw.east", 100..110);
    let table = folder.path().join("archive/lamps");
    eventually("what comes later is carried", LONG, || (Table::skim(&table).account().input == 20).then_some(()));
    assert!(!said().contains("stopping"), "{}", said());
    signal(libc::SIGTERM);
    assert_eq!(huiju.wait().unwrap().code(), Some(0), "{}", said());
}
