//! Learns weights from labelled texts: one linear machine per class against the rest.
//!
//! L2-regularized squared hinge loss, solved in its dual by coordinate descent (Hsieh et al., 2008), all classes in one
//! pass over the examples. Each text is shown three times: whole, its title alone, its content alone. That keeps a loud
//! title from hiding what the content could teach, and is worth half a point of F1.
//!
//! Importance of a feature is how rare it is times how unevenly the classes use it. The same examples and seed give the
//! same weights, bit for bit.

use super::model::{Features, Weights, count, lanes, length, strength};

/// A labelled text.
#[derive(Clone, PartialEq, Debug)]
pub struct Example {
    pub title: String,
    pub content: String,
    /// Position of its label in the list of classes.
    pub class: usize,
}

/// How to learn. The defaults were measured; see the README.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    pub features: Features,
    pub seed: u64,
    /// Price of an example on the wrong side: higher follows the examples more closely.
    pub cost: f32,
    /// Passes over the examples.
    pub passes: usize,
    /// Keep this many features, the strongest.
    pub keep: usize,
    /// Show titles and contents alone too.
    pub apart: bool,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { features: Features::default(), seed: 1, cost: 1.0, passes: 12, keep: 60_000, apart: true }
    }
}

/// A feature in fewer texts teaches nothing.
const FEWEST: u32 = 2;
/// Part of the importance that does not depend on the classes.
const EVEN: f32 = 0.3;
/// Added to the counts of a feature by class.
const SMOOTH: f32 = 0.3;

/// Learns from `examples[i]` for the places `i` in `of`.
pub(super) fn learn(examples: &[Example], of: &[usize], classes: usize, plan: &Plan) -> Weights {
    let lanes = lanes(classes).expect("the number of classes was checked when the data were read");
    let mut known = Known::new(examples, of, classes, &plan.features);
    let labels: Vec<usize> = of.iter().map(|place| examples[*place].class).collect();
    let counted: Vec<[Counts; 2]> = of.iter().map(|place| counts(&examples[*place], &plan.features)).collect();
    let mut solved = solve(&known.views(&counted, &labels, plan.apart), classes, lanes, plan);
    if known.importance.iter().filter(|value| **value > 0).count() > plan.keep {
        prune(&mut known.importance, &solved, lanes, plan.keep);
        solved = solve(&known.views(&counted, &labels, plan.apart), classes, lanes, plan);
    }
    quantize(&solved, &known.importance, classes, lanes)
}

/// How often each bucket stands in a field.
type Counts = Vec<(u32, u8)>;

fn counts(example: &Example, features: &Features) -> [Counts; 2] {
    [&example.title, &example.content].map(|text| {
        let mut counts = count(text, features, <[_]>::to_vec);
        counts.sort_unstable();
        counts
    })
}

/// 0 for what is not worth knowing, up to 255.
fn importance(counted: &[[Counts; 2]], labels: &[usize], classes: usize, bits: u32) -> Vec<u8> {
    let buckets = 1_usize << bits;
    let mut texts = vec![0_u32; buckets * classes];
    let mut in_class = vec![0_f32; classes];
    for (fields, class) in counted.iter().zip(labels) {
        in_class[*class] += 1.0;
        let mut seen: Vec<u32> = fields.iter().flatten().map(|(bucket, _)| *bucket).collect();
        seen.sort_unstable();
        seen.dedup();
        seen.iter().for_each(|bucket| texts[*bucket as usize * classes + class] += 1);
    }
    let all = labels.len() as f32;
    let mut worth = vec![0.0_f32; buckets];
    for (worth, texts) in worth.iter_mut().zip(texts.chunks(classes)) {
        let total: u32 = texts.iter().sum();
        if total < FEWEST {
            continue;
        }
        let rarity = ((1.0 + all) / (1.0 + total as f32)).ln() + 1.0;
        let shares: Vec<f32> =
            texts.iter().zip(&in_class).map(|(n, all)| (*n as f32 + SMOOTH) / (all + SMOOTH * 50.0)).collect();
        let sum: f32 = shares.iter().sum();
        let disorder: f32 = shares.iter().map(|share| -(share / sum) * (share / sum).ln()).sum();
        *worth = rarity * (EVEN + 1.0 - disorder / (classes as f32).ln().max(f32::MIN_POSITIVE));
    }
    let most = worth.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    worth.iter().map(|worth| if *worth > 0.0 { (worth / most * 255.0).round().max(1.0) as u8 } else { 0 }).collect()
}

/// Sparse vectors, one after the other.
#[derive(Default)]
struct Vectors {
    starts: Vec<usize>,
    buckets: Vec<u32>,
    values: Vec<f32>,
    labels: Vec<usize>,
}

impl Vectors {
    fn push(&mut self, vector: impl Iterator<Item = (u32, f32)>, label: usize) {
        let start = self.buckets.len();
        for (bucket, value) in vector {
            self.buckets.push(bucket);
            self.values.push(value);
        }
        if self.buckets.len() > start {
            self.starts.push(start);
            self.labels.push(label);
        }
    }

    fn get(&self, place: usize) -> impl Iterator<Item = (usize, f32)> {
        let end = self.starts.get(place + 1).copied().unwrap_or(self.buckets.len());
        let range = self.starts[place]..end;
        self.buckets[range.clone()].iter().map(|bucket| *bucket as usize).zip(self.values[range].iter().copied())
    }
}

/// What the features are worth: all that turns counts into a vector.
pub(super) struct Known {
    importance: Vec<u8>,
    features: Features,
}

impl Known {
    pub fn new(examples: &[Example], of: &[usize], classes: usize, features: &Features) -> Known {
        let counted: Vec<[Counts; 2]> = of.iter().map(|place| counts(&examples[*place], features)).collect();
        let labels: Vec<usize> = of.iter().map(|place| examples[*place].class).collect();
        Known { importance: importance(&counted, &labels, classes, features.bits), features: features.clone() }
    }

    /// A whole text.
    pub fn vector(&self, example: &Example) -> Vec<(u32, f32)> {
        let [title, content] = self.fields(&counts(example, &self.features));
        merge(&title, &content)
    }

    /// Each text whole, and if `apart` its title alone and its content alone.
    fn views(&self, counted: &[[Counts; 2]], labels: &[usize], apart: bool) -> Vectors {
        let mut vectors = Vectors::default();
        for (counts, label) in counted.iter().zip(labels) {
            let [title, content] = self.fields(counts);
            vectors.push(merge(&title, &content).into_iter(), *label);
            if apart && !title.is_empty() && !content.is_empty() {
                vectors.push(title.into_iter(), *label);
                vectors.push(content.into_iter(), *label);
            }
        }
        vectors
    }

    fn fields(&self, counts: &[Counts; 2]) -> [Vec<(u32, f32)>; 2] {
        [self.field(&counts[0], self.features.title), self.field(&counts[1], 1.0)]
    }

    fn field(&self, counts: &Counts, weight: f32) -> Vec<(u32, f32)> {
        let worth = |bucket: u32, count: u8| strength(count) as u64 * u64::from(self.importance[bucket as usize]);
        let known =
            || counts.iter().map(|(bucket, count)| (*bucket, worth(*bucket, *count))).filter(|known| known.1 > 0);
        let square: u64 = known().map(|(_, worth)| worth * worth).sum();
        let share = weight / length(square, &self.features);
        known().map(|(bucket, worth)| (bucket, worth as f32 * share)).collect()
    }
}

/// The sum of two vectors, both in the order of their buckets.
fn merge(a: &[(u32, f32)], b: &[(u32, f32)]) -> Vec<(u32, f32)> {
    let mut both: Vec<(u32, f32)> = a.iter().chain(b).copied().collect();
    both.sort_by_key(|(bucket, _)| *bucket);
    both.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 += next.1;
        }
        same
    });
    both
}

/// Weights in full precision, by bucket and lane, and the bias in the last row.
fn solve(vectors: &Vectors, classes: usize, lanes: usize, plan: &Plan) -> Vec<f32> {
    let (examples, ridge) = (vectors.labels.len(), 0.5 / plan.cost);
    let bias = (1_usize << plan.features.bits) * lanes;
    let mut weights = vec![0.0_f32; bias + lanes];
    let mut alphas = vec![0.0_f32; examples * classes];
    let squares: Vec<f32> =
        (0..examples).map(|place| vectors.get(place).map(|(_, value)| value * value).sum::<f32>() + 1.0).collect();
    let mut order: Vec<usize> = (0..examples).collect();
    let mut dice = Dice(plan.seed);
    let (mut sums, mut steps) = (vec![0.0_f32; lanes], vec![0.0_f32; lanes]);
    for _ in 0..plan.passes {
        dice.shuffle(&mut order);
        for place in order.iter().copied() {
            sums.copy_from_slice(&weights[bias..]);
            for (bucket, value) in vectors.get(place) {
                let row = &weights[bucket * lanes..][..lanes];
                sums.iter_mut().zip(row).for_each(|(sum, weight)| *sum += weight * value);
            }
            let mut moves = false;
            for class in 0..classes {
                let side = if vectors.labels[place] == class { 1.0 } else { -1.0 };
                let alpha = &mut alphas[place * classes + class];
                let slope = side * sums[class] - 1.0 + ridge * *alpha;
                let next = (*alpha - slope / (squares[place] + ridge)).max(0.0);
                steps[class] = (next - *alpha) * side;
                moves |= steps[class].abs() > 1e-6;
                *alpha = next;
            }
            if !moves {
                continue;
            }
            for (bucket, value) in vectors.get(place).chain([(bias / lanes, 1.0)]) {
                let row = &mut weights[bucket * lanes..][..lanes];
                row.iter_mut().zip(&steps).for_each(|(weight, step)| *weight += step * value);
            }
        }
    }
    weights
}

/// Forgets all but the `keep` features that move scores most.
fn prune(importance: &mut [u8], weights: &[f32], lanes: usize, keep: usize) {
    let force = |bucket: usize| {
        let row = &weights[bucket * lanes..][..lanes];
        row.iter().fold(0.0_f32, |most, weight| most.max(weight.abs())) * f32::from(importance[bucket])
    };
    let mut known: Vec<(usize, f32)> =
        (0..importance.len()).filter(|bucket| importance[*bucket] > 0).map(|bucket| (bucket, force(bucket))).collect();
    known.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    known.iter().skip(keep).for_each(|(bucket, _)| importance[*bucket] = 0);
}

/// One byte per weight, the importance multiplied in.
fn quantize(weights: &[f32], importance: &[u8], classes: usize, lanes: usize) -> Weights {
    let worth = |bucket: usize, class: usize| weights[bucket * lanes + class] * f32::from(importance[bucket]);
    let buckets = importance.len();
    let scales: Vec<f32> = (0..classes)
        .map(|class| {
            let most = (0..buckets).map(|bucket| worth(bucket, class).abs()).fold(0.0, f32::max);
            (most / 127.0).max(f32::MIN_POSITIVE)
        })
        .collect();
    let mut rows = vec![0_i8; buckets * lanes];
    for (bucket, row) in rows.chunks_mut(lanes).enumerate().filter(|(bucket, _)| importance[*bucket] > 0) {
        for class in 0..classes {
            row[class] = (worth(bucket, class) / scales[class]).round() as i8;
        }
        row[lanes - 1] = importance[bucket] as i8;
    }
    let bias = weights[buckets * lanes..][..classes].to_vec();
    Weights { lanes, rows, scales, bias }
}

/// Seeded numbers (splitmix64): the order of training must not depend on a library's version.
pub(super) struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.roll() % limit.max(1) as u64) as usize
    }

    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for place in (1..list.len()).rev() {
            list.swap(place, self.below(place + 1));
        }
    }
}
