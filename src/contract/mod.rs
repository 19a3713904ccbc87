//! Contracts: what a column means, in one place. Open Data Contract Standard v3.1 YAML under `schemas/`.
//!
//! A contract drives the Arrow schema, Parquet and Delta metadata, the checks, the masking of values in rejects, the
//! JSON Schema for consumers and the data dictionary. Code tables and rules are CSV beside it.

pub mod arrow;
pub mod codes;
mod column;
mod form;
pub mod json_schema;
mod kind;
mod lists;
pub mod odcs;
mod options;
mod quality;
mod sheet;
#[cfg(test)]
mod tests;
pub mod weights;
mod yaml;

use std::sync::Arc;

/// How bad it is when a rule does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// The row is rejected.
    Error,
    /// The row goes on, flagged `field:code` in the contract's flags column.
    Warning,
}

/// Type of a column. Narrow on purpose: what Arrow, Parquet, Delta and JSON Schema all have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    Text,
    Integer,
    Long,
    Double,
    Decimal {
        precision: u8,
        scale: i8,
    },
    Boolean,
    /// An instant, microseconds since 1970, UTC.
    Timestamp,
    Date,
    /// A list of texts.
    Texts,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column {
    pub name: Arc<str>,
    pub kind: Kind,
    /// A row without it is rejected. With `raw`, the raw text alone is enough unless `unknown` is an error.
    pub required: bool,
    /// In Chinese.
    pub description: String,
    /// ODCS `businessName`: the Chinese term.
    pub title: String,
    /// Personal data: never in logs, metrics, error texts or rejects' values unless masked.
    pub personal: bool,
    /// ODCS `classification` as written (`public`, `restricted`, …).
    pub classification: Option<String>,
    /// Name of the code table its values come from.
    pub codes: Option<Arc<str>>,
    /// Name of the weights whose classes it takes: what `content_class` judges by. At most one column has one.
    pub weights: Option<Arc<str>>,
    /// Column that keeps the source's own text of this one.
    pub raw: Option<Arc<str>>,
    /// What a text that the code table or the type does not know means; a required typed column is always an error.
    pub unknown: Severity,
    pub max_length: Option<usize>,
    /// Limits that its values keep, by their names in JSON Schema: `minimum`, `minLength`, … Those of dates are no such.
    pub limits: Vec<(&'static str, serde_json::Number)>,
    /// Where it is written: `schemas/work_orders.odcs.yaml:42`.
    pub at: String,
}

/// A quality rule: an SQL predicate over the row. It fails a row where it is false; NULL passes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Stable code, e.g. `appeal_time_in_future`.
    pub name: Arc<str>,
    /// The column it is about, if it is written under one.
    pub column: Option<Arc<str>>,
    pub predicate: String,
    pub severity: Severity,
    /// Reason for people, in Chinese.
    pub description: String,
    /// Where the predicate is written.
    pub at: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contract {
    pub name: Arc<str>,
    pub version: String,
    pub title: String,
    pub description: String,
    /// The official tables are not public: this contract is a proposal.
    pub assumed: bool,
    pub columns: Vec<Column>,
    pub rules: Vec<Rule>,
    /// Column that receives the flags of warnings, if there is one.
    pub flags: Option<Arc<str>>,
}

impl Contract {
    /// `name/version`: what rows and files say of the contract that they were made by.
    pub fn with_version(&self) -> String {
        format!("{}/{}", self.name, self.version)
    }
}
