//! The corpus of bad messages (`tests/poison`): that it has every kind, what each becomes, as a page for people, and the
//! same through every format. What each becomes in the whole pipeline is `t12` in `input.rs`.

use std::path::Path;

use crate::{
    fuzz::{decode, decoder, spent},
    input::{Poison, poison},
};

/// Every kind of bad input that we promise an answer to, and a word of the entries that stand for it.
const KINDS: [(&str, &str); 27] = [
    ("truncated JSON", "truncated"),
    ("two objects in one message", "two objects"),
    ("trailing garbage", "trailing garbage"),
    ("a byte order mark", "byte order mark"),
    ("NUL", "NUL"),
    ("invalid UTF-8", "an invalid byte"),
    ("another charset", "GBK"),
    ("UTF-16", "UTF-16"),
    ("empty", "an empty message"),
    ("blank", "white space"),
    ("`[]`", "an empty array"),
    ("`null`", "null"),
    ("a number", "a number"),
    ("deep nesting", "100,000 nested"),
    ("a huge field", "a field of 2 MB"),
    ("duplicate keys", "duplicate keys"),
    ("numbers as texts and the reverse", "numbers where texts"),
    ("huge exponents", "huge exponent"),
    ("half a surrogate pair", "surrogate"),
    ("a required field that is missing", "field that is missing"),
    ("a required field that is empty", "field that is empty"),
    ("an unknown code", "unknown type"),
    ("an impossible date", "impossible date"),
    ("a date in the future", "date in the future"),
    ("a date before 2000", "date before 2000"),
    ("a phone or paper with a wrong check", "check digit"),
    ("every fault of the row", "several faults"),
];

fn page(corpus: &[Poison]) -> String {
    let mut page = "# What becomes of bad messages\n\n\
        Made from `nanchang.jsonl` by the tests (`UPDATE_EXPECT=1 cargo test poison` writes it anew). Each is sent through \
        the whole pipeline\nbetween good messages, which do not notice. A tombstone (a message without a payload) is rejected \
        as `decode.tombstone`.\nBetween the brackets of an array or of an envelope's rows, one value behind another without a \
        comma, and a comma\nwithout a value, are `decode.syntax`; no value at all is `decode.no_rows`.\n\n\
        | message | becomes |\n| --- | --- |\n"
        .to_owned();
    for Poison { what, code, faults, flags, .. } in corpus {
        let quoted = |all: &[String]| all.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", ");
        let becomes = match code {
            Some(_) if !faults.is_empty() => format!("reject {}", quoted(faults)),
            Some(code) => format!("reject `{code}`"),
            None if !flags.is_empty() => format!("accepted, flagged {}", quoted(flags)),
            None => "accepted".to_owned(),
        };
        page += &format!("| {what} | {becomes} |\n");
    }
    page
}

#[test]
fn the_poison_page_tells_what_each_message_becomes() {
    let corpus = poison();
    for (kind, word) in KINDS {
        assert!(corpus.iter().any(|poison| poison.what.contains(word)), "nothing in the corpus stands for {kind}");
    }
    expect_test::expect_file![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/poison/README.md")]
        .assert_eq(&page(&corpus));
}

/// What it is rejected for as a row in an array or an envelope. Between brackets one value behind another is bad syntax, and
/// so is nothing behind a comma.
fn inside(code: &str, alone: bool) -> &str {
    match code {
        "decode.trailing" => "decode.syntax",
        "decode.empty" if alone => "decode.no_rows",
        "decode.empty" => "decode.syntax",
        code => code,
    }
}

/// What no reader could read is rejected for the same reason by every charset and whatever the source's profile says, and
/// where rows stand in an array or an envelope too.
#[test]
fn poison_of_the_syntax_is_rejected_in_every_format() {
    let never = ["decode.syntax", "decode.trailing", "decode.not_an_object", "decode.empty"];
    let good = r#"{"a":"一","data":{"orders":[{"a":"一"}]}}"#;
    let orders = Some("data.orders");
    // Half a surrogate pair can be read where nobody asks for its field.
    for Poison { what, bytes, code, .. } in poison().iter().filter(|poison| !poison.what.contains("surrogate")) {
        let Some(code) = code.as_deref().filter(|code| never.contains(code)) else { continue };
        let text = std::str::from_utf8(bytes).unwrap();
        let inputs = [
            (None, text.to_owned(), code),
            (orders, text.to_owned(), code),
            (None, format!("[{text}]"), inside(code, true)),
            (None, format!(r#"[{{"a":"一"}},{text}]"#), inside(code, false)),
            (orders, format!(r#"{{"data":{{"orders":[{text}]}}}}"#), inside(code, true)),
            (orders, format!(r#"{{"data":{{"orders":[{{"a":"一"}},{text}]}}}}"#), inside(code, false)),
        ];
        for (rows, input, code) in inputs {
            let found = decode(&mut decoder(rows, None), good.as_bytes(), input.as_bytes());
            assert_eq!(found.as_deref(), Some(code), "{what}, {rows:?}: {input:.80}");
            let encode = |text| encoding_rs::GB18030.encode(text).0;
            let found = decode(&mut decoder(rows, Some(encoding_rs::GB18030)), &encode(good), &encode(&input));
            assert_eq!(found.as_deref(), Some(code), "{what}, {rows:?} in GB18030: {input:.80}");
        }
    }
}

/// A message as large as any broker takes: read or rejected, in time and memory like its own.
#[test]
fn a_field_of_20_megabytes_is_read_or_rejected() {
    let good = r#"{"a":"一"}"#.as_bytes();
    let long = "长".repeat(7_000_000);
    for text in [format!("{{\"a\":\"{long}\"}}"), format!("{{\"z\":\"{long}\"}}"), format!("{{\"a\":\"{long}")] {
        let before = spent();
        let code = decode(&mut decoder(None, None), good, text.as_bytes());
        assert_eq!(code.is_some(), !text.ends_with('}'), "{code:?}");
        let took = spent() - before;
        assert!(took.as_secs() < 20, "takes {took:?} of a processor");
    }
}
