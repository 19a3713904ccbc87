//! Figures as text and as JSON.

use serde_json::{Value, json};

use crate::text::classify::Figures;

/// For people.
pub fn text(figures: &Figures) -> String {
    let mut lines = vec![format!(
        "{} texts   macro-F1 {:.4}   accuracy {:.4}   calibration error {:.4}",
        figures.examples, figures.macro_f1, figures.accuracy, figures.calibration_error
    )];
    lines.push(String::new());
    lines.push("precision  recall      F1   texts  class".to_owned());
    for one in &figures.classes {
        let (precision, recall, f1) = (one.precision, one.recall, one.f1);
        lines.push(format!("{precision:9.4} {recall:7.4} {f1:7.4} {:7}  {}", one.examples, one.class));
    }
    lines.push(String::new());
    lines.push(
        "confusion: a row per class, a column per verdict in the same order, the last for texts without one".into(),
    );
    for (row, one) in figures.confusion.iter().zip(&figures.classes) {
        let row: String = row.iter().map(|count| format!("{count:6}")).collect();
        lines.push(format!("{row}  {}", one.class));
    }
    lines.push(String::new());
    lines.push("probability from  precision  share of texts".into());
    for at in &figures.thresholds {
        lines.push(format!("{:16.2} {:10.4} {:15.4}", at.threshold, at.precision, at.share));
    }
    lines.join("\n")
}

/// One object: the figures, and the confusion with its labels.
pub fn json(figures: &Figures) -> Value {
    let labels: Vec<&str> = figures.classes.iter().map(|one| one.class.as_str()).collect();
    json!({
        "examples": figures.examples,
        "macro_f1": round(figures.macro_f1),
        "accuracy": round(figures.accuracy),
        "calibration_error": round(figures.calibration_error),
        "classes": figures.classes.iter().map(|one| json!({
            "class": one.class,
            "examples": one.examples,
            "precision": round(one.precision),
            "recall": round(one.recall),
            "f1": round(one.f1),
        })).collect::<Vec<_>>(),
        "confusion": { "labels": labels, "rows": figures.confusion },
        "thresholds": figures.thresholds.iter().map(|at| json!({
            "threshold": at.threshold,
            "precision": round(at.precision),
            "share": round(at.share),
        })).collect::<Vec<_>>(),
    })
}

pub fn round(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}
