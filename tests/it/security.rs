//! Huiju over TLS and SCRAM with the least permissions it needs, and what it says when one of them is missing.
//!
//! One broker with an authorizer: an open listener for the test itself (its user is a super user), an encrypted one, and
//! one whose certificate has expired. Certificates are made here; nothing outlives the test.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use crate::support::{Huiju, Kafka, Project, Settings, kafka::free_ports, project::SOURCES, samples, truth};

const SOON: Duration = Duration::from_secs(300);
const PASSWORD: &str = "Geheim-4711-geheim";
const WRONG: &str = "Falsch-0815-falsch";

/// Who may do all, and who lacks one thing each.
const USERS: [&str; 5] = ["whole", "noread", "nowrite", "nogroup", "noid"];

#[test]
fn tls_scram_and_permissions_work_and_each_refusal_says_which() {
    let certificates = Certificates::make();
    let [secure, expired, mutual] = free_ports();
    let store = |name: &str| certificates.path(name).display().to_string();
    let (good, old, authority) = (store("server.pem"), store("expired.pem"), store("ca.pem"));
    let settings = [
        ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
        ("super.users", "User:ANONYMOUS"),
        ("sasl.enabled.mechanisms", "SCRAM-SHA-512"),
        ("ssl.keystore.type", "PEM"),
        ("ssl.keystore.location", &good),
        ("listener.name.expired.ssl.keystore.type", "PEM"),
        ("listener.name.expired.ssl.keystore.location", &old),
        ("listener.name.mutual.ssl.client.auth", "required"),
        ("listener.name.mutual.ssl.truststore.type", "PEM"),
        ("listener.name.mutual.ssl.truststore.location", &authority),
        ("listener.name.mutual.scram-sha-512.sasl.jaas.config", JAAS),
        ("listener.name.secure.scram-sha-512.sasl.jaas.config", JAAS),
        ("listener.name.expired.scram-sha-512.sasl.jaas.config", JAAS),
    ];
    let users = USERS.map(|user| (user, PASSWORD));
    let listeners = [("SECURE", secure), ("EXPIRED", expired), ("MUTUAL", mutual)];
    let Some(kafka) = Kafka::start_secured(&listeners, &settings, &users) else { return };
    let project = Project::new(&kafka, "security", Settings { partitions: 1, ..Settings::default() });
    permit(&kafka, &project);
    let messages = samples(300, 41);
    project.send(&messages);

    let try_as = |name: &str, user: &str, change: &dyn Fn(&mut Access)| {
        let mut access = Access {
            brokers: format!("127.0.0.1:{secure}"),
            authority: certificates.path("ca.pem"),
            user: user.to_owned(),
            password: PASSWORD,
            mechanism: "SCRAM-SHA-512",
            protocol: "SASL_SSL",
            certificate: None,
        };
        change(&mut access);
        access.start(&project, name)
    };
    let same = |_: &mut Access| {};
    let mut refused = vec![
        ("wrong password", try_as("password", "whole", &|a| a.password = WRONG), "refuses our credentials", "SCRAM"),
        ("unknown user", try_as("user", "nobody", &|a| a.user = "nobody".into()), "refuses our credentials", "SCRAM"),
        (
            "wrong mechanism",
            try_as("mechanism", "whole", &|a| a.mechanism = "PLAIN"),
            "refuses our credentials",
            "PLAIN",
        ),
        (
            "wrong authority",
            try_as("authority", "whole", &|a| a.authority = certificates.path("other.pem")),
            "certificate is not signed by an authority",
            "ssl.ca.location",
        ),
        (
            "wrong name",
            try_as("name", "whole", &|a| a.brokers = format!("localhost:{secure}")),
            "certificate is for another host name",
            "localhost",
        ),
        (
            "no certificate of ours",
            try_as("anonymous", "whole", &|a| a.brokers = format!("127.0.0.1:{mutual}")),
            "wants a certificate of ours",
            "ssl.certificate.location",
        ),
        (
            "a certificate of strangers",
            try_as("stranger", "whole", &|a| {
                a.brokers = format!("127.0.0.1:{mutual}");
                a.certificate = Some(certificates.path("stranger"));
            }),
            "wants a certificate of ours, of an authority that it trusts",
            "ssl.certificate.location",
        ),
        (
            "in the clear",
            try_as("clear", "whole", &|a| a.protocol = "plaintext"),
            "its port takes security.protocol = sasl_ssl, and ours is plaintext",
            "brokers",
        ),
        (
            "credentials in the clear",
            try_as("told", "whole", &|a| a.protocol = "sasl_plaintext"),
            "its port takes security.protocol = sasl_ssl, and ours is sasl_plaintext",
            "brokers",
        ),
        (
            "no credentials",
            try_as("untold", "whole", &|a| a.protocol = "ssl"),
            "its port takes security.protocol = sasl_ssl, and ours is ssl",
            "brokers",
        ),
        (
            "a port in the clear",
            try_as("open", "whole", &|a| a.brokers = kafka.bootstrap()),
            "its port takes security.protocol = plaintext, and ours is sasl_ssl",
            "brokers",
        ),
        (
            "a port without credentials",
            try_as("openly", "whole", &|a| {
                a.brokers = kafka.bootstrap();
                a.protocol = "sasl_plaintext";
            }),
            "its port takes security.protocol = plaintext, and ours is sasl_plaintext",
            "brokers",
        ),
        ("no read", try_as("noread", "noread", &same), "no permission on the topic", ".raw.work_orders."),
        ("no write", try_as("nowrite", "nowrite", &same), "no permission on the topic", ".standard.work_orders"),
        ("no group", try_as("nogroup", "nogroup", &same), "no permission on the consumer group", "nogroup.work_orders"),
        ("no id", try_as("noid", "noid", &same), "no permission on the transactional id", "noid.work_orders"),
    ];
    let mut waiting = try_as("expired", "whole", &|a| a.brokers = format!("127.0.0.1:{expired}"));
    let mut wrong = String::new();
    for (what, huiju, word, place) in &mut refused {
        let status = huiju.wait(SOON);
        let log = huiju.stderr();
        let last = log.lines().rfind(|line| line.starts_with("huiju: ")).unwrap_or_default();
        if status.code() != Some(2) || !last.contains(*word) || !last.contains(*place) {
            wrong += &format!("{what}: {status}: {last}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    // A broker can be given a new certificate while we wait.
    waiting.says("certificate has expired", SOON);
    assert!(project.terminate(waiting).success());

    let mut whole = try_as("whole", "whole", &same);
    let status = whole.wait(SOON);
    assert!(status.success(), "{status}: {}", whole.stderr());
    assert_eq!(project.settle().account, truth(&messages));

    // A broker that wants to see a certificate of ours.
    let mut known = try_as("known", "whole", &|a| {
        a.brokers = format!("127.0.0.1:{mutual}");
        a.certificate = Some(certificates.path("server"));
    });
    let status = known.wait(SOON);
    assert!(status.success(), "{status}: {}", known.stderr());

    // A permission that is taken away while it runs.
    for (topic, operation) in [(project.clean_topic(), "Write"), (project.topic(SOURCES[0]), "Read")] {
        let mut running = try_as("running", "whole", &same);
        running.says("assigned", SOON);
        let change = |verb: &'static [&'static str]| {
            let rest = ["--allow-principal", "User:whole", "--topic", &topic, "--operation", operation];
            kafka.tool("AclCommand", &[verb, &rest].concat());
        };
        change(&["--remove", "--force"]);
        project.send(&samples(30, 42));
        let status = running.wait(SOON);
        let log = running.stderr();
        let last = log.lines().rfind(|line| line.starts_with("huiju: ")).unwrap_or_default();
        let told = last.contains("no permission on the topic") && last.contains(&topic);
        assert!(status.code() == Some(2) && told, "{operation} on {topic} is taken away: {status}: {last}");
        change(&["--add"]);
    }

    let logs = project.logs();
    for password in [PASSWORD, WRONG] {
        let line = logs.lines().find(|line| line.contains(password));
        assert!(line.is_none(), "a password is told: {line:?}");
    }
}

/// Users come from the broker's metadata; the module needs no more.
const JAAS: &str = "org.apache.kafka.common.security.scram.ScramLoginModule required;";

/// What the README says a user needs, except for the one thing that each of the others lacks.
fn permit(kafka: &Kafka, project: &Project) {
    let raw: Vec<String> = SOURCES.map(|source| project.topic(source)).into();
    let out = vec![project.clean_topic(), project.rejected_topic()];
    let group = vec![project.prefix.clone()];
    let all = |but: &str| USERS.into_iter().filter(|user| *user != but).collect::<Vec<_>>();
    let grant = |users: Vec<&str>, kind: &str, names: &[String], operations: &[&str]| {
        let mut arguments = vec!["--add".to_owned(), "--resource-pattern-type".to_owned()];
        arguments.push(if kind == "--topic" { "literal" } else { "prefixed" }.to_owned());
        arguments.extend(users.iter().flat_map(|user| ["--allow-principal".to_owned(), format!("User:{user}")]));
        arguments.extend(names.iter().flat_map(|name| [kind.to_owned(), name.clone()]));
        arguments.extend(operations.iter().flat_map(|operation| ["--operation".to_owned(), (*operation).to_owned()]));
        kafka.tool("AclCommand", &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    };
    std::thread::scope(|scope| {
        // To see a topic is not yet to read it: the refusal comes later, and from elsewhere.
        scope.spawn(|| grant(vec!["noread"], "--topic", &raw, &["Describe"]));
        scope.spawn(|| grant(all("noread"), "--topic", &raw, &["Describe", "Read"]));
        scope.spawn(|| grant(vec!["nowrite"], "--topic", &out, &["Describe"]));
        scope.spawn(|| grant(all("nowrite"), "--topic", &out, &["Describe", "Write"]));
        scope.spawn(|| grant(all("nogroup"), "--group", &group, &["Read"]));
        scope.spawn(|| grant(all("noid"), "--transactional-id", &group, &["Describe", "Write"]));
    });
}

struct Access {
    brokers: String,
    authority: PathBuf,
    user: String,
    password: &'static str,
    mechanism: &'static str,
    protocol: &'static str,
    /// Of ours: file name without ending.
    certificate: Option<PathBuf>,
}

impl Access {
    /// Runs with a group and an archive of its own, to the ends unless it has to wait or something is to happen to it.
    fn start(&self, project: &Project, name: &str) -> Huiju {
        let Access { brokers, authority, user, password, mechanism, protocol, certificate } = self;
        let certificate = certificate.as_ref().map(|file| {
            let file = file.display();
            format!("\"ssl.certificate.location\" = \"{file}.crt\"\n\"ssl.key.location\" = \"{file}.key\"\n")
        });
        let certificate = certificate.unwrap_or_default();
        let prefix = &project.prefix;
        let archive = if name == "whole" { "archive" } else { name };
        let text = format!(
            "instance = \"{name}\"\n\
             [kafka]\nbrokers = \"{brokers}\"\ngroup = \"{prefix}.{name}\"\n\
             [kafka.properties]\n\
             \"security.protocol\" = \"{protocol}\"\n\
             \"ssl.ca.location\" = \"{}\"\n\
             \"sasl.mechanism\" = \"{mechanism}\"\n\
             \"sasl.username\" = \"{user}\"\n\
             \"sasl.password\" = {{ env = \"HUIJU_TEST_PASSWORD\" }}\n\
             \"session.timeout.ms\" = \"3000\"\n\
             {certificate}[archive]\ninterval = \"150ms\"\nlocation = \"{archive}\"\n",
            authority.display()
        );
        let config = format!("{name}.toml");
        fs::write(project.path(&config), text).unwrap();
        let mut arguments = vec!["run", "--config", &config, "--log", "huiju=debug,librdkafka=debug"];
        if !["expired", "running"].contains(&name) {
            arguments.push("--until-end");
        }
        project.start(&arguments, &[("HUIJU_TEST_PASSWORD", password)])
    }
}

/// An authority, a broker's certificate of it, one that has expired, and an authority nobody knows with one of its own.
struct Certificates(TempDir);

impl Certificates {
    fn make() -> Certificates {
        let made = Certificates(TempDir::with_prefix("huiju-certificates-").unwrap());
        for authority in ["ca", "other"] {
            made.openssl(&format!(
                "req -x509 -newkey rsa:2048 -nodes -keyout {authority}.key -out {authority}.pem -days 2 -subj /CN={authority}"
            ));
        }
        fs::write(made.path("names.cnf"), "subjectAltName=IP:127.0.0.1\n").unwrap();
        for (name, days, authority) in [("server", "2", "ca"), ("expired", "0", "ca"), ("stranger", "2", "other")] {
            made.openssl(&format!("req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN=broker"));
            made.openssl(&format!(
                "x509 -req -in {name}.csr -CA {authority}.pem -CAkey {authority}.key -CAcreateserial -days {days} -extfile names.cnf -out {name}.crt"
            ));
            // Kafka takes key and certificate in one file.
            let whole = made.read(&format!("{name}.key")) + &made.read(&format!("{name}.crt"));
            fs::write(made.path(&format!("{name}.pem")), whole).unwrap();
        }
        made
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn openssl(&self, arguments: &str) {
        run(self.0.path(), arguments);
    }
}

fn run(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}
