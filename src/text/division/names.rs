//! Reads a place name or a path of them from left to right: province, city, county, and whatever follows.

use super::{Divisions, Level, Sense, last_meaning, only};
use crate::text::width::is_gap;

/// What the path has named so far, and where its source is at home.
#[derive(Clone, Copy)]
struct Context<'a> {
    parent: Option<usize>,
    home: Option<&'a str>,
    month: Option<u32>,
    /// How many names ahead we are looking; province, city and county are three.
    ahead: u8,
}

/// The next part of a path.
enum Step {
    /// A division, and how many bytes of the text name it.
    Found(usize, usize),
    /// A name we know that cannot be meant here, or can mean two places.
    Contradiction,
    Unknown,
}

impl Divisions {
    pub(super) fn add_name(&mut self, name: &str, sense: Sense) {
        match name.strip_suffix(SUFFIXES) {
            None => self.add_sense(name, Sense { short: true, ..sense }),
            Some(short) => {
                if short.chars().count() >= 2 {
                    self.add_sense(short, Sense { short: true, ..sense.clone() });
                }
                self.add_sense(name, sense);
            }
        }
    }

    fn add_sense(&mut self, name: &str, sense: Sense) {
        self.longest_name = self.longest_name.max(name.chars().count());
        self.names.entry(name.to_owned()).or_default().push(sense);
    }

    /// The place that a path leads to, and what was not read of it.
    pub(super) fn path<'t>(&self, text: &'t str, home: Option<&str>, month: Option<u32>) -> Option<(usize, &'t str)> {
        let mut context = Context { parent: None, home, month, ahead: 0 };
        let mut rest = text;
        loop {
            rest = rest.trim_start_matches(is_separator);
            if rest.is_empty() {
                return context.parent.map(|parent| (parent, rest));
            }
            match self.step(rest, context) {
                Step::Found(place, length) if self.in_force[place].level == Level::County => {
                    let behind = &rest[length..];
                    let is_one = !self.another_follows(place, behind, context);
                    return is_one.then(|| (place, behind.trim_start_matches(is_separator)));
                }
                Step::Found(place, length) => {
                    context.parent = Some(place);
                    rest = &rest[length..];
                }
                Step::Contradiction => return None,
                Step::Unknown => {
                    // A street or a functional zone of the city; but not an unknown county, nor an unknown city.
                    let parent = context.parent?;
                    let is_below = self.in_force[parent].level == Level::City && !looks_like_county(rest);
                    return is_below.then_some((parent, rest));
                }
            }
        }
    }

    /// `东湖区、西湖区`, `东湖区(西湖区)`: which of the two? Without a mark between them, one that is written out and after
    /// which nothing comes.
    fn another_follows(&self, place: usize, behind: &str, context: Context) -> bool {
        let behind = behind.trim_start_matches(is_gap);
        let marked = behind.strip_prefix(['、', ',', '/', ';', '和', '与', '及', '或']);
        let next = marked.unwrap_or(behind).trim_start_matches(|c| is_gap(c) || is_bracket(c));
        match self.step(next, context) {
            Step::Found(other, length) if other != place && self.in_force[other].level == Level::County => {
                let ends = next[length..].chars().all(|c| is_gap(c) || is_bracket(c));
                marked.is_some() || ends && next[..length].ends_with(['区', '县', '市'])
            }
            _ => false,
        }
    }

    fn step(&self, rest: &str, context: Context) -> Step {
        let mut contradiction = false;
        for length in self.name_lengths(rest) {
            let Some(senses) = self.names.get(&rest[..length]) else { continue };
            let behind = &rest[length..];
            if let Some(place) = self.full_name(senses, behind, context) {
                return Step::Found(place, length);
            }
            if let Some(place) = self.short_name(senses, behind, context) {
                return Step::Found(place, length);
            }
            let stands_alone = behind.is_empty() || behind.starts_with(is_separator);
            contradiction |= stands_alone || senses.iter().any(|sense| !sense.short);
        }
        if contradiction { Step::Contradiction } else { Step::Unknown }
    }

    /// Lengths of the prefixes that may be names, longest first.
    fn name_lengths<'a>(&self, text: &'a str) -> impl Iterator<Item = usize> + use<'a> {
        let ends: Vec<usize> = text.char_indices().take(self.longest_name).map(|(at, c)| at + c.len_utf8()).collect();
        ends.into_iter().skip(1).rev()
    }

    fn full_name(&self, senses: &[Sense], behind: &str, context: Context) -> Option<usize> {
        let fitting = || senses.iter().filter(|sense| !sense.short && self.lies_in(sense, context.parent));
        let in_force = || fitting().filter(|sense| sense.months.is_none());
        // A path through a city of today speaks of today, whatever the day it speaks of.
        let above = in_force().filter_map(|sense| sense.division).find(|place| self.leads_on(*place, behind, context));
        if above.is_some() {
            return above;
        }
        let then = || fitting().filter(|sense| context.month.is_some_and(|month| sense.covers(month)));
        if then().next().is_some() {
            return self.agreed(then(), context);
        }
        if in_force().next().is_some() {
            return self.agreed(in_force(), context);
        }
        last_meaning(fitting(), context.month)
            .and_then(|sense| sense.division)
            .or_else(|| self.agreed(fitting(), context))
    }

    /// The one division these senses mean, at home if they differ.
    fn agreed<'a>(&self, senses: impl Iterator<Item = &'a Sense> + Clone, context: Context) -> Option<usize> {
        let one = only(senses.clone()).or_else(|| {
            let city = self.home_city(context.home?)?;
            only(senses.filter(move |sense| sense.city == city))
        });
        one?.division
    }

    /// A name without its suffix: before a child of it, or where one place of that name lies inside the parent or home.
    fn short_name(&self, senses: &[Sense], behind: &str, context: Context) -> Option<usize> {
        let fitting = || senses.iter().filter(|sense| sense.short && self.lies_in(sense, context.parent));
        let above = || {
            let in_force = fitting().filter(|sense| sense.months.is_none()).filter_map(|sense| sense.division);
            in_force.filter(|place| self.leads_on(*place, behind, context))
        };
        if let Some(place) = above().next() {
            return above().all(|other| other == place).then_some(place);
        }
        if !behind.is_empty() && !behind.starts_with(is_separator) {
            return None;
        }
        let scoped: Vec<&Sense> = match context.parent {
            // 宜春市宜春: the city once more, or the county-level city of old?
            Some(parent) if fitting().any(|sense| sense.division == Some(parent)) => return None,
            Some(_) => fitting().collect(),
            None => fitting().filter(|sense| self.is_at_home(sense, context.home)).collect(),
        };
        let is_city = |sense: &Sense| sense.months.is_none() && self.level(sense) <= Some(Level::City);
        let has_city = scoped.iter().any(|sense| is_city(sense));
        // Behind a province comes a city. Without that hint 吉安 may be the city or its county; only counties of old,
        // like 九江县, stand back behind a city of today.
        let below_province = context.parent.is_some_and(|parent| self.in_force[parent].level == Level::Province);
        let counted = scoped
            .into_iter()
            .filter(|sense| !has_city || is_city(sense) || (!below_province && sense.months.is_none()));
        only(counted)?.division
    }

    /// Whether the text behind a name of `place` goes on with a division inside it.
    fn leads_on(&self, place: usize, behind: &str, context: Context) -> bool {
        const FARTHEST: u8 = 2;
        let is_above = self.in_force[place].level < Level::County && context.ahead < FARTHEST;
        let behind = behind.trim_start_matches(is_separator);
        let below = Context { parent: Some(place), ahead: context.ahead + 1, ..context };
        is_above && !behind.is_empty() && matches!(self.step(behind, below), Step::Found(child, _) if child != place)
    }

    fn lies_in(&self, sense: &Sense, parent: Option<usize>) -> bool {
        let Some(parent) = parent else { return true };
        let parent = &self.in_force[parent];
        match parent.level {
            Level::Province => {
                let code = sense.division.map_or(sense.city.as_str(), |place| &self.in_force[place].code);
                code.get(..2) == parent.code.get(..2)
            }
            _ => sense.city == parent.code,
        }
    }

    fn is_at_home(&self, sense: &Sense, home: Option<&str>) -> bool {
        let Some(home) = home.and_then(|home| self.by_code(home)) else { return false };
        let in_city = !home.city_code.is_empty() && sense.city == home.city_code;
        let in_province = || {
            let code = sense.division.map(|place| self.in_force[place].code.as_str());
            code.and_then(|code| code.get(..2)) == home.code.get(..2)
        };
        match home.level {
            Level::Province => in_province(),
            _ => in_city || (self.level(sense) == Some(Level::Province) && in_province()),
        }
    }

    fn home_city(&self, home: &str) -> Option<&str> {
        self.by_code(home).map(|division| division.city_code.as_str())
    }

    fn level(&self, sense: &Sense) -> Option<Level> {
        sense.division.map(|place| self.in_force[place].level)
    }
}

const SUFFIXES: [char; 4] = ['省', '市', '县', '区'];

fn is_separator(c: char) -> bool {
    matches!(c, '-' | '—' | '–' | '_' | '/' | '\\' | '>' | '→' | '|' | ',' | '、' | '.' | '·' | ':' | ';') || is_gap(c)
}

fn is_bracket(c: char) -> bool {
    matches!(c, '(' | ')' | '（' | '）' | '[' | ']' | '【' | '】')
}

/// Whether the next part of a path is written like a county. `高新区`, `某小区` and the like are not counties.
fn looks_like_county(rest: &str) -> bool {
    const NOT_COUNTIES: [&str; 14] = [
        "新区",
        "开发区",
        "高新区",
        "经开区",
        "示范区",
        "试验区",
        "保税区",
        "园区",
        "景区",
        "名胜区",
        "小区",
        "社区",
        "辖区",
        "城区",
    ];
    let part = rest.split(is_separator).next().unwrap_or_default();
    part.ends_with(SUFFIXES) && !NOT_COUNTIES.iter().any(|ending| part.ends_with(ending))
}
