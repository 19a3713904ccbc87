//! The jars of Apache Kafka: from Maven once (`tests/kafka/pom.xml`) into `$HUIJU_KAFKA_LIBS`, by default
//! `~/.cache/huiju/kafka-4.2.2`; a folder with the jars of another version is taken as it is. Where there is no Java or
//! no Maven, tests say so and pass, unless `HUIJU_REQUIRE_KAFKA=1`: then they fail.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use tempfile::TempDir;

use super::skipped;

const VERSION: &str = "4.2.2";

/// A Java process with the jars in its path; class and arguments are added.
pub fn jvm(libs: &Path, heap: &str) -> Command {
    let mut command = Command::new("java");
    // The quick compiler alone: a broker that is minutes old has not yet earned what the other one costs.
    command.arg(format!("-Xmx{heap}")).args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]);
    command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
    command.arg("-cp").arg(libs.join("*"));
    command
}

/// The folder of the jars, filled if need be; says so, or fails, where that cannot be.
pub fn libs_or_skip() -> Option<PathBuf> {
    static LIBS: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let why = match LIBS.get_or_init(find_libs) {
        Ok(libs) => return Some(libs.clone()),
        Err(why) => format!("no Kafka here (needs java and mvn): {why}"),
    };
    let required = std::env::var_os("HUIJU_REQUIRE_KAFKA").is_some_and(|value| value == "1");
    assert!(!required, "{why}; HUIJU_REQUIRE_KAFKA=1 wants it");
    skipped(&why);
    None
}

fn find_libs() -> Result<PathBuf, String> {
    let version = Command::new("java").arg("-version").output().map_err(|e| format!("java: {e}"))?;
    let version = String::from_utf8_lossy(&version.stderr).into_owned();
    let number = version.split_once(" version \"").map_or("", |(_, number)| number);
    let major = number.split(['.', '"', '-']).next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < 17) {
        return Err(format!("java 17 or newer is needed, this is {}", version.lines().next().unwrap_or("none")));
    }
    let libs = match std::env::var_os("HUIJU_KAFKA_LIBS") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(std::env::var_os("HOME").ok_or("HOME is not set")?)
            .join(".cache/huiju")
            .join(format!("kafka-{VERSION}")),
    };
    if !holds_kafka(&libs) {
        fetch(&libs)?;
    }
    Ok(libs)
}

fn holds_kafka(libs: &Path) -> bool {
    let files = fs::read_dir(libs).into_iter().flatten().flatten();
    files.into_iter().any(|file| file.file_name().to_string_lossy().starts_with("kafka_2.13-"))
}

/// Fetches beside the folder and renames, so that the folder is there only when it is whole.
fn fetch(libs: &Path) -> Result<(), String> {
    let parent = libs.parent().ok_or("HUIJU_KAFKA_LIBS is not a folder")?;
    fs::create_dir_all(parent).map_err(|e| format!("{}: {e}", parent.display()))?;
    let partial = TempDir::with_prefix_in("kafka-partial-", parent).map_err(|e| e.to_string())?;
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/pom.xml")]);
    maven.arg("dependency:copy-dependencies").arg(format!("-DoutputDirectory={}", partial.path().display()));
    let output = maven.output().map_err(|e| format!("mvn: {e}"))?;
    if !output.status.success() {
        return Err(format!("mvn cannot fetch the jars:\n{}", String::from_utf8_lossy(&output.stdout)));
    }
    let taken = fs::rename(partial.path(), libs);
    if taken.is_err() && !holds_kafka(libs) {
        return Err(format!("{} is in the way of the jars", libs.display()));
    }
    Ok(())
}
