//! What cannot go on, with everything needed to understand and to replay it.

use std::{cell::RefCell, sync::Arc};

use bytes::Bytes;

use super::Decoded;
use crate::batch::{Fault, Fetched, Gap, LONGEST_LINE, Message, Reject};

/// A reject for a decoded row.
pub fn reject(fetched: &Fetched, decoded: &Decoded, row: usize, stage: Arc<str>, faults: Vec<Fault>) -> Reject {
    let place = decoded.places[row];
    let number = decoded.origins[row].row;
    let mut reject = bare(fetched, place.message, stage, faults);
    copy(&mut reject, fetched, place.message, place.part, &decoded.copies);
    reject.row = Some(number);
    reject
}

/// A reject for what could not be decoded: a message, or a row of one with its number and its part of the message.
pub(super) fn unread(
    fetched: &Fetched,
    message: u32,
    row: Option<(u32, Option<(u32, u32)>)>,
    fault: Fault,
    copies: &Copies,
) -> Reject {
    let mut reject = bare(fetched, message, "decode".into(), vec![fault]);
    copy(&mut reject, fetched, message, row.and_then(|(_, part)| part), copies);
    reject.row = row.map(|(number, _)| number);
    reject
}

/// A reject for each gap of the batch: one line in the account for messages that nobody can count any more.
pub fn gap_rejects(fetched: &Fetched) -> Vec<Reject> {
    fetched.gaps.iter().map(gap).collect()
}

fn gap(Gap { lost, code, timestamp }: &Gap) -> Reject {
    let too_large = format!("是一行超过 {} MiB 的消息，没有读入；请拆成较短的行，写入新名称的文件", LONGEST_LINE >> 20);
    let why = match *code {
        "gap.retention" => "的消息尚未读取，已超过保留期被删除",
        "gap.truncated" => "的内容不是完整的一行：文件被截短或改写过",
        "decode.too_large" => &too_large,
        _ => "的消息尚未读取就已丢失",
    };
    let reason = format!("偏移 {} 至 {}（不含）{why}", lost.from, lost.next);
    Reject {
        partition: lost.partition.clone(),
        offset: lost.from,
        row: None,
        timestamp: *timestamp,
        key: None,
        message: None,
        payload: None,
        stage: "fetch".into(),
        faults: vec![Fault { code: (*code).into(), field: None, reason, value: None }],
    }
}

/// Where it stood; without the message's bytes.
fn bare(fetched: &Fetched, message: u32, stage: Arc<str>, faults: Vec<Fault>) -> Reject {
    let message: &Message = &fetched.messages[message as usize];
    Reject {
        partition: fetched.partition(message).clone(),
        offset: message.offset,
        row: None,
        timestamp: message.timestamp,
        key: fetched.key(message).map(Bytes::copy_from_slice),
        message: None,
        payload: None,
        stage,
        faults,
    }
}

fn copy(reject: &mut Reject, fetched: &Fetched, message: u32, part: Option<(u32, u32)>, copies: &Copies) {
    reject.message = copies.of(fetched, message);
    reject.payload = match (&reject.message, part) {
        (Some(whole), Some((start, len))) => Some(whole.slice(start as usize..(start + len) as usize)),
        (whole, _) => whole.clone(),
    };
}

/// The message copied last. Rejects come in the order of their messages, so one is enough for a thousand rejects of an
/// envelope to share one copy of it.
#[derive(Debug, Default)]
pub(super) struct Copies(RefCell<Option<(u32, Bytes)>>);

impl Copies {
    fn of(&self, fetched: &Fetched, message: u32) -> Option<Bytes> {
        let mut last = self.0.borrow_mut();
        if let Some((_, bytes)) = last.as_ref().filter(|(index, _)| *index == message) {
            return Some(bytes.clone());
        }
        let payload = fetched.payload(&fetched.messages[message as usize])?;
        let bytes = Bytes::copy_from_slice(payload);
        *last = Some((message, bytes.clone()));
        Some(bytes)
    }
}
