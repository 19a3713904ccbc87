//! Reads pipeline folders.
//!
//! ```text
//! work_orders/
//!   pipeline.toml         owner, contract, sinks
//!   sources/nanchang.toml one feed, with nanchang.sql beside it and nanchang.codes.csv if it has its own codes
//!   1_clean.sql           the stages, in the order of their numbers
//! ```
//!
//! What the SQL means is not looked at here; files that cannot belong together are refused.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    Dedup, Gaps, Pipeline, RawTexts, RejectLimit, Sink, Stage, Start, rules, sources,
    table::{Document, Table, read_text},
    values,
};
use crate::{error::Finding, near};

/// The pipelines of a folder whose SQL can be compiled, in the order of their names, and all that is wrong: also what is
/// with the rest of one that can be. Where `only` names some, mistakes of the others are theirs alone.
pub fn read_all(folder: &Path, only: &[String]) -> (Vec<Pipeline>, Vec<Finding>) {
    let at = folder.display().to_string();
    let folders = match list(folder) {
        Ok(paths) => paths.into_iter().filter(|path| path.is_dir()),
        Err(finding) => return (Vec::new(), vec![finding]),
    };
    let mut findings = Vec::new();
    let mut pipelines = Vec::new();
    for folder in folders {
        let (pipeline, more) = read_folder(&folder);
        let named = only.is_empty() || only.iter().any(|name| folder.ends_with(name));
        if !named && !more.is_empty() {
            let folder = folder.display();
            tracing::warn!(%folder, mistakes = more.len(), "this pipeline has mistakes: what is named is not compared with it");
            continue;
        }
        pipelines.extend(pipeline);
        findings.extend(more);
    }
    if pipelines.is_empty() && findings.is_empty() {
        findings.push(Finding::new(at, "no pipelines: a pipeline is a folder in here with a pipeline.toml in it"));
    }
    findings.extend(rules::between(&pipelines));
    (pipelines, findings)
}

/// One pipeline folder; its name is the pipeline's.
pub fn read(folder: &Path) -> Result<Pipeline, Vec<Finding>> {
    match read_folder(folder) {
        (Some(pipeline), findings) if findings.is_empty() => Ok(pipeline),
        (_, findings) => Err(findings),
    }
}

fn read_folder(folder: &Path) -> (Option<Pipeline>, Vec<Finding>) {
    let mut findings = Vec::new();
    let name = folder_name(folder, &mut findings);
    let head = read_head(folder, &name, &mut findings);
    let of_head = findings.len();
    let stages = read_stages(folder, &mut findings);
    // Without a stage the next one would be blamed for what is missing.
    let whole = findings.len() == of_head;
    let sources = sources::read(&folder.join("sources"), &mut findings);

    let Some((head, complete)) = head else { return (None, findings) };
    let pipeline = Pipeline { stages, sources, ..head };
    if complete {
        findings.extend(rules::within(&pipeline));
    }
    (Some(pipeline).filter(|_| whole), findings)
}

/// Everything in a folder but hidden files and what editors leave, in the order of the names.
pub(super) fn list(folder: &Path) -> Result<Vec<PathBuf>, Finding> {
    let cannot = |e: std::io::Error| Finding::new(folder.display().to_string(), format!("cannot be read: {e}"));
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        if !file_name(&path).starts_with(['.', '#']) && !file_name(&path).ends_with('~') {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// That nobody reads a file because its ending has capitals.
pub(super) fn in_capitals(path: &Path, endings: &[&str]) -> Option<Finding> {
    let name = file_name(path);
    let lower = name.to_ascii_lowercase();
    let ending = endings.iter().find(|ending| lower.ends_with(*ending) && !name.ends_with(*ending))?;
    Some(Finding::new(
        path.display().to_string(),
        format!("nobody reads it: write its ending in small letters, {ending}"),
    ))
}

/// That nobody reads what looks as if it were meant to be read: a file whose ending is a slip, or has another behind it
/// (`3_mask.sql.txt`), and a folder with such files in it.
pub(super) fn unread(path: &Path, todo: &str) -> Option<Finding> {
    const ENDINGS: [&str; 3] = ["sql", "toml", "csv"];
    /// Of what somebody has put aside, and of another kind of table.
    const OTHERS: [&str; 6] = ["bak", "disabled", "old", "orig", "rej", "tsv"];
    let name = file_name(path);
    let parts: Vec<String> = name.split('.').skip(1).map(str::to_ascii_lowercase).collect();
    let ending = parts.last().map(String::as_str).unwrap_or_default();
    let is_read = ENDINGS.contains(&ending);
    let is_meant = match path.is_dir() {
        true => {
            let inside = list(path).unwrap_or_default();
            let known = matches!(name.as_str(), "sources" | "sample" | "tests");
            !known
                && inside.iter().any(|path| path.extension().is_some_and(|ending| ending == "sql" || ending == "toml"))
        }
        false => {
            let hidden = parts.iter().any(|part| ENDINGS.contains(&part.as_str()));
            !is_read && !OTHERS.contains(&ending) && (hidden || near::nearest(ending, ENDINGS).is_some())
        }
    };
    is_meant.then(|| Finding::new(path.display().to_string(), format!("nobody reads it: {todo}, or take it away")))
}

pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The folder's name becomes part of consumer groups, labels and table properties.
fn folder_name(folder: &Path, findings: &mut Vec<Finding>) -> Arc<str> {
    // `.` and `..` are fine ways to name a folder.
    let named =
        if folder.file_name().is_some() { folder.to_owned() } else { folder.canonicalize().unwrap_or_default() };
    let name = file_name(&named);
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')) {
        let what = "the folder's name is the pipeline's: letters a to z, digits, dashes and underscores";
        findings.push(Finding::new(folder.display().to_string(), what));
    }
    name.into()
}

/// What `pipeline.toml` says, and whether it could be read completely: if not, there is no dedup or no sink in it.
fn read_head(folder: &Path, name: &Arc<str>, findings: &mut Vec<Finding>) -> Option<(Pipeline, bool)> {
    let path = folder.join("pipeline.toml");
    let document = match Document::read(&path) {
        Ok(document) => document,
        Err(mut finding) => {
            if !path.exists() {
                finding.what += ": each folder in here is a pipeline: write it, or take the folder away";
            }
            findings.push(finding);
            return None;
        }
    };
    let head = document.parse().and_then(|root| read_root(folder, name, document.root(&root)));
    findings.extend(document.findings());
    head
}

fn read_root(folder: &Path, name: &Arc<str>, mut root: Table<'_>) -> Option<(Pipeline, bool)> {
    let owner = root.required("owner", values::text); // for people
    let contract = root.required("contract", values::name);
    let gaps = root.or("gaps", Gaps::Stop, values::one_of(&[("stop", Gaps::Stop), ("record", Gaps::Record)]));
    let beginning = values::one_of(&[("beginning", Start::Beginning), ("end", Start::End)]);
    let start = root.or("start", Start::Beginning, beginning);
    let dedup_is_there = root.has("dedup");
    let dedup = root.table("dedup").and_then(read_dedup);
    let rejects = read_limit(root.table("rejects"));
    let values = read_metrics(root.table("metrics"));
    let mut sinks = Vec::new();
    let tables = root.tables("sink");
    if !root.has("sink") {
        root.fault("sink", "no [[sink]]: write one of kind \"kafka\", one of kind \"archive\", or both");
    }
    let mut whole = true;
    for table in tables {
        let sink = read_sink(name, table);
        whole &= sink.is_some();
        sinks.extend(sink);
    }
    if !whole {
        // The places of sinks are told by their numbers.
        sinks.clear();
    }
    root.finish();
    let complete = whole && owner.is_some() && dedup.is_some() == dedup_is_there;
    let pipeline = Pipeline {
        name: name.clone(),
        folder: folder.to_owned(),
        contract: contract?,
        dedup,
        rejects,
        gaps,
        start,
        sinks,
        values,
        sources: Vec::new(),
        stages: Vec::new(),
    };
    Some((pipeline, complete))
}

fn read_dedup(mut table: Table<'_>) -> Option<Dedup> {
    let key = table.required("key", values::some_columns);
    let within = table.or("within", Duration::from_secs(7 * 86_400), values::duration);
    let across = values::one_of(&[("refuse", false), ("accept", true)]);
    let per_partition = table.or("across_partitions", false, across);
    let max_keys = table.or("max_keys", 5_000_000, values::count) as usize;
    table.finish();
    Some(Dedup { key: key?, within, per_partition, max_keys })
}

fn read_limit(table: Option<Table<'_>>) -> RejectLimit {
    let mut limit = RejectLimit { limit: 0.5, over: 1000 };
    if let Some(mut table) = table {
        limit.limit = table.or("limit", limit.limit, values::share);
        limit.over = table.or("over", limit.over, values::count);
        table.finish();
    }
    limit
}

fn read_metrics(table: Option<Table<'_>>) -> Vec<String> {
    let Some(mut table) = table else { return Vec::new() };
    let values = table.required("values", values::some_columns);
    table.finish();
    values.unwrap_or_default()
}

#[derive(Clone, Copy)]
enum Kind {
    Kafka,
    Archive,
}

fn read_sink(pipeline: &str, mut table: Table<'_>) -> Option<Sink> {
    let kinds = [("kafka", Kind::Kafka), ("archive", Kind::Archive)];
    match table.required("kind", values::one_of(&kinds)) {
        Some(Kind::Kafka) => {
            let topic = table.required("topic", values::topic);
            let rejected = table.required("rejected", values::topic);
            let key = table.required("key", values::some_columns);
            let which = values::one_of(&[("always", RawTexts::Always), ("unread", RawTexts::Unread)]);
            let raw = table.or("raw", RawTexts::Always, which);
            table.finish();
            Some(Sink::Kafka { topic: topic?, rejected: rejected?, key: key?, raw })
        }
        Some(Kind::Archive) => {
            let path = table.or("path", pipeline.to_owned(), values::table_path);
            let partition_by = table.or("partition_by", vec!["ingested_on".to_owned()], values::columns);
            table.finish();
            Some(Sink::Archive { path, partition_by })
        }
        None => {
            if !table.has("kind") {
                table.fault("kind", "\"kind\" is missing in [[sink]]: it must be \"kafka\" or \"archive\"");
            }
            // Which keys belong here depends on the kind.
            None
        }
    }
}

fn read_stages(folder: &Path, findings: &mut Vec<Finding>) -> Vec<Stage> {
    // A folder that cannot be listed has been told about by its pipeline.toml.
    let mut paths = list(folder).unwrap_or_default();
    let listed = !paths.is_empty();
    let mut capitals: Vec<Finding> = paths.iter().filter_map(|path| in_capitals(path, &[".sql", ".toml"])).collect();
    capitals.extend(
        paths.iter().filter_map(|path| unread(path, "a stage is NUMBER_NAME.sql, in the pipeline's folder itself")),
    );
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "sql"));
    if listed && paths.is_empty() && capitals.is_empty() {
        let what = "no stages: write at least one, for instance 1_clean.sql with SELECT … FROM raw";
        findings.push(Finding::new(folder.display().to_string(), what));
    }
    findings.extend(capitals);
    let mut stages: BTreeMap<u64, Stage> = BTreeMap::new();
    for path in &paths {
        let mut refuse = |what: String| findings.push(Finding::new(path.display().to_string(), what));
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let Some((number, name)) = stem.split_once('_').and_then(|(n, name)| Some((n.parse::<u64>().ok()?, name)))
        else {
            refuse(format!("a stage has a number, which says when its turn is: for instance {}.sql", numbered(&stem)));
            continue;
        };
        if !is_identifier(name) {
            refuse(format!("\"{name}\" is not a name that SQL can select from: letters a to z, digits, underscores"));
        }
        if matches!(name, "raw" | "message") {
            refuse(format!("a stage cannot be called \"{name}\": stages select from a table of that name"));
        }
        if let Some(same) = stages.get(&number) {
            refuse(format!("has the number of {}: give each stage its own", file_name(&same.path)));
            continue;
        }
        if let Some(same) = stages.values().find(|stage| *stage.name == *name) {
            refuse(format!("has the name of {}: later stages could not tell them apart", file_name(&same.path)));
        }
        match read_stage(path, name) {
            Ok(stage) => drop(stages.insert(number, stage)),
            Err(finding) => findings.push(finding),
        }
    }
    stages.into_values().collect()
}

/// One SQL file, whole.
pub(super) fn read_stage(path: &Path, name: &str) -> Result<Stage, Finding> {
    let sql = read_text(path)?;
    if sql.trim().is_empty() {
        return Err(Finding::new(path.display().to_string(), "is empty: a stage is one SELECT"));
    }
    Ok(Stage { name: name.into(), path: path.to_owned(), sql })
}

/// A name for a stage that is like this one.
fn numbered(stem: &str) -> String {
    let digits: String = stem.chars().take_while(char::is_ascii_digit).collect();
    let tame: String = stem[digits.len()..].chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let name = match tame.trim_matches('_') {
        name if is_identifier(name) && !matches!(name, "raw" | "message") => name,
        _ => "clean",
    };
    let number = digits.parse().unwrap_or(1_u64);
    format!("{number}_{name}")
}

fn is_identifier(name: &str) -> bool {
    let word = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    word && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}
