//! Times moved by an interval, in one addition.
//!
//! DataFusion moves a time by months, days and nanoseconds through the calendar, one value at a time. Without months, and
//! in UTC, where every day has 24 hours, that is a duration, which arrow adds to a whole column at once.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::{
    common::{
        Result as PlanResult, ScalarValue,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    logical_expr::Operator,
    physical_expr::{
        PhysicalExpr,
        expressions::{BinaryExpr, Literal},
    },
};

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
