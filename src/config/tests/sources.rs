//! Sources that cannot be read.

use expect_test::expect;

use super::folder::{check_folder, told};

#[test]
fn source_files_that_miss_each_other() {
    check_folder(
        &[
            ("sources/a.sql", "x"),
            ("sources/b.toml", "topics = [\"b\"]"),
            ("sources/c.codes.csv", "table,alias,code"),
            ("sources/nanchang.csv", "x"),
            ("sources/north_codes.csv", "x"),
            ("sources/codes.csv", "x"),
            ("sources/alpha.code.csv", "x"),
            ("sources/barcode.csv", "x"),
            ("sources/east.SQL", "x"),
            ("sources/east.codes.CSV", "x"),
            ("sources/.#east.SQL", "x"),
            ("sources/d e.toml", "topics = [\"d\"]"),
            ("sources/d e.sql", "x"),
        ],
        expect![[r#"
            p/sources/alpha.code.csv: nobody reads it: the codes of a source are in alpha.codes.csv
            p/sources/barcode.csv: nobody reads it: the codes of a source are in barcode.codes.csv
            p/sources/codes.csv: nobody reads it: the codes of a source are in NAME.codes.csv
            p/sources/east.SQL: nobody reads it: write its ending in small letters, .sql
            p/sources/east.codes.CSV: nobody reads it: write its ending in small letters, .codes.csv
            p/sources/nanchang.csv: nobody reads it: the codes of a source are in nanchang.codes.csv
            p/sources/north_codes.csv: nobody reads it: the codes of a source are in north.codes.csv
            p/sources/a.sql: belongs to no source: a.toml is missing
            p/sources/b.toml: b.sql is missing: the SELECT … FROM message that maps the feed's fields
            p/sources/c.codes.csv: belongs to no source: c.toml is missing
            p/sources/d e.toml: the file's name is the source's: letters, digits, dashes and underscores
        "#]],
    );
    check_folder(
        &[("sources/nanchang.sql", "-"), ("sources/nanchang.toml", "-"), ("sources/README", "x")],
        expect![[r#"
            p/sources: no sources: write one, for instance nanchang.toml with nanchang.sql beside it
        "#]],
    );
    check_folder(
        &[("sources/nanchang.sql", "-"), ("sources/nanchang.toml", "-")],
        expect![[r#"
            p/sources: cannot be read: No such file or directory (os error 2): a pipeline has its sources in it, for instance nanchang.toml with nanchang.sql
        "#]],
    );
}

#[test]
fn wrong_values_of_a_source() {
    let source = r#"
topics = ["raw/nanchang", 1]
format = "xml"
charset = "gb18300"
time_zone = "Asia/Shanghia"
home = 360100
rows = "data..orders"
keyed_by = "order_no"
charst = "utf-8"
"#;
    check_folder(
        &[("sources/nanchang.toml", source)],
        expect![[r#"
        p/sources/nanchang.toml:2: topics = ["raw/nanchang", 1]: "raw/nanchang": '/' cannot be in a name: letters, digits, dots, dashes and underscores can
        p/sources/nanchang.toml:3: format = "xml": must be "json"
        p/sources/nanchang.toml:4: charset = "gb18300": not a charset: did you mean "gb18030"?
        p/sources/nanchang.toml:5: time_zone = "Asia/Shanghia": not a time zone: did you mean "Asia/Shanghai"?
        p/sources/nanchang.toml:6: home = 360100: a division code like "360100" is wanted, this is a whole number
        p/sources/nanchang.toml:7: rows = "data..orders": not a path: field names joined by dots, like "data.orders"
        p/sources/nanchang.toml:8: keyed_by = "order_no": a list of columns, ["…"], is wanted, this is a text
        p/sources/nanchang.toml:9: unknown key "charst": the keys here are title, topics, format, charset, time_zone, home, rows, keyed_by
    "#]],
    );
}

#[test]
fn a_path_in_another_language() {
    let of = |rows: &str| told(&[("sources/nanchang.toml", &format!("topics = [\"t\"]\nrows = \"{rows}\"\n"))]);
    let all: String = ["$.data.orders[*]", "groups.*.orders", "data.orders[0]"].map(of).concat();
    expect![[r#"
        p/sources/nanchang.toml:2: rows = "$.data.orders[*]": "$" is JSONPath or JSON Pointer: field names joined by dots are wanted, from the message's own fields to the array itself, like "data.orders"
        p/sources/nanchang.toml:2: rows = "groups.*.orders": "*" is JSONPath or JSON Pointer: field names joined by dots are wanted, from the message's own fields to the array itself, like "data.orders"
        p/sources/nanchang.toml:2: rows = "data.orders[0]": "orders[0]" is JSONPath or JSON Pointer: field names joined by dots are wanted, from the message's own fields to the array itself, like "data.orders"
    "#]]
    .assert_eq(&all);
}

#[test]
fn wrong_codes() {
    let codes = "table,alias,code\nchannel,电话,01\nchannel,电话,02\nchannel,,03\nchannel,x\nurgency,*,1\nchannel,来电|热线,01\n\
                 channel,来信｜来访,01\n";
    check_folder(
        &[("sources/nanchang.codes.csv", codes)],
        expect![[r#"
            p/sources/nanchang.codes.csv:3: "电话" of channel has a code already, in line 2
            p/sources/nanchang.codes.csv:4: alias is empty
            p/sources/nanchang.codes.csv:5: three fields are wanted, table,alias,code: here are 2
            p/sources/nanchang.codes.csv:6: * stands for the standard's own codes: write it as alias and as code, or as neither
            p/sources/nanchang.codes.csv:7: "来电|热线" is several words: write one alias per line
            p/sources/nanchang.codes.csv:8: "来信｜来访" is several words: write one alias per line
        "#]],
    );
    check_folder(
        &[("sources/nanchang.codes.csv", "table;alias;code\n")],
        expect![[r#"
            p/sources/nanchang.codes.csv:1: the first line must be table,alias,code: values are separated by commas
        "#]],
    );
    let blanks = "\n\ntable,alias,code\n\n,,\nchannel,电话,01\n\n\nchannel,电话,02\n";
    check_folder(
        &[("sources/nanchang.codes.csv", blanks)],
        expect![[r#"
        p/sources/nanchang.codes.csv:9: "电话" of channel has a code already, in line 6
    "#]],
    );
    check_folder(
        &[("sources/nanchang.codes.csv", "table,alias,code\n\nchannel,\"电话,01\nchannel,x,02\n")],
        expect![[r#"
            p/sources/nanchang.codes.csv:3: a quote is opened here and never closed: close it, and write each quote inside it twice
        "#]],
    );
    check_folder(
        &[("sources/nanchang.codes.csv", "")],
        expect![[r#"
        p/sources/nanchang.codes.csv: is empty: the first line must be table,alias,code
    "#]],
    );
}

/// A zone that is only like the one which was written would be accepted, and all times be wrong.
#[test]
fn a_time_zone_is_taken_for_another_only_if_a_letter_is_wrong() {
    let mut all = String::new();
    for typed in [
        "Asia/Beijing",
        "Asia/Peking",
        "Shanghai",
        "CST",
        "+8",
        "GMT+8",
        "utc+08:00",
        "asia/shanghai",
        "Asia/Shangai",
        "prc",
        "Asia/Nanchang",
        "GMT+9",
        "Etc/UTC+8",
        "PSK",
        "UTC+7",
        "中国",
    ] {
        let value = toml::de::DeValue::String(typed.into());
        all += &format!("{typed} => {}\n", crate::config::values::time_zone(&value).unwrap_err());
    }
    expect![[r#"
        Asia/Beijing => not a time zone: did you mean "Asia/Shanghai"?
        Asia/Peking => not a time zone: did you mean "Asia/Shanghai"?
        Shanghai => not a time zone: did you mean "Asia/Shanghai"?
        CST => not a time zone: did you mean "Asia/Shanghai"?
        +8 => not a time zone: did you mean "Asia/Shanghai"?
        GMT+8 => not a time zone: did you mean "Asia/Shanghai"?
        utc+08:00 => not a time zone: did you mean "Asia/Shanghai"?
        asia/shanghai => not a time zone: did you mean "Asia/Shanghai"?
        Asia/Shangai => not a time zone: did you mean "Asia/Shanghai"?
        prc => not a time zone: did you mean "PRC"?
        Asia/Nanchang => not a time zone: write it like "Asia/Shanghai"
        GMT+9 => not a time zone: write it like "Asia/Shanghai"
        Etc/UTC+8 => not a time zone: write it like "Asia/Shanghai"
        PSK => not a time zone: write it like "Asia/Shanghai"
        UTC+7 => not a time zone: write it like "Asia/Shanghai"
        中国 => not a time zone: write it like "Asia/Shanghai"
    "#]]
    .assert_eq(&all);
}
