//! ODCS `logicalTypeOptions`. What they promise is checked: `maxLength` by a check of its own, the others as rules
//! named `<column>_<option>`. What nobody would check is refused, so that a contract never promises more than holds.

use std::sync::Arc;

use super::{
    Kind, Rule, Severity,
    form::{Findings, Form},
    yaml::{Node, Value},
};

const KEYS: &[&str] = &[
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "timezone",
    "defaultTimezone",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "required",
];

#[derive(Default)]
pub(super) struct Options {
    pub max_length: Option<usize>,
    pub rules: Vec<(Rule, usize)>,
    /// What the JSON Schema says of the limits that are rules.
    pub limits: Vec<(&'static str, serde_json::Number)>,
}

/// `title` is what people call the column; the reasons begin with it.
pub(super) fn read(
    form: &Form<'_>,
    column: &str,
    title: &str,
    kind: Option<&Kind>,
    findings: &mut Findings,
) -> Options {
    let mut options = Options::default();
    let (Some(node), Some(kind)) = (form.get("logicalTypeOptions"), kind) else { return options };
    let what = format!("logicalTypeOptions of {}", form.what);
    let Some(form) = Form::open(node, what, KEYS, findings) else { return options };
    for key in KEYS {
        let Some(node) = form.get(key) else { continue };
        let condition = match (*key, kind) {
            // Hints for people and for tools that generate code: they promise nothing about a value.
            ("format" | "timezone" | "defaultTimezone", _) => continue,
            ("maxLength", Kind::Text) => {
                options.max_length = form.count(key, findings);
                continue;
            }
            ("minLength", Kind::Text) => form
                .count(key, findings)
                .map(|n| (format!("char_length(\"{column}\") >= {n}"), format!("少于 {n} 个字"))),
            ("pattern", Kind::Text) => form.text(key, findings).map(|(pattern, _)| {
                let quoted = pattern.replace('\'', "''");
                // Of a pattern that takes any text the engine makes IS NOT NULL.
                let holds = format!("\"{column}\" IS NULL OR regexp_like(\"{column}\", '{quoted}')");
                (holds, format!("不符合格式 {pattern}"))
            }),
            ("minimum", _) => bound(&form, key, column, kind, ">=", findings),
            ("maximum", _) => bound(&form, key, column, kind, "<=", findings),
            ("exclusiveMinimum", _) => bound(&form, key, column, kind, ">", findings),
            ("exclusiveMaximum", _) => bound(&form, key, column, kind, "<", findings),
            _ => {
                cannot(&form, key, node, findings);
                None
            }
        };
        let Some((predicate, reason)) = condition else { continue };
        let rule = Rule {
            name: format!("{column}_{}", snake(key)).into(),
            column: Some(Arc::from(column)),
            predicate,
            severity: Severity::Error,
            description: format!("{title}{reason}"),
            at: findings.at(node.line),
        };
        options.rules.push((rule, node.line));
        options.limits.extend(published(key, kind, node));
    }
    for (low, high) in LIMITS {
        let (Some(least), Some(most)) = (form.get(low), form.get(high)) else { continue };
        if excludes(&least.value, &most.value, low.starts_with(EXCLUSIVE) || high.starts_with(EXCLUSIVE)) {
            let (what, least, most) = (&form.what, least.shown(), most.shown());
            findings
                .add(node.line, format!("`{low}` of {what} is {least}, `{high}` {most}: no value fits, correct one"));
        }
    }
    options
}

/// A limit as a JSON Schema has it, if that refuses no row which is published: to those who read it numbers are doubles, and
/// one that lies above a limit in its last digits may be the same double.
fn published(key: &'static str, kind: &Kind, node: &Node) -> Option<(&'static str, serde_json::Number)> {
    let Value::Number(number) = &node.value else { return None };
    let exact = number.len() <= 15 && !matches!(kind, Kind::Decimal { precision: 16.., .. });
    let number = serde_json::from_str(number).ok()?;
    (exact || !key.starts_with(EXCLUSIVE)).then_some((key, number))
}

const LIMITS: [(&str, &str); 5] = [
    ("minLength", "maxLength"),
    ("minimum", "maximum"),
    ("minimum", "exclusiveMaximum"),
    ("exclusiveMinimum", "maximum"),
    ("exclusiveMinimum", "exclusiveMaximum"),
];

const EXCLUSIVE: &str = "exclusive";

/// Whether no value lies between the two; `open` when they do not fit both themselves.
fn excludes(least: &Value, most: &Value, open: bool) -> bool {
    match (least, most) {
        (Value::Number(least), Value::Number(most)) => {
            let (Ok(low), Ok(high)) = (least.parse::<f64>(), most.parse::<f64>()) else { return false };
            // With more digits two that differ may be the same double.
            let same = least == most || low == high && least.len().max(most.len()) <= 15;
            low > high || open && same
        }
        (Value::Text(least), Value::Text(most)) if is_day(least) && is_day(most) => {
            least > most || open && least == most
        }
        _ => false,
    }
}

/// A comparison with a number or a date, and the reason when it does not hold.
fn bound(
    form: &Form<'_>,
    key: &str,
    column: &str,
    kind: &Kind,
    operator: &str,
    findings: &mut Findings,
) -> Option<(String, String)> {
    let node = form.get(key)?;
    let is_date = *kind == Kind::Date;
    let (limit, shown) = match (kind, &node.value) {
        (Kind::Text | Kind::Boolean | Kind::Timestamp | Kind::Texts, _) => {
            cannot(form, key, node, findings);
            return None;
        }
        (Kind::Date, Value::Text(date)) if is_day(date) => (format!("DATE '{date}'"), date),
        (Kind::Integer | Kind::Long | Kind::Double | Kind::Decimal { .. }, Value::Number(number))
            if number.parse::<f64>().is_ok() =>
        {
            let limit = if matches!(kind, Kind::Decimal { .. }) { decimal(number) } else { None };
            (limit.unwrap_or_else(|| number.clone()), number)
        }
        _ => {
            let todo = if is_date { "write a date, `\"2000-01-31\"`" } else { "write a number in digits" };
            findings.add(node.line, format!("`{key}` of {} is {}: {todo}", form.what, node.shown()));
            return None;
        }
    };
    let says = match (operator, is_date) {
        (">=", false) => "小于",
        (">=", true) => "早于",
        ("<=", false) => "大于",
        ("<=", true) => "晚于",
        (">", false) => "不大于",
        (">", true) => "不晚于",
        (_, false) => "不小于",
        (_, true) => "不早于",
    };
    Some((format!("\"{column}\" {operator} {limit}"), format!("{says} {shown}")))
}

/// A day with all its digits, so that two can be compared as they are written.
fn is_day(text: &str) -> bool {
    text.parse::<chrono::NaiveDate>().is_ok_and(|day| day.to_string() == text)
}

/// A decimal as SQL reads it exactly: a literal with a point is a double.
fn decimal(number: &str) -> Option<String> {
    let digits = number.strip_prefix(['-', '+']).unwrap_or(number);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let precision = whole.len() + fraction.len();
    let plain =
        !whole.is_empty() && [whole, fraction].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    (plain && precision <= 38).then(|| format!("CAST('{number}' AS DECIMAL({precision}, {}))", fraction.len()))
}

fn cannot(form: &Form<'_>, key: &str, node: &Node, findings: &mut Findings) {
    let todo = "write it as a rule under `quality` (`engine: huiju`)";
    findings.add(node.line, format!("huiju does not check `{key}` in {}: {todo}", form.what));
}

fn snake(camel: &str) -> String {
    let mut snake = String::new();
    for c in camel.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}
