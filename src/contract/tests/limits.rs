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
}
