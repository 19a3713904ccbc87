//! What of times is computed otherwise than anybody means, refused before any row is there.
//!
//! DataFusion takes the parts of a length of time as 32-bit numbers, without their fractions or wrapped around: 2.2 seconds
//! have an epoch of 2.0, and 40 minutes a negative number of microseconds. And a format without `%` is text that it gives as
//! it stands: `to_char(day, 'YYYY-MM-DD')` is `YYYY-MM-DD` in each row.

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        DFSchema, DataFusionError, Result as PlanResult, ScalarValue,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    logical_expr::{Expr, ExprSchemable, expr::ScalarFunction},
};

use super::amend::constant;

/// Leaves an expression as it is, or says what is wrong with it.
pub(super) fn sensible(expr: Expr, schema: &DFSchema) -> PlanResult<Transformed<Expr>> {
    expr.apply(|node| match node {
        Expr::ScalarFunction(call) => match mistake(call, schema) {
            Some(what) => Err(DataFusionError::Plan(what)),
            None => Ok(TreeNodeRecursion::Continue),
        },
        _ => Ok(TreeNodeRecursion::Continue),
    })?;
    Ok(Transformed::no(expr))
}

fn mistake(call: &ScalarFunction, schema: &DFSchema) -> Option<String> {
    let kind = |arg: &Expr| arg.get_type(schema).ok();
    match (call.func.name(), &call.args[..]) {
        ("date_part", [_, of]) if matches!(kind(of)?, DataType::Duration(_) | DataType::Interval(_)) => {
            let what = "extract() and date_part() do not count a length of time rightly: CAST(a - b AS BIGINT) is the \
                        microseconds between two instants, and extract(epoch FROM a) - extract(epoch FROM b) the seconds";
            Some(what.to_owned())
        }
        ("to_char", [of, format]) if !matches!(kind(of)?, DataType::Duration(_) | DataType::Interval(_)) => {
            let value: ScalarValue = constant(format)?.ok()?;
            let format = value.try_as_str().flatten().filter(|format| !format.contains('%'))?;
            Some(format!(
                "to_char(): nothing in the format '{format}' stands for a part of a time: write it like \
                 '%Y-%m-%d %H:%M:%S'"
            ))
        }
        _ => None,
    }
}
