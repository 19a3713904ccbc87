//! What is not a matter of draining: how late a row is under a steady load, and what a process costs that has nothing to
//! do.
//!
//! Latency is counted from the message's own time, when its producer is handed it, to the moment a reader that reads only
//! what is committed has its clean row. A second reader of the raw topic tells how late the same messages are without
//! huiju: on a broker that has more to do than it can, both are late. The producer waits five milliseconds for company,
//! as Java's do by default. Producer, readers, broker and huiju share the machine.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use huiju::{
    clock::Clock,
    config::{Pipeline, pipeline},
    error::refuse,
    sample::{Generator, Options as Settings, Sample},
};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::RDKafkaErrorCode,
    producer::{BaseProducer, BaseRecord, Producer},
};
use tempfile::TempDir;

use crate::{
    CLEAN, Kafka, Options, PARTITIONS, Result, SOURCE, configuration, copy_folder, create_topics, huiju, measure, root,
    round, support::process::Process,
};

/// Not counted: files are opened, buffers filled, and the broker's code compiled.
const WARM: Duration = Duration::from_secs(20);
const COUNTED: Duration = Duration::from_secs(30);
const PIPELINES: usize = 4;

/// Clean rows and how late they are, at so many messages a second, with both sinks.
pub fn latency(options: &Options) -> Result<()> {
    let Some(kafka) = Kafka::start() else { return Ok(()) };
    let mut folder = TempDir::with_prefix("huiju-bench-")?;
    folder.disable_cleanup(options.keep);
    let root = root(folder.path(), options)?;
    let pipeline = pipeline::read(&root.join("pipelines/work_orders")).map_err(refuse)?;
    create_topics(&kafka, &pipeline);
    let bootstrap = kafka.bootstrap();
    let samples = samples(&pipeline, options)?;
    let topic = pipeline.sources.iter().find(|source| &*source.name == SOURCE).map(|source| &source.topics[0]);
    let topic = topic.ok_or("no such source")?;

    fs::write(folder.path().join("huiju.toml"), configuration(&bootstrap, &root, "bench", options))?;
    let process = start(options, folder.path())?;
    let begun = now_ms();
    let done = AtomicBool::new(false);
    let (raw, late, cpu) = std::thread::scope(|scope| -> Result<(Vec<u32>, Vec<u32>, f64)> {
        let [raw, clean] = [&**topic, CLEAN].map(|topic| {
            let (bootstrap, done) = (&bootstrap, &done);
            scope.spawn(move || read(bootstrap, topic, begun, done).map_err(|e| e.to_string()))
        });
        let sent = send(&bootstrap, topic, &samples, options.latency, process.id());
        // What was sent last comes within a second, or is too late anyway.
        std::thread::sleep(Duration::from_secs(2));
        done.store(true, Ordering::Relaxed);
        let [raw, late] = [raw, clean].map(|reader| reader.join().map_err(|_| "the reader panicked"));
        Ok((raw??, late??, sent?))
    })?;
    stop(process, folder.path())?;
    report(raw, late, cpu, options)
}

fn samples(pipeline: &Pipeline, options: &Options) -> Result<Vec<Sample>> {
    let messages = options.latency * (WARM + COUNTED).as_secs();
    eprintln!("making {messages} messages");
    let settings =
        Settings { messages, seed: options.seed, bad: options.bad, size: options.size, ..Settings::default() };
    Ok(Generator::read(pipeline, SOURCE, settings).map_err(refuse)?.collect())
}

/// Sends at an even pace; tells the CPU seconds that `process` used while it was counted.
fn send(bootstrap: &str, topic: &str, samples: &[Sample], rate: u64, process: u32) -> Result<f64> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("partitioner", "murmur2_random")
        .set("compression.type", "lz4")
        .set("linger.ms", "5")
        .create()?;
    let begun = Instant::now();
    let mut before = None;
    for (number, sample) in (0_u64..).zip(samples) {
        let due = Duration::from_nanos(number * 1_000_000_000 / rate);
        if number.is_multiple_of(rate.div_ceil(1000)) {
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
            producer.poll(Duration::ZERO);
        }
        if due >= WARM && before.is_none() {
            before = Some(measure::used(process)?);
        }
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).payload(&sample.payload).timestamp(now_ms());
        record.key = sample.key.as_deref();
        while let Err((error, again)) = producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            producer.poll(Duration::from_millis(1));
            record = again;
        }
    }
    let cpu = measure::used(process)? - before.unwrap_or_default();
    producer.flush(Duration::from_secs(30))?;
    let behind = begun.elapsed().saturating_sub(WARM + COUNTED);
    if behind > Duration::from_secs(1) {
        return Err(format!("the producer is {behind:?} behind its pace: the machine is too slow for this rate").into());
    }
    Ok(cpu)
}

/// Milliseconds of each row, of messages sent after the time to get warm.
fn read(bootstrap: &str, topic: &str, begun: i64, done: &AtomicBool) -> Result<Vec<u32>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "bench-latency")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("fetch.queue.backoff.ms", "1")
        .create()?;
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        partitions.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&partitions)?;
    let first = begun + WARM.as_millis() as i64;
    let mut late = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let Some(message) = consumer.poll(Duration::from_millis(50)) else { continue };
        let sent = message?.timestamp().to_millis().unwrap_or_default();
        if sent >= first {
            late.push(u32::try_from(now_ms() - sent).unwrap_or_default());
        }
    }
    Ok(late)
}

fn report(raw: Vec<u32>, late: Vec<u32>, cpu: f64, options: &Options) -> Result<()> {
    let counted = options.latency * COUNTED.as_secs();
    // Two in a hundred are duplicates; a tenth more would be lost in the second after the last.
    if (late.len() as u64) < counted * 85 / 100 {
        return Err(format!("{} rows came of some {counted} messages", late.len()).into());
    }
    let (rows, cores) = (late.len(), cpu / COUNTED.as_secs_f64());
    let [(p50, p99, p999, max), (raw_p50, raw_p99, ..)] = [late, raw].map(quantiles);
    if options.json {
        let object = serde_json::json!({
            "messages_per_second": options.latency, "rows": rows, "p50_ms": p50, "p99_ms": p99, "p999_ms": p999,
            "max_ms": max, "raw_p50_ms": raw_p50, "raw_p99_ms": raw_p99, "cores": round(cores),
        });
        println!("{object}");
        return Ok(());
    }
    println!(
        "{} messages a second: {rows} rows, p50 {p50} ms, p99 {p99} ms, p99.9 {p999} ms, max {max} ms; \
         unprocessed p50 {raw_p50} ms, p99 {raw_p99} ms; huiju used {cores:.2} cores",
        options.latency
    );
    Ok(())
}

/// Median, 99 %, 99.9 % and the largest; zeros of nothing.
fn quantiles(mut late: Vec<u32>) -> (u32, u32, u32, u32) {
    late.sort_unstable();
    let at = |share: f64| late.get((late.len().saturating_sub(1) as f64 * share) as usize).copied().unwrap_or_default();
    (at(0.5), at(0.99), at(0.999), at(1.0))
}

/// Four pipelines, each with topics of its own, and no message.
pub fn idle(options: &Options) -> Result<()> {
    let Some(kafka) = Kafka::start() else { return Ok(()) };
    let mut folder = TempDir::with_prefix("huiju-bench-")?;
    folder.disable_cleanup(options.keep);
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR"));
    copy_folder(&shipped.join("schemas"), &folder.path().join("schemas"))?;
    for number in 1..=PIPELINES {
        let copy = folder.path().join(format!("pipelines/work_orders_{number}"));
        copy_folder(&shipped.join("pipelines/work_orders"), &copy)?;
        rename(&copy.join("pipeline.toml"), number)?;
        for entry in fs::read_dir(copy.join("sources"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                rename(&path, number)?;
            }
        }
        let pipeline = pipeline::read(&copy).map_err(refuse)?;
        let raw = pipeline.sources.iter().flat_map(|source| source.topics.clone());
        let clean = ["standard", "rejected"].map(|kind| format!("hotline.{kind}.work_orders_{number}"));
        raw.chain(clean).for_each(|topic| kafka.create_topic(&topic, PARTITIONS, &[]));
    }
    let bootstrap = kafka.bootstrap();
    fs::write(folder.path().join("huiju.toml"), configuration(&bootstrap, folder.path(), "bench", options))?;
    let process = start(options, folder.path())?;
    std::thread::sleep(WARM);
    let before = measure::used(process.id())?;
    std::thread::sleep(Duration::from_secs(options.idle));
    let cpu = measure::used(process.id())? - before;
    let (share, peak) = (cpu / options.idle as f64, measure::peak_of(process.id()).unwrap_or(0) as f64 / 1e6);
    stop(process, folder.path())?;
    match options.json {
        true => {
            println!("{}", serde_json::json!({ "pipelines": PIPELINES, "cores": share, "peak_rss_mb": round(peak) }))
        }
        false => println!("{PIPELINES} idle pipelines: {:.2} % of a core, {peak:.0} MB at most", share * 100.0),
    }
    Ok(())
}

/// Topics and tables of its own.
fn rename(path: &Path, number: usize) -> Result<()> {
    let text = fs::read_to_string(path)?;
    let named = text.replace("work_orders\"\nrejected", &format!("work_orders_{number}\"\nrejected"));
    let named = named.replace("hotline.rejected.work_orders", &format!("hotline.rejected.work_orders_{number}"));
    let named = named.replace("path = \"work_orders\"", &format!("path = \"work_orders_{number}\""));
    Ok(fs::write(path, named.replace("hotline.raw.work_orders", &format!("hotline.raw.work_orders_{number}")))?)
}

pub fn start(options: &Options, folder: &Path) -> Result<Process> {
    let mut command: Command = huiju(options);
    command.args(["run"]).current_dir(folder);
    command.stdout(fs::File::create(folder.join("stdout"))?).stderr(fs::File::create(folder.join("stderr"))?);
    Ok(Process::spawn(command)?)
}

pub fn stop(mut process: Process, folder: &Path) -> Result<()> {
    let running = process.is_running();
    process.signal(libc::SIGTERM);
    match process.wait(Duration::from_secs(30)) {
        Some(status) if running && status.success() => Ok(()),
        status => {
            let said = fs::read_to_string(folder.join("stderr")).unwrap_or_default();
            Err(format!("huiju ended with {status:?} (ran to the end: {running}):\n{said}").into())
        }
    }
}

fn now_ms() -> i64 {
    Clock::system().now_ms()
}
