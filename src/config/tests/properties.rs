//! `[kafka.properties]`.

use super::*;

fn with(lines: &str) -> String {
    format!("[kafka]\nbrokers = \"a:9092\"\n[kafka.properties]\n{lines}")
}

#[test]
fn texts_numbers_and_unquoted_dots() {
    let text = with(
        "\"linger.ms\" = 5\n\"enable.ssl.certificate.verification\" = true\nsasl.username = \"u\"\n\
                     sasl.password = { env = \"HUIJU_KAFKA_PASSWORD\" }",
    );
    let Topics::Kafka(kafka) = read_text(&text).unwrap().topics else { panic!("no kafka") };
    let shown: Vec<String> = kafka.properties.iter().map(|(key, value)| format!("{key}={}", value.expose())).collect();
    assert_eq!(
        shown,
        ["enable.ssl.certificate.verification=true", "linger.ms=5", "sasl.password=geheim", "sasl.username=u"]
    );
    assert!(!format!("{kafka:?}").contains("geheim"));
}

#[test]
fn what_huiju_sets_itself_cannot_be_set() {
    let ours = [
        "metadata.broker.list",
        "client.id",
        "acks",
        "request.required.acks",
        "partition.assignment.strategy",
        "delivery.report.only.error",
        "statistics.interval.ms",
        "group.instance.id",
        "topic.blacklist",
        "test.mock.num.brokers",
        "allow.auto.create.topics",
    ];
    for name in ours {
        let refused = read_text(&with(&format!("\"{name}\" = \"1\""))).expect_err(name);
        let told = refused.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(told.contains(&format!("huiju.toml:4: {name}: cannot be set here: ")), "{told}");
    }
}

#[test]
fn those_that_break_delivery_are_refused() {
    check(
        &with(
            r#"
"enable.auto.commit" = false
"enable.auto.offset.store" = true
"auto.offset.reset" = "latest"
"isolation.level" = "read_uncommitted"
"transactional.id" = "x"
"group.id" = "x"
"enable.idempotence" = false
"partitioner" = "random"
"enable.partition.eof" = true
bootstrap.servers = "x"
"metadata.max.age.ms" = 2147484
"topic.metadata.refresh.interval.ms" = "715828"
"#,
        ),
        expect![[r#"
            huiju.toml:5: enable.auto.commit: cannot be set here: offsets are committed by the sinks, together with the rows; committing earlier loses rows
            huiju.toml:6: enable.auto.offset.store: cannot be set here: offsets are committed by the sinks, together with the rows
            huiju.toml:7: auto.offset.reset: cannot be set here: it would jump over messages that are gone; write gaps and start in pipeline.toml instead
            huiju.toml:8: isolation.level: cannot be set here: reading uncommitted messages would carry rows that their producer took back
            huiju.toml:9: transactional.id: cannot be set here: it is made of group, pipeline and instance, so that a second process is told apart
            huiju.toml:10: group.id: cannot be set here: each pipeline has its own group, write the prefix as group in [kafka] instead
            huiju.toml:11: enable.idempotence: cannot be set here: without it a retry writes rows twice
            huiju.toml:12: partitioner: cannot be set here: rows of one key must stay in one partition, whoever writes them: it is murmur2_random
            huiju.toml:13: enable.partition.eof: cannot be set here: the ends of partitions are looked up, not waited for
            huiju.toml:14: bootstrap.servers: cannot be set here: write brokers in [kafka] instead
            huiju.toml:15: metadata.max.age.ms: above 2147483 librdkafka finds no topic, because a number of its own overflows
            huiju.toml:16: topic.metadata.refresh.interval.ms: above 715827 librdkafka finds no topic, because a number of its own overflows
        "#]],
    );
}

/// Only who connects needs them.
#[test]
fn files_of_the_client_lie_beside_the_configuration_and_are_looked_for_when_they_are_needed() {
    let config = read_text(&with(
        "\"ssl.ca.location\" = \"no/such.pem\"\n\"ssl.key.location\" = { env = \"HUIJU_KAFKA_PASSWORD\" }\n\"ssl.keystore.location\" = \"\"\n",
    ));
    let Topics::Kafka(kafka) = config.unwrap().topics else { panic!("no kafka") };
    let paths: Vec<&str> = kafka.properties.iter().map(|(_, path)| path.expose()).collect();
    assert_eq!(paths, ["no/such.pem", "geheim", ""]);
    let refused = kafka.look_for_secrets().unwrap_err().to_string();
    assert!(refused.contains("ssl.ca.location: the file no/such.pem cannot be read"), "{refused}");
}

#[test]
fn secrets_come_from_elsewhere() {
    check(
        &with(
            r#"
"sasl.password" = "geheim"
"sasl.oauthbearer.client.secret" = "geheim"
"ssl.ca.location" = { env = 1 }
"sasl.oauthbearer.config" = "principal=geheim"
"sasl.oauthbearer.assertion.private.key.pem" = "geheim"
"sasl.oauthbearer.assertion.private.key.passphrase" = "geheim"
ssl.truststore.password = { enviroment = "geheim" }
"ssl.truststore.location" = { env = "HOME", file = "geheim" }
ssl.certificate.location = { path = "geheim" }
"sasl.mechanism" = { env = "LATIN" }
"#,
        ),
        expect![[r#"
            huiju.toml:5: sasl.password: a secret does not belong in this file: write { env = "NAME_OF_A_VARIABLE" } or { file = "/run/secrets/kafka" }
            huiju.toml:6: sasl.oauthbearer.client.secret: a secret does not belong in this file: write { env = "NAME_OF_A_VARIABLE" } or { file = "/run/secrets/kafka" }
            huiju.toml:7: ssl.ca.location: env = "…" is wanted, this is a whole number
            huiju.toml:8: sasl.oauthbearer.config: a secret does not belong in this file: write { env = "NAME_OF_A_VARIABLE" } or { file = "/run/secrets/kafka" }
            huiju.toml:9: sasl.oauthbearer.assertion.private.key.pem: a secret does not belong in this file: write { env = "NAME_OF_A_VARIABLE" } or { file = "/run/secrets/kafka" }
            huiju.toml:10: sasl.oauthbearer.assertion.private.key.passphrase: a secret does not belong in this file: write { env = "NAME_OF_A_VARIABLE" } or { file = "/run/secrets/kafka" }
            huiju.toml:11: ssl.truststore.password: write { env = "NAME_OF_A_VARIABLE" } or { file = "/run/secrets/kafka" }, one key: this has enviroment
            huiju.toml:12: ssl.truststore.location: write { env = "NAME_OF_A_VARIABLE" } or { file = "/run/secrets/kafka" }, one key: this has env, file
            huiju.toml:13: ssl.certificate.location: write { env = "NAME_OF_A_VARIABLE" } or { file = "/run/secrets/kafka" }, one key: this has path
            huiju.toml:14: sasl.mechanism: the environment variable LATIN is not UTF-8 text
        "#]],
    );
}

#[test]
fn a_file_holds_a_secret_and_a_newline() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("pw"), "geheim\n").unwrap();
    fs::write(dir.path().join("huiju.toml"), with("sasl.password = { file = \"pw\" }")).unwrap();
    let Topics::Kafka(kafka) = Config::read(&dir.path().join("huiju.toml")).unwrap().topics else { panic!() };
    assert_eq!(kafka.properties[0].1.expose(), "geheim");
}

#[test]
fn librdkafka_is_asked_about_names_and_values() {
    check(
        &with(
            "\"sasl.mechanisn\" = \"PLAIN\"\n\"no.such.thing\" = 1\n\"security.protocol\" = \"geheim\"\n\"linger.ms\" = [1]",
        ),
        expect![[r#"
            huiju.toml:4: sasl.mechanisn: librdkafka knows no such property: did you mean "sasl.mechanism"?
            huiju.toml:5: no.such.thing: librdkafka knows no such property (its CONFIGURATION.md lists them)
            huiju.toml:6: security.protocol: librdkafka does not take this value (its CONFIGURATION.md lists what it takes)
            huiju.toml:7: linger.ms: a text, a number or true or false is wanted, this is a list
        "#]],
    );
}

#[test]
fn what_gives_the_password_away_or_lets_others_stand_in_is_told() {
    let doors = |lines: &str| {
        let Topics::Kafka(kafka) = read_text(&with(lines)).unwrap().topics else { panic!("no kafka") };
        let doors = kafka.open_doors();
        doors.iter().map(|door| door.split(": ").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (clear, tls) = ("security.protocol = \"sasl_plaintext\"", "security.protocol = \"SASL_SSL\"");
    let (plain, scram) = ("sasl.mechanism = \"PLAIN\"", "sasl.mechanisms = \"SCRAM-SHA-512\"");
    let (unverified, nameless) =
        ("enable.ssl.certificate.verification = false", "ssl.endpoint.identification.algorithm = \"none\"");
    assert_eq!(doors(&[clear, plain].join("\n")), ["security.protocol"]);
    assert_eq!(doors("security.protocol = \" SASL_PLAINTEXT\"\nsasl.mechanism = \" PLAIN\""), ["security.protocol"]);
    assert!(doors(&[clear, scram].join("\n")).is_empty());
    assert!(doors(&[tls, plain].join("\n")).is_empty());
    let both = ["enable.ssl.certificate.verification", "ssl.endpoint.identification.algorithm"];
    assert_eq!(doors(&[tls, scram, unverified, nameless].join("\n")), both);
    assert!(doors(&[unverified, nameless].join("\n")).is_empty(), "nothing is verified without TLS");
}

#[test]
fn what_nobody_sees_in_a_secret_is_left_out_or_refused() {
    let secret = |key: &str, from: &str| {
        let config = read_text(&with(&format!("{key} = {{ env = \"{from}\" }}"))).map_err(|found| show(&found))?;
        let Topics::Kafka(kafka) = config.topics else { panic!("no kafka") };
        Ok::<_, String>(kafka.properties[0].1.expose().to_owned())
    };
    assert_eq!(secret("sasl.password", "MARKED").unwrap(), "geheim");
    let refused = |key: &str, from: &str, expect: Expect| expect.assert_eq(&secret(key, from).unwrap_err());
    refused(
        "sasl.password",
        "BLANK",
        expect![[r#"
        huiju.toml:4: sasl.password: the environment variable BLANK holds nothing but blanks
    "#]],
    );
    refused(
        "sasl.password",
        "TORN",
        expect![[r#"
        huiju.toml:4: sasl.password: the environment variable TORN holds a newline, a tab or another control character: take it out
    "#]],
    );
    assert_eq!(secret("ssl.key.pem", "TORN").unwrap(), "ge\nheim", "a key has lines");
}

#[test]
fn a_file_of_a_secret_is_read_as_a_variable_is() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("huiju.toml"), with("sasl.password = { file = \"pw\" }")).unwrap();
    let read = |text: &str| {
        fs::write(dir.path().join("pw"), text).unwrap();
        Config::read(&dir.path().join("huiju.toml")).map_err(|error| error.to_string())
    };
    let Topics::Kafka(kafka) = read("\u{feff}geheim\n\r\n").unwrap().topics else { panic!("no kafka") };
    assert_eq!(kafka.properties[0].1.expose(), "geheim");
    for (text, word) in [("  \n", "nothing but blanks"), ("ge\theim", "control character")] {
        let said = read(text).unwrap_err();
        assert!(said.contains("pw ") && said.contains(word) && !said.contains("heim"), "{said}");
    }
}

/// Rows are tried, and tables looked after, by people who must not know the password.
#[test]
fn a_secret_that_is_not_there_stops_only_who_connects() {
    let text = with(
        r#"
"security.protocol" = { env = "NOT_SET" }
"sasl.password" = { env = "NOT_SET" }
"ssl.key.password" = { file = "no/such/file" }
"ssl.key.location" = { file = "/dev/zero" }
"sasl.username" = { env = "EMPTY" }
"ssl.ca.location" = "ca"
"#,
    );
    let Topics::Kafka(kafka) = read_text(&text).unwrap().topics else { panic!("no kafka") };
    let names: Vec<&str> = kafka.properties.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["ssl.ca.location"]);
    expect![[r#"
        huiju.toml:5: security.protocol: the environment variable NOT_SET is not set
        huiju.toml:6: sasl.password: the environment variable NOT_SET is not set
        huiju.toml:7: ssl.key.password: the file no/such/file cannot be read: No such file or directory (os error 2)
        huiju.toml:8: ssl.key.location: the file /dev/zero cannot be read: it is no file
        huiju.toml:9: sasl.username: the environment variable EMPTY is empty
    "#]]
    .assert_eq(&format!("{}\n", kafka.look_for_secrets().unwrap_err()));
}

#[test]
fn sasl_has_a_mechanism() {
    check(
        &with("\"security.protocol\" = \"sasl_ssl\"\nsasl.username = \"u\""),
        expect![[r#"
        huiju.toml:4: security.protocol: SASL needs a mechanism: write sasl.mechanism = "PLAIN", "SCRAM-SHA-256" or "SCRAM-SHA-512"
    "#]],
    );
    check(
        &with("\"security.protocol\" = \"SASL_PLAINTEXT\"\nsasl.mechanisms = \"GSSAPI\""),
        expect![[r#"
        huiju.toml:5: sasl.mechanism: huiju is built without Kerberos: write sasl.mechanism = "PLAIN", "SCRAM-SHA-256" or "SCRAM-SHA-512"
    "#]],
    );
    let token = "\"security.protocol\" = \"SASL_SSL\"\nsasl.mechanism = \"OAUTHBEARER\"\n";
    check(
        &with(token),
        expect![[r#"
        huiju.toml:5: sasl.mechanism: huiju fetches no tokens: write sasl.mechanism = "PLAIN", "SCRAM-SHA-256" or "SCRAM-SHA-512"
    "#]],
    );
    check(&with(&format!("{token}enable.sasl.oauthbearer.unsecure.jwt = true")), expect!["fine"]);
    for fine in ["SASL_SSL\"\nsasl.mechanism = \"PLAIN", "ssl", "plaintext\"\nsasl.mechanism = \"GSSAPI"] {
        check(&with(&format!("\"security.protocol\" = \"{fine}\"")), expect!["fine"]);
    }
}
