//! What messages look like.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, Decimal128Array, Int64Array, ListBuilder, StringArray, StringBuilder, TimestampMicrosecondArray,
    },
    record_batch::RecordBatch,
};
use rdkafka::message::Headers;

use super::encode::{Encoded, Keys, TOGETHER, TOGETHER_BYTES, by_message, reject_headers};
use crate::{
    batch::{Fault, Reject},
    cursor::Partition,
    sink::json::{Rows, Unread},
};

fn rows() -> RecordBatch {
    let mut flags = ListBuilder::new(StringBuilder::new());
    flags.append_value([Some("phone:unreadable")]);
    flags.append_null();
    let at = TimestampMicrosecondArray::from(vec![Some(1_780_272_000_000_000), None]).with_timezone("UTC");
    let cost = Decimal128Array::from(vec![Some(1250), None]).with_precision_and_scale(10, 2).expect("fits");
    let columns: [(&str, ArrayRef); 5] = [
        ("order_no", Arc::new(StringArray::from(vec![Some("甲\"1"), None]))),
        ("seconds", Arc::new(Int64Array::from(vec![Some(7), None]))),
        ("at", Arc::new(at)),
        ("cost", Arc::new(cost)),
        ("flags", Arc::new(flags.finish())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).expect("equal lengths")
}

#[test]
fn a_row_is_json_without_nulls_and_with_utc_times() {
    let rows = Rows::new(&rows(), &Unread::default()).expect("columns");
    let mut encoder = rows.encoder().expect("all types can be written");
    let mut written = Vec::new();
    encoder.encode(0, &mut written);
    written.push(b'\n');
    encoder.encode(1, &mut written);
    expect_test::expect![[r#"
        {"order_no":"甲\"1","seconds":7,"at":"2026-06-01T00:00:00Z","cost":12.50,"flags":["phone:unreadable"]}
        {}"#]]
    .assert_eq(std::str::from_utf8(&written).expect("JSON is text"));
}

#[test]
fn keys_are_texts_joined_and_absent_without_any_value() {
    let rows = rows();
    let show = |columns: &[&str], row| {
        let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
        let mut key = Vec::new();
        let some = Keys::new(&rows, &columns).expect("columns").write(row, &mut key).expect("text");
        some.then(|| String::from_utf8(key).expect("text"))
    };
    assert_eq!(show(&["order_no"], 0).as_deref(), Some("甲\"1"));
    assert_eq!(show(&["order_no", "seconds"], 0).as_deref(), Some("甲\"1|7"));
    assert_eq!(show(&["order_no", "seconds"], 1), None);
    assert_eq!(show(&[], 0), None);
}

#[test]
fn few_rows_are_encoded_at_a_time_and_fewer_when_they_are_long() {
    let encoded = |text: &str, count: usize| {
        let numbers: Vec<String> = (0..count).map(|number| format!("{number}")).collect();
        let columns: [(&str, ArrayRef); 2] =
            [("no", Arc::new(StringArray::from(numbers))), ("text", Arc::new(StringArray::from(vec![text; count])))];
        let batch = RecordBatch::try_from_iter(columns).expect("equal lengths");
        let rows = Rows::new(&batch, &Unread::default()).expect("columns");
        let (mut values, keys) = (rows.encoder().expect("texts"), Keys::new(&batch, &["no".into()]).expect("a column"));
        let (mut left, mut encoded, mut sizes, mut next) = (0..count, Encoded::default(), Vec::new(), 0);
        while !left.is_empty() {
            encoded.take(&mut left, &mut values, &keys).expect("texts");
            for (row, value, key) in encoded.rows() {
                assert_eq!((row, key), (next, Some(row.to_string().as_bytes())));
                let value: serde_json::Value = serde_json::from_slice(value).expect("JSON");
                assert_eq!((&value["no"], &value["text"]), (&row.to_string().into(), &text.into()));
                next += 1;
            }
            sizes.push(encoded.rows().count());
        }
        assert_eq!(next, count);
        sizes
    };
    assert_eq!(encoded("短", 2 * TOGETHER + 1), [TOGETHER, TOGETHER, 1]);
    assert_eq!(encoded(&"长".repeat(TOGETHER_BYTES / 3), 3), [1, 1, 1]);
    assert_eq!(encoded(&"长".repeat(TOGETHER_BYTES / 6), 5), [2, 2, 1]);
}

fn reject(offset: i64, row: Option<u32>, codes: &[&str]) -> Reject {
    let fault = |code: &&str| Fault {
        code: Arc::from(*code),
        field: Some(Arc::from("phone")),
        reason: "不可读".into(),
        value: None,
    };
    Reject {
        partition: Partition::new("raw", 3),
        offset,
        row,
        timestamp: None,
        key: None,
        message: None,
        payload: None,
        stage: Arc::from("checks"),
        faults: codes.iter().map(fault).collect(),
    }
}

#[test]
fn a_rejected_message_goes_out_once_with_the_faults_of_all_its_rows() {
    let rejects =
        [reject(5, Some(0), &["missing", "unreadable"]), reject(5, Some(2), &["missing"]), reject(6, None, &["x"])];
    let messages = by_message(&rejects);
    assert_eq!(messages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
    let headers = reject_headers("work_orders", "nanchang", &messages[0]);
    let shown: Vec<String> = headers
        .as_borrowed()
        .iter()
        .map(|h| format!("{}={}", h.key, std::str::from_utf8(h.value.expect("a value")).expect("text")))
        .collect();
    expect_test::expect![[r#"
        huiju.source=nanchang
        huiju.pipeline=work_orders
        huiju.topic=raw
        huiju.partition=3
        huiju.offset=5
        huiju.stage=checks
        huiju.code=missing
        huiju.field=phone
        huiju.reason=不可读
        huiju.faults=[{"row":0,"stage":"checks","code":"missing","field":"phone","reason":"不可读"},{"row":0,"stage":"checks","code":"unreadable","field":"phone","reason":"不可读"},{"row":2,"stage":"checks","code":"missing","field":"phone","reason":"不可读"}]"#]]
    .assert_eq(&shown.join("\n"));
}

/// A broker refuses headers without end, and one message may hold fifty thousand rows.
#[test]
fn of_very_many_faults_the_first_hundred_are_told() {
    let fault = |at: u32| Fault {
        code: format!("rule_{at}").into(),
        field: Some("phone".into()),
        reason: "长".repeat(20),
        value: None,
    };
    let reject = |row: u32| Reject {
        partition: Partition::new("raw", 3),
        offset: 7,
        row: Some(row),
        timestamp: None,
        key: None,
        message: None,
        payload: None,
        stage: "checks".into(),
        faults: (0..3).map(|at| fault(3 * row + at)).collect(),
    };
    let rejects: Vec<Reject> = (0..10_000).map(reject).collect();
    let headers = reject_headers("work_orders", "nanchang", &rejects.iter().collect::<Vec<_>>());
    let faults = headers.iter().find(|header| header.key == "huiju.faults").and_then(|header| header.value).unwrap();
    let faults: serde_json::Value = serde_json::from_slice(faults).unwrap();
    let codes: Vec<&str> = faults.as_array().unwrap().iter().map(|fault| fault["code"].as_str().unwrap()).collect();
    assert_eq!((codes.len(), codes[0], codes[99]), (100, "rule_0", "rule_99"));
}
