mod envelopes;
mod properties;

use super::*;
use crate::{
    batch::Fault,
    config::Stage,
    cursor::{Interval, Partition},
};

fn source(rows: Option<&str>, charset: Option<&'static encoding_rs::Encoding>) -> Source {
    Source {
        name: "nanchang".into(),
        topics: Vec::new(),
        charset,
        time_zone: chrono_tz::Asia::Shanghai,
        home: None,
        rows: rows.map(str::to_owned),
        keyed_by: Vec::new(),
        map: Stage { name: "map".into(), path: "nanchang.sql".into(), sql: String::new() },
        aliases: Vec::new(),
    }
}

/// `a`, `b` are texts, `c.x` and `c.d.y` nested; in an envelope also `envelope.sent` and `envelope.data.batch`.
fn fields(enveloped: bool) -> Fields {
    let text = |name: &str| (Arc::from(name), Field::Text);
    let part = |name: &str, fields| (Arc::from(name), Field::Struct(Fields(fields)));
    let mut fields = vec![text("a"), text("b"), part("c", vec![text("x"), part("d", vec![text("y")])])];
    if enveloped {
        fields.push(part("envelope", vec![text("sent"), part("data", vec![text("batch")])]));
    }
    Fields(fields)
}

fn fetched<'p>(payloads: impl IntoIterator<Item = Option<&'p [u8]>>) -> Fetched {
    let mut fetched = Fetched::default();
    for payload in payloads {
        let offset = fetched.messages.len() as i64 + 100;
        let payload = payload.map(|payload| fetched.store(payload));
        let key = Some(fetched.store(b"k"));
        fetched.messages.push(Message { cover: 0, offset, timestamp: Some(7), key, payload });
    }
    let next = fetched.messages.len() as i64 + 100;
    fetched.covers.push(Interval { partition: Partition::new("raw", 0), from: 100, next });
    fetched
}

/// Rows as JSON, `null` for NULL.
fn show(rows: &RecordBatch) -> Vec<serde_json::Value> {
    let mut text = Vec::new();
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow::json::writer::LineDelimited>(&mut text);
    writer.write(rows).unwrap();
    writer.finish().unwrap();
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn plain() -> Decoder {
    Decoder::new(&fields(false), &source(None, None))
}

fn enveloped() -> Decoder {
    Decoder::new(&fields(true), &source(Some("data.orders"), None))
}

const GOOD: &[u8] = r#"{"a":"一","c":{"x":1}}"#.as_bytes();

/// Decodes a message between two good ones, which must not notice.
fn between(decoder: &mut Decoder, good: &[u8], payload: Option<&[u8]>) -> (Decoded, Vec<serde_json::Value>) {
    let neighbour = show(&decoder.decode(&mut fetched([Some(good)])).rows);
    let mut decoded = decoder.decode(&mut fetched([Some(good), payload, Some(good)]));
    let mut rows = show(&decoded.rows);
    assert_eq!(decoded.origins.len(), rows.len());
    assert_eq!(decoded.places.len(), rows.len());
    assert_eq!(decoded.input as usize, rows.len() + decoded.rejects.len());
    if let Some(mut rest) = decoded.rest.take() {
        rows.extend(show(&decoder.decode(&mut rest).rows));
    }
    assert_eq!(rows.remove(0), neighbour[0]);
    assert_eq!(rows.pop().unwrap(), neighbour[0]);
    (decoded, rows)
}

fn fault(decoder: &mut Decoder, good: &[u8], payload: Option<&[u8]>) -> Fault {
    let (decoded, rows) = between(decoder, good, payload);
    assert!(rows.is_empty(), "{rows:?}");
    let [reject] = &decoded.rejects[..] else { panic!("{:?}", decoded.rejects) };
    assert_eq!((reject.offset, &*reject.stage, reject.row), (101, "decode", None));
    assert_eq!(reject.message.as_deref(), payload);
    assert_eq!(reject.payload.as_deref(), payload);
    reject.faults[0].clone()
}

/// A message that is rejected as a whole, with its code and the byte position, if it has one.
#[track_caller]
fn rejected(payload: impl AsRef<[u8]>, code: &str, at: Option<usize>) {
    let fault = fault(&mut plain(), GOOD, Some(payload.as_ref()));
    assert_eq!(&*fault.code, code, "{}", fault.reason);
    let position = fault.reason.split_once("字节位置 ").map(|(_, at)| at.trim_end_matches('）').parse().unwrap());
    assert_eq!(position, at, "{}", fault.reason);
}

#[track_caller]
fn accepted(payload: impl AsRef<[u8]>, a: serde_json::Value) {
    let (decoded, rows) = between(&mut plain(), GOOD, Some(payload.as_ref()));
    assert!(decoded.rejects.is_empty(), "{:?}", decoded.rejects);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["a"], a);
}

#[test]
fn poison_is_rejected_with_code_and_byte_position() {
    rejected(r#"{"a":"1","b"#, "decode.syntax", Some(11));
    rejected(r#"{"a":"1""#, "decode.syntax", Some(8));
    rejected(r#"{"a":"1"}{"a":"2"}"#, "decode.trailing", Some(9));
    rejected(r#"{"a":"1"} x"#, "decode.trailing", Some(10));
    rejected("{\"a\":\"1\"}\0", "decode.trailing", Some(9));
    rejected("{\"a\":\"1\0\"}", "decode.syntax", Some(7));
    rejected("{\"a\":\0}", "decode.syntax", Some(5));
    rejected("{\"z\":\"tab\there\"}", "decode.syntax", Some(9));
    rejected("{\n\"a\":\n\"x\ny\"}", "decode.syntax", Some(9));
    rejected("{\n\"z\":\n\"x\ny\"}", "decode.syntax", Some(9));
    rejected("{\"a\":\"\n\"}", "decode.syntax", Some(6));
    rejected("{\"c\":{\"x\":\"\n\"}}", "decode.syntax", Some(11));
    rejected(b"{\"a\":\"\xff\"}", "decode.encoding", Some(6));
    rejected(b"{\"a\":\"\xb9\xa4\xb5\xa5\"}", "decode.encoding", Some(6)); // GBK
    rejected(b"\xff\xfe{\0}\0", "decode.encoding", Some(0));
    rejected(b"\xfe\xff\0{\0}", "decode.encoding", Some(0));
    rejected(b"{\0\"\0a\0", "decode.syntax", Some(1));
    rejected("", "decode.empty", None);
    rejected(" \r\n\t", "decode.empty", None);
    rejected(b"\xef\xbb\xbf", "decode.empty", None);
    rejected("[]", "decode.no_rows", Some(0));
    rejected("[ ] ", "decode.no_rows", Some(0));
    rejected("[1,2]", "decode.not_an_object", Some(0));
    rejected(" null", "decode.not_an_object", Some(1));
    rejected("12.5", "decode.not_an_object", Some(0));
    rejected(r#""text""#, "decode.not_an_object", Some(0));
    rejected("true false", "decode.trailing", Some(5));
    rejected("NaN", "decode.syntax", Some(0));
    rejected(r#"{"a":NaN}"#, "decode.syntax", Some(5));
    rejected(r#"{"a":01}"#, "decode.syntax", Some(6));
    rejected(r#"{"a":1.}"#, "decode.syntax", Some(7));
    rejected(r#"{"a":1,}"#, "decode.syntax", Some(7));
    rejected(r#"{"a":1,,"b":2}"#, "decode.syntax", Some(7));
    rejected(r#"{"a":1 "b":2}"#, "decode.syntax", Some(7));
    rejected(r#"{a:1}"#, "decode.syntax", Some(1));
    rejected(r#"{'a':1}"#, "decode.syntax", Some(1));
    rejected(r#"{"a":"\x"}"#, "decode.syntax", Some(7));
    rejected(r#"{"a":1,"b":2,"a":3}"#, "decode.duplicate_key", Some(14));
    rejected(r#"{"c":{"x":1,"x":2}}"#, "decode.duplicate_key", Some(13));
    rejected(r#"{"c":{},"c":{}}"#, "decode.duplicate_key", Some(9));
    rejected(r#"{"c":5}"#, "decode.not_an_object", Some(5));
    rejected(r#"{"c":{"d":"text"}}"#, "decode.not_an_object", Some(10));
    rejected(r#"{"c":[{"x":1}]}"#, "decode.not_an_object", Some(5));
    rejected("}", "decode.syntax", Some(0));
    assert_eq!(&*fault(&mut plain(), GOOD, None).code, "decode.tombstone");
}

/// `serde_json` reads four digits at once, does not count a newline to the line before it, and takes the end of the
/// message for a part of a number.
#[test]
fn the_position_is_that_of_the_offending_byte() {
    rejected(r#"{"a":"\uZ123"}"#, "decode.syntax", Some(8));
    rejected(r#"{"a":"\u12G4"}"#, "decode.syntax", Some(10));
    rejected(r#"{"a":"\u12""#, "decode.syntax", Some(11));
    rejected(r#"{"a":"\u12"}"#, "decode.syntax", Some(10));
    rejected(r#"{"a":"\u123"}"#, "decode.syntax", Some(11));
    rejected(r#"{"a":"\u1路3"}"#, "decode.syntax", Some(9));
    rejected("{\"a\":\"\\u12\n4\"}", "decode.syntax", Some(10));
    rejected("{\"a\":\"\\u123\n\"}", "decode.syntax", Some(11));
    rejected(r#"{"a":"\\u12\q"}"#, "decode.syntax", Some(12));
    rejected(r#"{"z":"\\\u12G4"}"#, "decode.syntax", Some(12));
    rejected("{\"a\":tru\n}", "decode.syntax", Some(8));
    rejected("{\"z\":\n tru\n}", "decode.syntax", Some(10));
    rejected("{\"a\":-\n1}", "decode.syntax", Some(6));
    rejected("{\"a\":\"\\\n\"}", "decode.syntax", Some(7));
    for cut in ["-", "-1.", "-1.5e", "-1.5E+", "0.", "{\"a\":-1.5e", "{\"z\":[1,2."] {
        let fault = fault(&mut plain(), GOOD, Some(cut.as_bytes()));
        let at = format!("JSON 不完整：数字没有结束（字节位置 {}）", cut.len());
        assert_eq!((&*fault.code, &*fault.reason), ("decode.syntax", &*at), "{cut}");
    }
    rejected("--", "decode.syntax", Some(1));
    rejected("{\"a\":-}", "decode.syntax", Some(6));
    rejected("{\"a\":1.e", "decode.syntax", Some(7));
}

#[test]
fn a_broken_string_is_rejected_with_its_field() {
    for text in [r#""\x""#, "\"\t\"", "\"x", r#""\ud83d""#, r#""\ud83dx""#, r#""\udc00""#, r#""\ud83d\ud83d""#] {
        let fault = fault(&mut plain(), GOOD, Some(format!(r#"{{"a":1,"b":{text}}}"#).as_bytes()));
        assert_eq!((&*fault.code, fault.field.as_deref()), ("decode.syntax", Some("b")), "{text}");
    }
    accepted(r#"{"a":"\ud83d\ude00"}"#, "😀".into());
}

#[test]
fn a_duplicate_key_is_named_and_reasons_hold_no_values() {
    let fault = fault(&mut plain(), GOOD, Some(r#"{"a":"13800138000","\u0061":"13800138001"}"#.as_bytes()));
    assert_eq!((&*fault.code, fault.field.as_deref()), ("decode.duplicate_key", Some("a")));
    assert!(!fault.reason.contains("138"), "{}", fault.reason);
    accepted(r#"{"z":1,"a":"x","z":2}"#, "x".into()); // a field that nobody uses
}

#[test]
fn harmless_oddities_are_accepted() {
    accepted(b"\xef\xbb\xbf{\"a\":\"x\"}", "x".into());
    accepted(" \n{ \"a\" :\t\"x\" } \r\n", "x".into());
    accepted(r#"{"a":12}"#, "12".into());
    accepted(r#"{"a":1e400}"#, "1e400".into());
    accepted(r#"{"a":-0.10}"#, "-0.10".into());
    accepted(r#"{"a":123456789012345678901234567890}"#, "123456789012345678901234567890".into());
    accepted(r#"{"a":true}"#, "true".into());
    accepted(r#"{"a":null}"#, serde_json::Value::Null);
    accepted("{}", serde_json::Value::Null);
    accepted(r#"{"a":""}"#, "".into());
    accepted(r#"{"a":"\"\\\/\n\u5355"}"#, "\"\\/\n单".into());
    accepted(r#"{"\u0061":"x"}"#, "x".into());
    accepted(r#"{"a":[1, {"k":"]"}]}"#, r#"[1, {"k":"]"}]"#.into());
    accepted(r#"{"a":{}}"#, "{}".into());
    accepted(r#"{"c":null,"a":"x"}"#, "x".into());
    accepted(r#"{"c":"","a":"x"}"#, "x".into());
    accepted(r#"{"c":[ ],"a":"x"}"#, "x".into());
    accepted(r#"{"\u0063":{"x":"y"},"a":"x"}"#, "x".into());
    accepted(r#"[{"a":"x"}]"#, "x".into());
    let long = "长".repeat(7 << 20);
    accepted(format!(r#"{{"b":"{long}","a":"x"}}"#), "x".into());
}

#[test]
fn a_hundred_thousand_brackets_harm_nobody() {
    let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
    rejected(&open, "decode.syntax", Some(100_000));
    rejected(format!("{open}{close}"), "decode.not_an_object", Some(0));
    rejected("{\"a\":".repeat(100_000), "decode.syntax", Some(500_000));
    rejected(format!(r#"{{"a":{open}{close}}}"#), "decode.too_deep", Some(5 + 64));
    rejected(format!(r#"{{"a":{open}"#), "decode.syntax", Some(100_005));
    rejected(format!(r#"{{"c":{open}{close}}}"#), "decode.not_an_object", Some(5));
    accepted(format!(r#"{{"z":{open}{close},"a":"x"}}"#), "x".into());
}

#[test]
fn nested_fields_become_structs() {
    let decoded = plain().decode(&mut fetched([
        Some(&br#"{"c":{"d":{"y":"1","z":0},"x":2.50},"b":"B"}"#[..]),
        Some(br#"{"c":null}"#),
        Some(br#"{"c":{"d":{}}}"#),
    ]));
    let rows = serde_json::Value::from(show(&decoded.rows)).to_string();
    let expected = concat!(
        r#"[{"a":null,"b":"B","c":{"d":{"y":"1"},"x":"2.50"}},"#,
        r#"{"a":null,"b":null,"c":null},"#,
        r#"{"a":null,"b":null,"c":{"d":{"y":null},"x":null}}]"#
    );
    assert_eq!(rows, expected);
    assert_eq!(decoded.rows.schema(), fields(false).schema());
}

#[test]
fn an_array_is_several_rows_and_a_bad_one_is_rejected_alone() {
    let payload = br#" [{"a":"0"}, 5, {"a":"2","a":"3"}, {"a":"\ud800"},{"a":"4"} ]"#;
    let (mut decoded, rows) = between(&mut plain(), GOOD, Some(payload));
    assert_eq!(rows.iter().map(|row| &row["a"]).collect::<Vec<_>>(), ["0", "4"]);
    let found: Vec<_> = decoded.rejects.iter().map(|r| (r.row, &*r.faults[0].code, r.payload.as_deref())).collect();
    let expected: [(_, _, Option<&[u8]>); 3] = [
        (Some(1), "decode.not_an_object", Some(b"5")),
        (Some(2), "decode.duplicate_key", Some(br#"{"a":"2","a":"3"}"#)),
        (Some(3), "decode.syntax", Some(br#"{"a":"\ud800"}"#)),
    ];
    assert_eq!(found, expected);
    assert!(decoded.rejects[1].faults[0].reason.contains("字节位置 26"), "{:?}", decoded.rejects[1]);
    assert_eq!(decoded.origins[2].row, 4);
    let fetched = fetched([Some(GOOD), Some(&payload[..]), Some(GOOD)]);
    let reject = reject(&fetched, &decoded, 2, "checks".into(), Vec::new());
    assert_eq!((reject.row, reject.offset, reject.timestamp), (Some(4), 101, Some(7)));
    assert_eq!(reject.payload.as_deref(), Some(&br#"{"a":"4"}"#[..]));
    assert_eq!(reject.message.as_deref(), Some(&payload[..]));
    let shared = decoded.rejects.pop().unwrap().message.unwrap();
    assert_eq!(shared.as_ptr(), decoded.rejects[0].message.as_ref().unwrap().as_ptr(), "one copy for all of a message");
}

#[test]
fn too_many_rows_in_one_message_are_refused() {
    let fits = format!("[{}]", vec!["{}"; json::MOST_ROWS].join(","));
    let (decoded, rows) = between(&mut plain(), GOOD, Some(fits.as_bytes()));
    assert_eq!((rows.len(), decoded.rejects.len()), (json::MOST_ROWS, 0));
    let payload = format!("[{}]", vec!["{}"; json::MOST_ROWS + 1].join(","));
    assert_eq!(&*fault(&mut plain(), GOOD, Some(payload.as_bytes())).code, "decode.too_large");
}

const WRAPPED: &[u8] = br#"{"sent":"8:00","data":{"orders":[{"a":"1"},{"a":"2","envelope":"mine"}],"batch":7}}"#;

/// In each of many rows: whoever looked for each from the message's start would take minutes.
#[test]
fn mistakes_in_many_rows_of_another_charset_are_found_at_once() {
    let rows: Vec<String> = (0..20_000).map(|number| format!(r#"{{"a":"单{number}","a":1}}"#)).collect();
    let payload = encoding_rs::GB18030.encode(&format!("[{}]", rows.join(","))).0.into_owned();
    let mut decoder = Decoder::new(&fields(false), &source(None, Some(encoding_rs::GB18030)));
    let decoded = decoder.decode(&mut fetched([Some(&payload[..])]));
    assert_eq!(decoded.rejects.len(), 20_000);
    for reject in [&decoded.rejects[0], &decoded.rejects[19_999]] {
        let position = reject.faults[0].reason.split_once("字节位置 ").unwrap().1.trim_end_matches('）');
        let at: usize = position.parse().unwrap();
        assert_eq!(&payload[at..at + 4], br#"a":1"#, "{}", reject.faults[0].reason);
    }
}

/// A feed with ever new keys must not fill the memory.
#[test]
fn not_every_key_is_remembered() {
    let mut decoder = plain();
    let mut remembered = |key: &str| {
        let message = format!(r#"{{"{key}":1,"a":"x"}}"#);
        assert_eq!(show(&decoder.decode(&mut fetched([Some(message.as_bytes())])).rows)[0]["a"], "x");
        decoder.table.keys.remembered()
    };
    let before = remembered("k");
    assert_eq!(remembered(&"k".repeat(1 << 16)), before);
    let after = (0..2 * columns::MOST_KEYS).map(|number| remembered(&format!("k{number}"))).last();
    assert_eq!(after, Some(columns::MOST_KEYS));
}

#[test]
fn other_charsets_are_transcoded_and_positions_lead_to_the_bytes_received() {
    let gbk = |text: &str| encoding_rs::GBK.encode(text).0.into_owned();
    let mut decoder = Decoder::new(&fields(false), &source(None, Some(encoding_rs::GBK)));
    let decoded = decoder.decode(&mut fetched([Some(&gbk(r#"{"a":"工单镕","z":"亄"}"#)[..])]));
    assert_eq!(show(&decoded.rows)[0]["a"], "工单镕");
    // 单 is two bytes in GBK and three in UTF-8.
    let payload = gbk(r#"[{"a":"单单"},{"b":"单","a":"\ud800"}]"#);
    let decoded = decoder.decode(&mut fetched([Some(&payload[..])]));
    assert_eq!(decoded.rejects[0].payload.as_deref(), Some(&gbk(r#"{"b":"单","a":"\ud800"}"#)[..]));
    let bad = gbk(r#"{"a":"单单" x}"#);
    let fault = fault(&mut decoder, b"{}", Some(&bad));
    assert!(fault.reason.contains("字节位置 12"), "{}", fault.reason);
    let broken = [&gbk(r#"{"a":"单"#)[..], b"\xff\"}"].concat();
    let fault = self::fault(&mut decoder, b"{}", Some(&broken));
    assert_eq!(&*fault.code, "decode.encoding");
    assert!(fault.reason.contains("字节位置 8"), "{}", fault.reason);
    let fault = self::fault(&mut decoder, b"{}", Some(b"\xef\xbb\xbf{}"));
    assert_eq!(&*fault.code, "decode.encoding");
    for charset in [encoding_rs::GB18030, encoding_rs::GBK] {
        let mut decoder = Decoder::new(&fields(false), &source(None, Some(charset)));
        let marked = [b"\x84\x31\x95\x33", &gbk(r#"{"a":"单"}"#)[..]].concat();
        assert_eq!(show(&decoder.decode(&mut fetched([Some(&marked[..])])).rows)[0]["a"], "单");
        let bad = [b"\x84\x31\x95\x33", &gbk(r#"{"a":"单" x}"#)[..]].concat();
        let fault = self::fault(&mut decoder, b"{}", Some(&bad));
        assert!(fault.reason.contains("字节位置 14"), "{}", fault.reason);
    }
    let mut decoder = Decoder::new(&fields(false), &source(None, Some(encoding_rs::UTF_16LE)));
    let utf16: Vec<u8> = "\u{feff}{\"a\":\"单\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(show(&decoder.decode(&mut fetched([Some(&utf16[..])])).rows)[0]["a"], "单");
}

#[test]
fn gaps_are_rejects_of_stage_fetch() {
    let mut fetched = fetched([Some(GOOD)]);
    let lost = Interval { partition: Partition::new("raw", 0), from: 40, next: 100 };
    fetched.gaps.push(crate::batch::Gap { lost, code: "gap.retention", timestamp: None });
    let decoded = plain().decode(&mut fetched);
    assert_eq!((decoded.input, decoded.rows.num_rows()), (2, 1));
    let reject = &decoded.rejects[0];
    assert_eq!((&*reject.stage, reject.offset, &*reject.faults[0].code), ("fetch", 40, "gap.retention"));
    assert!(reject.faults[0].reason.contains("40") && reject.faults[0].reason.contains("100"));
    assert_eq!(reject.timestamp, None);

    // Of a line that is too long its file's name may tell the time, and who reads the reason can do something.
    let gap = &mut fetched.gaps[0];
    (gap.code, gap.timestamp) = ("decode.too_large", Some(1_795_536_000_000));
    let reject = &plain().decode(&mut fetched).rejects[0];
    assert_eq!(reject.timestamp, Some(1_795_536_000_000));
    let reason = &reject.faults[0].reason;
    assert!(reason.contains("64 MiB") && reason.contains("请拆成较短的行"), "{reason}");
}

#[test]
fn fields_that_no_message_fills_are_told_with_what_may_be_meant() {
    let unseen = |decoder: &mut Decoder, payload: &str| {
        decoder.decode(&mut fetched([Some(payload.as_bytes())]));
        let show =
            |unseen: Unseen| [Some(unseen.field), unseen.near].into_iter().flatten().collect::<Vec<_>>().join("~");
        decoder.unseen().into_iter().map(show).collect::<Vec<_>>()
    };
    let mut decoder = plain();
    assert_eq!(unseen(&mut decoder, r#"{"A":"1","bb":{},"unlike":1}"#), ["a~A", "b", "c"]);
    assert_eq!(unseen(&mut decoder, r#"{"a":"","c":{"x":"1"}"#), ["a~A", "b", "c"], "of a message that is rejected");
    assert_eq!(unseen(&mut decoder, r#"{"a":"","b":null,"c":{"X":"1"}}"#), ["b", "c.x~X", "c.d"]);
    assert_eq!(unseen(&mut decoder, r#"{"b":0,"c":{"d":{"y":[]}}}"#), ["c.x~X"], "others are kept");
    let payload = r#"{"send":1,"data":{"orders":[{"a":1,"c":{"x":1,"d":{"y":1}}},{"b":"1"}]}}"#;
    assert_eq!(unseen(&mut enveloped(), payload), ["envelope.sent", "envelope.data.batch"]);
}
