//! Writes samples as topics of files: `<folder>/<topic>/<yyyy-mm-dd>.jsonl`, a message a line.

use std::{
    fs::{self, File, TryLockError},
    io::{BufWriter, ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use encoding_rs::{UTF_16BE, UTF_16LE};

use super::{Generator, time};
use crate::{
    error::{Error, Result},
    file::{self, failed},
};

/// What was written.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Written {
    pub messages: u64,
    pub files: u64,
}

/// Writes all messages of the generators, a file for each day of a topic. A file appears under its name when it is whole;
/// none that is there already is replaced.
pub fn write_files(generators: Vec<Generator>, folder: &Path) -> Result<Written> {
    let mut written = Written::default();
    for mut generator in generators {
        if let Some(charset) = generator.charset.filter(|charset| [UTF_16LE, UTF_16BE].contains(charset)) {
            let (topic, charset) = (generator.topic(), charset.name());
            let what =
                format!("messages of {topic} are {charset}, which lines of files cannot hold: write them to Kafka");
            return Err(Error::config(what));
        }
        let topic = folder.join(generator.topic());
        file::folder(&topic)?;
        let mut open: Option<(i64, Day)> = None;
        while let Some(sample) = generator.next() {
            let number = time::day(sample.timestamp, generator.row.offset);
            if let Some((_, before)) = open.take_if(|(day, _)| *day != number) {
                before.finish()?;
            }
            let day = match &mut open {
                Some((_, day)) => day,
                none => {
                    written.files += 1;
                    &mut none.insert((number, Day::create(&topic, number)?)).1
                }
            };
            day.line(&sample.payload)?;
            written.messages += 1;
        }
        if let Some((_, last)) = open {
            last.finish()?;
        }
    }
    Ok(written)
}

/// A file that is in the way of [`write_files`].
pub fn taken(generators: Vec<Generator>, folder: &Path) -> Option<PathBuf> {
    for mut generator in generators {
        let topic = folder.join(generator.topic());
        if fs::read_dir(&topic).map_or(true, |mut entries| entries.next().is_none()) {
            continue;
        }
        let mut last = None;
        while let Some(sample) = generator.next() {
            let number = time::day(sample.timestamp, generator.row.offset);
            if last != Some(number)
                && let Some(path) = Some(path(&topic, number)).filter(|path| path.exists())
            {
                return Some(path);
            }
            last = Some(number);
        }
    }
    None
}

fn path(topic: &Path, day: i64) -> PathBuf {
    let (year, month, date) = time::civil(day);
    topic.join(format!("{year:04}-{month:02}-{date:02}.jsonl"))
}

/// The file of a day that is being written.
struct Day {
    path: PathBuf,
    unfinished: PathBuf,
    file: BufWriter<File>,
}

impl Day {
    fn create(topic: &Path, day: i64) -> Result<Day> {
        let path = path(topic, day);
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
        Ok(Day { path, unfinished, file: BufWriter::with_capacity(1 << 18, file) })
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

impl Drop for Day {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.unfinished);
    }
}

/// What is said of a file that would be replaced.
pub(super) fn in_the_way(path: &Path) -> Error {
    let todo = "remove it, or write elsewhere with --to, or of other days with --start";
    Error::config(format!("{} is there already: {todo}", path.display()))
}
