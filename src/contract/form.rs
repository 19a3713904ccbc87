//! A YAML mapping read as a form: known fields, each of a known type, and a finding for everything else.
//!
//! Every question answers with what could be used and notes what could not, so that one reading of a file finds all
//! its mistakes. `null` counts as not written.

use crate::{error::Finding, near::nearest};

use super::yaml::{Key, Node, Value};

/// What is wrong with one file.
pub(super) struct Findings {
    path: String,
    /// Each with its line, 0 for the file as a whole.
    list: Vec<(usize, Finding)>,
}

impl Findings {
    pub fn new(path: impl Into<String>) -> Findings {
        Findings { path: path.into(), list: Vec::new() }
    }
    pub fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path)
    }
    pub fn add(&mut self, line: usize, what: impl Into<String>) {
        self.list.push((line, Finding::new(self.at(line), what)));
    }
    /// About the file as a whole.
    pub fn add_whole(&mut self, what: impl Into<String>) {
        self.list.push((0, Finding::new(self.path.clone(), what)));
    }
    pub fn count(&self) -> usize {
        self.list.len()
    }
    /// In the order of the file.
    pub fn sorted(mut self) -> Vec<Finding> {
        self.list.sort_by_key(|(line, _)| *line);
        self.list.into_iter().map(|(_, finding)| finding).collect()
    }
    /// `value`, if nothing is wrong.
    pub fn or<T>(self, value: T) -> Result<T, Vec<Finding>> {
        if self.list.is_empty() { Ok(value) } else { Err(self.sorted()) }
    }
}

/// `; did you mean …`, or what else to do.
pub(super) fn hint(word: &str, known: &[&str], otherwise: &str) -> String {
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => otherwise.to_owned(),
    }
}

/// Texts in Chinese are what people at the hotline read.
pub(super) fn is_chinese(text: &str) -> bool {
    text.chars().any(|c| matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{2ebef}'))
}

pub(super) struct Form<'n> {
    entries: &'n [(Key, Node)],
    pub line: usize,
    /// What people call it: ``column `lamp_no` ``.
    pub what: String,
}

impl<'n> Form<'n> {
    /// Notes keys that are not in `known` and keys that are written twice.
    pub fn open(node: &'n Node, what: impl Into<String>, known: &[&str], findings: &mut Findings) -> Option<Form<'n>> {
        let what = what.into();
        let Value::Map(entries) = &node.value else {
            findings.add(node.line, format!("{what} is {}: write it as a mapping (`key: value`)", node.shown()));
            return None;
        };
        for (index, (key, _)) in entries.iter().enumerate() {
            if let Some((first, _)) = entries[..index].iter().find(|(k, _)| k.text == key.text) {
                let first = first.line;
                findings
                    .add(key.line, format!("`{}` of {what} is written in line {first} already: keep one", key.text));
            } else if !known.contains(&key.text.as_str()) {
                let before = index.checked_sub(1).map(|before| &entries[before]);
                if let Some((key_before, Node { value: Value::Text(begun), .. })) = before
                    && key.text.ends_with(')')
                    && begun.contains('(')
                    && !begun.contains(')')
                {
                    let (name, whole) = (&key_before.text, format!("{begun},{}", key.text));
                    let todo = format!("in braces a comma ends a value, put it in quotes: `{name}: \"{whole}\"`");
                    findings.add(key.line, format!("{what} cannot have the key `{}`: {todo}", key.text));
                    continue;
                }
                let otherwise = "remove it, or make it one of the `customProperties`";
                let todo = hint(&key.text, known, otherwise);
                findings.add(key.line, format!("{what} cannot have the key `{}`: {todo}", key.text));
            }
        }
        Some(Form { entries, line: node.line, what })
    }

    pub fn get(&self, key: &str) -> Option<&'n Node> {
        let (_, node) = self.entries.iter().find(|(k, _)| k.text == key)?;
        (!matches!(node.value, Value::Null)).then_some(node)
    }

    fn wrong(&self, key: &str, node: &Node, todo: &str, findings: &mut Findings) {
        findings.add(node.line, format!("`{key}` of {} is {}: {todo}", self.what, node.shown()));
    }

    /// A text and its line.
    pub fn text(&self, key: &str, findings: &mut Findings) -> Option<(&'n str, usize)> {
        let node = self.get(key)?;
        match &node.value {
            Value::Text(text) if !text.trim().is_empty() => return Some((text.trim(), node.line)),
            Value::Text(_) => self.wrong(key, node, "write a text or remove it", findings),
            Value::Number(text) => self.wrong(key, node, &format!("put it in quotes, `\"{text}\"`"), findings),
            _ => self.wrong(key, node, "write a text", findings),
        }
        None
    }

    /// A text that must be there. `todo` says what to write.
    pub fn need(&self, key: &str, todo: &str, findings: &mut Findings) -> Option<(&'n str, usize)> {
        if self.get(key).is_none() {
            findings.add(self.line, format!("{} has no `{key}`: {todo}", self.what));
        }
        self.text(key, findings)
    }

    pub fn truth(&self, key: &str, findings: &mut Findings) -> Option<bool> {
        let node = self.get(key)?;
        let Value::Bool(value) = node.value else {
            self.wrong(key, node, "write `true` or `false`", findings);
            return None;
        };
        Some(value)
    }

    /// A whole number from 0.
    pub fn count(&self, key: &str, findings: &mut Findings) -> Option<usize> {
        let node = self.get(key)?;
        if let Value::Number(text) = &node.value
            && let Ok(number) = text.parse()
        {
            return Some(number);
        }
        self.wrong(key, node, "write a whole number, such as `64`", findings);
        None
    }

    pub fn list(&self, key: &str, findings: &mut Findings) -> &'n [Node] {
        let Some(node) = self.get(key) else { return &[] };
        let Value::List(nodes) = &node.value else {
            self.wrong(key, node, "write a list (`- …`)", findings);
            return &[];
        };
        nodes
    }

    /// Our own custom properties, in the order they are written. Those of other tools are left alone, unless the name
    /// looks like one of ours misspelt.
    pub fn custom(&self, ours: &[&'static str], findings: &mut Findings) -> Vec<(&'static str, &'n Node)> {
        let mut found: Vec<(&'static str, &Node)> = Vec::new();
        for node in self.list("customProperties", findings) {
            let what = format!("a custom property of {}", self.what);
            let Some(form) = Form::open(node, what, &["id", "property", "value", "description"], findings) else {
                continue;
            };
            let Some((name, line)) = form.need("property", "write its name", findings) else { continue };
            let Some(known) = ours.iter().find(|o| **o == name) else {
                if let Some(near) = ours.iter().find(|o| is_slip(name, o)) {
                    let todo =
                        format!("did you mean `{near}`? If it is another tool's, put that tool's name before it");
                    findings.add(line, format!("{} has the custom property `{name}`: {todo}", self.what));
                }
                continue;
            };
            if found.iter().any(|(n, _)| n == known) {
                findings.add(line, format!("{} has the custom property `{name}` twice: keep one", self.what));
                continue;
            }
            match form.get("value") {
                Some(value) => found.push((known, value)),
                None => {
                    findings.add(line, format!("custom property `{name}` of {} has no `value`: write it", self.what))
                }
            }
        }
        found
    }

    /// The text of a custom property.
    pub fn custom_text(&self, name: &str, node: &'n Node, findings: &mut Findings) -> Option<&'n str> {
        match &node.value {
            Value::Text(text) if !text.trim().is_empty() => Some(text.trim()),
            _ => {
                self.wrong(name, node, "write a text", findings);
                None
            }
        }
    }
}

/// One slip of the pen away: a letter more, less or other, two letters swapped, other case.
fn is_slip(word: &str, known: &str) -> bool {
    word.len() <= 100 && strsim::damerau_levenshtein(&word.to_lowercase(), known) <= 1
}
