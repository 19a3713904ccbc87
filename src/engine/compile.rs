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

use std::{collections::HashSet, sync::Arc};

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::{
    common::DataFusionError,
    datasource::empty::EmptyTable,
    execution::session_state::{SessionState, SessionStateBuilder},
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder},
    physical_expr::expressions::Column,
    physical_plan::{ExecutionPlan, projection::ProjectionExec},
    prelude::{DataFrame, SessionConfig, SessionContext},
};

use super::{
    amend, choose,
    conform::{conform, rules},
    fields, held, interval,
    lint::{self, Parsed},
    meta,
    mistakes::{columns, dead_column, explain, hopeless, shorten},
    nested, numbers,
    shield::shield_future,
    step::{Step, Steps, number_of},
};
use crate::{
    config::{Pipeline, Source, Stage},
    contract::Contract,
    decode::Fields,
    error::Finding,
};

/// What the SQL of a source compiles to.
#[derive(Debug)]
pub(super) struct Compiled {
    pub fields: Fields,
    /// Columns the first step reads: decoded fields and meta columns, by name.
    pub input: SchemaRef,
    /// Those of them that anything is computed from.
    pub read: HashSet<usize>,
    /// The last one yields the contract's columns (without the flags column), then one boolean per rule.
    pub steps: Steps,
}

/// A session in which nothing is parallel, nothing is lower-cased, and texts are plain texts.
pub(super) fn session(functions: Vec<datafusion::logical_expr::ScalarUDF>) -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(1).with_collect_statistics(false);
    let options = config.options_mut();
    options.sql_parser.enable_ident_normalization = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.collect_spans = true;
    let state = SessionStateBuilder::new().with_config(config).with_default_features();
    let context = SessionContext::new_with_state(state.with_analyzer_rules(amend::rules()).build());
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
    waiting(async {
        let mut wrong = Vec::new();
        let mut keep = |found: Vec<Finding>| wrong.extend(found);
        let stages = compile_stages(pipeline, source, context).await.map_err(&mut keep).ok();
        let columns = match &stages {
            Some(stages) => {
                conform(contract, stages.last, table_of(stages.last, context).await?).map_err(&mut keep).ok()
            }
            None => None,
        };
        // Rules are about the contract's columns, whatever the stages do.
        let rules = rules(contract, context).map_err(&mut keep).ok();
        let (Some(Stages { fields, input, mut steps, last }), Some(columns), Some(rules)) = (stages, columns, rules)
        else {
            return Err(wrong);
        };
        let checks = Stage { name: "checks".into(), ..last.clone() };
        for plan in [columns, rules] {
            let before = steps.plain.len();
            let added = add(&checks, &plan, context, &mut steps).await;
            let added = added.map_err(|error| lost(last, &error))?;
            let hopeless = hopeless(&steps.plain[before..], &added.plain);
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
        Ok(Compiled { fields, input, read: steps.read(), steps })
    })
}

/// What is wrong with the map of a source and the stages of its pipeline, whatever the contract.
pub(super) fn check_stages(pipeline: &Pipeline, source: &Source, context: &SessionContext) -> Vec<Finding> {
    waiting(compile_stages(pipeline, source, context)).err().unwrap_or_default()
}

fn waiting<T>(work: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers can be built");
    runtime.block_on(work)
}

/// A map and its stages, compiled.
struct Stages<'p> {
    fields: Fields,
    input: SchemaRef,
    steps: Steps,
    /// The one whose columns are the contract's.
    last: &'p Stage,
}

async fn compile_stages<'p>(
    pipeline: &'p Pipeline,
    source: &'p Source,
    context: &SessionContext,
) -> Result<Stages<'p>, Vec<Finding>> {
    let known = context.state();
    // The map is the first stage, under the name that later ones select from.
    let map = Stage { name: "raw".into(), ..source.map.clone() };
    let mut texts = vec![(&map, lint::parse(&map, lint::MESSAGE, &known))];
    for stage in &pipeline.stages {
        let from = texts[texts.len() - 1].0.name.clone();
        texts.push((stage, lint::parse(stage, &from, &known)));
    }
    let fields = match &mut texts[0].1 {
        Ok(parsed) => message(parsed, context)?,
        Err(_) => Fields(Vec::new()),
    };
    let (mut wrong, mut steps, mut input) = (Vec::new(), Steps::default(), None);
    for (stage, text) in texts {
        match text {
            Err(mistake) => wrong.extend(lint::tell(stage, vec![mistake])),
            // Which columns it selects from is not known when a stage before it is wrong.
            Ok(parsed) if !wrong.is_empty() => wrong.extend(lint::tell(stage, parsed.wrong)),
            Ok(parsed) => match compile_stage(stage, source, parsed, context, &mut steps).await {
                Ok(read) => drop(input.get_or_insert(read)),
                Err(found) => wrong.extend(found),
            },
        }
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let last = pipeline.stages.last().expect("a folder without stages is refused");
    Ok(Stages { fields, input: input.expect("the map is always there"), steps, last })
}

/// What a stage yields, as a table to select from.
async fn table_of(stage: &Stage, context: &SessionContext) -> Result<LogicalPlan, Vec<Finding>> {
    let table = context.table(stage.name.as_ref()).await;
    table.map(DataFrame::into_unoptimized_plan).map_err(|error| lost(stage, &error))
}

fn lost(last: &Stage, error: &DataFusionError) -> Vec<Finding> {
    one(lint::finding(last, None, shorten(error)))
}

/// Registers the table that the map selects from. Without fields that can be told apart no column of the map is sound.
fn message(map: &mut Parsed, context: &SessionContext) -> Result<Fields, Vec<Finding>> {
    let fields = fields::fields(&map.select).unwrap_or_else(|found| {
        map.wrong.extend(found);
        map.sound.clear();
        Fields(Vec::new())
    });
    let mut columns: Vec<_> = fields.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    columns.extend(meta::fields());
    register(context, lint::MESSAGE, Arc::new(EmptyTable::new(Arc::new(Schema::new(columns)))))?;
    Ok(fields)
}

/// Plans a stage, appends its steps, and registers what it yields as the table that the next one selects from; tells what
/// it reads of the table before it.
async fn compile_stage(
    stage: &Stage,
    source: &Source,
    parsed: Parsed,
    context: &SessionContext,
    steps: &mut Steps,
) -> Result<SchemaRef, Vec<Finding>> {
    if !parsed.wrong.is_empty() {
        let more = columns(stage, source, &parsed, context).await;
        return Err(lint::tell(stage, parsed.wrong.into_iter().chain(more).collect()));
    }
    let before = steps.plain.len();
    let planned = context.state().create_logical_plan(&stage.sql).await;
    let wrong = planned.as_ref().map_or_else(|_| Vec::new(), lint::row_local);
    if !wrong.is_empty() {
        return Err(lint::tell(stage, wrong));
    }
    let added = match planned.and_then(with_meta) {
        Ok(whole) => add(stage, &whole, context, steps).await,
        Err(error) => Err(error),
    };
    let Added { read, plain, schema } = match added {
        Ok(added) => added,
        Err(error) => return Err(lint::tell(stage, explain(stage, source, &parsed, context, &error).await)),
    };
    let hopeless = hopeless(&steps.plain[before..], &plain);
    if !hopeless.is_empty() {
        let tell = |(column, why): (String, String)| dead_column(stage, &column, &why);
        return Err(hopeless.into_iter().map(tell).collect());
    }
    register(context, &stage.name, Arc::new(EmptyTable::new(schema)))?;
    Ok(read)
}

/// What a projection reads of the table before it, and what it yields.
struct Added {
    read: SchemaRef,
    /// What its plain form reads.
    plain: SchemaRef,
    schema: SchemaRef,
}

/// Plans a projection and appends its steps.
///
/// It is planned twice. Where what several expressions have in common is computed first, one that would not have come to
/// it fails of it too: rows that cannot be computed in the usual way are computed in the plain one.
async fn add(
    stage: &Stage,
    plan: &LogicalPlan,
    context: &SessionContext,
    steps: &mut Steps,
) -> Result<Added, DataFusionError> {
    let usual = context.state();
    let rules = usual.optimizers().iter().filter(|rule| rule.name() != "common_sub_expression_eliminate");
    let rules = rules.cloned().collect();
    let plain = SessionStateBuilder::new_from_existing(usual.clone()).with_optimizer_rules(rules).build();
    let first = steps.usual.is_empty();
    let (read, schema) = append(stage, plan, &usual, &mut steps.usual).await?;
    let (plain, same) = append(stage, plan, &plain, &mut steps.plain).await?;
    if schema != same {
        return Err(DataFusionError::Plan("two plans of it differ in what they yield".to_owned()));
    }
    if !first || read == plain {
        return Ok(Added { read, plain, schema });
    }
    // Each has left out what it need not read.
    let mut all: Vec<FieldRef> = read.fields().iter().cloned().collect();
    all.extend(plain.fields().iter().filter(|field| read.index_of(field.name()).is_err()).cloned());
    let all = Arc::new(Schema::new(all));
    for (steps, read) in [(&mut steps.usual, &read), (&mut steps.plain, &plain)] {
        let take: Result<_, _> = read.fields().iter().map(|field| all.index_of(field.name())).collect();
        steps[0].take = Some(take?);
    }
    Ok(Added { read: all, plain, schema })
}

async fn append(
    stage: &Stage,
    plan: &LogicalPlan,
    state: &SessionState,
    steps: &mut Vec<Step>,
) -> Result<(SchemaRef, SchemaRef), DataFusionError> {
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

/// The projections between the leaf and the top of a physical plan.
fn flatten(stage: &Stage, plan: Arc<dyn ExecutionPlan>) -> Result<(SchemaRef, Vec<Step>), DataFusionError> {
    let mut steps = Vec::new();
    let mut plan = plan;
    while let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let input = projection.input().schema();
        let rewrite = |expr| {
            let plain = interval::rewrite(held::release(expr)?, &input)?;
            choose::rewrite(nested::rewrite(numbers::rewrite(plain, &input)?)?)
        };
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
