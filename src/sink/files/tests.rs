use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::{
    array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray},
    record_batch::RecordBatch,
};
use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::{
    batch::{Fault, Origin, Reject, Tally},
    error::ErrorKind,
    sink::kernel::{Asked, watch},
};

fn settings(folder: &TempDir) -> Settings {
    Settings {
        folder: folder.path().to_owned(),
        topic: "clean".into(),
        rejected: "rejected".into(),
        unread: Unread::default(),
        interval: Duration::from_secs(60),
    }
}

fn partition() -> Partition {
    Partition::new("raw/a.jsonl", 0)
}

fn reject(offset: i64) -> Reject {
    let fault = Fault { code: "missing".into(), field: Some("order_no".into()), reason: "缺少".into(), value: None };
    Reject {
        partition: partition(),
        offset,
        row: Some(0),
        timestamp: None,
        key: None,
        message: None,
        payload: Some(Bytes::from_static(b"\xff\x00")),
        stage: "checks".into(),
        faults: vec![fault],
    }
}

/// A batch over `from .. next` with a row at each offset but the last, which is rejected.
fn outcome(from: i64, next: i64) -> Outcome {
    let offsets: Vec<i64> = (from..next - 1).collect();
    let names = StringArray::from_iter(offsets.iter().map(|offset| (offset % 2 == 0).then_some("单\"")));
    let times = TimestampMicrosecondArray::from_iter_values(offsets.iter().map(|_| 1_795_536_000_000_000));
    let columns: [(&str, ArrayRef); 3] = [
        ("offset", Arc::new(Int64Array::from(offsets.clone()))),
        ("name", Arc::new(names)),
        ("at", Arc::new(times.with_timezone("UTC"))),
    ];
    let origin = |offset: &i64| Origin { cover: 0, row: 0, offset: *offset, timestamp: None };
    Outcome {
        source: "nanchang".into(),
        covers: vec![Interval { partition: partition(), from, next }],
        rows: RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap(),
        origins: offsets.iter().map(origin).collect(),
        rejects: vec![reject(next - 1)],
        tally: Tally::default(),
        flags: BTreeMap::new(),
        held: None,
    }
}

fn covered(from: i64, next: i64) -> Covered {
    Covered { intervals: vec![Interval { partition: partition(), from, next }], ..Covered::default() }
}

fn names(folder: &TempDir, topic: &str) -> Vec<String> {
    let entries = fs::read_dir(folder.path().join(topic)).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != ".lock");
    names.sort();
    names
}

fn name(from: i64, next: i64) -> String {
    format!("raw%2Fa.jsonl@0.{from:020}-{next:020}.jsonl")
}

fn read(folder: &TempDir, topic: &str) -> String {
    names(folder, topic).iter().map(|name| fs::read_to_string(folder.path().join(topic).join(name)).unwrap()).collect()
}

/// Offsets of all committed lines.
fn offsets(folder: &TempDir, topic: &str) -> Vec<i64> {
    let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["offset"].as_i64().unwrap();
    read(folder, topic).lines().map(line).collect()
}

/// A sink that has taken the partition over, and its cursors.
fn open(folder: &TempDir) -> (Files, Vec<i64>) {
    let mut sink = Files::open(settings(folder)).unwrap();
    let cuts = sink.assign(&[partition()]).unwrap().remove(&partition()).unwrap();
    (sink, cuts)
}

#[test]
fn a_commit_makes_rows_rejects_and_cursor_visible_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sink, cuts) = open(&folder);
    assert_eq!(cuts, [0; 0]);
    sink.write(&outcome(10, 13)).unwrap();
    sink.write(&outcome(13, 16)).unwrap();
    assert!(names(&folder, "clean").iter().all(|name| name.ends_with(".partial")));
    sink.commit(&covered(10, 16)).unwrap();
    assert_eq!(names(&folder, "clean"), [name(10, 16)]);
    assert_eq!(names(&folder, "rejected"), [name(10, 16)]);
    let expected = concat!(
        "{\"offset\":10,\"name\":\"单\\\"\",\"at\":\"2026-11-24T16:00:00Z\"}\n",
        "{\"offset\":11,\"at\":\"2026-11-24T16:00:00Z\"}\n"
    );
    assert!(read(&folder, "clean").starts_with(expected), "{}", read(&folder, "clean"));
    let expected = concat!(
        r#"{"source":"nanchang","topic":"raw/a.jsonl","partition":0,"offset":12,"row":0,"stage":"checks","#,
        r#""faults":[{"code":"missing","field":"order_no","reason":"缺少"}],"payload_hex":"ff00"}"#
    );
    assert_eq!(read(&folder, "rejected").lines().next(), Some(expected));
    assert_eq!(sink.files(), 2);
    drop(sink);
    assert_eq!(open(&folder).1, [16]);
}

/// Each to its own: what is committed of one must not hang on another.
#[test]
fn rows_of_a_batch_go_where_their_partition_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = Files::open(settings(&folder)).unwrap();
    let other = Partition::new("raw/b.jsonl", 0);
    sink.assign(&[partition(), other.clone()]).unwrap();
    let mut both = outcome(0, 6);
    both.covers[0].next = 3;
    both.covers.push(Interval { partition: other.clone(), from: 3, next: 6 });
    both.origins.iter_mut().filter(|origin| origin.offset >= 3).for_each(|origin| origin.cover = 1);
    both.rejects[0].partition = other;
    sink.write(&both).unwrap();
    sink.commit(&Covered { intervals: both.covers.clone(), tally: Tally::default() }).unwrap();
    let of = |topic: &str, name: &str| {
        let path = names(&folder, topic).into_iter().find(|file| file.contains(name)).unwrap();
        let text = std::fs::read_to_string(folder.path().join(topic).join(path)).unwrap();
        let offset = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["offset"].as_i64().unwrap();
        text.lines().map(offset).collect::<Vec<_>>()
    };
    assert_eq!((of("clean", "a.jsonl"), of("clean", "b.jsonl")), (vec![0, 1, 2], vec![3, 4]));
    assert_eq!((of("rejected", "a.jsonl"), of("rejected", "b.jsonl")), (vec![], vec![5]));
}

#[test]
fn abort_and_crash_leave_nothing_that_a_reader_sees() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sink, _) = open(&folder);
    sink.write(&outcome(0, 3)).unwrap();
    sink.abort();
    assert_eq!((names(&folder, "clean").len(), names(&folder, "rejected").len()), (0, 0));
    sink.write(&outcome(0, 3)).unwrap();
    sink.commit(&covered(0, 3)).unwrap();
    sink.write(&outcome(3, 6)).unwrap();
    drop(sink); // as a crash would: nothing is tidied up
    assert_eq!(names(&folder, "clean").len(), 2);
    let (mut sink, cuts) = open(&folder);
    assert_eq!((cuts, names(&folder, "clean")), (vec![3], vec![name(0, 3)]));
    sink.write(&outcome(3, 6)).unwrap();
    sink.commit(&covered(3, 6)).unwrap();
    assert_eq!(offsets(&folder, "clean"), [0, 1, 3, 4]);
    assert_eq!(offsets(&folder, "rejected"), [2, 5]);
}

#[test]
fn a_crash_between_rejects_and_rows_is_healed_by_two_cursors() {
    for first in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let (mut sink, _) = open(&folder);
        let from = if first { 0 } else { 3 };
        if !first {
            sink.write(&outcome(0, 3)).unwrap();
            sink.commit(&covered(0, 3)).unwrap();
        }
        sink.write(&outcome(from, 6)).unwrap();
        sink.rejects.publish().unwrap();
        drop(sink);
        let (mut sink, cuts) = open(&folder);
        assert_eq!(cuts, [from, 6]);
        sink.write(&outcome(from, 6)).unwrap();
        sink.write(&outcome(6, 8)).unwrap();
        sink.commit(&covered(from, 8)).unwrap();
        let rejected = if first { vec![5, 7] } else { vec![2, 5, 7] };
        assert_eq!(offsets(&folder, "rejected"), rejected);
        assert_eq!(offsets(&folder, "clean").len(), if first { 6 } else { 5 });
        drop(sink);
        assert_eq!(open(&folder).1, [8]);
    }
}

#[test]
fn a_replay_from_an_older_cursor_is_dropped_and_a_hole_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sink, _) = open(&folder);
    sink.write(&outcome(0, 3)).unwrap();
    sink.commit(&covered(0, 3)).unwrap();
    sink.write(&outcome(0, 3)).unwrap();
    sink.write(&outcome(3, 6)).unwrap();
    sink.commit(&covered(3, 6)).unwrap();
    assert_eq!(offsets(&folder, "clean"), [0, 1, 3, 4]);
    assert_eq!(sink.write(&outcome(7, 9)).unwrap_err().kind, ErrorKind::Bug);
    assert_eq!(sink.write(&outcome(5, 9)).unwrap_err().kind, ErrorKind::Bug);
}

#[test]
fn an_interval_without_rows_still_moves_the_cursor() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sink, _) = open(&folder);
    let mut empty = outcome(0, 1);
    empty.rejects.clear();
    sink.write(&empty).unwrap();
    sink.commit(&covered(0, 1)).unwrap();
    assert_eq!((names(&folder, "clean"), read(&folder, "clean")), (vec![name(0, 1)], String::new()));
    assert_eq!(sink.files(), 0);
    sink.commit(&Covered::default()).unwrap();
    drop(sink);
    assert_eq!(open(&folder).1, [1]);
}

#[test]
fn a_second_writer_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, _) = open(&folder);
    let error = Files::open(settings(&folder)).err().unwrap();
    assert_eq!(error.kind, ErrorKind::Fenced);
    assert!(error.to_string().contains("another process writes into"), "{error}");
    drop(sink);
    open(&folder);
}

#[test]
fn names_that_do_not_join_are_refused() {
    for (files, text) in [
        ([(0, 3), (4, 6)], "there is a hole between"),
        ([(0, 3), (2, 6)], "overlap"),
        ([(3, 3), (3, 6)], "ends before it begins"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        drop(open(&folder));
        for (from, next) in files {
            fs::write(folder.path().join("clean").join(name(from, next)), "").unwrap();
        }
        fs::write(folder.path().join("clean/notes.jsonl"), "").unwrap();
        let error = Files::open(settings(&folder)).unwrap().assign(&[partition()]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.to_string().contains(text), "{error}");
        assert!(error.to_string().contains(&name(files[0].0, files[0].1)), "{error}");
    }
}

/// Files of `0..3` and of `3..6`.
fn two_commits() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (mut sink, _) = open(&folder);
    for from in [0, 3] {
        sink.write(&outcome(from, from + 3)).unwrap();
        sink.commit(&covered(from, from + 3)).unwrap();
    }
    drop(sink);
    folder
}

#[test]
fn old_files_may_be_taken_away() {
    let folder = two_commits();
    fs::remove_file(folder.path().join("clean").join(name(0, 3))).unwrap();
    fs::remove_file(folder.path().join("rejected").join(name(0, 3))).unwrap();
    fs::remove_file(folder.path().join("rejected").join(name(3, 6))).unwrap();
    assert_eq!(open(&folder).1, [6]);
}

#[test]
fn a_topic_with_a_new_name_has_everything_though_old_rejects_are_away() {
    let folder = two_commits();
    fs::remove_file(folder.path().join("rejected").join(name(0, 3))).unwrap();
    fs::rename(folder.path().join("clean"), folder.path().join("before")).unwrap();
    assert_eq!(open(&folder).1, [0, 6]);
}

#[test]
fn different_partitions_have_different_names() {
    let topics = ["a/b", "a%2Fb", "a@0", "a", ".a", "a.b", "工单/一 二", "a\u{0}"];
    let mut seen = std::collections::BTreeSet::new();
    for topic in topics {
        for number in [0, 1, 10] {
            let name = names::of(&Partition::new(topic, number));
            assert!(!name.contains('/') && !name.starts_with('.') && !name.contains(['\0', ' ']), "{name}");
            assert!(seen.insert(name));
        }
    }
}

#[test]
fn commits_wait_for_their_interval_or_for_size() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, _) = open(&folder);
    let pending = |bytes| Pending { since: Instant::now(), rows: 1, bytes };
    assert!(sink.commit_in(&pending(1)) > Duration::from_secs(50));
    assert_eq!(sink.commit_in(&pending(LARGE)), Duration::ZERO);
}

#[test]
fn a_commit_of_what_was_never_written_is_our_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sink, _) = open(&folder);
    sink.write(&outcome(0, 3)).unwrap();
    assert_eq!(sink.commit(&covered(0, 9)).unwrap_err().kind, ErrorKind::Bug);
    sink.release(&[partition()]);
    assert_eq!(sink.write(&outcome(0, 3)).unwrap_err().kind, ErrorKind::Bug);
}

#[test]
fn folders_are_on_the_disk_before_anything_is_in_them() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let asked = watch(&root, || {
        Topic::open(root.join("topics/standard")).unwrap();
    });
    let made = [root.join("topics"), root.join("topics/standard")];
    let expected: Vec<Asked> = made.iter().map(|made| Asked::Made(made.clone())).collect();
    assert_eq!(asked[..2], expected);
    for made in &made {
        assert!(asked.contains(&Asked::Synced(made.parent().unwrap().into())), "{}: {asked:?}", made.display());
    }
}

/// After a power failure a name without its bytes would be a cursor without its rows.
#[test]
fn no_file_gets_its_name_before_its_bytes_are_on_the_disk_and_rejects_come_first() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let (mut sink, _) = open(&folder);
    let asked = watch(&root, || {
        for from in [10, 13] {
            sink.write(&outcome(from, from + 3)).unwrap();
            sink.commit(&covered(from, from + 3)).unwrap();
        }
    });
    let mut synced = Vec::new();
    let mut order = Vec::new();
    for asked in asked {
        match asked {
            Asked::Synced(path) if path.is_dir() => order.push(path.file_name().unwrap().to_str().unwrap().to_owned()),
            Asked::Synced(path) => synced.push(path),
            Asked::Named(from, to) => {
                assert!(synced.contains(&from), "{} is there before its bytes are on the disk", to.display());
                order.push(to.strip_prefix(&root).unwrap().display().to_string());
            }
            Asked::Made(path) => panic!("{} is made in the middle of a commit", path.display()),
        }
    }
    let step = |topic: &str, from: i64| [format!("{topic}/{}", name(from, from + 3)), topic.to_owned()];
    assert_eq!(order, [step("rejected", 10), step("clean", 10), step("rejected", 13), step("clean", 13)].concat());
}
