//! Counts what stands in columns, by source: when the shares move, the data have changed, or what judges them has.
//!
//! Only columns with a code table can be counted, and truths: their values are a closed list, so that no text of a row
//! ever becomes a label.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, AsArray},
    datatypes::DataType,
    record_batch::RecordBatch,
};
use hashbrown::HashMap;

use super::columns;
use crate::{
    config::Pipeline,
    contract::{Contract, Kind},
    engine::Library,
    error::Finding,
    metrics::Metrics,
};

/// The columns to count.
#[derive(Debug, Default)]
pub struct Values {
    columns: Vec<Counted>,
}

#[derive(Debug)]
struct Counted {
    name: Arc<str>,
    /// Position in the contract's rows.
    at: usize,
    /// What is told apart: the codes, then [`OTHER`], then [`NONE`].
    labels: Vec<Box<str>>,
    places: HashMap<Box<str>, usize>,
}

/// Values that are not in the code table.
const OTHER: &str = "other";
/// Rows without a value.
const NONE: &str = "none";

/// How often each label of each column was seen.
pub(super) type Counts = Vec<Vec<u64>>;

impl Values {
    /// The columns that `[metrics] values` names; all that cannot be counted at once.
    pub fn new(pipeline: &Pipeline, contract: &Contract, library: &Library) -> Result<Values, Vec<Finding>> {
        let (mut counted, mut wrong) = (Vec::new(), Vec::new());
        for (number, name) in pipeline.values.iter().enumerate() {
            match Counted::of(name, contract, library) {
                Ok(column) => counted.push(column),
                Err(why) => {
                    let at = pipeline.place(&format!("metrics.values.{number}"));
                    wrong.push(Finding::new(at, format!("[metrics] values{why}")));
                }
            }
        }
        if wrong.is_empty() { Ok(Values { columns: counted }) } else { Err(wrong) }
    }

    /// Adds the rows of a contract to `counts`, which is empty at first.
    pub(super) fn count(&self, rows: &RecordBatch, counts: &mut Counts) {
        counts.resize_with(self.columns.len(), Vec::new);
        for (column, counts) in self.columns.iter().zip(counts) {
            counts.resize(column.labels.len(), 0);
            column.count(rows, counts);
        }
    }

    /// Hands counts over to the metrics.
    pub(super) fn tell(&self, by_source: &BTreeMap<Arc<str>, Counts>, kind: &str, pipeline: &str, metrics: &Metrics) {
        for (source, counts) in by_source {
            for (column, counts) in self.columns.iter().zip(counts) {
                for (label, count) in column.labels.iter().zip(counts).filter(|(_, count)| **count > 0) {
                    let labels = [pipeline, source, kind, &column.name, label];
                    metrics.values.with_label_values(&labels).inc_by(*count);
                }
            }
        }
    }
}

impl Counted {
    /// `Err` says of a column why it cannot be counted.
    fn of(name: &str, contract: &Contract, library: &Library) -> Result<Counted, String> {
        let column = columns::find(name, contract).map_err(|why| format!(" names {why}"))?;
        let labels: Vec<Box<str>> = match (&column.codes, &column.kind) {
            (Some(table), _) => library.codes_of(table).into_iter().flatten().collect(),
            (None, Kind::Boolean) => ["false", "true"].map(Into::into).into(),
            _ => {
                return Err(format!(
                    ": column \"{name}\" can hold any value: count a column with `codes`, or a boolean"
                ));
            }
        };
        let at = contract.columns.iter().position(|it| it.name == column.name).expect("it was found there");
        Ok(Counted::new(column.name.clone(), at, labels))
    }

    fn new(name: Arc<str>, at: usize, mut labels: Vec<Box<str>>) -> Counted {
        labels.sort();
        let places = labels.iter().enumerate().map(|(place, label)| (label.clone(), place)).collect();
        labels.extend([OTHER, NONE].map(Box::from));
        Counted { name, at, labels, places }
    }

    fn count(&self, rows: &RecordBatch, counts: &mut [u64]) {
        let (other, none) = (counts.len() - 2, counts.len() - 1);
        let column = rows.column(self.at);
        let place = |value: &str| self.places.get(value).copied().unwrap_or(other);
        match column.data_type() {
            DataType::Boolean => column.as_boolean().iter().for_each(|value| {
                counts[value.map_or(none, usize::from)] += 1; // `false` sorts before `true`
            }),
            DataType::Utf8 => column.as_string::<i32>().iter().for_each(|value| {
                counts[value.map_or(none, place)] += 1;
            }),
            _ => counts[other] += column.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{ArrayRef, BooleanArray, StringArray},
        datatypes::{Field, Schema},
    };

    use super::*;

    #[test]
    fn values_of_a_closed_list_are_counted_and_no_others_named() {
        let columns = vec![
            Counted::new("class".into(), 0, vec!["b".into(), "a".into()]),
            Counted::new("gone".into(), 1, vec!["false".into(), "true".into()]),
        ];
        let fields = vec![Field::new("class", DataType::Utf8, true), Field::new("gone", DataType::Boolean, true)];
        let classes: ArrayRef =
            Arc::new(StringArray::from(vec![Some("a"), Some("a"), None, Some("a citizen's words")]));
        let gone: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), Some(false), Some(true), None]));
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![classes, gone]).unwrap();
        let values = Values { columns };
        let mut counts = Counts::new();
        values.count(&rows, &mut counts);
        values.count(&rows.slice(0, 1), &mut counts);
        let metrics = Metrics::new();
        values.tell(&BTreeMap::from([("here".into(), counts)]), "archive", "p", &metrics);
        let text = metrics.text();
        let of = |column: &str, value: &str| {
            let labels =
                format!("{{column=\"{column}\",pipeline=\"p\",sink=\"archive\",source=\"here\",value=\"{value}\"}} ");
            let line = text.lines().find_map(|line| line.strip_prefix("huiju_values_total")?.strip_prefix(&labels));
            line.map(str::to_owned)
        };
        assert_eq!(of("class", "a").as_deref(), Some("3"));
        assert_eq!(of("class", "b"), None);
        assert_eq!(of("class", "none").as_deref(), Some("1"));
        assert_eq!(of("class", "other").as_deref(), Some("1"));
        assert_eq!(of("gone", "true").as_deref(), Some("3"));
        assert_eq!(of("gone", "none").as_deref(), Some("1"));
        assert!(!text.contains("citizen"));
    }
}
