//! Code tables in SQL: the code for a source's word, and the word for a code, on a day or in the row that ends last.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, StringBuilder},
    datatypes::{DataType, Date32Type, TimestampMicrosecondType},
};
use chrono::{DateTime, NaiveDate};
use chrono_tz::Tz;
use datafusion::{common::Result as PlanResult, logical_expr::ColumnarValue};

use super::{
    function::{Function, literal, look_up, lost, strings},
    meta::timestamp,
};
use crate::{
    config::{Source, pipeline::Alias},
    contract::codes::{CodeTable, CodeTables},
    error::Finding,
    near::did_you_mean,
    text::division::Divisions,
};

/// The list that is no table of codes: words for its places are the business of `division()`.
pub(super) const DIVISIONS: &str = "divisions";

/// The divisions with the words that `source` uses, and what is wrong with these.
pub(super) fn placed_by(source: &Source, divisions: &Arc<Divisions>) -> (Arc<Divisions>, Vec<Finding>) {
    let (mut placed, mut findings) = (divisions.clone(), Vec::new());
    for alias in source.aliases.iter().filter(|alias| alias.table == DIVISIONS) {
        if alias.alias == "*" {
            let what = "divisions,*,*: codes of divisions are read as they are: delete this line";
            findings.push(Finding::new(&alias.at, what.to_owned()));
        } else if !Arc::make_mut(&mut placed).teach(&alias.alias, &alias.code) {
            let near = did_you_mean(&alias.code, divisions.in_force().iter().map(|it| it.code.as_str()));
            let what = format!("codes/divisions.csv has no division \"{}\" in force{near}", alias.code);
            findings.push(Finding::new(&alias.at, what));
        }
    }
    (placed, findings)
}

/// The tables with the words that `source` uses, and what is wrong with these.
pub(super) fn said_by(source: &Source, tables: &CodeTables) -> (BTreeMap<String, Arc<CodeTable>>, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut said: BTreeMap<String, Arc<CodeTable>> =
        tables.iter().map(|table| (table.name.to_string(), table.clone())).collect();
    let is_general = |alias: &&Alias| alias.alias == "*";
    let aliases = source.aliases.iter().filter(|alias| alias.table != DIVISIONS);
    // The general before the special, wherever it stands in the file.
    for alias in aliases.clone().filter(is_general).chain(aliases.filter(|alias| !is_general(alias))) {
        let Some(table) = said.get_mut(&alias.table) else {
            let near = did_you_mean(&alias.table, tables.iter().map(|table| table.name.as_ref()).chain([DIVISIONS]));
            findings.push(Finding::new(&alias.at, format!("there is no code table \"{}\"{near}", alias.table)));
            continue;
        };
        if is_general(&alias) {
            Arc::make_mut(table).teach_codes();
        } else if table.row_of(&alias.code, None).is_some() {
            Arc::make_mut(table).teach(&alias.alias, &alias.code);
        } else {
            let text = format!("code table \"{}\" has no code \"{}\"; {}", alias.table, alias.code, known(table));
            findings.push(Finding::new(&alias.at, text));
        }
    }
    (said, findings)
}

/// The codes of a table, of a large one a few.
fn known(table: &CodeTable) -> String {
    const SHOWN: usize = 20;
    let codes = table.distinct_codes();
    match codes.len() {
        count if count > SHOWN => format!("it has {} and {} more", codes[..SHOWN].join(", "), count - SHOWN),
        _ => format!("it has {}", codes.join(", ")),
    }
}

/// `code()` and `code_label()`; days of instants are those of `zone`.
pub(super) fn functions(said: BTreeMap<String, Arc<CodeTable>>, zone: Tz) -> [Function; 2] {
    let said = Arc::new(said);
    let code = function(
        "code",
        "code('table', t) or code('table', t, day): the code that the source means by a word, in a row of that day; NULL when the table does not know it.",
        said.clone(),
        zone,
        |table, word, day| Some(&*table.find(word.trim(), day)?.code),
    );
    let label = function(
        "code_label",
        "code_label('table', code) or code_label('table', code, day): the word for a code, in the row of that day; NULL when the table does not know it.",
        said,
        zone,
        |table, code, day| Some(&*table.row_of(code, day)?.label),
    );
    [code, label]
}

fn function(
    name: &'static str,
    doc: &'static str,
    said: Arc<BTreeMap<String, Arc<CodeTable>>>,
    zone: Tz,
    answer: for<'t> fn(&'t CodeTable, &str, Option<NaiveDate>) -> Option<&'t str>,
) -> Function {
    let names = said.clone();
    let body = move |args: &[ColumnarValue], rows: usize| {
        let table = said.get(literal(&args[0])).ok_or_else(|| lost("table"))?;
        let Some(on) = args.get(2) else { return look_up(&args[1], rows, |t| answer(table, t, None)) };
        let (texts, days) = (strings(&args[1], rows)?, days(on, rows, zone)?);
        let mut out = StringBuilder::with_capacity(rows, rows * 8);
        for (text, day) in texts.iter().zip(days) {
            out.append_option(text.and_then(|text| answer(table, text, day)));
        }
        Ok(Arc::new(out.finish()) as ArrayRef)
    };
    Function::new(name, doc, with_day(&[DataType::Utf8, DataType::Utf8]), DataType::Utf8, body).with_names(names.keys())
}

/// These arguments, alone and with a day behind them.
pub(super) fn with_day(first: &[DataType]) -> Vec<Vec<DataType>> {
    let with = |more: &[DataType]| [first, more].concat();
    vec![with(&[]), with(&[timestamp()]), with(&[DataType::Date32])]
}

/// The day of each row: a date as it is, of an instant that of `zone`.
pub(super) fn days(arg: &ColumnarValue, rows: usize, zone: Tz) -> PlanResult<Vec<Option<NaiveDate>>> {
    let array = arg.to_array(rows)?;
    if let Some(dates) = array.as_primitive_opt::<Date32Type>() {
        return Ok(dates.iter().map(|day| Date32Type::to_naive_date_opt(day?)).collect());
    }
    let day = |micros: Option<i64>| Some(DateTime::from_timestamp_micros(micros?)?.with_timezone(&zone).date_naive());
    Ok(array.as_primitive::<TimestampMicrosecondType>().iter().map(day).collect())
}
