//! Expressions that fail whatever the row. Nobody can look at all rows, so each is tried on rows that are made up, one by
//! one, until it does not fail: plausible texts, those its own literals hint at, and numbers, days and times.
//!
//! What is refused must be right, so what fails of a text that it cannot read, or of a number that does not fit, is let
//! pass: it may want one that is not among those.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, ListArray, StringArray, StructArray, new_null_array},
    buffer::OffsetBuffer,
    compute::cast,
    datatypes::{DataType, Schema, SchemaRef},
    record_batch::{RecordBatch, RecordBatchOptions},
};
use datafusion::{
    common::{
        DataFusionError, ScalarValue,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    physical_expr::{PhysicalExpr, expressions::Literal},
};

use super::{evaluate, step::Step, words::shorten};

/// What a column may hold. Columns of other types get those that can be read as such.
const TEXTS: &[&str] = &[
    "1",
    "2026-06-01",
    "2026-06-01T08:30:00Z",
    "路灯不亮",
    "abc",
    "0",
    "-1",
    "0.5",
    "2026",
    "20260601",
    "1780272000000",
    "1999-12-31",
    "08:30:00",
    "true",
    "false",
    "1 day",
    "1,2,3",
    "LD20260601001",
    "360102199003070014",
    "1111111111111111111111111111111111111111111111111111111111111111",
    "{\"a\": [1]}",
    "",
];

/// Rows in which each column has a text of its own, or none.
const MIXED: usize = 300;

/// Outputs of a stage's steps that fail on every row, and the engine's reason.
pub(super) fn hopeless(steps: &[Step], read: &SchemaRef) -> Vec<(String, String)> {
    let Some(last) = steps.last() else { return Vec::new() };
    let nothing = |(number, step): (usize, &Step)| {
        let before = if number == 0 { read } else { &steps[number - 1].schema };
        let take = step.take.as_ref().filter(|_| number > 0);
        let schema = take.map_or_else(|| before.as_ref().clone(), |take| before.project(take).expect("columns before"));
        Nothing::of(&schema)
    };
    let tries = Tries { steps, nothing: steps.iter().enumerate().map(nothing).collect() };
    let fails = |at| Some((last.schema.field(at).name().clone(), tries.fails(at)?));
    (0..last.exprs.len()).filter_map(fails).collect()
}

struct Tries<'a> {
    steps: &'a [Step],
    /// By step, of what it reads.
    nothing: Vec<Nothing>,
}

/// A row of nothing but NULL; whatever a column is said to be, it may be that.
struct Nothing {
    schema: SchemaRef,
    columns: Vec<ArrayRef>,
}

impl Nothing {
    fn of(schema: &Schema) -> Nothing {
        let fields: Vec<_> = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
        let columns = fields.iter().map(|field| new_null_array(field.data_type(), 1)).collect();
        Nothing { schema: Arc::new(Schema::new(fields)), columns }
    }
}

impl Tries<'_> {
    /// Why an output of the last step fails on every row, if it does.
    fn fails(&self, output: usize) -> Option<String> {
        let Looks { reads, literals, numbers } = self.looks_at(output);
        let (mut why, mut null) = (None, false);
        let mut tried = |row: &[ArrayRef]| match self.value(self.steps.len() - 1, output, row, &mut BTreeMap::new()) {
            Ok(value) if value.is_valid(0) || why.is_none() && reads.is_empty() => true,
            Ok(_) => {
                // That nothing comes of nothing says little.
                null |= reads.iter().any(|column| row[*column].is_valid(0));
                false
            }
            Err(error) => {
                why.get_or_insert(error);
                false
            }
        };
        let row = |text: &dyn Fn(usize) -> Option<String>, number: usize| -> Vec<ArrayRef> {
            let mut columns = self.nothing[0].columns.clone();
            for at in &reads {
                if let Some(text) = text(*at) {
                    columns[*at] = sample(self.kind(*at), &text, number);
                }
            }
            columns
        };
        let of_all = |text: &str, number: usize| row(&|_| Some(text.to_owned()), number);
        if TEXTS.iter().enumerate().any(|(number, text)| tried(&of_all(text, number))) || tried(&row(&|_| None, 0)) {
            return None;
        }
        let more: Vec<String> = hinted(&literals).into_iter().chain(near(&numbers)).collect();
        if !reads.is_empty() && more.iter().enumerate().any(|(number, text)| tried(&of_all(text, number))) {
            return None;
        }
        let all: Vec<&str> = TEXTS.iter().copied().chain(more.iter().map(String::as_str)).collect();
        let mixed = |number: usize, column: usize| {
            let drawn = scatter(number * 1000 + column);
            (!drawn.is_multiple_of(5)).then(|| all[drawn / 5 % all.len()].to_owned())
        };
        if reads.len() > 1 && (0..MIXED).any(|number| tried(&row(&|column| mixed(number, column), number))) {
            return None;
        }
        let why = shorten(&*why?);
        // Columns of a type of which nothing can be made up have been NULL all the time.
        let unknown = |column: &usize| sample(self.kind(*column), "1", 0).is_null(0);
        // Texts that it can read may look like none of ours.
        let doubt = null && of_values(&why) || !reads.is_empty() && unreadable(&why) || reads.iter().any(unknown);
        (!doubt).then_some(why)
    }

    /// The type of a column that is read before the first step.
    fn kind(&self, column: usize) -> &DataType {
        self.nothing[0].schema.field(column).data_type()
    }

    fn looks_at(&self, output: usize) -> Looks {
        let mut looks = Looks { reads: BTreeSet::from([output]), ..Looks::default() };
        for (number, step) in self.steps.iter().enumerate().rev() {
            for at in std::mem::take(&mut looks.reads) {
                let expr = &step.exprs[at];
                looks.reads.extend(evaluate::columns_of(expr).map(|column| taken(self.steps, number, column)));
                looks.add(expr);
            }
        }
        looks
    }

    /// What an expression of a step yields for a row.
    fn value(
        &self,
        step: usize,
        at: usize,
        row: &[ArrayRef],
        known: &mut BTreeMap<(usize, usize), Result<ArrayRef, Arc<DataFusionError>>>,
    ) -> Result<ArrayRef, Arc<DataFusionError>> {
        if let Some(value) = known.get(&(step, at)) {
            return value.clone();
        }
        let expr = &self.steps[step].exprs[at];
        let Nothing { schema, columns } = &self.nothing[step];
        let mut columns = columns.clone();
        for column in evaluate::columns_of(expr) {
            let from = taken(self.steps, step, column);
            columns[column] = if step == 0 { row[from].clone() } else { self.value(step - 1, from, row, known)? };
        }
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let batch = RecordBatch::try_new_with_options(schema.clone(), columns, &options);
        let value = batch.map_err(DataFusionError::from).and_then(|batch| evaluate::alone(expr, &batch));
        let value = value.map_err(Arc::new);
        known.insert((step, at), value.clone());
        value
    }
}

/// Where a step's column comes from.
fn taken(steps: &[Step], step: usize, column: usize) -> usize {
    let take = steps[step].take.as_ref().filter(|_| step > 0);
    take.map_or(column, |take| take[column])
}

/// What an output hangs on.
#[derive(Default)]
struct Looks {
    /// The columns that are read before the first step.
    reads: BTreeSet<usize>,
    /// The texts that stand in the expressions.
    literals: BTreeSet<String>,
    /// The numbers, rounded down.
    numbers: BTreeSet<i64>,
}

impl Looks {
    fn add(&mut self, expr: &Arc<dyn PhysicalExpr>) {
        let _ = expr.apply(|node| {
            match node.downcast_ref::<Literal>().map(Literal::value) {
                Some(ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)))
                    if (1..=64).contains(&text.len()) =>
                {
                    self.literals.insert(text.clone());
                }
                Some(value) if value.data_type().is_numeric() => {
                    if let Ok(ScalarValue::Int64(Some(number))) = value.cast_to(&DataType::Int64) {
                        self.numbers.insert(number);
                    }
                }
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        });
    }
}

/// Texts that an expression with these literals may want: numbers between what it may look for.
fn hinted(literals: &BTreeSet<String>) -> Vec<String> {
    let some: Vec<&str> = literals.iter().take(20).map(String::as_str).collect();
    let mut texts: Vec<String> = Vec::new();
    let between = |marks: &[&str]| {
        let mut text = "1".to_owned();
        for mark in marks.iter().chain(marks).chain(marks) {
            text += mark;
            text += "2";
        }
        text
    };
    for one in &some {
        texts.extend([one.to_string(), format!("{one}1"), format!("1{one}"), between(&[one])]);
    }
    texts.extend([between(&some), between(&some.iter().rev().copied().collect::<Vec<_>>())]);
    let mut seen = BTreeSet::new();
    texts.retain(|text| seen.insert(text.clone()));
    texts
}

/// These numbers, and some beside them on either side of zero.
fn near(numbers: &BTreeSet<i64>) -> Vec<String> {
    let beside = |number: &i64| [0, 1, -1, 5, -5].map(|more| number.saturating_add(more));
    let some: BTreeSet<i64> = numbers.iter().rev().take(20).flat_map(beside).collect();
    let mirrored = some.iter().map(|number| number.saturating_neg());
    some.iter().copied().chain(mirrored).map(|number| number.to_string()).collect()
}

/// A value of a type: the text read as such, or else some other; NULL where none is known.
fn sample(kind: &DataType, text: &str, number: usize) -> ArrayRef {
    match kind {
        DataType::Struct(fields) => {
            let values = fields.iter().map(|field| sample(field.data_type(), text, number)).collect();
            let made = StructArray::try_new(fields.clone(), values, None);
            made.map_or_else(|_| new_null_array(kind, 1), |made| Arc::new(made))
        }
        DataType::List(element) => {
            let value = sample(element.data_type(), text, number);
            let made = ListArray::try_new(element.clone(), OffsetBuffer::from_lengths([1]), value, None);
            made.map_or_else(|_| new_null_array(kind, 1), |made| Arc::new(made))
        }
        _ => {
            let read = |text: &&str| cast(&StringArray::from(vec![*text]), kind).ok().filter(|value| value.is_valid(0));
            read(&text)
                .or_else(|| {
                    let fit: Vec<ArrayRef> = TEXTS.iter().filter_map(read).collect();
                    fit.get(number % fit.len().max(1)).cloned()
                })
                .unwrap_or_else(|| new_null_array(kind, 1))
        }
    }
}

/// Always the same, and all over the place.
fn scatter(number: usize) -> usize {
    let mut mixed = (number as u64).wrapping_add(0x9E37_79B9_7F4A_7C15);
    for factor in [0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB_u64] {
        mixed = (mixed ^ (mixed >> 29)).wrapping_mul(factor);
    }
    (mixed >> 16) as usize
}

/// Whether it fails for a value, and may not for another.
fn of_values(why: &str) -> bool {
    unreadable(why) || ["Divide by zero", "verflow"].iter().any(|words| why.contains(words))
}

/// Whether it fails for a text that it cannot read, or a number that does not fit.
fn unreadable(why: &str) -> bool {
    ["Cannot cast", "Can't cast value", "Error parsing", "out of range", "negative number"]
        .iter()
        .any(|words| why.contains(words))
        && !why.contains("format string")
}
