//! What may never happen to intervals.

use std::time::{Duration, Instant};

use super::*;

fn partition(number: i32) -> Partition {
    Partition::new("t", number)
}

struct Bench {
    batches: Batches,
    now: Instant,
}

impl Bench {
    fn new() -> Bench {
        Bench { batches: Batches::new(2, 1 << 20, 1000), now: Instant::now() }
    }
    fn assign(&mut self, number: i32, source: usize, next: i64, cuts: &[i64]) -> usize {
        self.batches.assign(Track::new(partition(number), source, next, cuts, None))
    }
    fn add(&mut self, at: usize, offset: i64) {
        let message = Incoming { offset, timestamp: Some(offset), key: None, payload: Some(b"x") };
        self.batches.add(at, message, self.now);
    }
    /// Everything so far, as `source: partition [from, next) with n messages`.
    fn out(&mut self) -> Vec<String> {
        self.batches.finish_all();
        let show = |fetched: Fetched| {
            let count = |cover: usize| fetched.messages.iter().filter(|m| m.cover as usize == cover).count();
            let covers: Vec<String> =
                fetched.covers.iter().enumerate().map(|(at, cover)| format!("{cover}={}", count(at))).collect();
            let gaps: String = fetched.gaps.iter().map(|gap| format!(" lost {}", gap.lost)).collect();
            format!("{}: {}{gaps}", fetched.source, covers.join(" "))
        };
        self.batches.ready.drain(..).map(show).collect()
    }
}

#[test]
fn holes_of_control_records_are_covered() {
    let mut bench = Bench::new();
    let at = bench.assign(0, 0, 10, &[10]);
    for offset in [10, 11, 15] {
        bench.add(at, offset);
    }
    bench.batches.cover(at, 17, bench.now);
    assert_eq!(bench.out(), ["0: t/0 [10, 17)=3"]);
    bench.add(at, 20);
    assert_eq!(bench.out(), ["0: t/0 [17, 21)=1"]);
}

#[test]
fn partitions_of_a_source_share_a_batch_and_sources_do_not() {
    let mut bench = Bench::new();
    let (a, b, c) = (bench.assign(0, 0, 0, &[]), bench.assign(1, 0, 5, &[]), bench.assign(2, 1, 0, &[]));
    for (at, offset) in [(a, 0), (b, 5), (c, 0), (a, 1)] {
        bench.add(at, offset);
    }
    assert_eq!(bench.out(), ["0: t/0 [0, 2)=2 t/1 [5, 6)=1", "1: t/2 [0, 1)=1"]);
}

#[test]
fn no_batch_straddles_a_cut_and_below_the_largest_a_partition_is_alone() {
    let mut bench = Bench::new();
    let (a, b) = (bench.assign(0, 0, 0, &[0, 3, 6]), bench.assign(1, 0, 0, &[]));
    for offset in 0..8 {
        bench.add(a, offset);
        bench.add(b, offset);
    }
    assert_eq!(bench.out(), ["0: t/0 [0, 3)=3", "0: t/0 [3, 6)=3", "0: t/1 [0, 8)=8 t/0 [6, 8)=2"]);
}

#[test]
fn a_cut_within_a_hole_still_cuts() {
    let mut bench = Bench::new();
    let at = bench.assign(0, 0, 0, &[0, 4]);
    bench.add(at, 1);
    bench.add(at, 9);
    assert_eq!(bench.out(), ["0: t/0 [0, 4)=1", "0: t/0 [4, 10)=1"]);
}

#[test]
fn a_cut_at_the_end_of_a_covered_tail_finishes_the_batch() {
    let mut bench = Bench::new();
    let at = bench.assign(0, 1, 0, &[0, 4]);
    bench.batches.cover(at, 6, bench.now);
    assert_eq!(bench.out(), ["1: t/0 [0, 4)=0", "1: t/0 [4, 6)=0"]);
}

#[test]
fn what_is_lost_is_split_at_cuts() {
    let mut bench = Bench::new();
    let at = bench.assign(0, 0, 2, &[2, 5]);
    bench.batches.lose(at, 9, "gap.retention");
    bench.add(at, 9);
    assert_eq!(bench.out(), ["0: t/0 [2, 5)=0 lost t/0 [2, 5)", "0: t/0 [5, 9)=0 lost t/0 [5, 9)", "0: t/0 [9, 10)=1"]);
}

#[test]
fn a_bounded_run_covers_exactly_up_to_its_end() {
    let mut bench = Bench::new();
    let at = bench.batches.assign(Track::new(partition(0), 0, 0, &[], Some(4)));
    bench.add(at, 0);
    bench.add(at, 7);
    assert!(bench.batches.tracks()[at].ended());
    bench.add(at, 8);
    bench.batches.cover(at, 9, bench.now);
    assert_eq!(bench.out(), ["0: t/0 [0, 4)=1"]);
}

#[test]
fn a_message_fetched_twice_is_taken_once() {
    let mut bench = Bench::new();
    let at = bench.assign(0, 0, 0, &[]);
    for offset in [0, 1, 0, 1, 2] {
        bench.add(at, offset);
    }
    assert_eq!(bench.out(), ["0: t/0 [0, 3)=3"]);
}

#[test]
fn a_batch_nobody_wants_yet_goes_on_growing() {
    let mut bench = Bench::new();
    let at = bench.assign(0, 0, 0, &[]);
    bench.add(at, 0);
    let linger = Duration::from_millis(5);
    assert_eq!(bench.batches.due(linger, bench.now), None);
    let due = bench.batches.due(linger, bench.now + linger).expect("its time is up");
    let taken = bench.batches.take(due);
    bench.batches.restore(taken);
    bench.add(at, 1);
    assert_eq!(bench.out(), ["0: t/0 [0, 2)=2"]);
}

#[test]
fn full_buffers_are_finished_one_by_one_and_all_together() {
    let mut bench = Bench { batches: Batches::new(2, 10, 4), now: Instant::now() };
    let (a, b) = (bench.assign(0, 0, 0, &[]), bench.assign(1, 1, 0, &[]));
    for offset in 0..4 {
        bench.add(a, offset);
    }
    assert_eq!(bench.batches.ready.len(), 1, "by messages");
    bench.batches.ready.clear();
    let big = |offset| Incoming { offset, timestamp: None, key: None, payload: Some(b"12345") };
    bench.batches.add(a, big(4), bench.now);
    bench.batches.add(b, big(0), bench.now);
    assert_eq!(bench.batches.ready.len(), 1, "together they are too many bytes");
}

#[test]
fn null_and_empty_are_not_the_same() {
    let mut bench = Bench::new();
    let at = bench.assign(0, 0, 0, &[]);
    bench.batches.add(at, Incoming { offset: 0, timestamp: None, key: None, payload: None }, bench.now);
    bench.batches.add(at, Incoming { offset: 1, timestamp: None, key: Some(b""), payload: Some(b"") }, bench.now);
    bench.batches.finish_all();
    let fetched = bench.batches.ready.pop_front().expect("one batch");
    let seen: Vec<_> = fetched.messages.iter().map(|m| (fetched.key(m), fetched.payload(m))).collect();
    assert_eq!(seen, [(None, None), (Some(&b""[..]), Some(&b""[..]))]);
}

#[test]
fn revoking_finishes_what_is_buffered_and_forgets_the_partition() {
    let mut bench = Bench::new();
    let (a, b) = (bench.assign(0, 0, 0, &[]), bench.assign(1, 0, 0, &[]));
    bench.add(a, 0);
    bench.add(b, 0);
    bench.batches.revoke(|p| p.number == 0);
    assert_eq!(bench.batches.find("t", 0), None);
    let b = bench.batches.find("t", 1).expect("still ours");
    bench.add(b, 1);
    assert_eq!(bench.out(), ["0: t/0 [0, 1)=1 t/1 [0, 1)=1", "0: t/1 [1, 2)=1"]);
}
