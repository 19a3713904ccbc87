//! The messages people get for what they wrote.

use std::{ffi::OsString, fs, os::unix::ffi::OsStringExt, path::Path};

use expect_test::{Expect, expect};
use tempfile::TempDir;

use super::{Config, Topics, pipeline, read, table::Document};
use crate::error::Finding;

fn env(name: &str) -> Option<OsString> {
    match name {
        "HUIJU_KAFKA_PASSWORD" => Some("geheim".into()),
        "EMPTY" => Some(OsString::new()),
        "BLANK" => Some(" \u{3000}\n".into()),
        "MARKED" => Some("\u{feff}geheim\r\n\n".into()),
        "TORN" => Some("ge\nheim".into()),
        "LATIN" => Some(OsString::from_vec(b"ge\xFCheim".to_vec())),
        _ => None,
    }
}

fn read_text(text: &str) -> Result<Config, Vec<Finding>> {
    let path = Path::new("huiju.toml");
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("huiju.toml"), text).unwrap();
    // Read from a real file, told about as `huiju.toml`.
    let text = super::table::read_text(&dir.path().join("huiju.toml")).unwrap();
    read::read(path, Document::new(path, text), &env)
}

fn show(findings: &[Finding]) -> String {
    findings.iter().map(|finding| format!("{finding}\n")).collect()
}

fn check(text: &str, expect: Expect) {
    match read_text(text) {
        Ok(_) => expect.assert_eq("fine"),
        Err(findings) => expect.assert_eq(&show(&findings)),
    }
}

mod example {
    use super::*;

    const EXAMPLE: &str = include_str!("../../huiju.example.toml");

    fn uncommented() -> String {
        let lines = EXAMPLE.lines().map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| !c.is_whitespace()) => rest,
            _ => line,
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_the_example_says_is_the_default() {
        let shortest = read_text("[kafka]\nbrokers = \"localhost:9092\"").unwrap();
        assert_eq!(format!("{:#?}", read_text(EXAMPLE).unwrap()), format!("{shortest:#?}"));
    }

    #[test]
    fn everything_in_it_can_be_written() {
        let without_files = uncommented().replace("[files]\nfolder = \"topics\"", "");
        let without_files = without_files.replace("/etc/ssl/certs/kafka-ca.pem", "/dev/null");
        let config = read_text(&without_files).unwrap_or_else(|findings| panic!("{}", show(&findings)));
        let Topics::Kafka(kafka) = config.topics else { panic!("no kafka") };
        assert_eq!(kafka.properties.len(), 5);
        assert_eq!(config.listen, Some("127.0.0.1:9464".parse().unwrap()));
    }

    #[test]
    fn it_shows_every_key() {
        // A key like no other makes the reader list the ones it knows.
        let odd = "qqqqqqqqqqqqqqqqqqqqqqqq = 1\n";
        let text = format!("{odd}[kafka]\n{odd}brokers = \"a:1\"\n[archive]\n{odd}[files]\n{odd}folder = \"x\"");
        let findings = read_text(&text).unwrap_err();
        let lists: Vec<&str> =
            findings.iter().filter_map(|finding| Some(finding.what.split_once("the keys here are ")?.1)).collect();
        assert_eq!(lists.len(), 4, "{}", show(&findings));
        let example = uncommented();
        let written = |key: &str| {
            let mut lines = example.lines();
            lines.any(|line| line.starts_with(&format!("{key} =")) || line.trim_matches(['[', ']']).ends_with(key))
        };
        for key in lists.iter().flat_map(|list| list.split(", ")) {
            assert!(written(key), "huiju.example.toml does not show {key}");
        }
    }
}

#[test]
fn relative_paths_start_from_the_file() {
    let path = Path::new("deploy/huiju.toml");
    let text = "pipelines = \"p\"\nschemas = \"/s\"\n[files]\nfolder = \"t\"\n[archive]\nlocation = \"a\"";
    let config = read::read(path, Document::new(path, text.into()), &env).unwrap();
    let Topics::Files { folder } = config.topics else { panic!("no files") };
    let paths = [config.pipelines, config.schemas, folder, config.archive.location];
    assert_eq!(paths.map(|path| path.display().to_string()), ["deploy/p", "/s", "deploy/t", "deploy/a"]);
}

#[test]
fn unknown_keys_get_the_key_that_was_meant() {
    check(
        "pipelnes = \"p\"\n[kafka]\nbrokrs = \"a:9092\"\nzzz = 1\n[archiv]\n",
        expect![[r#"
            huiju.toml:1: unknown key "pipelnes": did you mean "pipelines"?
            huiju.toml:3: unknown key "brokrs" in [kafka]: did you mean "brokers"?
            huiju.toml:4: unknown key "zzz" in [kafka]: the keys here are brokers, client_id, group, properties
            huiju.toml:5: unknown key "archiv": did you mean "archive"?
        "#]],
    );
}

#[test]
fn wrong_values_are_told_together() {
    check(
        r#"
memory = 128
drain = "10 minutes"
listen = "localhost"
instance = "甲"
schemas = ""
pipelines = ["a"]
archive = "x"
[kafka]
brokers = "a:9092, b"
group = "a b"
"#,
        expect![[r#"
            huiju.toml:2: memory = 128: a size like "128MiB" is wanted, this is a whole number
            huiju.toml:3: drain = "10 minutes": not a duration: write it like "60s", "5m", "1h30m" or "7d"
            huiju.toml:4: listen = "localhost": not an address: write it like "127.0.0.1:9464"
            huiju.toml:5: instance = "甲": '甲' cannot be in a name: letters, digits, dots, dashes and underscores can
            huiju.toml:6: schemas = "": is empty
            huiju.toml:7: pipelines = ["a"]: a text is wanted, this is a list
            huiju.toml:8: [archive]: a table is wanted, this is a text
            huiju.toml:10: brokers = "a:9092, b": "b" is not a broker: write it like "kafka1:9092,kafka2:9092"
            huiju.toml:11: group = "a b": ' ' cannot be in a name: letters, digits, dots, dashes and underscores can
        "#]],
    );
}

#[test]
fn a_broker_is_no_url() {
    check(
        "[kafka]\nbrokers = \"a:9092,SSL://b:9093\"\n",
        expect![[r#"
            huiju.toml:2: brokers = "a:9092,SSL://b:9093": "SSL://b:9093" is not a broker: write "b:9093"; the protocol is security.protocol under [kafka.properties]
        "#]],
    );
}

#[test]
fn names_and_folders_that_would_fail_later_are_refused() {
    let long = "x".repeat(101);
    check(
        &format!(
            "instance = \"{long}\"\npipelines = \"~/p\"\nschemas = \"$HOME/s\"\n[files]\nfolder = \"~t\"\n[archive]\nlocation = \"~\""
        ),
        expect![[r#"
            huiju.toml:1: instance: has 101 characters: a name has at most 100
            huiju.toml:2: pipelines = "~/p": is taken as it is, and a shell's ~ and $NAME mean nothing here: write the whole path
            huiju.toml:3: schemas = "$HOME/s": is taken as it is, and a shell's ~ and $NAME mean nothing here: write the whole path
            huiju.toml:5: folder = "~t": is taken as it is, and a shell's ~ and $NAME mean nothing here: write the whole path
            huiju.toml:7: location = "~": is taken as it is, and a shell's ~ and $NAME mean nothing here: write the whole path
        "#]],
    );
    let fine = format!("instance = \"{}\"\n[files]\nfolder = \"./~t\"\n[archive]\nlocation = \"a~/$b\"", &long[1..]);
    check(&fine, expect!["fine"]);
}

#[test]
fn a_password_among_the_brokers_is_not_repeated() {
    for value in ["\"a:1, u:geheim@b:9092\"", "\"SASL_SSL://u:geheim@b:9092\"", "\"u:geheim@b\"", "[\"u:geheim@b:1\"]"]
    {
        let findings = read_text(&format!("[kafka]\nbrokers = {value}")).unwrap_err();
        let said = findings.iter().map(ToString::to_string).collect::<String>();
        assert!(said.starts_with("huiju.toml:2: brokers: ") && !said.contains("geheim"), "{said}");
    }
}

#[test]
fn durations_and_sizes() {
    let read = |drain: &str, size: &str| {
        let text = format!("drain = \"{drain}\"\nmemory = \"{size}\"\n[files]\nfolder = \"t\"");
        read_text(&text).map(|config| (config.drain.as_millis(), config.memory)).map_err(|f| f.len())
    };
    assert_eq!(read("60s", "128MiB"), Ok((60_000, 128 << 20)));
    assert_eq!(read("1h30m", "500kB"), Ok((5_400_000, 500_000)));
    assert_eq!(read("7d", "1GiB"), Ok((604_800_000, 1 << 30)));
    assert_eq!(read("250ms", "64KiB"), Ok((250, 65_536)));
    for bad in ["", "5", "s", "-1s", "1.5h", "30m1h", "1h1h", "0s", "1w", "99999999999999999999s", "9999999999999999d"]
    {
        assert_eq!(read(bad, "1GiB"), Err(1), "{bad:?}");
    }
    for bad in ["", "5", "MiB", "1mib", "1M", "63KiB", "-1MiB", "1.5GiB", "99999999999999999GiB"] {
        assert_eq!(read("1s", bad), Err(1), "{bad:?}");
    }
}

#[test]
fn the_place_of_the_topics_is_one() {
    check(
        "",
        expect![[r#"
            huiju.toml: it does not say where the topics are: write [kafka] with brokers, or [files] with the folder that holds the topics
        "#]],
    );
    check(
        "[kafka]\n[files]\nfolder = \"a\"",
        expect![[r#"
            huiju.toml:1: "brokers" is missing in [kafka]
            huiju.toml:2: [kafka] and [files] cannot both be the place of the topics: write [kafka] with brokers, or [files] with the folder that holds the topics
        "#]],
    );
}

#[test]
fn what_is_not_toml_has_its_line() {
    check(
        "drain = \"10s\"\nmemory = \"1GiB\n[kafka]\ndrain == 3\n",
        expect![[r#"
            huiju.toml:2: not TOML: invalid basic string, expected `"`
            huiju.toml:4: not TOML: extra `=`, expected nothing
        "#]],
    );
    check(
        "drain = \"10s\"\ndrain = \"10s\"",
        expect![[r#"
            huiju.toml:2: not TOML: the key drain is there already: keep one
        "#]],
    );
}

#[test]
fn a_key_that_is_there_twice_is_named() {
    check(
        "[files]\nfolder = \"a\"\nfolder = \"b\"\n\n[archive]\n\n [files]\nfolder = \"c\"\n",
        expect![[r#"
            huiju.toml:3: not TOML: the key folder is there already: keep one
            huiju.toml:7: not TOML: [files] is there already: write its keys under one
        "#]],
    );
    let pipeline = "owner = \"a\"\nowner = \"b\"\n\n[sink]\nkind = \"kafka\"\n\n[sink]\nkind = \"archive\"\n";
    folder::check_folder(
        &[("pipeline.toml", pipeline)],
        expect![[r#"
            p/pipeline.toml:2: not TOML: the key owner is there already: keep one
            p/pipeline.toml:7: not TOML: [sink] is there twice: write [[sink]], with two brackets, for each sink
        "#]],
    );
}

#[test]
fn byte_order_mark_and_carriage_returns_are_harmless() {
    check("\u{feff}[files]\r\nfolder = \"a\"\r\n", expect!["fine"]);
    check(
        "\u{feff}[files]\r\nfolder = 1\r\n",
        expect![[r#"
        huiju.toml:2: folder = 1: a text is wanted, this is a whole number
    "#]],
    );
}

#[test]
fn a_folder_is_told_the_file_in_it() {
    let error = Config::read(Path::new("tests/fixtures/street_lamps")).unwrap_err();
    expect!["tests/fixtures/street_lamps: cannot be read: it is no file: name the file in it, tests/fixtures/street_lamps/huiju.toml"].assert_eq(&error.to_string());
}

#[test]
fn a_file_that_is_not_there() {
    let error = Config::read(Path::new("nowhere/huiju.toml")).unwrap_err();
    expect!["nowhere/huiju.toml: cannot be read: No such file or directory (os error 2): name yours with --config FILE, or begin one from huiju.example.toml; `huiju demo` makes one with all that belongs to it"].assert_eq(&error.to_string());
}

mod folder;
mod properties;
mod rules;
mod sources;

/// Of an array that does not end all that follows is taken for its elements; of one that does each mistake is its own.
#[test]
fn an_array_that_does_not_end_is_named_by_its_beginning() {
    let told = |text: &str| {
        let document = Document::new(Path::new("x.toml"), text.to_owned());
        assert!(document.parse().is_none(), "{text}");
        document.findings().iter().map(|finding| format!("{finding}\n")).collect::<String>()
    };
    let open = "x.toml:2: not TOML: this array does not end: its ], or a comma in it, is missing\n";
    for text in [
        "a = 1\nb = [\"x\"\nc = 2\nd = 3\n",
        "a = 1\nb = [\"]\", '[', # ]\n\"y\"\nc = 2\n[t]\nd = 3\n",
        "a = [1, [2]]\nb = [\"\"\"]\"\"\",\n2\nc.d = 2\ne = 1\n",
    ] {
        assert_eq!(told(text), open, "{text}");
    }
    for text in ["a = [x,\n1,\ny,\n]\nb = 1\n", "[kafka\nbrokers = 1\ngroup = x\n", "a = x\nb = y\n"] {
        let said = told(text);
        assert!(!said.contains("does not end") && said.contains("x.toml:1: "), "{text}: {said}");
    }
}
