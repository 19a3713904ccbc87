//! The clean stream as files: a folder per topic, JSON Lines, one file per partition and commit.
//!
//! A file's name is its cursor interval: `{topic}@{number}.{from}-{next}.jsonl`, offsets with 20 digits. So data and
//! cursor appear in one atomic rename, names are the same whenever the same interval is written, and the cursor of a
//! partition is read from the names: they must join without a hole, or the folder is refused. Old files may be taken
//! away, the newest of a partition must stay: it is the cursor. An interval without rows leaves an empty file.
//!
//! Rows and rejects are two topics with a cursor each; rejects go first. Until the commit everything is in `*.partial`
//! files, which the next start removes. One process writes into a folder: it holds a lock on it.

mod lines;
mod names;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Covered, Pending, Sink, Unread, json};
use crate::{
    batch::Outcome,
    cpu::{self, Step},
    cursor::{Cursors, Interval, Partition},
    error::{Context, Error, Result},
    file::Lock,
};

/// A commit is due early when this much is pending, so that files keep a sensible size.
const LARGE: usize = 256 << 20;

/// Lines are written to disk in pieces of about this size.
const PIECE: usize = 1 << 20;

#[derive(Clone, Debug)]
pub struct Settings {
    /// Holds a folder per topic.
    pub folder: PathBuf,
    /// Topic of the rows.
    pub topic: String,
    /// Topic of the rejects.
    pub rejected: String,
    /// What rows leave out.
    pub unread: Unread,
    /// At most this long between a row and its commit.
    pub interval: Duration,
}

/// The files sink of a pipeline.
pub struct Files {
    rejects: Topic,
    rows: Topic,
    unread: Unread,
    interval: Duration,
    /// Files with content made visible.
    files: u64,
}

/// A folder of files and what waits to go into it.
struct Topic {
    folder: PathBuf,
    partitions: BTreeMap<Partition, State>,
    _lock: Lock,
}

#[derive(Debug, Default)]
struct State {
    /// The cursor; `None` before the first commit.
    next: Option<i64>,
    /// What the next commit makes visible.
    part: Option<Part>,
}

#[derive(Debug)]
struct Part {
    from: i64,
    next: i64,
    path: PathBuf,
}

impl Files {
    /// Makes the folders and locks them.
    pub fn open(settings: Settings) -> Result<Files> {
        let Settings { folder, topic, rejected, unread, interval } = settings;
        if topic == rejected {
            return Err(Error::config(format!(
                "topic and rejected are both {topic}: rejects need a topic of their own"
            )));
        }
        let (rejects, rows) = (Topic::open(folder.join(rejected))?, Topic::open(folder.join(topic))?);
        Ok(Files { rejects, rows, unread, interval, files: 0 })
    }
}

impl Sink for Files {
    fn kind(&self) -> &'static str {
        super::FILES
    }

    fn assign(&mut self, partitions: &[Partition]) -> Result<Cursors> {
        self.rejects.tidy()?;
        self.rows.tidy()?;
        let (mut rejects, mut rows) = (names::read(&self.rejects.folder)?, names::read(&self.rows.folder)?);
        let mut cursors = Cursors::new();
        for partition in partitions {
            let name = names::of(partition);
            let (rejects, rows) = (rejects.remove(&name), rows.remove(&name));
            // Rejects go first: a partition may have been left between its first rejects and its first rows. Then rows begin
            // where the file does, as those of a topic whose name is new. And where all rejects were taken away, there is no
            // reason to write them again.
            let at = rejects.or(rows);
            self.rejects.partitions.insert(partition.clone(), State { next: at, part: None });
            let mut cuts: Vec<i64> = at.into_iter().collect();
            let at = rows.or(rejects.map(|_| 0));
            self.rows.partitions.insert(partition.clone(), State { next: at, part: None });
            cuts.extend(at);
            cuts.sort_unstable();
            cuts.dedup();
            cursors.insert(partition.clone(), cuts);
        }
        Ok(cursors)
    }

    fn release(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            self.rejects.partitions.remove(partition);
            self.rows.partitions.remove(partition);
        }
    }

    fn write(&mut self, outcome: &Outcome) -> Result<()> {
        let mut lines = self.rejects.begin(&outcome.covers)?;
        let places = outcome.covers.iter().enumerate().map(|(at, interval)| (&interval.partition, at));
        let places: HashMap<&Partition, usize> = places.collect();
        for reject in &outcome.rejects {
            let at = places.get(&reject.partition).copied();
            let at = at.ok_or_else(|| Error::bug(format!("a reject of {} is in no interval", reject.partition)))?;
            lines.put(at, |out| lines::reject(&outcome.source, reject, out))?;
        }
        lines.finish()?;
        let rows = json::Rows::new(&outcome.rows, &self.unread)?;
        let mut encoder = rows.encoder()?;
        let mut lines = self.rows.begin(&outcome.covers)?;
        for (row, origin) in outcome.origins.iter().enumerate() {
            lines.put(origin.cover as usize, |out| {
                encoder.encode(row, out);
                out.push(b'\n');
            })?;
        }
        lines.finish()?;
        cpu::spent(Step::Encode);
        Ok(())
    }

    fn commit_in(&self, pending: &Pending) -> Duration {
        if pending.bytes >= LARGE {
            return Duration::ZERO;
        }
        self.interval.saturating_sub(pending.since.elapsed())
    }

    fn commit(&mut self, covered: &Covered) -> Result<()> {
        for topic in [&self.rejects, &self.rows] {
            topic.check(covered)?;
            topic.sync()?;
        }
        crate::fault::point("files.before_rename");
        self.files += self.rejects.publish()?;
        crate::fault::point("files.after_rejects");
        self.files += self.rows.publish()?;
        crate::fault::point("files.after_rename");
        Ok(())
    }

    fn abort(&mut self) {
        self.rejects.forget();
        self.rows.forget();
    }

    fn files(&self) -> u64 {
        self.files
    }
}

impl Topic {
    fn open(folder: PathBuf) -> Result<Topic> {
        make(&folder).or_unavailable(format!("make the folder {}", folder.display()))?;
        let path = folder.join(".lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let lock = lock.or_unavailable(format!("open {}", path.display()))?;
        match Lock::take(lock) {
            Ok(lock) => Ok(Topic { folder, partitions: BTreeMap::new(), _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                let folder = folder.display();
                Err(Error::fenced(format!("another process writes into {folder}; stop it, or wait until it has ended")))
            }
            Err(TryLockError::Error(error)) => Err(error).or_unavailable(format!("lock {}", path.display())),
        }
    }

    /// Removes what a dead run has left half-way. Nobody else writes here: we hold the lock.
    fn tidy(&mut self) -> Result<()> {
        self.forget();
        let folder = self.folder.display();
        for entry in fs::read_dir(&self.folder).or_unavailable(format!("list {folder}"))? {
            let path = entry.or_unavailable(format!("list {folder}"))?.path();
            if path.extension().is_some_and(|ending| ending == "partial") {
                fs::remove_file(&path).or_unavailable(format!("remove {}", path.display()))?;
            }
        }
        Ok(())
    }

    /// Extends the partitions' parts by these intervals, except where the cursor is beyond them.
    fn begin(&mut self, covers: &[Interval]) -> Result<Lines> {
        let mut paths = Vec::with_capacity(covers.len());
        for interval in covers {
            let state = self.partitions.get_mut(&interval.partition);
            let state = state.ok_or_else(|| Error::bug(format!("files sink got {interval}, which is not assigned")))?;
            let next = state.part.as_ref().map(|part| part.next).or(state.next);
            if next.is_some_and(|next| interval.next <= next && interval.from < next) {
                paths.push(None);
                continue;
            }
            if let Some(next) = next.filter(|next| *next != interval.from) {
                return Err(Error::bug(format!("files sink has its cursor at {next} and got {interval}")));
            }
            let part = match &mut state.part {
                Some(part) => part,
                part => {
                    let path = self.folder.join(names::partial(interval));
                    File::create(&path).or_unavailable(format!("make {}", path.display()))?;
                    part.insert(Part { from: interval.from, next: interval.from, path })
                }
            };
            part.next = interval.next;
            paths.push(Some(part.path.clone()));
        }
        Ok(Lines { buffers: vec![Vec::new(); covers.len()], paths })
    }

    /// Whether what we hold is what the commit is said to stand for.
    fn check(&self, covered: &Covered) -> Result<()> {
        for interval in &covered.intervals {
            let state = self.partitions.get(&interval.partition);
            let next = state.and_then(|state| state.part.as_ref().map(|part| part.next).or(state.next));
            if next.is_none_or(|next| next < interval.next) {
                return Err(Error::bug(format!("files sink is to commit {interval} and holds it up to {next:?} only")));
            }
        }
        Ok(())
    }

    /// Makes the content of all parts durable.
    fn sync(&self) -> Result<()> {
        for part in self.partitions.values().filter_map(|state| state.part.as_ref()) {
            let synced = File::open(&part.path).and_then(|file| file.sync_all());
            synced.or_unavailable(format!("sync {}", part.path.display()))?;
        }
        Ok(())
    }

    /// Gives all parts their names; tells how many have content.
    fn publish(&mut self) -> Result<u64> {
        let (mut renamed, mut files) = (false, 0);
        for (partition, state) in &mut self.partitions {
            let Some(part) = &state.part else { continue };
            let interval = Interval { partition: partition.clone(), from: part.from, next: part.next };
            let path = self.folder.join(names::file(&interval));
            let bytes = fs::metadata(&part.path).map(|about| about.len());
            files += u64::from(bytes.or_unavailable(format!("look at {}", part.path.display()))? > 0);
            fs::rename(&part.path, &path).or_unavailable(format!("rename to {}", path.display()))?;
            state.next = Some(part.next);
            state.part = None;
            renamed = true;
        }
        if renamed {
            let synced = File::open(&self.folder).and_then(|folder| folder.sync_all());
            synced.or_unavailable(format!("sync {}", self.folder.display()))?;
        }
        Ok(files)
    }

    /// Removes what is not committed.
    fn forget(&mut self) {
        for state in self.partitions.values_mut() {
            if let Some(part) = state.part.take() {
                // A file that cannot be removed is no harm: no reader takes it, and the next start tries again.
                let _ = fs::remove_file(&part.path);
            }
        }
    }
}

/// Lines of one batch on their way to the parts. Files are open only while a piece is appended: a batch may cover
/// many partitions.
struct Lines {
    buffers: Vec<Vec<u8>>,
    /// `None` where the sink has these lines already.
    paths: Vec<Option<PathBuf>>,
}

impl Lines {
    fn put(&mut self, at: usize, line: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        let Some(path) = &self.paths[at] else { return Ok(()) };
        let buffer = &mut self.buffers[at];
        line(buffer);
        if buffer.len() >= PIECE { append(path, buffer) } else { Ok(()) }
    }

    fn finish(mut self) -> Result<()> {
        for (path, buffer) in self.paths.iter().zip(&mut self.buffers) {
            if let Some(path) = path.as_ref().filter(|_| !buffer.is_empty()) {
                append(path, buffer)?;
            }
        }
        Ok(())
    }
}

/// Makes a folder and those above it, so that they are there after a power failure: what is synced inside a folder that
/// is not there is lost.
fn make(folder: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|above| !above.exists()).collect();
    fs::create_dir_all(folder)?;
    let above = missing.iter().filter_map(|made| made.parent());
    above
        .map(|above| if above == Path::new("") { Path::new(".") } else { above })
        .try_for_each(|above| File::open(above)?.sync_all())
}

fn append(path: &Path, buffer: &mut Vec<u8>) -> Result<()> {
    let appended = OpenOptions::new().append(true).open(path).and_then(|mut file| file.write_all(buffer));
    appended.or_unavailable(format!("write {}", path.display()))?;
    buffer.clear();
    Ok(())
}
