//! Random and mutated input for everything that reads what others wrote: no panic, no unbounded time or memory, and the
//! account holds.
//!
//! Seeded: the same seed, the same inputs. `HUIJU_FUZZ` is the number of executions per target (a few thousand unless it
//! is set), `HUIJU_FUZZ_SEED` another seed. A failure prints the target, the input as hexadecimal and the seed.
//!
//! ```sh
//! HUIJU_FUZZ=1000000 cargo test fuzz_ -- --nocapture
//! ```

mod run;
mod written;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use huiju::{
    batch::{Fetched, Message},
    config::{Source, Stage},
    cursor::{Interval, Partition},
    decode::{Decoder, Field, Fields},
    text::{credit_code, datetime, division, id_card, keywords, mask, phone, width},
};

pub use self::run::spent;
use self::run::{alone, executions, fuzz, texts};

const JSON: [&str; 26] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\",
    "\\ud83d",
    "\\u0000",
    "null",
    "true",
    "1e999",
    "-0",
    "1.5",
    "\"a\":",
    "\"b\":",
    "\"c\":",
    "\"data\":",
    "\"orders\":",
    "\"envelope\":",
    "\u{feff}",
    "\u{0}",
    " ",
    "\n",
    "工",
];

pub fn decoder(rows: Option<&str>, charset: Option<&'static encoding_rs::Encoding>) -> Decoder {
    let text = |name: &str| (name.into(), Field::Text);
    let part = |name: &str, fields| (name.into(), Field::Struct(Fields(fields)));
    let mut fields = vec![text("a"), text("b"), part("c", vec![text("x"), part("d", vec![text("y")])])];
    if rows.is_some() {
        fields.push(part("envelope", vec![text("sent"), part("data", vec![text("batch")])]));
    }
    let source = Source {
        name: "nanchang".into(),
        topics: Vec::new(),
        charset,
        time_zone: chrono_tz::Asia::Shanghai,
        home: None,
        rows: rows.map(str::to_owned),
        keyed_by: Vec::new(),
        map: Stage { name: "map".into(), path: "nanchang.sql".into(), sql: String::new() },
        aliases: Vec::new(),
    };
    Decoder::new(&Fields(fields), &source)
}

/// The input between two good messages: they must not notice, and everything is counted. Gives the first reject's code.
pub fn decode(decoder: &mut Decoder, good: &[u8], input: &[u8]) -> Option<String> {
    let mut fetched = Fetched::default();
    for (offset, payload) in [good, input, good].into_iter().enumerate() {
        let payload = Some(fetched.store(payload));
        fetched.messages.push(Message { cover: 0, offset: offset as i64, timestamp: Some(7), key: None, payload });
    }
    fetched.covers.push(Interval { partition: Partition::new("raw", 0), from: 0, next: 3 });
    let decoded = decoder.decode(&mut fetched);
    let rows = decoded.rows.num_rows();
    assert_eq!((rows, rows), (decoded.origins.len(), decoded.places.len()));
    assert_eq!(decoded.input, (rows + decoded.rejects.len()) as u64, "the account");
    let count = |offset: i64| decoded.origins.iter().filter(|origin| origin.offset == offset).count();
    assert_eq!((count(0), count(2)), (1, 1), "neighbours");
    assert!(decoded.rejects.iter().all(|reject| reject.offset == 1 && !reject.faults.is_empty()), "rejects");
    assert!(count(1) > 0 || !decoded.rejects.is_empty(), "it has vanished");
    let places: HashSet<_> = decoded.origins.iter().map(|origin| (origin.offset, origin.row)).collect();
    assert_eq!(places.len(), rows, "each row has a place of its own");
    decoded.rejects.first().map(|reject| reject.faults[0].code.to_string())
}

#[test]
fn fuzz_decode() {
    if !alone("fuzz::fuzz_decode") {
        return;
    }
    let plain = texts(&[
        r#"{"a":"一","b":1,"c":{"x":null,"d":{"y":[1,{"z":2}]}}}"#,
        r#"[{"a":"1"},{"a":"2","other":{"a":[[]]}}]"#,
        r#"{"a":"\u5de5\ud83d\ude00","b":1e400,"a2":"","c":[]}"#,
    ]);
    let wrapped = texts(&[
        r#"{"sent":"x","data":{"batch":7,"orders":[{"a":"1"},{"b":2},3]}}"#,
        r#"{"data":{"orders":{"a":"1"}},"data":1}"#,
        r#"[{"data":{"orders":[{"a":1,"a":2}]}}]"#,
    ]);
    let good = r#"{"a":"一","data":{"orders":[{"a":"一"}]}}"#;
    let times = executions(4000);
    let mut decoders = [
        ("decode", decoder(None, None), plain.clone()),
        ("decode gb18030", decoder(None, Some(encoding_rs::GB18030)), plain.clone()),
        ("decode utf-16", decoder(None, Some(encoding_rs::UTF_16LE)), plain),
        ("decode envelope", decoder(Some("data.orders"), None), wrapped.clone()),
        ("decode envelope gb18030", decoder(Some("data.orders"), Some(encoding_rs::GB18030)), wrapped),
    ];
    for (name, decoder, seeds) in &mut decoders {
        let encode = |text: &[u8]| -> Vec<u8> {
            let text = String::from_utf8_lossy(text);
            match &name[name.len() - 3..] {
                "030" => encoding_rs::GB18030.encode(&text).0.into_owned(),
                "-16" => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
                _ => text.as_bytes().to_vec(),
            }
        };
        let seeds: Vec<Vec<u8>> = seeds.iter().map(|seed| encode(seed)).collect();
        let good = encode(good.as_bytes());
        fuzz(name, times, &seeds, &JSON, |input| {
            let _ = decode(decoder, &good, input);
        });
    }
}

const WORDS: [&str; 40] = [
    "0",
    "1",
    "9",
    "８",
    "13800138000",
    "0791",
    "86223000",
    "+86",
    "86",
    "-",
    "－",
    "转",
    "(",
    "）",
    " ",
    "\u{3000}",
    "/",
    "X",
    "x",
    "年",
    "月",
    "日",
    "时",
    "T",
    "Z",
    "+08:00",
    ":",
    ".",
    "2026-06-01",
    "19910915",
    "上午",
    "360102",
    "南昌",
    "市",
    "区",
    "先生",
    "*",
    "\u{0}",
    "\u{200b}",
    "\u{1f600}",
];

#[test]
fn fuzz_text() {
    if !alone("fuzz::fuzz_text") {
        return;
    }
    let zone = chrono_tz::Asia::Shanghai;
    let rows = |file: &str| csv::Reader::from_path(schemas().join("codes").join(file)).unwrap();
    let in_force = rows("divisions.csv").deserialize().map(Result::unwrap).collect();
    let retired = rows("divisions_retired.csv").deserialize().map(Result::unwrap).collect();
    let divisions = division::Divisions::new(in_force, retired);
    let rule = |at: usize, words: &[&str]| keywords::KeywordRule {
        rule: format!("r{at}"),
        l1: "城市管理".into(),
        l2: String::new(),
        l3: String::new(),
        keywords: words.iter().map(|word| (*word).to_owned()).collect(),
    };
    let rules = keywords::KeywordRules::new(vec![rule(0, &["路灯", "灯"]), rule(1, &["供水", "13800138000", "南昌"])]);
    type Target<'t> = (&'t str, Box<dyn Fn(&str) + 't>);
    let targets: Vec<Target<'_>> = vec![
        (
            "half_width",
            Box::new(|text| {
                let once = width::half_width(text).into_owned();
                assert_eq!(width::half_width(&once), once);
            }),
        ),
        (
            "clean",
            Box::new(|text| {
                let once = width::clean(text).into_owned();
                assert_eq!(width::clean(&once), once);
                assert!(width::given(text).is_none_or(|given| text.contains(given)));
            }),
        ),
        (
            "phone",
            Box::new(|text| {
                for home in [None, Some("0791"), Some("")] {
                    if let Ok(read) = phone::Phone::parse(text, home) {
                        assert!(read.as_str().bytes().all(|byte| byte.is_ascii_digit()), "{}", read.as_str());
                        let again = phone::Phone::parse(read.as_str(), home).ok();
                        assert_eq!(again.as_ref().map(phone::Phone::as_str), Some(read.as_str()));
                    }
                }
            }),
        ),
        (
            "id_card",
            Box::new(|text| {
                if let Ok(read) = id_card::IdCard::parse(text) {
                    let _ = (read.birth(), read.division());
                    assert_eq!(id_card::IdCard::parse(read.as_str()).unwrap().as_str(), read.as_str());
                }
            }),
        ),
        (
            "credit_code",
            Box::new(|text| {
                if let Ok(read) = credit_code::CreditCode::parse(text) {
                    assert_eq!(credit_code::CreditCode::parse(read.as_str()).unwrap().as_str(), read.as_str());
                    let _ = read.division();
                }
            }),
        ),
        (
            "local_time",
            Box::new(|text| {
                let time = datetime::parse_time(text, zone);
                if let Some(time) = time {
                    assert_eq!(datetime::parse_time(&time.to_rfc3339(), zone), Some(time), "{time}");
                }
            }),
        ),
        (
            "local_date",
            Box::new(|text| {
                let _ = datetime::parse_date(text, zone);
            }),
        ),
        (
            "division",
            Box::new(|text| {
                let day = chrono::NaiveDate::from_ymd_opt(2001, 2, 3);
                for (home, on) in [(None, None), (Some("360100"), day), (Some(text), None)] {
                    if let Some(found) = divisions.lookup(text, home, on) {
                        assert!(divisions.by_code(&found.code).is_some());
                    }
                }
                let _ = divisions.area_code(text);
            }),
        ),
        (
            "keyword_class",
            Box::new(|text| {
                let _ = rules.classify(text, text);
            }),
        ),
        (
            "mask_phone",
            Box::new(|text| {
                // Service numbers are nobody's and stay.
                let service = phone::Phone::parse(text, None).is_ok_and(|phone| phone.kind() == phone::Kind::Service);
                hides(text, &mask::mask_phone(text), if service { 16 } else { 8 })
            }),
        ),
        (
            "mask_name",
            Box::new(|text| {
                // A placeholder, such as a row of zeros, names nobody and stays.
                let nobody = width::given(text.trim()).is_none();
                hides(text, &mask::mask_name(text), if nobody { usize::MAX } else { 2 })
            }),
        ),
        ("mask_id", Box::new(|text| hides(text, &mask::mask_id(text), 10))),
        ("mask_value", Box::new(|text| hides(text, &mask::mask_value(text), 2))),
        (
            "mask_text",
            Box::new(|text| {
                // Whatever stands around it, a phone of its own is hidden.
                let masked = mask::mask_text(&format!("{text}。电话13800138000。{text}")).into_owned();
                assert!(!masked.contains("。电话13800138000。"), "{masked}");
                let masked = mask::mask_text(text).into_owned();
                assert!(masked.len() <= text.len() * 3 + 8);
            }),
        ),
    ];
    let seeds = texts(&[
        "0791-86223000转801",
        "１３８ 0013 8000",
        "+86 13800138000",
        "36010219900307123X",
        "360102900307123",
        "91360100MA35K7N70X",
        "2026-06-01 08:05:00",
        "2026年6月1日 8时5分",
        "1717200000123",
        "2026-06-01T08:00:00.123456+08:00",
        "19910915",
        "江西省南昌市东湖区",
        "赣州",
        "欧阳建国先生 13800138000 住东湖区路灯下，身份证36010219900307123X",
        "",
    ]);
    for (name, target) in &targets {
        fuzz(name, executions(4000), &seeds, &WORDS, |input| target(&String::from_utf8_lossy(input)));
    }
}

/// No more digits come out than conventions leave, whatever went in.
fn hides(text: &str, masked: &str, stay: usize) {
    assert!(masked.len() <= text.len() * 3 + 16, "{} bytes became {}", text.len(), masked.len());
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).count();
    assert!(digits(masked) <= stay, "not enough is hidden: {masked}");
}

fn schemas() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}
