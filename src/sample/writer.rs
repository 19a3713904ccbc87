//! Writes one message.

use rand::RngExt;

use super::{
    damage::{Damage, Kind},
    json::quote,
    parts::{Parts, Row},
    template::{Node, Only, Pad},
};

pub struct Writer<'a> {
    out: Vec<u8>,
    /// A value before it is quoted.
    scratch: String,
    damage: Option<&'a Damage>,
    /// Which of the damage's groups of fields is meant.
    group: Option<usize>,
    /// Whether the element being written is the one that is damaged.
    hurting: bool,
    pad: Option<(&'a Pad, usize)>,
    /// Where padding can go in.
    pad_at: Option<usize>,
}

impl<'a> Writer<'a> {
    pub fn new(damage: Option<&'a Damage>, pad: Option<&'a Pad>, size: Option<usize>) -> Writer<'a> {
        let out = Vec::with_capacity(size.unwrap_or(0).max(1024));
        let pad = pad.zip(size);
        Writer { out, scratch: String::new(), damage, group: None, hurting: true, pad, pad_at: None }
    }

    pub fn node(&mut self, node: &Node, row: &mut Row) {
        match node {
            Node::Value { parts, quoted, field } => self.value(parts, *quoted, *field, row),
            Node::Object(members) => {
                self.out.push(b'{');
                let mut first = true;
                for member in members {
                    let left_out = !member.only.iter().all(|only| holds(only, row));
                    if left_out || self.missing(member.field, row) {
                        continue;
                    }
                    if !first {
                        self.out.push(b',');
                    }
                    first = false;
                    self.out.extend_from_slice(&member.name);
                    self.node(&member.node, row);
                }
                self.out.push(b'}');
            }
            Node::Array(nodes) => {
                self.out.push(b'[');
                for (at, node) in nodes.iter().enumerate() {
                    if at > 0 {
                        self.out.push(b',');
                    }
                    self.node(node, row);
                }
                self.out.push(b']');
            }
            Node::Repeat { from, to, node, lets } => {
                let count = row.rng.random_range(*from..=*to);
                let hurt = self.damage.map(|_| row.rng.random_range(0..count.max(1)));
                self.out.push(b'[');
                for at in 0..count {
                    if at > 0 {
                        self.out.push(b',');
                        row.make(lets);
                    }
                    self.hurting = hurt.is_none_or(|hurt| hurt == at);
                    self.node(node, row);
                }
                self.hurting = true;
                self.out.push(b']');
            }
        }
    }

    fn value(&mut self, parts: &Parts, quoted: bool, field: usize, row: &mut Row) {
        self.scratch.clear();
        row.write(parts, &mut self.scratch);
        let mut quoted = quoted;
        let hurt = self.damage.filter(|_| self.hurts(field, row));
        if let Some(damage) = hurt {
            damage.kind.spoil(&mut self.scratch, row);
            quoted = true;
        }
        if !quoted && is_bare(&self.scratch) {
            self.out.extend_from_slice(self.scratch.as_bytes());
            return;
        }
        quote(&self.scratch, &mut self.out);
        // Padding would mend a text that was spoiled to say nothing.
        if hurt.is_none() && self.pad.is_some_and(|(pad, _)| pad.field == field) {
            self.pad_at = Some(self.out.len() - 1);
        }
    }

    fn missing(&mut self, field: usize, row: &mut Row) -> bool {
        self.damage.is_some_and(|damage| matches!(damage.kind, Kind::Missing)) && self.hurts(field, row)
    }

    /// Whether this field, here, is to be damaged.
    fn hurts(&mut self, field: usize, row: &mut Row) -> bool {
        let Some(damage) = self.damage else { return false };
        if !self.hurting || damage.fields.is_empty() {
            return false;
        }
        let group = *self.group.get_or_insert_with(|| row.rng.random_range(0..damage.fields.len()));
        damage.fields[group].contains(&field)
    }

    /// The message, padded if it is to have a certain size.
    pub fn finish(mut self, row: &mut Row) -> Vec<u8> {
        let Some(((pad, size), at)) = self.pad.zip(self.pad_at) else { return self.out };
        let Some(lacking) = size.checked_sub(self.out.len()).filter(|lacking| *lacking > 0) else { return self.out };
        self.scratch.clear();
        while self.scratch.len() < lacking {
            row.write(&pad.with, &mut self.scratch);
        }
        let end = (0..=lacking).rev().find(|end| self.scratch.is_char_boundary(*end)).unwrap_or(0);
        let mut quoted = Vec::with_capacity(lacking + 2);
        quote(&self.scratch[..end], &mut quoted);
        self.out.splice(at..at, quoted[1..quoted.len() - 1].iter().copied());
        self.out
    }
}

/// Whether JSON has this without quotes: `775` and `null`, not `0775` or a word.
fn is_bare(text: &str) -> bool {
    use serde_json::Value::{Bool, Null, Number};
    matches!(serde_json::from_str(text), Ok(Null | Bool(_) | Number(_))) && !text.contains(char::is_whitespace)
}

fn holds(only: &Only, row: &mut Row) -> bool {
    match only {
        Only::Sometimes(share) => row.rng.random::<f64>() < *share,
        Only::When { index, field, is } => row.value(*index, *field) == is,
    }
}
