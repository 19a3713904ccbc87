//! Names of files, and the cursors they hold.

use std::{collections::BTreeMap, fs, path::Path};

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    cursor::{Interval, Partition},
    error::{Context, Error, Result},
};

/// Bytes of a topic's name, at most: file systems take names of 255, and number and interval want their share.
const LONGEST: usize = 160;

/// What the name of a partition's files begins with. Different partitions never share it: everything but letters,
/// digits, `_`, `-` and inner dots is written as `%` and two hexadecimal digits per byte, and `@` parts the number. What
/// gets too long by that (the name of a file is a topic too) is cut, and ends with `~` and a hash of the whole.
pub(super) fn of(partition: &Partition) -> String {
    let mut name = String::new();
    for (at, letter) in partition.topic.char_indices() {
        if letter.is_alphanumeric() || matches!(letter, '_' | '-') || (letter == '.' && at > 0) {
            name.push(letter);
        } else {
            let mut bytes = [0; 4];
            letter.encode_utf8(&mut bytes).bytes().for_each(|byte| name.push_str(&format!("%{byte:02X}")));
        }
    }
    if name.len() > LONGEST {
        name.truncate(name.floor_char_boundary(LONGEST - 17));
        name.push_str(&format!("~{:016x}", xxh3_64(partition.topic.as_bytes())));
    }
    format!("{name}@{}", partition.number)
}

/// The file of an interval.
pub(super) fn file(interval: &Interval) -> String {
    format!("{}.{:020}-{:020}.jsonl", of(&interval.partition), interval.from, interval.next)
}

/// The file in which an interval grows until its commit.
pub(super) fn partial(interval: &Interval) -> String {
    format!("{}.{:020}.partial", of(&interval.partition), interval.from)
}

/// The cursor of every partition that has files here. Refuses intervals that do not join.
pub(super) fn read(folder: &Path) -> Result<BTreeMap<String, i64>> {
    let mut intervals = Vec::new();
    for entry in fs::read_dir(folder).or_unavailable(format!("list {}", folder.display()))? {
        let entry = entry.or_unavailable(format!("list {}", folder.display()))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if let Some((partition, from, next)) = parse(&name) {
            intervals.push((partition.to_owned(), from, next, name));
        }
    }
    intervals.sort_unstable();
    let mut cursors: BTreeMap<String, i64> = BTreeMap::new();
    let mut before = String::new();
    for (partition, from, next, name) in intervals {
        let cursor = cursors.entry(partition).or_insert(from);
        if *cursor != from || next <= from {
            let what = if next <= from {
                format!("{name} ends before it begins")
            } else if from < *cursor {
                format!("{before} and {name} overlap")
            } else {
                format!("there is a hole between {before} and {name}")
            };
            let advice = "the names of the files are the cursors: put back or take away what was changed by hand";
            return Err(Error::config(format!("{}: {what}; {advice}", folder.display())));
        }
        *cursor = next;
        before = name;
    }
    Ok(cursors)
}

/// Partition, from and next; `None` for a file that is not ours.
fn parse(name: &str) -> Option<(&str, i64, i64)> {
    let (partition, interval) = name.strip_suffix(".jsonl")?.rsplit_once('.')?;
    let (from, next) = interval.split_once('-')?;
    let offset = |digits: &str| {
        let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse().ok()).flatten()
    };
    partition.contains('@').then_some((partition, offset(from)?, offset(next)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_name_is_ours_or_not_and_never_a_panic(name in "[^/]{0,60}", tail in "(\\.[0-9]{19,21}-[0-9]{19,21})?(\\.jsonl)?") {
            let name = name + &tail;
            if let Some((partition, from, next)) = parse(&name) {
                prop_assert!(partition.contains('@') && from >= 0 && next >= 0, "{}", name);
            }
        }

        #[test]
        fn a_name_tells_what_it_was_made_of(topic in "\\PC{1,20}|[a南（~%.]{60,255}", number in 0..i32::MAX, from in 0..i64::MAX, next in 0..i64::MAX) {
            let interval = Interval { partition: Partition::new(topic, number), from, next };
            let (name, own) = (file(&interval), of(&interval.partition));
            prop_assert_eq!(parse(&name), Some((own.as_str(), from, next)));
            prop_assert!(parse(&partial(&interval)).is_none());
            prop_assert!(name.len() <= 255, "{}", name);
        }
    }
    #[test]
    fn long_names_that_begin_alike_stay_apart() {
        let name = |end: &str| of(&Partition::new(format!("raw/{}{end}", "（".repeat(80)), 0));
        assert_ne!(name("一"), name("二"));
        assert_eq!(name("一"), name("一"));
    }
}
