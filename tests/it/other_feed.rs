//! A pipeline for something else entirely, with other columns and its own contract, works the same way: nothing in the
//! binary knows about work orders.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use super::support::Huiju;

/// A copy of the fixture, with topics of its own.
pub fn project() -> tempfile::TempDir {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/street_lamps");
    let folder = tempfile::tempdir().unwrap();
    for part in ["pipelines", "schemas", "huiju.toml"] {
        let copied = Command::new("cp").arg("-r").arg(fixture.join(part)).arg(folder.path()).status().unwrap();
        assert!(copied.success());
    }
    folder
}

pub fn account(output: &str) -> Value {
    serde_json::from_str(output.lines().last().expect("a last line")).expect("the last line is one object")
}

#[test]
fn street_lamps_are_checked_tested_and_carried() {
    let folder = project();
    for verb in ["check", "test"] {
        let (status, huiju) = Huiju::run(folder.path(), &[verb], &[]);
        assert!(status.success(), "{verb}: {}{}", huiju.stdout(), huiju.stderr());
    }
    let topic = folder.path().join("topics/lamps.raw.east");
    fs::create_dir_all(&topic).unwrap();
    let lamp = |number: u32| {
        format!(
            r#"{{"id":"LD{number:06}","at":"2026-06-01 21:05:00","what":"K1","pole":{{"state":"1","lamps":{{"out":1}}}}}}"#
        )
    };
    let lines: Vec<String> = (0..100).map(lamp).chain([lamp(7), "{".into()]).collect();
    fs::write(topic.join("2026-06-02.jsonl"), lines.join("\n") + "\n").unwrap();
    let (status, huiju) = Huiju::run(folder.path(), &["run", "--until-end", "--format", "json"], &[]);
    assert!(status.success(), "{}", huiju.stderr());
    let first = account(&huiju.stdout());
    let counts =
        |account: &Value| ["in", "written", "rejected", "duplicate"].map(|name| account[name].as_u64().unwrap());
    assert_eq!(counts(&first), [102, 100, 1, 1]);
    assert_eq!(first["reasons"]["decode.syntax"], 1);
    let (status, huiju) = Huiju::run(folder.path(), &["run", "--until-end", "--format", "json"], &[]);
    assert!(status.success(), "{}", huiju.stderr());
    assert_eq!(counts(&account(&huiju.stdout())), [0, 0, 0, 0], "nothing comes twice");
    assert!(folder.path().join("archive/lamps/fault_kind=01").is_dir(), "partitioned by the contract's own column");
}

/// One partition is a year behind the other when the process is started again.
#[test]
fn copies_are_found_after_a_restart_however_far_partitions_are_apart() {
    let folder = project();
    let topic = folder.path().join("topics/lamps.raw.east");
    fs::create_dir_all(&topic).unwrap();
    let line = |year: u32, number: u32| {
        format!(
            "{{\"id\":\"LD{year}{number:04}\",\"at\":\"{year}-06-01 21:05:00\",\"what\":\"K1\",\
             \"pole\":{{\"state\":\"1\",\"lamps\":{{\"out\":1}}}}}}\n"
        )
    };
    let run = |lamps: std::ops::Range<u32>| {
        for year in [2025, 2026] {
            let path = topic.join(format!("{year}-06-02.jsonl"));
            let text = fs::read_to_string(&path).unwrap_or_default();
            fs::write(&path, text + &lamps.clone().map(|number| line(year, number)).collect::<String>()).unwrap();
        }
        let (status, huiju) = Huiju::run(folder.path(), &["run", "--until-end", "--format", "json"], &[]);
        assert!(status.success(), "{}", huiju.stderr());
        let account = account(&huiju.stdout());
        ["in", "written", "duplicate"].map(|name| account[name].as_u64().unwrap())
    };
    assert_eq!(run(0..50), [100, 100, 0]);
    assert_eq!(run(30..80), [100, 60, 40]);
    assert_eq!(run(0..80), [160, 0, 160]);
}

#[test]
fn mistakes_are_named_with_file_and_line_and_end_with_2() {
    let folder = project();
    let stage = folder.path().join("pipelines/street_lamps/1_standard.sql");
    let sql = fs::read_to_string(&stage).unwrap();
    fs::write(&stage, sql.replace("given(fault_no)", "givven(fault_no)")).unwrap();
    let toml = folder.path().join("pipelines/street_lamps/pipeline.toml");
    let text = fs::read_to_string(&toml).unwrap();
    fs::write(&toml, text.replace("within", "witin")).unwrap();
    let (status, huiju) = Huiju::run(folder.path(), &["check"], &[]);
    assert_eq!(status.code(), Some(2));
    let said = huiju.stderr();
    assert!(said.contains("pipeline.toml:6") && said.contains("witin") && said.contains("within"), "{said}");
    assert!(said.contains("1_standard.sql:2") && said.contains("givven"), "{said}");
}

/// Nothing can be compiled then, but a contract can be read.
#[test]
fn mistakes_of_a_contract_are_told_beside_those_of_code_tables_and_pipelines() {
    let folder = project();
    let contract = folder.path().join("schemas/street_lamp_faults.odcs.yaml");
    let text = fs::read_to_string(&contract).unwrap();
    fs::write(&contract, text.replace("logicalType: date\n", "logicalType: dat\n")).unwrap();
    let table = folder.path().join("schemas/codes/fault_kind.csv");
    let rows = fs::read_to_string(&table).unwrap();
    fs::write(&table, rows.replace("2019-12-31", "2019/12/31")).unwrap();
    let mut told = [Huiju::run(folder.path(), &["check"], &[]).1.stderr(), String::new()];
    fs::write(&table, &rows).unwrap();
    fs::write(folder.path().join("pipelines/street_lamps/sources/west.sql"), "").unwrap();
    told[1] = Huiju::run(folder.path(), &["check"], &[]).1.stderr();
    for (said, file) in told.iter().zip(["fault_kind.csv:5: ", "west.sql: "]) {
        assert!(said.contains("did you mean `date`?") && said.contains(file), "{said}");
    }
}

/// What its cases say in UTF-8 a source sends in its own charset.
#[test]
fn cases_send_their_messages_in_the_charset_of_the_source() {
    for charset in ["gb18030", "gbk"] {
        let folder = project();
        let source = folder.path().join("pipelines/street_lamps/sources/east.toml");
        let text = fs::read_to_string(&source).unwrap();
        fs::write(&source, format!("charset = \"{charset}\"\n{text}")).unwrap();
        let case = folder.path().join("pipelines/street_lamps/tests/one_of_each/input.jsonl");
        assert!(!fs::read_to_string(&case).unwrap().is_ascii(), "letters that charsets differ in");
        let (status, huiju) = Huiju::run(folder.path(), &["test"], &[]);
        assert!(status.success(), "{charset}: {}{}", huiju.stdout(), huiju.stderr());
    }
}

/// It would be NULL for ever, and no case need know of it.
#[test]
fn a_field_of_the_map_that_no_case_fills_is_noted() {
    let folder = project();
    let map = folder.path().join("pipelines/street_lamps/sources/east.sql");
    let notes = || {
        let (_, huiju) = Huiju::run(folder.path(), &["test"], &[]);
        let out = huiju.stdout();
        out.lines().filter(|line| line.starts_with("note")).map(str::to_owned).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(notes(), "");
    let text = fs::read_to_string(&map).unwrap();
    fs::write(&map, text.replace("    tel  ", "    tell ").replace("pole.state", "poles.state")).unwrap();
    assert_eq!(
        notes(),
        "note  pipelines/street_lamps/sources/east.sql: no message of the cases has a value in poles, tell (did you mean \"tel\"?)"
    );
    let names =
        ["id ", "at ", "fixed ", "what ", "pole.state", "pole.lamps['out']", "pole.position.lng", "cost ", "tel "];
    let all = names.iter().fold(text, |text, name| text.replace(&format!("    {name}"), &format!("    other_{name}")));
    fs::write(&map, all).unwrap();
    assert_eq!(
        notes(),
        "note  pipelines/street_lamps/sources/east.sql: no message of the cases has a value in any of its fields"
    );
}
