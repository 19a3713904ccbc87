//! What a file may hold, without opening it.

use chrono::DateTime;
use parquet::{
    data_type::ByteArray,
    file::{metadata::RowGroupMetaData, statistics::Statistics},
};
use serde::Deserialize;

use super::schema::TIME;
use crate::cursor::Partition;

/// What the statistics of a file or of a row group tell about its rows. They may be wider than the rows; what they do
/// not tell may be anything.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    topics: Option<(String, String)>,
    numbers: Option<(i64, i64)>,
    /// Smallest offset.
    first: Option<i64>,
    /// Oldest and newest message time in microseconds.
    oldest: Option<i64>,
    pub newest: Option<i64>,
    /// There is no row whose message had no time; there is none whose message had one.
    all_timed: bool,
    pub all_timeless: bool,
}

impl Bounds {
    /// From the statistics in the log.
    pub fn of_file(stats: &str) -> Bounds {
        let Ok(Stats { num_records, min_values, max_values, null_count }) = serde_json::from_str(stats) else {
            return Bounds::default();
        };
        let time = |text: Option<String>| Some(DateTime::parse_from_rfc3339(&text?).ok()?.timestamp_micros());
        Bounds {
            topics: min_values.topic.zip(max_values.topic),
            numbers: min_values.number.zip(max_values.number),
            first: min_values.offset,
            oldest: time(min_values.time),
            // Other writers round down to milliseconds.
            newest: time(max_values.time).map(|newest| newest + 999),
            all_timed: null_count.time == Some(0),
            all_timeless: null_count.time.is_some() && null_count.time == num_records,
        }
    }

    /// From a footer.
    pub fn of_group(group: &RowGroupMetaData) -> Bounds {
        let of = |name: &str| {
            let column = group.columns().iter().find(|column| column.column_path().parts() == [name]);
            column.and_then(|column| column.statistics())
        };
        let text = |bytes: &ByteArray| bytes.as_utf8().ok().map(str::to_owned);
        let topics = match of("_topic") {
            Some(Statistics::ByteArray(stats)) => stats.min_opt().and_then(text).zip(stats.max_opt().and_then(text)),
            _ => None,
        };
        let numbers = match of("_partition") {
            Some(Statistics::Int32(stats)) => stats.min_opt().zip(stats.max_opt()),
            _ => None,
        };
        let first = match of("_offset") {
            Some(Statistics::Int64(stats)) => stats.min_opt().copied(),
            _ => None,
        };
        let (oldest, newest, timeless) = match of(TIME) {
            Some(Statistics::Int64(stats)) => {
                (stats.min_opt().copied(), stats.max_opt().copied(), stats.null_count_opt())
            }
            _ => (None, None, None),
        };
        Bounds {
            topics,
            numbers: numbers.map(|(min, max)| (i64::from(*min), i64::from(*max))),
            first,
            oldest,
            newest,
            all_timed: timeless == Some(0),
            all_timeless: timeless == Some(group.num_rows() as u64),
        }
    }

    /// Whether there may be a row of this partition below this offset.
    pub fn may_hold(&self, partition: &Partition, below: i64) -> bool {
        let Partition { topic, number } = partition;
        self.topics.as_ref().is_none_or(|(min, max)| **min <= **topic && **topic <= **max)
            && self.numbers.is_none_or(|(min, max)| (min..=max).contains(&i64::from(*number)))
            && self.first.is_none_or(|first| first < below)
    }

    /// Whether its times may be further apart than this.
    pub fn may_span(&self, window: i64) -> bool {
        self.oldest.zip(self.newest).is_none_or(|(oldest, newest)| newest.saturating_sub(oldest) > window)
    }

    /// Whether there may be a row at this time (in microseconds) or after, or one without a time.
    pub fn may_be_recent(&self, since: Option<i64>) -> bool {
        !self.all_timed || since.is_none_or(|since| self.newest.is_none_or(|newest| newest >= since))
    }
}

/// A file's statistics in the log.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    num_records: Option<i64>,
    #[serde(default)]
    min_values: Lineage,
    #[serde(default)]
    max_values: Lineage,
    #[serde(default)]
    null_count: Nulls,
}

#[derive(Deserialize, Default)]
struct Lineage {
    #[serde(rename = "_topic")]
    topic: Option<String>,
    #[serde(rename = "_partition")]
    number: Option<i64>,
    #[serde(rename = "_offset")]
    offset: Option<i64>,
    #[serde(rename = "_ingested_at")]
    time: Option<String>,
}

#[derive(Deserialize, Default)]
struct Nulls {
    #[serde(rename = "_ingested_at")]
    time: Option<i64>,
}
