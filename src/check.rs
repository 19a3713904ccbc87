//! `huiju check` and `huiju docs`: what can be said without a broker.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::{
    cli::{flags::Where, out::say},
    config::{self, Config, Pipeline, pipeline},
    contract::{codes::CodeTables, odcs},
    dictionary,
    engine::{Library, function_docs},
    error::{Context, Error, Finding, Result, refuse},
    file,
    runtime::build::{self, Prepared},
    sink, source,
};

/// Reads and compiles the pipelines, all or those that are named; all mistakes together.
pub fn prepare(config: &Config, only: &[String]) -> Result<Vec<Prepared>> {
    let (pipelines, mut findings) = pipeline::read_all(&config.pipelines, only);
    // Of the folder as a whole: it is huiju.toml that names it, or does not.
    for finding in findings.iter_mut().filter(|finding| Path::new(&finding.at) == config.pipelines) {
        let todo = if config.pipelines.exists() { "" } else { ": name the folder in which the pipelines lie" };
        finding.what = format!("pipelines: {}: {}{todo}", finding.at, finding.what);
        finding.at = config.place("pipelines");
    }
    if let config::Topics::Files { .. } = config.topics {
        findings.extend(pipeline::with_files(&pipelines));
    }
    if pipelines.iter().any(has_archive) {
        findings.extend(config.odd_archive().map(|why| of_location(config, why)));
    }
    let library = Library::read(&config.schemas).unwrap_or_else(|found| {
        findings.extend(found);
        Library::outline()
    });
    // What is not compiled for want of something else is read all the same, to tell its mistakes together with that.
    if !findings.is_empty() {
        let compiled = |name: &String| pipelines.iter().any(|one| one.contract == *name);
        let alone = odcs::names(&config.schemas).into_iter().filter(|name| !compiled(name));
        findings.extend(alone.filter_map(|name| odcs::read(&config.schemas, &name).err()).flatten());
    }
    let names: Vec<String> = pipelines.iter().map(|pipeline| pipeline.name.to_string()).collect();
    for name in only.iter().filter(|name| !names.contains(name)) {
        let near = crate::near::did_you_mean(name, names.iter().map(String::as_str));
        let at = config.pipelines.display().to_string();
        findings.push(Finding::new(at, format!("there is no pipeline \"{name}\"{near}")));
    }
    let mut prepared = Vec::new();
    for pipeline in pipelines.into_iter().filter(|one| only.is_empty() || only.iter().any(|name| *name == *one.name)) {
        match build::prepare(&config.schemas, &library, pipeline) {
            Ok(one) => prepared.push(one),
            Err(found) => findings.extend(found),
        }
    }
    match findings.is_empty() {
        true if prepared.is_empty() => {
            Err(Error::config(format!("{}: there is no pipeline in this folder", config.pipelines.display())))
        }
        true => Ok(prepared),
        false => Err(refuse(findings)),
    }
}

fn has_archive(pipeline: &Pipeline) -> bool {
    pipeline.sinks.iter().any(|sink| matches!(sink, config::Sink::Archive { .. }))
}

fn of_location(config: &Config, why: String) -> Finding {
    Finding::new(config.place("archive.location"), format!("[archive] location: {why}"))
}

/// `huiju check`.
pub fn check(at: &Where) -> Result<()> {
    let config = Config::read(&at.config)?;
    let prepared = prepare(&config, &[])?;
    // Those that no pipeline has yet.
    let spare =
        odcs::names(&config.schemas).into_iter().filter(|name| prepared.iter().all(|one| *one.contract.name != **name));
    let mut findings: Vec<Finding> =
        spare.filter_map(|name| odcs::read(&config.schemas, &name).err()).flatten().collect();
    if prepared.iter().any(|one| has_archive(&one.pipeline)) {
        let odd = config::folder_of_tables(&config.archive.location).err();
        findings.extend(odd.map(|why| of_location(&config, why)));
    }
    if let config::Topics::Kafka(kafka) = &config.topics
        && kafka.lacking.is_empty()
    {
        let mut agree = source::kafka::check(kafka);
        if prepared.iter().any(|one| one.pipeline.sinks.iter().any(|sink| matches!(sink, config::Sink::Kafka { .. }))) {
            agree = agree.and_then(|()| sink::kafka::check(kafka));
        }
        let at = config.place("kafka.properties");
        findings.extend(agree.err().map(|why| Finding::new(at, format!("[kafka.properties]: {why}"))));
    }
    if !findings.is_empty() {
        return Err(refuse(findings));
    }
    for one in prepared {
        let (pipeline, contract) = (&one.pipeline, &one.contract);
        let others = match odcs::rules_of_others(&config.schemas, &pipeline.contract) {
            0 => String::new(),
            others => format!("; {others} rules of other engines are not run"),
        };
        say!(
            "ok  {}: {} sources, {} stages, contract {} {} ({} columns, {} rules{others}){}",
            pipeline.name,
            pipeline.sources.len(),
            pipeline.stages.len(),
            contract.name,
            contract.version,
            contract.columns.len(),
            contract.rules.len(),
            if contract.assumed { ", assumed" } else { "" }
        );
    }
    if let config::Topics::Kafka(kafka) = &config.topics {
        let at = config.place("kafka.properties");
        kafka.open_doors().iter().for_each(|door| say!("warning  {at}: [kafka.properties]: {door}"));
        kafka.lacking.iter().for_each(|lacking| say!("warning  {lacking}: `huiju run` will not start without it"));
    }
    Ok(())
}

#[derive(Args)]
pub struct DocsOptions {
    #[command(flatten)]
    at: Where,
    /// Folder to write to
    #[arg(long, default_value = "docs")]
    to: PathBuf,
}

/// `huiju docs`: the functions, and for each contract a data dictionary and the JSON Schema of its clean topic.
pub fn docs(options: &DocsOptions) -> Result<()> {
    let config = Config::read(&options.at.config)?;
    let prepared = prepare(&config, &[])?;
    let tables = CodeTables::read(&config.schemas).map_err(refuse)?;
    let library = Library::read(&config.schemas).map_err(refuse)?;
    file::folder(&options.to)?;
    let write = |name: String, text: String| -> Result<()> {
        let path = options.to.join(name);
        file::write(&path, text.as_bytes())?;
        say!("{}", path.display());
        Ok(())
    };
    if let Some(source) = prepared.iter().flat_map(|one| &one.pipeline.sources).next() {
        let lines: Vec<String> = function_docs(&library, source)
            .into_iter()
            .map(|(_, doc)| format!("- `{}", doc.replacen(": ", "`: ", 1)))
            .collect();
        write(
            "functions.md".into(),
            format!("# Functions in SQL\n\nBeside DataFusion's own.\n\n{}\n", lines.join("\n")),
        )?;
    }
    let mut done = Vec::new();
    for one in &prepared {
        if done.contains(&one.pipeline.contract) {
            continue;
        }
        done.push(one.pipeline.contract.clone());
        let contract = odcs::read(&config.schemas, &one.pipeline.contract).map_err(refuse)?;
        write(format!("{}.md", contract.name), dictionary::dictionary(&contract, &tables))?;
        let schema = serde_json::to_string_pretty(&contract.json_schema(&tables)).or_bug("write JSON")?;
        write(format!("{}.schema.json", contract.name), schema + "\n")?;
    }
    Ok(())
}
