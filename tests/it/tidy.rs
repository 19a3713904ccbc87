//! The house is as `lib.rs` draws it: a file imports only from floors below its own, and parts on one floor do not
//! know each other.

use std::{
    fs,
    path::{Path, PathBuf},
};

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

fn files(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, all);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            all.push(path);
        }
    }
}

/// The files of the crate, named from `src`, with their [`product`]. Tests may do as they like.
fn products() -> Vec<(PathBuf, String)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&source, &mut all);
    all.retain(|path| !path.ends_with("tests.rs") && !path.components().any(|part| part.as_os_str() == "tests"));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path.strip_prefix(&source).unwrap().to_owned(), product(&text))
    };
    all.into_iter().map(read).collect()
}

/// A file's text without comments and without what only tests get; each line stays where it was.
fn product(text: &str) -> String {
    let mut product = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim_start().starts_with("#[cfg(test)]") {
            // rustfmt ends an item where it began: with `}` in the same column, or at once.
            let indent = &line[..line.len() - line.trim_start().len()];
            let end = format!("{indent}}}");
            let one =
                |line: &str| line.ends_with(';') && line.starts_with(indent) && !line[indent.len()..].starts_with(' ');
            product.push('\n');
            for line in lines.by_ref() {
                product.push('\n');
                if line == end || one(line) {
                    break;
                }
            }
            continue;
        }
        if !line.trim_start().starts_with("//") {
            product.push_str(line);
        }
        product.push('\n');
    }
    product
}

/// Modules of the crate that a text names behind `root` (`crate::`, or as many `super::` as lead there), alone or in
/// braces, with their lines.
fn modules_used(product: &str, root: &str) -> Vec<(usize, String)> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let line = |at: usize| product[..at].matches('\n').count() + 1;
    let mut used = Vec::new();
    for (at, _) in product.match_indices(root) {
        let at = at + root.len();
        let mut depth = 0;
        // Of what stands in the braces, each first word of an element.
        let mut begins = true;
        for (more, c) in product[at..].char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' => begins = depth == 1,
                c if c.is_whitespace() => continue,
                _ => {
                    if begins {
                        used.push((line(at + more), word(&product[at + more..])));
                    }
                    begins = false;
                }
            }
            if depth == 0 {
                break;
            }
        }
    }
    used
}

/// `super::` as often as it takes to get from a file to the crate.
fn way_up(name: &Path) -> String {
    let depth = name.components().count() - usize::from(name.ends_with("mod.rs"));
    "super::".repeat(depth)
}

#[test]
fn a_file_imports_only_from_floors_below_its_own() {
    let floors = floors();
    let floor = |module: &str| floors.iter().find(|(_, name)| name == module).map(|(floor, _)| *floor);
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (name, product) in products() {
        let module = name.components().next().unwrap().as_os_str().to_string_lossy().replace(".rs", "");
        if ["main", "lib"].contains(&module.as_str()) {
            continue;
        }
        let own = floor(&module).unwrap_or_else(|| panic!("{module} has no floor in the picture of lib.rs"));
        for (line, used) in [modules_used(&product, "crate::"), modules_used(&product, &way_up(&name))].concat() {
            seen += 1;
            match floor(&used) {
                Some(theirs) if theirs < own || used == module || own == 0 && theirs == 0 => {}
                // Doors may use each other: they are one command line.
                Some(theirs) if own == 7 && theirs == 7 => {}
                Some(_) => wrong.push(format!("{}:{line} uses {used}", name.display())),
                None => {}
            }
        }
    }
    assert!(wrong.is_empty(), "imports against the floors:\n{}", wrong.join("\n"));
    assert!(seen > 200, "only {seen} imports were looked at");
}

/// `println!` and its like panic where nobody reads: `cli::out` has what to write with instead.
#[test]
fn nothing_is_written_by_what_panics_when_nobody_reads() {
    let mut wrong = Vec::new();
    for (name, product) in products() {
        for (number, line) in product.lines().enumerate() {
            if ["println!", "print!", "eprintln!", "eprint!"].iter().any(|way| line.contains(way)) {
                wrong.push(format!("{}:{}", name.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The rules above see what is wrong wherever it stands in a file.
#[test]
fn what_tests_get_is_left_out_and_nothing_else() {
    let text = r#"//! See crate::comment.

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) use super::tests::may;

use crate::{config::Stage, error::{Finding, Result}, text};
use crate::{
    batch::{
        crate_of, Held,
    },
    clock,
    kafka::{self, ids},
};
use super::sink::Sink;

fn work() {
    crate::fault::point("x"); println!("{}", super::engine::nearest());
}

mod inside {
    #[cfg(test)]
    fn only_there() {
        crate::demo::run();
    }
    use crate::cursor::Cursor;
}

#[cfg(test)]
mod more {
    use crate::serve;

    fn test() {
        println!();
    }
}

fn last() -> crate::check::Found {}
"#;
    let product = product(text);
    assert_eq!(product.lines().count(), text.lines().count(), "lines stay where they were");
    let used = |root: &str| modules_used(&product, root);
    let found = |all: &[(usize, &str)]| all.iter().map(|(line, used)| (*line, (*used).to_owned())).collect::<Vec<_>>();
    let crate_ = [
        (8, "config"),
        (8, "error"),
        (8, "text"),
        (10, "batch"),
        (13, "clock"),
        (14, "kafka"),
        (19, "fault"),
        (27, "cursor"),
        (39, "check"),
    ];
    assert_eq!(used("crate::"), found(&crate_));
    assert_eq!(used(&way_up(Path::new("dedup/mod.rs"))), found(&[(16, "sink"), (19, "engine")]));
    assert_eq!(way_up(Path::new("sink/kafka/encode.rs")), "super::super::super::");
    assert_eq!(way_up(Path::new("check.rs")), "super::");
    assert_eq!(product.matches("println!").count(), 1);
}
