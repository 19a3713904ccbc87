use std::path::PathBuf;

mod alone;
mod code_tables;
mod compared;
mod failing;
mod fitting;
mod guarded;
mod hopeless;
mod meant;
mod mixed;
mod several;
mod times;
mod words;

use arrow::array::AsArray;
use expect_test::expect;
use proptest::prelude::*;

use super::*;
use crate::{
    batch::{Budget, Fetched, Message},
    config::{Gaps, RejectLimit, Stage, Start, pipeline},
    contract::{Column, Kind, Rule, Severity, odcs},
    cursor::{Interval, Partition},
    decode::Decoder,
    sample,
};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn shipped() -> (Pipeline, Arc<Contract>, Library) {
    let schemas = root().join("schemas");
    let pipeline = pipeline::read(&root().join("pipelines/work_orders")).unwrap();
    let contract = Arc::new(odcs::read(&schemas, &pipeline.contract).unwrap());
    (pipeline, contract, Library::read(&schemas).unwrap())
}

fn fetched(payloads: &[Vec<u8>], first: i64) -> Fetched {
    let covers =
        vec![Interval { partition: Partition::new("raw", 0), from: first, next: first + payloads.len() as i64 }];
    let mut fetched = Fetched { covers, ..Fetched::default() };
    for (number, payload) in payloads.iter().enumerate() {
        let payload = Some(fetched.store(payload));
        let offset = first + number as i64;
        let timestamp = Some(1_780_300_000_000 + offset * 1000);
        fetched.messages.push(Message { cover: 0, offset, timestamp, key: None, payload });
    }
    fetched
}

/// Everything that a batch becomes, as text.
fn outcome(program: &Program, source: &Source, contract: &Contract, payloads: &[Vec<u8>], first: i64) -> Vec<String> {
    let mut decoder = Decoder::new(program.fields(), source);
    let budget = Budget::new(100);
    let mut fetched = Fetched { held: Some(budget.hold(7)), ..fetched(payloads, first) };
    let decoded = decoder.decode(&mut fetched);
    let outcome = program.run(fetched, decoded).finish(&contract.arrow_schema()).unwrap();
    assert_eq!(budget.used(), 7, "rows hold what their messages held");
    assert!(outcome.tally.balances());
    let mut json = Vec::new();
    let mut writer = arrow::json::LineDelimitedWriter::new(&mut json);
    writer.write(&outcome.rows).unwrap();
    writer.finish().unwrap();
    let rows = String::from_utf8(json).unwrap();
    let rows =
        rows.lines().zip(&outcome.origins).map(|(row, origin)| format!("{}.{}: {row}", origin.offset, origin.row));
    let rejects = outcome.rejects.iter().map(|reject| {
        format!("{}.{:?}: {} {:?} {:?}", reject.offset, reject.row, reject.stage, reject.faults, reject.payload)
    });
    let mut all: Vec<String> = rows.chain(rejects).collect();
    all.sort();
    all
}

fn messages(pipeline: &Pipeline, source: &Source, seed: u64, messages: u64) -> Vec<Vec<u8>> {
    let options = sample::Options { messages, seed, bad: 0.2, duplicates: 0.1, ..sample::Options::default() };
    sample::Generator::read(pipeline, &source.name, options).unwrap().map(|sample| sample.payload).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// A program that has run before gives what a fresh one gives, and where batches are cut does not matter (T20).
    #[test]
    fn t20_planned_once_equals_planned_fresh_and_batches_do_not_matter(seed in 0..1000_u64, size in 1..40_usize) {
        let (pipeline, contract, library) = shipped();
        for source in &pipeline.sources {
            let payloads = messages(&pipeline, source, seed, 60);
            let once = Program::compile(&pipeline, source, &contract, &library).unwrap();
            let mut cut = Vec::new();
            // Planning takes long: every batch is compared when there are few, else some of them.
            let fresh_every = payloads.len().div_ceil(size * 4);
            for (number, some) in payloads.chunks(size).enumerate() {
                let first = (number * size) as i64;
                let with_once = outcome(&once, source, &contract, some, first);
                if number % fresh_every == fresh_every - 1 {
                    let fresh = Program::compile(&pipeline, source, &contract, &library).unwrap();
                    prop_assert_eq!(&with_once, &outcome(&fresh, source, &contract, some, first));
                }
                cut.extend(with_once);
            }
            cut.sort();
            prop_assert_eq!(cut, outcome(&once, source, &contract, &payloads, 0));
        }
    }
}

#[test]
fn flags_are_counted_of_rows_that_go_on() {
    let (pipeline, contract, library) = shipped();
    let source = &pipeline.sources[0];
    let program = Program::compile(&pipeline, source, &contract, &library).unwrap();
    let payloads = messages(&pipeline, source, 7, 300);
    let (mut fetched, mut decoder) = (fetched(&payloads, 0), Decoder::new(program.fields(), source));
    let decoded = decoder.decode(&mut fetched);
    let mut checked = program.run(fetched, decoded);
    let before: u64 = checked.flags.values().sum();
    let alive: Vec<usize> = (0..checked.alive.len()).filter(|row| checked.alive[*row]).collect();
    alive.iter().step_by(3).for_each(|row| checked.strike_out(*row));
    let outcome = checked.finish(&contract.arrow_schema()).unwrap();
    let mut counted: BTreeMap<Arc<str>, u64> = BTreeMap::new();
    for flags in outcome.rows[contract.flags.as_deref().unwrap()].as_list::<i32>().iter().flatten() {
        flags.as_string::<i32>().iter().flatten().for_each(|flag| *counted.entry(flag.into()).or_default() += 1);
    }
    assert_eq!(outcome.flags, counted);
    assert!(outcome.flags.values().sum::<u64>() < before, "some of those struck out had flags");
}

// A feed about something else entirely: nothing here knows about work orders.

fn lamp(name: &str, kind: Kind) -> Column {
    Column {
        name: name.into(),
        kind,
        required: false,
        description: String::new(),
        title: name.to_owned(),
        personal: false,
        classification: None,
        codes: None,
        weights: None,
        raw: None,
        unknown: Severity::Warning,
        max_length: None,
        limits: Vec::new(),
        at: format!("schemas/lamps.odcs.yaml:{}", name.len()),
    }
}

fn lamps() -> Contract {
    let watts = Rule {
        name: "too_bright".into(),
        column: Some("watts".into()),
        predicate: "watts < 1000".into(),
        severity: Severity::Error,
        description: "功率过大".into(),
        at: "schemas/lamps.odcs.yaml:9".into(),
    };
    let mut contract = Contract {
        name: "lamps".into(),
        version: "1".into(),
        title: String::new(),
        description: String::new(),
        assumed: false,
        columns: vec![lamp("id", Kind::Text), lamp("watts", Kind::Long), lamp("share", Kind::Long)],
        rules: vec![watts],
        flags: None,
    };
    contract.columns[0].required = true;
    contract
}

fn compile_lamps(map: &str, stage: &str) -> Result<(Program, Source), String> {
    let library = Library::read(&root().join("tests/fixtures/street_lamps")).unwrap();
    compile_lamps_with(map, stage, lamps(), &library)
}

fn compile_lamps_with(
    map: &str,
    stage: &str,
    contract: Contract,
    library: &Library,
) -> Result<(Program, Source), String> {
    let stage_of =
        |name: &str, sql: &str| Stage { name: name.into(), path: format!("lamps/{name}.sql").into(), sql: sql.into() };
    let source = Source {
        name: "street".into(),
        topics: vec!["raw".into()],
        charset: None,
        time_zone: chrono_tz::Asia::Shanghai,
        home: None,
        rows: None,
        keyed_by: Vec::new(),
        map: stage_of("street", map),
        aliases: Vec::new(),
    };
    let pipeline = Pipeline {
        name: "lamps".into(),
        folder: "lamps".into(),
        contract: "lamps".into(),
        dedup: None,
        rejects: RejectLimit { limit: 1.0, over: 1000 },
        gaps: Gaps::Stop,
        start: Start::Beginning,
        sinks: Vec::new(),
        values: Vec::new(),
        sources: vec![source.clone()],
        stages: vec![stage_of("clean", stage)],
    };
    let program = Program::compile(&pipeline, &source, &Arc::new(contract), library);
    program
        .map(|program| (program, source))
        .map_err(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

const MAP: &str = "SELECT no AS id, power.watts AS w FROM message";

#[test]
fn a_row_that_an_expression_cannot_compute_leaves_its_neighbours_alone() {
    let stage = "SELECT id, CAST(w AS BIGINT) AS watts, 100 / CAST(w AS BIGINT) AS share FROM raw";
    let (program, source) = compile_lamps(MAP, stage).unwrap();
    let message = |id: u32, watts: &str| format!(r#"{{"no":"{id}","power":{{"watts":{watts}}}}}"#).into_bytes();
    let messages: Vec<Vec<u8>> =
        [message(1, "50"), message(2, "0"), message(3, "\"x\""), message(4, "2000"), message(5, "20")].to_vec();
    expect![[r#"
        0.0: {"id":"1","watts":50,"share":2}
        1.Some(0): clean [Fault { code: "sql.failed", field: Some("share"), reason: "SQL 计算失败：除以零", value: None }]
        2.Some(0): clean [Fault { code: "sql.failed", field: Some("watts"), reason: "SQL 计算失败：类型转换（应使用 TRY_CAST）", value: None }]
        3.Some(0): checks [Fault { code: "too_bright", field: Some("watts"), reason: "功率过大", value: Some("2000") }]
        4.0: {"id":"5","watts":20,"share":5}
    "#]]
    .assert_eq(
        &outcome(&program, &source, &lamps(), &messages, 0)
            .iter()
            .map(|line| line.split(" Some(b").next().unwrap().to_owned() + "\n")
            .collect::<String>(),
    );
}

fn check(map: &str, stage: &str, expect: expect_test::Expect) {
    expect.assert_eq(&compile_lamps(map, stage).map(|_| ()).expect_err("it must be refused"));
}

#[test]
fn a_stage_is_one_row_local_select() {
    let id = "SELECT id, 1 AS watts, 2 AS share FROM raw";
    check(
        MAP,
        "SELECT id\nFROM raw\nWHERE id IS NOT NULL",
        expect![[
            r#"lamps/clean.sql:3: WHERE is not allowed in a stage: to refuse rows write a quality rule in the contract"#
        ]],
    );
    check(
        MAP,
        "SELECT id FROM raw GROUP BY id",
        expect![[r#"lamps/clean.sql:1: GROUP BY is not allowed in a stage: a stage sees one row at a time"#]],
    );
    check(MAP, "SELECT * FROM raw", expect![[r#"lamps/clean.sql:1: "*" is not allowed: name each column"#]]);
    check(
        "SELECT m.no AS id FROM message m",
        "SELECT id FROM raw",
        expect![[r#"lamps/street.sql:1: FROM message cannot have another name: leave "m" out"#]],
    );
    check(MAP, "SELECT id FROM clean", expect![[r#"lamps/clean.sql:1: selects FROM clean; it must select FROM raw"#]]);
    check(
        MAP,
        "SELECT id,\n  upper(id)\nFROM raw",
        expect![[r#"lamps/clean.sql:2: "upper(id)" has no name: add AS column_name"#]],
    );
    check(
        MAP,
        "SELECT id, FROM raw",
        expect![[r#"
            lamps/clean.sql:1: column "watts" of contract lamps (schemas/lamps.odcs.yaml:5) is missing
            lamps/clean.sql:1: column "share" of contract lamps (schemas/lamps.odcs.yaml:5) is missing"#]],
    );
    check(
        MAP,
        "SELECT max(id) AS id, 1 AS watts, 2 AS share FROM raw",
        expect!["lamps/clean.sql:1: max() looks at more than one row: a stage sees one row at a time"],
    );
    check(
        MAP,
        "SELECT id, 1 AS watts,\n random() AS share FROM raw",
        expect![
            "lamps/clean.sql:2: random() does not give the same answer on a replay; use what is the message's own, _timestamp, _partition, _offset"
        ],
    );
    check(
        MAP,
        "SELECT id, 1 AS watts,\n extract(year FROM now()) AS share FROM raw",
        expect![
            "lamps/clean.sql:2: now() does not give the same answer on a replay; use what is the message's own, _timestamp, _partition, _offset"
        ],
    );
    check(
        "SELECT no AS id, no.x AS y FROM message",
        id,
        expect![[r#"lamps/street.sql:1: field "no" is used both as a value and as an object"#]],
    );
    check(
        "SELECT a['b'] AS id,\n  a.c['d'] AS d, a AS w FROM message",
        id,
        expect![[r#"lamps/street.sql:2: field "a" is used both as a value and as an object"#]],
    );
    check(
        "SELECT no AS id,\n  begin AS b,\n  end AS e\nFROM message",
        id,
        expect![[r#"lamps/street.sql:3: the SQL ends before "end": a name that is a word of SQL wants quotes, "end""#]],
    );
    check(
        MAP,
        &format!("{id} END WHERE 1 = 2"),
        expect![[r#"lamps/clean.sql:1: the SQL ends before "END": a name that is a word of SQL wants quotes, "end""#]],
    );
}

#[test]
fn a_stage_must_yield_the_contract() {
    check(
        MAP,
        "SELECT id, w AS wats, 1 AS share FROM raw",
        expect![[r#"lamps/clean.sql:1: column "wats" is not in contract lamps: did you mean "watts"?"#]],
    );
    check(
        MAP,
        "SELECT id, w AS watts, 1 AS share FROM raw",
        expect![[r#"lamps/clean.sql:1: column "watts" is VARCHAR, contract lamps wants BIGINT: use TRY_CAST(… AS …)"#]],
    );
    check(
        MAP,
        "SELECT id, 1 AS watts,\n nosuch AS share FROM raw",
        expect!["lamps/clean.sql:2: No field named nosuch. (for source street)"],
    );
    check(
        MAP,
        "SELECT id, code('lampz', w) AS watts, 1 AS share FROM raw",
        expect!["lamps/clean.sql:1: code('lampz', …): there is no 'lampz' (for source street)"],
    );
    check(
        MAP,
        "SELECT ids AS id,\n code('lampz', w) AS watts,\n given(watts,\n   wats) + 1 AS share, given_n(id) AS more, id AS id FROM raw",
        expect![[r#"
            lamps/clean.sql:1: No field named ids. Did you mean 'raw.id'? (for source street)
            lamps/clean.sql:2: code('lampz', …): there is no 'lampz' (for source street)
            lamps/clean.sql:3: No field named watts: it is made in this SELECT, so it is there for the next stage (for source street)
            lamps/clean.sql:4: column "id" is there already, in line 1
            lamps/clean.sql:4: Invalid function 'given_n': did you mean "given"? (for source street)"#]],
    );
}

#[test]
fn documentation_is_there_for_every_function() {
    let (pipeline, _, library) = shipped();
    for (name, doc) in function_docs(&library, &pipeline.sources[0]) {
        assert!(doc.starts_with(&format!("{name}(")), "{name}: {doc}");
    }
}

const TALK: &str = "SELECT no AS id, said.title AS title, said.content AS content FROM message";
const JUDGED: &str = "SELECT id, CAST(content_class(title, content)['probability'] * 1000 AS BIGINT) AS watts, CASE content_class(title, content)['class'] WHEN '城乡建设' THEN 1 END AS share FROM raw";

/// Street lamps whose `id` takes its classes from `weights` and the code table `codes`.
fn judged_lamps(weights: &str, codes: &str) -> Contract {
    let mut contract = lamps();
    contract.rules.clear();
    contract.columns[0].weights = Some(weights.into());
    contract.columns[0].codes = Some(codes.into());
    contract
}

#[test]
fn weights_judge_in_sql() {
    let library = Library::read(&root().join("schemas")).unwrap();
    let contract = judged_lamps("content_class", "content_class");
    let (program, source) = compile_lamps_with(TALK, JUDGED, contract.clone(), &library).unwrap();
    let message = |title: &str, content: &str| {
        format!(r#"{{"no":"城乡建设","said":{{"title":{title},"content":{content}}}}}"#).into_bytes()
    };
    let messages = [
        message("\"小区门口的路灯坏了\"", "\"一个星期没有人修\""),
        message("null", "\"路灯\""),
        message("null", "null"),
        message("\"\"", "\"……\""),
        message("\"hello\"", "\"مرحبا\""),
    ];
    let rows = outcome(&program, &source, &contract, &messages, 0);
    let row =
        |number: usize| serde_json::from_str::<serde_json::Value>(rows[number].split_once(": ").unwrap().1).unwrap();
    assert_eq!(row(0)["share"], 1);
    assert!(row(0)["watts"].as_i64().unwrap() > 900, "{rows:?}");
    assert_eq!(row(1)["share"], 1);
    assert_eq!((&row(2)["watts"], &row(3)["watts"]), (&serde_json::Value::Null, &serde_json::Value::Null));
    assert!(rows.len() == 5, "another script is answered without harm: {rows:?}");

    let only_titled = JUDGED.replace("(title, content)", "(title, content, title > '')");
    let (program, source) = compile_lamps_with(TALK, &only_titled, contract.clone(), &library).unwrap();
    let asked = outcome(&program, &source, &contract, &messages, 0);
    assert_eq!(asked[0], rows[0], "whoever is asked answers as always");
    assert!(!asked[1].contains("watts"), "nobody asked, and NULL is no asking: {}", asked[1]);

    let learned = "SELECT id, CAST(content_class_learned(id) AS BIGINT) AS watts, CAST(content_class_learned(title) AS BIGINT) AS share FROM raw";
    let (program, source) = compile_lamps_with(TALK, learned, contract.clone(), &library).unwrap();
    let told = outcome(&program, &source, &contract, &messages[..2], 0);
    assert!(told[0].ends_with(r#""watts":1,"share":0}"#), "one class, and a title that is none: {}", told[0]);
    assert!(!told[1].contains("share"), "NULL is neither: {}", told[1]);
}

#[test]
fn weights_that_do_not_fit_the_contract_are_refused() {
    let library = Library::read(&root().join("schemas")).unwrap();
    let refused = |contract| compile_lamps_with(TALK, JUDGED, contract, &library).map(|_| ()).unwrap_err();
    let none = refused(lamps());
    assert!(none.contains("content_class(): the contract names no weights"), "{none}");
    let gone = refused(judged_lamps("content_clas", "content_class"));
    assert!(gone.contains("there are no weights weights/content_clas.weights"), "{gone}");
    assert!(gone.contains("content_class"), "{gone}");
    let others = refused(judged_lamps("content_class", "channel"));
    assert!(others.contains("has the class \"城乡建设\", which code table \"channel\" does not have"), "{others}");
}

#[test]
fn damaged_weights_are_found_when_the_library_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights/a.weights");
    std::fs::create_dir(folder.path().join("weights")).unwrap();
    let bytes = std::fs::read(root().join("schemas/weights/content_class.weights")).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let found = Library::read(folder.path()).unwrap_err();
    assert_eq!(found.len(), 1);
    assert!(found[0].at.ends_with("weights/a.weights") && found[0].what.contains("damaged"), "{}", found[0]);
}
