//! Reads a contract: an Open Data Contract Standard v3.1 file.
//!
//! The file is shared with other tools, so everything the standard knows is accepted (team, servers, prices …) and
//! what we do not use is left alone. But where we do read, a misspelt key is refused: a `requird` that nobody notices is
//! a column that nobody checks. All mistakes are found at once, each with its line and what to do.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{error::Finding, near::nearest};

use super::{
    Contract, Kind, Rule,
    column::{self, Draft, Tables},
    form::{Findings, Form, hint, is_chinese},
    quality,
    yaml::{self, Node, Value},
};

const ENDING: &str = ".odcs.yaml";
const TOP: &[&str] = &[
    "version",
    "kind",
    "apiVersion",
    "id",
    "name",
    "tenant",
    "tags",
    "status",
    "servers",
    "dataProduct",
    "description",
    "domain",
    "schema",
    "support",
    "price",
    "team",
    "roles",
    "slaDefaultElement",
    "slaProperties",
    "authoritativeDefinitions",
    "customProperties",
    "contractCreatedTs",
];
const DESCRIPTION: &[&str] = &["purpose", "limitations", "usage", "authoritativeDefinitions", "customProperties"];
const SCHEMA: &[&str] = &[
    "id",
    "name",
    "physicalType",
    "description",
    "businessName",
    "authoritativeDefinitions",
    "tags",
    "customProperties",
    "logicalType",
    "physicalName",
    "dataGranularityDescription",
    "properties",
    "relationships",
    "quality",
];

/// Reads `<folder>/<name>.odcs.yaml`. Code tables that columns name must lie in `<folder>/codes`.
pub fn read(folder: &Path, name: &str) -> Result<Contract, Vec<Finding>> {
    let path = folder.join(format!("{name}{ENDING}"));
    let shown = path.display().to_string();
    let bytes = match crate::file::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let capitals = in_capitals(folder, ENDING);
            if !capitals.is_empty() {
                return Err(capitals);
            }
            let known = stems(folder, ENDING);
            let todo = match (named_otherwise(folder, name), nearest(name, known.iter().map(String::as_str))) {
                (Some(file), _) => format!("nobody reads {}: name it {shown}", file.display()),
                (None, Some(near)) => format!("did you mean `{near}`?"),
                (None, None) if known.is_empty() => {
                    format!("there is no contract in {}; write {shown}", folder.display())
                }
                (None, None) => format!("there are: {}; or write {shown}", known.join(", ")),
            };
            return Err(vec![Finding::new(shown, format!("there is no contract `{name}`: {todo}"))]);
        }
        Err(e) => return Err(vec![Finding::new(shown, format!("cannot be read: {e}"))]),
    };
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        Err(e) => {
            let line = bytes[..e.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
            return Err(vec![Finding::new(format!("{shown}:{line}"), "this is not UTF-8: save the file as UTF-8")]);
        }
    };
    parse(text, name, &shown, Some(&stems(&folder.join("codes"), ".csv")))
}

/// A file that was likely meant to be the contract `name`: with another ending, or in a folder in `folder`.
fn named_otherwise(folder: &Path, name: &str) -> Option<PathBuf> {
    let endings = [ENDING, ".odcs.yml", ".yaml", ".yml"];
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders.insert(0, folder.to_owned());
    let files = folders.iter().flat_map(|folder| endings.map(|ending| folder.join(format!("{name}{ending}"))));
    files.into_iter().find(|file| file.is_file())
}

/// Names of the contracts in `folder`.
pub fn names(folder: &Path) -> Vec<String> {
    stems(folder, ENDING)
}

/// How many quality rules of `<folder>/<name>.odcs.yaml` belong to other tools and are not run.
pub fn rules_of_others(folder: &Path, name: &str) -> usize {
    let bytes = crate::file::read(&folder.join(format!("{name}{ENDING}"))).unwrap_or_default();
    let text = String::from_utf8(bytes).unwrap_or_default();
    yaml::parse(&text).map_or(0, |node| quality::others(&node))
}

/// Names of the files in `folder` that end so, without the ending, sorted.
pub(super) fn stems(folder: &Path, ending: &str) -> Vec<String> {
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    // What editors and other systems leave is hidden: `.#a.csv`, `._a.csv`.
    let shown = |name: &&str| !name.starts_with('.');
    let stem = |name: std::ffi::OsString| name.to_str().filter(shown)?.strip_suffix(ending).map(str::to_owned);
    let mut stems: Vec<String> = names.filter_map(stem).collect();
    stems.sort();
    stems
}

/// Files in `folder` that nobody reads because their ending has capitals.
pub(super) fn in_capitals(folder: &Path, ending: &str) -> Vec<Finding> {
    let paths = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let meant = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.to_ascii_lowercase().ends_with(ending) && !name.ends_with(ending) && !name.starts_with('.')
    };
    let mut paths: Vec<PathBuf> = paths.filter(meant).collect();
    paths.sort();
    let what = format!("nobody reads it: write its ending in small letters, {ending}");
    paths.into_iter().map(|path| Finding::new(path.display().to_string(), what.clone())).collect()
}

/// `path` is only for findings.
pub(super) fn parse(text: &str, name: &str, path: &str, tables: Tables<'_>) -> Result<Contract, Vec<Finding>> {
    let mut findings = Findings::new(path);
    let contract = match yaml::parse(text) {
        Ok(node) => contract(&node, name, tables, &mut findings),
        Err((line, what)) => {
            findings.add(line.unwrap_or(1), format!("this is not YAML: {what}"));
            None
        }
    };
    match contract {
        Some(contract) => findings.or(contract),
        None => Err(findings.sorted()),
    }
}

fn contract(node: &Node, name: &str, tables: Tables<'_>, findings: &mut Findings) -> Option<Contract> {
    let top = Form::open(node, "the contract", TOP, findings)?;
    if let Some((version, line)) = top.need("apiVersion", "write `apiVersion: v3.1.0`", findings)
        && !version.starts_with("v3.1.")
    {
        findings.add(line, format!("apiVersion is `{version}`: huiju reads ODCS 3.1, write `v3.1.0`"));
    }
    if let Some((kind, line)) = top.need("kind", "write `kind: DataContract`", findings)
        && kind != "DataContract"
    {
        findings.add(line, format!("kind is `{kind}`: write `DataContract`"));
    }
    top.need("id", "write an id that never changes, such as a UUID", findings);
    top.need("status", "write `draft`, `active` or `deprecated`", findings);
    let version = top.need("version", "write the contract's own version, such as `1.0.0`", findings);
    let description = match top.get("description") {
        Some(node) => describe(node, findings),
        None => {
            findings.add(top.line, "the contract has no `description`: write at least `description: { purpose: … }`");
            String::new()
        }
    };
    let mut assumed = false;
    for (key, node) in top.custom(&["assumed", "codes", "weights", "raw", "unknown", "role"], findings) {
        match (key, &node.value) {
            ("assumed", Value::Bool(value)) => assumed = *value,
            ("assumed", _) => {
                findings.add(node.line, format!("`assumed` is {}: write `true` or `false`", node.shown()));
            }
            _ => findings.add(node.line, format!("`{key}` stands at the top: it is said of a column, move it there")),
        }
    }
    let shown = top.text("name", findings).map_or(name, |(text, _)| text);
    let table = the_only_schema(&top, findings)?;
    let title = table.text("businessName", findings).map_or(shown, |(text, _)| text);
    if let Some((table_name, line)) = table.text("name", findings)
        && table_name != name
    {
        findings.add(line, format!("the schema's name is `{table_name}`, the file's `{name}`: give both the same"));
    }
    let (columns, rules) = columns(&table, tables, findings);
    Some(Contract {
        name: name.into(),
        version: version?.0.to_owned(),
        title: title.to_owned(),
        description,
        assumed,
        flags: columns.iter().find(|draft| draft.is_flags).map(|draft| draft.column.name.clone()),
        columns: columns.into_iter().map(|draft| draft.column).collect(),
        rules,
    })
}

/// Purpose, limitations and usage as paragraphs.
fn describe(node: &Node, findings: &mut Findings) -> String {
    let Some(form) = Form::open(node, "the description", DESCRIPTION, findings) else { return String::new() };
    let mut paragraphs = Vec::new();
    if let Some((purpose, line)) = form.need("purpose", "say in Chinese what the data are for", findings) {
        if !is_chinese(purpose) {
            findings.add(line, format!("the purpose is `{purpose}`: say it in Chinese"));
        }
        paragraphs.push(purpose.to_owned());
    }
    for (key, says) in [("limitations", "限制"), ("usage", "用法")] {
        if let Some((text, _)) = form.text(key, findings) {
            paragraphs.push(format!("{says}：{text}"));
        }
    }
    paragraphs.join("\n\n")
}

fn the_only_schema<'n>(top: &Form<'n>, findings: &mut Findings) -> Option<Form<'n>> {
    let nodes = top.list("schema", findings);
    let [node] = nodes else {
        if nodes.len() > 1 {
            let line = nodes[1].line;
            findings.add(line, format!("`schema` has {} objects: write one contract file for each", nodes.len()));
        } else {
            findings.add(top.line, "the contract has no `schema`: write one object with its `properties`");
        }
        return None;
    };
    let what = match node.peek("name") {
        Some(name) => format!("schema `{name}`"),
        None => "the schema".to_owned(),
    };
    let table = Form::open(node, what, SCHEMA, findings)?;
    table.need("name", "write the name of the file", findings);
    for (key, node) in table.custom(&["assumed", "codes", "weights", "raw", "unknown", "role"], findings) {
        let place = if key == "assumed" { "the contract" } else { "a column" };
        findings.add(node.line, format!("`{key}` stands under the schema: it is said of {place}, move it there"));
    }
    Some(table)
}

/// The columns and all rules, compared with each other.
fn columns(table: &Form<'_>, tables: Tables<'_>, findings: &mut Findings) -> (Vec<Draft>, Vec<Rule>) {
    let nodes = table.list("properties", findings);
    if nodes.is_empty() && !matches!(table.get("properties"), Some(node) if !matches!(node.value, Value::List(_))) {
        findings.add(table.line, format!("{} has no columns: write them under `properties`", table.what));
    }
    let mut drafts: Vec<Draft> = nodes.iter().filter_map(|node| column::read(node, tables, findings)).collect();
    let mut rules: Vec<(Rule, usize)> = drafts.iter_mut().flat_map(|draft| std::mem::take(&mut draft.rules)).collect();
    rules.extend(quality::rules(table, None, findings));

    // Readers of Parquet and Delta do not all tell `a` from `A`.
    let mut seen: HashMap<String, usize> = HashMap::new();
    for draft in &drafts {
        let name = &draft.column.name;
        if let Some(first) = seen.insert(name.to_lowercase(), draft.line) {
            findings.add(draft.line, format!("column `{name}` is in line {first} already: rename or remove one"));
        }
    }
    let mut seen: HashMap<Arc<str>, usize> = HashMap::new();
    for (rule, line) in &rules {
        if let Some(first) = seen.insert(rule.name.clone(), *line) {
            findings.add(*line, format!("rule `{}` is in line {first} already: rename or remove one", rule.name));
        }
    }
    let mut flags = drafts.iter().filter(|draft| draft.is_flags);
    if let (Some(first), Some(second)) = (flags.next(), flags.next()) {
        let (first, name) = (&first.column.name, &second.column.name);
        findings.add(second.line, format!("columns `{first}` and `{name}` both have `role: flags`: keep one"));
    }
    let mut weights = drafts.iter().filter(|draft| draft.column.weights.is_some());
    if let (Some(first), Some(second)) = (weights.next(), weights.next()) {
        let (first, name) = (&first.column.name, &second.column.name);
        findings.add(second.line, format!("columns `{first}` and `{name}` both have `weights`: keep one"));
    }
    for draft in &drafts {
        check_raw(draft, &drafts, findings);
    }
    (drafts, rules.into_iter().map(|(rule, _)| rule).collect())
}

/// `raw` names another column, which holds text.
fn check_raw(draft: &Draft, all: &[Draft], findings: &mut Findings) {
    let Some(raw) = &draft.column.raw else { return };
    let (name, line) = (&draft.column.name, draft.raw_line);
    if raw == name {
        findings
            .add(line, format!("column `{name}` has itself as `raw`: name the column that keeps the source's text"));
        return;
    }
    match all.iter().find(|other| other.column.name == *raw) {
        None => {
            let known: Vec<&str> = all.iter().map(|other| &*other.column.name).filter(|n| *n != &**name).collect();
            let todo = hint(raw, &known, "write that column, or remove `raw`");
            findings.add(line, format!("`raw` of column `{name}` names `{raw}`, which is no column: {todo}"));
        }
        Some(other) if other.kind.as_ref().is_some_and(|kind| *kind != Kind::Text) => {
            findings.add(line, format!("`raw` of column `{name}` names `{raw}`, which is no text: make it a `string`"));
        }
        Some(other) if draft.column.personal && !other.column.personal => {
            let todo = format!("it holds the same as received: give `{raw}` that classification too");
            findings.add(
                line,
                format!("`raw` of the personal column `{name}` names `{raw}`, which is not `personal`: {todo}"),
            );
        }
        Some(_) => {}
    }
}
