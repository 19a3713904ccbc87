//! Reads `huiju.toml`.
//!
//! Everything that is not written has a default; `huiju.example.toml` shows them all, and a test keeps it true.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Archive, Config, Kafka, Topics, properties,
    table::{Document, Table},
    values,
};
use crate::error::{Finding, Result, refuse};

/// Looks up an environment variable; tests bring their own.
pub(super) type Env<'e> = &'e dyn Fn(&str) -> Option<OsString>;

impl Config {
    /// Reads `huiju.toml`; all its mistakes are reported together, a line each.
    pub fn read(path: &Path) -> Result<Config> {
        let env = |name: &str| std::env::var_os(name);
        let document = Document::read(path).map_err(|mut finding| {
            if path.is_dir() {
                finding.what += &format!(": name the file in it, {}", path.join("huiju.toml").display());
            } else if !path.exists() {
                finding.what += ": name yours with --config FILE, or begin one from huiju.example.toml; \
                                 `huiju demo` makes one with all that belongs to it";
            }
            refuse(vec![finding])
        })?;
        read(path, document, &env).map_err(refuse)
    }

    fn with_defaults(path: &Path, topics: Topics) -> Config {
        let base = base(path);
        Config {
            path: path.to_owned(),
            topics,
            archive: Archive {
                location: base.join("archive"),
                interval: Duration::from_secs(60),
                file_size: 128 << 20,
                accept_foreign_writes: false,
            },
            pipelines: base.join("pipelines"),
            schemas: base.join("schemas"),
            listen: None,
            memory: 32 << 20,
            instance: host_name(),
            drain: Duration::from_secs(10),
        }
    }
}

/// The folder that relative paths in the file start from.
pub(super) fn base(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

pub(super) fn read(path: &Path, document: Document, env: Env<'_>) -> Result<Config, Vec<Finding>> {
    let config = document.parse().and_then(|root| read_root(path, document.root(&root), env));
    let findings = document.findings();
    match config {
        Some(config) if findings.is_empty() => Ok(config),
        _ => Err(findings),
    }
}

/// None when a part without a default could not be read; the reason is among the findings.
fn read_root(path: &Path, mut root: Table<'_>, env: Env<'_>) -> Option<Config> {
    let topics = read_topics(path, &mut root, env);
    // What cannot be read is refused anyway; its place is kept so that the rest is looked at too.
    let known = topics.is_some();
    let mut config = Config::with_defaults(path, topics.unwrap_or(Topics::Files { folder: PathBuf::new() }));

    config.pipelines = root.or("pipelines", config.pipelines, folder(path));
    config.schemas = root.or("schemas", config.schemas, folder(path));
    config.listen = root.optional("listen", values::address);
    config.memory = root.or("memory", config.memory, values::size);
    config.instance = root.or("instance", config.instance, values::name);
    config.drain = root.or("drain", config.drain, values::duration);
    if let Some(archive) = root.table("archive") {
        config.archive = read_archive(path, archive, config.archive);
    }
    root.finish();
    known.then_some(config)
}

fn read_topics(path: &Path, root: &mut Table<'_>, env: Env<'_>) -> Option<Topics> {
    const WANTED: &str = "write [kafka] with brokers, or [files] with the folder that holds the topics";
    let kafka = root.table("kafka");
    let files = root.table("files");
    if root.has("kafka") && root.has("files") {
        root.fault("files", format!("[kafka] and [files] cannot both be the place of the topics: {WANTED}"));
    }
    if !root.has("kafka") && !root.has("files") {
        root.fault("", format!("it does not say where the topics are: {WANTED}"));
    }
    let kafka = kafka.and_then(|table| read_kafka(path, table, env));
    let files = files.and_then(|table| read_files(path, table));
    kafka.or(files)
}

fn read_kafka(path: &Path, mut table: Table<'_>, env: Env<'_>) -> Option<Topics> {
    let brokers = table.required("brokers", values::brokers);
    let client_id = table.or("client_id", "huiju".into(), values::name);
    let group = table.or("group", "huiju".into(), values::name);
    let read = table.table("properties").map(|table| properties::read(path, &table, env)).unwrap_or_default();
    table.finish();
    let (properties, lacking) = (read.properties, read.lacking);
    Some(Topics::Kafka(Kafka { brokers: brokers?, client_id, group, properties, lacking }))
}

fn read_files(path: &Path, mut table: Table<'_>) -> Option<Topics> {
    let folder = table.required("folder", folder(path));
    table.finish();
    Some(Topics::Files { folder: folder? })
}

fn read_archive(path: &Path, mut table: Table<'_>, default: Archive) -> Archive {
    let archive = Archive {
        location: table.or("location", default.location, folder(path)),
        interval: table.or("interval", default.interval, values::duration),
        file_size: table.or("file_size", default.file_size, values::size),
        accept_foreign_writes: table.or(
            "foreign_writes",
            default.accept_foreign_writes,
            values::one_of(&[("refuse", false), ("accept", true)]),
        ),
    };
    table.finish();
    archive
}

/// A folder relative to the file's own.
fn folder(path: &Path) -> impl Fn(&toml::de::DeValue<'_>) -> Result<PathBuf, String> {
    let base = base(path).to_owned();
    move |value| {
        let text = values::text(value)?;
        if text.contains("://") {
            return Err("is a URL; a folder of this machine is wanted".to_owned());
        }
        // A folder of that name would be made, in which nobody looks.
        if text.starts_with(['~', '$']) {
            return Err(
                "is taken as it is, and a shell's ~ and $NAME mean nothing here: write the whole path".to_owned()
            );
        }
        Ok(base.join(text))
    }
}

/// The machine's name, in letters that a transactional id may have.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let tame = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    match name.trim() {
        "" => "huiju".to_owned(),
        name => name.chars().map(tame).collect(),
    }
}
