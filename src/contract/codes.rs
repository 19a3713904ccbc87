//! Code tables: `codes/<table>.csv`, `code,label,aliases,valid_from,valid_to`.
//!
//! A table translates what sources write into codes, and codes into labels. Codes were reused over the years, so a code
//! may stand in several rows with validities that do not overlap; a label or alias belongs to one code for good, because
//! a text alone carries no date. A bare code is no alias of itself: whether a source's `1` is the standard's `1` is what
//! the source's own alias file says, nobody guesses.

use std::{collections::HashMap, path::Path, sync::Arc};

use chrono::NaiveDate;

use crate::error::Finding;

use super::{
    form::Findings,
    odcs::stems,
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
    /// Label or alias to a place in `codes`.
    by_text: HashMap<String, usize>,
    /// Code to the place of its latest row.
    by_code: HashMap<Arc<str>, usize>,
}

impl CodeTable {
    /// If two codes claim a text, the first has it; tables that are read from files have no such pair.
    pub fn new(name: impl Into<Arc<str>>, codes: Vec<Code>) -> CodeTable {
        let mut by_text = HashMap::new();
        let mut by_code: HashMap<Arc<str>, usize> = HashMap::new();
        let end = |place: usize| codes[place].valid_to.unwrap_or(NaiveDate::MAX);
        for (place, code) in codes.iter().enumerate() {
            for text in std::iter::once(&code.label).chain(&code.aliases) {
                by_text.entry(text.clone()).or_insert(place);
            }
            let latest = by_code.entry(code.code.clone()).or_insert(place);
            if end(place) > end(*latest) {
                *latest = place;
            }
        }
        CodeTable { name: name.into(), codes, by_text, by_code }
    }

    /// The code that a label or an alias stands for, exactly as written. A bare code is not found here.
    pub fn find(&self, text: &str) -> Option<&Code> {
        self.by_text.get(text).map(|place| &self.codes[*place])
    }

    /// What `code` means now, or meant last.
    pub fn label_of(&self, code: &str) -> Option<&str> {
        self.by_code.get(code).map(|place| self.codes[*place].label.as_str())
    }

    /// What `code` meant on `day`.
    pub fn label_on(&self, code: &str, day: NaiveDate) -> Option<&str> {
        self.codes.iter().find(|it| *it.code == *code && it.is_valid_on(day)).map(|it| it.label.as_str())
    }

    /// Every code once, in the order of the file.
    pub fn distinct_codes(&self) -> Vec<&str> {
        let is_first = |place: usize, code: &Code| !self.codes[..place].iter().any(|it| it.code == code.code);
        self.codes.iter().enumerate().filter(|(place, code)| is_first(*place, code)).map(|(_, c)| &*c.code).collect()
    }
}

/// All code tables of a schemas folder, in the order of their names.
#[derive(Clone, Debug, Default)]
pub struct CodeTables(Vec<CodeTable>);

impl CodeTables {
    pub fn new(mut tables: Vec<CodeTable>) -> CodeTables {
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        CodeTables(tables)
    }

    /// Reads `<folder>/codes/*.csv` but not the divisions, which are a list of another kind. No folder, no tables.
    pub fn read(folder: &Path) -> Result<CodeTables, Vec<Finding>> {
        let folder = folder.join("codes");
        let (mut tables, mut wrong) = (Vec::new(), Vec::new());
        for name in stems(&folder, ".csv").into_iter().filter(|name| !name.starts_with("divisions")) {
            match table(&folder, &name) {
                Ok(table) => tables.push(table),
                Err(findings) => wrong.extend(findings),
            }
        }
        if wrong.is_empty() { Ok(CodeTables::new(tables)) } else { Err(wrong) }
    }

    pub fn get(&self, name: &str) -> Option<&CodeTable> {
        self.0.iter().find(|table| *table.name == *name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &CodeTable> {
        self.0.iter()
    }
}

fn table(folder: &Path, name: &str) -> Result<CodeTable, Vec<Finding>> {
    let path = folder.join(format!("{name}.csv"));
    let mut findings = Findings::new(path.display().to_string());
    let mut codes: Vec<(Code, usize)> = Vec::new();
    let mut owner: HashMap<String, (Arc<str>, usize)> = HashMap::new();
    for row in sheet::read(&path, HEADER, &mut findings) {
        let Some(code) = read_code(&row, &mut findings) else { continue };
        if let Some((_, line)) = codes.iter().find(|(other, _)| other.code == code.code && other.overlaps(&code)) {
            let todo = "keep one, or end one before the other begins (valid_from, valid_to)";
            findings.add(row.line, format!("code `{}` is in line {line} already: {todo}", code.code));
            continue;
        }
        for text in std::iter::once(&code.label).chain(&code.aliases) {
            let (other, line) = owner.entry(text.clone()).or_insert_with(|| (code.code.clone(), row.line));
            if *other != code.code {
                let todo = "remove it from one of them";
                let (code, line) = (&code.code, *line);
                findings.add(row.line, format!("`{text}` means both `{other}` (line {line}) and `{code}`: {todo}"));
            }
        }
        codes.push((code, row.line));
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
    let valid_from = date(row, 3, code, findings);
    let valid_to = date(row, 4, code, findings);
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
