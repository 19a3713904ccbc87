//! What rejects say of a row, and what no stage and no rule may ask for.

use super::*;

fn message(id: &str) -> Vec<u8> {
    serde_json::json!({ "no": id, "power": { "watts": 1 } }).to_string().into_bytes()
}

/// What becomes of orders with these texts as `no`, without what rejects carry of the message.
fn told(contract: &Contract, stage: &str, ids: &[&str]) -> Vec<String> {
    let library = Library::read(&root().join("tests/fixtures/street_lamps/schemas")).unwrap();
    let (program, source) = compile_lamps_with(MAP, stage, contract.clone(), &library).unwrap();
    let messages: Vec<_> = ids.iter().map(|id| message(id)).collect();
    let all = outcome(&program, &source, contract, &messages, 0);
    all.iter().map(|line| line.split(" Some(b").next().unwrap().to_owned()).collect()
}

const STAGE: &str = "SELECT id, 1 AS watts, 2 AS share FROM raw";

#[test]
fn no_fault_shows_a_personal_value() {
    let mut contract = lamps();
    let personal = |name: &str| Column { personal: true, ..lamp(name, Kind::Text) };
    contract.columns.push(personal("phone"));
    contract.columns.push(Column { max_length: Some(3), unknown: Severity::Error, ..personal("short") });
    contract.columns.push(Column { codes: Some("fault_kind".into()), unknown: Severity::Error, ..personal("code") });
    contract.rules[0].column = Some("phone".into());
    contract.rules[0].predicate = "starts_with(phone, '9')".into();
    let stage = "SELECT '1' AS id, 1 AS watts, 2 AS share, id AS phone, id AS short, id AS code FROM raw";
    let all = told(&contract, stage, &["13807911234"]);
    assert_eq!(all.len(), 1);
    for code in ["too_bright", "too_long", "unknown_code"] {
        assert!(all[0].contains(code), "{all:?}");
    }
    assert_eq!(all[0].matches("value: Some(").count(), 3, "{all:?}");
    assert!(all[0].contains('*') && !all[0].contains("0791123"), "{all:?}");
}

/// A reject's header has a bound, and so has a line that people read.
#[test]
fn of_a_long_value_a_fault_shows_the_beginning() {
    let mut contract = lamps();
    contract.columns[0].max_length = Some(2);
    contract.columns[0].unknown = Severity::Error;
    let all = told(&contract, STAGE, &[&"路".repeat(100_000)]);
    assert!(all[0].contains(&format!("Some(\"{}\")", "路".repeat(64))), "{}", all[0]);
}

/// A text of nothing but spaces says nothing.
#[test]
fn a_blank_text_was_not_unreadable() {
    let mut contract = lamps();
    contract.columns.push(Column { raw: Some("text".into()), unknown: Severity::Error, ..lamp("day", Kind::Date) });
    contract.columns.push(lamp("text", Kind::Text));
    let stage = "SELECT '1' AS id, 1 AS watts, 2 AS share, local_date(id) AS day, id AS text FROM raw";
    let faults = |contract: &Contract| {
        let all = told(contract, stage, &["", "  ", "x", "2024-05-06"]);
        let code =
            |line: &String| line.split("code: \"").nth(1).map_or("", |rest| rest.split('"').next().unwrap()).to_owned();
        all.iter().map(code).collect::<Vec<_>>()
    };
    assert_eq!(faults(&contract), ["", "", "unreadable", ""]);
    contract.columns[3].required = true;
    assert_eq!(faults(&contract), ["missing", "missing", "unreadable", ""]);
}

#[test]
fn an_empty_text_is_not_what_is_required() {
    let of = |ids: &[&str]| told(&lamps(), STAGE, ids);
    for ids in [&[""][..], &["7", "", "8"]] {
        let all = of(ids);
        let missing: Vec<_> = all.iter().filter(|line| line.contains("必填字段「id」(id) 为空")).collect();
        assert_eq!((missing.len(), all.len()), (1, ids.len()), "{all:?}");
        assert!(missing[0].contains(r#"code: "missing""#), "{all:?}");
    }
}

/// A broker counts what JSON makes of a text, and so do we: else it would refuse the row, again and again.
#[test]
fn what_json_has_to_escape_counts_as_it_is_written() {
    let large = |ids: &[&str]| told(&lamps(), STAGE, ids).iter().filter(|line| line.contains("too_large")).count();
    let (control, quotes) = ("\u{1}".repeat(170_000), "\"".repeat(500_100));
    let (less, fewer) = ("\u{1}".repeat(160_000), "\"".repeat(499_000));
    for too_large in [&control, &quotes] {
        assert_eq!(large(&[too_large]), 1, "{} bytes", too_large.len());
    }
    for fits in [&less, &fewer] {
        assert_eq!(large(&[fits]), 0, "{} bytes", fits.len());
    }
    assert_eq!(large(&[&control, &quotes, &less, &fewer]), 2);
}

/// The flags may stand anywhere in a contract: what is said of the columns behind them is said of those.
#[test]
fn the_flags_need_not_be_the_last_column() {
    let mut contract = lamps();
    contract.flags = Some("flags".into());
    contract.columns.insert(1, lamp("flags", Kind::Texts));
    contract.columns.push(Column { raw: Some("text".into()), ..lamp("day", Kind::Date) });
    contract.columns.push(lamp("text", Kind::Text));
    contract.rules[0].severity = Severity::Warning;
    contract.rules[0].predicate = "share > 5".into();
    let stage = "SELECT id, 1 AS watts, 2 AS share, local_date(id) AS day, id AS text FROM raw";
    expect![[r#"
        0.0: {"id":"x","flags":["day:unreadable","watts:too_bright"],"watts":1,"share":2,"text":"x"}
        1.0: {"id":"2024-05-06","flags":["watts:too_bright"],"watts":1,"share":2,"day":"2024-05-06","text":"2024-05-06"}"#]]
    .assert_eq(&told(&contract, stage, &["x", "2024-05-06"]).join("\n"));
}

/// A rule is as a stage: on a replay it says the same.
#[test]
fn a_rule_that_says_another_thing_on_a_replay_is_refused() {
    let library = Library::read(&root().join("tests/fixtures/street_lamps/schemas")).unwrap();
    let mut told = String::new();
    for predicate in [
        "watts < 5 OR now() > _timestamp",
        "random() < 2",
        "array_length(generate_series(CAST(1 AS BIGINT), watts)) < 5",
        "watts",
    ] {
        let mut contract = lamps();
        contract.rules[0].predicate = predicate.into();
        told += &(compile_lamps_with(MAP, STAGE, contract, &library).map(|_| ()).expect_err(predicate) + "\n");
    }
    expect![[r#"
        schemas/lamps.odcs.yaml:9: rule too_bright: now() does not give the same answer on a replay; use what is the message's own, _timestamp, _partition, _offset
        schemas/lamps.odcs.yaml:9: rule too_bright: random() does not give the same answer on a replay; use what is the message's own, _timestamp, _partition, _offset
        schemas/lamps.odcs.yaml:9: rule too_bright: generate_series() makes as many elements as its numbers or times say: write them out
        schemas/lamps.odcs.yaml:9: rule too_bright: "watts" is BIGINT, not a condition
    "#]].assert_eq(&told);
}

/// As long as a message says.
#[test]
fn lists_of_numbers_are_not_made() {
    for call in ["generate_series(CAST(1 AS BIGINT), TRY_CAST(w AS BIGINT))", "range(1, TRY_CAST(w AS INT))"] {
        let stage = format!("SELECT id,\n  1 AS watts,\n  CAST(array_length({call}) AS BIGINT) AS share\nFROM raw");
        let refused = compile_lamps(MAP, &stage).map(|_| ()).expect_err(call);
        let (at, what) = refused.split_once("() ").unwrap();
        assert!(at.starts_with("lamps/clean.sql:3: "), "{refused}");
        assert_eq!(what, "makes as many elements as its numbers or times say: write them out");
    }
}

/// A message may hold so many digits; whoever reads them one within another needs more than a stack.
#[test]
fn endless_digits_are_no_decimal() {
    let mut contract = lamps();
    contract.columns[2].kind = Kind::Decimal { precision: 12, scale: 2 };
    contract.rules[0].predicate = "id <> '9' OR share > 1".into();
    let whole = |letter: &str| letter.repeat(900_000);
    let endless = [whole("9"), format!("-{}", whole("9")), format!("0.{}", whole("9")), whole("0")];
    for (expression, fails) in [
        ("TRY_CAST(id AS DECIMAL(12,2))", false),
        ("CAST(id AS DECIMAL(12,2))", true),
        ("CAST(CAST(left(id, 900000) AS DECIMAL(38,10)) AS DECIMAL(12,2))", true),
        ("CASE WHEN CAST(id AS DECIMAL(12,2)) > 1.5 THEN CAST(1 AS DECIMAL(12,2)) END", true),
        ("arrow_cast(id, 'Decimal128(12, 2)')", true),
    ] {
        let stage = format!("SELECT left(id, 5) AS id, 1 AS watts, {expression} AS share FROM raw");
        let ids: Vec<&str> = endless.iter().map(String::as_str).chain(["2.5"]).collect();
        let all = told(&contract, &stage, &ids);
        assert_eq!(all.len(), 5, "{expression}: {all:?}");
        let failed = all.iter().filter(|line| line.contains("sql.failed")).count();
        assert_eq!(failed, if fails { 4 } else { 0 }, "{expression}: {all:?}");
        assert!(all.iter().any(|line| line.contains(r#""id":"2.5""#)), "{expression}: {all:?}");
    }
}

/// Each row has a value of eight megabytes on the way: all of them together have none at a time.
#[test]
fn what_is_large_on_the_way_is_computed_for_some_rows_at_a_time() {
    const MAP: &str = "SELECT no AS id, array_resize([1], 1000000, 2) AS x FROM message";
    let library = Library::read(&root().join("tests/fixtures/street_lamps/schemas")).unwrap();
    for (expression, answer) in [
        ("cardinality(x)", 1_000_000),
        ("cardinality(array_concat(x, make_array(CAST(length(id) AS BIGINT))))", 1_000_001),
        ("length(concat_ws(repeat(',', 900000), id, 'a', 'b', 'c', 'd', 'e', 'f', 'g'))", 6_300_008),
        ("cardinality(string_to_array(repeat('a,', 500000), ','))", 500_001),
    ] {
        let stage = format!("SELECT id, 1 AS watts, CAST({expression} AS BIGINT) AS share FROM raw");
        let (program, source) = compile_lamps_with(MAP, &stage, lamps(), &library).unwrap();
        let messages: Vec<_> = (0..40).map(|id| message(&(id % 10).to_string())).collect();
        let all = outcome(&program, &source, &lamps(), &messages, 0);
        let wanted = format!("\"share\":{answer}}}");
        assert!(all.iter().all(|line| line.contains(&wanted)), "{expression}: {}", all[0]);
    }
}
