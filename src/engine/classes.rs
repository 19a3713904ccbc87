//! What a text is about, in SQL: by keyword rules, and by the weights that the contract names.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Float64Builder, Int32Builder, StringArray, StringBuilder, StructArray,
    },
    buffer::NullBuffer,
    datatypes::{DataType, Field, Fields},
};
use datafusion::common::Result as PlanResult;

use super::function::{Function, literal, lost, strings};
use crate::{
    contract::Contract,
    error::Finding,
    text::{classify::Model, keywords::KeywordRules},
};

fn fields(all: &[(&str, DataType)]) -> Fields {
    all.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect()
}

pub(super) fn keyword_class(sets: &BTreeMap<String, Arc<KeywordRules>>) -> Function {
    let text = DataType::Utf8;
    let numbers = [("score", DataType::Int32), ("lead", DataType::Int32)];
    let names = ["l1", "l2", "l3", "rule"].map(|name| (name, text.clone()));
    let class = fields(&[names.as_slice(), &numbers].concat());
    let (sets, returns) = (sets.clone(), DataType::Struct(class.clone()));
    let names: Vec<String> = sets.keys().cloned().collect();
    let takes = [3, 4].map(|count| vec![DataType::Utf8; count]);
    Function::new(
        "keyword_class",
        "keyword_class('set', title, content) or keyword_class('set', title, content, class): content class by keyword rules as struct(l1, l2, l3, rule, score, lead), where lead is how far the score is ahead of other first-level classes; of one first-level class only, if it is given; NULL when no rule applies.",
        takes.into(),
        returns,
        move |args, rows| {
            let rules = sets.get(literal(&args[0])).ok_or_else(|| lost("rule set"))?;
            let within = args.get(3).map(|within| strings(within, rows)).transpose()?;
            by_rules(rules, &strings(&args[1], rows)?, &strings(&args[2], rows)?, within.as_ref(), &class)
        },
    )
    .with_names(names.iter())
}

fn by_rules(
    rules: &KeywordRules,
    titles: &StringArray,
    contents: &StringArray,
    within: Option<&StringArray>,
    fields: &Fields,
) -> PlanResult<ArrayRef> {
    let rows = titles.len();
    let mut names: [StringBuilder; 4] = std::array::from_fn(|_| StringBuilder::with_capacity(rows, rows * 16));
    let mut numbers: [Int32Builder; 2] = std::array::from_fn(|_| Int32Builder::with_capacity(rows));
    for row in 0..rows {
        let class = within.and_then(|within| value(within, row));
        let text = |texts| value(texts, row).unwrap_or_default();
        // A class that is asked for and NULL saves the search.
        let found = match within.is_some() && class.is_none() {
            true => None,
            false => rules.choose(text(titles), text(contents), class),
        };

        let rule = found.map(|found| found.rule);
        names[0].append_option(rule.map(|rule| &rule.l1));
        names[1].append_option(rule.map(|rule| &rule.l2).filter(|name| !name.is_empty()));
        names[2].append_option(rule.map(|rule| &rule.l3).filter(|name| !name.is_empty()));
        names[3].append_option(rule.map(|rule| &rule.rule));
        numbers[0].append_option(found.map(|found| found.score as i32));
        numbers[1].append_option(found.map(|found| found.lead as i32));
    }
    let names = names.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef);
    let arrays = names.chain(numbers.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef)).collect();
    Ok(Arc::new(StructArray::try_new(fields.clone(), arrays, None)?))
}

fn value(texts: &StringArray, row: usize) -> Option<&str> {
    texts.is_valid(row).then(|| texts.value(row))
}

/// `name` is what the contract calls its weights.
pub(super) fn content_class(name: Option<&str>, all: &BTreeMap<String, Arc<Model>>) -> Function {
    let class = fields(&[
        ("class", DataType::Utf8),
        ("probability", DataType::Float64),
        ("version", DataType::Utf8),
        ("certain", DataType::Boolean),
    ]);
    let model = name.and_then(|name| all.get(name)).cloned();
    let two = [DataType::Utf8, DataType::Utf8];
    let three = [DataType::Utf8, DataType::Utf8, DataType::Boolean];
    let takes = vec![two.to_vec(), three.to_vec()];
    let returns = DataType::Struct(class.clone());
    let function = Function::new(
        "content_class",
        "content_class(title, content) or content_class(title, content, wanted): most probable content class by the weights that the contract names, as struct(class, probability, version, certain), where certain says that the probability reaches the weights' threshold; NULL for a text without a known character, and where `wanted` is not true, which costs nothing.",
        takes,
        returns,
        {
            let model = model.clone();
            move |args, rows| {
                let model = model.as_ref().ok_or_else(|| lost("the weights"))?;
                let wanted = args.get(2).map(|wanted| wanted.to_array(rows)).transpose()?;
                let wanted = wanted.as_ref().map(|wanted| wanted.as_boolean());
                by_weights(model, &strings(&args[0], rows)?, &strings(&args[1], rows)?, wanted, &class)
            }
        },
    );
    usable(function, model.is_some())
}

/// `name` is what the contract calls its weights.
pub(super) fn content_class_learned(name: Option<&str>, all: &BTreeMap<String, Arc<Model>>) -> Function {
    let model = name.and_then(|name| all.get(name)).cloned();
    let is_there = model.is_some();
    let function = Function::new(
        "content_class_learned",
        "content_class_learned(class): whether the weights that the contract names can answer with this class.",
        vec![vec![DataType::Utf8]],
        DataType::Boolean,
        move |args, rows| {
            let model = model.as_ref().ok_or_else(|| lost("the weights"))?;
            let learned = |class: Option<&str>| class.map(|class| model.classes.iter().any(|known| known == class));
            Ok(Arc::new(strings(&args[0], rows)?.iter().map(learned).collect::<BooleanArray>()) as ArrayRef)
        },
    );
    usable(function, is_there)
}

fn usable(function: Function, has_weights: bool) -> Function {
    match has_weights {
        true => function,
        false => function.unusable(
            "the contract names no weights: write `customProperties: [{ property: weights, value: … }]` under the column of the class",
        ),
    }
}

fn by_weights(
    model: &Model,
    titles: &StringArray,
    contents: &StringArray,
    wanted: Option<&BooleanArray>,
    fields: &Fields,
) -> PlanResult<ArrayRef> {
    let rows = titles.len();
    let mut classes = StringBuilder::with_capacity(rows, rows * 16);
    let mut versions = StringBuilder::with_capacity(rows, rows * model.version.len());
    let mut probabilities = Float64Builder::with_capacity(rows);
    let mut certain = Vec::with_capacity(rows);
    let mut valid = Vec::with_capacity(rows);
    for row in 0..rows {
        let text = |texts| value(texts, row).unwrap_or_default();
        let is_wanted = wanted.is_none_or(|wanted| wanted.is_valid(row) && wanted.value(row));
        let verdict = is_wanted.then(|| model.classify(text(titles), text(contents))).flatten();

        classes.append_option(verdict.map(|verdict| &model.classes[verdict.class]));
        probabilities.append_option(verdict.map(|verdict| f64::from(verdict.thousandths) / 1000.0));
        versions.append_option(verdict.map(|_| &model.version));
        certain.push(verdict.map(|verdict| verdict.probability() >= model.threshold));
        valid.push(verdict.is_some());
    }
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(classes.finish()),
        Arc::new(probabilities.finish()),
        Arc::new(versions.finish()),
        Arc::new(BooleanArray::from(certain)),
    ];
    Ok(Arc::new(StructArray::try_new(fields.clone(), arrays, Some(NullBuffer::from(valid)))?))
}

/// The weights that the contract names are there, and its code table knows their classes.
pub(super) fn check(contract: &Contract, library: &super::Library) -> Vec<Finding> {
    let mut findings = Vec::new();
    for column in &contract.columns {
        let Some(name) = column.weights.as_deref() else { continue };
        let Some(model) = library.weights().get(name) else {
            let near = crate::near::did_you_mean(name, library.weights().keys().map(String::as_str));
            let todo = "copy the file there, or write it with `huiju train`";
            findings
                .push(Finding::new(&column.at, format!("there are no weights weights/{name}.weights{near}: {todo}")));
            continue;
        };
        let table = column.codes.as_deref().unwrap_or_default();
        let Some(codes) = library.codes_of(table) else { continue };
        for class in model.classes.iter().filter(|class| !codes.contains(class.as_str())) {
            let what = format!(
                "weights/{name}.weights ({}) has the class \"{class}\", which code table \"{table}\" does not have: add it, or train the weights again",
                model.version
            );
            findings.push(Finding::new(&column.at, what));
        }
    }
    findings
}
