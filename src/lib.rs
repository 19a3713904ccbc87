//! Huiju carries 12345 hotline data from the cities' topics to one clean stream and a Parquet archive, exactly once.
//!
//! # The floors
//!
//! A file imports only from floors below its own; parts on the same floor do not know each other
//! (`tests/it/tidy.rs` checks it).
//!
//! ```text
//! 7 doors        main  cli  demo  sample  check  cases  classifier  dictionary  archive
//! 6 outside      serve
//! 5 the loop     runtime (read this first)
//! 4 program      engine
//! 3 parts        source  decode  dedup  sink
//! 2 clients      kafka
//! 1 people       config  contract
//! 0 words        batch  cursor  error  file  metrics  clock  cpu  fault  near  stop  text
//! ```
//!
//! # What always holds
//!
//! 1. **Bad data is not an error, and nothing vanishes.** Every row ends as exactly one of written, rejected,
//!    duplicate; [`batch::Tally`] is asserted per batch.
//! 2. **Each sink owns its cursor and stores it with its data, in one atomic act.** The source starts from the
//!    smallest cursor, each sink drops what lies below its own.
//! 3. **Same messages in, same rows out,** whatever the batch boundaries, restarts and clocks.
//! 4. **State is derived from the archive at the archive's cursor.**
//! 5. **The loop always polls;** memory is bounded by bytes.
//! 6. **No silent gap.**
//! 7. **Personal data is named in the contract and follows it:** never in logs, metrics or error texts.
//! 8. **Nobody reads the clock or rolls dice by himself.**

pub mod batch;
pub mod clock;
pub mod cpu;
pub mod cursor;
pub mod error;
pub mod fault;
pub mod file;
pub mod metrics;
pub mod near;
pub mod stop;
pub mod text;

pub mod config;
pub mod contract;

pub mod kafka;

pub mod decode;
pub mod dedup;
pub mod engine;
pub mod sink;
pub mod source;

pub mod runtime;

pub mod serve;

pub mod archive;
pub mod cases;
pub mod check;
pub mod classifier;
pub mod cli;
pub mod demo;
pub mod dictionary;
pub mod sample;
