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

#[test]
fn words_are_compared_whatever_their_width_and_case() {
    let code = Code {
        code: "03".into(),
        label: "APP(赣服通)".to_owned(),
        aliases: vec!["投诉/举报".to_owned()],
        valid_from: None,
        valid_to: None,
    };
    let mut table = CodeTable::new("channel", vec![code]);
    assert!(table.teach("Ｗeb（手机）", "03"));
    for typed in ["APP(赣服通)", "APP（赣服通）", "app（赣服通）", "ＡＰＰ(赣服通)", "投诉／举报", "web(手机)"]
    {
        assert!(table.find(typed, None).is_some(), "{typed}");
    }
    let rows = format!("{HEADER}1,App（赣服通）,,,\n2,APP(赣服通),,,\n");
    assert_eq!(told(&[("a.csv", &rows)]).lines().count(), 1, "both mean one word");
    assert!(told(&[("a.csv", &rows)]).starts_with("codes/a.csv:3: `APP(赣服通)` means both `1` (line 2) and `2`"));
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

/// Words are compared whatever their width and case only where none is written so.
#[test]
fn words_that_differ_in_case_alone_are_told_apart() {
    let code = |code: &str| Code {
        code: code.into(),
        label: format!("第{code}"),
        aliases: Vec::new(),
        valid_from: None,
        valid_to: None,
    };
    let mut table = CodeTable::new("t", vec![code("a"), code("A"), code("b")]);
    table.teach_codes();
    assert!(table.teach("x", "a") && table.teach("X", "A"));
    let found = |word: &str| table.find(word, None).map(|code| code.code.to_string()).unwrap_or_default();
    assert_eq!(["a", "A", "x", "X", "B", "ｂ"].map(found), ["a", "A", "a", "A", "b", "b"]);
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

/// All of it would be one word that nothing is equal to.
#[test]
fn words_are_joined_by_the_sign_of_an_english_keyboard() {
    expect![[r#"
        codes/a.csv:2: the aliases `接听｜answered` hold a `｜`: write `|` in place of it
    "#]]
    .assert_eq(&told(&[("a.csv", &format!("{HEADER}01,接听,接听｜answered,,\n"))]));
    assert_eq!(told(&[("a.csv", &format!("{HEADER}01,投诉,投诉、举报|投诉举报,,\n"))]), "1 tables");
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("rules")).unwrap();
    let rules = "rule,l1,l2,l3,keywords\n1,供电,,,停电｜跳闸\n2,供电,,,停电、跳闸\n3,供电,、,,\"停电，跳闸\"\n4,供电,,,停电；跳闸\n5,供电,,,停电|跳闸\n";
    std::fs::write(folder.path().join("rules/a.csv"), rules).unwrap();
    let said = lines(&read_keyword_rules(folder.path(), "a").unwrap_err());
    expect![[r#"
        rules/a.csv:2: the keywords `停电｜跳闸` hold a `｜`: write `|` in place of it
        rules/a.csv:3: the keywords `停电、跳闸` hold a `、`: write `|` in place of it
        rules/a.csv:4: the keywords `停电，跳闸` hold a `，`: write `|` in place of it
        rules/a.csv:5: the keywords `停电；跳闸` hold a `；`: write `|` in place of it
    "#]]
    .assert_eq(&said.replace(&format!("{}/", folder.path().display()), ""));
}

/// A spreadsheet makes a number of it, and of numbers without area code nobody would know the city.
#[test]
fn an_area_code_has_its_zero() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("codes")).unwrap();
    let header = "code,name,level,city_code,city_name,tel_area_code";
    let of = |tel: &str| {
        let rows = format!("{header}\n360000,江西省,province,,,\n360100,南昌市,city,360100,南昌市,{tel}\n");
        std::fs::write(folder.path().join("codes/divisions.csv"), rows).unwrap();
        read_divisions(folder.path()).map_or_else(|wrong| wrong[0].what.clone(), |_| String::new())
    };
    for fine in ["0791", "010", ""] {
        assert_eq!(of(fine), "");
    }
    for wrong in ["791", "7910", "07911", "0", "079１"] {
        let todo = "write its 3 or 4 digits, the 0 before them too, `0791`";
        assert_eq!(of(wrong), format!("tel_area_code `{wrong}` of division `360100`: {todo}"));
    }
}

#[test]
fn a_contract_in_a_file_of_another_name_is_found() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    let told = || {
        let said = lines(&odcs::read(folder.path(), "calls").unwrap_err());
        said.replace(&format!("{}/", folder.path().display()), "")
    };
    let mut all = String::new();
    for file in ["sub/calls.odcs.yaml", "calls.yml", "calls.yaml", "calls.odcs.yml"] {
        std::fs::write(folder.path().join(file), "x").unwrap();
        all += &told();
    }
    expect![[r#"
        calls.odcs.yaml: there is no contract `calls`: nobody reads sub/calls.odcs.yaml: name it calls.odcs.yaml
        calls.odcs.yaml: there is no contract `calls`: nobody reads calls.yml: name it calls.odcs.yaml
        calls.odcs.yaml: there is no contract `calls`: nobody reads calls.yaml: name it calls.odcs.yaml
        calls.odcs.yaml: there is no contract `calls`: nobody reads calls.odcs.yml: name it calls.odcs.yaml
    "#]]
    .assert_eq(&all);
}

#[test]
fn types_of_other_systems_are_called_by_our_names() {
    let told = |from: &str, to: &str| edited(from, to).unwrap_err()[0].what.clone();
    for (from, to, ours) in [
        ("physicalType: int\n", "physicalType: int64\n", "bigint"),
        ("physicalType: int\n", "physicalType: INT32\n", "int"),
        ("physicalType: double", "physicalType: float64", "double"),
    ] {
        let said = told(from, to);
        assert!(said.ends_with(&format!(": write `{ours}`")), "{said}");
    }
}
