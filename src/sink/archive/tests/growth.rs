//! T08: what a commit costs does not grow with the table.
//!
//! Counted where it can be, because the machine is shared: requests to the store, processor time, bytes on the heap. Of
//! what still varies the least of many commits is taken; what grows with the number of files makes that grow, too.

use std::{
    io::{Read, Seek},
    process::Stdio,
    time::Instant,
};

use super::{
    super::upkeep::{Compact, Upkeep},
    counting::{Asked, Counting},
    *,
};

const ALONE: &str = "HUIJU_TEST_ALONE";
/// Entries between two checkpoints, or files / 50 if that is more: what opening has to read.
const CHECKPOINT_EVERY: usize = 100;

/// What one commit took.
struct Cost {
    asked: Asked,
    processor: Duration,
    /// After it.
    heap: usize,
}

/// What this process has had of processors.
fn processor() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to a place of the right type.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Bytes that are allocated and not freed.
fn heap() -> usize {
    // SAFETY: only reads.
    let info = unsafe { libc::mallinfo2() };
    info.uordblks + info.hblkhd
}

/// Runs a test again in a process of its own, where no others take memory and time.
fn run_alone(test: &str, limit: Duration) {
    let mut said = tempfile::tempfile().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(ALONE, "1")
        .env("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0") // what threads keep for themselves counts as in use
        .stdin(Stdio::null())
        .stdout(said.try_clone().unwrap())
        .stderr(said.try_clone().unwrap())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let mut ended = child.try_wait().unwrap();
    while ended.is_none() && begun.elapsed() < limit {
        std::thread::sleep(Duration::from_millis(20));
        ended = child.try_wait().unwrap();
    }
    if ended.is_none() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let mut text = String::new();
    said.rewind().unwrap();
    said.read_to_string(&mut text).unwrap();
    println!("{text}");
    let ended = ended.unwrap_or_else(|| panic!("{test} has not ended within {limit:?}: {text}"));
    assert!(ended.success() && text.contains("1 passed"), "{test} in a process of its own: {ended}: {text}");
}

/// Two files a commit. `HUIJU_TEST_COMMITS=10000` makes 20,000 live files of it; its figures are in the README.
#[test]
fn commit_time_and_memory_stay_flat() {
    // The last checkpoint is some time ago: opening has something to read.
    let commits: usize = std::env::var("HUIJU_TEST_COMMITS").map_or(690, |n| n.parse().unwrap());
    if std::env::var_os(ALONE).is_none() {
        let limit = Duration::from_secs(300 + commits as u64 / 4);
        return run_alone("sink::archive::tests::growth::commit_time_and_memory_stay_flat", limit);
    }
    let mut bench = Bench::in_memory();
    bench.settings.partition_by = vec!["city".to_owned()];
    let store = Counting::new();
    let mut archive = bench.open_over(store.clone(), &[0]);
    let mut costs: Vec<Cost> = Vec::with_capacity(commits);
    store.take();
    for at in (0..commits as i64).map(|step| step * 2) {
        let mut some = rows(at..at + 2);
        some[1].2 = Some("赣州");
        archive.write(&outcome(0, at, at + 2, &some)).unwrap();
        let before = processor();
        archive.commit(&covered(0, at, at + 2)).unwrap();
        archive.tidy();
        let (processor, mut asked) = (processor() - before, store.take());
        asked.entries.clear(); // the heap is not to be ours
        costs.push(Cost { asked, processor, heap: heap() });
    }
    drop(archive);
    // Each table is asked for the next entry and for its newest, and given one. Before the first commit, a start.
    let ordinary = costs.iter().zip(0..).skip(1).filter(|(cost, _)| cost.asked.checkpoints == 0);
    for (Cost { asked, .. }, at) in ordinary {
        assert!(asked.reads <= 6 && asked.writes <= 2 && asked.lists == 0, "commit {at}: {asked}");
        assert!(asked.bytes_read <= costs[0].asked.bytes_read + 256, "commit {at}: {asked}");
    }
    let thirds: Vec<&[Cost]> = costs.chunks(commits.div_ceil(3)).collect();
    let processor = |third: usize| thirds[third].iter().map(|cost| cost.processor).min().unwrap();
    let heap = |third: usize| thirds[third].iter().map(|cost| cost.heap).min().unwrap();
    let mut steps: Vec<i64> = thirds[2].windows(2).map(|two| two[1].heap as i64 - two[0].heap as i64).collect();
    steps.sort_unstable();
    let kept = steps[steps.len() / 2];
    let of_checkpoint = costs.iter().map(|cost| cost.processor).max().unwrap();

    let begun = Instant::now();
    let mut archive = bench.open_over(store.clone(), &[]);
    let (opened, opening) = (begun.elapsed(), store.take());
    assert_eq!(cursors(&mut archive, 0), [commits as i64 * 2]);
    let clock = Clock::from_fn(|| DateTime::from_timestamp_millis(EVENING).unwrap());
    let runtime = bench.runtime.handle().clone();
    store.take();
    let begun = Instant::now();
    let upkeep = Upkeep::open_over(store.clone(), &bench.settings, &contract(), &bench.schema, clock, runtime).unwrap();
    let mut done = Vec::new();
    upkeep.compact(&Compact::default(), |one| done.push(one.clone())).unwrap();
    let (compacted, compacting) = (begun.elapsed(), store.take());
    println!(
        "{commits} commits, {} files: a commit took at least {:?} of a processor in the first third, {:?} in the last \
         (one with a checkpoint up to {of_checkpoint:?}); {:?} KB of heap in use, {kept} bytes more after most commits; \
         opening took {opened:?} ({opening}), compaction {compacted:?} ({compacting}; {} files left)",
        commits * 2,
        processor(0),
        processor(2),
        [heap(0) >> 10, heap(1) >> 10, heap(2) >> 10],
        done[0].files_after,
    );
    // Twice as much is noise; 5 microseconds for each file in the table are beyond it.
    assert!(processor(2) <= processor(0) * 2 + Duration::from_millis(1), "{:?} {:?}", processor(0), processor(2));
    // Less than the names of its files; and in sum, with checkpoints and new threads, little.
    assert!(kept <= 64, "{kept} bytes after each commit");
    assert!(heap(2) <= heap(1) + (512 << 10) + commits * 2 / 3 * 80, "{} {}", heap(1), heap(2));
    // In each of two tables.
    let entries = 2 * CHECKPOINT_EVERY.max(commits * 2 / 50) + 4;
    assert!(opening.entries.len() <= entries && opening.reads <= 3 * entries && opening.lists <= 2, "{opening}");
    // Each entry twice: these paths have letters in them, and how they are spelt is asked once more.
    assert!(compacting.entries.len() <= entries + done[0].commits && compacting.reads <= 6 * entries, "{compacting}");
    assert!(compacting.lists <= 4 + compacting.checkpoints, "{compacting}");
    assert!(done[0].files_after <= 2 * commits.div_ceil(1000), "{done:?}");
}
