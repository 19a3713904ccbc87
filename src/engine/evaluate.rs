//! The steps over a batch. What cannot be computed is found by halving; of a single row it is known which column or
//! rule it was.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, new_null_array},
    compute::concat_batches,
    error::ArrowError,
    record_batch::{RecordBatch, RecordBatchOptions},
};
use datafusion::{
    common::DataFusionError,
    logical_expr::ColumnarValue,
    physical_expr::{PhysicalExpr, expressions::Column, utils::collect_columns},
};

use super::{
    bounded::{LARGEST_BATCH, bytes},
    checks::LARGEST_ROW,
    shield::shield,
    step::{Step, Steps, rule_number},
};
use crate::{
    batch::Fault,
    contract::{Rule, Severity},
};

/// A row that a stage cannot compute.
#[derive(Debug)]
pub(super) struct Failed {
    pub stage: Arc<str>,
    /// The column it was, or the column whose rule it was.
    field: Option<Arc<str>>,
    reason: String,
}

impl Failed {
    pub fn fault(&self) -> Fault {
        Fault { code: "sql.failed".into(), field: self.field.clone(), reason: self.reason.clone(), value: None }
    }
}

/// All steps over a batch. Rows that fail are left out: `(row, why)` in order.
pub(super) fn evaluate(steps: &Steps, rules: &[Rule], input: &RecordBatch) -> (RecordBatch, Vec<(usize, Failed)>) {
    if let Ok(done) = whole(&steps.usual, input)
        && !has_huge_row(&done)
    {
        return (done, Vec::new());
    }
    let last = steps.usual.last().expect("the map is always there");
    let schema = last.schema.clone();
    let (mut parts, mut failed) = (vec![RecordBatch::new_empty(schema.clone())], Vec::new());
    halve(steps, rules, input, 0, &mut parts, &mut failed);
    match shield(|| Ok(concat_batches(&schema, &parts)?)) {
        Ok(done) => (done, failed),
        // Columns of more than 2 GB: each row could be computed, all together cannot.
        Err(error) => {
            let fail =
                |row| (row, Failed { stage: last.stage.clone(), field: None, reason: in_chinese(&error).to_owned() });
            (RecordBatch::new_empty(schema), (0..input.num_rows()).map(fail).collect())
        }
    }
}

fn halve(
    steps: &Steps,
    rules: &[Rule],
    input: &RecordBatch,
    at: usize,
    parts: &mut Vec<RecordBatch>,
    failed: &mut Vec<(usize, Failed)>,
) {
    let rows = input.num_rows();
    match rows {
        0 => {}
        1 => match single(&steps.plain, rules, input) {
            Ok(done) => parts.push(done),
            Err(error) => failed.push((at, error)),
        },
        _ => match whole(&steps.usual, input) {
            // Where batches are that large, a single row may be too large to be put together with others.
            Ok(done) if text_bytes(&done) <= LARGEST_ROW * 64 && !has_huge_row(&done) => parts.push(done),
            _ => {
                let half = rows / 2;
                halve(steps, rules, &input.slice(0, half), at, parts, failed);
                halve(steps, rules, &input.slice(half, rows - half), at + half, parts, failed);
            }
        },
    }
}

/// The fast path: it does not matter what fails.
fn whole(steps: &[Step], input: &RecordBatch) -> Result<RecordBatch, DataFusionError> {
    shield(|| {
        let rows = input.num_rows();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let mut batch = input.clone();
        for step in steps {
            if let Some(take) = &step.take {
                batch = batch.project(take)?;
            }
            let (mut columns, mut made) = (Vec::with_capacity(step.exprs.len()), 0);
            for expr in &step.exprs {
                let column = computed(expr, &batch)?;
                if !expr.is::<Column>() {
                    made += bytes(&column);
                    refuse_above(MOST_MADE, made)?;
                }
                columns.push(column);
            }
            batch = RecordBatch::try_new_with_options(step.schema.clone(), columns, &options)?;
        }
        Ok(batch)
    })
}

/// The values of an expression for the rows of a batch. One that is the same for each is looked at before it is written
/// out as often.
fn computed(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<ArrayRef, DataFusionError> {
    let value = expr.evaluate(batch)?;
    if let ColumnarValue::Scalar(scalar) = &value {
        refuse_above(MOST_MADE, scalar.size().saturating_mul(batch.num_rows()))?;
    }
    value.into_array(batch.num_rows())
}

/// Bytes that a step may make of a batch. Of more, the batch is halved; a row of more is rejected. The largest field that a
/// message can have, a few times.
const MOST_MADE: usize = LARGEST_BATCH * 4;

fn refuse_above(limit: usize, bytes: usize) -> Result<(), DataFusionError> {
    if bytes <= limit {
        return Ok(());
    }
    Err(DataFusionError::ResourcesExhausted(format!("{bytes} bytes, more than {limit}")))
}

/// One row, each expression on its own, as it is written. A rule of severity warning that cannot be computed does not hold.
fn single(steps: &[Step], rules: &[Rule], input: &RecordBatch) -> Result<RecordBatch, Failed> {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let mut batch = input.clone();
    // Why a column of `batch` could not be computed: later steps of its stage may yet be given a name for it.
    let mut broken: Vec<Option<&'static str>> = vec![None; batch.num_columns()];
    for (number, step) in steps.iter().enumerate() {
        let fail = |field: Option<Arc<str>>, reason: String| Failed { stage: step.stage.clone(), field, reason };
        if let Some(take) = &step.take {
            batch = batch.project(take).map_err(|error| fail(None, in_chinese(&error.into()).to_owned()))?;
            broken = take.iter().map(|at| broken[*at]).collect();
        }
        let last = steps.get(number + 1).is_none_or(|next| next.stage != step.stage);
        let (mut columns, mut why, mut made) = (Vec::new(), Vec::new(), 0);
        for (at, (expr, field)) in step.exprs.iter().zip(step.schema.fields()).enumerate() {
            let column = match columns_of(expr).find_map(|column| broken[column]) {
                Some(reason) => Err(reason),
                None => alone(expr, &batch).map_err(|error| in_chinese(&error)),
            };
            let column = match column {
                Ok(column) if column.data_type() != field.data_type() => Err("SQL 计算失败"),
                Ok(column) if !expr.is::<Column>() => {
                    made += bytes(&column);
                    if made > MOST_MADE { Err("SQL 计算失败：结果过大") } else { Ok(column) }
                }
                column => column,
            };
            let Err(reason) = column else {
                columns.extend(column);
                why.push(None);
                continue;
            };
            let rule = rule_number(step, at).and_then(|number| rules.get(number));
            match rule {
                _ if !last => {}
                Some(rule) if rule.severity == Severity::Warning => {
                    columns.push(Arc::new(BooleanArray::from(vec![false])));
                    why.push(None);
                    continue;
                }
                Some(rule) => {
                    return Err(fail(rule.column.clone(), format!("{reason}（规则 {}）", rule.name)));
                }
                None => return Err(fail(Some(field.name().as_str().into()), reason.to_owned())),
            }
            columns.push(new_null_array(field.data_type(), 1));
            why.push(Some(reason));
        }
        broken = why;
        batch = RecordBatch::try_new_with_options(step.schema.clone(), columns, &options)
            .map_err(|error| fail(None, in_chinese(&error.into()).to_owned()))?;
    }
    if text_bytes(&batch) > HUGE {
        let stage = steps.last().map(|step| step.stage.clone()).unwrap_or_default();
        return Err(Failed { stage, field: None, reason: "SQL 计算失败：结果过大".to_owned() });
    }
    Ok(batch)
}

/// An expression over a batch, by itself.
pub(super) fn alone(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<ArrayRef, DataFusionError> {
    shield(|| {
        let column = computed(expr, batch)?;
        refuse_above(MOST_MADE, bytes(&column))?;
        Ok(column)
    })
}

/// Positions of the columns that an expression reads.
pub(super) fn columns_of(expr: &Arc<dyn PhysicalExpr>) -> impl Iterator<Item = usize> {
    let mut columns: Vec<usize> = collect_columns(expr).iter().map(|column| column.index()).collect();
    columns.sort_unstable();
    columns.into_iter()
}

/// Bytes of texts: a row of more is rejected here, whether it is computed alone or beside others.
const HUGE: usize = LARGEST_ROW * 8;

fn has_huge_row(batch: &RecordBatch) -> bool {
    let texts = batch.columns().iter().filter_map(|column| column.as_string_opt::<i32>());
    // With what lies beneath a NULL: a few numbers, as long as nothing is large.
    let most: i32 =
        texts.map(|text| text.value_offsets()[text.len()] - text.value_offsets()[0]).fold(0, i32::saturating_add);
    most as usize > HUGE && (0..batch.num_rows()).any(|row| text_bytes(&batch.slice(row, 1)) > HUGE)
}

/// Not what lies beneath a NULL, where the values of neighbours may be.
fn text_bytes(batch: &RecordBatch) -> usize {
    let texts = batch.columns().iter().filter_map(|column| column.as_string_opt::<i32>());
    texts.flat_map(|text| text.iter().flatten().map(str::len)).sum()
}

const TOO_LARGE: &str = "SQL 计算失败：数值超出类型的范围";

/// What functions say that count nanoseconds, of a time that is too far away.
const BEYOND: [&str; 4] = ["represented as nanoseconds", "to Timestamp(ns)", "error: Timestamp ", "overflows i64"];

/// Why an expression failed, without any value in it.
fn in_chinese(error: &DataFusionError) -> &'static str {
    let root = error.find_root();
    let said = root.strip_backtrace();
    if BEYOND.iter().any(|words| said.contains(words)) {
        return "SQL 计算失败：时间超出范围（1677 年至 2262 年）";
    }
    match root {
        DataFusionError::ArrowError(error, _) => match error.as_ref() {
            ArrowError::DivideByZero => "SQL 计算失败：除以零",
            ArrowError::ArithmeticOverflow(_) => "SQL 计算失败：数值溢出",
            // A number that its type, often the contract's, cannot hold; unlike a text that is no number.
            ArrowError::CastError(text)
                if text.starts_with("Can't cast value") || text.contains(" is out of range ") =>
            {
                TOO_LARGE
            }
            ArrowError::InvalidArgumentError(text) if text.contains("to store in a Decimal") => TOO_LARGE,
            ArrowError::CastError(_) | ArrowError::ParseError(_) => "SQL 计算失败：类型转换（应使用 TRY_CAST）",
            _ => "SQL 计算失败",
        },
        DataFusionError::ResourcesExhausted(_) => "SQL 计算失败：结果过大",
        _ => "SQL 计算失败",
    }
}
