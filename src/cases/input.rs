//! The messages of a case, as their lines say.

use std::path::Path;

use super::json::{self, Entries};
use crate::{
    near::did_you_mean,
    runtime::build::Prepared,
    text::charset::{encode, encode_json},
};

/// A message of a case: its source, and the message as it would be fetched.
pub(super) struct Sent {
    /// The line it is written in.
    pub line: usize,
    pub source: usize,
    pub at: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub payload: Option<Vec<u8>>,
}

/// The keys of a line of the input.
const KEYS: [&str; 6] = ["source", "at", "key", "message", "text", "hex"];

/// The messages, or all that is wrong with their lines.
pub(super) fn read(prepared: &Prepared, path: &Path) -> Result<Vec<Sent>, Vec<String>> {
    let lines = json::lines(path, |line| message(prepared, json::entries(line)?))?;
    Ok(lines.into_iter().map(|(line, sent)| Sent { line, ..sent }).collect())
}

/// A line of the input, or what is wrong with it.
fn message(prepared: &Prepared, entries: Entries) -> Result<Sent, String> {
    if let Some((key, _)) = entries.iter().find(|(key, _)| !KEYS.contains(&key.as_str())) {
        let near = did_you_mean(key, KEYS);
        return Err(format!("there is no key \"{key}\"{near}; the keys are {}", KEYS.join(", ")));
    }
    let raw = |key: &str| entries.iter().find(|(name, _)| name == key).map(|(_, value)| value.get());
    let text = |key: &str| match raw(key) {
        None | Some("null") => Ok(None),
        Some(json) => match serde_json::from_str::<String>(json) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(format!("{key} is {json}: write a text, in quotes")),
        },
    };
    let names = || prepared.pipeline.sources.iter().map(|source| source.name.as_ref());
    let known = || names().collect::<Vec<_>>().join(", ");
    let name = text("source")?.ok_or_else(|| format!("has no source: the sources are {}", known()))?;
    let source = names().position(|known| known == name).ok_or_else(|| {
        format!("there is no source \"{name}\"{}; the sources are {}", did_you_mean(&name, names()), known())
    })?;
    let at = match text("at")? {
        None => None,
        Some(text) => match chrono::DateTime::parse_from_rfc3339(&text) {
            Ok(time) => Some(time.timestamp_millis()),
            Err(_) => return Err(format!("at \"{text}\" is no time with its zone: write 2026-06-01T08:00:00+08:00")),
        },
    };
    let charset = prepared.pipeline.sources[source].charset;
    let payload = match (raw("message"), text("text")?, text("hex")?) {
        (Some("null"), None, None) => None,
        (Some(message), None, None) => Some(encode_json(message, charset)),
        (None, Some(text), None) => {
            let bytes = encode(&text, charset);
            Some(bytes.ok_or("text has a character that the source's charset does not have: write it as hex")?)
        }
        (None, None, Some(hex)) => {
            Some(from_hex(&hex).ok_or_else(|| format!("hex \"{hex}\" is not hexadecimal: write 7b7d for {{}}"))?)
        }
        _ => return Err("has none, or more than one, of message, text and hex".to_owned()),
    };
    Ok(Sent { line: 0, source, at, key: text("key")?.map(String::into_bytes), payload })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || text.len() % 2 == 1 {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}
