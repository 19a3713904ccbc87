//! One strict pass over a message's text, into the columns.
//!
//! `serde_json` walks the text; we tell it where values go. A string without escapes is copied from where it stands. Other
//! values are taken as raw text, which it skips without recursion, so that a number keeps its own digits and a hundred
//! thousand brackets cost no stack.

use std::{fmt, sync::Arc};

use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Deserializer, Error, value::RawValue};

use super::{
    bad::{Bad, DUPLICATE_KEY, NOT_AN_OBJECT, TOO_DEEP, TOO_LARGE},
    columns::{Column, Table, Texts},
};

/// A value kept as JSON text may be nested this deep; whoever takes it apart later may be recursive.
const DEEPEST: usize = 64;

/// A message may hold this many rows: `[{},{},…]` must not turn a few megabytes into gigabytes of rows.
pub(super) const MOST_ROWS: usize = 50_000;

/// Reads an object into a new row of `table`. On `Err` the row must be taken back.
pub(super) fn object(text: &str, table: &mut Table) -> Result<(), Bad> {
    whole(text, |json, reading| json.deserialize_map(Object { table, reading }))
}

/// The elements of an array, each as its text.
pub(super) fn elements(text: &str) -> Result<Vec<&str>, Bad> {
    let mut found = Vec::new();
    whole(text, |json, reading| json.deserialize_seq(Elements { found: &mut found, reading }))?;
    Ok(found)
}

/// What is wrong with a text that is neither an object nor an array.
pub(super) fn scalar(text: &str) -> Bad {
    let read = whole(text, |json, _| IgnoredAny::deserialize(json));
    let not_an_object = |_| Bad::new(NOT_AN_OBJECT, leading(text), "消息不是 JSON 对象，而是单个值");
    read.map_or_else(|bad| bad, not_an_object)
}

/// Offset of the first byte that is not white space.
pub(super) fn leading(text: &str) -> usize {
    text.len() - text.trim_start_matches([' ', '\t', '\r', '\n']).len()
}

pub(super) fn too_large() -> Bad {
    Bad::new(TOO_LARGE, None, "一批消息中同一字段的内容超过 2 GiB")
}

/// Reads a text that must be one JSON value and nothing else.
pub(super) fn whole<'t, T>(
    text: &'t str,
    read: impl FnOnce(&mut Deserializer<serde_json::de::StrRead<'t>>, &mut Reading<'t>) -> Result<T, Error>,
) -> Result<T, Bad> {
    let mut reading = Reading { text, bad: None, field: None };
    let mut json = Deserializer::from_str(text);
    let value = read(&mut json, &mut reading).map_err(|error| reading.explain(&error))?;
    json.end().map_err(|error| Bad::trailing(text, &error))?;
    Ok(value)
}

/// The text being read, and what we ourselves found wrong with it.
pub(super) struct Reading<'t> {
    text: &'t str,
    bad: Option<Bad>,
    /// In whose value `serde_json` has stopped, if that is known.
    field: Option<Arc<str>>,
}

impl Reading<'_> {
    /// Where a piece of the text stands in it; `None` for what is no piece of it.
    pub fn place(&self, piece: &str) -> Option<usize> {
        let at = (piece.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        (at <= self.text.len()).then_some(at)
    }

    /// The first byte of the value that follows a key, so that we can tell `serde_json` what to expect. `None` when that
    /// is not plain to see: then the value has to be taken as raw text first.
    pub fn opens(&self, key: Option<&str>) -> Option<u8> {
        let key = key?;
        let mut rest = self.text.as_bytes().get(self.place(key)? + key.len() + 1..)?.trim_ascii_start();
        rest = rest.strip_prefix(b":")?.trim_ascii_start();
        rest.first().copied()
    }

    /// Makes `serde_json` stop; what is wrong is kept here.
    #[cold]
    pub fn stop<E: serde::de::Error>(&mut self, bad: Bad) -> E {
        self.bad = Some(bad);
        E::custom("")
    }

    /// The same for what went wrong in a piece of the text.
    #[cold]
    pub fn stop_in<E: serde::de::Error>(&mut self, piece: &str, bad: Bad) -> E {
        let start = self.place(piece).unwrap_or(0);
        self.stop(bad.shifted(start))
    }

    fn explain(&mut self, error: &Error) -> Bad {
        let syntax = || Bad { field: self.field.take(), ..Bad::syntax(self.text, error) };
        self.bad.take().unwrap_or_else(syntax)
    }
}

/// The used field that a key names, if any, and the key's text if it stands in the message as it is.
type Named<'de> = (Option<usize>, Option<&'de str>);

struct Key<'k>(&'k mut Table);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Named<'de>;
    #[inline]
    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Named<'de>, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key<'_> {
    type Value = Named<'de>;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a key")
    }
    #[inline]
    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Named<'de>, E> {
        Ok((self.0.keys.find(key), Some(key)))
    }
    fn visit_str<E>(self, key: &str) -> Result<Named<'de>, E> {
        Ok((self.0.keys.find(key), None))
    }
}

/// An object, into a new row of a table.
struct Object<'o, 't> {
    table: &'o mut Table,
    reading: &'o mut Reading<'t>,
}

impl<'de> DeserializeSeed<'de> for Object<'_, '_> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, '_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.table.begin();
        while let Some((field, key)) = map.next_key_seed(Key(self.table))? {
            match field {
                Some(field) => value(&mut map, self.table, field, key, self.reading)?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        self.table.end();
        Ok(())
    }
}

/// The value of a used field, into its column.
#[inline]
pub(super) fn value<'de, A: MapAccess<'de>>(
    map: &mut A,
    table: &mut Table,
    field: usize,
    key: Option<&str>,
    reading: &mut Reading,
) -> Result<(), A::Error> {
    unwritten(table, field, key, reading)?;
    let (name, column) = (&table.names[field], &mut table.columns[field]);
    match (column, reading.opens(key)) {
        (Column::Text(texts), Some(b'"')) => match map.next_value_seed(Quoted(texts)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(reading.stop(too_large().of_field(name))),
            Err(error) => {
                reading.field = Some(name.clone());
                Err(error)
            }
        },
        (Column::Struct(table), Some(b'{')) => map.next_value_seed(Object { table, reading }),
        (column, _) => {
            let raw: &RawValue = map.next_value()?;
            write(raw.get(), column, name).map_err(|bad| reading.stop_in(raw.get(), bad))
        }
    }
}

/// A string, into a column; tells whether it fits.
struct Quoted<'q>(&'q mut Texts);

impl<'de> DeserializeSeed<'de> for Quoted<'_> {
    type Value = bool;
    #[inline]
    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<bool, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Quoted<'_> {
    type Value = bool;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a string")
    }
    #[inline]
    fn visit_str<E>(self, text: &str) -> Result<bool, E> {
        Ok(self.0.push(text))
    }
}

/// Refuses a key that comes a second time: which of the two is meant?
#[inline]
pub(super) fn unwritten<E: serde::de::Error>(
    table: &Table,
    field: usize,
    key: Option<&str>,
    reading: &mut Reading,
) -> Result<(), E> {
    if table.columns[field].rows() < table.rows() {
        return Ok(());
    }
    let at = key.and_then(|key| reading.place(key));
    Err(reading.stop(Bad::new(DUPLICATE_KEY, at, "同一个键出现了不止一次").of_field(&table.names[field])))
}

/// A value's raw text, into its column.
#[inline]
pub(super) fn write(raw: &str, column: &mut Column, name: &Arc<str>) -> Result<(), Bad> {
    match column {
        Column::Text(texts) => text(raw, texts),
        Column::Struct(table) if raw.starts_with('{') => object(raw, table),
        // A message's fields must not get lost without a word because their parent is no object. But an empty text and
        // an empty array (which is how PHP writes an object without fields) say nothing that could get lost.
        Column::Struct(table) => {
            let says_nothing = match raw.as_bytes() {
                [b'"', .., b'"'] | [b'[', .., b']'] => raw[1..raw.len() - 1].trim().is_empty(),
                raw => raw == b"null",
            };
            if says_nothing {
                table.push_null();
                return Ok(());
            }
            Err(Bad::new(NOT_AN_OBJECT, 0, "此字段应为 JSON 对象"))
        }
    }
    .map_err(|bad| if bad.field.is_none() { bad.of_field(name) } else { bad })
}

/// A value's raw text, as text: strings without quotes and escapes, everything else as it is written.
#[inline]
fn text(raw: &str, texts: &mut Texts) -> Result<(), Bad> {
    let fits = match raw.as_bytes() {
        [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => texts.push(&raw[1..raw.len() - 1]),
        [b'"', ..] => texts.push(&unescaped(raw)?),
        b"null" => {
            texts.push_null();
            true
        }
        [b'[' | b'{', ..] => {
            shallow(raw)?;
            texts.push(raw)
        }
        _ => texts.push(raw),
    };
    if fits { Ok(()) } else { Err(too_large()) }
}

fn unescaped(raw: &str) -> Result<String, Bad> {
    serde_json::from_str(raw).map_err(|error| Bad::syntax(raw, &error))
}

/// Refuses JSON text that is nested deeper than [`DEEPEST`]. The text is known to be well-formed.
fn shallow(raw: &str) -> Result<(), Bad> {
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for (at, byte) in raw.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'[' | b'{' => {
                depth += 1;
                if depth > DEEPEST {
                    return Err(Bad::new(TOO_DEEP, at, format!("JSON 嵌套超过 {DEEPEST} 层")));
                }
            }
            b']' | b'}' => depth -= 1,
            _ => {}
        }
    }
    Ok(())
}

/// An array's elements, as their texts.
pub(super) struct Elements<'e, 't, 'de> {
    pub found: &'e mut Vec<&'de str>,
    pub reading: &'e mut Reading<'t>,
}

impl<'de> DeserializeSeed<'de> for Elements<'_, '_, 'de> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Elements<'_, '_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an array")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(element) = seq.next_element::<&RawValue>()? {
            if self.found.len() == MOST_ROWS {
                let what = format!("一条消息的行数超过上限 {MOST_ROWS}，请分批发送");
                let at = self.reading.place(element.get());
                return Err(self.reading.stop(Bad::new(TOO_LARGE, at, what)));
            }
            self.found.push(element.get());
        }
        Ok(())
    }
}
