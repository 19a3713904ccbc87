//! Envelopes, and what is repeated of them.

use super::*;

#[test]
fn rows_of_an_envelope_carry_its_fields() {
    let decoded = enveloped().decode(&mut fetched([Some(WRAPPED)]));
    assert!(decoded.rejects.is_empty(), "{:?}", decoded.rejects);
    let rows = show(&decoded.rows);
    assert_eq!((&rows[0]["a"], &rows[1]["a"]), (&"1".into(), &"2".into()));
    for row in &rows {
        assert_eq!(row["envelope"].to_string(), r#"{"data":{"batch":"7"},"sent":"8:00"}"#);
    }
    let part = decoded.places[1].part.unwrap();
    assert_eq!(&WRAPPED[part.0 as usize..][..part.1 as usize], br#"{"a":"2","envelope":"mine"}"#);
}

#[test]
fn envelopes_of_other_shapes() {
    let good = br#"{"data":{"orders":[{"a":"g"}]}}"#;
    let rows = |payload: &str| {
        let (decoded, rows) = between(&mut enveloped(), good, Some(payload.as_bytes()));
        assert!(decoded.rejects.is_empty(), "{:?}", decoded.rejects);
        rows.iter().map(|row| row["a"].as_str().unwrap().to_owned()).collect::<String>()
    };
    assert_eq!(rows(r#"{"data":{"orders":{"a":"1"}}}"#), "1");
    assert_eq!(rows(r#"{"d\u0061ta" : {"or\u0064ers" :[{"a":"1"},{"a":"2"}]}}"#), "12");
    assert_eq!(rows(r#"{"data":{"batch":{"orders":[]},"orders":[{"a":"1"}]},"orders":[{"a":"3"}]}"#), "1");
    let refused = |payload: &str, code: &str| {
        let fault = fault(&mut enveloped(), good, Some(payload.as_bytes()));
        assert_eq!(&*fault.code, code, "{payload}: {}", fault.reason);
    };
    refused(r#"{"a":"1"}"#, "decode.no_rows");
    refused(r#"{"data":null}"#, "decode.no_rows");
    refused(r#"{"data":{"orders":[]}}"#, "decode.no_rows");
    refused(r#"{"data":{"orders":null}}"#, "decode.no_rows");
    refused(r#"{"data":{"orders":"x"}}"#, "decode.no_rows");
    refused(r#"{"data":[{"a":"1"}]}"#, "decode.not_an_object");
    refused(r#"[{"a":"1"}]"#, "decode.no_rows");
    refused(r#"{"data":{"orders":[{"a":"1"}"#, "decode.syntax");
    refused(r#"{"data":{"orders":[{"a":"1"}]}} {}"#, "decode.trailing");
    refused(r#"{"data":{"orders":[{"a":"1"}],"orders":[]}}"#, "decode.duplicate_key");
    refused(r#"{"data":{"orders":[{"a":"1"}]},"data":{}}"#, "decode.duplicate_key");
    refused(r#"{"sent":1,"sent":2,"data":{"orders":[{"a":"1"}]}}"#, "decode.duplicate_key");
    refused("5", "decode.not_an_object");
}

/// Whatever messages are before it, with rows or without.
#[test]
fn the_fields_of_an_envelope_are_its_own() {
    let envelope = |sent: &str, rows: &str| format!(r#"{{{sent}"data":{{"orders":[{rows}]}}}}"#);
    let messages = [
        envelope(r#""sent":"1","#, r#"{"a":"x"},{"a":"y"}"#),
        envelope(r#""sent":"2","#, r#"{"a":"x"}"#),
        envelope("", r#"{"a":"x"}"#),
        "{".to_owned(),
        envelope(r#""sent":"5","#, r#"{"a":"x"}"#),
    ];
    let decoded = enveloped().decode(&mut fetched(messages.iter().map(|message| Some(message.as_bytes()))));
    let sent: Vec<_> = show(&decoded.rows).iter().map(|row| row["envelope"]["sent"].clone()).collect();
    assert_eq!(serde_json::json!(sent), serde_json::json!(["1", "1", "2", null, "5"]));
}

/// A few bytes may be many rows; what a batch cannot take without becoming large is left for the next, and nothing is
/// rejected because of its neighbours.
#[test]
fn a_batch_takes_no_more_messages_than_make_it_large() {
    let note = |bytes: usize, rows: usize| {
        let (note, rows) = ("x".repeat(bytes), vec![r#"{"a":"1"}"#; rows].join(","));
        format!(r#"{{"sent":"{note}","data":{{"orders":[{rows}]}}}}"#)
    };
    for (message, of_a_batch) in [(note(20_000, 3_300), 2), (note(1, 10_000), 2), (note(1, 100), 7)] {
        let mut decoder = enveloped();
        let mut fetched = fetched(vec![Some(message.as_bytes()); 7]);
        let (lost, next) = (fetched.covers[0].clone(), fetched.covers[0].next);
        fetched.gaps.push(crate::batch::Gap {
            lost: Interval { from: next, next: next + 5, ..lost },
            code: "gap.retention",
            timestamp: None,
        });
        fetched.covers[0].next = next + 5;
        let (mut at, mut taken, mut lost) = (100, Vec::new(), 0);
        let mut next = Some(fetched);
        while let Some(mut fetched) = next {
            let mut decoded = decoder.decode(&mut fetched);
            next = decoded.rest.take();
            assert_eq!(fetched.covers.len(), 1);
            assert_eq!(fetched.covers[0].from, at, "what was taken before ends where this begins");
            at = fetched.covers[0].next;
            lost += decoded.rejects.len();
            assert!(decoded.origins.iter().all(|origin| origin.cover == 0 && origin.offset < at));
            assert_eq!(decoded.origins.len() + decoded.rejects.len(), decoded.input as usize);
            taken.push(fetched.messages.len());
        }
        let mut expected = vec![of_a_batch; 7 / of_a_batch];
        expected.extend([7 % of_a_batch].into_iter().filter(|rest| *rest > 0));
        assert_eq!((taken, at, lost), (expected, 112, 1));
    }
}

#[test]
fn a_field_repeated_in_every_row_is_bounded() {
    let payload =
        format!(r#"{{"sent":"{}","data":{{"orders":[{}]}}}}"#, "x".repeat(2 << 20), vec!["{}"; 100].join(","));
    let good = br#"{"data":{"orders":[{"a":"g"}]}}"#;
    assert_eq!(&*fault(&mut enveloped(), good, Some(payload.as_bytes())).code, "decode.too_large");
}
