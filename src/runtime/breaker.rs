//! Stops a pipeline that rejects too much, instead of emptying a topic into quarantine.

use std::{collections::HashMap, sync::Arc};

use crate::{
    batch::{Outcome, Reject},
    config::RejectLimit,
    error::{Error, ErrorKind, Result},
};

/// Watches the share of rejected rows per source, over about the last `over` to `2 × over` rows.
#[derive(Debug)]
pub(super) struct Breaker {
    limit: RejectLimit,
    seen: HashMap<Arc<str>, (u64, u64)>,
}

impl Breaker {
    pub fn new(limit: RejectLimit) -> Breaker {
        Breaker { limit, seen: HashMap::new() }
    }

    /// Counts a batch **before** it goes to any sink; an error means that it must not.
    pub fn observe(&mut self, outcome: &Outcome) -> Result<()> {
        let (rows, rejected) = self.seen.entry(outcome.source.clone()).or_default();
        *rows += outcome.tally.input;
        *rejected += outcome.tally.rejected;
        if *rows < self.limit.over {
            return Ok(());
        }
        let share = *rejected as f64 / *rows as f64;
        if share > self.limit.limit {
            let mut codes: HashMap<&str, u64> = HashMap::new();
            for fault in outcome.rejects.iter().filter_map(|reject| reject.faults.first()) {
                *codes.entry(&fault.code).or_default() += 1;
            }
            let most = codes.into_iter().max_by_key(|(code, count)| (*count, *code)).map_or("", |(code, _)| code);
            // The last batch's rejects are nowhere to be looked at.
            let first = |reject: &Reject| reject.faults.first().filter(|fault| &*fault.code == most).cloned();
            let example = outcome.rejects.iter().find_map(|reject| Some((reject, first(reject)?)));
            let example = example.map_or(String::new(), |(reject, fault)| {
                let field = fault.field.map_or(String::new(), |field| format!("{field}: "));
                format!(" (as at {} offset {}: {field}{})", reject.partition, reject.offset, fault.reason)
            });
            return Err(Error::new(
                ErrorKind::TooManyRejects,
                format!(
                    "source {}: {rejected} of the last {rows} rows were rejected ({:.0} %, limit {:.0} %), most often \
                     {most}{example}; stopped before the last batch was written",
                    outcome.source,
                    share * 100.0,
                    self.limit.limit * 100.0
                ),
            ));
        }
        if *rows >= 2 * self.limit.over {
            *rows /= 2;
            *rejected /= 2;
        }
        Ok(())
    }
}
