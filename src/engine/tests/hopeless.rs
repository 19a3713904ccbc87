//! What `check` says of expressions that fail whatever the row, and of those that only seem to.

use super::*;

fn refused(expression: &str) -> Option<String> {
    let stage = format!("SELECT id,\n  TRY_CAST(w AS BIGINT) AS watts,\n  {expression} AS share\nFROM raw");
    compile_lamps(MAP, &stage).err()
}

/// Over no rows some functions fail, and a branch that is not taken is computed.
#[test]
fn what_some_rows_can_compute_is_taken() {
    for right in [
        "CAST(array_max(string_to_array(w, ',')) AS BIGINT)",
        "length(array_min(string_to_array(w, ',')))",
        "CAST(array_length(array_positions(string_to_array(w, ','), 'z')) AS BIGINT)",
        "CASE WHEN w = 'x' THEN 1/0 ELSE 1 END",
        "CASE WHEN w IS NULL THEN 1 ELSE CAST('1' || w AS BIGINT) END",
        "CASE WHEN w = '' THEN 1 ELSE 1/0 END",
        "CASE WHEN w = 'x' THEN 1/0 END",
        "CASE WHEN w LIKE 'LD%' THEN CAST(split_part(w, '-', 3) AS BIGINT) END",
        "date_part('day', CAST(w AS DATE))",
        "date_part('hour', CAST(w AS TIMESTAMP))",
        "CAST(CAST(w AS BOOLEAN) AS BIGINT)",
        // Texts that only their literals tell of.
        "date_part('day', to_date(w, '%d/%m/%Y'))",
        "date_part('day', to_timestamp(w, '%Y年%m月%d日 %H点%M分%S秒'))",
        "CAST(split_part(w, '#', 2) AS BIGINT)",
        "CAST(split_part(split_part(w, '#', 2), ':', 2) AS BIGINT)",
        "CAST(split_part(split_part(w, ':', 2), '#', 2) AS BIGINT)",
        "CAST(substr(w, strpos(w, '编号') + 2) AS BIGINT)",
        "CAST(substr(w, 3) AS BIGINT)",
        "CAST(substr(w, 30, 2) AS BIGINT)",
        "CAST(replace(w, '元', '') AS BIGINT)",
        "date_part('day', CAST(concat('20', w) AS DATE))",
        "date_part('day', CAST(concat('2026-', w) AS DATE))",
        "date_part('day', CAST(concat(w, '-01') AS DATE))",
        "date_part('day', CAST(concat('2026-06-01 ', w) AS TIMESTAMP))",
        "date_part('day', CAST(concat(substr(w, 1, 4), '-', substr(w, 5, 2), '-', substr(w, 7, 2)) AS DATE))",
        "date_part('day', to_date(concat('2026年', w), '%Y年%m月%d日'))",
        "date_part('day', to_date(substr(w, 7, 8), '%Y%m%d'))",
        "length(decode(w, 'hex'))",
        // Texts like none of ours.
        "CAST(split_part(w, '-', 5) AS BIGINT)",
        "date_part('day', CAST(split_part(w, '：', 2) AS DATE))",
        "date_part('day', to_date(split_part(w, '-', 2), '%Y%m%d'))",
        "CAST(substr(w, 70, 4) AS BIGINT)",
        "CAST(CAST(CAST(w AS BIGINT) - 4611686018427387904 AS INT) AS BIGINT)",
        // Several columns that want different texts.
        "date_part('day', CAST(w AS DATE)) + CAST(id AS BIGINT)",
        "date_part('day', CAST(concat(w, '-', id, '-', _key) AS DATE))",
        "100 / (_offset - 1) + 100 / CAST(w AS BIGINT)",
        "length(map_extract(map([id], [w]), id)[1])",
        // Numbers that only its own numbers tell of.
        "10 / CASE WHEN TRY_CAST(w AS BIGINT) = 77 THEN 5 ELSE 0 END",
        "10 / CASE WHEN CAST(w AS DECIMAL(9, 2)) > 7777 AND length(w) = 4 THEN 5 ELSE 0 END",
        "factorial(TRY_CAST(w AS BIGINT) - 100)",
        "CAST(sqrt(CASE WHEN TRY_CAST(w AS BIGINT) = 77 THEN 4 ELSE -1 END) AS BIGINT)",
        "date_part('day', make_date(2026, TRY_CAST(w AS INT) - 100, 1))",
        "date_part('day', make_date(2026, TRY_CAST(w AS INT) * 1000 - 77000, 1))",
        "ascii(chr(TRY_CAST(w AS BIGINT) - 5000000))",
        "length(lpad('x', 120 - TRY_CAST(w AS BIGINT)))",
    ] {
        assert_eq!(refused(right), None, "{right}");
    }
}

#[test]
fn what_fails_on_every_row_is_refused() {
    let mut told = String::new();
    for wrong in [
        "length(split_part(w, '-', 0))",
        "length(substr(w, 1, -1))",
        "date_part('day', to_date(w, '%Q'))",
        "date_part('day', to_timestamp(w, '%Q'))",
        "regexp_count(w, 'x', 0)",
        "regexp_instr(w, 'x', 0)",
        "length(to_char(local_date(w), '%Q'))",
        "length(w) % 0",
        "length(split_part(concat(id, w), '-', 0))",
        "length(w) / 0 + length(w) / 0",
    ] {
        let said = refused(wrong).unwrap_or_else(|| panic!("{wrong}"));
        told += &said.replace("lamps/clean.sql:3: column \"share\" cannot be computed for any row ", "");
        told += "\n";
    }
    expect![[r#"
        (field position must not be zero)
        (negative count not allowed: -1)
        (Error parsing timestamp from '1' using format '%Q': bad or unsupported format string)
        (Error parsing timestamp from '1' using format '%Q': bad or unsupported format string)
        (regexp_count() requires start to be 1 based)
        (regexp_instr() requires start to be 1-based)
        (Format error)
        (Divide by zero error)
        (field position must not be zero)
        (Divide by zero error)
    "#]]
    .assert_eq(&told.replace(": correct the expression", ""));
}

/// A rule sees the contract's columns.
#[test]
fn rules_are_tried_likewise() {
    let library = Library::read(&root().join("tests/fixtures/street_lamps")).unwrap();
    let with = |rule: &str| {
        let mut contract = lamps();
        contract.rules[0].predicate = rule.into();
        compile_lamps_with(MAP, "SELECT id, 1 AS watts, 2 AS share FROM raw", contract, &library).err()
    };
    for right in [
        "array_max(string_to_array(id, ',')) <> 'x'",
        "CASE WHEN watts = 77 THEN 1 / 0 = 1 ELSE true END",
        "100 / watts > 1",
        "CAST(id AS DATE) <= CAST(_timestamp AS DATE)",
        "to_date(CAST(watts AS VARCHAR), '%Y%m%d') < DATE '2030-01-01'",
    ] {
        assert_eq!(with(right), None, "{right}");
    }
    for wrong in ["split_part(id, '-', 0) = 'x'", "regexp_count(id, 'x', 0) = 1"] {
        let said = with(wrong).unwrap_or_default();
        assert!(
            said.contains("lamps.odcs.yaml:9: rule too_bright cannot be computed for any row ("),
            "{wrong}: {said}"
        );
    }
}
