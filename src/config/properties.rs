//! `[kafka.properties]`: passed to librdkafka as they are, except those that would break delivery.
//!
//! Their values may be secrets, so no message here shows one. A secret that is not there stops who connects to a broker,
//! and nobody else: rows are tried and tables looked after by people who must not know the password.

use std::path::Path;

use rdkafka::{config::ClientConfig, error::KafkaError, types::RDKafkaConfRes};
use toml::de::{DeTable, DeValue};

use super::{
    Secret,
    read::{Env, base},
    table::Table,
    values::kind_of,
};
use crate::{error::Finding, file, near::nearest};

/// Why a property cannot be set by people.
const OURS: [(&str, &str); 21] = [
    ("bootstrap.servers", "write brokers in [kafka] instead"),
    ("metadata.broker.list", "write brokers in [kafka] instead"),
    ("client.id", "write client_id in [kafka] instead"),
    ("group.id", "each pipeline has its own group, write the prefix as group in [kafka] instead"),
    ("transactional.id", "it is made of group, pipeline and instance, so that a second process is told apart"),
    ("enable.auto.commit", "offsets are committed by the sinks, together with the rows; committing earlier loses rows"),
    ("enable.auto.offset.store", "offsets are committed by the sinks, together with the rows"),
    ("auto.offset.reset", "it would jump over messages that are gone; write gaps and start in pipeline.toml instead"),
    ("isolation.level", "reading uncommitted messages would carry rows that their producer took back"),
    ("enable.idempotence", "without it a retry writes rows twice"),
    ("acks", "with less than all, acknowledged rows are lost with their broker"),
    ("request.required.acks", "with less than all, acknowledged rows are lost with their broker"),
    ("partitioner", "rows of one key must stay in one partition, whoever writes them: it is murmur2_random"),
    ("partition.assignment.strategy", "the hand-over between processes is made for cooperative-sticky"),
    ("enable.partition.eof", "the ends of partitions are looked up, not waited for"),
    ("delivery.report.only.error", "what is delivered is counted by the transaction, only failures are reported"),
    ("statistics.interval.ms", "what the client tells regularly shows the lag, and topics that were created anew"),
    ("group.instance.id", "two processes of one name would shut each other out: write instance instead"),
    ("topic.blacklist", "topics that match it would not be read, and nothing would tell"),
    ("test.mock.num.brokers", "the client would talk to brokers of its own making in place of those in [kafka]"),
    ("allow.auto.create.topics", "topics are created by people, with the partitions and settings they need"),
];

/// How a secret is named.
const SECRET: &str = "{ env = \"NAME_OF_A_VARIABLE\" } or { file = \"/run/secrets/kafka\" }";

/// Milliseconds, above which librdkafka 2.12 finds no topic: it reckons their age, three times the interval, as microseconds
/// in 31 bits (`rdkafka_metadata_cache.c`).
const LONGEST: [(&str, i64); 2] =
    [("metadata.max.age.ms", i32::MAX as i64 / 1000), ("topic.metadata.refresh.interval.ms", i32::MAX as i64 / 3000)];

/// Those that people write most: what a slip is compared with.
const USUAL: [&str; 27] = [
    "security.protocol",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.endpoint.identification.algorithm",
    "enable.ssl.certificate.verification",
    "session.timeout.ms",
    "max.poll.interval.ms",
    "transaction.timeout.ms",
    "socket.timeout.ms",
    "fetch.max.bytes",
    "message.max.bytes",
    "compression.type",
    "compression.level",
    "linger.ms",
    "batch.size",
    "broker.address.family",
];

/// What `[kafka.properties]` says.
#[derive(Default)]
pub(super) struct Read {
    /// In the order of their names.
    pub properties: Vec<(String, Secret)>,
    /// What is to come from elsewhere and is not there.
    pub lacking: Vec<Finding>,
}

/// Unquoted dots are fine: `sasl.username = "x"` is what TOML calls tables in tables, and means the same.
pub(super) fn read(path: &Path, table: &Table<'_>, env: Env<'_>) -> Read {
    let (properties, lacking) = (Vec::new(), Vec::new());
    let mut reader = Reader { path, table, env, properties, lacking, protocol: None, mechanism: None };
    for (offset, key, value) in table.entries() {
        reader.read(offset, key, value);
    }
    if reader.lacking.is_empty() {
        reader.look_for_mechanism();
    }
    let mut lacking = reader.lacking;
    lacking.sort_by_key(|(offset, _)| *offset);
    let lacking = lacking.into_iter().map(|(offset, what)| table.finding(offset, what)).collect();
    Read { properties: reader.properties, lacking }
}

/// Why a property has no value.
enum Unusable {
    /// The variable or the file is not there, or empty.
    Lacking(String),
    Wrong(String),
}

impl From<String> for Unusable {
    fn from(why: String) -> Unusable {
        Unusable::Wrong(why)
    }
}

struct Reader<'r, 'd> {
    path: &'r Path,
    table: &'r Table<'d>,
    env: Env<'r>,
    properties: Vec<(String, Secret)>,
    /// By their places.
    lacking: Vec<(usize, String)>,
    /// Where `security.protocol` stands, and `sasl.mechanism`.
    protocol: Option<usize>,
    mechanism: Option<usize>,
}

impl Reader<'_, '_> {
    fn read(&mut self, offset: usize, key: &str, value: &DeValue<'_>) {
        if let DeValue::Table(inner) = value
            && !is_reference(inner)
        {
            let named = |name: &str| inner.contains_key(name);
            if named("env") || named("file") || USUAL.contains(&key) || is_secret(key) {
                let names: Vec<&str> = inner.keys().map(|name| name.get_ref().as_ref()).collect();
                let what = format!("{key}: write {SECRET}, one key: this has {}", names.join(", "));
                self.table.fault_at(offset, what);
                return;
            }
            for (name, value) in inner {
                self.read(name.span().start, &format!("{key}.{}", name.get_ref()), value.get_ref());
            }
            return;
        }
        match key {
            "security.protocol" => self.protocol = Some(offset),
            "sasl.mechanism" | "sasl.mechanisms" => self.mechanism = Some(offset),
            _ => {}
        }
        match self.property(key, value) {
            Ok(secret) => self.properties.push((key.to_owned(), secret)),
            Err(Unusable::Wrong(why)) => self.table.fault_at(offset, format!("{key}: {why}")),
            Err(Unusable::Lacking(why)) => self.lacking.push((offset, format!("{key}: {why}"))),
        }
    }

    /// Without a mechanism librdkafka takes Kerberos, which is not built in. Nor is what fetches tokens: with
    /// OAUTHBEARER it would wait for one for ever, unless it may make its own, which brokers take for tests only.
    fn look_for_mechanism(&self) {
        const WANTED: &str = "write sasl.mechanism = \"PLAIN\", \"SCRAM-SHA-256\" or \"SCRAM-SHA-512\"";
        let value =
            |wanted: fn(&str) -> bool| self.properties.iter().rfind(|(key, _)| wanted(key)).map(|(_, value)| value);
        let protocol = value(|key| key == "security.protocol").map_or("", spoken);
        let mechanism = value(|key| key.starts_with("sasl.mechanism")).map_or("", spoken);
        let own = value(|key| key == "enable.sasl.oauthbearer.unsecure.jwt").map_or("", spoken);
        match (self.protocol, self.mechanism) {
            _ if !protocol.to_lowercase().starts_with("sasl") => {}
            (Some(at), None) => self.table.fault_at(at, format!("security.protocol: SASL needs a mechanism: {WANTED}")),
            (_, Some(at)) if mechanism == "GSSAPI" => {
                self.table.fault_at(at, format!("sasl.mechanism: huiju is built without Kerberos: {WANTED}"));
            }
            (_, Some(at)) if mechanism == "OAUTHBEARER" && !["true", "t", "1"].contains(&&*own.to_lowercase()) => {
                self.table.fault_at(at, format!("sasl.mechanism: huiju fetches no tokens: {WANTED}"));
            }
            (_, Some(at)) if !["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"].contains(&mechanism) => {
                self.table.fault_at(at, format!("sasl.mechanism: huiju has no such mechanism: {WANTED}"));
            }
            _ => {}
        }
    }

    fn property(&self, key: &str, value: &DeValue<'_>) -> Result<Secret, Unusable> {
        if let Some((_, why)) = OURS.iter().find(|(ours, _)| *ours == key) {
            return Err(format!("cannot be set here: {why}").into());
        }
        let value = match value {
            DeValue::Table(reference) => {
                let secret = self.look_up(key, reference)?;
                let secret = if is_path(key, secret.expose()) { self.file(secret.expose())? } else { secret };
                return Ok(accepted(key, secret)?);
            }
            DeValue::String(text) => text.as_ref().to_owned(),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(yes) => yes.to_string(),
            other => {
                return Err(format!("a text, a number or true or false is wanted, this is {}", kind_of(other)).into());
            }
        };
        if let Some((_, longest)) = LONGEST.iter().find(|(property, _)| *property == key)
            && value.parse().is_ok_and(|ms: i64| ms > *longest)
        {
            let why = format!("above {longest} librdkafka finds no topic, because a number of its own overflows");
            return Err(why.into());
        }
        if is_secret(key) {
            return Err(format!("a secret does not belong in this file: write {SECRET}").into());
        }
        let value = if is_path(key, &value) { self.file(&value)? } else { Secret::new(value) };
        Ok(accepted(key, value)?)
    }

    /// The path of a file that librdkafka reads: from the folder of the configuration, as all paths in it.
    fn file(&self, written: &str) -> Result<Secret, String> {
        let path = base(self.path).join(written).into_os_string().into_string();
        path.map(Secret::new).map_err(|path| format!("the path {} is not UTF-8", path.display()))
    }

    /// The value of a property `key` that stands elsewhere.
    fn look_up(&self, key: &str, reference: &DeTable<'_>) -> Result<Secret, Unusable> {
        let (place, value) = reference.iter().next().expect("is_reference has seen its only key");
        let Some(name) = value.get_ref().as_str() else {
            return Err(format!("{} = \"…\" is wanted, this is {}", place.get_ref(), kind_of(value.get_ref())).into());
        };
        let (from, value) = if place.get_ref() == "env" {
            let lacking = || Unusable::Lacking(format!("the environment variable {name} is not set"));
            let value = (self.env)(name).ok_or_else(lacking)?;
            let from = format!("the environment variable {name}");
            let value = value.into_string().map_err(|_| format!("{from} is not UTF-8 text"))?;
            (from, value)
        } else {
            let path = base(self.path).join(name);
            let from = format!("the file {}", path.display());
            let bytes = file::read(&path).map_err(|e| Unusable::Lacking(format!("{from} cannot be read: {e}")))?;
            let text = String::from_utf8(bytes).map_err(|_| format!("{from} is not UTF-8 text"))?;
            (from, text)
        };
        held(key, &value).map(Secret::new).map_err(|why| match format!("{from} {why}") {
            said if why == EMPTY => Unusable::Lacking(said),
            said => Unusable::Wrong(said),
        })
    }
}

/// As compose files leave a variable that is not set.
const EMPTY: &str = "is empty";

/// What a variable or a file holds for a property, without the byte order mark and the newlines that editors leave: nobody sees
/// them, and the broker would only say that the password is wrong. Of the rest only keys and certificates have lines.
fn held<'t>(key: &str, text: &'t str) -> Result<&'t str, &'static str> {
    let value = text.trim_start_matches('\u{feff}').trim_end_matches(['\n', '\r']);
    let unseen = |c: char| c.is_control() && !(key.ends_with(".pem") && c.is_whitespace());
    match value {
        "" => Err(EMPTY),
        blank if blank.trim().is_empty() => Err("holds nothing but blanks"),
        odd if odd.contains(unseen) => Err("holds a newline, a tab or another control character: take it out"),
        value => Ok(value),
    }
}

/// `{ env = … }` or `{ file = … }`.
fn is_reference(table: &DeTable<'_>) -> bool {
    table.len() == 1 && (table.contains_key("env") || table.contains_key("file"))
}

fn is_secret(key: &str) -> bool {
    const ENDS: [&str; 4] = ["password", "passphrase", "secret", "key.pem"];
    // The last is what a token is made of, or its secret.
    ENDS.iter().any(|end| key.ends_with(end)) || key == "sasl.oauthbearer.config"
}

/// Whether the value is the path of a file. `probe` has librdkafka look for the system's certificates, and an engine is a
/// library that the system looks for.
fn is_path(key: &str, value: &str) -> bool {
    let named = key.starts_with("ssl.") && key.ends_with(".location") && key != "ssl.engine.location";
    named && !matches!(value, "" | "probe")
}

/// A value as librdkafka takes it: without blanks before it.
fn spoken(value: &Secret) -> &str {
    value.expose().trim_start()
}

/// Whether librdkafka can read the files that it is given: it would say so in OpenSSL's words, and later.
pub(super) fn files_are_there(properties: &[(String, Secret)]) -> Result<(), String> {
    let files = properties.iter().filter(|(key, value)| is_path(key, value.expose()));
    for (key, file) in files.map(|(key, value)| (key, value.expose())) {
        std::fs::File::open(file).map_err(|e| format!("{key}: the file {file} cannot be read: {e}"))?;
    }
    Ok(())
}

/// What gives the password away, or lets another server stand in for the broker, though the connection works; and what
/// to do about it.
pub(super) fn open_doors(properties: &[(String, Secret)]) -> Vec<&'static str> {
    let value = |wanted: &str| properties.iter().rfind(|(key, _)| key == wanted).map(|(_, value)| spoken(value));
    let is = |wanted: &str, values: &[&str]| {
        value(wanted).is_some_and(|value| values.iter().any(|one| one.eq_ignore_ascii_case(value)))
    };
    // SCRAM sends no password, but a proof of it.
    let tells = ["sasl.mechanism", "sasl.mechanisms"].iter().any(|key| is(key, &["PLAIN"]));
    let secure = is("security.protocol", &["SSL", "SASL_SSL"]);
    let doors = [
        (
            is("security.protocol", &["SASL_PLAINTEXT"]) && tells,
            "security.protocol: the password goes over the network in clear, and whoever listens can use it: write \
             \"SASL_SSL\" (SCRAM-SHA-512 as sasl.mechanism hides the password, but no message)",
        ),
        (
            secure && is("enable.ssl.certificate.verification", &["false", "f", "0"]),
            "enable.ssl.certificate.verification: any server is taken for the broker, and gets all that is \
             sent: name the authority in ssl.ca.location in its place",
        ),
        (
            secure && is("ssl.endpoint.identification.algorithm", &["none"]),
            "ssl.endpoint.identification.algorithm: another server with a certificate of the same authority is taken for \
             the broker: take this out once the broker's certificate has its name",
        ),
    ];
    doors.into_iter().filter(|(open, _)| *open).map(|(_, what)| what).collect()
}

/// Asks librdkafka whether it knows the property and takes the value.
fn accepted(key: &str, secret: Secret) -> Result<Secret, String> {
    // Its own words hold the value, so they are not repeated here.
    match ClientConfig::new().set(key, secret.expose()).create_native_config() {
        Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => {
            Err(match nearest(key, USUAL.iter().chain(OURS.iter().map(|(ours, _)| ours)).copied()) {
                Some(near) => format!("librdkafka knows no such property: did you mean \"{near}\"?"),
                None => "librdkafka knows no such property (its CONFIGURATION.md lists them)".into(),
            })
        }
        Err(_) => Err("librdkafka does not take this value (its CONFIGURATION.md lists what it takes)".into()),
        Ok(_) => Ok(secret),
    }
}
