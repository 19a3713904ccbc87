use super::*;

/// Every row would be rejected.
#[test]
fn limits_that_no_value_can_keep_are_refused() {
    check(
        "logicalTypeOptions: { minimum: 1 }",
        "logicalTypeOptions: { minimum: 10, maximum: 9 }",
        expect![[r#"
        lamps.odcs.yaml:110: `minimum` of logicalTypeOptions of column `lamps_out` is the number `10`, `maximum` the number `9`: no value fits, correct one
    "#]],
    );
    check(
        "{ minimum: \"2000-01-01\" }",
        "{ minimum: \"2000-01-01\", exclusiveMaximum: \"1999-12-31\" }",
        expect![[r#"
            lamps.odcs.yaml:75: `minimum` of logicalTypeOptions of column `repaired_on` is the text `2000-01-01`, `exclusiveMaximum` the text `1999-12-31`: no value fits, correct one
        "#]],
    );
    check(
        "{ maxLength: 2 }",
        "{ minLength: 3, maxLength: 2 }",
        expect![[r#"
        lamps.odcs.yaml:85: `minLength` of logicalTypeOptions of column `fault_kind` is the number `3`, `maxLength` the number `2`: no value fits, correct one
    "#]],
    );
    assert!(edited("{ minimum: 1 }", "{ minimum: 9, maximum: 10 }").is_ok());
    for (options, fits) in [
        ("{ minimum: 5, exclusiveMaximum: 5 }", false),
        ("{ exclusiveMinimum: 5.0, maximum: 5 }", false),
        ("{ exclusiveMinimum: 5, exclusiveMaximum: 5 }", false),
        ("{ minimum: 5, maximum: 5 }", true),
        ("{ minimum: 4, exclusiveMaximum: 5 }", true),
        ("{ minimum: 12345678901234567890.12, exclusiveMaximum: 12345678901234567890.13 }", true),
    ] {
        assert_eq!(edited("{ minimum: 1 }", options).is_ok(), fits, "{options}");
    }
    let day = "{ minimum: \"2000-01-01\", exclusiveMaximum: \"2000-01-01\" }";
    assert!(edited("{ minimum: \"2000-01-01\" }", day).is_err());
}

#[test]
fn limits_that_nobody_would_check_are_refused() {
    check(
        "logicalTypeOptions: { minimum: 1 }",
        "logicalTypeOptions: { minimum: one, pattern: x }",
        expect![[r#"
            lamps.odcs.yaml:110: huiju does not check `pattern` in logicalTypeOptions of column `lamps_out`: write it as a rule under `quality` (`engine: huiju`)
            lamps.odcs.yaml:110: `minimum` of logicalTypeOptions of column `lamps_out` is the text `one`: write a number in digits
        "#]],
    );
    check(
        "{ minimum: 1 }",
        "{ minimum: 0x10 }",
        expect![[r#"
        lamps.odcs.yaml:110: `minimum` of logicalTypeOptions of column `lamps_out` is the number `0x10`: write a number in digits
    "#]],
    );
    check(
        "{ minimum: \"2000-01-01\" }",
        "{ minimum: 2000 }",
        expect![[r#"
        lamps.odcs.yaml:75: `minimum` of logicalTypeOptions of column `repaired_on` is the number `2000`: write a date, `"2000-01-31"`
    "#]],
    );
}

/// A limit itself fits or does not, as its name says, and decimals are compared as decimals.
#[test]
fn limits_are_rules_that_say_what_they_promise() {
    let rules = |from: &str, to: &str| -> String {
        let contract = edited(from, to).unwrap();
        let made = contract.rules.iter().filter(|rule| rule.name.ends_with("imum"));
        made.map(|rule| format!("{}: {}: {}\n", rule.name, rule.predicate, rule.description)).collect()
    };
    let numbers = rules("{ minimum: 1 }", "{ exclusiveMinimum: 1, exclusiveMaximum: 9 }");
    let dates = rules("{ minimum: \"2000-01-01\" }", "{ minimum: \"2000-01-01\", exclusiveMaximum: \"2100-01-01\" }");
    let more = rules("{ minimum: 1 }", "{ minimum: 2, maximum: 8 }");
    let cost = "description: 材料与人工，元\n";
    let decimals = rules(cost, &format!("{cost}        logicalTypeOptions: {{ maximum: 80491.41 }}\n"));
    expect![[r#"
        repaired_on_minimum: "repaired_on" >= DATE '2000-01-01': 修复日期早于 2000-01-01
        lamps_out_exclusive_minimum: "lamps_out" > 1: 熄灭灯数不大于 1
        lamps_out_exclusive_maximum: "lamps_out" < 9: 熄灭灯数不小于 9

        repaired_on_minimum: "repaired_on" >= DATE '2000-01-01': 修复日期早于 2000-01-01
        repaired_on_exclusive_maximum: "repaired_on" < DATE '2100-01-01': 修复日期不早于 2100-01-01
        lamps_out_minimum: "lamps_out" >= 1: 熄灭灯数小于 1

        repaired_on_minimum: "repaired_on" >= DATE '2000-01-01': 修复日期早于 2000-01-01
        lamps_out_minimum: "lamps_out" >= 2: 熄灭灯数小于 2
        lamps_out_maximum: "lamps_out" <= 8: 熄灭灯数大于 8

        repaired_on_minimum: "repaired_on" >= DATE '2000-01-01': 修复日期早于 2000-01-01
        lamps_out_minimum: "lamps_out" >= 1: 熄灭灯数小于 1
        cost_maximum: "cost" <= CAST('80491.41' AS DECIMAL(7, 2)): 维修费用大于 80491.41
    "#]]
    .assert_eq(&[numbers, dates, more, decimals].join("\n"));
}

/// A limit is a day with all its digits: else two of them could not be compared as they are written.
#[test]
fn a_day_without_its_zeros_is_no_limit() {
    check(
        "{ minimum: \"2000-01-01\" }",
        "{ minimum: \"2000-9-1\", maximum: \"2000-10-1\" }",
        expect![[r#"
        lamps.odcs.yaml:75: `minimum` of logicalTypeOptions of column `repaired_on` is the text `2000-9-1`: write a date, `"2000-01-31"`
        lamps.odcs.yaml:75: `maximum` of logicalTypeOptions of column `repaired_on` is the text `2000-10-1`: write a date, `"2000-01-31"`
    "#]],
    );
}

/// A row with a code that is only flagged is published, and so is an array with NULL in it.
#[test]
fn the_json_schema_refuses_no_row_that_is_published() {
    let schema = good().json_schema(&tables());
    let of = |column: &str| &schema["properties"][column];
    let kinds = serde_json::json!(["01", "02", "03", "09"]);
    assert_eq!((of("fault_kind").get("enum"), of("fault_kind").get("x-codes")), (None, Some(&kinds)));
    assert!(of("pole_state").get("enum").is_some() && of("pole_state").get("x-codes").is_none());
    assert_eq!(of("flags")["items"]["type"], "string");
    let mut plain = good();
    plain.flags = None;
    let items = &plain.json_schema(&tables())["properties"]["flags"]["items"];
    assert_eq!(items["type"], serde_json::json!(["string", "null"]));
}

#[test]
fn a_text_that_is_too_long_may_be_an_error() {
    let limit = |schema: serde_json::Value| schema["properties"]["fault_no"].get("maxLength").cloned();
    assert_eq!(limit(good().json_schema(&tables())), None);
    let error = "primaryKeyPosition: 1\n        customProperties: [{ property: unknown, value: error }]";
    let contract = edited("primaryKeyPosition: 1", error).unwrap_or_else(|findings| panic!("{}", lines(&findings)));
    assert_eq!(limit(contract.json_schema(&tables())), Some(32.into()));
}

/// Of dates JSON Schema knows no limits, and a pattern of one regex library may be none of another.
#[test]
fn limits_are_in_the_json_schema_where_it_can_say_them() {
    let of = |kind: &str, limits: &str| {
        let to = format!("physicalType: {kind}\n        logicalTypeOptions: {{ {limits} }}\n");
        let schema = edited("physicalType: decimal(12,2)\n", &to).unwrap().json_schema(&tables());
        let cost = schema["properties"]["cost"].as_object().unwrap().clone();
        let limits = cost.into_iter().filter(|(key, _)| key.ends_with("imum"));
        serde_json::Value::Object(limits.collect()).to_string()
    };
    assert_eq!(
        of("decimal(12,2)", "minimum: -0.5, exclusiveMaximum: 80491.41"),
        r#"{"exclusiveMaximum":80491.41,"minimum":-0.5}"#
    );
    assert_eq!(of("double", "exclusiveMinimum: 0, maximum: 1e3"), r#"{"exclusiveMinimum":0,"maximum":1000.0}"#);
    // 0.10000000000000000001 is above 0.1, and the same double.
    assert_eq!(of("decimal(38,20)", "exclusiveMinimum: 0.1, maximum: 9"), r#"{"maximum":9}"#);
    let schema = good().json_schema(&tables());
    let of = |column: &str| schema["properties"][column].clone();
    assert_eq!((of("fault_no")["minLength"].as_u64(), of("fault_no").get("pattern")), (Some(6), None));
    assert_eq!((of("lamps_out")["minimum"].as_i64(), of("repaired_on").get("minimum")), (Some(1), None));
}
