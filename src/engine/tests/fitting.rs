//! Numbers that a column of the contract cannot hold.

use super::{
    failing::{lines, message},
    *,
};

/// The contract's type, not the SQL's.
#[test]
fn a_number_that_the_contract_cannot_hold_rejects_its_row() {
    let mut contract = lamps();
    contract.columns[1].kind = Kind::Decimal { precision: 6, scale: 1 };
    contract.columns[2].kind = Kind::Integer;
    let library = Library::read(&root().join("tests/fixtures/street_lamps")).unwrap();
    let stage = "SELECT id, TRY_CAST(w AS DECIMAL(12, 2)) AS watts, TRY_CAST(w AS BIGINT) AS share FROM raw";
    let (program, source) = compile_lamps_with(MAP, stage, contract.clone(), &library).unwrap();
    let messages = [message(1, "99.94"), message(2, "123456.7"), message(3, "3000000000")];
    expect![[r#"
        0.0: {"id":"1","watts":99.9}
        1.Some(0): checks [Fault { code: "sql.failed", field: Some("watts"), reason: "SQL 计算失败：数值超出类型的范围", value: None }]
        2.Some(0): checks [Fault { code: "sql.failed", field: Some("watts"), reason: "SQL 计算失败：数值超出类型的范围", value: None }]
    "#]]
    .assert_eq(&lines(&program, &source, &contract, &messages));
}

/// Unless the text it was read from is kept: then it is one more that cannot be read.
#[test]
fn a_number_that_the_contract_cannot_hold_is_unreadable_where_its_text_is_kept() {
    let mut contract = lamps();
    let raw = |name: &str, kind| Column { raw: Some("said".into()), ..lamp(name, kind) };
    contract.columns[1] = raw("watts", Kind::Decimal { precision: 6, scale: 1 });
    contract.columns[2] = Column { required: true, unknown: Severity::Error, ..raw("share", Kind::Integer) };
    contract.columns.extend([lamp("said", Kind::Text), lamp("flags", Kind::Texts)]);
    contract.flags = Some("flags".into());
    let library = Library::read(&root().join("tests/fixtures/street_lamps")).unwrap();
    let stage = "SELECT id, TRY_CAST(w AS DECIMAL(12, 2)) AS watts, TRY_CAST(w AS BIGINT) AS share, w AS said FROM raw";
    let (program, source) = compile_lamps_with(MAP, stage, contract.clone(), &library).unwrap();
    let messages = [message(1, "99"), message(2, "123456"), message(3, "3000000000")];
    expect![[r#"
        0.0: {"id":"1","watts":99.0,"share":99,"said":"99"}
        1.0: {"id":"2","share":123456,"said":"123456","flags":["watts:unreadable"]}
        2.Some(0): checks [Fault { code: "unreadable", field: Some("share"), reason: "「share」(share) 无法识别为数字", value: Some("3000000000") }]
    "#]].assert_eq(&lines(&program, &source, &contract, &messages));
}

/// Rules, and the check for what is unreadable, see it so too.
#[test]
fn doubles_that_are_no_numbers_are_null() {
    let mut contract = lamps();
    contract.columns[1] = Column { raw: Some("said".into()), ..lamp("watts", Kind::Double) };
    contract.columns.extend([lamp("said", Kind::Text), lamp("flags", Kind::Texts)]);
    contract.flags = Some("flags".into());
    let library = Library::read(&root().join("tests/fixtures/street_lamps")).unwrap();
    let stage = "SELECT id, TRY_CAST(w AS DOUBLE) * 10 AS watts, 2 AS share, w AS said FROM raw";
    let (program, source) = compile_lamps_with(MAP, stage, contract.clone(), &library).unwrap();
    let messages =
        [message(1, "inf"), message(2, "-Infinity"), message(3, "NaN"), message(4, "1e308"), message(5, "-1e3")];
    expect![[r#"
        0.0: {"id":"1","share":2,"said":"inf","flags":["watts:unreadable"]}
        1.0: {"id":"2","share":2,"said":"-Infinity","flags":["watts:unreadable"]}
        2.0: {"id":"3","share":2,"said":"NaN","flags":["watts:unreadable"]}
        3.0: {"id":"4","share":2,"said":"1e308","flags":["watts:unreadable"]}
        4.0: {"id":"5","watts":-10000.0,"share":2,"said":"-1e3"}
    "#]]
    .assert_eq(&lines(&program, &source, &contract, &messages));
}
