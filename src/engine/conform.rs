//! The contract on top of the last stage: its columns in its order and types, then its rules.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::{
    common::{Column as ColumnName, DFSchema},
    datasource::{empty::EmptyTable, provider_as_source},
    logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, cast, col, ident, try_cast},
    prelude::SessionContext,
};

use super::{
    case,
    chain::endless,
    lint, meta, numbers,
    step::RULE,
    words::{in_quotes, in_words, not_sql, shorten},
};
use crate::{config::Stage, contract::Contract, error::Finding, near::did_you_mean};

/// What the last stage yields, in the contract's types.
pub(super) fn conform(contract: &Contract, last: &Stage, plan: LogicalPlan) -> Result<LogicalPlan, Vec<Finding>> {
    let mut findings = Vec::new();
    let wanted = contract.arrow_schema();
    let is_flags = |name: &str| contract.flags.as_deref() == Some(name);
    let had: Vec<&str> = plan.schema().fields().iter().map(|field| field.name().as_str()).collect();
    let mut meant = Vec::new();
    for name in had.iter().filter(|name| !meta::is_meta(name)) {
        if is_flags(name) {
            let text = format!("column \"{name}\" is filled by the checks; leave it out");
            findings.push(lint::finding(last, lint::line_of_column(&last.sql, name), text));
        } else if wanted.field_with_name(name).is_err() {
            let free = wanted.fields().iter().map(|field| field.name().as_str()).filter(|name| !had.contains(name));
            let near = did_you_mean(name, free);
            let text = format!("column \"{name}\" is not in contract {}{near}", contract.name);
            findings.push(lint::finding(last, lint::line_of_column(&last.sql, name), text));
            meant.push(near);
        }
    }
    let mut exprs = Vec::new();
    for (field, column) in wanted.fields().iter().zip(&contract.columns) {
        if is_flags(field.name()) {
            continue;
        }
        let Some(found) = plan.schema().fields().iter().find(|have| have.name() == field.name()) else {
            // One that is there under a name like it has been told.
            if !meant.iter().any(|near| near.ends_with(&format!("\"{}\"?", field.name()))) {
                let text =
                    format!("column \"{}\" of contract {} ({}) is missing", field.name(), contract.name, column.at);
                findings.push(lint::finding(last, lint::line_of_select(&last.sql), text));
            }
            continue;
        };
        if !converts(found.data_type(), field.data_type()) {
            // They make texts of what is not boolean or a number.
            let texts = lint::is_call_of(&last.sql, field.name(), &["ifnull", "nvl"]);
            let hint = if texts { ": use coalesce()" } else { instead(found.data_type(), field.data_type()) };
            let text = format!(
                "column \"{}\" is {}, contract {} wants {}{hint}",
                field.name(),
                in_words(found.data_type()),
                contract.name,
                in_words(field.data_type())
            );
            findings.push(lint::finding(last, lint::line_of_column(&last.sql, field.name()), text));
            continue;
        }
        // What does not fit is no value, and its raw text is kept; without that, the row cannot go on.
        let to = if column.raw.is_some() { try_cast } else { cast };
        let typed = to(ident(field.name()), field.data_type().clone());
        exprs.push(numbers::finite(typed, field.data_type()).alias(field.name()));
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    // Rules see the meta columns too.
    let meta = meta::NAMES.iter().map(|name| col(ColumnName::from_name(*name)));
    let typed = LogicalPlanBuilder::from(plan).project(exprs.into_iter().chain(meta)).and_then(|plan| plan.build());
    typed.map_err(|error| vec![lint::finding(last, None, shorten(&error))])
}

/// The contract's columns and then its rules, over what [`conform`] yields.
pub(super) fn rules(contract: &Contract, context: &SessionContext) -> Result<LogicalPlan, Vec<Finding>> {
    let wanted = contract.arrow_schema();
    let present = wanted.fields().iter().filter(|field| contract.flags.as_deref() != Some(field.name()));
    // A required column may hold NULL: it is checked beside the rules.
    let mut fields: Vec<Field> =
        present.map(|field| Field::new(field.name(), field.data_type().clone(), true)).collect();
    let mut checked: Vec<Expr> = fields.iter().map(|field| ident(field.name())).collect();
    fields.extend(meta::fields());
    let columns = Arc::new(Schema::new(fields));
    let schema = DFSchema::try_from(columns.clone()).expect("the columns of a contract have names of their own");
    let mut findings = Vec::new();
    for (number, rule) in contract.rules.iter().enumerate() {
        match predicate(&rule.predicate, &schema, context) {
            Ok(expr) => checked.push(expr.alias(format!("{RULE}{number}"))),
            Err(what) => {
                let unknown = what.strip_prefix("No field named ").and_then(|rest| rest.split_once('.'));
                let what = match (unknown, contract.flags.as_deref()) {
                    (Some((name, _)), Some(flags)) if name.trim_matches('"') == flags => {
                        format!("it reads {flags}, which is made of what the rules find: read the columns of the row")
                    }
                    _ => what,
                };
                findings.push(Finding::new(&rule.at, format!("rule {}: {what}", rule.name)));
            }
        }
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    let table = provider_as_source(Arc::new(EmptyTable::new(columns)));
    let plan = LogicalPlanBuilder::scan("typed", table, None).and_then(|typed| typed.project(checked)?.build());
    plan.map_err(|error| vec![Finding::new(contract.name.to_string(), shorten(&error))])
}

fn predicate(sql: &str, schema: &DFSchema, context: &SessionContext) -> Result<Expr, String> {
    if let Some((_, endless)) = endless(sql) {
        return Err(endless);
    }
    let first = sql.split_whitespace().next().unwrap_or_default();
    if ["select", "where"].iter().any(|word| first.eq_ignore_ascii_case(word)) {
        return Err(format!("a rule is a condition alone, what stands behind WHERE: leave {first} out"));
    }
    let lengths = lint::text_lengths(sql);
    if !lengths.is_empty() {
        return Err(lengths.join("; "));
    }
    // Lines that the parser counts are those of the condition, not of its file.
    let why = |said: String| match said.split_once(" at Line: ") {
        Some((what, place)) if sql.trim().contains('\n') => {
            format!("{what}, in line {} of the condition", place.split(',').next().unwrap_or_default())
        }
        Some((what, _)) => what.to_owned(),
        None => said,
    };
    let expr = context.state().create_logical_expr(sql, schema).map_err(|error| {
        let inside = case::inside(sql, &error.to_string());
        why(inside.map_or_else(|| in_quotes(sql, shorten(&error)), |error| not_sql(&error.to_string())))
    })?;
    let changes = lint::immutable(&expr);
    if !changes.is_empty() {
        return Err(changes.join("; "));
    }
    match expr.get_type(schema) {
        Ok(DataType::Boolean) => lint::plannable(expr, schema, &context.state()).map_err(|error| shorten(&error)),
        Ok(other) => Err(format!("\"{sql}\" is {}, not a condition", in_words(&other))),
        Err(error) => Err(shorten(&error)),
    }
}

/// What makes one of the other.
fn instead(from: &DataType, to: &DataType) -> &'static str {
    use DataType::*;
    match (from, to) {
        // A cast would make a list with the whole text as its only element.
        (Utf8 | Utf8View | LargeUtf8, List(_)) => {
            ": use string_to_array(…, ','), with what stands between its elements"
        }
        (List(_), List(_)) => ": use CAST(… AS VARCHAR[])",
        (_, List(_)) => ": use make_array(CAST(… AS VARCHAR))",
        (Struct(_), _) => ": use one of its parts, …['name']",
        (List(_), Utf8) => ": use array_to_string(…, ',')",
        (List(_), _) => ": use one of its elements, …[1]",
        (Interval(_) | Duration(_), _) => {
            ": write extract(epoch FROM b) - extract(epoch FROM a), the seconds between two times, in place of b - a"
        }
        (_, Timestamp(..)) => ": use local_time()",
        (_, Date32) => ": use local_date()",
        (_, Boolean) => ": use flag_yes()",
        (_, Utf8) => ": use CAST(… AS VARCHAR)",
        _ => ": use TRY_CAST(… AS …)",
    }
}

/// Whether a column may be cast to the contract's type without losing meaning. Texts are never parsed here: that is
/// what `local_time()` and `TRY_CAST` are for, which give reasons.
fn converts(from: &DataType, to: &DataType) -> bool {
    use DataType::*;
    match (from, to) {
        (from, to) if from == to => true,
        (Null, _) => true,
        (Utf8View | LargeUtf8, Utf8) => true,
        (Int8 | Int16 | Int32 | UInt8 | UInt16, Int32 | Int64 | Float64 | Decimal128(..)) => true,
        (Int64 | UInt32, Int64 | Float64 | Decimal128(..)) => true,
        (Int64, Int32) => true,
        (Float32 | Float64, Float64) => true,
        (Decimal128(..), Decimal128(..)) => true,
        (Timestamp(_, Some(_)), Timestamp(..)) => true,
        (Date64, Date32) => true,
        (List(from), List(to)) => converts(from.data_type(), to.data_type()),
        _ => false,
    }
}
