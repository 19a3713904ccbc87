//! T08: what a commit costs does not grow with the table.

use std::time::Instant;

use super::{
    super::upkeep::{Compact, Upkeep},
    *,
};

const ALONE: &str = "HUIJU_TEST_ALONE";

fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Two files a commit. `HUIJU_TEST_COMMITS=10000` makes 20,000 live files of it; its figures are in the README.
#[test]
fn commit_time_and_memory_stay_flat() {
    // In a process of its own: the memory of other tests is not to be counted.
    if std::env::var_os(ALONE).is_none() {
        let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
        alone.args(["--exact", "sink::archive::tests::growth::commit_time_and_memory_stay_flat", "--nocapture"]);
        let ended = alone.env(ALONE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&ended.stdout);
        println!("{said}");
        assert!(ended.status.success() && said.contains("1 passed"), "{}", String::from_utf8_lossy(&ended.stderr));
        return;
    }
    let commits = std::env::var("HUIJU_TEST_COMMITS").map_or(300, |n| n.parse().unwrap());
    let mut bench = Bench::in_memory();
    bench.settings.partition_by = vec!["city".to_owned()];
    let mut archive = bench.open(&[0]);
    let mut times = Vec::new();
    let (mut early, mut slowest) = (0, Duration::ZERO);
    for step in 0..commits {
        let mut some = rows(step * 2..step * 2 + 2);
        some[1].2 = Some("赣州");
        archive.write(&outcome(0, step * 2, step * 2 + 2, &some)).unwrap();
        let begun = Instant::now();
        archive.commit(&covered(0, step * 2, step * 2 + 2)).unwrap();
        archive.tidy();
        times.push(begun.elapsed());
        slowest = slowest.max(begun.elapsed());
        if step == commits / 10 {
            early = resident();
        }
    }
    let late = resident();
    let tenth = times.len() / 10;
    let (first, last) = (median(&mut times[..tenth].to_vec()), median(&mut times[commits as usize - tenth..].to_vec()));
    drop(archive);
    let begun = Instant::now();
    let mut archive = bench.open(&[]);
    let opened = begun.elapsed();
    assert_eq!(cursors(&mut archive, 0), [commits * 2]);
    let open = resident();
    let clock = Clock::from_fn(|| DateTime::from_timestamp_millis(EVENING).unwrap());
    let runtime = bench.runtime.handle().clone();
    let upkeep = Upkeep::open(&bench.settings, &contract(), &bench.schema, clock, runtime).unwrap();
    let (begun, mut after) = (Instant::now(), 0);
    upkeep.compact(&Compact::default(), |done| after = after.max(done.files_after)).unwrap();
    println!(
        "{commits} commits, {} files: a commit took {first:?} at first and {last:?} at last (the slowest {slowest:?}, \
         with a checkpoint); RSS {} MB after a tenth, {} MB at last; opening took {opened:?} ({} MB); compaction took \
         {:?} ({} MB, {after} files left)",
        commits * 2,
        early >> 20,
        late >> 20,
        open >> 20,
        begun.elapsed(),
        resident() >> 20,
    );
    // Generous: the machine is shared. Growth with the number of files would be far beyond it.
    assert!(last < first * 3 + Duration::from_millis(20), "{first:?} {last:?}");
    // A checkpoint goes through all live files: 4 KB each, and not at every commit.
    assert!(late < early + (32 << 20) + commits as usize * 2 * 4096, "{early} {late}");
}
