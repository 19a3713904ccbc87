//! The type of a column: ODCS `logicalType`, refined by `physicalType`.

use std::fmt;

use super::{
    Kind,
    form::{Findings, Form, hint},
};

const LOGICAL: &[&str] = &["string", "integer", "number", "boolean", "timestamp", "date", "array"];

/// What people write who think of other systems.
const OTHERS: &[(&str, &str)] = &[
    ("text", "string"),
    ("varchar", "string"),
    ("char", "string"),
    ("bigint", "integer"),
    ("long", "integer"),
    ("double", "number"),
    ("float", "number"),
    ("decimal", "number"),
    ("datetime", "timestamp"),
    ("list", "array"),
];

/// The same of `physicalType`.
const OTHERS_PHYSICAL: &[(&str, &str)] = &[
    ("int32", "int"),
    ("int64", "bigint"),
    ("float", "double"),
    ("float64", "double"),
    ("bool", "boolean"),
    ("datetime", "timestamp"),
];

/// Reads `logicalType`, `physicalType` and, for arrays, `items` of a property.
pub(super) fn read(form: &Form<'_>, findings: &mut Findings) -> Option<Kind> {
    let (logical, line) = form.need("logicalType", &format!("write one of {}", listed(LOGICAL)), findings)?;
    let physical = form.text("physicalType", findings);
    let what = &form.what;
    if !LOGICAL.contains(&logical) {
        let todo = match OTHERS.iter().find(|(other, _)| *other == logical.to_lowercase()) {
            Some((_, ours)) => format!("write `{ours}`"),
            None => hint(logical, LOGICAL, &format!("write one of {}", listed(LOGICAL))),
        };
        findings.add(line, format!("logicalType `{logical}` of {what} is not one that huiju has: {todo}"));
        return None;
    }
    if logical == "array" && !items_are_texts(form, findings) {
        return None;
    }
    if logical != "array"
        && let Some(items) = form.get("items")
    {
        findings.add(
            items.line,
            format!("{what} has `items` but is no array: remove `items`, or write `logicalType: array`"),
        );
    }
    let Some((physical, line)) = physical else { return Some(default(logical)) };
    let spelt: String = physical.to_lowercase().split_whitespace().collect();
    let kind = match (logical, spelt.as_str()) {
        ("string", "string") => Kind::Text,
        ("integer", "int" | "integer") => Kind::Integer,
        ("integer", "bigint" | "long") => Kind::Long,
        ("number", "double") => Kind::Double,
        ("number", decimal) if decimal.starts_with("decimal") => match precision_and_scale(decimal) {
            Some((precision, scale)) => Kind::Decimal { precision, scale },
            None => {
                let todo =
                    "write `decimal(precision, scale)` with 1 to 38 digits, such as `\"decimal(18,2)\"`, in quotes";
                findings.add(line, format!("physicalType `{physical}` of {what} is not a decimal: {todo}"));
                return None;
            }
        },
        ("boolean", "boolean") => Kind::Boolean,
        ("timestamp", "timestamp") => Kind::Timestamp,
        ("date", "date") => Kind::Date,
        ("array", "array<string>") => Kind::Texts,
        _ => {
            let known = physical_types(logical);
            let todo = match OTHERS_PHYSICAL.iter().find(|(other, ours)| *other == spelt && known.contains(ours)) {
                Some((_, ours)) => format!("write `{ours}`"),
                None => hint(physical, known, &format!("write {}, or remove it", listed(known))),
            };
            findings.add(
                line,
                format!("physicalType `{physical}` of {what} does not go with logicalType `{logical}`: {todo}"),
            );
            return None;
        }
    };
    Some(kind)
}

/// As a contract says it.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Text => "string",
            Kind::Integer => "int",
            Kind::Long => "bigint",
            Kind::Double => "double",
            Kind::Decimal { precision, scale } => return write!(f, "decimal({precision},{scale})"),
            Kind::Boolean => "boolean",
            Kind::Timestamp => "timestamp",
            Kind::Date => "date",
            Kind::Texts => "array<string>",
        })
    }
}

/// An integer without a physical type is a bigint: nothing overflows.
fn default(logical: &str) -> Kind {
    match logical {
        "integer" => Kind::Long,
        "number" => Kind::Double,
        "boolean" => Kind::Boolean,
        "timestamp" => Kind::Timestamp,
        "date" => Kind::Date,
        "array" => Kind::Texts,
        _ => Kind::Text,
    }
}

fn physical_types(logical: &str) -> &'static [&'static str] {
    match logical {
        "integer" => &["int", "bigint"],
        "number" => &["double", "decimal(18,2)"],
        "boolean" => &["boolean"],
        "timestamp" => &["timestamp"],
        "date" => &["date"],
        "array" => &["array<string>"],
        _ => &["string"],
    }
}

/// An array says what is in it by `items` or by `physicalType: array<string>`.
fn items_are_texts(form: &Form<'_>, findings: &mut Findings) -> bool {
    let what = &form.what;
    let Some(node) = form.get("items") else {
        if form.get("physicalType").is_some() {
            return true;
        }
        findings.add(
            form.line,
            format!("{what} does not say what is in the array: write `items: {{ logicalType: string }}`"),
        );
        return false;
    };
    let known = super::column::KEYS;
    let Some(items) = Form::open(node, format!("`items` of {what}"), known, findings) else { return false };
    match items.need("logicalType", "write `string`", findings) {
        Some(("string", _)) => true,
        Some((other, line)) => {
            findings.add(line, format!("{what} is an array of `{other}`: huiju has arrays of `string` only"));
            false
        }
        None => false,
    }
}

/// `decimal(18,2)`, spaces removed.
fn precision_and_scale(text: &str) -> Option<(u8, i8)> {
    let inner = text.strip_prefix("decimal(")?.strip_suffix(')')?;
    let (precision, scale) = inner.split_once(',').unwrap_or((inner, "0"));
    let (precision, scale): (u8, i8) = (precision.parse().ok()?, scale.parse().ok()?);
    ((1..=38).contains(&precision) && scale >= 0 && scale as u8 <= precision).then_some((precision, scale))
}

pub(super) fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}
