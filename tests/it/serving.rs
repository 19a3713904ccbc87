//! `/metrics`, `/health` and `/ready` beside a pipeline: whoever watches it cannot stop it.

use std::{
    fs,
    io::Write,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    doors::{edit, lamps},
    other_feed::project,
    support::{Huiju, eventually},
};

const SOON: Duration = Duration::from_secs(60);

/// Soft and hard limit of a process's descriptors.
fn descriptors(process: u32) -> Option<[String; 2]> {
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).ok()?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
    let mut words = line.split_whitespace().skip(3).map(str::to_owned);
    Some([words.next()?, words.next()?])
}

fn listening() -> tempfile::TempDir {
    let folder = project();
    edit(&folder.path().join("huiju.toml"), "pipelines =", "listen = \"127.0.0.1:0\"\npipelines =");
    folder
}

fn archived(folder: &Path) -> usize {
    let log = fs::read_dir(folder.join("archive/lamps/_delta_log")).into_iter().flatten();
    let texts = log.filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok());
    let written =
        texts.filter_map(|text| text.split("\"written\":").nth(1)?.split([',', '}']).next()?.parse::<usize>().ok());
    written.sum()
}

/// Requests that never end hold a descriptor each; files and brokers need some too.
#[test]
fn connections_that_say_nothing_do_not_stop_a_pipeline() {
    let folder = listening();
    let folder = folder.path();
    lamps(folder, 1);
    let mut huiju = Huiju::start(folder, &["run"], &[]);
    eventually("the first are there", SOON, || (archived(folder) == 10).then_some(()));
    let log = huiju.stderr();
    let line = log.lines().find(|line| line.contains("serving /metrics")).unwrap();
    let port = line.split("127.0.0.1:").nth(1).unwrap().split(|c: char| !c.is_ascii_digit()).next().unwrap();
    let few = libc::rlimit { rlim_cur: 160, rlim_max: 160 };
    // SAFETY: a process of ours, and a limit that lives.
    let set = unsafe { libc::prlimit(huiju.process.id() as i32, libc::RLIMIT_NOFILE, &few, std::ptr::null_mut()) };
    assert_eq!(set, 0);
    let port: u16 = port.parse().unwrap();
    let half = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: huiju\r\n").unwrap();
        stream
    };
    let held: Vec<TcpStream> = (0..250).map(|_| half()).collect();
    let open = || fs::read_dir(format!("/proc/{}/fd", huiju.process.id())).unwrap().count();
    let many = eventually("it has taken some of them", SOON, || Some(open()).filter(|open| *open > 64));
    crate::panics::lamps(folder, "lamps.raw.east", 10..30);
    eventually("the others are there", SOON, || (archived(folder) == 30).then_some(()));
    assert!(!huiju.stderr().contains("Too many open files"), "{many}: {}", huiju.stderr());
    drop(held);
    eventually("it answers again", SOON, || huiju.get("/ready").filter(|(code, _)| *code == 200));
    huiju.process.signal(libc::SIGTERM);
    assert!(huiju.wait(SOON).success(), "{}", huiju.stderr());
}

#[test]
fn a_process_may_have_as_many_descriptors_as_it_can_ask_for() {
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -Sn 256 && exec \"$0\" classify", env!("CARGO_BIN_EXE_huiju")])
        .stdin(Stdio::piped()) // it waits for texts, and ends when we do
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let [soft, hard] = eventually("it has begun", SOON, || {
        let arguments = fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
        descriptors(child.id()).filter(|[soft, _]| arguments.ends_with(b"classify\0") && soft != "256")
    });
    assert_eq!(soft, hard);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_bounded_run_beside_a_process_that_has_its_port_serves_nothing() {
    let folder = project();
    let folder = folder.path();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("listen = \"{}\"\npipelines =", other.local_addr().unwrap());
    edit(&folder.join("huiju.toml"), "pipelines =", &listen);
    lamps(folder, 1);
    let (status, huiju) = Huiju::run(folder, &["run"], &[]);
    assert_eq!(status.code(), Some(2), "{}", huiju.stderr());
    let (status, huiju) = Huiju::run(folder, &["run", "--until-end"], &[]);
    assert!(status.success() && huiju.stderr().contains("not serving /metrics"), "{}", huiju.stderr());
}
