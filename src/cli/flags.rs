//! Flags that several commands have.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

#[derive(Args, Clone)]
pub struct Where {
    /// The configuration; its folder is where relative paths in it start
    #[arg(long, default_value = "huiju.toml", env = "HUIJU_CONFIG")]
    pub config: PathBuf,
}
