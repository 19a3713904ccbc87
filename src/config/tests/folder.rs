//! Pipeline folders, right and wrong.

use super::*;

pub(super) const HEAD: &str = r#"
owner = "工单数据组"
contract = "work_orders"
[[sink]]
kind = "kafka"
topic = "clean"
rejected = "rejected"
key = ["order_no"]
[[sink]]
kind = "archive"
"#;

/// A folder of files; a text of `-` takes the file away.
fn folder(name: &str, changes: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    write(dir.path(), name, changes);
    dir
}

fn write(dir: &Path, name: &str, changes: &[(&str, &str)]) {
    let mut files = vec![
        ("pipeline.toml", HEAD),
        ("1_clean.sql", "SELECT a FROM raw"),
        ("sources/nanchang.toml", "topics = [\"raw.nanchang\"]"),
        ("sources/nanchang.sql", "SELECT a FROM message"),
    ];
    files.retain(|(file, _)| changes.iter().all(|(changed, _)| changed != file));
    files.extend(changes.iter().filter(|(_, text)| *text != "-"));
    for (file, text) in files {
        let path = dir.join(name).join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

pub(super) fn check_folder(changes: &[(&str, &str)], expect: Expect) {
    expect.assert_eq(&told(changes));
}

/// What is said of a pipeline with these files.
pub(super) fn told(changes: &[(&str, &str)]) -> String {
    let dir = folder("p", changes);
    match pipeline::read(&dir.path().join("p")) {
        Ok(_) => "fine".to_owned(),
        Err(findings) => show(&findings).replace(&format!("{}/", dir.path().display()), ""),
    }
}

pub(super) fn check_all(pipelines: &[(&str, &[(&str, &str)])], expect: Expect) {
    let dir = TempDir::new().unwrap();
    for (name, changes) in pipelines {
        write(dir.path(), name, changes);
    }
    let shown = match pipeline::read_all(dir.path(), &[]) {
        (all, findings) if findings.is_empty() => all.iter().map(|pipeline| format!("{}\n", pipeline.name)).collect(),
        (_, findings) => show(&findings).replace(&dir.path().display().to_string(), "."),
    };
    expect.assert_eq(&shown);
}

/// What `[files]` in `huiju.toml` has against a folder that is fine with Kafka.
pub(super) fn check_with_files(changes: &[(&str, &str)], expect: Expect) {
    let dir = folder("p", changes);
    let (all, findings) = pipeline::read_all(dir.path(), &[]);
    assert_eq!(show(&findings), "");
    expect.assert_eq(&show(&pipeline::with_files(&all)).replace(&dir.path().display().to_string(), "."));
}

/// Its folder, and that of the rejects beside it, has to be one that can be made.
#[test]
fn a_table_has_a_name_that_a_folder_can_have() {
    let head = |path: &str| {
        format!("contract = \"work_orders\"\nowner = \"x\"\n\n[[sink]]\nkind = \"archive\"\npath = \"{path}\"\n")
    };
    let (fits, long) = (format!("old/{}a", "汇".repeat(82)), format!("old/{}ab", "汇".repeat(82)));
    check_folder(&[("pipeline.toml", &head(&fits))], expect!["fine"]);
    check_folder(
        &[("pipeline.toml", &head(&long))],
        expect![[r#"
            p/pipeline.toml:6: path: "汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇汇ab" is too long for a folder: at most 247 bytes, so that `_rejects` fits in
        "#]],
    );
}

#[test]
fn what_is_not_written_has_a_default() {
    let dir = folder("p", &[("README.md", "x"), (".hidden.sql", ""), ("1_clean.sql~", "")]);
    let pipeline = pipeline::read(&dir.path().join("p")).unwrap();
    let shown = format!("{pipeline:#?}").replace(&format!("{}/", dir.path().display()), "");
    expect![[r#"
        Pipeline {
            name: "p",
            folder: "p",
            contract: "work_orders",
            dedup: None,
            rejects: RejectLimit {
                limit: 0.5,
                over: 1000,
            },
            gaps: Stop,
            start: Beginning,
            sinks: [
                Kafka {
                    topic: "clean",
                    rejected: "rejected",
                    key: [
                        "order_no",
                    ],
                    raw: Always,
                },
                Archive {
                    path: "p",
                    partition_by: [
                        "ingested_on",
                    ],
                },
            ],
            values: [],
            sources: [
                Source {
                    name: "nanchang",
                    topics: [
                        "raw.nanchang",
                    ],
                    charset: None,
                    time_zone: Asia/Shanghai,
                    home: None,
                    rows: None,
                    keyed_by: [],
                    map: Stage {
                        name: "map",
                        path: "p/sources/nanchang.sql",
                        sql: "SELECT a FROM message",
                    },
                    aliases: [],
                },
            ],
            stages: [
                Stage {
                    name: "clean",
                    path: "p/1_clean.sql",
                    sql: "SELECT a FROM raw",
                },
            ],
        }"#]]
    .assert_eq(&shown);
}

#[test]
fn everything_can_be_written() {
    let head = r#"
owner    = "工单数据组"
contract = "work_orders"
gaps     = "record"
start    = "end"
[dedup]
key = ["app_id", "order_no"]
within = "1d"
across_partitions = "accept"
max_keys = 10
[rejects]
limit = 1
over  = 10
[metrics]
values = ["kind"]
[[sink]]
kind = "archive"
path = "hotline/orders"
partition_by = []
"#;
    let source = r#"
title = "南昌市12345"
topics = ["raw.nanchang", "raw.nanchang2"]
format = "json"
charset = "GBK"
time_zone = "Asia/Urumqi"
home = "360100"
rows = "data.orders"
keyed_by = ["order_no"]
"#;
    let codes = "\u{feff}table,alias,code\r\nchannel,\"电话, 热线\",01\r\nurgency,*,*\r\n";
    let dir = folder(
        "p",
        &[
            ("pipeline.toml", head),
            ("10_classify.sql", "\u{feff}SELECT a\r\nFROM standardize"),
            ("02_standardize.sql", "SELECT a FROM clean"),
            ("sources/nanchang.toml", source),
            ("sources/nanchang.codes.csv", codes),
        ],
    );
    let pipeline = pipeline::read(&dir.path().join("p")).unwrap();
    let shown = format!("{pipeline:#?}").replace(&format!("{}/", dir.path().display()), "");
    expect![[r#"
        Pipeline {
            name: "p",
            folder: "p",
            contract: "work_orders",
            dedup: Some(
                Dedup {
                    key: [
                        "app_id",
                        "order_no",
                    ],
                    within: 86400s,
                    per_partition: true,
                    max_keys: 10,
                },
            ),
            rejects: RejectLimit {
                limit: 1.0,
                over: 10,
            },
            gaps: Record,
            start: End,
            sinks: [
                Archive {
                    path: "hotline/orders",
                    partition_by: [],
                },
            ],
            values: [
                "kind",
            ],
            sources: [
                Source {
                    name: "nanchang",
                    topics: [
                        "raw.nanchang",
                        "raw.nanchang2",
                    ],
                    charset: Some(
                        Encoding {
                            name: "GBK",
                            ..
                        },
                    ),
                    time_zone: Asia/Urumqi,
                    home: Some(
                        "360100",
                    ),
                    rows: Some(
                        "data.orders",
                    ),
                    keyed_by: [
                        "order_no",
                    ],
                    map: Stage {
                        name: "map",
                        path: "p/sources/nanchang.sql",
                        sql: "SELECT a FROM message",
                    },
                    aliases: [
                        Alias {
                            table: "channel",
                            alias: "电话, 热线",
                            code: "01",
                            at: "p/sources/nanchang.codes.csv:2",
                        },
                        Alias {
                            table: "urgency",
                            alias: "*",
                            code: "*",
                            at: "p/sources/nanchang.codes.csv:3",
                        },
                    ],
                },
            ],
            stages: [
                Stage {
                    name: "clean",
                    path: "p/1_clean.sql",
                    sql: "SELECT a FROM raw",
                },
                Stage {
                    name: "standardize",
                    path: "p/02_standardize.sql",
                    sql: "SELECT a FROM clean",
                },
                Stage {
                    name: "classify",
                    path: "p/10_classify.sql",
                    sql: "SELECT a\nFROM standardize",
                },
            ],
        }"#]]
    .assert_eq(&shown);
}

#[test]
fn stages_are_in_the_order_of_their_numbers() {
    let dir = folder("p", &[("10_last.sql", "x"), ("9_middle.sql", "x")]);
    let pipeline = pipeline::read(&dir.path().join("p")).unwrap();
    let names: Vec<&str> = pipeline.stages.iter().map(|stage| &*stage.name).collect();
    assert_eq!(names, ["clean", "middle", "last"]);
}

#[test]
fn stages_that_have_no_place() {
    check_folder(
        &[
            ("01_other.sql", "x"),
            ("2_clean.sql", "x"),
            ("3_raw.sql", "x"),
            ("4_a-b.sql", "x"),
            ("5_empty.sql", " \n"),
            ("clean.sql", "x"),
        ],
        expect![[r#"
            p/1_clean.sql: has the number of 01_other.sql: give each stage its own
            p/3_raw.sql: a stage cannot be called "raw": stages select from a table of that name
            p/4_a-b.sql: "a-b" is not a name that SQL can select from: letters a to z, digits, underscores
            p/5_empty.sql: is empty: a stage is one SELECT
            p/clean.sql: a stage has a number, which says when its turn is: for instance 1_clean.sql
        "#]],
    );
    check_folder(
        &[("1_clean.sql", "-")],
        expect![[r#"
        p: no stages: write at least one, for instance 1_clean.sql with SELECT … FROM raw
    "#]],
    );
}

#[test]
fn wrong_values_of_a_pipeline() {
    let head = r#"
contract = "work_orders"
gaps = "ignore"
strat = "end"
[dedup]
keys = ["order_no"]
within = 7
max_keys = 0
[rejects]
limit = 1.5
over = "1000"
[[sink]]
kind = "kafak"
topic = "x"
[[sink]]
topic = "x"
[[sink]]
kind = "kafka"
topic = "x"
rejectd = "y"
key = []
[[sink]]
kind = "archive"
path = "../x"
partition_by = ["a", "a"]
"#;
    check_folder(
        &[("pipeline.toml", head)],
        expect![[r#"
        p/pipeline.toml: "owner" is missing
        p/pipeline.toml:3: gaps = "ignore": must be "stop" or "record"
        p/pipeline.toml:4: unknown key "strat": did you mean "start"?
        p/pipeline.toml:6: unknown key "keys" in [dedup]: did you mean "key"?
        p/pipeline.toml:7: within = 7: a duration like "60s" is wanted, this is a whole number
        p/pipeline.toml:8: max_keys = 0: must be at least 1
        p/pipeline.toml:10: limit = 1.5: must be from 0 to 1
        p/pipeline.toml:11: over = "1000": a whole number is wanted, this is a text
        p/pipeline.toml:13: kind = "kafak": must be "kafka" or "archive"
        p/pipeline.toml:15: "kind" is missing in [[sink]]: it must be "kafka" or "archive"
        p/pipeline.toml:20: unknown key "rejectd" in [[sink]]: did you mean "rejected"?
        p/pipeline.toml:21: key = []: name at least one column
        p/pipeline.toml:24: path = "../x": not a table: a folder below the archive's location, like "work_orders"
        p/pipeline.toml:25: partition_by = ["a", "a"]: "a" is in the list twice
    "#]],
    );
    check_folder(
        &[("pipeline.toml", "owner = \"a\"\ncontract = \"b\"\nsink = 1")],
        expect![[r#"
            p/pipeline.toml:3: sink: [[sink]] tables are wanted, this is a whole number
        "#]],
    );
    check_folder(
        &[("pipeline.toml", "owner = \"a\"\ncontract = \"b\"")],
        expect![[r#"
        p/pipeline.toml: no [[sink]]: write one of kind "kafka", one of kind "archive", or both
    "#]],
    );
}

#[test]
fn a_folder_is_no_pipeline_without_its_file() {
    check_folder(
        &[("pipeline.toml", "-")],
        expect![[r#"
            p/pipeline.toml: cannot be read: No such file or directory (os error 2): each folder in here is a pipeline: write it, or take the folder away
        "#]],
    );
}

#[test]
fn a_folder_without_pipelines() {
    check_all(
        &[],
        expect![[r#"
        .: no pipelines: a pipeline is a folder in here with a pipeline.toml in it
    "#]],
    );
    let (_, findings) = pipeline::read_all(Path::new("nowhere/pipelines"), &[]);
    assert_eq!(show(&findings), "nowhere/pipelines: cannot be read: No such file or directory (os error 2)\n");
}

#[test]
fn mistakes_of_all_pipelines_are_told_together() {
    check_all(
        &[("a", &[("1_clean.sql", "")]), ("b", &[("sources/nanchang.sql", "-")]), ("c d", &[])],
        expect![[r#"
            ./a/1_clean.sql: is empty: a stage is one SELECT
            ./b/sources/nanchang.toml: nanchang.sql is missing: the SELECT … FROM message that maps the feed's fields
            ./c d: the folder's name is the pipeline's: letters a to z, digits, dashes and underscores
            ./c d/pipeline.toml:6: the pipeline b writes to the topic "clean" already
        "#]],
    );
}

#[test]
fn files_of_stages_with_odd_names_are_told_a_name_that_is_taken() {
    check_folder(
        &[
            ("1_clean.sql", "-"),
            ("1_clean.SQL", "x"),
            ("2-clean-more.sql", "x"),
            ("3.sql", "x"),
            ("清洗.sql", "x"),
            ("tidy.sql", "x"),
        ],
        expect![[r#"
            p/1_clean.SQL: nobody reads it: write its ending in small letters, .sql
            p/2-clean-more.sql: a stage has a number, which says when its turn is: for instance 2_clean_more.sql
            p/3.sql: a stage has a number, which says when its turn is: for instance 3_clean.sql
            p/tidy.sql: a stage has a number, which says when its turn is: for instance 1_tidy.sql
            p/清洗.sql: a stage has a number, which says when its turn is: for instance 1_clean.sql
        "#]],
    );
}
