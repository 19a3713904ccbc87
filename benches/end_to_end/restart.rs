//! How soon a process that was killed has its first new row, with many keys in the window of dedup.
//!
//! A first process drains the topic, a second one takes over, is killed with -9, and a third one is started under the
//! same name. Counted is from that start to the moment a reader of what is committed has the row of a message that was
//! sent meanwhile: reading configuration and contracts, joining the group, fencing, and learning the keys from the archive.

use std::{
    fs,
    process::Stdio,
    time::{Duration, Instant},
};

use huiju::{
    config::pipeline,
    error::refuse,
    sample::{Generator, Options as Settings},
};
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
};
use tempfile::TempDir;

use crate::{CLEAN, Options, Result, SOURCE, broker, configuration, counts, create_topics, huiju, live, load, measure};

const LIMIT: Duration = Duration::from_secs(120);
/// What a restart with a million keys may take.
const MOST: f64 = 3.0;

pub fn restart(options: &Options) -> Result<()> {
    let Some(kafka) = broker() else { return Ok(()) };
    let mut folder = TempDir::with_prefix("huiju-bench-")?;
    folder.disable_cleanup(options.keep);
    let root = crate::root(folder.path(), options)?;
    let pipeline = pipeline::read(&root.join("pipelines/work_orders")).map_err(refuse)?;
    create_topics(&kafka, &pipeline);
    let bootstrap = kafka.bootstrap();
    eprintln!("loading {} messages", options.messages);
    let (topic, loaded) = load::load(&bootstrap, &pipeline, options)?;
    fs::write(folder.path().join("huiju.toml"), configuration(&bootstrap, &root, "bench", options))?;
    let mut drain = huiju(options);
    drain.args(["run", "--until-end"]).current_dir(folder.path());
    drain.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    measure::run(vec![drain])?;
    let before: u64 = counts::committed(&bootstrap, CLEAN, &[0; crate::PARTITIONS as usize])?.messages;
    if before != loaded.good() {
        return Err(format!("{before} of {} rows came before anything was killed", loaded.good()).into());
    }

    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &bootstrap).create()?;
    // Orders that were not among the loaded ones: they are numbered.
    let (loaded, wanted) = (loaded.messages, options.runs as u64);
    let messages = loaded + wanted;
    let settings = Settings { messages, seed: options.seed, bad: 0.0, duplicates: 0.0, ..Settings::default() };
    let samples = Generator::read(&pipeline, SOURCE, settings).map_err(refuse)?.skip(loaded as usize);
    let mut killed = live::start(options, folder.path())?;
    told(folder.path(), "assigned")?;
    let mut took = Vec::new();
    for sample in samples {
        let ends = counts::ends(&bootstrap, CLEAN)?;
        killed.signal(libc::SIGKILL);
        killed.wait(LIMIT);
        let begun = Instant::now();
        killed = live::start(options, folder.path())?;
        let mut record = BaseRecord::<[u8], [u8]>::to(&topic).payload(&sample.payload).timestamp(sample.timestamp);
        record.key = sample.key.as_deref();
        producer.send(record).map_err(|(error, _)| error)?;
        producer.flush(LIMIT)?;
        while counts::committed(&bootstrap, CLEAN, &ends)?.messages == 0 {
            if begun.elapsed() > LIMIT {
                return Err(format!("no new row within {LIMIT:?}").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        took.push(begun.elapsed().as_secs_f64());
        let keys = told(folder.path(), "partitions taken over")?;
        eprintln!("first new row after {:.2} s; {keys}", took[took.len() - 1]);
    }
    live::stop(killed, folder.path())?;
    took.sort_by(f64::total_cmp);
    let median = took[took.len() / 2];
    println!("restart with {before} rows behind it: first new row after {median:.2} s (median of {})", took.len());
    if median > MOST { Err(format!("more than {MOST} s").into()) } else { Ok(()) }
}

/// Waits until the running process has said so; the last line in which it did.
fn told(folder: &std::path::Path, words: &str) -> Result<String> {
    let begun = Instant::now();
    loop {
        let said = fs::read_to_string(folder.join("stderr"))?;
        if let Some(line) = said.lines().rev().find(|line| line.contains(words)) {
            return Ok(line.to_owned());
        }
        if begun.elapsed() > LIMIT {
            return Err(format!("huiju has not said {words:?}:\n{said}").into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
