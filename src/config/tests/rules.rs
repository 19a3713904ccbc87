//! Parts of a pipeline, and pipelines, that get in each other's way.

use expect_test::expect;

use super::folder::{HEAD, check_all, check_folder, check_with_files};

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
            p/pipeline.toml:6: topic and rejected are both "same": rows and rejects need a topic each
            p/pipeline.toml:10: topic "raw.nanchang" is a topic of the source nanchang: the pipeline would feed itself
            p/pipeline.toml:16: rejected "raw.nanchang" is a topic of the source nanchang: the pipeline would feed itself
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
    let check_four = |[a, b, c, d]: [&str; 4], expected| {
        let own = ("sources/nanchang.toml", "topics = [\"raw\"]");
        let of = |text| [("pipeline.toml", text), own];
        check_all(&[("a", &of(a)), ("b", &of(b)), ("c", &of(c)), ("d", &of(d))], expected);
    };
    check_four(
        [&a, &b, &c, &d],
        expect![[r#"
            ./b/pipeline.toml:5: the pipeline a writes to the topic "clean" already
            ./b/pipeline.toml:10: the pipeline a writes to the table "t" already
            ./b/pipeline.toml:10: the pipeline a writes to the table "t_rejects" already
            ./c/pipeline.toml:10: the pipeline a writes to the table "t_rejects" already
            ./d/pipeline.toml:6: rejected "clean" is the topic of the pipeline a
        "#]],
    );

    let (a, b, c) = (head("one", "t/inner"), head("two", "t"), head("three", "t_rejects/inner"));
    let d = head("four", "t_other");
    check_four(
        [&a, &b, &c, &d],
        expect![[r#"
            ./b/pipeline.toml:10: one of the tables "t" and "t/inner" (of a) lies in the other
            ./c/pipeline.toml:10: one of the tables "t_rejects/inner" and "t_rejects" (of b) lies in the other
            ./c/pipeline.toml:10: one of the tables "t_rejects/inner_rejects" and "t_rejects" (of b) lies in the other
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
fn files_have_neither_an_end_to_begin_at_nor_lines_of_utf_16() {
    let source = |charset: &str| format!("topics = [\"raw.nanchang\"]\ncharset = \"{charset}\"");
    let head = format!("start = \"end\"{HEAD}");
    check_with_files(
        &[("pipeline.toml", &head), ("sources/nanchang.toml", &source("utf-16le"))],
        expect![[r#"
            ./p/pipeline.toml:1: start = "end" is for Kafka: of files, move away what is not to be read
            ./p/sources/nanchang.toml:2: charset: UTF-16 is for Kafka, lines of files end with a newline byte: have the files in UTF-8
        "#]],
    );
    for fine in ["utf-8", "gbk", "gb18030"] {
        check_with_files(&[("sources/nanchang.toml", &source(fine))], expect![""]);
    }
}
