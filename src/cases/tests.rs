use std::{collections::BTreeSet, fs};

use super::{
    compare::compare,
    expected,
    json::{self, Json},
};

fn row(text: &str) -> Json {
    json::entries(text).and_then(json::object).unwrap()
}

fn rows(lines: &str) -> Vec<Json> {
    lines.lines().map(row).collect()
}

fn differences(expected: &str, found: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    compare("row", &rows(expected), &rows(found), &BTreeSet::from(["double"]), &mut wrong);
    wrong
}

#[test]
fn numbers_are_compared_and_written_with_all_their_digits() {
    let exact = r#"{"a":12345678901234567890.12}"#;
    assert_eq!(row(exact).to_string(), exact);
    for (same, yes) in [
        ("12345678901234567890.120", true),
        ("12345678901234567890.13", false),
        ("1234567890123456789012e-2", true),
        ("-12345678901234567890.12", false),
    ] {
        assert_eq!(differences(exact, &format!("{{\"a\":{same}}}")).is_empty(), yes, "{same}");
    }
    for (one, other, yes) in [
        ("1", "1.0", false),
        ("0", "-0", true),
        ("0.0", "0.00", true),
        ("100", "100", true),
        ("100.0", "1e2", true),
        ("0.05", "5E-2", true),
        ("18446744073709551617", "18446744073709551616", false),
        ("1e99999999999999999999", "1e99999999999999999998", false),
    ] {
        assert_eq!(
            differences(&format!("{{\"a\":[{one}]}}"), &format!("{{\"a\":[{other}]}}")).is_empty(),
            yes,
            "{one}"
        );
    }
}

/// Other tools write seventeen digits.
#[test]
fn doubles_are_compared_as_such() {
    assert!(differences(r#"{"double":0.10000000000000001}"#, r#"{"double":0.1}"#).is_empty());
    assert_eq!(differences(r#"{"double":0.11}"#, r#"{"double":0.1}"#).len(), 1);
    assert_eq!(differences(r#"{"decimal":0.10000000000000001}"#, r#"{"decimal":0.1}"#).len(), 1);
}

#[test]
fn texts_lists_and_nulls_are_compared() {
    assert!(differences(r#"{"a":null,"b":["\u8def",null,true]}"#, r#"{"b":["路",null,true]}"#).is_empty());
    assert_eq!(differences(r#"{"a":"1"}"#, r#"{"a":1}"#), [r#"row 1: a: expected "1", got 1"#]);
    assert_eq!(
        differences(r#"{"b":["路"]}"#, r#"{"b":["路",null]}"#),
        [r#"row 1: b: expected ["路"], got ["路",null]"#]
    );
}

/// What cannot be what comes out is a mistake of the file.
#[test]
fn lines_that_cannot_be_read_are_told_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("output.jsonl");
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    let lines =
        ["{\"a\":1,\"a\":2}", "", "{\"nonsense\":null}", "{\"路\":,}", "[1]", "{\"a\":1", "{\"a\":{\"b\":1,\"b\":1}}"];
    fs::write(&path, format!("{}\n{deep}\n{{\"a\":1}}\n", lines.join("\n"))).unwrap();
    let wrong = expected(&path, &["a", "nonsence", "路"]).unwrap_err();
    let shown = path.display().to_string();
    let wrong: Vec<String> = wrong.iter().map(|line| line.replace(&shown, "output.jsonl")).collect();
    let told = [
        "output.jsonl:1: \"a\" is there twice: keep one",
        "output.jsonl:3: there is no column \"nonsense\": did you mean \"nonsence\"?",
        "output.jsonl:4: expected value (column 6)",
        "output.jsonl:5: write an object, {…}",
        "output.jsonl:6: the JSON is cut short (EOF while parsing an object)",
        "output.jsonl:7: \"b\" is there twice: keep one",
        "output.jsonl:8: is nested more than 100 deep",
    ];
    assert_eq!(wrong, told);
}

#[test]
fn a_row_that_is_missing_or_one_too_many_is_told_as_such() {
    let all: Vec<String> = (0..5).map(|n| format!("{{\"no\":{n},\"what\":\"灯\",\"at\":\"街{n}\"}}")).collect();
    let without = |left: usize| {
        let kept = all.iter().enumerate().filter(|(at, _)| *at != left).map(|(_, line)| line.as_str());
        kept.collect::<Vec<_>>().join("\n")
    };
    let whole = all.join("\n");
    for (at, shown) in all.iter().enumerate() {
        let shown = row(shown);
        assert_eq!(differences(&whole, &without(at)), [format!("row {}: missing: {shown}", at + 1)]);
        assert_eq!(differences(&without(at), &whole), [format!("row {}: not expected: {shown}", at + 1)]);
    }
    // Beside one that is missing each other one differs.
    let other = without(0).replace("灯", "杆");
    let told = differences(&whole, &other);
    assert_eq!(told.len(), 5, "{told:#?}");
    assert!(told[0].starts_with("row 1: missing: "), "{told:#?}");
    assert_eq!(told[1], "row 2: what: expected \"灯\", got \"杆\"");
    assert_eq!(differences("", &all[0]).len(), 1);
}

#[test]
fn a_file_that_is_not_utf_8_has_its_line_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input.jsonl");
    fs::write(&path, b"{\"a\":1}\n\n{\"a\":\"\xb5\xe7\"}\n").unwrap();
    let wrong = json::lines(&path, json::entries).unwrap_err();
    assert_eq!(wrong, [format!("{}:3: this is not UTF-8: save the file as UTF-8", path.display())]);
}
