//! What is wrong with a stage that cannot be planned, or that no row can pass: which line, which column, and why.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{datatypes::SchemaRef, record_batch::RecordBatch};
use datafusion::{
    common::DataFusionError,
    physical_expr::PhysicalExpr,
    prelude::SessionContext,
    sql::sqlparser::ast::{self, Spanned},
};

use super::{compile::Step, evaluate, lint, shield::shield_future};
use crate::{
    config::{Source, Stage},
    error::Finding,
};

/// A planning error as a finding with file and line: that of the engine's span, or else of the column that fails when
/// it is planned alone.
pub(super) async fn explain(
    stage: &Stage,
    source: &Source,
    select: &ast::Select,
    context: &SessionContext,
    error: &DataFusionError,
) -> Vec<Finding> {
    let text = shorten(error);
    let span = error.diagnostic().and_then(|diagnostic| Some(diagnostic.span?.start.line as usize));
    let line = match span.filter(|line| *line > 0) {
        Some(line) => Some(line),
        None => culprit(stage, select, context, &text).await,
    };
    let mut finding = lint::finding(stage, line, text);
    if stage.path != source.map.path {
        finding.what = format!("{} (for source {})", finding.what, source.name);
    }
    vec![finding]
}

/// The line of the column that cannot be planned; within it that of the word which the engine quotes.
async fn culprit(stage: &Stage, select: &ast::Select, context: &SessionContext, text: &str) -> Option<usize> {
    let word = text.split(['"', '\'']).nth(1).filter(|word| word.len() > 1);
    let word = word.map(|word| word.rsplit('.').next().unwrap_or(word));
    let from = &select.from.first()?.relation;
    for item in &select.projection {
        let plan = async {
            let state = context.state();
            let plan = state.create_logical_plan(&format!("SELECT {item} FROM {from}")).await?;
            shield_future(state.create_physical_plan(&plan)).await
        };
        if plan.await.is_err() {
            let span = item.span();
            let (first, last) = (span.start.line as usize, span.end.line as usize);
            let quoted = word.and_then(|word| lint::line_of_within(&stage.sql, word, first, last));
            return quoted.or(Some(first)).filter(|line| *line > 0);
        }
    }
    word.and_then(|word| lint::line_of(&stage.sql, word))
}

/// DataFusion's innermost reason, without prefixes and its second half of hints.
pub(super) fn shorten(error: &DataFusionError) -> String {
    let text = error.find_root().strip_backtrace();
    let mut text = text.as_str();
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        text = rest;
    }
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or(text);
    match lines.next_back() {
        // The regex library draws a picture in between.
        Some(last) if first.ends_with("parse error:") => format!("{first} {}", last.trim_start_matches("error: ")),
        _ => first.to_owned(),
    }
}

const PREFIXES: &[&str] = &[
    "External error: ",
    "Schema error: ",
    "Error during planning: ",
    "Execution error: ",
    "Arrow error: ",
    "Compute error: ",
    "Invalid argument error: ",
    "Parser error: ",
    "Cast error: ",
];

/// `: did you mean "x"?`, or nothing.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    // What is longer than any name is no slip of one, and comparing it with each would take its time.
    if word.len() > 100 {
        return String::new();
    }
    let close = known.map(|name| (strsim::damerau_levenshtein(word, name), name)).min();
    match close {
        Some((distance, name)) if distance <= 1 + word.chars().count() / 4 => format!(": did you mean \"{name}\"?"),
        _ => String::new(),
    }
}

/// Outputs of a stage's steps that fail without any row already, and the engine's reason: no row will ever pass.
pub(super) fn hopeless(steps: &[Step], read: &SchemaRef) -> Vec<(String, String)> {
    let (mut found, mut schema) = (Vec::new(), read.clone());
    // Why a column of the step before cannot be computed; what reads it is named instead of it.
    let mut broken: BTreeMap<usize, String> = BTreeMap::new();
    for (number, step) in steps.iter().enumerate() {
        if number > 0
            && let Some(take) = &step.take
        {
            let at = |(to, from): (usize, &usize)| Some((to, broken.get(from)?.clone()));
            broken = take.iter().enumerate().filter_map(at).collect();
            schema = Arc::new(schema.project(take).expect("a step takes columns that are there"));
        }
        let empty = RecordBatch::new_empty(schema);
        let fails = |expr: &Arc<dyn PhysicalExpr>| {
            let inherited = evaluate::columns_of(expr).find_map(|column| broken.get(&column).cloned());
            inherited.or_else(|| evaluate::alone(expr, &empty).err().map(|error| shorten(&error)))
        };
        broken = step.exprs.iter().enumerate().filter_map(|(at, expr)| Some((at, fails(expr)?))).collect();
        schema = step.schema.clone();
    }
    found.extend(broken.into_iter().map(|(at, why)| (schema.field(at).name().clone(), why)));
    found
}

pub(super) fn dead_column(stage: &Stage, column: &str, why: &str) -> Finding {
    let todo = "correct the expression";
    let what = format!("column \"{column}\" cannot be computed for any row ({why}): {todo}");
    lint::finding(stage, lint::line_of_column(&stage.sql, column), what)
}
