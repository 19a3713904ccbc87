//! What is said of SQL that cannot be: in words of SQL, with its line.

use super::*;

pub(super) fn told(expression: &str) -> String {
    let stage = format!("SELECT id,\n  TRY_CAST(w AS BIGINT) AS watts,\n  {expression} AS share\nFROM raw");
    let said = compile_lamps(MAP, &stage).map(|_| String::new()).unwrap_or_else(|said| said);
    said.replace("lamps/clean.sql", "")
}

pub(super) fn told_of(stage: &str) -> String {
    compile_lamps(MAP, stage).map(|_| String::new()).unwrap_or_else(|said| said).replace("lamps/clean.sql", "")
}

/// The engine would take the text as it is.
#[test]
fn a_length_of_a_text_type_is_refused() {
    let library = Library::read(&root().join("tests/fixtures/street_lamps")).unwrap();
    let mut all = String::new();
    for expression in ["length(CAST(w AS VARCHAR(2)))", "length(w::CHAR(2))", "length(TRY_CAST(w AS STRING(2)))"] {
        all += &format!("{}\n", told(expression));
    }
    all += &format!("{}\n", told("array_length(CAST(string_to_array(w, ',') AS VARCHAR(3)[]))"));
    let mut contract = lamps();
    contract.rules[0].predicate = "CAST(id AS VARCHAR(2)) = 'LD'".into();
    let stage = "SELECT id, 1 AS watts, 2 AS share FROM raw";
    all += &compile_lamps_with(MAP, stage, contract, &library).map(|_| ()).unwrap_err();
    expect![[r#"
        :3: VARCHAR(2) does not cut a text: use left(…, 2), or the type VARCHAR
        :3: CHAR(2) does not cut a text: use left(…, 2), or the type VARCHAR
        :3: STRING(2) does not cut a text: use left(…, 2), or the type VARCHAR
        :3: VARCHAR(3) does not cut a text: use left(…, 3), or the type VARCHAR
        schemas/lamps.odcs.yaml:9: rule too_bright: VARCHAR(2) does not cut a text: use left(…, 2), or the type VARCHAR"#]].assert_eq(&all);
    assert_eq!(told("length(CAST(w AS VARCHAR)) + length(w::TEXT)"), "");
}

/// What the parser complains of is a word behind it, or the next line.
#[test]
fn a_word_of_sql_that_stands_for_a_field_is_named() {
    let mut all = String::new();
    for word in ["where", "limit", "union", "exists", "having", "into", "struct", "order", "name", "null", "case"] {
        all += &format!("{word} => {}\n", told(word));
    }
    all += &format!(
        "limit, => {}\n",
        told_of("SELECT id, TRY_CAST(w AS BIGINT) AS watts,\n limit,\n 2 AS share FROM raw")
    );
    all += &format!("a comma in a CASE => {}\n", told("CASE w WHEN '1' THEN 1, END"));
    all += &format!("null, another mistake => {}\n", told_of("SELECT id, NULL AS watts, 2 ++* AS share FROM raw"));
    expect![[r#"
        where => :3: where is a word of SQL: write the name of a field in double quotes, "where"
        limit => :3: limit is a word of SQL: write the name of a field in double quotes, "limit"
        union => :3: union is a word of SQL: write the name of a field in double quotes, "union"
        exists => :3: exists is a word of SQL: write the name of a field in double quotes, "exists"
        having => :3: having is a word of SQL: write the name of a field in double quotes, "having"
        into => :3: into is a word of SQL: write the name of a field in double quotes, "into"
        struct => :3: struct is a word of SQL: write the name of a field in double quotes, "struct"
        order => :3: order is a word of SQL: write the name of a field in double quotes, "order"
        name => :3: No field named name. (for source street)
        null => 
        case => :3: this CASE has no END
        limit, => :2: limit is a word of SQL: write the name of a field in double quotes, "limit"
        a comma in a CASE => :3: this is not SQL: Expected: END, found: , at Line: 3, Column: 25
        null, another mistake => :1: this is not SQL: Expected: an expression, found: * at Line: 1, Column: 31
    "#]]
    .assert_eq(&all);
}

#[test]
fn what_the_engine_does_not_have_is_told_without_its_own_words() {
    let mut all = String::new();
    for expression in [
        "CONVERT(w, VARCHAR)",
        "w COLLATE x",
        "CAST(w AS TIMESTAMP) AT TIME ZONE id",
        "w RLIKE 'x'",
        "w DIV 2",
        "w MATCH 2",
        "substr(id)",
        "user",
        "length(CURRENT_USER)",
        "CAST(w AS BIGINT UNSIGNED)",
        "named_struct('x', w, 'y', 1)",
        "map([w], [1])",
        "make_array(CAST(w AS SMALLINT))",
        "CAST(w AS TIME)",
        "to_timestamp(w)",
        "_timestamp",
        "decode(w, 'hex')",
        "INTERVAL '1 day'",
        "arrow_cast(w, 'Dictionary(Int32, Utf8)')",
    ] {
        all += &format!("{expression} => {}\n", told(expression));
    }
    expect![[r#"
        CONVERT(w, VARCHAR) => :3: CONVERT is not there: use CAST(… AS …) (for source street)
        w COLLATE x => :3: COLLATE is not there: texts are compared by their characters (for source street)
        CAST(w AS TIMESTAMP) AT TIME ZONE id => :3: a column cannot stand there: AT TIME ZONE wants a text, 'Asia/Shanghai' (for source street)
        w RLIKE 'x' => :3: RLIKE is not there: use regexp_like(…, 'pattern') (for source street)
        w DIV 2 => :3: this is not SQL: DIV is no operator at Line: 3, Column: 5
        w MATCH 2 => :3: this is not SQL: MATCH is no operator at Line: 3, Column: 5
        substr(id) => :3: Substring without for/from is not valid (for source street)
        user => :3: No field named user: user is a word of SQL, the name of a field wants quotes, "user" (for source street)
        length(CURRENT_USER) => :3: No field named "CURRENT_USER": CURRENT_USER is a word of SQL, the name of a field wants quotes, "CURRENT_USER" (for source street)
        CAST(w AS BIGINT UNSIGNED) => :3: column "share" is BIGINT UNSIGNED, contract lamps wants BIGINT: use TRY_CAST(… AS …)
        named_struct('x', w, 'y', 1) => :3: column "share" is STRUCT of x VARCHAR, y BIGINT, contract lamps wants BIGINT: use one of its parts, …['name']
        map([w], [1]) => :3: column "share" is MAP of VARCHAR to BIGINT, contract lamps wants BIGINT: use TRY_CAST(… AS …)
        make_array(CAST(w AS SMALLINT)) => :3: column "share" is ARRAY of SMALLINT, contract lamps wants BIGINT: use one of its elements, …[1]
        CAST(w AS TIME) => :3: column "share" is TIME, contract lamps wants BIGINT: use TRY_CAST(… AS …)
        to_timestamp(w) => :3: column "share" is TIMESTAMP WITHOUT TIME ZONE, contract lamps wants BIGINT: use TRY_CAST(… AS …)
        _timestamp => :3: column "share" is TIMESTAMP WITH TIME ZONE, contract lamps wants BIGINT: use TRY_CAST(… AS …)
        decode(w, 'hex') => :3: column "share" is BYTEA, contract lamps wants BIGINT: use TRY_CAST(… AS …)
        INTERVAL '1 day' => :3: column "share" is INTERVAL, contract lamps wants BIGINT: write extract(epoch FROM b) - extract(epoch FROM a), the seconds between two times, in place of b - a
        arrow_cast(w, 'Dictionary(Int32, Utf8)') => :3: column "share" is VARCHAR, contract lamps wants BIGINT: use TRY_CAST(… AS …)
    "#]].assert_eq(&all);
}

/// A time is one only with its zone.
#[test]
fn a_time_without_its_zone_is_said_to_be_one() {
    let library = Library::read(&root().join("tests/fixtures/street_lamps")).unwrap();
    let mut contract = lamps();
    contract.columns[2].kind = Kind::Timestamp;
    let stage = "SELECT id, 1 AS watts, to_timestamp(w) AS share FROM raw";
    let said = compile_lamps_with(MAP, stage, contract, &library).map(|_| ()).unwrap_err();
    expect![[r#"lamps/clean.sql:1: column "share" is TIMESTAMP WITHOUT TIME ZONE, contract lamps wants TIMESTAMP WITH TIME ZONE: use local_time()"#]].assert_eq(&said);
}

#[test]
fn mistakes_without_a_place_have_a_line() {
    let deep = format!("SELECT id,\n {}id{} AS watts\nFROM raw", "(".repeat(80), ")".repeat(80));
    let mut all = String::new();
    for stage in [
        "SELECT id\nFROM\n\n",
        "SELECT id,\n  w AS watts FROM raw (\n",
        &deep,
        "\n\nEXPLAIN SELECT id FROM raw",
        "-- x\nSHOW TABLES",
        "SELECT id,\n CASE WHEN id THEN CASE WHEN w THEN 1 END AS watts\nFROM raw",
    ] {
        all += &format!("{}\n", told_of(stage));
    }
    all += &compile_lamps("SELECT user AS id, power.user AS w FROM message", "SELECT id FROM raw")
        .map(|_| ())
        .unwrap_err();
    expect![[r#"
        :2: this is not SQL: Expected: identifier, found: the end
        :2: this is not SQL: Expected: an expression, found: the end
        :2: this is nested too deep: compute a part in the stage before
        :3: a stage is exactly one SELECT: "EXPLAIN SELECT id FROM raw" is none
        :2: a stage is exactly one SELECT: "SHOW TABLES" is none
        :2: this CASE has no END
        lamps/street.sql:1: user is a word of SQL: write the name of a field in double quotes, "user"
        lamps/street.sql:1: No field named user: user is a word of SQL, the name of a field wants quotes, "user""#]]
    .assert_eq(&all);
}

/// Of all that the parser nests as often as it is written.
#[test]
fn operators_that_are_words_are_counted() {
    for operator in [
        "IS NULL",
        "AT TIME ZONE 'UTC'",
        "LIKE id",
        "NOT LIKE id",
        "SIMILAR TO id",
        "IN (id)",
        "XOR id",
        "REGEXP id",
        "OVERLAPS id",
        "OPERATOR(+) id",
        "MEMBER OF(id)",
        "IS NORMALIZED",
        "COLLATE x",
    ] {
        let said = told(&format!("id {}", format!("{operator} ").repeat(20_000)));
        assert!(said.starts_with(":3: more than 500 operators in a row"), "{operator}: {said}");
    }
    let said = told(&format!("{}'1 day'", "INTERVAL ".repeat(20_000)));
    assert!(said.starts_with(":3: more than 500 operators in a row"), "{said}");
    let said = told_of(&format!("SELECT id FROM raw {}", "UNION SELECT id FROM raw ".repeat(20_000)));
    assert!(said.starts_with(":1: more than 500 operators in a row"), "{said}");
    // Each CASE that has no end would double the time.
    let said = told(&"CASE WHEN id THEN ".repeat(200));
    assert_eq!(said, ":3: this CASE has no END");
    // Names are no operators.
    let map = "SELECT data.case AS id, no AS end FROM message";
    assert_eq!(compile_lamps(map, "SELECT id, length(\"end\") AS watts, 1 AS share FROM raw").map(|_| ()), Ok(()));
    let fine = format!("CASE WHEN {} THEN 1 END", vec!["id LIKE 'x' AND w IS NULL"; 120].join(" OR "));
    let deep = std::thread::Builder::new().stack_size(8 << 20).spawn(move || told(&fine));
    assert_eq!(deep.unwrap().join().unwrap(), "");
}

/// The parser takes a CASE that it cannot read for a name, and complains of the word behind it.
#[test]
fn a_mistake_in_a_case_is_told_of_its_own_place() {
    let good =
        "CASE\n  WHEN id = 'a' THEN 1\n  WHEN id = 'b' THEN coalesce(\n    TRY_CAST(w AS BIGINT), 2)\n  ELSE 3\nEND";
    assert_eq!(told(good), "");
    let mut all = String::new();
    for (from, to) in [
        ("'b' THEN", "'b' THAN"),
        ("'b' THEN", "'b' THEN,"),
        ("WHEN id = 'a'", "WHEN , id = 'a'"),
        ("WHEN id = 'a'", "id WHN id = 'a'"),
        ("WHEN id = 'a'", "WHEN 'a'\n = = id"),
        ("'b'", "‘b’"),
        ("'b'", "“b”"),
        ("BIGINT),", "BIGINT)"),
        ("coalesce(", "coalesce（"),
        ("ELSE 3", "ELS 3"),
        ("ELSE 3", "ELSE CASE id WHEN 'c' THEN\n CASE WHEN id = 'd' THN 4 END END"),
        ("ELSE 3", "ELSE CASE id WHEN 'c' THEN 4 END 5"),
    ] {
        let wrong = good.replace(from, to);
        all += &format!("{to} => {}\n", told(&wrong));
        let cast = told(&format!("CAST(f({wrong}) AS BIGINT)"));
        assert_eq!(cast.split(" at ").next(), told(&wrong).split(" at ").next());
    }
    expect![[r#"
        'b' THAN => :5: this is not SQL: Expected: THEN, found: THAN at Line: 5, Column: 17
        'b' THEN, => :5: this is not SQL: Expected: an expression, found: , at Line: 5, Column: 21
        WHEN , id = 'a' => :4: this is not SQL: Expected: an expression, found: , at Line: 4, Column: 8
        id WHN id = 'a' => :4: this is not SQL: Expected: WHEN, found: WHN at Line: 4, Column: 6
        WHEN 'a'
         = = id => :5: this is not SQL: Expected: an expression, found: = at Line: 5, Column: 4
        ‘b’ => :5: this is not SQL: Expected: an expression, found: ‘ (write ' in place of ‘) at Line: 5, Column: 13
        “b” => :5: this is not SQL: Expected: an expression, found: “ (write " in place of “) at Line: 5, Column: 13
        BIGINT) => :6: this is not SQL: Expected: ), found: 2 at Line: 6, Column: 27
        coalesce（ => :5: this is not SQL: Expected: END, found: （ (write ( in place of （) at Line: 5, Column: 30
        ELS 3 => :7: this is not SQL: Expected: END, found: ELS at Line: 7, Column: 3
        ELSE CASE id WHEN 'c' THEN
         CASE WHEN id = 'd' THN 4 END END => :8: this is not SQL: Expected: THEN, found: THN at Line: 8, Column: 21
        ELSE CASE id WHEN 'c' THEN 4 END 5 => :7: this is not SQL: Expected: END, found: 5 at Line: 7, Column: 36
    "#]]
    .assert_eq(&all);
    let mut contract = lamps();
    let library = Library::read(&root().join("tests/fixtures/street_lamps")).unwrap();
    let stage = "SELECT id, 1 AS watts, 2 AS share FROM raw";
    let mut of_rule = |predicate: &str| {
        contract.rules[0].predicate = predicate.into();
        compile_lamps_with(MAP, stage, contract.clone(), &library).map(|_| ()).unwrap_err() + "\n"
    };
    let said = of_rule("CASE WHEN id = 'a'\n THAN true END")
        + &of_rule("CASE WHEN id = 'a' THAN true END")
        + &of_rule("id = ‘a’");
    expect![[r#"
        schemas/lamps.odcs.yaml:9: rule too_bright: this is not SQL: Expected: THEN, found: THAN, in line 2 of the condition
        schemas/lamps.odcs.yaml:9: rule too_bright: this is not SQL: Expected: THEN, found: THAN
        schemas/lamps.odcs.yaml:9: rule too_bright: this is not SQL: Expected: an expression, found: ‘ (write ' in place of ‘)
    "#]].assert_eq(&said);
}

#[test]
fn names_that_are_words_of_sql_are_told_to_want_quotes() {
    let mut all = String::new();
    for name in [
        "order",
        "group",
        "values",
        "select",
        "with",
        "view",
        "interval",
        "user.name",
        "user.order.name",
        "power.user",
        "power.user.id",
    ] {
        let map = format!("SELECT no AS id,\n {name} AS w FROM message");
        let said = compile_lamps(&map, "SELECT id, 1 AS watts, 2 AS share FROM raw").map(|_| ()).unwrap_err();
        all += &format!("{name}: {}\n", said.replace("lamps/street.sql", ""));
    }
    expect![[r#"
        order: :2: order is a word of SQL: write the name of a field in double quotes, "order"
        group: :2: group is a word of SQL: write the name of a field in double quotes, "group"
        values: :2: values is a word of SQL: write the name of a field in double quotes, "values"
        select: :2: select is a word of SQL: write the name of a field in double quotes, "select"
        with: :2: with is a word of SQL: write the name of a field in double quotes, "with"
        view: :2: view is a word of SQL: write the name of a field in double quotes, "view"
        interval: :2: INTERVAL wants a text behind it, '1 day'; the name of a field wants quotes, "interval"
        user.name: :2: user is a word of SQL: write the name of a field in double quotes, "user"
        user.order.name: :2: user is a word of SQL: write the name of a field in double quotes, "user"
        power.user: :2: user is a word of SQL: write the name of a field in double quotes, "user"
        power.user.id: :2: user is a word of SQL: write the name of a field in double quotes, "user"
    "#]]
    .assert_eq(&all);
}

/// A cast would make a list with the whole text in it.
#[test]
fn a_text_is_no_list_of_texts() {
    let library = Library::read(&root().join("tests/fixtures/street_lamps")).unwrap();
    let mut contract = lamps();
    contract.columns[2].kind = Kind::Texts;
    let mut all = String::new();
    for expression in ["w", "make_array(1)", "1"] {
        let stage = format!("SELECT id, 1 AS watts,\n {expression} AS share FROM raw");
        all += &(compile_lamps_with(MAP, &stage, contract.clone(), &library).map(|_| ()).unwrap_err() + "\n");
    }
    all += &told_of("SELECT make_array(w) AS id, 1 AS watts, 2 AS share FROM raw");
    expect![[r#"
        lamps/clean.sql:2: column "share" is VARCHAR, contract lamps wants ARRAY of VARCHAR: use string_to_array(…, ','), with what stands between its elements
        lamps/clean.sql:2: column "share" is ARRAY of BIGINT, contract lamps wants ARRAY of VARCHAR: use CAST(… AS VARCHAR[])
        lamps/clean.sql:2: column "share" is BIGINT, contract lamps wants ARRAY of VARCHAR: use make_array(CAST(… AS VARCHAR))
        :1: column "id" is ARRAY of VARCHAR, contract lamps wants VARCHAR: use array_to_string(…, ',')"#]].assert_eq(&all);
    for fine in ["string_to_array(w, ',')", "CAST(make_array(1) AS VARCHAR[])", "make_array(CAST(1 AS VARCHAR))"] {
        let stage = format!("SELECT id, 1 AS watts,\n {fine} AS share FROM raw");
        assert!(compile_lamps_with(MAP, &stage, contract.clone(), &library).is_ok(), "{fine}");
    }
}

/// The engine would make one column of two, and give the first the name of the second.
#[test]
fn a_comma_that_was_forgotten_is_told() {
    let mut all = String::new();
    for columns in ["id\n  watts,\n  1 AS share", "id, w -- w AS\n /* AS */ watts, 1 share", "id, 1 watts, 2 \"share\""]
    {
        all += &format!("{}\n", told_of(&format!("SELECT {columns} FROM raw")));
    }
    expect![[r#"
        :2: before "watts" a comma is missing, or AS if it is the column's name
        :2: before "watts" a comma is missing, or AS if it is the column's name
        :2: before "share" a comma is missing, or AS if it is the column's name
        :1: before "watts" a comma is missing, or AS if it is the column's name
        :1: before "share" a comma is missing, or AS if it is the column's name
    "#]]
    .assert_eq(&all);
    assert_eq!(told_of("SELECT id, 1 as watts,\n 2 AS\n-- of it\n share FROM raw"), "");
}

#[test]
fn the_parts_of_a_path_are_no_fields_of_their_own() {
    let map = "SELECT a.b['c'] AS id, b.x AS w, c AS x FROM message";
    let (program, _) = compile_lamps(map, "SELECT id, 1 AS watts, 2 AS share FROM raw").unwrap();
    let names: Vec<&str> = program.fields().0.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["a", "b", "c"]);
}

#[test]
fn a_point_behind_a_subscript_is_told() {
    let stage = "SELECT id, 1 AS watts, 2 AS share FROM raw";
    let told = |path: &str| compile_lamps(&format!("SELECT no AS id,\n{path} AS w FROM message"), stage).map(|_| ());
    for (path, told_of) in [
        ("a['b'].c", "lamps/street.sql:2: \"a['b'].c\": behind a ['name'] no point can stand: write a['b']['c']"),
        (
            "a.x['b'].\"c\".d",
            "lamps/street.sql:2: \"a.x['b'].\"c\".d\": behind a ['name'] no point can stand: write a.x['b']['c']['d']",
        ),
    ] {
        assert_eq!(told(path), Err(told_of.to_owned()));
    }
    assert_eq!(told("a['b']['c']"), Ok(()));
}
