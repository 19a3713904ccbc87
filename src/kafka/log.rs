//! librdkafka's log, as a part of ours.
//!
//! While a broker is away it writes the same line with every attempt to connect, ten or twenty a second, so a line is
//! written once in ten seconds; the others are there at level `debug`.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::config::RDKafkaLogLevel;

const QUIET: Duration = Duration::from_secs(10);

/// More than this many lines are not remembered.
const MOST: usize = 100;

static SAID: Mutex<Said> = Mutex::new(Said(Vec::new()));

/// For `ClientContext::log`: librdkafka retries by itself whatever it logs, so nothing of it is an error of ours.
pub fn log(level: RDKafkaLogLevel, facility: &str, text: &str) {
    match level {
        // People write one list of properties for consumers and producers.
        _ if facility == "CONFWARN" => tracing::debug!(facility, "librdkafka: {text}"),
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::warn!(facility, "librdkafka: {text}");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice
            if SAID.lock().unwrap_or_else(PoisonError::into_inner).is_new(text, Instant::now()) =>
        {
            tracing::info!(facility, "librdkafka: {text}");
        }
        _ => tracing::debug!(facility, "librdkafka: {text}"),
    }
}

/// Lines of the last ten seconds, without how long something took.
struct Said(Vec<(String, Instant)>);

impl Said {
    fn is_new(&mut self, text: &str, now: Instant) -> bool {
        let text = text.split_once(" (after ").map_or(text, |(text, _)| text);
        self.0.retain(|(_, at)| now.saturating_duration_since(*at) < QUIET);
        if self.0.iter().any(|(said, _)| said == text) {
            return false;
        }
        if self.0.len() < MOST {
            self.0.push((text.to_owned(), now));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_new_once_in_ten_seconds() {
        let (mut said, begun) = (Said(Vec::new()), Instant::now());
        let mut at = |seconds: u64, text: &str| said.is_new(text, begun + Duration::from_secs(seconds));
        assert!(at(0, "a: Disconnected (after 1ms in state UP)"));
        assert!(!at(9, "a: Disconnected (after 9ms in state UP, 1 identical error(s) suppressed)"));
        assert!(at(9, "b: Disconnected (after 1ms in state UP)"));
        assert!(at(10, "a: Disconnected (after 1ms in state UP)"));
        assert!(!at(10, "b: Disconnected"));
        assert_eq!((0..2 * MOST).filter(|n| at(11, &n.to_string())).count(), 2 * MOST);
        assert_eq!(said.0.len(), MOST);
    }
}
