//! Weights of classifiers: `weights/<name>.weights`, written by `huiju train`.
//!
//! They are data like the code tables beside them, read once and completely: a file that is cut off, changed, or of
//! another format is a finding, never a classifier that knows less.

use std::{collections::BTreeMap, path::Path};

use crate::{error::Finding, text::classify::Trained};

use super::odcs::{in_capitals, stems};

const ENDING: &str = ".weights";

/// All weights of a schemas folder, by name. No folder, no weights.
pub fn read_all(folder: &Path) -> Result<BTreeMap<String, Trained>, Vec<Finding>> {
    let folder = folder.join("weights");
    let (mut all, mut wrong) = (BTreeMap::new(), in_capitals(&folder, ENDING));
    for name in stems(&folder, ENDING) {
        match read(&folder.join(format!("{name}{ENDING}"))) {
            Ok(trained) => drop(all.insert(name, trained)),
            Err(finding) => wrong.push(finding),
        }
    }
    if wrong.is_empty() { Ok(all) } else { Err(wrong) }
}

/// One weights file.
pub fn read(path: &Path) -> Result<Trained, Finding> {
    let finding = |what: String| Finding::new(path.display().to_string(), what);
    let bytes = crate::file::read(path).map_err(|error| finding(format!("cannot be read: {error}")))?;
    Trained::from_bytes(&bytes).map_err(finding)
}
