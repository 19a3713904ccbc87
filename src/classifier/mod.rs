//! `huiju train`, `huiju classify`, `huiju evaluate`: weights for content classification, made, used and measured.

pub mod command;
mod data;
mod report;
#[cfg(test)]
mod tests;
