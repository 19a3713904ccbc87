//! Files that people write: configuration, pipelines, contracts, code tables, rules.

use std::{fs, path::Path};

use huiju::{
    config,
    contract::{codes::CodeTables, odcs},
    engine::Library,
};

use super::{
    run::{alone, executions, fuzz, texts},
    schemas,
};
use crate::support::project::copy;

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

/// Every file that people write, spoiled: findings with the file's name, or a configuration.
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
    copy(&root.join("pipelines/work_orders"), &place.path().join("work_orders"));
    for file in ["pipeline.toml", "sources/nanchang.toml", "sources/nanchang.sql", "2_standardize.sql"] {
        let path = place.path().join("work_orders").join(file);
        let seeds = vec![fs::read(&path).unwrap()];
        fuzz(file, times, &seeds, &TOML, |input| {
            fs::write(&path, input).unwrap();
            if let Err(findings) = config::pipeline::read(&place.path().join("work_orders")) {
                assert!(!findings.is_empty());
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
            assert!(!findings.is_empty());
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
        let _ = CodeTables::read(place.path());
    });

    let place = folder();
    copy(&schemas().join("codes"), &place.path().join("codes"));
    copy(&schemas().join("rules"), &place.path().join("rules"));
    let rules = fs::read_dir(place.path().join("rules")).unwrap().next().unwrap().unwrap().path();
    let seeds = vec![fs::read(&rules).unwrap()];
    fuzz("keyword rules", times.div_ceil(40), &seeds, &csv, |input| {
        fs::write(&rules, input).unwrap();
        let _ = Library::read(place.path());
    });
}
