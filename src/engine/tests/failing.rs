//! What expressions that cannot be computed become.

use super::*;

/// What becomes of a stage that has `share` computed so.
fn share(expression: &str) -> Result<(Program, Source), String> {
    compile_lamps(MAP, &format!("SELECT id,\n  TRY_CAST(w AS BIGINT) AS watts,\n  {expression} AS share\nFROM raw"))
}

pub(super) fn message(id: u32, watts: &str) -> Vec<u8> {
    format!(r#"{{"no":"{id}","power":{{"watts":"{watts}"}}}}"#).into_bytes()
}

/// Without what the reject carries of the message.
pub(super) fn lines(program: &Program, source: &Source, contract: &Contract, messages: &[Vec<u8>]) -> String {
    let all = outcome(program, source, contract, messages, 0);
    all.iter().map(|line| line.split(" Some(b").next().unwrap().to_owned() + "\n").collect()
}

#[test]
fn what_no_row_can_compute_is_refused() {
    let mut told = String::new();
    for expression in [
        "1 / 0",
        "CAST(regexp_replace(id, '[', '') AS BIGINT)",
        "CAST(chr(-1) AS BIGINT)",
        "CAST(date_part('foo', _timestamp) AS BIGINT)",
        "length(repeat('x', 3000000000))",
        "length(lpad(id, 2000000000))",
        "array_length(array_repeat(id, 2000000))",
        "CAST('x' AS BIGINT) + 1 / 0",
        "CASE WHEN 1 / 0 = 1 THEN 1 ELSE 1 / 0 END",
        "9223372036854775807 + 1",
        "CASE WHEN id = w THEN 9223372036854775807 * length('ab') ELSE 1 END",
        "CAST(2147483647 AS INT) + CAST(1 AS INT) - length(id)",
        "-CAST(-128 AS TINYINT)",
    ] {
        told += &format!("{expression}\n{}\n\n", share(expression).expect_err(expression));
    }
    expect![[r#"
        1 / 0
        lamps/clean.sql:3: column "share" cannot be computed for any row (Divide by zero error): correct the expression

        CAST(regexp_replace(id, '[', '') AS BIGINT)
        lamps/clean.sql:3: column "share" cannot be computed for any row (regex parse error: unclosed character class): correct the expression

        CAST(chr(-1) AS BIGINT)
        lamps/clean.sql:3: column "share" cannot be computed for any row (invalid Unicode scalar value: -1): correct the expression

        CAST(date_part('foo', _timestamp) AS BIGINT)
        lamps/clean.sql:3: column "share" cannot be computed for any row (Date part 'foo' not supported): correct the expression

        length(repeat('x', 3000000000))
        lamps/clean.sql:3: column "share" cannot be computed for any row (repeat() would yield 3000000000, more than 1000000): correct the expression

        length(lpad(id, 2000000000))
        lamps/clean.sql:3: column "share" cannot be computed for any row (lpad() would yield 2000000000, more than 1000000): correct the expression

        array_length(array_repeat(id, 2000000))
        lamps/clean.sql:3: column "share" cannot be computed for any row (array_repeat() would yield 2000000, more than 1000000): correct the expression

        CAST('x' AS BIGINT) + 1 / 0
        lamps/clean.sql:3: Cannot cast string 'x' to value of Int64 type (for source street)

        CASE WHEN 1 / 0 = 1 THEN 1 ELSE 1 / 0 END
        lamps/clean.sql:3: column "share" cannot be computed for any row (Divide by zero error): correct the expression

        9223372036854775807 + 1
        lamps/clean.sql:3: Arithmetic overflow: Overflow happened on: 9223372036854775807 + 1 (for source street)

        CASE WHEN id = w THEN 9223372036854775807 * length('ab') ELSE 1 END
        lamps/clean.sql:3: Arithmetic overflow: Overflow happened on: 9223372036854775807 * 2 (for source street)

        CAST(2147483647 AS INT) + CAST(1 AS INT) - length(id)
        lamps/clean.sql:3: Arithmetic overflow: Overflow happened on: 2147483647 + 1 (for source street)

        -CAST(-128 AS TINYINT)
        lamps/clean.sql:3: Arithmetic overflow: Overflow happened on: 0 - -128 (for source street)

    "#]].assert_eq(&told);
}

#[test]
fn a_rule_that_no_row_can_compute_is_refused() {
    let mut contract = lamps();
    contract.rules[0].predicate = "1 / 0 = 1".into();
    let library = Library::read(&root().join("tests/fixtures/street_lamps")).unwrap();
    let stage = "SELECT id, 1 AS watts, 2 AS share FROM raw";
    let refused = compile_lamps_with(MAP, stage, contract, &library).map(|_| ()).unwrap_err();
    expect!["schemas/lamps.odcs.yaml:9: rule too_bright cannot be computed for any row (Divide by zero error): correct its condition, or remove the rule"].assert_eq(&refused);
}

/// By their own line, not by the stage before them.
#[test]
fn rules_that_cannot_be_planned_are_refused() {
    let library = Library::read(&root().join("tests/fixtures/street_lamps")).unwrap();
    let mut told = String::new();
    for predicate in ["regexp_like(id, '^[A-Z{2}')", "watts < < 2", "CAST('x' AS BIGINT) = watts", "wats > 1"] {
        let mut contract = lamps();
        contract.rules[0].predicate = predicate.into();
        let stage = "SELECT id, 1 AS watts, 2 AS share FROM raw";
        told += &(compile_lamps_with(MAP, stage, contract, &library).map(|_| ()).unwrap_err() + "\n");
    }
    expect![[r#"
        schemas/lamps.odcs.yaml:9: rule too_bright: regex parse error: unclosed character class
        schemas/lamps.odcs.yaml:9: rule too_bright: this is not SQL: Expected: an expression, found: <
        schemas/lamps.odcs.yaml:9: rule too_bright: Cannot cast string 'x' to value of Int64 type
        schemas/lamps.odcs.yaml:9: rule too_bright: No field named wats. Did you mean 'watts'?
    "#]]
    .assert_eq(&told);
}

#[test]
fn a_batch_without_rows_is_nothing_to_fail() {
    let (program, source) = share("100 / TRY_CAST(w AS BIGINT)").unwrap();
    assert_eq!(outcome(&program, &source, &lamps(), &[b"{".to_vec()], 0).len(), 1);
    assert_eq!(outcome(&program, &source, &lamps(), &[], 0).len(), 0);
}

#[test]
fn a_batch_of_nothing_but_failures_is_nothing_but_rejects() {
    let (program, source) = share("100 / TRY_CAST(w AS BIGINT)").unwrap();
    let all = lines(&program, &source, &lamps(), &[message(1, "0"), message(2, "0")]);
    expect![[r#"
        0.Some(0): clean [Fault { code: "sql.failed", field: Some("share"), reason: "SQL 计算失败：除以零", value: None }]
        1.Some(0): clean [Fault { code: "sql.failed", field: Some("share"), reason: "SQL 计算失败：除以零", value: None }]
    "#]].assert_eq(&all);
}

/// The number comes out of the message.
#[test]
fn a_result_that_is_too_large_is_never_made() {
    for (expression, largest) in [
        ("length(repeat(id || '012345678', {}))", "100000"),
        ("length(lpad(id, {}))", "1000000"),
        ("length(rpad(id, {}, '某'))", "1000000"),
        ("CAST(array_length(array_repeat(id, {})) AS BIGINT)", "1000000"),
        ("CAST(array_length(array_resize(make_array(id), {}, w)) AS BIGINT)", "100000"),
    ] {
        let (program, source) = share(&expression.replace("{}", "TRY_CAST(w AS BIGINT)")).unwrap();
        let some = [message(1, "0"), message(2, &format!("{largest}1")), message(3, "x"), message(4, largest)];
        let all = lines(&program, &source, &lamps(), &some);
        let told = r#"1.Some(0): clean [Fault { code: "sql.failed", field: Some("share"), reason: "SQL 计算失败：结果过大", value: None }]"#;
        assert_eq!(all.lines().nth(1), Some(told), "{expression}");
        assert_eq!(all.matches("sql.failed").count(), 1, "{expression}: {all}");
    }
}

/// As often as there are elements in a list.
#[test]
fn lists_do_not_multiply_what_a_message_holds() {
    for expression in [
        "length(array_to_string(string_to_array(w, ','), id))",
        "length(array_to_string(string_to_array(w, ',', ''), ',', id))",
        "length(list_to_string(make_array(string_to_array(w, ','), string_to_array(w, ';')), id))",
        "CAST(cardinality(array_replace_all(string_to_array(w, ','), '', id)) AS BIGINT)",
        "CAST(cardinality(array_replace_n(string_to_array(w, ','), '', id, 100000)) AS BIGINT)",
    ] {
        let stage = format!("SELECT left(id, 9) AS id, 1 AS watts, {expression} AS share FROM raw");
        let (program, source) = compile_lamps(MAP, &stage).unwrap();
        let large = |delimiter: usize, commas: usize| {
            let (no, watts) = ("x".repeat(delimiter), ",".repeat(commas));
            format!(r#"{{"no":"{no}","power":{{"watts":"{watts}"}}}}"#).into_bytes()
        };
        let all = lines(&program, &source, &lamps(), &[large(1, 3), large(10_000, 10_000), large(10_000, 50)]);
        let told = r#"1.Some(0): clean [Fault { code: "sql.failed", field: Some("share"), reason: "SQL 计算失败：结果过大", value: None }]"#;
        assert_eq!(all.lines().nth(1), Some(told), "{expression}");
        assert_eq!(all.matches("sql.failed").count(), 1, "{expression}: {all}");
    }
}

/// What many rows would have in memory at once is made in parts.
#[test]
fn many_large_results_are_made_in_parts() {
    let (program, source) = share("length(lpad(id, 1000000))").unwrap();
    let mut contract = lamps();
    contract.rules.clear();
    let messages: Vec<Vec<u8>> = (0..70).map(|id| message(id, "1")).collect();
    let all = lines(&program, &source, &contract, &messages);
    assert_eq!(all.lines().filter(|line| line.ends_with(r#""share":1000000}"#)).count(), 70);
}

#[test]
fn integers_that_do_not_fit_reject_their_row() {
    for expression in ["{} + 1", "{} * 2", "-2 - {}"] {
        let (program, source) = share(&expression.replace("{}", "TRY_CAST(w AS BIGINT)")).unwrap();
        let all = lines(&program, &source, &lamps(), &[message(1, "1"), message(2, "9223372036854775807")]);
        let told = r#"1.Some(0): clean [Fault { code: "sql.failed", field: Some("share"), reason: "SQL 计算失败：数值溢出", value: None }]"#;
        assert_eq!(all.lines().nth(1), Some(told), "{expression}");
    }
}

#[test]
fn the_column_is_named_also_where_two_share_an_expression() {
    let stage = "SELECT id, 100 / TRY_CAST(w AS BIGINT) AS watts, 100 / TRY_CAST(w AS BIGINT) + 1 AS share FROM raw";
    let (program, source) = compile_lamps(MAP, stage).unwrap();
    let all = lines(&program, &source, &lamps(), &[message(1, "0"), message(2, "50")]);
    expect![[r#"
        0.Some(0): clean [Fault { code: "sql.failed", field: Some("watts"), reason: "SQL 计算失败：除以零", value: None }]
        1.0: {"id":"2","watts":2,"share":3}
    "#]].assert_eq(&all);
}

#[test]
fn a_rule_that_cannot_be_computed_rejects_or_flags_as_it_would_if_broken() {
    let mut contract = lamps();
    contract.rules[0].predicate = "1000 / watts > 1".into();
    let warning = Rule {
        name: "too_dim".into(),
        severity: Severity::Warning,
        predicate: "100 / (watts - 7) <> 0".into(),
        ..contract.rules[0].clone()
    };
    contract.rules.push(warning);
    contract.columns.push(lamp("flags", Kind::Texts));
    contract.flags = Some("flags".into());
    let library = Library::read(&root().join("tests/fixtures/street_lamps")).unwrap();
    let stage = "SELECT id, TRY_CAST(w AS BIGINT) AS watts, 2 AS share FROM raw";
    let (program, source) = compile_lamps_with(MAP, stage, contract.clone(), &library).unwrap();
    let messages = [message(1, "7"), message(2, "0"), message(3, "8"), message(4, "200"), message(5, "x")];
    expect![[r#"
        0.0: {"id":"1","watts":7,"share":2,"flags":["watts:too_dim"]}
        1.Some(0): checks [Fault { code: "sql.failed", field: Some("watts"), reason: "SQL 计算失败：除以零（规则 too_bright）", value: None }]
        2.0: {"id":"3","watts":8,"share":2}
        3.0: {"id":"4","watts":200,"share":2,"flags":["watts:too_dim"]}
        4.0: {"id":"5","share":2}
    "#]].assert_eq(&lines(&program, &source, &contract, &messages));
}

#[test]
fn mistakes_that_the_engine_finds_are_told_with_their_line() {
    let mut told = String::new();
    for expression in [
        "CAST('x' AS BIGINT)",
        "CASE WHEN w > '1'\n  THEN nosuch END",
        "substr(id)",
        "id + 1",
        "nosuch(id)",
        "locl_date(id)",
        "code('lampz',\n  'lamp')",
        "max(watts)",
        "count(*)",
        "row_number() OVER (ORDER BY id)",
        "id.x",
        "watts",
        "CAST(id AS NOSUCH)",
        "to_timestamp('x')",
        "DATE 'x'",
        "1 << 1 || 'a'",
    ] {
        told += &format!("{expression}\n{}\n\n", share(expression).map(|_| ()).expect_err(expression));
    }
    expect![[r#"
        CAST('x' AS BIGINT)
        lamps/clean.sql:3: Cannot cast string 'x' to value of Int64 type (for source street)

        CASE WHEN w > '1'
          THEN nosuch END
        lamps/clean.sql:4: No field named nosuch. (for source street)

        substr(id)
        lamps/clean.sql:3: Substring without for/from is not valid (for source street)

        id + 1
        lamps/clean.sql:3: Cannot coerce arithmetic expression Utf8 + Int64 to valid types: the fields of a message are texts, read them first, for instance with TRY_CAST(… AS DOUBLE) (for source street)

        nosuch(id)
        lamps/clean.sql:3: Invalid function 'nosuch' (for source street)

        locl_date(id)
        lamps/clean.sql:3: Invalid function 'locl_date': did you mean "local_date"? (for source street)

        code('lampz',
          'lamp')
        lamps/clean.sql:3: code('lampz', …): there is no 'lampz' (for source street)

        max(watts)
        lamps/clean.sql:3: max() looks at more than one row: a stage sees one row at a time

        count(*)
        lamps/clean.sql:3: count() looks at more than one row: a stage sees one row at a time

        row_number() OVER (ORDER BY id)
        lamps/clean.sql:3: row_number() looks at more than one row: a stage sees one row at a time

        id.x
        lamps/clean.sql:3: Cannot access field at argument 1: type Utf8 is not Struct, Map, or Null (for source street)

        watts
        lamps/clean.sql:3: No field named watts: it is made in this SELECT, so it is there for the next stage (for source street)

        CAST(id AS NOSUCH)
        lamps/clean.sql:3: This feature is not implemented: Unsupported SQL type NOSUCH (for source street)

        to_timestamp('x')
        lamps/clean.sql:3: column "share" cannot be computed for any row (Error parsing timestamp from 'x': timestamp must contain at least 10 characters): correct the expression

        DATE 'x'
        lamps/clean.sql:3: Cannot cast string 'x' to value of Date32 type (for source street)

        1 << 1 || 'a'
        lamps/clean.sql:3: Cannot infer common type for bitwise operation Int64 << Utf8 (for source street)

    "#]].assert_eq(&told);
}

/// The engine would go as deep as there are operators, and fall off its stack.
#[test]
fn endless_expressions_are_refused() {
    let mut told = String::new();
    let many = |what: &str, count: usize| vec![what; count].join(" ");
    for expression in [
        format!("1 {}", many("+ 1", 50_000)),
        format!("length(id {}\n || w)", many("|| w", 500)),
        format!("CASE WHEN id = w {} THEN 1 END", many("OR id = w", 300)),
        format!("(1 {}) {}", many("+ 1", 300), many("+ 1", 300)),
    ] {
        told += &(share(&expression).map(|_| ()).expect_err("it must be refused") + "\n");
    }
    let mut contract = lamps();
    contract.rules[0].predicate = format!("watts > 1 {}", many("OR watts > 1", 50_000));
    let library = Library::read(&root().join("tests/fixtures/street_lamps")).unwrap();
    let stage = "SELECT id, 1 AS watts, 2 AS share FROM raw";
    told += &compile_lamps_with(MAP, stage, contract, &library).map(|_| ()).unwrap_err();
    expect![[r#"
        lamps/clean.sql:3: more than 500 operators in a row: write IN (…), or compute a part in the stage before
        lamps/clean.sql:4: more than 500 operators in a row: write IN (…), or compute a part in the stage before
        lamps/clean.sql:3: more than 500 operators in a row: write IN (…), or compute a part in the stage before
        lamps/clean.sql:3: more than 500 operators in a row: write IN (…), or compute a part in the stage before
        schemas/lamps.odcs.yaml:9: rule too_bright: more than 500 operators in a row: write IN (…), or compute a part in the stage before"#]].assert_eq(&told);
    for fine in [
        format!("1 {}", many("+ 1", 490)),
        format!("CASE {} END", many("WHEN id = w AND w <> 'x' THEN 1 + 1", 1000)),
        format!("CAST(id IN ({}'x') AS BIGINT)", many("'x',", 3000)),
    ] {
        // The main thread has as much, those of tests have less.
        let compiled = std::thread::Builder::new().stack_size(8 << 20).spawn(move || share(&fine).map(|_| ()));
        assert_eq!(compiled.unwrap().join().unwrap(), Ok(()));
    }
}

/// As bounds of a contract are written; the literal would be a double, and not the value that is written.
#[test]
fn decimals_are_compared_as_they_are_written() {
    let stage = "SELECT id, CASE WHEN CAST(w AS DECIMAL(12, 2)) \
                 IN (CAST('80491.41' AS DECIMAL(7, 2)), CAST('99999999.99' AS DECIMAL(10, 2))) THEN 1 ELSE 0 END AS watts, \
                 CASE WHEN CAST(w AS DECIMAL(12, 2)) >= CAST('80491.41' AS DECIMAL(7, 2)) \
                 AND CAST(w AS DECIMAL(12, 2)) <= CAST('99999999.99' AS DECIMAL(10, 2)) THEN 1 ELSE 0 END AS share FROM raw";
    let (program, source) = compile_lamps(MAP, stage).unwrap();
    let messages = ["80491.41", "99999999.99", "80491.40", "99999999.98"];
    let messages: Vec<Vec<u8>> = messages.iter().zip(0..).map(|(watts, id)| message(id, watts)).collect();
    expect![[r#"
        0.0: {"id":"0","watts":1,"share":1}
        1.0: {"id":"1","watts":1,"share":1}
        2.0: {"id":"2","watts":0,"share":0}
        3.0: {"id":"3","watts":0,"share":1}
    "#]]
    .assert_eq(&lines(&program, &source, &lamps(), &messages));
}

#[test]
fn years_that_readers_cannot_read_reject_their_row() {
    let library = Library::read(&root().join("tests/fixtures/street_lamps")).unwrap();
    let mut contract = lamps();
    contract.rules.clear();
    contract.columns[1].kind = Kind::Date;
    contract.columns[2].kind = Kind::Timestamp;
    let stage = "SELECT id, TRY_CAST(w AS DATE) AS watts, \
                 arrow_cast(TRY_CAST(w AS DATE), 'Timestamp(Microsecond, Some(\"UTC\"))') AS share FROM raw";
    let (program, source) = compile_lamps_with(MAP, stage, contract.clone(), &library).unwrap();
    let messages = ["0001-01-01", "9999-12-31", "0000-12-31", "+10000-01-01"];
    let messages: Vec<Vec<u8>> = messages.iter().zip(0..).map(|(day, id)| message(id, day)).collect();
    let lines = lines(&program, &source, &contract, &messages);
    let lines: Vec<&str> = lines.lines().collect();
    assert!(lines[0].contains("0001-01-01") && lines[1].contains("9999-12-31"), "{lines:?}");
    for line in &lines[2..] {
        assert_eq!(line.matches("out_of_range").count(), 2, "{line}");
    }
}

/// An instant before 1970 belongs to the day that began before it.
#[test]
fn instants_are_out_of_range_to_the_microsecond() {
    let library = Library::read(&root().join("tests/fixtures/street_lamps")).unwrap();
    let mut contract = lamps();
    contract.rules.clear();
    contract.columns[2].kind = Kind::Timestamp;
    let instant = "arrow_cast(CAST(w AS BIGINT), 'Timestamp(Microsecond, Some(\"UTC\"))')";
    let stage = format!("SELECT id, 1 AS watts, {instant} AS share FROM raw");
    let (program, source) = compile_lamps_with(MAP, &stage, contract.clone(), &library).unwrap();
    let (first, last) = (-62_135_596_800_000_000_i64, 253_402_300_799_999_999_i64);
    let messages: Vec<_> =
        [first, last, first - 1, last + 1].iter().zip(0..).map(|(us, id)| message(id, &us.to_string())).collect();
    let lines = lines(&program, &source, &contract, &messages);
    let rejected: Vec<bool> = lines.lines().map(|line| line.contains("out_of_range")).collect();
    assert_eq!(rejected, [false, false, true, true], "{lines}");
}
