//! Reads the sources of a pipeline folder: per feed a `.toml`, a `.sql` and, if it has its own codes, a `.codes.csv`.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use super::{
    Source,
    folder::{file_name, in_capitals, list, read_stage, unread},
    pipeline::Alias,
    table::{Document, Table, read_text},
    values,
};
use crate::{
    error::Finding,
    file::{OPEN_QUOTE, csv_line, open_quote},
};

/// The files of one source.
#[derive(Default)]
struct Files {
    toml: Option<PathBuf>,
    sql: Option<PathBuf>,
    codes: Option<PathBuf>,
}

pub(super) fn read(folder: &Path, findings: &mut Vec<Finding>) -> Vec<Source> {
    let paths = match list(folder) {
        Ok(paths) => paths,
        Err(mut finding) => {
            if !folder.exists() {
                finding.what += ": a pipeline has its sources in it, for instance nanchang.toml with nanchang.sql";
            }
            findings.push(finding);
            return Vec::new();
        }
    };
    let mut sources = Vec::new();
    let files = group(paths, findings);
    if files.is_empty() {
        let what = "no sources: write one, for instance nanchang.toml with nanchang.sql beside it";
        findings.push(Finding::new(folder.display().to_string(), what));
    }
    for (name, files) in files {
        sources.extend(read_source(&name, files, findings));
    }
    sources
}

/// Sorts the files by the source they belong to.
fn group(paths: Vec<PathBuf>, findings: &mut Vec<Finding>) -> BTreeMap<String, Files> {
    let mut sources: BTreeMap<String, Files> = BTreeMap::new();
    for path in paths {
        let file = file_name(&path);
        if let Some(name) = file.strip_suffix(".toml") {
            sources.entry(name.to_owned()).or_default().toml = Some(path);
        } else if let Some(name) = file.strip_suffix(".sql") {
            sources.entry(name.to_owned()).or_default().sql = Some(path);
        } else if let Some(name) = file.strip_suffix(".codes.csv") {
            sources.entry(name.to_owned()).or_default().codes = Some(path);
        } else if let Some(name) = file.strip_suffix(".csv") {
            // `nanchang_codes.csv`, `nanchang.code.csv`
            let parts = ['_', '-', '.', ' '];
            let source = ["codes", "code"].iter().find_map(|word| name.strip_suffix(word));
            let source = source.filter(|name| name.is_empty() || name.ends_with(parts));
            let name = source.unwrap_or(name).trim_end_matches(parts);
            let name = if name.is_empty() { "NAME" } else { name };
            let what = format!("nobody reads it: the codes of a source are in {name}.codes.csv");
            findings.push(Finding::new(path.display().to_string(), what));
        } else {
            findings.extend(in_capitals(&path, &[".toml", ".sql", ".codes.csv", ".csv"]));
            findings.extend(unread(&path, "the files of a source are NAME.toml, NAME.sql and NAME.codes.csv"));
        }
    }
    sources
}

fn read_source(name: &str, files: Files, findings: &mut Vec<Finding>) -> Option<Source> {
    let mut alone = |path: &Path, missing: String| {
        findings.push(Finding::new(path.display().to_string(), missing));
    };
    let Some(toml) = files.toml else {
        for path in [files.sql, files.codes].into_iter().flatten() {
            alone(&path, format!("belongs to no source: {name}.toml is missing"));
        }
        return None;
    };
    if files.sql.is_none() {
        alone(&toml, format!("{name}.sql is missing: the SELECT … FROM message that maps the feed's fields"));
    }
    if !name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-')) || name.is_empty() {
        alone(&toml, "the file's name is the source's: letters, digits, dashes and underscores".into());
    }

    let map = files.sql.and_then(|path| noted(read_stage(&path, "map"), findings));
    let aliases = match files.codes {
        Some(path) => read_codes(&path, findings),
        None => Vec::new(),
    };
    let document = noted(Document::read(&toml), findings)?;
    let source = document.parse().and_then(|root| read_root(name, document.root(&root)));
    findings.extend(document.findings());
    let mut source = source?;
    source.aliases = aliases;
    source.map = map?;
    Some(source)
}

fn noted<T>(read: Result<T, Finding>, findings: &mut Vec<Finding>) -> Option<T> {
    read.map_err(|finding| findings.push(finding)).ok()
}

/// The map and the aliases are filled in by the caller.
fn read_root(name: &str, mut root: Table<'_>) -> Option<Source> {
    root.optional("title", values::text); // for people
    let topics = root.required("topics", values::topics);
    root.optional("format", values::one_of(&[("json", ())]));
    let charset = root.optional("charset", values::charset);
    let time_zone = root.or("time_zone", chrono_tz::Asia::Shanghai, values::time_zone);
    let home = root.optional("home", values::division);
    let rows = root.optional("rows", values::field_path);
    let keyed_by = root.or("keyed_by", Vec::new(), values::columns);
    root.finish();
    Some(Source {
        name: name.into(),
        topics: topics?,
        charset,
        time_zone,
        home,
        rows,
        keyed_by,
        map: super::Stage { name: "map".into(), path: PathBuf::new(), sql: String::new() },
        aliases: Vec::new(),
    })
}

/// `table,alias,code`, one alias per line.
fn read_codes(path: &Path, findings: &mut Vec<Finding>) -> Vec<Alias> {
    let Some(text) = noted(read_text(path), findings) else { return Vec::new() };
    let file = path.display().to_string();
    if let Some(line) = open_quote(&text) {
        findings.push(Finding::new(format!("{file}:{line}"), OPEN_QUOTE));
        return Vec::new();
    }
    let mut reader =
        csv::ReaderBuilder::new().flexible(true).has_headers(false).trim(csv::Trim::All).from_reader(text.as_bytes());
    let mut aliases = Vec::new();
    let mut seen: HashMap<(String, String), usize> = HashMap::new();
    let mut header = false;
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                findings.push(Finding::new(&file, format!("not CSV: {error}")));
                break;
            }
        };
        let line = csv_line(&text, record.position());
        let at = format!("{file}:{line}");
        if !header {
            if record.iter().ne(["table", "alias", "code"]) {
                let otherwise = record.len() == 1 && record.iter().any(|field| field.contains([';', '\t', '|', '，']));
                let commas = if otherwise { ": values are separated by commas" } else { "" };
                findings.push(Finding::new(at, format!("the first line must be table,alias,code{commas}")));
                return aliases;
            }
            header = true;
            continue;
        }
        if record.iter().all(str::is_empty) {
            continue; // `,,` is how a spreadsheet writes an empty line
        }
        if let Err(what) = read_alias(&record, line, &mut seen).map(|(table, alias, code)| {
            aliases.push(Alias { table, alias, code, at: at.clone() });
        }) {
            findings.push(Finding::new(at, what));
        }
    }
    if !header {
        findings.push(Finding::new(&file, "is empty: the first line must be table,alias,code"));
    }
    aliases
}

fn read_alias(
    record: &csv::StringRecord,
    line: usize,
    seen: &mut HashMap<(String, String), usize>,
) -> Result<(String, String, String), String> {
    let fields: Vec<&str> = record.iter().collect();
    let [table, alias, code] = fields[..] else {
        return Err(format!("three fields are wanted, table,alias,code: here are {}", fields.len()));
    };
    for (name, field) in [("table", table), ("alias", alias), ("code", code)] {
        if field.is_empty() {
            return Err(format!("{name} is empty"));
        }
    }
    if alias.contains(['|', '｜']) {
        return Err(format!("\"{alias}\" is several words: write one alias per line"));
    }
    if (alias == "*") != (code == "*") {
        return Err("* stands for the standard's own codes: write it as alias and as code, or as neither".into());
    }
    if let Some(first) = seen.insert((table.to_owned(), alias.to_owned()), line) {
        return Err(format!("\"{alias}\" of {table} has a code already, in line {first}"));
    }
    Ok((table.to_owned(), alias.to_owned(), code.to_owned()))
}
