//! Whether a pipeline has written to its clean topic before, which is asked where nothing else tells it.
//!
//! The broker forgets the committed offsets of a group that nobody was in for a while. A pipeline with an archive has a
//! second cursor that tells; for one without, only the rows themselves do, by their headers. The end of each partition is
//! looked at: rows that retention has taken tell nothing.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use chrono::{DateTime, SecondsFormat};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
    message::Headers,
    types::RDKafkaErrorCode,
};

use super::{PIPELINE, SOURCE};
use crate::{
    config,
    error::{Error, ErrorKind, Result},
    kafka::{self, Told},
};

/// Offsets at the end of a partition that are looked at; what was aborted, and a marker for each transaction, are among
/// them.
const LOOK: i64 = 10_000;
const ASK: Duration = Duration::from_secs(10);
/// Polls follow each other this closely.
const POLL: Duration = Duration::from_millis(100);
/// How long the broker may send nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a pipeline's rows end in its clean topic.
#[derive(Default)]
pub struct Earlier {
    /// By source, the time of its newest row, in milliseconds since 1970; none, where rows have no time.
    newest: BTreeMap<String, Option<i64>>,
}

impl Earlier {
    fn note(&mut self, source: &str, time: Option<i64>) {
        let newest = self.newest.entry(source.to_owned()).or_default();
        *newest = time.max(*newest);
    }

    /// The error of a pipeline that has rows in its clean topic, and no cursor. `group` is for who sets its offsets.
    pub fn without_cursor(&self, topic: &str, group: &str) -> Error {
        let newest = self.newest.iter().map(|(source, time)| {
            let time = time.and_then(DateTime::from_timestamp_millis);
            let time = time.map_or("without a time".into(), |at| at.to_rfc3339_opts(SecondsFormat::Millis, true));
            format!("{source} {time}")
        });
        let newest: Vec<_> = newest.collect();
        Error::new(
            ErrorKind::Gap,
            format!(
                "group {group} has no committed offset in any topic of the sources, but topic {topic} has rows of this \
                 pipeline (the newest of each source: {}): offsets.retention.minutes has passed, or the group has \
                 another name than it had. Nothing was taken, or the topic would begin again. Tell the broker where to \
                 go on: kafka-consumer-groups.sh --bootstrap-server … --group {group} --topic … --reset-offsets \
                 --to-offset … --execute for the topics of each source; the rows of a source have the times of its \
                 messages (--to-datetime). To have everything in the clean topic once more: --to-earliest",
                newest.join(", ")
            ),
        )
    }
}

/// What the clean topic holds of the pipeline; `None`: nothing, as far as it tells.
pub fn rows(config: &config::Kafka, topic: &str, pipeline: &str, group: &str) -> Result<Option<Earlier>> {
    // It is in no group; librdkafka wants a name all the same, and takes settings of groups that people wrote only with one.
    let fixed = [
        ("group.id", group),
        ("enable.auto.commit", "false"),
        ("isolation.level", "read_committed"),
        ("auto.offset.reset", "earliest"),
        ("enable.partition.eof", "true"),
        ("allow.auto.create.topics", "false"),
    ];
    let client: BaseConsumer<Told> =
        kafka::client_for(config, &[], &fixed).create_with_context(Told::new(config)).map_err(|error| {
            let (kind, text) = kafka::classify(&error);
            Error::new(kind, text).context(format!("look into topic {topic}"))
        })?;
    let doing = || format!("look into topic {topic} for rows of ours, which needs READ where no archive tells");
    let earlier = look(&client, topic, pipeline).map_err(|error| client.context().troubles.explain(doing(), &error))?;
    Ok(Some(earlier).filter(|earlier| !earlier.newest.is_empty()))
}

fn look(client: &BaseConsumer<Told>, topic: &str, pipeline: &str) -> KafkaResult<Earlier> {
    let mut earlier = Earlier::default();
    let mut places = TopicPartitionList::new();
    let mut unread = HashSet::new();
    let metadata = client.fetch_metadata(Some(topic), ASK)?;
    if let Some(error) = metadata.topics().iter().find_map(|topic| topic.error()) {
        return Err(KafkaError::MetadataFetch(error.into()));
    }
    for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
        let (low, high) = client.fetch_watermarks(topic, partition.id(), ASK)?;
        if low < high {
            places.add_partition_offset(topic, partition.id(), Offset::Offset(low.max(high - LOOK)))?;
            unread.insert(partition.id());
        }
    }
    client.assign(&places)?;
    let mut heard = Instant::now();
    while !unread.is_empty() {
        match client.poll(POLL) {
            Some(Ok(message)) => {
                heard = Instant::now();
                let text = |name| header(&message, name);
                if text(PIPELINE).as_deref() == Some(pipeline) {
                    earlier.note(&text(SOURCE).unwrap_or_default(), message.timestamp().to_millis());
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                heard = Instant::now();
                unread.remove(&partition);
            }
            Some(Err(error)) if !error.rdkafka_error_code().is_some_and(kafka::passes) => return Err(error),
            Some(Err(_)) | None if heard.elapsed() < PATIENCE => {}
            Some(Err(error)) => return Err(error),
            None => return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut)),
        }
    }
    Ok(earlier)
}

fn header(message: &impl Message, name: &str) -> Option<String> {
    let headers = message.headers()?;
    let value = headers.iter().find(|header| header.key == name)?.value?;
    Some(String::from_utf8_lossy(value).into_owned())
}
