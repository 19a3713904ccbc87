//! The whole of learning: groups, folds, weights, calibration, threshold, figures.

use xxhash_rust::xxh3::xxh3_64;

use super::{
    calibrate::Calibration,
    file::{Trained, Training},
    groups,
    learn::{self, Example, Plan},
    measure::{self, Figures},
    model::{Model, Verdict, Weights},
    rivals::{self, Rival},
};

/// What `train` does beside the plan of each learning.
#[derive(Clone, PartialEq, Debug)]
pub struct Course {
    pub plan: Plan,
    /// Folds of the cross-validation that calibrates and measures.
    pub folds: usize,
    /// Precision that the threshold is chosen for.
    pub precision: f64,
    /// First part of the version.
    pub release: String,
}

/// Classes that a classifier can have.
pub const MOST_CLASSES: usize = 127;

/// Learns from all examples; calibration, threshold and figures come from texts that were held out. The error says why
/// nothing can be learned from these.
pub fn train(examples: &[Example], classes: &[String], course: &Course) -> Result<Trained, String> {
    let groups = groups::groups(examples);
    let folds = groups::folds(&groups, course.folds, course.plan.seed);
    let held_out = held_out(examples, classes, &folds, course.folds, &course.plan)?;
    let labels: Vec<usize> = examples.iter().map(|example| example.class).collect();
    let verdicts = calibrated(&held_out, &labels, &folds, course.folds);
    let all: Vec<usize> = (0..examples.len()).collect();
    let weights = learn::learn(examples, &all, classes.len(), &course.plan);
    let calibration = fit(&held_out, &labels, |_| true);
    let threshold = measure::threshold(&labels, &verdicts, course.precision);
    let model = Model {
        version: version(&course.release, &weights, &calibration, threshold),
        classes: classes.to_vec(),
        features: course.plan.features.clone(),
        calibration,
        threshold,
        weights,
    };
    let training = Training {
        examples: examples.len(),
        groups: groups.iter().max().map_or(0, |most| most + 1),
        seed: course.plan.seed,
        folds: course.folds,
        precision: course.precision,
        figures: Figures::new(classes, &labels, &verdicts),
    };
    Ok(Trained { model, training })
}

/// Cross-validation: each text is judged by weights that have learned from no text of its group.
pub fn validate(examples: &[Example], classes: &[String], plan: &Plan, count: usize) -> Result<Figures, String> {
    let folds = groups::folds(&groups::groups(examples), count, plan.seed);
    let held_out = held_out(examples, classes, &folds, count, plan)?;
    let labels: Vec<usize> = examples.iter().map(|example| example.class).collect();
    let verdicts = calibrated(&held_out, &labels, &folds, count);
    Ok(Figures::new(classes, &labels, &verdicts))
}

/// The same cross-validation for another kind of classifier.
pub fn compare(rival: Rival, examples: &[Example], classes: &[String], plan: &Plan, count: usize) -> Figures {
    let folds = groups::folds(&groups::groups(examples), count, plan.seed);
    let mut scores = vec![None; examples.len()];
    for fold in 0..count {
        let (of, against) = split(&folds, fold);
        let judged = rivals::judge(rival, examples, &of, &against, classes.len(), plan);
        against.into_iter().zip(judged).for_each(|(place, judged)| scores[place] = Some(judged));
    }
    let labels: Vec<usize> = examples.iter().map(|example| example.class).collect();
    Figures::new(classes, &labels, &calibrated(&scores, &labels, &folds, count))
}

/// How good a model is on texts it has not learned from.
pub fn evaluate(model: &Model, examples: &[Example]) -> Figures {
    let labels: Vec<usize> = examples.iter().map(|example| example.class).collect();
    let verdicts: Vec<Option<Verdict>> =
        examples.iter().map(|example| model.classify(&example.title, &example.content)).collect();
    Figures::new(&model.classes, &labels, &verdicts)
}

fn split(folds: &[usize], fold: usize) -> (Vec<usize>, Vec<usize>) {
    (0..folds.len()).partition(|place| folds[*place] != fold)
}

/// Scores of every example by weights that do not know its fold; `None` where there is no known feature, which must not
/// be so for all of them.
fn held_out(
    examples: &[Example],
    classes: &[String],
    folds: &[usize],
    count: usize,
    plan: &Plan,
) -> Result<Vec<Option<Vec<f32>>>, String> {
    let mut scores = vec![None; examples.len()];
    for fold in 0..count {
        let (of, against) = split(folds, fold);
        let model = raw(learn::learn(examples, &of, classes.len(), plan), classes.len(), plan);
        for place in against {
            let mut own = vec![0.0; classes.len()];
            if model.scores(&examples[place].title, &examples[place].content, &mut own) {
                scores[place] = Some(own);
            }
        }
    }
    match scores.iter().any(Option::is_some) {
        true => Ok(scores),
        false => {
            Err("no text has a feature (a character, or two) that a text of another fold has, and texts that are \
                      alike are in one fold: write more texts that differ"
                .to_owned())
        }
    }
}

/// A model that gives scores only.
pub(super) fn raw(weights: Weights, classes: usize, plan: &Plan) -> Model {
    let calibration = Calibration::none(classes);
    let (classes, features) = (vec![String::new(); classes], plan.features.clone());
    Model { version: String::new(), classes, features, calibration, threshold: 0.0, weights }
}

fn fit(scores: &[Option<Vec<f32>>], labels: &[usize], mut is_in: impl FnMut(usize) -> bool) -> Calibration {
    let classes = scores.iter().flatten().next().map_or(0, Vec::len);
    let (mut flat, mut right) = (Vec::new(), Vec::new());
    for (place, own) in scores.iter().enumerate() {
        if let Some(own) = own
            && is_in(place)
        {
            flat.extend_from_slice(own);
            right.push(labels[place]);
        }
    }
    Calibration::fit(&flat, &right, classes)
}

/// Verdicts, each fold calibrated on the others.
fn calibrated(scores: &[Option<Vec<f32>>], labels: &[usize], folds: &[usize], count: usize) -> Vec<Option<Verdict>> {
    let fitted: Vec<Calibration> = (0..count).map(|fold| fit(scores, labels, |place| folds[place] != fold)).collect();
    let verdict = |(place, own): (usize, &Option<Vec<f32>>)| {
        let mut own = own.clone()?;
        Some(Verdict::new(fitted[folds[place]].verdict(&mut own)))
    };
    scores.iter().enumerate().map(verdict).collect()
}

/// Two weights that differ anywhere never have the same version.
fn version(release: &str, weights: &Weights, calibration: &Calibration, threshold: f32) -> String {
    let mut bytes: Vec<u8> = weights.rows.iter().map(|weight| *weight as u8).collect();
    let numbers = weights.scales.iter().chain(&weights.bias).chain(&calibration.shifts).chain(&calibration.bend);
    numbers.chain([&calibration.slope, &threshold]).for_each(|number| bytes.extend(number.to_le_bytes()));
    format!("{release}-{:08x}", xxh3_64(&bytes) >> 32)
}
