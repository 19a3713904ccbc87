//! Which texts are the same petition again, so that none is tested on what it has learned from.
//!
//! People send a petition twice, to two offices, or follow up with most of it quoted. Texts that share much are put into
//! one group, and a group goes into one fold as a whole. Candidates are found by MinHash, then compared truly.

use hashbrown::HashMap;

use super::{
    grams,
    learn::{Dice, Example},
};

/// Neighbouring characters that make a shingle.
const SHINGLE: usize = 4;
/// Shared shingles of all shingles of both, from which two texts are related.
const ALIKE: f32 = 0.3;
/// Shared shingles of the shorter text's, from which it is a quotation.
const QUOTED: f32 = 0.6;
/// Shingles that a text needs before it can be called a quotation.
const ENOUGH: usize = 30;
/// Characters of a title from which equal titles mean related texts.
const TITLE: usize = 6;
const BANDS: usize = 64;
/// Texts of one band that are compared with each other.
const CROWD: usize = 50;

/// The group of each example, numbered from 0.
pub fn groups(examples: &[Example]) -> Vec<usize> {
    let shingles: Vec<Vec<u32>> = examples.iter().map(shingles).collect();
    let mut parents: Vec<usize> = (0..examples.len()).collect();
    let mut titles: HashMap<Vec<u32>, usize> = HashMap::new();
    for (place, example) in examples.iter().enumerate() {
        let title = grams::tokens(&example.title, usize::MAX);
        if title.len() >= TITLE {
            let first = *titles.entry(title).or_insert(place);
            join(&mut parents, first, place);
        }
    }
    let mut dice = Dice(0);
    let factors: Vec<(u64, u64)> = (0..2 * BANDS).map(|_| (dice.roll() | 1, dice.roll())).collect();
    let marks: Vec<Vec<u32>> = shingles.iter().map(|shingles| marks(shingles, &factors)).collect();
    for band in 0..BANDS {
        let mut together: HashMap<&[u32], Vec<usize>> = HashMap::new();
        for (place, marks) in marks.iter().enumerate().filter(|(_, marks)| !marks.is_empty()) {
            let crowd = together.entry(&marks[2 * band..][..2]).or_default();
            for other in crowd.iter().copied() {
                let known = root(&mut parents, other) == root(&mut parents, place);
                if !known && related(&shingles[other], &shingles[place]) {
                    join(&mut parents, other, place);
                }
            }
            if crowd.len() < CROWD {
                crowd.push(place);
            }
        }
    }
    let mut numbers: HashMap<usize, usize> = HashMap::new();
    (0..examples.len())
        .map(|place| {
            let next = numbers.len();
            *numbers.entry(root(&mut parents, place)).or_insert(next)
        })
        .collect()
}

/// The fold of each example, groups undivided.
pub fn folds(groups: &[usize], folds: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..groups.iter().max().map_or(0, |most| most + 1)).collect();
    Dice(seed).shuffle(&mut order);
    let mut fold_of = vec![0; order.len()];
    order.iter().enumerate().for_each(|(place, group)| fold_of[*group] = place % folds);
    groups.iter().map(|group| fold_of[*group]).collect()
}

fn shingles(example: &Example) -> Vec<u32> {
    let mut tokens = grams::tokens(&example.content, usize::MAX);
    tokens.extend(grams::tokens(&example.title, usize::MAX));
    let mix = |window: &[u32]| {
        let hash = window.iter().fold(0_u64, |hash, token| (hash ^ u64::from(*token)).wrapping_mul(0x0100_0000_01b3));
        (hash ^ (hash >> 32)) as u32
    };
    let mut shingles: Vec<u32> = match tokens.len() {
        0 => Vec::new(),
        length if length < SHINGLE => vec![mix(&tokens)],
        _ => tokens.windows(SHINGLE).map(mix).collect(),
    };
    shingles.sort_unstable();
    shingles.dedup();
    shingles
}

fn marks(shingles: &[u32], factors: &[(u64, u64)]) -> Vec<u32> {
    if shingles.is_empty() {
        return Vec::new();
    }
    let least = |(times, plus): &(u64, u64)| {
        let mark = |shingle: &u32| (u64::from(*shingle).wrapping_mul(*times).wrapping_add(*plus) >> 32) as u32;
        shingles.iter().map(mark).min().unwrap_or(u32::MAX)
    };
    factors.iter().map(least).collect()
}

fn related(a: &[u32], b: &[u32]) -> bool {
    let (mut left, mut right, mut shared) = (0, 0, 0_usize);
    while left < a.len() && right < b.len() {
        match a[left].cmp(&b[right]) {
            std::cmp::Ordering::Less => left += 1,
            std::cmp::Ordering::Greater => right += 1,
            std::cmp::Ordering::Equal => (left, right, shared) = (left + 1, right + 1, shared + 1),
        }
    }
    let (shorter, all) = (a.len().min(b.len()), a.len() + b.len() - shared);
    let part = |of: usize| shared as f32 / of.max(1) as f32;
    part(all) > ALIKE || (shorter > ENOUGH && part(shorter) > QUOTED)
}

fn root(parents: &mut [usize], mut place: usize) -> usize {
    while parents[place] != place {
        parents[place] = parents[parents[place]];
        place = parents[place];
    }
    place
}

fn join(parents: &mut [usize], a: usize, b: usize) {
    let (a, b) = (root(parents, a), root(parents, b));
    parents[a.max(b)] = a.min(b);
}
