//! A real Apache Kafka: one node or a few, on this machine only, no containers.
//!
//! Kafka 4.3.0 to 4.4.0 lose what was being committed when the only broker is killed (KAFKA-20734), and tests that kill
//! it may fail of that.

use std::{
    fs,
    net::TcpListener,
    ops::Range,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
};
use tempfile::TempDir;

use super::{
    eventually,
    jars::{jvm, libs_or_skip},
    process::Process,
};

const START_LIMIT: Duration = Duration::from_secs(300);

/// A cluster of its own, of one broker unless said otherwise; it ends when this is dropped. Methods panic where a test
/// could not go on.
pub struct Kafka {
    libs: PathBuf,
    nodes: Vec<Node>,
}

/// Broker and controller in one.
struct Node {
    folder: TempDir,
    port: u16,
    /// The port by which the nodes agree.
    controller: u16,
    jvm: Mutex<Option<Process>>,
}

/// One broker for all tests of this process that do no harm to it.
pub fn shared() -> Option<&'static Kafka> {
    static SHARED: OnceLock<Kafka> = OnceLock::new();

    /// Statics are not dropped: takes the broker and its files away at the end of the process.
    extern "C" fn remove() {
        for node in SHARED.get().iter().flat_map(|kafka| &kafka.nodes) {
            if let Ok(mut jvm) = node.jvm.lock() {
                jvm.take();
            }
            let _ = fs::remove_dir_all(node.folder.path());
        }
    }

    let libs = libs_or_skip()?;
    Some(SHARED.get_or_init(|| {
        // SAFETY: `remove` is a plain function that does not panic.
        unsafe { libc::atexit(remove) };
        Kafka::new(libs, 1, &[], &[], &[])
    }))
}

impl Kafka {
    /// A fresh broker, or none (said in words) where it cannot be had.
    pub fn start() -> Option<Kafka> {
        Kafka::start_with(&[])
    }

    /// With settings of `server.properties` on top of ours.
    pub fn start_with(settings: &[(&str, &str)]) -> Option<Kafka> {
        Some(Kafka::new(libs_or_skip()?, 1, settings, &[], &[]))
    }

    /// So many brokers; each topic has as many replicas, and takes what two of them have.
    pub fn start_many(nodes: usize) -> Option<Kafka> {
        Some(Kafka::new(libs_or_skip()?, nodes, &[("min.insync.replicas", "2")], &[], &[]))
    }

    /// With encrypted listeners (name and port) beside the open one, and users: password by name.
    pub fn start_secured(
        listeners: &[(&str, u16)],
        settings: &[(&str, &str)],
        users: &[(&str, &str)],
    ) -> Option<Kafka> {
        Some(Kafka::new(libs_or_skip()?, 1, settings, listeners, users))
    }

    fn new(
        libs: PathBuf,
        count: usize,
        settings: &[(&str, &str)],
        listeners: &[(&str, u16)],
        users: &[(&str, &str)],
    ) -> Kafka {
        let node = |_| {
            let [port, controller] = free_ports();
            Node { folder: TempDir::with_prefix("huiju-kafka-").unwrap(), port, controller, jvm: Mutex::default() }
        };
        let kafka = Kafka { libs, nodes: (0..count).map(node).collect() };
        for (number, node) in kafka.nodes.iter().enumerate() {
            let mut text = properties(number, &kafka.nodes, listeners);
            for (key, value) in settings {
                text.push_str(&format!("{key}={value}\n"));
            }
            fs::write(node.properties(), text).unwrap();
            kafka.format(node, users);
        }
        kafka.nodes.iter().for_each(|node| node.boot(&kafka.libs));
        kafka.answers();
        kafka
    }

    pub fn bootstrap(&self) -> String {
        let places: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        places.join(",")
    }

    /// An orderly stop.
    pub fn stop(&self) {
        self.nodes.iter().for_each(Node::stop);
    }

    /// `kill -9`.
    pub fn kill(&self) {
        self.nodes.iter().for_each(Node::kill);
    }

    /// The brokers stand still, connections stay open.
    pub fn pause(&self) {
        self.nodes.iter().for_each(|node| node.signal(libc::SIGSTOP));
    }

    pub fn resume(&self) {
        self.nodes.iter().for_each(|node| node.signal(libc::SIGCONT));
    }

    /// Starts it again on the same ports and files, after a stop if it still runs.
    pub fn restart(&self) {
        self.stop();
        self.nodes.iter().for_each(|node| node.boot(&self.libs));
        self.answers();
    }

    /// One of several brokers goes away, in order or killed; the others take over what it led.
    pub fn lose_one(&self, number: usize, killed: bool) {
        if killed { self.nodes[number].kill() } else { self.nodes[number].stop() }
    }

    /// It comes back; returns when partitions have moved to it again.
    pub fn bring_back(&self, number: usize) {
        self.nodes[number].boot(&self.libs);
        self.answers();
        let client: BaseConsumer = self.client().create().unwrap();
        eventually("the broker leads again", START_LIMIT, || {
            let metadata = client.fetch_metadata(None, Duration::from_secs(5)).ok()?;
            let mut partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
            partitions.any(|partition| partition.leader() == number as i32 + 1).then_some(())
        });
    }

    /// Waits for all brokers.
    fn answers(&self) {
        let client: BaseConsumer = self.client().create().unwrap();
        eventually("the brokers answer", START_LIMIT, || {
            self.nodes.iter().for_each(Node::assert_running);
            let metadata = client.fetch_metadata(None, Duration::from_secs(1)).ok()?;
            (metadata.brokers().len() == self.nodes.len()).then_some(())
        });
    }

    /// A topic with settings like `("retention.ms", "1000")`; returns when all its partitions have a leader.
    pub fn create_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(self.nodes.len() as i32));
        topic.config.extend(settings);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)));
        let made = runtime.block_on(self.admin().create_topics([&topic], &options)).unwrap();
        made.into_iter().for_each(|result| drop(result.unwrap()));

        self.has_leaders(name, partitions as usize);
    }

    fn has_leaders(&self, topic: &str, partitions: usize) {
        let client: BaseConsumer = self.client().create().unwrap();
        eventually(&format!("{topic} has leaders"), START_LIMIT, || {
            let metadata = client.fetch_metadata(Some(topic), Duration::from_secs(5)).ok()?;
            let led = metadata.topics()[0].partitions().iter().filter(|partition| partition.leader() >= 0).count();
            (led == partitions).then_some(())
        });
    }

    /// More partitions for a topic; returns when all have a leader.
    pub fn grow(&self, topic: &str, partitions: usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)));
        let wanted = NewPartitions::new(topic, partitions);
        let made = runtime.block_on(self.admin().create_partitions([&wanted], &options)).unwrap();
        made.into_iter().for_each(|result| drop(result.unwrap()));
        self.has_leaders(topic, partitions);
    }

    /// Deletes a topic; returns when it is gone.
    pub fn delete_topic(&self, topic: &str) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)));
        let gone = runtime.block_on(self.admin().delete_topics(&[topic], &options)).unwrap();
        gone.into_iter().for_each(|result| drop(result.unwrap()));
        let client: BaseConsumer = self.client().create().unwrap();
        eventually(&format!("{topic} is gone"), START_LIMIT, || {
            let metadata = client.fetch_metadata(Some(topic), Duration::from_secs(5)).ok()?;
            metadata.topics()[0].error().map(drop)
        });
    }

    /// The broker forgets a group without members and its offsets.
    pub fn delete_group(&self, group: &str) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let gone = runtime.block_on(self.admin().delete_groups(&[group], &AdminOptions::new())).unwrap();
        gone.into_iter().for_each(|result| drop(result.unwrap()));
    }

    /// Says where a group without members goes on, as `kafka-consumer-groups.sh --reset-offsets` does.
    pub fn set_offset(&self, group: &str, topic: &str, partition: i32, offset: i64) {
        let client: BaseConsumer = self.client().set("group.id", group).create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
        client.commit(&list, rdkafka::consumer::CommitMode::Sync).unwrap();
    }

    /// The committed offset of each partition, `None` where there is none.
    pub fn offsets(&self, group: &str, topic: &str, partitions: i32) -> Vec<Option<i64>> {
        let client: BaseConsumer = self.client().set("group.id", group).create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_range(topic, 0, partitions - 1);
        let offsets = client.committed_offsets(list, Duration::from_secs(30)).unwrap();
        offsets.elements().iter().map(|element| element.offset().to_raw().filter(|offset| *offset >= 0)).collect()
    }

    /// Deletes the records of a partition below an offset, as retention does.
    pub fn delete_records(&self, topic: &str, partition: i32, below: i64) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(below)).unwrap();
        runtime.block_on(self.admin().delete_records(&list, &AdminOptions::new())).unwrap();
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().unwrap()
    }

    /// What one of Kafka's own tools prints, for instance `tool("GetOffsetShell", &["--topic", "x"])`.
    pub fn tool(&self, class: &str, arguments: &[&str]) -> String {
        let bootstrap = self.bootstrap();
        let connect = ["--bootstrap-server", bootstrap.as_str()];
        self.java(&format!("org.apache.kafka.tools.{class}"), &[&connect, arguments].concat())
    }

    /// Kafka's console consumer writes the committed messages of a topic to a file, one a line: partition, offset, key
    /// and value between tabs. It ends when nothing comes for a while, which its own start counts to.
    pub fn print_committed(&self, topic: &str, expected: u64, file: &Path) {
        for patience in ["5000", "30000", "120000"] {
            if self.printed_committed(topic, patience, file) >= expected {
                break;
            }
        }
    }

    fn printed_committed(&self, topic: &str, patience: &str, file: &Path) -> u64 {
        let output = fs::File::create(file).unwrap();
        let mut command = jvm(&self.libs, "256m");
        command.arg("org.apache.kafka.tools.consumer.ConsoleConsumer");
        command.args(["--bootstrap-server", &self.bootstrap(), "--topic", topic, "--from-beginning"]);
        command.args(["--isolation-level", "read_committed", "--timeout-ms", patience]);
        for shown in ["partition", "offset", "key"] {
            command.args(["--formatter-property", &format!("print.{shown}=true")]);
        }
        let output = command.stdin(Stdio::null()).stdout(output).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let total = said.split_once("Processed a total of ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
        total.unwrap_or_else(|| panic!("the console consumer: {said}"))
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap());
        config
    }

    fn java(&self, class: &str, arguments: &[&str]) -> String {
        let output = jvm(&self.libs, "256m").arg(class).args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{class}: {text}\n{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    fn format(&self, node: &Node, users: &[(&str, &str)]) {
        // Sixteen bytes in base64, as Kafka wants them.
        let cluster = "aHVpanUtdGVzdC1jbHVzdA";
        let file = node.properties().display().to_string();
        let scram: Vec<String> =
            users.iter().map(|(name, password)| format!("SCRAM-SHA-512=[name={name},password={password}]")).collect();
        let users = scram.iter().flat_map(|user| ["--add-scram", user]);
        let arguments: Vec<&str> = ["format", "-t", cluster, "-c", &file].into_iter().chain(users).collect();
        self.java("kafka.tools.StorageTool", &arguments);
    }
}

impl Node {
    fn properties(&self) -> PathBuf {
        self.folder.path().join("server.properties")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("broker.log")
    }

    fn boot(&self, libs: &Path) {
        let file = fs::OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        let mut command = jvm(libs, "512m");
        command.arg("kafka.Kafka").arg(self.properties());
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        *self.jvm.lock().unwrap() = Some(Process::spawn(command).unwrap());
    }

    fn assert_running(&self) {
        let running = self.jvm.lock().unwrap().as_mut().is_some_and(Process::is_running);
        assert!(running, "a broker has ended:\n{}", fs::read_to_string(self.log()).unwrap_or_default());
    }

    fn stop(&self) {
        if let Some(mut jvm) = self.jvm.lock().unwrap().take() {
            jvm.signal(libc::SIGTERM);
            assert!(jvm.wait(START_LIMIT).is_some(), "the broker does not stop");
        }
    }

    fn kill(&self) {
        self.jvm.lock().unwrap().take();
    }

    fn signal(&self, signal: i32) {
        self.jvm.lock().unwrap().as_mut().expect("the broker runs").signal(signal);
    }
}

fn properties(number: usize, nodes: &[Node], listeners: &[(&str, u16)]) -> String {
    let places: String = listeners.iter().map(|(name, port)| format!(",{name}://127.0.0.1:{port}")).collect();
    let kinds: String = listeners.iter().map(|(name, _)| format!(",{name}:SASL_SSL")).collect();
    let voters = nodes.iter().enumerate().map(|(voter, node)| format!("{}@127.0.0.1:{}", voter + 1, node.controller));
    let voters = voters.collect::<Vec<_>>().join(",");
    let Node { folder, port, controller, .. } = &nodes[number];
    let (id, all, two) = (number + 1, nodes.len(), nodes.len().min(2));
    format!(
        "process.roles=broker,controller\n\
         node.id={id}\n\
         controller.quorum.voters={voters}\n\
         controller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{places}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}{places}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{kinds}\n\
         log.dirs={}\n\
         num.partitions=1\n\
         auto.create.topics.enable=false\n\
         offsets.topic.replication.factor={all}\n\
         offsets.topic.num.partitions=4\n\
         transaction.state.log.replication.factor={all}\n\
         transaction.state.log.min.isr={two}\n\
         transaction.state.log.num.partitions=4\n\
         share.coordinator.state.topic.replication.factor={all}\n\
         share.coordinator.state.topic.min.isr={two}\n\
         transaction.abort.timed.out.transaction.cleanup.interval.ms=500\n\
         group.initial.rebalance.delay.ms=0\n\
         group.min.session.timeout.ms=500\n\
         group.consumer.min.session.timeout.ms=500\n\
         group.consumer.session.timeout.ms=3000\n\
         group.consumer.min.heartbeat.interval.ms=100\n\
         group.consumer.heartbeat.interval.ms=300\n\
         log.cleaner.dedupe.buffer.size=16777216\n\
         log.retention.check.interval.ms=500\n\
         leader.imbalance.check.interval.seconds=1\n",
        folder.path().join("log").display()
    )
}

/// Ports nobody listens on, outside the range that outgoing connections take theirs from: a client that knocks all the
/// time at the port of a stopped broker there would end up talking to itself, and keep the broker from it.
pub fn free_ports<const N: usize>() -> [u16; N] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let range = listening_range(fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok().as_deref());
    // Processes that were started one after the other begin far apart.
    let start = std::process::id().wrapping_mul(97) as usize;
    let mut held: Vec<TcpListener> = Vec::new();
    while held.len() < N {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) as usize;
        assert!(step < range.len(), "no free ports");
        let port = range.start + ((start + step) % range.len()) as u16;
        held.extend(TcpListener::bind(("127.0.0.1", port)).ok());
    }
    std::array::from_fn(|n| held[n].local_addr().unwrap().port())
}

/// Where ports for listening are, by what the system says of those of outgoing connections (`32768 60999` by default).
/// On machines whose range is as wide as can be there is no such place, and a part of it is taken.
fn listening_range(outgoing: Option<&str>) -> Range<u16> {
    let outgoing = outgoing.and_then(|text| {
        let mut bounds = text.split_whitespace().map(|bound| bound.parse::<u16>().ok());
        Some((bounds.next()??, bounds.next()??))
    });
    let (first, last) = outgoing.unwrap_or((32_768, 60_999));
    let roomy = |range: &Range<u16>| range.len() >= 2_000;
    [10_000..first, last.saturating_add(1)..u16::MAX].into_iter().find(roomy).unwrap_or(20_000..30_000)
}

#[test]
fn ports_for_listening_are_not_those_of_outgoing_connections() {
    assert_eq!(listening_range(Some("32768\t60999\n")), 10_000..32_768);
    assert_eq!(listening_range(Some("10000 59000")), 59_001..65_535);
    assert_eq!(listening_range(Some("1024 65535")), 20_000..30_000);
    assert_eq!(listening_range(None), 10_000..32_768);
}
