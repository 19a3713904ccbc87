//! Words and codes on a day: codes that were reused, tables that were numbered anew, and what a source says itself.

use arrow::array::AsArray;
use datafusion::{logical_expr::ColumnarValue, scalar::ScalarValue};

use super::*;
use crate::config::pipeline::Alias;

/// `07` was reused in 2020; the table was numbered anew in 2022, `3` became `03`.
const KINDS: &str = "\
code,label,aliases,valid_from,valid_to
07,其他,其它,2020-01-01,
07,灯杆倒伏,倒杆,,2019-12-31
03,白天亮灯,昼亮,2022-01-01,
3,白天亮灯,,,2021-12-31
5,拆除,,,2018-12-31
";

fn answers(aliases: &[(&str, &str)], expressions: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("codes")).unwrap();
    std::fs::write(folder.path().join("codes/kind.csv"), KINDS).unwrap();
    let library = Library::read(folder.path()).unwrap();
    let (_, mut source) = compile_lamps(MAP, "SELECT id, 1 AS watts, 2 AS share FROM raw").unwrap();
    let alias = |(alias, code): &(&str, &str)| Alias {
        table: "kind".into(),
        alias: (*alias).into(),
        code: (*code).into(),
        at: "codes.csv:2".into(),
    };
    source.aliases = aliases.iter().map(alias).collect();
    let wrong = library.check(&source);
    if !wrong.is_empty() {
        return wrong.iter().map(ToString::to_string).collect();
    }
    expressions.iter().map(|sql| format!("{sql}: {}\n", value(&library, &source, sql))).collect()
}

fn value(library: &Library, source: &Source, sql: &str) -> String {
    let context = compile::session(library.functions(source, None));
    let row = RecordBatch::try_from_iter([("one", Arc::new(arrow::array::Int64Array::from(vec![1])) as ArrayRef)]);
    let row = row.unwrap();
    let schema = datafusion::common::DFSchema::try_from(row.schema()).unwrap();
    let logical = context.state().create_logical_expr(sql, &schema).unwrap();
    let value = context.create_physical_expr(logical, &schema).unwrap().evaluate(&row).unwrap();
    let text = match value {
        ColumnarValue::Scalar(ScalarValue::Utf8(text)) => text,
        other => other.into_array(1).unwrap().as_string::<i32>().iter().next().unwrap().map(str::to_owned),
    };
    text.unwrap_or_else(|| "NULL".to_owned())
}

#[test]
fn a_reused_code_has_the_label_of_the_day() {
    expect![[r#"
        code_label('kind', '07', DATE '2019-12-31'): 灯杆倒伏
        code_label('kind', '07', DATE '2020-01-01'): 其他
        code_label('kind', '07'): 其他
        code_label('kind', '07', NULL): 其他
        code_label('kind', '07', local_date('2019-12-31')): 灯杆倒伏
        code_label('kind', '07', local_time('2020-01-01 07:00')): 其他
        code_label('kind', '5'): 拆除
        code_label('kind', '5', DATE '2019-01-01'): NULL
    "#]]
    .assert_eq(&answers(
        &[],
        &[
            "code_label('kind', '07', DATE '2019-12-31')",
            "code_label('kind', '07', DATE '2020-01-01')",
            "code_label('kind', '07')",
            "code_label('kind', '07', NULL)",
            "code_label('kind', '07', local_date('2019-12-31'))",
            "code_label('kind', '07', local_time('2020-01-01 07:00'))",
            "code_label('kind', '5')",
            "code_label('kind', '5', DATE '2019-01-01')",
        ],
    ));
}

#[test]
fn a_word_has_the_code_of_the_day() {
    expect![[r#"
        code('kind', '白天亮灯', DATE '2021-12-31'): 3
        code('kind', ' 白天亮灯 ', DATE '2022-01-01'): 03
        code('kind', '白天亮灯'): 03
        code('kind', '倒杆', DATE '2020-01-01'): NULL
        code('kind', '倒杆'): 07
        code('kind', '07', DATE '2020-01-01'): NULL
    "#]]
    .assert_eq(&answers(
        &[],
        &[
            "code('kind', '白天亮灯', DATE '2021-12-31')",
            "code('kind', ' 白天亮灯 ', DATE '2022-01-01')",
            "code('kind', '白天亮灯')",
            "code('kind', '倒杆', DATE '2020-01-01')",
            "code('kind', '倒杆')",
            "code('kind', '07', DATE '2020-01-01')",
        ],
    ));
}

/// Also when the general comes last: a line that names a code says more than one that names none.
#[test]
fn what_a_source_says_of_one_code_goes_before_what_it_says_of_all() {
    for aliases in [[("*", "*"), ("3", "07"), ("其他", "5")], [("3", "07"), ("其他", "5"), ("*", "*")]] {
        expect![[r#"
            code('kind', '3'): 07
            code('kind', '5'): 5
            code('kind', '5', DATE '2019-01-01'): NULL
            code('kind', '其他'): 5
            code('kind', '其它'): 07
        "#]]
        .assert_eq(&answers(
            &aliases,
            &[
                "code('kind', '3')",
                "code('kind', '5')",
                "code('kind', '5', DATE '2019-01-01')",
                "code('kind', '其他')",
                "code('kind', '其它')",
            ],
        ));
    }
}

#[test]
fn a_code_that_is_not_there_is_named_with_those_that_are() {
    expect![[r#"codes.csv:2: code table "kind" has no code "7"; it has 07, 03, 3, 5"#]]
        .assert_eq(&answers(&[("K7", "7")], &[]));
}

#[test]
fn words_for_a_table_that_is_not_there_are_told() {
    let library = Library::read(&root().join("tests/fixtures/street_lamps/schemas")).unwrap();
    let (_, mut source) = compile_lamps(MAP, "SELECT id, 1 AS watts, 2 AS share FROM raw").unwrap();
    source.aliases =
        vec![Alias { table: "fault_knd".into(), alias: "x".into(), code: "01".into(), at: "codes.csv:2".into() }];
    let told: Vec<_> = library.check(&source).iter().map(ToString::to_string).collect();
    expect![[r#"codes.csv:2: there is no code table "fault_knd": did you mean "fault_kind"?"#]]
        .assert_eq(&told.join("\n"));
}

/// A retired code has a successor, whose phones are meant. Without divisions no home means anything.
#[test]
fn a_home_that_is_no_division_is_refused() {
    let library = Library::read(&root().join("schemas")).unwrap();
    let (_, mut source) = compile_lamps(MAP, "SELECT id, 1 AS watts, 2 AS share FROM raw").unwrap();
    let mut told = String::new();
    for home in ["360100", "360122", "360199", "110000"] {
        source.home = Some(home.into());
        told += &library.check(&source).first().map_or_else(|| "ok\n".to_owned(), |found| format!("{found}\n"));
    }
    expect![[r#"
        ok
        ok
        lamps/street.toml: home = "360199" is no division in codes/divisions.csv: did you mean "360100"?
        lamps/street.toml: home = "110000" is no division in codes/divisions.csv: did you mean "360000"?
    "#]]
    .assert_eq(&told);
    let none = Library::read(&root().join("tests/fixtures/no_such_folder")).unwrap();
    expect![[r#"lamps/street.toml: home = "110000" needs codes/divisions.csv, which has no division in force or is not there"#]].assert_eq(&none.check(&source)[0].to_string());
}

/// It would be read as a time in UTC, whatever the source's zone, and reject the row where it is written otherwise.
#[test]
fn a_text_is_no_day() {
    let library = Library::read(&root().join("tests/fixtures/street_lamps/schemas")).unwrap();
    let compiled = |expression: &str| {
        let stage = format!("SELECT id,\n  1 AS watts,\n  length({expression}) AS share\nFROM raw");
        compile_lamps_with(MAP, &stage, lamps(), &library).map(|_| ())
    };
    let mut told = String::new();
    for expression in [
        "code('fault_kind', id, w)",
        "code_label('fault_kind', id, '2026-06-01')",
        "division(id, CASE WHEN id = w THEN w END)",
        "division(id, 20260601)",
        "division(keyword_class('fault', id, w), local_date(w))",
        "phone(keyword_class('fault', id, w))",
        "mask_id()",
        "phone(id, w)",
    ] {
        told += &(compiled(expression).expect_err(expression) + "\n");
    }
    expect![[r#"
        lamps/clean.sql:3: code(): argument 3 is a text and must be a date or a time: read a text with local_date() or local_time() (for source street)
        lamps/clean.sql:3: code_label(): argument 3 is a text and must be a date or a time: read a text with local_date() or local_time() (for source street)
        lamps/clean.sql:3: division(): argument 2 is a text and must be a date or a time: read a text with local_date() or local_time() (for source street)
        lamps/clean.sql:3: division(): argument 2 is Int64 and must be a date or a time (for source street)
        lamps/clean.sql:3: division(): argument 1 is a struct of l1, l2, l3, rule, score, lead and must be a text (for source street)
        lamps/clean.sql:3: phone(): argument 1 is a struct of l1, l2, l3, rule, score, lead and must be a text (for source street)
        lamps/clean.sql:3: mask_id() with 0 arguments: it is called as mask_id(t) (for source street)
        lamps/clean.sql:3: phone() with 2 arguments: it is called as phone(t) (for source street)
    "#]].assert_eq(&told);
    for day in ["local_date(w)", "local_time(w)", "_timestamp", "NULL", "DATE '2026-06-01'"] {
        assert_eq!(compiled(&format!("code('fault_kind', id, {day})")), Ok(()), "{day}");
    }
}

#[test]
fn a_source_names_divisions_in_its_own_words() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("codes")).unwrap();
    let rows = "code,name,level,city_code,city_name,tel_area_code\n360100,南昌市,city,360100,南昌市,0791\n360113,红谷滩区,county,360100,南昌市,0791\n";
    std::fs::write(folder.path().join("codes/divisions.csv"), rows).unwrap();
    let library = Library::read(folder.path()).unwrap();
    let (_, mut source) = compile_lamps(MAP, "SELECT id, 1 AS watts, 2 AS share FROM raw").unwrap();
    let alias = |table: &str, alias: &str, code: &str| Alias {
        table: table.into(),
        alias: alias.into(),
        code: code.into(),
        at: "codes.csv:2".into(),
    };
    let told = |source: &Source| library.check(source).iter().map(ToString::to_string).collect::<Vec<_>>();
    source.aliases =
        vec![alias("division", "a", "360113"), alias("divisions", "*", "*"), alias("divisions", "新区", "360112")];
    assert_eq!(
        told(&source),
        [
            "codes.csv:2: there is no code table \"division\": did you mean \"divisions\"?",
            "codes.csv:2: divisions,*,*: codes of divisions are read as they are: delete this line",
            "codes.csv:2: codes/divisions.csv has no division \"360112\" in force: did you mean \"360113\"?",
        ]
    );
    source.aliases = vec![alias("divisions", "新区", "360113")];
    assert!(told(&source).is_empty());
    assert_eq!(value(&library, &source, "division('南昌市新区')"), "360113");
}
