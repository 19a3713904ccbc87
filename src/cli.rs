//! The command line.

pub(crate) mod flags;
pub(crate) mod out;
mod panics;
pub(crate) mod run;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use self::flags::{Format, Where};
use crate::{
    archive, cases, check, classifier, demo,
    error::{Error, ErrorKind, Result},
    sample,
};

macro_rules! exits {
    () => {
        "Exit codes: 0 done · 2 a file or flag is wrong · 3 Kafka, archive or disk did not answer, or nothing can be \
         written to standard output · 4 another instance took over · 5 too many rejects · 6 messages are gone (gap) · \
         70 a mistake in huiju · 130 stopped at once by a second signal"
    };
}

/// Collects 12345 hotline data from the cities' topics, cleans and classifies it, and hands it on exactly once.
#[derive(Parser)]
#[command(version, after_help = exits!())]
struct Cli {
    /// What is logged, and from where: a level, or directives as in `info,huiju::source=debug`
    #[arg(long, global = true, env = "HUIJU_LOG", default_value = "info", value_parser = directives)]
    log: String,
    /// How logs, and at the end what went wrong, are written to standard error; JSON is an object per line
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    log_format: Format,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the pipelines until stopped, or up to the end of their topics
    #[command(after_help = concat!(
        "Example: huiju run --config huiju.toml --until-end --format json\n\nSIGTERM, Ctrl-C and a terminal that closes ",
        "finish what is in flight; a second SIGTERM or Ctrl-C exits at once. Under nohup a terminal may close.\n\n",
        exits!()
    ))]
    Run(run::Options),
    /// Say what is wrong with configuration, contracts, SQL and code tables; no broker needed
    #[command(after_help = "Example: huiju check --config huiju.toml")]
    Check(Where),
    /// Run the test cases in the pipeline folders; no broker needed
    #[command(
        after_help = "Example: huiju test work_orders --case sent_again\n\nA case is a folder under pipelines/NAME/tests with input.jsonl, output.jsonl and rejects.jsonl."
    )]
    Test(cases::Options),
    /// Show everything on this machine: sample messages through the shipped pipeline into a clean stream and an archive
    #[command(after_help = "Example: huiju demo --messages 100000 --seed 7")]
    Demo(demo::Options),
    /// Generate raw messages, dirty on purpose, into files or Kafka
    #[command(
        after_help = "Example: huiju sample work_orders --source nanchang --messages 1000 --to topics\n         huiju sample work_orders --messages 1000000 --config huiju.toml --partitions 4"
    )]
    Sample(sample::command::Options),
    /// Learn to classify texts from labelled ones: writes a weights file, and how good it is
    #[command(
        after_help = "Example: huiju train labelled.jsonl --to schemas/weights/content_class.weights --seed 1\n\nA line of the data: {\"title\": …, \"content\": …, \"label\": …}"
    )]
    Train(classifier::command::Train),
    /// Classify texts: class, probability and the strongest reasons, a line each
    #[command(
        after_help = "Example: echo 小区门口的路灯坏了一周 | huiju classify\n         huiju classify messages.jsonl --weights schemas/weights/content_class.weights --format json\n\nA probability below the weights' threshold is marked with `?`."
    )]
    Classify(classifier::command::Classify),
    /// Measure weights with labelled texts, or the way of learning by cross-validation
    #[command(
        after_help = "Example: huiju evaluate held_out.jsonl --format json\n         huiju evaluate labelled.jsonl --folds 5 --seed 1 --compare"
    )]
    Evaluate(classifier::command::Evaluate),
    /// Look after the archive's tables: compaction, vacuum, new columns, history
    #[command(
        subcommand,
        after_help = "Example: huiju archive history work_orders --limit 20\n         huiju archive compact && huiju archive vacuum --retention 7d\n\nEach can be interrupted at any moment; `huiju archive VERB --help` says what running pipelines and readers see of it."
    )]
    Archive(archive::Verb),
    /// Write the data dictionary and the JSON Schema of each contract
    #[command(after_help = "Example: huiju docs --to docs")]
    Docs(check::DocsOptions),
}

/// Reads the arguments, does what they say, and tells the exit code.
pub fn main() -> ExitCode {
    panics::install();
    let cli = Cli::parse();
    log(&cli);
    let runs = matches!(cli.verb, Verb::Run(_));
    // The hook has said what it was.
    let done = catch_unwind(AssertUnwindSafe(|| execute(&cli.verb)));
    let done = done.unwrap_or_else(|_| Err(Error::bug("it panicked")));
    ExitCode::from(end(done, runs))
}

/// Tells how it ended and what to do, and gives the exit code. `runs` is whether that was a run of pipelines.
fn end(done: Result<()>, runs: bool) -> u8 {
    match (done, out::failure()) {
        (Ok(()), None) => 0,
        (Ok(()), Some(error)) => {
            let todo = "the work is done; what it says of it is not complete";
            out::last(ErrorKind::Unavailable, &format!("write to standard output: {error}"), todo);
            ErrorKind::Unavailable.exit_code()
        }
        (Err(error), _) => {
            // Only what runs could have changed anything.
            let again =
                if runs && error.kind == ErrorKind::Config { " and start again; it goes on where it was" } else { "" };
            out::last(error.kind, &error.to_string(), &format!("{}{again}", error.advice()));
            error.kind.exit_code()
        }
    }
}

fn execute(verb: &Verb) -> Result<()> {
    match verb {
        Verb::Run(options) => options.execute(),
        Verb::Check(at) => check::check(at),
        Verb::Test(options) => cases::run(options),
        Verb::Demo(options) => demo::run(options),
        Verb::Sample(options) => sample::command::run(options),
        Verb::Archive(verb) => archive::run(verb),
        Verb::Train(options) => classifier::command::run_train(options),
        Verb::Classify(options) => classifier::command::run_classify(options),
        Verb::Evaluate(options) => classifier::command::run_evaluate(options),
        Verb::Docs(options) => check::docs(options),
    }
}

/// A level, or directives of [`EnvFilter`]. Those take any word for the name of a module, also a level with a slip in it.
fn directives(text: &str) -> Result<String, String> {
    // A variable that is empty says nothing, and no level would be `trace` to the filter.
    let text = Some(text.trim()).filter(|text| !text.is_empty()).unwrap_or("info");
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (target, level) = part.rsplit_once('=').map_or((None, part), |(target, level)| (Some(target), level));
        let is_module = target.is_none() && (part.contains("::") || ["huiju", "librdkafka"].contains(&part));
        let is_span = part.contains('[');
        if !is_module && !is_span && !LEVELS.contains(&level.to_lowercase().as_str()) {
            let near = crate::near::did_you_mean(level, LEVELS);
            let levels = LEVELS.join(", ");
            return Err(format!(
                "\"{level}\" is no level{near}; write one of {levels}, or directives such as info,huiju::source=debug"
            ));
        }
    }
    EnvFilter::try_new(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

/// A bare level is meant for us: the libraries below are talkative, and nobody has looked through what they say.
fn meant_by(log: &str) -> String {
    let plain = !log.contains([',', '=', ':', '[']) && !["huiju", "librdkafka"].contains(&log);
    if plain { format!("huiju={log},librdkafka={log}") } else { log.to_owned() }
}

fn log(cli: &Cli) {
    let filter = EnvFilter::try_new(meant_by(&cli.log)).unwrap_or_else(|_| EnvFilter::new("huiju=info"));
    let logs =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    match cli.log_format {
        Format::Json => {
            out::as_json();
            logs.json().flatten_event(true).init()
        }
        Format::Text => {
            use std::io::IsTerminal;
            logs.with_target(false).with_ansi(std::io::stderr().is_terminal()).init()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn a_level_alone_is_that_of_huiju_and_its_client() {
        for level in ["error", "info", "trace", "off"] {
            assert_eq!(meant_by(level), format!("huiju={level},librdkafka={level}"));
        }
        for own in ["huiju", "librdkafka", "info,huiju::source=debug", "huiju::source", "rustls=debug"] {
            assert_eq!(meant_by(own), own);
        }
    }

    #[test]
    fn no_level_is_that_of_nobody() {
        assert_eq!(["", " ", " debug "].map(|text| directives(text).unwrap()), ["info", "info", "debug"]);
    }

    #[test]
    fn every_verb_has_an_example_and_run_the_exit_codes() {
        fn look(command: &clap::Command, path: &str) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example: ") && help.contains("huiju "), "{path} has no example: {help}");
            command.get_subcommands().for_each(|verb| look(verb, &format!("{path} {}", verb.get_name())));
        }
        let cli = Cli::command();
        cli.get_subcommands().for_each(|verb| look(verb, verb.get_name()));
        let run = cli.find_subcommand("run").and_then(|run| run.get_after_help()).expect("its help").to_string();
        assert!(run.contains("70 a mistake in huiju"), "{run}");
    }
}
