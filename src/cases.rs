//! `huiju test`: runs the cases in the pipeline folders, offline.
//!
//! A case is a folder `pipelines/<pipeline>/tests/<case>/`. Each line of its `input.jsonl` is one message:
//! `{"source": "nanchang", "at": "2026-06-01T08:00:00+08:00", "key": "…", "message": {…}}`, with `"text"` or `"hex"` in
//! place of `"message"` for what is not JSON, and `null` for a tombstone; a message reaches the decoder as it is written.
//! `output.jsonl` holds the rows that must come out, `rejects.jsonl` the rejects; a missing file stands for an empty
//! one. Messages go through one by one and once more all together: batch boundaries must not matter.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor},
};
use serde_json::{Map, Value, json, value::RawValue};

use crate::{
    batch::{Fetched, Message, Outcome, Reject},
    check,
    cli::{flags::Where, out::say},
    clock::Clock,
    config::Config,
    cursor::{Interval, Partition},
    decode::Decoder,
    dedup::Dedup,
    engine::nearest,
    error::{Context, Error, Result},
    file,
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
        for folder in folders(&prepared)? {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let wanted = options.case.as_ref().is_none_or(|wanted| name.contains(wanted.as_str()));
            names.push(format!("{}/{name}", prepared.pipeline.name));
            if !wanted {
                continue;
            }
            let told = case(&prepared, &folder, options.update)?;
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

/// What came out of a case.
#[derive(Default)]
pub struct Told {
    /// What is wrong, a line each.
    pub wrong: Vec<String>,
    /// What became of the files of what is expected, a line each.
    pub written: Vec<String>,
}

/// Runs a case.
pub fn case(prepared: &Prepared, folder: &Path, update: bool) -> Result<Told> {
    let input = folder.join("input.jsonl");
    let messages = read_messages(prepared, &input)?;
    let mut told = Told::default();
    if messages.is_empty() {
        let what = if input.exists() { "has no message" } else { "is not there" };
        told.wrong.push(format!("{} {what}: write the messages of the case, a line each", input.display()));
        return Ok(told);
    }
    let (rows, rejects) = through(prepared, &messages, 1)?;
    let at_once = through(prepared, &messages, messages.len())?;
    if sorted(&rows) != sorted(&at_once.0) || sorted(&rejects) != sorted(&at_once.1) {
        told.wrong.push("the result depends on the boundaries of batches".to_owned());
    }
    let parts = [("output.jsonl", "row", &rows), ("rejects.jsonl", "reject", &rejects)];
    for (name, what, found) in parts {
        let path = folder.join(name);
        if update {
            told.written.extend(write(&path, found)?);
        } else {
            compare(what, &read(&path)?, found, &mut told.wrong);
        }
    }
    Ok(told)
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

/// The keys of a line of the input.
const KEYS: [&str; 6] = ["source", "at", "key", "message", "text", "hex"];

/// An object as it is written: keys that come twice, and numbers in their own form.
struct Line(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Line, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Line;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Line(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

fn read_messages(prepared: &Prepared, path: &Path) -> Result<Vec<Sent>> {
    read::<Line>(path)?
        .into_iter()
        .map(|(number, line)| {
            message(prepared, &line).map_err(|what| Error::config(format!("{}:{number}: {what}", path.display())))
        })
        .collect()
}

/// A line of the input, or what is wrong with it.
fn message(prepared: &Prepared, Line(entries): &Line) -> Result<Sent, String> {
    for (at, (key, _)) in entries.iter().enumerate() {
        if !KEYS.contains(&key.as_str()) {
            let near = nearest(key, KEYS.into_iter());
            return Err(format!("there is no key \"{key}\"{near}; the keys are {}", KEYS.join(", ")));
        }
        if entries[..at].iter().any(|(before, _)| before == key) {
            return Err(format!("\"{key}\" is there twice: keep one"));
        }
    }
    let raw = |key: &str| entries.iter().find(|(name, _)| name == key).map(|(_, value)| value.get());
    let text = |key: &str| match raw(key) {
        None | Some("null") => Ok(None),
        Some(json) => match serde_json::from_str::<String>(json) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(format!("{key} is {json}: write a text, in quotes")),
        },
    };
    let names = || prepared.pipeline.sources.iter().map(|source| source.name.as_ref());
    let known = || names().collect::<Vec<_>>().join(", ");
    let name = text("source")?.ok_or_else(|| format!("has no source: the sources are {}", known()))?;
    let source = names().position(|known| known == name).ok_or_else(|| {
        format!("there is no source \"{name}\"{}; the sources are {}", nearest(&name, names()), known())
    })?;
    let at = match text("at")? {
        None => None,
        Some(text) => match chrono::DateTime::parse_from_rfc3339(&text) {
            Ok(time) => Some(time.timestamp_millis()),
            Err(_) => return Err(format!("at \"{text}\" is no time with its zone: write 2026-06-01T08:00:00+08:00")),
        },
    };
    let payload = match (raw("message"), text("text")?, text("hex")?) {
        (Some("null"), None, None) => None,
        (Some(message), None, None) => Some(message.as_bytes().to_vec()),
        (None, Some(text), None) => Some(text.into_bytes()),
        (None, None, Some(hex)) => {
            Some(from_hex(&hex).ok_or_else(|| format!("hex \"{hex}\" is not hexadecimal: write 7b7d for {{}}"))?)
        }
        _ => return Err("has none, or more than one, of message, text and hex".to_owned()),
    };
    Ok(Sent { source, at, key: text("key")?.map(String::into_bytes), payload })
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

fn compare(what: &str, expected: &[(usize, Value)], found: &[Value], wrong: &mut Vec<String>) {
    for number in 0..expected.len().max(found.len()) {
        match (expected.get(number), found.get(number)) {
            (Some((_, expected)), Some(found)) => {
                differences(&format!("{what} {}", number + 1), expected, found, wrong)
            }
            (Some((_, expected)), None) => wrong.push(format!("{what} {}: missing: {expected}", number + 1)),
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

/// The lines of a file with their numbers; none when it is not there.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<(usize, T)>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::config(format!("{}: {error}", path.display()))),
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let value = |(number, line)| match serde_json::from_str(line) {
        Ok(value) => Ok((number, value)),
        Err(error) => Err(Error::config(format!("{}:{number}: {error}", path.display()))),
    };
    lines.map(value).collect()
}

/// Makes the file hold these values; tells what it did, if anything.
fn write(path: &Path, values: &[Value]) -> Result<Option<String>> {
    let shown = path.display();
    if values.is_empty() {
        return match fs::remove_file(path) {
            Ok(()) => Ok(Some(format!("removed {shown}"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(file::failed(format_args!("remove {shown}"), error)),
        };
    }
    let text: String = values.iter().map(|value| format!("{value}\n")).collect();
    if fs::read_to_string(path).is_ok_and(|before| before == text) {
        return Ok(None);
    }
    file::write(path, text.as_bytes())?;
    Ok(Some(format!("wrote {shown}")))
}
