//! Functions whose result is as large as a number says.
//!
//! `repeat(x, 2000000000)` takes gigabytes before anybody can look at the result, and the number may come out of a
//! message: every restart would die of it again. No row of more than a megabyte goes on, so what would be larger is
//! refused before it is made: by `check` if the number is written in the SQL, else the row is rejected.

use std::{hash::Hash, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array},
    compute::{cast, kernels::length::length},
    datatypes::{DataType, FieldRef, Int64Type},
};
use datafusion::{
    common::{DataFusionError, Result as PlanResult},
    functions::{string, unicode},
    functions_nested,
    logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature},
};

use super::checks::LARGEST_ROW;

/// Above this a batch is halved, so that the values of many rows do not lie in memory at once.
const LARGEST_BATCH: usize = LARGEST_ROW * 64;

/// They take the place of DataFusion's functions of the same names.
pub(super) fn functions() -> Vec<ScalarUDF> {
    let bounded = |inner: Arc<ScalarUDF>, times: bool| ScalarUDF::new_from_impl(Bounded { inner, times });
    vec![
        bounded(string::repeat(), true),
        bounded(unicode::lpad(), false),
        bounded(unicode::rpad(), false),
        bounded(functions_nested::repeat::array_repeat_udf(), false),
        bounded(functions_nested::resize::array_resize_udf(), false),
    ]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    /// The number says how many times the text, not how long the result is.
    times: bool,
}

impl Bounded {
    /// Refuses what would be too large; the second argument is the number.
    fn check(&self, args: &ScalarFunctionArgs) -> PlanResult<()> {
        let rows = args.number_rows;
        // A number in the SQL is looked at without any row too.
        let is_written = matches!(&args.args[1], ColumnarValue::Scalar(_));
        let numbers = as_numbers(args.args[1].to_array(if is_written { 1 } else { rows })?)?;
        let lengths = if self.times { Some(as_numbers(length(&args.args[0].to_array(rows)?)?)?) } else { None };
        let number = |row: usize| at_least_none(&numbers, if is_written { 0 } else { row });
        for row in 0..numbers.len() {
            self.refuse_above(LARGEST_ROW, number(row))?;
        }
        let mut all = 0;
        for row in 0..rows {
            let times = lengths.as_ref().map_or(1, |lengths| at_least_none(lengths, row));
            let size = number(row) * times; // a million times a text of two gigabytes at most
            self.refuse_above(LARGEST_ROW, size)?;
            all += size;
        }
        self.refuse_above(LARGEST_BATCH, all)
    }

    fn refuse_above(&self, limit: usize, size: usize) -> PlanResult<()> {
        if size <= limit {
            return Ok(());
        }
        let what = format!("{}() would yield {size}, more than {limit}", self.inner.name());
        Err(DataFusionError::ResourcesExhausted(what))
    }
}

fn as_numbers(array: ArrayRef) -> PlanResult<Int64Array> {
    Ok(cast(&array, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

fn at_least_none(numbers: &Int64Array, row: usize) -> usize {
    if numbers.is_valid(row) { numbers.value(row).max(0) as usize } else { 0 }
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }
    fn signature(&self) -> &Signature {
        self.inner.signature()
    }
    fn coerce_types(&self, types: &[DataType]) -> PlanResult<Vec<DataType>> {
        self.inner.coerce_types(types)
    }
    fn return_type(&self, types: &[DataType]) -> PlanResult<DataType> {
        self.inner.return_type(types)
    }
    fn return_field_from_args(&self, args: ReturnFieldArgs) -> PlanResult<FieldRef> {
        self.inner.return_field_from_args(args)
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        self.check(&args)?;
        self.inner.invoke_with_args(args)
    }
}
