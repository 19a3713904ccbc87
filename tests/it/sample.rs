//! `huiju sample` into topics of a broker: what it says is there is there.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    doors::{huiju, refused},
    support::{
        Project, Settings, kafka,
        project::{KEEP, SOURCES, copy},
        read_committed,
    },
};

/// Exit code, what is said, and how long it took.
fn sample(project: &Project<'_>, arguments: &[&str]) -> (Option<i32>, String, Duration) {
    let begun = Instant::now();
    let mut huiju = project.start(&[&["sample", "work_orders"], arguments].concat(), &[]);
    let status = huiju.wait(Duration::from_secs(120));
    (status.code(), huiju.stdout() + &huiju.stderr(), begun.elapsed())
}

fn lying(project: &Project<'_>, source: &str) -> usize {
    read_committed(&project.kafka.bootstrap(), &project.topic(source)).len()
}

#[test]
fn what_a_topic_refuses_is_counted_and_told() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::without_topics(kafka, "refuses", Settings::default());
    let [open, narrow] = [project.topic("nanchang"), project.topic("ganzhou")];
    kafka.create_topic(&open, 1, &KEEP);
    kafka.create_topic(&narrow, 1, &[KEEP[0], ("max.message.bytes", "500")]);

    let both = ["--source", "nanchang", "--source", "ganzhou", "--messages", "40"];
    let (code, said, _) = sample(&project, &both);
    assert_eq!(code, Some(2), "{said}");
    let counts = "20 of 40 messages were delivered, 20 were refused; the first by topic ";
    let why =
        format!("{counts}{narrow}: a message, or messages that are sent together, are larger than the topic takes");
    assert!(said.contains(&why) && !said.contains("on average"), "{said}");
    assert_eq!((lying(&project, "nanchang"), lying(&project, "ganzhou")), (20, 0));

    let one = ["--source", "nanchang", "--messages", "40"];
    let (code, said, _) = sample(&project, &[&one[..], &["--start", "2099-01-01"]].concat());
    assert_eq!(code, Some(2), "{said}");
    let counts = "0 of 40 messages were delivered, 40 were refused; the first by topic ";
    let why = format!("{counts}{open}: the topic does not take ");
    // Brokers differ in the code that they tell it by.
    assert!(said.contains(&why) && said.contains("message.timestamp.after.max.ms"), "{said}");

    // The client itself refuses what is above its own limit.
    let (code, said, _) = sample(&project, &[&one[..], &["--size", "2000000"]].concat());
    assert_eq!(code, Some(2), "{said}");
    let why = format!("1 were refused, the rest was not sent; the first by topic {open}: a message, or messages that");
    assert!(said.contains(&why), "{said}");

    let (code, said, _) = sample(&project, &one);
    assert!(code == Some(0) && said.contains("40 messages, "), "{said}");
    assert_eq!(lying(&project, "nanchang"), 60);
}

#[test]
fn topics_are_looked_for_before_anything_is_made() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::without_topics(kafka, "absent", Settings { partitions: 2, ..Settings::default() });
    kafka.create_topic(&project.topic("nanchang"), 2, &KEEP);
    let (code, said, took) = sample(&project, &["--messages", "60"]);
    assert_eq!(code, Some(3), "{said}");
    for source in ["ganzhou", "yichun"] {
        let why = format!("topic {} does not exist: create it", project.topic(source));
        assert!(said.contains(&why), "{said}");
    }
    assert!(said.contains("--partitions creates them"), "{said}");
    assert!(took < Duration::from_secs(20), "at once, not after {took:?}");
    assert_eq!(lying(&project, "nanchang"), 0);

    let (code, said, _) = sample(&project, &["--messages", "60", "--partitions", "2"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(SOURCES.map(|source| lying(&project, source)), [20; 3]);
}

#[test]
fn a_broker_that_cannot_be_reached_is_told_soon() {
    let Some(kafka) = kafka::shared() else { return };
    let project = Project::without_topics(kafka, "away", Settings::default());
    let [nobody] = kafka::free_ports();
    project.configure(&format!("127.0.0.1:{nobody}"), Settings::default());
    for arguments in [&[][..], &["--partitions", "1"]] {
        let (code, said, took) = sample(&project, arguments);
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains("huiju: topic ") && said.contains("the broker cannot be reached"), "{said}");
        assert!(took < Duration::from_secs(30), "not after {took:?}");
    }
}

#[test]
fn a_sample_is_of_a_pipeline_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    copy(&root.join("pipelines"), &folder.path().join("pipelines"));
    fs::create_dir(folder.path().join("pipelines/.hidden")).unwrap();
    fs::write(folder.path().join("huiju.toml"), "[files]\nfolder = \"topics\"\n").unwrap();
    let away = root.join("pipelines/work_orders").display().to_string();
    for name in
        ["../pipelines/work_orders", "./work_orders", "work_orders/", "", ".", "..", ".hidden", "README.md", &away]
    {
        let said = format!("pipelines: there is no pipeline \"{name}\"");
        refused(folder.path(), &["sample", name, "--to", "x"], &[&said]);
    }
    let meant = ["there is no pipeline \"work_order\": did you mean \"work_orders\"?"];
    refused(folder.path(), &["sample", "work_order", "--to", "x"], &meant);
    assert!(!folder.path().join("x").exists());
    assert_eq!(huiju(folder.path(), &["sample", "work_orders", "--to", "x", "--messages", "3"]).0, 0);
    fs::remove_dir_all(folder.path().join("pipelines")).unwrap();
    let words = ["huiju.toml: pipelines: ", "cannot be read", "name the folder in which the pipelines lie"];
    refused(folder.path(), &["sample", "work_orders", "--to", "x"], &words);
}
