//! One commit: put an entry at the next version, and find out what became of it.

use std::time::Duration;

use bytes::Bytes;
use deltalake_core::{
    kernel::{Action, Add, Remove, Transaction, transaction::TransactionError},
    logstore::CommitOrBytes,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    log,
    table::{Seen, Table},
};
use crate::error::{Error, ErrorKind, Result};

/// A cursor on its way.
pub(super) struct Advance {
    /// Delta application id.
    pub app: String,
    /// Where it must be.
    pub expected: Option<i64>,
    pub next: i64,
}

/// A commit that did not happen, as far as we know.
pub(super) struct Refused {
    pub error: Error,
    /// It is certain that no entry of ours is or will be in the log.
    pub proven: bool,
}

/// Tries after which a store that fails is left to the runtime, which backs off for longer.
const TRIES: u32 = 5;
/// Lost races before we give up: others commit too, but not without end.
const RACES: u32 = 50;

impl Table {
    /// Commits, or tells why not. Returns when the outcome is known, or the store keeps failing.
    pub fn commit(&mut self, id: Uuid, advances: &[Advance], adds: &[Add], account: &Value) -> Result<u64, Refused> {
        let entry = self.entry(id, advances, adds, account);
        self.put_until_known(id, &entry, advances, &|table| table.check(advances))
    }

    /// Puts `adds` in the place of `removes`, which hold the same rows. No cursor moves. Refused when anybody has taken
    /// one of the files away since we began to watch them.
    pub fn replace(&mut self, id: Uuid, removes: &[Remove], adds: &[Add], account: &Value) -> Result<u64, Refused> {
        let entry = self.replacement(id, removes, adds, account);
        let check = |table: &Table| table.check_there(removes.iter().map(|remove| remove.path.as_str()));
        self.put_until_known(id, &entry, &[], &check)
    }

    fn put_until_known(
        &mut self,
        id: Uuid,
        entry: &Bytes,
        advances: &[Advance],
        check: &dyn Fn(&Table) -> Result<()>,
    ) -> Result<u64, Refused> {
        let mut seen = Seen::default();
        let (mut tries, mut races) = (0, 0);
        // A try whose outcome we do not know may still land, at a version that is free.
        let mut open_try = None;
        loop {
            let read = self.refresh_and_note(&mut seen);
            if let Some(version) = seen.version(id) {
                return self.counted(version);
            }
            // The entries up to our version are read, and none is ours; so is one that may not be accepted. A try that
            // is still open can only land where nothing is yet.
            let proven = |table: &Table| !seen.skipped && open_try.is_none_or(|version| table.is_taken(version));
            match read {
                Ok(()) => {}
                Err(error) if error.kind != ErrorKind::Unavailable => {
                    return Err(Refused { error, proven: proven(self) });
                }
                Err(error) => {
                    tries += 1;
                    if tries >= TRIES {
                        return Err(Refused { error, proven: false });
                    }
                    pause(tries);
                    continue;
                }
            }
            if let Err(error) = check(self) {
                return Err(Refused { error, proven: proven(self) });
            }
            match self.put(entry.clone()) {
                Ok(()) => {
                    let version = self.counted(self.version() + 1)?;
                    self.landed(advances);
                    return Ok(version);
                }
                Err(TransactionError::VersionAlreadyExists(_)) => {
                    races += 1;
                    if races >= RACES {
                        let error = format!("archive: {} is written to all the time", self.root().display());
                        // Whose entry it is that stood in the way we have not looked.
                        return Err(Refused { error: Error::unavailable(error), proven: false });
                    }
                }
                Err(e) => {
                    open_try = Some(self.version() + 1);
                    tries += 1;
                    if tries >= TRIES {
                        let error = self.failed(format_args!("put log entry {}", self.version() + 1), e);
                        let _ = self.refresh_and_note(&mut seen);
                        return match seen.version(id) {
                            Some(version) => self.counted(version),
                            None => Err(Refused { error, proven: false }),
                        };
                    }
                    tracing::warn!(table = %self.root().display(), tries, error = %e, "cannot write to the log, trying again");
                    pause(tries);
                }
            }
        }
    }

    /// The version of our entry, which is in the log. Who slept between his look and his put for so long that others
    /// have gone on and cleaned up may have put it where nobody reads: only opening the table again tells.
    fn counted(&self, version: u64) -> Result<u64, Refused> {
        if log::may_be_passed_over(self.root(), version) {
            let table = self.root().display();
            let error = format!(
                "archive: a checkpoint of {table} was written, or its log cleaned up, during a commit: whether that counts is \
                 looked up by opening the table again"
            );
            return Err(Refused { error: Error::unavailable(error), proven: false });
        }
        Ok(version)
    }

    /// Whether all cursors are where they must be, as of the last refresh.
    pub fn check(&self, advances: &[Advance]) -> Result<()> {
        for Advance { app, expected, next } in advances {
            let found = self.cursor(app);
            if found == *expected {
                continue;
            }
            let place = |cursor: Option<i64>| cursor.map_or("nowhere".to_owned(), |cursor| cursor.to_string());
            let text = format!(
                "archive: cursor {app} in {} is at {}, not at {} (on its way to {next})",
                self.root().display(),
                place(found),
                place(*expected)
            );
            return Err(if found > *expected { Error::fenced(text) } else { Error::bug(text) });
        }
        Ok(())
    }

    /// The same bytes for files that take the place of others.
    fn replacement(&self, id: Uuid, removes: &[Remove], adds: &[Add], account: &Value) -> Bytes {
        let mut own = self.signature(id);
        if let (Some(own), Some(account)) = (own.as_object_mut(), account.as_object()) {
            own.extend(account.clone());
        }
        let info = json!({ "commitInfo": {
            "timestamp": self.now_ms(),
            "operation": "OPTIMIZE",
            "operationParameters": { "predicate": "[]" },
            "isBlindAppend": false,
            "engineInfo": super::table::ENGINE,
            "operationMetrics": { "numRemovedFiles": removes.len(), "numAddedFiles": adds.len() },
            "huiju": own,
        }});
        let mut lines = vec![info.to_string()];
        lines.extend(removes.iter().map(|remove| line(&Action::Remove(remove.clone()))));
        lines.extend(adds.iter().map(|add| line(&Action::Add(add.clone()))));
        lines.push(String::new());
        Bytes::from(lines.join("\n"))
    }

    /// The bytes of a log entry: a line per action, the commit info first.
    fn entry(&self, id: Uuid, advances: &[Advance], adds: &[Add], account: &Value) -> Bytes {
        let now = self.now_ms();
        let rows: i64 = adds.iter().filter_map(|add| add.get_stats().ok()??.num_records.into()).sum();
        let mut own = self.signature(id);
        if let (Some(own), Some(account)) = (own.as_object_mut(), account.as_object()) {
            own.extend(account.clone());
        }
        let partition_by = serde_json::to_string(&self.shape().partition_by).expect("names are text");
        let info = json!({ "commitInfo": {
            "timestamp": now,
            "operation": "WRITE",
            "operationParameters": { "mode": "Append", "partitionBy": partition_by },
            "isBlindAppend": true,
            "engineInfo": super::table::ENGINE,
            "operationMetrics": { "num_added_files": adds.len(), "num_added_rows": rows },
            "huiju": own,
        }});
        let mut lines = vec![info.to_string()];
        for Advance { app, next, .. } in advances {
            let txn = Transaction::new_with_last_update(app, *next, Some(now));
            lines.push(line(&Action::Txn(txn)));
        }
        lines.extend(adds.iter().map(|add| line(&Action::Add(add.clone()))));
        lines.push(String::new());
        Bytes::from(lines.join("\n"))
    }

    fn put(&self, entry: Bytes) -> Result<(), TransactionError> {
        let log = self.log();
        let version = self.version() + 1;
        let put = async move { log.write_commit_entry(version, CommitOrBytes::LogBytes(entry), Uuid::nil()).await };
        self.runtime().block_on(put)
    }
}

fn line(action: &Action) -> String {
    serde_json::to_string(action).expect("an action is plain data")
}

pub(super) fn pause(tries: u32) {
    std::thread::sleep(Duration::from_millis(10 << (2 * tries.min(4))));
}
