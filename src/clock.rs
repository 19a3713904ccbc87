//! The only place that reads the wall clock. It comes in as an argument, so that tests can turn it.
//!
//! Wall time is for people (logs, lag, commit timestamps). Nothing that decides about rows may use it: rows see the
//! message's own timestamp. Timers use [`std::time::Instant`], which does not jump.
//!
//! `HUIJU_CLOCK=file` makes the clock of a debug build differ from the machine's by as many seconds as the file says at the
//! moment, so that a test can set it while the process runs.

use std::sync::Arc;

use chrono::{DateTime, Utc};

/// Tells the time.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>);

impl Clock {
    /// The machine's wall clock.
    #[allow(clippy::disallowed_methods)] // this is the one place
    pub fn system() -> Clock {
        #[cfg(debug_assertions)]
        if let Some(file) = std::env::var_os("HUIJU_CLOCK") {
            return Clock(Arc::new(move || Utc::now() + difference(file.as_ref())));
        }
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

#[cfg(debug_assertions)]
fn difference(file: &std::path::Path) -> chrono::TimeDelta {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    chrono::TimeDelta::seconds(text.trim().parse().unwrap_or(0))
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}
