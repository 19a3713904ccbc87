//! Files as spreadsheets and editors leave them.

use super::*;

/// What is said of code tables that are these files.
fn told(files: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("codes")).unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join("codes").join(name), text).unwrap();
    }
    let read = CodeTables::read(folder.path());
    let said = read.map_or_else(|findings| lines(&findings), |tables| format!("{} tables", tables.iter().count()));
    said.replace(&format!("{}/", folder.path().display()), "")
}

const HEADER: &str = "code,label,aliases,valid_from,valid_to\n";
const ROWS: &str = "code,label,aliases,valid_from,valid_to\n01,亮,,,\n\n02,\"灭\n了\",,,\n";

#[test]
fn another_separator_and_an_open_quote_are_named() {
    let files = [
        ("a.csv", &*ROWS.replace(',', ";")),
        ("b.csv", &*ROWS.replace(',', "\t")),
        ("c.csv", &*ROWS.replace("了\"", "了")),
        ("d.csv", ROWS),
    ];
    expect![[r#"
        codes/a.csv:1: the header is `code;label;aliases;valid_from;valid_to`: values are separated by commas, write `code,label,aliases,valid_from,valid_to` and the rows alike
        codes/b.csv:1: the header is `code	label	aliases	valid_from	valid_to`: values are separated by commas, write `code,label,aliases,valid_from,valid_to` and the rows alike
        codes/c.csv:4: a quote is opened here and never closed: close it, and write each quote inside it twice
    "#]].assert_eq(&told(&files));
}

/// As spreadsheets write "CSV UTF-8".
#[test]
fn a_mark_before_the_text_does_not_matter() {
    assert_eq!(told(&[("a.csv", &format!("\u{feff}{ROWS}"))]), "1 tables");
}

/// The last day of a code is its own.
#[test]
fn a_code_that_is_used_again_begins_a_day_later() {
    let used_again = |day: &str| told(&[("a.csv", &format!("{HEADER}07,旧,,,2020-01-01\n07,新,,{day},\n"))]);
    assert_eq!(used_again("2020-01-02"), "1 tables");
    let refused = used_again("2020-01-01");
    assert!(refused.starts_with("codes/a.csv:3: "), "{refused}");
}

#[test]
fn hidden_files_are_let_alone_and_endings_in_capitals_refused() {
    let files = [("a.csv", ROWS), (".#a.csv", "x"), ("._a.csv", "x"), ("b.CSV", ROWS), (".c.CSV", "x")];
    expect![[r#"
        codes/b.CSV: nobody reads it: write its ending in small letters, .csv
    "#]]
    .assert_eq(&told(&files));
    let folder = tempfile::tempdir().unwrap();
    for name in [".#lamps.odcs.yaml", "streets.odcs.YAML"] {
        std::fs::write(folder.path().join(name), "x").unwrap();
    }
    assert!(odcs::names(folder.path()).is_empty());
    let said = lines(&odcs::read(folder.path(), "streets").unwrap_err());
    expect![[r#"
        streets.odcs.YAML: nobody reads it: write its ending in small letters, .odcs.yaml
    "#]]
    .assert_eq(&said.replace(&format!("{}/", folder.path().display()), ""));
}

#[test]
fn a_tab_that_indents_is_told_of_its_own_line() {
    let text = std::fs::read_to_string(format!("{GOOD}/{NAME}.odcs.yaml")).unwrap();
    let mut all = String::new();
    for (from, to) in [
        ("    businessName: 路灯故障\n", "\tbusinessName: 路灯故障\n"),
        ("    businessName: 路灯故障\n", "    # x\n\n  \tbusinessName: 路灯故障\n"),
        ("kind: DataContract\n", "\tkind: DataContract\n"),
        ("kind: DataContract\n", "kind:\tDataContract\n"),
        ("logicalTypeOptions: { minimum: 1 }", "logicalTypeOptions:\n\t\tminimum: 1"),
        ("logicalTypeOptions: { minimum: 1 }", "logicalTypeOptions: {\n\t\tminimum: 1 }"),
    ] {
        assert!(text.contains(from), "{from}");
        let line = text[..text.find(from).unwrap()].matches('\n').count() + 1;
        let wrong = odcs::parse(&text.replacen(from, to, 1), NAME, "lamps.odcs.yaml", None).err();
        all += &format!("{line}: {}\n", wrong.map_or_else(String::new, |wrong| lines(&wrong).trim_end().to_owned()));
    }
    expect![[r#"
        41: lamps.odcs.yaml:41: this is not YAML: a tab cannot indent: indent with blanks
        41: lamps.odcs.yaml:43: this is not YAML: a tab cannot indent: indent with blanks
        3: lamps.odcs.yaml:3: this is not YAML: a tab cannot indent: indent with blanks
        3: 
        110: lamps.odcs.yaml:111: this is not YAML: a tab cannot indent: indent with blanks
        110: lamps.odcs.yaml:111: this is not YAML: a tab cannot indent: indent with blanks
    "#]]
    .assert_eq(&all);
}
