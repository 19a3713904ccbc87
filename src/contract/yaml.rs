//! A YAML file as a tree that knows where each piece stands.
//!
//! Reading straight into structs would stop at the first mistake and lose the place of what was left out. So the
//! text becomes a tree first, duplicate keys and numbers as written included, and `form.rs` asks it for fields and
//! collects what is wrong.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{
    Options, Spanned, UserMessageFormatter,
    options::{DuplicateKeyPolicy, NonFiniteFloatPolicy},
};

#[derive(Debug)]
pub(super) struct Node {
    pub line: usize,
    pub value: Value,
    /// Where its text stands in the file, in bytes.
    bytes: Option<(usize, usize)>,
}

#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// As written: `1.0` stays `1.0`.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Debug)]
pub(super) struct Key {
    pub text: String,
    pub line: usize,
}

impl Node {
    /// What people call it, with the value if it is short.
    pub fn shown(&self) -> String {
        match &self.value {
            Value::Null => "empty".to_owned(),
            Value::Bool(value) => format!("`{value}`"),
            Value::Number(text) => format!("the number `{text}`"),
            Value::Text(text) => format!("the text `{text}`"),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }

    /// The text under `key`, without any complaint.
    pub fn peek(&self, key: &str) -> Option<&str> {
        let Value::Map(entries) = &self.value else { return None };
        match entries.iter().find(|(k, _)| k.text == key) {
            Some((_, Node { value: Value::Text(text), .. })) => Some(text.trim()),
            _ => None,
        }
    }

    /// Gives numbers back the form they have in the file.
    fn restore(&mut self, source: &str) {
        match &mut self.value {
            Value::Number(text) => {
                if let Some(written) = self.bytes.and_then(|(start, len)| source.get(start..start + len)) {
                    *text = written.trim().to_owned();
                }
            }
            Value::List(nodes) => nodes.iter_mut().for_each(|node| node.restore(source)),
            Value::Map(entries) => entries.iter_mut().for_each(|(_, node)| node.restore(source)),
            _ => {}
        }
    }
}

/// The tree, or the line (if known) and what is wrong with it as YAML.
pub(super) fn parse(source: &str) -> Result<Node, (Option<usize>, String)> {
    let options: Options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    };
    let mut node: Node = serde_saphyr::from_str_with_options(source, options).map_err(|e| {
        let line = e.location().map(|at| at.line() as usize);
        if let Some(line) = line.and_then(|line| tab(source, line)) {
            return (Some(line), "a tab cannot indent: indent with blanks".to_owned());
        }
        let what = e.without_snippet().render_with_formatter(&UserMessageFormatter);
        (line, what.rsplit_once(" at line ").map_or(what.as_str(), |(what, _)| what).to_owned())
    })?;
    node.restore(source);
    Ok(node)
}

/// The line of a tab before the first word of `line`, or of the next line that has any: reading stops before it.
fn tab(source: &str, line: usize) -> Option<usize> {
    let indent = |text: &str| text.len() - text.trim_start().len();
    let lines = (1..).zip(source.lines()).skip(line.saturating_sub(1));
    let words = lines.filter(|(number, text)| {
        let text = text.trim_start();
        *number == line || !text.is_empty() && !text.starts_with('#')
    });
    let mut near = words.take(2);
    near.find(|(_, text)| text[..indent(text)].contains('\t')).map(|(number, _)| number)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        let Spanned { value, defined, .. } = Spanned::<Value>::deserialize(deserializer)?;
        let span = defined.span();
        let bytes = span.byte_offset().zip(span.byte_len()).map(|(start, len)| (start as usize, len as usize));
        Ok(Node { line: defined.line() as usize, value, bytes })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(Anything)
    }
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = seq.next_element()? {
            nodes.push(node);
        }
        Ok(Value::List(nodes))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let key = Key { line: key.defined.line() as usize, text: key.value };
            entries.push((key, map.next_value()?));
        }
        Ok(Value::Map(entries))
    }
}
