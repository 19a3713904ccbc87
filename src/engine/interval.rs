//! Times moved by an interval, in one addition, and differences of times compared with one.
//!
//! DataFusion moves a time by months, days and nanoseconds through the calendar, one value at a time. Without months, and
//! in UTC, where every day has 24 hours, that is a duration, which arrow adds to a whole column at once.
//! It compares intervals by their months, then their days, then their nanoseconds: 48 hours would be less than a day.

use std::{iter::once, sync::Arc};

use arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::{
    common::{
        DFSchema, DataFusionError, Result as PlanResult, ScalarValue,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    logical_expr::{Case, Cast, Expr, ExprSchemable, Operator},
    physical_expr::{
        PhysicalExpr,
        expressions::{BinaryExpr, Literal},
    },
};

use super::amend::constant;

/// Puts a duration in the place of every interval that is one.
pub(super) fn rewrite(expr: Arc<dyn PhysicalExpr>, input: &Schema) -> PlanResult<Arc<dyn PhysicalExpr>> {
    let as_duration = |expr: Arc<dyn PhysicalExpr>| {
        let Some(sum) =
            expr.downcast_ref::<BinaryExpr>().filter(|it| matches!(it.op(), Operator::Plus | Operator::Minus))
        else {
            return Ok(Transformed::no(expr));
        };
        if !is_utc(&sum.left().data_type(input)?) {
            return Ok(Transformed::no(expr));
        }
        let Some(micros) = sum.right().downcast_ref::<Literal>().and_then(|it| micros(it.value())) else {
            return Ok(Transformed::no(expr));
        };
        let duration = Arc::new(Literal::new(ScalarValue::DurationMicrosecond(Some(micros))));
        Ok(Transformed::yes(Arc::new(BinaryExpr::new(sum.left().clone(), *sum.op(), duration)) as _))
    };
    expr.transform_up(as_duration).data()
}

/// Compares durations as such; refuses intervals of no certain length.
pub(super) fn compare(expr: Expr, schema: &DFSchema) -> PlanResult<Transformed<Expr>> {
    expr.transform_up(|mut expr| {
        let (sides, yields): (Vec<&mut Expr>, bool) = match &mut expr {
            Expr::BinaryExpr(it) if compares(it.op) => (vec![&mut it.left, &mut it.right], false),
            Expr::Between(it) => (vec![&mut it.expr, &mut it.low, &mut it.high], false),
            Expr::InList(it) => (once(it.expr.as_mut()).chain(&mut it.list).collect(), false),
            Expr::Case(Case { expr: Some(it), when_then_expr, .. }) => {
                (once(it.as_mut()).chain(when_then_expr.iter_mut().map(|(when, _)| when.as_mut())).collect(), false)
            }
            Expr::ScalarFunction(call) if ["greatest", "least", "nullif"].contains(&call.func.name()) => {
                (call.args.iter_mut().collect(), true)
            }
            _ => return Ok(Transformed::no(expr)),
        };
        if !sides.iter().any(|side| matches!(side.get_type(schema), Ok(DataType::Interval(_)))) {
            return Ok(Transformed::no(expr));
        }
        let unit = sides.iter().find_map(|side| Some(difference(side, schema)?.1)).filter(|_| !yields);
        let durations: Option<Vec<Expr>> =
            unit.and_then(|unit| sides.iter().map(|side| duration(side, unit, schema)).collect());
        let Some(durations) = durations else {
            let what = "intervals are compared by their parts, not by their length: compare a difference of times as it is \
                        with one of days to microseconds, a - b > INTERVAL '15 days', and for months write \
                        a > b + INTERVAL '1 month'";
            return Err(DataFusionError::Plan(what.to_owned()));
        };
        sides.into_iter().zip(durations).for_each(|(side, duration)| *side = duration);
        Ok(Transformed::yes(expr))
    })
}

fn compares(operator: Operator) -> bool {
    use Operator::*;
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// A duration that was made an interval to be compared with one.
fn difference<'a>(side: &'a Expr, schema: &DFSchema) -> Option<(&'a Expr, TimeUnit)> {
    let Expr::Cast(Cast { expr, .. }) = side else { return None };
    match expr.get_type(schema) {
        Ok(DataType::Duration(unit)) => Some((expr, unit)),
        _ => None,
    }
}

fn duration(side: &Expr, unit: TimeUnit, schema: &DFSchema) -> Option<Expr> {
    if let Some((duration, its)) = difference(side, schema) {
        return (its == unit).then(|| duration.clone());
    }
    let of = |count: Option<i64>| match unit {
        TimeUnit::Second => ScalarValue::DurationSecond(count),
        TimeUnit::Millisecond => ScalarValue::DurationMillisecond(count),
        TimeUnit::Microsecond => ScalarValue::DurationMicrosecond(count),
        TimeUnit::Nanosecond => ScalarValue::DurationNanosecond(count),
    };
    let value = constant(side)?.ok()?;
    if value.is_null() {
        return Some(Expr::Literal(of(None), None));
    }
    let nanos = match value {
        ScalarValue::IntervalMonthDayNano(Some(it)) if it.months == 0 => {
            i128::from(it.days) * 86_400_000_000_000 + i128::from(it.nanoseconds)
        }
        _ => return None,
    };
    let each = match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1000,
        TimeUnit::Nanosecond => 1,
    };
    let count = (nanos % each == 0).then(|| i64::try_from(nanos / each))?.ok()?;
    Some(Expr::Literal(of(Some(count)), None))
}

fn is_utc(kind: &DataType) -> bool {
    matches!(kind, DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if matches!(&**zone, "UTC" | "+00:00"))
}

/// An interval that is the same whenever it begins, and is whole microseconds.
fn micros(interval: &ScalarValue) -> Option<i64> {
    match interval {
        ScalarValue::IntervalMonthDayNano(Some(it)) if it.months == 0 && it.nanoseconds % 1000 == 0 => {
            i64::from(it.days).checked_mul(86_400_000_000)?.checked_add(it.nanoseconds / 1000)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{ArrayRef, TimestampMicrosecondArray},
        record_batch::RecordBatch,
    };
    use datafusion::{common::DFSchema, prelude::SessionContext};
    use proptest::prelude::*;

    use super::*;

    /// What DataFusion makes of it, and what we do.
    fn both(sql: &str, zone: &str, times: Vec<Option<i64>>) -> [PlanResult<ArrayRef>; 2] {
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times).with_timezone(zone));
        let batch = RecordBatch::try_from_iter_with_nullable([("t", times, true)]).unwrap();
        let context = SessionContext::new();
        let schema = DFSchema::try_from(batch.schema()).unwrap();
        let expr = context.state().create_logical_expr(sql, &schema).unwrap();
        let theirs = context.create_physical_expr(expr, &schema).unwrap();
        let ours = rewrite(theirs.clone(), &batch.schema()).unwrap();
        [theirs, ours].map(|expr| expr.evaluate(&batch)?.into_array(batch.num_rows()))
    }

    const SUMS: [&str; 4] = [
        "t + INTERVAL '1 day'",
        "t - INTERVAL '2 days 3 hours 1 millisecond'",
        "t >= t - INTERVAL '90 minutes'",
        "t + INTERVAL '1 month'",
    ];

    proptest! {
        #[test]
        fn the_same_as_through_the_calendar(times in prop::collection::vec(prop::option::of(-4_000_000_000_000_000..4_000_000_000_000_000_i64), 0..20)) {
            for sql in SUMS {
                for zone in ["UTC", "Europe/Berlin"] {
                    // A local time that a change of clocks leaves out is an error of the calendar's.
                    let [theirs, ours] = both(sql, zone, times.clone()).map(Result::ok);
                    prop_assert!(theirs.is_some() || zone != "UTC");
                    prop_assert_eq!(theirs, ours, "{} in {}", sql, zone);
                }
            }
        }
    }

    #[test]
    fn a_time_beyond_all_times_is_an_error_for_both() {
        let all = both(SUMS[0], "UTC", vec![Some(i64::MAX)]);
        assert!(all.iter().all(Result::is_err), "{all:?}");
    }
}
