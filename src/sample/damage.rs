//! What is wrong with a message, on purpose.

use rand::{RngExt, rngs::StdRng};

use super::parts::{Parts, Row};

pub struct Damage {
    pub kind: Kind,
    /// Fields that are damaged together, by their number; one of the groups is taken.
    pub fields: Vec<Vec<usize>>,
}

pub enum Kind {
    Truncated,
    TwoObjects,
    Trailing,
    Empty,
    Missing,
    Replace(Parts),
    Insert(Parts),
    Spaces,
    FullWidth,
}

/// What may be wrong, each with the sum of the weights up to it.
#[derive(Default)]
pub struct Damages(Vec<(u32, Damage)>);

impl Damages {
    pub fn push(&mut self, weight: u16, damage: Damage) {
        let sum = self.0.last().map_or(0, |(sum, _)| *sum);
        self.0.push((sum + u32::from(weight), damage));
    }

    pub fn choose(&self, rng: &mut StdRng) -> Option<&Damage> {
        let (sum, _) = self.0.last()?;
        let drawn = rng.random_range(0..*sum);
        let at = self.0.partition_point(|(sum, _)| *sum <= drawn);
        Some(&self.0[at].1)
    }
}

impl Kind {
    /// Spoils a value.
    pub fn spoil(&self, value: &mut String, row: &mut Row) {
        match self {
            Kind::Replace(with) => {
                value.clear();
                row.write(with, value);
            }
            Kind::Insert(what) => {
                let what = row.text(what);
                let middle = value.len() / 2;
                let at = (middle..=value.len()).find(|at| value.is_char_boundary(*at)).unwrap_or(0);
                value.insert_str(at, &what);
            }
            Kind::Spaces => {
                const AROUND: [(&str, &str); 4] =
                    [("\t\t\n", "\t"), ("\u{3000}\u{3000}", ""), (" ", "\u{a0}"), ("\n\t\t\t\t\n", "\n")];
                let (before, after) = AROUND[row.rng.random_range(0..AROUND.len())];
                value.insert_str(0, before);
                value.push_str(after);
            }
            Kind::FullWidth => {
                let wide = |c: char| match c {
                    '0'..='9' => char::from_u32(c as u32 + 0xfee0).unwrap_or(c),
                    c => c,
                };
                *value = value.chars().map(wide).collect();
            }
            Kind::Truncated | Kind::TwoObjects | Kind::Trailing | Kind::Empty | Kind::Missing => {}
        }
    }
}
