//! What a project's runs have carried over, read back by code that shares nothing with huiju's sinks.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
    sync::LazyLock,
};

use arrow::json::LineDelimitedWriter;
use huiju::{batch::Tally, contract::odcs};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::{Map, Value};

use super::{
    project::{Project, SOURCES},
    topics::{Read, read_committed},
};

/// The contract's raw columns, each with the column that says what it means.
fn raws() -> &'static [(String, String)] {
    static RAWS: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
        let contract = odcs::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas"), "work_orders").unwrap();
        let pairs = contract.columns.iter().filter_map(|column| Some((column.raw.as_ref()?, &column.name)));
        pairs.map(|(raw, column)| (raw.to_string(), column.to_string())).collect()
    });
    &RAWS
}

/// One of the archive's tables.
#[derive(Default)]
pub struct Table {
    /// As JSON, the columns of the folders included.
    pub rows: Vec<Map<String, Value>>,
    /// Actions of the log, in order, each with the version of its entry.
    pub log: Vec<(u64, Value)>,
    /// Data files on the disk, relative to the table.
    pub files: BTreeSet<String>,
}

pub struct Carried {
    /// The clean topic, in the order of partition and offset.
    pub clean: Vec<Read>,
    pub rejected: Vec<Read>,
    pub rows: Table,
    pub rejects: Table,
    /// Summed up over the log of the rows' table.
    pub account: Tally,
}

/// The same for every run over the same messages, whatever happened on the way.
#[derive(PartialEq, Eq)]
pub struct Logical {
    clean: Vec<String>,
    rejected: Vec<String>,
    rows: Vec<String>,
    rejects: Vec<String>,
    account: Tally,
}

impl Carried {
    /// Logs and lists of files, no rows: for what is too much to hold.
    pub fn skim(project: &Project<'_>) -> Carried {
        let rows = Table::skim(&project.path("archive/work_orders"));
        let account = rows.account();
        let rejects = Table::skim(&project.path("archive/work_orders_rejects"));
        Carried { clean: Vec::new(), rejected: Vec::new(), rejects, rows, account }
    }

    pub fn read(project: &Project<'_>) -> Carried {
        let bootstrap = project.kafka.bootstrap();
        let mut carried = Carried::skim(project);
        carried.rows.read(&project.path("archive/work_orders"));
        carried.rejects.read(&project.path("archive/work_orders_rejects"));
        carried.clean = read_committed(&bootstrap, &project.clean_topic());
        carried.rejected = read_committed(&bootstrap, &project.rejected_topic());
        carried
    }

    /// T32 and its relatives: what holds after every test, whatever it did.
    #[track_caller]
    pub fn assert_sound(&self, project: &Project<'_>) {
        self.assert_log_is_sound(project);
        self.assert_account();
        self.assert_streams_agree();
    }

    /// What of it can be told without the rows.
    #[track_caller]
    pub fn assert_log_is_sound(&self, project: &Project<'_>) {
        for (version, info) in self.rows.commits() {
            let count = |name: &str| info[name].as_u64().unwrap();
            let sum = count("written") + count("rejected") + count("duplicate");
            assert_eq!(count("in"), sum, "commit {version}: {info}");
        }
        self.assert_everything_is_covered(project);
        for table in [&self.rows, &self.rejects] {
            assert_eq!(table.files, table.live(), "files on the disk and files in the log");
            assert!(table.log.iter().any(|(_, action)| action.get("protocol").is_some()), "a Delta log begins it");
        }
        for table in ["work_orders", "work_orders_rejects"] {
            let staged = project.path(&format!("archive/{table}/_staging"));
            let left: Vec<_> = fs::read_dir(&staged).into_iter().flatten().map(|e| e.unwrap().path()).collect();
            assert!(left.is_empty(), "left behind: {left:?}");
        }
    }

    /// `in = written + rejected + duplicate`, and each is what lies there.
    #[track_caller]
    fn assert_account(&self) {
        let Tally { input, written, rejected, duplicate } = self.account;
        assert_eq!(input, written + rejected + duplicate);
        assert_eq!(written, self.rows.rows.len() as u64, "rows in the archive; {:?}", self.account);
        assert_eq!(written, self.clean.len() as u64, "rows in the clean topic; {:?}", self.account);
        assert_eq!(rejected, self.rejects.rows.len() as u64, "rejects in the archive; {:?}", self.account);
        assert_eq!(rejected, self.rejects.account().rejected, "rejects by the account of their own table");
        // Each message once, however many of its rows are rejected.
        let messages: BTreeSet<_> = self.rejects.rows.iter().map(place_of_message).collect();
        assert_eq!(places_of(&self.rejected), Vec::from_iter(messages), "messages in the rejected topic");
        let places: BTreeSet<_> = self.rows.rows.iter().map(place_of_row).collect();
        assert_eq!(places.len(), self.rows.rows.len(), "each row of a message comes once");
        let places: BTreeSet<_> = self.rejects.rows.iter().map(place_of_row).collect();
        assert_eq!(places.len(), self.rejects.rows.len(), "each reject of a message comes once");
    }

    /// The intervals of the commits follow each other, from the first offset to the last, in both tables.
    #[track_caller]
    fn assert_everything_is_covered(&self, project: &Project<'_>) {
        let client: BaseConsumer =
            rdkafka::ClientConfig::new().set("bootstrap.servers", project.kafka.bootstrap()).create().unwrap();
        for (name, table) in [("rows", &self.rows), ("rejects", &self.rejects)] {
            let mut next: BTreeMap<(String, i64), i64> = BTreeMap::new();
            for (version, info) in table.commits() {
                for interval in info["intervals"].as_array().unwrap() {
                    let (from, to) = (interval["from"].as_i64().unwrap(), interval["next"].as_i64().unwrap());
                    let topic = interval["topic"].as_str().unwrap().to_owned();
                    let at = next.entry((topic, interval["partition"].as_i64().unwrap())).or_insert(0);
                    assert_eq!(*at, from, "{name}, commit {version}: {interval}, but it was at {at}");
                    *at = to;
                }
            }
            for topic in SOURCES.map(|source| project.topic(source)) {
                for partition in 0..project.partitions {
                    let limit = std::time::Duration::from_secs(60);
                    let (low, high) = client.fetch_watermarks(&topic, partition, limit).unwrap();
                    let at = next.get(&(topic.clone(), partition.into())).copied().unwrap_or(low);
                    assert_eq!(at, high, "{name}: {topic}/{partition} is covered up to its end");
                }
            }
        }
    }

    /// Clean topic and archive hold the same rows, and the rows of a key are in the order of their messages.
    #[track_caller]
    fn assert_streams_agree(&self) {
        let mut archived: Vec<&Map<String, Value>> = self.rows.rows.iter().collect();
        archived.sort_by_key(|row| place_of_row(row));
        let key = |row: &Map<String, Value>| format!("{}|{}", text(row, "app_id"), text(row, "order_no"));
        let mut expected: BTreeMap<String, Vec<Map<String, Value>>> = BTreeMap::new();
        for row in archived {
            let contract = row.iter().filter(|(name, _)| !name.starts_with('_') && *name != "ingested_on");
            let mut contract: Map<_, _> = contract.map(|(name, value)| (name.clone(), value.clone())).collect();
            // `raw = "unread"`: the clean topic does not say again what has been understood, and where nothing is odd.
            let flags = contract.get("quality_flags").and_then(Value::as_array).cloned().unwrap_or_default();
            let is_flagged = |column: &str| {
                let of_column = |flag: &Value| flag.as_str().unwrap().split_once(':').unwrap().0 == column;
                flags.iter().any(of_column)
            };
            for (raw, column) in raws() {
                if contract.contains_key(column) && !is_flagged(column) {
                    contract.remove(raw);
                }
            }
            expected.entry(key(row)).or_default().push(contract);
        }
        let mut found: BTreeMap<String, Vec<Map<String, Value>>> = BTreeMap::new();
        let mut partitions: BTreeMap<String, i32> = BTreeMap::new();
        for message in &self.clean {
            let row: Map<String, Value> = serde_json::from_slice(message.payload.as_deref().unwrap()).unwrap();
            let key = String::from_utf8(message.key.clone().unwrap()).unwrap();
            let partition = *partitions.entry(key.clone()).or_insert(message.partition);
            assert_eq!(partition, message.partition, "rows of a key are in one partition");
            found.entry(key).or_default().push(row);
        }
        assert_eq!(found.len(), expected.len(), "keys in the clean topic and in the archive");
        for (key, rows) in &expected {
            assert_eq!(found.get(key), Some(rows), "rows of {key}: clean topic, archive");
        }
    }

    /// Without what differs from project to project: names of topics, offsets in topics we write, files.
    pub fn logical(&self, project: &Project<'_>) -> Logical {
        let anywhere = |text: String| text.replace(&project.prefix, "hotline");
        let topic = |messages: &[Read]| {
            let shown = messages.iter().map(|message| {
                let lossy = |bytes: &Option<Vec<u8>>| bytes.as_deref().map(String::from_utf8_lossy).map(String::from);
                let headers: Vec<_> = message.headers.iter().map(|(name, value)| (name, lossy(value))).collect();
                let Read { key, payload, timestamp, .. } = message;
                anywhere(format!("{:?} {:?} {timestamp:?} {headers:?}", lossy(key), lossy(payload)))
            });
            sorted(shown.collect())
        };
        let table = |table: &Table| {
            sorted(table.rows.iter().map(|row| anywhere(serde_json::to_string(row).unwrap())).collect())
        };
        Logical {
            clean: topic(&self.clean),
            rejected: topic(&self.rejected),
            rows: table(&self.rows),
            rejects: table(&self.rejects),
            account: self.account,
        }
    }
}

impl Logical {
    /// Fails with the first difference, not with everything.
    #[track_caller]
    pub fn assert_same(&self, undisturbed: &Logical) {
        assert_eq!(self.account, undisturbed.account, "accounts");
        let parts = [
            ("clean topic", &self.clean, &undisturbed.clean),
            ("rejected topic", &self.rejected, &undisturbed.rejected),
            ("rows", &self.rows, &undisturbed.rows),
            ("rejects", &self.rejects, &undisturbed.rejects),
        ];
        for (name, found, expected) in parts {
            let differ = found.iter().zip(expected).find(|(found, expected)| found != expected);
            assert!(differ.is_none(), "{name}: {differ:#?}");
            assert_eq!(found.len(), expected.len(), "{name}");
        }
    }
}

impl Table {
    pub fn whole(root: &Path) -> Table {
        let mut table = Table::skim(root);
        table.read(root);
        table
    }

    pub fn skim(root: &Path) -> Table {
        let mut table = Table::default();
        table.read_log(root);
        collect(root, root, &mut table.files);
        table
    }

    fn read(&mut self, root: &Path) {
        for file in &self.files {
            self.rows.append(&mut rows(root, file));
        }
    }

    fn read_log(&mut self, root: &Path) {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(root.join("_delta_log")).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
        entries.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
        entries.sort();
        for path in entries {
            let version = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            let text = fs::read_to_string(&path).unwrap();
            self.log.extend(text.lines().map(|line| (version, serde_json::from_str(line).unwrap())));
        }
    }

    /// What huiju wrote about its commits: version, and the account.
    pub fn commits(&self) -> impl Iterator<Item = (u64, &Value)> {
        let infos = self.log.iter().filter_map(|(version, action)| Some((*version, action.get("commitInfo")?)));
        infos
            .filter_map(|(version, info)| Some((version, info.get("huiju")?)))
            .filter(|(_, own)| own.get("intervals").is_some())
    }

    pub fn account(&self) -> Tally {
        let mut sum = Tally::default();
        for (_, info) in self.commits() {
            // Commits of rejects account for nothing else.
            let count = |name: &str| info.get(name).map_or(0, |count| count.as_u64().unwrap());
            sum += Tally {
                input: count("in"),
                written: count("written"),
                rejected: count("rejected"),
                duplicate: count("duplicate"),
            };
        }
        sum
    }

    /// Files that are in the table as the log says.
    pub fn live(&self) -> BTreeSet<String> {
        let mut live = BTreeSet::new();
        for (_, action) in &self.log {
            let path = |name: &str| action.get(name).map(|file| file["path"].as_str().unwrap().to_owned());
            if let Some(path) = path("add") {
                assert!(live.insert(path.clone()), "{path} is added twice");
            }
            path("remove").map(|path| live.remove(&path));
        }
        live
    }
}

/// Parquet files below a folder; what begins with `_` or `.` is nobody's data.
fn collect(root: &Path, folder: &Path, files: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
        let (name, path) = (entry.file_name().into_string().unwrap(), entry.path());
        if name.starts_with(['_', '.']) {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            assert!(name.ends_with(".parquet"), "a stray file: {}", path.display());
            files.insert(path.strip_prefix(root).unwrap().display().to_string());
        }
    }
}

fn rows(root: &Path, file: &str) -> Vec<Map<String, Value>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(root.join(file)).unwrap()).unwrap();
    let mut text = Vec::new();
    let mut writer = LineDelimitedWriter::new(&mut text);
    for batch in reader.build().unwrap() {
        let batch = batch.unwrap();
        assert!(batch.num_rows() > 0, "{file} has an empty part");
        writer.write(&batch).unwrap();
    }
    writer.finish().unwrap();
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut rows: Vec<Map<String, Value>> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
    assert!(!rows.is_empty(), "{file} is empty");
    for folder in Path::new(file).parent().unwrap().iter() {
        let (name, value) = folder.to_str().unwrap().split_once('=').unwrap();
        rows.iter_mut().for_each(|row| drop(row.insert(name.to_owned(), value.into())));
    }
    rows
}

fn text<'r>(row: &'r Map<String, Value>, name: &str) -> &'r str {
    row.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Rows have their lineage beside the contract's columns, as `_topic`; rejects have it plain.
fn lineage<'r>(row: &'r Map<String, Value>, name: &str) -> Option<&'r Value> {
    row.get(&format!("_{name}")).or_else(|| row.get(name))
}

/// Topic, partition, offset.
pub fn place_of_message(row: &Map<String, Value>) -> (String, i64, i64) {
    let number = |name: &str| lineage(row, name).and_then(Value::as_i64).unwrap();
    (lineage(row, "topic").and_then(Value::as_str).unwrap().to_owned(), number("partition"), number("offset"))
}

/// Where the messages of a rejected topic stood, as their headers say; sorted.
pub fn places_of(rejected: &[Read]) -> Vec<(String, i64, i64)> {
    let place = |message: &Read| {
        let number = |name| message.header(name).unwrap().parse().unwrap();
        (message.header("huiju.topic").unwrap().to_owned(), number("huiju.partition"), number("huiju.offset"))
    };
    let mut places: Vec<_> = rejected.iter().map(place).collect();
    places.sort_unstable();
    places
}

/// The same and the number of the row.
pub fn place_of_row(row: &Map<String, Value>) -> ((String, i64, i64), i64) {
    (place_of_message(row), lineage(row, "row").and_then(Value::as_i64).unwrap_or(-1))
}

fn sorted(mut all: Vec<String>) -> Vec<String> {
    all.sort_unstable();
    all
}
