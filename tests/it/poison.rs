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
        as `decode.tombstone`.\n\n| message | becomes |\n| --- | --- |\n"
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

/// What no reader could read is rejected by every format and charset, whatever the source's profile says.
#[test]
fn poison_of_the_syntax_is_rejected_in_every_format() {
    let never = ["decode.syntax", "decode.trailing", "decode.not_an_object", "decode.empty"];
    let good = r#"{"a":"一","data":{"orders":[{"a":"一"}]}}"#;
    for poison in poison().iter().filter(|poison| !poison.what.contains("surrogate")) {
        if !poison.code.as_ref().is_some_and(|code| never.contains(&code.as_str())) {
            continue;
        }
        for rows in [None, Some("data.orders")] {
            let code = decode(&mut decoder(rows, None), good.as_bytes(), &poison.bytes);
            assert!(code.is_some_and(|code| code.starts_with("decode.")), "{}, {rows:?}", poison.what);
            let Ok(text) = std::str::from_utf8(&poison.bytes) else { continue };
            let (gb18030, ..) = encoding_rs::GB18030.encode(text);
            let (other, ..) = encoding_rs::GB18030.encode(good);
            let code = decode(&mut decoder(rows, Some(encoding_rs::GB18030)), &other, &gb18030);
            assert!(code.is_some_and(|code| code.starts_with("decode.")), "{} in GB18030, {rows:?}", poison.what);
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
