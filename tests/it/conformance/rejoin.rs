//! What only the Kafka sink has to stand: the group's generation moves on between what it has written and its commit.

use std::sync::{Arc, Mutex};

use huiju::{cursor::Cursors, kafka::Group};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};

use super::{stands::Alone, *};

const SOON: Duration = Duration::from_secs(60);

/// A member that shows for a while what it was in the last generation.
struct Late {
    member: Alone,
    old: Mutex<Vec<ConsumerGroupMetadata>>,
}

impl Group for Late {
    fn metadata(&self) -> Option<ConsumerGroupMetadata> {
        self.old.lock().unwrap().pop().or_else(|| self.member.metadata())
    }
    fn topic_id(&self, topic: &str) -> Option<String> {
        self.member.topic_id(topic)
    }
    fn committed(&self, partitions: &[Partition]) -> Result<Cursors> {
        self.member.committed(partitions)
    }
    fn has_begun(&self, topics: &[&str]) -> Result<bool> {
        self.member.has_begun(topics)
    }
}

/// A member of the second generation that shows itself as in the first so many times; and the other member.
fn late(stand: &KafkaStand, times: usize) -> (Late, BaseConsumer) {
    let (member, other) = (stand.client(), stand.client());
    let joins = |joining: &BaseConsumer| {
        joining.subscribe(&["conformance"]).unwrap();
        eventually("it has partitions", SOON, || {
            [&member, &other].into_iter().for_each(|client| drop(client.poll(Duration::from_millis(20))));
            (joining.assignment().unwrap().count() > 0).then_some(())
        });
    };
    joins(&member);
    let old = (0..times).map(|_| member.group_metadata().unwrap()).collect();
    joins(&other);
    (Late { member: Alone(member), old: Mutex::new(old) }, other)
}

/// The refused transaction is gone with all that was in it: rows, rejects and offsets go into another one.
#[test]
fn what_a_rebalance_has_aborted_is_written_again() {
    let Some(stand) = KafkaStand::new() else { return };
    let (group, _other) = late(&stand, 2);
    let mut sink = stand.open_for(Arc::new(group)).unwrap();
    assert!(cursors(&mut *sink, 0).is_empty());
    let outcomes = vec![outcome(0, 0, 7, |_| true), outcome(0, 7, STEP, |_| true)];
    let covered = write(&mut *sink, outcomes).unwrap();
    sink.commit(&covered).unwrap();
    assert_holds(&stand, &[STEP]);
    assert_eq!(cursors(&mut *sink, 0), [STEP]);
    carry(&mut *sink, STEP, 2 * STEP).unwrap();
    assert_holds(&stand, &[2 * STEP]);
}

/// Only what the refused transaction held is written again, not what one before it has committed.
#[test]
fn what_was_committed_before_is_not_written_again() {
    let Some(stand) = KafkaStand::new() else { return };
    let (group, _other) = late(&stand, 1);
    let group = Arc::new(group);
    let old = group.old.lock().unwrap().pop().unwrap();
    let mut sink = stand.open_for(group.clone()).unwrap();
    assert!(cursors(&mut *sink, 0).is_empty());
    carry(&mut *sink, 0, STEP).unwrap();
    group.old.lock().unwrap().push(old);
    carry(&mut *sink, STEP, 2 * STEP).unwrap();
    assert!(group.old.lock().unwrap().is_empty(), "nobody was refused");
    assert_holds(&stand, &[2 * STEP]);
}

/// One that does not come back into the group commits nothing, and does not try for ever.
#[test]
fn who_stays_in_an_old_generation_commits_nothing() {
    let Some(stand) = KafkaStand::new() else { return };
    let (group, _other) = late(&stand, 100);
    let mut sink = stand.open_for(Arc::new(group)).unwrap();
    let refused = carry(&mut *sink, 0, STEP).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Evicted, "{refused}");
    sink.abort();
    assert_holds(&stand, &[0]);
    assert!(cursors(&mut *sink, 0).is_empty());
}
