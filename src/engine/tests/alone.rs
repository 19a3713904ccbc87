//! What a row becomes is its own affair: not its neighbours', and not that of the row's other columns and rules.

use super::*;

const NUMBER: &str = "TRY_CAST(w AS BIGINT)";

fn message(id: &str, watts: &str) -> Vec<u8> {
    format!(r#"{{"no":"{id}","power":{{"watts":"{watts}"}}}}"#).into_bytes()
}

fn library() -> Library {
    Library::read(&root().join("tests/fixtures/street_lamps")).unwrap()
}

/// All together, without what rejects carry of the message; each by itself must become the same.
fn lines(program: &Program, source: &Source, contract: &Contract, messages: &[Vec<u8>]) -> String {
    let told = |line: &String| line.split(" Some(b").next().unwrap().to_owned() + "\n";
    let together: String = outcome(program, source, contract, messages, 0).iter().map(told).collect();
    let alone = messages
        .iter()
        .zip(0..)
        .flat_map(|(message, at)| outcome(program, source, contract, std::slice::from_ref(message), at));
    assert_eq!(together, alone.map(|line| told(&line)).collect::<String>());
    together
}

/// The text that is taken away does not count.
#[test]
fn a_row_is_as_large_as_what_it_has() {
    let mut contract = lamps();
    contract.columns.push(lamp("note", Kind::Text));
    let stage =
        format!("SELECT id, {NUMBER} AS watts, 2 AS share, CASE WHEN w = '0' THEN NULL ELSE id END AS note FROM raw");
    let (program, source) = compile_lamps_with(MAP, &stage, contract.clone(), &library()).unwrap();
    let large = "x".repeat(600_000);
    let all = lines(&program, &source, &contract, &[message(&large, "0"), message("2", "1"), message(&large, "1")]);
    let short = |line: &str| line.replace(&large, "x…");
    let all: String = all.lines().map(|line| short(line) + "\n").collect();
    expect![[r#"
        0.0: {"id":"x…","watts":0,"share":2}
        1.0: {"id":"2","watts":1,"share":2,"note":"2"}
        2.Some(0): checks [Fault { code: "too_large", field: None, reason: "整行约 1200 KB，超过 1000 KB", value: None }]
    "#]]
    .assert_eq(&all);
}

/// What a condition keeps from being computed is not computed because another rule has it too.
#[test]
fn a_rule_does_not_fail_of_another() {
    let mut contract = lamps();
    contract.rules[0].predicate = "watts = 0 OR 10 / watts > 1".into();
    let dim = Rule {
        name: "dim".into(),
        severity: Severity::Warning,
        predicate: "10 / watts > 1".into(),
        ..contract.rules[0].clone()
    };
    contract.rules.push(dim);
    contract.columns.push(lamp("flags", Kind::Texts));
    contract.flags = Some("flags".into());
    let stage = format!("SELECT id, {NUMBER} AS watts, 2 AS share FROM raw");
    let (program, source) = compile_lamps_with(MAP, &stage, contract.clone(), &library()).unwrap();
    expect![[r#"
        0.0: {"id":"1","watts":0,"share":2,"flags":["watts:dim"]}
        1.0: {"id":"2","watts":1,"share":2}
    "#]]
    .assert_eq(&lines(&program, &source, &contract, &[message("1", "0"), message("2", "1")]));
}

#[test]
fn the_column_is_named_that_cannot_be_computed() {
    let stage = format!(
        "SELECT id, CASE WHEN {NUMBER} <> 0 THEN 100 / {NUMBER} ELSE 0 END AS watts, 100 / {NUMBER} AS share FROM raw"
    );
    let (program, source) = compile_lamps(MAP, &stage).unwrap();
    expect![[r#"
        0.Some(0): clean [Fault { code: "sql.failed", field: Some("share"), reason: "SQL 计算失败：除以零", value: None }]
        1.0: {"id":"2","watts":50,"share":50}
    "#]]
    .assert_eq(&lines(&program, &source, &lamps(), &[message("1", "0"), message("2", "2")]));
}

#[test]
fn a_negation_that_does_not_fit_rejects_its_row() {
    let (program, source) = compile_lamps(MAP, &format!("SELECT id, 1 AS watts, -{NUMBER} AS share FROM raw")).unwrap();
    expect![[r#"
        0.Some(0): clean [Fault { code: "sql.failed", field: Some("share"), reason: "SQL 计算失败：数值溢出", value: None }]
        1.0: {"id":"2","watts":1,"share":-9223372036854775807}
    "#]]
    .assert_eq(&lines(&program, &source, &lamps(), &[
        message("1", "-9223372036854775808"),
        message("2", "9223372036854775807"),
    ]));
}

/// A text in place of each of its own letters.
#[test]
fn a_replacement_that_is_too_large_is_never_made() {
    for call in ["replace(w, 'x', w)", "regexp_replace(w, 'x', w, 'g')", "regexp_replace(w, '(x*)', '$1$1', 'g')"] {
        let (program, source) =
            compile_lamps(MAP, &format!("SELECT id, 1 AS watts, length({call}) AS share FROM raw")).unwrap();
        let messages = [message("1", "xy"), message("2", &"x".repeat(100_000))];
        let all = lines(&program, &source, &lamps(), &messages);
        let (first, second) = all.trim_end().split_once('\n').unwrap();
        assert!(first.starts_with(r#"0.0: {"id":"1","watts":1,"share":"#), "{call}: {first}");
        assert_eq!(second.contains("结果过大"), !call.contains("$1"), "{call}: {second}");
    }
}

#[test]
fn an_element_that_is_repeated_counts_with_its_size() {
    let stage =
        format!("SELECT id, 1 AS watts, CAST(array_length(array_repeat(id, {NUMBER})) AS BIGINT) AS share FROM raw");
    let (program, source) = compile_lamps(MAP, &stage).unwrap();
    let large = "x".repeat(100_000);
    let all = lines(&program, &source, &lamps(), &[message("1", "100000"), message(&large, "100000")]);
    expect![[r#"
        0.0: {"id":"1","watts":1,"share":100000}
        1.Some(0): clean [Fault { code: "sql.failed", field: Some("share"), reason: "SQL 计算失败：结果过大", value: None }]
    "#]]
    .assert_eq(&all);
}
