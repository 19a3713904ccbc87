//! One projection of a source's program.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;

/// What the computed rules are called, before their number.
pub(super) const RULE: &str = "__rule_";

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

/// A program, in two forms that yield the same where both yield anything.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// What several expressions have in common is computed once.
    pub usual: Vec<Step>,
    /// Each expression by itself, as it is written.
    pub plain: Vec<Step>,
}

/// Which rule of the contract a step's expression is.
pub(super) fn rule_number(step: &Step, at: usize) -> Option<usize> {
    number_of(step.schema.field(at).name())
}

pub(super) fn number_of(column: &str) -> Option<usize> {
    column.strip_prefix(RULE)?.parse().ok()
}
