//! Stops a pipeline that rejects too much, instead of emptying a topic into quarantine.

use std::{collections::HashMap, sync::Arc};

use crate::{
    batch::{Outcome, Reject},
    config::RejectLimit,
    error::{Error, ErrorKind, Result},
};

/// Watches the share of rejected rows per source, over about the last `over` to `2 × over` rows and a batch. Not row by row:
/// a batch has the rows of a partition one after the other, so that one bad partition would look like a flood.
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
            let (share, limit) = percent(*rejected, *rows, self.limit.limit);
            return Err(Error::new(
                ErrorKind::TooManyRejects,
                format!(
                    "source {}: {rejected} of the last {rows} rows were rejected ({share} %, limit {limit} %), most often \
                     {most}{example}; stopped before the last batch was written",
                    outcome.source,
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

/// A share that is above the limit, and the limit, in percent: with as many decimals as it takes to see that it is. The
/// share is never rounded up: 100 is all of them.
fn percent(rejected: u64, rows: u64, limit: f64) -> (f64, f64) {
    const MOST: u32 = 4;
    let limit = (limit * 100.0 * 1e4).round() / 1e4;
    let share = |decimals: u32| {
        let scale = 10u128.pow(decimals);
        (u128::from(rejected) * 100 * scale / u128::from(rows)) as f64 / scale as f64
    };
    ((0..MOST).map(share).find(|share| *share > limit).unwrap_or(share(MOST)), limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_above_the_limit_looks_above_it() {
        let told = |rejected, rows, limit| {
            let (share, limit) = percent(rejected, rows, limit);
            format!("{share} %, limit {limit} %")
        };
        assert_eq!(told(600, 1000, 0.5), "60 %, limit 50 %");
        assert_eq!(told(29, 100, 0.07), "29 %, limit 7 %");
        assert_eq!(told(1, 1000, 0.0), "0.1 %, limit 0 %");
        assert_eq!(told(1, 3000, 0.0), "0.03 %, limit 0 %");
        assert_eq!(told(1000, 1000, 0.999), "100 %, limit 99.9 %");
        assert_eq!(told(9999, 10_000, 0.999), "99.99 %, limit 99.9 %");
        assert_eq!(told(996, 1000, 0.99), "99.6 %, limit 99 %");
        assert_eq!(told(2, 3, 0.6666), "66.666 %, limit 66.66 %");
        assert_eq!(told(1, u64::MAX, 0.0), "0 %, limit 0 %");
    }
}
