//! Texts with generators in them: reading them, and making values.

use std::sync::Arc;

use chrono::{Offset, TimeZone};
use rand::{RngExt, rngs::StdRng};

use super::{people, time};

/// A text and its generators, in order.
pub type Parts = Vec<Part>;

#[derive(Clone, PartialEq, Debug)]
pub enum Part {
    Text(String),
    /// A `let` value, or the field after its so-many-th tab.
    Value {
        index: usize,
        field: Option<usize>,
    },
    Words(Arc<Vec<Parts>>),
    /// Choices, each with the sum of the weights up to it.
    One(Vec<(u32, Parts)>),
    /// The running number, with so many digits.
    Serial(usize),
    Time {
        /// Milliseconds from the message's time, taken between the two.
        from: i64,
        to: i64,
        format: time::Format,
    },
    Int(i64, i64),
    Digits(usize),
    Name,
    Mobile,
    Landline {
        area: String,
        length: usize,
    },
    IdCard(Vec<String>),
}

/// Names that mean a generator, and so cannot be those of values.
pub const GENERATORS: [&str; 10] =
    ["words", "one", "id", "time", "int", "digits", "name", "mobile", "landline", "id_card"];

/// Where names in a text are looked up.
pub trait Scope {
    /// Index of a `let` value that is made by now.
    fn value(&mut self, name: &str) -> Result<usize, String>;
    fn words(&mut self, list: &str) -> Result<Arc<Vec<Parts>>, String>;
}

/// Reads a text. The error names what it is about.
pub fn parse(text: &str, scope: &mut dyn Scope) -> Result<Parts, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if at > 0 {
            parts.push(Part::Text(rest[..at].to_owned()));
        }
        let length = closing(&rest[at..]).ok_or_else(|| format!("`{}` has no closing brace", &rest[at..]))?;
        let whole = &rest[at..at + length];
        let inner = &whole[2..whole.len() - 1];
        generator(inner, scope, &mut parts).map_err(|why| format!("`{whole}`: {why}"))?;
        rest = &rest[at + length..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Ok(parts)
}

/// Length of a generator, from its `$` to the brace that closes it.
pub fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

fn generator(inner: &str, scope: &mut dyn Scope, parts: &mut Parts) -> Result<(), String> {
    let (head, argument) = match inner.split_once(':') {
        Some((head, argument)) => (head, Some(argument)),
        None => (inner, None),
    };
    let part = match (head, argument) {
        ("name", None) => Part::Name,
        ("mobile", None) => Part::Mobile,
        ("words", Some(list)) => Part::Words(scope.words(list)?),
        ("one", Some(choices)) => Part::One(one(choices, scope)?),
        ("int", Some(range)) => {
            let (from, to) = range_of(range)?;
            Part::Int(from, to)
        }
        ("digits", Some(count)) => Part::Digits(whole(count)?),
        ("landline", Some(argument)) => {
            let (area, length) = argument.split_once('/').ok_or("write area code and digits: `0791/8`")?;
            Part::Landline { area: area.to_owned(), length: whole(length)? }
        }
        ("id_card", Some(areas)) => Part::IdCard(areas_of(areas)?),
        ("id", Some(format)) => return id(format, parts),
        (head, Some(format)) if head.starts_with("time") => {
            let (from, to) = shift(&head["time".len()..])?;
            Part::Time { from, to, format: time::Format::parse(format)? }
        }
        (name, None) => {
            let (name, field) = match name.split_once('/') {
                Some((name, field)) => match whole(field)? {
                    0 => return Err("fields are counted from 1".to_owned()),
                    field => (name, Some(field - 1)),
                },
                None => (name, None),
            };
            Part::Value { index: scope.value(name)?, field }
        }
        (head, Some(_)) => {
            return Err(format!("no generator `{head}`; there are {}", GENERATORS.join(", ")));
        }
    };
    parts.push(part);
    Ok(())
}

fn whole(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number <= 1000 => Ok(number),
        _ => Err(format!("`{text}` is not a whole number up to 1000")),
    }
}

/// `1-5`
fn range_of(text: &str) -> Result<(i64, i64), String> {
    let range = text.split_once('-').and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    range.filter(|(from, to)| from <= to).ok_or_else(|| format!("`{text}` is not a range like 1-5"))
}

/// How often an array repeats its element: `1-5`, up to 100000 times.
pub fn repeat_of(text: &str) -> Result<(i64, i64), String> {
    const MOST: i64 = 100_000;
    match range_of(text)? {
        (_, to) if to > MOST => Err(format!("`{text}` repeats an element more than {MOST} times: write fewer")),
        range => Ok(range),
    }
}

fn areas_of(text: &str) -> Result<Vec<String>, String> {
    let areas: Vec<String> = text.split('|').map(str::to_owned).collect();
    match areas.iter().find(|area| area.len() != 6 || !area.bytes().all(|b| b.is_ascii_digit())) {
        Some(area) => Err(format!("`{area}` is not a code of six digits")),
        None => Ok(areas),
    }
}

/// Splits `a|b*3|${one:c|d}` and adds up the weights.
fn one(text: &str, scope: &mut dyn Scope) -> Result<Vec<(u32, Parts)>, String> {
    let mut choices = Vec::new();
    let mut sum = 0;
    let mut depth = 0;
    for choice in text.split(|c| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        c == '|' && depth == 0
    }) {
        let weighted = choice.rsplit_once('*').and_then(|(text, weight)| Some((text, weight.parse::<u16>().ok()?)));
        let (text, weight) = weighted.unwrap_or((choice, 1));
        if weight == 0 {
            return Err(format!("`{choice}` is never taken: its weight is 0"));
        }
        sum += u32::from(weight);
        choices.push((sum, parse(text, scope)?));
    }
    Ok(choices)
}

/// `%y%m%d####`
fn id(format: &str, parts: &mut Parts) -> Result<(), String> {
    if !format.contains('#') {
        return Err("an id needs `#` for the running number".to_owned());
    }
    let mut rest = format;
    while let Some(at) = rest.find('#') {
        if at > 0 {
            parts.push(Part::Time { from: 0, to: 0, format: time::Format::parse(&rest[..at])? });
        }
        let count = rest[at..].bytes().take_while(|b| *b == b'#').count();
        parts.push(Part::Serial(count.min(18)));
        rest = &rest[at + count..];
    }
    if !rest.is_empty() {
        parts.push(Part::Time { from: 0, to: 0, format: time::Format::parse(rest)? });
    }
    Ok(())
}

/// `+3h`, `-1m..6d` or nothing: milliseconds.
fn shift(text: &str) -> Result<(i64, i64), String> {
    let (sign, spans) = match text.as_bytes().first() {
        None => return Ok((0, 0)),
        Some(b'+') => (1, &text[1..]),
        Some(b'-') => (-1, &text[1..]),
        Some(_) => return Err(format!("`{text}` is not a shift like +3h or -1m..6d")),
    };
    let (least, most) = spans.split_once("..").unwrap_or((spans, spans));
    let (least, most) = (sign * span(least)?, sign * span(most)?);
    Ok((least.min(most), least.max(most)))
}

fn span(text: &str) -> Result<i64, String> {
    let unit = match text.as_bytes().last() {
        Some(b's') => 1000,
        Some(b'm') => 60_000,
        Some(b'h') => 3_600_000,
        Some(b'd') => 86_400_000,
        _ => return Err(format!("`{text}` is not a span like 30s, 5m, 3h or 2d")),
    };
    let number: i64 = text[..text.len() - 1].parse().map_err(|_| format!("`{text}` is not a span like 30s"))?;
    number.checked_mul(unit).filter(|ms| *ms < 1 << 50).ok_or_else(|| format!("`{text}` is too long"))
}

/// What the values of one row are made from.
pub struct Row {
    pub rng: StdRng,
    /// The message's time, milliseconds since 1970.
    pub now: i64,
    /// Milliseconds east of Greenwich.
    pub offset: i64,
    /// The hour `offset` was looked up for.
    hour: i64,
    serial: i64,
    values: Vec<String>,
}

impl Row {
    pub fn new(rng: StdRng, values: usize) -> Row {
        Row { rng, now: 0, offset: 0, hour: i64::MIN, serial: 0, values: vec![String::new(); values] }
    }

    pub fn set_time(&mut self, now: i64, zone: chrono_tz::Tz) {
        self.now = now;
        let hour = now.div_euclid(3_600_000);
        if hour == self.hour {
            return;
        }
        self.hour = hour;
        if let Some(time) = chrono::DateTime::from_timestamp_millis(now) {
            let offset = zone.offset_from_utc_datetime(&time.naive_utc()).fix();
            self.offset = i64::from(offset.local_minus_utc()) * 1000;
        }
    }

    /// Makes the `let` values of the next row.
    pub fn make(&mut self, lets: &[Parts]) {
        self.serial += 1;
        for (index, parts) in lets.iter().enumerate() {
            let mut value = std::mem::take(&mut self.values[index]);
            value.clear();
            self.write(parts, &mut value);
            self.values[index] = value;
        }
    }

    /// A `let` value or its field.
    pub fn value(&self, index: usize, field: Option<usize>) -> &str {
        let value = &self.values[index];
        match field {
            Some(field) => value.split('\t').nth(field).unwrap_or(""),
            None => value,
        }
    }

    pub fn text(&mut self, parts: &[Part]) -> String {
        let mut text = String::new();
        self.write(parts, &mut text);
        text
    }

    pub fn write(&mut self, parts: &[Part], out: &mut String) {
        for part in parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Value { index, field } => out.push_str(self.value(*index, *field)),
                Part::Words(lines) => {
                    let line = self.rng.random_range(0..lines.len());
                    self.write(&lines[line], out);
                }
                Part::One(choices) => {
                    let sum = choices.last().map_or(1, |(sum, _)| *sum);
                    let drawn = self.rng.random_range(0..sum);
                    let at = choices.partition_point(|(sum, _)| *sum <= drawn);
                    self.write(&choices[at].1, out);
                }
                Part::Serial(width) => time::number(self.serial % 10_i64.pow(*width as u32), *width, out),
                Part::Time { from, to, format } => {
                    let shift = if from == to { *from } else { self.rng.random_range(*from..=*to) };
                    format.write(self.now + shift, self.offset, out);
                }
                Part::Int(from, to) => time::number(self.rng.random_range(*from..=*to), 1, out),
                Part::Digits(count) => people::digits(*count, &mut self.rng, out),
                Part::Name => people::name(&mut self.rng, out),
                Part::Mobile => people::mobile(&mut self.rng, out),
                Part::Landline { area, length } => people::landline(area, *length, &mut self.rng, out),
                Part::IdCard(areas) => {
                    let area = self.rng.random_range(0..areas.len());
                    people::id_card(&areas[area], &mut self.rng, out);
                }
            }
        }
    }
}
