//! What source and sink share about Kafka: client settings, what an error means, and the consumer group they commit
//! for.
//!
//! librdkafka reports most troubles twice: as the code a call returns (`timed out`), and as an event that tells why
//! (`authentication failed`). [`Troubles`] keeps the telling one, so that an operator reads which it was: a broker
//! that cannot be reached, a wrong password, a missing permission, a missing topic, or another instance.
//!
//! Why a certificate is refused librdkafka does not tell at all, nor that a port takes another protocol: [`tls`] and
//! [`protocol`] find out.
//!
//! Secrets are handed to librdkafka and never come back: an error about a property names it and shows no value.

pub mod ids;
mod log;
mod protocol;
mod tls;

use std::{
    fmt::Display,
    sync::{Arc, Mutex, PoisonError},
};

use rdkafka::{
    ClientConfig, ClientContext,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    consumer::{ConsumerContext, ConsumerGroupMetadata},
    error::KafkaError,
    producer::{DeliveryResult, ProducerContext},
    types::RDKafkaErrorCode::{self, *},
};

pub use self::log::log;
use crate::{
    config,
    cursor::{ANEW, Cursors, Partition},
    error::{Error, ErrorKind, Result},
};

/// The consumer group behind a Kafka source, as the transactional sink needs it.
pub trait Group: Send + Sync {
    /// Taken fresh for each transaction: it carries the generation that fences zombies.
    fn metadata(&self) -> Option<ConsumerGroupMetadata>;
    /// The id of a topic, as far as it is known. Who commits an offset puts it beside it.
    fn topic_id(&self, topic: &str) -> Option<String>;
    /// Committed offsets of the partitions; waits for transactions that are still open. [`ANEW`] in place of one that was
    /// committed for another topic of this name.
    fn committed(&self, partitions: &[Partition]) -> Result<Cursors>;
    /// Whether an offset was committed of any partition that one of the topics has.
    fn has_begun(&self, topics: &[&str]) -> Result<bool>;
}

/// What stands beside a committed offset of a topic with this id.
pub fn note_of(id: &str) -> String {
    format!("{NOTE}{id}")
}

/// The cursor that a committed offset is, given what stands beside it, and the id that the topic has now.
pub fn cursor_of(next: i64, note: &str, id: Option<&str>) -> i64 {
    // Other tools leave other notes, or none.
    match (note.strip_prefix(NOTE), id) {
        (Some(then), Some(now)) if then != now => ANEW,
        _ => next,
    }
}

const NOTE: &str = "topic id ";

/// Shared by the source that is in the group and the sink that commits for it.
pub type SharedGroup = Arc<dyn Group>;

/// Settings of any client: consumer, producer, admin.
pub fn client(config: &config::Kafka) -> ClientConfig {
    client_for(config, &[], &[])
}

/// Settings of a client with a role. Later ones win: `defaults`, then what people wrote in `[kafka.properties]`, then
/// `fixed`, which our protocol depends on.
pub fn client_for(config: &config::Kafka, defaults: &[(&str, &str)], fixed: &[(&str, &str)]) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set_log_level(RDKafkaLogLevel::Warning);
    client
        .set("bootstrap.servers", &config.brokers)
        .set("client.id", &config.client_id)
        .set("socket.keepalive.enable", "true")
        .set("reconnect.backoff.max.ms", "2000")
        .set("log.connection.close", "false")
        // How soon a new partition of a topic is found.
        .set("topic.metadata.refresh.interval.ms", "60000");
    for (name, value) in defaults {
        client.set(*name, *value);
    }
    for (name, value) in &config.properties {
        client.set(name, value.expose());
    }
    for (name, value) in fixed {
        client.set(*name, *value);
    }
    client
}

/// What a client tells of its troubles, and what else its owner keeps of what it is told.
#[derive(Default)]
pub struct Told<More = ()> {
    pub troubles: Troubles,
    pub more: More,
}

impl<More: Default> Told<More> {
    pub fn new(config: &config::Kafka) -> Told<More> {
        Told { troubles: Troubles::new(config), more: More::default() }
    }
}

impl<More: Send + Sync> ClientContext for Told<More> {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log(level, facility, text);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        self.troubles.note(&error, reason);
    }
}

impl ConsumerContext for Told {}

/// Whether librdkafka takes the settings of such a client together: each alone may be good. Only who builds a client is told;
/// this one knows no broker and no certificates, and is in no group, so that it asks nobody.
pub fn agree<Client: FromClientConfigAndContext<Silent>>(mut settings: ClientConfig) -> Result<()> {
    let whom = |key: &str| key == "bootstrap.servers" || key == "group.id" || key == "security.protocol";
    let of_others = |key: &str| whom(key) || key.starts_with("ssl.") || key.starts_with("https.");
    let left_out: Vec<String> =
        settings.config_map().into_keys().filter(|key| of_others(key)).map(str::to_owned).collect();
    for key in &left_out {
        settings.remove(key);
    }
    let refused = Client::from_config_and_context(&settings, Silent).err();
    refused.map_or(Ok(()), |error| Err(Error::config(classify(&error).1)))
}

/// Of a client that is built and thrown away.
pub struct Silent;

impl ClientContext for Silent {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::debug!(?level, facility, "librdkafka: {text}");
    }
}
impl ConsumerContext for Silent {}
impl ProducerContext for Silent {
    type DeliveryOpaque = ();
    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// What an operator has to do about a code, and what it means in plain words.
pub fn meaning(code: RDKafkaErrorCode) -> (ErrorKind, Option<&'static str>) {
    let (kind, words) = match code {
        Authentication | SaslAuthenticationFailed | UnsupportedSASLMechanism | IllegalSASLState => (
            ErrorKind::Config,
            "the broker refuses our credentials: check sasl.mechanism, sasl.username and sasl.password",
        ),
        TopicAuthorizationFailed => {
            (ErrorKind::Config, "no permission on the topic: a source needs READ, a sink WRITE")
        }
        GroupAuthorizationFailed => (ErrorKind::Config, "no permission on the consumer group: it needs READ"),
        TransactionalIdAuthorizationFailed => {
            (ErrorKind::Config, "no permission on the transactional id: it needs WRITE and DESCRIBE")
        }
        ClusterAuthorizationFailed => (ErrorKind::Config, "no permission on the cluster: it needs IDEMPOTENT_WRITE"),
        InvalidSessionTimeout => (
            ErrorKind::Config,
            "session.timeout.ms is not between the broker's group.min.session.timeout.ms and group.max.session.timeout.ms",
        ),
        InvalidTransactionTimeout => {
            (ErrorKind::Config, "transaction.timeout.ms is above the broker's transaction.max.timeout.ms")
        }
        MessageSizeTooLarge => (
            ErrorKind::Config,
            "a message, or messages that are sent together, are larger than the topic takes: raise the topic's \
             max.message.bytes to a megabyte at least, and message.max.bytes here where it is below that",
        ),
        InvalidTimestamp => (
            ErrorKind::Config,
            "the topic does not take the time of a message: give it the message.timestamp.after.max.ms, \
             message.timestamp.before.max.ms and message.timestamp.type of the raw topic",
        ),
        InvalidRecord => (
            ErrorKind::Config,
            "the topic does not take a record as it is: a compacted topic wants keys, and the messages' times must be \
             within its message.timestamp.after.max.ms and message.timestamp.before.max.ms",
        ),
        InvalidTopic => (ErrorKind::Config, "this is not a valid topic name"),
        InconsistentGroupProtocol => {
            (ErrorKind::Config, "other members of the consumer group use another partition.assignment.strategy")
        }
        SSL => (ErrorKind::Unavailable, "the TLS handshake fails: check security.protocol and the ssl.* properties"),
        Resolve => (ErrorKind::Unavailable, "the broker's host name cannot be resolved"),
        BrokerTransportFailure | AllBrokersDown => (ErrorKind::Unavailable, "the broker cannot be reached"),
        OperationTimedOut | RequestTimedOut | MessageTimedOut | TimedOutQueue => {
            (ErrorKind::Unavailable, "the broker does not answer in time")
        }
        UnknownTopicOrPartition | UnknownTopic | UnknownTopicId | UnknownPartition => {
            (ErrorKind::Unavailable, "the topic does not exist")
        }
        Fenced | FencedInstanceId | ProducerFenced | InvalidProducerEpoch | TransactionCoordinatorFenced => {
            (ErrorKind::Fenced, "another instance with the same name has taken over")
        }
        IllegalGeneration | UnknownMemberId | StaleMemberEpoch | FencedMemberEpoch | AssignmentLost | PollExceeded => {
            (ErrorKind::Evicted, "the group has given our partitions to another member")
        }
        OffsetOutOfRange | AutoOffsetReset | LogTruncation => {
            (ErrorKind::Gap, "offsets that we have not read are gone")
        }
        _ => return (ErrorKind::Unavailable, None),
    };
    (kind, Some(words))
}

/// What an operator has to do about an error, and what it says.
pub fn classify(error: &KafkaError) -> (ErrorKind, String) {
    match error {
        // The text of librdkafka repeats the value, which may be a password.
        KafkaError::ClientConfig(_, _, property, _) => {
            (ErrorKind::Config, format!("librdkafka does not take the property {property} or its value"))
        }
        KafkaError::ClientCreation(why) => {
            let advice = match why.contains("ssl.key.location failed") || why.contains("ssl.key.pem") {
                true => " (an encrypted key wants its ssl.key.password)",
                false => "",
            };
            (ErrorKind::Config, format!("the client cannot be built: {why}{advice}"))
        }
        KafkaError::Transaction(why) => {
            let (kind, words) = meaning(why.code());
            (kind, words.map_or_else(|| why.string(), |words| format!("{words} ({})", why.string())))
        }
        _ => match error.rdkafka_error_code() {
            Some(code) => {
                let (kind, words) = meaning(code);
                (kind, words.map_or_else(|| error.to_string(), |words| format!("{words} ({code})")))
            }
            None => (ErrorKind::Unavailable, error.to_string()),
        },
    }
}

/// Whether polling on may help: nothing is wrong with us, somebody is away for a moment.
pub fn passes(code: RDKafkaErrorCode) -> bool {
    let (kind, _) = meaning(code);
    kind == ErrorKind::Unavailable && !matches!(code, UnknownTopicOrPartition | UnknownTopic | Fatal)
}

/// The most telling trouble a client has reported lately.
#[derive(Debug, Default)]
pub struct Troubles {
    last: Mutex<Option<(RDKafkaErrorCode, String)>>,
    knock: tls::Knock,
}

impl Troubles {
    pub fn new(config: &config::Kafka) -> Troubles {
        Troubles { last: Mutex::default(), knock: tls::Knock::new(config) }
    }

    /// For `ClientContext::error`.
    pub fn note(&self, error: &KafkaError, reason: &str) {
        let Some(mut code) = error.rdkafka_error_code() else { return };
        // A connection that is lost while mechanisms are agreed on is no refusal, though librdkafka calls it so.
        if code == Authentication && reason.contains("handshake failed: Local:") {
            code = BrokerTransportFailure;
        }
        let reason = without_secrets(reason);
        tracing::debug!(%code, reason, "kafka client event");
        // What is gone the broker's own marks tell, to whoever is told of it. Afterwards it explains nothing.
        if meaning(code).0 == ErrorKind::Gap {
            return;
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_none_or(|(kept, _)| rank(*kept) <= rank(code)) {
            *last = Some((code, reason.to_owned()));
        }
    }

    /// What was troubling is over.
    pub fn forget(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub fn last(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether polling on may help, by what the client has told of it; see [`passes`].
    pub fn passing(&self, error: &KafkaError) -> bool {
        let mut code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        if code == Authentication
            && let Some((told, _)) = self.last()
        {
            code = told;
        }
        passes(code)
    }

    /// The error with the reason behind it, if the client has told one.
    pub fn explain(&self, doing: impl Display, error: &KafkaError) -> Error {
        let (mut kind, mut text) = classify(error);
        let code = error.rdkafka_error_code().unwrap_or(NoError);
        let last = self.last();
        // The first question to a broker is that for its topics.
        if matches!(error, KafkaError::MetadataFetch(_))
            && rank(code) <= rank(BrokerTransportFailure)
            && last.as_ref().is_none_or(|(told, reason)| rank(*told) < 4 || reason.contains("SASL state"))
            && let Some(refusal) = self.knock.other_protocol()
        {
            return Error::from(refusal).context(doing);
        }
        if let Some((told, reason)) = last
            && rank(told) >= rank(code)
        {
            if told == SSL
                && reason.contains("could not be verified")
                && let Some(refusal) = self.knock.refusal()
            {
                return Error::from(refusal).context(doing);
            }
            let (worse, words) = match tls::alert(&reason) {
                Some(words) => (ErrorKind::Config, Some(words)),
                None => meaning(told),
            };
            kind = worse;
            text = words.map_or(reason.clone(), |words| format!("{words} ({reason})"));
        }
        Error::new(kind, text).context(doing)
    }
}

/// What librdkafka says, but what it repeats of `sasl.oauthbearer.config`, which may have a secret in it.
fn without_secrets(reason: &str) -> &str {
    const PROPERTY: &str = "sasl.oauthbearer.config";
    reason.find(PROPERTY).map_or(reason, |at| &reason[..at + PROPERTY.len()])
}

/// How much a code tells: a timeout says least, a refusal most.
fn rank(code: RDKafkaErrorCode) -> u8 {
    match code {
        OperationTimedOut | RequestTimedOut | TimedOutQueue => 0,
        AllBrokersDown => 1,
        BrokerTransportFailure => 2,
        Resolve | SSL => 3,
        _ if meaning(code).0 != ErrorKind::Unavailable => 4,
        _ => 2,
    }
}

#[cfg(test)]
mod tests;
