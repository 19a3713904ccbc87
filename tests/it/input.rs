//! Strange messages through the whole pipeline: what each gets, and that its neighbours get what they should.

use std::fs;

use huiju::sample::Made;
use rdkafka::{
    ClientConfig,
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::Value;

use crate::support::{self, Carried, Project, Read, Sent, Settings, kafka, project::KEEP, transaction};

/// 2026-06-01T00:30:00Z
const MOMENT: i64 = 1_780_273_800_000;
const LIMIT: std::time::Duration = std::time::Duration::from_secs(30);

/// The fields of an ordinary order beside its number and title.
const REST: &str = r#""callTime":"2026-06-01 08:00:00","callerName":"欧阳建国","callerPhone":"13870012345","callType":"投诉","sourceType":"电话","appealContent":"小区路灯不亮，请处理","areaName":"东湖区","orderState":"处理中","updateTime":"2026-06-01 08:05:00""#;

fn order(number: &str, more: &str) -> String {
    format!(r#"{{"orderNum":"{number}","title":"路灯"{more},{REST}}}"#)
}

fn sent(payload: impl Into<Vec<u8>>, made: Made) -> Sent {
    Sent { source: "nanchang", key: Some(b"k".to_vec()), payload: Some(payload.into()), timestamp: MOMENT, made }
}

fn one_partition() -> Settings {
    Settings { partitions: 1, ..Settings::default() }
}

/// Numbers of the orders in the clean topic, in its order.
fn orders(carried: &Carried) -> Vec<String> {
    let number = |message: &Read| {
        let row: Value = serde_json::from_slice(message.payload.as_deref().unwrap()).unwrap();
        row["order_no"].as_str().unwrap().to_owned()
    };
    carried.clean.iter().map(number).collect()
}

#[test]
fn t10_messages_without_payload_key_time_or_header_values() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "t10", one_partition());
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", kafka.bootstrap()).create().unwrap();
    let topic = project.topic("nanchang");
    let send = |number: i64, key: Option<&str>, payload: Option<&str>, timestamp: i64, headers: bool| {
        let mut record = BaseRecord::<str, str>::to(&topic).partition(0).timestamp(timestamp);
        (record.key, record.payload) = (key, payload);
        if headers {
            let headers = OwnedHeaders::new()
                .insert(Header { key: "trace", value: None::<&str> })
                .insert(Header { key: "", value: Some("") });
            record = record.headers(headers);
        }
        producer.send(record).map_err(|(e, _)| e).unwrap();
        producer.flush(LIMIT).unwrap();
        number
    };
    let good: Vec<String> = ["A", "B", "C", "D", "E"].iter().map(|number| order(number, "")).collect();
    send(0, Some("a"), Some(&good[0]), MOMENT, false);
    send(1, Some("gone"), None, MOMENT, false);
    send(2, Some("empty"), Some(""), MOMENT, false);
    send(3, None, Some(&good[1]), MOMENT, false);
    send(4, Some("d"), Some(&good[2]), -1, false);
    send(5, Some("e"), Some(&good[3]), MOMENT, true);
    send(6, None, None, -1, true);
    send(7, Some("f"), Some(&good[4]), MOMENT, false);

    project.drained();
    let carried = project.settle();
    assert_eq!(orders(&carried), ["A", "B", "C", "D", "E"]);
    let rejected: Vec<_> = carried
        .rejected
        .iter()
        .map(|message| (message.key.as_deref(), message.payload.as_deref(), message.header("huiju.code").unwrap()))
        .collect();
    assert_eq!(
        rejected,
        [
            (Some(&b"gone"[..]), None, "decode.tombstone"),
            (Some(&b"empty"[..]), Some(&b""[..]), "decode.empty"),
            (None, None, "decode.tombstone"),
        ]
    );
    // What is produced again has the time it had; what had none gets that of its writing.
    let times: Vec<_> = carried.rejected.iter().map(|message| message.timestamp == Some(MOMENT)).collect();
    assert_eq!(times, [true, true, false], "{:?}", carried.rejected);
    for message in &carried.clean {
        let told = ["huiju.source", "huiju.pipeline", "huiju.contract"].map(|name| message.header(name));
        assert_eq!(told[..2], [Some("nanchang"), Some("work_orders")]);
        assert!(told[2].is_some_and(|contract| contract.starts_with("work_orders/")), "{told:?}");
    }
    let untimed: Vec<_> = carried.rows.rows.iter().filter(|row| !row.contains_key("_ingested_at")).collect();
    assert_eq!(untimed.len(), 1, "a message without a time has none afterwards");
    assert_eq!(untimed[0]["order_no"], "C");
    let clean = &carried.clean[2];
    assert!(clean.timestamp.is_some(), "Kafka gives it the time of its writing: {clean:?}");
}

#[test]
fn t10_a_topic_with_the_brokers_time() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::without_topics(kafka, "t10append", one_partition());
    kafka.create_topic(&project.topic("nanchang"), 1, &[("message.timestamp.type", "LogAppendTime")]);
    for topic in [project.topic("ganzhou"), project.topic("yichun"), project.clean_topic(), project.rejected_topic()] {
        kafka.create_topic(&topic, 1, &KEEP);
    }
    project.send(&[sent(order("A", ""), Made::Good), sent("{", Made::Bad)]);
    project.drained();
    let carried = project.settle();
    let raw = support::read_committed(&kafka.bootstrap(), &project.topic("nanchang"));
    let expected = raw[0].timestamp.unwrap();
    assert!(expected > MOMENT, "the broker's time, not the producer's");
    let told = carried.rows.rows[0]["_ingested_at"].as_str().unwrap();
    let told = chrono::DateTime::parse_from_rfc3339(told).unwrap().timestamp_millis();
    assert_eq!(told, expected);
    assert_eq!(carried.clean[0].timestamp, Some(expected));
}

/// A producer that counts nanoseconds, and a broker that lets it.
#[test]
fn t10_a_time_that_no_calendar_has_is_none() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::without_topics(kafka, "t10odd", one_partition());
    let any = [KEEP[0], ("message.timestamp.after.max.ms", "9223372036854775807")];
    for topic in [project.topic("nanchang"), project.topic("ganzhou"), project.topic("yichun")] {
        kafka.create_topic(&topic, 1, &any);
    }
    for topic in [project.clean_topic(), project.rejected_topic()] {
        kafka.create_topic(&topic, 1, &KEEP);
    }
    let odd = |payload: String, made| Sent { timestamp: MOMENT * 1_000_000, ..sent(payload, made) };
    project.send(&[odd(order("A", ""), Made::Good), odd("{".into(), Made::Bad)]);
    project.drained();
    // Whoever has learned the row from the archive judges its copy as who has seen it.
    project.send(&[odd(order("A", ""), Made::Duplicate), sent(order("B", ""), Made::Good)]);
    project.drained();
    let carried = project.settle();
    assert_eq!(orders(&carried), ["A", "B"]);
    assert_eq!(carried.account.duplicate, 1);
    let timed: Vec<_> = carried.rows.rows.iter().filter(|row| row.contains_key("_ingested_at")).collect();
    assert_eq!((timed.len(), &timed[0]["order_no"]), (1, &Value::from("B")));
}

pub struct Poison {
    pub what: String,
    pub bytes: Vec<u8>,
    /// What it is rejected for; none when it is harmless.
    pub code: Option<String>,
    /// All faults of the row, where there are several.
    pub faults: Vec<String>,
    /// What a row that goes on is flagged with, at least.
    pub flags: Vec<String>,
}

pub fn poison() -> Vec<Poison> {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/poison/nanchang.jsonl");
    let base = format!(r#""title":"路灯",{REST}"#);
    let read = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let list = |name: &str| {
            let texts = line[name].as_array().into_iter().flatten();
            texts.map(|text| text.as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let hex: String = line["hex"].as_str().unwrap_or_default().split_whitespace().collect();
        let mut bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        let text = line["text"].as_str().unwrap();
        let text = text
            .replace("BASE2", &base.replace("投诉\"", "闲聊\""))
            .replace("BASE", &base)
            .replace("REST", REST)
            .replace("DATE", &base.replace("2026-06-01 08:00:00", "2026-02-30 25:00:00"));
        bytes.extend_from_slice(text.as_bytes());
        let mut repeat = |name: &str| {
            let Some(repeat) = line[name].as_array() else { return };
            let times = repeat[1].as_u64().unwrap() as usize;
            bytes.extend_from_slice(repeat[0].as_str().unwrap().repeat(times).as_bytes());
            bytes
                .extend_from_slice(line["middle"].as_str().filter(|_| name == "repeat").unwrap_or_default().as_bytes());
        };
        repeat("repeat");
        repeat("close");
        bytes.extend_from_slice(line["then"].as_str().unwrap_or_default().as_bytes());
        Poison {
            what: line["what"].as_str().unwrap().to_owned(),
            bytes,
            code: line["code"].as_str().map(str::to_owned),
            faults: list("faults"),
            flags: list("flags"),
        }
    };
    fs::read_to_string(file).unwrap().lines().map(read).collect()
}

#[test]
fn t12_poison_is_rejected_for_the_right_reason_and_its_neighbours_are_unharmed() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::without_topics(kafka, "t12", one_partition());
    let large = [KEEP[0], ("max.message.bytes", "8000000")];
    for source in support::project::SOURCES {
        kafka.create_topic(&project.topic(source), 1, &large);
    }
    kafka.create_topic(&project.clean_topic(), 1, &large);
    kafka.create_topic(&project.rejected_topic(), 1, &large);
    project.edit("huiju.toml", "[archive]", "\"message.max.bytes\" = \"8000000\"\n[archive]");
    let corpus = poison();
    let mut messages = Vec::new();
    for (at, poison) in corpus.iter().enumerate() {
        messages.push(sent(poison.bytes.clone(), Made::Bad));
        messages.push(sent(order(&format!("N{at}"), ""), Made::Good));
    }
    project.send(&messages);
    project.drained();
    let carried = project.settle();

    let rejected_of = |offset: i64| {
        let is = |read: &&Read| read.header("huiju.offset") == Some(offset.to_string().as_str());
        carried.rejected.iter().find(is)
    };
    let mut wrong = Vec::new();
    for (at, Poison { what, bytes, code, faults, flags }) in corpus.iter().enumerate() {
        let offset = at as i64 * 2;
        let rejected = rejected_of(offset);
        let found = rejected.and_then(|message| message.header("huiju.code"));
        if found != code.as_deref() {
            wrong.push(format!("{what}: {found:?}, not {code:?} {:?}", rejected.map(|r| r.header("huiju.faults"))));
        }
        let archived: Vec<_> = carried.rejects.rows.iter().filter(|row| row["offset"] == offset).collect();
        assert_eq!(archived.len(), usize::from(rejected.is_some()), "{what}: in both places or in none");
        if let (Some(message), [row]) = (rejected, &archived[..]) {
            // Of a huge message the topic gets the beginning; the archive has all of it.
            let most = &bytes[..bytes.len().min(900_000)];
            assert!(message.payload.as_deref() == Some(most), "{what}: bytes in the rejected topic");
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(row["payload"] == hex, "{what}: bytes in the archive");
            assert_eq!(row["code"].as_str(), found, "{what}");
            let reason = row["reason"].as_str().unwrap();
            let all = row["faults"].as_array().unwrap();
            for fault in faults {
                assert!(all.iter().any(|told| told["code"] == fault.as_str()), "{what}: {fault} is not told: {all:?}");
            }
            assert!(reason.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c)), "{what}: {reason}");
        } else {
            let written: Vec<_> = carried.rows.rows.iter().filter(|row| row["_offset"] == offset).collect();
            assert_eq!(written.len(), 1, "{what} is harmless");
            let told = written[0].get("quality_flags").and_then(Value::as_array).cloned().unwrap_or_default();
            for flag in flags {
                assert!(told.iter().any(|told| told == flag.as_str()), "{what}: {flag} is not told: {told:?}");
            }
        }
        let neighbour = carried.rows.rows.iter().filter(|row| row["_offset"] == offset + 1).count();
        assert_eq!(neighbour, 1, "the neighbour of: {what}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn t21_a_batch_of_nothing_but_rejects_moves_the_cursor() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "t21", one_partition());
    let bad: Vec<Sent> = (0..30).map(|n| sent(format!("{{\"orderNum\":\"B{n}\""), Made::Bad)).collect();
    project.send(&bad);
    let summary = project.drained();
    assert_eq!((&summary["in"], &summary["rejected"]), (&30.into(), &30.into()));
    // That the cursors are at the end is what `settle` looks at.
    let carried = project.settle();
    assert!(carried.rows.files.is_empty(), "no files without rows: {:?}", carried.rows.files);
    let again = project.drained();
    assert_eq!(again["in"], 0);
    project.send(&[sent(order("A", ""), Made::Good)]);
    assert_eq!(project.drained()["in"], 1);
    assert_eq!(orders(&project.settle()), ["A"]);
}

#[test]
fn t25_a_batch_of_nothing_but_copies_and_one_of_nothing_at_all_move_the_cursor() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "t25", one_partition());
    let message = sent(order("A", ""), Made::Good);
    project.send(std::slice::from_ref(&message));
    project.drained();
    let files = project.settle().rows.files;
    project.send(&vec![message; 20]);
    let summary = project.drained();
    assert_eq!((&summary["in"], &summary["duplicate"]), (&20.into(), &20.into()));
    let carried = project.settle();
    assert_eq!(carried.rows.files, files, "no files without rows");
    assert_eq!(orders(&carried), ["A"]);

    // An aborted transaction: offsets, but nothing that anybody may read.
    let payloads: Vec<String> = (0..5).map(|number| order(&format!("X{number}"), "")).collect();
    let aborted = payloads.iter().map(|payload| (0, None, payload.as_bytes()));
    transaction(kafka, &project.topic("nanchang"), aborted, false);
    assert_eq!(project.drained()["in"], 0);
    assert_eq!(project.settle().rows.files, files);
    assert_eq!(project.drained()["in"], 0);
}

#[test]
fn t34_timestamps_are_instants_for_every_reader() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "t34", one_partition());
    // What the city wrote, and the instant in UTC; none: cannot be read, kept as text.
    let cases = [
        ("1988-07-01 12:00:00", Some("1988-07-01T03:00:00Z")), // Shanghai's summer time
        ("1988-12-01 12:00:00", Some("1988-12-01T04:00:00Z")),
        ("1991-09-14 23:00:00", Some("1991-09-14T14:00:00Z")), // the last day of it
        ("1991-09-16 12:00:00", Some("1991-09-16T04:00:00Z")),
        ("2024-02-29 23:59:59", Some("2024-02-29T15:59:59Z")),
        ("2023-02-29 10:00:00", None),
        ("1717200000000", Some("2024-06-01T00:00:00Z")),
        ("1717200000", Some("2024-06-01T00:00:00Z")),
        ("1717200000123", Some("2024-06-01T00:00:00.123Z")),
        ("2026-06-01T08:00:00Z", Some("2026-06-01T08:00:00Z")),
        ("2026-06-01T08:00:00+08:00", Some("2026-06-01T00:00:00Z")),
        ("2026-06-01T08:00:00.123456+08:00", Some("2026-06-01T00:00:00.123456Z")),
        ("1969-12-31 23:59:59", Some("1969-12-31T15:59:59Z")),
        ("2026/6/1 8:05", Some("2026-06-01T00:05:00Z")),
        ("2026年6月1日 8时5分", Some("2026-06-01T00:05:00Z")),
    ];
    let messages: Vec<Sent> = cases
        .iter()
        .enumerate()
        .map(|(at, (typed, _))| sent(order(&format!("T{at}"), &format!(r#","completeTime":"{typed}""#)), Made::Good))
        .collect();
    project.send(&messages);
    project.drained();
    let carried = project.settle();
    let micros = |text: &str| chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros();
    for (at, (typed, instant)) in cases.iter().enumerate() {
        let row = carried.rows.rows.iter().find(|row| row["order_no"] == format!("T{at}")).unwrap();
        assert_eq!(row.get("finish_time_raw").and_then(Value::as_str), Some(*typed), "the original stays");
        let found = row.get("finish_time").map(|found| micros(found.as_str().unwrap()));
        assert_eq!(found, instant.map(micros), "{typed}");
    }

    let table = project.path("archive/work_orders").display().to_string();
    let Some(said) = support::python("readers/times.py", &[&table]) else { return };
    let read: Value = serde_json::from_str(&said).unwrap();
    for reader in ["duckdb", "pyarrow", "deltalake"] {
        for (at, (typed, instant)) in cases.iter().enumerate() {
            let row = &read[reader][format!("T{at}")];
            assert_eq!(row["finish_time"].as_i64(), instant.map(micros), "{reader} reads {typed}");
            assert_eq!(row["appeal_time"].as_i64(), Some(micros("2026-06-01T00:00:00Z")), "{reader}");
            assert_eq!(row["update_time"].as_i64(), Some(micros("2026-06-01T00:05:00Z")), "{reader}");
            assert_eq!(row["_ingested_at"].as_i64(), Some(MOMENT * 1000), "{reader}");
        }
    }
    assert_eq!(read["duckdb_types"], serde_json::json!(["TIMESTAMP WITH TIME ZONE"]));
    assert_eq!(read["delta_types"], serde_json::json!(["timestamp"]));
    let footers = read["footers"].as_array().unwrap();
    assert_eq!(footers.len(), 1, "{footers:?}");
    let footer = footers[0].as_str().unwrap();
    assert!(footer.contains("isAdjustedToUTC=true") && footer.contains("timeUnit=microseconds"), "{footer}");
}
