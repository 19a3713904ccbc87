//! How good verdicts are, in figures.

use super::model::Verdict;

/// What a person should know before trusting a classifier.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Figures {
    pub examples: usize,
    pub macro_f1: f64,
    pub accuracy: f64,
    /// Mean distance between probability and precision, over ten equally filled bins.
    pub calibration_error: f64,
    pub classes: Vec<ClassFigures>,
    /// `confusion[is][said]`, in the order of `classes`; the last column counts texts without a verdict.
    pub confusion: Vec<Vec<usize>>,
    /// What thresholds buy.
    pub thresholds: Vec<Threshold>,
}

#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct ClassFigures {
    pub class: String,
    pub examples: usize,
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
}

/// From this probability on, verdicts are that often right, and so many texts have one.
#[derive(Clone, Copy, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Threshold {
    pub threshold: f64,
    pub precision: f64,
    pub share: f64,
}

const BINS: usize = 10;
const SHOWN: [f64; 9] = [0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95];

impl Figures {
    /// Compares verdicts with labels, both in the order of the examples.
    pub fn new(classes: &[String], labels: &[usize], verdicts: &[Option<Verdict>]) -> Figures {
        let mut confusion = vec![vec![0; classes.len() + 1]; classes.len()];
        for (label, verdict) in labels.iter().zip(verdicts) {
            confusion[*label][verdict.map_or(classes.len(), |verdict| verdict.class)] += 1;
        }
        let of_class = |class: usize| {
            let right = confusion[class][class] as f64;
            let is: usize = confusion[class].iter().sum();
            let said: usize = confusion.iter().map(|row| row[class]).sum();
            ClassFigures {
                class: classes[class].clone(),
                examples: is,
                precision: round(right / said.max(1) as f64),
                recall: round(right / is.max(1) as f64),
                f1: round(2.0 * right / (is + said).max(1) as f64),
            }
        };
        let by_class: Vec<ClassFigures> = (0..classes.len()).map(of_class).collect();
        // A class without examples tells nothing.
        let seen: Vec<&ClassFigures> = by_class.iter().filter(|one| one.examples > 0).collect();
        let macro_f1 = seen.iter().map(|one| one.f1).sum::<f64>() / seen.len().max(1) as f64;
        let right: usize = (0..classes.len()).map(|class| confusion[class][class]).sum();
        let ranked = ranked(labels, verdicts);
        Figures {
            examples: labels.len(),
            macro_f1: round(macro_f1),
            accuracy: round(right as f64 / labels.len().max(1) as f64),
            calibration_error: round(calibration_error(&ranked)),
            classes: by_class,
            confusion,
            thresholds: SHOWN.iter().map(|threshold| at(&ranked, *threshold, labels.len())).collect(),
        }
    }
}

impl Figures {
    /// How many verdicts there were from this probability on, or from the next lower one that was counted.
    pub fn said_from(&self, threshold: f32) -> usize {
        let counted = self.thresholds.iter().rev().find(|counted| counted.threshold as f32 <= threshold);
        counted.map_or(0, |counted| (counted.share * self.examples as f64).round() as usize)
    }
}

/// How many verdicts, all of them right, it takes to say with a confidence of 95 % that the precision is this one: the rule
/// of three. Of 1 that cannot be said; it wants as many as 0.999.
pub fn bearing(precision: f64) -> usize {
    (3.0 / (1.0 - precision.min(0.999))).round() as usize
}

/// Probabilities with whether they were right, the highest first.
fn ranked(labels: &[usize], verdicts: &[Option<Verdict>]) -> Vec<(f32, bool)> {
    let said = labels.iter().zip(verdicts).filter_map(|(label, verdict)| verdict.map(|verdict| (label, verdict)));
    let mut ranked: Vec<(f32, bool)> =
        said.map(|(label, verdict)| (verdict.probability(), verdict.class == *label)).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
    ranked
}

fn calibration_error(ranked: &[(f32, bool)]) -> f64 {
    let size = ranked.len().div_ceil(BINS).max(1);
    let gap = |bin: &[(f32, bool)]| {
        let promised: f64 = bin.iter().map(|(probability, _)| f64::from(*probability)).sum();
        (promised - bin.iter().filter(|(_, right)| *right).count() as f64).abs()
    };
    ranked.chunks(size).map(gap).sum::<f64>() / ranked.len().max(1) as f64
}

fn at(ranked: &[(f32, bool)], threshold: f64, all: usize) -> Threshold {
    // As verdicts are compared, or those that are just at it would be left out.
    let least = threshold as f32;
    let above = ranked.iter().take_while(|(probability, _)| *probability >= least);
    let (said, right) = above.fold((0, 0), |(said, right), (_, is)| (said + 1, right + usize::from(*is)));
    let part = |of: usize, all: usize| round(of as f64 / all.max(1) as f64);
    Threshold { threshold, precision: part(right, said), share: part(said, all) }
}

/// To millionths, which any reader of JSON gives back as they were.
fn round(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// What no probability reaches.
const UNREACHED: u32 = 101;

/// Whether verdicts can be certain at this threshold.
pub fn reachable(threshold: f32) -> bool {
    threshold <= 1.0
}

/// The lowest threshold, in hundredths, from which verdicts are right as often as `precision` asks. Where there is none it
/// is above 1: then no verdict is certain.
pub(super) fn threshold(labels: &[usize], verdicts: &[Option<Verdict>], precision: f64) -> f32 {
    let ranked = ranked(labels, verdicts);
    let enough = |hundredths: &u32| at(&ranked, f64::from(*hundredths) / 100.0, labels.len()).precision >= precision;
    (0..=100).find(enough).unwrap_or(UNREACHED) as f32 / 100.0
}
