//! What differs between the rows that must come out and those that do.

use std::collections::BTreeSet;

use super::json::Json;

/// Rows times rows up to which it is looked for those that are missing, or one too many.
const MOST: usize = 100_000;

/// `doubles` are columns whose numbers are as exact as a double is.
pub(super) fn compare(
    what: &str,
    expected: &[Json],
    found: &[Json],
    doubles: &BTreeSet<&str>,
    wrong: &mut Vec<String>,
) {
    for pair in align(expected, found) {
        match pair {
            (Some(at), Some(came)) => {
                differences(&format!("{what} {}", at + 1), &expected[at], &found[came], doubles, wrong);
            }
            (Some(at), None) => wrong.push(format!("{what} {}: missing: {}", at + 1, expected[at])),
            (None, Some(came)) => wrong.push(format!("{what} {}: not expected: {}", came + 1, found[came])),
            (None, None) => {}
        }
    }
}

fn differences(at: &str, expected: &Json, found: &Json, doubles: &BTreeSet<&str>, wrong: &mut Vec<String>) {
    match (expected, found) {
        (Json::Object(left), Json::Object(right)) => {
            let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            for name in names {
                let (left, right) = (left.get(name).unwrap_or(&Json::Null), right.get(name).unwrap_or(&Json::Null));
                if !(doubles.contains(name.as_str()) && left.is_same_double(right)) {
                    differences(&format!("{at}: {name}"), left, right, doubles, wrong);
                }
            }
        }
        _ if expected != found => wrong.push(format!("{at}: expected {expected}, got {found}")),
        _ => {}
    }
}

/// Which row is which, in order, so that as little as possible differs: two rows by twice their members that do, a row
/// alone by all of its members.
fn align(expected: &[Json], found: &[Json]) -> Vec<(Option<usize>, Option<usize>)> {
    let start = expected.iter().zip(found).take_while(|(left, right)| left == right).count();
    let (left, right) = (&expected[start..], &found[start..]);
    let end = left.iter().rev().zip(right.iter().rev()).take_while(|(left, right)| left == right).count();
    let ends = (0..end).map(|at| (Some(expected.len() - end + at), Some(found.len() - end + at)));
    let (left, right) = (&left[..left.len() - end], &right[..right.len() - end]);
    let pair = |at: usize| ((at < left.len()).then_some(start + at), (at < right.len()).then_some(start + at));
    let mut pairs: Vec<_> = (0..start).map(|at| (Some(at), Some(at))).collect();
    if left.len().saturating_mul(right.len()) > MOST {
        pairs.extend((0..left.len().max(right.len())).map(pair).chain(ends));
        return pairs;
    }
    // What differs at least between the rows from here on, by both places.
    let mut least = vec![vec![0; right.len() + 1]; left.len() + 1];
    let mut step = vec![vec![(1, 1); right.len() + 1]; left.len() + 1];
    for at in (0..=left.len()).rev() {
        for came in (0..=right.len()).rev() {
            let both = left.get(at).zip(right.get(came));
            let both = both.map(|(left, right)| (least[at + 1][came + 1] + 2 * differing(left, right), (1, 1)));
            let missing = left.get(at).map(|row| (least[at + 1][came] + members(row), (1, 0)));
            let more = right.get(came).map(|row| (least[at][came + 1] + members(row), (0, 1)));
            if let Some((cost, way)) = [both, missing, more].into_iter().flatten().min_by_key(|(cost, _)| *cost) {
                (least[at][came], step[at][came]) = (cost, way);
            }
        }
    }
    let (mut at, mut came) = (0, 0);
    while at < left.len() || came < right.len() {
        let (one, other) = step[at][came];
        pairs.push(((one > 0).then_some(start + at), (other > 0).then_some(start + came)));
        (at, came) = (at + one, came + other);
    }
    pairs.extend(ends);
    pairs
}

fn members(row: &Json) -> usize {
    if let Json::Object(members) = row { members.len().max(1) } else { 1 }
}

fn differing(left: &Json, right: &Json) -> usize {
    match (left, right) {
        (Json::Object(left), Json::Object(right)) => {
            let differ = left.iter().filter(|(name, value)| right.get(*name) != Some(value)).count();
            differ + right.keys().filter(|name| !left.contains_key(*name)).count()
        }
        _ => usize::from(left != right),
    }
}
