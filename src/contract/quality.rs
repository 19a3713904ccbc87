//! Quality rules: those with `engine: huiju` are ours, all others belong to other tools and are left alone.

use std::sync::Arc;

use super::{
    Rule, Severity,
    column::is_name,
    form::{Findings, Form, hint, is_chinese},
    yaml::{Node, Value},
};

/// All that ODCS 3.1 allows in a quality check.
const KEYS: &[&str] = &[
    "id",
    "authoritativeDefinitions",
    "businessImpact",
    "customProperties",
    "description",
    "dimension",
    "method",
    "name",
    "schedule",
    "scheduler",
    "severity",
    "tags",
    "type",
    "unit",
    "engine",
    "implementation",
    "metric",
    "rule",
    "arguments",
    "query",
    "validValues",
    "mustBe",
    "mustNotBe",
    "mustBeGreaterThan",
    "mustBeGreaterOrEqualTo",
    "mustBeLessThan",
    "mustBeLessOrEqualTo",
    "mustBeBetween",
    "mustNotBeBetween",
];

/// Reject codes that exist already; a rule's name is a reject code too.
const TAKEN: &[&str] = &["missing", "unreadable", "unknown_code", "too_long", "too_large", "out_of_range"];

/// The rules written under `form`, each with its line.
pub(super) fn rules(form: &Form<'_>, column: Option<&str>, findings: &mut Findings) -> Vec<(Rule, usize)> {
    let nodes = form.list("quality", findings);
    nodes.iter().filter_map(|node| rule(node, &form.what, column, findings)).collect()
}

fn rule(node: &Node, of: &str, column: Option<&str>, findings: &mut Findings) -> Option<(Rule, usize)> {
    let what = match node.peek("name") {
        Some(name) => format!("rule `{name}` of {of}"),
        None => format!("a rule of {of}"),
    };
    let form = Form::open(node, what, KEYS, findings)?;
    let what = &form.what;
    if form.get("engine").is_none() && (form.get("implementation").is_some() || node.peek("type") == Some("custom")) {
        let todo = "write `engine: huiju`, or that of the tool which checks it";
        findings.add(node.line, format!("{what} has no `engine`: {todo}"));
    }
    let (engine, line) = form.text("engine", findings)?;
    if engine != "huiju" {
        if crate::near::resembles(engine, "huiju") {
            findings.add(line, format!("{what} has the engine `{engine}`: did you mean `huiju`?"));
        }
        return None;
    }
    if let Some((kind, line)) = form.need("type", "write `type: custom`", findings)
        && kind != "custom"
    {
        findings.add(line, format!("{what} is of type `{kind}`: with `engine: huiju` write `type: custom`"));
    }
    let name = form.need("name", "write a short code, such as `repaired_before_reported`; rejects carry it", findings);
    if let Some((name, line)) = name {
        if TAKEN.contains(&name) {
            findings.add(line, format!("{what} has the name of a check that huiju makes itself: name it otherwise"));
        } else if !is_name(name) {
            findings.add(line, format!("`{name}` cannot name a rule: use letters, digits and `_`, a letter first"));
        }
    }
    let predicate = form.need("implementation", "write the SQL condition that a good row meets", findings);
    let severity = form.need("severity", "write `error` (reject the row) or `warning` (keep and flag it)", findings);
    let severity = severity.and_then(|(text, line)| severity_of(text, line, what, findings));
    let description = form.need("description", "write the reason in Chinese; it stands in rejects", findings);
    if let Some((text, line)) = description
        && !is_chinese(text)
    {
        findings.add(line, format!("{what} has the description `{text}`: write it in Chinese; it stands in rejects"));
    }
    let (predicate, at) = predicate?;
    let rule = Rule {
        name: name?.0.into(),
        column: column.map(Arc::from),
        predicate: predicate.to_owned(),
        severity: severity?,
        description: description?.0.to_owned(),
        at: findings.at(at),
    };
    Some((rule, node.line))
}

/// How many rules anywhere in a contract belong to other tools.
pub(super) fn others(node: &Node) -> usize {
    let ours = |rule: &&Node| rule.peek("engine") == Some("huiju");
    match &node.value {
        Value::List(nodes) => nodes.iter().map(others).sum(),
        Value::Map(entries) => entries
            .iter()
            .map(|(key, node)| match &node.value {
                Value::List(rules) if key.text == "quality" => rules.len() - rules.iter().filter(ours).count(),
                _ => others(node),
            })
            .sum(),
        _ => 0,
    }
}

pub(super) fn severity_of(text: &str, line: usize, what: &str, findings: &mut Findings) -> Option<Severity> {
    match text {
        "error" => Some(Severity::Error),
        "warning" => Some(Severity::Warning),
        _ => {
            let todo = hint(text, &["error", "warning"], "write `error` or `warning`");
            findings.add(line, format!("{what} says `{text}`: {todo}"));
            None
        }
    }
}
