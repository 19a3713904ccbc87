//! An archive that has been in use for years: many days, many files.

use std::{path::Path, time::Duration};

use chrono::{DateTime, Utc};
use huiju::{
    batch::{Fetched, Message},
    check,
    clock::Clock,
    config::{self, Config},
    cursor::{Interval, Partition},
    decode::Decoder,
    error::refuse,
    sample::{Generator, Options},
    sink::{Covered, Sink, archive},
};

use crate::{Result, SOURCE, counts};

const DAYS: u64 = 1000;
/// A topic of the past: the cursors of the real ones stay where they are.
const TOPIC: &str = "bench.old";

/// Commits one order a day, again and again, until there are about so many files; tells what the archive then holds.
pub fn fill(config: &Path, files: u64) -> Result<counts::Table> {
    if files == 0 {
        return Ok(counts::Table::default());
    }
    eprintln!("writing {files} files");
    let config = Config::read(config)?;
    let prepared = check::prepare(&config, &["work_orders".to_owned()])?.remove(0);
    let pipeline = &prepared.pipeline;
    let source = pipeline.sources.iter().position(|source| &*source.name == SOURCE).ok_or("no such source")?;
    let path = pipeline.sinks.iter().find_map(|sink| match sink {
        config::Sink::Archive { path, partition_by } => Some((path, partition_by)),
        config::Sink::Kafka { .. } => None,
    });
    let (path, partition_by) = path.ok_or("the pipeline has no archive")?;
    let settings = archive::Settings::new(&config, path, partition_by, &pipeline.name);
    let table = settings.location.join(path);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let schema = prepared.contract.arrow_schema();
    // Each order was archived on its own day: a row's day is that of its message.
    let start: DateTime<Utc> = "2023-01-01T00:00:00Z".parse()?;
    let partition = Partition::new(TOPIC, 0);
    let mut archive = archive::Archive::open(
        settings,
        prepared.contract.clone(),
        schema.clone(),
        Clock::system(),
        runtime.handle().clone(),
    )?;
    archive.assign(std::slice::from_ref(&partition))?;
    let mut from = 0;
    for round in 0..files.div_ceil(DAYS) {
        let span = Duration::from_secs(DAYS * 24 * 60 * 60);
        let options =
            Options { messages: DAYS, seed: round, duplicates: 0.0, bad: 0.0, start, span, ..Options::default() };
        let mut fetched = Fetched { source, ..Fetched::default() };
        let next = from + DAYS as i64;
        fetched.covers.push(Interval { partition: partition.clone(), from, next });
        for (offset, sample) in (from..).zip(Generator::read(pipeline, SOURCE, options).map_err(refuse)?) {
            let payload = Some(fetched.store(&sample.payload));
            let timestamp = Some(sample.timestamp);
            fetched.messages.push(Message { cover: 0, offset, timestamp, key: None, payload });
        }
        let program = &prepared.programs[source];
        let decoded = Decoder::new(program.fields(), &pipeline.sources[source]).decode(&mut fetched);
        let outcome = program.run(fetched, decoded).finish(&schema)?;
        archive.write(&outcome)?;
        let intervals = outcome.covers.clone();
        archive.commit(&Covered { intervals, tally: outcome.tally })?;
        archive.tidy();
        from = next;
    }
    drop(archive);
    counts::archive(&table)
}
