//! Functions whose result is as large as a number says, or as often larger as a text is found in another.
//!
//! `repeat(x, 2000000000)` takes gigabytes before anybody can look at the result, and the number may come out of a
//! message: every restart would die of it again. No row of more than a megabyte goes on, so what would be larger is
//! refused before it is made: by `check` if the number is written in the SQL, else the row is rejected. What a replacement
//! yields is not known beforehand; it is refused where it might be so large that memory is in danger.

use std::{hash::Hash, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array},
    compute::{cast, kernels::length::length},
    datatypes::{DataType, FieldRef, Int64Type},
};
use datafusion::{
    common::{DataFusionError, Result as PlanResult},
    functions::{regex, string, unicode},
    functions_nested,
    logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature},
};

use super::checks::LARGEST_ROW;

/// Above this a batch is halved, so that the values of many rows do not lie in memory at once.
pub(super) const LARGEST_BATCH: usize = LARGEST_ROW * 64;

/// They take the place of DataFusion's functions of the same names.
pub(super) fn functions() -> Vec<ScalarUDF> {
    let bounded = |inner: Arc<ScalarUDF>, size: Size| ScalarUDF::new_from_impl(Bounded { inner, size });
    vec![
        bounded(string::repeat(), Size::Times),
        bounded(unicode::lpad(), Size::Number),
        bounded(unicode::rpad(), Size::Number),
        bounded(functions_nested::repeat::array_repeat_udf(), Size::Elements(0)),
        bounded(functions_nested::resize::array_resize_udf(), Size::Elements(2)),
        bounded(string::replace(), Size::Replaced),
        bounded(regex::regexp_replace(), Size::Matched),
        bounded(functions_nested::string::array_to_string_udf(), Size::PerElement(&[1, 2])),
        bounded(functions_nested::replace::array_replace_udf(), Size::PerElement(&[2])),
        bounded(functions_nested::replace::array_replace_n_udf(), Size::PerElement(&[2])),
        bounded(functions_nested::replace::array_replace_all_udf(), Size::PerElement(&[2])),
        bounded(string::concat(), Size::Sum),
        bounded(string::concat_ws(), Size::Joined),
        bounded(functions_nested::concat::array_concat_udf(), Size::Sum),
        bounded(functions_nested::string::string_to_array_udf(), Size::Parts),
    ]
}

/// What says how large a result is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Size {
    /// The second argument.
    Number,
    /// The second argument says how many times the first.
    Times,
    /// The second argument says how many times this one.
    Elements(usize),
    /// The third argument, where the second stands in the first.
    Replaced,
    /// The third argument, where the second matches in the first, and what it repeats of that.
    Matched,
    /// All arguments together.
    Sum,
    /// The same, and the first between all others.
    Joined,
    /// The first argument, of which each byte may be an element.
    Parts,
    /// These arguments, for each element of the first.
    PerElement(&'static [usize]),
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    size: Size,
}

impl Bounded {
    fn check(&self, args: &ScalarFunctionArgs) -> PlanResult<()> {
        match self.size {
            Size::Number | Size::Times | Size::Elements(_) => self.check_number(args),
            Size::Replaced | Size::Matched => self.check_replaced(args),
            Size::PerElement(added) => self.check_lists(args, added),
            Size::Sum | Size::Joined | Size::Parts => self.check_sum(args),
        }
    }

    /// Refuses what would be too large; the second argument is the number.
    fn check_number(&self, args: &ScalarFunctionArgs) -> PlanResult<()> {
        let rows = args.number_rows;
        // A number in the SQL is looked at without any row too.
        let is_written = matches!(&args.args[1], ColumnarValue::Scalar(_));
        let numbers = as_numbers(args.args[1].to_array(if is_written { 1 } else { rows })?)?;
        let lengths = match self.size {
            Size::Times => Some(as_numbers(length(&args.args[0].to_array(rows)?)?)?),
            _ => None,
        };
        let element = match self.size {
            Size::Elements(at) => {
                args.args.get(at).map_or(Ok(0), |it| it.to_array(1.max(rows)).map(|it| bytes(&it)))?.max(8)
            }
            _ => 1,
        };
        let number = |row: usize| at_least_none(&numbers, if is_written { 0 } else { row });
        for row in 0..numbers.len() {
            self.refuse_above(LARGEST_ROW, number(row))?;
        }
        let mut all = 0;
        for row in 0..rows {
            let times = lengths.as_ref().map_or(element, |lengths| at_least_none(lengths, row));
            let size = number(row) * times; // a million times two gigabytes at most
            self.refuse_above(if element > 1 { LARGEST_BATCH } else { LARGEST_ROW }, size)?;
            all += size;
        }
        self.refuse_above(LARGEST_BATCH, all)
    }

    fn check_replaced(&self, args: &ScalarFunctionArgs) -> PlanResult<()> {
        let rows = args.number_rows;
        let text = |at: usize| -> PlanResult<ArrayRef> { Ok(cast(&args.args[at].to_array(rows)?, &DataType::Utf8)?) };
        let [texts, found, put] = [text(0)?, text(1)?, text(2)?];
        let flags = (args.args.len() > 3).then(|| text(3)).transpose()?;
        let [texts, found, put] = [&texts, &found, &put].map(|column| column.as_string::<i32>());
        let mut all = 0;
        for row in (0..rows).filter(|row| [texts, found, put].iter().all(|column| column.is_valid(*row))) {
            let [text, found, put] = [texts, found, put].map(|column| column.value(row));
            let most = |times: usize, repeated: usize| {
                times.saturating_mul(put.len()).saturating_add(text.len().saturating_mul(1 + repeated))
            };
            let size = match self.size {
                Size::Replaced => match most(text.len() / found.len().max(1) + 1, 0) {
                    size if size > LARGEST_ROW => most(text.matches(found).count(), 0),
                    size => size,
                },
                _ => {
                    let everywhere = |flags: &ArrayRef| flags.as_string::<i32>().value(row).contains('g');
                    let times = if flags.as_ref().is_some_and(everywhere) { text.len() + 1 } else { 1 };
                    most(times, put.bytes().filter(|byte| matches!(byte, b'$' | b'\\')).count())
                }
            };
            self.refuse_above(LARGEST_BATCH, size)?;
            all += size;
        }
        self.refuse_above(LARGEST_BATCH, all)
    }

    fn check_sum(&self, args: &ScalarFunctionArgs) -> PlanResult<()> {
        const ELEMENT: usize = 20; // a view of a text and its place
        let of = |arg: &ColumnarValue| match arg {
            ColumnarValue::Array(array) => bytes(array),
            ColumnarValue::Scalar(scalar) => scalar.size().saturating_mul(args.number_rows),
        };
        let first = args.args.first().map_or(0, of);
        let between = if self.size == Size::Joined { args.args.len() } else { 0 };
        let all = match self.size {
            Size::Parts => first.saturating_mul(ELEMENT),
            _ => args.args.iter().map(of).fold(first.saturating_mul(between), usize::saturating_add),
        };
        // What stands between is short, as a rule: looked at only where it might be too much.
        self.refuse_above(LARGEST_BATCH * 4, all)
    }

    fn check_lists(&self, args: &ScalarFunctionArgs, added: &[usize]) -> PlanResult<()> {
        let rows = args.number_rows;
        let lists = args.args[0].to_array(rows)?;
        let added: Vec<(bool, ArrayRef)> = added
            .iter()
            .filter_map(|at| args.args.get(*at))
            .map(|arg| match arg {
                ColumnarValue::Array(array) => Ok((true, array.clone())),
                ColumnarValue::Scalar(scalar) => Ok((false, scalar.to_array()?)),
            })
            .collect::<PlanResult<_>>()?;
        let mut all = 0;
        for row in 0..rows {
            let (elements, held) = measure(&lists.slice(row, 1));
            let each = added.iter().map(|(own, array)| measure(&array.slice(if *own { row } else { 0 }, 1)).1);
            let size = elements.saturating_mul(each.sum()).saturating_add(held);
            self.refuse_above(LARGEST_BATCH, size)?;
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

/// How many elements there are, to any depth, and their bytes.
fn measure(array: &ArrayRef) -> (usize, usize) {
    let within = |row: usize| match array.data_type() {
        DataType::List(_) => Some(array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => Some(array.as_list::<i64>().value(row)),
        DataType::FixedSizeList(..) => Some(array.as_fixed_size_list().value(row)),
        _ => None,
    };
    (0..array.len())
        .map_while(within)
        .map(|inner| measure(&inner))
        .reduce(|(count, size), (more, larger)| (count + more, size + larger))
        .unwrap_or_else(|| (array.len(), bytes(array)))
}

pub(super) fn bytes(array: &ArrayRef) -> usize {
    match array.as_string_view_opt() {
        // Its buffers may be those of other rows.
        Some(views) => views.lengths().map(|length| length as usize).sum(),
        None => array.to_data().get_slice_memory_size().unwrap_or(usize::MAX / LARGEST_ROW),
    }
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
