//! DataFusion's functions over lists, structs and maps, so that a row's result is that row's.
//!
//! Some of them look at more than the row. What stands beneath a NULL struct or list is taken for its content;
//! `array_has_all` answers a NULL differently when no row of the batch has an element; `map` compares the lengths of keys and
//! values summed up over the batch, and gives a row the value of its neighbour. Who reads one message at a time would get
//! other rows than who reads a thousand. Here they see one row at a time, nothing beneath a NULL, and nothing of others.
//!
//! Why not the kernels one by one: there are sixty, every release changes some, and a wrong row tells nobody that it is
//! wrong. A call takes a few microseconds per row; the few that most pipelines use are known to be sound, and a property
//! test holds them to it.

use std::sync::{Arc, LazyLock};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Scalar, UInt32Array, new_null_array},
    buffer::NullBuffer,
    compute::{concat, is_not_null, kernels::zip::zip, take},
    datatypes::DataType,
};
use datafusion::{
    common::{
        DataFusionError, Result as PlanResult,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    functions_nested,
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature},
    physical_expr::{PhysicalExpr, ScalarFunctionExpr, expressions::Literal},
};

use super::bounded;

/// Sound as they are.
const SOUND: [&str; 4] = ["make_array", "array_length", "array_to_string", "string_to_array"];

static NESTED: LazyLock<Vec<String>> = LazyLock::new(|| {
    let all = functions_nested::all_default_nested_functions();
    all.iter().map(|function| function.name().to_owned()).filter(|name| !SOUND.contains(&name.as_str())).collect()
});

/// Puts [`Careful`] in the place of every function that would look beyond its row.
pub(super) fn rewrite(expr: Arc<dyn PhysicalExpr>) -> PlanResult<Arc<dyn PhysicalExpr>> {
    let careful = |expr: Arc<dyn PhysicalExpr>| {
        let Some(call) = expr.downcast_ref::<ScalarFunctionExpr>() else { return Ok(Transformed::no(expr)) };
        let how = match call.fun().name() {
            "nullif" if call.return_type().is_nested() => How::Solid,
            "get_field" => How::Parent,
            name if NESTED.iter().any(|nested| nested == name) => How::Alone,
            _ => return Ok(Transformed::no(expr)),
        };
        let written = call.args().iter().map(|arg| arg.is::<Literal>()).collect();
        let function = Careful { inner: Arc::new(call.fun().clone()), how, written };
        let (args, config) = (call.args().to_vec(), Arc::new(call.config_options().clone()));
        let field = call.return_field(&arrow::datatypes::Schema::empty())?;
        let function = Arc::new(ScalarUDF::new_from_impl(function));
        Ok(Transformed::yes(Arc::new(ScalarFunctionExpr::new(call.name(), function, args, field, config)) as _))
    };
    expr.transform_up(careful).data()
}

/// Whether it is a field of a struct or map, that [`rewrite`] has seen: of one row it can always be told.
pub(super) fn is_field(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let call = ScalarFunctionExpr::try_downcast_func::<Careful>(expr.as_ref());
    let function = call.and_then(|call| call.fun().inner().downcast_ref::<Careful>());
    function.is_some_and(|function| function.how == How::Parent)
}

/// The same values, with nothing beneath those that are NULL.
pub(super) fn solid(array: ArrayRef) -> PlanResult<ArrayRef> {
    if array.null_count() == 0 || !array.data_type().is_nested() {
        return Ok(array);
    }
    let nothing = Scalar::new(new_null_array(array.data_type(), 1));
    Ok(zip(&is_not_null(&array)?, &array, &nothing)?)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum How {
    /// What becomes NULL has nothing beneath it.
    Solid,
    /// What is of a NULL struct is NULL.
    Parent,
    /// Each row by itself.
    Alone,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Careful {
    inner: Arc<ScalarUDF>,
    how: How,
    /// Which arguments are written in the SQL. Others come as one value, too, where that is the same for all rows of a
    /// batch, and some functions treat that differently.
    written: Vec<bool>,
}

impl Careful {
    /// Each row in arrays of its own.
    fn alone(&self, args: &ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let rows = args.number_rows;
        let (mut results, mut taken) = (Vec::<ArrayRef>::with_capacity(rows), 0);
        for row in 0..rows {
            let row = UInt32Array::from(vec![row as u32]);
            let own = args.args.iter().map(|arg| match arg {
                ColumnarValue::Array(array) => Ok(ColumnarValue::Array(take(array, &row, None)?)),
                scalar => Ok(scalar.clone()),
            });
            let call = ScalarFunctionArgs {
                args: own.collect::<PlanResult<_>>()?,
                arg_fields: args.arg_fields.clone(),
                number_rows: 1,
                return_field: args.return_field.clone(),
                config_options: args.config_options.clone(),
            };
            let result = solid(self.inner.invoke_with_args(call)?.into_array(1)?)?;
            taken += bounded::bytes(&result);
            if taken > bounded::LARGEST_BATCH && rows > 1 {
                // Fewer rows at a time, then.
                let what = format!("{}() yields more than {} bytes", self.inner.name(), bounded::LARGEST_BATCH);
                return Err(DataFusionError::ResourcesExhausted(what));
            }
            results.push(result);
        }
        let results: Vec<&dyn Array> = results.iter().map(AsRef::as_ref).collect();
        Ok(ColumnarValue::Array(concat(&results)?))
    }

    /// Whole columns; a row whose parent is NULL has nothing.
    fn of_parent(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let parent = match &args.args[0] {
            ColumnarValue::Array(parent) if matches!(parent.data_type(), DataType::Struct(_)) => parent.clone(),
            _ => return self.alone(&args),
        };
        let rows = args.number_rows;
        let nulls = parents(&parent, &args.args[1..]);
        let found = self.inner.invoke_with_args(args)?.into_array(rows)?;
        let Some(nulls) = nulls.filter(|nulls| !found.nulls().is_some_and(|own| own.contains(nulls))) else {
            return Ok(ColumnarValue::Array(found));
        };
        let nothing = Scalar::new(new_null_array(found.data_type(), 1));
        let there = BooleanArray::new(nulls.into_inner(), None);
        Ok(ColumnarValue::Array(zip(&there, &found, &nothing)?))
    }
}

/// Where one of the structs on the way is NULL.
fn parents(parent: &ArrayRef, names: &[ColumnarValue]) -> Option<NullBuffer> {
    let own = parent.nulls().filter(|nulls| nulls.null_count() > 0).cloned();
    let child = match names {
        [ColumnarValue::Scalar(name), _, ..] => {
            let name = name.try_as_str().flatten().unwrap_or_default();
            parent.as_struct_opt().and_then(|parent| parent.column_by_name(name)).cloned()
        }
        _ => None,
    };
    let below = child.and_then(|child| parents(&child, &names[1..]));
    NullBuffer::union(own.as_ref(), below.as_ref())
}

/// Of a call that is planned already.
impl ScalarUDFImpl for Careful {
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn signature(&self) -> &Signature {
        self.inner.signature()
    }
    fn return_type(&self, types: &[DataType]) -> PlanResult<DataType> {
        self.inner.return_type(types)
    }
    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let rows = args.number_rows;
        if rows == 0 || self.written.iter().all(|written| *written) {
            return self.inner.invoke_with_args(args);
        }
        for (arg, _) in args.args.iter_mut().zip(&self.written).filter(|(_, written)| !**written) {
            let array = arg.to_array(rows)?;
            *arg = ColumnarValue::Array(if self.how == How::Alone { solid(array)? } else { array });
        }
        match self.how {
            How::Solid => Ok(ColumnarValue::Array(solid(self.inner.invoke_with_args(args)?.into_array(rows)?)?)),
            How::Parent => self.of_parent(args),
            How::Alone => self.alone(&args),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::{array::StringArray, record_batch::RecordBatch};
    use datafusion::{common::DFSchema, prelude::SessionContext};
    use proptest::prelude::*;

    use super::*;
    use crate::engine::{choose, compile, evaluate};

    type Row = (Option<String>, Option<String>, Option<i64>, bool);

    fn batch(rows: &[Row]) -> RecordBatch {
        let a: ArrayRef = Arc::new(rows.iter().map(|row| row.0.clone()).collect::<StringArray>());
        let b: ArrayRef = Arc::new(rows.iter().map(|row| row.1.clone()).collect::<StringArray>());
        let n: ArrayRef = Arc::new(rows.iter().map(|row| row.2).collect::<arrow::array::Int64Array>());
        let f: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.3)).collect::<BooleanArray>());
        RecordBatch::try_from_iter_with_nullable([("a", a, true), ("b", b, true), ("n", n, true), ("f", f, true)])
            .unwrap()
    }

    /// As a stage's expressions are compiled; none when there is no such call.
    fn compiled(context: &SessionContext, sql: &str) -> Option<Arc<dyn PhysicalExpr>> {
        let schema = DFSchema::try_from(batch(&[]).schema()).unwrap();
        let expr = context.state().create_logical_expr(sql, &schema).ok()?;
        let expr = context.create_physical_expr(expr, &schema).ok()?;
        Some(choose::rewrite(rewrite(expr).unwrap()).unwrap())
    }

    /// Lists, some of them empty, NULL, or with a NULL in them; NULL where the row's flag says so.
    const LISTS: [&str; 4] = [
        "string_to_array(a, ',', '-')",
        "string_to_array(b, ',')",
        "CASE WHEN f THEN NULL ELSE string_to_array(a, ',') END",
        "nullif(string_to_array(a, ','), string_to_array(b, ','))",
    ];

    /// Calls of every nested function, with arguments of every shape that it takes.
    fn calls() -> Vec<String> {
        let structs = ["named_struct('x', a, 'y', n)", "CASE WHEN f THEN NULL ELSE named_struct('x', a, 'y', n) END"];
        let more = ["nullif(named_struct('x', a, 'y', n), named_struct('x', b, 'y', n))"];
        let mut all: Vec<String> = structs.iter().chain(&more).map(|it| format!("get_field({it}, 'x')")).collect();
        all.push(
            "get_field(named_struct('s', CASE WHEN f THEN NULL ELSE named_struct('x', a) END), 's', 'x')".to_owned(),
        );
        all.extend(structs.iter().chain(&more).map(|it| {
            format!("CASE WHEN get_field({it}, 'x') = 'x' THEN b WHEN f THEN get_field({it}, 'x') ELSE a END")
        }));
        all.push("get_field(map(make_array('k'), string_to_array(b, ',')), 'k')".to_owned());
        let names = functions_nested::all_default_nested_functions();
        for name in names.iter().map(|function| function.name()) {
            for l in LISTS {
                let own = [
                    format!("{name}({l})"),
                    format!("{name}({l}, a)"),
                    format!("{name}(a, {l})"),
                    format!("{name}({l}, ',')"),
                    format!("{name}({l}, n)"),
                    format!("{name}({l}, n, n)"),
                    format!("{name}({l}, 'x', a)"),
                    format!("{name}({l}, 'x', 'y', n)"),
                    format!("{name}(a, n)"),
                    format!("{name}(make_array({l}, {l}))"),
                    format!("{name}(make_array(n, 1, n))"),
                    format!("{name}(make_array(1.5, n), make_array(n, 2.0))"),
                ];
                all.extend(own);
                all.extend(LISTS.iter().map(|m| format!("{name}({l}, {m})")));
                all.push(format!("{name}(map({l}, {l}))"));
                all.push(format!("{name}(map({l}, {l}), 'x')"));
            }
        }
        all
    }

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let text = || prop::option::weighted(0.8, "[xy-]?(,[xy-]?){0,2}");
        prop::collection::vec((text(), text(), prop::option::of(-1..3i64), any::<bool>()), 1..6)
    }

    #[test]
    fn a_row_s_result_is_that_row_s() {
        let context = compile::session(Vec::new());
        let expressions: Vec<_> =
            calls().into_iter().filter_map(|sql| Some((compiled(&context, &sql)?, sql))).collect();
        let named = |function: &Arc<ScalarUDF>| expressions.iter().any(|(_, sql)| sql.contains(function.name()));
        let all = functions_nested::all_default_nested_functions();
        let missing: Vec<&str> = all.iter().filter(|function| !named(function)).map(|it| it.name()).collect();
        assert_eq!(missing, ["range", "generate_series"], "which are refused");
        let cases = prop::test_runner::Config::with_cases(40);
        let mut runner = prop::test_runner::TestRunner::new_with_rng(
            cases,
            prop::test_runner::TestRng::deterministic_rng(prop::test_runner::RngAlgorithm::ChaCha),
        );
        let same = runner.run(&rows(), |rows| {
            let together = batch(&rows);
            for (expr, sql) in &expressions {
                let alone: Result<Vec<ArrayRef>, _> =
                    rows.iter().map(|row| evaluate::alone(expr, &batch(std::slice::from_ref(row)))).collect();
                match (evaluate::alone(expr, &together), alone) {
                    (Ok(all), Ok(alone)) => {
                        let alone: Vec<&dyn Array> = alone.iter().map(AsRef::as_ref).collect();
                        let alone = concat(&alone).unwrap();
                        prop_assert_eq!(all.as_ref(), alone.as_ref(), "{}", sql);
                    }
                    (Err(_), Err(_)) => {}
                    (all, alone) => prop_assert!(false, "{sql}: together {all:?}, alone {alone:?}"),
                }
            }
            Ok(())
        });
        same.unwrap();
    }
}
