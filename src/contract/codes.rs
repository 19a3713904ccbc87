//! Code tables: `codes/<table>.csv`, `code,label,aliases,valid_from,valid_to`.
//!
//! A table translates what sources write into codes, and codes into labels. Codes were reused over the years, and tables
//! numbered anew, so a code may stand in several rows, and a word may stand for several codes, with days that do not
//! overlap. Who asks names the day; without one the row that ends last answers. A bare code is no alias of itself: whether
//! a source's `1` is the standard's `1` is what the source's own alias file says, nobody guesses.

use std::{borrow::Cow, cmp::Reverse, path::Path, sync::Arc};

use chrono::NaiveDate;
use hashbrown::{HashMap, HashSet};

use crate::{error::Finding, text::half_width};

use super::{
    form::Findings,
    odcs::{in_capitals, stems},
    sheet::{self, Row},
};

pub use super::lists::{DivisionRow, KeywordRow, RetiredRow, read_divisions, read_keyword_rules, rule_sets};

const HEADER: &[&str] = &["code", "label", "aliases", "valid_from", "valid_to"];

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Code {
    pub code: Arc<str>,
    /// In Chinese.
    pub label: String,
    pub aliases: Vec<String>,
    /// First day; `None`: always was.
    pub valid_from: Option<NaiveDate>,
    /// Last day, itself included; `None`: still is.
    pub valid_to: Option<NaiveDate>,
}

impl Code {
    pub fn is_valid_on(&self, day: NaiveDate) -> bool {
        self.valid_from.is_none_or(|from| from <= day) && self.valid_to.is_none_or(|to| day <= to)
    }

    fn words(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.label).chain(&self.aliases).map(String::as_str)
    }

    fn overlaps(&self, other: &Code) -> bool {
        let starts_by_the_end_of = |a: &Code, b: &Code| match (a.valid_from, b.valid_to) {
            (Some(from), Some(to)) => from <= to,
            _ => true,
        };
        starts_by_the_end_of(self, other) && starts_by_the_end_of(other, self)
    }
}

#[derive(Clone, Debug)]
pub struct CodeTable {
    pub name: Arc<str>,
    /// In the order of the file.
    pub codes: Vec<Code>,
    /// Label, alias, or what a source says, to places in `codes`; the row that ends last comes first.
    by_word: HashMap<Box<str>, Vec<usize>>,
    /// The same for words of any width and case.
    by_folded: HashMap<Box<str>, Vec<usize>>,
    /// Code to its places in `codes`, likewise.
    by_code: HashMap<Arc<str>, Vec<usize>>,
}

impl CodeTable {
    /// If two rows claim a word for the same day, the first has it; tables that are read from files have no such pair.
    pub fn new(name: impl Into<Arc<str>>, codes: Vec<Code>) -> CodeTable {
        let mut by_word: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        let mut by_folded = by_word.clone();
        let mut by_code: HashMap<Arc<str>, Vec<usize>> = HashMap::new();
        let mut places: Vec<usize> = (0..codes.len()).collect();
        places.sort_by_key(|place| Reverse(codes[*place].valid_to.unwrap_or(NaiveDate::MAX)));
        for place in places {
            let code = &codes[place];
            for word in code.words() {
                by_word.entry(word.into()).or_default().push(place);
                by_folded.entry(folded(word).into()).or_default().push(place);
            }
            by_code.entry(code.code.clone()).or_default().push(place);
        }
        CodeTable { name: name.into(), codes, by_word, by_folded, by_code }
    }

    /// From now on `word` stands for `code`, whatever it stood for; false if there is no such code.
    pub fn teach(&mut self, word: &str, code: &str) -> bool {
        let Some(places) = self.by_code.get(code) else { return false };
        self.by_word.insert(word.into(), places.clone());
        self.by_folded.insert(folded(word).into(), places.clone());
        true
    }

    /// From now on every code stands for itself.
    pub fn teach_codes(&mut self) {
        for code in &self.codes {
            let places = &self.by_code[&code.code];
            self.by_word.insert((&*code.code).into(), places.clone());
            self.by_folded.insert(folded(&code.code).into(), places.clone());
        }
    }

    /// What a label or an alias stands for on `day` or at last, whatever the width and case of its letters and signs, if
    /// none is written in just that way.
    pub fn find(&self, word: &str, day: Option<NaiveDate>) -> Option<&Code> {
        self.on(self.by_word.get(word).or_else(|| self.by_folded.get(&*folded(word)))?, day)
    }

    /// What `code` means on `day`; without one what it means now, or meant last.
    pub fn row_of(&self, code: &str, day: Option<NaiveDate>) -> Option<&Code> {
        self.on(self.by_code.get(code)?, day)
    }

    fn on(&self, places: &[usize], day: Option<NaiveDate>) -> Option<&Code> {
        let mut rows = places.iter().map(|place| &self.codes[*place]);
        match day {
            None => rows.next(),
            Some(day) => rows.find(|row| row.is_valid_on(day)),
        }
    }

    /// Every code once, in the order of the file.
    pub fn distinct_codes(&self) -> Vec<&str> {
        let mut seen = HashSet::new();
        self.codes.iter().map(|code| &*code.code).filter(|code| seen.insert(*code)).collect()
    }
}

/// How words are compared: `ＡＰＰ（赣服通）` is `app(赣服通)`.
fn folded(word: &str) -> Cow<'_, str> {
    match half_width(word) {
        word if word.bytes().any(|byte| byte.is_ascii_uppercase()) => Cow::Owned(word.to_ascii_lowercase()),
        word => word,
    }
}

/// All code tables of a schemas folder, in the order of their names.
#[derive(Clone, Debug, Default)]
pub struct CodeTables(Vec<Arc<CodeTable>>);

impl CodeTables {
    pub fn new(mut tables: Vec<CodeTable>) -> CodeTables {
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        CodeTables(tables.into_iter().map(Arc::new).collect())
    }

    /// Reads `<folder>/codes/*.csv` but not the divisions, which are a list of another kind. No folder, no tables.
    pub fn read(folder: &Path) -> Result<CodeTables, Vec<Finding>> {
        let folder = folder.join("codes");
        let (mut tables, mut wrong) = (Vec::new(), in_capitals(&folder, ".csv"));
        for name in stems(&folder, ".csv").into_iter().filter(|name| !name.starts_with("divisions")) {
            match table(&folder, &name) {
                Ok(table) => tables.push(table),
                Err(findings) => wrong.extend(findings),
            }
        }
        if wrong.is_empty() { Ok(CodeTables::new(tables)) } else { Err(wrong) }
    }

    pub fn get(&self, name: &str) -> Option<&CodeTable> {
        self.0.iter().find(|table| *table.name == *name).map(Arc::as_ref)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<CodeTable>> {
        self.0.iter()
    }
}

fn table(folder: &Path, name: &str) -> Result<CodeTable, Vec<Finding>> {
    let path = folder.join(format!("{name}.csv"));
    let mut findings = Findings::new(path.display().to_string());
    let mut codes: Vec<(Code, usize)> = Vec::new();
    let mut rows_of: HashMap<String, Vec<usize>> = HashMap::new();
    let mut rows_of_code: HashMap<Arc<str>, Vec<usize>> = HashMap::new();
    let end = "end one before the other begins (valid_from, valid_to)";
    for row in sheet::read(&path, HEADER, &mut findings) {
        let Some(code) = read_code(&row, &mut findings) else { continue };
        let same = rows_of_code.entry(code.code.clone()).or_default();
        if let Some((_, line)) = same.iter().map(|row| &codes[*row]).find(|(other, _)| other.overlaps(&code)) {
            findings.add(row.line, format!("code `{}` is in line {line} already: keep one, or {end}", code.code));
            continue;
        }
        let place = codes.len();
        same.push(place);
        codes.push((code, row.line));
        let code = &codes[place].0;
        for word in code.words() {
            let rows = rows_of.entry_ref(&*folded(word)).or_default();
            let at_once = |(other, _): &&(Code, usize)| other.code != code.code && other.overlaps(code);
            if let Some((other, line)) = rows.iter().map(|row| &codes[*row]).find(at_once) {
                let both = format!("`{word}` means both `{}` (line {line}) and `{}`", other.code, code.code);
                findings.add(row.line, format!("{both}: remove it from one of them, or {end}"));
            }
            rows.push(place);
        }
    }
    findings.or(CodeTable::new(name, codes.into_iter().map(|(code, _)| code).collect()))
}

fn read_code(row: &Row, findings: &mut Findings) -> Option<Code> {
    let (code, label, aliases) = (row.get(0), row.owned(1), row.parts(2));
    if code.is_empty() {
        findings.add(row.line, format!("`{label}` has no code: write one"));
        return None;
    }
    if label.is_empty() {
        findings.add(row.line, format!("code `{code}` has no label: write what it means"));
        return None;
    }
    if aliases.iter().any(String::is_empty) {
        findings.add(row.line, format!("code `{code}` has an empty alias: remove a `|`"));
    }
    let noted = findings.count();
    let valid_from = date(row, 3, code, findings);
    let valid_to = date(row, 4, code, findings);
    if findings.count() > noted {
        return None; // which rows it overlaps nobody knows
    }
    if let (Some(from), Some(to)) = (valid_from, valid_to)
        && to < from
    {
        findings.add(row.line, format!("code `{code}` ends ({to}) before it begins ({from}): correct one"));
    }
    Some(Code { code: code.into(), label, aliases, valid_from, valid_to })
}

fn date(row: &Row, column: usize, code: &str, findings: &mut Findings) -> Option<NaiveDate> {
    let text = row.get(column);
    if text.is_empty() {
        return None;
    }
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|day| day.to_string() == text);
    if day.is_none() {
        let name = HEADER[column];
        findings.add(row.line, format!("`{name}` of code `{code}` is `{text}`: write a day that exists, `2000-01-31`"));
    }
    day
}
