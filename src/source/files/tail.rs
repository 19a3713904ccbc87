//! One file, read line by line from its cursor.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use chrono::{NaiveDate, NaiveTime, TimeZone};
use chrono_tz::Tz;
use encoding_rs::Encoding;
use tracing::warn;

use super::changed;
use crate::{
    batch::{Fetched, Gap, Message},
    config::Gaps,
    cursor::{Cuts, Interval, Partition},
    error::{Context, Error, Result},
};

/// The file itself: by now there may be a link in its place, or a pipe.
fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

pub(super) struct Tail {
    path: PathBuf,
    partition: Partition,
    /// Where the next line begins.
    position: i64,
    /// Where a sink's cursor lies ahead of the position, smallest first: no batch straddles one.
    cuts: Cuts,
    /// A bounded run ends with the line that reaches this.
    end: Option<i64>,
    /// Time of all its messages, in milliseconds since 1970.
    timestamp: Option<i64>,
    charset: &'static Encoding,
    /// Bytes of the file when we last looked, and when we last found no further line.
    known: i64,
    exhausted_at: i64,
    /// Far into a line that is too long: where to look on for its newline.
    giant: Option<i64>,
    /// The position lies within a line; the rest of it is recorded as a gap.
    torn: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Taken {
    /// There is no further line for now.
    Exhausted,
    /// The batch has to be handed on first.
    Full,
}

/// How a line ended.
enum Line {
    /// With its newline, with the file, or at a cut.
    Whole(usize),
    /// It may still grow, or there is none.
    None,
    TooLong(usize),
}

impl Tail {
    /// Opens a file at the smallest of `cuts`.
    pub fn open(
        path: PathBuf,
        partition: Partition,
        mut cuts: Cuts,
        end: Option<i64>,
        timestamp: Option<i64>,
        charset: &'static Encoding,
        gaps: Gaps,
    ) -> Result<Tail> {
        cuts.sort_unstable();
        cuts.dedup();
        let file = open(&path).or_unavailable(format!("open {}", path.display()))?;
        let size = file.metadata().or_unavailable(format!("look at {}", path.display()))?.len() as i64;
        let position = cuts[0];
        let mut torn = false;
        for cut in &cuts {
            if *cut > size {
                return Err(changed(&path, format!("has {size} bytes, but was read up to byte {cut} before")));
            }
            if !boundary(&file, *cut, size).or_unavailable(format!("read {}", path.display()))? {
                if gaps == Gaps::Stop || *cut != position {
                    return Err(changed(&path, format!("was read up to byte {cut} before, but no line begins there")));
                }
                warn!(?path, position, "no line begins at the cursor, what is left of the line is recorded as a gap");
                torn = true;
            }
        }
        cuts.remove(0);
        let (known, exhausted_at) = (size.max(end.unwrap_or(0)), -1);
        Ok(Tail { path, partition, position, cuts, end, timestamp, charset, known, exhausted_at, giant: None, torn })
    }

    /// Whether some sink has already taken what comes next.
    pub fn below_cut(&self) -> bool {
        !self.cuts.is_empty()
    }

    /// Takes note of the bytes that the file has now; `None` if it is not there any more. One that is not all that was
    /// there is refused.
    pub fn seen(&mut self, size: Option<i64>) -> Result<()> {
        let before = self.known.max(self.position);
        match size {
            Some(size) if size < before => {
                Err(changed(&self.path, format!("has {size} bytes, but had {before} before")))
            }
            Some(size) => {
                self.known = size;
                Ok(())
            }
            None if self.position < before => Err(self.gone()),
            // Read to its end, then tidied away: nothing is lost.
            None => Ok(()),
        }
    }

    fn gone(&self) -> Error {
        changed(&self.path, format!("is gone and was read only up to byte {}", self.position))
    }

    /// Moves lines into the batch until it is full, a cut is reached, or there are no more. Of a file that has not grown
    /// since it was read last it knows without looking.
    pub fn take(&mut self, batch: &mut Fetched, bytes: usize, messages: usize, longest: usize) -> Result<Taken> {
        let at_end = self.end.is_some_and(|end| self.position >= end);
        if at_end || self.known <= self.position || self.known == self.exhausted_at {
            return Ok(Taken::Exhausted);
        }
        let file = match open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.gone()),
            file => file.or_unavailable(format!("open {}", self.path.display()))?,
        };
        let size = file.metadata().or_unavailable(format!("look at {}", self.path.display()))?.len() as i64;
        self.seen(Some(size))?;
        let from = self.position;
        // Another file may have been put in its place, or its content replaced, since we looked last.
        let begins = boundary(&file, from, size).or_unavailable(format!("read {}", self.path.display()))?;
        if !self.torn && !begins {
            let position = self.position;
            return Err(changed(
                &self.path,
                format!("was read up to byte {position}, but no line begins there any more"),
            ));
        }
        let taken = self.lines(file, batch, size, bytes, messages, longest);
        let taken = taken.or_unavailable(format!("read {}", self.path.display()))?;
        if self.position > from {
            let partition = self.partition.clone();
            batch.covers.push(Interval { partition, from, next: self.position });
        }
        if taken == Taken::Exhausted {
            self.exhausted_at = size;
        }
        Ok(taken)
    }

    fn lines(
        &mut self,
        file: File,
        batch: &mut Fetched,
        size: i64,
        bytes: usize,
        messages: usize,
        longest: usize,
    ) -> io::Result<Taken> {
        let ahead = usize::try_from(size - self.position).unwrap_or(usize::MAX);
        batch.arena.reserve(ahead.min(bytes.saturating_sub(batch.arena.len())));
        let mut file = BufReader::with_capacity(128 << 10, file);
        file.seek(SeekFrom::Start(self.giant.unwrap_or(self.position) as u64))?;
        loop {
            if batch.messages.len() >= messages || batch.arena.len() >= bytes {
                return Ok(Taken::Full);
            }
            if self.end.is_some_and(|end| self.position >= end) {
                return Ok(Taken::Exhausted);
            }
            let start = batch.arena.len();
            match self.line(&mut file, &mut batch.arena, longest)? {
                Line::Whole(read) => {
                    let line = strip(&batch.arena[start..]);
                    let (line, blank) = (line.len(), is_blank(line));
                    if self.torn {
                        batch.gaps.push(self.gap(read, "gap.truncated"));
                        batch.arena.truncate(start);
                        self.torn = false;
                    } else if !blank {
                        batch.arena.truncate(start + line);
                        batch.messages.push(self.message(batch.covers.len(), start, line));
                    } else {
                        batch.arena.truncate(start);
                    }
                    self.position += read as i64;
                }
                Line::TooLong(read) => {
                    batch.gaps.push(self.gap(read, "decode.too_large"));
                    self.torn = false;
                    self.position += read as i64;
                }
                Line::None => return Ok(Taken::Exhausted),
            }
            if self.cuts.first().is_some_and(|cut| self.position >= *cut) {
                self.cuts.remove(0);
                return Ok(Taken::Full);
            }
        }
    }

    /// Appends the next line with its newline to `arena`.
    fn line(&mut self, file: &mut BufReader<File>, arena: &mut Vec<u8>, longest: usize) -> io::Result<Line> {
        let start = arena.len();
        // A sink that took a last line without newline has its cursor before the newline that came later.
        let most = self.cuts.first().map_or(u64::MAX, |cut| (cut - self.position) as u64);
        if self.giant.is_none() {
            let read = file.by_ref().take(most.min(longest as u64 + 1)).read_until(b'\n', arena)?;
            if arena[start..].ends_with(b"\n") || (read > 0 && read as u64 == most) {
                return Ok(Line::Whole(read));
            }
            if read <= longest {
                if self.end.is_some() && !is_blank(&arena[start..]) {
                    if is_whole(&arena[start..], self.charset) {
                        return Ok(Line::Whole(read));
                    }
                    self.leave(read as i64);
                }
                arena.truncate(start);
                return Ok(Line::None);
            }
            arena.truncate(start);
            arena.shrink_to(start);
            self.giant = Some(self.position + read as i64);
        }
        self.rest_of_giant(file, most)
    }

    /// Passes over a line that is too long.
    fn rest_of_giant(&mut self, file: &mut BufReader<File>, most: u64) -> io::Result<Line> {
        let passed = self.giant.expect("only called within such a line");
        let left = most.saturating_sub((passed - self.position) as u64);
        let mut rest = file.by_ref().take(left);
        let (mut read, mut ended) = (0, left == 0);
        while !ended {
            let buffer = rest.fill_buf()?;
            if buffer.is_empty() {
                ended = rest.limit() == 0;
                break;
            }
            let newline = buffer.iter().position(|byte| *byte == b'\n');
            let used = newline.map_or(buffer.len(), |at| at + 1);
            rest.consume(used);
            read += used as i64;
            ended = newline.is_some();
        }
        if ended {
            self.giant = None;
            return Ok(Line::TooLong((passed + read - self.position) as usize));
        }
        self.giant = Some(passed + read);
        if self.end.is_some() {
            self.leave(passed + read - self.position);
        }
        Ok(Line::None)
    }

    /// Tells that a bounded run does not take the last line.
    fn leave(&self, bytes: i64) {
        let (path, position) = (&self.path, self.position);
        warn!(?path, position, bytes, "the last line has no newline and is not whole: left for the next run");
    }

    fn gap(&self, read: usize, code: &'static str) -> Gap {
        let (from, next) = (self.position, self.position + read as i64);
        let lost = Interval { partition: self.partition.clone(), from, next };
        Gap { lost, code, timestamp: self.timestamp }
    }

    fn message(&self, cover: usize, start: usize, len: usize) -> Message {
        let payload = Some(crate::batch::Span { start: start as u32, len: len as u32 });
        Message { cover: cover as u32, offset: self.position, timestamp: self.timestamp, key: None, payload }
    }
}

/// A line without its newline, Unix's or Windows'.
fn strip(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// What JSON lets stand around a text, but for the newline: the same bytes in every charset that files can have.
const BLANKS: &[u8] = b" \t\r";

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| BLANKS.contains(byte))
}

/// Whether a last line without newline can be taken as it is: one JSON text, as it can stand behind a byte order mark.
/// What is still being written is not, and taking its beginning would make two broken messages of one. Bytes that are no
/// text in the charset are for the decoder to refuse.
fn is_whole(line: &[u8], charset: &'static Encoding) -> bool {
    let (text, _) = charset.decode_without_bom_handling(line);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Whether a line begins at `at`, or ended there when the file was shorter: then nothing but blanks and its newline have
/// come since.
fn boundary(file: &File, at: i64, size: i64) -> io::Result<bool> {
    if at == 0 || at == size {
        return Ok(true);
    }
    let mut piece = [0; 256];
    let mut at = at as u64;
    if file.read_at(&mut piece[..1], at - 1)? == 1 && piece[0] == b'\n' {
        return Ok(true);
    }
    loop {
        let read = file.read_at(&mut piece, at)?;
        let more = piece[..read].iter().find(|byte| !BLANKS.contains(byte));
        if read == 0 || more.is_some() {
            return Ok(more.is_none_or(|byte| *byte == b'\n'));
        }
        at += read as u64;
    }
}

/// Midnight of the date in a file's name (`2026-11-25` or `20261125`), in milliseconds since 1970.
pub(super) fn midnight(name: &str, zone: Tz) -> Option<i64> {
    let digits = |piece: &&str| piece.bytes().all(|byte| byte.is_ascii_digit());
    let date = (0..name.len()).find_map(|at| {
        let before = at.checked_sub(1).map(|before| name.as_bytes()[before]);
        if before.is_some_and(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let piece = |len: usize| {
            let after = name.as_bytes().get(at + len);
            name.get(at..at + len).filter(|_| !after.is_some_and(u8::is_ascii_digit))
        };
        let compact = piece(8).filter(digits).and_then(|date| NaiveDate::parse_from_str(date, "%Y%m%d").ok());
        let dashed = || {
            let date = piece(10)?;
            let shape = digits(&date.get(..4)?) && digits(&date.get(5..7)?) && digits(&date.get(8..)?);
            shape.then(|| NaiveDate::parse_from_str(date, "%Y-%m-%d").ok())?
        };
        // Eight digits may be a counter.
        let plausible = |date: &NaiveDate| (1990..2100).contains(&chrono::Datelike::year(date));
        compact.or_else(dashed).filter(plausible)
    })?;
    // Where the clock was put forward at midnight, the day began an hour later.
    (0..24).find_map(|hour| {
        let local = date.and_time(NaiveTime::from_hms_opt(hour, 0, 0)?);
        zone.from_local_datetime(&local).earliest().map(|time| time.timestamp_millis())
    })
}
