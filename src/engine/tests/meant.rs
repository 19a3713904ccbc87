//! What people write who think of another SQL, and what they are told to write.

use super::*;

fn told(stage: &str) -> String {
    compile_lamps(MAP, stage).map(|_| String::new()).unwrap_or_else(|said| said) + "\n"
}

#[test]
fn a_text_in_double_quotes_is_told_to_want_single_ones() {
    let mut all = String::new();
    for expression in
        ["w = \"OK\"", "w = \"ok\"", "code(\"call_w\", w) = '1'", "\"wats\" = 'x'", "wats = 'x'", "w = \"未接\""]
    {
        all += &told(&format!("SELECT id, w AS watts, CASE WHEN {expression} THEN 1 END AS share FROM raw"));
    }
    let mut contract = lamps();
    contract.rules[0].predicate = "id <> \"OK\"".into();
    let library = Library::read(&root().join("tests/fixtures/street_lamps")).unwrap();
    let stage = "SELECT id, 1 AS watts, 2 AS share FROM raw";
    all += &compile_lamps_with(MAP, stage, contract, &library).map(|_| ()).unwrap_err();
    expect![[r#"
        lamps/clean.sql:1: No field named "OK": if it is a text, write it in single quotes, 'OK' (for source street)
        lamps/clean.sql:1: No field named "ok": if it is a text, write it in single quotes, 'ok' (for source street)
        lamps/clean.sql:1: No field named "call_w": if it is a text, write it in single quotes, 'call_w' (for source street)
        lamps/clean.sql:1: No field named "wats": if it is a text, write it in single quotes, 'wats' (for source street)
        lamps/clean.sql:1: No field named wats. (for source street)
        lamps/clean.sql:1: No field named "未接": if it is a text, write it in single quotes, '未接' (for source street)
        schemas/lamps.odcs.yaml:9: rule too_bright: No field named "OK": if it is a text, write it in single quotes, 'OK'"#]]
    .assert_eq(&all);
}

#[test]
fn a_name_with_a_dash_is_told_to_want_quotes() {
    let map = "SELECT no AS id,\n wait-ms AS w FROM message";
    let said = compile_lamps(map, "SELECT id, 1 AS watts, 2 AS share FROM raw").map(|_| ()).unwrap_err();
    expect![[r#"
        lamps/street.sql:2: Cannot coerce arithmetic expression Utf8 - Utf8 to valid types: the name of one field wants double quotes, "wait-ms"
    "#]]
    .assert_eq(&(said + "\n"));
}

#[test]
fn what_makes_texts_of_dates_is_told() {
    let library = Library::read(&root().join("tests/fixtures/street_lamps")).unwrap();
    let mut contract = lamps();
    contract.columns[2].kind = Kind::Date;
    let mut all = String::new();
    for call in ["ifnull", "NVL", "coalesce"] {
        let stage = format!("SELECT id, 1 AS watts,\n {call}(local_date(w), local_date(id)) AS share FROM raw");
        all += &compile_lamps_with(MAP, &stage, contract.clone(), &library)
            .map(|_| String::new())
            .unwrap_or_else(|said| said + "\n");
    }
    expect![[r#"
        lamps/clean.sql:2: column "share" is VARCHAR, contract lamps wants DATE: use coalesce()
        lamps/clean.sql:2: column "share" is VARCHAR, contract lamps wants DATE: use coalesce()
    "#]]
    .assert_eq(&all);
}

#[test]
fn a_rule_is_a_condition_over_the_columns() {
    let library = Library::read(&root().join("tests/fixtures/street_lamps")).unwrap();
    let stage = "SELECT id, 1 AS watts, 2 AS share FROM raw";
    let mut contract = lamps();
    contract.columns.push(lamp("marks", Kind::Texts));
    contract.flags = Some("marks".into());
    let mut all = String::new();
    for predicate in ["WHERE watts > 1", "select watts > 1", "array_length(marks) > 0", "wheres > 1"] {
        contract.rules[0].predicate = predicate.into();
        all += &(compile_lamps_with(MAP, stage, contract.clone(), &library).map(|_| ()).unwrap_err() + "\n");
    }
    expect![[r#"
        schemas/lamps.odcs.yaml:9: rule too_bright: a rule is a condition alone, what stands behind WHERE: leave WHERE out
        schemas/lamps.odcs.yaml:9: rule too_bright: a rule is a condition alone, what stands behind WHERE: leave select out
        schemas/lamps.odcs.yaml:9: rule too_bright: it reads marks, which is made of what the rules find: read the columns of the row
        schemas/lamps.odcs.yaml:9: rule too_bright: No field named wheres. Did you mean 'share'?
    "#]]
    .assert_eq(&all);
}
