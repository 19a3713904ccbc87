//! One projection of a source's program.

use std::{collections::HashSet, sync::Arc};

use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::{PhysicalExpr, expressions::Column};

use super::evaluate::columns_of;

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

impl Steps {
    /// Columns of the first step's input that anything is computed from; the others are handed on until nobody asks.
    pub fn read(&self) -> HashSet<usize> {
        [&self.usual, &self.plain].into_iter().flat_map(|steps| read(steps)).collect()
    }
}

fn read(steps: &[Step]) -> HashSet<usize> {
    let mut wanted: HashSet<usize> = steps.last().map_or(0..0, |last| 0..last.exprs.len()).collect();
    for step in steps.iter().rev() {
        // What is computed may fail, and a failure counts, whether anybody asks for the value or not.
        let exprs = step.exprs.iter().enumerate().filter(|(at, expr)| wanted.contains(at) || !expr.is::<Column>());
        let columns = exprs.flat_map(|(_, expr)| columns_of(expr));
        wanted = columns.map(|at| step.take.as_ref().map_or(at, |take| take[at])).collect();
    }
    wanted
}

/// Which rule of the contract a step's expression is.
pub(super) fn rule_number(step: &Step, at: usize) -> Option<usize> {
    number_of(step.schema.field(at).name())
}

pub(super) fn number_of(column: &str) -> Option<usize> {
    column.strip_prefix(RULE)?.parse().ok()
}
