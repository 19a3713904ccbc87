//! Messages whose fate is known beforehand.

use huiju::{
    batch::Tally,
    config::Pipeline,
    sample::{Generator, Made, Options},
};
use serde_json::Value;

use super::project::SOURCES;

/// A message to be sent, and what it was made to be.
#[derive(Clone)]
pub struct Sent {
    pub source: &'static str,
    pub key: Option<Vec<u8>>,
    pub payload: Option<Vec<u8>>,
    pub timestamp: i64,
    pub made: Made,
}

/// What the generator plants in place of a person's data.
const PLACEHOLDERS: [&str; 12] =
    ["未知", "保密", "匿名", "先生", "女士", "null", "无", "/", "不详", "暂无", "--", "0000-00000000"];

impl Sent {
    /// One that ends in the middle.
    pub fn broken(number: u32) -> Sent {
        Sent {
            source: "nanchang",
            key: None,
            payload: Some(format!("{{\"orderNum\":\"B{number}\"").into_bytes()),
            timestamp: 1_780_300_000_000,
            made: Made::Bad,
        }
    }

    /// Where the message goes: equal keys meet in one partition.
    pub fn partition(&self, partitions: i32) -> i32 {
        let hash = self.key.as_deref().map_or(0, xxhash_rust::xxh3::xxh3_64);
        (hash % partitions as u64) as i32
    }

    /// Its orders as the city wrote them; none when it cannot be read.
    pub fn orders(&self) -> Option<Vec<Value>> {
        let value: Value = serde_json::from_slice(self.payload.as_deref()?).ok()?;
        match self.source {
            "yichun" => value.get("data")?.get("orders")?.as_array().cloned(),
            _ => Some(vec![value]),
        }
    }

    /// A later version of the same order, if it has an update time to move: hours later, within the dedup window.
    pub fn updated(&self, version: i64) -> Option<Sent> {
        let text = std::str::from_utf8(self.payload.as_deref()?).ok()?;
        let (before, rest) = text.split_once("\"updateTime\":\"")?;
        let (time, after) = rest.split_once('"')?;
        let moved = chrono::NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S").ok()?;
        let moved = moved + chrono::TimeDelta::hours(version);
        let payload = format!("{before}\"updateTime\":\"{}\"{after}", moved.format("%Y-%m-%d %H:%M:%S"));
        Some(Sent { payload: Some(payload.into_bytes()), ..self.clone() })
    }

    /// Phones, names and numbers of papers in it.
    pub fn personal(&self) -> Vec<String> {
        let paths: &[&str] = match self.source {
            "nanchang" => &["/callerName", "/callerPhone", "/callerContact", "/callerIdCard"],
            "ganzhou" => &["/reporter/name", "/reporter/phone", "/reporter/callNo", "/reporter/idNo"],
            _ => &["/xm", "/lxdh", "/ldhm"],
        };
        let orders = self.orders().unwrap_or_default();
        let values = orders.iter().flat_map(|order| paths.iter().filter_map(|path| order.pointer(path)?.as_str()));
        let values = values.map(str::trim).filter(|value| !PLACEHOLDERS.contains(value));
        values.filter(|value| value.len() >= 6).map(str::to_owned).collect()
    }
}

/// Messages of the shipped pipeline's three cities, bad ones and copies among them.
pub fn samples(count: u64, seed: u64) -> Vec<Sent> {
    let pipeline = shipped();
    let of = |source: &'static str| {
        let messages = count / SOURCES.len() as u64;
        let options = Options { messages, seed, duplicates: 0.05, bad: 0.05, ..Options::default() };
        let generator = Generator::read(&pipeline, source, options).unwrap();
        generator.map(move |sample| Sent {
            source,
            key: sample.key,
            payload: Some(sample.payload),
            timestamp: sample.timestamp,
            made: sample.made,
        })
    };
    let mut all: Vec<Sent> = SOURCES.into_iter().flat_map(of).collect();
    all.sort_by_key(|message| message.timestamp);
    all
}

pub fn shipped() -> Pipeline {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/work_orders");
    huiju::config::pipeline::read(&folder).unwrap()
}

/// What must become of them, counted without huiju's engine.
pub fn truth(messages: &[Sent]) -> Tally {
    let mut truth = Tally::default();
    for message in messages {
        let orders = message.orders();
        let rows = orders.as_ref().map_or(1, Vec::len).max(1) as u64;
        truth.input += rows;
        match message.made {
            Made::Good => truth.written += rows,
            // One element of an envelope is spoiled, or the message as a whole.
            Made::Bad => {
                truth.rejected += 1;
                truth.written += rows - 1;
            }
            // A copy is known by its update time; where the city gave none, the time of the message stands in.
            Made::Duplicate => {
                let dated = orders.iter().flatten().filter(|order| is_dated(message.source, order)).count() as u64;
                truth.duplicate += dated;
                truth.written += rows - dated;
            }
        }
    }
    truth
}

fn is_dated(source: &str, order: &Value) -> bool {
    let path = match source {
        "nanchang" => "/updateTime",
        "ganzhou" => "/workOrder/updateTime",
        _ => "/gxsj",
    };
    order.pointer(path).is_some()
}
