//! The only place that reads the wall clock. It comes in as an argument, so that tests can turn it.
//!
//! Wall time is for people (logs, lag, commit timestamps). Nothing that decides about rows may use it: rows see the
//! message's own timestamp. Timers use [`std::time::Instant`], which does not jump.

use std::sync::Arc;

use chrono::{DateTime, Utc};

/// Tells the time.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>);

impl Clock {
    /// The machine's wall clock.
    pub fn system() -> Clock {
        #[allow(clippy::disallowed_methods)] // this is the one place
        Clock(Arc::new(Utc::now))
    }

    /// A clock that says what `tell` says.
    pub fn from_fn(tell: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(tell))
    }

    pub fn now(&self) -> DateTime<Utc> {
        (self.0)()
    }

    /// Milliseconds since 1970, as Kafka counts.
    pub fn now_ms(&self) -> i64 {
        self.now().timestamp_millis()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}
