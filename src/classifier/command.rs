//! The three verbs.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::json;

use super::{
    data::{self, Fields, TextFields},
    report,
};
use crate::{
    cli::{
        flags::Format,
        out::{self, say, tell},
    },
    config::Config,
    contract::weights,
    demo,
    error::{Error, Result, refuse},
    file,
    text::classify::{Course, Figures, Plan, Rival, Trained, bearing, compare, evaluate, reachable, train, validate},
};

/// Fewer features are refused.
const FEWEST_FEATURES: usize = 100;

#[derive(Args)]
pub struct Train {
    /// Labelled texts: JSON Lines, or CSV with a header
    data: PathBuf,
    /// Where the weights go; beside the contracts it is schemas/weights/NAME.weights
    #[arg(long)]
    to: PathBuf,
    #[command(flatten)]
    fields: Fields,
    /// The same data and seed give the same weights
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folds of the cross-validation that calibrates, measures and finds the threshold
    #[arg(long, default_value_t = 5)]
    folds: usize,
    /// How often a verdict at or above the threshold should be right
    #[arg(long, default_value_t = 0.95)]
    precision: f64,
    /// How many features to keep, the strongest
    #[arg(long, default_value_t = Plan::default().keep)]
    features: usize,
    /// First part of the version, up to 64 characters; the second is a hash of the weights
    #[arg(long, default_value = "1")]
    release: String,
    /// How the figures are written to standard output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Args)]
pub struct Classify {
    /// Texts: JSON Lines, CSV with a header, or plain lines; standard input when none is named, or for `-`
    files: Vec<PathBuf>,
    #[command(flatten)]
    weights: Weights,
    #[command(flatten)]
    fields: TextFields,
    /// How many features to show, the strongest
    #[arg(long, default_value_t = 5)]
    reasons: usize,
    /// How verdicts are written to standard output: a line each
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Args)]
pub struct Evaluate {
    /// Labelled texts: JSON Lines, or CSV with a header
    data: PathBuf,
    #[command(flatten)]
    weights: Weights,
    #[command(flatten)]
    fields: Fields,
    /// Learn from the data itself and measure by cross-validation with this many folds; related texts stay together
    #[arg(long, conflicts_with = "weights")]
    folds: Option<usize>,
    /// Seed of folds and learning
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// With --folds: how many features to keep
    #[arg(long, default_value_t = Plan::default().keep)]
    features: usize,
    /// With --folds: measure other kinds of classifiers too
    #[arg(long, requires = "folds")]
    compare: bool,
    /// How the figures are written to standard output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Args)]
struct Weights {
    /// The weights; by default those that huiju was shipped with
    #[arg(long)]
    weights: Option<PathBuf>,
    /// Take the only weights beside the contracts of this configuration
    #[arg(long, conflicts_with = "weights")]
    config: Option<PathBuf>,
}

impl Weights {
    fn read(&self) -> Result<Trained> {
        let read = |path: &Path| weights::read(path).map_err(|finding| refuse(vec![finding]));
        match (&self.weights, &self.config) {
            (Some(path), _) => read(path),
            (None, Some(config)) => {
                let config = Config::read(config)?;
                let mut all = weights::read_all(&config.schemas).map_err(refuse)?;
                let names: Vec<String> = all.keys().cloned().collect();
                match all.pop_first() {
                    Some((_, only)) if all.is_empty() => Ok(only),
                    _ => {
                        let shown = config.schemas.join("weights");
                        let todo = "name one with --weights";
                        let found = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                        Err(Error::config(format!(
                            "{} should hold one weights file, it holds {found}: {todo}",
                            shown.display()
                        )))
                    }
                }
            }
            (None, None) => {
                let bytes = demo::shipped_weights()
                    .ok_or_else(|| Error::config("no weights were shipped: name some with --weights"))?;
                Trained::from_bytes(bytes).map_err(|what| Error::bug(format!("the shipped weights: {what}")))
            }
        }
    }
}

/// `huiju train`.
pub fn run_train(options: &Train) -> Result<()> {
    fold_count(options.folds)?;
    if !(0.0..=1.0).contains(&options.precision) {
        return Err(Error::config(format!("--precision {}: write a share, such as 0.95", options.precision)));
    }
    if options.features < FEWEST_FEATURES {
        return Err(Error::config(format!("--features {}: keep at least {FEWEST_FEATURES}", options.features)));
    }
    data::name(&options.release).map_err(|what| Error::config(format!("--release {what}")))?;
    if file::same(&options.data, &options.to) {
        let (data, to) = (options.data.display(), options.to.display());
        return Err(Error::config(format!("--to {to}: this is {data} itself: write the weights elsewhere")));
    }
    let data = data::labelled(&options.data, &options.fields)?;
    // Learning takes its time.
    file::ready(&options.to)?;
    let plan = Plan { seed: options.seed, keep: options.features, ..Plan::default() };
    let course = Course { plan, folds: options.folds, precision: options.precision, release: options.release.clone() };
    let trained = train(&data.examples, &data.classes, &course).map_err(|what| unfit(&options.data, &what))?;
    let bytes = trained.to_bytes();
    file::write(&options.to, &bytes)?;
    let (model, training) = (&trained.model, &trained.training);
    let reached = reachable(model.threshold);
    if !reached {
        let wished = training.precision;
        tell!(
            WARN,
            "no threshold has a precision of {wished}: no verdict is certain; ask for less with --precision, or learn from more texts"
        );
    }
    let (judged, wished) = (training.figures.said_from(model.threshold), bearing(training.precision));
    if reached && judged < wished {
        let precision = training.precision;
        tell!(
            WARN,
            "the threshold rests on {judged} verdicts at most, a precision of {precision} wants {wished}: do not trust it, learn from more texts"
        );
    }
    match options.format {
        Format::Text => {
            say!("{}\n", report::text(&training.figures));
            say!(
                "{}: version {}, {} features, {} bytes, learned from {} texts in {} groups; {} for a precision of {}",
                options.to.display(),
                model.version,
                model.size(),
                bytes.len(),
                training.examples,
                training.groups,
                if reached { format!("threshold {:.2}", model.threshold) } else { "no threshold".to_owned() },
                training.precision
            );
        }
        Format::Json => {
            let mut all = report::json(&training.figures);
            all["version"] = json!(model.version);
            all["features"] = json!(model.size());
            all["bytes"] = json!(bytes.len());
            all["groups"] = json!(training.groups);
            all["threshold"] = json!(reached.then(|| report::round(f64::from(model.threshold))));
            all["precision"] = json!(training.precision);
            all["reached"] = json!(reached);
            say!("{all}");
        }
    }
    Ok(())
}

/// `huiju classify`.
pub fn run_classify(options: &Classify) -> Result<()> {
    let trained = options.weights.read()?;
    let mut files: Vec<Option<&Path>> =
        options.files.iter().map(|path| Some(path.as_path()).filter(|path| *path != Path::new("-"))).collect();
    if files.is_empty() {
        files.push(None);
    }
    let mut lines = std::io::BufWriter::new(std::io::stdout().lock());
    let mut say = |text: &data::Text, waits: bool| {
        let line = verdict(&trained, text, options);
        // Whoever asks one by one gets an answer before he asks again.
        out::check(writeln!(lines, "{line}")) && (!waits || out::check(lines.flush()))
    };
    let mut done = Ok(true);
    for file in files {
        done = done.and_then(|more| if more { data::each(file, &options.fields, &mut say) } else { Ok(false) });
    }
    out::check(lines.flush());
    done.map(drop)
}

fn verdict(trained: &Trained, text: &data::Text, options: &Classify) -> String {
    let model = &trained.model;
    let verdict = model.classify(&text.title, &text.content);
    let class = verdict.map(|verdict| model.classes[verdict.class].as_str());
    let probability = verdict.map_or(0.0, |verdict| f64::from(verdict.thousandths) / 1000.0);
    let certain = verdict.is_some_and(|verdict| verdict.probability() >= model.threshold);
    let reasons = verdict
        .map_or_else(Vec::new, |verdict| model.reasons(&text.title, &text.content, verdict.class, options.reasons));
    match options.format {
        Format::Text => {
            let mark = if certain { "" } else { "?" };
            let reasons: Vec<String> =
                reasons.iter().map(|reason| format!("{} {:+.2}", reason.text, reason.weight)).collect();
            format!("{probability:.3}\t{}{mark}\t{}", class.unwrap_or("-"), reasons.join("  "))
        }
        Format::Json => json!({
            "class": class,
            "probability": probability,
            "certain": certain,
            "version": model.version,
            "reasons": reasons.iter().map(|reason| json!({
                "text": reason.text,
                "weight": report::round(f64::from(reason.weight)),
            })).collect::<Vec<_>>(),
        })
        .to_string(),
    }
}

/// `huiju evaluate`.
pub fn run_evaluate(options: &Evaluate) -> Result<()> {
    let Some(folds) = options.folds else {
        let trained = options.weights.read()?;
        let examples = data::labelled_as(&options.data, &options.fields, &trained.model.classes)?;
        let figures = evaluate(&trained.model, &examples);
        match options.format {
            Format::Text => say!("weights {}\n{}", trained.model.version, report::text(&figures)),
            Format::Json => {
                let mut all = report::json(&figures);
                all["version"] = json!(trained.model.version);
                say!("{all}");
            }
        }
        return Ok(());
    };
    fold_count(folds)?;
    let data = data::labelled(&options.data, &options.fields)?;
    let plan = Plan { seed: options.seed, keep: options.features, ..Plan::default() };
    let figures = validate(&data.examples, &data.classes, &plan, folds);
    let figures = figures.map_err(|what| unfit(&options.data, &what))?;
    let rivals: &[Rival] = if options.compare { &Rival::ALL } else { &[] };
    let others =
        rivals.iter().map(|rival| (rival.name(), compare(*rival, &data.examples, &data.classes, &plan, folds)));
    let others: Vec<(&str, Figures)> = others.collect();
    match options.format {
        Format::Text => {
            say!("{folds} folds, seed {}\n{}", options.seed, report::text(&figures));
            for (name, figures) in others {
                let (f1, error) = (figures.macro_f1, figures.calibration_error);
                say!("\n{name}: macro-F1 {f1:.4}   accuracy {:.4}   calibration error {error:.4}", figures.accuracy);
            }
        }
        Format::Json => {
            let mut all = report::json(&figures);
            all["folds"] = json!(folds);
            all["seed"] = json!(options.seed);
            if options.compare {
                let others = others.iter().map(|(name, figures)| ((*name).to_owned(), report::json(figures)));
                all["compared"] = serde_json::Value::Object(others.collect());
            }
            say!("{all}");
        }
    }
    Ok(())
}

fn unfit(data: &Path, what: &str) -> Error {
    Error::config(format!("{}: {what}", data.display()))
}

fn fold_count(folds: usize) -> Result<()> {
    match folds {
        2..=100 => Ok(()),
        _ => Err(Error::config(format!("--folds {folds}: write 2 to 100"))),
    }
}
