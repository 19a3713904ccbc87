//! Why a message or a row cannot be read: codes from a closed list, and reasons for people, in Chinese.
//!
//! Reasons name fields and byte positions, never values: they go where the data must not go. Positions are offsets
//! from the message's first byte, which is 0, in the message as received: before transcoding, byte order mark included.

use std::{borrow::Cow, sync::Arc};

use serde_json::error::Category;

use crate::batch::Fault;

pub(super) const EMPTY: &str = "decode.empty";
pub(super) const TOMBSTONE: &str = "decode.tombstone";
pub(super) const ENCODING: &str = "decode.encoding";
pub(super) const SYNTAX: &str = "decode.syntax";
pub(super) const TRAILING: &str = "decode.trailing";
pub(super) const NOT_AN_OBJECT: &str = "decode.not_an_object";
pub(super) const DUPLICATE_KEY: &str = "decode.duplicate_key";
pub(super) const TOO_DEEP: &str = "decode.too_deep";
pub(super) const TOO_LARGE: &str = "decode.too_large";
pub(super) const NO_ROWS: &str = "decode.no_rows";

/// What is wrong, and where.
#[derive(Debug)]
pub(super) struct Bad {
    pub code: &'static str,
    /// Offset within the text that was read; [`super::charset::Text::origin`] leads back to the message.
    pub at: Option<usize>,
    pub field: Option<Arc<str>>,
    pub what: Cow<'static, str>,
}

impl Bad {
    pub fn new(code: &'static str, at: impl Into<Option<usize>>, what: impl Into<Cow<'static, str>>) -> Bad {
        Bad { code, at: at.into(), field: None, what: what.into() }
    }

    pub fn of_field(mut self, field: &Arc<str>) -> Bad {
        self.field = Some(field.clone());
        self
    }

    /// Moves the position: what was read began at `start`.
    pub fn shifted(mut self, start: usize) -> Bad {
        self.at = self.at.map(|at| at + start);
        self
    }

    /// A syntax error of `text`.
    pub fn syntax(text: &str, error: &serde_json::Error) -> Bad {
        if error.classify() == Category::Eof {
            return Bad::new(SYNTAX, text.len(), chinese(error));
        }
        let (mut at, said) = (position(text, error), error.to_string());
        if said.starts_with("invalid number") && at + 1 >= text.len() && cut_number(text) {
            return Bad::new(SYNTAX, text.len(), "JSON 不完整：数字没有结束");
        }
        if said.starts_with("control character") {
            // `serde_json` has read the character, or not yet.
            at += usize::from(text.as_bytes().get(at).is_some_and(|byte| *byte >= 0x20));
        }
        if said.starts_with("invalid escape") {
            at = no_hex_digit(text.as_bytes(), at).unwrap_or(at);
        }
        Bad::new(SYNTAX, at, chinese(error))
    }

    /// Something follows the value that a message is.
    pub fn trailing(text: &str, error: &serde_json::Error) -> Bad {
        Bad::new(TRAILING, position(text, error), "JSON 结束之后还有多余内容，一条消息只能有一个 JSON 值")
    }

    pub fn into_fault(self) -> Fault {
        let reason = match self.at {
            Some(at) => format!("{}（字节位置 {at}）", self.what),
            None => self.what.into_owned(),
        };
        Fault { code: self.code.into(), field: self.field, reason, value: None }
    }
}

/// The offset of the offending byte. `serde_json` counts lines from 1 and says how many bytes of the line it has read:
/// none when the last one was the newline before it.
fn position(text: &str, error: &serde_json::Error) -> usize {
    let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
    let line = std::iter::once(0).chain(newlines).nth(error.line().saturating_sub(1)).unwrap_or(0);
    (line + error.column()).saturating_sub(1).min(text.len())
}

/// Whether a text ends within a number that further digits would complete.
fn cut_number(text: &str) -> bool {
    let before = text.trim_end_matches(|c: char| c.is_ascii_digit() || "+-.eE".contains(c));
    let number = format!("{}0", &text[before.len()..]);
    before.len() < text.len() && serde_json::from_str::<&serde_json::value::RawValue>(&number).is_ok()
}

/// The byte that is none of the four digits of an escape `\u` which ends at a place: all four are read at once.
fn no_hex_digit(text: &[u8], last: usize) -> Option<usize> {
    let first = last.checked_sub(3)?;
    let before = text.get(..first)?.strip_suffix(b"u")?;
    let slashes = before.iter().rev().take_while(|byte| **byte == b'\\').count();
    (slashes % 2 == 1).then(|| (first..=last).find(|at| text.get(*at).is_some_and(|byte| !byte.is_ascii_hexdigit())))?
}

/// `serde_json`'s words in Chinese. Its own text is never passed on: it may quote the data.
fn chinese(error: &serde_json::Error) -> &'static str {
    let text = error.to_string();
    let known = [
        ("EOF while parsing a list", "JSON 不完整：数组没有结束"),
        ("EOF while parsing an object", "JSON 不完整：对象没有结束"),
        ("EOF while parsing a string", "JSON 不完整：字符串没有结束"),
        ("EOF", "JSON 不完整：缺少值"),
        ("expected `:`", "JSON 语法错误：键之后应为冒号"),
        ("expected `,` or `]`", "JSON 语法错误：数组中应为逗号或右方括号"),
        ("expected `,` or `}`", "JSON 语法错误：对象中应为逗号或右花括号"),
        ("expected ident", "JSON 语法错误：只认 true、false、null"),
        ("expected value", "JSON 语法错误：此处应为一个值"),
        ("invalid escape", "JSON 语法错误：无效的转义"),
        ("invalid number", "JSON 语法错误：数字写法无效"),
        ("number out of range", "JSON 语法错误：数字超出范围"),
        ("control character", "JSON 语法错误：字符串中有未转义的控制字符"),
        ("key must be a string", "JSON 语法错误：键必须是带双引号的字符串"),
        ("lone leading surrogate", "JSON 语法错误：转义中的代理项不成对"),
        ("unexpected end of hex escape", "JSON 语法错误：转义中的代理项不成对"),
        ("trailing comma", "JSON 语法错误：多余的逗号"),
        ("recursion limit", "JSON 嵌套过深"),
    ];
    known.iter().find(|(start, _)| text.starts_with(start)).map_or("JSON 语法错误", |(_, chinese)| chinese)
}
