//! Files that people write: configuration, pipelines, contracts, code tables, rules.

use std::{
    fs,
    path::{Path, PathBuf},
    slice,
};

use huiju::{
    config,
    contract::{codes::CodeTables, odcs},
    engine::Library,
    error::Finding,
};

use super::{
    run::{alone, executions, fuzz, texts},
    schemas,
};
use crate::support::project::{SOURCES, copy};

/// A folder in memory, where there is one: these targets read files.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

const TOML: [&str; 26] = [
    "[",
    "]",
    "{",
    "}",
    "=",
    "\"",
    "'''",
    "#",
    "\n",
    ",",
    ".",
    "kafka",
    "archive",
    "[[sink]]",
    "kind = \"archive\"\n",
    "true",
    "1979-05-27",
    "99999999999999999999",
    "\"60s\"",
    "\"9999999d\"",
    "\"99999999999GiB\"",
    "env",
    "file",
    "\u{0}",
    "工",
    "\\",
];

/// Every file that people write, spoiled: findings with the file's name and the line, or a configuration.
#[test]
fn fuzz_configuration() {
    if !alone("fuzz::written::fuzz_configuration") {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let times = executions(4000).div_ceil(8);

    let place = folder();
    let path = place.path().join("huiju.toml");
    let seeds = vec![
        fs::read(root.join("huiju.example.toml")).unwrap(),
        b"[files]\nfolder = \"topics\"\n[archive]\ninterval = \"1h30m\"\n".to_vec(),
    ];
    fuzz("huiju.toml", times, &seeds, &TOML, |input| {
        fs::write(&path, input).unwrap();
        if let Err(error) = config::Config::read(&path) {
            assert!(error.to_string().contains("huiju.toml"), "{error}");
        }
    });

    let place = folder();
    let pipeline = place.path().join("work_orders");
    copy(&root.join("pipelines/work_orders"), &pipeline);
    for file in ["pipeline.toml", "sources/nanchang.toml", "sources/nanchang.sql", "2_standardize.sql"] {
        let path = pipeline.join(file);
        let seeds = vec![fs::read(&path).unwrap()];
        // What a source says may not go with another `pipeline.toml`.
        let mut blamed = vec![path.clone()];
        if file == "pipeline.toml" {
            blamed.extend(SOURCES.map(|source| pipeline.join(format!("sources/{source}.toml"))));
        }
        fuzz(file, times, &seeds, &TOML, |input| {
            fs::write(&path, input).unwrap();
            if let Err(findings) = config::pipeline::read(&pipeline) {
                tell_where(&findings, &blamed);
            }
        });
        fs::write(&path, &seeds[0]).unwrap();
    }

    let place = folder();
    copy(&schemas(), place.path());
    let path = place.path().join("work_orders.odcs.yaml");
    let seeds = vec![fs::read(&path).unwrap()];
    let yaml = [
        "- ", ": ", "\n", "  ", "&a ", "*a", "<<: ", "|\n", ">", "{", "[", "!!int", "null", "~", "0x10", "name: ",
        "codes", "\t", "工",
    ];
    fuzz("contract", times.div_ceil(4), &seeds, &yaml, |input| {
        fs::write(&path, input).unwrap();
        if let Err(findings) = odcs::read(place.path(), "work_orders") {
            tell_where(&findings, slice::from_ref(&path));
        }
    });

    let place = folder();
    let path = place.path().join("codes/call_type.csv");
    fs::create_dir(place.path().join("codes")).unwrap();
    let seeds =
        texts(&["code,label,aliases,valid_from,valid_to\n01,投诉,举报|投 诉,,\n02,咨询,,2020-01-01,2030-12-31\n"]);
    let csv = [",", "\n", "\"", "|", "code", "2020-01-01", "\r", "投诉", "\u{feff}"];
    fuzz("code table", times, &seeds, &csv, |input| {
        fs::write(&path, input).unwrap();
        if let Err(findings) = CodeTables::read(place.path()) {
            tell_where(&findings, slice::from_ref(&path));
        }
    });

    let place = folder();
    copy(&schemas().join("codes"), &place.path().join("codes"));
    copy(&schemas().join("rules"), &place.path().join("rules"));
    let rules = fs::read_dir(place.path().join("rules")).unwrap().next().unwrap().unwrap().path();
    let seeds = vec![fs::read(&rules).unwrap()];
    fuzz("keyword rules", times.div_ceil(40), &seeds, &csv, |input| {
        fs::write(&rules, input).unwrap();
        if let Err(findings) = Library::read(place.path()) {
            tell_where(&findings, slice::from_ref(&rules));
        }
    });
}

/// Each finding names one of these files, and a line of it, unless it is about what is not there.
fn tell_where(findings: &[Finding], files: &[PathBuf]) {
    assert!(!findings.is_empty(), "refused without a word");
    let absent = ["is missing", "is empty", "has no rows", "no [[sink]]", "name the columns that"];
    for finding in findings {
        let path = files.iter().find(|path| finding.at.starts_with(path.to_str().unwrap()));
        let path = path.unwrap_or_else(|| panic!("not of {files:?}: {finding}"));
        let rest = &finding.at[path.to_str().unwrap().len()..];
        if rest.is_empty() {
            assert!(absent.iter().any(|words| finding.what.contains(words)), "no line: {finding}");
            continue;
        }
        let line = rest.strip_prefix(':').and_then(|line| line.parse::<usize>().ok());
        let lines = fs::read(path).unwrap().split(|byte| *byte == b'\n').count();
        assert!(line.is_some_and(|line| (1..=lines).contains(&line)), "no line of {lines}: {finding}");
    }
}
