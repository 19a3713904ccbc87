//! Files in place of Kafka: the same guarantees.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

use huiju::{batch::Tally, sample::Made};
use tempfile::TempDir;

use crate::{
    conformance::stands::files,
    doors::edit,
    support::{
        Huiju, Sent,
        carried::Table,
        eventually,
        project::{SOURCES, copy, was_killed},
        python,
    },
};

/// Points on the way that only files take.
pub const POINTS: &[&str] = &["files.after_fetch", "files.before_rename", "files.after_rejects", "files.after_rename"];

pub const DEMO: [&str; 7] = ["demo", "--dir", "demo", "--messages", "2000", "--format", "json"];
const CLEAN: &str = "topics/hotline.standard.work_orders";
const REJECTED: &str = "topics/hotline.rejected.work_orders";

/// What a project of files holds, as readers see it.
#[derive(PartialEq, Eq, Debug)]
pub struct Held {
    pub clean: Vec<String>,
    rejected: Vec<String>,
    rows: Vec<String>,
    rejects: Vec<String>,
    pub account: Tally,
}

/// Reads it, and checks what always holds (T32).
#[track_caller]
pub fn held(demo: &Path) -> Held {
    let lines = |topic: &str| {
        let texts = files(&demo.join(topic)).into_iter().map(|path| fs::read_to_string(path).unwrap());
        sorted(texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect())
    };
    let (rows, rejects) =
        (Table::whole(&demo.join("archive/work_orders")), Table::whole(&demo.join("archive/work_orders_rejects")));
    assert_eq!((&rows.files, &rejects.files), (&rows.live(), &rejects.live()), "files on the disk and in the log");
    let account = rows.account();
    let texts = |table: &Table| sorted(table.rows.iter().map(|row| serde_json::to_string(row).unwrap()).collect());
    let held =
        Held { clean: lines(CLEAN), rejected: lines(REJECTED), rows: texts(&rows), rejects: texts(&rejects), account };
    let Tally { input, written, rejected, duplicate } = account;
    assert_eq!(input, written + rejected + duplicate);
    let counts = [held.clean.len(), held.rows.len(), held.rejected.len(), held.rejects.len()];
    assert_eq!(counts.map(|count| count as u64), [written, written, rejected, rejected]);
    let topics =
        fs::read_dir(demo.join("topics")).unwrap().flat_map(|topic| fs::read_dir(topic.unwrap().path()).unwrap());
    let partial: Vec<_> = topics
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "partial"))
        .collect();
    assert_eq!(partial, [""; 0].map(std::path::PathBuf::from), "left half-way");
    held
}

fn sorted(mut all: Vec<String>) -> Vec<String> {
    all.sort_unstable();
    all
}

/// Personal data in the messages, none of which may be logged.
pub fn assert_discreet(demo: &Path, log: &str) {
    let mut planted = BTreeSet::new();
    for source in SOURCES {
        for path in files(&demo.join(format!("topics/hotline.raw.work_orders.{source}"))) {
            for line in fs::read_to_string(path).unwrap().lines() {
                let payload = Some(line.as_bytes().to_vec());
                planted.extend(Sent { source, key: None, payload, timestamp: 0, made: Made::Good }.personal());
            }
        }
    }
    assert!(planted.len() > 1000, "{}", planted.len());
    let finder = aho_corasick::AhoCorasick::new(&planted).unwrap();
    assert!(!finder.is_match(log), "personal data in the log:\n{log}");
}

/// Whoever filters by a column finds the rows that are there, though only some columns have bounds in the log.
#[test]
fn readers_that_filter_find_every_row() {
    let folder = raw();
    let (status, huiju) = Huiju::run(folder.path(), &["run", "--until-end"], &[]);
    assert!(status.success(), "{}", huiju.stderr());
    for (table, least) in [("work_orders", 40), ("work_orders_rejects", 15)] {
        let table = folder.path().join("archive").join(table).display().to_string();
        let Some(said) = python("readers/filters.py", &[&table]) else { return };
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(said["wrong"], serde_json::json!([]), "{table}");
        assert!(said["asked"].as_array().unwrap().len() >= least, "{said}");
    }
}

/// A folder as `demo` leaves it before it runs, with an archive that commits as often as it can.
pub fn raw() -> TempDir {
    use std::sync::OnceLock;
    static MADE: OnceLock<TempDir> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let (status, huiju) = Huiju::run(folder.path(), &DEMO, &[]);
        assert!(status.success(), "{}", huiju.stderr());
        folder
    });
    let folder = tempfile::tempdir().unwrap();
    for part in ["pipelines", "schemas"] {
        copy(&made.path().join("demo").join(part), &folder.path().join(part));
    }
    for source in SOURCES {
        let topic = format!("topics/hotline.raw.work_orders.{source}");
        copy(&made.path().join("demo").join(&topic), &folder.path().join(&topic));
    }
    let config = "[files]\nfolder = \"topics\"\n[archive]\ninterval = \"1ms\"\n";
    fs::write(folder.path().join("huiju.toml"), config).unwrap();
    folder
}

#[test]
fn t01_files_survive_a_crash_at_every_point() {
    let run = |folder: &TempDir, variables: &[(&str, &str)]| {
        let mut huiju = Huiju::start(folder.path(), &["run", "--until-end", "--format", "json"], variables);
        let status = huiju.wait(Duration::from_secs(120));
        assert_discreet(folder.path(), &huiju.stderr());
        (status, huiju)
    };
    let folder = raw();
    let (status, huiju) = run(&folder, &[]);
    assert!(status.success(), "{}", huiju.stderr());
    let undisturbed = held(folder.path());
    assert_eq!(huiju.summary()["in"], undisturbed.account.input);
    let taken_up = |folder: &TempDir, fault: &str| {
        let (status, huiju) = run(folder, &[]);
        assert!(status.success(), "{fault}: {}", huiju.stderr());
        let found = held(folder.path());
        assert_eq!(found.account, undisturbed.account, "{fault}");
        assert!(found == undisturbed, "{fault}: the account is the same, the rows are not");
    };
    for point in POINTS {
        let folder = raw();
        let (status, huiju) = run(&folder, &[("HUIJU_FAULT", point)]);
        assert!(was_killed(status), "{point} was not passed: {status} {}", huiju.stderr());
        taken_up(&folder, point);

        // And in the second commit of a run: one file is one batch and one commit, and the others come after it.
        let folder = raw();
        let aside = folder.path().join("aside");
        let raws: Vec<PathBuf> = SOURCES
            .into_iter()
            .flat_map(|source| files(&folder.path().join(format!("topics/hotline.raw.work_orders.{source}"))))
            .collect();
        let others = &raws[1..];
        fs::create_dir(&aside).unwrap();
        let place = |at: usize| aside.join(at.to_string());
        others.iter().enumerate().for_each(|(at, path)| fs::rename(path, place(at)).unwrap());
        let fault = format!("{point}:2");
        let mut huiju = Huiju::start(folder.path(), &["run"], &[("HUIJU_FAULT", &fault)]);
        let committed = eventually("the first file is committed", Duration::from_secs(60), || {
            let archived = Table::skim(&folder.path().join("archive/work_orders")).account().input;
            let clean = fs::read_dir(folder.path().join(CLEAN))
                .ok()?
                .filter_map(|entry| entry.ok()?.path().extension().map(|e| e == "jsonl"));
            (archived > 0 && clean.filter(|whole| *whole).count() == 1).then_some(archived)
        });
        assert!(huiju.process.is_running() && committed < undisturbed.account.input, "{fault}: {}", huiju.stderr());
        others.iter().enumerate().for_each(|(at, path)| fs::rename(place(at), path).unwrap());
        let status = huiju.wait(Duration::from_secs(60));
        assert!(was_killed(status), "{fault} was not passed: {status} {}", huiju.stderr());
        assert_discreet(folder.path(), &huiju.stderr());
        taken_up(&folder, &fault);
    }
}

/// Whoever puts a file where nobody reads it, or gives it a name without a date, is told; and is told once of each.
#[test]
fn what_is_not_read_and_what_has_no_time_is_told_once() {
    let folder = raw();
    let topic = |source: &str| folder.path().join(format!("topics/hotline.raw.work_orders.{source}"));
    for name in ["notes.txt", "export.csv", ".hidden", "half.jsonl.partial"] {
        fs::write(topic("nanchang").join(name), "nobody reads this\n").unwrap();
    }
    for name in ["first.jsonl", "second.jsonl"] {
        fs::write(topic("ganzhou").join(name), "{\n").unwrap();
    }
    // As a zip archive from Windows leaves it.
    let strange = std::ffi::OsStr::from_bytes(b"2026-06-05\xcd\xa3\xb3\xb5.jsonl");
    fs::write(topic("nanchang").join(strange), "{}\n").unwrap();
    for forged in ["2026-06-07\nERROR forged.jsonl", "x\nERROR forged.csv"] {
        fs::write(topic("nanchang").join(forged), "{}\n").unwrap();
    }
    let secret = folder.path().join("secret");
    fs::write(&secret, "a secret of the operator\n").unwrap();
    std::os::unix::fs::symlink("nowhere", topic("nanchang").join("2026-06-06.jsonl")).unwrap();
    std::os::unix::fs::symlink(secret, topic("nanchang").join("2026-06-08.jsonl")).unwrap();
    fs::remove_dir_all(topic("yichun")).unwrap();
    let (status, huiju) = Huiju::run(folder.path(), &["run", "--until-end", "--format", "json"], &[]);
    let said = huiju.stderr();
    assert!(status.success(), "{said}");
    for (words, of, times) in [
        ("ignored: messages are read from *.jsonl", "hotline.raw.work_orders.nanchang", 2),
        ("ignored: the file's name is not UTF-8", "hotline.raw.work_orders.nanchang", 1),
        ("ignored: the file's name holds a control character", "hotline.raw.work_orders.nanchang", 2),
        ("ignored: it is a link, not a file", "hotline.raw.work_orders.nanchang", 2),
        ("no date in the file's name, as in 2026-11-25.jsonl", "hotline.raw.work_orders.ganzhou", 2),
        ("no such folder, treated as empty", "hotline.raw.work_orders.yichun", 1),
    ] {
        let told: Vec<&str> = said.lines().filter(|line| line.contains(words)).collect();
        assert_eq!(told.len(), times, "{words}: {said}");
        assert!(told[0].contains("WARN") && told[0].contains(of), "{}", told[0]);
    }
    assert!(!said.lines().any(|line| line.starts_with("ERROR forged")), "{said}");
    for silent in [".hidden", ".partial"] {
        assert!(!said.contains(silent), "{silent}: {said}");
    }
    let rejected = files(&folder.path().join(REJECTED));
    assert!(!rejected.iter().any(|path| fs::read_to_string(path).unwrap().contains("of the operator")), "it was read");
    // They are read all the same.
    for name in ["first.jsonl", "second.jsonl"] {
        let of = |path: &&PathBuf| path.to_str().unwrap().contains(name);
        let text = rejected.iter().filter(of).map(|path| fs::read_to_string(path).unwrap()).collect::<String>();
        assert!(text.contains("decode.syntax"), "{name}: {rejected:?}");
    }
}

#[test]
fn of_many_files_that_are_not_read_a_hundred_are_told_and_that_there_are_more() {
    let folder = crate::other_feed::project();
    crate::panics::lamps(folder.path(), "lamps.raw.east", 0..1);
    for number in 0..150 {
        fs::write(folder.path().join(format!("topics/lamps.raw.east/{number}.csv")), "").unwrap();
    }
    let (status, huiju) = Huiju::run(folder.path(), &["run", "--until-end"], &[]);
    let said = huiju.stderr();
    assert!(status.success(), "{said}");
    let told = |words: &str| said.lines().filter(|line| line.contains(words)).count();
    assert_eq!((told("ignored: messages are read"), told("only the first 100 are told")), (100, 1), "{said}");
}

/// T33 as an operator meets it: the archive cannot be written. The clean stream goes on, and when it can be the archive has
/// everything.
#[test]
fn t33_an_archive_that_cannot_be_written_holds_up_nobody_and_catches_up() {
    let folder = crate::other_feed::project();
    crate::panics::lamps(folder.path(), "lamps.raw.east", 0..100);
    // A file where the folder of a partition has to be: the disk's last word.
    let archive = folder.path().join("archive/lamps");
    fs::create_dir_all(&archive).unwrap();
    fs::write(archive.join("fault_kind=01"), "").unwrap();
    let clean = |count: usize| {
        let lines = || -> usize {
            let all = fs::read_dir(folder.path().join("topics/lamps.standard")).into_iter().flatten();
            let whole =
                all.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "jsonl"));
            whole.map(|path| fs::read_to_string(path).unwrap().lines().count()).sum()
        };
        eventually("rows are in the clean stream", Duration::from_secs(60), || (lines() == count).then_some(()));
    };
    // By the accounts in its log alone: among its files lies what does not belong there.
    let archived = || -> u64 {
        let log = fs::read_dir(archive.join("_delta_log")).unwrap().map(|entry| entry.unwrap().path());
        let log = log.filter(|path| path.extension().is_some_and(|ending| ending == "json"));
        let lines =
            log.flat_map(|path| fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect::<Vec<_>>());
        let written = |line: String| {
            let action: serde_json::Value = serde_json::from_str(&line).unwrap();
            action["commitInfo"]["huiju"]["written"].as_u64().unwrap_or(0)
        };
        lines.map(written).sum()
    };
    let mut huiju = Huiju::start(folder.path(), &["run"], &[]);
    huiju.says("sink left behind, the others go on", Duration::from_secs(60));
    clean(100);
    crate::panics::lamps(folder.path(), "lamps.raw.east", 100..200);
    clean(200);
    assert_eq!(archived(), 0, "nothing is acknowledged");
    assert!(huiju.stderr().contains("fault_kind=01"), "it says which file: {}", huiju.stderr());
    fs::remove_file(archive.join("fault_kind=01")).unwrap();
    eventually("the archive has caught up", Duration::from_secs(60), || (archived() == 200).then_some(()));
    huiju.process.signal(libc::SIGTERM);
    assert!(huiju.wait(Duration::from_secs(30)).success(), "{}", huiju.stderr());
    let (status, huiju) = Huiju::run(folder.path(), &["run", "--until-end", "--format", "json"], &[]);
    assert!(status.success(), "{}", huiju.stderr());
    assert_eq!(huiju.summary()["in"], 0, "nothing comes twice");
    clean(200);
}

/// What the sinks have in hand when a pipeline is stopped is committed, in all of them: whoever looks for the reason finds
/// the rejects.
#[test]
fn a_pipeline_that_is_stopped_for_its_rejects_has_committed_what_came_before() {
    let folder = crate::other_feed::project();
    edit(&folder.path().join("huiju.toml"), "pipelines =", "drain = \"60s\"\npipelines =");
    crate::panics::lamps(folder.path(), "lamps.raw.east", 0..20_000);
    let bad: String = (0..5000).map(|number| format!("{{\"id\":\"B{number}\"}}\n")).collect();
    fs::write(folder.path().join("topics/lamps.raw.east/2026-06-03.jsonl"), bad).unwrap();
    let (status, huiju) = Huiju::run(folder.path(), &["run", "--until-end", "--format", "json"], &[]);
    assert_eq!(status.code(), Some(5), "{}", huiju.stderr());
    let lines = |topic: &str| {
        let texts = files(&folder.path().join(topic)).into_iter().map(|path| fs::read_to_string(path).unwrap());
        texts.map(|text| text.lines().count() as u64).sum::<u64>()
    };
    let table = |name: &str| Table::whole(&folder.path().join("archive").join(name));
    let (rows, rejects) = (table("lamps"), table("lamps_rejects"));
    assert_eq!(
        (rows.rows.len() as u64, rejects.rows.len() as u64),
        (lines("topics/lamps.standard"), lines("topics/lamps.rejected"))
    );
    let Tally { input, written, rejected, duplicate } = rows.account();
    assert_eq!((written, input), (20_000, written + rejected + duplicate));
    let summary = huiju.summary();
    let count = |name: &str| summary[name].as_u64().unwrap();
    assert_eq!(["in", "written", "rejected"].map(count), [input, written, rejected]);
}

/// Who waits for a commit that hangs must not look well meanwhile.
#[test]
fn a_file_that_was_cut_short_ends_the_process_while_a_sink_hangs() {
    let folder = crate::other_feed::project();
    crate::panics::lamps(folder.path(), "lamps.raw.east", 0..100);
    let mut huiju = Huiju::start(folder.path(), &["run"], &[("HUIJU_FAULT", "archive.before_commit:1:600000")]);
    huiju.says("standing still", Duration::from_secs(60));
    let file = files(&folder.path().join("topics/lamps.raw.east")).remove(0);
    fs::write(file, "{}\n").unwrap();
    huiju.says("pipeline cannot go on", Duration::from_secs(60));
    assert_eq!(huiju.wait(Duration::from_secs(60)).code(), Some(6), "{}", huiju.stderr());
}

#[test]
fn a_file_that_grows_is_followed() {
    let other = raw();
    let (status, _) = Huiju::run(other.path(), &["run", "--until-end"], &[]);
    assert!(status.success());
    let undisturbed = held(other.path());
    let folder = raw();
    let topic = folder.path().join("topics/hotline.raw.work_orders.nanchang");
    let path = files(&topic).remove(0);
    let whole = fs::read_to_string(&path).unwrap();
    let (half, rest) = whole.as_bytes().split_at(whole.len() / 2); // within a line, and perhaps within a character
    // Empty lines are no messages.
    let lines =
        |bytes: &[u8]| bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.len() > 1).count() as u64;
    let begun = lines(half) - 1;
    fs::write(&path, half).unwrap();
    let mut huiju = Huiju::start(folder.path(), &["run"], &[]);
    let table = folder.path().join("archive/work_orders");
    let mut carried = |rows: u64| {
        eventually("it is followed", Duration::from_secs(60), || {
            assert!(huiju.process.is_running(), "{}", huiju.stderr());
            (Table::skim(&table).account().input == rows).then_some(())
        });
    };
    carried(undisturbed.account.input - (lines(whole.as_bytes()) - begun));
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, rest).unwrap();
    carried(undisturbed.account.input);
    huiju.process.signal(libc::SIGTERM);
    assert!(huiju.wait(Duration::from_secs(30)).success(), "{}", huiju.stderr());
    assert!(held(folder.path()) == undisturbed);
}
