mod last_lines;

use std::{
    sync::{Arc, Mutex, mpsc::Receiver},
    thread::JoinHandle,
};

use tempfile::TempDir;

use super::*;
use crate::{
    batch::{Budget, Fetched},
    cursor::{Cursors, Interval},
    source::{Feed, Permit},
};

/// A folder of topics, what the sinks hold, and a line that answers the source.
struct World {
    folder: TempDir,
    cursors: Cursors,
    settings: Settings,
    longest: usize,
    /// How long partitions that are taken away may take.
    drain: Duration,
}

/// What a run handed on.
#[derive(Debug, Default)]
struct Seen {
    assigned: Vec<String>,
    /// What was let go.
    revoked: Vec<String>,
    batches: Vec<Fetched>,
    finished: bool,
}

impl Seen {
    /// `topic/file offset payload` of every message.
    fn messages(&self) -> Vec<String> {
        let show = |batch: &Fetched| {
            let line = |message: &crate::batch::Message| {
                let payload = String::from_utf8_lossy(batch.payload(message).unwrap()).into_owned();
                format!("{} {} {payload}", batch.partition(message).topic, message.offset)
            };
            batch.messages.iter().map(line).collect::<Vec<_>>()
        };
        self.batches.iter().flat_map(show).collect()
    }

    /// Where each partition was covered up to, after checking that its intervals join.
    fn covered(&self) -> Vec<(String, i64, i64)> {
        let mut covered: Vec<(String, i64, i64)> = Vec::new();
        for Interval { partition, from, next } in self.batches.iter().flat_map(|batch| &batch.covers) {
            match covered.iter_mut().find(|(topic, ..)| **topic == *partition.topic) {
                Some((_, _, end)) => {
                    assert_eq!(end, from);
                    *end = *next;
                }
                None => covered.push((partition.topic.to_string(), *from, *next)),
            }
        }
        covered
    }
}

type Line = (Intake, JoinHandle<()>, Arc<Mutex<Seen>>);

fn wanted(topic: &str, source: usize) -> Wanted {
    Wanted { topic: topic.into(), source, zone: chrono_tz::Asia::Shanghai, charset: None }
}

impl World {
    fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            folder: folder.path().to_owned(),
            topics: vec![wanted("t", 3)],
            bounded: true,
            gaps: Gaps::Stop,
            max_batch_bytes: 1 << 20,
            max_batch_messages: 1000,
            poll: Duration::from_millis(1),
        };
        World { folder, cursors: Cursors::new(), settings, longest: LONGEST_LINE, drain: Duration::from_secs(5) }
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn cuts(&mut self, file: &str, cuts: &[i64]) {
        self.cursors.insert(Partition::new(file, 0), cuts.to_vec());
    }

    fn source(&self) -> Files {
        Files { longest: self.longest, ..Files::new(self.settings.clone()) }
    }

    fn line(&self) -> Line {
        let (intake, feed) = Intake::new(2, Budget::new(1 << 30), Permit::default(), self.drain);
        let (seen, cursors) = (Arc::new(Mutex::new(Seen::default())), self.cursors.clone());
        let keep = seen.clone();
        let thread = std::thread::spawn(move || answer(feed, &cursors, &keep));
        (intake, thread, seen)
    }

    /// A bounded run.
    fn run(&self) -> Result<Seen> {
        let (mut intake, thread, seen) = self.line();
        let ran = self.source().run(&mut intake, &Stop::new());
        drop(intake);
        thread.join().unwrap();
        ran.map(|()| Arc::try_unwrap(seen).unwrap().into_inner().unwrap())
    }
}

fn answer(feed: Receiver<Feed>, cursors: &Cursors, seen: &Mutex<Seen>) {
    for feed in feed {
        let mut seen = seen.lock().unwrap();
        match feed {
            Feed::Batch(batch) => {
                for message in &batch.messages {
                    assert!(seen.assigned.contains(&batch.partition(message).topic.to_string()));
                }
                seen.batches.push(batch);
            }
            Feed::Assign(partitions, reply) => {
                seen.assigned.extend(partitions.iter().map(|partition| partition.topic.to_string()));
                let mine = partitions.into_iter().map(|p| (p.clone(), cursors.get(&p).cloned().unwrap_or_default()));
                reply.send(Ok(mine.collect())).unwrap();
            }
            Feed::Revoke(partitions, reply) => {
                seen.revoked.extend(partitions.iter().map(|partition| partition.topic.to_string()));
                reply.send(Ok(())).unwrap();
            }
            Feed::Finish(reply) => {
                seen.finished = true;
                reply.send(Ok(())).unwrap();
            }
        }
    }
}

#[test]
fn lines_are_messages_and_offsets_are_bytes() {
    let world = World::new();
    world.file("t/b.jsonl", "{}\r\n\r\n\n{\"a\":1}\n \t\r\n");
    world.file("t/a-2026-11-25.jsonl", "1\n22\n333");
    world.file("t/.hidden.jsonl", "x\n");
    world.file("t/c.jsonl.partial", "x\n");
    world.file("t/d.csv", "x\n");
    world.file("t/e.jsonl", "");
    let seen = world.run().unwrap();
    let expected = ["t/a-2026-11-25.jsonl 0 1", "t/a-2026-11-25.jsonl 2 22", "t/a-2026-11-25.jsonl 5 333"];
    assert_eq!(seen.messages()[..3], expected);
    assert_eq!(seen.messages()[3..], ["t/b.jsonl 0 {}", "t/b.jsonl 7 {\"a\":1}"]);
    assert_eq!(seen.covered(), [("t/a-2026-11-25.jsonl".into(), 0, 8), ("t/b.jsonl".into(), 0, 19)]);
    assert!(seen.finished);
    assert_eq!(seen.batches.len(), 1);
    assert_eq!(seen.batches[0].source, 3);
    assert_eq!(seen.batches[0].messages[0].timestamp, Some(1_795_536_000_000)); // 2026-11-25 00:00 in Shanghai
    assert_eq!(seen.batches[0].messages[3].timestamp, None);
}

#[test]
fn dates_in_names() {
    let zone = chrono_tz::Asia::Shanghai;
    let day = Some(1_795_536_000_000);
    assert_eq!(tail::midnight("2026-11-25.jsonl", zone), day);
    assert_eq!(tail::midnight("工单_20261125_1.jsonl", zone), day);
    assert_eq!(tail::midnight("x00000000000020261125-20261125.jsonl", zone), day);
    for name in ["202611251.jsonl", "2026-13-25.jsonl", "00000001.jsonl", "2026-11-255.jsonl", "2026-1-25.jsonl"] {
        assert_eq!(tail::midnight(name, zone), None, "{name}");
    }
    // In Beirut the clock is put forward at midnight: the day begins at one.
    let beirut = tail::midnight("2026-03-29.jsonl", chrono_tz::Asia::Beirut).unwrap();
    assert_eq!(beirut, tail::midnight("2026-03-29.jsonl", chrono_tz::UTC).unwrap() - 2 * 3_600_000);
}

#[test]
fn batches_keep_to_their_bounds() {
    let mut world = World::new();
    let lines: String = (0..50).map(|n| format!("{n:04}\n")).collect();
    world.file("t/a.jsonl", &lines);
    world.settings.max_batch_messages = 7;
    let seen = world.run().unwrap();
    assert_eq!(seen.batches.len(), 8);
    assert_eq!((seen.messages().len(), seen.covered()), (50, vec![("t/a.jsonl".into(), 0, 250)]));
    world.settings.max_batch_messages = 1000;
    world.settings.max_batch_bytes = 40;
    let seen = world.run().unwrap();
    assert_eq!((seen.messages().len(), seen.covered()), (50, vec![("t/a.jsonl".into(), 0, 250)]));
    assert!(seen.batches.iter().all(|batch| batch.arena.len() < 45));
}

#[test]
fn no_batch_straddles_a_cut_and_below_the_last_it_is_of_one_file() {
    let mut world = World::new();
    world.file("t/a.jsonl", "1\n2\n3\n4\n5\n");
    world.file("t/b.jsonl", "6\n");
    world.file("t/c.jsonl", "7\n8\n");
    world.cuts("t/a.jsonl", &[8, 2, 4]);
    world.cuts("t/c.jsonl", &[2, NEVER]);
    let seen = world.run().unwrap();
    let covers: Vec<Vec<(i64, i64)>> =
        seen.batches.iter().map(|batch| batch.covers.iter().map(|c| (c.from, c.next)).collect()).collect();
    assert_eq!(covers, [vec![(2, 4)], vec![(4, 8)], vec![(8, 10), (0, 2)], vec![(0, 2)], vec![(2, 4)]]);
}

#[test]
fn a_file_that_changed_is_refused() {
    let mut world = World::new();
    world.file("t/a.jsonl", "1\n2\n");
    for (cuts, text) in [(vec![9], "a.jsonl has 4 bytes"), (vec![0, 9], "up to byte 9")] {
        world.cuts("t/a.jsonl", &cuts);
        let error = world.run().unwrap_err();
        assert_eq!(error.kind, ErrorKind::Gap);
        assert!(error.to_string().contains(text), "{error}");
    }
    world.file("t/a.jsonl", "1111\n2222\n");
    world.cuts("t/a.jsonl", &[2]);
    assert_eq!(world.run().unwrap_err().kind, ErrorKind::Gap);
    world.settings.gaps = Gaps::Record;
    let seen = world.run().unwrap();
    assert_eq!(seen.messages(), ["t/a.jsonl 5 2222"]);
    let gap = &seen.batches[0].gaps[0];
    assert_eq!((gap.code, gap.lost.from, gap.lost.next), ("gap.truncated", 2, 5));
}

#[test]
fn a_file_that_was_emptied_is_refused() {
    let mut world = World::new();
    world.file("t/a.jsonl", "");
    assert!(world.run().unwrap().batches.is_empty());
    world.cuts("t/a.jsonl", &[2]);
    assert_eq!(world.run().unwrap_err().kind, ErrorKind::Gap);
}

#[test]
fn a_file_that_is_replaced_while_it_is_read_is_refused() {
    let mut world = World::new();
    world.settings.bounded = false;
    world.file("t/a.jsonl", "1\n2\n");
    let (mut intake, thread, seen) = world.line();
    let mut source = world.source();
    let stop = Stop::new();
    let error = std::thread::scope(|scope| {
        let run = scope.spawn(|| source.run(&mut intake, &stop));
        let deadline = Instant::now() + Duration::from_secs(60);
        while seen.lock().unwrap().batches.is_empty() {
            assert!(Instant::now() < deadline, "nothing is read");
            std::thread::yield_now();
        }
        world.file("t/b.partial", "111111\n222222\n333333\n");
        fs::rename(world.folder.path().join("t/b.partial"), world.folder.path().join("t/a.jsonl")).unwrap();
        while !run.is_finished() && Instant::now() < deadline {
            std::thread::yield_now();
        }
        stop.ask(); // who has not noticed would follow it for ever
        run.join().unwrap().expect_err("it is refused")
    });
    assert_eq!(error.kind, ErrorKind::Gap);
    assert!(error.to_string().contains("up to byte 4, but no line begins there"), "{error}");
    drop(intake);
    thread.join().unwrap();
}

#[test]
fn missing_folders() {
    let mut world = World::new();
    let refused = |world: &World, words: &str| {
        let error = world.source().look_for_folders().unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.to_string().contains(words), "{error}");
    };
    refused(&world, "/t; make one folder per topic");
    world.file("t", "no folder");
    refused(&world, "/t is a file");
    fs::remove_file(world.settings.folder.join("t")).unwrap();
    world.settings.topics.push(wanted("u", 1));
    world.file("u/a.jsonl", "1\n");
    let seen = world.run().unwrap();
    assert_eq!((seen.messages().len(), seen.batches[0].source), (1, 1));
}

#[test]
fn following_waits_for_newlines_finds_new_files_and_finishes_on_stop() {
    let mut world = World::new();
    world.settings.bounded = false;
    world.file("t/a.jsonl", "1\n2");
    let (mut intake, line, seen) = world.line();
    let (mut source, stop) = (world.source(), Stop::new());
    let asked = stop.clone();
    let reading = std::thread::spawn(move || source.run(&mut intake, &asked));
    let until = |count: usize| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while seen.lock().unwrap().messages().len() < count {
            assert!(Instant::now() < deadline, "{:?}", seen.lock().unwrap().messages());
            std::thread::yield_now();
        }
    };
    let append = |text: &str| {
        let file = fs::OpenOptions::new().append(true).open(world.folder.path().join("t/a.jsonl"));
        io::Write::write_all(&mut file.unwrap(), text.as_bytes()).unwrap();
    };
    until(1);
    append("2\n3");
    until(2);
    world.file("t/b.jsonl", "4\n");
    until(3);
    append("\n");
    until(4);
    stop.ask();
    reading.join().unwrap().unwrap();
    line.join().unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.messages(), ["t/a.jsonl 0 1", "t/a.jsonl 2 22", "t/b.jsonl 0 4", "t/a.jsonl 5 3"]);
    assert!(seen.finished);
}

#[test]
fn a_file_that_shrinks_or_goes_away_while_unread_is_a_gap() {
    let mut world = World::new();
    world.settings.max_batch_messages = 1;
    for left in [None, Some("1"), Some("1\n2\n")] {
        world.file("t/a.jsonl", "1\n2\n3\n");
        let (mut intake, line, _seen) = world.line();
        let mut source = world.source();
        source.discover(&mut intake, &Stop::new()).unwrap();
        assert!(source.read(0, &mut intake).unwrap());
        match left {
            None => fs::remove_file(world.folder.path().join("t/a.jsonl")).unwrap(),
            Some(left) => world.file("t/a.jsonl", left),
        }
        assert_eq!(source.read(0, &mut intake).unwrap_err().kind, ErrorKind::Gap, "{left:?}");
        // Who follows it notices before it reads on.
        assert_eq!(source.discover(&mut intake, &Stop::new()).unwrap_err().kind, ErrorKind::Gap, "{left:?}");
        drop(intake);
        line.join().unwrap();
    }
}

#[test]
fn a_file_that_was_read_may_go_away_and_many_files_are_looked_at_more_rarely() {
    let mut world = World::new();
    world.settings.bounded = false;
    // What was read of a file that is gone cannot be read again: it waits for its commit, however long that takes.
    world.drain = Duration::ZERO;
    world.file("t/a.jsonl", "1\n");
    let (mut intake, line, seen) = world.line();
    let (mut source, stop) = (world.source(), Stop::new());
    source.discover(&mut intake, &stop).unwrap();
    assert!(source.read(0, &mut intake).unwrap());
    fs::remove_file(world.folder.path().join("t/a.jsonl")).unwrap();
    source.discover(&mut intake, &stop).unwrap();
    assert!(!source.read(0, &mut intake).unwrap());
    assert_eq!(seen.lock().unwrap().revoked, ["t/a.jsonl"], "nobody remembers its keys for ever");
    // Put back, it is new to us; where it was read up to the sinks know.
    world.file("t/a.jsonl", "1\n");
    source.discover(&mut intake, &stop).unwrap();
    assert_eq!(seen.lock().unwrap().assigned, ["t/a.jsonl", "t/a.jsonl"]);
    drop(intake);
    line.join().unwrap();

    let rests = [0, 1, 10, 100].map(|ms| rest(Duration::from_millis(ms), Duration::from_millis(200)).as_millis());
    assert_eq!(rests, [200, 200, 500, 1000]);
}

proptest::proptest! {
    #[test]
    fn any_file_name_has_a_date_or_none(name in "\\PC{0,12}", date in "(20[0-9]{2}-?[0-9]{2}-?[0-9]{2})?", end in "\\PC{0,6}") {
        for zone in [chrono_tz::Asia::Shanghai, chrono_tz::Tz::UTC] {
            if let Some(ms) = tail::midnight(&format!("{name}{date}{end}"), zone) {
                proptest::prop_assert!((600_000_000_000..4_200_000_000_000).contains(&ms), "{}", ms);
            }
        }
    }
}
