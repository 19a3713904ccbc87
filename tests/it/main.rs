//! Everything that is tested from outside: one binary, so that it is linked once.

mod behind;
mod chaos;
mod clock;
mod compaction;
mod conformance;
mod discreet;
mod doors;
mod faults;
mod files;
mod fuzz;
mod input;
mod kafka_smoke;
mod kills;
mod memory;
mod operator;
mod other_feed;
mod outages;
mod poison;
mod protocol;
mod retention;
mod security;
mod stops;
mod support;
mod tidy;
mod upkeep;
mod zombies;
