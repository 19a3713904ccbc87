//! What the parts of a pipeline, and pipelines side by side, must not do to each other.

use std::collections::BTreeMap;

use encoding_rs::{UTF_16BE, UTF_16LE};

use super::{Dedup, Pipeline, Sink, Start};
use crate::error::Finding;

/// Rules within one pipeline.
pub(super) fn within(pipeline: &Pipeline) -> Vec<Finding> {
    let mut findings = Vec::new();
    one_sink_of_a_kind(pipeline, &mut findings);
    no_topic_twice(pipeline, &mut findings);
    no_loop(pipeline, &mut findings);
    if let Some(dedup) = &pipeline.dedup {
        dedup_can_be_kept(pipeline, dedup, &mut findings);
    }
    findings
}

fn one_sink_of_a_kind(pipeline: &Pipeline, findings: &mut Vec<Finding>) {
    let kind = |sink: &Sink| match sink {
        Sink::Kafka { .. } => "kafka",
        Sink::Archive { .. } => "archive",
    };
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    for (number, sink) in pipeline.sinks.iter().enumerate() {
        let at = |number: usize| pipeline.place(&format!("sink.{number}"));
        if let Some(first) = first.get(kind(sink)) {
            let (kind, first) = (kind(sink), at(*first));
            let what = format!("a second sink of kind \"{kind}\", the first is {first}: there is one of each kind");
            findings.push(Finding::new(at(number), what));
        } else {
            first.insert(kind(sink), number);
        }
    }
}

fn no_topic_twice(pipeline: &Pipeline, findings: &mut Vec<Finding>) {
    let mut owner: BTreeMap<&str, &str> = BTreeMap::new();
    for source in &pipeline.sources {
        for (number, topic) in source.topics.iter().enumerate() {
            if let Some(other) = owner.insert(topic, &source.name) {
                let what = format!("topic \"{topic}\" belongs to the source {other} already: a topic has one source");
                findings.push(Finding::new(source.place(&format!("topics.{number}")), what));
            }
        }
    }
}

/// What goes out must not come in again.
fn no_loop(pipeline: &Pipeline, findings: &mut Vec<Finding>) {
    for (number, sink) in pipeline.sinks.iter().enumerate() {
        let Sink::Kafka { topic, rejected, .. } = sink else { continue };
        let at = |key: &str| pipeline.place(&format!("sink.{number}.{key}"));
        if topic == rejected {
            let what = format!("topic and rejected are both \"{topic}\": rows and rejects need a topic each");
            findings.push(Finding::new(at("rejected"), what));
        }
        for (key, topic) in [("topic", topic), ("rejected", rejected)] {
            for source in pipeline.sources.iter().filter(|source| source.topics.contains(topic)) {
                let what = format!(
                    "{key} \"{topic}\" is a topic of the source {}: the pipeline would feed itself",
                    source.name
                );
                findings.push(Finding::new(at(key), what));
            }
        }
    }
}

fn dedup_can_be_kept(pipeline: &Pipeline, dedup: &Dedup, findings: &mut Vec<Finding>) {
    let archive = |sink: &Sink| matches!(sink, Sink::Archive { .. });
    if !pipeline.sinks.iter().any(archive) {
        let what =
            "[dedup] without a sink of kind \"archive\": what it remembers is rebuilt from the archive after a start";
        findings.push(Finding::new(pipeline.place("dedup"), what));
    }
    if dedup.per_partition {
        return;
    }
    // Equal keys meet only if they come through one partition: if nothing but key columns decides which.
    for source in &pipeline.sources {
        let instead = "or write across_partitions = \"accept\" in [dedup] of pipeline.toml if it may miss duplicates that \
                       lie in different partitions";
        let strange: Vec<&str> =
            source.keyed_by.iter().filter(|column| !dedup.key.contains(column)).map(String::as_str).collect();
        let fault = if source.keyed_by.is_empty() {
            Some(("keyed_by", "name the columns that decide a message's partition with keyed_by".to_owned()))
        } else if !strange.is_empty() {
            let what = format!("keyed_by {} is not in the key of [dedup]: take it in", strange.join(", "));
            Some(("keyed_by", what))
        } else if source.topics.len() > 1 {
            Some(("topics", "equal keys may come in different topics: leave one topic".to_owned()))
        } else {
            None
        };
        findings.extend(fault.map(|(key, what)| Finding::new(source.place(key), format!("{what}, {instead}"))));
    }
}

/// Rules between pipelines.
pub(super) fn between(all: &[Pipeline]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut tables: BTreeMap<String, &str> = BTreeMap::new();
    let mut clean: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, sink, at) in sinks(all) {
        match sink {
            Sink::Archive { path, .. } => {
                // Rejects have a table beside the rows.
                for table in [path.clone(), format!("{path}_rejects")] {
                    let others = tables.iter().filter(|(_, other)| **other != name);
                    let mut met = others.filter_map(|(there, other)| {
                        let what = if *there == table {
                            format!("the pipeline {other} writes to the table \"{table}\" already")
                        } else if lies_in(&table, there) || lies_in(there, &table) {
                            format!("one of the tables \"{table}\" and \"{there}\" (of {other}) lies in the other")
                        } else {
                            return None;
                        };
                        Some(Finding::new(at("path"), what))
                    });
                    findings.extend(met.next());
                    tables.entry(table).or_insert(name);
                }
            }
            Sink::Kafka { topic, .. } => {
                if let Some(other) = clean.get(topic.as_str()).filter(|other| **other != name) {
                    let what = format!("the pipeline {other} writes to the topic \"{topic}\" already");
                    findings.push(Finding::new(at("topic"), what));
                }
                clean.entry(topic).or_insert(name);
            }
        }
    }
    for (name, sink, at) in sinks(all) {
        // Rejects of several pipelines may share a topic, they carry their pipeline's name; rows may not be among them.
        let Sink::Kafka { rejected, .. } = sink else { continue };
        if let Some(other) = clean.get(rejected.as_str()).filter(|other| **other != name) {
            let what = format!("rejected \"{rejected}\" is the topic of the pipeline {other}");
            findings.push(Finding::new(at("rejected"), what));
        }
    }
    circles(all, &mut findings);
    findings
}

/// What goes with Kafka only.
pub fn with_files(all: &[Pipeline]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for pipeline in all.iter().filter(|pipeline| pipeline.start == Start::End) {
        let what = "start = \"end\" is for Kafka: of files, move away what is not to be read";
        findings.push(Finding::new(pipeline.place("start"), what));
    }
    for source in all.iter().flat_map(|pipeline| &pipeline.sources) {
        if source.charset.is_some_and(|charset| [UTF_16LE, UTF_16BE].contains(&charset)) {
            let what = "charset: UTF-16 is for Kafka, lines of files end with a newline byte: have the files in UTF-8";
            findings.push(Finding::new(source.place("charset"), what));
        }
    }
    let mut rejected: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, sink, at) in sinks(all) {
        let Sink::Kafka { rejected: topic, .. } = sink else { continue };
        if let Some(other) = rejected.get(topic.as_str()).filter(|other| **other != name) {
            let what = format!(
                "rejected \"{topic}\" is that of the pipeline {other} too: in Kafka they can share it, of files each wants its own"
            );
            findings.push(Finding::new(at("rejected"), what));
        }
        rejected.entry(topic).or_insert(name);
    }
    findings
}

/// Whether a table's folder lies in another's.
fn lies_in(table: &str, other: &str) -> bool {
    table.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'))
}

/// Each sink with the name of its pipeline, and where a key of it is written.
fn sinks(all: &[Pipeline]) -> impl Iterator<Item = (&str, &Sink, impl Fn(&str) -> String)> {
    all.iter().flat_map(|pipeline| {
        let at = move |number: usize| move |key: &str| pipeline.place(&format!("sink.{number}.{key}"));
        pipeline.sinks.iter().enumerate().map(move |(number, sink)| (&*pipeline.name, sink, at(number)))
    })
}

/// Pipelines that feed each other in a circle carry the same rows for ever.
fn circles(all: &[Pipeline], findings: &mut Vec<Finding>) {
    let takes = |to: &Pipeline, topic: &str| to.sources.iter().any(|source| source.topics.iter().any(|t| t == topic));
    let feeds = |from: &Pipeline, to: &Pipeline| {
        from.sinks.iter().any(|sink| match sink {
            Sink::Kafka { topic, rejected, .. } => takes(to, topic) || takes(to, rejected),
            Sink::Archive { .. } => false,
        })
    };
    for (start, pipeline) in all.iter().enumerate() {
        let mut reached = vec![false; all.len()];
        let mut open = vec![start];
        while let Some(from) = open.pop() {
            for to in 0..all.len() {
                // A pipeline that feeds itself is a finding of its own already.
                if to != from && !reached[to] && feeds(&all[from], &all[to]) {
                    reached[to] = true;
                    open.push(to);
                }
            }
        }
        if reached[start] {
            findings.push(Finding::new(
                pipeline.place("sink.0"),
                "its rows come back to it through the topics of other pipelines",
            ));
        }
    }
}
