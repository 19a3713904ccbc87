//! What librdkafka says, in our words.

use rdkafka::{
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};

use super::*;
use crate::config::Secret;

fn kafka(properties: &[(&str, &str)]) -> config::Kafka {
    let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect();
    let (brokers, client_id, group) = ("localhost:0".into(), "huiju".into(), "huiju".into());
    config::Kafka { brokers, client_id, group, properties, lacking: Vec::new() }
}

#[test]
fn what_people_write_wins_over_defaults_and_loses_to_what_the_protocol_needs() {
    let config = kafka(&[("linger.ms", "7"), ("enable.auto.commit", "true")]);
    let client = client_for(&config, &[("linger.ms", "5")], &[("enable.auto.commit", "false")]);
    assert_eq!(client.get("linger.ms"), Some("7"));
    assert_eq!(client.get("enable.auto.commit"), Some("false"));
}

#[test]
fn a_gap_that_was_looked_into_explains_nothing_later() {
    let troubles = Troubles::default();
    troubles.note(&KafkaError::Global(AutoOffsetReset), "t [0]: offset 4 is out of range");
    let error = troubles.explain("ask", &KafkaError::OffsetFetch(OperationTimedOut));
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
}

#[test]
fn what_is_over_explains_nothing_later() {
    let troubles = Troubles::default();
    let late = KafkaError::MessageConsumption(OperationTimedOut);
    troubles.note(&KafkaError::Global(Authentication), "SASL authentication error");
    assert_eq!(troubles.explain("read", &late).kind, ErrorKind::Config);
    troubles.forget();
    assert!(troubles.last().is_none());
    let error = troubles.explain("read", &late);
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
}

/// What does not pass by waiting is not waited for.
#[test]
fn what_an_operator_has_to_mend_is_told_and_named() {
    for (code, what) in [
        (MessageSizeTooLarge, "max.message.bytes"),
        (InvalidTransactionTimeout, "transaction.max.timeout.ms"),
        (ClusterAuthorizationFailed, "IDEMPOTENT_WRITE"),
        (TransactionalIdAuthorizationFailed, "transactional id"),
        (GroupAuthorizationFailed, "consumer group"),
        (TopicAuthorizationFailed, "permission on the topic"),
        (InvalidTimestamp, "message.timestamp.after.max.ms"),
        (InvalidRecord, "compacted"),
        (InvalidTopic, "topic name"),
        (InconsistentGroupProtocol, "partition.assignment.strategy"),
    ] {
        let (kind, text) = classify(&KafkaError::MessageProduction(code));
        assert_eq!(kind, ErrorKind::Config, "{code:?}");
        assert!(text.contains(what) && !passes(code), "{code:?}: {text}");
    }
}

#[test]
fn a_refused_property_is_named_and_its_value_is_not_shown() {
    let config = kafka(&[("sasl.password.file", "geheim")]);
    let error = client(&config).create::<BaseConsumer>().err().expect("no such property");
    let (kind, text) = classify(&error);
    assert_eq!(kind, ErrorKind::Config);
    assert!(text.contains("sasl.password.file") && !text.contains("geheim"), "{text}");
}

#[test]
fn what_is_said_of_a_token_repeats_nothing_of_what_it_is_made_of() {
    let config = kafka(&[
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "OAUTHBEARER"),
        ("enable.sasl.oauthbearer.unsecure.jwt", "true"),
        ("sasl.oauthbearer.config", "principal=huiju geheim=abcdef"),
    ]);
    struct Told(Troubles);
    impl rdkafka::ClientContext for Told {
        fn error(&self, error: KafkaError, reason: &str) {
            self.0.note(&error, reason);
        }
    }
    impl rdkafka::consumer::ConsumerContext for Told {}
    let client: BaseConsumer<Told> = client(&config).create_with_context(Told(Troubles::default())).unwrap();
    let begun = std::time::Instant::now();
    while client.context().0.last().is_none() {
        client.poll(std::time::Duration::from_millis(50));
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "the token is not complained of");
    }
    let (_, reason) = client.context().0.last().unwrap();
    assert!(reason.ends_with("Unrecognized sasl.oauthbearer.config"), "{reason}");
}

#[test]
fn the_reason_behind_a_timeout_is_told() {
    let troubles = Troubles::default();
    troubles.note(&KafkaError::Global(Authentication), "sasl_plaintext://b:1: SASL authentication failed");
    troubles.note(&KafkaError::Global(AllBrokersDown), "1/1 brokers are down");
    let error = troubles.explain("read metadata", &KafkaError::MetadataFetch(OperationTimedOut));
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.to_string().contains("refuses our credentials"), "{error}");
}

#[test]
fn what_a_broker_says_of_our_certificate_is_for_us_to_mend() {
    for (alert, words) in [
        ("tlsv13 alert certificate required: SSL alert number 116", "wants a certificate of ours"),
        ("ssl/tls alert certificate expired: SSL alert number 45", "our certificate has expired"),
        ("tlsv1 alert unknown ca: SSL alert number 48", "does not take our certificate"),
        ("tlsv1 alert access denied: SSL alert number 49", "does not take our certificate"),
        ("sslv3 alert certificate revoked: SSL alert number 44", "does not take our certificate"),
        ("sslv3 alert certificate unknown: SSL alert number 46", "does not take our certificate"),
        ("sslv3 alert unsupported certificate: SSL alert number 43", "does not take our certificate"),
        ("sslv3 alert bad certificate: SSL alert number 42", "wants a certificate of ours"),
        ("sslv3 alert handshake failure: SSL alert number 40", "cannot be reached"),
    ] {
        let troubles = Troubles::new(&kafka(&[]));
        let reason = format!("sasl_ssl://b:1/bootstrap: Receive failed: error:0A00045C:SSL routines::{alert}");
        troubles.note(&KafkaError::Global(BrokerTransportFailure), &reason);
        let error = troubles.explain("read metadata", &KafkaError::MetadataFetch(OperationTimedOut));
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.kind == ErrorKind::Config, words != "cannot be reached", "{error}");
    }
}

#[test]
fn a_connection_lost_while_mechanisms_are_agreed_on_is_no_wrong_password() {
    let reason = "SASL SCRAM-SHA-512 mechanism handshake failed: Local: Broker transport failure: broker's \
                  supported mechanisms:  (after 3ms in state AUTH_HANDSHAKE)";
    let troubles = Troubles::default();
    troubles.note(&KafkaError::Global(Authentication), reason);
    assert!(troubles.passing(&KafkaError::MessageConsumption(Authentication)));
    let error = troubles.explain("commit", &KafkaError::MessageConsumption(OperationTimedOut));
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    troubles.note(&KafkaError::Global(Authentication), "SASL authentication error: Authentication failed");
    assert!(!troubles.passing(&KafkaError::MessageConsumption(Authentication)));
}

#[test]
fn an_offset_of_another_topic_of_the_name_is_no_cursor() {
    assert_eq!(cursor_of(7, &note_of("a"), Some("b")), ANEW);
    for (note, id) in
        [(note_of("a"), Some("a")), (note_of("a"), None), (String::new(), Some("a")), ("b".into(), Some("a"))]
    {
        assert_eq!(cursor_of(7, &note, id), 7, "{note} {id:?}");
    }
}

/// T14: leaders and coordinators move, brokers come back; polling on is all that it takes.
#[test]
fn what_passes_by_itself_is_waited_for_and_nothing_else() {
    for code in [
        NotLeaderForPartition,
        LeaderNotAvailable,
        ReplicaNotAvailable,
        PreferredLeaderNotAvailable,
        FencedLeaderEpoch,
        UnknownLeaderEpoch,
        OffsetNotAvailable,
        NotCoordinator,
        CoordinatorNotAvailable,
        CoordinatorLoadInProgress,
        NotEnoughReplicas,
        NetworkException,
        KafkaStorageError,
        RebalanceInProgress,
        UnstableOffsetCommit,
        BrokerTransportFailure,
        AllBrokersDown,
        Resolve,
        SSL,
        OperationTimedOut,
        RequestTimedOut,
        WaitingForCoordinator,
    ] {
        assert!(passes(code), "{code:?}");
    }
    for code in [
        Fatal,
        UnknownTopicOrPartition,
        UnknownTopic,
        TopicAuthorizationFailed,
        GroupAuthorizationFailed,
        TransactionalIdAuthorizationFailed,
        Authentication,
        InconsistentGroupProtocol,
        Fenced,
        FencedInstanceId,
        UnknownMemberId,
        IllegalGeneration,
        PollExceeded,
        OffsetOutOfRange,
        AutoOffsetReset,
    ] {
        assert!(!passes(code), "{code:?}");
    }
}

#[test]
fn each_kind_of_refusal_has_its_own_words() {
    let words = |code| classify(&KafkaError::Global(code)).1;
    assert!(words(BrokerTransportFailure).contains("cannot be reached"));
    assert!(words(GroupAuthorizationFailed).contains("consumer group"));
    assert!(words(UnknownTopicOrPartition).contains("does not exist"));
    assert!(words(Fenced).contains("another instance"));
}

/// Each of them alone is a good value.
#[test]
fn properties_that_do_not_go_together_are_told_without_a_broker() {
    let told = |name: &str, value: &str| {
        let config = kafka(&[(name, value)]);
        [crate::source::kafka::check(&config), crate::sink::kafka::check(&config)].map(|checked| match checked {
            Ok(()) => String::new(),
            Err(error) => format!("{:?} {error}", error.kind),
        })
    };
    for (name, value, of_source, words) in [
        ("retries", "0", false, "`retries` must be set >= 1"),
        ("max.in.flight", "10", false, "`max.in.flight` must be set <="),
        ("queuing.strategy", "lifo", false, "`queuing.strategy"),
        ("message.timeout.ms", "1", false, "`message.timeout.ms` must be greater than `linger.ms`"),
        ("max.poll.interval.ms", "1", true, "`max.poll.interval.ms`must be >= `session.timeout.ms`"),
        ("fetch.max.bytes", "10", true, "`fetch.max.bytes` must be >= `message.max.bytes`"),
    ] {
        let [source, sink] = told(name, value);
        let (refused, taken) = if of_source { (source, sink) } else { (sink, source) };
        assert!(refused.starts_with("Config ") && refused.contains(words), "{name}: {refused}");
        assert_eq!(taken, "", "{name}");
    }
    // What only who connects needs.
    for (name, value) in [
        ("linger.ms", "50"),
        ("security.protocol", "ssl"),
        ("ssl.ca.location", "no/such.pem"),
        ("group.protocol", "consumer"),
    ] {
        assert_eq!(told(name, value), ["", ""], "{name}");
    }
}
