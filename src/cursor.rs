//! Where we are: partitions, intervals of offsets, and cursors.
//!
//! A *cursor* is the **next** offset a sink takes from a partition. Offsets are Kafka's, or byte positions
//! for files; nothing here depends on which. A batch covers one interval per partition it touches, and the
//! interval moves over everything in it: good rows, rejects, duplicates, and holes left by control records.

use std::{collections::BTreeMap, fmt, sync::Arc};

/// One ordered stream of messages: a Kafka partition, or a file (its topic is `folder/name`, its number 0).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Partition {
    pub topic: Arc<str>,
    pub number: i32,
}

impl Partition {
    pub fn new(topic: impl Into<Arc<str>>, number: i32) -> Partition {
        Partition { topic: topic.into(), number }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.number)
    }
}

/// The offsets `from .. next` of a partition: `from` included, `next` not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interval {
    pub partition: Partition,
    pub from: i64,
    pub next: i64,
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}, {})", self.partition, self.from, self.next)
    }
}

/// The cursors a sink holds for a partition, smallest first; empty when it has never taken from it.
///
/// A sink that writes two things which cannot be committed together (the archive's rejects and its rows) has two.
/// The source starts at the smallest cursor of all sinks, and **no batch ever straddles one**: the runtime cuts
/// batches at every cursor it was told. So a sink takes or drops a batch as a whole, and never splits one.
pub type Cuts = Vec<i64>;

/// In the cursors of several sinks together: one of them has never taken from the partition, so the source starts where
/// the pipeline says (`start`), or at the smallest other cursor if that comes first.
pub const NEVER: i64 = -1;

/// The same of a sink whose cursor the broker keeps. A broker forgets: after `offsets.retention.minutes`, and when the topic
/// is deleted. Every sink is made to remember where it begins before the first message, so where another sink has moved
/// on, this one has been there too.
pub const FORGOTTEN: i64 = -2;

/// In place of a cursor in a topic that was deleted: the one that has its name now is another.
pub const ANEW: i64 = -3;

/// Cursors by partition.
pub type Cursors = BTreeMap<Partition, Cuts>;
