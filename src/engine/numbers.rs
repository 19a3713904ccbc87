//! Numbers that are none.
//!
//! DataFusion lets integers wrap around, and a wrong number would go on that nothing tells from a right one: here what
//! does not fit fails, as a division by zero does. Doubles may become infinite, or be read as such (`inf`, `NaN`), which
//! JSON cannot say: in the contract's columns they are NULL, like a text that is no number.

use std::sync::Arc;

use arrow::{
    datatypes::{DataType, Schema},
    error::ArrowError,
};
use datafusion::{
    common::{
        DFSchema, DataFusionError, Result as PlanResult, ScalarValue,
        tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion},
    },
    logical_expr::{Expr, ExprSchemable, Operator, expr::Case, lit},
    physical_expr::{
        PhysicalExpr,
        expressions::{BinaryExpr, Literal, NegativeExpr},
    },
};

use super::amend::constant;

/// Makes every sum, difference, product and negation of what has the columns `input` say when it does not fit.
pub(super) fn rewrite(expr: Arc<dyn PhysicalExpr>, input: &Schema) -> PlanResult<Arc<dyn PhysicalExpr>> {
    let checked = |expr: Arc<dyn PhysicalExpr>| {
        let checked = match (expr.downcast_ref::<BinaryExpr>(), expr.downcast_ref::<NegativeExpr>()) {
            (Some(it), _) if matches!(it.op(), Operator::Plus | Operator::Minus | Operator::Multiply) => it.clone(),
            (_, Some(negative)) if negative.arg().data_type(input)?.is_signed_integer() => {
                let zero = ScalarValue::new_zero(&negative.arg().data_type(input)?)?;
                BinaryExpr::new(Arc::new(Literal::new(zero)), Operator::Minus, negative.arg().clone())
            }
            _ => return Ok(Transformed::no(expr)),
        };
        Ok(Transformed::yes(Arc::new(checked.with_fail_on_overflow(true)) as Arc<dyn PhysicalExpr>))
    };
    expr.transform_up(checked).data()
}

/// Refuses what would wrap around before any row is there: sums, products and negations of literals.
pub(super) fn fit(expr: Expr, schema: &DFSchema) -> PlanResult<Transformed<Expr>> {
    expr.apply(|node| {
        let computes = match node {
            Expr::BinaryExpr(it) => matches!(it.op, Operator::Plus | Operator::Minus | Operator::Multiply),
            Expr::Negative(_) => true,
            _ => false,
        };
        if !computes || !node.get_type(schema).is_ok_and(|kind| kind.is_integer()) {
            return Ok(TreeNodeRecursion::Continue);
        }
        match constant(node) {
            None => Ok(TreeNodeRecursion::Continue),
            Some(Err(error)) if is_overflow(&error) => Err(error),
            Some(_) => Ok(TreeNodeRecursion::Jump),
        }
    })?;
    Ok(Transformed::no(expr))
}

fn is_overflow(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ArrowError(error, _) if matches!(**error, ArrowError::ArithmeticOverflow(_)))
}

/// The column, NULL where it is infinite or no number; those sort above and below all numbers.
pub(super) fn finite(column: Expr, kind: &DataType) -> Expr {
    if *kind != DataType::Float64 {
        return column;
    }
    let is_number = column.clone().between(lit(f64::MIN), lit(f64::MAX));
    Expr::Case(Case::new(None, vec![(Box::new(is_number), Box::new(column))], None))
}
