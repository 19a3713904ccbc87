//! A project like a user's: the shipped pipeline with topics of its own on a broker, the messages in them, and what
//! became of them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::Mutex,
    time::{Duration, Instant},
};

use huiju::batch::Tally;
use tempfile::TempDir;

use super::{
    Carried, Huiju, Kafka, Sender, Sent, carried::Table, eventually, huiju::Output, read_committed, standing, truth,
    unique,
};

/// The three cities of the shipped pipeline.
pub const SOURCES: [&str; 3] = ["nanchang", "ganzhou", "yichun"];

/// Messages have times of long ago: the broker would delete them at once.
pub const KEEP: [(&str, &str); 1] = [("retention.ms", "-1")];

pub struct Project<'k> {
    pub kafka: &'k Kafka,
    pub folder: TempDir,
    /// What its topics' names begin with, in place of `hotline`.
    pub prefix: String,
    pub partitions: i32,
    pub sender: Sender,
    /// What all its runs have logged and printed.
    outputs: Mutex<Vec<Output>>,
    /// And served.
    pages: Mutex<String>,
    /// Personal data in its messages: none of it may be told.
    planted: Mutex<BTreeSet<String>>,
}

/// Settings that tests change; the rest is what is shipped.
#[derive(Clone, Copy)]
pub struct Settings {
    pub partitions: i32,
    /// How often the archive commits.
    pub interval: &'static str,
    /// The broker's patience with a member that says nothing, in milliseconds; empty where the broker decides.
    pub session: &'static str,
    /// Lines of [kafka.properties].
    pub properties: &'static str,
    /// At the top of huiju.toml.
    pub top: &'static str,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { partitions: 2, interval: "150ms", session: "3000", properties: "", top: "" }
    }
}

impl<'k> Project<'k> {
    /// A project with its topics; nothing is in them yet.
    pub fn new(kafka: &'k Kafka, name: &str, settings: Settings) -> Project<'k> {
        let project = Project::without_topics(kafka, name, settings);
        for source in SOURCES {
            kafka.create_topic(&project.topic(source), settings.partitions, &KEEP);
        }
        kafka.create_topic(&project.clean_topic(), settings.partitions, &KEEP);
        kafka.create_topic(&project.rejected_topic(), 1, &KEEP);
        project
    }

    pub fn without_topics(kafka: &'k Kafka, name: &str, settings: Settings) -> Project<'k> {
        let folder = TempDir::with_prefix("huiju-project-").unwrap();
        let prefix = unique(name);
        let project = Project {
            kafka,
            folder,
            prefix,
            partitions: settings.partitions,
            sender: Sender::new(&kafka.bootstrap()),
            outputs: Mutex::default(),
            pages: Mutex::default(),
            planted: Mutex::default(),
        };
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        copy(&root.join("pipelines"), &project.path("pipelines"));
        copy(&root.join("schemas"), &project.path("schemas"));
        fs::create_dir(project.path("tmp")).unwrap();
        for source in SOURCES {
            project.edit(&format!("pipelines/work_orders/sources/{source}.toml"), "\"hotline.", &project.quoted());
        }
        project.edit("pipelines/work_orders/pipeline.toml", "\"hotline.", &project.quoted());
        project.configure(&kafka.bootstrap(), settings);
        project
    }

    fn quoted(&self) -> String {
        format!("\"{}.", self.prefix)
    }

    /// Writes huiju.toml.
    pub fn configure(&self, brokers: &str, Settings { interval, session, properties, top, .. }: Settings) {
        let prefix = &self.prefix;
        let session = match session {
            "" => String::new(),
            session => format!("\"session.timeout.ms\" = \"{session}\"\n\"heartbeat.interval.ms\" = \"300\"\n"),
        };
        let text = format!(
            "instance = \"{prefix}\"\nlisten = \"127.0.0.1:0\"\n{top}\n\
             [kafka]\nbrokers = \"{brokers}\"\ngroup = \"{prefix}\"\n\
             [kafka.properties]\n\
             {session}{properties}\n\
             [archive]\ninterval = \"{interval}\"\n"
        );
        fs::write(self.path("huiju.toml"), text).unwrap();
    }

    /// Replaces a text that must be in a file.
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(file)).unwrap();
        assert!(text.contains(from), "{file} has no {from}");
        fs::write(self.path(file), text.replace(from, to)).unwrap();
    }

    pub fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside)
    }

    pub fn topic(&self, source: &str) -> String {
        format!("{}.raw.work_orders.{source}", self.prefix)
    }

    pub fn clean_topic(&self) -> String {
        format!("{}.standard.work_orders", self.prefix)
    }

    pub fn rejected_topic(&self) -> String {
        format!("{}.rejected.work_orders", self.prefix)
    }

    /// Puts messages into the topics, in their order.
    pub fn send(&self, messages: &[Sent]) {
        for source in SOURCES {
            let of = messages.iter().filter(|message| message.source == source).map(|message| {
                let partition = message.partition(self.partitions);
                (partition, message.key.as_deref(), message.payload.as_deref(), message.timestamp)
            });
            self.sender.send(&self.topic(source), of);
        }
        self.planted.lock().unwrap().extend(messages.iter().flat_map(Sent::personal));
    }

    /// Starts the binary here, with more arguments and variables.
    pub fn start(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Huiju {
        let own = self.path("tmp").display().to_string();
        let variables = [variables, &[("TMPDIR", own.as_str()), ("RUST_BACKTRACE", "1")]].concat();
        let huiju = Huiju::start(self.folder.path(), arguments, &variables);
        self.watch(&huiju);
        huiju
    }

    /// What this run says is looked through with the rest.
    pub fn watch(&self, huiju: &Huiju) {
        self.outputs.lock().unwrap().push(huiju.output.clone());
    }

    /// Runs up to the end of the topics, as long as that takes while it gets on.
    pub fn drain(&self, variables: &[(&str, &str)]) -> (ExitStatus, Huiju) {
        let mut huiju = self.start(&["run", "--until-end", "--format", "json"], variables);
        let rows = |metrics: &str| {
            metrics.lines().filter(|line| line.starts_with("huiju_rows_total")).collect::<Vec<_>>().join("\n")
        };
        let (mut before, mut since) = (String::new(), Instant::now());
        let mut pages = None;
        let status = loop {
            if let Some(status) = huiju.process.wait(Duration::from_secs(1)) {
                break status;
            }
            pages = Pages::of(&huiju).or(pages);
            let now = pages.as_ref().map(|pages| rows(&pages.metrics)).unwrap_or_default();
            if now != before {
                (before, since) = (now, Instant::now());
            }
            if since.elapsed() > Duration::from_secs(240) {
                break huiju.wait(Duration::ZERO);
            }
        };
        self.keep_pages(pages);
        (status, huiju)
    }

    /// Runs up to the end of the topics, which must go well, and gives the summary.
    pub fn drained(&self) -> serde_json::Value {
        let (status, huiju) = self.drain(&[]);
        assert!(status.success(), "{status}: {}\n{}", huiju.stdout(), huiju.stderr());
        huiju.summary()
    }

    /// Ends a run with SIGTERM, as soon as it listens for that; tells how it ended.
    pub fn terminate(&self, huiju: Huiju) -> ExitStatus {
        self.terminate_timed(huiju).0
    }

    /// And how long that took.
    pub fn terminate_timed(&self, mut huiju: Huiju) -> (ExitStatus, Duration) {
        eventually("it listens for signals", Duration::from_secs(60), || {
            (huiju.catches(libc::SIGTERM) || !huiju.process.is_running()).then_some(())
        });
        self.keep_pages(Pages::of(&huiju));
        let asked = Instant::now();
        huiju.process.signal(libc::SIGTERM);
        (huiju.wait(Duration::from_secs(60)), asked.elapsed())
    }

    /// Ends a run that may not have begun anything yet: then there is nothing to finish, and the signal may simply end it.
    #[track_caller]
    pub fn stop(&self, huiju: Huiju) {
        let begun = huiju.stderr().contains("line built");
        let status = self.terminate(huiju);
        assert!(status.success() || !begun, "{status}\n{}", self.logs());
    }

    /// `kill -9`.
    pub fn kill(&self, mut huiju: Huiju) {
        self.keep_pages(Pages::of(&huiju));
        huiju.process.kill();
    }

    /// How many rows are in the clean topic.
    pub fn written(&self) -> u64 {
        read_committed(&self.kafka.bootstrap(), &self.clean_topic()).len() as u64
    }

    /// Waits until all rows that must come of these messages are in the clean topic, as long as there is something new every
    /// `limit`; how long that took.
    #[track_caller]
    pub fn come_through(&self, messages: &[Sent], limit: Duration) -> Duration {
        let expected = truth(messages).written;
        self.gets_on("rows have come through", limit, || {
            let written = self.written();
            (written >= expected, written)
        })
    }

    /// The same, until both sinks have committed what becomes of these messages, and of no others.
    #[track_caller]
    pub fn carry(&self, messages: &[Sent], limit: Duration) -> Duration {
        let truth = truth(messages);
        self.gets_on("rows are committed", limit, || {
            let (written, archived) = (self.written(), self.archived());
            let twice = written > truth.written || archived.input > truth.input;
            assert!(!twice, "{written} written, {archived:?} archived of {truth:?}\n{}", self.standing());
            (written == truth.written && archived == truth, written + archived.input)
        })
    }

    #[track_caller]
    fn gets_on(&self, what: &str, limit: Duration, at: impl Fn() -> (bool, u64)) -> Duration {
        let begun = Instant::now();
        let (mut before, mut since) = (0, begun);
        loop {
            let (done, now) = at();
            if done {
                return begun.elapsed();
            }
            if now != before {
                (before, since) = (now, Instant::now());
            }
            assert!(since.elapsed() < limit, "{what}: {now}, and none in {limit:?}\n{}", self.standing());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Where everything stands, for a test that has waited in vain.
    fn standing(&self) -> String {
        let (bootstrap, group) = (self.kafka.bootstrap(), format!("{}.work_orders", self.prefix));
        let topics = SOURCES.map(|source| self.topic(source)).into_iter().chain([self.clean_topic()]);
        let mut told: String = topics.map(|topic| standing(&bootstrap, &group, &topic)).collect();
        for output in &*self.outputs.lock().unwrap() {
            let log = output.stderr();
            let mut last: Vec<&str> = log.lines().rev().take(12).collect();
            last.reverse();
            told += &last.join("\n");
            told += "\n--- end of this run ---\n";
        }
        told
    }

    /// Another run carries the rest, everything is as it always must be, and the counts are those of the truth. Tells how
    /// many rows were left.
    #[track_caller]
    pub fn finish(&self, messages: &[Sent]) -> u64 {
        let rest = self.drained();
        assert_eq!(self.settle().account, truth(messages));
        rest["in"].as_u64().unwrap()
    }

    /// Whether both sinks have committed what becomes of these messages, and of no others.
    pub fn has_carried(&self, messages: &[Sent]) -> bool {
        let truth = truth(messages);
        self.archived() == truth && self.written() == truth.written
    }

    fn archived(&self) -> Tally {
        Table::skim(&self.path("archive/work_orders")).account()
    }

    fn keep_pages(&self, pages: Option<Pages>) {
        let Some(Pages { metrics, health }) = pages else { return };
        let mut kept = self.pages.lock().unwrap();
        // Of metrics the names and labels: among many values one may be like a short number of a phone.
        for line in metrics.lines() {
            *kept += line.rsplit_once(' ').map_or(line, |(labels, _)| labels);
            kept.push('\n');
        }
        *kept += &health;
        kept.push('\n');
    }

    /// What all its runs have served before they were ended.
    pub fn pages(&self) -> String {
        self.pages.lock().unwrap().clone()
    }

    /// What all its runs have logged and printed so far.
    pub fn logs(&self) -> String {
        let outputs = self.outputs.lock().unwrap();
        let texts = outputs.iter().map(|output| output.stderr() + &output.stdout() + "\n--- end of this run ---\n");
        texts.collect()
    }

    /// What every test asks for at its end, when no run is left: reads everything back, and checks what always holds
    /// (T32, order, no stray files).
    #[track_caller]
    pub fn settle(&self) -> Carried {
        let carried = Carried::read(self);
        carried.assert_sound(self);
        carried
    }

    /// The same for more than fits into memory: what can be told without looking at rows.
    #[track_caller]
    pub fn settle_without_rows(&self) -> Carried {
        let carried = Carried::skim(self);
        carried.assert_log_is_sound(self);
        carried
    }

    /// Nothing that any run has logged, printed or served tells personal data of the messages.
    fn assert_discreet(&self) {
        let planted = self.planted.lock().unwrap();
        if planted.is_empty() {
            return;
        }
        let logs = self.logs() + &self.pages();
        let words: Vec<&String> = planted.iter().collect();
        let finder = aho_corasick::AhoCorasick::new(&words).unwrap();
        let tells =
            |line: &&str| finder.find_overlapping_iter(*line).any(|hit| stands_alone(line.as_bytes(), hit.range()));
        let lines: Vec<&str> = logs.lines().filter(tells).take(5).collect();
        assert!(lines.is_empty(), "personal values of messages were told:\n{}", lines.join("\n"));
    }
}

impl Drop for Project<'_> {
    /// The last thing of every test, however it was done.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_discreet();
        }
    }
}

/// What a process serves.
struct Pages {
    metrics: String,
    health: String,
}

impl Pages {
    /// If it does already.
    fn of(huiju: &Huiju) -> Option<Pages> {
        let page = |path| Some(huiju.get(path)?.1);
        Some(Pages { metrics: page("/metrics")?, health: page("/health")? })
    }
}

/// Whether a value is not the middle of a longer number, as those of times are.
fn stands_alone(line: &[u8], hit: std::ops::Range<usize>) -> bool {
    let digit = |at: Option<usize>| at.and_then(|at| line.get(at)).is_some_and(u8::is_ascii_digit);
    let starts = !(digit(hit.start.checked_sub(1)) && digit(Some(hit.start)));
    starts && !(digit(Some(hit.end)) && digit(hit.end.checked_sub(1)))
}

impl Huiju {
    /// The object on the last line of standard output.
    #[track_caller]
    pub fn summary(&self) -> serde_json::Value {
        let said = self.stdout();
        let last = said.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {last}\n{}", self.stderr()))
    }

    /// Waits for a text in the log.
    #[track_caller]
    pub fn says(&mut self, text: &str, limit: Duration) {
        let start = std::time::Instant::now();
        while !self.stderr().contains(text) {
            let running = self.process.is_running();
            let log = self.stderr();
            assert!(running || log.contains(text), "ended without saying {text:?}:\n{log}");
            assert!(start.elapsed() < limit, "does not say {text:?} within {limit:?}:\n{log}");
            self.process.wait(Duration::from_millis(50));
        }
    }
}

/// Whether a process was ended by `kill -9`.
pub fn was_killed(status: ExitStatus) -> bool {
    std::os::unix::process::ExitStatusExt::signal(&status) == Some(libc::SIGKILL)
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
