//! The archive on a temporary folder, with and without trouble.

mod cleaned;
mod columns;
mod counting;
mod damage;
mod faults;
mod faulty;
mod files;
mod folders;
mod growth;
mod late;
mod order;
mod strangers;
pub(super) mod trouble;
mod upkeep;

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use arrow::{
    array::{
        ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array,
        ListBuilder, StringArray, StringBuilder, TimestampMicrosecondArray,
    },
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
    record_batch::RecordBatch,
};
use chrono::DateTime;
use object_store::ObjectStore;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::{Archive, Recent, Settings, schema::instant, store};
use crate::{
    batch::{Fault, Origin, Outcome, Reject, Tally},
    clock::Clock,
    contract::{Column, Contract, Kind, Severity},
    cursor::{Interval, Partition},
    error::Result,
    sink::{Covered, Sink},
};

/// 2026-11-25T16:30:00.123Z: in Shanghai it is the 26th already.
const EVENING: i64 = 1_795_624_200_123;

/// A folder and everything that is needed to open an archive in it.
struct Bench {
    folder: TempDir,
    runtime: Runtime,
    settings: Settings,
    schema: SchemaRef,
    /// A column that the contract calls personal.
    personal: Option<&'static str>,
}

/// Containers have 64 MB there if nobody says otherwise.
fn is_roomy(folder: &std::ffi::CStr) -> bool {
    // SAFETY: plain numbers, which are written where they belong.
    unsafe {
        let mut room: libc::statvfs = std::mem::zeroed();
        libc::statvfs(folder.as_ptr(), &mut room) == 0 && room.f_bavail * room.f_frsize > 1 << 30
    }
}

impl Bench {
    fn new() -> Bench {
        Bench::partitioned_by(&["ingested_on"])
    }

    /// In memory, where there is such a folder and room in it: for tests that sync all the time.
    fn in_memory() -> Bench {
        let mut bench = Bench::new();
        if is_roomy(c"/dev/shm")
            && let Ok(folder) = tempfile::tempdir_in("/dev/shm")
        {
            bench.settings.location = folder.path().join("归档 一");
            bench.folder = folder;
        }
        bench
    }

    fn partitioned_by(columns: &[&str]) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            location: folder.path().join("归档 一"),
            path: "orders".into(),
            create: true,
            partition_by: columns.iter().map(|c| (*c).to_owned()).collect(),
            interval: Duration::from_secs(60),
            file_size: 64 << 20,
            accept_foreign_writes: false,
            pipeline: "work_orders".into(),
            instance: "a".into(),
            time_zone: chrono_tz::Asia::Shanghai,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Bench { folder, runtime, settings, schema: schema(), personal: None }
    }

    fn try_open_over(&self, store: Arc<dyn ObjectStore>) -> Result<Archive> {
        let clock = Clock::from_fn(|| DateTime::from_timestamp_millis(EVENING).unwrap());
        let runtime = self.runtime.handle().clone();
        Archive::open_over(store, self.settings.clone(), self.contract(), self.schema.clone(), clock, runtime)
    }

    fn contract(&self) -> Arc<Contract> {
        let mut contract = Contract::clone(&contract());
        contract.columns.extend(self.personal.map(|name| Column {
            name: name.into(),
            kind: Kind::Text,
            required: false,
            description: String::new(),
            title: String::new(),
            personal: true,
            weights: None,
            classification: Some("personal".into()),
            codes: None,
            raw: None,
            unknown: Severity::Warning,
            max_length: None,
            limits: Vec::new(),
            at: String::new(),
        }));
        contract.into()
    }

    fn try_open(&self) -> Result<Archive> {
        self.try_open_over(store::local())
    }

    /// Opens and takes the partitions over.
    fn open(&self, partitions: &[i32]) -> Archive {
        self.open_over(store::local(), partitions)
    }

    fn open_over(&self, store: Arc<dyn ObjectStore>, partitions: &[i32]) -> Archive {
        let mut archive = self.try_open_over(store).unwrap();
        archive.assign(&partitions.iter().map(|n| partition(*n)).collect::<Vec<_>>()).unwrap();
        archive
    }

    fn rows(&self) -> PathBuf {
        self.settings.location.join("orders")
    }

    fn rejects(&self) -> PathBuf {
        self.settings.location.join("orders_rejects")
    }

    /// Offsets that Delta readers see, sorted.
    fn offsets(&self) -> Vec<i64> {
        let reader = self.try_open().unwrap().reader();
        let mut offsets = Vec::new();
        let partitions: Vec<_> = (0..20).map(|n| (partition(n), i64::MAX)).collect();
        let mut each = |batch: &RecordBatch| {
            offsets.extend(batch["_offset"].as_primitive::<Int64Type>().values());
            Ok(())
        };
        reader.keys(&[], &partitions, None, &mut each).unwrap();
        offsets.sort_unstable();
        offsets
    }
}

fn partition(number: i32) -> Partition {
    Partition::new("raw.orders", number)
}

fn schema() -> SchemaRef {
    let comment =
        |field: Field, text: &str| field.with_metadata([("comment".to_owned(), text.to_owned())].into_iter().collect());
    Arc::new(Schema::new(vec![
        comment(Field::new("order_no", DataType::Utf8, false), "工单编号"),
        comment(Field::new("city", DataType::Utf8, true), "城市"),
        Field::new("count", DataType::Int32, true),
        Field::new("seconds", DataType::Int64, true),
        Field::new("score", DataType::Float64, true),
        Field::new("amount", DataType::Decimal128(38, 2), true),
        Field::new("urgent", DataType::Boolean, true),
        Field::new("appeal_time", instant(), true),
        Field::new("due", DataType::Date32, true),
        Field::new("flags", DataType::new_list(DataType::Utf8, true), true),
    ]))
}

fn contract() -> Arc<Contract> {
    Arc::new(Contract {
        name: "work_orders".into(),
        version: "1.0.0".into(),
        title: "服务工单".into(),
        description: String::new(),
        assumed: true,
        columns: Vec::new(),
        rules: Vec::new(),
        flags: None,
    })
}

/// Rows as a test means them: offset, order number, city, message time.
#[derive(Clone)]
struct Row(i64, String, Option<&'static str>, Option<i64>);

fn rows(offsets: impl IntoIterator<Item = i64>) -> Vec<Row> {
    offsets
        .into_iter()
        .map(|offset| Row(offset, format!("NC{offset:06}"), Some("南昌"), Some(EVENING + offset)))
        .collect()
}

/// A batch that covers `from..next` of a partition.
fn outcome(number: i32, from: i64, next: i64, rows: &[Row]) -> Outcome {
    let mut flags = ListBuilder::new(StringBuilder::new());
    for row in rows {
        flags.append_value([Some(format!("f{}", row.0))]);
    }
    let ids = || rows.iter().map(|row| row.0);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| Some(row.1.clone())).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.2).collect::<StringArray>()),
        Arc::new(ids().map(|id| (id % 2 == 0).then_some(id as i32)).collect::<Int32Array>()),
        Arc::new(ids().map(Some).collect::<Int64Array>()),
        Arc::new(ids().map(|id| Some(id as f64 / 4.0)).collect::<Float64Array>()),
        Arc::new(
            ids()
                .map(|id| Some(i128::from(id) - 150))
                .collect::<Decimal128Array>()
                .with_precision_and_scale(38, 2)
                .unwrap(),
        ),
        Arc::new(ids().map(|id| Some(id % 3 == 0)).collect::<BooleanArray>()),
        Arc::new(ids().map(|id| Some(id * 1_000_000 - 1)).collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
        Arc::new(ids().map(|id| Some(id as i32)).collect::<Date32Array>()),
        Arc::new(flags.finish()),
    ];
    Outcome {
        source: "nanchang".into(),
        covers: vec![Interval { partition: partition(number), from, next }],
        rows: RecordBatch::try_new(schema(), columns).unwrap(),
        origins: rows.iter().map(|row| Origin { cover: 0, row: 0, offset: row.0, timestamp: row.3 }).collect(),
        rejects: Vec::new(),
        tally: Tally { input: rows.len() as u64, written: rows.len() as u64, ..Tally::default() },
        flags: BTreeMap::new(),
        held: None,
    }
}

/// The same with a reject per offset in `rejected`.
fn with_rejects(mut outcome: Outcome, rejected: &[i64]) -> Outcome {
    let partition = outcome.covers[0].partition.clone();
    for &offset in rejected {
        let fault = |code: &str| Fault {
            code: code.into(),
            field: Some("phone".into()),
            reason: "缺少必填字段".into(),
            value: None,
        };
        outcome.rejects.push(Reject {
            partition: partition.clone(),
            offset,
            row: None,
            timestamp: Some(EVENING),
            key: Some(vec![0xff, 0].into()),
            message: Some("{".into()),
            payload: None,
            stage: "decode".into(),
            faults: vec![fault("missing"), fault("too_long")],
        });
        outcome.tally += Tally { input: 1, rejected: 1, ..Tally::default() };
    }
    outcome
}

fn covered(number: i32, from: i64, next: i64) -> Covered {
    let intervals = vec![Interval { partition: partition(number), from, next }];
    Covered { intervals, ..Covered::default() }
}

/// Writes and commits `from..next` of a partition, a row per offset.
fn carry(archive: &mut Archive, number: i32, from: i64, next: i64) -> Result<()> {
    archive.write(&outcome(number, from, next, &rows(from..next)))?;
    archive.commit(&covered(number, from, next))?;
    archive.tidy();
    Ok(())
}

/// All files below a folder that end like this, relative to it.
fn find(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).into_iter().flatten().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path.strip_prefix(folder).unwrap().to_path_buf());
            }
        }
    }
    found.sort();
    found
}

/// Rows that a reader sees who takes every Parquet file for valid.
fn plain_rows(folder: &Path) -> usize {
    let rows = |path: PathBuf| {
        let file = fs::File::open(folder.join(path)).unwrap();
        ParquetRecordBatchReaderBuilder::try_new(file).unwrap().metadata().file_metadata().num_rows() as usize
    };
    find(folder, ".parquet").into_iter().filter(|path| !path.starts_with("_delta_log")).map(rows).sum()
}

/// The actions of a log entry.
fn entry(folder: &Path, version: u64) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(folder.join(format!("_delta_log/{version:020}.json"))).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What a writer leaves that dies between its intent and the end of its commit.
fn dead_writer(table: &Path, commit: &str, base: u64, files: &[&str]) -> PathBuf {
    let folder = table.join("_staging/dead");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("lock"), "").unwrap();
    let intent = serde_json::json!({"commit": commit, "base": base, "files": files});
    fs::write(folder.join("intent"), intent.to_string()).unwrap();
    folder
}

/// The same, before its entry, with a file that is in place already; both paths.
fn dead_with_a_stray_file(bench: &Bench) -> (PathBuf, PathBuf) {
    let day = bench.rows().join("ingested_on=2026-11-26");
    let (live, stray) = (find(&day, ".parquet").remove(0), day.join("part-stray.zstd.parquet"));
    fs::copy(day.join(live), &stray).unwrap();
    let files = ["ingested_on=2026-11-26/part-stray.zstd.parquet"];
    (dead_writer(&bench.rows(), &Uuid::new_v4().to_string(), last_version(&bench.rows()), &files), stray)
}

/// What duckdb and deltalake see of a table; none without a Python that has them, said in words.
fn seen_by_others(table: &Path) -> Option<serde_json::Value> {
    let Some(interpreter) = std::env::var_os("HUIJU_TEST_PYTHON") else {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let why = "no Python with duckdb and deltalake here (HUIJU_TEST_PYTHON names its interpreter)";
        let _ = writeln!(std::io::stderr(), "skipped: {why} ({test})"); // past what holds back a test's output
        return None;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers/upkeep.py");
    let ended = Command::new(interpreter).arg(script).arg(table).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    Some(serde_json::from_slice(&ended.stdout).unwrap())
}

fn last_version(folder: &Path) -> u64 {
    let entries = find(&folder.join("_delta_log"), ".json");
    let last = entries.iter().filter_map(|path| path.file_stem()?.to_str()?.parse().ok()).max();
    last.unwrap()
}

fn cursors(archive: &mut Archive, number: i32) -> Vec<i64> {
    archive.assign(&[partition(number)]).unwrap().remove(&partition(number)).unwrap()
}
