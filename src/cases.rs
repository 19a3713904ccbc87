//! `huiju test`: runs the cases in the pipeline folders, offline.
//!
//! A case is a folder `pipelines/<pipeline>/tests/<case>/`. Each line of its `input.jsonl` is one message:
//! `{"source": "nanchang", "at": "2026-06-01T08:00:00+08:00", "key": "…", "message": {…}}`, with `"text"` or `"hex"` in
//! place of `"message"` for what is not JSON, and `null` for a tombstone; a message reaches the decoder as it is written.
//! `output.jsonl` holds the rows that must come out, `rejects.jsonl` the rejects; a missing file stands for an empty
//! one. Messages go through one by one and once more all together: batch boundaries must not matter.

mod compare;
mod input;
mod json;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use compare::compare;
use input::Sent;
use json::Json;

use crate::{
    batch::{Fault, Fetched, Message, Outcome, Reject},
    check,
    cli::{flags::Where, out::say},
    clock::Clock,
    config::{Config, Source},
    contract::{Column, Kind},
    cursor::{Interval, Partition},
    decode::{Decoder, Unseen},
    dedup::Dedup,
    engine::Program,
    error::{Context, Error, Result},
    file,
    near::did_you_mean,
    runtime::build::Prepared,
};

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    at: Where,
    /// Only these pipelines; all when none is named
    pipelines: Vec<String>,
    /// Only cases whose name contains this
    #[arg(long)]
    case: Option<String>,
    /// Write what comes out as what is expected; read the difference before you commit it
    #[arg(long)]
    update: bool,
}

/// `huiju test`.
pub fn run(options: &Options) -> Result<()> {
    let config = Config::read(&options.at.config)?;
    let (mut passed, mut failed) = (0, 0);
    let mut names = Vec::new();
    for prepared in check::prepare(&config, &options.pipelines)? {
        let mut decoders = decoders(&prepared);
        for folder in folders(&prepared)? {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let wanted = options.case.as_ref().is_none_or(|wanted| name.contains(wanted.as_str()));
            names.push(format!("{}/{name}", prepared.pipeline.name));
            if !wanted {
                continue;
            }
            let told = case(&prepared, &mut decoders, &folder, options.update)?;
            if told.wrong.is_empty() {
                say!("ok    {}/{name}", prepared.pipeline.name);
                passed += 1;
            } else {
                say!("FAIL  {}/{name}", prepared.pipeline.name);
                told.wrong.iter().for_each(|line| say!("        {line}"));
                failed += 1;
            }
            told.written.iter().for_each(|path| say!("        {}", path));
        }
        if options.case.is_none() {
            unseen(&prepared, &decoders).iter().for_each(|line| say!("note  {line}"));
        }
    }
    say!("{passed} passed, {failed} failed");
    match (failed, &options.case) {
        (0, Some(case)) if passed == 0 && !names.is_empty() => {
            Err(Error::config(format!("no case has \"{case}\" in its name; there are {}", names.join(", "))))
        }
        (0, _) if passed == 0 => Err(Error::config(format!(
            "{}/*/tests: there is no case: a case is a folder with an input.jsonl",
            config.pipelines.display()
        ))),
        (0, _) => Ok(()),
        (1, _) => Err(Error::config("1 case failed")),
        _ => Err(Error::config(format!("{failed} cases failed"))),
    }
}

fn folders(prepared: &Prepared) -> Result<Vec<PathBuf>> {
    let tests = prepared.pipeline.folder.join("tests");
    let Ok(entries) = fs::read_dir(&tests) else { return Ok(Vec::new()) };
    let mut folders = Vec::new();
    for entry in entries {
        let path = entry.or_config(format!("read {}", tests.display()))?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

/// One for each source of the pipeline.
fn decoders(prepared: &Prepared) -> Vec<Decoder> {
    let sources = prepared.pipeline.sources.iter().zip(&prepared.programs);
    sources.map(|(source, program)| Decoder::new(program.fields(), source)).collect()
}

/// The fields of each source that no message of its cases has a value in, a line for a source: such a field may be
/// misspelt in the map, where it gives NULL for ever.
fn unseen(prepared: &Prepared, decoders: &[Decoder]) -> Vec<String> {
    let sources = prepared.pipeline.sources.iter().zip(&prepared.programs).zip(decoders);
    let line = |((source, program), decoder): ((&Source, &Arc<Program>), &Decoder)| {
        let (path, unseen) = (source.map.path.display(), decoder.unseen());
        if unseen.is_empty() {
            return None;
        }
        if unseen.len() == program.fields().0.len() && unseen.iter().all(|unseen| unseen.near.is_none()) {
            return Some(format!("{path}: no message of the cases has a value in any of its fields"));
        }
        let field = |unseen: Unseen| {
            let near = unseen.near.map_or_else(String::new, |near| format!(" (did you mean \"{near}\"?)"));
            format!("{}{near}", unseen.field)
        };
        let fields: Vec<String> = unseen.into_iter().map(field).collect();
        Some(format!("{path}: no message of the cases has a value in {}", fields.join(", ")))
    };
    sources.filter_map(line).collect()
}

/// What came out of a case.
#[derive(Default)]
struct Told {
    /// What is wrong, a line each.
    wrong: Vec<String>,
    /// What became of the files of what is expected, a line each.
    written: Vec<String>,
}

/// Runs a case. A file that cannot be read is a mistake of the case.
fn case(prepared: &Prepared, decoders: &mut [Decoder], folder: &Path, update: bool) -> Result<Told> {
    let input = folder.join("input.jsonl");
    let mut told = Told::default();
    let messages = match input::read(prepared, &input) {
        Ok(messages) => messages,
        Err(wrong) => return Ok(Told { wrong, ..told }),
    };
    if messages.is_empty() {
        let what = if input.exists() { "has no message" } else { "is not there" };
        told.wrong.push(format!("{} {what}: write the messages of the case, a line each", input.display()));
        return Ok(told);
    }
    let (rows, rejects) = through(prepared, decoders, &messages, 1)?;
    let at_once = through(prepared, decoders, &messages, messages.len())?;
    if sorted(&rows) != sorted(&at_once.0) || sorted(&rejects) != sorted(&at_once.1) {
        told.wrong.push("the result depends on the boundaries of batches".to_owned());
    }
    let columns: Vec<&str> = prepared.contract.columns.iter().map(|column| &*column.name).collect();
    let is_double = |column: &&Column| column.kind == Kind::Double;
    let doubles = prepared.contract.columns.iter().filter(is_double).map(|column| &*column.name).collect();
    let parts = [("output.jsonl", "row", &columns[..], rows), ("rejects.jsonl", "reject", &REJECT, rejects)];
    for (name, what, keys, found) in parts {
        let path = folder.join(name);
        match expected(&path, keys) {
            Ok(expected) if !update => compare(what, &expected, &found, &doubles, &mut told.wrong),
            Ok(expected) if expected == found => {}
            Err(wrong) if !update => told.wrong.extend(wrong),
            // It may lead anywhere, and whoever updates need not be who made it.
            _ if path.is_symlink() => {
                told.wrong.push(format!("{name} is a link, which --update leaves alone: put a file in its place"));
            }
            _ => told.written.extend(write(&path, &found)?),
        }
    }
    Ok(told)
}

/// The keys of a line of the rejects.
const REJECT: [&str; 5] = ["source", "line", "row", "stage", "faults"];

/// What a file says must come out, or all that is wrong with it.
fn expected(path: &Path, keys: &[&str]) -> Result<Vec<Json>, Vec<String>> {
    let line = |text: &str| {
        let entries = json::entries(text)?;
        match entries.iter().find(|(key, _)| !keys.contains(&key.as_str())) {
            Some((key, _)) => {
                let near = did_you_mean(key, keys.iter().copied());
                Err(format!("there is no column \"{key}\"{near}"))
            }
            None => json::object(entries),
        }
    };
    Ok(json::lines(path, line)?.into_iter().map(|(_, value)| value).collect())
}

fn sorted(values: &[Json]) -> Vec<String> {
    let mut texts: Vec<String> = values.iter().map(Json::to_string).collect();
    texts.sort();
    texts
}

/// Rows and rejects as JSON, with messages going through `size` at a time.
fn through(
    prepared: &Prepared,
    decoders: &mut [Decoder],
    messages: &[Sent],
    size: usize,
) -> Result<(Vec<Json>, Vec<Json>)> {
    let Prepared { pipeline, contract, programs, .. } = prepared;
    let mut dedup = pipeline.dedup.as_ref().map(|dedup| Dedup::new(dedup, Clock::system()));
    let schema = contract.arrow_schema();
    let (mut rows, mut rejects) = (Vec::new(), Vec::new());
    for (chunk, some) in messages.chunks(size).enumerate() {
        let mut batches: Vec<(usize, Fetched)> = batches(prepared, some, chunk * size).into_iter().rev().collect();
        while let Some((source, mut fetched)) = batches.pop() {
            let mut decoded = decoders[source].decode(&mut fetched);
            batches.extend(decoded.rest.take().map(|rest| (source, rest)));
            let mut checked = programs[source].run(fetched, decoded);
            if let Some(dedup) = &mut dedup {
                dedup.strike_out(&mut checked)?;
            }
            let outcome = checked.finish(&schema)?;
            rows.extend(row_values(&outcome)?);
            let line = |reject: &Reject| messages[reject.offset as usize].line;
            rejects.extend(outcome.rejects.iter().map(|one| reject_value(&outcome.source, line(one), one)));
        }
    }
    Ok((rows, rejects))
}

/// One batch per source; the offset of a message is its number, from 0.
fn batches(prepared: &Prepared, messages: &[Sent], first: usize) -> BTreeMap<usize, Fetched> {
    let mut batches: BTreeMap<usize, Fetched> = BTreeMap::new();
    for (number, sent) in messages.iter().enumerate() {
        let offset = (first + number) as i64;
        let batch = batches.entry(sent.source).or_insert_with(|| {
            let source = &prepared.pipeline.sources[sent.source];
            let partition = Partition::new(source.topics.first().cloned().unwrap_or_default(), 0);
            let covers = vec![Interval { partition, from: offset, next: offset }];
            Fetched { source: sent.source, covers, ..Fetched::default() }
        });
        batch.covers[0].next = offset + 1;
        let key = sent.key.as_ref().map(|key| batch.store(key));
        let payload = sent.payload.as_ref().map(|payload| batch.store(payload));
        batch.messages.push(Message { cover: 0, offset, timestamp: sent.at, key, payload });
    }
    batches
}

fn row_values(outcome: &Outcome) -> Result<Vec<Json>> {
    let mut text = Vec::new();
    let mut writer = arrow::json::LineDelimitedWriter::new(&mut text);
    writer.write(&outcome.rows).and_then(|()| writer.finish()).or_bug("write rows as JSON")?;
    let text = String::from_utf8(text).or_bug("write rows as JSON")?;
    let row = |line| json::entries(line).and_then(json::object);
    text.lines().map(row).collect::<Result<_, _>>().map_err(|what| Error::bug(format!("a row is no JSON: {what}")))
}

/// `line` is where the message is written.
fn reject_value(source: &str, line: usize, reject: &Reject) -> Json {
    let fault = |fault: &Fault| {
        Json::of([
            ("code", Some(Json::text(&fault.code))),
            ("field", fault.field.as_deref().map(Json::text)),
            ("reason", Some(Json::text(&fault.reason))),
            ("value", fault.value.as_deref().map(Json::text)),
        ])
    };
    Json::of([
        ("source", Some(Json::text(source))),
        ("line", Some(Json::number(line))),
        ("row", reject.row.map(Json::number)),
        ("stage", Some(Json::text(&reject.stage))),
        ("faults", Some(Json::List(reject.faults.iter().map(fault).collect()))),
    ])
}

/// Makes the file hold these values; tells what it did, if anything.
fn write(path: &Path, values: &[Json]) -> Result<Option<String>> {
    let shown = path.display();
    if values.is_empty() {
        return match fs::remove_file(path) {
            Ok(()) => Ok(Some(format!("removed {shown}"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(file::failed(format_args!("remove {shown}"), error)),
        };
    }
    let text: String = values.iter().map(|value| format!("{value}\n")).collect();
    file::write(path, text.as_bytes())?;
    Ok(Some(format!("wrote {shown}")))
}
