//! What source and sink share about Kafka: client settings, classes of errors, and the consumer group they commit for.

use std::sync::Arc;

use rdkafka::consumer::ConsumerGroupMetadata;

use crate::{
    cursor::{Cursors, Partition},
    error::Result,
};

/// The consumer group behind a Kafka source, as the transactional sink needs it.
pub trait Group: Send + Sync {
    /// Taken fresh for each transaction: it carries the generation that fences zombies.
    fn metadata(&self) -> Option<ConsumerGroupMetadata>;
    /// Committed offsets of the partitions; waits for transactions that are still open.
    fn committed(&self, partitions: &[Partition]) -> Result<Cursors>;
}

/// Shared by the source that is in the group and the sink that commits for it.
pub type SharedGroup = Arc<dyn Group>;
