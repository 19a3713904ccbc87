//! `huiju demo`, which everybody tries first.

use std::{fs, time::Duration};

use huiju::batch::Tally;

use crate::{
    files::{DEMO, assert_discreet, held},
    support::Huiju,
};

#[test]
fn demo_carries_everything_once_and_the_second_time_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (status, huiju) = Huiju::run(folder.path(), &DEMO, &[]);
    assert!(status.success(), "{}", huiju.stderr());
    let demo = folder.path().join("demo");
    let first = held(&demo);
    let summary = huiju.summary();
    let count = |name: &str| summary[name].as_u64().unwrap();
    let Tally { input, written, rejected, duplicate } = first.account;
    assert_eq!(["in", "written", "rejected", "duplicate"].map(count), [input, written, rejected, duplicate]);
    assert!(input >= 2000 && rejected > 0 && duplicate > 0, "{summary}");
    let reasons: u64 = summary["reasons"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(reasons, rejected);
    assert!(count("files") > 0);
    let flags = |row: &String| {
        let row: serde_json::Value = serde_json::from_str(row).unwrap();
        row["quality_flags"].as_array().map_or(0, Vec::len) as u64
    };
    let flagged: u64 = summary["flags"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert!(flagged > 0);
    assert_eq!(first.clean.iter().map(flags).sum::<u64>(), flagged);
    assert_discreet(&demo, &huiju.stderr());

    let (status, huiju) = Huiju::run(folder.path(), &DEMO, &[]);
    assert!(status.success(), "{}", huiju.stderr());
    assert_eq!(huiju.summary()["in"], 0);
    assert_eq!(held(&demo), first);

    let (status, huiju) = Huiju::run(folder.path(), &[&DEMO[..], &["--seed", "2"]].concat(), &[]);
    assert_eq!(status.code(), Some(2), "{}", huiju.stderr());
    assert_eq!(held(&demo), first, "a demo with other messages does not mix with this one");
}

#[test]
fn a_demo_without_messages_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (status, huiju) = Huiju::run(folder.path(), &["demo", "--messages", "0"], &[]);
    assert!(status.success(), "{}", huiju.stderr());
    let said = huiju.stdout();
    assert!(said.contains("no messages were wanted (--messages 0)") && !said.contains("earlier run"), "{said}");
}

#[test]
fn a_demo_replaces_nothing_that_is_no_demo() {
    let folder = tempfile::tempdir().unwrap();
    let demo = folder.path().join("demo");
    // A project, or a demo that was copied without its hidden file.
    for file in ["huiju.toml", "pipelines/work_orders/1_clean.sql", "topics/hotline.raw.work_orders.yichun/a.jsonl"] {
        fs::create_dir_all(demo.join(file).parent().unwrap()).unwrap();
        fs::write(demo.join(file), "mine").unwrap();
    }
    let refused = |words: &[&str]| {
        let (status, huiju) = Huiju::run(folder.path(), &DEMO, &[]);
        assert_eq!(status.code(), Some(2), "{}", huiju.stderr());
        words.iter().for_each(|word| assert!(huiju.stderr().contains(word), "{}", huiju.stderr()));
        assert_eq!(fs::read_to_string(demo.join("pipelines/work_orders/1_clean.sql")).unwrap(), "mine");
        assert_eq!(fs::read_to_string(demo.join("huiju.toml")).unwrap(), "mine");
    };
    refused(&["demo is not empty, and no demo", "--dir", "huiju run --config demo/huiju.toml"]);
    fs::write(demo.join(".made"), "by me").unwrap();
    refused(&["demo/.made is not of a whole demo"]);
    // A stamp of somebody else's, and a demo that was run before it was whole.
    fs::write(demo.join(".made"), "").unwrap();
    refused(&["demo/.made is not of a whole demo"]);
    fs::write(demo.join(".made"), "huiju demo is making this\n").unwrap();
    fs::create_dir(demo.join("archive")).unwrap();
    refused(&["demo/.made is not of a whole demo"]);
    fs::remove_dir(demo.join("archive")).unwrap();
    // An interrupted demo is one.
    let (status, huiju) = Huiju::run(folder.path(), &DEMO, &[]);
    assert!(status.success(), "{}", huiju.stderr());
    let whole = held(&demo);
    fs::remove_dir_all(&demo).unwrap();
    fs::create_dir(&demo).unwrap();
    let (status, huiju) = Huiju::run(folder.path(), &DEMO, &[]);
    assert!(status.success(), "{}", huiju.stderr());
    assert!(held(&demo) == whole, "what was left of the interrupted one is in it");
}

#[test]
fn two_demos_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let start = |seed| {
        let arguments = ["demo", "--messages", "20000", "--format", "json", "--seed", seed];
        Huiju::start(folder.path(), &arguments, &[])
    };
    let mut both = [start("1"), start("2")];
    let mut codes = both.each_mut().map(|huiju| huiju.wait(Duration::from_secs(600)).code());
    codes.sort();
    assert_eq!(codes, [Some(0), Some(2)], "{}{}", both[0].stderr(), both[1].stderr());
    let one = both.iter().position(|huiju| !huiju.stdout().is_empty()).unwrap();
    let alone = tempfile::tempdir().unwrap();
    let seed = ["1", "2"][one];
    let (_, huiju) =
        Huiju::run(alone.path(), &["demo", "--messages", "20000", "--format", "json", "--seed", seed], &[]);
    assert_eq!(both[one].summary()["written"], huiju.summary()["written"]);
    assert!(held(&folder.path().join("demo")) == held(&alone.path().join("demo")));
}
