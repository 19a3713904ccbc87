//! Files in place of Kafka: the same guarantees.

/// Points on the way that only files take.
pub const POINTS: &[&str] = &["files.after_fetch"];
