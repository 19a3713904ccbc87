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

/// What stands between the texts of a list counts: without it a broker would refuse the row, again and again.
#[test]
fn a_list_is_as_large_as_it_is_written() {
    let mut contract = lamps();
    contract.columns.push(lamp("parts", Kind::Texts));
    let stage = format!(
        "SELECT substr(id, 1, 5) AS id, {NUMBER} AS watts, 2 AS share, string_to_array(id, ',') AS parts FROM raw"
    );
    let (program, source) = compile_lamps_with(MAP, &stage, contract.clone(), &library()).unwrap();
    let large = |parts: usize| message(&",".repeat(parts), "1");
    let ones = message(&"1,".repeat(180_000), "1");
    let all = lines(&program, &source, &contract, &[large(350_000), large(2), large(100_000), ones]);
    let short: String = all
        .lines()
        .map(|line| line.replace(",\"\"", "").replace(",\"1\"", "").replace("[\"\"]", "[…]") + "\n")
        .collect();
    expect![[r#"
        0.Some(0): checks [Fault { code: "too_large", field: None, reason: "整行约 1050 KB，超过 1000 KB", value: None }]
        1.0: {"id":",,","watts":1,"share":2,"parts":[…]}
        2.0: {"id":",,,,,","watts":1,"share":2,"parts":[…]}
        3.0: {"id":"1,1,1","watts":1,"share":2,"parts":["1"]}
    "#]].assert_eq(&short);
}

/// What was read of a personal text shows no more of it than the text's own column does.
#[test]
fn what_a_personal_text_says_is_masked_whatever_was_to_be_read_of_it() {
    let mut contract = lamps();
    contract.columns.push(Column { raw: Some("cert".into()), unknown: Severity::Error, ..lamp("born", Kind::Date) });
    contract.columns.push(Column { personal: true, ..lamp("cert", Kind::Text) });
    let stage = format!(
        "SELECT '1' AS id, {NUMBER} AS watts, 2 AS share, local_date(substr(id, 7, 8)) AS born, id AS cert FROM raw"
    );
    let (program, source) = compile_lamps_with(MAP, &stage, contract.clone(), &library()).unwrap();
    let all =
        lines(&program, &source, &contract, &[message("360102199013410014", "1"), message("360102199001010014", "1")]);
    expect![[r#"
        0.Some(0): checks [Fault { code: "unreadable", field: Some("born"), reason: "「born」(born) 无法识别为日期", value: Some("3****************4") }]
        1.0: {"id":"1","watts":1,"share":2,"born":"1990-01-01","cert":"360102199001010014"}
    "#]].assert_eq(&all);
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
    // What is not there is not replaced, and without `g` but once.
    for call in ["replace(w, 'z', w)", "regexp_replace(w, 'x', w)", "regexp_replace(w, '^', w)"] {
        let (program, source) =
            compile_lamps(MAP, &format!("SELECT id, 1 AS watts, length({call}) AS share FROM raw")).unwrap();
        let all = lines(&program, &source, &lamps(), &[message("1", &"x".repeat(100_000))]);
        assert!(all.starts_with(r#"0.0: {"id":"1","watts":1,"share":"#), "{call}: {all}");
    }
}

/// What many rows would have in memory at once is made in parts.
#[test]
fn many_long_lists_are_made_in_parts() {
    let stage =
        format!("SELECT id, 1 AS watts, CAST(array_length(array_repeat(id, {NUMBER})) AS BIGINT) AS share FROM raw");
    let (program, source) = compile_lamps(MAP, &stage).unwrap();
    let messages: Vec<Vec<u8>> = (0..100).map(|_| message("0123456789", "1000000")).collect();
    let all = outcome(&program, &source, &lamps(), &messages, 0);
    assert_eq!(all.iter().filter(|line| line.ends_with(r#""share":1000000}"#)).count(), 100);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 3_000_000, "{peak} kB, all tests of this process together");
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

/// The plain plan may read other columns than the usual one: what is shared hides from the optimizer what nobody needs.
#[test]
fn both_plans_read_their_own_columns() {
    let deep = |letter: char| {
        let names: Vec<String> = (0..7).map(|number| format!("'{letter}{number}'")).collect();
        let inner = "named_struct('w', first, 'z', second)".to_owned();
        let whole = names.iter().rev().fold(inner, |inner, name| format!("named_struct({name}, {inner})"));
        format!("get_field({whole}, {}, 'w')", names.join(", "))
    };
    let map = format!(
        "SELECT no AS id, {} AS a, {} AS b, 100 / CAST(power.watts AS BIGINT) AS share FROM message",
        deep('p'),
        deep('q')
    );
    let stage = "SELECT id, length(concat(a, b)) AS watts, share FROM raw";
    let (program, source) = compile_lamps(&map, stage).unwrap();
    let message = |id: u32, watts: u32| {
        format!(r#"{{"no":"{id}","first":"x","second":"y","power":{{"watts":{watts}}}}}"#).into_bytes()
    };
    expect![[r#"
        0.0: {"id":"1","watts":2,"share":10}
        1.Some(0): raw [Fault { code: "sql.failed", field: Some("share"), reason: "SQL 计算失败：除以零", value: None }]
        2.0: {"id":"3","watts":2,"share":2}
    "#]]
    .assert_eq(&lines(&program, &source, &lamps(), &[message(1, 10), message(2, 0), message(3, 50)]));
}

/// What `unknown` says of a column is true of `maxLength` too.
#[test]
fn a_text_that_is_too_long_is_rejected_where_the_contract_says_so() {
    let library = Library::read(&root().join("tests/fixtures/street_lamps")).unwrap();
    let mut contract = lamps();
    contract.columns[0].max_length = Some(2);
    contract.columns[0].unknown = Severity::Error;
    let stage = "SELECT id, 1 AS watts, 2 AS share FROM raw";
    let (program, source) = compile_lamps_with(MAP, stage, contract.clone(), &library).unwrap();
    let payloads = [r#"{"no":"路灯"}"#, r#"{"no":"路灯杆"}"#].map(|text| text.as_bytes().to_vec());
    expect![[r#"
        0.0: {"id":"路灯","watts":1,"share":2}
        1.Some(0): checks [Fault { code: "too_long", field: Some("id"), reason: "「id」(id) 超过 2 个字", value: Some("路灯杆") }] Some(b"{\"no\":\"\xe8\xb7\xaf\xe7\x81\xaf\xe6\x9d\x86\"}")"#]].assert_eq(&outcome(&program, &source, &contract, &payloads, 0).join("\n"));
}
