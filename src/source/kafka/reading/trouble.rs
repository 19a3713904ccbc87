//! What errors of the client mean for reading, and what is told of those that pass.

use std::time::{Duration, Instant};

use rdkafka::{
    consumer::Consumer,
    error::KafkaError,
    types::RDKafkaErrorCode::{self, AutoOffsetReset, LogTruncation, OffsetOutOfRange},
};

use super::Reading;
use crate::{
    error::{Error, Result},
    kafka,
};

/// How often what lasts is told.
pub(super) const TELL: Duration = Duration::from_secs(10);

pub(super) struct Trouble {
    since: Instant,
    seen: Instant,
    told: Instant,
    /// Whether it has lasted for long enough to be told to whoever asks.
    is_known: bool,
}

impl Reading<'_> {
    /// What an error from `poll` means: wait, look at offsets, or give up.
    pub(super) fn judge(&mut self, error: &KafkaError) -> Result<()> {
        if matches!(error, KafkaError::PartitionEOF(_)) {
            return Ok(());
        }
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        if matches!(code, AutoOffsetReset | OffsetOutOfRange | LogTruncation) {
            return self.examine();
        }
        if let Some((code, reason)) = self.client.client().fatal_error() {
            let (kind, words) = kafka::meaning(code);
            return Err(Error::new(kind, words.map_or(reason.clone(), |words| format!("{words} ({reason})"))));
        }
        if !self.client.context().troubles.passing(error) {
            return Err(self.explain("read", error));
        }
        let now = Instant::now();
        let pipeline = &*self.settings.pipeline;
        let trouble = self.trouble.get_or_insert(Trouble { since: now, seen: now, told: now - TELL, is_known: false });
        trouble.seen = now;
        if now.duration_since(trouble.told) >= TELL {
            trouble.told = now;
            let since_s = now.duration_since(trouble.since).as_secs();
            // Less than that may be over before anybody looks.
            trouble.is_known |= now.duration_since(trouble.since) >= TELL;
            let is_known = trouble.is_known;
            let error = self.client.context().troubles.explain("read", error);
            tracing::warn!(pipeline, since_s, %error, "Kafka is in trouble, waiting");
            if is_known {
                self.intake.troubled(Some(&error));
            }
        }
        Ok(())
    }

    pub(super) fn recovered(&mut self) {
        if let Some(trouble) = self.trouble.take() {
            self.client.context().troubles.forget();
            let after_s = trouble.since.elapsed().as_secs();
            tracing::info!(pipeline = &*self.settings.pipeline, after_s, "Kafka answers again");
            if trouble.is_known {
                self.intake.troubled(None);
            }
        }
    }

    /// A trouble that nothing has mentioned for a while is over, even if no message has come. Not while no broker is
    /// connected: the client says the same of the same broker every half minute only.
    pub(super) fn stale_trouble(&mut self, now: Instant) {
        if self.connected && self.trouble.as_ref().is_some_and(|trouble| now.duration_since(trouble.seen) > 2 * TELL) {
            self.recovered();
        }
    }
}
