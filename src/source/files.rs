//! Messages from files: the embedded default, for a first run, for backfills from exports, for tests without a broker.
//!
//! A topic is a folder, each `*.jsonl` file in it a partition, each line a message. An offset is the byte position of a
//! line's start, and the cursor the position after its newline, so a file may grow, but not change: one that is shorter
//! than its cursor, or whose lines do not begin where they did, is refused. New content needs a new name; write it as
//! `*.partial` and rename it. What has another ending, a name that is not UTF-8 or holds a control character, or is no
//! file, is ignored and told; hidden files are ignored in silence. Blank lines are covered but are no messages, so blanks
//! may follow a last line that was taken. The messages' time is midnight of the date in the file's name; without one
//! they have none.
//!
//! Files of a topic are read in the order of their names, topics take turns. When following, a line waits for its
//! newline; a bounded run reads what stood there at its start, a last line without newline only if it is a whole JSON
//! text. A line above [`LONGEST_LINE`] is skipped without being held in memory and rejected as `decode.too_large`.
//!
//! Whether files have grown is asked of the file system, one question for each file. After that we rest [`RESTS`] times as
//! long as it took, so it takes 2 % of a core, but no longer than [`LONGEST_REST`]: of very many files it takes more (5 % at
//! 5,000 files on a busy machine, debug build; 22 % without these rests and with two questions for each).
//!
//! There is no `start = "end"`: where a file begins to be read is remembered with its first rows, so a crash before them
//! would make the end a later one, and what came in between would be lost.

mod tail;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use chrono_tz::Tz;
use encoding_rs::{Encoding, UTF_8};
use tracing::warn;

use super::{Intake, Source};
use crate::{
    batch::{Fetched, LONGEST_LINE},
    config::Gaps,
    cursor::{NEVER, Partition},
    error::{Context, Error, ErrorKind, Result},
    stop::Stop,
};
use tail::{Tail, Taken};

/// How many files of a topic are told that are not as they should be.
const TOLD: usize = 100;

/// How many times as long as looking at the files took we rest before we look again.
const RESTS: u32 = 50;
const LONGEST_REST: Duration = Duration::from_secs(1);

/// How long taking files over may take: of each, keys may have to be read from the archive.
const TAKE_OVER: Duration = Duration::from_secs(600);

/// How long the end of a bounded run, or of a file, waits for everything to be committed.
const LAST_COMMIT: Duration = Duration::from_secs(600);

#[derive(Clone, Debug)]
pub struct Settings {
    /// Holds a folder per topic.
    pub folder: PathBuf,
    pub topics: Vec<Wanted>,
    /// Ends where the files ended at the start.
    pub bounded: bool,
    pub gaps: Gaps,
    pub max_batch_bytes: usize,
    pub max_batch_messages: usize,
    /// How long to wait for files to grow, at least.
    pub poll: Duration,
}

/// A topic to be read, and what its source says of it.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub topic: String,
    /// Index of its source.
    pub source: usize,
    /// Of dates in file names.
    pub zone: Tz,
    /// UTF-8 if absent.
    pub charset: Option<&'static Encoding>,
}

/// The file source of a pipeline.
pub struct Files {
    settings: Settings,
    topics: Vec<Topic>,
    /// Longest line; smaller in tests.
    longest: usize,
}

struct Topic {
    name: String,
    /// Index of its source.
    source: usize,
    zone: Tz,
    charset: &'static Encoding,
    folder: PathBuf,
    files: BTreeMap<String, Tail>,
    /// What has been told once.
    told: BTreeSet<(&'static str, String)>,
}

impl Files {
    pub fn new(settings: Settings) -> Files {
        let topics = settings.topics.iter().map(|wanted| Topic {
            name: wanted.topic.clone(),
            source: wanted.source,
            zone: wanted.zone,
            charset: wanted.charset.unwrap_or(UTF_8),
            folder: settings.folder.join(&wanted.topic),
            files: BTreeMap::new(),
            told: BTreeSet::new(),
        });
        Files { topics: topics.collect(), settings, longest: LONGEST_LINE }
    }

    /// Whether there can be anything to read; to be asked before anything is made for it.
    pub fn look_for_folders(&self) -> Result<()> {
        let mut folders = self.topics.iter().map(|topic| &topic.folder);
        if let Some(file) = folders.clone().find(|folder| folder.exists() && !folder.is_dir()) {
            return Err(Error::config(format!("{} is a file: messages are read from folders", file.display())));
        }
        if self.settings.bounded && folders.all(|folder| !folder.exists()) {
            let folders = self.topics.iter().map(|topic| topic.folder.display().to_string()).collect::<Vec<_>>();
            let folders = folders.join(", ");
            return Err(Error::config(format!(
                "nothing to read: no such folder: {folders}; make one folder per topic"
            )));
        }
        Ok(())
    }

    /// Looks what has become of the files, and takes over those that are new.
    fn discover(&mut self, intake: &mut Intake, stop: &Stop) -> Result<()> {
        let (mut found, mut tidied) = (Vec::new(), Vec::new());
        for (at, topic) in self.topics.iter_mut().enumerate() {
            let mut there = topic.look()?;
            let partition = |name: &String| Partition::new(format!("{}/{name}", topic.name), 0);
            for (name, tail) in &mut topic.files {
                let size = there.remove(name);
                tail.seen(size)?;
                if size.is_none() {
                    tidied.push((partition(name), at, name.clone()));
                }
            }
            found.extend(there.into_iter().map(|(name, size)| (partition(&name), at, name, size)));
        }
        if !tidied.is_empty() {
            // Or what is remembered of files would grow for as long as there are new ones. What was read of them cannot be
            // read again: nothing may be given up here because a disk takes its time.
            intake.let_go(tidied.iter().map(|(partition, ..)| partition.clone()).collect(), LAST_COMMIT)?;
            for (_, at, name) in tidied {
                self.topics[at].files.remove(&name);
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        let cursors =
            intake.assign(found.iter().map(|(partition, ..)| partition.clone()).collect(), TAKE_OVER, stop)?;
        for (partition, at, name, size) in found {
            let topic = &mut self.topics[at];
            let mut cuts = cursors.get(&partition).cloned().unwrap_or_default();
            let path = topic.folder.join(&name);
            if cuts.is_empty() || cuts.contains(&NEVER) {
                cuts.retain(|cut| *cut != NEVER);
                cuts.push(0);
            }
            let end = self.settings.bounded.then_some(size);
            let time = tail::midnight(&name, topic.zone);
            if time.is_none() {
                topic.tell("no date in the file's name, as in 2026-11-25.jsonl: its messages have no time", &name);
            }
            let tail = Tail::open(path, partition, cuts, end, time, topic.charset, self.settings.gaps)?;
            topic.files.insert(name, tail);
        }
        Ok(())
    }

    /// Reads at most one batch of a topic and hands it on; tells whether there was anything to read.
    fn read(&mut self, at: usize, intake: &mut Intake) -> Result<bool> {
        let Files { settings, topics, longest } = self;
        let topic = &mut topics[at];
        let mut batch = Fetched { source: topic.source, ..Fetched::default() };
        for tail in topic.files.values_mut() {
            // Below the largest cut some sink drops what another takes: such a batch must be of one file.
            let alone = tail.below_cut();
            if alone && !batch.covers.is_empty() {
                break;
            }
            let taken = tail.take(&mut batch, settings.max_batch_bytes, settings.max_batch_messages, *longest)?;
            if taken == Taken::Full || (alone && !batch.covers.is_empty()) {
                break;
            }
        }
        if batch.covers.is_empty() {
            return Ok(false);
        }
        crate::fault::point("files.after_fetch");
        intake.push(batch)?;
        Ok(true)
    }
}

impl Source for Files {
    fn run(&mut self, intake: &mut Intake, stop: &Stop) -> Result<()> {
        self.discover(intake, stop)?;
        intake.begun();
        let (mut looked, mut rest) = (Instant::now(), self.settings.poll);
        'reading: loop {
            let mut more = false;
            for at in 0..self.topics.len() {
                while !intake.room(self.settings.poll) {
                    if stop.asked() {
                        break 'reading;
                    }
                }
                if stop.asked() {
                    break 'reading;
                }
                more |= self.read(at, intake)?;
            }
            if self.settings.bounded {
                if !more {
                    intake.reached_end();
                    return intake.finish(LAST_COMMIT);
                }
                continue;
            }
            if !more && stop.wait(rest) {
                break;
            }
            if looked.elapsed() >= rest {
                let begun = Instant::now();
                self.discover(intake, stop)?;
                looked = Instant::now();
                rest = self::rest(looked - begun, self.settings.poll);
            }
        }
        intake.finish(intake.drain())
    }
}

/// How long to rest when looking at the files took so long.
fn rest(looking: Duration, poll: Duration) -> Duration {
    (looking * RESTS).min(LONGEST_REST).max(poll)
}

impl Topic {
    /// A warning, once for each file; after [`TOLD`] of them once that there are more.
    fn tell(&mut self, what: &'static str, name: &str) {
        if self.told.len() > TOLD || !self.told.insert((what, name.to_owned())) {
            return;
        }
        if self.told.len() > TOLD {
            warn!(topic = %self.name, "more files are not as they should be, but only the first {TOLD} are told");
            return;
        }
        warn!(topic = %self.name, path = ?self.folder.join(name), "{what}");
    }

    /// The files that stand there now, with their sizes.
    fn look(&mut self) -> Result<BTreeMap<String, i64>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.tell("no such folder, treated as empty", "");
                return Ok(BTreeMap::new());
            }
            Err(error) => return Err(error).or_unavailable(format!("list {}", self.folder.display())),
        };
        let mut files = BTreeMap::new();
        for entry in entries {
            let entry = entry.or_unavailable(format!("list {}", self.folder.display()))?;
            let name = match entry.file_name().into_string() {
                Ok(name) if !name.contains(char::is_control) => name,
                // It would stand in logs, in reasons and in the archive.
                Ok(name) => {
                    self.tell("ignored: the file's name holds a control character, rename it", &name);
                    continue;
                }
                Err(name) => {
                    self.tell("ignored: the file's name is not UTF-8, rename it", &name.to_string_lossy());
                    continue;
                }
            };
            if name.starts_with('.') || name.ends_with(".partial") {
                continue;
            }
            if !name.ends_with(".jsonl") {
                self.tell("ignored: messages are read from *.jsonl, not from folders in here", &name);
                continue;
            }
            match entry.metadata() {
                Ok(about) if about.is_file() => drop(files.insert(name, about.len() as i64)),
                // Whoever may put files here must not have others read that way: rejects show what was read.
                Ok(about) if about.is_symlink() => self.tell("ignored: it is a link, not a file", &name),
                Ok(_) => self.tell("ignored: it is no file", &name),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {} // it has gone
                Err(error) => return Err(error).or_unavailable(format!("look at {}", entry.path().display())),
            }
        }
        Ok(files)
    }
}

/// A file is not what it was when we read it.
fn changed(path: &Path, what: impl std::fmt::Display) -> Error {
    let path = path.display();
    let advice = "files may grow but not change: put the old content back, or take the file away; new lines go into a \
                  file with a new name";
    Error::new(ErrorKind::Gap, format!("{path} {what}; {advice}"))
}
