//! Everything that is tested from outside: one binary, so that it is linked once.

mod kafka_smoke;
mod other_feed;
mod support;
mod tidy;
