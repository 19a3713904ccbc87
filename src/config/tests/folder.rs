//! Pipeline folders, right and wrong.

use super::*;

const HEAD: &str = r#"
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

fn check_folder(changes: &[(&str, &str)], expect: Expect) {
    let dir = folder("p", changes);
    let shown = match pipeline::read(&dir.path().join("p")) {
        Ok(_) => "fine".to_owned(),
        Err(findings) => show(&findings).replace(&format!("{}/", dir.path().display()), ""),
    };
    expect.assert_eq(&shown);
}

fn check_all(pipelines: &[(&str, &[(&str, &str)])], expect: Expect) {
    let dir = TempDir::new().unwrap();
    for (name, changes) in pipelines {
        write(dir.path(), name, changes);
    }
    let shown = match pipeline::read_all(dir.path()) {
        Ok(all) => all.iter().map(|pipeline| format!("{}\n", pipeline.name)).collect(),
        Err(findings) => show(&findings).replace(&dir.path().display().to_string(), "."),
    };
    expect.assert_eq(&shown);
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
            owner: "工单数据组",
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
                },
                Archive {
                    path: "p",
                    partition_by: [
                        "ingested_on",
                    ],
                },
            ],
            sources: [
                Source {
                    name: "nanchang",
                    title: "nanchang",
                    topics: [
                        "raw.nanchang",
                    ],
                    format: "json",
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
            owner: "工单数据组",
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
            sources: [
                Source {
                    name: "nanchang",
                    title: "南昌市12345",
                    topics: [
                        "raw.nanchang",
                        "raw.nanchang2",
                    ],
                    format: "json",
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
fn source_files_that_miss_each_other() {
    check_folder(
        &[
            ("sources/a.sql", "x"),
            ("sources/b.toml", "topics = [\"b\"]"),
            ("sources/c.codes.csv", "table,alias,code"),
            ("sources/nanchang.csv", "x"),
            ("sources/d e.toml", "topics = [\"d\"]"),
            ("sources/d e.sql", "x"),
        ],
        expect![[r#"
            p/sources/nanchang.csv: nobody reads it: the codes of a source are in nanchang.codes.csv
            p/sources/a.sql: belongs to no source: a.toml is missing
            p/sources/b.toml: b.sql is missing: the SELECT … FROM message that maps the feed's fields
            p/sources/c.codes.csv: belongs to no source: c.toml is missing
            p/sources/d e.toml: the file's name is the source's: letters, digits, dashes and underscores
        "#]],
    );
    check_folder(
        &[("sources/nanchang.sql", "-"), ("sources/nanchang.toml", "-"), ("sources/README", "x")],
        expect![[r#"
            p/sources: no sources: write one, for instance nanchang.toml with nanchang.sql beside it
        "#]],
    );
    check_folder(
        &[("sources/nanchang.sql", "-"), ("sources/nanchang.toml", "-")],
        expect![[r#"
        p/sources: cannot be read: No such file or directory (os error 2)
    "#]],
    );
}

#[test]
fn wrong_values_of_a_source() {
    let source = r#"
topics = ["raw/nanchang", 1]
format = "xml"
charset = "gb18300"
time_zone = "Asia/Shanghia"
home = 360100
rows = "data..orders"
keyed_by = "order_no"
charst = "utf-8"
"#;
    check_folder(
        &[("sources/nanchang.toml", source)],
        expect![[r#"
        p/sources/nanchang.toml:2: topics = ["raw/nanchang", 1]: "raw/nanchang": '/' cannot be in a name: letters, digits, dots, dashes and underscores can
        p/sources/nanchang.toml:3: format = "xml": must be "json"
        p/sources/nanchang.toml:4: charset = "gb18300": not a charset: did you mean "gb18030"?
        p/sources/nanchang.toml:5: time_zone = "Asia/Shanghia": not a time zone: did you mean "Asia/Shanghai"?
        p/sources/nanchang.toml:6: home = 360100: a division code like "360100" is wanted, this is a whole number
        p/sources/nanchang.toml:7: rows = "data..orders": not a path: field names joined by dots, like "data.orders"
        p/sources/nanchang.toml:8: keyed_by = "order_no": a list of columns, ["…"], is wanted, this is a text
        p/sources/nanchang.toml:9: unknown key "charst": the keys here are title, topics, format, charset, time_zone, home, rows, keyed_by
    "#]],
    );
}

#[test]
fn wrong_codes() {
    let codes = "table,alias,code\nchannel,电话,01\nchannel,电话,02\nchannel,,03\nchannel,x\nurgency,*,1\n";
    check_folder(
        &[("sources/nanchang.codes.csv", codes)],
        expect![[r#"
        p/sources/nanchang.codes.csv:3: "电话" of channel has a code already, in line 2
        p/sources/nanchang.codes.csv:4: alias is empty
        p/sources/nanchang.codes.csv:5: three fields are wanted, table,alias,code: here are 2
        p/sources/nanchang.codes.csv:6: * stands for the standard's own codes: write it as alias and as code, or as neither
    "#]],
    );
    check_folder(
        &[("sources/nanchang.codes.csv", "table;alias;code\n")],
        expect![[r#"
        p/sources/nanchang.codes.csv:1: the first line must be table,alias,code
    "#]],
    );
    check_folder(
        &[("sources/nanchang.codes.csv", "")],
        expect![[r#"
        p/sources/nanchang.codes.csv: is empty: the first line must be table,alias,code
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
        p/pipeline.toml: cannot be read: No such file or directory (os error 2)
    "#]],
    );
}

#[test]
fn sinks_that_get_in_each_others_way() {
    let sink = |topic: &str, rejected: &str| {
        format!("[[sink]]\nkind = \"kafka\"\ntopic = \"{topic}\"\nrejected = \"{rejected}\"\nkey = [\"order_no\"]\n")
    };
    let head = format!(
        "owner = \"a\"\ncontract = \"b\"\n{}{}{}",
        sink("same", "same"),
        sink("raw.nanchang", "r"),
        sink("c", "raw.nanchang")
    );
    check_folder(
        &[("pipeline.toml", &head)],
        expect![[r#"
        p/pipeline.toml:8: a second sink of kind "kafka", the first is p/pipeline.toml:3: there is one of each kind
        p/pipeline.toml:13: a second sink of kind "kafka", the first is p/pipeline.toml:3: there is one of each kind
        p/pipeline.toml:3: topic and rejected are both "same": rows and rejects need a topic each
        p/pipeline.toml:8: topic "raw.nanchang" is a topic of the source nanchang: the pipeline would feed itself
        p/pipeline.toml:13: rejected "raw.nanchang" is a topic of the source nanchang: the pipeline would feed itself
    "#]],
    );
}

#[test]
fn a_topic_has_one_source() {
    check_folder(
        &[("sources/xinyu.toml", "\ntopics = [\"raw.nanchang\"]"), ("sources/xinyu.sql", "x")],
        expect![[r#"
            p/sources/xinyu.toml:2: topic "raw.nanchang" belongs to the source nanchang already: a topic has one source
        "#]],
    );
}

#[test]
fn dedup_needs_the_archive_and_a_key_that_partitions_keep_together() {
    let sink = "[[sink]]\nkind = \"kafka\"\ntopic = \"c\"\nrejected = \"r\"\nkey = [\"order_no\"]\n";
    let head = format!("owner = \"a\"\ncontract = \"b\"\n{sink}[dedup]\nkey = [\"order_no\"]\n");
    check_folder(
        &[
            ("pipeline.toml", &head),
            ("sources/a.toml", "topics = [\"a\"]\nkeyed_by = [\"order_no\", \"app_id\"]"),
            ("sources/a.sql", "x"),
            ("sources/b.toml", "topics = [\"b\", \"c2\"]\nkeyed_by = [\"order_no\"]"),
            ("sources/b.sql", "x"),
        ],
        expect![[r#"
            p/pipeline.toml:8: [dedup] without a sink of kind "archive": what it remembers is rebuilt from the archive after a start
            p/sources/a.toml:2: keyed_by app_id is not in the key of [dedup]: take it in, or write across_partitions = "accept" in [dedup] of pipeline.toml if it may miss duplicates that lie in different partitions
            p/sources/b.toml:1: equal keys may come in different topics: leave one topic, or write across_partitions = "accept" in [dedup] of pipeline.toml if it may miss duplicates that lie in different partitions
            p/sources/nanchang.toml: name the columns that decide a message's partition with keyed_by, or write across_partitions = "accept" in [dedup] of pipeline.toml if it may miss duplicates that lie in different partitions
        "#]],
    );
    let head = format!("{HEAD}[dedup]\nkey = [\"order_no\"]\n");
    check_folder(&[("pipeline.toml", &format!("{head}across_partitions = \"accept\""))], expect!["fine"]);
    let keyed = ("sources/nanchang.toml", "topics = [\"raw.nanchang\"]\nkeyed_by = [\"order_no\"]");
    check_folder(&[("pipeline.toml", &head), keyed], expect!["fine"]);
}

#[test]
fn pipelines_have_tables_and_topics_of_their_own() {
    let full = |topic: &str, rejected: &str, path: &str| {
        format!(
            "owner = \"a\"\ncontract = \"b\"\n[[sink]]\nkind = \"kafka\"\ntopic = \"{topic}\"\nrejected = \"{rejected}\"\n\
             key = [\"order_no\"]\n[[sink]]\nkind = \"archive\"\npath = \"{path}\"\n"
        )
    };
    let head = |topic: &str, path: &str| full(topic, "rejected", path);
    let (a, b, c, d) = (head("clean", "t"), head("clean", "t"), head("c", "t_rejects"), full("d", "clean", "d"));
    let source = |topic: &str| format!("topics = [\"{topic}\"]");
    let own = ("sources/nanchang.toml", "topics = [\"raw\"]");
    check_all(
        &[
            ("a", &[("pipeline.toml", &a), own]),
            ("b", &[("pipeline.toml", &b), own]),
            ("c", &[("pipeline.toml", &c), own]),
            ("d", &[("pipeline.toml", &d), own]),
        ],
        expect![[r#"
            ./b/pipeline.toml:3: the pipeline a writes to the topic "clean" already
            ./b/pipeline.toml:8: the pipeline a writes to the table "t" already
            ./b/pipeline.toml:8: the pipeline a writes to the table "t_rejects" already
            ./c/pipeline.toml:8: the pipeline a writes to the table "t_rejects" already
            ./d/pipeline.toml:3: rejected "clean" is the topic of the pipeline a
        "#]],
    );

    let (a, b) = (head("one", "a"), head("two", "b"));
    check_all(
        &[
            ("a", &[("pipeline.toml", &a), ("sources/nanchang.toml", &source("two"))]),
            ("b", &[("pipeline.toml", &b), ("sources/nanchang.toml", &source("one"))]),
        ],
        expect![[r#"
            ./a/pipeline.toml:3: its rows come back to it through the topics of other pipelines
            ./b/pipeline.toml:3: its rows come back to it through the topics of other pipelines
        "#]],
    );
    check_all(
        &[
            ("a", &[("pipeline.toml", &a), ("sources/nanchang.toml", &source("raw"))]),
            ("b", &[("pipeline.toml", &b), ("sources/nanchang.toml", &source("one"))]),
        ],
        expect![[r#"
            a
            b
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
    let findings = pipeline::read_all(Path::new("nowhere/pipelines")).unwrap_err();
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
        "#]],
    );
}
