//! What DataFusion plans otherwise than the SQL says, put right before it is optimized: in stages and in rules alike.

use std::{fmt, sync::Arc};

use arrow::{
    datatypes::{DataType, Schema, TimeUnit},
    record_batch::{RecordBatch, RecordBatchOptions},
};
use datafusion::{
    common::{
        DFSchema, Result as PlanResult, ScalarValue,
        config::ConfigOptions,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    logical_expr::{
        Cast, Expr, ExprSchemable, LogicalPlan, TryCast, execution_props::ExecutionProps,
        physical_planning_context::PhysicalPlanningContext, utils::merge_schema,
    },
    optimizer::{Analyzer, AnalyzerRule},
    physical_expr::create_physical_expr,
};

use super::{digits, evaluate::alone, held, interval, mixed, numbers, times};

type Rule = Arc<dyn AnalyzerRule + Send + Sync>;

/// DataFusion's own rules, and ours.
pub(super) fn rules() -> Vec<Rule> {
    let theirs = || Analyzer::new().rules;
    let ours = |name, amend| Arc::new(Amend { name, amend }) as Rule;
    // Finding common types, DataFusion puts in nanoseconds of its own, and then has to find types for what became of them.
    let first = vec![ours("mixed", mixed::refuse), ours("micros", micros)];
    let types = [first, theirs(), vec![ours("micros", micros)], theirs()];
    let rest = [
        ours("times", times::sensible),
        ours("intervals", interval::compare),
        ours("numbers", numbers::fit),
        ours("digits", digits::bound),
        ours("held", held::hold),
    ];
    types.into_iter().flatten().chain(rest).collect()
}

type Amended = PlanResult<Transformed<Expr>>;

/// Puts each expression right by itself.
struct Amend {
    name: &'static str,
    amend: fn(Expr, &DFSchema) -> Amended,
}

impl fmt::Debug for Amend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl AnalyzerRule for Amend {
    fn name(&self) -> &str {
        self.name
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> PlanResult<LogicalPlan> {
        let amend = |plan: LogicalPlan| {
            let schema = merge_schema(&plan.inputs());
            plan.map_expressions(|expr| (self.amend)(expr, &schema))?.map_data(LogicalPlan::recompute_schema)
        };
        plan.transform_up(amend).data()
    }
}

/// Times count microseconds: nanoseconds there are for the years 1677 to 2262 only, and 9999-12-31 is a day that is sent.
/// A number that is cast to a time is one of nanoseconds.
fn micros(expr: Expr, schema: &DFSchema) -> Amended {
    expr.transform_up(|mut expr| {
        let (Expr::Cast(Cast { field, expr: of }) | Expr::TryCast(TryCast { field, expr: of })) = &mut expr else {
            return Ok(Transformed::no(expr));
        };
        if of.get_type(schema).is_ok_and(|kind| kind.is_numeric()) {
            return Ok(Transformed::no(expr));
        }
        let DataType::Timestamp(TimeUnit::Nanosecond, zone) = field.data_type() else {
            return Ok(Transformed::no(expr));
        };
        let kind = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
        *field = Arc::new(field.as_ref().clone().with_data_type(kind));
        Ok(Transformed::yes(expr))
    })
}

/// The value of an expression that reads no column, computed as a stage would compute it.
pub(super) fn constant(expr: &Expr) -> Option<PlanResult<ScalarValue>> {
    if !expr.column_refs().is_empty() {
        return None;
    }
    let compute = || {
        let (props, planning) = (ExecutionProps::new(), PhysicalPlanningContext::default());
        let expr = create_physical_expr(expr, &DFSchema::empty(), &props, &planning)?;
        let none = Arc::new(Schema::empty());
        let expr = numbers::rewrite(expr, &none)?;
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let value = alone(&expr, &RecordBatch::try_new_with_options(none, Vec::new(), &options)?)?;
        ScalarValue::try_from_array(&value, 0)
    };
    Some(compute())
}
