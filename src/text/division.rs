//! Places: from a code, a name or a path as systems write them, to the six digits of GB/T 2260 in force.
//!
//! Codes were reused (362302 was 鹰潭市, then 德兴市), names were handed down (上饶市 was a county-level city until 1999) and
//! contain each other (吉安市 and 吉安县, 庐山市 and 庐山区). So a retired code or name needs a date where it meant two things,
//! a short name (吉安) counts only inside a known city, and what can mean two places means none.

use chrono::{Datelike, NaiveDate};
use hashbrown::HashMap;
use serde::Deserialize;

use super::width::{half_width, trim};

mod names;

/// A division in force: a row of `divisions.csv`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Division {
    pub code: String,
    pub name: String,
    pub level: Level,
    /// The city it lies in; of a city itself; empty for a province.
    pub city_code: String,
    pub city_name: String,
    /// With its zero, `0791`; empty for a province.
    pub tel_area_code: String,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Province,
    City,
    County,
}

/// A code and name that are no longer in force: a row of `divisions_retired.csv`. Months are `yyyymm`, both included;
/// successor code and name are empty where nothing succeeded.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Retired {
    pub code: String,
    pub name: String,
    pub first_seen_yyyymm: u32,
    pub last_seen_yyyymm: u32,
    pub successor_code: String,
    pub successor_name: String,
}

/// All divisions, those in force and those that went.
#[derive(Clone, Debug)]
pub struct Divisions {
    in_force: Vec<Division>,
    by_code: HashMap<String, usize>,
    retired_by_code: HashMap<String, Vec<Sense>>,
    names: HashMap<String, Vec<Sense>>,
    /// What a source calls them, and the place in `in_force` that it means.
    taught: HashMap<String, usize>,
    /// In characters.
    longest_name: usize,
}

/// One thing a code or name means or meant.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Sense {
    /// Place in `in_force`; `None` where nothing succeeded.
    division: Option<usize>,
    /// The city it lies or lay in.
    city: String,
    /// When it was in force; `None`: it is.
    months: Option<(u32, u32)>,
    /// The name without 省, 市, 县, 区.
    short: bool,
}

impl Divisions {
    /// Of two rows with the same code in force the first counts.
    pub fn new(in_force: Vec<Division>, retired: Vec<Retired>) -> Divisions {
        let mut by_code = HashMap::new();
        for (place, division) in in_force.iter().enumerate() {
            by_code.entry(division.code.clone()).or_insert(place);
        }
        let mut divisions = Divisions {
            in_force,
            by_code,
            retired_by_code: HashMap::new(),
            names: HashMap::new(),
            taught: HashMap::new(),
            longest_name: 0,
        };
        for place in 0..divisions.in_force.len() {
            let Division { name, city_code, .. } = divisions.in_force[place].clone();
            divisions.add_name(&name, Sense { division: Some(place), city: city_code, months: None, short: false });
        }
        for row in &retired {
            divisions.add_retired(row);
        }
        divisions
    }

    fn add_retired(&mut self, row: &Retired) {
        let division = self.by_code.get(&row.successor_code).copied();
        let city = match division {
            Some(place) => self.in_force[place].city_code.clone(),
            None => row.code.get(..4).map(|prefix| format!("{prefix}00")).unwrap_or_default(),
        };
        let months = Some((row.first_seen_yyyymm, row.last_seen_yyyymm));
        let sense = Sense { division, city, months, short: false };
        self.retired_by_code.entry(row.code.clone()).or_default().push(sense.clone());
        self.add_name(&row.name, sense);
    }

    /// Lets a source's own word or code, alone and in a path, mean the division in force that has these six digits,
    /// whatever else it means; `false` when none has.
    #[must_use]
    pub fn teach(&mut self, word: &str, code: &str) -> bool {
        let Some(&place) = self.by_code.get(code) else { return false };
        let word = half_width(trim(word)).into_owned();
        let city = self.in_force[place].city_code.clone();
        self.longest_name = self.longest_name.max(word.chars().count());
        self.names.insert(word.clone(), vec![Sense { division: Some(place), city, months: None, short: false }]);
        self.taught.insert(word, place);
        true
    }

    /// The division a text means, or `None` when it means none, or could mean two.
    ///
    /// Reads 6, 9 or 12 digits, a full name (`丰城市`), a path with or without separators (`宜春市-丰城市-某街道`,
    /// `江西省宜春市丰城市`; the longest part that has a code counts, streets and functional zones fall to their parent),
    /// and a short name (`丰城`) inside the city named before it, or inside `home`. `home` is the code of the source's
    /// own city, or province. `on` is the day the text speaks of; without it only what had one meaning is read.
    pub fn lookup(&self, typed: &str, home: Option<&str>, on: Option<NaiveDate>) -> Option<&Division> {
        self.find(&half_width(trim(typed)), home, on).map(|(place, _)| &self.in_force[place])
    }

    /// What of a text stands behind the name or code of the division that it means: the street, the functional zone, the
    /// digits behind the sixth if they are not zeros. `None` when nothing does, and when the text means no division.
    pub fn rest(&self, typed: &str, home: Option<&str>, on: Option<NaiveDate>) -> Option<String> {
        let text = half_width(trim(typed));
        let (_, rest) = self.find(&text, home, on)?;
        (!rest.is_empty()).then(|| rest.to_owned())
    }

    /// Place of the division, and what stands behind it.
    fn find<'t>(&self, text: &'t str, home: Option<&str>, on: Option<NaiveDate>) -> Option<(usize, &'t str)> {
        let month = on.map(|day| day.year().max(0) as u32 * 100 + day.month());
        if let Some(place) = self.taught.get(text) {
            return Some((*place, ""));
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            let rest = text.get(6..).filter(|rest| rest.bytes().any(|digit| digit != b'0'));
            return Some((self.code(text, month)?, rest.unwrap_or_default()));
        }
        self.path(without_country(text), home, month)
    }

    /// The division in force that has these six digits.
    pub fn by_code(&self, code: &str) -> Option<&Division> {
        self.by_code.get(code).map(|place| &self.in_force[*place])
    }

    /// The telephone area code of a division in force, or of the one that succeeded a retired code.
    pub fn area_code(&self, code: &str) -> Option<&str> {
        let division = self.by_code(code).or_else(|| self.lookup(code, None, None))?;
        Some(division.tel_area_code.as_str()).filter(|area| !area.is_empty())
    }

    /// All divisions in force, in the order given.
    pub fn in_force(&self) -> &[Division] {
        &self.in_force
    }

    fn code(&self, digits: &str, month: Option<u32>) -> Option<usize> {
        if !matches!(digits.len(), 6 | 9 | 12) {
            return None;
        }
        let code = &digits[..6];
        if let Some(place) = self.taught.get(code) {
            return Some(*place);
        }
        let retired = self.retired_by_code.get(code).map_or(&[][..], Vec::as_slice);
        if let Some(then) = month.and_then(|month| only(retired.iter().filter(|sense| sense.covers(month)))) {
            return then.division;
        }
        let then = || last_meaning(retired.iter(), month)?.division;
        self.by_code.get(code).copied().or_else(then).or_else(|| self.districts_of(code))
    }

    /// The city of `360101`: 市辖区, all districts of a city in GB/T 2260, is where systems file what lies in no one of
    /// them.
    fn districts_of(&self, code: &str) -> Option<usize> {
        let city = format!("{}00", code.strip_suffix("01")?);
        self.by_code.get(&city).copied().filter(|place| self.in_force[*place].level == Level::City)
    }
}

impl Sense {
    fn covers(&self, month: u32) -> bool {
        self.months.is_some_and(|(first, last)| (first..=last).contains(&month))
    }
}

/// The sense that all of these agree on.
fn only<'a>(mut senses: impl Iterator<Item = &'a Sense>) -> Option<&'a Sense> {
    let first = senses.next()?;
    senses.all(|sense| sense.division == first.division).then_some(first)
}

/// What a retired code or name means outside the months it was in force: its one successor, or after all its months what
/// it meant last.
fn last_meaning<'a>(senses: impl Iterator<Item = &'a Sense> + Clone, month: Option<u32>) -> Option<&'a Sense> {
    only(senses.clone()).or_else(|| {
        let last = senses.clone().filter_map(|sense| sense.months).map(|(_, last)| last).max()?;
        let is_over = month.is_some_and(|month| month > last);
        if is_over { only(senses.filter(|sense| sense.months.is_some_and(|(_, end)| end == last))) } else { None }
    })
}

fn without_country(text: &str) -> &str {
    text.strip_prefix("中华人民共和国").or_else(|| text.strip_prefix("中国")).unwrap_or(text)
}

#[cfg(test)]
mod tests;
