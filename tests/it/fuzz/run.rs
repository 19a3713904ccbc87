//! The loop of a fuzz target: makes inputs from a seed, runs the target, and watches time and memory.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

/// One execution may take this much of a processor.
const LONGEST: Duration = Duration::from_secs(2);
/// What a target may keep.
const GROWTH: usize = 256 << 20;

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

fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Whether this is the process that is to fuzz. If not, runs the test again in one of its own, because what a target
/// keeps can be told only where no other test takes memory.
pub fn alone(test: &str) -> bool {
    if std::env::var_os("HUIJU_TEST_ALONE").is_some() {
        return true;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--nocapture"]).env("HUIJU_TEST_ALONE", "1");
    let ended = child.stdin(Stdio::null()).output().unwrap();
    let said = [ended.stdout, ended.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    print!("{said}");
    assert!(
        ended.status.success() && said.contains(" executions in "),
        "{test} in a process of its own: {}",
        ended.status
    );
    false
}

/// Runs `target` so many times.
pub fn fuzz(name: &str, times: u64, seeds: &[Vec<u8>], tokens: &[&str], mut target: impl FnMut(&[u8])) {
    let mut random = StdRng::seed_from_u64(seed());
    let (begun, before, mut slowest) = (Instant::now(), resident(), Duration::ZERO);
    for at in 0..times {
        let input = make(&mut random, seeds, tokens);
        let started = spent();
        let ended = catch_unwind(AssertUnwindSafe(|| target(&input)));
        let took = spent() - started;
        slowest = slowest.max(took);
        let hex = || input.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert!(ended.is_ok(), "{name}: execution {at} of seed {} fails with {}", seed(), hex());
        assert!(took < LONGEST, "{name}: execution {at} takes {took:?} for {}", hex());
    }
    let grown = resident().saturating_sub(before);
    println!("{name}: {times} executions in {:?}, the slowest {slowest:?}, {} MB kept", begun.elapsed(), grown >> 20);
    assert!(grown < GROWTH, "{name}: {grown} bytes are kept after {times} executions");
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
