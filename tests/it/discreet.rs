//! Personal data goes where the contract lets it, and nowhere else: not into logs at any level, metrics, health, error
//! texts or what a run prints. Planted in every field of a message, in its key, in what cannot be read, in field names.

use std::{collections::BTreeSet, fs, time::Duration};

use huiju::sample::Made;

use crate::support::{Project, Sent, Settings, eventually, kafka, samples};

const SOON: Duration = Duration::from_secs(60);
/// A phone, the number of a paper, a name: nowhere else in this project.
const PHONE: &str = "13979997531";
const PAPER: &str = "360102198801019876";
const NAME: &str = "钟离晓月月";
/// Everything that is planted, in the forms in which it could come out.
const PLANTED: [&str; 5] = [PHONE, PAPER, NAME, "１３９７９９９７５３１", "13979997531钟离晓月月"];

const FIELDS: [&str; 16] = [
    "orderNum",
    "title",
    "callTime",
    "callerName",
    "callerPhone",
    "callerContact",
    "callerIdCard",
    "callType",
    "sourceType",
    "appealContent",
    "areaName",
    "orderState",
    "updateTime",
    "completeTime",
    "address",
    "remark",
];

fn bad(payload: String) -> Sent {
    let key = Some(format!("{PHONE}|{NAME}").into_bytes());
    Sent { source: "nanchang", key, payload: Some(payload.into_bytes()), timestamp: 1_780_273_800_000, made: Made::Bad }
}

fn hostile() -> Vec<Sent> {
    let order = |spoiled: &str, value: &str| {
        let fields = FIELDS.iter().enumerate().map(|(at, field)| {
            let usual = match *field {
                "callTime" | "updateTime" => "2026-06-01 08:00:00".to_owned(),
                "callType" => "投诉".to_owned(),
                _ => format!("F{at}"),
            };
            format!("\"{field}\":{}", if *field == spoiled { value.to_owned() } else { format!("\"{usual}\"") })
        });
        format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
    };
    let mut all = Vec::new();
    for field in FIELDS {
        for planted in PLANTED {
            all.push(order(field, &format!("\"{planted}\"")));
        }
        all.push(order(field, PHONE));
        all.push(order(field, &format!("{{\"{NAME}\":[\"{PAPER}\"]}}")));
        all.push(order(field, &format!("\"{}\"", PAPER.repeat(300))));
    }
    for torn in [
        format!("{{\"callerPhone\":\"{PHONE}"),
        format!("{{\"callerName\":\"{NAME}\",\"{PHONE}\":1,\"{PHONE}\":2}}{NAME}"),
        format!("{{\"callerPhone\":\"{PHONE}\",\"callerPhone\":\"{PHONE}\"}}"),
        PHONE.to_owned(),
        format!("\"{NAME}\""),
        format!("[\"{PAPER}\",{{\"callerName\":\"{NAME}\"}}]"),
        format!("{{\"orderNum\":\"{PHONE}\\u0000{NAME}\\ud83d\"}}"),
        format!("{{\"{NAME}\":{PHONE}e{PHONE}}}"),
    ] {
        all.push(torn);
    }
    all.into_iter().map(bad).collect()
}

#[test]
fn planted_personal_data_is_told_nowhere() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::new(kafka, "discreet", Settings { partitions: 1, ..Settings::default() });
    project.edit("pipelines/work_orders/pipeline.toml", "limit = 0.5", "limit = 1.0");
    let (mut messages, hostile) = (samples(300, 61), hostile());
    let ordinary: BTreeSet<String> = messages.iter().flat_map(Sent::personal).collect();
    let planted = ordinary.iter().cloned().chain(PLANTED.map(str::to_owned)).collect();
    messages.extend(hostile);
    project.send(&messages);

    let log = "huiju=trace,librdkafka=debug";
    let arguments = ["run", "--log", log, "--log-format", "json", "--format", "json"];
    let huiju = project.start(&arguments, &[("RUST_BACKTRACE", "1")]);
    let served = eventually("everything is counted", SOON, || {
        let (_, metrics) = huiju.get("/metrics")?;
        let counted = |sink: &str| -> u64 {
            let of = |line: &&str| line.starts_with("huiju_rows_total") && line.contains(sink);
            metrics.lines().filter(of).map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
        };
        let all = ["sink=\"kafka\"", "sink=\"archive\""].iter().all(|sink| counted(sink) >= messages.len() as u64);
        all.then_some(metrics)
    });
    let mut told = vec![served];
    told.extend(["/health", "/ready", "/"].iter().map(|path| huiju.get(path).expect(path).1));
    // What stops a pipeline, and what a second run says.
    let stdout = huiju.stdout();
    assert!(huiju.stderr().contains("\"level\":\"DEBUG\""), "the log is at its most talkative");
    assert!(project.terminate(huiju).success(), "{}", project.logs());
    assert!(project.pages().contains("huiju_rows_total{"), "what a run serves is looked through in every test");
    told.push(stdout);
    project.edit("pipelines/work_orders/pipeline.toml", "limit = 1.0", "limit = 0.01");
    project.edit("pipelines/work_orders/pipeline.toml", "over  = 1000", "over  = 10");
    project.send(&self::hostile());
    let (status, stopped) = project.drain(&[("HUIJU_LOG", log)]);
    assert_eq!(status.code(), Some(5), "{}", stopped.stderr());
    told.extend([stopped.stdout(), stopped.stderr(), project.logs(), project.pages()]);
    assert_silent(&told, &planted);
    // The archive's log is read by more people than its rows: nothing personal may be in its statistics. (A phone that a
    // city sends as an order's number is an order's number to us.)
    let mut entries = Vec::new();
    for table in ["work_orders", "work_orders_rejects"] {
        for entry in fs::read_dir(project.path(&format!("archive/{table}/_delta_log"))).unwrap() {
            entries.push(String::from_utf8_lossy(&fs::read(entry.unwrap().path()).unwrap()).into_owned());
        }
    }
    assert_silent(&entries, &ordinary);
}

#[track_caller]
fn assert_silent(told: &[String], planted: &BTreeSet<String>) {
    let words: Vec<&String> = planted.iter().collect();
    let finder = aho_corasick::AhoCorasick::new(&words).unwrap();
    for text in told {
        let lines: Vec<&str> = text.lines().filter(|line| finder.is_match(*line)).take(3).collect();
        assert!(lines.is_empty(), "personal data is told:\n{}", lines.join("\n"));
    }
    assert!(told.iter().map(String::len).sum::<usize>() > 5_000, "something was said");
}
