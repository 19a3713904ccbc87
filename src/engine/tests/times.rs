//! What of times would be computed otherwise than anybody means.

use super::*;

const STAGE: &str = "SELECT id, 1 AS watts, 2 AS share FROM raw";

fn refused(expression: &str) -> String {
    let stage = format!("SELECT id, 1 AS watts,\n CAST({expression} AS BIGINT) AS share FROM raw");
    compile_lamps(MAP, &stage).map(|_| String::new()).unwrap_or_else(|said| said)
}

/// They are counted in 32 bits: 2.2 seconds would be 2, and 40 minutes a negative number of microseconds.
#[test]
fn a_length_of_time_has_no_parts() {
    let length = "local_time(w) - local_time(id)";
    for part in ["epoch", "second", "millisecond", "microsecond", "minute", "day"] {
        for call in [format!("extract({part} FROM {length})"), format!("date_part('{part}', {length})")] {
            let said = refused(&call);
            assert!(said.starts_with("lamps/clean.sql:2: extract() and date_part() do not count"), "{call}: {said}");
            assert!(said.contains("CAST(a - b AS BIGINT)"), "{said}");
        }
    }
    assert!(refused("extract(epoch FROM INTERVAL '1 day')").contains("do not count a length of time"));
    let mut contract = lamps();
    contract.rules[0].predicate = "extract(epoch FROM _timestamp - _timestamp) < 9".into();
    let library = Library::read(&root().join("tests/fixtures/street_lamps")).unwrap();
    let said = compile_lamps_with(MAP, STAGE, contract, &library).map(|_| ()).unwrap_err();
    assert!(said.starts_with("schemas/lamps.odcs.yaml:9: rule too_bright: extract() and date_part()"), "{said}");

    // What is said to be right is.
    let right = "SELECT id, CAST(local_time(w) - local_time(id) AS BIGINT) AS watts,
        CAST(1000 * (extract(epoch FROM local_time(w)) - extract(epoch FROM local_time(id))) AS BIGINT) AS share FROM raw";
    let mut contract = lamps();
    contract.rules.clear();
    let (program, source) = compile_lamps_with(MAP, right, contract.clone(), &library).unwrap();
    let message = br#"{"no":"2026-06-01 08:00:00","power":{"watts":"2026-06-01 08:40:03.9"}}"#.to_vec();
    let rows = outcome(&program, &source, &contract, &[message], 0);
    assert!(rows[0].ends_with(r#""watts":2403900000,"share":2403900}"#), "{rows:?}");
}

/// It would be given as it stands, in each row.
#[test]
fn a_format_without_a_part_of_a_time_is_refused() {
    for call in
        ["to_char(local_date(w), 'YYYY-MM-DD')", "date_format(local_time(w), 'yyyy')", "to_char(local_time(w), '')"]
    {
        let said = refused(call);
        assert!(said.starts_with("lamps/clean.sql:2: to_char(): nothing in the format '"), "{call}: {said}");
        assert!(said.contains("'%Y-%m-%d %H:%M:%S'"), "{said}");
    }
    for fine in ["to_char(local_date(w), '%Y')", "to_char(local_date(w), id)"] {
        assert_eq!(refused(fine), "");
    }
}
