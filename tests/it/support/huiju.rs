//! The binary as users run it.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::{Command, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use tempfile::TempDir;

use super::process::Process;

/// A running `huiju`; killed when dropped.
pub struct Huiju {
    /// For signals: `kill -9`, SIGTERM, SIGSTOP, SIGCONT.
    pub process: Process,
    pub output: Output,
}

/// What a run has printed and logged, also when it has ended.
#[derive(Clone)]
pub struct Output(Arc<TempDir>);

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
        Huiju { process: Process::spawn(command).unwrap(), output: Output(Arc::new(output)) }
    }

    /// Starts it and waits for its end.
    pub fn run(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> (ExitStatus, Huiju) {
        let mut huiju = Huiju::start(folder, arguments, variables);
        (huiju.wait(Duration::from_secs(600)), huiju)
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

    /// Status and body of `/metrics` or another page that it serves, if it does and can; projects make it do so.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let log = self.stderr();
        let line = log.lines().find(|line| line.contains("serving /metrics"))?;
        let port = line.split("127.0.0.1:").nth(1)?.split(|c: char| !c.is_ascii_digit()).next()?;
        let mut stream = TcpStream::connect(("127.0.0.1", port.parse().ok()?)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: huiju\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let code = answer.split(' ').nth(1)?.parse().ok()?;
        Some((code, answer.split_once("\r\n\r\n")?.1.to_owned()))
    }

    pub fn stdout(&self) -> String {
        self.output.stdout()
    }

    pub fn stderr(&self) -> String {
        self.output.stderr()
    }
}

impl Output {
    /// What it has printed so far.
    pub fn stdout(&self) -> String {
        self.read("stdout")
    }

    /// What it has logged so far.
    pub fn stderr(&self) -> String {
        self.read("stderr")
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.0.path().join(name)).unwrap()).into_owned()
    }
}
