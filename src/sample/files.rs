//! Writes samples as topics of files: `<folder>/<topic>/<yyyy-mm-dd>-<nn>.jsonl`, a message a line.
//!
//! A key goes to the same `nn` on all days, as it would to the same partition.

use std::{
    fs::{self, File, TryLockError},
    io::{BufWriter, ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::xxh3_64;

use super::{Generator, Made, time};
use crate::{
    error::{Error, Result},
    file::{self, failed},
};

/// What was written.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Written {
    pub messages: u64,
    pub bad: u64,
    pub duplicates: u64,
    pub bytes: u64,
    pub files: u64,
}

/// Writes all messages of the generators, each topic's days into `parts` files. A file appears under its name when
/// it is whole; none that is there already is replaced. `tick` is told after every thousand messages.
pub fn write_files(
    generators: Vec<Generator>,
    folder: &Path,
    parts: u8,
    tick: &mut dyn FnMut(&Written),
) -> Result<Written> {
    let mut written = Written::default();
    for generator in generators {
        let topic = folder.join(generator.topic());
        file::folder(&topic)?;
        let mut day = Day::none(parts);
        let mut generator = generator;
        while let Some(sample) = generator.next() {
            let number = time::day(sample.timestamp, generator.row.offset);
            if day.number != number {
                day.finish()?;
                day = Day { number, ..Day::none(parts) };
            }
            let part = sample.key.as_deref().map_or(0, |key| xxh3_64(key) % u64::from(parts.max(1))) as usize;
            let file = match &mut day.open[part] {
                Some(file) => file,
                none => {
                    written.files += 1;
                    none.insert(Part::create(&topic, number, part)?)
                }
            };
            file.line(&sample.payload)?;
            written.messages += 1;
            written.bytes += sample.payload.len() as u64 + 1;
            written.bad += u64::from(sample.made == Made::Bad);
            written.duplicates += u64::from(sample.made == Made::Duplicate);
            if written.messages.is_multiple_of(1000) {
                tick(&written);
            }
        }
        day.finish()?;
    }
    tick(&written);
    Ok(written)
}

/// A file that is in the way of [`write_files`].
pub fn taken(generators: Vec<Generator>, folder: &Path, parts: u8) -> Option<PathBuf> {
    for mut generator in generators {
        let topic = folder.join(generator.topic());
        if fs::read_dir(&topic).map_or(true, |mut entries| entries.next().is_none()) {
            continue;
        }
        let mut last = None;
        while let Some(sample) = generator.next() {
            let number = time::day(sample.timestamp, generator.row.offset);
            let there = |part| Some(path(&topic, number, part)).filter(|path| path.exists());
            if last != Some(number)
                && let Some(path) = (0..parts.max(1).into()).find_map(there)
            {
                return Some(path);
            }
            last = Some(number);
        }
    }
    None
}

fn path(topic: &Path, day: i64, part: usize) -> PathBuf {
    let (year, month, date) = time::civil(day);
    topic.join(format!("{year:04}-{month:02}-{date:02}-{:02}.jsonl", part + 1))
}

/// The files of one day.
struct Day {
    number: i64,
    open: Vec<Option<Part>>,
}

impl Day {
    fn none(parts: u8) -> Day {
        Day { number: i64::MIN, open: (0..parts.max(1)).map(|_| None).collect() }
    }

    fn finish(&mut self) -> Result<()> {
        self.open.iter_mut().filter_map(Option::take).try_for_each(Part::finish)
    }
}

struct Part {
    path: PathBuf,
    unfinished: PathBuf,
    file: BufWriter<File>,
}

impl Part {
    fn create(topic: &Path, day: i64, part: usize) -> Result<Part> {
        let path = path(topic, day, part);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let unfinished = topic.join(format!(".{name}.unfinished"));
        let create = |error| failed(format_args!("create {}", unfinished.display()), error);
        // What an interrupted run has left is begun anew; what another is writing at this moment is let alone.
        let mut options = File::options();
        let file = options.create(true).truncate(false).write(true).custom_flags(libc::O_NOFOLLOW).open(&unfinished);
        let file = file.map_err(create)?;
        match file.try_lock() {
            Ok(()) => file.set_len(0).map_err(create)?,
            Err(TryLockError::WouldBlock) => {
                let what = format!("another huiju is writing {}: wait for it, or write elsewhere", path.display());
                return Err(Error::config(what));
            }
            Err(TryLockError::Error(error)) => return Err(create(error)),
        }
        Ok(Part { path, unfinished, file: BufWriter::with_capacity(1 << 18, file) })
    }

    fn line(&mut self, payload: &[u8]) -> Result<()> {
        let line = self.file.write_all(payload).and_then(|()| self.file.write_all(b"\n"));
        line.map_err(|error| failed(format_args!("write {}", self.unfinished.display()), error))
    }

    fn finish(mut self) -> Result<()> {
        let written = self.file.flush();
        written.map_err(|error| failed(format_args!("write {}", self.unfinished.display()), error))?;
        // A rename would replace what has come there meanwhile.
        fs::hard_link(&self.unfinished, &self.path).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => in_the_way(&self.path),
            _ => failed(format_args!("name {}", self.path.display()), error),
        })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.unfinished);
    }
}

/// What is said of a file that would be replaced.
pub(super) fn in_the_way(path: &Path) -> Error {
    let todo = "remove it, or write elsewhere with --to, or of other days with --start";
    Error::config(format!("{} is there already: {todo}", path.display()))
}
