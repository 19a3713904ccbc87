//! What is wrong with a stage that cannot be planned, or that no row can pass: which line, which column, and why.

use datafusion::{
    common::DataFusionError,
    prelude::SessionContext,
    sql::sqlparser::ast::{self, Spanned},
};

pub(super) use super::{hopeless::hopeless, words::shorten};
use super::{
    lint::{self, Mistake, Parsed},
    shield::shield_future,
    words::{dashed, in_quotes},
};
use crate::{
    config::{Source, Stage},
    error::Finding,
};

/// What keeps a stage from being planned: each column that cannot be planned alone, or else what the engine says of the
/// whole.
pub(super) async fn explain(
    stage: &Stage,
    source: &Source,
    parsed: &Parsed,
    context: &SessionContext,
    error: &DataFusionError,
) -> Vec<Mistake> {
    let found = columns(stage, source, parsed, context).await;
    if !found.is_empty() {
        return found;
    }
    let text = shorten(error);
    let span = error.diagnostic().and_then(|diagnostic| Some(diagnostic.span?.start.line as usize));
    let line = span.filter(|line| *line > 0).or_else(|| lint::line_of(&stage.sql, quoted(&text)?));
    vec![(line, of_source(stage, source, text))]
}

/// The sound columns of a stage that cannot be planned alone.
pub(super) async fn columns(stage: &Stage, source: &Source, parsed: &Parsed, context: &SessionContext) -> Vec<Mistake> {
    let mut found = Vec::new();
    for item in &parsed.sound {
        let from = &parsed.select.from[0].relation;
        let Err(error) = plan(&format!("SELECT {item} FROM {from}"), context).await else { continue };
        let mut text = in_quotes(&item.to_string(), shorten(&error));
        if text.starts_with("Cannot coerce arithmetic expression Utf8 - Utf8")
            && let Some(name) = dashed(item)
        {
            text += &format!(": the name of one field wants double quotes, \"{name}\"");
        } else if text.starts_with("Cannot coerce arithmetic expression") && text.contains("Utf8") {
            text += ": the fields of a message are texts, read them first, for instance with TRY_CAST(… AS DOUBLE)";
        } else if let Some(name) = text.strip_prefix("No field named ").and_then(|_| quoted(&text))
            && parsed.select.projection.iter().any(|item| lint::alias_of(item) == Some(name))
        {
            text = format!("No field named {name}: it is made in this SELECT, so it is there for the next stage");
        }
        found.push((line_of_item(stage, item, &text), of_source(stage, source, text)));
    }
    found
}

/// A stage is planned for each source, and may be wrong for one of them.
fn of_source(stage: &Stage, source: &Source, text: String) -> String {
    if stage.path == source.map.path { text } else { format!("{text} (for source {})", source.name) }
}

async fn plan(sql: &str, context: &SessionContext) -> Result<(), DataFusionError> {
    let state = context.state();
    let plan = state.create_logical_plan(sql).await?;
    shield_future(state.create_physical_plan(&plan)).await.map(|_| ())
}

/// The line of a column that cannot be planned; within it that of the word which the engine names.
fn line_of_item(stage: &Stage, item: &ast::SelectItem, text: &str) -> Option<usize> {
    let span = item.span();
    let (first, last) = (span.start.line as usize, span.end.line as usize);
    let named = quoted(text).and_then(|word| lint::line_of_within(&stage.sql, word, first, last));
    named.or(Some(first)).filter(|line| *line > 0)
}

/// The name that the engine complains of, without its table.
fn quoted(text: &str) -> Option<&str> {
    let word = match text.split_once(" named ") {
        Some((_, rest)) => rest.split([' ', ',']).next()?.trim_end_matches('.').trim_matches(['"', '\'']),
        None => text.split(['"', '\'']).nth(1)?,
    };
    Some(word.rsplit('.').next().unwrap_or(word)).filter(|word| word.len() > 1)
}

pub(super) fn dead_column(stage: &Stage, column: &str, why: &str) -> Finding {
    let todo = "correct the expression";
    let what = format!("column \"{column}\" cannot be computed for any row ({why}): {todo}");
    lint::finding(stage, lint::line_of_column(&stage.sql, column), what)
}
