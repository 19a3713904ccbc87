//! A trained classifier: one row of small whole numbers per feature, added up.
//!
//! A text is what is in its title and what is in its content, each as a vector of length one: a feature counts by the
//! logarithm of how often it stands there, times its importance. The scores of the classes are linear in that vector, so
//! each of them is explained by the features that added most. All sums are of integers: the same text has the same
//! scores on any machine and in any order.

use std::cell::RefCell;

use super::{calibrate::Calibration, grams};

/// What a text is turned into. Part of the weights: another setting is another model.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Features {
    /// There are `1 << bits` buckets.
    pub bits: u32,
    /// Characters of a title and of a content that are looked at; what comes later changes nothing.
    pub longest: usize,
    /// Weight of the title, the content's being one.
    pub title: f32,
    /// A field shorter than this (in the units of its vector) counts less: one character is no certainty.
    pub least: f32,
}

impl Default for Features {
    fn default() -> Features {
        Features { bits: 18, longest: 4096, title: 1.0, least: 3000.0 }
    }
}

/// Weights, and how to read them.
#[derive(Clone, PartialEq, Debug)]
pub struct Model {
    /// Tells weights apart, kept beside each class as lineage: a number for people and a hash of the weights.
    pub version: String,
    pub classes: Vec<String>,
    pub features: Features,
    pub calibration: Calibration,
    /// Below this probability a person should look; above 1 where no threshold has the wanted precision.
    pub threshold: f32,
    pub(super) weights: Weights,
}

/// The rows, `lanes` numbers each: a weight per class, then padding, then the importance.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Weights {
    pub lanes: usize,
    pub rows: Vec<i8>,
    /// What a weight of one is worth, by class.
    pub scales: Vec<f32>,
    pub bias: Vec<f32>,
}

/// Lanes that a number of classes takes, the importance included: few sizes, each with its own fast loop.
pub(super) fn lanes(classes: usize) -> Option<usize> {
    [8, 16, 32, 128].into_iter().find(|lanes| classes < *lanes)
}

/// What the classifier says of a text.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Verdict {
    /// Position in `classes`.
    pub class: usize,
    /// How often such a verdict is right, of a thousand.
    pub thousandths: u16,
}

impl Verdict {
    pub(super) fn new((class, probability): (usize, f32)) -> Verdict {
        Verdict { class, thousandths: (probability * 1000.0).round() as u16 }
    }

    pub fn probability(self) -> f32 {
        f32::from(self.thousandths) / 1000.0
    }
}

/// A feature of a text that spoke for its class.
#[derive(Clone, PartialEq, Debug)]
pub struct Reason {
    pub text: String,
    /// What it added to the class's score over its mean for all classes.
    pub weight: f32,
}

/// `16 (1 + ln count)`, by count.
pub(super) fn strength(count: u8) -> i32 {
    const STRENGTH: [u8; 256] = strengths();
    i32::from(STRENGTH[count as usize])
}

/// Fixed points of the logarithm, so that no machine's own rounding is in it: `ln 2` times the binary logarithm.
const fn strengths() -> [u8; 256] {
    let mut table = [0; 256];
    let mut count = 1;
    while count < 256 {
        // log2 in 1/4096 by squaring.
        let (mut whole, mut rest) = (0_u64, (count as u64) << 24);
        while rest >= 2 << 24 {
            rest >>= 1;
            whole += 1;
        }
        let (mut log2, mut bit) = (whole << 12, 1 << 11);
        while bit > 0 {
            rest = (rest * rest) >> 24;
            if rest >= 2 << 24 {
                rest >>= 1;
                log2 += bit;
            }
            bit >>= 1;
        }
        // 16 · ln 2 = 11.0904
        table[count] = (16 + (log2 * 110_904 / 10_000 + 2048) / 4096) as u8;
        count += 1;
    }
    table
}

/// Counters of a thread, all zero between two texts.
#[derive(Default)]
struct Scratch {
    counts: Vec<u8>,
    touched: Vec<(u32, u8)>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Counts the features of `text`: each bucket once, in the order of the text.
pub(super) fn count<R>(text: &str, features: &Features, use_them: impl FnOnce(&[(u32, u8)]) -> R) -> R {
    SCRATCH.with_borrow_mut(|Scratch { counts, touched }| {
        if counts.len() < 1 << features.bits {
            counts.resize(1 << features.bits, 0);
        }
        grams::each(text, features.longest, features.bits, |bucket, _, _| {
            let count = &mut counts[bucket as usize];
            if *count == 0 {
                touched.push((bucket, 0));
            }
            *count = count.saturating_add(1);
        });
        for (bucket, count) in touched.iter_mut() {
            *count = std::mem::take(&mut counts[*bucket as usize]);
        }
        let used = use_them(touched);
        touched.clear();
        used
    })
}

impl Model {
    /// The most probable class; `None` for a text without a single known feature.
    pub fn classify(&self, title: &str, content: &str) -> Option<Verdict> {
        let mut room = [0.0; 128];
        let scores = &mut room[..self.classes.len()];
        if !self.scores(title, content, scores) {
            return None;
        }
        Some(Verdict::new(self.calibration.verdict(scores)))
    }

    /// Scores before calibration. Tells whether there was any known feature.
    pub(super) fn scores(&self, title: &str, content: &str, scores: &mut [f32]) -> bool {
        scores.copy_from_slice(&self.weights.bias);
        let add: fn(&Model, &str, f32, &mut [f32]) -> bool = match self.weights.lanes {
            8 => Model::add_field::<8>,
            16 => Model::add_field::<16>,
            32 => Model::add_field::<32>,
            _ => Model::add_field::<128>,
        };
        let by_title = add(self, title, self.features.title, scores);
        let by_content = add(self, content, 1.0, scores);
        by_title || by_content
    }

    fn add_field<const LANES: usize>(&self, text: &str, weight: f32, scores: &mut [f32]) -> bool {
        let (rows, _) = self.weights.rows.as_chunks::<LANES>();
        let (sums, square) = count(text, &self.features, |counted| add_up(rows, counted));
        if square == 0 {
            return false;
        }
        let share = weight / self.length(square);
        for ((score, sum), scale) in scores.iter_mut().zip(sums).zip(&self.weights.scales) {
            *score += sum as f32 * scale * share;
        }
        true
    }

    fn length(&self, square: u64) -> f32 {
        length(square, &self.features)
    }

    /// The `most` features that spoke loudest for `class`, the strongest first.
    pub fn reasons(&self, title: &str, content: &str, class: usize, most: usize) -> Vec<Reason> {
        let mut found: Vec<Reason> = Vec::new();
        for (text, weight) in [(title, self.features.title), (content, 1.0)] {
            let mut square = 0_u64;
            let mut counts = count(text, &self.features, <[_]>::to_vec);
            for (bucket, count) in &counts {
                let length = strength(*count) as u64 * u64::from(self.row(*bucket)[self.weights.lanes - 1] as u8);
                square += length * length;
            }
            if square == 0 {
                continue;
            }
            counts.sort_unstable();
            let share = weight / self.length(square);
            let mut told = vec![false; counts.len()];
            grams::each(text, self.features.longest, self.features.bits, |bucket, start, end| {
                let Ok(at) = counts.binary_search_by_key(&bucket, |(bucket, _)| *bucket) else { return };
                if std::mem::replace(&mut told[at], true) {
                    return;
                }
                let worth = self.row(bucket).iter().zip(&self.weights.scales).map(|(w, s)| f32::from(*w) * s);
                let worth: Vec<f32> = worth.collect();
                let mean = worth.iter().sum::<f32>() / worth.len() as f32;
                let weight = (worth[class] - mean) * strength(counts[at].1) as f32 * share;
                match found.iter_mut().find(|reason| reason.text == text[start..end]) {
                    Some(reason) => reason.weight += weight,
                    None => found.push(Reason { text: text[start..end].to_owned(), weight }),
                }
            });
        }
        found.retain(|reason| reason.weight > 0.0);
        found.sort_by(|a, b| b.weight.total_cmp(&a.weight).then_with(|| a.text.cmp(&b.text)));
        found.truncate(most);
        found
    }

    fn row(&self, bucket: u32) -> &[i8] {
        &self.weights.rows[bucket as usize * self.weights.lanes..][..self.weights.lanes]
    }

    /// Features that have a weight.
    pub fn size(&self) -> usize {
        self.weights.rows.chunks(self.weights.lanes).filter(|row| row[self.weights.lanes - 1] != 0).count()
    }
}

/// The rows of the features, each as often as its count is worth, and the square of the vector's length.
fn add_up<const LANES: usize>(rows: &[[i8; LANES]], counted: &[(u32, u8)]) -> ([i32; LANES], u64) {
    let mut sums = [0_i32; LANES];
    let mut square = 0_u64;
    // Most features stand in a text once: in chunks, so that their sum fits into small numbers, and multiplied once.
    for chunk in counted.chunks(i16::MAX as usize / 128) {
        let mut once = [0_i16; LANES];
        for (bucket, count) in chunk {
            let (row, strength) = (&rows[*bucket as usize], strength(*count));
            if *count == 1 {
                for (sum, weight) in once.iter_mut().zip(row) {
                    *sum += i16::from(*weight);
                }
            } else {
                for (sum, weight) in sums.iter_mut().zip(row) {
                    *sum += strength * i32::from(*weight);
                }
            }
            let length = strength as u64 * u64::from(row[LANES - 1] as u8);
            square += length * length;
        }
        for (sum, once) in sums.iter_mut().zip(once) {
            *sum += strength(1) * i32::from(once);
        }
    }
    (sums, square)
}

/// Length of a field's vector, from the sum of squares of its integers.
pub(super) fn length(square: u64, features: &Features) -> f32 {
    (square as f32 + features.least * features.least).sqrt()
}

/// The largest and its place; the first of equal ones.
pub(super) fn best(values: &[f32]) -> (usize, f32) {
    let mut best = (0, f32::MIN);
    for (place, value) in values.iter().enumerate() {
        if *value > best.1 {
            best = (place, *value);
        }
    }
    best
}
