//! Divisions and keyword rules.

use super::*;

#[test]
fn divisions_are_no_code_table() {
    let names: Vec<String> = tables().iter().map(|table| table.name.to_string()).collect();
    assert_eq!(names, ["fault_kind", "pole_state"]);
}

#[test]
fn divisions_in_force_and_retired() {
    let (in_force, retired) = read_divisions(Path::new(GOOD)).unwrap();
    assert_eq!(in_force.len(), 3);
    assert_eq!(in_force[2].city_code, "360100");
    assert_eq!((retired[0].last_seen_yyyymm, retired[1].successor_code.as_str()), (201904, ""));
}

#[test]
fn wrong_divisions() {
    let findings = read_divisions(Path::new(WRONG)).unwrap_err();
    expect![[r#"
        tests/fixtures/wrong/schemas/codes/divisions.csv:3: level `citty` of division `360100`: did you mean `city`?
        tests/fixtures/wrong/schemas/codes/divisions.csv:4: division code `36010`: write six digits
        tests/fixtures/wrong/schemas/codes/divisions.csv:4: city_code `3601` of division `36010`: write the city's six digits
        tests/fixtures/wrong/schemas/codes/divisions.csv:4: tel_area_code `0791-` of division `36010`: write its 3 or 4 digits, the 0 before them too, `0791`
        tests/fixtures/wrong/schemas/codes/divisions.csv:5: division `360000` is there already: keep one
        tests/fixtures/wrong/schemas/codes/divisions_retired.csv:2: successor_code `360199` of `360105` is not in force: write the code of divisions.csv that its area has today, or nothing if it has none
        tests/fixtures/wrong/schemas/codes/divisions_retired.csv:3: retired division `360411` has no name: write it
        tests/fixtures/wrong/schemas/codes/divisions_retired.csv:3: first_seen_yyyymm `1980-12` of `360411`: write year and month, `198012`
        tests/fixtures/wrong/schemas/codes/divisions_retired.csv:4: retired division `360412` ends (197912) before it begins (198012): correct one
    "#]].assert_eq(&lines(&findings));
}

#[test]
fn keyword_rules_keep_their_order() {
    let rules = read_keyword_rules(Path::new(GOOD), "fault").unwrap();
    assert_eq!(rules[0].keywords, ["整条路", "一片漆黑"]);
    assert_eq!((rules[1].rule.as_str(), rules[1].l3.as_str()), ("F02", ""));
}

#[test]
fn wrong_keyword_rules() {
    let findings = read_keyword_rules(Path::new(WRONG), "fault").unwrap_err();
    expect![[r#"
        tests/fixtures/wrong/schemas/rules/fault.csv:2: rule `F01` has the keyword `整条路` twice: keep one
        tests/fixtures/wrong/schemas/rules/fault.csv:3: rule `F01` leaves a class out: fill l1, then l2, then l3
        tests/fixtures/wrong/schemas/rules/fault.csv:3: rule `F01` has an empty keyword: remove a `|`
        tests/fixtures/wrong/schemas/rules/fault.csv:3: rule `F01` is in line 2 already: name one otherwise
        tests/fixtures/wrong/schemas/rules/fault.csv:4: a rule for `照明` has no id: write one; rows keep it as lineage
        tests/fixtures/wrong/schemas/rules/fault.csv:5: rule `F02` has no keywords: write some, joined by `|`
    "#]]
    .assert_eq(&lines(&findings));
    let findings = read_keyword_rules(Path::new(WRONG), "faults").unwrap_err();
    expect![[r#"
        tests/fixtures/wrong/schemas/rules/faults.csv: there are no keyword rules `faults`: did you mean `fault`?
    "#]]
    .assert_eq(&lines(&findings));
}
