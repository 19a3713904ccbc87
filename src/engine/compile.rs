//! From SQL files to expressions, once.
//!
//! The map of a source, the stages of its pipeline and the contract's rules are planned one after the other, each over
//! an empty table with the columns of the one before. What comes out is a list of physical expressions per stage.
//! Nothing is planned again while messages flow; there is no operator, no stream, no task.
//!
//! Why not one plan over nested views: the optimizer would save a few column copies, but it duplicates expensive calls
//! when it merges projections, one of its rules fails on nested views with struct columns (DataFusion 55,
//! `push_down_leaf_projections`), and a failing expression could no longer be told by its stage.
//!
//! Meta columns (`_offset`, `_timestamp`, …) pass through every stage without being written down.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    datatypes::{DataType, Schema, SchemaRef},
    record_batch::RecordBatch,
};
use datafusion::{
    common::{Column as ColumnName, DFSchema, DataFusionError},
    datasource::{empty::EmptyTable, provider_as_source},
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, col, ident},
    physical_expr::{PhysicalExpr, expressions::Column},
    physical_plan::{ExecutionPlan, projection::ProjectionExec},
    prelude::{SessionConfig, SessionContext},
    sql::sqlparser::ast::{self, Spanned},
};

use super::{choose, evaluate, interval, lint, meta, shield::shield_future};
use crate::{
    config::{Pipeline, Source, Stage},
    contract::Contract,
    decode::Fields,
    error::Finding,
};

/// What the computed rules are called, before their number.
const RULE: &str = "__rule_";

/// One projection: a list of expressions over the batch before it.
#[derive(Debug)]
pub(super) struct Step {
    /// Name of the stage it belongs to, for rejects.
    pub stage: Arc<str>,
    /// Columns of the batch before it that the expressions are numbered by; all of them when absent.
    pub take: Option<Vec<usize>>,
    pub exprs: Vec<Arc<dyn PhysicalExpr>>,
    pub schema: SchemaRef,
}

/// What the SQL of a source compiles to.
#[derive(Debug)]
pub(super) struct Compiled {
    pub fields: Fields,
    /// Columns the first step reads: decoded fields and meta columns, by name.
    pub input: SchemaRef,
    /// The last one yields the contract's columns (without the flags column), then one boolean per rule.
    pub steps: Vec<Step>,
}

/// A session in which nothing is parallel, nothing is lower-cased, and texts are plain texts.
pub(super) fn session(functions: Vec<datafusion::logical_expr::ScalarUDF>) -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(1).with_collect_statistics(false);
    let options = config.options_mut();
    options.sql_parser.enable_ident_normalization = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.collect_spans = true;
    let context = SessionContext::new_with_config(config);
    functions.into_iter().for_each(|function| context.register_udf(function));
    context
}

/// Compiles one source of a pipeline against its contract; all mistakes at once.
pub(super) fn compile(
    pipeline: &Pipeline,
    source: &Source,
    contract: &Contract,
    context: &SessionContext,
) -> Result<Compiled, Vec<Finding>> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers can be built");
    runtime.block_on(async {
        let select = lint::parse(&source.map, lint::MESSAGE).map_err(one)?;
        let fields = lint::fields(&source.map, &select).map_err(one)?;
        let mut columns: Vec<_> = fields.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
        columns.extend(meta::fields());
        let message = Arc::new(EmptyTable::new(Arc::new(Schema::new(columns))));
        register(context, lint::MESSAGE, message)?;

        let mut from: Arc<str> = lint::MESSAGE.into();
        let (mut steps, mut input) = (Vec::new(), None);
        // The map is the first stage, under the name that later ones select from.
        let map = Stage { name: "raw".into(), ..source.map.clone() };
        let mut last = &map;
        for stage in std::iter::once(&map).chain(&pipeline.stages) {
            let select = lint::parse(stage, &from).map_err(one)?;
            lint::one_row(stage, &select, &context.state()).map_err(one)?;
            let planned = match context.state().create_logical_plan(&stage.sql).await {
                Ok(planned) => planned,
                Err(error) => return Err(explain(stage, source, &select, context, &error).await),
            };
            lint::row_local(stage, &planned).map_err(one)?;
            let before = steps.len();
            let added = match with_meta(planned) {
                Ok(whole) => add(stage, &whole, context, &mut steps).await,
                Err(error) => Err(error),
            };
            let (read, schema) = match added {
                Ok(added) => added,
                Err(error) => return Err(explain(stage, source, &select, context, &error).await),
            };
            let hopeless = hopeless(&steps[before..], &read);
            if !hopeless.is_empty() {
                let tell = |(column, why): (String, String)| dead_column(stage, &column, &why);
                return Err(hopeless.into_iter().map(tell).collect());
            }
            input.get_or_insert(read);
            register(context, &stage.name, Arc::new(EmptyTable::new(schema)))?;
            (from, last) = (stage.name.clone(), stage);
        }
        let lost = |error: DataFusionError| one(lint::finding(last, None, shorten(&error)));
        let table = context.table(from.as_ref()).await.map_err(lost)?;
        let checks = Stage { name: "checks".into(), ..last.clone() };
        for plan in conform(contract, last, table.into_unoptimized_plan(), context)? {
            let before = steps.len();
            let added = add(&checks, &plan, context, &mut steps).await;
            let (read, _) = added.map_err(lost)?;
            let hopeless = hopeless(&steps[before..], &read);
            if !hopeless.is_empty() {
                let tell = |(column, why): (String, String)| match number_of(&column).map(|at| &contract.rules[at]) {
                    Some(rule) => {
                        let todo = "correct its condition, or remove the rule";
                        let what = format!("rule {} cannot be computed for any row ({why}): {todo}", rule.name);
                        Finding::new(&rule.at, what)
                    }
                    None => dead_column(last, &column, &why),
                };
                return Err(hopeless.into_iter().map(tell).collect());
            }
        }
        let input = input.expect("the map is always there");
        Ok(Compiled { fields, input, steps })
    })
}

/// Plans a projection and appends its steps; tells what it reads of the table before it, and what it yields.
async fn add(
    stage: &Stage,
    plan: &LogicalPlan,
    context: &SessionContext,
    steps: &mut Vec<Step>,
) -> Result<(SchemaRef, SchemaRef), DataFusionError> {
    let state = context.state();
    let physical = shield_future(state.create_physical_plan(plan)).await?;
    let (input, mut more) = flatten(stage, physical)?;
    if let (Some(before), Some(first)) = (steps.last(), more.first_mut()) {
        let take: Result<Vec<usize>, _> =
            input.fields().iter().map(|field| before.schema.index_of(field.name())).collect();
        first.take = Some(take?);
    }
    let schema = more.last().map_or_else(|| input.clone(), |step| step.schema.clone());
    steps.extend(more);
    Ok((input, schema))
}

/// Outputs of a stage's steps that fail without any row already, and the engine's reason: no row will ever pass.
fn hopeless(steps: &[Step], read: &SchemaRef) -> Vec<(String, String)> {
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

fn dead_column(stage: &Stage, column: &str, why: &str) -> Finding {
    let todo = "correct the expression";
    let what = format!("column \"{column}\" cannot be computed for any row ({why}): {todo}");
    lint::finding(stage, lint::line_of_column(&stage.sql, column), what)
}

/// Which rule of the contract a step's expression is.
pub(super) fn rule_number(step: &Step, at: usize) -> Option<usize> {
    number_of(step.schema.field(at).name())
}

fn number_of(column: &str) -> Option<usize> {
    column.strip_prefix(RULE)?.parse().ok()
}

fn one(finding: Finding) -> Vec<Finding> {
    vec![finding]
}

fn register(
    context: &SessionContext,
    name: &str,
    table: Arc<dyn datafusion::catalog::TableProvider>,
) -> Result<(), Vec<Finding>> {
    let name = datafusion::common::TableReference::bare(name);
    let _ = context.deregister_table(name.clone());
    match context.register_table(name, table) {
        Ok(_) => Ok(()),
        Err(error) => Err(one(Finding::new("engine", error.to_string()))),
    }
}

/// Adds the meta columns of the input to a stage's own, unless it names them itself.
fn with_meta(plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    let LogicalPlan::Projection(projection) = plan else { return Ok(plan) };
    let named: Vec<String> = projection.schema.fields().iter().map(|field| field.name().clone()).collect();
    let input = projection.input.as_ref().clone();
    let meta = input
        .schema()
        .columns()
        .into_iter()
        .filter(|column| meta::is_meta(&column.name) && !named.contains(&column.name))
        .map(Expr::Column);
    let exprs: Vec<Expr> = projection.expr.iter().cloned().chain(meta).collect();
    LogicalPlanBuilder::from(input).project(exprs)?.build()
}

/// Puts the contract on top: its columns in its order and types, then its rules.
fn conform(
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
        exprs.push(cast(ident(field.name()), field.data_type().clone()).alias(field.name()));
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
    Ok(vec![plan, checked.map_err(|error| one(lint::finding(last, None, shorten(&error))))?])
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
    lint::immutable(&expr).map_err(|(name, why)| format!("{name}() {why}"))?;
    use datafusion::logical_expr::ExprSchemable;
    match expr.get_type(schema) {
        Ok(DataType::Boolean) => Ok(expr),
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

/// The projections between the leaf and the top of a physical plan.
fn flatten(stage: &Stage, plan: Arc<dyn ExecutionPlan>) -> Result<(SchemaRef, Vec<Step>), DataFusionError> {
    let mut steps = Vec::new();
    let mut plan = plan;
    while let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let input = projection.input().schema();
        let rewrite = |expr| choose::rewrite(interval::rewrite(expr, &input)?);
        let exprs = projection.expr().iter().map(|projected| rewrite(projected.expr.clone()));
        let exprs = exprs.collect::<Result<_, _>>()?;
        steps.push(Step { stage: stage.name.clone(), take: None, exprs, schema: nullable(&projection.schema()) });
        plan = projection.input().clone();
    }
    if !plan.children().is_empty() {
        return Err(DataFusionError::Plan(format!("cannot be reduced to projections: {} is left", plan.name())));
    }
    steps.reverse();
    let leaf = plan.schema();
    if steps.is_empty() {
        // The optimizer found nothing to compute: the columns are passed on as they are.
        let exprs = (0..leaf.fields().len()).map(|at| Arc::new(Column::new(leaf.field(at).name(), at)) as _).collect();
        steps.push(Step { stage: stage.name.clone(), take: None, exprs, schema: nullable(&leaf) });
    }
    Ok((leaf, steps))
}

/// What a stage yields may be NULL whatever the planner thinks: rows are checked at the end, not in between.
fn nullable(schema: &Schema) -> SchemaRef {
    let fields: Vec<_> = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    Arc::new(Schema::new(fields))
}

/// A planning error as a finding with file and line: that of the engine's span, or else of the column that fails when
/// it is planned alone.
async fn explain(
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
    one(finding)
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
fn shorten(error: &DataFusionError) -> String {
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
