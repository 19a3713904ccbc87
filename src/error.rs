//! What can go wrong with the machine. Bad data is not in here: it is a [`crate::batch::Reject`].
//!
//! Few kinds, each telling the operator what to do; the message tells what we were doing, with names and ids but
//! never with values of the data.

use std::fmt;

/// What an operator has to do about it. The exit code of the process is its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// A file, a flag or a table is not what it should be. Fix it and start again.
    Config,
    /// Kafka, the archive or the disk does not answer. We retry; look if it lasts.
    Unavailable,
    /// Another instance has taken over. Nothing is lost; this one starts over or stops.
    Fenced,
    /// The group has given our partitions to another member, because we were silent for too long. Nothing is lost; we
    /// join again, however often it happens.
    Evicted,
    /// Too many rows are rejected. Look at the rejects before the topic is emptied into quarantine.
    TooManyRejects,
    /// Messages we have not read are gone (retention, a re-created topic). Decide what the gap means.
    Gap,
    /// Our mistake. Please report it with the log.
    Bug,
}

impl ErrorKind {
    /// Exit code of `huiju`, as documented in the README and in `huiju run --help`.
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorKind::Config => 2,
            ErrorKind::Unavailable => 3,
            ErrorKind::Fenced | ErrorKind::Evicted => 4,
            ErrorKind::TooManyRejects => 5,
            ErrorKind::Gap => 6,
            ErrorKind::Bug => 70,
        }
    }

    /// Its name, for those who read logs by program.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::Config => "config",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Fenced => "fenced",
            ErrorKind::Evicted => "evicted",
            ErrorKind::TooManyRejects => "too_many_rejects",
            ErrorKind::Gap => "gap",
            ErrorKind::Bug => "bug",
        }
    }

    /// Whether it may pass: then a line is built anew.
    pub fn may_pass(self) -> bool {
        matches!(self, ErrorKind::Unavailable | ErrorKind::Fenced | ErrorKind::Evicted)
    }

    /// What several errors come to: the first that waiting does not mend, if there is one.
    pub fn of_all(errors: &[Error]) -> Option<ErrorKind> {
        let lasting = errors.iter().find(|error| !error.kind.may_pass());
        lasting.or(errors.first()).map(|error| error.kind)
    }

    /// One sentence for the operator.
    pub fn advice(self) -> &'static str {
        match self {
            ErrorKind::Config => "fix what is named above",
            ErrorKind::Unavailable => "nothing is lost: start again when it answers",
            ErrorKind::Fenced => "another instance has taken over; nothing is lost",
            ErrorKind::Evicted => "nothing is lost: start again, or let the other instances go on",
            ErrorKind::TooManyRejects => {
                "look at the message that is named, and at the rejects of before; raise [rejects] limit in pipeline.toml \
                 if this is expected"
            }
            ErrorKind::Gap => {
                "nothing was skipped: put back what is gone, or decide what it means, as is said above and in \
                 pipelines/README.md"
            }
            ErrorKind::Bug => "this is a mistake in huiju: please report it with the log",
        }
    }
}

/// An error and what we were doing when it happened.
#[derive(Debug)]
pub struct Error {
    pub kind: ErrorKind,
    message: String,
    todo: Option<&'static str>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), todo: None }
    }
    pub fn config(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Config, message)
    }
    pub fn unavailable(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Unavailable, message)
    }
    pub fn fenced(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Fenced, message)
    }
    pub fn bug(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Bug, message)
    }

    /// Puts what we were doing in front.
    pub fn context(self, doing: impl fmt::Display) -> Error {
        Error { message: format!("{doing}: {}", self.message), ..self }
    }

    /// Says what to do where its kind does not know better.
    pub fn advising(self, todo: &'static str) -> Error {
        Error { todo: Some(todo), ..self }
    }

    /// One sentence for the operator.
    pub fn advice(&self) -> &'static str {
        self.todo.unwrap_or_else(|| self.kind.advice())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Gives a foreign error its kind and says what we were doing.
pub trait Context<T> {
    fn or_config(self, doing: impl fmt::Display) -> Result<T>;
    fn or_unavailable(self, doing: impl fmt::Display) -> Result<T>;
    fn or_bug(self, doing: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for std::result::Result<T, E> {
    fn or_config(self, doing: impl fmt::Display) -> Result<T> {
        self.map_err(|e| Error::config(format!("{doing}: {e}")))
    }
    fn or_unavailable(self, doing: impl fmt::Display) -> Result<T> {
        self.map_err(|e| Error::unavailable(format!("{doing}: {e}")))
    }
    fn or_bug(self, doing: impl fmt::Display) -> Result<T> {
        self.map_err(|e| Error::bug(format!("{doing}: {e}")))
    }
}

/// What is wrong with a file that a person wrote. `check` collects all of them before it gives up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Path as the user would write it, with `:line` where there is one.
    pub at: String,
    /// What is wrong, which text, and what to do.
    pub what: String,
}

impl Finding {
    pub fn new(at: impl Into<String>, what: impl Into<String>) -> Finding {
        Finding { at: at.into(), what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

/// All findings as one configuration error, a line each.
pub fn refuse(findings: Vec<Finding>) -> Error {
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    Error::config(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_own_advice() {
        let error = Error::unavailable("told to stop");
        assert_eq!(error.advice(), ErrorKind::Unavailable.advice());
        let error = error.advising("go on").context("orders");
        assert_eq!((error.to_string().as_str(), error.advice()), ("orders: told to stop", "go on"));
    }

    /// "Start again when it answers" helps with none of them when one is to be mended by hand.
    #[test]
    fn of_several_errors_one_that_lasts_decides() {
        assert_eq!(ErrorKind::of_all(&[]), None);
        let passing = || Error::unavailable("disk");
        assert_eq!(ErrorKind::of_all(&[passing(), Error::fenced("other")]), Some(ErrorKind::Unavailable));
        assert_eq!(ErrorKind::of_all(&[passing(), Error::config("file"), Error::bug("x")]), Some(ErrorKind::Config));
    }
}
