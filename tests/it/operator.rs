//! What an operator sees: words and exit codes when something is wrong, stops that keep what is in flight, a broker
//! that goes away and comes back, health and metrics.

use std::{
    fs,
    time::{Duration, Instant},
};

use huiju::{batch::Tally, sample::Made};

use crate::{
    doors::{edit, lamps},
    other_feed::project,
    support::{
        Huiju, Kafka, Project, Sent, Settings,
        carried::Table,
        eventually, kafka,
        project::{KEEP, SOURCES},
        read_committed, samples, truth,
    },
};

const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_wrong_configuration_is_told_with_file_and_line_all_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huiju.toml");
    fs::write(
        &path,
        "memmory = \"1MiB\"\n\n[kafka]\nbroker = \"x:1\"\nbrokers = \"x:1\"\n[archive]\ninterval = \"soon\"\n",
    )
    .unwrap();
    let (status, huiju) = Huiju::run(folder.path(), &["run"], &[]);
    assert_eq!(status.code(), Some(2), "{}", huiju.stderr());
    let said = huiju.stderr();
    for (place, word) in [("huiju.toml:1", "memory"), ("huiju.toml:4", "brokers"), ("huiju.toml:7", "soon")] {
        let line = said.lines().find(|line| line.contains(place));
        assert!(line.is_some_and(|line| line.contains(word)), "{place}: {said}");
    }
}

#[test]
fn a_wrong_pipeline_is_told_with_file_and_line() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::without_topics(kafka, "wrong", Settings::default());
    project.edit("pipelines/work_orders/2_standardize.sql", "phone(caller_no) ", "phone(caller_nr) ");
    project.edit("pipelines/work_orders/pipeline.toml", "owner ", "ovner ");
    let (status, huiju) = project.drain(&[]);
    let said = huiju.stderr();
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.contains("pipeline.toml:"), "{said}");
    project.edit("pipelines/work_orders/pipeline.toml", "ovner ", "owner ");
    let (status, huiju) = project.drain(&[]);
    let said = huiju.stderr();
    assert_eq!(status.code(), Some(2), "{said}");
    let line = said.lines().find(|line| line.contains("2_standardize.sql:"));
    assert!(line.is_some_and(|line| line.contains("caller_nr")), "{said}");
}

#[test]
fn a_missing_topic_is_named_and_waited_for() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::without_topics(kafka, "missing", Settings { partitions: 1, ..Settings::default() });
    kafka.create_topic(&project.topic("nanchang"), 1, &KEEP);
    let mut huiju = project.start(&["run"], &[]);
    huiju.says("does not exist", SOON);
    let said = huiju.stderr();
    let named = [project.topic("ganzhou"), project.topic("yichun"), project.clean_topic(), project.rejected_topic()];
    assert!(named.iter().any(|topic| said.contains(topic)), "which topic? {said}");
    let code = |huiju: &Huiju, page: &str| huiju.get(page).map(|(code, _)| code);
    eventually("it is not ready, but well", SOON, || {
        (code(&huiju, "/ready") == Some(503) && code(&huiju, "/health") == Some(200)).then_some(())
    });
    let (_, metrics) = huiju.get("/metrics").unwrap();
    for shown in [
        "huiju_sink_up{pipeline=\"work_orders\",sink=\"archive\"} 0",
        "huiju_sink_full_seconds_total{pipeline=\"work_orders\",sink=\"archive\"} 0",
        "huiju_rows_total{outcome=\"duplicate\",pipeline=\"work_orders\",sink=\"kafka\",source=\"yichun\"} 0",
    ] {
        assert!(metrics.contains(shown), "{shown} is not there from the start: {metrics}");
    }
    // What it will write to is looked for before there is anything to write.
    let [ganzhou, yichun, clean, rejected] = named;
    for topic in [&ganzhou, &yichun, &rejected] {
        kafka.create_topic(topic, 1, &KEEP);
    }
    huiju.says(&format!("topic {clean}: the topic does not exist"), SOON);
    kafka.create_topic(&clean, 1, &KEEP);
    eventually("it is ready", SOON, || (code(&huiju, "/ready") == Some(200)).then_some(()));
    let messages = samples(90, 3);
    project.send(&messages);
    huiju.says("assigned", SOON);
    assert!(project.terminate(huiju).success());
    project.finish(&messages);
}

#[test]
fn an_unreachable_broker_is_told_and_a_bounded_run_gives_up_with_3() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::without_topics(kafka, "unreachable", Settings::default());
    let [nobody] = kafka::free_ports();
    project.configure(&format!("127.0.0.1:{nobody}"), Settings::default());
    let mut bounded = project.start(&["run", "--until-end"], &[]);
    let mut huiju = project.start(&["run"], &[]);
    huiju.says("cannot be reached", SOON);
    let mut since = None;
    eventually("it has tried again", SOON, || {
        let (code, body) = huiju.get("/ready")?;
        assert_eq!(code, 503, "{body}");
        let now = body.split("since\":\"").nth(1).map(|rest| rest[..20].to_owned());
        assert_eq!(since.get_or_insert_with(|| now.clone()), &now, "it has been waiting all the time");
        (huiju.stderr().matches("tries again").count() >= 3).then_some(())
    });
    let (status, took) = project.terminate_timed(huiju);
    assert!(status.success(), "a stop while waiting is a stop");
    assert!(took < Duration::from_secs(25), "took {took:?}");
    let status = bounded.wait(Duration::from_secs(120));
    assert_eq!(status.code(), Some(3), "{}", bounded.stderr());
    assert!(bounded.stderr().contains("cannot be reached"), "{}", bounded.stderr());
}

#[test]
fn too_many_rejects_stop_the_pipeline_with_5_and_nothing_is_skipped() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "breaker", Settings { partitions: 1, ..Settings::default() });
    let mut messages = samples(300, 5);
    messages.extend((0..3000).map(Sent::broken));
    project.send(&messages);
    let (status, huiju) = project.drain(&[]);
    let said = huiju.stderr();
    assert_eq!(status.code(), Some(5), "{status} {said}");
    assert!(said.contains("nanchang") && said.contains("decode.syntax") && said.contains("limit 50 %"), "{said}");
    // Again: it does not creep past the bad part by being started often.
    let (status, _) = project.drain(&[]);
    assert_eq!(status.code(), Some(5));
    project.edit("pipelines/work_orders/pipeline.toml", "limit = 0.5", "limit = 1.0");
    project.finish(&messages);
}

/// One huge message must not stop the rows behind it.
#[test]
fn huge_messages_and_rows_are_rejected_and_their_neighbours_go_on() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "large", Settings { partitions: 1, ..Settings::default() });
    let good = samples(90, 31);
    let bad = |payload: Vec<u8>| Sent {
        source: "nanchang",
        key: None,
        payload: Some(payload),
        timestamp: good[0].timestamp,
        made: Made::Bad,
    };
    let long = "长".repeat(180_000);
    let order = format!(
        r#"{{"orderNum":"L1","callerName":"王晓峰","callTime":"2026-05-31 14:30:05","callType":"投诉","appealContent":"{long}"}}"#
    );
    let keyed = Sent { key: Some(vec![b'k'; 150_000]), ..bad(vec![b'{'; 895_000]) };
    // Its number is in the row, and once more in the key.
    let number = "N".repeat(530_000);
    let numbered = format!(
        r#"{{"orderNum":"{number}","callerName":"王晓峰","callTime":"2026-05-31 14:30:05","callType":"投诉","appealContent":"路灯不亮"}}"#
    );
    let mut messages = vec![bad(vec![b'['; 1_000_000]), keyed, bad(order.into_bytes()), bad(numbered.into_bytes())];
    messages.extend(good);
    project.send(&messages);
    let account = project.drained();
    assert_eq!([&account["reasons"]["too_large"], &account["reasons"]["decode.syntax"]], [2, 2], "{account}");
    assert_eq!(project.settle().account, truth(&messages));
    let rejected = read_committed(&kafka.bootstrap(), &project.rejected_topic());
    let cut = rejected.iter().find(|read| read.payload.as_ref().is_some_and(|payload| payload.starts_with(b"[[")));
    let cut = cut.expect("its beginning is there");
    assert_eq!(cut.payload.as_ref().map(Vec::len), Some(900_000));
    assert_eq!(cut.header("huiju.cut"), Some("1000000"));
    let cut = rejected.iter().find(|read| read.header("huiju.key_cut") == Some("150000")).expect("it is there");
    assert_eq!(cut.key.as_ref().map(Vec::len), Some(64_000));
    assert_eq!(cut.payload.as_ref().map(Vec::len), Some(895_000));
}

/// What the topic has to be given is for people to say; nothing is acknowledged until they have.
#[test]
fn topics_that_do_not_take_what_comes_are_told_with_2() {
    let Some(kafka) = kafka::shared() else { return };
    let many = samples(90, 33);
    let good = many.iter().find(|message| message.source == "nanchang" && message.made == Made::Good).unwrap().clone();
    let spoiled = Sent { key: None, payload: Some(b"{".to_vec()), made: Made::Bad, ..good.clone() };
    let times = [("message.timestamp.before.max.ms", "1000"), ("message.timestamp.after.max.ms", "1000")];
    let compacted = [("cleanup.policy", "compact")];
    // Of many messages the broker names one, and of the others it says only that they came with it; of one that is sent alone
    // it says the same as of a single one.
    for (rejected, settings, messages, words) in [
        (
            false,
            &times[..],
            &[good.clone()][..],
            &["does not take the time of a message: give it the message.timestamp.after"][..],
        ),
        (
            false,
            &times[..],
            &many[..],
            &[
                "message.timestamp.after.max.ms and message.timestamp.before.max.ms",
                "does not take the time of a message: give it the message.timestamp.after",
            ],
        ),
        (
            true,
            &compacted[..],
            &[good, spoiled][..],
            &["does not take a record as it is: a compacted topic wants keys"],
        ),
    ] {
        let project = Project::without_topics(kafka, "untaken", Settings { partitions: 1, ..Settings::default() });
        let (clean, rejects) = (project.clean_topic(), project.rejected_topic());
        let strict = if rejected { &rejects } else { &clean };
        let easy = if rejected { &clean } else { &rejects };
        SOURCES.iter().for_each(|source| kafka.create_topic(&project.topic(source), 1, &KEEP));
        kafka.create_topic(easy, 1, &KEEP);
        kafka.create_topic(strict, 1, settings);
        project.send(messages);
        let (status, huiju) = project.drain(&[]);
        let said = huiju.stderr();
        assert_eq!(status.code(), Some(2), "{said}");
        assert!(words.iter().any(|words| said.contains(words)) && said.contains(strict.as_str()), "{said}");
        kafka.delete_topic(strict);
        kafka.create_topic(strict, 1, &KEEP);
        project.drained();
        assert_eq!(project.settle().account, truth(messages));
    }
}

#[test]
fn a_second_run_writes_nothing_twice() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "twice", Settings::default());
    let messages = samples(600, 11);
    project.send(&messages);
    assert_eq!(project.drained()["in"], truth(&messages).input);
    let first = project.settle();
    for _ in 0..2 {
        let summary = project.drained();
        assert_eq!((&summary["in"], &summary["files"]), (&0.into(), &0.into()));
    }
    let second = project.settle();
    second.logical(&project).assert_same(&first.logical(&project));
    assert_eq!(second.rows.files, first.rows.files);
}

#[test]
fn health_and_metrics_tell_what_the_account_tells() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "metrics", Settings::default());
    let messages = samples(1500, 13);
    let truth = truth(&messages);
    let huiju = project.start(&["run"], &[]);
    let ask = |path: &str| huiju.get(path);
    eventually("it is ready", SOON, || ask("/ready").filter(|(code, _)| *code == 200));
    project.send(&messages);
    let counts = |sink: &str| {
        let (_, text) = ask("/metrics")?;
        let sum = |outcome: &str| -> u64 {
            let is = |line: &&str| {
                line.starts_with("huiju_rows_total")
                    && line.contains(&format!("sink=\"{sink}\""))
                    && line.contains(&format!("outcome=\"{outcome}\""))
            };
            text.lines().filter(is).map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
        };
        let (written, rejected, duplicate) = (sum("written"), sum("rejected"), sum("duplicate"));
        Some(Tally { input: written + rejected + duplicate, written, rejected, duplicate })
    };
    for sink in ["kafka", "archive"] {
        let counted =
            eventually("all rows are counted", SOON, || counts(sink).filter(|counts| counts.input >= truth.input));
        assert_eq!(counted, truth, "{sink}");
    }
    let (code, health) = eventually("health", SOON, || ask("/health"));
    assert!(code == 200 && health.contains("\"running\""), "{code} {health}");
    let live = Table::skim(&project.path("archive/work_orders")).files.len()
        + Table::skim(&project.path("archive/work_orders_rejects")).files.len();
    // They are counted a moment after the rows.
    let metrics = eventually("all files are counted", SOON, || {
        ask("/metrics").map(|(_, metrics)| metrics).filter(|metrics| files(metrics) >= live)
    });
    for name in [
        "huiju_rejected_rows_total{",
        "huiju_flagged_rows_total{",
        "huiju_commit_seconds_count{",
        "huiju_in_flight_bytes{",
        "huiju_archive_files_total{",
        "huiju_dedup_keys{",
    ] {
        assert!(metrics.contains(name), "{name} is missing:\n{metrics}");
    }
    // Each step has said that it has ended.
    for step in ["consume", "decode", "stages", "checks", "dedup", "encode", "produce", "parquet", "commit", "other"] {
        let name = format!("huiju_cpu_seconds_total{{step=\"{step}\"}} ");
        let used = metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse::<f64>().ok());
        assert!(used.is_some_and(|used| used > 0.0), "{name}:\n{metrics}");
    }
    eventually("the lag is told", SOON, || {
        let (_, metrics) = ask("/metrics")?;
        let lags: Vec<_> = metrics.lines().filter(|line| line.starts_with("huiju_lag_messages{")).collect();
        (lags.len() == 6 && lags.iter().all(|line| line.ends_with(" 0"))).then_some(())
    });
    assert!(project.terminate(huiju).success());
    let carried = project.settle();
    assert_eq!(carried.account, truth);
    assert_eq!(carried.rows.files.len() + carried.rejects.files.len(), files(&metrics), "files");
}

/// The pipeline runs, and neither does a restart help; but somebody has to look.
#[test]
fn a_sink_that_is_left_behind_is_told_for_as_long_as_it_is() {
    let folder = project();
    let folder = folder.path();
    edit(&folder.join("huiju.toml"), "pipelines =", "listen = \"127.0.0.1:0\"\npipelines =");
    lamps(folder, 1);
    let mut huiju = Huiju::start(folder, &["run"], &[]);
    let (table, away) = (folder.join("archive/lamps"), folder.join("away"));
    let status = || {
        let (code, body) = huiju.get("/ready").filter(|(code, _)| *code == 200)?;
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        Some((code, body["pipelines"]["street_lamps"].clone()))
    };
    eventually("it is well", SOON, || {
        let (_, status) = status()?;
        let committed = table.exists() && Table::skim(&table).account().input == 10;
        (committed && status["reason"].is_null()).then_some(())
    });
    fs::rename(&table, &away).unwrap();
    crate::panics::lamps(folder, "lamps.raw.east", 100..110);
    let behind = eventually("it is told", SOON, || status().filter(|(_, status)| !status["reason"].is_null()));
    assert_eq!(behind.1["state"], "running", "{behind:?}");
    assert!(behind.1["reason"].as_str().unwrap().starts_with("the archive sink is left behind: "), "{behind:?}");
    let metric = |name: &str| {
        let (_, metrics) = huiju.get("/metrics")?;
        metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
    };
    let up = "huiju_sink_up{pipeline=\"street_lamps\",sink=\"archive\"}";
    let restarts = "huiju_line_restarts_total{pipeline=\"street_lamps\",reason=\"rejoin\"}";
    eventually("it is counted as down", SOON, || (metric(up)? == 0).then_some(()));
    fs::rename(&away, &table).unwrap();
    eventually("it is back", SOON, || status().filter(|(_, status)| status["reason"].is_null()));
    eventually("the rest is archived", SOON, || (Table::skim(&table).account().input == 20).then_some(()));
    eventually("it is counted as up again", SOON, || (metric(up)? == 1).then_some(()));
    eventually("the line that was built anew is counted", SOON, || (metric(restarts)? >= 1).then_some(()));
    huiju.process.signal(libc::SIGTERM);
    assert!(huiju.wait(SOON).success(), "{}", huiju.stderr());
}

fn files(metrics: &str) -> usize {
    let line = metrics.lines().find(|line| line.starts_with("huiju_archive_files_total{")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn sigterm_finishes_what_is_in_flight_within_its_time() {
    let Some(kafka) = kafka::shared() else { return };
    // The archive would commit in an hour: only the stop makes it.
    let settings = Settings { interval: "1h", top: "drain = \"60s\"", ..Settings::default() };
    let project = Project::new(kafka, "sigterm", settings);
    let messages = samples(900, 17);
    project.send(&messages);
    let mut huiju = project.start(&["run"], &[]);
    huiju.says("assigned", SOON);
    eventually("rows are in the clean topic", SOON, || {
        let clean = crate::support::read_committed(&kafka.bootstrap(), &project.clean_topic());
        (clean.len() as u64 == truth(&messages).written).then_some(())
    });
    crate::stops::notices(&project, huiju);
    assert_eq!(project.settle().account, truth(&messages), "nothing was left for another run");
}

/// A broker of its own: it stands still here.
#[test]
fn a_second_sigterm_exits_at_once() {
    let Some(kafka) = Kafka::start() else { return };
    let project = Project::new(&kafka, "second", Settings { interval: "1h", ..Settings::default() });
    let messages = samples(600, 23);
    let mut slices = messages.chunks(200);
    // As `timeout` does it, which tells the process and its group: this is one. A busy machine, on which some time passes
    // between the two, has three tries.
    let waits_for_the_broker = |slice: &[Sent]| {
        let mut huiju = project.start(&["run"], &[]);
        huiju.says("assigned", SOON);
        project.send(slice);
        kafka.pause();
        huiju.process.signal(libc::SIGTERM);
        huiju.process.signal(libc::SIGTERM);
        huiju.says("stopping", SOON);
        let ended = huiju.process.wait(Duration::from_millis(500));
        if ended.is_some() {
            kafka.resume();
        }
        ended.is_none().then_some(huiju)
    };
    let mut huiju = slices.by_ref().find_map(waits_for_the_broker).expect("it waits for the broker");
    huiju.process.signal(libc::SIGTERM);
    let status = huiju.wait(Duration::from_secs(5));
    assert_eq!(status.code(), Some(130), "{status}");
    kafka.resume();
    slices.for_each(|slice| project.send(slice));
    project.finish(&messages);
}

#[test]
fn a_bounded_run_that_is_stopped_before_its_end_is_no_success() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "cut", Settings::default());
    let messages = samples(600, 27);
    project.send(&messages);
    let mut huiju = project.start(&["run", "--until-end"], &[("HUIJU_FAULT", "line.after_decode:1:1500")]);
    huiju.says("standing still", SOON);
    let status = project.terminate(huiju);
    assert_eq!(status.code(), Some(3), "{}", project.logs());
    assert!(project.logs().contains("told to stop before the end was reached"), "{}", project.logs());
    project.finish(&messages);
}

/// A broker of its own: it stands still for longer than a stop may take.
#[test]
fn a_stop_ends_within_its_bound_though_the_broker_is_silent() {
    let Some(kafka) = Kafka::start() else { return };
    let project = Project::new(&kafka, "bound", Settings { top: "drain = \"3s\"", ..Settings::default() });
    let messages = samples(600, 29);
    let mut huiju = project.start(&["run"], &[]);
    huiju.says("assigned", SOON);
    project.send(&messages);
    kafka.pause();
    let asked = Instant::now();
    huiju.process.signal(libc::SIGTERM);
    let status = huiju.process.wait(Duration::from_secs(60));
    let took = asked.elapsed();
    kafka.resume();
    // Whether one sink had anything that another lacked is the moment's.
    let code = status.and_then(|status| status.code());
    assert!(matches!(code, Some(0 | 3)), "{code:?} after {took:?}: {}", huiju.stderr());
    println!("a stop with a silent broker took {took:?}, drain is 3 s");
    project.finish(&messages);
    assert!(took < Duration::from_secs(12), "took {took:?}");
}

#[test]
fn every_source_has_its_topic_in_the_tests() {
    let pipeline = crate::support::shipped();
    let names: Vec<&str> = pipeline.sources.iter().map(|source| &*source.name).collect();
    let mut expected = SOURCES.to_vec();
    expected.sort_unstable();
    assert_eq!(names, expected);
}
