//! Contracts, code tables and lists as people write them, right and wrong. The wrong ones are read as a user reads
//! them: what, where, which value, what to do.

mod limits;
mod lists;
mod sheets;

use std::path::Path;

use expect_test::{Expect, expect, expect_file};

use super::{
    codes::{Code, CodeTable, CodeTables, read_divisions, read_keyword_rules},
    *,
};
use crate::error::Finding;

const GOOD: &str = "tests/fixtures/street_lamps/schemas";
const WRONG: &str = "tests/fixtures/wrong/schemas";
const NAME: &str = "street_lamp_faults";

macro_rules! expect_fixture {
    ($path:literal) => {
        expect_file![concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/", $path)]
    };
}

fn good() -> Contract {
    odcs::read(Path::new(GOOD), NAME).unwrap_or_else(|findings| panic!("{}", lines(&findings)))
}

fn tables() -> CodeTables {
    CodeTables::read(Path::new(GOOD)).unwrap_or_else(|findings| panic!("{}", lines(&findings)))
}

fn lines(findings: &[Finding]) -> String {
    findings.iter().map(|finding| format!("{finding}\n")).collect()
}

/// The good contract with one edit.
fn edited(from: &str, to: &str) -> Result<Contract, Vec<Finding>> {
    let text = std::fs::read_to_string(format!("{GOOD}/{NAME}.odcs.yaml")).unwrap();
    assert_eq!(text.matches(from).count(), 1, "{from:?} must be there once");
    let tables = ["fault_kind".to_owned(), "pole_state".to_owned()];
    odcs::parse(&text.replace(from, to), NAME, "lamps.odcs.yaml", Some(&tables))
}

fn check(from: &str, to: &str, expect: Expect) {
    expect.assert_eq(&lines(&edited(from, to).expect_err("this is wrong")));
}

#[test]
fn a_good_contract_says_what_it_says() {
    let contract = good();
    let mut shown = format!(
        "{} {} {:?} assumed={} flags={:?}\n{}\n\n",
        contract.name, contract.version, contract.title, contract.assumed, contract.flags, contract.description
    );
    for c in &contract.columns {
        shown += &format!(
            "{} {:?} required={} personal={} codes={:?} raw={:?} unknown={:?} max={:?} {}\n",
            c.name, c.kind, c.required, c.personal, c.codes, c.raw, c.unknown, c.max_length, c.at
        );
    }
    for r in &contract.rules {
        shown +=
            &format!("\n{} {:?} {:?} {}\n  {}\n  {}\n", r.name, r.column, r.severity, r.at, r.predicate, r.description);
    }
    expect_fixture!("street_lamps/contract.txt").assert_eq(&shown);
}

#[test]
fn all_mistakes_are_found_at_once() {
    let findings = odcs::read(Path::new(WRONG), NAME).expect_err("everything in it is wrong");
    expect_fixture!("wrong/contract.txt").assert_eq(&lines(&findings));
}

#[test]
fn a_contract_that_is_not_there() {
    let findings = odcs::read(Path::new(GOOD), "street_lamp_fault").unwrap_err();
    expect![[r#"
        tests/fixtures/street_lamps/schemas/street_lamp_fault.odcs.yaml: there is no contract `street_lamp_fault`: did you mean `street_lamp_faults`?
    "#]].assert_eq(&lines(&findings));
    let findings = odcs::read(Path::new("tests/fixtures/no_such_folder"), "lamps").unwrap_err();
    expect![[r#"
        tests/fixtures/no_such_folder/lamps.odcs.yaml: there is no contract `lamps`: there is no contract in tests/fixtures/no_such_folder; write tests/fixtures/no_such_folder/lamps.odcs.yaml
    "#]].assert_eq(&lines(&findings));
}

#[test]
fn broken_yaml_has_a_line() {
    check(
        "    businessName: 路灯故障\n",
        "    businessName: [路灯故障\n",
        expect![[r#"
            lamps.odcs.yaml:42: this is not YAML: illegal placement of ':' indicator
        "#]],
    );
    check(
        "kind: DataContract\n",
        "kind: DataContract\n\tid: 1\n",
        expect![[r#"
            lamps.odcs.yaml:4: this is not YAML: a tab cannot indent: indent with blanks
        "#]],
    );
    let findings = odcs::parse("", NAME, "lamps.odcs.yaml", None).unwrap_err();
    expect![[r#"
        lamps.odcs.yaml:1: the contract is empty: write it as a mapping (`key: value`)
    "#]]
    .assert_eq(&lines(&findings));
    let findings = odcs::parse("- 1\n", NAME, "lamps.odcs.yaml", None).unwrap_err();
    expect![[r#"
        lamps.odcs.yaml:1: the contract is a list: write it as a mapping (`key: value`)
    "#]]
    .assert_eq(&lines(&findings));
}

#[test]
fn one_contract_has_one_schema() {
    check(
        "\ncustomProperties:\n  - { property: assumed",
        "\n  - name: lamps\n\ncustomProperties:\n  - { property: assumed",
        expect![[r#"
            lamps.odcs.yaml:158: `schema` has 2 objects: write one contract file for each
        "#]],
    );
}

#[test]
fn what_is_written_in_the_wrong_place() {
    check(
        "  - { property: assumed, value: true }",
        "  - { property: role, value: flags }",
        expect![[r#"
        lamps.odcs.yaml:159: `role` stands at the top: it is said of a column, move it there
    "#]],
    );
    check(
        "          - { property: role, value: flags }",
        "          - { property: assumed, value: true }",
        expect![[r#"
            lamps.odcs.yaml:148: column `flags` has the custom property `assumed`: it is said of the contract as a whole, in the `customProperties` at the top
        "#]],
    );
}

#[test]
fn an_array_says_what_is_in_it() {
    check(
        "        physicalType: array<string>\n        items: { logicalType: string }\n",
        "",
        expect![[r#"
        lamps.odcs.yaml:141: column `flags` does not say what is in the array: write `items: { logicalType: string }`
    "#]],
    );
    assert!(edited("        items: { logicalType: string }\n", "").is_ok());
    assert!(edited("        physicalType: array<string>\n", "").is_ok());
}

/// However it is written: the readers of the archive do not tell letters apart by their size.
#[test]
fn the_folders_of_the_archive_are_no_column() {
    check(
        "name: meter_reading\n",
        "name: Ingested_On\n",
        expect![[r#"
        lamps.odcs.yaml:111: `Ingested_On` is a name huiju uses itself: name the column otherwise
    "#]],
    );
}

/// There is one answer to what a row is about.
#[test]
fn weights_belong_to_one_column() {
    let mut text = std::fs::read_to_string(format!("{GOOD}/{NAME}.odcs.yaml")).unwrap();
    for table in ["fault_kind", "pole_state"] {
        let codes = format!("          - {{ property: codes, value: {table} }}\n");
        text = text.replace(&codes, &format!("{codes}          - {{ property: weights, value: fault }}\n"));
    }
    let tables = ["fault_kind".to_owned(), "pole_state".to_owned()];
    let refused = odcs::parse(&text, NAME, "lamps.odcs.yaml", Some(&tables)).expect_err("this is wrong");
    expect![[r#"
        lamps.odcs.yaml:97: columns `fault_kind` and `pole_state` both have `weights`: keep one
    "#]]
    .assert_eq(&lines(&refused));
}

#[test]
fn raw_is_a_text_column() {
    check(
        "value: repaired_on_raw }",
        "value: repaired_on }",
        expect![[r#"
        lamps.odcs.yaml:77: column `repaired_on` has itself as `raw`: name the column that keeps the source's text
    "#]],
    );
    check(
        "value: repaired_on_raw }",
        "value: lamps_out }",
        expect![[r#"
        lamps.odcs.yaml:77: `raw` of column `repaired_on` names `lamps_out`, which is no text: make it a `string`
    "#]],
    );
}

#[test]
fn extras_fit_the_type() {
    check(
        "          - { property: raw, value: repaired_on_raw }",
        "          - { property: codes, value: pole_state }",
        expect![[r#"
            lamps.odcs.yaml:77: column `repaired_on` has `codes` but is no text: write `logicalType: string`
        "#]],
    );
    check(
        "value: repaired_on_raw }",
        "value: repaired_on_raw }\n          - { property: role, value: flags }",
        expect![[r#"
            lamps.odcs.yaml:78: column `repaired_on` has `role: flags` but is no list of texts: write `logicalType: array`, `physicalType: array<string>`
            lamps.odcs.yaml:142: columns `repaired_on` and `flags` both have `role: flags`: keep one
        "#]],
    );
    check(
        "          - { property: role, value: flags }",
        "          - { property: role, value: flags }\n        required: true",
        expect![[r#"
            lamps.odcs.yaml:148: column `flags` has `role: flags` and is required: the checks fill it, and leave it empty where nothing is flagged: remove `required`
        "#]],
    );
    check(
        "value: repaired_on_raw }",
        "value: repaired_on_raw }\n          - { property: unknown, value: warning }\n        required: true",
        expect![[r#"
            lamps.odcs.yaml:78: column `repaired_on` is required, so a value that cannot be read is an error: remove `unknown`, or make the column not required
        "#]],
    );
}

#[test]
fn other_tools_are_left_alone() {
    let foreign = "\n      - { type: sql, query: SELECT 1, mustBe: 1, severity: info }\n      \
                   - { type: custom, engine: greatExpectations, implementation: { type: x } }\n";
    let same = edited(
        "\ncustomProperties:\n  - { property: assumed",
        &format!("{foreign}\ncustomProperties:\n  - {{ property: assumed"),
    );
    assert_eq!(same.unwrap().rules.len(), good().rules.len());
}

#[test]
fn a_rule_without_an_engine_is_refused() {
    check(
        "            engine: huiju\n            name: reporter_phone_short\n",
        "            name: reporter_phone_short\n",
        expect![[r#"
            lamps.odcs.yaml:134: rule `reporter_phone_short` of column `reporter_phone` has no `engine`: write `engine: huiju`, or that of the tool which checks it
        "#]],
    );
    check(
        "            engine: huiju\n            name: reporter_phone_short\n            implementation",
        "            name: reporter_phone_short\n            query",
        expect![[r#"
            lamps.odcs.yaml:134: rule `reporter_phone_short` of column `reporter_phone` has no `engine`: write `engine: huiju`, or that of the tool which checks it
        "#]],
    );
    check(
        "          - type: custom\n            engine: huiju\n            name: reporter_phone_short\n",
        "          - name: reporter_phone_short\n",
        expect![[r#"
            lamps.odcs.yaml:134: rule `reporter_phone_short` of column `reporter_phone` has no `engine`: write `engine: huiju`, or that of the tool which checks it
        "#]],
    );
    assert_eq!(odcs::rules_of_others(Path::new(GOOD), NAME), 3);
}

#[test]
fn the_text_of_a_personal_column_is_personal_as_received_too() {
    check(
        "description: 恢复照明的日期\n",
        "description: 恢复照明的日期\n        classification: personal\n",
        expect![[r#"
            lamps.odcs.yaml:78: `raw` of the personal column `repaired_on` names `repaired_on_raw`, which is not `personal`: it holds the same as received: give `repaired_on_raw` that classification too
        "#]],
    );
}

#[test]
fn a_rule_name_made_from_an_option_may_be_taken() {
    check(
        "name: reported_in_future",
        "name: lamps_out_minimum",
        expect![[r#"
        lamps.odcs.yaml:110: rule `lamps_out_minimum` is in line 63 already: rename or remove one
    "#]],
    );
}

#[test]
fn anchors_are_read_where_they_stand() {
    assert!(
        edited("        logicalTypeOptions: { maxLength: 2 }", "        logicalTypeOptions: &short { maxLength: 2 }")
            .is_ok()
    );
    check(
        "        logicalTypeOptions: { minimum: 1 }",
        "        logicalTypeOptions: *nothing",
        expect![[r#"
            lamps.odcs.yaml:110: this is not YAML: reference to unknown value
        "#]],
    );
}

#[test]
fn a_pattern_with_a_quote_stays_a_pattern() {
    let contract = edited("\"^LD[0-9]+$\"", "\"^L'D$\"").unwrap();
    let rule = contract.rules.iter().find(|rule| &*rule.name == "fault_no_pattern").unwrap();
    assert_eq!(rule.predicate, "\"fault_no\" IS NULL OR regexp_like(\"fault_no\", '^L''D$')");
}

#[test]
fn arrow_schema_of_a_contract() {
    let schema = good().arrow_schema();
    let mut shown = String::new();
    for field in schema.fields() {
        let (name, comment) = (field.name(), &field.metadata()["comment"]);
        shown += &format!("{name}: {} nullable={} # {comment}\n", field.data_type(), field.is_nullable());
    }
    expect_fixture!("street_lamps/arrow.txt").assert_eq(&shown);
    assert_eq!(schema.metadata()["contract"], NAME);
    assert_eq!(schema.metadata()["contract_version"], "1.2.0");
}

#[test]
fn a_required_column_is_nullable_only_if_its_raw_text_is_enough() {
    let nullable = |contract: Contract, name: &str| contract.column(name).unwrap().nullable();
    assert!(nullable(good(), "fault_kind"));
    let strict = edited("{ property: unknown, value: warning }", "{ property: unknown, value: error }").unwrap();
    assert!(!nullable(strict, "fault_kind"));
    let typed =
        edited("        description: 恢复照明的日期", "        required: true\n        description: 恢复照明的日期");
    assert!(!nullable(typed.unwrap(), "repaired_on"));
}

#[test]
fn json_schema_of_a_contract() {
    let schema = serde_json::to_string_pretty(&good().json_schema(&tables())).unwrap();
    expect_fixture!("street_lamps/schema.json").assert_eq(&(schema + "\n"));
    // Of the one that ships: an empty text is missing, where that is an error.
    let folder = Path::new("schemas");
    let schema = odcs::read(folder, "work_orders").unwrap().json_schema(&CodeTables::read(folder).unwrap());
    let shortest = |column: &str| schema["properties"][column]["minLength"].as_u64();
    assert_eq!([shortest("order_no"), shortest("content"), shortest("occur_address")], [Some(1), Some(1), None]);
}

#[test]
fn a_code_is_found_by_label_and_alias_but_not_by_itself() {
    let tables = tables();
    let kinds = tables.get("fault_kind").unwrap();
    let find = |text| kinds.find(text, None).map(|code| &*code.code);
    assert_eq!(find("单灯不亮"), Some("01"));
    assert_eq!(find("灯不亮"), Some("01"));
    assert_eq!(find("01"), None);
    assert_eq!(find(""), None);
    assert_eq!(kinds.row_of("02", None).unwrap().label, "整路不亮");
    assert!(kinds.row_of("99", None).is_none());
}

#[test]
fn a_reused_code_needs_its_date() {
    let tables = tables();
    let kinds = tables.get("fault_kind").unwrap();
    let on = |day: &str| kinds.row_of("09", Some(day.parse().unwrap())).map(|row| row.label.as_str());
    assert_eq!(on("2019-12-31"), Some("灯杆倒伏"));
    assert_eq!(on("2020-01-01"), Some("其他"));
    assert_eq!(kinds.row_of("09", None).unwrap().label, "其他");
    assert!(kinds.find("其它", Some("2019-12-31".parse().unwrap())).is_none());
    assert_eq!(kinds.distinct_codes(), ["01", "02", "03", "09"]);
}

#[test]
fn wrong_code_tables() {
    let findings = CodeTables::read(Path::new(WRONG)).expect_err("every table is wrong");
    expect_fixture!("wrong/codes.txt").assert_eq(&lines(&findings));
}

#[test]
fn a_folder_without_code_tables_has_none() {
    assert_eq!(CodeTables::read(Path::new("tests/fixtures/no_such_folder")).unwrap().iter().count(), 0);
}

#[test]
fn the_first_of_two_codes_has_a_text_that_both_claim() {
    let code = |code: &str| Code {
        code: code.into(),
        label: "好".to_owned(),
        aliases: Vec::new(),
        valid_from: None,
        valid_to: None,
    };
    let table = CodeTable::new("state", vec![code("1"), code("2")]);
    assert_eq!(&*table.find("好", None).unwrap().code, "1");
}
