//! The house is as `lib.rs` draws it: a file imports only from floors below its own, and parts on one floor do not
//! know each other.

use std::{fs, path::Path};

/// Floor by module, from the picture in `lib.rs`.
fn floors() -> Vec<(usize, String)> {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let picture =
        lib.lines().filter_map(|line| line.strip_prefix("//! ")).filter(|line| line.starts_with(char::is_numeric));
    let mut floors = Vec::new();
    for line in picture {
        let mut words = line.split_whitespace();
        let Some(Ok(floor)) = words.next().map(str::parse::<usize>) else { continue };
        let title = words.next();
        assert!(title.is_some(), "a floor without a name: {line}");
        // "engine room", "parts", …: what is a module of the crate counts.
        let modules = line.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned);
        floors.extend(modules.filter(|word| lib.contains(&format!("pub mod {word};"))).map(|word| (floor, word)));
    }
    floors
}

fn files(folder: &Path, all: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, all);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            all.push(path);
        }
    }
}

#[test]
fn a_file_imports_only_from_floors_below_its_own() {
    let floors = floors();
    let floor = |module: &str| floors.iter().find(|(_, name)| name == module).map(|(floor, _)| *floor);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&source, &mut all);
    let mut wrong = Vec::new();
    for path in &all {
        let name = path.strip_prefix(&source).unwrap();
        let module = name.components().next().unwrap().as_os_str().to_string_lossy().replace(".rs", "");
        if ["main", "lib"].contains(&module.as_str()) {
            continue;
        }
        let own = floor(&module).unwrap_or_else(|| panic!("{module} has no floor in the picture of lib.rs"));
        // Tests may look anywhere.
        let text = fs::read_to_string(path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        if path.ends_with("tests.rs") || name.components().any(|part| part.as_os_str() == "tests") {
            continue;
        }
        for (number, line) in code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for used in modules_used(line) {
                match floor(&used) {
                    Some(theirs) if theirs < own || used == module || own == 0 && theirs == 0 => {}
                    // Doors may use each other: they are one command line.
                    Some(theirs) if own == 7 && theirs == 7 => {}
                    Some(_) => wrong.push(format!("{}:{} uses {used}", name.display(), number + 1)),
                    None => {}
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports against the floors:\n{}", wrong.join("\n"));
}

/// Modules of this crate named in a line: `crate::x`, or the first word of a line within `use crate::{ … }`.
fn modules_used(line: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut used: Vec<String> = line.match_indices("crate::").map(|(at, _)| word(&line[at + 7..])).collect();
    // rustfmt puts each module of a braced import on a line of its own, indented by four.
    if let Some(rest) = line.strip_prefix("    ")
        && (line.ends_with("},") || line.ends_with('{') || line.ends_with(','))
        && rest.starts_with(char::is_lowercase)
        && (rest.contains("::") || rest.trim_end_matches(',').chars().all(|c| c.is_alphanumeric() || c == '_'))
    {
        let first = word(rest);
        if rest[first.len()..].starts_with("::") || rest[first.len()..] == *"," {
            used.push(first);
        }
    }
    used.retain(|module| !module.is_empty());
    used
}

/// `println!` and its like panic where nobody reads: `cli::out` has what to write with instead.
#[test]
fn nothing_is_written_by_what_panics_when_nobody_reads() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&source, &mut all);
    all.retain(|path| !path.ends_with("tests.rs") && !path.components().any(|part| part.as_os_str() == "tests"));
    let mut wrong = Vec::new();
    for path in &all {
        let text = fs::read_to_string(path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for (number, line) in code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            if ["println!", "print!", "eprintln!", "eprint!"].iter().any(|way| line.contains(way)) {
                wrong.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
