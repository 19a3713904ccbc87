//! Rejects as lines of JSON.

use serde::Serialize;

use crate::batch::Reject;

#[derive(Serialize)]
struct RejectLine<'r> {
    source: &'r str,
    topic: &'r str,
    partition: i32,
    offset: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<u32>,
    /// Milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<i64>,
    stage: &'r str,
    faults: Vec<FaultLine<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'r str>,
    /// In place of `key` when it is not UTF-8; likewise below.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_hex: Option<String>,
    /// The row's own bytes, or the message's.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_hex: Option<String>,
}

#[derive(Serialize)]
struct FaultLine<'r> {
    code: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'r str>,
    reason: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'r str>,
}

/// Appends a reject's line.
pub(super) fn reject(source: &str, reject: &Reject, out: &mut Vec<u8>) {
    let (key, key_hex) = text_or_hex(reject.key.as_deref());
    let (payload, payload_hex) = text_or_hex(reject.payload.as_deref());
    let faults = reject.faults.iter().map(|fault| FaultLine {
        code: &fault.code,
        field: fault.field.as_deref(),
        reason: &fault.reason,
        value: fault.value.as_deref(),
    });
    let line = RejectLine {
        source,
        topic: &reject.partition.topic,
        partition: reject.partition.number,
        offset: reject.offset,
        row: reject.row,
        timestamp: reject.timestamp,
        stage: &reject.stage,
        faults: faults.collect(),
        key,
        key_hex,
        payload,
        payload_hex,
    };
    serde_json::to_writer(&mut *out, &line).expect("texts and numbers go into memory");
    out.push(b'\n');
}

fn text_or_hex(bytes: Option<&[u8]>) -> (Option<&str>, Option<String>) {
    let Some(bytes) = bytes else { return (None, None) };
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(_) => (None, Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())),
    }
}
