//! All metrics of the process, in one place: name, unit, meaning. Labels come from closed lists and from names in
//! the configuration, never from data.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{
    CounterVec, Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::cpu;

/// The process's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Rows that a sink has committed the account of.
    pub rows: IntCounterVec,
    pub rejected: IntCounterVec,
    pub flagged: IntCounterVec,
    /// Values of the columns that `[metrics] values` names.
    pub values: IntCounterVec,
    pub lag_messages: IntGaugeVec,
    pub lag_seconds: GaugeVec,
    pub commit_seconds: HistogramVec,
    pub in_flight_bytes: IntGaugeVec,
    pub dedup_keys: IntGaugeVec,
    pub archive_files: IntCounterVec,
    pub running: IntGaugeVec,
    pub sink_up: IntGaugeVec,
    /// What a sink costs the others.
    pub sink_full_seconds: CounterVec,
    pub restarts: IntCounterVec,
    /// Filled when it is asked for.
    cpu_seconds: Mutex<CounterVec>,
}

impl Metrics {
    pub fn new() -> Arc<Metrics> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let vec = IntCounterVec::new(Opts::new(name, help), labels).expect("the name is valid");
            registry.register(Box::new(vec.clone())).expect("the name is unique");
            vec
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let vec = IntGaugeVec::new(Opts::new(name, help), labels).expect("the name is valid");
            registry.register(Box::new(vec.clone())).expect("the name is unique");
            vec
        };
        let seconds = {
            let opts = HistogramOpts::new("huiju_commit_seconds", "How long a sink's commits take.")
                .buckets(vec![0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]);
            let vec = HistogramVec::new(opts, &["pipeline", "sink"]).expect("the name is valid");
            registry.register(Box::new(vec.clone())).expect("the name is unique");
            vec
        };
        let lag_seconds = {
            let opts = Opts::new(
                "huiju_lag_seconds",
                "Kafka only: age of the newest message fetched from a partition that is behind; 0 at its end.",
            );
            let vec = GaugeVec::new(opts, &["pipeline", "topic", "partition"]).expect("the name is valid");
            registry.register(Box::new(vec.clone())).expect("the name is unique");
            vec
        };
        let seconds_in = |name: &str, help: &str, labels: &[&str]| {
            let vec = CounterVec::new(Opts::new(name, help), labels).expect("the name is valid");
            registry.register(Box::new(vec.clone())).expect("the name is unique");
            vec
        };
        let cpu_seconds = seconds_in(
            "huiju_cpu_seconds_total",
            "CPU time by step of the pipelines; other: the Kafka clients' threads and all else.",
            &["step"],
        );
        let sink_full_seconds = seconds_in(
            "huiju_sink_full_seconds_total",
            "How long batches waited because the sink's queue was full: the one that is slowest sets the pace of all.",
            &["pipeline", "sink"],
        );
        Arc::new(Metrics {
            cpu_seconds: Mutex::new(cpu_seconds),
            rows: counter(
                "huiju_rows_total",
                "Rows by what became of them (written, rejected, duplicate), counted when the sink has committed them.",
                &["pipeline", "source", "sink", "outcome"],
            ),
            rejected: counter(
                "huiju_rejected_rows_total",
                "Rejected rows by stage and code of their first fault, counted when committed.",
                &["pipeline", "sink", "stage", "code"],
            ),
            flagged: counter(
                "huiju_flagged_rows_total",
                "Warnings raised on rows that went on, as field:code.",
                &["pipeline", "sink", "flag"],
            ),
            values: counter(
                "huiju_values_total",
                "Rows by the value of a column that is to be watched, counted when committed: none without one, other for a value that is in no code table.",
                &["pipeline", "source", "sink", "column", "value"],
            ),
            lag_messages: gauge(
                "huiju_lag_messages",
                "Kafka only: messages of a partition that are not fetched yet.",
                &["pipeline", "topic", "partition"],
            ),
            lag_seconds,
            commit_seconds: seconds,
            in_flight_bytes: gauge(
                "huiju_in_flight_bytes",
                "Bytes of messages between the source and the slowest sink.",
                &["pipeline"],
            ),
            dedup_keys: gauge("huiju_dedup_keys", "Keys remembered by dedup.", &["pipeline"]),
            archive_files: counter("huiju_archive_files_total", "Files added to the archive.", &["pipeline"]),
            running: gauge("huiju_pipeline_running", "1 while messages can flow, 0 while it waits.", &["pipeline"]),
            sink_up: gauge(
                "huiju_sink_up",
                "1 while the sink takes rows, 0 while it is left behind or its pipeline waits, for whatever it be.",
                &["pipeline", "sink"],
            ),
            sink_full_seconds,
            restarts: counter(
                "huiju_line_restarts_total",
                "How often a pipeline was built anew, by the kind of error.",
                &["pipeline", "reason"],
            ),
            registry,
        })
    }

    /// Everything in Prometheus' text format.
    pub fn text(&self) -> String {
        {
            let counters = self.cpu_seconds.lock().unwrap_or_else(PoisonError::into_inner);
            for (step, seconds) in cpu::used() {
                let counter = counters.with_label_values(&[step]);
                counter.inc_by((seconds - counter.get()).max(0.0));
            }
        }
        let mut text = Vec::new();
        let encoded = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        encoded.map(|()| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How far files reach is not known until they are read: nobody may wait for a lag of theirs.
    #[test]
    fn what_files_have_no_number_for_is_called_kafka_s() {
        let metrics = Metrics::new();
        metrics.lag_messages.with_label_values(&["p", "t", "0"]).set(1);
        metrics.lag_seconds.with_label_values(&["p", "t", "0"]).set(1.0);
        let text = metrics.text();
        let help: Vec<_> = text.lines().filter(|line| line.starts_with("# HELP huiju_lag_")).collect();
        assert_eq!(help.len(), 2);
        assert!(help.iter().all(|line| line.contains("Kafka")), "{help:?}");
    }
}
