//! The contract's checks: all faults of a row at once, in one pass over the columns.
//!
//! Most batches are clean, so a column is looked at value by value only when it can hold a fault: nulls are counted
//! already, lengths are compared in bytes before they are counted in characters.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, ListBuilder, StringArray, StringBuilder},
    buffer::NullBuffer,
    datatypes::{DataType, Date32Type, FieldRef, TimeUnit, TimestampMicrosecondType},
    record_batch::RecordBatch,
    util::display::{ArrayFormatter, FormatOptions},
};

use hashbrown::HashSet;

use super::Library;
use crate::{
    batch::Fault,
    contract::{Column, Contract, Kind, Rule, Severity},
    error::Finding,
    text,
};

/// A row that would not fit into a message of the clean topic, which takes a megabyte by default, is rejected: it must
/// not stop the rows behind it.
pub(super) const LARGEST_ROW: usize = 1_000_000;

/// How much of an offending value a reject shows, in characters.
const SHOWN: usize = 64;

#[derive(Debug)]
pub(super) struct Checks {
    contract: Arc<Contract>,
    columns: Vec<Checked>,
    /// Positions of the columns that a message of the clean topic has once more, as its key.
    keys: Vec<usize>,
}

/// A column of the contract, with what its checks need.
#[derive(Debug)]
struct Checked {
    /// Index in the contract.
    of: usize,
    /// Position of the raw column in the computed batch.
    raw: Option<usize>,
    /// Whether what the source said of it is personal, be it the column itself or the raw one.
    personal: bool,
    codes: Option<Codes>,
    unknown: Arc<str>,
    too_long: Arc<str>,
}

/// The codes of a table. Nearly all are short enough to be looked up as a number.
#[derive(Debug)]
struct Codes {
    short: HashSet<u64>,
    long: HashSet<Box<str>>,
}

impl Codes {
    fn new(codes: HashSet<Box<str>>) -> Codes {
        let short = codes.iter().filter_map(|code| packed(code)).collect();
        Codes { short, long: codes.into_iter().filter(|code| packed(code).is_none()).collect() }
    }
    fn contains(&self, text: &str) -> bool {
        packed(text).map_or_else(|| self.long.contains(text), |short| self.short.contains(&short))
    }
}

/// Up to seven bytes and their number, as a number.
fn packed(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let number = bytes.iter().fold(bytes.len() as u64, |number, byte| number << 8 | u64::from(*byte));
    (bytes.len() <= 7).then_some(number)
}

/// Faults of a batch: errors by row, and flags by row.
#[derive(Default)]
pub(super) struct Found {
    pub errors: BTreeMap<u32, Vec<Fault>>,
    /// `(row, flag)` in no particular order.
    flags: Vec<(u32, Arc<str>)>,
}

impl Checks {
    /// The computed batch holds the contract's columns in order, without the flags column, then one boolean per rule.
    /// `keys` are the columns of the clean topic's keys.
    pub fn new(contract: Arc<Contract>, keys: &[String], library: &Library) -> Result<Checks, Vec<Finding>> {
        let mut findings = Vec::new();
        let present = || contract.columns.iter().enumerate().filter(|(_, column)| !is_flags(&contract, column));
        let position = |name: &str| present().position(|(_, column)| column.name.as_ref() == name);
        let mut columns = Vec::new();
        for (of, column) in present() {
            let codes = column.codes.as_ref().and_then(|name| match library.codes_of(name) {
                Some(codes) => Some(Codes::new(codes)),
                None => {
                    let near =
                        crate::near::did_you_mean(name, library.tables().iter().map(|table| table.name.as_ref()));
                    findings.push(Finding::new(&column.at, format!("there is no code table \"{name}\"{near}")));
                    None
                }
            });
            let code = if codes.is_some() { "unknown_code" } else { "unreadable" };
            let raw = column.raw.as_ref().and_then(|raw| contract.columns.iter().find(|other| other.name == *raw));
            columns.push(Checked {
                of,
                raw: column.raw.as_deref().and_then(position),
                personal: column.personal || raw.is_some_and(|raw| raw.personal),
                codes,
                unknown: format!("{}:{code}", column.name).into(),
                too_long: format!("{}:too_long", column.name).into(),
            });
        }
        let keys = keys.iter().filter_map(|name| position(name)).collect();
        if findings.is_empty() { Ok(Checks { contract: contract.clone(), columns, keys }) } else { Err(findings) }
    }

    pub fn rules(&self) -> &[Rule] {
        &self.contract.rules
    }

    /// Number of columns before the rules.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    pub fn run(&self, batch: &RecordBatch) -> Found {
        let mut found = Found::default();
        for (at, checked) in self.columns.iter().enumerate() {
            let column = &self.contract.columns[checked.of];
            let array = batch.column(at);
            let raw = checked.raw.map(|raw| batch.column(raw).as_string::<i32>());
            self.nulls(column, checked, array, raw, &mut found);
            if let (Some(text), true) = (array.as_string_opt::<i32>(), column.required || column.max_length.is_some()) {
                texts(column, checked, text, &mut found);
            }
            years(column, array, &mut found);
            if let (Some(codes), Some(text)) = (&checked.codes, array.as_string_opt::<i32>()) {
                let unknown = |i: &usize| text.is_valid(*i) && !codes.contains(text.value(*i));
                for row in (0..text.len()).filter(unknown) {
                    let value = || shown(column.personal, array, row);
                    found.add(row, column, "unknown_code", &checked.unknown, column.unknown, value);
                }
            }
        }
        self.sizes(batch, &mut found);
        for (number, rule) in self.contract.rules.iter().enumerate() {
            let holds: &BooleanArray = batch.column(self.width() + number).as_boolean();
            if holds.false_count() == 0 {
                continue;
            }
            let about = rule.column.as_deref().and_then(|name| {
                let at = self.columns.iter().position(|c| self.contract.columns[c.of].name.as_ref() == name)?;
                Some((at, &self.contract.columns[self.columns[at].of]))
            });
            let flag: Arc<str> = format!("{}:{}", rule.column.as_deref().unwrap_or("_row"), rule.name).into();
            for row in (0..holds.len()).filter(|row| holds.is_valid(*row) && !holds.value(*row)) {
                match rule.severity {
                    Severity::Warning => found.flags.push((row as u32, flag.clone())),
                    Severity::Error => found.errors.entry(row as u32).or_default().push(Fault {
                        code: rule.name.clone(),
                        field: rule.column.clone(),
                        reason: rule.description.clone(),
                        value: about.and_then(|(at, column)| shown(column.personal, batch.column(at), row)),
                    }),
                }
            }
        }
        found
    }

    /// Rows whose texts, written as JSON, and key are too large.
    fn sizes(&self, batch: &RecordBatch, found: &mut Found) {
        let texts: Vec<Texts> = batch.columns()[..self.width()].iter().filter_map(Texts::of).collect();
        let keys: Vec<Texts> = self.keys.iter().filter_map(|at| Texts::of(batch.column(*at))).collect();
        let all: usize = texts.iter().chain(&keys).map(Texts::most).sum();
        if all < LARGEST_ROW / 6 {
            return; // not even if every character had to be escaped
        }
        for row in 0..batch.num_rows() {
            let raw: usize = texts.iter().chain(&keys).map(|texts| texts.bytes(row).len() + texts.signs(row)).sum();
            if raw < LARGEST_ROW / 6 {
                continue;
            }
            let escaped =
                |texts: &Texts| texts.bytes(row).iter().copied().map(json_length).sum::<usize>() + texts.signs(row);
            let key: usize = keys.iter().map(|texts| texts.bytes(row).len()).sum();
            let length = texts.iter().map(escaped).sum::<usize>() + key;
            if length > LARGEST_ROW {
                found.errors.entry(row as u32).or_default().push(Fault {
                    code: "too_large".into(),
                    field: None,
                    reason: format!("整行约 {} KB，超过 {} KB", length / 1000, LARGEST_ROW / 1000),
                    value: None,
                });
            }
        }
    }

    /// Nulls: missing where required, unknown or unreadable where the source did say something.
    fn nulls(
        &self,
        column: &Column,
        checked: &Checked,
        array: &ArrayRef,
        raw: Option<&StringArray>,
        found: &mut Found,
    ) {
        if array.null_count() == 0 || (!column.required && raw.is_none()) {
            return;
        }
        let Some(present) = array.nulls() else { return };
        let absent = !present.inner();
        let suspects = match raw.and_then(|raw| raw.nulls()) {
            Some(said) if !column.required => &absent & said.inner(),
            _ => absent,
        };
        for row in suspects.set_indices() {
            let said = raw.filter(|raw| raw.is_valid(row) && !raw.value(row).trim().is_empty());
            match said {
                Some(raw) => {
                    let code = if checked.codes.is_some() { "unknown_code" } else { "unreadable" };
                    let raw: ArrayRef = Arc::new(raw.slice(row, 1));
                    found
                        .add(row, column, code, &checked.unknown, column.unread(), || shown(checked.personal, &raw, 0));
                }
                None if column.required => found.errors.entry(row as u32).or_default().push(Fault {
                    code: "missing".into(),
                    field: Some(column.name.clone()),
                    reason: format!("缺少必填字段「{}」({})", column.title, column.name),
                    value: None,
                }),
                None => {}
            }
        }
    }
}

fn texts(column: &Column, checked: &Checked, text: &StringArray, found: &mut Found) {
    let limit = column.max_length.unwrap_or(usize::MAX);
    let offsets = text.value_offsets();
    let lengths = || offsets.windows(2).map(|pair| (pair[1] - pair[0]) as usize);
    let longest = lengths().fold(0, usize::max);
    let shortest = if column.required { lengths().fold(usize::MAX, usize::min) } else { 1 };
    if longest <= limit && shortest > 0 {
        return;
    }
    for row in 0..text.len() {
        let bytes = (offsets[row + 1] - offsets[row]) as usize;
        if bytes == 0 && column.required && text.is_valid(row) {
            found.errors.entry(row as u32).or_default().push(Fault {
                code: "missing".into(),
                field: Some(column.name.clone()),
                reason: format!("必填字段「{}」({}) 为空", column.title, column.name),
                value: None,
            });
        } else if bytes > limit && text.is_valid(row) && text.value(row).chars().count() > limit {
            let array: ArrayRef = Arc::new(text.slice(row, 1));
            let value = || shown(column.personal, &array, 0);
            found.add(row, column, "too_long", &checked.too_long, column.unknown, value);
        }
    }
}

/// Dates and instants outside of years 1 to 9999, which SQL can compute and most readers of the archive cannot read.
fn years(column: &Column, array: &ArrayRef, found: &mut Found) {
    const DAYS: std::ops::RangeInclusive<i64> = -719_162..=2_932_896;
    let rows: Vec<usize> = match array.data_type() {
        DataType::Date32 => {
            let days = array.as_primitive::<Date32Type>();
            (0..days.len()).filter(|row| !DAYS.contains(&days.value(*row).into())).collect()
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>();
            (0..micros.len()).filter(|row| !DAYS.contains(&micros.value(*row).div_euclid(86_400_000_000))).collect()
        }
        _ => return,
    };
    for row in rows.into_iter().filter(|row| array.is_valid(*row)) {
        found.errors.entry(row as u32).or_default().push(Fault {
            code: "out_of_range".into(),
            field: Some(column.name.clone()),
            reason: format!("「{}」({}) 不在公元 1 至 9999 年之内", column.title, column.name),
            value: None,
        });
    }
}

impl Found {
    fn add(
        &mut self,
        row: usize,
        column: &Column,
        code: &'static str,
        flag: &Arc<str>,
        severity: Severity,
        value: impl FnOnce() -> Option<String>,
    ) {
        if severity == Severity::Warning {
            self.flags.push((row as u32, flag.clone()));
            return;
        }
        let (title, name) = (&column.title, &column.name);
        let reason = match code {
            "unknown_code" => {
                format!("「{title}」({name}) 的取值不在代码表 {} 中", column.codes.as_deref().unwrap_or(""))
            }
            "too_long" => format!("「{title}」({name}) 超过 {} 个字", column.max_length.unwrap_or(0)),
            _ => format!("「{title}」({name}) 无法识别为{}", in_chinese(&column.kind)),
        };
        self.errors.entry(row as u32).or_default().push(Fault {
            code: code.into(),
            field: Some(name.clone()),
            reason,
            value: value(),
        });
    }

    /// The flags column: a list of `field:code`, NULL for rows without flags. Also counts them.
    pub fn flags(&mut self, element: FieldRef, alive: &[bool], counts: &mut BTreeMap<Arc<str>, u64>) -> ArrayRef {
        let mut builder = ListBuilder::new(StringBuilder::new()).with_field(element);
        // In the order of the contract: columns, then rules.
        self.flags.sort_by_key(|(row, _)| *row);
        let mut next = self.flags.iter().peekable();
        for row in 0..alive.len() as u32 {
            let mut any = false;
            while let Some((_, flag)) = next.next_if(|(at, _)| *at == row) {
                any = true;
                builder.values().append_value(flag);
                if alive[row as usize] {
                    *counts.entry(flag.clone()).or_default() += 1;
                }
            }
            builder.append(any);
        }
        Arc::new(builder.finish())
    }
}

/// Bytes that JSON needs for a text in a list beside the text itself, `"",`, and for one that is none, `null,`.
const SIGNS: usize = 3;
const NONE: usize = 5;

/// A column of texts, or of lists of them.
struct Texts<'a> {
    /// Which rows have any: beneath a NULL may be anything.
    nulls: Option<&'a NullBuffer>,
    values: &'a StringArray,
    /// Where a row's texts begin among all.
    rows: Option<&'a [i32]>,
}

impl<'a> Texts<'a> {
    fn of(column: &'a ArrayRef) -> Option<Texts<'a>> {
        let nulls = column.nulls();
        match column.as_list_opt::<i32>() {
            None => Some(Texts { nulls, values: column.as_string_opt()?, rows: None }),
            Some(list) => {
                Some(Texts { nulls, values: list.values().as_string_opt()?, rows: Some(list.value_offsets()) })
            }
        }
    }

    /// What all rows come to, with what stands between the texts of a list.
    fn most(&self) -> usize {
        self.values.values().len() + if self.rows.is_some() { self.values.len() * NONE } else { 0 }
    }

    /// Bytes between the texts of a row's list.
    fn signs(&self, row: usize) -> usize {
        match self.rows {
            Some(rows) if self.nulls.is_none_or(|nulls| nulls.is_valid(row)) => {
                let (from, all) = (rows[row] as usize, (rows[row + 1] - rows[row]) as usize);
                let none = self.values.nulls().map_or(0, |nulls| nulls.slice(from, all).null_count());
                all * SIGNS + none * (NONE - SIGNS)
            }
            _ => 0,
        }
    }

    /// All texts of a row, one behind the other.
    fn bytes(&self, row: usize) -> &'a [u8] {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            return &[];
        }
        let of = |row: usize| self.values.value_offsets()[self.rows.map_or(row, |rows| rows[row] as usize)] as usize;
        &self.values.value_data()[of(row)..of(row + 1)]
    }
}

/// Bytes of a byte in a JSON string.
fn json_length(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
        0..0x20 => 6,
        _ => 1,
    }
}

fn is_flags(contract: &Contract, column: &Column) -> bool {
    contract.flags.as_ref() == Some(&column.name)
}

/// The value as a reject may show it: short, and masked when it is personal.
fn shown(personal: bool, array: &ArrayRef, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    let formatter = ArrayFormatter::try_new(array, &FormatOptions::default()).ok()?;
    let text = formatter.value(row).to_string();
    let short: String = text.chars().take(SHOWN).collect();
    Some(if personal { text::mask::mask_value(&short) } else { short })
}

fn in_chinese(kind: &Kind) -> &'static str {
    match kind {
        Kind::Timestamp => "时间",
        Kind::Date => "日期",
        Kind::Integer | Kind::Long | Kind::Double | Kind::Decimal { .. } => "数字",
        Kind::Boolean => "是或否",
        Kind::Text | Kind::Texts => "有效的值",
    }
}
