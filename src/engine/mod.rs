//! From rows of text to the rows of the contract.
//!
//! A [`Program`] is what a source's map, its pipeline's stages and the contract's rules compile to: once, when the
//! pipeline starts. It is row-local and immutable, so the same messages give the same rows in any batch, and it
//! cannot fail: a row that an expression cannot handle is rejected, its neighbours go on.
//!
//! Why not a plan that is executed per batch: planning costs milliseconds, re-used plans keep state (dynamic filters,
//! `now()` folded to a literal), and each execution builds streams that a projection does not need.

mod amend;
mod bounded;
mod case;
mod chain;
mod checks;
mod choose;
mod classes;
mod code_tables;
mod compile;
mod conform;
mod digits;
mod evaluate;
mod fields;
mod function;
mod functions;
mod held;
mod hopeless;
mod interval;
mod lint;
mod meta;
mod mistakes;
mod mixed;
mod nested;
mod numbers;
mod shield;
mod step;
#[cfg(test)]
mod tests;
mod times;
mod words;

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, new_null_array},
    datatypes::{DataType, FieldRef, SchemaRef},
    record_batch::{RecordBatch, RecordBatchOptions},
};
pub use functions::{Library, function_docs};
pub use shield::shielded;

use crate::{
    batch::{Checked, Fetched},
    config::{Pipeline, Sink, Source},
    contract::Contract,
    cpu::{self, Step},
    decode::{self, Decoded, Fields},
    error::Finding,
};

/// A source's program.
#[derive(Debug)]
pub struct Program {
    source: Arc<str>,
    compiled: compile::Compiled,
    checks: checks::Checks,
    rows: SchemaRef,
    /// Position of the flags column in `rows`.
    flags: Option<usize>,
}

impl Program {
    /// Compiles one source of a pipeline; all mistakes at once.
    pub fn compile(
        pipeline: &Pipeline,
        source: &Source,
        contract: &Arc<Contract>,
        library: &Library,
    ) -> Result<Program, Vec<Finding>> {
        let weights = contract.columns.iter().find_map(|column| column.weights.as_deref());
        let mut wrong = library.check(source);
        let unfit = classes::check(contract, library);
        if !unfit.is_empty() {
            wrong.extend(unfit);
            return Err(wrong);
        }
        let context = compile::session(library.functions(source, weights));
        let keys = pipeline.sinks.iter().find_map(|sink| match sink {
            Sink::Kafka { key, .. } => Some(key.as_slice()),
            Sink::Archive { .. } => None,
        });
        let checks = checks::Checks::new(contract.clone(), keys.unwrap_or_default(), library);
        let checks = checks.map_err(|found| wrong.extend(found));
        let compiled = compile::compile(pipeline, source, contract, &context).map_err(|found| wrong.extend(found));
        let (Ok(checks), Ok(compiled), true) = (checks, compiled, wrong.is_empty()) else { return Err(wrong) };
        let rows = contract.arrow_schema();
        let flags = contract.flags.as_ref().and_then(|name| rows.index_of(name).ok());
        Ok(Program { source: source.name.clone(), compiled, checks, rows, flags })
    }

    /// What is wrong with a source of a pipeline whose contract or library cannot be read.
    pub fn check_alone(pipeline: &Pipeline, source: &Source, library: &Library) -> Vec<Finding> {
        // The contract may name some.
        let weights = library.weights().keys().next().map(String::as_str);
        let context = compile::session(library.functions(source, weights));
        let mut wrong = library.check(source);
        wrong.extend(compile::check_stages(pipeline, source, &context));
        wrong
    }

    /// What the decoder has to decode.
    pub fn fields(&self) -> &Fields {
        &self.compiled.fields
    }

    /// Computes and checks a batch. Nothing vanishes: every decoded row is alive or has a reject.
    pub fn run(&self, fetched: Fetched, mut decoded: Decoded) -> Checked {
        let input = self.input(&fetched, &decoded);
        let mut rejects = std::mem::take(&mut decoded.rejects);
        let (computed, failed) = evaluate::evaluate(&self.compiled.steps, self.checks.rules(), &input);
        cpu::spent(Step::Stages);
        let mut origins = std::mem::take(&mut decoded.origins);
        let mut places: Option<Vec<usize>> = None;
        if !failed.is_empty() {
            decoded.origins = origins.clone();
            for (row, failed) in &failed {
                rejects.push(decode::reject(&fetched, &decoded, *row, failed.stage.clone(), vec![failed.fault()]));
            }
            let kept: Vec<usize> =
                (0..origins.len()).filter(|row| failed.binary_search_by_key(row, |(at, _)| *at).is_err()).collect();
            origins = kept.iter().map(|row| decoded.origins[*row]).collect();
            places = Some(kept);
        }
        let mut found = self.checks.run(&computed);
        let mut alive = vec![true; origins.len()];
        if !found.errors.is_empty() {
            if places.is_none() {
                decoded.origins = origins.clone();
            }
            for (row, faults) in std::mem::take(&mut found.errors) {
                alive[row as usize] = false;
                let at = places.as_ref().map_or(row as usize, |kept| kept[row as usize]);
                rejects.push(decode::reject(&fetched, &decoded, at, "checks".into(), faults));
            }
        }
        let mut flags = BTreeMap::new();
        let mut columns: Vec<ArrayRef> = computed.columns()[..self.checks.width()].to_vec();
        if let Some(at) = self.flags {
            let DataType::List(element) = self.rows.field(at).data_type() else {
                unreachable!("the contract's reader accepts a list of texts only as flags column")
            };
            columns.insert(at, found.flags(element.clone(), &alive, &mut flags));
        }
        let rows = self.batch(columns, origins.len());
        // Sinks write rejects in the order of their messages.
        rejects.sort_by(|a, b| (&a.partition, a.offset, a.row).cmp(&(&b.partition, b.offset, b.row)));
        cpu::spent(Step::Checks);
        Checked {
            source: self.source.clone(),
            covers: fetched.covers,
            rows,
            origins,
            alive,
            duplicates: 0,
            rejects,
            input: decoded.input,
            flagged: self.flags,
            flags,
            held: fetched.held,
        }
    }

    /// The columns that the first step reads.
    fn input(&self, fetched: &Fetched, decoded: &Decoded) -> RecordBatch {
        let (schema, rows) = (&self.compiled.input, decoded.origins.len());
        let column = |(at, field): (usize, &FieldRef)| match decoded.rows.column_by_name(field.name()) {
            Some(column) => column.clone(),
            None if !self.compiled.read.contains(&at) => new_null_array(field.data_type(), rows),
            None => meta::column(field.name(), &self.source, fetched, &decoded.origins, &decoded.places),
        };
        let columns = schema.fields().iter().enumerate().map(column).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(schema.clone(), columns, &options)
            .expect("decoded and meta columns have the types they were planned with")
    }

    fn batch(&self, columns: Vec<ArrayRef>, rows: usize) -> RecordBatch {
        let options = RecordBatchOptions::new().with_row_count(Some(rows)).with_match_field_names(false);
        // A required column may hold NULL in rows that are struck out: they are gone before anyone looks.
        let loose = arrow::datatypes::Schema::new_with_metadata(
            self.rows.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>(),
            self.rows.metadata().clone(),
        );
        RecordBatch::try_new_with_options(Arc::new(loose), columns, &options)
            .expect("the program was compiled to the contract's types")
    }
}
