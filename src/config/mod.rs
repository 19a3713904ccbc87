//! What people write: `huiju.toml` and the pipeline folders. Plain data; nothing in here works.

mod folder;
pub mod pipeline;
mod properties;
mod read;
mod rules;
pub mod secret;
mod sources;
mod table;
#[cfg(test)]
mod tests;
mod values;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::error::{Error, Finding, Result, refuse};

pub use pipeline::{Dedup, Gaps, Pipeline, RawTexts, RejectLimit, Sink, Source, Stage, Start};
pub use secret::Secret;

/// A duration as people write it, for flags: `60s`, `7d`.
pub fn duration(text: &str) -> Result<Duration, String> {
    values::duration(&toml::de::DeValue::String(text.into()))
}

/// A size as people write it, for flags: `128MiB`.
pub fn size(text: &str) -> Result<usize, String> {
    values::size(&toml::de::DeValue::String(text.into()))
}

/// Whether tables can lie in a folder: its path must mean it alone, whoever reads them. Or why not, and what to do.
pub fn folder_of_tables(folder: &Path) -> Result<(), String> {
    values::folder_of_tables(folder)
}

/// `huiju.toml`.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was read from; relative paths in it are relative to its folder.
    pub path: PathBuf,
    pub topics: Topics,
    pub archive: Archive,
    /// Folder of pipeline folders.
    pub pipelines: PathBuf,
    /// Folder of contracts and code tables.
    pub schemas: PathBuf,
    /// Where `/metrics`, `/health` and `/ready` are served; none when absent.
    pub listen: Option<SocketAddr>,
    /// Bytes of messages in flight, over all pipelines.
    pub memory: usize,
    /// Name of this process among those that share the work; part of transactional ids.
    pub instance: String,
    /// How long a stop or a rebalance waits for what is in flight.
    pub drain: Duration,
}

impl Config {
    /// Where the file says `path`, keys joined by dots.
    pub fn place(&self, path: &str) -> String {
        table::place(&self.path, path)
    }

    /// Why the archive cannot lie where it is to lie, if so: in a folder of which everything is read at the next start.
    pub fn odd_archive(&self) -> Option<String> {
        let location = values::real(&self.archive.location);
        let lists = ["codes", "rules", "weights"].map(|list| ("schemas", self.schemas.join(list)));
        let (key, _) = std::iter::once(("pipelines", self.pipelines.clone()))
            .chain(lists)
            .find(|(_, folder)| location.starts_with(values::real(folder)))?;
        let location = location.display();
        Some(format!(
            "{location} is in the folder of {key}, where tables would be taken for some: name one outside of it"
        ))
    }
}

/// Where topics live.
#[derive(Clone, Debug)]
pub enum Topics {
    Kafka(Kafka),
    /// A folder with a folder per topic: messages are lines of files.
    Files {
        folder: PathBuf,
    },
}

#[derive(Clone, Debug)]
pub struct Kafka {
    pub brokers: String,
    pub client_id: String,
    /// Prefix of consumer groups and transactional ids: `{group}.{pipeline}`.
    pub group: String,
    /// Passed through to librdkafka, over our own settings.
    pub properties: Vec<(String, Secret)>,
    /// Properties that are to come from elsewhere and are not there: variables that are not set, files that cannot be read.
    pub lacking: Vec<Finding>,
}

impl Kafka {
    /// Whether secrets, certificates and keys are there. Asked by what connects to a broker: whoever only checks, or looks
    /// after the archive, may not be allowed to read them.
    pub fn look_for_secrets(&self) -> Result<()> {
        if !self.lacking.is_empty() {
            return Err(refuse(self.lacking.clone()));
        }
        properties::files_are_there(&self.properties).map_err(Error::config)
    }

    /// What gives the password away, or lets another server stand in for the broker, though the connection works; and
    /// what to do about it.
    pub fn open_doors(&self) -> Vec<&'static str> {
        properties::open_doors(&self.properties)
    }
}

#[derive(Clone, Debug)]
pub struct Archive {
    /// Folder under which the tables lie.
    pub location: PathBuf,
    /// At most this long between a message and its commit.
    pub interval: Duration,
    /// A file is finished when it reaches this size.
    pub file_size: usize,
    /// Whether data commits of other programs in our tables are accepted.
    pub accept_foreign_writes: bool,
}
