//! Casts that lose something, held together with what they are of.
//!
//! DataFusion takes a cast off one side of a comparison and puts it upon the literal of the other, which is right only
//! where nothing is lost: `CAST(a AS BIGINT) = 2` holds for 2.5, `a = 2.0` does not. A function that does nothing stands
//! around such casts while it optimizes.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, FieldRef};
use datafusion::{
    common::{
        DFSchema, Result as PlanResult,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    logical_expr::{
        Cast, ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
        Signature, TryCast, Volatility,
    },
    physical_expr::{PhysicalExpr, ScalarFunctionExpr},
};

/// Holds all casts between numbers, days and times that may lose something.
pub(super) fn hold(expr: Expr, schema: &DFSchema) -> PlanResult<Transformed<Expr>> {
    static HELD: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let signature = Signature::any(1, Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Held { signature }))
    });
    expr.transform_up(|expr| {
        let of = match &expr {
            Expr::Cast(Cast { expr, .. }) | Expr::TryCast(TryCast { expr, .. }) => expr,
            Expr::ScalarFunction(call) if call.func.name().starts_with("arrow_") && !call.args.is_empty() => {
                &call.args[0]
            }
            _ => return Ok(Transformed::no(expr)),
        };
        // What is the same for all rows is computed beforehand, and some functions ask whether it is a literal.
        let lossy = !of.column_refs().is_empty()
            && matches!((of.get_type(schema), expr.get_type(schema)), (Ok(from), Ok(to)) if loses(&from, &to));
        Ok(if lossy { Transformed::yes(HELD.call(vec![expr])) } else { Transformed::no(expr) })
    })
}

/// Lets them go again.
pub(super) fn release(expr: Arc<dyn PhysicalExpr>) -> PlanResult<Arc<dyn PhysicalExpr>> {
    let release = |expr: Arc<dyn PhysicalExpr>| match ScalarFunctionExpr::try_downcast_func::<Held>(expr.as_ref()) {
        Some(held) => Ok(Transformed::yes(held.args()[0].clone())),
        None => Ok(Transformed::no(expr)),
    };
    expr.transform_up(release).data()
}

/// Whether the one type has values that the other has not.
fn loses(from: &DataType, to: &DataType) -> bool {
    let counts = |kind: &DataType| kind.is_integer() || kind.is_decimal() || kind.is_temporal();
    if !counts(from) || !counts(to) || from == to || from.is_temporal() && to.is_temporal() {
        return false; // not unwrapped, or only where it is right
    }
    if from.is_integer() && to.is_integer() {
        let bits = |kind: &DataType| kind.primitive_width().unwrap_or(0) * 8 - usize::from(kind.is_signed_integer());
        return bits(from) > bits(to) || from.is_signed_integer() && !to.is_signed_integer();
    }
    match (places(from), places(to)) {
        (Some((whole, behind)), Some((room, more))) if to.is_decimal() => whole > room || behind > more,
        _ => true,
    }
}

/// Digits before the point, and behind it.
fn places(kind: &DataType) -> Option<(i16, i16)> {
    use DataType::*;
    match kind {
        Int8 | UInt8 => Some((3, 0)),
        Int16 | UInt16 => Some((5, 0)),
        Int32 | UInt32 => Some((10, 0)),
        Int64 => Some((19, 0)),
        UInt64 => Some((20, 0)),
        Decimal32(all, behind) | Decimal64(all, behind) | Decimal128(all, behind) | Decimal256(all, behind) => {
            Some((i16::from(*all) - i16::from(*behind), i16::from(*behind)))
        }
        _ => None,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Held {
    signature: Signature,
}

impl ScalarUDFImpl for Held {
    fn name(&self) -> &str {
        "held"
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, types: &[DataType]) -> PlanResult<DataType> {
        Ok(types[0].clone())
    }
    fn return_field_from_args(&self, args: ReturnFieldArgs) -> PlanResult<FieldRef> {
        Ok(args.arg_fields[0].clone())
    }
    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        Ok(args.args.swap_remove(0))
    }
}
