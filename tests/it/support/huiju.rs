//! The binary as users run it.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use super::process::Process;

/// A running `huiju`; killed when dropped.
pub struct Huiju {
    /// For signals: `kill -9`, SIGTERM, SIGSTOP, SIGCONT.
    pub process: Process,
    output: TempDir,
}

impl Huiju {
    /// Starts it in `folder`. Variables are added to ours.
    pub fn start(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Huiju {
        let output = TempDir::with_prefix("huiju-output-").unwrap();
        let file = |name: &str| File::create(output.path().join(name)).unwrap();
        // Another build may be put to the test: one with optimizations, or an older one.
        let binary = std::env::var_os("HUIJU_TEST_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_huiju").into());
        let mut command = Command::new(binary);
        command.current_dir(folder).args(arguments);
        // What the user has set for his own runs is not meant for these.
        for name in ["HUIJU_CONFIG", "HUIJU_LOG", "HUIJU_LOG_FORMAT", "HUIJU_FAULT", "HUIJU_CLOCK"] {
            command.env_remove(name);
        }
        command.envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr"));
        Huiju { process: Process::spawn(command).unwrap(), output }
    }

    /// Starts it and waits for its end.
    pub fn run(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> (ExitStatus, Huiju) {
        let mut huiju = Huiju::start(folder, arguments, variables);
        (huiju.wait(Duration::from_secs(120)), huiju)
    }

    /// How it ended; panics with what it said when it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        match self.process.wait(limit) {
            Some(status) => status,
            None => panic!("huiju still runs after {limit:?}:\n{}\n{}", self.stdout(), self.stderr()),
        }
    }

    /// Whether it catches a signal by now; before that, most simply end it.
    pub fn catches(&self, signal: libc::c_int) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0");
        u64::from_str_radix(caught.trim(), 16).is_ok_and(|set| set & 1 << (signal - 1) != 0)
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.output.path().join("stdout")).unwrap()).into_owned()
    }

    /// What it has logged so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.output.path().join("stderr")).unwrap()).into_owned()
    }
}
