//! Columns of the contract that a pipeline names outside its SQL: as keys, and as folders of the archive.

use crate::{
    config::{Pipeline, Sink},
    contract::{Column, Contract, Kind},
    dedup,
    error::Finding,
};

const FOLDERS: &str = "[[sink]] partition_by";
/// The day a row came: a column of the archive's own.
const INGESTED_ON: &str = "ingested_on";

/// Some names of columns in one place.
struct Names<'p> {
    names: &'p [String],
    /// As people write it: `[dedup] key`.
    what: &'static str,
    /// Where the name of a number is written.
    at: Box<dyn Fn(usize) -> String + 'p>,
    /// What speaks against a column that is there.
    unfit: fn(&Column) -> Option<String>,
}

/// What is wrong with the columns that `pipeline.toml` and `sources/*.toml` name.
pub(super) fn check(pipeline: &Pipeline, contract: &Contract) -> Vec<Finding> {
    let mut findings = Vec::new();
    for Names { names, what, at, unfit } in named(pipeline) {
        for (number, name) in names.iter().enumerate() {
            let wrong = match find(name, contract) {
                Ok(column) => unfit(column).map(|why| format!("{what}: column \"{name}\" {why}")),
                Err(_) if what == FOLDERS && name == INGESTED_ON => None, // the archive has it, no contract does
                Err(_) if what == FOLDERS => Some(format!("{what} names {}", none(name, contract, Some(INGESTED_ON)))),
                Err(why) => Some(format!("{what} names {why}")),
            };
            findings.extend(wrong.map(|wrong| Finding::new(at(number), wrong)));
        }
    }
    if let Some(dedup) = &pipeline.dedup {
        for (number, name) in dedup.key.iter().enumerate() {
            let Ok(column) = find(name, contract) else { continue };
            let Some(raw) = column.raw.as_deref().filter(|_| column.required && column.nullable()) else { continue };
            if !dedup.key.iter().any(|key| key == raw) {
                let what = format!(
                    "[dedup] key: column \"{name}\" has no value where its table does not know the word, and keys without \
                     a value count as equal: name its raw text too, \"{raw}\", or make such a word an error (unknown: error)"
                );
                findings.push(Finding::new(pipeline.place(&format!("dedup.key.{number}")), what));
            }
        }
    }
    findings
}

fn named(pipeline: &Pipeline) -> Vec<Names<'_>> {
    let any = |_: &Column| None;
    let mut all = Vec::new();
    if let Some(dedup) = &pipeline.dedup {
        let at = Box::new(|number| pipeline.place(&format!("dedup.key.{number}")));
        all.push(Names { names: &dedup.key, what: "[dedup] key", at, unfit: no_key });
    }
    for (sink, wanted) in pipeline.sinks.iter().enumerate() {
        all.push(match wanted {
            Sink::Kafka { key, .. } => {
                let at = Box::new(move |number| pipeline.place(&format!("sink.{sink}.key.{number}")));
                Names { names: key, what: "[[sink]] key", at, unfit: any }
            }
            Sink::Archive { partition_by, .. } => {
                let at = Box::new(move |number| pipeline.place(&format!("sink.{sink}.partition_by.{number}")));
                Names { names: partition_by, what: FOLDERS, at, unfit: no_folder }
            }
        });
    }
    for source in &pipeline.sources {
        let at = Box::new(|number| source.place(&format!("keyed_by.{number}")));
        all.push(Names { names: &source.keyed_by, what: "keyed_by", at, unfit: any });
    }
    all
}

/// A column of the contract by its name; `Err` says that there is none.
pub(super) fn find<'c>(name: &str, contract: &'c Contract) -> Result<&'c Column, String> {
    let found = contract.columns.iter().find(|column| *column.name == *name);
    found.ok_or_else(|| none(name, contract, None))
}

/// That there is no such column, and which one may be meant: of the contract's, and `more`.
fn none(name: &str, contract: &Contract, more: Option<&str>) -> String {
    let near = crate::near::did_you_mean(name, contract.columns.iter().map(|column| column.name.as_ref()).chain(more));
    format!("column \"{name}\", which contract {} does not have{near}", contract.name)
}

fn no_key(column: &Column) -> Option<String> {
    let why = || format!("is {}; a key is made of texts, integers, dates and timestamps", column.kind);
    (!dedup::can_be_key(&column.kind)).then(why)
}

fn no_folder(column: &Column) -> Option<String> {
    match &column.kind {
        // Values of these columns are names of folders, and stand in the log, where nothing masks them.
        _ if column.personal => {
            Some("holds personal data: its values would be names of folders; partition by another column".to_owned())
        }
        Kind::Text | Kind::Date | Kind::Integer => None,
        kind => Some(format!("is {kind}; use a string, a date or an int")),
    }
}
