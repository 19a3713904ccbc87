//! From scores to probabilities that mean what they say.
//!
//! Scores of a linear machine only rank. On texts that the machine has not learned from we look for the slope and the
//! shift per class that make `softmax(slope · score + shift)` most likely, so that of the verdicts with 0.9 nine of ten
//! are right. What is left is bent straight by a logistic curve over the largest probability.

use super::model::best;

/// Slope and shifts.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    pub slope: f32,
    pub shifts: Vec<f32>,
    /// Shift and slope of the last step, over the log odds of the largest probability.
    pub bend: [f32; 2],
}

/// Pull of the shifts towards zero, in examples.
const CAUTION: f64 = 5.0;
const STEPS: usize = 400;

impl Calibration {
    /// Leaves scores as they rank.
    pub(super) fn none(classes: usize) -> Calibration {
        Calibration { slope: 1.0, shifts: vec![0.0; classes], bend: [0.0, 1.0] }
    }

    /// The most probable class and its probability. Overwrites the scores.
    pub fn verdict(&self, scores: &mut [f32]) -> (usize, f32) {
        for (score, shift) in scores.iter_mut().zip(&self.shifts) {
            *score = *score * self.slope + shift;
        }
        softmax(scores);
        let (class, probability) = best(scores);
        (class, logistic(self.bend[0] + self.bend[1] * odds(probability)))
    }

    /// Fits to `classes` scores per example and the class it has.
    pub fn fit(scores: &[f32], labels: &[usize], classes: usize) -> Calibration {
        let start = std::iter::once(2.0).chain(std::iter::repeat_n(0.0, classes)).collect();
        let at = descend(start, |at, gradient| multinomial(scores, labels, at, gradient));
        let shifts = at[1..].iter().map(|shift| *shift as f32).collect();
        let mut fitted = Calibration { slope: at[0] as f32, shifts, bend: [0.0, 1.0] };
        let judged = scores.chunks(classes).zip(labels).map(|(scores, label)| {
            let (class, probability) = fitted.verdict(&mut scores.to_vec());
            (odds(probability), class == *label)
        });
        let judged: Vec<(f32, bool)> = judged.collect();
        let bend = descend(vec![0.0, 1.0], |at, gradient| binomial(&judged, at, gradient));
        fitted.bend = [bend[0] as f32, bend[1] as f32];
        fitted
    }
}

fn odds(probability: f32) -> f32 {
    let inside = probability.clamp(1e-6, 1.0 - 1e-6);
    (inside / (1.0 - inside)).ln()
}

fn logistic(odds: f32) -> f32 {
    1.0 / (1.0 + (-odds).exp())
}

/// Goes downhill with steps that grow while they help.
fn descend(mut at: Vec<f64>, loss: impl Fn(&[f64], &mut [f64]) -> f64) -> Vec<f64> {
    let mut slope = vec![0.0; at.len()];
    let (mut step, mut now) = (1.0, loss(&at, &mut slope));
    for _ in 0..STEPS {
        let next: Vec<f64> = at.iter().zip(&slope).map(|(value, down)| value - step * down).collect();
        let mut there = vec![0.0; at.len()];
        let less = loss(&next, &mut there);
        if less <= now {
            (at, slope, now, step) = (next, there, less, step * 1.3);
        } else {
            step *= 0.5;
        }
    }
    at
}

/// Mean negative log-likelihood that verdicts with these log odds are right, and its gradient.
fn binomial(judged: &[(f32, bool)], at: &[f64], gradient: &mut [f64]) -> f64 {
    let examples = judged.len().max(1) as f64;
    let mut loss = 0.0;
    for (odds, right) in judged {
        let (odds, side) = (f64::from(*odds), if *right { 1.0 } else { -1.0 });
        let miss = 1.0 / (1.0 + (side * (at[0] + at[1] * odds)).exp());
        loss -= (1.0 - miss).max(1e-12).ln() / examples;
        gradient[0] -= side * miss / examples;
        gradient[1] -= side * miss * odds / examples;
    }
    loss
}

/// Mean negative log-likelihood, and its gradient.
fn multinomial(scores: &[f32], labels: &[usize], at: &[f64], gradient: &mut [f64]) -> f64 {
    let classes = at.len() - 1;
    let examples = labels.len().max(1) as f64;
    let mut loss = 0.0;
    for (scores, label) in scores.chunks(classes).zip(labels) {
        let logit = |class: usize| f64::from(scores[class]) * at[0] + at[class + 1];
        let most = (0..classes).map(logit).fold(f64::MIN, f64::max);
        let sum: f64 = (0..classes).map(|class| (logit(class) - most).exp()).sum();
        loss += most + sum.ln() - logit(*label);
        for class in 0..classes {
            let excess = (logit(class) - most).exp() / sum - if class == *label { 1.0 } else { 0.0 };
            gradient[0] += excess * f64::from(scores[class]);
            gradient[class + 1] += excess;
        }
    }
    for (value, down) in at[1..].iter().zip(&mut gradient[1..]) {
        loss += CAUTION * value * value / 2.0;
        *down += CAUTION * value;
    }
    gradient.iter_mut().for_each(|down| *down /= examples);
    loss / examples
}

pub(super) fn softmax(values: &mut [f32]) {
    let most = values.iter().copied().fold(f32::MIN, f32::max);
    values.iter_mut().for_each(|value| *value = (*value - most).exp());
    let sum: f32 = values.iter().sum();
    values.iter_mut().for_each(|value| *value /= sum);
}
