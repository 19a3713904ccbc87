//! The contract on top of the last stage: its columns in its order and types, then its rules.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    common::{Column as ColumnName, DFSchema, DataFusionError},
    datasource::{empty::EmptyTable, provider_as_source},
    logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, cast, col, ident},
    prelude::SessionContext,
};

use super::{
    lint, meta,
    mistakes::{nearest, shorten},
    numbers,
    step::RULE,
};
use crate::{config::Stage, contract::Contract, error::Finding};

/// Two plans, one after the other: what the last stage yields in the contract's types, and the rules over that.
pub(super) fn conform(
    contract: &Contract,
    last: &Stage,
    plan: LogicalPlan,
    context: &SessionContext,
) -> Result<Vec<LogicalPlan>, Vec<Finding>> {
    let mut findings = Vec::new();
    let wanted = contract.arrow_schema();
    let is_flags = |name: &str| contract.flags.as_deref() == Some(name);
    let had: Vec<&str> = plan.schema().fields().iter().map(|field| field.name().as_str()).collect();
    for name in had.iter().filter(|name| !meta::is_meta(name)) {
        if is_flags(name) {
            let text = format!("column \"{name}\" is filled by the checks; leave it out");
            findings.push(lint::finding(last, lint::line_of(&last.sql, name), text));
        } else if wanted.field_with_name(name).is_err() {
            let near = nearest(name, wanted.fields().iter().map(|field| field.name().as_str()));
            let text = format!("column \"{name}\" is not in contract {}{near}", contract.name);
            findings.push(lint::finding(last, lint::line_of(&last.sql, name), text));
        }
    }
    let mut exprs = Vec::new();
    for (field, column) in wanted.fields().iter().zip(&contract.columns) {
        if is_flags(field.name()) {
            continue;
        }
        let Some(found) = plan.schema().fields().iter().find(|have| have.name() == field.name()) else {
            let near = nearest(field.name(), had.iter().copied());
            let text =
                format!("column \"{}\" of contract {} ({}) is missing{near}", field.name(), contract.name, column.at);
            findings.push(lint::finding(last, None, text));
            continue;
        };
        if !converts(found.data_type(), field.data_type()) {
            let hint = match field.data_type() {
                DataType::Timestamp(..) => ": use local_time()",
                DataType::Date32 => ": use local_date()",
                DataType::Boolean => ": use flag_yes()",
                DataType::Utf8 => ": use CAST(… AS VARCHAR)",
                _ => ": use TRY_CAST(… AS …)",
            };
            let text = format!(
                "column \"{}\" is {}, contract {} wants {}{hint}",
                field.name(),
                found.data_type(),
                contract.name,
                field.data_type()
            );
            findings.push(lint::finding(last, lint::line_of(&last.sql, field.name()), text));
            continue;
        }
        let typed = cast(ident(field.name()), field.data_type().clone());
        exprs.push(numbers::finite(typed, field.data_type()).alias(field.name()));
    }
    // Rules see the contract's columns in the contract's types, and the meta columns.
    let meta = meta::NAMES.iter().map(|name| col(ColumnName::from_name(*name)));
    let typed = LogicalPlanBuilder::from(plan).project(exprs.iter().cloned().chain(meta)).and_then(|plan| plan.build());
    let (typed, schema, plan) = match typed {
        Ok(plan) => (typed_table(&plan), unqualified(&plan), plan),
        Err(error) => {
            findings.push(lint::finding(last, None, shorten(&error)));
            return Err(findings);
        }
    };
    let mut checked: Vec<Expr> = schema
        .columns()
        .into_iter()
        .filter(|column| !meta::is_meta(&column.name))
        .map(|column| ident(column.name))
        .collect();
    for (number, rule) in contract.rules.iter().enumerate() {
        match predicate(&rule.predicate, &schema, context) {
            Ok(expr) => checked.push(expr.alias(format!("{RULE}{number}"))),
            Err(what) => {
                let quiet = !findings.is_empty() && what.contains("No field named");
                if !quiet {
                    findings.push(Finding::new(&rule.at, format!("rule {}: {what}", rule.name)));
                }
            }
        }
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    let checked = typed.and_then(|typed| LogicalPlanBuilder::from(typed).project(checked)?.build());
    Ok(vec![plan, checked.map_err(|error| vec![lint::finding(last, None, shorten(&error))])?])
}

fn unqualified(plan: &LogicalPlan) -> DFSchema {
    DFSchema::try_from(plan.schema().as_arrow().clone()).expect("the columns of a plan have names of their own")
}

/// An empty table with the columns of a plan: what the rules are planned over.
fn typed_table(plan: &LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    let table = EmptyTable::new(Arc::new(plan.schema().as_arrow().clone()));
    LogicalPlanBuilder::scan("typed", provider_as_source(Arc::new(table)), None)?.build()
}

fn predicate(sql: &str, schema: &DFSchema, context: &SessionContext) -> Result<Expr, String> {
    let expr = context.state().create_logical_expr(sql, schema).map_err(|error| shorten(&error))?;
    let changes = lint::immutable(&expr);
    if !changes.is_empty() {
        return Err(changes.join("; "));
    }
    match expr.get_type(schema) {
        Ok(DataType::Boolean) => lint::plannable(expr, schema, &context.state()).map_err(|error| shorten(&error)),
        Ok(other) => Err(format!("\"{sql}\" is {other}, not a condition")),
        Err(error) => Err(shorten(&error)),
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
