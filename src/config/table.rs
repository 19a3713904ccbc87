//! Reads a TOML file so that all its mistakes are told at once, each with its line.
//!
//! serde stops at the first mistake. Here a [`Table`] hands out its keys one by one, remembers what it was asked
//! for, and calls what is left over unknown. A value that cannot be used leaves a finding and `None` behind, so the
//! reader goes on; the file is refused when it has any finding at the end.

use std::{cell::RefCell, collections::BTreeSet, ops::Range, path::Path};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::values::kind_of;
use crate::{error::Finding, file, near::nearest};

/// The text of a file, without byte order mark and carriage returns.
pub(super) fn read_text(path: &Path) -> Result<String, Finding> {
    let at = path.display().to_string();
    let bytes = file::read(path).map_err(|e| Finding::new(&at, format!("cannot be read: {e}")))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let good = e.utf8_error().valid_up_to();
        let line = 1 + e.as_bytes()[..good].iter().filter(|b| **b == b'\n').count();
        Finding::new(format!("{at}:{line}"), "is not UTF-8 text: save it again as UTF-8")
    })?;
    Ok(text.trim_start_matches('\u{feff}').replace("\r\n", "\n"))
}

/// Where a file that was read says `path`, keys and numbers from 0 joined by dots (`sink.1.key.0`): `file:line` of the
/// last part of it that is there, or the file alone. Read again for it, which only a mistake costs.
pub(super) fn place(file: &Path, path: &str) -> String {
    let document = Document::new(file, read_text(file).unwrap_or_default());
    let (root, _) = DeTable::parse_recoverable(&document.text);
    let top = DeValue::Table(root.into_inner());
    let (mut value, mut offset) = (&top, None);
    for part in path.split('.') {
        let inner = match value {
            DeValue::Table(entries) => entries.get_key_value(part).map(|(key, value)| (key.span(), value)),
            DeValue::Array(items) => part.parse().ok().and_then(|at: usize| Some((items.get(at)?.span(), &items[at]))),
            _ => None,
        };
        let Some((span, inner)) = inner else { break };
        (value, offset) = (inner.get_ref(), Some(span.start));
    }
    document.place(offset)
}

/// Where the array begins that a TOML text is in at some place, if it does not end before the next key. Names of tables end with their line, texts may hold anything.
fn open_array(whole: &str, until: usize) -> Option<usize> {
    let text = &whole[..until];
    let (mut open, mut quote, mut at) = (Vec::new(), "", 0);
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let mut taken = c.len_utf8();
        if !quote.is_empty() {
            if c == '\\' && quote.starts_with('"') {
                taken += rest[1..].chars().next().map_or(0, char::len_utf8);
            } else if rest.starts_with(quote) {
                taken = quote.len();
                quote = "";
            }
        } else if c == '#' {
            taken = rest.find('\n').unwrap_or(rest.len());
        } else if let Some(begun) =
            ["\"\"\"", "\u{27}\u{27}\u{27}", "\"", "\u{27}"].into_iter().find(|q| rest.starts_with(q))
        {
            (quote, taken) = (begun, begun.len());
        } else if c == '[' {
            open.push(at);
        } else if c == ']' {
            open.pop();
        }
        at += taken;
    }
    let begin: usize = *open.first()?;
    // The name of a table, cut short.
    let line = text[..begin].rfind('\n').map_or(0, |end| end + 1);
    if text[line..begin].trim().is_empty() {
        return None;
    }
    // One that does end is wrong within.
    for line in whole[begin..].lines().skip(1) {
        let key = line.split_once('=').map(|(key, _)| key.trim()).filter(|key| !key.is_empty());
        if key.is_some_and(|key| key.chars().all(|c| c.is_alphanumeric() || "_-.\"'".contains(c))) {
            return Some(begin);
        }
        if line.contains(']') {
            return None;
        }
    }
    Some(begin)
}

/// A file being read, and what was found wrong with it so far.
pub(super) struct Document {
    at: String,
    text: String,
    found: RefCell<Vec<(usize, String)>>,
}

impl Document {
    pub fn read(path: &Path) -> Result<Document, Finding> {
        Ok(Document::new(path, read_text(path)?))
    }

    pub fn new(path: &Path, text: String) -> Document {
        Document { at: path.display().to_string(), text, found: RefCell::default() }
    }

    /// The top table; none when the file is not TOML, because what follows a slip of syntax is guesswork.
    pub fn parse(&self) -> Option<DeTable<'_>> {
        let (root, errors) = DeTable::parse_recoverable(&self.text);
        let lines: BTreeSet<usize> =
            errors.iter().map(|error| self.line(error.span().map_or(0, |span| span.start))).collect();
        // All that follows is taken for its elements.
        if lines.len() > 1
            && let Some(begin) = errors[0].span().and_then(|span| open_array(&self.text, span.start))
        {
            self.add(begin, "not TOML: this array does not end: its ], or a comma in it, is missing".to_owned());
            return None;
        }
        let (mut last, mut told) = (0, 0);
        for error in &errors {
            let offset = error.span().map_or(0, |span| span.start);
            let line = self.line(offset);
            // Keys of a table that is there twice are, too.
            if line != last && offset >= told {
                let word = error.span().and_then(|span| self.text.get(span)).unwrap_or_default().trim();
                let what = match error.message() {
                    "duplicate key" => {
                        let (what, until) = self.twice(offset, word);
                        told = until;
                        what
                    }
                    other => other.to_owned(),
                };
                self.add(offset, format!("not TOML: {what}"));
            }
            last = line;
        }
        errors.is_empty().then(|| root.into_inner())
    }

    /// That a key or the name of a table is there already, and where what belongs to it ends.
    fn twice(&self, offset: usize, word: &str) -> (String, usize) {
        let begin = self.text[..offset].rfind('\n').map_or(0, |end| end + 1);
        if !self.text[begin..].trim_start().starts_with('[') {
            return (format!("the key {word} is there already: keep one"), offset);
        }
        let what = match word {
            "sink" => "[sink] is there twice: write [[sink]], with two brackets, for each sink".to_owned(),
            _ => format!("[{word}] is there already: write its keys under one"),
        };
        let next = self.text[offset..]
            .match_indices('\n')
            .find(|(at, _)| self.text[offset + at..].trim_start().starts_with('['));
        (what, next.map_or(self.text.len(), |(at, _)| offset + at))
    }

    pub fn root<'d>(&'d self, entries: &'d DeTable<'d>) -> Table<'d> {
        Table { doc: self, name: String::new(), offset: None, entries, known: Vec::new(), missing: Vec::new() }
    }

    fn add(&self, offset: usize, what: String) {
        self.found.borrow_mut().push((self.line(offset), what));
    }

    fn line(&self, offset: usize) -> usize {
        let offset = offset.min(self.text.len());
        1 + self.text.as_bytes()[..offset].iter().filter(|b| **b == b'\n').count()
    }

    /// `file:line`, or the file alone for what has no line.
    fn place(&self, offset: Option<usize>) -> String {
        offset.map_or_else(|| self.at.clone(), |offset| format!("{}:{}", self.at, self.line(offset)))
    }

    /// What is written there, when it is short enough to be shown; a password may stand before an `@`.
    fn written(&self, span: Range<usize>) -> Option<&str> {
        let text = self.text.get(span)?;
        (text.len() <= 80 && !text.contains(['\n', '@'])).then_some(text)
    }

    /// All findings in the order of their lines; line 0 is the file as a whole.
    pub fn findings(self) -> Vec<Finding> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|(line, _)| *line);
        let finding = |(line, what)| match line {
            0 => Finding::new(&self.at, what),
            _ => Finding::new(format!("{}:{line}", self.at), what),
        };
        found.into_iter().map(finding).collect()
    }
}

/// A table of a document; call [`Table::finish`] when everything has been asked for. A table that is dropped without
/// it is not searched for unknown keys: right only where it is not known which keys belong there.
pub(super) struct Table<'d> {
    doc: &'d Document,
    /// As people write it: `[kafka]`, `[[sink]]`; empty for the top of the file.
    name: String,
    offset: Option<usize>,
    entries: &'d DeTable<'d>,
    known: Vec<&'static str>,
    missing: Vec<&'static str>,
}

impl<'d> Table<'d> {
    fn get(&mut self, key: &'static str) -> Option<(usize, &'d Spanned<DeValue<'d>>)> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.entries.get_key_value(key).map(|(key, value)| (key.span().start, value))
    }

    /// A key that may be absent.
    pub fn optional<T>(&mut self, key: &'static str, read: impl Fn(&DeValue<'_>) -> Result<T, String>) -> Option<T> {
        let (offset, value) = self.get(key)?;
        match read(value.get_ref()) {
            Ok(value) => Some(value),
            Err(why) => {
                let written = match self.doc.written(value.span()) {
                    Some(written) => format!("{key} = {written}: {why}"),
                    None => format!("{key}: {why}"),
                };
                self.doc.add(offset, written);
                None
            }
        }
    }

    /// A key that may be absent, with what it then means.
    pub fn or<T>(&mut self, key: &'static str, default: T, read: impl Fn(&DeValue<'_>) -> Result<T, String>) -> T {
        self.optional(key, read).unwrap_or(default)
    }

    /// A key that must be there.
    pub fn required<T>(&mut self, key: &'static str, read: impl Fn(&DeValue<'_>) -> Result<T, String>) -> Option<T> {
        if !self.entries.contains_key(key) {
            self.missing.push(key);
        }
        self.optional(key, read)
    }

    /// A table inside this one.
    pub fn table(&mut self, key: &'static str) -> Option<Table<'d>> {
        let (offset, value) = self.get(key)?;
        let name = match self.name.trim_matches(['[', ']']) {
            "" => format!("[{key}]"),
            outer => format!("[{outer}.{key}]"),
        };
        self.inner(name, offset, value)
    }

    /// All `[[key]]` tables.
    pub fn tables(&mut self, key: &'static str) -> Vec<Table<'d>> {
        let Some((offset, value)) = self.get(key) else { return Vec::new() };
        let name = format!("[[{key}]]");
        match value.get_ref() {
            DeValue::Array(items) => {
                items.iter().filter_map(|item| self.inner(name.clone(), item.span().start, item)).collect()
            }
            other => {
                self.doc.add(offset, format!("{key}: {name} tables are wanted, this is {}", kind_of(other)));
                Vec::new()
            }
        }
    }

    fn inner(&self, name: String, offset: usize, value: &'d Spanned<DeValue<'d>>) -> Option<Table<'d>> {
        let DeValue::Table(entries) = value.get_ref() else {
            let what = format!("{name}: a table is wanted, this is {}", kind_of(value.get_ref()));
            self.doc.add(offset, what);
            return None;
        };
        Some(Table { doc: self.doc, name, offset: Some(offset), entries, known: Vec::new(), missing: Vec::new() })
    }

    /// All entries, for a table whose keys are not ours: offset of the key, key and value.
    pub fn entries(&self) -> impl Iterator<Item = (usize, &'d str, &'d DeValue<'d>)> {
        self.entries.iter().map(|(key, value)| (key.span().start, key.get_ref().as_ref(), value.get_ref()))
    }

    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Where `key` is written, or else where the table begins.
    fn offset_of(&self, key: &str) -> Option<usize> {
        self.entries.get_key_value(key).map(|(key, _)| key.span().start).or(self.offset)
    }

    /// A finding about `key`, or about the table when it has no such key.
    pub fn fault(&self, key: &str, what: impl Into<String>) {
        match self.offset_of(key) {
            Some(offset) => self.doc.add(offset, what.into()),
            None => self.doc.found.borrow_mut().push((0, what.into())),
        }
    }

    pub fn fault_at(&self, offset: usize, what: String) {
        self.doc.add(offset, what);
    }

    /// What is not wrong with the file, but may be with something it names.
    pub fn finding(&self, offset: usize, what: String) -> Finding {
        Finding::new(self.doc.place(Some(offset)), what)
    }

    /// Refuses the keys nobody asked for, and names those that must be there and are not.
    pub fn finish(self) {
        let inside = if self.name.is_empty() { String::new() } else { format!(" in {}", self.name) };
        let free: Vec<&str> = self.known.iter().copied().filter(|key| !self.has(key)).collect();
        let mut meant = Vec::new();
        for (key, _) in self.entries {
            let name = key.get_ref().as_ref();
            if self.known.contains(&name) {
                continue;
            }
            // A key that is there already was not meant; the list of all keys is shown then.
            let near = nearest(name, free.iter().copied());
            meant.extend(near);
            let advice = match near {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("the keys here are {}", self.known.join(", ")),
            };
            self.doc.add(key.span().start, format!("unknown key \"{name}\"{inside}: {advice}"));
        }
        for key in self.missing.iter().filter(|key| !meant.contains(key)) {
            self.fault("", format!("\"{key}\" is missing{inside}"));
        }
    }
}
