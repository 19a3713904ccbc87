//! One property of the schema: a column, its rules, and what it says about other columns.

use std::sync::Arc;

use super::{
    Column, Kind, Rule, Severity,
    form::{Findings, Form, hint, is_chinese},
    kind::{self, listed},
    options, quality,
    yaml::Node,
};

/// All that ODCS 3.1 allows in a property.
pub(super) const KEYS: &[&str] = &[
    "id",
    "name",
    "physicalType",
    "description",
    "businessName",
    "authoritativeDefinitions",
    "tags",
    "customProperties",
    "primaryKey",
    "primaryKeyPosition",
    "logicalType",
    "logicalTypeOptions",
    "physicalName",
    "required",
    "unique",
    "partitioned",
    "partitionKeyPosition",
    "classification",
    "encryptedName",
    "transformSourceObjects",
    "transformLogic",
    "transformDescription",
    "examples",
    "criticalDataElement",
    "relationships",
    "quality",
    "items",
    "properties",
];

/// A column as far as it can be read alone; `odcs.rs` compares columns with each other.
pub(super) struct Draft {
    pub column: Column,
    pub line: usize,
    /// `None` when the type is not readable; then `column.kind` means nothing.
    pub kind: Option<Kind>,
    pub rules: Vec<(Rule, usize)>,
    /// Line of `raw`.
    pub raw_line: usize,
    pub is_flags: bool,
}

/// The code tables that exist, if anybody looked.
pub(super) type Tables<'t> = Option<&'t [String]>;

/// Starts with a letter, then letters, digits and `_`: what SQL, Parquet and Delta take without quotes.
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

pub(super) fn read(node: &Node, tables: Tables<'_>, findings: &mut Findings) -> Option<Draft> {
    let what = match node.peek("name") {
        Some(name) => format!("column `{name}`"),
        None => "a column".to_owned(),
    };
    let form = Form::open(node, what, KEYS, findings)?;
    let (name, line) = form.need("name", "write its name", findings)?;
    if name.starts_with('_') || name.eq_ignore_ascii_case("ingested_on") {
        findings.add(line, format!("`{name}` is a name huiju uses itself: name the column otherwise"));
    } else if !is_name(name) {
        findings.add(line, format!("`{name}` cannot name a column: use letters, digits and `_`, a letter first"));
    }
    let title = form.text("businessName", findings).map_or(name, |(text, _)| text);
    let description = form.need("description", "say in Chinese what it means", findings);
    if let Some((text, line)) = description
        && !is_chinese(text)
    {
        findings.add(line, format!("{} has the description `{text}`: say it in Chinese", form.what));
    }
    if let Some(node) = form.get("properties") {
        findings.add(
            node.line,
            format!("{} has `properties`: huiju has no nested columns, write them side by side", form.what),
        );
    }
    let kind = kind::read(&form, findings);
    let required = form.truth("required", findings).unwrap_or(false);
    for key in ["primaryKey", "unique", "partitioned", "criticalDataElement"] {
        form.truth(key, findings);
    }
    form.list("examples", findings);
    form.list("tags", findings);
    let classification = form.text("classification", findings);
    if let Some((text, line)) = classification
        && text != "personal"
        && (crate::near::resembles(text, "personal") || means_personal(text))
    {
        findings.add(
            line,
            format!("classification `{text}` of {} does not protect anybody: did you mean `personal`?", form.what),
        );
    }
    let options = options::read(&form, name, title, kind.as_ref(), findings);
    let extras = Extras::read(&form, kind.as_ref(), required, options.max_length.is_some(), tables, findings);
    let mut rules = options.rules;
    rules.extend(quality::rules(&form, Some(name), findings));
    let column = Column {
        name: name.into(),
        kind: kind.clone().unwrap_or(Kind::Text),
        required,
        description: description.map_or("", |(text, _)| text).to_owned(),
        title: title.to_owned(),
        personal: classification.is_some_and(|(text, _)| text == "personal"),
        classification: classification.map(|(text, _)| text.to_owned()),
        codes: extras.codes,
        weights: extras.weights,
        raw: extras.raw,
        unknown: extras.unknown,
        max_length: options.max_length,
        limits: options.limits,
        at: findings.at(node.line),
    };
    Some(Draft { column, line, kind, rules, raw_line: extras.raw_line, is_flags: extras.is_flags })
}

/// What huiju reads from a property's `customProperties`.
struct Extras {
    codes: Option<Arc<str>>,
    weights: Option<Arc<str>>,
    raw: Option<Arc<str>>,
    raw_line: usize,
    unknown: Severity,
    is_flags: bool,
}

impl Extras {
    /// `limited`: it has a `maxLength`.
    fn read(
        form: &Form<'_>,
        kind: Option<&Kind>,
        required: bool,
        limited: bool,
        tables: Tables<'_>,
        findings: &mut Findings,
    ) -> Extras {
        let mut extras =
            Extras { codes: None, weights: None, raw: None, raw_line: 0, unknown: Severity::Warning, is_flags: false };
        let what = &form.what;
        let (mut unknown, mut weights_line) = (None, 0);
        for (name, node) in form.custom(&["codes", "weights", "raw", "unknown", "role", "assumed"], findings) {
            if name == "assumed" {
                let todo = "it is said of the contract as a whole, in the `customProperties` at the top";
                findings.add(node.line, format!("{what} has the custom property `assumed`: {todo}"));
                continue;
            }
            let Some(text) = form.custom_text(name, node, findings) else { continue };
            match name {
                "codes" => {
                    extras.codes = Some(text.into());
                    if kind.is_some_and(|kind| *kind != Kind::Text) {
                        findings
                            .add(node.line, format!("{what} has `codes` but is no text: write `logicalType: string`"));
                    }
                    check_table(text, node.line, what, tables, findings);
                }
                "weights" => {
                    extras.weights = Some(text.into());
                    weights_line = node.line;
                }
                "raw" => {
                    extras.raw = Some(text.into());
                    extras.raw_line = node.line;
                }
                "unknown" => {
                    let said = format!("`unknown` of {what}");
                    unknown = quality::severity_of(text, node.line, &said, findings).map(|it| (it, node.line));
                }
                "role" if text == "flags" => {
                    extras.is_flags = true;
                    if required {
                        let todo = "the checks fill it, and leave it empty where nothing is flagged: remove `required`";
                        findings.add(node.line, format!("{what} has `role: flags` and is required: {todo}"));
                    }
                    if kind.is_some_and(|kind| *kind != Kind::Texts) {
                        let todo = "write `logicalType: array`, `physicalType: array<string>`";
                        findings.add(node.line, format!("{what} has `role: flags` but is no list of texts: {todo}"));
                    }
                }
                _ => {
                    let todo = hint(text, &["flags"], "the only role is `flags`");
                    findings.add(node.line, format!("{what} has the role `{text}`: {todo}"));
                }
            }
        }
        if extras.weights.is_some() && extras.codes.is_none() {
            let todo = "name the table of its classes in `codes`, so that both can be compared";
            findings.add(weights_line, format!("{what} has `weights` but no `codes`: {todo}"));
        }
        let typed = kind.is_some_and(|kind| *kind != Kind::Text);
        let must_be_read = required && (typed || extras.raw.is_some() && extras.codes.is_none());
        if let Some((severity, line)) = unknown {
            extras.unknown = severity;
            if extras.codes.is_none() && extras.raw.is_none() && !limited {
                findings.add(line, format!("{what} has `unknown` but no `codes`, `raw` or `maxLength`: remove it"));
            } else if must_be_read && severity == Severity::Warning {
                let todo = "remove `unknown`, or make the column not required";
                findings.add(line, format!("{what} is required, so a value that cannot be read is an error: {todo}"));
            }
        }
        if typed && required {
            extras.unknown = Severity::Error;
        }
        extras
    }
}

fn check_table(table: &str, line: usize, what: &str, tables: Tables<'_>, findings: &mut Findings) {
    let Some(tables) = tables else { return };
    if !tables.iter().any(|known| known == table) {
        let known: Vec<&str> = tables.iter().map(String::as_str).collect();
        let otherwise = match known.as_slice() {
            [] => "there are no tables in `codes/` yet".to_owned(),
            known => format!("there are {}", listed(known)),
        };
        let todo = hint(table, &known, &otherwise);
        findings.add(line, format!("{what} takes its codes from `codes/{table}.csv`, which is not there: {todo}"));
    }
}

/// Whether a word, whatever its language, says of data that they are about people, or to be protected for their sake.
fn means_personal(classification: &str) -> bool {
    let word = classification.to_lowercase();
    ["个人", "敏感", "隐私", "sensitive", "private"].iter().any(|part| word.contains(part))
        || word.split(|c: char| !c.is_alphanumeric()).any(|part| part == "pii" || part == "spi")
}
