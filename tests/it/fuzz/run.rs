//! The loop of a fuzz target: makes inputs from a seed, runs the target, and watches time and memory.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{self, RecvTimeoutError},
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::support::again;

/// One execution may take this much of a processor.
const LONGEST: Duration = Duration::from_secs(2);
/// And so long by the clock, however busy the machine is: then it hangs.
const HANGS: Duration = Duration::from_secs(120);
/// All of them together by the clock: at least this, and more for each when there are many.
const WHOLE: Duration = Duration::from_secs(900);
/// What an execution may take, and a target keep.
const GROWTH: usize = 64 << 20;

pub fn executions(usual: u64) -> u64 {
    std::env::var("HUIJU_FUZZ").map_or(usual, |n| n.parse().expect("HUIJU_FUZZ is a number"))
}

fn seed() -> u64 {
    std::env::var("HUIJU_FUZZ_SEED").map_or(4711, |n| n.parse().expect("HUIJU_FUZZ_SEED is a number"))
}

/// What this thread has had of a processor: other than a clock it does not care how busy the machine is.
pub fn spent() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to a place of the right type.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The most memory that this process has had, in bytes, since [`forget_peak`].
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().split(' ').next().unwrap().parse::<usize>().unwrap() * 1024
}

/// From now on the peak is that of what follows.
fn forget_peak() {
    fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// Whether this is the process that is to fuzz. If not, runs the test again in one of its own, because what a target
/// takes can be told only where no other test takes memory.
pub fn alone(test: &str) -> bool {
    if std::env::var_os("HUIJU_TEST_ALONE").is_some() {
        return true;
    }
    let limit = WHOLE + Duration::from_millis(100 * executions(0));
    let (status, said) = again(test, &[("HUIJU_TEST_ALONE", "1")], limit);
    print!("{said}");
    assert!(status.success() && said.contains(" executions in "), "{test} in a process of its own: {status}");
    false
}

fn hex(input: &[u8]) -> String {
    input.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Is told each input, and ends the process when too long after one nothing more comes: nobody can stop an execution.
fn watch(name: &str) -> mpsc::SyncSender<Vec<u8>> {
    let (tell, told) = mpsc::sync_channel::<Vec<u8>>(8);
    let name = name.to_owned();
    std::thread::spawn(move || {
        let mut last = told.recv();
        while let Ok(input) = &last {
            last = match told.recv_timeout(HANGS) {
                Err(RecvTimeoutError::Timeout) => {
                    eprintln!("{name}: an execution of seed {} hangs with {}", seed(), hex(input));
                    std::process::exit(1);
                }
                next => next.map_err(|_| mpsc::RecvError),
            };
        }
    });
    tell
}

/// Runs `target` so many times.
pub fn fuzz(name: &str, times: u64, seeds: &[Vec<u8>], tokens: &[&str], mut target: impl FnMut(&[u8])) {
    let mut random = StdRng::seed_from_u64(seed());
    let watch = watch(name);
    forget_peak();
    let (begun, before, mut slowest) = (Instant::now(), peak(), Duration::ZERO);
    for at in 0..times {
        let input = make(&mut random, seeds, tokens);
        watch.send(input.clone()).unwrap();
        let started = spent();
        let ended = catch_unwind(AssertUnwindSafe(|| target(&input)));
        let took = spent() - started;
        slowest = slowest.max(took);
        assert!(ended.is_ok(), "{name}: execution {at} of seed {} fails with {}", seed(), hex(&input));
        assert!(took < LONGEST, "{name}: execution {at} takes {took:?} for {}", hex(&input));
    }
    // The kernel counts pages by the handful for each thread: what it says may be a little less than before.
    let grown = peak().saturating_sub(before);
    println!("{name}: {times} executions in {:?}, the slowest {slowest:?}, up to {} MB", begun.elapsed(), grown >> 20);
    assert!(grown < GROWTH, "{name}: {grown} bytes more are taken in {times} executions");
}

/// A seed with a few things done to it, or pieces put together.
fn make(random: &mut StdRng, seeds: &[Vec<u8>], tokens: &[&str]) -> Vec<u8> {
    let mut bytes = match random.random_range(0..8) {
        0 => Vec::new(),
        1 => (0..random.random_range(0..40)).map(|_| random.random()).collect(),
        _ => seeds[random.random_range(0..seeds.len())].clone(),
    };
    for _ in 0..random.random_range(0..8) {
        let at = random.random_range(0..=bytes.len());
        let end = (at + random.random_range(0..12)).min(bytes.len());
        match random.random_range(0..9) {
            0 => drop(bytes.drain(at..end)),
            1 => bytes.truncate(at),
            2 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            3 => bytes.insert(at, random.random()),
            4 => drop(bytes.splice(at..at, bytes[at..end].to_vec().repeat(random.random_range(1..6)))),
            5 => {
                let other = &seeds[random.random_range(0..seeds.len())];
                let from = random.random_range(0..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            6 => {
                let any = char::from_u32(random.random_range(0..0x11_0000)).unwrap_or('\u{fffd}');
                drop(bytes.splice(at..at, any.to_string().into_bytes()));
            }
            _ => {
                let token = tokens[random.random_range(0..tokens.len())];
                let times = if random.random_range(0..50) == 0 { 2000 } else { 1 };
                drop(bytes.splice(at..at, token.repeat(times).into_bytes()));
            }
        }
    }
    bytes
}

pub fn texts(seeds: &[&str]) -> Vec<Vec<u8>> {
    seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect()
}
