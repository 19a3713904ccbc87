//! Each step of the line alone, in rows per second on one core: where the time goes, without Kafka.
//!
//! `cargo bench --bench steps`, or `cargo bench --bench steps -- checks` for one of them. Work orders of one city, about
//! 650 bytes each, 2 % duplicates and 0.5 % bad, in batches of 2048, as a line is given them. What a whole run
//! costs is measured by `end_to_end`.

use std::{
    fs,
    hint::black_box,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{
    BatchSize, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use huiju::{
    batch::{Checked, Fetched, Message, Outcome},
    check,
    clock::Clock,
    config::Config,
    cursor::{Interval, Partition},
    decode::Decoder,
    dedup::Dedup,
    engine::{Library, Program},
    runtime::build::Prepared,
    sample::{Generator, Options, Sample},
    sink::{
        Covered, Sink, Unread,
        archive::{Archive, Settings},
        json::Rows,
    },
};
use tempfile::TempDir;

// As the binary has it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const SOURCE: &str = "nanchang";
const ROWS: usize = 2048;
const SIZE: usize = 650;

/// A source's part of the pipeline, and one batch of its messages.
struct Bench {
    prepared: Prepared,
    source: usize,
    samples: Vec<Sample>,
}

impl Bench {
    fn new() -> Bench {
        let config = config();
        let prepared = check::prepare(&config, &["work_orders".to_owned()]).expect("the shipped pipeline is right");
        let prepared = prepared.into_iter().next().expect("it was asked for");
        let source = prepared.pipeline.sources.iter().position(|source| &*source.name == SOURCE);
        let options = Options { messages: ROWS as u64, size: Some(SIZE), ..Options::default() };
        let samples = Generator::read(&prepared.pipeline, SOURCE, options).expect("its template is right").collect();
        Bench { source: source.expect("the source is shipped"), prepared, samples }
    }

    fn program(&self) -> &Program {
        &self.prepared.programs[self.source]
    }

    fn decoder(&self) -> Decoder {
        Decoder::new(self.program().fields(), &self.prepared.pipeline.sources[self.source])
    }

    fn fetched(&self) -> Fetched {
        let partition = Partition::new("bench", 0);
        let covers = vec![Interval { partition, from: 0, next: self.samples.len() as i64 }];
        let mut fetched = Fetched { source: self.source, covers, ..Fetched::default() };
        for (offset, sample) in self.samples.iter().enumerate() {
            let key = sample.key.as_ref().map(|key| fetched.store(key));
            let payload = Some(fetched.store(&sample.payload));
            let offset = offset as i64;
            fetched.messages.push(Message { cover: 0, offset, timestamp: Some(sample.timestamp), key, payload });
        }
        fetched
    }

    fn checked(&self, program: &Program) -> Checked {
        let mut fetched = self.fetched();
        let decoded = self.decoder().decode(&mut fetched);
        program.run(fetched, decoded)
    }

    fn outcome(&self) -> Outcome {
        let mut checked = self.checked(self.program());
        self.dedup().strike_out(&mut checked).expect("its key is in the contract");
        checked.finish(&self.prepared.contract.arrow_schema()).expect("the account adds up")
    }

    fn dedup(&self) -> Dedup {
        Dedup::new(self.prepared.pipeline.dedup.as_ref().expect("the pipeline has one"), Clock::system())
    }
}

/// A configuration over what the repository ships; its topics are never opened.
fn config() -> Config {
    let folder = TempDir::with_prefix("huiju-steps-").expect("a folder");
    let path = folder.path().join("huiju.toml");
    let root = env!("CARGO_MANIFEST_DIR");
    let text =
        format!("pipelines = \"{root}/pipelines\"\nschemas = \"{root}/schemas\"\n[files]\nfolder = \"topics\"\n");
    fs::write(&path, text).expect("a file");
    Config::read(&path).expect("it is right")
}

fn decode(group: &mut BenchmarkGroup<'_, WallTime>, bench: &Bench) {
    let (mut fetched, mut decoder) = (bench.fetched(), bench.decoder());
    group.bench_function("decode", |b| b.iter(|| black_box(decoder.decode(&mut fetched))));
}

/// The map, all SQL stages, and the checks; and the same without the contract's rules.
fn engine(group: &mut BenchmarkGroup<'_, WallTime>, bench: &Bench) {
    let mut measure = |name: &str, program: &Program| {
        let mut decoder = bench.decoder();
        let mut make = || {
            let mut fetched = bench.fetched();
            let decoded = decoder.decode(&mut fetched);
            (fetched, decoded)
        };
        let run = |(fetched, decoded)| program.run(fetched, decoded);
        group.bench_function(name, |b| b.iter_batched(&mut make, run, BatchSize::LargeInput));
    };
    measure("stages and checks", bench.program());
    let Prepared { pipeline, contract, .. } = &bench.prepared;
    let library = Library::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")).expect("shipped");
    let mut bare = contract.as_ref().clone();
    bare.rules.clear();
    let source = &pipeline.sources[bench.source];
    let bare = Program::compile(pipeline, source, &Arc::new(bare), &library).expect("fewer rules are no mistake");
    measure("stages and checks without rules", &bare);
}

/// The shipped weights on texts of 200 characters.
fn classify(group: &mut BenchmarkGroup<'_, WallTime>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/weights/content_class.weights");
    let model = huiju::contract::weights::read(&path).expect("shipped").model;
    let words = ["路灯", "学校", "医院", "噪音", "工资", "客车", "超市", "小区", "老人", "反映", "请求", "部门"];
    let text = |number: usize, length: usize| -> String {
        let word = |at: usize| words[(number * 7 + at * at + at * number) % words.len()];
        (0..length)
            .flat_map(|at| word(at).chars().chain(char::from_u32(0x4e00 + ((number + at * 37) % 3000) as u32)))
            .take(length)
            .collect()
    };
    let texts: Vec<(String, String)> = (0..ROWS).map(|number| (text(number, 20), text(number + 1, 180))).collect();
    group.bench_function("content class", |b| {
        b.iter(|| texts.iter().filter_map(|(title, content)| model.classify(title, content)).count())
    });
}

fn dedup(group: &mut BenchmarkGroup<'_, WallTime>, bench: &Bench) {
    group.bench_function("dedup", |b| {
        let make = || (bench.dedup(), bench.checked(bench.program()));
        let strike = |(mut dedup, mut checked): (Dedup, Checked)| {
            dedup.strike_out(&mut checked).expect("its key is in the contract");
            checked
        };
        b.iter_batched(make, strike, BatchSize::LargeInput)
    });
}

fn encode(group: &mut BenchmarkGroup<'_, WallTime>, bench: &Bench) {
    let outcome = bench.outcome();
    let mut text = Vec::new();
    group.bench_function("encode JSON", |b| {
        b.iter(|| {
            text.clear();
            let rows = Rows::new(&outcome.rows, &Unread::default()).expect("rows of a contract can be JSON");
            let mut encoder = rows.encoder().expect("rows of a contract can be JSON");
            (0..outcome.rows.num_rows()).for_each(|row| encoder.encode(row, &mut text));
            black_box(&text);
        })
    });
}

/// Through the sink: files, and a commit at the end.
fn parquet(group: &mut BenchmarkGroup<'_, WallTime>, bench: &Bench) {
    let outcome = bench.outcome();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    group.bench_function("write Parquet", |b| {
        b.iter_custom(|batches| {
            let folder = TempDir::with_prefix("huiju-steps-").expect("a folder");
            let mut archive = archive(bench, folder.path(), runtime.handle());
            let covered = Covered { intervals: outcome.covers.clone(), tally: outcome.tally };
            let partitions: Vec<Partition> = outcome.covers.iter().map(|cover| cover.partition.clone()).collect();
            archive.assign(&partitions).expect("a new table");
            let begun = Instant::now();
            for _ in 0..batches {
                archive.write(&outcome).expect("there is room");
            }
            archive.commit(&covered).expect("nobody else writes");
            begun.elapsed()
        })
    });
}

fn archive(bench: &Bench, location: &Path, runtime: &tokio::runtime::Handle) -> Archive {
    let contract = bench.prepared.contract.clone();
    let settings = Settings {
        location: location.to_owned(),
        create: true,
        path: "work_orders".to_owned(),
        partition_by: vec!["ingested_on".to_owned()],
        interval: Duration::from_secs(60),
        file_size: 128 << 20,
        accept_foreign_writes: false,
        pipeline: "work_orders".into(),
        instance: "bench".to_owned(),
        time_zone: chrono_tz::Asia::Shanghai,
    };
    let schema = contract.arrow_schema();
    Archive::open(settings, contract, schema, Clock::system(), runtime.clone()).expect("an empty folder")
}

fn steps(criterion: &mut Criterion) {
    let bench = Bench::new();
    let mut group = criterion.benchmark_group("steps");
    group.throughput(Throughput::Elements(ROWS as u64)).sample_size(20);
    decode(&mut group, &bench);
    engine(&mut group, &bench);
    classify(&mut group);
    dedup(&mut group, &bench);
    encode(&mut group, &bench);
    parquet(&mut group, &bench);
    group.finish();
}

criterion_group!(benches, steps);
criterion_main!(benches);
