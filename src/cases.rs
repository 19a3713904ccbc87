//! `huiju test`: runs the cases in the pipeline folders, offline.
//!
//! A case is a folder `pipelines/<pipeline>/tests/<case>/`. Each line of its `input.jsonl` is one message:
//! `{"source": "nanchang", "at": "2026-06-01T08:00:00+08:00", "key": "…", "message": {…}}`, with `"text"` or `"hex"` in
//! place of `"message"` for what is not JSON, and `null` for a tombstone. `output.jsonl` holds the rows that must come
//! out, `rejects.jsonl` the rejects; a missing file stands for an empty one. Messages go through one by one and once
//! more all together: batch boundaries must not matter.

use std::{collections::BTreeMap, fs, path::Path, path::PathBuf, sync::Arc};

use clap::Args;
use serde_json::{Map, Value, json};

use crate::{
    batch::{Fetched, Message, Outcome, Reject},
    check,
    cli::{Where, out::say},
    clock::Clock,
    config::Config,
    cursor::{Interval, Partition},
    decode::Decoder,
    dedup::Dedup,
    error::{Context, Error, Result},
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
    for prepared in check::prepare(&config, &options.pipelines)? {
        for folder in folders(&prepared)? {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if options.case.as_ref().is_some_and(|wanted| !name.contains(wanted.as_str())) {
                continue;
            }
            let wrong = case(&prepared, &folder, options.update)?;
            if wrong.is_empty() {
                say!("ok    {}/{name}", prepared.pipeline.name);
                passed += 1;
            } else {
                say!("FAIL  {}/{name}", prepared.pipeline.name);
                wrong.iter().for_each(|line| say!("        {line}"));
                failed += 1;
            }
        }
    }
    say!("{passed} passed, {failed} failed");
    match failed {
        0 if passed == 0 => Err(Error::config("no case was found under pipelines/*/tests")),
        0 => Ok(()),
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

/// What is wrong with a case, a line each.
pub fn case(prepared: &Prepared, folder: &Path, update: bool) -> Result<Vec<String>> {
    let messages = read_messages(prepared, &folder.join("input.jsonl"))?;
    let (rows, rejects) = through(prepared, &messages, 1)?;
    let mut wrong = Vec::new();
    let at_once = through(prepared, &messages, messages.len().max(1))?;
    if sorted(&rows) != sorted(&at_once.0) || sorted(&rejects) != sorted(&at_once.1) {
        wrong.push("the result depends on the boundaries of batches".to_owned());
    }
    if update {
        write(&folder.join("output.jsonl"), &rows)?;
        write(&folder.join("rejects.jsonl"), &rejects)?;
        return Ok(wrong);
    }
    compare("row", &read(&folder.join("output.jsonl"))?, &rows, &mut wrong);
    compare("reject", &read(&folder.join("rejects.jsonl"))?, &rejects, &mut wrong);
    Ok(wrong)
}

fn sorted(values: &[Value]) -> Vec<String> {
    let mut texts: Vec<String> = values.iter().map(Value::to_string).collect();
    texts.sort();
    texts
}

/// A message of a case: its source, and the message as it would be fetched.
struct Sent {
    source: usize,
    at: Option<i64>,
    key: Option<Vec<u8>>,
    payload: Option<Vec<u8>>,
}

fn read_messages(prepared: &Prepared, path: &Path) -> Result<Vec<Sent>> {
    let mut messages = Vec::new();
    for (number, line) in read(path)?.into_iter().enumerate() {
        let wrong = |what: String| Error::config(format!("{}:{}: {what}", path.display(), number + 1));
        let name = line["source"].as_str().unwrap_or_default();
        let names = || prepared.pipeline.sources.iter().map(|source| source.name.as_ref());
        let source = names().position(|known| known == name);
        let source = source
            .ok_or_else(|| wrong(format!("there is no source \"{name}\"{}", crate::engine::nearest(name, names()))))?;
        let at = match &line["at"] {
            Value::Null => None,
            Value::String(text) => Some(
                chrono::DateTime::parse_from_rfc3339(text)
                    .map_err(|error| wrong(format!("at \"{text}\": {error}")))?
                    .timestamp_millis(),
            ),
            other => return Err(wrong(format!("at {other}: write a time as 2026-06-01T08:00:00+08:00"))),
        };
        let payload = match (line.get("message"), line.get("text"), line.get("hex")) {
            (Some(Value::Null), None, None) => None,
            (Some(message), None, None) => Some(message.to_string().into_bytes()),
            (None, Some(Value::String(text)), None) => Some(text.clone().into_bytes()),
            (None, None, Some(Value::String(hex))) => {
                Some(from_hex(hex).ok_or_else(|| wrong(format!("hex \"{hex}\" is not hexadecimal")))?)
            }
            _ => return Err(wrong("has none, or more than one, of message, text and hex".to_owned())),
        };
        let key = line["key"].as_str().map(|key| key.as_bytes().to_vec());
        messages.push(Sent { source, at, key, payload });
    }
    Ok(messages)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || text.len() % 2 == 1 {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

/// Rows and rejects as JSON, with messages going through `size` at a time.
fn through(prepared: &Prepared, messages: &[Sent], size: usize) -> Result<(Vec<Value>, Vec<Value>)> {
    let Prepared { pipeline, contract, programs, .. } = prepared;
    let sources = pipeline.sources.iter().zip(programs);
    let mut decoders: Vec<Decoder> = sources.map(|(source, program)| Decoder::new(program.fields(), source)).collect();
    let mut dedup = pipeline.dedup.as_ref().map(|dedup| Dedup::new(dedup, Clock::system()));
    let schema = contract.arrow_schema();
    let (mut rows, mut rejects) = (Vec::new(), Vec::new());
    for (chunk, some) in messages.chunks(size).enumerate() {
        for (source, fetched) in batches(prepared, some, chunk * size) {
            let decoded = decoders[source].decode(&fetched);
            let mut checked = programs[source].run(fetched, decoded);
            if let Some(dedup) = &mut dedup {
                dedup.strike_out(&mut checked)?;
            }
            let outcome = checked.finish(&schema)?;
            rows.extend(row_values(&outcome)?);
            rejects.extend(outcome.rejects.iter().map(|reject| reject_value(&outcome.source, reject)));
        }
    }
    Ok((rows, rejects))
}

/// One batch per source; the offset of a message is the number of its line, from 0.
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

fn row_values(outcome: &Outcome) -> Result<Vec<Value>> {
    let mut text = Vec::new();
    let mut writer = arrow::json::LineDelimitedWriter::new(&mut text);
    writer.write(&outcome.rows).and_then(|()| writer.finish()).or_bug("write rows as JSON")?;
    serde_json::Deserializer::from_slice(&text).into_iter().collect::<Result<_, _>>().or_bug("read JSON that we wrote")
}

fn reject_value(source: &Arc<str>, reject: &Reject) -> Value {
    let fault = |fault: &crate::batch::Fault| {
        let mut object = Map::new();
        object.insert("code".into(), json!(*fault.code));
        fault.field.iter().for_each(|field| drop(object.insert("field".into(), json!(**field))));
        object.insert("reason".into(), json!(fault.reason));
        fault.value.iter().for_each(|value| drop(object.insert("value".into(), json!(value))));
        Value::Object(object)
    };
    let mut object = Map::new();
    object.insert("source".into(), json!(**source));
    object.insert("line".into(), json!(reject.offset + 1));
    reject.row.iter().for_each(|row| drop(object.insert("row".into(), json!(row))));
    object.insert("stage".into(), json!(*reject.stage));
    object.insert("faults".into(), reject.faults.iter().map(fault).collect());
    Value::Object(object)
}

fn compare(what: &str, expected: &[Value], found: &[Value], wrong: &mut Vec<String>) {
    for number in 0..expected.len().max(found.len()) {
        match (expected.get(number), found.get(number)) {
            (Some(expected), Some(found)) => differences(&format!("{what} {}", number + 1), expected, found, wrong),
            (Some(expected), None) => wrong.push(format!("{what} {}: missing: {expected}", number + 1)),
            (None, Some(found)) => wrong.push(format!("{what} {}: not expected: {found}", number + 1)),
            (None, None) => {}
        }
    }
}

fn differences(at: &str, expected: &Value, found: &Value, wrong: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(left), Value::Object(right)) => {
            let names: std::collections::BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            for name in names {
                let absent = Value::Null;
                let (left, right) = (left.get(name).unwrap_or(&absent), right.get(name).unwrap_or(&absent));
                differences(&format!("{at}: {name}"), left, right, wrong);
            }
        }
        _ if expected != found => wrong.push(format!("{at}: expected {expected}, got {found}")),
        _ => {}
    }
}

fn read(path: &Path) -> Result<Vec<Value>> {
    let Ok(text) = fs::read_to_string(path) else { return Ok(Vec::new()) };
    let mut values = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let value = serde_json::from_str(line);
        values.push(value.or_config(format!("{}:{}", path.display(), number + 1))?);
    }
    Ok(values)
}

fn write(path: &Path, values: &[Value]) -> Result<()> {
    if values.is_empty() {
        let _ = fs::remove_file(path);
        return Ok(());
    }
    let lines: Vec<String> = values.iter().map(Value::to_string).collect();
    fs::write(path, lines.join("\n") + "\n").or_config(format!("write {}", path.display()))
}
