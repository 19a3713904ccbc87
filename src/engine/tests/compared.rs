//! What is compared with a literal is what the SQL says, whatever the optimizer makes of it.

use super::*;

/// What `share` becomes of each text, or why it cannot be computed.
fn shares(expression: &str, texts: &[&str]) -> Result<String, String> {
    let stage = format!("SELECT id, 1 AS watts, CAST({expression} AS BIGINT) AS share FROM raw");
    let (program, source) = compile_lamps(MAP, &stage)?;
    let message = |(id, text): (usize, &&str)| format!(r#"{{"no":"{id}","power":{{"watts":"{text}"}}}}"#).into_bytes();
    let messages: Vec<Vec<u8>> = texts.iter().enumerate().map(message).collect();
    let all = outcome(&program, &source, &lamps(), &messages, 0);
    let told = |line: &String| match line.split_once("reason: \"") {
        Some((_, reason)) => reason.split('"').next().unwrap_or_default().to_owned(),
        None => {
            line.split_once("\"share\":").map_or("-".to_owned(), |(_, share)| share.trim_end_matches('}').to_owned())
        }
    };
    Ok(all.iter().map(told).collect::<Vec<_>>().join(" "))
}

fn all_shares(expressions: &[&str], texts: &[&str]) -> String {
    let line = |sql: &&str| format!("{sql}: {}\n", shares(sql, texts).unwrap_or_else(|refused| refused));
    expressions.iter().map(line).collect()
}

/// The engine would compare months, days and nanoseconds one after the other: 744 hours are less than a day.
#[test]
fn differences_of_times_are_as_long_as_they_are() {
    let since = |comparison: &str| format!("(local_time(w) - local_time('2026-05-01T00:00:00Z')) {comparison}");
    let all: Vec<String> = [
        "> INTERVAL '1 day'",
        "<= INTERVAL '24 hours'",
        "> -INTERVAL '15 days'",
        "= INTERVAL '31 days'",
        "<> INTERVAL '744 hours'",
        "IS DISTINCT FROM INTERVAL '30 days 24 hours'",
        "BETWEEN INTERVAL '-2 days' AND INTERVAL '15 days'",
        "IN (INTERVAL '1 hour', INTERVAL '31 days')",
    ]
    .map(since)
    .into();
    let all: Vec<&str> = all
        .iter()
        .map(String::as_str)
        .chain([
            "INTERVAL '0.5 days' <= local_time(w) - local_time('2026-04-30')",
            "CASE local_time(w) - local_time('2026-04-30') WHEN INTERVAL '32 days 8 hours' THEN 1 ELSE 0 END",
        ])
        .collect();
    expect![[r#"
        (local_time(w) - local_time('2026-05-01T00:00:00Z')) > INTERVAL '1 day': 1 0 0 -
        (local_time(w) - local_time('2026-05-01T00:00:00Z')) <= INTERVAL '24 hours': 0 1 1 -
        (local_time(w) - local_time('2026-05-01T00:00:00Z')) > -INTERVAL '15 days': 1 1 1 -
        (local_time(w) - local_time('2026-05-01T00:00:00Z')) = INTERVAL '31 days': 1 0 0 -
        (local_time(w) - local_time('2026-05-01T00:00:00Z')) <> INTERVAL '744 hours': 0 1 1 -
        (local_time(w) - local_time('2026-05-01T00:00:00Z')) IS DISTINCT FROM INTERVAL '30 days 24 hours': 0 1 1 1
        (local_time(w) - local_time('2026-05-01T00:00:00Z')) BETWEEN INTERVAL '-2 days' AND INTERVAL '15 days': 0 1 1 -
        (local_time(w) - local_time('2026-05-01T00:00:00Z')) IN (INTERVAL '1 hour', INTERVAL '31 days'): 1 1 0 -
        INTERVAL '0.5 days' <= local_time(w) - local_time('2026-04-30'): 1 1 0 -
        CASE local_time(w) - local_time('2026-04-30') WHEN INTERVAL '32 days 8 hours' THEN 1 ELSE 0 END: 1 0 0 0
    "#]]
    .assert_eq(&all_shares(&all, &["2026-06-01T00:00:00Z", "2026-05-01T01:00:00Z", "2026-04-29T00:00:00Z", "x"]));
}

#[test]
fn intervals_of_no_length_are_not_compared() {
    let since = "(local_time(w) - local_time('2026-05-01T00:00:00Z'))";
    let all: Vec<String> = [
        "{} <= INTERVAL '1 month'",
        "{} <= INTERVAL '1500 nanoseconds'",
        "INTERVAL '24 hours' = INTERVAL '1 day'",
        "{} > CAST(w AS INTERVAL)",
        "CAST(w AS INTERVAL) IN (INTERVAL '1 day')",
        "CASE CAST(w AS INTERVAL) WHEN INTERVAL '1 day' THEN 1 END",
        "greatest({}, INTERVAL '1 day') IS NULL",
        "local_time(w) + nullif(CAST(w AS INTERVAL), INTERVAL '1 day') IS NULL",
    ]
    .map(|sql| sql.replace("{}", since))
    .into();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    expect![[r#"
        (local_time(w) - local_time('2026-05-01T00:00:00Z')) <= INTERVAL '1 month': lamps/clean.sql:1: intervals are compared by their parts, not by their length: compare a difference of times as it is with one of days to microseconds, a - b > INTERVAL '15 days', and for months write a > b + INTERVAL '1 month' (for source street)
        (local_time(w) - local_time('2026-05-01T00:00:00Z')) <= INTERVAL '1500 nanoseconds': lamps/clean.sql:1: intervals are compared by their parts, not by their length: compare a difference of times as it is with one of days to microseconds, a - b > INTERVAL '15 days', and for months write a > b + INTERVAL '1 month' (for source street)
        INTERVAL '24 hours' = INTERVAL '1 day': lamps/clean.sql:1: intervals are compared by their parts, not by their length: compare a difference of times as it is with one of days to microseconds, a - b > INTERVAL '15 days', and for months write a > b + INTERVAL '1 month' (for source street)
        (local_time(w) - local_time('2026-05-01T00:00:00Z')) > CAST(w AS INTERVAL): lamps/clean.sql:1: intervals are compared by their parts, not by their length: compare a difference of times as it is with one of days to microseconds, a - b > INTERVAL '15 days', and for months write a > b + INTERVAL '1 month' (for source street)
        CAST(w AS INTERVAL) IN (INTERVAL '1 day'): lamps/clean.sql:1: intervals are compared by their parts, not by their length: compare a difference of times as it is with one of days to microseconds, a - b > INTERVAL '15 days', and for months write a > b + INTERVAL '1 month' (for source street)
        CASE CAST(w AS INTERVAL) WHEN INTERVAL '1 day' THEN 1 END: lamps/clean.sql:1: intervals are compared by their parts, not by their length: compare a difference of times as it is with one of days to microseconds, a - b > INTERVAL '15 days', and for months write a > b + INTERVAL '1 month' (for source street)
        greatest((local_time(w) - local_time('2026-05-01T00:00:00Z')), INTERVAL '1 day') IS NULL: lamps/clean.sql:1: intervals are compared by their parts, not by their length: compare a difference of times as it is with one of days to microseconds, a - b > INTERVAL '15 days', and for months write a > b + INTERVAL '1 month' (for source street)
        local_time(w) + nullif(CAST(w AS INTERVAL), INTERVAL '1 day') IS NULL: lamps/clean.sql:1: intervals are compared by their parts, not by their length: compare a difference of times as it is with one of days to microseconds, a - b > INTERVAL '15 days', and for months write a > b + INTERVAL '1 month' (for source street)
    "#]].assert_eq(&all_shares(&all, &["x"]));
    let refused = timed("watts - share <= INTERVAL '1 month'").map(|_| ()).unwrap_err();
    expect!["schemas/lamps.odcs.yaml:9: rule too_bright: intervals are compared by their parts, not by their length: compare a difference of times as it is with one of days to microseconds, a - b > INTERVAL '15 days', and for months write a > b + INTERVAL '1 month'"].assert_eq(&refused);
}

/// Of watts and share that are times.
fn timed(rule: &str) -> Result<(Program, Source, Contract), String> {
    let library = Library::read(&root().join("tests/fixtures/street_lamps")).unwrap();
    let mut contract = lamps();
    contract.rules[0].predicate = rule.into();
    contract.columns[1].kind = Kind::Timestamp;
    contract.columns[2].kind = Kind::Timestamp;
    let stage = "SELECT id, local_time(w) AS watts, local_time('2026-05-01T00:00:00Z') AS share FROM raw";
    compile_lamps_with(MAP, stage, contract.clone(), &library).map(|(program, source)| (program, source, contract))
}

#[test]
fn rules_compare_times_likewise() {
    for rule in ["watts - share <= INTERVAL '15 days'", "watts <= TIMESTAMP '2026-05-16T00:00:00Z'"] {
        let (program, source, contract) = timed(rule).unwrap();
        let messages = ["2026-05-16T00:00:00Z", "2026-05-16T00:00:00.001Z", "1600-01-01", "9999-12-31"];
        let message = |text: &str| format!(r#"{{"no":"1","power":{{"watts":"{text}"}}}}"#).into_bytes();
        let all = outcome(&program, &source, &contract, &messages.map(message), 0);
        let broken: Vec<bool> = all.iter().map(|line| line.contains("checks [Fault { code: \"too_bright\"")).collect();
        assert_eq!(broken, [false, true, false, true], "{rule}: {all:?}");
    }
}

/// `TIMESTAMP` would count nanoseconds, which there are for the years 1677 to 2262 only.
#[test]
fn times_reach_as_far_as_the_contract_s() {
    expect![[r#"
        date_part('year', local_time(w) AT TIME ZONE 'Asia/Shanghai'): 9999 2026 1600
        date_part('year', coalesce(local_time(w), TIMESTAMP '2000-01-01T00:00:00Z')): 9999 2026 1599
        date_part('year', CASE WHEN local_time(w) > TIMESTAMP '2030-01-01' THEN NULL ELSE local_time(w) END): - 2026 1599
        date_part('year', nullif(local_time(w), TIMESTAMP '9999-12-31T00:00:00+08:00')): - 2026 1599
        date_part('year', CAST(w AS TIMESTAMP)): 9999 2026 1600
        date_part('year', TRY_CAST(w AS TIMESTAMP)) BETWEEN 1 AND 9999: 1 1 1
        date_part('year', TRY_CAST(w AS TIMESTAMP)) < 300000: 1 1 1
        date_part('year', TRY_CAST(w AS TIMESTAMP)) <> 9999: 0 1 1
        local_date(w) < local_time(w): 0 0 0
        CAST(local_date(w) AS TIMESTAMP) = TIMESTAMP '9999-12-31': 1 0 0
        to_timestamp(w) < local_time('2030-01-01'): SQL 计算失败：时间超出范围（1677 年至 2262 年） 1 SQL 计算失败：时间超出范围（1677 年至 2262 年）
        date_part('year', coalesce(to_timestamp(w), local_time(w))): SQL 计算失败：时间超出范围（1677 年至 2262 年） 2026 SQL 计算失败：时间超出范围（1677 年至 2262 年）
        date_part('year', date_trunc('month', local_time(w))): SQL 计算失败：时间超出范围（1677 年至 2262 年） 2026 SQL 计算失败：时间超出范围（1677 年至 2262 年）
        date_part('year', date_bin(INTERVAL '1 day', local_time(w))): SQL 计算失败：时间超出范围（1677 年至 2262 年） 2026 SQL 计算失败：时间超出范围（1677 年至 2262 年）
        to_char(local_time(w), '%Y'): SQL 计算失败：时间超出范围（1677 年至 2262 年） 2026 SQL 计算失败：时间超出范围（1677 年至 2262 年）
        to_char(local_date(w), '%Y'): 9999 2026 1600
    "#]].assert_eq(&all_shares(
        &[
            "date_part('year', local_time(w) AT TIME ZONE 'Asia/Shanghai')",
            "date_part('year', coalesce(local_time(w), TIMESTAMP '2000-01-01T00:00:00Z'))",
            "date_part('year', CASE WHEN local_time(w) > TIMESTAMP '2030-01-01' THEN NULL ELSE local_time(w) END)",
            "date_part('year', nullif(local_time(w), TIMESTAMP '9999-12-31T00:00:00+08:00'))",
            "date_part('year', CAST(w AS TIMESTAMP))",
            "date_part('year', TRY_CAST(w AS TIMESTAMP)) BETWEEN 1 AND 9999",
            "date_part('year', TRY_CAST(w AS TIMESTAMP)) < 300000",
            "date_part('year', TRY_CAST(w AS TIMESTAMP)) <> 9999",
            "local_date(w) < local_time(w)",
            "CAST(local_date(w) AS TIMESTAMP) = TIMESTAMP '9999-12-31'",
            "to_timestamp(w) < local_time('2030-01-01')",
            "date_part('year', coalesce(to_timestamp(w), local_time(w)))",
            "date_part('year', date_trunc('month', local_time(w)))",
            "date_part('year', date_bin(INTERVAL '1 day', local_time(w)))",
            "to_char(local_time(w), '%Y')",
            "to_char(local_date(w), '%Y')",
        ],
        &["9999-12-31", "2026-06-01", "1600-01-01"],
    ));
}

/// The optimizer would take the CAST off, and compare what was there before.
#[test]
fn what_a_cast_makes_is_compared() {
    let dec = "TRY_CAST(w AS DECIMAL(20, 3))";
    let all: Vec<String> = [
        "CAST({} AS BIGINT) = 2",
        "CASE WHEN CAST({} AS BIGINT) > 2 THEN 1 ELSE 0 END",
        "CAST({} AS DECIMAL(20, 0)) = 3",
        "arrow_cast({}, 'Int64') = 2",
        "CAST({} AS INT) BETWEEN 2 AND 2",
        "CAST({} AS INT) IN (2, 9)",
        "CAST({} AS INT) IN (1, 2, 3, 4, 5)",
        "2 IS DISTINCT FROM CAST({} AS INT)",
        "TRY_CAST({} AS DECIMAL(3, 2)) > 0",
        "TRY_CAST(TRY_CAST(w AS BIGINT) AS SMALLINT) > 0",
        "CAST(TRY_CAST(w AS BIGINT) AS INT) > 0",
        "CAST(TRY_CAST(w AS INT) AS DECIMAL(12, 2)) = 2",
    ]
    .map(|sql| sql.replace("{}", dec))
    .into();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    expect![[r#"
        CAST(TRY_CAST(w AS DECIMAL(20, 3)) AS BIGINT) = 2: 1 1 1 0 0 0
        CASE WHEN CAST(TRY_CAST(w AS DECIMAL(20, 3)) AS BIGINT) > 2 THEN 1 ELSE 0 END: 0 0 0 0 1 1
        CAST(TRY_CAST(w AS DECIMAL(20, 3)) AS DECIMAL(20, 0)) = 3: 1 1 0 0 0 0
        arrow_cast(TRY_CAST(w AS DECIMAL(20, 3)), 'Int64') = 2: 1 1 1 0 0 0
        CAST(TRY_CAST(w AS DECIMAL(20, 3)) AS INT) BETWEEN 2 AND 2: 1 1 1 0 0 SQL 计算失败：数值超出类型的范围
        CAST(TRY_CAST(w AS DECIMAL(20, 3)) AS INT) IN (2, 9): 1 1 1 0 0 SQL 计算失败：数值超出类型的范围
        CAST(TRY_CAST(w AS DECIMAL(20, 3)) AS INT) IN (1, 2, 3, 4, 5): 1 1 1 0 0 SQL 计算失败：数值超出类型的范围
        2 IS DISTINCT FROM CAST(TRY_CAST(w AS DECIMAL(20, 3)) AS INT): 0 0 0 1 1 SQL 计算失败：数值超出类型的范围
        TRY_CAST(TRY_CAST(w AS DECIMAL(20, 3)) AS DECIMAL(3, 2)) > 0: 1 1 1 0 - -
        TRY_CAST(TRY_CAST(w AS BIGINT) AS SMALLINT) > 0: - - 1 - - -
        CAST(TRY_CAST(w AS BIGINT) AS INT) > 0: - - 1 - 1 SQL 计算失败：数值超出类型的范围
        CAST(TRY_CAST(w AS INT) AS DECIMAL(12, 2)) = 2: - - 1 - 0 -
    "#]]
    .assert_eq(&all_shares(&all, &["2.5", "2.999", "2", "-2.5", "70000", "4294967301"]));
}

/// The optimizer makes IS NOT NULL of a pattern that takes any text.
#[test]
fn a_pattern_asks_nothing_of_null() {
    let folder = tempfile::tempdir().unwrap();
    let text = "apiVersion: v3.1.0\nkind: DataContract\nid: e.lamps\nversion: 1.0.0\nstatus: draft\n\
                description: { purpose: 测试 }\nschema:\n  - name: lamps\n    properties:\n\
                \x20     - { name: id, logicalType: string, description: 编号, logicalTypeOptions: { pattern: '.*' } }\n\
                \x20     - { name: watts, logicalType: string, description: 功率, logicalTypeOptions: { pattern: '^[0-9]*$' } }\n";
    std::fs::write(folder.path().join("lamps.odcs.yaml"), text).unwrap();
    let contract = odcs::read(folder.path(), "lamps").unwrap();
    let library = Library::read(folder.path()).unwrap();
    let stage = "SELECT nullif(id, '') AS id, w AS watts FROM raw";
    let (program, source) = compile_lamps_with(MAP, stage, contract.clone(), &library).unwrap();
    let message = |id: &str, watts: &str| format!(r#"{{"no":"{id}","power":{{"watts":{watts}}}}}"#).into_bytes();
    let all = outcome(&program, &source, &contract, &[message("", "null"), message("1", "\"x\"")], 0);
    let all: Vec<&str> = all.iter().map(|line| line.split(" Some(b").next().unwrap()).collect();
    expect![[r#"
        0.0: {}
        1.Some(0): checks [Fault { code: "watts_pattern", field: Some("watts"), reason: "watts不符合格式 ^[0-9]*$", value: Some("x") }]"#]].assert_eq(&all.join("\n"));
}

/// What a number means when it is cast to a time is not ours to change.
#[test]
fn a_number_that_is_cast_to_a_time_counts_nanoseconds() {
    let year = "date_part('year', TRY_CAST(TRY_CAST(w AS BIGINT) AS TIMESTAMP))";
    assert_eq!(shares(year, &["1780000000123456789"]).as_deref(), Ok("2026"));
}
