//! The other lists beside the contracts: divisions (in force and retired) and keyword rules.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use crate::error::Finding;

use super::{
    form::{Findings, hint},
    odcs::{in_capitals, stems},
    sheet::{self, Row},
};

const DIVISIONS: &[&str] = &["code", "name", "level", "city_code", "city_name", "tel_area_code"];
const RETIRED: &[&str] = &["code", "name", "first_seen_yyyymm", "last_seen_yyyymm", "successor_code", "successor_name"];
const RULES: &[&str] = &["rule", "l1", "l2", "l3", "keywords"];
const LEVELS: &[&str] = &["province", "city", "county"];

/// A division in force, GB/T 2260. The fields of `codes/divisions.csv`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DivisionRow {
    /// Six digits.
    pub code: String,
    pub name: String,
    /// `province`, `city` or `county`.
    pub level: String,
    /// The city it belongs to, itself for a city; empty for the province, as are the next two.
    pub city_code: String,
    pub city_name: String,
    pub tel_area_code: String,
}

/// A code and name that are no longer in force. The fields of `codes/divisions_retired.csv`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RetiredRow {
    pub code: String,
    pub name: String,
    pub first_seen_yyyymm: u32,
    pub last_seen_yyyymm: u32,
    /// Empty when nothing followed, as is the next.
    pub successor_code: String,
    pub successor_name: String,
}

/// A row of `rules/<set>.csv`: words that speak for a content class.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeywordRow {
    /// Id of the rule; rows keep it as lineage.
    pub rule: String,
    /// The class, from general to special; `l3`, or `l2` and `l3`, may be empty.
    pub l1: String,
    pub l2: String,
    pub l3: String,
    pub keywords: Vec<String>,
}

/// Reads `codes/divisions.csv` and `codes/divisions_retired.csv`. A folder without them has no divisions.
pub fn read_divisions(folder: &Path) -> Result<(Vec<DivisionRow>, Vec<RetiredRow>), Vec<Finding>> {
    let folder = folder.join("codes");
    let (mut in_force, mut retired, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    let path = folder.join("divisions.csv");
    if path.exists() {
        let mut findings = Findings::new(path.display().to_string());
        let mut seen = HashSet::new();
        for row in sheet::read(&path, DIVISIONS, &mut findings) {
            in_force.extend(division(&row, &mut seen, &mut findings));
        }
        wrong.extend(findings.sorted());
    }
    let path = folder.join("divisions_retired.csv");
    if path.exists() {
        let known: HashSet<&str> = in_force.iter().map(|division| division.code.as_str()).collect();
        // Which successors are in force is not known when the list of those cannot be read.
        let known = (wrong.is_empty() || !known.is_empty()).then_some(known);
        let mut findings = Findings::new(path.display().to_string());
        for row in sheet::read(&path, RETIRED, &mut findings) {
            retired.extend(retired_row(&row, known.as_ref(), &mut findings));
        }
        wrong.extend(findings.sorted());
    }
    if wrong.is_empty() { Ok((in_force, retired)) } else { Err(wrong) }
}

fn is_division_code(text: &str) -> bool {
    text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_area_code(text: &str) -> bool {
    text.starts_with('0') && matches!(text.len(), 3 | 4) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn division(row: &Row, seen: &mut HashSet<String>, findings: &mut Findings) -> Option<DivisionRow> {
    let noted = findings.count();
    let (code, name, level) = (row.owned(0), row.owned(1), row.owned(2));
    if !is_division_code(&code) {
        findings.add(row.line, format!("division code `{code}`: write six digits"));
    }
    if !seen.insert(code.clone()) {
        findings.add(row.line, format!("division `{code}` is there already: keep one"));
    }
    if name.is_empty() {
        findings.add(row.line, format!("division `{code}` has no name: write it"));
    }
    if !LEVELS.contains(&level.as_str()) {
        let todo = hint(&level, LEVELS, "write `province`, `city` or `county`");
        findings.add(row.line, format!("level `{level}` of division `{code}`: {todo}"));
    }
    let (city_code, tel_area_code) = (row.owned(3), row.owned(5));
    if level != "province" && !is_division_code(&city_code) {
        findings.add(row.line, format!("city_code `{city_code}` of division `{code}`: write the city's six digits"));
    }
    if !tel_area_code.is_empty() && !is_area_code(&tel_area_code) {
        let todo = "write its 3 or 4 digits, the 0 before them too, `0791`";
        findings.add(row.line, format!("tel_area_code `{tel_area_code}` of division `{code}`: {todo}"));
    }
    let division = DivisionRow { code, name, level, city_code, city_name: row.owned(4), tel_area_code };
    (findings.count() == noted).then_some(division)
}

fn retired_row(row: &Row, in_force: Option<&HashSet<&str>>, findings: &mut Findings) -> Option<RetiredRow> {
    let noted = findings.count();
    let (code, name, successor_code) = (row.owned(0), row.owned(1), row.owned(4));
    if !is_division_code(&code) {
        findings.add(row.line, format!("division code `{code}`: write six digits"));
    }
    if name.is_empty() {
        findings.add(row.line, format!("retired division `{code}` has no name: write it"));
    }
    if !successor_code.is_empty() && in_force.is_some_and(|in_force| !in_force.contains(successor_code.as_str())) {
        let todo = "write the code of divisions.csv that its area has today, or nothing if it has none";
        findings.add(row.line, format!("successor_code `{successor_code}` of `{code}` is not in force: {todo}"));
    }
    let first = month(row, 2, &code, findings);
    let last = month(row, 3, &code, findings);
    if let (Some(first), Some(last)) = (first, last)
        && last < first
    {
        findings
            .add(row.line, format!("retired division `{code}` ends ({last}) before it begins ({first}): correct one"));
    }
    let retired = RetiredRow {
        code,
        name,
        first_seen_yyyymm: first?,
        last_seen_yyyymm: last?,
        successor_code,
        successor_name: row.owned(5),
    };
    (findings.count() == noted).then_some(retired)
}

fn month(row: &Row, column: usize, code: &str, findings: &mut Findings) -> Option<u32> {
    let text = row.get(column);
    let month = text.parse().ok().filter(|month: &u32| text.len() == 6 && (1..=12).contains(&(month % 100)));
    if month.is_none() {
        let name = RETIRED[column];
        findings.add(row.line, format!("{name} `{text}` of `{code}`: write year and month, `198012`"));
    }
    month
}

/// Names of the rule sets in `rules/`.
pub fn rule_sets(folder: &Path) -> Result<Vec<String>, Vec<Finding>> {
    let folder = folder.join("rules");
    let capitals = in_capitals(&folder, ".csv");
    if capitals.is_empty() { Ok(stems(&folder, ".csv")) } else { Err(capitals) }
}

/// Reads `rules/<set>.csv`. The order of the file counts: the earlier rule wins on equal match counts.
pub fn read_keyword_rules(folder: &Path, set: &str) -> Result<Vec<KeywordRow>, Vec<Finding>> {
    let folder = folder.join("rules");
    let path = folder.join(format!("{set}.csv"));
    let mut findings = Findings::new(path.display().to_string());
    if !path.exists() {
        let known = stems(&folder, ".csv");
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let todo = hint(set, &known, "write it");
        findings.add_whole(format!("there are no keyword rules `{set}`: {todo}"));
        return findings.or(Vec::new());
    }
    let mut rules = Vec::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    for row in sheet::read(&path, RULES, &mut findings) {
        let Some(rule) = keyword_row(&row, &mut findings) else { continue };
        if let Some(first) = seen.insert(rule.rule.clone(), row.line) {
            findings.add(row.line, format!("rule `{}` is in line {first} already: name one otherwise", rule.rule));
        }
        rules.push(rule);
    }
    findings.or(rules)
}

fn keyword_row(row: &Row, findings: &mut Findings) -> Option<KeywordRow> {
    let [rule, l1, l2, l3] = [0, 1, 2, 3].map(|column| row.owned(column));
    let keywords = row.parts(4);
    if rule.is_empty() {
        findings.add(row.line, format!("a rule for `{l1}` has no id: write one; rows keep it as lineage"));
        return None;
    }
    if l1.is_empty() || (l2.is_empty() && !l3.is_empty()) {
        findings.add(row.line, format!("rule `{rule}` leaves a class out: fill l1, then l2, then l3"));
    }
    if keywords.is_empty() {
        findings.add(row.line, format!("rule `{rule}` has no keywords: write some, joined by `|`"));
    }
    for (index, word) in keywords.iter().enumerate() {
        if word.is_empty() {
            findings.add(row.line, format!("rule `{rule}` has an empty keyword: remove a `|`"));
        } else if keywords[..index].contains(word) {
            findings.add(row.line, format!("rule `{rule}` has the keyword `{word}` twice: keep one"));
        }
    }
    Some(KeywordRow { rule, l1, l2, l3, keywords })
}
