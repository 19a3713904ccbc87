//! Flags that several commands have.

use std::{ffi::OsString, path::PathBuf};

use clap::{
    Args, ValueEnum,
    builder::{OsStringValueParser, TypedValueParser},
};

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

#[derive(Args, Clone)]
pub struct Where {
    /// The configuration; its folder is where relative paths in it start
    #[arg(long, default_value = "huiju.toml", env = "HUIJU_CONFIG", value_parser = OsStringValueParser::new().try_map(file))]
    pub config: PathBuf,
}

/// clap tells of the flag alone, also when it was the variable that is empty.
fn file(name: OsString) -> Result<PathBuf, &'static str> {
    match name.is_empty() {
        true => Err("no file is named: give --config one, and set HUIJU_CONFIG to one or not at all"),
        false => Ok(name.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_without_a_name_is_told_with_its_variable() {
        let read = |name: &str| {
            let command = Where::augment_args(clap::Command::new("huiju"));
            let read = command.try_get_matches_from(["huiju", "--config", name]);
            read.map(|found| found.get_one::<PathBuf>("config").cloned()).map_err(|error| error.to_string())
        };
        assert_eq!(read("a b.toml"), Ok(Some("a b.toml".into())));
        let said = read("").unwrap_err();
        assert!(said.contains("--config") && said.contains("HUIJU_CONFIG"), "{said}");
    }
}
