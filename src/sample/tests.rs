use std::{collections::HashMap, fs, path::Path};

use serde_json::Value;

use super::*;
use crate::config::{self, Gaps, RejectLimit, Stage, Start};

fn source(name: &str) -> config::Source {
    config::Source {
        name: name.into(),
        topics: vec![format!("raw.{name}")],
        charset: None,
        time_zone: chrono_tz::Asia::Shanghai,
        home: None,
        rows: None,
        keyed_by: Vec::new(),
        map: Stage { name: name.into(), path: "".into(), sql: String::new() },
        aliases: Vec::new(),
    }
}

fn pipeline(folder: &Path, sources: &[&str]) -> Pipeline {
    Pipeline {
        name: "p".into(),
        folder: folder.to_owned(),
        contract: "c".to_owned(),
        dedup: None,
        rejects: RejectLimit { limit: 0.5, over: 1000 },
        gaps: Gaps::Stop,
        start: Start::Beginning,
        sinks: Vec::new(),
        values: Vec::new(),
        sources: sources.iter().map(|name| source(name)).collect(),
        stages: Vec::new(),
    }
}

fn shipped() -> Pipeline {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/work_orders");
    pipeline(&folder, &["nanchang", "ganzhou", "yichun"])
}

fn options(messages: u64) -> Options {
    Options {
        messages,
        seed: 7,
        duplicates: 0.02,
        bad: 0.005,
        start: "2026-06-01T00:00:00Z".parse().unwrap(),
        span: Duration::from_secs(2 * 86_400),
        size: None,
    }
}

fn generate(source: &str, options: Options) -> Generator {
    Generator::read(&shipped(), source, options).unwrap()
}

/// Messages of a template written for the test, with no dirt asked for.
fn made_by(template: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), template, &[]);
    let options = Options { duplicates: 0.0, bad: 0.0, ..options(3) };
    let generator = Generator::read(&pipeline(folder.path(), &["s"]), "s", options).unwrap();
    generator.map(|sample| String::from_utf8(sample.payload).unwrap()).collect()
}

/// What is found wrong with a template, paths shortened.
fn findings(template: &str, lists: &[(&str, &str)]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), template, lists);
    let Err(findings) = Generator::read(&pipeline(folder.path(), &["s"]), "s", options(1)) else { return Vec::new() };
    let root = format!("{}/", folder.path().display());
    findings.iter().map(|finding| finding.to_string().replace(&root, "")).collect()
}

fn write(folder: &Path, template: &str, lists: &[(&str, &str)]) {
    fs::create_dir_all(folder.join("sources")).unwrap();
    fs::create_dir_all(folder.join("sample")).unwrap();
    fs::write(folder.join("sources/s.sample.json"), template).unwrap();
    for (name, text) in lists {
        fs::write(folder.join(format!("sample/{name}.txt")), text).unwrap();
    }
}

#[test]
fn same_seed_same_bytes() {
    for source in ["nanchang", "ganzhou", "yichun"] {
        let once: Vec<Sample> = generate(source, options(500)).collect();
        assert_eq!(once, generate(source, options(500)).collect::<Vec<_>>());
        let other: Vec<Sample> = generate(source, Options { seed: 8, ..options(500) }).collect();
        assert_ne!(once, other);
    }
}

#[test]
fn shares_are_about_as_asked() {
    let samples: Vec<Sample> = generate("nanchang", options(20_000)).collect();
    let count = |made| samples.iter().filter(|sample| sample.made == made).count();
    assert_eq!(samples.len(), 20_000);
    assert!((330..470).contains(&count(Made::Duplicate)), "{}", count(Made::Duplicate));
    assert!((70..130).contains(&count(Made::Bad)), "{}", count(Made::Bad));
}

#[test]
fn none_is_damaged_or_sent_again_when_nobody_asks() {
    for source in ["nanchang", "ganzhou", "yichun"] {
        let samples = generate(source, Options { duplicates: 0.0, bad: 0.0, ..options(5_000) });
        for sample in samples {
            assert_eq!(sample.made, Made::Good);
            assert!(serde_json::from_slice::<Value>(&sample.payload).unwrap().is_object());
        }
    }
}

#[test]
fn order_numbers_are_unique_but_for_duplicates() {
    let mut seen: HashMap<Vec<u8>, (Vec<u8>, u64)> = HashMap::new();
    for sample in generate("nanchang", options(20_000)) {
        let key = sample.key.unwrap();
        let day = sample.timestamp + 8 * 3_600_000;
        let day = u64::try_from(day / 86_400_000).unwrap();
        match sample.made {
            Made::Duplicate => assert_eq!(seen[&key], (sample.payload, day)),
            Made::Good | Made::Bad => assert!(seen.insert(key, (sample.payload, day)).is_none()),
        }
    }
}

#[test]
fn no_message_holds_a_line_break() {
    for source in ["nanchang", "ganzhou", "yichun"] {
        let options = Options { bad: 0.3, size: Some(1500), ..options(5_000) };
        assert!(generate(source, options).all(|sample| !sample.payload.contains(&b'\n')));
    }
}

#[test]
fn messages_are_padded_to_a_size() {
    let options = Options { duplicates: 0.0, bad: 0.0, size: Some(2000), ..options(200) };
    let mut short = 0;
    for sample in generate("nanchang", options) {
        assert!(sample.payload.len() <= 2000, "{}", sample.payload.len());
        // The text that would be padded was spoiled: padding would mend it.
        short += usize::from(sample.payload.len() < 1990);
        serde_json::from_slice::<Value>(&sample.payload).unwrap();
    }
    assert!(short <= 20, "{short} of 200 are not padded");
}

#[test]
fn an_envelope_has_one_bad_element_and_new_values_in_each() {
    let template = r#"{
        "let": {"n": "${id:%y##}"},
        "message": {"rows": ["${repeat:3-3}", {"n": "${n}"}]},
        "bad": [{"kind": "replace", "fields": ["rows.n"], "with": "?"}]
    }"#;
    assert_eq!(made_by(template)[1], r#"{"rows":[{"n":"2604"},{"n":"2605"},{"n":"2606"}]}"#);
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), template, &[]);
    let bad = Options { bad: 1.0, duplicates: 0.0, ..options(50) };
    for sample in Generator::read(&pipeline(folder.path(), &["s"]), "s", bad).unwrap() {
        assert_eq!(String::from_utf8(sample.payload).unwrap().matches("\"?\"").count(), 1);
    }
}

#[test]
fn an_array_repeats_its_element_so_often_and_no_more() {
    let template = |range: &str| format!("{{\"message\": [\"${{repeat:{range}}}\", 1]}}");
    assert!(findings(&template("1-100000"), &[]).is_empty());
    let found = findings(&template("0-1000000000"), &[]);
    assert_eq!(
        found,
        ["sources/s.sample.json:1: `0-1000000000` repeats an element more than 100000 times: write fewer"]
    );
}

#[test]
fn times_are_local_and_may_be_unpadded() {
    let template = r#"{"message": {
        "a": "${time:%Y-%m-%d %H:%M:%S}", "b": "${time+1h:%-m/%-d %-H:%M}", "c": "${time-1d:epoch_ms}|number",
        "d": "${time:%y年}"
    }}"#;
    assert_eq!(made_by(template)[0], r#"{"a":"2026-06-01 08:00:00","b":"6/1 9:00","c":1780185600000,"d":"26年"}"#);
}

#[test]
fn what_json_knows_as_no_number_stays_a_text() {
    let template = r#"{"let": {"code": "${one:0775}"}, "message": {
        "a": "${code}|number", "b": "${one:x}|number", "c": "1${one:0}|number", "d": "null|number", "e": "|number"
    }}"#;
    assert_eq!(made_by(template)[0], r#"{"a":"0775","b":"x","c":10,"d":null,"e":""}"#);
}

#[test]
fn members_come_and_go() {
    let template = r#"{
        "let": {"state": "${one:done\t1}"},
        "message": {"a": "${when:state/2=1}x", "b": "${when:state/2=0}x", "c": "${sometimes:0}x", "d": [1, "${state/1}", null]}
    }"#;
    assert_eq!(made_by(template)[0], r#"{"a":"x","d":[1,"done",null]}"#);
}

#[test]
fn mistakes_are_found_with_file_line_and_text() {
    expect_test::expect![[r#"
        sources/s.sample.json:2: `${words:none}`: cannot read sample/none.txt: No such file or directory (os error 2)
        sources/s.sample.json:3: `${late}`: no `let` value `late` is made before this; there are: a
        sources/s.sample.json:4: `${tme:%Y}`: no generator `tme`; there are words, one, id, time, int, digits, name, mobile, landline, id_card
        sources/s.sample.json:5: `${time-3:%Y}`: `3` is not a span like 30s, 5m, 3h or 2d
        sources/s.sample.json:6: `${time:%Q}`: unknown time format `%Q`; there are %Y %y %m %-m %d %-d %H %-H %M %S
        sources/s.sample.json:7: `${time:epochms}`: `epochms` is no time format; write epoch_ms, epoch_s or e.g. %Y-%m-%d %H:%M:%S
        sources/s.sample.json:8: `${int:9-1` has no closing brace
        sample/list.txt:2: `${nme}`: no `let` value `nme` is made before this; there are: a, b, late
        sources/s.sample.json:10: the message has no field `xx`; did you mean `x`?
        sources/s.sample.json:11: `bad` names `f`, which is not in every message
        sources/s.sample.json:12: no kind `truncate`; there are truncated, two_objects, trailing, empty, missing, replace, insert, spaces, full_width"#]]
    .assert_eq(
        &findings(
            r#"{"let": {
            "a": "${words:none}",
            "b": "${late}", "late": "x"}, "message": {
            "x": "${tme:%Y}",
            "y": "${time-3:%Y}",
            "z": "${time:%Q}",
            "w": "${time:epochms}",
            "u": "${int:9-1",
            "f": "${sometimes:0.5}${words:list}"},
            "pad": {"field": "xx", "with": "x"},
            "bad": [{"kind": "missing", "fields": ["f"]},
                    {"kind": "truncate"}]}"#,
            &[("list", "fine\n${nme}\n")],
        )
        .join("\n"),
    );
}

#[test]
fn broken_files_are_found_too() {
    assert_eq!(
        findings("{\"message\": {},\n \"mesage\": 1}", &[]),
        [
            "sources/s.sample.json:2: unknown field `mesage`, expected one of `key`, `let`, `message`, `pad`, `bad`, `untidy` at line 2 column 9"
        ]
    );
    assert_eq!(
        findings(r#"{"message": "${words:a}"}"#, &[("a", "${words:b}"), ("b", "${words:a}")]),
        [
            "sources/s.sample.json:1: `message` is neither an object nor an array",
            "sample/b.txt:1: `${words:a}`: the list `a` holds itself",
            "sample/a.txt:1: `${words:b}`: sample/b.txt has no lines",
            "sources/s.sample.json:1: `${words:a}`: sample/a.txt has no lines",
        ]
    );
}

#[test]
fn a_value_cannot_hide_a_generator() {
    assert_eq!(
        findings(r#"{"let": {"mobile": "1"}, "message": {}}"#, &[]),
        ["sources/s.sample.json:1: `let` value `mobile` has the name of a generator"]
    );
}

#[test]
fn a_source_that_is_not_there_is_named() {
    let findings = Generator::read(&shipped(), "nanchng", options(1)).err().unwrap();
    assert!(findings[0].what.contains("no source `nanchng`"), "{}", findings[0]);
    assert!(findings[0].what.contains("nanchang, ganzhou, yichun"), "{}", findings[0]);
}

#[test]
fn files_hold_all_messages_by_day() {
    let folder = tempfile::tempdir().unwrap();
    let generators = || vec![generate("nanchang", options(2_000)), generate("yichun", options(500))];
    let written = write_files(generators(), folder.path()).unwrap();
    assert_eq!(written.messages, 2_500);
    let mut files: Vec<String> = Vec::new();
    let mut lines = 0;
    for topic in ["raw.nanchang", "raw.yichun"] {
        for entry in fs::read_dir(folder.path().join(topic)).unwrap() {
            let path = entry.unwrap().path();
            files.push(path.file_name().unwrap().to_string_lossy().into_owned());
            lines += fs::read(&path).unwrap().iter().filter(|b| **b == b'\n').count();
        }
    }
    files.sort();
    // Two days from 00:00 UTC are three in Shanghai.
    assert_eq!(files.len() as u64, written.files);
    assert_eq!(lines, 2_500);
    assert_eq!(files[0], "2026-06-01.jsonl");
    let again = Options { seed: 2, ..options(2_000) };
    let error = write_files(vec![generate("nanchang", again)], folder.path()).unwrap_err();
    assert!(error.to_string().contains("2026-06-01.jsonl is there already"), "{error}");
    let left: Vec<_> = fs::read_dir(folder.path().join("raw.nanchang")).unwrap().map(|at| at.unwrap().path()).collect();
    assert!(left.iter().all(|path| path.extension().is_some_and(|ending| ending == "jsonl")), "{left:?}");
    let lines_now: usize = left.iter().map(|path| fs::read_to_string(path).unwrap().lines().count()).sum();
    assert_eq!(lines_now, 2_000, "nothing was replaced or added");
}

#[test]
fn a_wrong_field_is_told_where_it_is_damaged() {
    let template = r#"{"message": {"order": "1", "bad": "2",
 "tel": "\"[{"},
 "untidy": {"share": 0.5, "kinds": [
  {"kind": "missing", "fields": ["tel"]},
  {"kind": "missing", "fields": ["tell"]}]},
 "bad": [{"kind": "missing", "fields": ["order"]},
  {"kind": "spaces", "fields": ["tel"]},
  {"fields": ["telly"], "kind": "missing"},
  {"kind": "missing"}]}"#;
    assert_eq!(
        findings(template, &[]),
        [
            "sources/s.sample.json:8: the message has no field `telly`; it has order, bad, tel",
            "sources/s.sample.json:9: kind `missing` needs `fields`",
            "sources/s.sample.json:5: the message has no field `tell`; did you mean `tel`?",
        ]
    );
}

/// Its decoder would refuse every message in another one.
#[test]
fn messages_are_in_the_charset_of_their_source() {
    let mut shipped = shipped();
    let mut made_in = |name: &str| {
        let charset = encoding_rs::Encoding::for_label(name.as_bytes()).unwrap();
        shipped.sources[0].charset = Some(charset);
        let options = Options { bad: 0.0, ..options(50) };
        let generator = || Generator::read(&shipped, "nanchang", options.clone()).unwrap();
        let read = |payload: Vec<u8>| charset.decode_without_bom_handling(&payload).0.into_owned();
        let folder = tempfile::tempdir().unwrap();
        let files = write_files(vec![generator()], folder.path());
        (generator().map(|sample| read(sample.payload)).collect::<Vec<_>>(), files.map(|_| ()))
    };
    let (utf8, _) = made_in("utf-8");
    assert!(utf8[0].contains("区") && !utf8[0].contains('\u{fffd}'), "{}", utf8[0]);
    assert_eq!(made_in("gb18030").0, utf8);
    let (utf16, files) = made_in("utf-16le");
    assert_eq!(utf16, utf8);
    expect_test::expect![
        "messages of raw.nanchang are UTF-16LE, which lines of files cannot hold: write them to Kafka"
    ]
    .assert_eq(&files.unwrap_err().to_string());
}

#[test]
fn a_field_that_is_like_none_is_not_taken_for_one() {
    let said =
        findings(r#"{"message": {"order": "1", "tel": "2"}, "bad": [{"kind": "missing", "fields": ["城市"]}]}"#, &[]);
    assert_eq!(said, ["sources/s.sample.json:1: the message has no field `城市`; it has order, tel"]);
}

#[test]
fn a_source_without_a_template_is_told_where_its_form_is_described() {
    let folder = tempfile::tempdir().unwrap();
    let findings = Generator::read(&pipeline(folder.path(), &["s"]), "s", options(1)).err().unwrap();
    assert!(findings[0].at.ends_with("sources/s.sample.json"), "{}", findings[0]);
    assert_eq!(
        findings[0].what,
        "there is no sample template: write what the source's messages look like; pipelines/work_orders/sample/README.md \
         describes its form"
    );
}
