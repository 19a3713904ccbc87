//! Reads a template and its word lists. Everything wrong with them is found at once.

use std::{
    collections::HashMap,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;

use super::{
    damage::{Damage, Damages, Kind},
    json::{Json, objects, quote},
    parts::{GENERATORS, Part, Parts, Scope, closing, parse, repeat_of},
};
use crate::{error::Finding, near::nearest};

/// A template, ready to write messages.
pub struct Template {
    pub key: Option<Parts>,
    /// Values made anew for every row, in this order.
    pub lets: Arc<Vec<Parts>>,
    pub message: Node,
    pub pad: Option<Pad>,
    pub bad: Damages,
    pub untidy: Damages,
    pub untidy_share: f64,
}

/// Where padding goes, and what it says.
pub struct Pad {
    pub field: usize,
    pub with: Parts,
}

pub enum Node {
    Value { parts: Parts, quoted: bool, field: usize },
    Object(Vec<Member>),
    Array(Vec<Node>),
    Repeat { from: i64, to: i64, node: Box<Node>, lets: Arc<Vec<Parts>> },
}

pub struct Member {
    /// `"name":`
    pub name: Vec<u8>,
    pub only: Vec<Only>,
    pub field: usize,
    pub node: Node,
}

/// When a member is there.
pub enum Only {
    Sometimes(f64),
    When { index: usize, field: Option<usize>, is: String },
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    key: Option<String>,
    #[serde(rename = "let", default = "nothing")]
    lets: Json,
    message: Json,
    pad: Option<WrittenPad>,
    #[serde(default)]
    bad: Vec<WrittenDamage>,
    untidy: Option<Untidy>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPad {
    field: String,
    with: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Untidy {
    share: f64,
    kinds: Vec<WrittenDamage>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenDamage {
    kind: String,
    #[serde(default = "one")]
    weight: u16,
    #[serde(default)]
    fields: Vec<String>,
    with: Option<String>,
}

fn nothing() -> Json {
    Json::Object(Vec::new())
}

fn one() -> u16 {
    1
}

impl Template {
    /// Reads `sources/{source}.sample.json` of a pipeline's folder.
    pub fn read(pipeline: &Path, source: &str) -> Result<Template, Vec<Finding>> {
        let path = pipeline.join(format!("sources/{source}.sample.json"));
        let at = path.display().to_string();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let what = "there is no sample template: write what the source's messages look like; \
                            pipelines/work_orders/sample/README.md describes its form";
                return Err(vec![Finding::new(at, what)]);
            }
            Err(error) => return Err(vec![Finding::new(at, format!("cannot read the sample template: {error}"))]),
        };
        let written: Written = match serde_json::from_str(&text) {
            Ok(written) => written,
            Err(error) => return Err(vec![Finding::new(format!("{at}:{}", error.line()), error.to_string())]),
        };
        let reader = Reader {
            at,
            text: &text,
            from: 0,
            lists: pipeline.join("sample"),
            names: Vec::new(),
            lets: Arc::default(),
            words: HashMap::new(),
            open: Vec::new(),
            fields: Vec::new(),
            optional: Vec::new(),
            value: Vec::new(),
            findings: Vec::new(),
        };
        reader.template(written)
    }
}

struct Reader<'a> {
    at: String,
    text: &'a str,
    /// Where in the text that begins which is being read.
    from: usize,
    lists: PathBuf,
    /// The `let` values made so far.
    names: Vec<String>,
    lets: Arc<Vec<Parts>>,
    words: HashMap<String, Arc<Vec<Parts>>>,
    /// Lists being read: a list cannot hold itself.
    open: Vec<String>,
    /// Paths of the message's members; their number is their place.
    fields: Vec<String>,
    /// Whether a field can be left out.
    optional: Vec<bool>,
    /// Whether a field is a value: text, number, `true`, `false` or `null`.
    value: Vec<bool>,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    fn template(mut self, written: Written) -> Result<Template, Vec<Finding>> {
        let mut lets = Vec::new();
        match written.lets {
            Json::Object(members) => {
                for (name, value) in members {
                    match value {
                        Json::Text(text) => lets.push(self.parts(&text)),
                        _ => self.find(&name, format!("`let` value `{name}` is not a text")),
                    }
                    if GENERATORS.contains(&&*name) {
                        self.find(&format!("\"{name}\""), format!("`let` value `{name}` has the name of a generator"));
                    }
                    self.names.push(name);
                }
            }
            _ => self.find("let", "`let` is not an object of texts".to_owned()),
        }
        self.lets = Arc::new(lets);
        let key = written.key.map(|text| self.parts(&text));
        if !matches!(written.message, Json::Object(_) | Json::Array(_)) {
            self.find("message", "`message` is neither an object nor an array".to_owned());
        }
        let message = self.node(written.message, "", false);
        let pad = written.pad.and_then(|pad| {
            let with = self.parts(&pad.with);
            if with.is_empty() {
                self.find("pad", "`pad` has an empty `with`".to_owned());
            }
            self.field(&pad.field).map(|field| Pad { field, with })
        });
        let bad = self.damages("\"bad\"", written.bad, true);
        let (untidy, untidy_share) = match written.untidy {
            Some(untidy) => {
                if !(0.0..=1.0).contains(&untidy.share) {
                    self.find("share", format!("share {} is not between 0 and 1", untidy.share));
                }
                (self.damages("\"untidy\"", untidy.kinds, false), untidy.share)
            }
            None => (Damages::default(), 0.0),
        };
        if !self.findings.is_empty() {
            return Err(self.findings);
        }
        Ok(Template { key, lets: self.lets, message, pad, bad, untidy, untidy_share })
    }

    /// Records a mistake at the first line that holds `text`, of what is being read if it is there.
    fn find(&mut self, text: &str, what: String) {
        let here = self.text[self.from..].find(text).map(|at| self.from + at);
        let at = match here.or_else(|| self.text.find(text)) {
            Some(at) => format!("{}:{}", self.at, self.text[..at].matches('\n').count() + 1),
            None => self.at.clone(),
        };
        self.findings.push(Finding::new(at, what));
    }

    fn parts(&mut self, text: &str) -> Parts {
        match parse(text, self) {
            Ok(parts) => parts,
            Err(what) => {
                self.find(text, what);
                Vec::new()
            }
        }
    }

    fn field(&mut self, path: &str) -> Option<usize> {
        let found = self.fields.iter().position(|known| known == path);
        if found.is_none() {
            let hint = match nearest(path, self.fields.iter().map(String::as_str)) {
                Some(near) => format!("; did you mean `{near}`?"),
                None => format!("; it has {}", self.fields.join(", ")),
            };
            self.find(&format!("\"{path}\""), format!("the message has no field `{path}`{hint}"));
        }
        found
    }

    fn node(&mut self, json: Json, path: &str, optional: bool) -> Node {
        match json {
            Json::Bare(text) => Node::Value { parts: vec![Part::Text(text)], quoted: false, field: self.last() },
            Json::Text(text) => {
                let (text, quoted) = match text.strip_suffix("|number") {
                    Some(text) => (text, false),
                    None => (&*text, true),
                };
                Node::Value { parts: self.parts(text), quoted, field: self.last() }
            }
            Json::Array(values) => self.array(values, path, optional),
            Json::Object(members) => {
                let members = members.into_iter().map(|(name, value)| self.member(&name, value, path, optional));
                Node::Object(members.collect())
            }
        }
    }

    /// The field whose value is being read.
    fn last(&self) -> usize {
        self.fields.len().wrapping_sub(1)
    }

    fn member(&mut self, name: &str, mut value: Json, path: &str, optional: bool) -> Member {
        let mut only = Vec::new();
        if let Json::Text(text) = &mut value {
            while text.starts_with("${sometimes:") || text.starts_with("${when:") {
                let Some(length) = closing(text) else { break };
                let condition = text[..length].to_owned();
                match self.only(&condition[2..length - 1]) {
                    Ok(condition) => only.push(condition),
                    Err(why) => self.find(&condition, format!("`{condition}`: {why}")),
                }
                text.replace_range(..length, "");
            }
        }
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let optional = optional || !only.is_empty();
        let field = self.fields.len();
        self.fields.push(path.clone());
        self.optional.push(optional);
        self.value.push(matches!(value, Json::Text(_) | Json::Bare(_)));
        let mut quoted = Vec::new();
        quote(name, &mut quoted);
        quoted.push(b':');
        Member { name: quoted, only, field, node: self.node(value, &path, optional) }
    }

    fn only(&mut self, condition: &str) -> Result<Only, String> {
        let (head, argument) = condition.split_once(':').ok_or("no condition")?;
        if head == "sometimes" {
            let share = argument.parse().ok().filter(|share| (0.0..=1.0).contains(share));
            return share.map(Only::Sometimes).ok_or_else(|| format!("`{argument}` is not a share between 0 and 1"));
        }
        let (value, is) = argument.split_once('=').ok_or("write `${when:NAME=VALUE}`")?;
        match parse(&format!("${{{value}}}"), self)?.pop() {
            Some(Part::Value { index, field }) => Ok(Only::When { index, field, is: is.to_owned() }),
            _ => Err(format!("`{value}` is not a `let` value")),
        }
    }

    fn array(&mut self, mut values: Vec<Json>, path: &str, optional: bool) -> Node {
        let range = match values.first() {
            Some(Json::Text(first)) => {
                first.strip_prefix("${repeat:").and_then(|rest| rest.strip_suffix('}')).map(str::to_owned)
            }
            _ => None,
        };
        let Some(range) = range else {
            return Node::Array(values.into_iter().map(|value| self.node(value, path, optional)).collect());
        };
        if values.len() != 2 {
            self.find(&range, format!("an array with `${{repeat:{range}}}` holds exactly one more element"));
            return Node::Array(Vec::new());
        }
        let (from, to) = repeat_of(&range).unwrap_or_else(|why| {
            self.find(&range, why);
            (1, 1)
        });
        let node = values.pop().map(|value| self.node(value, path, optional));
        Node::Repeat { from, to, node: Box::new(node.expect("there are two elements")), lets: Arc::clone(&self.lets) }
    }

    fn damages(&mut self, section: &str, written: Vec<WrittenDamage>, always_there: bool) -> Damages {
        let mut damages = Damages::default();
        let begins = objects(self.text, section);
        for (number, damage) in written.into_iter().enumerate() {
            self.from = begins.get(number).copied().unwrap_or_default();
            if let Some(kind) = self.kind(&damage) {
                let whole = matches!(kind, Kind::Truncated | Kind::TwoObjects | Kind::Trailing | Kind::Empty);
                if whole != damage.fields.is_empty() {
                    let why = if whole { "takes no `fields`" } else { "needs `fields`" };
                    self.find(&damage.kind, format!("kind `{}` {why}", damage.kind));
                }
                let mut groups = Vec::new();
                for group in &damage.fields {
                    groups.push(group.split('+').filter_map(|path| self.field(path)).collect::<Vec<_>>());
                }
                for field in groups.iter().flatten().filter(|_| always_there) {
                    if self.optional[*field] {
                        let path = self.fields[*field].clone();
                        let what = format!("`bad` names `{path}`, which is not in every message");
                        self.find(&format!("\"{path}\""), what);
                    }
                }
                let needs_value = !whole && !matches!(kind, Kind::Missing);
                for field in groups.iter().flatten().filter(|_| needs_value) {
                    if !self.value[*field] {
                        let path = self.fields[*field].clone();
                        let what = format!("kind `{}` needs a value, and `{path}` is not one", damage.kind);
                        self.find(&format!("\"{path}\""), what);
                    }
                }
                damages.push(damage.weight.max(1), Damage { kind, fields: groups });
            }
        }
        self.from = 0;
        damages
    }

    fn kind(&mut self, damage: &WrittenDamage) -> Option<Kind> {
        let with = damage.with.as_ref().map(|with| self.parts(with));
        Some(match (&*damage.kind, with) {
            ("truncated", None) => Kind::Truncated,
            ("two_objects", None) => Kind::TwoObjects,
            ("trailing", None) => Kind::Trailing,
            ("empty", None) => Kind::Empty,
            ("missing", None) => Kind::Missing,
            ("spaces", None) => Kind::Spaces,
            ("full_width", None) => Kind::FullWidth,
            ("replace", Some(with)) => Kind::Replace(with),
            ("insert", Some(with)) => Kind::Insert(with),
            ("replace" | "insert", None) => {
                self.find(&damage.kind, format!("kind `{}` needs `with`: what to put there", damage.kind));
                return None;
            }
            (kind @ ("truncated" | "two_objects" | "trailing" | "empty" | "missing" | "spaces" | "full_width"), _) => {
                self.find(kind, format!("kind `{kind}` takes no `with`"));
                return None;
            }
            (kind, _) => {
                let what = format!(
                    "no kind `{kind}`; there are truncated, two_objects, trailing, empty, missing, replace, insert, \
                     spaces, full_width"
                );
                self.find(kind, what);
                return None;
            }
        })
    }
}

impl Scope for Reader<'_> {
    fn value(&mut self, name: &str) -> Result<usize, String> {
        self.names
            .iter()
            .position(|known| known == name)
            .ok_or_else(|| format!("no `let` value `{name}` is made before this; there are: {}", self.names.join(", ")))
    }

    fn words(&mut self, list: &str) -> Result<Arc<Vec<Parts>>, String> {
        if let Some(lines) = self.words.get(list) {
            return Ok(Arc::clone(lines));
        }
        if self.open.iter().any(|open| open == list) {
            return Err(format!("the list `{list}` holds itself"));
        }
        let path = self.lists.join(format!("{list}.txt"));
        let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        self.open.push(list.to_owned());
        let mut lines = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match parse(line, self) {
                Ok(parts) => lines.push(parts),
                Err(what) => self.findings.push(Finding::new(format!("{}:{}", path.display(), number + 1), what)),
            }
        }
        self.open.pop();
        if lines.is_empty() {
            return Err(format!("{} has no lines", path.display()));
        }
        let lines = Arc::new(lines);
        self.words.insert(list.to_owned(), Arc::clone(&lines));
        Ok(lines)
    }
}
