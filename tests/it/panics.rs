//! A mistake of ours, in whatever thread of a pipeline: the process ends, says so with the documented code, tells nothing
//! of the data, and the next start finds everything in order.

use std::{fs, io::Write, ops::Range, path::Path, time::Duration};

use tempfile::TempDir;

use crate::{other_feed, support::Huiju};

/// Long for a process that ends; what hangs, hangs for ever.
const SOON: Duration = Duration::from_secs(60);
const MISTAKE: i32 = 70;

/// The source's thread, the line's, and those of the two sinks; each is in the middle of its only work.
const POINTS: [&str; 5] =
    ["files.after_fetch", "line.after_decode", "line.before_take_over", "files.before_rename", "archive.after_intent"];

/// Appends lamps to a topic's only file.
pub fn lamps(folder: &Path, topic: &str, numbers: Range<u32>) {
    let topic = folder.join("topics").join(topic);
    fs::create_dir_all(&topic).unwrap();
    let lamp = |number: u32| {
        format!(
            "{{\"id\":\"LD{number:06}\",\"at\":\"2026-06-01 21:05:00\",\"what\":\"K1\",\
             \"pole\":{{\"state\":\"1\",\"lamps\":{{\"out\":1}}}}}}\n"
        )
    };
    let mut file = fs::File::options().create(true).append(true).open(topic.join("2026-06-02.jsonl")).unwrap();
    file.write_all(numbers.map(lamp).collect::<String>().as_bytes()).unwrap();
}

/// Runs until it ends by itself, which it must.
#[track_caller]
fn panics(folder: &TempDir, point: &str) -> String {
    let fault = format!("{point}:1:panic");
    let mut huiju = Huiju::start(folder.path(), &["run"], &[("HUIJU_FAULT", &fault)]);
    let status = huiju.wait(SOON);
    let said = huiju.stderr();
    assert_eq!(status.code(), Some(MISTAKE), "{point}: {status}\n{said}");
    assert!(said.contains("a mistake in huiju: thread ") && said.contains(" panicked at src/"), "{point}: {said}");
    assert!(!said.contains("13870012345") && !said.contains("欧阳建国"), "{point} tells data:\n{said}");
    said
}

#[test]
fn a_panic_ends_the_process_with_70_and_nothing_is_lost() {
    for point in POINTS {
        let folder = other_feed::project();
        lamps(folder.path(), "lamps.raw.east", 0..100);
        panics(&folder, point);
        let (status, huiju) = Huiju::run(folder.path(), &["run", "--until-end", "--format", "json"], &[]);
        assert!(status.success(), "{point}: {}", huiju.stderr());
        let lines =
            fs::read_dir(folder.path().join("topics/lamps.standard")).unwrap().map(|entry| entry.unwrap().path());
        let rows: usize = lines.map(|path| fs::read_to_string(path).unwrap().lines().count()).sum();
        assert_eq!(rows, 100, "{point}");
        assert_eq!(crate::support::carried::Table::skim(&folder.path().join("archive/lamps")).account().written, 100);
    }
}

#[test]
fn a_panic_of_another_verb_is_70_too() {
    let folder = other_feed::project();
    for numbers in [0..10, 10..20] {
        lamps(folder.path(), "lamps.raw.east", numbers);
        let (status, huiju) = Huiju::run(folder.path(), &["run", "--until-end"], &[]);
        assert!(status.success(), "{}", huiju.stderr());
    }
    let fault = [("HUIJU_FAULT", "compact.before_commit:1:panic")];
    let (status, huiju) = Huiju::run(folder.path(), &["archive", "compact", "--min-files", "2"], &fault);
    let said = huiju.stderr();
    assert_eq!(status.code(), Some(MISTAKE), "{said}");
    assert!(said.contains("a mistake in huiju: thread ") && said.contains("please report it"), "{said}");
    assert!(!said.contains("13870012345"), "{said}");
}

/// The other has nothing to do and would run for ever: nobody would notice that one of two stands still.
#[test]
fn a_pipeline_that_panics_ends_the_others_too() {
    let folder = other_feed::project();
    let (one, other) = (folder.path().join("pipelines/street_lamps"), folder.path().join("pipelines/z_lamps"));
    crate::support::project::copy(&one, &other);
    for (file, from, to) in [
        ("pipeline.toml", "lamps.standard", "z.standard"),
        ("pipeline.toml", "lamps.rejected", "z.rejected"),
        ("pipeline.toml", "\"lamps\"", "\"z\""),
        ("sources/east.toml", "lamps.raw.east", "z.raw.east"),
    ] {
        let text = fs::read_to_string(other.join(file)).unwrap();
        assert!(text.contains(from), "{file}: {from}");
        fs::write(other.join(file), text.replace(from, to)).unwrap();
    }
    fs::create_dir_all(folder.path().join("topics/z.raw.east")).unwrap();
    lamps(folder.path(), "lamps.raw.east", 0..100);
    let said = panics(&folder, "files.after_fetch");
    assert!(said.contains("pipeline street_lamps panicked"), "{said}");
}
