//! JSON as it is written: numbers keep all their digits, a key that is there twice is a mistake, and a member that is
//! `null` is as if it were not there.

use std::{collections::BTreeMap, fmt, io, path::Path};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{error::Category, value::RawValue};

use crate::file;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Json {
    Null,
    Flag(bool),
    Number(Number),
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

/// A number as it is written. `1.50` equals `1.5` and `1.5e0`, but `1` does not equal `1.0`.
#[derive(Clone, Debug)]
pub(super) struct Number(String);

/// An object's members in their order.
pub(super) type Entries = Vec<(String, Box<RawValue>)>;

/// How deep a value may be nested.
const DEEPEST: usize = 100;

/// The members of an object.
pub(super) fn entries(text: &str) -> Result<Entries, String> {
    struct Object(Entries);
    impl<'de> Deserialize<'de> for Object {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object, D::Error> {
            struct Members;
            impl<'de> Visitor<'de> for Members {
                type Value = Object;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                    let mut entries = Vec::new();
                    while let Some(entry) = map.next_entry()? {
                        entries.push(entry);
                    }
                    Ok(Object(entries))
                }
            }
            deserializer.deserialize_map(Members)
        }
    }
    let Object(entries) = serde_json::from_str(text).map_err(|error| why(text, &error))?;
    let mut keys: Vec<&String> = entries.iter().map(|(key, _)| key).collect();
    keys.sort();
    match keys.windows(2).find(|two| two[0] == two[1]) {
        Some(two) => Err(format!("\"{}\" is there twice: keep one", two[0])),
        None => Ok(entries),
    }
}

/// An object of these members.
pub(super) fn object(entries: Entries) -> Result<Json, String> {
    nested_object(entries, DEEPEST)
}

fn nested_object(entries: Entries, deepest: usize) -> Result<Json, String> {
    let mut members = BTreeMap::new();
    for (key, raw) in entries {
        match value(raw.get(), deepest)? {
            Json::Null => {}
            member => drop(members.insert(key, member)),
        }
    }
    Ok(Json::Object(members))
}

/// What a text says that is known to be JSON.
fn value(text: &str, deepest: usize) -> Result<Json, String> {
    let Some(deeper) = deepest.checked_sub(1) else { return Err(format!("is nested more than {DEEPEST} deep")) };
    Ok(match text.as_bytes().first() {
        Some(b'{') => nested_object(entries(text)?, deeper)?,
        Some(b'[') => {
            let items: Vec<Box<RawValue>> = serde_json::from_str(text).map_err(|error| why(text, &error))?;
            Json::List(items.iter().map(|item| value(item.get(), deeper)).collect::<Result<_, _>>()?)
        }
        Some(b'"') => Json::Text(serde_json::from_str(text).map_err(|error| why(text, &error))?),
        Some(b'n') => Json::Null,
        Some(b't' | b'f') => Json::Flag(text == "true"),
        _ => Json::Number(Number(text.to_owned())),
    })
}

/// What is wrong with a line, with the column: the line is known.
fn why(line: &str, error: &serde_json::Error) -> String {
    let said = error.to_string();
    let said = said.rsplit_once(" at line ").map_or(said.as_str(), |(said, _)| said);
    let read = line.as_bytes().iter().take(error.column()).filter(|byte| **byte & 0xC0 != 0x80).count();
    match error.classify() {
        Category::Eof => format!("the JSON is cut short ({said})"),
        Category::Data => "write an object, {…}".to_owned(),
        _ => format!("{said} (column {read})"),
    }
}

/// The lines of a file with their numbers, as `read` reads them; none when it is not there. All that is wrong with them
/// otherwise.
pub(super) fn lines<T>(path: &Path, read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<(usize, T)>, Vec<String>> {
    let shown = path.display();
    let bytes = match file::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(vec![format!("{shown}: {error}")]),
    };
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        Err(error) => {
            let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
            return Err(vec![format!("{shown}:{line}: this is not UTF-8: save the file as UTF-8")]);
        }
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut values, mut wrong) = (Vec::new(), Vec::new());
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        match read(line) {
            Ok(value) => values.push((number, value)),
            Err(what) => wrong.push(format!("{shown}:{number}: {what}")),
        }
    }
    if wrong.is_empty() { Ok(values) } else { Err(wrong) }
}

impl Json {
    pub fn number(number: impl fmt::Display) -> Json {
        Json::Number(Number(number.to_string()))
    }

    pub fn text(text: &str) -> Json {
        Json::Text(text.to_owned())
    }

    /// An object of those members that are there.
    pub fn of(members: impl IntoIterator<Item = (&'static str, Option<Json>)>) -> Json {
        Json::Object(members.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect())
    }
}

impl Number {
    /// Sign, digits, the exponent of the last one, and whether it is written as an integer.
    fn exactly(&self) -> (bool, &str, String, i64, bool) {
        let (negative, text) = match self.0.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, self.0.as_str()),
        };
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        let digits = all.trim_start_matches('0').trim_end_matches('0');
        // An exponent that is no i64 stays as it is written.
        let (unread, exponent) = exponent.parse::<i64>().map_or((exponent, 0), |exponent| ("", exponent));
        let last = exponent.saturating_sub(fraction.len() as i64);
        let last = last.saturating_add((all.len() - all.trim_end_matches('0').len()) as i64);
        let integer = !text.contains(['.', 'e', 'E']);
        match digits {
            "" => (false, "", String::new(), 0, integer),
            _ => (negative, unread, digits.to_owned(), last, integer),
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Number) -> bool {
        self.0 == other.0 || self.exactly() == other.exactly()
    }
}

impl Eq for Number {}

impl Json {
    /// Whether both are numbers of which a double knows no difference.
    pub(super) fn is_same_double(&self, other: &Json) -> bool {
        let double = |value: &Json| match value {
            Json::Number(Number(text)) => text.parse::<f64>().ok(),
            _ => None,
        };
        double(self).is_some_and(|one| double(other) == Some(one))
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let comma = |at: usize| if at > 0 { "," } else { "" };
        match self {
            Json::Null => f.write_str("null"),
            Json::Flag(flag) => write!(f, "{flag}"),
            Json::Number(Number(text)) => f.write_str(text),
            Json::Text(text) => f.write_str(&quoted(text)),
            Json::List(items) => {
                f.write_str("[")?;
                for (at, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", comma(at))?;
                }
                f.write_str("]")
            }
            Json::Object(members) => {
                f.write_str("{")?;
                for (at, (key, member)) in members.iter().enumerate() {
                    write!(f, "{}{}:{member}", comma(at), quoted(key))?;
                }
                f.write_str("}")
            }
        }
    }
}
