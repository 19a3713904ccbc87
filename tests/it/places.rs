//! Where an archive may lie, and where it may not: a path must mean one folder, whoever reads it. And what is in the way of
//! other files of ours.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::ffi::OsStrExt,
    path::Path,
    time::SystemTime,
};

use serde_json::json;

use crate::{
    conformance::stands::files,
    doors::{edit, lamps, refused},
    other_feed::project,
    support::{Huiju, project::copy, python},
};

const LOCATION: &str = "location = \"archive\"";

#[track_caller]
fn ends_well(folder: &Path, arguments: &[&str]) {
    let (status, huiju) = Huiju::run(folder, arguments, &[]);
    assert!(status.success(), "{arguments:?}: {}", huiju.stderr());
}

/// Who tries rows, or looks after tables, must not know the password.
#[test]
fn a_secret_that_is_not_there_stops_only_a_run() {
    const LACKING: &str = "huiju.toml:7: sasl.password: the environment variable HUIJU_NOT_SET is not set";
    let folder = project();
    let folder = folder.path();
    let kafka = "[kafka]\nbrokers = \"localhost:1\"\nproperties.sasl.password = { env = \"HUIJU_NOT_SET\" }";
    edit(&folder.join("huiju.toml"), "[files]\nfolder = \"topics\"", kafka);
    for verb in [&["check"][..], &["test"], &["docs"], &["archive", "create"], &["archive", "history"]] {
        ends_well(folder, verb);
    }
    let (_, huiju) = Huiju::run(folder, &["check"], &[]);
    assert!(huiju.stdout().contains(&format!("warning  {LACKING}: ")), "{}", huiju.stdout());
    refused(folder, &["run", "--until-end"], &[LACKING]);
}

/// What a path is decoded to once more must not be another table: a vacuum would take its files for nobody's.
#[test]
fn an_archive_whose_path_could_mean_another_is_refused() {
    let folder = project();
    let folder = folder.path();
    let config = folder.join("huiju.toml");
    lamps(folder, 2);
    edit(&config, LOCATION, "location = \"c d\"");
    ends_well(folder, &["run", "--until-end"]);
    // As a copied folder leaves it: a table with the first one's log, whose files are nobody's by it.
    copy(&folder.join("c d"), &folder.join("c%20d"));
    let stray = folder.join("c%20d/lamps/fault_kind=01/part-stray.zstd.parquet");
    fs::write(&stray, "a row").unwrap();
    File::open(&stray).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    edit(&config, "c d", "c%20d");
    let before = files(folder);
    for verb in [
        &["check"][..],
        &["run"],
        &["run", "--until-end"],
        &["archive", "vacuum"],
        &["archive", "compact"],
        &["archive", "create"],
        &["archive", "add-columns"],
        &["archive", "history"],
    ] {
        refused(folder, verb, &["c%20d", "\"%20\"", "name it otherwise"]);
    }
    refused(folder, &["check"], &["huiju.toml:9: [archive] location: "]);
    assert_eq!(files(folder), before);
}

#[test]
fn paths_that_make_no_address_are_refused_before_anything_is_made() {
    for (name, shown) in [
        (&b"a%2Fb"[..], "\"%2F\""),
        (b"a%0ab", "\"%0a\""),
        (b"a\tb", "'\\t'"),
        (b"a\nb", "'\\n'"),
        (b"a\\b", "'\\\\'"),
        (b"a\xffb", "is not UTF-8"),
    ] {
        let folder = project();
        lamps(folder.path(), 1);
        // Made absolute: what stands in the way may stand above the configuration.
        let odd = folder.path().join(OsStr::from_bytes(name));
        fs::create_dir(&odd).unwrap();
        for part in ["pipelines", "schemas", "topics", "huiju.toml"] {
            fs::rename(folder.path().join(part), odd.join(part)).unwrap();
        }
        for verb in [&["check"][..], &["run", "--until-end"], &["archive", "create"]] {
            refused(&odd, verb, &[shown, "name it otherwise"]);
        }
        assert!(!odd.join("archive").exists(), "{name:?}");
        // What the path leads to counts.
        let straight = folder.path().join("straight");
        fs::create_dir(&straight).unwrap();
        std::os::unix::fs::symlink(&straight, odd.join("archive")).unwrap();
        for verb in [&["check"][..], &["run", "--until-end"], &["archive", "vacuum"]] {
            ends_well(&odd, verb);
        }
    }
}

#[test]
fn a_demo_is_not_made_where_its_archive_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    refused(folder.path(), &["demo", "--dir", "c%20d", "--messages", "30"], &["\"%20\"", "name it otherwise"]);
    assert!(!folder.path().join("c%20d/archive").exists());
}

#[test]
fn a_sink_s_path_has_no_odd_characters() {
    let folder = project();
    let toml = folder.path().join("pipelines/street_lamps/pipeline.toml");
    edit(&toml, "path = \"lamps\"", "path = \"la%6Dps\"");
    for verb in [&["check"][..], &["run"], &["archive", "vacuum"]] {
        refused(folder.path(), verb, &["pipeline.toml:17: path = \"la%6Dps\": ", "\"%6D\""]);
    }
    edit(&toml, "la%6Dps", "la\\tmps");
    refused(folder.path(), &["check"], &["pipeline.toml:17: ", "'\\t'"]);
}

#[test]
fn odd_paths_that_mean_one_folder_are_fine() {
    for name in ["a b", "百分之十 10%", "50%x", "a#b?c&d+e", "a%zz"] {
        let folder = project();
        lamps(folder.path(), 2);
        edit(&folder.path().join("huiju.toml"), LOCATION, &format!("location = \"{name}\""));
        for verb in [&["check"][..], &["run", "--until-end"], &["archive", "compact"], &["archive", "vacuum"]] {
            ends_well(folder.path(), verb);
        }
        assert!(folder.path().join(name).join("lamps/_delta_log").is_dir());
    }
}

/// The first start would make it, and each one after that take it for a pipeline.
#[test]
fn an_archive_among_what_is_read_at_the_start_is_refused() {
    for (location, key) in [("pipelines/archive", "pipelines"), ("pipelines", "pipelines"), ("link/codes/a", "schemas")]
    {
        let folder = project();
        lamps(folder.path(), 1);
        std::os::unix::fs::symlink("schemas", folder.path().join("link")).unwrap();
        edit(&folder.path().join("huiju.toml"), LOCATION, &format!("location = \"{location}\""));
        let before = files(folder.path());
        for verb in [&["check"][..], &["run", "--until-end"]] {
            let words =
                ["huiju.toml:9: [archive] location: ", &format!("in the folder of {key}"), "name one outside of it"];
            refused(folder.path(), verb, &words);
        }
        assert_eq!(files(folder.path()), before);
    }
    for location in ["pipelines/../archive", "schemas/archive"] {
        let folder = project();
        lamps(folder.path(), 1);
        edit(&folder.path().join("huiju.toml"), LOCATION, &format!("location = \"{location}\""));
        for verb in [&["check"][..], &["run", "--until-end"], &["check"]] {
            ends_well(folder.path(), verb);
        }
    }
}

/// A value is escaped for the folder's name, and that once more for the log.
#[test]
fn values_of_partition_columns_are_read_as_they_were_written() {
    let folder = project();
    let pipeline = folder.path().join("pipelines/street_lamps/pipeline.toml");
    edit(&pipeline, "[\"fault_kind\"]", "[\"repaired_on_raw\"]");
    let mut values = ["1", "50%", "50%25", "c%20d", "c d", "%2F", "a/b", "a\\b", "c%d", "城=#?&+", "\"x\"'", "a\tb"];
    let topic = folder.path().join("topics/lamps.raw.east");
    fs::create_dir_all(&topic).unwrap();
    let line = |(number, value): (usize, &&str)| {
        let lamp = json!({"id": format!("LD{number:06}"), "at": "2026-06-01 21:05:00", "what": "K1", "fixed": value,
            "pole": {"state": "1", "lamps": {"out": 1}}});
        format!("{lamp}\n")
    };
    fs::write(topic.join("2026-06-02.jsonl"), values.iter().enumerate().map(line).collect::<String>()).unwrap();
    ends_well(folder.path(), &["run", "--until-end"]);
    values.sort();
    let table = folder.path().join("archive/lamps").display().to_string();
    for verb in [&["archive", "history"][..], &["archive", "compact", "--min-files", "1"], &["archive", "vacuum"]] {
        ends_well(folder.path(), verb);
        let Some(said) = python("readers/partitions.py", &[&table, "repaired_on_raw"]) else { return };
        let seen: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(seen, json!({"values": values, "each": values, "plain": values, "files": true}), "{verb:?}");
    }
}

/// What stands in the way of the second pipeline is found before the first has begun.
#[test]
fn what_is_refused_has_changed_nothing() {
    let folder = project();
    let folder = folder.path();
    lamps(folder, 1);
    let (east, west) = (folder.join("pipelines/street_lamps"), folder.join("pipelines/west"));
    copy(&east, &west);
    (0..3).for_each(|_| edit(&west.join("pipeline.toml"), "\"lamps", "\"west"));
    edit(&west.join("sources/east.toml"), "lamps.raw.east", "lamps.raw.west");
    fs::create_dir(folder.join("topics/lamps.raw.west")).unwrap();
    edit(&folder.join("huiju.toml"), "[files]", "instance = \"me\"\n[files]");
    let temporary = folder.join("tmp");
    // SAFETY: always succeeds.
    let user = unsafe { libc::geteuid() };
    fs::create_dir_all(temporary.join(format!("huiju-{user}/me.1"))).unwrap();
    let variables = [("TMPDIR", temporary.to_str().unwrap())];
    let (status, huiju) = Huiju::run(folder, &["run", "--until-end"], &variables);
    assert_eq!(status.code(), Some(2), "{}", huiju.stderr());
    assert!(huiju.stderr().contains("me.1 is in the way"), "{}", huiju.stderr());
    assert!(!folder.join("archive").exists());
}
