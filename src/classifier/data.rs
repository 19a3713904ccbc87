//! Texts and labelled texts from files: JSON Lines, CSV with a header, or plain lines.
//!
//! Errors name the file and the line, never the text: it is what a citizen wrote. Nor the label, which is text where
//! somebody names the wrong field.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use serde_json::{Map, Value};

use crate::{
    error::{Context, Error, Result},
    file,
    text::classify::{Example, MOST_CLASSES},
};

/// Which fields hold a text.
#[derive(clap::Args, Clone, Debug)]
pub struct TextFields {
    /// Field of the title; a text without it has none
    #[arg(long, default_value = "title")]
    pub title: String,
    /// Field of the content
    #[arg(long, default_value = "content")]
    pub content: String,
}

/// Which fields hold a labelled text.
#[derive(clap::Args, Clone, Debug)]
pub struct Fields {
    #[command(flatten)]
    pub texts: TextFields,
    /// Field of the label
    #[arg(long, default_value = "label")]
    pub label: String,
}

/// A text to classify.
#[derive(Clone, PartialEq, Debug)]
pub struct Text {
    pub title: String,
    pub content: String,
}

/// Labelled texts and their classes, in the order of the classes' names.
#[derive(Debug)]
pub struct Labelled {
    pub examples: Vec<Example>,
    pub classes: Vec<String>,
}

/// One value of a row, by the name of its field.
type Rows = Vec<(usize, Map<String, Value>)>;

/// Reads labelled texts to learn from. At least two classes, each with at least two texts.
pub fn labelled(path: &Path, fields: &Fields) -> Result<Labelled> {
    let rows = with_labels(path, fields)?;
    let mut classes: Vec<String> = rows.iter().map(|(_, _, label)| label.clone()).collect();
    classes.sort();
    classes.dedup();
    let shown = path.display();
    if !(2..=MOST_CLASSES).contains(&classes.len()) {
        let (found, most) = (classes.len(), MOST_CLASSES);
        let todo =
            format!("2 to {most} classes can be learned: look whether `{}` is the field of the label", fields.label);
        return Err(Error::config(format!("{shown}: the texts have {found} labels; {todo}")));
    }
    for class in &classes {
        let mut lines = rows.iter().filter(|(_, _, label)| label == class).map(|(line, ..)| line);
        if let (Some(line), None) = (lines.next(), lines.next()) {
            let todo = format!(
                "write more, leave it out, or say which field the label is, if it is not `{}` (--label)",
                fields.label
            );
            return Err(Error::config(format!("{shown}:{line}: the label of this text has no other text: {todo}")));
        }
    }
    let examples = rows.into_iter().map(|(_, text, label)| {
        let class = classes.binary_search(&label).expect("the classes were made of these labels");
        Example { title: text.title, content: text.content, class }
    });
    Ok(Labelled { examples: examples.collect(), classes })
}

/// Reads labelled texts to measure `classes` with.
pub fn labelled_as(path: &Path, fields: &Fields, classes: &[String]) -> Result<Vec<Example>> {
    let mut examples = Vec::new();
    for (line, text, label) in with_labels(path, fields)? {
        let Some(class) = classes.iter().position(|class| *class == label) else {
            let what = format!("the label is no class of the weights, which have {}", classes.join(", "));
            let todo = "correct it, say which field it is (--label), or take other weights";
            return Err(Error::config(format!("{}:{line}: {what}: {todo}", path.display())));
        };
        examples.push(Example { title: text.title, content: text.content, class });
    }
    if examples.is_empty() {
        return Err(Error::config(format!("{}: there are no texts in it", path.display())));
    }
    Ok(examples)
}

fn with_labels(path: &Path, fields: &Fields) -> Result<Vec<(usize, Text, String)>> {
    let bytes = file::read(path).or_config(format!("read {}", path.display()))?;
    let (mut all, mut has_content) = (Vec::new(), false);
    for (line, mut row) in rows(path, &bytes, &fields.label)? {
        has_content |= row.contains_key(&fields.texts.content);
        let at = || format!("{}:{line}", path.display());
        let label = match row.remove(&fields.label) {
            Some(Value::String(label)) => {
                let label = label.trim();
                let todo = format!("say which field the label is, if it is not `{}` (--label)", fields.label);
                name(label).map_err(|what| Error::config(format!("{}: the label {what}: {todo}", at())))?;
                label.to_owned()
            }
            Some(_) => {
                return Err(Error::config(format!(
                    "{}: field `{}` is no text: write the class's name",
                    at(),
                    fields.label
                )));
            }
            None => return Err(missing(&at(), &fields.label)),
        };
        all.push((line, text(&at(), row, &fields.texts)?, label));
    }
    if !has_content && !all.is_empty() {
        // A slip in its name would teach the titles alone, and nobody would know why the weights are no good.
        let TextFields { title, content } = &fields.texts;
        let todo = format!("say which field it is (--content), or --content {title} to learn from that alone");
        return Err(Error::config(format!("{}: no text has a field `{content}`: {todo}", path.display())));
    }
    Ok(all)
}

/// What is wrong with the name of a class, or of a release.
pub fn name(name: &str) -> Result<(), &'static str> {
    const LONGEST: usize = 64;
    match name {
        _ if name.trim().is_empty() => Err("is empty"),
        _ if name.chars().any(char::is_control) => Err("has a control character in it"),
        _ if name.chars().nth(LONGEST).is_some() => Err("is longer than 64 characters"),
        _ => Ok(()),
    }
}

/// Hands out texts to classify as they come, and whether the next one has to be waited for; `None` is standard input. Lines
/// that are no JSON objects are contents without a title. Tells whether more are wanted: whoever takes them says so.
pub fn each(path: Option<&Path>, fields: &TextFields, mut take: impl FnMut(&Text, bool) -> bool) -> Result<bool> {
    let Some(path) = path else {
        return lines(Path::new("standard input"), std::io::stdin().lock(), fields, take);
    };
    let failed = |error| file::failed(format_args!("read {}", path.display()), error);
    if path.extension().is_none_or(|ending| !ending.eq_ignore_ascii_case("csv")) {
        return lines(path, File::open(path).map_err(failed)?, fields, take);
    }
    let bytes = file::read(path).or_config(format!("read {}", path.display()))?;
    for (line, row) in rows(path, &bytes, &fields.content)? {
        if !take(&text(&format!("{}:{line}", path.display()), row, fields)?, false) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What a line may have; it is held in memory.
const LONGEST: usize = 16 << 20;

fn lines(path: &Path, from: impl Read, fields: &TextFields, mut take: impl FnMut(&Text, bool) -> bool) -> Result<bool> {
    let plain = |content: &str| Text { title: String::new(), content: content.to_owned() };
    let mut reader = BufReader::new(from);
    let mut bytes = Vec::new();
    // The first line that says anything tells what the others are; what was empty before it is text or nothing.
    let (mut objects, mut empty) = (None, 0_usize);
    for number in 1.. {
        bytes.clear();
        let read = reader.by_ref().take(LONGEST as u64 + 1).read_until(b'\n', &mut bytes);
        if read.map_err(|error| file::failed(format_args!("read {}", path.display()), error))? == 0 {
            break;
        }
        let at = format!("{}:{number}", path.display());
        if bytes.len() > LONGEST {
            return Err(Error::config(format!("{at}: the line is longer than {} MiB", LONGEST >> 20)));
        }
        let waits = !reader.buffer().contains(&b'\n');
        let line = str::from_utf8(&bytes).map_err(|_| not_utf8(path, number))?;
        let line = line.strip_suffix('\n').unwrap_or(line);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let line = if number == 1 { line.strip_prefix('\u{feff}').unwrap_or(line) } else { line };
        let is_empty = line.trim().is_empty();
        if objects.is_none() && is_empty {
            empty += 1;
            continue;
        }
        let is_object = *objects.get_or_insert_with(|| line.trim_start().starts_with('{'));
        let before = if is_object { 0 } else { std::mem::take(&mut empty) };
        if !(0..before).all(|_| take(&plain(""), false)) {
            return Ok(false);
        }
        let text = match is_object {
            true if is_empty => continue,
            true => text(&at, object(path, number, line)?, fields)?,
            false => plain(line),
        };
        if !take(&text, waits) {
            return Ok(false);
        }
    }
    Ok(objects.is_some() || (0..empty).all(|_| take(&plain(""), false)))
}

fn text(at: &str, mut row: Map<String, Value>, fields: &TextFields) -> Result<Text> {
    let mut take = |name: &str| match row.remove(name) {
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Null) | None => Ok(None),
        Some(_) => Err(Error::config(format!("{at}: field `{name}` is no text: put it in quotes"))),
    };
    match (take(&fields.title)?, take(&fields.content)?) {
        (None, None) => Err(missing(at, &fields.content)),
        (title, content) => Ok(Text { title: title.unwrap_or_default(), content: content.unwrap_or_default() }),
    }
}

fn missing(at: &str, field: &str) -> Error {
    Error::config(format!(
        "{at}: there is no field `{field}`: write it, or say which field it is (--title, --content, --label)"
    ))
}

fn starts_with_object(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

/// Rows of JSON Lines or CSV, with their lines; `must` is a column that a CSV header needs.
fn rows(path: &Path, bytes: &[u8], must: &str) -> Result<Rows> {
    let text = utf8(path, bytes)?;
    if starts_with_object(bytes) { objects(path, text) } else { table(path, text, must) }
}

/// The text, without a byte order mark.
fn utf8<'b>(path: &Path, bytes: &'b [u8]) -> Result<&'b str> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        not_utf8(path, bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1)
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn not_utf8(path: &Path, line: usize) -> Error {
    Error::config(format!("{}:{line}: this is not UTF-8: save the file as UTF-8", path.display()))
}

fn objects(path: &Path, text: &str) -> Result<Rows> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(number, line)| Ok((number, object(path, number, line)?))).collect()
}

fn object(path: &Path, number: usize, line: &str) -> Result<Map<String, Value>> {
    match serde_json::from_str(line) {
        Ok(Value::Object(row)) => Ok(row),
        // serde_json's own words may hold a piece of the text.
        _ => Err(Error::config(format!("{}:{number}: this is no JSON object: write one per line", path.display()))),
    }
}

fn table(path: &Path, text: &str, must: &str) -> Result<Rows> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let wrong = |line: usize, what: &str| Error::config(format!("{}:{line}: {what}", path.display()));
    let line_of = |error: &csv::Error| file::csv_line(text, error.position());
    if let Some(line) = file::open_quote(text) {
        return Err(wrong(line, file::OPEN_QUOTE));
    }
    let header =
        reader.headers().map_err(|error| wrong(line_of(&error), "this is neither JSON Lines nor CSV"))?.clone();
    if !header.iter().any(|name| name == must) {
        let what = format!("the header has no column `{must}`: write JSON Lines, or CSV with a header");
        return Err(wrong(file::csv_line(text, header.position()), &what));
    }
    for (at, name) in header.iter().enumerate() {
        if header.iter().take(at).any(|before| before == name) && !name.is_empty() {
            let line = file::csv_line(text, header.position());
            return Err(wrong(line, &format!("column {} of the header has the name of one before it", at + 1)));
        }
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let todo = "this row has more or fewer values than the header: a value with a comma in it needs quotes";
        let record = record.map_err(|error| wrong(line_of(&error), todo))?;
        let line = file::csv_line(text, record.position());
        let row = header.iter().zip(&record).map(|(name, value)| (name.to_owned(), Value::String(value.to_owned())));
        rows.push((line, row.collect()));
    }
    Ok(rows)
}
