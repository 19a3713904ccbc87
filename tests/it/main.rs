//! Everything that is tested from outside: one binary, so that it is linked once.

mod chaos;
mod conformance;
mod faults;
mod files;
mod input;
mod kafka_smoke;
mod kills;
mod operator;
mod other_feed;
mod outages;
mod protocol;
mod retention;
mod support;
mod tidy;
mod zombies;
