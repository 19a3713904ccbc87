//! SQL that is refused though the engine would plan it, or would plan it for ever; and what is there in its place.

use super::{
    words::{told, told_of},
    *,
};

/// The engine would read the text as a number or a time, and fail of the rows in which it is none.
#[test]
fn a_text_is_compared_with_texts() {
    let mut all = String::new();
    for expression in [
        "w > 5",
        "5 >= w",
        "w IN ('1', 5)",
        "w BETWEEN 1 AND 5",
        "CASE w WHEN 5 THEN 1 END",
        "CASE WHEN id = '1' THEN w ELSE 5 END",
        "greatest(w, 5)",
        "coalesce(w, 0)",
        "nullif(trim(w), 0)",
        "nvl2(w, id, 0)",
        "w = true",
        "w < CAST(_timestamp AS DATE)",
        "w < _timestamp",
        "_timestamp > '2026-06-01'",
        "w = NULL",
        "NULL <> 5",
        "date_part('hour', w)",
        "extract(day FROM concat(w, ''))",
        "date_trunc('day', w)",
        "to_char(w, '%H')",
        "CAST(_timestamp AT TIME ZONE 'Asia/Shanghai' AS TIMESTAMP)",
        "CAST(w AS VARCHAR[])",
        "round(w, 2)",
        "w * 1000",
        "w[1]",
        "array_length(w)",
        "sqrt(w, 1, 1)",
    ] {
        all += &format!("{expression} => {}\n", told(expression));
    }
    expect![[r#"
        w > 5 => :3: "w" is a text and 5 a number: read the text, TRY_CAST(w AS DOUBLE), or write a text, '…', in place of 5 (for source street)
        5 >= w => :3: "w" is a text and 5 a number: read the text, TRY_CAST(w AS DOUBLE), or write a text, '…', in place of 5 (for source street)
        w IN ('1', 5) => :3: "w" is a text and 5 a number: read the text, TRY_CAST(w AS DOUBLE), or write a text, '…', in place of 5 (for source street)
        w BETWEEN 1 AND 5 => :3: "w" is a text and 1 a number: read the text, TRY_CAST(w AS DOUBLE), or write a text, '…', in place of 1 (for source street)
        CASE w WHEN 5 THEN 1 END => :3: "w" is a text and 5 a number: read the text, TRY_CAST(w AS DOUBLE), or write a text, '…', in place of 5 (for source street)
        CASE WHEN id = '1' THEN w ELSE 5 END => :3: "w" is a text and 5 a number: read the text, TRY_CAST(w AS DOUBLE), or write a text, '…', in place of 5 (for source street)
        greatest(w, 5) => :3: "w" is a text and 5 a number: read the text, TRY_CAST(w AS DOUBLE), or write a text, '…', in place of 5 (for source street)
        coalesce(w, 0) => :3: "w" is a text and 0 a number: read the text, TRY_CAST(w AS DOUBLE), or write a text, '…', in place of 0 (for source street)
        nullif(trim(w), 0) => :3: btrim(…) is a text and 0 a number: read the text, TRY_CAST(… AS DOUBLE), or write a text, '…', in place of 0 (for source street)
        nvl2(w, id, 0) => :3: "id" is a text and 0 a number: read the text, TRY_CAST(id AS DOUBLE), or write a text, '…', in place of 0 (for source street)
        w = true => :3: Cannot infer common argument type for comparison operation Utf8 = Boolean (for source street)
        w < CAST(_timestamp AS DATE) => :3: "w" is a text and the CAST a date: read the text, local_date(w), or write a text, '…', in place of the CAST (for source street)
        w < _timestamp => :3: "w" is a text and "_timestamp" a time: read the text, local_time(w), or write a text, '…', in place of "_timestamp" (for source street)
        _timestamp > '2026-06-01' => :3: '2026-06-01' is a text and "_timestamp" a time: write local_time('2026-06-01') (for source street)
        w = NULL => :3: "= NULL" is NULL in each row: write IS NULL or IS NOT NULL (for source street)
        NULL <> 5 => :3: "!= NULL" is NULL in each row: write IS NULL or IS NOT NULL (for source street)
        date_part('hour', w) => :3: date_part(): "w" is a text: read it first, with local_time(w) or local_date(w) (for source street)
        extract(day FROM concat(w, '')) => :3: date_part(): concat(…) is a text: read it first, with local_time(…) or local_date(…) (for source street)
        date_trunc('day', w) => :3: date_trunc(): "w" is a text: read it first, with local_time(w) or local_date(w) (for source street)
        to_char(w, '%H') => :3: to_char(): "w" is a text: read it first, with local_time(w) or local_date(w) (for source street)
        CAST(_timestamp AT TIME ZONE 'Asia/Shanghai' AS TIMESTAMP) => :3: a CAST to TIMESTAMP forgets the zone and keeps UTC: for the local time use to_local_time(…) (for source street)
        CAST(w AS VARCHAR[]) => :3: a CAST makes a list of one element of a text: use json_texts(w) for a JSON array, string_to_array(w, ',') for texts with commas between them (for source street)
        round(w, 2) => :3: round(VARCHAR, BIGINT) does not fit: the fields of a message are texts, read them first, for instance with TRY_CAST(… AS DOUBLE) (for source street)
        w * 1000 => :3: Cannot coerce arithmetic expression Utf8 * Int64 to valid types: the fields of a message are texts, read them first, for instance with TRY_CAST(… AS DOUBLE) (for source street)
        w[1] => :3: array_element(VARCHAR, BIGINT) does not fit: a list of texts is made with json_texts(…) or string_to_array(…, ',') (for source street)
        array_length(w) => :3: array_length(VARCHAR) does not fit: a list of texts is made with json_texts(…) or string_to_array(…, ',') (for source street)
        sqrt(w, 1, 1) => :3: sqrt(VARCHAR, BIGINT, BIGINT) does not fit: the fields of a message are texts, read them first, for instance with TRY_CAST(… AS DOUBLE) (for source street)
    "#]].assert_eq(&all);
    for fine in [
        "CASE WHEN w > '5' OR w IN ('1', '2') OR w = id OR TRY_CAST(w AS BIGINT) = 5 THEN 1 END",
        "CASE WHEN _offset > '5' AND _timestamp > local_time('2026-06-01') AND w IS DISTINCT FROM NULL THEN 1 END",
        "date_part('hour', TIMESTAMP '2026-06-01 08:00:00')::BIGINT",
        "date_part('hour', to_local_time(_timestamp AT TIME ZONE 'Asia/Shanghai'))::BIGINT",
        "array_length(json_texts(w))::BIGINT",
        "CASE WHEN id = '1' THEN 1 ELSE NULL END",
    ] {
        assert_eq!(told(fine), "", "{fine}");
    }
}

#[test]
fn functions_of_other_systems_are_told_what_is_here_in_their_place() {
    let mut all = String::new();
    for expression in [
        "if(w, 1, 2)",
        "LEN(w)",
        "json_extract(w, 'a')",
        "date_diff('day', w, w)",
        "strftime(w, '%Y')",
        "sha256(w)",
        "lenght(w)",
    ] {
        all += &format!("{expression} => {}\n", told(expression));
    }
    all += &format!("no comma => {}\n", told_of("SELECT id, 1 AS watts\n w AS share FROM raw"));
    expect![[r#"
        if(w, 1, 2) => :3: Invalid function 'if': write CASE WHEN … THEN … ELSE … END (for source street)
        LEN(w) => :3: Invalid function 'len': use char_length(…) for characters, octet_length(…) for bytes (for source street)
        json_extract(w, 'a') => :3: Invalid function 'json_extract': the source's map names what is in an object, data.no; json_texts(…) makes a list of a JSON array (for source street)
        date_diff('day', w, w) => :3: Invalid function 'date_diff': take one from the other: a - b > INTERVAL '15 days', or CAST(a - b AS BIGINT), microseconds (for source street)
        strftime(w, '%Y') => :3: Invalid function 'strftime': use to_char(…, '%Y-%m-%d') (for source street)
        sha256(w) => :3: Invalid function 'sha256': a digest hides no phone and no ID, whoever goes through all numbers finds it: use mask_phone(…), mask_id(…) (for source street)
        lenght(w) => :3: Invalid function 'lenght': did you mean "length"? (for source street)
        no comma => :2: this is not SQL: Expected: end of statement, found: w (is a comma missing before it?) at Line: 2, Column: 2
    "#]].assert_eq(&all);
}

/// The parser and the planner would take hours, or all memory, or fall off their stack.
#[test]
fn what_is_nested_too_deep_is_refused_at_once() {
    let around =
        |times: usize, before: &str, behind: &str| format!("{}w{}", before.repeat(times), behind.repeat(times));
    for deep in [
        format!("w{}", "['a']".repeat(20_000)),
        format!("w{}", "[1:2]".repeat(50_000)),
        around(48, "CAST(", " AS text)"),
        around(60, "ARRAY[", "]"),
        around(60, "floor(", ")"),
        around(24, "coalesce(", ",'x')"),
        around(24, "nvl(", ",'x')"),
        around(24, "CASE WHEN ", " BETWEEN 'b' AND 'c' THEN 'x' END"),
    ] {
        let said = told(&deep);
        assert!(said.contains("nested too deep"), "{}: {said}", &deep[..20]);
        let mut contract = lamps();
        contract.rules[0].predicate = format!("{} = '1'", deep.replace('w', "id"));
        let library = Library::read(&root().join("tests/fixtures/street_lamps")).unwrap();
        let stage = "SELECT id, 1 AS watts, 2 AS share FROM raw";
        let said = compile_lamps_with(MAP, stage, contract, &library).map(|_| ()).unwrap_err();
        assert!(said.contains("nested too deep"), "{}: {said}", &deep[..20]);
    }
    let branches: String = (0..300).map(|number| format!(" WHEN '{number}' THEN '{}'", number + 1)).collect();
    for fine in [
        around(30, "CAST(", " AS text)"),
        around(8, "coalesce(", ",'x')"),
        format!("w{}", "||'a'".repeat(100)),
        format!("CASE w{branches} END"),
        format!("concat({})", vec!["regexp_match(w, 'a')[1]"; 100].join(", ")),
        vec!["string_to_array(w, ',')[1]"; 70].join(" || "),
    ] {
        assert_eq!(told(&format!("length({fine})::BIGINT")), "", "{fine}");
    }
}

#[test]
fn an_array_of_a_message_becomes_a_list_of_texts() {
    let map = "SELECT no AS id, tags AS t FROM message";
    let stage = "SELECT concat(id, array_to_string(json_texts(t), '|', '-')) AS id, 1 AS watts, 2 AS share FROM raw";
    let (program, source) = compile_lamps(map, stage).unwrap();
    let messages = [r#"{"no":"x","tags":["a",1.50,null,"路",{"b":[]}]}"#, r#"{"no":"y","tags":"a,b"}"#]
        .map(|one| one.as_bytes().to_vec());
    expect![[r#"
        0.0: {"id":"xa|1.50|-|路|{\"b\":[]}","watts":1,"share":2}
        1.0: {"id":"y","watts":1,"share":2}"#]]
    .assert_eq(&outcome(&program, &source, &lamps(), &messages, 0).join("\n"));
}

/// What becomes of it does not hang on whether a neighbour fails, so that rows are computed one by one.
#[test]
fn a_row_of_too_much_text_is_rejected_alone_as_among_others() {
    let stage = "SELECT left(id, 9000000) AS id, 1 AS watts, CAST(w AS BIGINT) AS share FROM raw";
    let (program, source) = compile_lamps(MAP, stage).unwrap();
    let message = |id: &str, w: &str| serde_json::json!({ "no": id, "power": { "watts": w } }).to_string().into_bytes();
    let huge = message(&"x".repeat(9_000_000), "1");
    let faults = |others: &[Vec<u8>]| {
        let messages: Vec<_> = [&huge].into_iter().chain(others).cloned().collect();
        let all = outcome(&program, &source, &lamps(), &messages, 0);
        let of_it = all
            .into_iter()
            .find(|line| line.contains("0.0") || line.contains("结果过大") || line.contains("too_large"));
        let of_it = of_it.expect("it becomes something");
        (of_it.contains("sql.failed"), of_it.contains("too_large"))
    };
    let alone = faults(&[]);
    assert!(alone.0 != alone.1, "{alone:?}");
    assert_eq!(faults(&[message("a", "2")]), alone);
    assert_eq!(faults(&[message("a", "none")]), alone);
}
