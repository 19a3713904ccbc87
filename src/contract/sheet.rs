//! CSV files that people keep: code tables, divisions, keyword rules. Strict about the header and the columns, patient
//! with blanks around a value and with the byte order mark a spreadsheet leaves.

use std::path::Path;

use super::form::{Findings, hint};
use crate::file::{OPEN_QUOTE, csv_line, open_quote};

pub(super) struct Row {
    pub line: usize,
    fields: csv::StringRecord,
}

impl Row {
    pub fn get(&self, column: usize) -> &str {
        self.fields.get(column).unwrap_or_default()
    }
    pub fn owned(&self, column: usize) -> String {
        self.get(column).to_owned()
    }
    /// The parts of a value joined by `|`; none when it is empty.
    pub fn parts(&self, column: usize) -> Vec<String> {
        let text = self.get(column);
        if text.is_empty() { Vec::new() } else { text.split('|').map(|part| part.trim().to_owned()).collect() }
    }
}

/// The rows below `header`, those with a wrong number of values left out and noted.
pub(super) fn read(path: &Path, header: &[&str], findings: &mut Findings) -> Vec<Row> {
    let bytes = match crate::file::read(path) {
        Ok(bytes) => bytes,
        Err(e) => {
            findings.add_whole(format!("cannot be read: {e}"));
            return Vec::new();
        }
    };
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        Err(e) => {
            let line = bytes[..e.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
            findings.add(line, "this is not UTF-8: save the file as UTF-8 (spreadsheets: CSV UTF-8)");
            return Vec::new();
        }
    };
    rows(text, header, findings)
}

fn rows(text: &str, header: &[&str], findings: &mut Findings) -> Vec<Row> {
    if let Some(line) = open_quote(text) {
        findings.add(line, OPEN_QUOTE);
        return Vec::new();
    }
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(text.as_bytes());
    let mut rows = Vec::new();
    for (index, record) in reader.records().enumerate() {
        let fields = match record {
            Ok(fields) => fields,
            Err(e) => {
                findings.add_whole(format!("this is not CSV: {e}"));
                break;
            }
        };
        let line = csv_line(text, fields.position());
        if index == 0 {
            if fields.iter().ne(header.iter().copied()) {
                findings.add(line, wrong_header(&fields, header));
                return Vec::new();
            }
        } else if fields.iter().all(str::is_empty) {
            // `,,,,` is how a spreadsheet writes an empty line
        } else if fields.len() != header.len() {
            let (has, wants, first) = (fields.len(), header.len(), fields.get(0).unwrap_or_default());
            let todo = match has < wants {
                true => format!("an empty value has its comma too, `{}`", header.join(",")),
                false => "a value with a comma in it needs quotes".to_owned(),
            };
            findings.add(line, format!("the row `{first}` has {has} values, the header {wants}: {todo}"));
        } else {
            for what in header.iter().zip(&fields).filter_map(|(name, value)| otherwise_joined(name, value)) {
                findings.add(line, what);
            }
            rows.push(Row { line, fields });
        }
    }
    if rows.is_empty() && findings.count() == 0 {
        findings.add_whole(format!("has no rows: write the header `{}` and rows below it", header.join(",")));
    }
    rows
}

/// That a value holds a sign which stands for the `|` on a Chinese keyboard, or between words: all of it would be one word
/// that nothing is equal to. An alias may have the others, `投诉、举报`.
fn otherwise_joined(name: &str, value: &str) -> Option<String> {
    let signs: &[char] = match name {
        "aliases" => &['｜'],
        "keywords" => &['｜', '、', '，', '；'],
        _ => return None,
    };
    let sign = value.chars().find(|c| signs.contains(c))?;
    Some(format!("the {name} `{value}` hold a `{sign}`: write `|` in place of it"))
}

fn wrong_header(fields: &csv::StringRecord, header: &[&str]) -> String {
    let wanted = header.join(",");
    if let [one] = fields.iter().collect::<Vec<_>>()[..]
        && one.contains([';', '\t', '|', '，'])
    {
        return format!("the header is `{one}`: values are separated by commas, write `{wanted}` and the rows alike");
    }
    match fields.iter().find(|field| !header.contains(field)) {
        Some(odd) => format!("the header has `{odd}`: {} The header is `{wanted}`", hint(odd, header, "remove it.")),
        None => format!("the header is `{}`: write `{wanted}`", fields.iter().collect::<Vec<_>>().join(",")),
    }
}
