//! Numbers that are none.
//!
//! DataFusion lets integers wrap around, and a wrong number would go on that nothing tells from a right one: here what
//! does not fit fails, as a division by zero does. Doubles may become infinite, or be read as such (`inf`, `NaN`), which
//! JSON cannot say: in the contract's columns they are NULL, like a text that is no number.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        Result as PlanResult,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    logical_expr::{Expr, Operator, expr::Case, lit},
    physical_expr::{PhysicalExpr, expressions::BinaryExpr},
};

/// Makes every sum, difference and product say when it does not fit.
pub(super) fn rewrite(expr: Arc<dyn PhysicalExpr>) -> PlanResult<Arc<dyn PhysicalExpr>> {
    let checked = |expr: Arc<dyn PhysicalExpr>| match expr.downcast_ref::<BinaryExpr>() {
        Some(it) if matches!(it.op(), Operator::Plus | Operator::Minus | Operator::Multiply) => {
            Ok(Transformed::yes(Arc::new(it.clone().with_fail_on_overflow(true)) as Arc<dyn PhysicalExpr>))
        }
        _ => Ok(Transformed::no(expr)),
    };
    expr.transform_up(checked).data()
}

/// The column, NULL where it is infinite or no number; those sort above and below all numbers.
pub(super) fn finite(column: Expr, kind: &DataType) -> Expr {
    if *kind != DataType::Float64 {
        return column;
    }
    let is_number = column.clone().between(lit(f64::MIN), lit(f64::MAX));
    Expr::Case(Case::new(None, vec![(Box::new(is_number), Box::new(column))], None))
}
