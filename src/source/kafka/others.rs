//! Whether every partition of the topics has a reader.
//!
//! What a cooperative rebalance takes from a member goes to others when that member has joined again. If it dies before
//! that and comes back under its name in time, the broker gives it what it was left with and asks nobody to join: then the
//! rest is read by nobody, and nobody is told. So members look at what the group has given out, now and then.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;

use super::member::{self, Client};

/// How often a member looks at least.
const LOOK: Duration = Duration::from_secs(15);
/// How many looks in a row must find it so. Between the two rounds of a rebalance it is so, too, for as long as the slowest
/// member takes to let go.
const LOOKS: u32 = 3;
/// How long a look may keep us from reading.
const GLANCE: Duration = Duration::from_secs(1);

pub struct Others {
    looked: Instant,
    every: Duration,
    /// Looks in a row that found partitions without a reader.
    lacking: u32,
}

impl Others {
    /// `drain`: how long a member takes to let go, twice at most.
    pub fn new(now: Instant, drain: Duration) -> Others {
        Others { looked: now, every: LOOK.max(2 * drain), lacking: 0 }
    }

    /// Whether some of `count` partitions have had no reader for a while, and it is ours to have them given out again.
    pub fn lack_a_reader(&mut self, client: &Client, count: usize, now: Instant) -> bool {
        if now.duration_since(self.looked) < self.every {
            return false;
        }
        self.looked = now;
        let (given, first) = given_out(client).unwrap_or((count, false));
        self.lacking = if given < count { self.lacking + 1 } else { 0 };
        self.lacking >= LOOKS && first
    }
}

/// How many partitions the group has given out, and whether we are the first of its members. `None` while it rebalances,
/// when it does not answer, and of groups of the next generation, which the broker looks after itself.
fn given_out(client: &Client) -> Option<(usize, bool)> {
    let groups = client.fetch_group_list(Some(&client.context().group), GLANCE).ok()?;
    let group = groups.groups().iter().find(|group| group.state() == "Stable")?;
    let mut given = 0;
    for member in group.members() {
        given += partitions(member.assignment()?)?;
    }
    let first = group.members().iter().map(|member| member.id()).min()?;
    Some((given, member::id(client)? == first))
}

/// How many partitions an assignment holds, as members of a group tell it each other: a version, then topics, each with its
/// name and its partitions (Kafka's `ConsumerProtocolAssignment.json`).
fn partitions(assignment: &[u8]) -> Option<usize> {
    let mut rest = assignment;
    let mut take = |length: usize| {
        let (head, tail) = rest.split_at_checked(length)?;
        rest = tail;
        Some(head)
    };
    if assignment.is_empty() {
        return Some(0);
    }
    take(2)?;
    let mut count = 0;
    for _ in 0..u32::from_be_bytes(take(4)?.try_into().ok()?) {
        let name = u16::from_be_bytes(take(2)?.try_into().ok()?);
        take(name.into())?;
        let partitions = u32::from_be_bytes(take(4)?.try_into().ok()?) as usize;
        take(partitions.checked_mul(4)?)?;
        count += partitions;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_counted_and_a_broken_one_is_not() {
        let assignment =
            b"\0\x01\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x01\0\x02bc\0\0\0\x01\0\0\0\x05\xff\xff\xff\xff";
        assert_eq!(partitions(assignment), Some(3));
        assert_eq!(partitions(b""), Some(0), "of a member that has none");
        assert_eq!(partitions(b"\0\x01\0\0\0\0"), Some(0));
        for cut in 1..assignment.len() - 4 {
            assert_eq!(partitions(&assignment[..cut]), None, "{cut}");
        }
        assert_eq!(partitions(b"\0\x01\0\0\0\x01\0\0\xff\xff\xff\xff"), None);
    }
}
