//! `huiju archive`: compaction and vacuum that die in the middle; other programs that work on the tables between our
//! runs. T07, T29, T31.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    conformance::stands::files,
    doors::{edit, lamps, refused},
    files::raw,
    other_feed::project,
    support::{
        Huiju,
        project::{SOURCES, copy, was_killed},
        python,
    },
};

#[track_caller]
fn huiju(folder: &Path, arguments: &[&str]) -> Huiju {
    let (status, huiju) = Huiju::run(folder, arguments, &[]);
    assert!(status.success(), "{arguments:?}: {}", huiju.stderr());
    huiju
}

/// What readers of Delta see, after other programs have done this and that.
fn seen(folder: &Path, verbs: &[&str]) -> Option<Value> {
    let table = folder.join("archive/work_orders").display().to_string();
    let said = python("readers/upkeep.py", &[&[table.as_str()], verbs].concat())?;
    Some(serde_json::from_str(&said).unwrap())
}

/// The account of the rows' table, from the output of a verb.
#[track_caller]
fn rows_account(huiju: &Huiju) -> Value {
    let lines = huiju.stdout();
    let mut accounts = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    accounts.find(|account| account["table"] == "work_orders").unwrap()
}

/// Points on the way that only compactions take.
pub const POINTS: &[&str] = &["compact.before_commit", "compact.after_commit"];

const COMPACT: [&str; 6] = ["archive", "compact", "--min-files", "2", "--format", "json"];

#[test]
fn a_compaction_that_is_killed_loses_nothing_and_doubles_nothing() {
    let folder = raw();
    let folder = folder.path();
    let carried = huiju(folder, &["run", "--until-end", "--format", "json"]).summary();
    let points = ["archive.after_rename", "archive.after_commit"].iter().chain(POINTS);
    let Some(before) = seen(folder, &[]) else { return };
    assert_eq!(before["rows"], carried["written"]);
    for point in points {
        let (status, killed) = Huiju::run(folder, &COMPACT, &[("HUIJU_FAULT", &format!("{point}:1"))]);
        assert!(was_killed(status), "{point} was not passed: {status} {}", killed.stderr());
        let after = seen(folder, &[]).unwrap();
        assert_eq!([&after["rows"], &after["places"]], [&before["rows"], &before["places"]], "{point}");
        // Who only looks leaves everything as it is, also what a dead process has left.
        let tree = || {
            let found = Command::new("find").arg(folder.join("archive")).args(["-printf", "%p %s %T@\n"]).output();
            let mut lines: Vec<String> =
                String::from_utf8(found.unwrap().stdout).unwrap().lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        let left = tree();
        huiju(folder, &["archive", "vacuum", "--dry-run"]);
        huiju(folder, &["archive", "history"]);
        assert_eq!(tree(), left, "{point}");
        // A run puts right what was left, and new files make the next compaction worth while.
        assert_eq!(huiju(folder, &["run", "--until-end", "--format", "json"]).summary()["in"], 0, "{point}");
        let staged = fs::read_dir(folder.join("archive/work_orders/_staging")).into_iter().flatten().count();
        assert_eq!(staged, 0, "{point}: left behind");
    }
    let done = rows_account(&huiju(folder, &COMPACT));
    assert_eq!(done["given_up"], 0, "{done}");
    // What was replaced, or left by the dead, is not a week old.
    let kept = rows_account(&huiju(folder, &["archive", "vacuum", "--format", "json"]));
    assert_eq!(kept["deleted"], 0, "{kept}");
    let again = seen(folder, &[]).unwrap();
    assert_eq!(
        [&again["rows"], &again["places"], &again["files"]],
        [&before["rows"], &before["places"], &done["files_after"]]
    );
    let history = huiju(folder, &["archive", "history", "work_orders", "--limit", "1", "--format", "json"]);
    assert_eq!(rows_account(&history)["operation"], "OPTIMIZE");
    let (status, refused) = Huiju::run(folder, &["archive", "vacuum", "--retention", "5m"], &[]);
    assert_eq!(status.code(), Some(2), "{}", refused.stderr());
}

/// One of the rows table's data files.
fn a_file(folder: &Path) -> PathBuf {
    let entries = |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let days = entries(&folder.join("archive/work_orders"));
    let day = days.iter().find(|path| path.to_string_lossy().contains("ingested_on=")).unwrap();
    entries(day).remove(0)
}

/// What is advised for a file that is damaged works, and its rows are all that is lost.
#[test]
fn a_damaged_file_is_moved_away_and_taken_out_of_the_table() {
    let folder = raw();
    let folder = folder.path();
    let run = ["run", "--until-end", "--format", "json"];
    let carried = huiju(folder, &run).summary();
    let lost = a_file(folder);
    let whole = fs::read(&lost).unwrap();
    fs::write(&lost, &whole[..whole.len() / 2]).unwrap();
    let advice = "bring it back from a copy, or move it away and let deltalake's `DeltaTable.repair()` take it out";
    let name = lost.file_name().unwrap().to_str().unwrap();
    let named = |what: &str| {
        let (status, huiju) = Huiju::run(folder, &COMPACT, &[]);
        let said = huiju.stderr();
        assert_eq!(status.code(), Some(2), "{said}");
        assert!([name, what, advice, "fix what is named above"].iter().all(|part| said.contains(part)), "{said}");
        assert!(!said.contains("start again"), "waiting does not help: {said}");
    };
    named("cannot read");
    fs::rename(&lost, folder.join("away.parquet")).unwrap();
    named("it is not there");
    let Some(repaired) = seen(folder, &["repair"]) else { return };
    let (before, after) = (carried["written"].as_u64().unwrap(), repaired["rows"].as_u64().unwrap());
    assert!(0 < after && after < before, "{carried} {repaired}");
    huiju(folder, &COMPACT);
    assert_eq!(huiju(folder, &run).summary()["in"], 0, "and what was written stays so");
    assert_eq!(seen(folder, &[]).unwrap()["rows"], repaired["rows"]);
}

/// What is advised for a table that asks too much of its writers works.
#[test]
fn what_another_program_asks_for_is_taken_back_by_the_entry() {
    let folder = raw();
    let folder = folder.path();
    let run = ["run", "--until-end", "--format", "json"];
    let carried = huiju(folder, &run).summary();
    for (verb, words) in [("feed", "Delta cannot drop that again"), ("constraint", "DROP CONSTRAINT …` for each")] {
        if seen(folder, &[verb]).is_none() {
            return;
        }
        let log = fs::read_dir(folder.join("archive/work_orders/_delta_log")).unwrap();
        let newest = log.map(|entry| entry.unwrap().path()).filter(|path| path.extension() == Some("json".as_ref()));
        let newest = newest.max().unwrap();
        refused(folder, &run, &[words, &format!("remove {}", newest.canonicalize().unwrap().display())]);
        fs::remove_file(newest).unwrap();
        assert_eq!(huiju(folder, &run).summary()["in"], 0, "{verb}");
    }
    assert_eq!(seen(folder, &[]).unwrap()["rows"], carried["written"]);
}

/// That is no disk that is not mounted, and nobody waits for it.
#[test]
fn a_start_with_one_of_the_two_tables_says_so_at_once() {
    let folder = raw();
    let folder = folder.path();
    let run = ["run", "--until-end", "--format", "json"];
    huiju(folder, &run);
    for (away, there) in [("work_orders", "work_orders_rejects"), ("work_orders_rejects", "work_orders")] {
        let (table, elsewhere) = (folder.join("archive").join(away), folder.join("away"));
        fs::rename(&table, &elsewhere).unwrap();
        let words = [&format!("{there} is there and"), &format!("{away} is not: bring it back, or delete both")];
        for verb in [&run[..], &["archive", "create"]] {
            refused(folder, verb, &words.map(String::as_str));
        }
        assert!(!table.exists());
        fs::rename(&elsewhere, &table).unwrap();
        assert_eq!(huiju(folder, &run).summary()["in"], 0);
    }
}

/// Whoever looks after the archive does it at night, and nobody is there to ask again.
#[test]
fn a_table_that_fails_does_not_keep_the_others_from_their_turn() {
    let folder = raw();
    let folder = folder.path();
    let again = folder.join("pipelines/zz_orders");
    copy(&folder.join("pipelines/work_orders"), &again);
    for name in
        ["\"hotline.standard.work_orders\"", "\"hotline.rejected.work_orders\"", "\"work_orders\"\npartition_by"]
    {
        edit(&again.join("pipeline.toml"), name, &name.replace("work_orders", "zz_orders"));
    }
    huiju(folder, &["run", "--until-end"]);
    let lost = a_file(folder);
    fs::write(&lost, "no Parquet").unwrap();

    let (status, compacted) = Huiju::run(folder, &COMPACT, &[]);
    assert_eq!(status.code(), Some(2), "waiting does not mend it: {}", compacted.stderr());
    let name = lost.file_name().unwrap().to_string_lossy().into_owned();
    assert!(compacted.stderr().contains(&name), "{}", compacted.stderr());
    let lines = compacted.stdout();
    let accounts = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let other = accounts.filter(|account| account["pipeline"] == "zz_orders").collect::<Vec<_>>();
    assert_eq!(other.len(), 2, "{lines}");
    assert!(other[0]["replaced"].as_u64() > Some(1), "{}", other[0]);
}

/// Half of the messages, then the others' work, then the other half: no cursor is lost, no row comes twice, and what was
/// deleted does not come back.
#[test]
fn t07_t29_others_work_on_the_table_between_our_runs() {
    let folder = raw();
    let folder = folder.path();
    let mut rest = Vec::new();
    for source in SOURCES {
        for path in files(&folder.join(format!("topics/hotline.raw.work_orders.{source}"))) {
            let whole = fs::read(&path).unwrap();
            let half = whole[..whole.len() / 2].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            fs::write(&path, &whole[..half]).unwrap();
            rest.push((path, whole));
        }
    }
    let run = ["run", "--until-end", "--format", "json"];
    let first = huiju(folder, &run).summary();
    let Some(optimized) = seen(folder, &["optimize", "vacuum"]) else { return };
    assert_eq!(optimized["rows"], first["written"]);
    assert_eq!(huiju(folder, &run).summary()["in"], 0, "cursors survive an OPTIMIZE and a VACUUM");
    let deleted = seen(folder, &["delete", "checkpoint", "cleanup"]).unwrap();
    assert_eq!(huiju(folder, &run).summary()["in"], 0, "cursors survive a DELETE and the cleanup of the log");
    huiju(folder, &COMPACT);
    rest.into_iter().for_each(|(path, whole)| fs::write(path, whole).unwrap());
    let second = huiju(folder, &run).summary();
    let count = |of: &Value, name: &str| of[name].as_u64().unwrap();
    let last = seen(folder, &["optimize"]).unwrap();
    let expected = count(&first, "written") + count(&second, "written") - count(&deleted, "deleted");
    assert!(count(&deleted, "deleted") > 0 && count(&second, "written") > 0, "{deleted} {second}");
    assert_eq!((count(&last, "rows"), count(&last, "places")), (expected, expected));
    assert_eq!(huiju(folder, &run).summary()["in"], 0);
}

/// deltalake passes over whoever compacts beside it, and then puts rows in twice: it has to see more than a compaction.
#[test]
fn t07_another_programs_optimize_that_a_compaction_overtakes_doubles_nothing() {
    let folder = raw();
    let folder = folder.path();
    let carried = huiju(folder, &["run", "--until-end", "--format", "json"]).summary();
    let overtaken = format!("overtaken={}", env!("CARGO_BIN_EXE_huiju"));
    let Some(seen) = seen(folder, &[&overtaken]) else { return };
    assert_eq!([&seen["rows"], &seen["places"]], [&carried["written"]; 2]);
}

/// A contract gains a column while rows are there: told at the start, added on request, filled from then on.
#[test]
fn a_column_is_added_to_a_table_that_is_there() {
    let folder = project();
    let folder = folder.path();
    lamps(folder, 1);
    let run = ["run", "--until-end", "--format", "json"];
    assert_eq!(huiju(folder, &run).summary()["written"], 10);
    let column = "      - name: height\n        logicalType: integer\n        physicalType: int\n        description: 灯杆高度，米\n";
    edit(
        &folder.join("schemas/street_lamp_faults.odcs.yaml"),
        "      - name: lng\n",
        &format!("{column}      - name: lng\n"),
    );
    edit(
        &folder.join("pipelines/street_lamps/1_standard.sql"),
        "FROM raw",
        "    , CAST(12 AS INTEGER) AS height\nFROM raw",
    );
    lamps(folder, 2);
    let words = ["column `height` (integer) is not in the table", "huiju archive add-columns street_lamps"];
    refused(folder, &run, &words);
    refused(folder, &["archive", "compact"], &words);

    let verb = ["archive", "add-columns", "street_lamps", "--format", "json"];
    let account = |arguments: &[&str]| -> Value {
        let said = huiju(folder, arguments).stdout();
        said.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .find(|one: &Value| one["table"] == "lamps")
            .unwrap()
    };
    let would = account(&[&verb[..], &["--dry-run"]].concat());
    assert_eq!((&would["added"][0], &would["version"]), (&"height".into(), &Value::Null), "{would}");
    refused(folder, &run, &words);
    let done = account(&verb);
    assert!(done["added"][0] == "height" && done["version"].is_u64(), "{done}");
    assert_eq!(huiju(folder, &run).summary()["written"], 10, "the rows that waited");
    let table = folder.join("archive/lamps").display().to_string();
    let Some(said) = python("readers/column.py", &[&table, "height"]) else { return };
    let expected = serde_json::json!({ "rows": 20, "filled": 10, "comment": "灯杆高度，米", "plain": 10 });
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap(), expected);
    let said = python("readers/filters.py", &[&table]).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["wrong"], serde_json::json!([]));
}
