//! Other classifiers, for comparison only: what the shipped one has to beat.

use super::{
    calibrate::softmax,
    grams,
    learn::{self, Dice, Example, Plan},
    model::{Features, count},
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rival {
    /// The shipped kind without showing titles and contents apart.
    OneView,
    /// Multinomial naive Bayes over the same features.
    NaiveBayes,
    /// Multinomial logistic regression over the same features.
    Logistic,
    /// A mean of learned vectors of characters and pairs, then a softmax, as fastText does it.
    Bag,
    /// Mean probability of the shipped kind, naive Bayes and the bag.
    Average,
}

impl Rival {
    pub const ALL: [Rival; 5] = [Rival::OneView, Rival::NaiveBayes, Rival::Logistic, Rival::Bag, Rival::Average];

    pub fn name(self) -> &'static str {
        match self {
            Rival::OneView => "linear, whole texts only",
            Rival::NaiveBayes => "naive Bayes",
            Rival::Logistic => "logistic regression",
            Rival::Bag => "bag of embeddings",
            Rival::Average => "average of three",
        }
    }
}

/// Scores of the examples `against` by what `rival` learns from the examples `of`.
pub(super) fn judge(
    rival: Rival,
    examples: &[Example],
    of: &[usize],
    against: &[usize],
    classes: usize,
    plan: &Plan,
) -> Vec<Vec<f32>> {
    match rival {
        Rival::OneView => linear(examples, of, against, classes, &Plan { apart: false, ..plan.clone() }),
        Rival::NaiveBayes => naive_bayes(examples, of, against, classes, &plan.features),
        Rival::Logistic => logistic(examples, of, against, classes, plan),
        Rival::Bag => bag(examples, of, against, classes, plan),
        Rival::Average => {
            // Slopes that make the three comparable; the calibration that follows does the rest.
            let mut sum = linear(examples, of, against, classes, plan);
            sum.iter_mut().for_each(|scores| sharpen(scores, 4.0));
            for (mut more, slope) in [
                (naive_bayes(examples, of, against, classes, &plan.features), 0.05),
                (bag(examples, of, against, classes, plan), 1.0),
            ] {
                for (sum, scores) in sum.iter_mut().zip(&mut more) {
                    sharpen(scores, slope);
                    sum.iter_mut().zip(scores).for_each(|(sum, score)| *sum += *score);
                }
            }
            sum
        }
    }
}

fn sharpen(scores: &mut [f32], slope: f32) {
    scores.iter_mut().for_each(|score| *score *= slope);
    softmax(scores);
}

fn linear(examples: &[Example], of: &[usize], against: &[usize], classes: usize, plan: &Plan) -> Vec<Vec<f32>> {
    let model = super::train::raw(learn::learn(examples, of, classes, plan), classes, plan);
    let score = |place: &usize| {
        let mut scores = vec![0.0; classes];
        model.scores(&examples[*place].title, &examples[*place].content, &mut scores);
        scores
    };
    against.iter().map(score).collect()
}

/// Counts of both fields together, the title's double.
fn counts(example: &Example, features: &Features) -> Vec<(u32, f32)> {
    let mut counts = Vec::new();
    for (text, weight) in [(&example.title, 2.0), (&example.content, 1.0)] {
        let weighed = |(bucket, count): &(u32, u8)| (*bucket, weight * f32::from(*count));
        count(text, features, |counted| counts.extend(counted.iter().map(weighed)));
    }
    counts.sort_unstable_by_key(|(bucket, _)| *bucket);
    counts
}

fn naive_bayes(
    examples: &[Example],
    of: &[usize],
    against: &[usize],
    classes: usize,
    features: &Features,
) -> Vec<Vec<f32>> {
    const SMOOTH: f32 = 0.1;
    let mut seen = vec![SMOOTH; (1 << features.bits) * classes];
    let mut in_class = vec![1.0_f32; classes];
    for place in of {
        in_class[examples[*place].class] += 1.0;
        for (bucket, count) in counts(&examples[*place], features) {
            seen[bucket as usize * classes + examples[*place].class] += 1.0 + count.ln();
        }
    }
    let mut sums = vec![0.0_f32; classes];
    seen.chunks(classes).for_each(|row| sums.iter_mut().zip(row).for_each(|(sum, count)| *sum += count));
    let score = |place: &usize| {
        let mut scores: Vec<f32> = in_class.iter().map(|count| count.ln()).collect();
        for (bucket, count) in counts(&examples[*place], features) {
            let row = &seen[bucket as usize * classes..][..classes];
            for ((score, seen), sum) in scores.iter_mut().zip(row).zip(&sums) {
                *score += (1.0 + count.ln()) * (seen / sum).ln();
            }
        }
        scores
    };
    against.iter().map(score).collect()
}

/// AdaGrad over the vectors of the shipped kind.
fn logistic(examples: &[Example], of: &[usize], against: &[usize], classes: usize, plan: &Plan) -> Vec<Vec<f32>> {
    const RATE: f32 = 0.5;
    const DECAY: f32 = 1e-6;
    let known = learn::Known::new(examples, of, classes, &plan.features);
    let vectors: Vec<Vec<(u32, f32)>> = of.iter().map(|place| known.vector(&examples[*place])).collect();
    let mut weights = vec![0.0_f32; (1 << plan.features.bits) * classes];
    let mut squares = vec![1e-3_f32; weights.len()];
    let mut order: Vec<usize> = (0..of.len()).collect();
    let mut dice = Dice(plan.seed);
    for _ in 0..2 * plan.passes {
        dice.shuffle(&mut order);
        for place in order.iter().copied() {
            let mut scores = dot(&weights, &vectors[place], classes);
            softmax(&mut scores);
            scores[examples[of[place]].class] -= 1.0;
            for (bucket, value) in &vectors[place] {
                for (class, excess) in scores.iter().enumerate() {
                    let at = *bucket as usize * classes + class;
                    let slope = excess * value + DECAY * weights[at];
                    squares[at] += slope * slope;
                    weights[at] -= RATE * slope / squares[at].sqrt();
                }
            }
        }
    }
    against.iter().map(|place| dot(&weights, &known.vector(&examples[*place]), classes)).collect()
}

fn dot(weights: &[f32], vector: &[(u32, f32)], classes: usize) -> Vec<f32> {
    let mut scores = vec![0.0; classes];
    for (bucket, value) in vector {
        let row = &weights[*bucket as usize * classes..][..classes];
        scores.iter_mut().zip(row).for_each(|(score, weight)| *score += weight * value);
    }
    scores
}

fn bag(examples: &[Example], of: &[usize], against: &[usize], classes: usize, plan: &Plan) -> Vec<Vec<f32>> {
    const WIDTH: usize = 32;
    const PASSES: usize = 20;
    let mut dice = Dice(plan.seed);
    let mut vectors: Vec<f32> = (0..(1 << plan.features.bits) * WIDTH)
        .map(|_| ((dice.roll() >> 40) as f32 / (1 << 24) as f32 - 0.5) / WIDTH as f32)
        .collect();
    let mut output = vec![0.0_f32; classes * WIDTH];
    let buckets = |place: usize| {
        let example = &examples[place];
        let mut buckets = Vec::new();
        for text in [&example.title, &example.title, &example.content] {
            grams::each(text, plan.features.longest, plan.features.bits, |bucket, _, _| buckets.push(bucket as usize));
        }
        buckets
    };
    let mean = |vectors: &[f32], buckets: &[usize]| {
        let mut mean = vec![0.0_f32; WIDTH];
        for bucket in buckets {
            mean.iter_mut().zip(&vectors[bucket * WIDTH..][..WIDTH]).for_each(|(sum, value)| *sum += value);
        }
        mean.iter_mut().for_each(|sum| *sum /= buckets.len().max(1) as f32);
        mean
    };
    let scores = |output: &[f32], mean: &[f32]| -> Vec<f32> {
        output.chunks(WIDTH).map(|row| row.iter().zip(mean).map(|(a, b)| a * b).sum()).collect()
    };
    let mut order = of.to_vec();
    let (mut done, all) = (0, (PASSES * of.len()) as f32);
    for _ in 0..PASSES {
        dice.shuffle(&mut order);
        for place in order.iter().copied() {
            let rate = 0.5 * (1.0 - done as f32 / all);
            done += 1;
            let buckets = buckets(place);
            let mean = mean(&vectors, &buckets);
            let mut excess = scores(&output, &mean);
            softmax(&mut excess);
            excess[examples[place].class] -= 1.0;
            let mut back = vec![0.0_f32; WIDTH];
            for (row, excess) in output.chunks_mut(WIDTH).zip(&excess) {
                for ((weight, value), back) in row.iter_mut().zip(&mean).zip(&mut back) {
                    *back += *weight * excess;
                    *weight -= rate * excess * value;
                }
            }
            // As fastText does it: the whole step to each feature, not its part of the mean.
            let step = rate / (buckets.len().max(1) as f32).sqrt();
            for bucket in &buckets {
                vectors[bucket * WIDTH..][..WIDTH]
                    .iter_mut()
                    .zip(&back)
                    .for_each(|(value, back)| *value -= step * back);
            }
        }
    }
    against.iter().map(|place| scores(&output, &mean(&vectors, &buckets(*place)))).collect()
}
