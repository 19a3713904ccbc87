//! `CASE`, computed over whole columns.
//!
//! DataFusion's `CASE` computes each branch for the rows that take it only, which it must where a branch may fail, and
//! for that it filters the columns a branch reads and puts the pieces together again. Here nearly all branches are
//! columns, literals and our own functions, which never fail: computing them for every row and choosing afterwards is
//! several times cheaper, and a branch that no row takes, or that is NULL, costs nothing.

use std::{fmt, hash::Hash, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Datum, new_null_array},
    compute::{kernels::zip::zip, nullif, prep_null_mask_filter},
    datatypes::{DataType, FieldRef, Schema},
    record_batch::RecordBatch,
};
use datafusion::{
    common::{
        Result as PlanResult,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    logical_expr::{ColumnarValue, Operator},
    physical_expr::{
        PhysicalExpr, ScalarFunctionExpr,
        expressions::{
            BinaryExpr, CaseExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr,
            TryCastExpr,
        },
    },
};

use super::{
    function::Function,
    nested::{is_field, solid},
};

/// Puts [`Choose`] in the place of every `CASE` that cannot fail.
pub(super) fn rewrite(expr: Arc<dyn PhysicalExpr>) -> PlanResult<Arc<dyn PhysicalExpr>> {
    let choose = |expr: Arc<dyn PhysicalExpr>| match expr.downcast_ref::<CaseExpr>() {
        Some(case) if case.expr().is_none() && expr.children().into_iter().all(never_fails) => {
            let branches = case.when_then_expr().to_vec();
            let chosen = Choose { branches, otherwise: case.else_expr().cloned(), case: expr.clone() };
            Ok(Transformed::yes(Arc::new(chosen) as Arc<dyn PhysicalExpr>))
        }
        _ => Ok(Transformed::no(expr)),
    };
    expr.transform_up(choose).data()
}

fn never_fails(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let itself = match expr.downcast_ref::<BinaryExpr>() {
        Some(binary) => {
            use Operator::*;
            matches!(binary.op(), Eq | NotEq | Lt | LtEq | Gt | GtEq | And | Or | IsDistinctFrom | IsNotDistinctFrom)
        }
        None => {
            expr.is::<Column>()
                || expr.is::<Literal>()
                || expr.is::<IsNullExpr>()
                || expr.is::<IsNotNullExpr>()
                || expr.is::<NotExpr>()
                || expr.is::<InListExpr>()
                || expr.is::<LikeExpr>()
                || expr.is::<TryCastExpr>()
                || expr.is::<Choose>()
                || ScalarFunctionExpr::try_downcast_func::<Function>(expr.as_ref()).is_some()
                || is_field(expr)
        }
    };
    let is_null = |expr: &Arc<dyn PhysicalExpr>| expr.downcast_ref::<Literal>().is_some_and(|it| it.value().is_null());
    let itself = itself || expr.downcast_ref::<CastExpr>().is_some_and(|cast| is_null(cast.expr()));
    itself && expr.children().into_iter().all(never_fails)
}

/// `CASE WHEN … THEN … ELSE … END` of branches that cannot fail.
#[derive(Debug)]
struct Choose {
    branches: Vec<(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>)>,
    otherwise: Option<Arc<dyn PhysicalExpr>>,
    /// What it was made of; knows its type.
    case: Arc<dyn PhysicalExpr>,
}

impl PartialEq for Choose {
    fn eq(&self, other: &Choose) -> bool {
        self.case.eq(&other.case)
    }
}
impl Eq for Choose {}
impl Hash for Choose {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.case.hash(state);
    }
}

impl PhysicalExpr for Choose {
    fn return_field(&self, input: &Schema) -> PlanResult<FieldRef> {
        self.case.return_field(input)
    }
    fn data_type(&self, input: &Schema) -> PlanResult<DataType> {
        self.case.data_type(input)
    }
    fn nullable(&self, input: &Schema) -> PlanResult<bool> {
        self.case.nullable(input)
    }

    fn evaluate(&self, batch: &RecordBatch) -> PlanResult<ColumnarValue> {
        let rows = batch.num_rows();
        // Conditions in their order, up to one that takes every row; those that take none are passed over.
        let mut taken: Vec<(BooleanArray, &Arc<dyn PhysicalExpr>)> = Vec::new();
        let mut last = self.otherwise.as_ref();
        for (when, then) in &self.branches {
            let holds = when.evaluate(batch)?.into_array(rows)?;
            let holds = holds.as_boolean();
            match holds.true_count() {
                0 => {}
                all if all == rows => {
                    last = Some(then);
                    break;
                }
                _ if holds.null_count() > 0 => taken.push((prep_null_mask_filter(holds), then)),
                _ => taken.push((holds.clone(), then)),
            }
        }
        let mut chosen: ArrayRef = match last {
            Some(last) => last.evaluate(batch)?.into_array(rows)?,
            None => new_null_array(&self.data_type(batch.schema_ref())?, rows),
        };
        for (holds, then) in taken.into_iter().rev() {
            chosen = match then.evaluate(batch)? {
                ColumnarValue::Scalar(scalar) if scalar.is_null() => solid(nullif(&chosen, &holds)?)?,
                ColumnarValue::Scalar(scalar) => {
                    let scalar = scalar.to_scalar()?;
                    zip(&holds, &scalar as &dyn Datum, &chosen)?
                }
                ColumnarValue::Array(array) => zip(&holds, &array, &chosen)?,
            };
        }
        Ok(ColumnarValue::Array(chosen))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.case.children()
    }
    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> PlanResult<Arc<dyn PhysicalExpr>> {
        rewrite(self.case.clone().with_new_children(children)?)
    }
    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.case.fmt_sql(f)
    }
}

impl fmt::Display for Choose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.case.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{Int64Array, ListBuilder, StringArray, StringBuilder, StructArray},
        datatypes::Field,
    };
    use datafusion::{common::DFSchema, prelude::SessionContext};
    use proptest::prelude::*;

    use super::*;

    fn batch(rows: &[(Option<i64>, Option<String>)]) -> RecordBatch {
        let numbers: ArrayRef = Arc::new(rows.iter().map(|(n, _)| *n).collect::<Int64Array>());
        let texts: ArrayRef = Arc::new(rows.iter().map(|(_, t)| t.clone()).collect::<StringArray>());
        let field = Arc::new(Field::new("x", DataType::Utf8, true));
        let structs: ArrayRef = Arc::new(StructArray::from(vec![(field, texts.clone())]));
        RecordBatch::try_from_iter_with_nullable([("n", numbers, true), ("t", texts, true), ("s", structs, true)])
            .unwrap()
    }

    fn compiled(sql: &str, batch: &RecordBatch) -> Arc<dyn PhysicalExpr> {
        let context = SessionContext::new();
        let schema = DFSchema::try_from(batch.schema()).unwrap();
        let expr = context.state().create_logical_expr(sql, &schema).unwrap();
        context.create_physical_expr(expr, &schema).unwrap()
    }

    fn column(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> ArrayRef {
        expr.evaluate(batch).unwrap().into_array(batch.num_rows()).unwrap()
    }

    const SAFE: [&str; 6] = [
        "CASE WHEN n > 0 THEN t ELSE 'no' END",
        "CASE WHEN t IS NULL THEN 'none' WHEN n = 1 THEN NULL WHEN n = 2 THEN 'two' WHEN n IN (3, 4) THEN t ELSE 'more' END",
        "CASE WHEN n > 0 THEN NULL ELSE t END",
        "CASE WHEN n > 1 THEN n END",
        "CASE WHEN t LIKE 'a%' THEN CASE WHEN n IS NULL THEN 'deep' ELSE t END WHEN NOT n > 2 THEN 'small' END",
        "CASE WHEN s['x'] = 'a' THEN s['x'] WHEN n > 2 THEN t END",
    ];

    proptest! {
        #[test]
        fn the_same_as_datafusion(
            rows in prop::collection::vec((prop::option::of(0..5i64), prop::option::of("[ab]{0,2}")), 0..40)
        ) {
            let batch = batch(&rows);
            for sql in SAFE {
                let theirs = compiled(sql, &batch);
                let ours = rewrite(crate::engine::nested::rewrite(theirs.clone()).unwrap()).unwrap();
                prop_assert!(ours.is::<Choose>(), "{}: {:?}", sql, ours);
                let (ours, theirs) = (column(&ours, &batch), column(&theirs, &batch));
                prop_assert_eq!(ours.as_ref(), theirs.as_ref(), "{}", sql);
            }
        }
    }

    /// There are functions that look beneath.
    #[test]
    fn nothing_is_left_beneath_a_struct_or_a_list_that_is_taken_away() {
        let fields = vec![Field::new("x", DataType::Utf8, true)];
        let structs = StructArray::new(fields.into(), vec![Arc::new(StringArray::from(vec!["a", "b"]))], None);
        let mut lists = ListBuilder::new(StringBuilder::new());
        lists.append_value([Some("a")]);
        lists.append_value([Some("b"), None]);
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 0]));
        let (structs, lists): (ArrayRef, ArrayRef) = (Arc::new(structs), Arc::new(lists.finish()));
        let rows = RecordBatch::try_from_iter([("n", numbers), ("s", structs), ("l", lists)]).unwrap();
        let taken = |name: &str| {
            let sql = format!("CASE WHEN n > 0 THEN NULL ELSE {name} END");
            let expr = rewrite(compiled(&sql, &rows)).unwrap();
            assert!(expr.is::<Choose>());
            column(&expr, &rows)
        };
        assert!(taken("s").as_struct().column(0).is_null(0));
        assert_eq!(taken("l").as_list::<i32>().values().len(), 2);
    }

    #[test]
    fn what_may_fail_is_left_to_datafusion() {
        let rows = batch(&[(Some(0), None), (Some(2), None)]);
        let expr = rewrite(compiled("CASE WHEN n = 0 THEN 0 ELSE 10 / n END", &rows)).unwrap();
        assert!(!expr.is::<Choose>());
        assert_eq!(column(&expr, &rows).as_ref(), &Int64Array::from(vec![0, 5]) as &dyn Array);
    }
}
