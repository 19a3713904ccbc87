//! The member of the consumer group: the client, its settings, and what it is told by librdkafka.
//!
//! **Rebalances are not answered in the callback.** librdkafka tells of a rebalance by an event and waits, as long as
//! `max.poll.interval.ms` allows, for us to call `assign` or `unassign`; it does not ask for that to happen inside the
//! callback. So the callback only puts the event into a queue, `poll` returns, and the loop that owns the intake
//! answers: no lock is held over a poll, and nothing is called from within it. No message of the partitions in
//! question can come in between, because they are not assigned before we say so.
//!
//! **The member has a name** (`group.instance.id`), the same after a restart. A process that was killed takes its
//! partitions up again at once, as long as the broker has not missed it for `session.timeout.ms`; nobody waits for that
//! time to pass, and nobody else is disturbed. A line that is built anew comes back the same way. The other side of it:
//! closing such a client does not leave the group, so who stops for good says so first ([`leave`]). And the broker does
//! not look whether a member that comes back wants other topics, so the name tells which topics it wants. In groups of
//! the next generation (`group.protocol=consumer`) a member with a name cannot leave for good: there it has none, and
//! a killed one is missed for the broker's `group.consumer.session.timeout.ms`.
//!
//! While nobody runs the loop (before it, after it, while the client closes) the callback answers itself, by letting
//! go: there is nothing in flight then.

use std::{
    collections::VecDeque,
    ffi::CStr,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext, Offset, Statistics, TopicPartitionList,
    bindings::{rd_kafka_mem_free, rd_kafka_memberid},
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata, RebalanceProtocol},
    error::{KafkaError, KafkaResult},
    types::{RDKafkaErrorCode, RDKafkaRespErr},
};
use xxhash_rust::xxh3::xxh3_64;

use super::Settings;
use crate::{
    config,
    cursor::{Cursors, Partition},
    error::{Error, ErrorKind, Result},
    kafka::{self, Group, Troubles, ids::Ids},
};

/// Longer than any transaction of ours may stay open: reading committed offsets waits for them.
const COMMITTED: Duration = Duration::from_secs(60);
/// One call of it. librdkafka sleeps in there until a *connection* changes; when the coordinator has to be found again
/// over connections that stand already (a broker that is back), nothing wakes it before its time is up. So we ask often.
const ASK: Duration = Duration::from_secs(1);
/// How long it may say nothing at all, not even that the offsets are not stable yet: a new client does better then.
const SILENT: Duration = Duration::from_secs(15);
const METADATA: Duration = Duration::from_secs(10);
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// How long a stop waits until the group has been told.
const GOODBYE: Duration = Duration::from_secs(1);

pub type Client = BaseConsumer<Member>;

/// What the client tells us between polls.
#[derive(Default)]
pub struct Member {
    pub group: String,
    /// How long the broker waits for a sign of life of a member.
    pub session: Duration,
    /// How long taking partitions over may take. Nobody polls meanwhile, and it may be done twice in a rebalance.
    pub take_over: Duration,
    attended: AtomicBool,
    /// A revocation was not answered as it should: who comes back under our name would be taken for one that has.
    torn: AtomicBool,
    rebalances: Mutex<VecDeque<Rebalance>>,
    statistics: Mutex<Option<Statistics>>,
    /// As they were when we joined.
    ids: Mutex<Ids>,
    pub troubles: Troubles,
}

pub enum Rebalance {
    Assign(TopicPartitionList),
    Revoke(TopicPartitionList),
}

impl Rebalance {
    /// Takes nothing of an assignment; lets go of everything revoked.
    fn decline(self, client: &Client) {
        let answered = match self {
            Rebalance::Assign(_) => assign(client, &TopicPartitionList::new()),
            // What was never taken cannot be let go of, but the question wants an answer.
            Rebalance::Revoke(partitions) => {
                release(client, &partitions).or_else(|_| release(client, &TopicPartitionList::new()))
            }
        };
        if let Err(error) = answered {
            tracing::debug!(%error, "letting go of partitions");
        }
    }
}

impl Member {
    /// Whether somebody answers rebalances; when not, the callback lets go of everything.
    pub fn attend(&self, attended: bool) {
        self.attended.store(attended, Ordering::SeqCst);
    }

    pub fn next_rebalance(&self) -> Option<Rebalance> {
        self.rebalances.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// The revocation that is being answered comes to no good end.
    pub fn tear(&self) {
        self.torn.store(true, Ordering::SeqCst);
    }

    pub fn ids(&self) -> Ids {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_ids(&self, ids: Ids) {
        *self.ids.lock().unwrap_or_else(PoisonError::into_inner) = ids;
    }

    /// The newest statistics, once.
    pub fn statistics(&self) -> Option<Statistics> {
        self.statistics.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        kafka::log(level, facility, text);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        self.troubles.note(&error, reason);
    }
    fn stats(&self, statistics: Statistics) {
        *self.statistics.lock().unwrap_or_else(PoisonError::into_inner) = Some(statistics);
    }
}

impl ConsumerContext for Member {
    fn rebalance(&self, client: &Client, event: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let rebalance = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Rebalance::Assign(partitions.clone()),
            _ => Rebalance::Revoke(partitions.clone()),
        };
        if !self.attended.load(Ordering::SeqCst) {
            return rebalance.decline(client);
        }
        self.rebalances.lock().unwrap_or_else(PoisonError::into_inner).push_back(rebalance);
    }
}

/// Adds the partitions, at the offsets in the list.
pub fn assign(client: &Client, partitions: &TopicPartitionList) -> KafkaResult<()> {
    match client.rebalance_protocol() {
        RebalanceProtocol::Cooperative => client.incremental_assign(partitions),
        _ => client.assign(partitions),
    }
}

/// Lets go of the partitions; of all, when the protocol is eager.
pub fn release(client: &Client, partitions: &TopicPartitionList) -> KafkaResult<()> {
    match client.rebalance_protocol() {
        RebalanceProtocol::Cooperative => client.incremental_unassign(partitions),
        _ => client.unassign(),
    }
}

/// A list of partitions without offsets.
pub fn list<'a>(partitions: impl IntoIterator<Item = &'a Partition>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(&partition.topic, partition.number);
    }
    list
}

/// A member of `{group}.{pipeline}`, not yet subscribed.
pub fn join(config: &config::Kafka, wanted: &Settings) -> Result<Client> {
    let group = format!("{}.{}", config.group, wanted.pipeline);
    let member = Member {
        troubles: Troubles::new(config),
        group: group.clone(),
        session: session(config),
        take_over: take_over(config),
        ..Member::default()
    };
    let client: KafkaResult<Client> = settings(config, &group, wanted).create_with_context(member);
    client.map_err(|error| {
        let (kind, text) = kafka::classify(&error);
        Error::new(kind, text).context(format!("consumer group {group}"))
    })
}

/// Whether the settings that people have written go together with ours.
pub fn check(config: &config::Kafka) -> Result<()> {
    kafka::agree::<BaseConsumer<_>>(settings(config, "", &Settings::new("check".into(), Vec::new())))
}

/// The broker's default is 45 s; of a group of the next generation it is the broker's to say.
const SESSION: &str = "10000";

fn session(config: &config::Kafka) -> Duration {
    let default = if next_generation(config) { "45000" } else { SESSION };
    Duration::from_millis(set(config, "session.timeout.ms").unwrap_or(default).parse().unwrap_or(45_000))
}

/// Two fifths of what librdkafka allows between two polls, five minutes by default.
fn take_over(config: &config::Kafka) -> Duration {
    let allowed = set(config, "max.poll.interval.ms").and_then(|written| written.trim().parse().ok());
    Duration::from_millis(allowed.unwrap_or(300_000)) * 2 / 5
}

/// What people have written.
fn set<'a>(config: &'a config::Kafka, name: &str) -> Option<&'a str> {
    config.properties.iter().rfind(|(property, _)| property == name).map(|(_, value)| value.expose())
}

/// Whether the broker hands out the partitions; librdkafka takes the word in any letters.
fn next_generation(config: &config::Kafka) -> bool {
    set(config, "group.protocol").is_some_and(|protocol| protocol.eq_ignore_ascii_case("consumer"))
}

fn settings(config: &config::Kafka, group: &str, wanted: &Settings) -> ClientConfig {
    // Statistics tell the lag; a bounded run also learns from them that a tail holds nothing for us.
    let statistics = if wanted.bounded { "1000" } else { "5000" };
    let name = wanted.instance.as_ref().map(|instance| {
        let topics: Vec<&str> = wanted.topics.iter().map(|(topic, _)| topic.as_str()).collect();
        format!("{instance}.{:08x}", xxh3_64(topics.join("\n").as_bytes()) as u32)
    });
    let mut defaults = vec![
        ("fetch.min.bytes", "1"),
        // Asking is all that an idle client does (100 takes half as much again); a partition that comes meanwhile waits.
        ("fetch.wait.max.ms", "300"),
        // Small and cheap to refill: what waits here is memory beside the budget. For all partitions together.
        ("queued.max.messages.kbytes", "8192"),
        ("queued.min.messages", "10000"),
        ("fetch.queue.backoff.ms", "20"),
        // Compressed, for each partition; a larger message comes all the same, alone.
        ("fetch.message.max.bytes", "262144"),
        ("fetch.max.bytes", "8388608"),
        ("check.crcs", "true"),
    ];
    if !next_generation(config) {
        defaults.push(("partition.assignment.strategy", "cooperative-sticky"));
        // A process that was killed holds its partitions for this long.
        defaults.push(("session.timeout.ms", SESSION));
        defaults.extend(name.as_deref().map(|name| ("group.instance.id", name)));
    }
    let fixed = [
        ("group.id", group),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("isolation.level", "read_committed"),
        ("auto.offset.reset", "error"),
        ("statistics.interval.ms", statistics),
        ("allow.auto.create.topics", "false"),
    ];
    kafka::client_for(config, &defaults, &fixed)
}

/// The group as sinks see it. It does not keep the client alive: when the source is gone, so is the group.
pub struct Handle {
    pub client: Weak<Client>,
}

impl Handle {
    fn client(&self) -> Result<Arc<Client>> {
        self.client.upgrade().ok_or_else(|| Error::unavailable("the Kafka source has left its consumer group"))
    }

    /// The group's committed offsets; `alone` where nobody polls the client meanwhile, which tells it what has happened.
    fn ask_patiently(&self, partitions: &[Partition], alone: bool) -> Result<Cursors> {
        let begun = Instant::now();
        let mut silent_since = begun;
        loop {
            // Taken anew for each call: when the source has left, nobody waits for the answer any more.
            let client = self.client()?;
            let error = match ask(&client, partitions) {
                Ok(cursors) => return Ok(cursors),
                Err(error) => error,
            };
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
            if code != RDKafkaErrorCode::OperationTimedOut {
                silent_since = Instant::now();
            }
            let patient = begun.elapsed() < COMMITTED && silent_since.elapsed() < SILENT;
            if alone {
                hear(&client);
            }
            let names: Vec<String> = partitions.iter().map(Partition::to_string).collect();
            let group = &client.context().group;
            let doing = format!("read the committed offsets of group {group} in {}", names.join(", "));
            let told = client.context().troubles.explain(doing, &error);
            // A refusal is told by an event, while the call itself only times out.
            let refused = alone && told.kind != ErrorKind::Unavailable;
            if !kafka::passes(code) || !patient || refused {
                return Err(told);
            }
            tracing::debug!(error = %told, "the group's committed offsets: again");
            drop(client);
            std::thread::sleep(ASK_AGAIN);
        }
    }
}

impl Group for Handle {
    fn metadata(&self) -> Option<ConsumerGroupMetadata> {
        self.client().ok()?.group_metadata()
    }

    fn topic_id(&self, topic: &str) -> Option<String> {
        self.client().ok()?.context().ids().remove(topic)
    }

    fn committed(&self, partitions: &[Partition]) -> Result<Cursors> {
        self.ask_patiently(partitions, false)
    }

    fn has_begun(&self, topics: &[&str]) -> Result<bool> {
        let client = self.client()?;
        let mut all = Vec::new();
        for topic in topics {
            all.extend((0..partitions(&client, topic)?).map(|number| Partition::new(*topic, number as i32)));
        }
        drop(client);
        Ok(self.ask_patiently(&all, true)?.values().any(|cuts| !cuts.is_empty()))
    }
}

/// Looks that a topic is there; tells how many partitions it has.
pub fn partitions(client: &Client, topic: &str) -> Result<usize> {
    let troubles = &client.context().troubles;
    let metadata = client.fetch_metadata(Some(topic), METADATA).map_err(|error| {
        hear(client);
        troubles.explain(format!("topic {topic}"), &error)
    })?;
    let error = metadata.topics().iter().find_map(|topic| topic.error());
    if let Some(code) = error.map(RDKafkaErrorCode::from).filter(|code| !is_electing(*code)) {
        return Err(troubles.explain(format!("topic {topic}"), &KafkaError::MetadataFetch(code)));
    }
    Ok(metadata.topics().iter().map(|topic| topic.partitions().len()).sum())
}

/// Why a broker does not answer is told by events, which nobody has polled before the source runs.
fn hear(client: &Client) {
    while let Some(polled) = client.poll(Duration::from_millis(10)) {
        if let Err(error) = polled {
            client.context().troubles.note(&error, &error.to_string());
        }
    }
}

/// A leader is being elected: the topic is there.
fn is_electing(code: RDKafkaErrorCode) -> bool {
    kafka::meaning(code) == (ErrorKind::Unavailable, None)
}

/// With read_committed librdkafka asks for stable offsets, and gives up soon while a transaction holds one.
fn ask(client: &Client, partitions: &[Partition]) -> KafkaResult<Cursors> {
    let offsets = client.committed_offsets(list(partitions), ASK)?;
    let (mut cursors, ids) = (Cursors::new(), client.context().ids());
    for element in offsets.elements() {
        element.error()?;
        let id = ids.get(element.topic()).map(String::as_str);
        let cuts = match element.offset() {
            Offset::Offset(next) => vec![kafka::cursor_of(next, element.metadata(), id)],
            _ => Vec::new(),
        };
        cursors.insert(Partition::new(element.topic(), element.partition()), cuts);
    }
    Ok(cursors)
}

/// Closes the client; `for_good` when nobody comes back under its name, so that others may have its partitions now.
/// Answers what nobody has answered, or closing would wait for it.
///
/// In the midst of a revocation it always leaves for good. What is revoked is given to others when we have joined again;
/// one that comes back under our name is given the rest without being asked to join, and then nobody ever gets it.
pub fn leave(client: Arc<Client>, for_good: bool) {
    let member = client.context().clone();
    member.attend(false);
    let mut torn = member.torn.load(Ordering::SeqCst);
    while let Some(rebalance) = member.next_rebalance() {
        torn |= matches!(rebalance, Rebalance::Revoke(_));
        rebalance.decline(&client);
    }
    if for_good || torn {
        say_goodbye(&client);
    }
    drop(client);
}

/// A member with a name leaves by unsubscribing: closing alone is taken for a restart.
fn say_goodbye(client: &Client) {
    let deadline = Instant::now() + GOODBYE;
    client.unsubscribe();
    // The number that the broker gave us is gone when we have asked to leave.
    while id(client).is_some() && Instant::now() < deadline {
        drop(client.poll(Duration::from_millis(10)));
    }
}

/// Its number in the group, as long as it is in there.
pub fn id(client: &Client) -> Option<String> {
    // SAFETY: the client lives; what it gives is ours, ends with a zero, and is freed by its own function.
    unsafe {
        let id = rd_kafka_memberid(client.client().native_ptr());
        if id.is_null() {
            return None;
        }
        let text = CStr::from_ptr(id).to_string_lossy().into_owned();
        rd_kafka_mem_free(client.client().native_ptr(), id.cast());
        Some(text).filter(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn made(properties: &[(&str, &str)]) -> ClientConfig {
        let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect();
        let config = config::Kafka {
            brokers: "x".into(),
            client_id: "x".into(),
            group: "x".into(),
            properties,
            lacking: Vec::new(),
        };
        let wanted = Settings { instance: Some("a".into()), ..Settings::new("orders".into(), Vec::new()) };
        settings(&config, "x", &wanted)
    }

    /// A member that the broker assigns to has no name and no session of its own; librdkafka refuses to be told of one.
    #[test]
    fn a_member_of_the_next_generation_has_no_name() {
        for protocol in ["consumer", "CONSUMER"] {
            let client = made(&[("group.protocol", protocol)]);
            assert_eq!((client.get("group.instance.id"), client.get("session.timeout.ms")), (None, None), "{protocol}");
        }
        let client = made(&[("group.protocol", "classic")]);
        assert!(client.get("group.instance.id").is_some());
        assert_eq!(client.get("session.timeout.ms"), Some(SESSION));
    }
}
