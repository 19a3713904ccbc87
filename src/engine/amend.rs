//! What DataFusion plans otherwise than the SQL says, put right before it is optimized: in stages and in rules alike.

use std::{fmt, sync::Arc};

use arrow::{
    datatypes::Schema,
    record_batch::{RecordBatch, RecordBatchOptions},
};
use datafusion::{
    common::{
        DFSchema, Result as PlanResult, ScalarValue,
        config::ConfigOptions,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    logical_expr::{
        Expr, LogicalPlan, execution_props::ExecutionProps, physical_planning_context::PhysicalPlanningContext,
        utils::merge_schema,
    },
    optimizer::{Analyzer, AnalyzerRule},
    physical_expr::create_physical_expr,
};

use super::{evaluate::alone, interval, numbers};

type Rule = Arc<dyn AnalyzerRule + Send + Sync>;

/// DataFusion's own rules, and ours.
pub(super) fn rules() -> Vec<Rule> {
    let ours = |name, amend| Arc::new(Amend { name, amend }) as Rule;
    Analyzer::new().rules.into_iter().chain([ours("intervals", interval::compare)]).collect()
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
