//! All mistakes of the SQL at once, each with its own line, and nothing that only follows from another.

use super::*;

#[test]
fn all_that_a_stage_cannot_be_is_told_at_once() {
    check(
        MAP,
        "SELECT DISTINCT id AS whereabouts, -- where it is\n  upper(id),\n  *,\n  'WHERE' || id AS \"limit\"\nFROM raw,\n raw AS b\n\
         WHERE 1 = 1\nGROUP\n BY id\nHAVING id > 1\nORDER BY id\nLIMIT 1\nFETCH FIRST 1 ROW ONLY",
        expect![[r#"
            lamps/clean.sql:1: DISTINCT is not allowed in a stage: a stage sees one row at a time
            lamps/clean.sql:2: "upper(id)" has no name: add AS column_name
            lamps/clean.sql:3: "*" is not allowed: name each column
            lamps/clean.sql:6: JOIN is not allowed in a stage: to look something up use code('table', value) or division(name)
            lamps/clean.sql:7: WHERE is not allowed in a stage: to refuse rows write a quality rule in the contract
            lamps/clean.sql:8: GROUP BY is not allowed in a stage: a stage sees one row at a time
            lamps/clean.sql:10: HAVING is not allowed in a stage: to refuse rows write a quality rule in the contract
            lamps/clean.sql:11: ORDER BY is not allowed in a stage: a stage sees one row at a time
            lamps/clean.sql:12: LIMIT is not allowed in a stage: a stage sees one row at a time
            lamps/clean.sql:13: FETCH is not allowed in a stage: a stage sees one row at a time"#]],
    );
    check(
        MAP,
        "SELECT id\nFROM clean\nOFFSET 1",
        expect![[r#"
        lamps/clean.sql:2: selects FROM clean; it must select FROM raw
        lamps/clean.sql:3: OFFSET is not allowed in a stage: a stage sees one row at a time"#]],
    );
    check(
        MAP,
        "SELECT id,\n nosuch(id) AS watts,\n id AS share,\n idd\nFROM raw\nWHERE true",
        expect![[r#"
        lamps/clean.sql:2: Invalid function 'nosuch' (for source street)
        lamps/clean.sql:4: No field named idd. Did you mean 'raw.id'? (for source street)
        lamps/clean.sql:6: WHERE is not allowed in a stage: to refuse rows write a quality rule in the contract"#]],
    );
}

#[test]
fn functions_that_look_beyond_the_row_are_told_together() {
    check(
        MAP,
        "SELECT id,\n  max(id) || min(id) AS watts,\n  now() > _timestamp AND _timestamp < now() AS share,\n  \
         CASE WHEN id = uuid() THEN current_date END AS a,\n  unnest([id]) AS b,\n  (SELECT max(id) FROM raw) AS c,\n  \
         row_number() OVER (ORDER BY now()) AS d,\n  id IN (SELECT id FROM raw) AS e,\n  idd AS f\nFROM raw",
        expect![[r#"
            lamps/clean.sql:2: max() looks at more than one row: a stage sees one row at a time
            lamps/clean.sql:2: min() looks at more than one row: a stage sees one row at a time
            lamps/clean.sql:3: now() does not give the same answer on a replay; use what is the message's own, _timestamp, _partition, _offset
            lamps/clean.sql:4: uuid() does not give the same answer on a replay; use what is the message's own, _timestamp, _partition, _offset
            lamps/clean.sql:4: current_date() does not give the same answer on a replay; use what is the message's own, _timestamp, _partition, _offset
            lamps/clean.sql:5: unnest() makes several rows of one: a stage has a row for each
            lamps/clean.sql:6: a subquery is not allowed: a stage sees one row at a time
            lamps/clean.sql:7: row_number() looks at more than one row: a stage sees one row at a time
            lamps/clean.sql:7: now() does not give the same answer on a replay; use what is the message's own, _timestamp, _partition, _offset
            lamps/clean.sql:8: a subquery is not allowed: a stage sees one row at a time
            lamps/clean.sql:9: No field named idd. Did you mean 'raw.id'? (for source street)"#]],
    );
}

#[test]
fn fields_that_are_two_things_are_told_together() {
    check(
        "SELECT no AS id,\n no.x AS w, a.b AS b,\n a.b.c AS c,\n no.y AS y\nFROM message\nLIMIT 1",
        "SELECT id FROM raw",
        expect![[r#"
            lamps/street.sql:2: field "no" is used both as a value and as an object
            lamps/street.sql:3: field "a.b" is used both as a value and as an object
            lamps/street.sql:6: LIMIT is not allowed in a stage: a stage sees one row at a time"#]],
    );
}

/// Which columns they select from is not known.
#[test]
fn later_stages_tell_what_does_not_hang_on_earlier_ones() {
    check(
        "SELECT no AS id,\n nosuch(no) AS w FROM message",
        "SELECT idd,\n max(id) AS share\nFROM raw",
        expect![[r#"
        lamps/street.sql:2: Invalid function 'nosuch'
        lamps/clean.sql:2: max() looks at more than one row: a stage sees one row at a time"#]],
    );
    check(
        "SELECT no AS id,",
        "SELECT id\nFROM raw\nWHERE 1",
        expect![[r#"
        lamps/street.sql:1: has no FROM; it must select FROM message
        lamps/clean.sql:3: WHERE is not allowed in a stage: to refuse rows write a quality rule in the contract"#]],
    );
}

/// The engine would pass over some of these.
#[test]
fn nothing_but_columns_and_a_table_is_taken() {
    let mut told = String::new();
    for stage in [
        "SELECT TOP 1 id\nFROM raw",
        "SELECT id\nFROM raw\nFOR UPDATE",
        "SELECT id\nINTO x\nFROM raw",
        "SELECT id\nFROM raw\n TABLESAMPLE (10 PERCENT)",
        "SELECT id FROM raw\nCONNECT BY 1 = 1",
        "SELECT id FROM raw WITH (nolock)",
        "SELECT id FROM raw\n|> WHERE 1 = 1",
        "SELECT id FROM raw\nWINDOW w AS (ORDER BY id)",
        "SELECT id FROM raw AS r(a, b)",
        "FROM raw SELECT id",
        "FROM raw",
        "SELECT id FROM raw\nSORT BY id",
        "SELECT id FROM raw;\nSELECT 1",
        "\nDELETE FROM raw",
        "SELECT id FROM raw\nUNION SELECT id FROM raw",
        "\nVALUES (1)",
        "\n(SELECT id FROM raw)",
        "\nSELECT 1 AS id",
    ] {
        told += &format!("{}\n  {}\n", stage.replace('\n', " "), compile_lamps(MAP, stage).map(|_| ()).unwrap_err());
    }
    expect![[r#"
        SELECT TOP 1 id FROM raw
          lamps/clean.sql:1: "TOP 1" is not allowed: a stage is SELECT, its columns, and FROM
        SELECT id FROM raw FOR UPDATE
          lamps/clean.sql:3: "FOR UPDATE" is not allowed: a stage is SELECT, its columns, and FROM
        SELECT id INTO x FROM raw
          lamps/clean.sql:2: "INTO x" is not allowed: a stage is SELECT, its columns, and FROM
        SELECT id FROM raw  TABLESAMPLE (10 PERCENT)
          lamps/clean.sql:3: "TABLESAMPLE (10 PERCENT)" is not allowed: a stage is SELECT, its columns, and FROM
        SELECT id FROM raw CONNECT BY 1 = 1
          lamps/clean.sql:2: "CONNECT BY 1 = 1" is not allowed: a stage is SELECT, its columns, and FROM
        SELECT id FROM raw WITH (nolock)
          lamps/clean.sql:1: "WITH (nolock)" is not allowed: a stage is SELECT, its columns, and FROM
        SELECT id FROM raw |> WHERE 1 = 1
          lamps/clean.sql:1: "|> WHERE 1 = 1" is not allowed: a stage is SELECT, its columns, and FROM
        SELECT id FROM raw WINDOW w AS (ORDER BY id)
          lamps/clean.sql:2: "WINDOW w AS (ORDER BY id)" is not allowed: a stage is SELECT, its columns, and FROM
        SELECT id FROM raw AS r(a, b)
          lamps/clean.sql:1: "(a, b)" is not allowed: a stage is SELECT, its columns, and FROM
        FROM raw SELECT id
          lamps/clean.sql:1: "FROM raw SELECT id" is not allowed: a stage is SELECT, its columns, and FROM
        FROM raw
          lamps/clean.sql:1: has no columns: name each
        SELECT id FROM raw SORT BY id
          lamps/clean.sql:2: "SORT BY id" is not allowed: a stage is SELECT, its columns, and FROM
        SELECT id FROM raw; SELECT 1
          lamps/clean.sql:2: a stage is exactly one SELECT: "SELECT 1" is one too many
         DELETE FROM raw
          lamps/clean.sql:2: a stage is exactly one SELECT: "DELETE FROM raw" is none
        SELECT id FROM raw UNION SELECT id FROM raw
          lamps/clean.sql:2: a stage is one SELECT; UNION, VALUES and brackets around it are not allowed
         VALUES (1)
          lamps/clean.sql:2: a stage is one SELECT; UNION, VALUES and brackets around it are not allowed
         (SELECT id FROM raw)
          lamps/clean.sql:2: a stage is one SELECT; UNION, VALUES and brackets around it are not allowed
         SELECT 1 AS id
          lamps/clean.sql:2: has no FROM; it must select FROM raw
    "#]]
    .assert_eq(&told);
    for fine in [
        "SELECT r.id AS id, 1 AS watts, CAST(r.w IS DISTINCT FROM 'x, \"y\" -- ''' AS BIGINT) AS share FROM raw AS r; -- done",
        "SELECT id, 1 AS watts, /* FOR UPDATE */ 2 AS share FROM raw r",
    ] {
        assert_eq!(compile_lamps(MAP, fine).map(|_| ()), Ok(()));
    }
    assert!(compile_lamps("SELECT S AS id FROM message", "SELECT id, 1 AS watts, 2 AS share FROM raw").is_ok());
}

#[test]
fn a_name_stands_for_one_column() {
    check(
        "SELECT no AS id,\n x[1] AS y, a.b[2] AS b, c['d'] AS d, string_to_array(no, ',')[1] AS first,\n z AS id\nFROM message",
        "SELECT id, _offset, _key AS _key,\n w AS _timestamp,\n id AS id,\n regexp_match(id, '(') AS r FROM raw",
        expect![[r#"
            lamps/street.sql:2: "x[1]" is no field: of an object it is x['name'], a list is its JSON text
            lamps/street.sql:2: "a.b[2]" is no field: of an object it is a['name'], a list is its JSON text
            lamps/street.sql:3: column "id" is there already, in line 1
            lamps/clean.sql:2: every stage has a column "_timestamp" of its own: give this one another name
            lamps/clean.sql:3: column "id" is there already, in line 1"#]],
    );
    check(
        MAP,
        "SELECT id, 1 AS watts,\n length(array_to_string(regexp_match(id, '('), '')) AS share FROM raw",
        expect![[
            r#"lamps/clean.sql:2: column "share" cannot be computed for any row (regex parse error: unclosed group): correct the expression"#
        ]],
    );
}
