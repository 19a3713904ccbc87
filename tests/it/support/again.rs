//! A test of this binary once more, in a process of its own: one that is to die, or must be alone.

use std::{
    env,
    io::{Read, Seek},
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use super::process::Process;

/// Runs `test` with these variables; how it ended, and what it said. Panics with that when it still runs after `limit`.
#[track_caller]
pub fn again(test: &str, variables: &[(&str, &str)], limit: Duration) -> (ExitStatus, String) {
    let mut output = tempfile::tempfile().unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).envs(variables.iter().copied());
    let file = || output.try_clone().unwrap();
    command.stdin(Stdio::null()).stdout(file()).stderr(file());
    let mut process = Process::spawn(command).unwrap();
    let ended = process.wait(limit);
    let mut said = Vec::new();
    output.rewind().unwrap();
    output.read_to_end(&mut said).unwrap();
    let said = String::from_utf8_lossy(&said).into_owned();
    match ended {
        Some(status) => (status, said),
        None => panic!("{test} still runs after {limit:?}:\n{said}"),
    }
}
