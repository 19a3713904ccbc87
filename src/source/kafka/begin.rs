//! Where reading begins in a partition, given the sinks' cursors and what the broker still has.
//!
//! | cursors | broker | then |
//! | --- | --- | --- |
//! | none | `[low, high)` | the pipeline's `start`: low or high |
//! | one in another topic of this name | | stop, always |
//! | none of the sink whose cursor the broker keeps, another's not at low | | stop, always: the clean topic would begin again |
//! | none of another sink, some of the rest | `[low, high)` | the pipeline's `start`, or the smallest cursor if that comes first |
//! | smallest ≥ low, largest ≤ high | | the smallest |
//! | smallest < low | retention took `[smallest, low)` | `gaps`: stop, or begin at low and record what is lost |
//! | largest > high | the topic was created anew, or cut short | stop, always |
//!
//! Cursors in another topic of this name, and beyond the high mark, have no `record`: a cursor never goes back, so
//! every sink would drop what a new topic holds below its cursor, silently. Somebody has to decide, by giving the
//! data another topic, or the pipeline another group, archive and clean topic, and all its sources once more. Topics
//! that are copied to another cluster are others too, unless the copy has kept the offsets.
//!
//! A topic that was created anew and already holds more messages than we had read looks, by its offsets, like the old
//! one. What tells is that the broker forgets the group's committed offsets with the topic. That is why no message is
//! taken before every sink remembers where it begins ([`Begin::Pinned`]): from then on a missing cursor is a lost one.
//! A pipeline without a Kafka sink has nothing that tells. While we read, the client library goes on in the new topic at
//! the old offset: so the topics' ids are looked at every few seconds, and the Kafka sink puts the id that we know beside
//! each offset that it commits, which tells at every later start.
//!
//! A Kafka sink that is added to a pipeline later looks like one whose cursor is lost; somebody has to say where it begins,
//! with Kafka's own tool.

use crate::{
    config::{Gaps, Start},
    cursor::{ANEW, FORGOTTEN, Partition},
    error::{Error, ErrorKind, Result},
};

/// What a partition holds for readers of committed messages: `low ..  high`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marks {
    pub low: i64,
    pub high: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begin {
    At(i64),
    /// Not every sink has a cursor: they must remember this one before the first message. A restart before it would move
    /// `end`, and a cursor that is missing later could not be told from one that is lost.
    Pinned(i64),
    /// The offsets from the first to the second are gone; begin at the second.
    After(i64, i64),
}

/// What is said of a cursor that the broker has forgotten.
pub const NO_OFFSET: &str = "the broker has no committed offset of the group here";

/// `group` is for who has to tell the broker where we were.
pub fn begin(
    group: &str,
    partition: &Partition,
    cuts: &[i64],
    marks: Marks,
    start: Start,
    gaps: Gaps,
) -> Result<Begin> {
    let Marks { low, high } = marks;
    if cuts.contains(&ANEW) {
        return Err(created_anew(&partition.to_string(), "since our cursor was committed"));
    }
    let known = || cuts.iter().copied().filter(|cut| *cut >= 0);
    let (Some(smallest), Some(largest)) = (known().min(), known().max()) else {
        return Ok(match start {
            Start::Beginning => Begin::Pinned(low),
            Start::End => Begin::Pinned(high),
        });
    };
    if largest > high {
        return Err(Error::new(
            ErrorKind::Gap,
            format!(
                "{partition}: our cursor is {largest}, but the partition ends at {high}: the topic was deleted and \
                 created anew, or lost messages on the broker. gaps = \"record\" cannot help, because a cursor never \
                 goes back: {NEW_TOPIC}"
            ),
        ));
    }
    // A first start that was interrupted has pinned low. What was taken since retention went beyond the other cursors is
    // not known.
    if cuts.contains(&FORGOTTEN) && largest != low {
        let Partition { topic, number } = partition;
        return Err(Error::new(
            ErrorKind::Gap,
            format!(
                "{partition}: {NO_OFFSET}, but another sink has its cursor at \
                 {largest}: offsets.retention.minutes has passed, the topic was deleted and created anew, the group has \
                 another name, or the Kafka sink is new. Nothing was taken, or the clean topic would begin again. If it \
                 is the old topic, in the old cluster, tell the broker where we were: kafka-consumer-groups.sh \
                 --bootstrap-server … --group {group} --topic {topic}:{number} --reset-offsets --to-offset {largest} \
                 --execute; with --to-earliest a new Kafka sink gets all that the topic has. If it is a new topic, or a \
                 copy in another cluster, where offsets are others: {NEW_TOPIC}"
            ),
        ));
    }
    if smallest >= low {
        let all = known().count() < cuts.len() && start == Start::Beginning;
        let from = if all { low } else { smallest };
        // The first start was interrupted before everybody remembered: without this one a later start would take the
        // cursor for lost.
        return Ok(if cuts.contains(&FORGOTTEN) { Begin::Pinned(from) } else { Begin::At(from) });
    }
    match gaps {
        Gaps::Record => Ok(Begin::After(smallest, low)),
        Gaps::Stop => Err(Error::new(
            ErrorKind::Gap,
            format!(
                "{partition}: the offsets {smallest} to {} are gone before we have read them: the topic's retention is \
                 shorter than our delay, or somebody deleted records. gaps = \"record\" in pipeline.toml goes on behind them",
                low - 1
            ),
        )),
    }
}

/// What to do about a topic whose offsets begin anew. All else that a pipeline has read comes again with a new group.
const NEW_TOPIC: &str = "put the data into a new topic and name that in the source; or begin anew with everything, with a \
                         new [kafka] group, archive path, clean and rejected topic, for all sources are read again then";

/// The topic is another one than it was.
pub fn created_anew(topic: &str, when: &str) -> Error {
    Error::new(
        ErrorKind::Gap,
        format!(
            "{topic}: the topic was deleted and created anew {when}: its id is another, and below our cursor it holds what we \
             have not read. gaps = \"record\" cannot help, because a cursor never goes back: {NEW_TOPIC}. Only \
             if it holds the old one's messages at their old \
             offsets, a copy: set the group's offsets again, with kafka-consumer-groups.sh --reset-offsets"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::NEVER;

    fn at(cuts: &[i64], gaps: Gaps) -> Result<Begin, String> {
        let marks = Marks { low: 10, high: 20 };
        begin("g", &Partition::new("t", 0), cuts, marks, Start::Beginning, gaps).map_err(|e| {
            assert_eq!(e.kind, ErrorKind::Gap);
            e.to_string()
        })
    }

    #[test]
    fn the_smallest_cursor_is_where_reading_begins() {
        assert_eq!(at(&[12, 15], Gaps::Stop), Ok(Begin::At(12)));
        assert_eq!(at(&[10], Gaps::Stop), Ok(Begin::At(10)));
        assert_eq!(at(&[20], Gaps::Stop), Ok(Begin::At(20)));
    }

    #[test]
    fn without_a_cursor_the_pipeline_says_where() {
        let (partition, marks) = (Partition::new("t", 0), Marks { low: 10, high: 20 });
        assert_eq!(begin("g", &partition, &[], marks, Start::Beginning, Gaps::Stop).ok(), Some(Begin::Pinned(10)));
        assert_eq!(begin("g", &partition, &[], marks, Start::End, Gaps::Stop).ok(), Some(Begin::Pinned(20)));
    }

    #[test]
    fn a_sink_that_has_never_taken_anything_gets_all_there_is() {
        assert_eq!(at(&[NEVER], Gaps::Stop), Ok(Begin::Pinned(10)));
        assert_eq!(at(&[NEVER, 15], Gaps::Stop), Ok(Begin::At(10)));
        assert_eq!(at(&[NEVER, 4], Gaps::Record), Ok(Begin::After(4, 10)));
        let (partition, marks) = (Partition::new("t", 0), Marks { low: 10, high: 20 });
        assert_eq!(begin("g", &partition, &[NEVER], marks, Start::End, Gaps::Stop).ok(), Some(Begin::Pinned(20)));
        assert_eq!(begin("g", &partition, &[NEVER, 15], marks, Start::End, Gaps::Stop).ok(), Some(Begin::At(15)));
    }

    #[test]
    fn a_cursor_that_the_broker_has_forgotten_stops_the_pipeline() {
        for gaps in [Gaps::Stop, Gaps::Record] {
            let told = at(&[FORGOTTEN, 15], gaps).expect_err("must stop");
            assert!(told.contains("t:0") && told.contains("--to-offset 15"), "{told}");
        }
        for gaps in [Gaps::Stop, Gaps::Record] {
            let told = at(&[FORGOTTEN, 4], gaps).expect_err("it may have delivered beyond 10");
            assert!(told.contains("no committed offset"), "{told}");
        }
        assert_eq!(at(&[FORGOTTEN, NEVER], Gaps::Stop), Ok(Begin::Pinned(10)), "the first start");
        assert_eq!(at(&[FORGOTTEN, 10], Gaps::Stop), Ok(Begin::Pinned(10)), "the first start was interrupted");
    }

    #[test]
    fn a_cursor_in_another_topic_of_the_name_stops_the_pipeline() {
        for gaps in [Gaps::Stop, Gaps::Record] {
            for cuts in [&[ANEW][..], &[ANEW, 15], &[ANEW, NEVER]] {
                let told = at(cuts, gaps).expect_err("must stop");
                assert!(told.contains("t/0") && told.contains("created anew"), "{told}");
            }
        }
    }

    #[test]
    fn what_retention_took_stops_the_pipeline_or_is_recorded() {
        let told = at(&[4, 15], Gaps::Stop).expect_err("must stop");
        assert!(told.contains("t/0") && told.contains("4 to 9"), "{told}");
        assert_eq!(at(&[4, 15], Gaps::Record), Ok(Begin::After(4, 10)));
    }

    #[test]
    fn a_topic_that_ends_before_our_cursor_always_stops() {
        for gaps in [Gaps::Stop, Gaps::Record] {
            let told = at(&[12, 21], gaps).expect_err("must stop");
            assert!(told.contains("created anew"), "{told}");
        }
    }
}
