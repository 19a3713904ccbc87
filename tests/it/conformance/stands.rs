//! A place for each sink to be tested at.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use huiju::{
    clock::Clock,
    config,
    contract::Contract,
    cursor::{Cursors, Partition},
    error::{Error, Result},
    kafka::{Group, SharedGroup},
    sink::{self, Sink},
};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata},
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{Stand, schema};
use crate::support::{
    carried::{self, Table},
    kafka,
    project::KEEP,
    read_committed, unique,
};

/// The stand at an address, in another process than the one that made it.
pub fn find(address: &str) -> Box<dyn Stand> {
    let (kind, place) = address.split_once(' ').unwrap();
    match kind {
        "kafka" => {
            let (bootstrap, prefix) = place.split_once(' ').unwrap();
            Box::new(KafkaStand { bootstrap: bootstrap.to_owned(), prefix: prefix.to_owned() })
        }
        "archive" => Box::new(ArchiveStand::at(place.into(), None)),
        _ => Box::new(FilesStand { folder: place.into(), _owned: None }),
    }
}

pub struct KafkaStand {
    bootstrap: String,
    /// Of topics and of the group.
    prefix: String,
}

impl KafkaStand {
    pub fn new() -> Option<KafkaStand> {
        let kafka = kafka::shared()?;
        let stand = KafkaStand { bootstrap: kafka.bootstrap(), prefix: unique("conformance") };
        kafka.create_topic(&stand.topic("clean"), 1, &KEEP);
        kafka.create_topic(&stand.topic("rejected"), 1, &KEEP);
        // Offsets can only be committed for topics that are there. Its name is the one in `super::partition`.
        static INPUT: std::sync::Once = std::sync::Once::new();
        INPUT.call_once(|| kafka.create_topic("conformance", 3, &KEEP));
        Some(stand)
    }

    fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }
}

/// A group without members, as tools use one: whoever knows its name may commit for it.
pub(super) struct Alone(pub BaseConsumer);

impl Group for Alone {
    fn metadata(&self) -> Option<ConsumerGroupMetadata> {
        self.0.group_metadata()
    }

    fn topic_id(&self, _: &str) -> Option<String> {
        None
    }

    fn committed(&self, partitions: &[Partition]) -> Result<Cursors> {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&partition.topic, partition.number);
        }
        let offsets = self.0.committed_offsets(list, Duration::from_secs(30));
        let offsets = offsets.map_err(|error| Error::unavailable(error.to_string()))?;
        let cursor = |partition: &Partition| match offsets.find_partition(&partition.topic, partition.number)?.offset()
        {
            Offset::Offset(next) => Some(next),
            _ => None,
        };
        Ok(partitions.iter().map(|partition| (partition.clone(), cursor(partition).into_iter().collect())).collect())
    }

    fn has_begun(&self, _: &[&str]) -> Result<bool> {
        unreachable!("it is asked when a pipeline is built")
    }
}

impl KafkaStand {
    /// A client of the group, no member yet.
    pub(super) fn client(&self) -> BaseConsumer {
        ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set("group.id", &self.prefix)
            .set("isolation.level", "read_committed")
            .create()
            .unwrap()
    }

    pub(super) fn open_for(&self, group: SharedGroup) -> Result<Box<dyn Sink>> {
        let config = config::Kafka {
            brokers: self.bootstrap.clone(),
            client_id: "conformance".into(),
            group: self.prefix.clone(),
            properties: Vec::new(),
            lacking: Vec::new(),
        };
        let settings = sink::kafka::Settings {
            pipeline: "work_orders".into(),
            topic: self.topic("clean"),
            rejected: self.topic("rejected"),
            key: vec!["order_no".into()],
            unread: huiju::sink::Unread::default(),
            contract_version: "work_orders/1".into(),
            transactional_id: self.prefix.clone(),
        };
        Ok(Box::new(sink::kafka::Kafka::open(&config, settings, group)?))
    }
}

impl Stand for KafkaStand {
    fn open(&self) -> Result<Box<dyn Sink>> {
        self.open_for(Arc::new(Alone(self.client())))
    }

    fn rows(&self) -> Vec<String> {
        let messages = read_committed(&self.bootstrap, &self.topic("clean"));
        let rows = messages.iter().map(|message| order_no(message.payload.as_deref().unwrap()));
        by_partition(rows.collect())
    }

    fn rejects(&self) -> Vec<(i32, i64)> {
        let messages = read_committed(&self.bootstrap, &self.topic("rejected"));
        let number = |text: Option<&str>| text.unwrap().parse::<i64>().unwrap();
        let place = |message: &crate::support::Read| {
            (number(message.header("huiju.partition")) as i32, number(message.header("huiju.offset")))
        };
        sorted(messages.iter().map(place).collect())
    }

    fn address(&self) -> String {
        format!("kafka {} {}", self.bootstrap, self.prefix)
    }

    fn points(&self) -> &'static [&'static str] {
        &[
            "kafka.before_produce",
            "kafka.after_produce",
            "kafka.before_offsets",
            "kafka.after_offsets",
            "kafka.after_commit",
        ]
    }
}

pub struct ArchiveStand {
    folder: PathBuf,
    runtime: Runtime,
    _owned: Option<TempDir>,
}

impl ArchiveStand {
    pub fn new() -> Option<ArchiveStand> {
        let folder = tempfile::tempdir().unwrap();
        Some(ArchiveStand::at(folder.path().to_owned(), Some(folder)))
    }

    fn at(folder: PathBuf, owned: Option<TempDir>) -> ArchiveStand {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        ArchiveStand { folder, runtime, _owned: owned }
    }

    fn tables(&self) -> (Table, Table) {
        (Table::whole(&self.folder.join("orders")), Table::whole(&self.folder.join("orders_rejects")))
    }
}

impl Stand for ArchiveStand {
    fn open(&self) -> Result<Box<dyn Sink>> {
        let settings = sink::archive::Settings {
            location: self.folder.clone(),
            path: "orders".into(),
            create: true,
            partition_by: vec!["ingested_on".into()],
            interval: Duration::from_secs(60),
            file_size: 64 << 20,
            accept_foreign_writes: false,
            pipeline: "work_orders".into(),
            instance: "a".into(),
            time_zone: chrono_tz::Asia::Shanghai,
        };
        let contract = Arc::new(Contract {
            name: "work_orders".into(),
            version: "1.0.0".into(),
            title: "服务工单".into(),
            description: String::new(),
            assumed: true,
            columns: Vec::new(),
            rules: Vec::new(),
            flags: None,
        });
        let runtime = self.runtime.handle().clone();
        let archive = sink::archive::Archive::open(settings, contract, schema(), Clock::system(), runtime)?;
        Ok(Box::new(archive))
    }

    fn rows(&self) -> Vec<String> {
        let (mut rows, _) = self.tables();
        rows.rows.sort_by_key(carried::place_of_row);
        assert_eq!(rows.files, rows.live(), "files on the disk and files in the log");
        rows.rows.iter().map(|row| row["order_no"].as_str().unwrap().to_owned()).collect()
    }

    fn rejects(&self) -> Vec<(i32, i64)> {
        let (_, rejects) = self.tables();
        assert_eq!(rejects.files, rejects.live(), "files on the disk and files in the log");
        let places = rejects.rows.iter().map(carried::place_of_message);
        sorted(places.map(|(_, number, offset)| (number as i32, offset)).collect())
    }

    fn files(&self) -> usize {
        let (rows, rejects) = self.tables();
        rows.files.len() + rejects.files.len()
    }

    fn address(&self) -> String {
        format!("archive {}", self.folder.display())
    }

    fn points(&self) -> &'static [&'static str] {
        &[
            "archive.before_file",
            "archive.after_file",
            "archive.before_commit",
            "archive.after_commit",
            "archive.after_rejects_commit",
            // A reader without Delta sees these files until the next start; `open` comes before reading.
            "archive.after_intent",
            "archive.after_rename",
            // The rejects go first; this is of the rows.
            "archive.after_intent:2",
            "archive.after_rename:2",
            "archive.before_commit:2",
            "archive.after_commit:2",
        ]
    }
}

pub struct FilesStand {
    folder: PathBuf,
    _owned: Option<TempDir>,
}

impl FilesStand {
    pub fn new() -> Option<FilesStand> {
        let folder = tempfile::tempdir().unwrap();
        Some(FilesStand { folder: folder.path().to_owned(), _owned: Some(folder) })
    }

    fn lines(&self, topic: &str) -> Vec<Value> {
        let mut all = Vec::new();
        for path in files(&self.folder.join(topic)) {
            let text = fs::read_to_string(path).unwrap();
            all.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        }
        all
    }
}

/// Files that readers take: the others have other endings.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    sorted(paths.filter(|path| path.extension().is_some_and(|ending| ending == "jsonl")).collect())
}

impl Stand for FilesStand {
    fn open(&self) -> Result<Box<dyn Sink>> {
        let settings = sink::files::Settings {
            folder: self.folder.clone(),
            topic: "clean".into(),
            rejected: "rejected".into(),
            unread: huiju::sink::Unread::default(),
            interval: Duration::from_secs(60),
        };
        Ok(Box::new(sink::files::Files::open(settings)?))
    }

    fn rows(&self) -> Vec<String> {
        let lines = self.lines("clean");
        by_partition(lines.iter().map(|line| line["order_no"].as_str().unwrap().to_owned()).collect())
    }

    fn rejects(&self) -> Vec<(i32, i64)> {
        let lines = self.lines("rejected");
        let number = |line: &Value, name: &str| line[name].as_i64().unwrap();
        sorted(lines.iter().map(|line| (number(line, "partition") as i32, number(line, "offset"))).collect())
    }

    fn files(&self) -> usize {
        let all = ["clean", "rejected"].into_iter().flat_map(|topic| files(&self.folder.join(topic)));
        all.filter(|path| fs::metadata(path).unwrap().len() > 0).count()
    }

    fn address(&self) -> String {
        format!("files {}", self.folder.display())
    }

    fn points(&self) -> &'static [&'static str] {
        &["files.before_rename", "files.after_rejects", "files.after_rename"]
    }
}

fn order_no(row: &[u8]) -> String {
    let row: Value = serde_json::from_slice(row).unwrap();
    row["order_no"].as_str().unwrap().to_owned()
}

/// Brings partitions together and keeps the order in each.
fn by_partition(mut rows: Vec<String>) -> Vec<String> {
    rows.sort_by_key(|row| row.split('/').next().unwrap().to_owned());
    rows
}

fn sorted<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort_unstable();
    all
}
