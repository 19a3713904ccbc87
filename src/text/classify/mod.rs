//! What a text is about: a linear classifier over characters, learned from labelled texts.
//!
//! Keyword rules ([`super::keywords`]) know what people wrote down; this knows what thousands of labelled messages show.
//! It is linear because nothing better was found at its speed: a few microseconds a message, each verdict explained by
//! the characters that made it. Weights are data, read from a file that says how good they are.
//!
//! ```text
//! grams     text → features            learn      labelled texts → weights
//! model     features → class           calibrate  scores → probabilities
//! file      weights ⇄ bytes            groups     related texts, folds
//! train     the whole of learning      measure    how good it is
//!                                      rivals     what it was compared with
//! ```

mod calibrate;
mod file;
mod grams;
mod groups;
mod learn;
mod measure;
mod model;
mod rivals;
#[cfg(test)]
mod tests;
mod train;

pub use self::{
    calibrate::Calibration,
    file::{Trained, Training},
    groups::{folds, groups},
    learn::{Example, Plan},
    measure::{ClassFigures, Figures, Threshold, bearing, reachable},
    model::{Features, Model, Reason, Verdict},
    rivals::Rival,
    train::{Course, MOST_CLASSES, compare, evaluate, train, validate},
};
