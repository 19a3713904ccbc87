use std::{
    net::{Ipv6Addr, TcpListener, TcpStream},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use openssl::{
    asn1::Asn1Time,
    bn::BigNum,
    ec::{EcGroup, EcKey},
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    ssl::{SslAcceptor, SslMethod},
    x509::{
        X509, X509Name,
        extension::{BasicConstraints, ExtendedKeyUsage, SubjectAlternativeName},
    },
};
use tempfile::TempDir;

use super::*;
use crate::{clock::Clock, config::Secret};

const DAY: i64 = 24 * 3600;

/// A key and a certificate of it.
struct Signed {
    key: PKey<Private>,
    certificate: X509,
}

impl Signed {
    /// By itself where there is no authority; valid from and to so many days from now.
    fn new(
        name: &str,
        days: [i64; 2],
        by: Option<&Signed>,
        extend: &dyn Fn(&mut openssl::x509::X509Builder),
    ) -> Signed {
        let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = PKey::from_ec_key(EcKey::generate(&curve).unwrap()).unwrap();
        let mut subject = X509Name::builder().unwrap();
        subject.append_entry_by_text("CN", name).unwrap();
        let subject = subject.build();
        let now = Clock::system().now().timestamp();
        let [from, to] = days.map(|days| Asn1Time::from_unix(now + days * DAY).unwrap());
        let mut made = X509::builder().unwrap();
        made.set_version(2).unwrap();
        made.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
        made.set_subject_name(&subject).unwrap();
        made.set_issuer_name(by.map_or(&subject, |by| by.certificate.subject_name())).unwrap();
        made.set_pubkey(&key).unwrap();
        made.set_not_before(&from).unwrap();
        made.set_not_after(&to).unwrap();
        extend(&mut made);
        made.sign(by.map_or(&key, |by| &by.key), MessageDigest::sha256()).unwrap();
        Signed { certificate: made.build(), key }
    }

    fn authority(name: &str) -> Signed {
        Signed::new(name, [-1, 1], None, &|made| {
            made.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        })
    }

    /// Of a broker that is to be found at 127.0.0.1, or at ::1.
    fn broker(days: [i64; 2], by: Option<&Signed>) -> Signed {
        Signed::new("broker", days, by, &|made| {
            let mut names = SubjectAlternativeName::new();
            names.ip("127.0.0.1").ip("::1");
            let names = names.build(&made.x509v3_context(None, None)).unwrap();
            made.append_extension(names).unwrap();
        })
    }

    fn pem(&self) -> String {
        String::from_utf8(self.certificate.to_pem().unwrap()).unwrap()
    }

    /// Shows its certificate, and those above it, to the first that knocks; gives the port.
    fn listen(&self, host: &str, above: &[&Signed]) -> u16 {
        self.wait(host, above).0
    }

    /// The same, and whether they have agreed.
    fn wait(&self, host: &str, above: &[&Signed]) -> (u16, Receiver<bool>) {
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
        acceptor.set_private_key(&self.key).unwrap();
        acceptor.set_certificate(&self.certificate).unwrap();
        above.iter().for_each(|above| acceptor.add_extra_chain_cert(above.certificate.clone()).unwrap());
        let acceptor = acceptor.build();
        let listener = TcpListener::bind((host, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, agreed) = mpsc::channel();
        thread::spawn(move || tell.send(acceptor.accept(listener.accept().unwrap().0).is_ok()));
        (port, agreed)
    }

    fn at_home(&self) -> String {
        format!("127.0.0.1:{}", self.listen("127.0.0.1", &[]))
    }
}

#[track_caller]
fn knock(brokers: &str, properties: &[(&str, &str)]) -> Option<Refusal> {
    let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect();
    let (client_id, group) = ("huiju".into(), "huiju".into());
    Knock::new(&config::Kafka { brokers: brokers.into(), client_id, group, properties, lacking: Vec::new() }).refusal()
}

/// A broker with a certificate that is as it should be.
#[track_caller]
fn taken(broker: &Signed, host: &str, properties: &[(&str, &str)]) {
    let (port, agreed) = broker.wait(host, &[]);
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let refusal = knock(&format!("{host}:{port}"), properties);
    assert!(refusal.is_none(), "{}", refusal.unwrap().words);
    assert_eq!(agreed.recv_timeout(Duration::from_secs(60)), Ok(true), "nobody has looked at it");
}

#[track_caller]
fn refused(kind: ErrorKind, words: &[&str], brokers: &str, properties: &[(&str, &str)]) {
    let refusal = knock(brokers, properties).expect("it is refused");
    assert_eq!(refusal.kind, kind, "{}", refusal.words);
    for words in words {
        assert!(refusal.words.contains(words), "{words}: {}", refusal.words);
    }
}

#[test]
fn what_is_wrong_with_a_certificate_and_who_has_to_mend_it() {
    let (ours, folder) = (Signed::authority("ours"), TempDir::new().unwrap());
    let file = folder.path().join("ca.pem").display().to_string();
    std::fs::write(&file, ours.pem()).unwrap();
    let known = [("ssl.ca.location", file.as_str())];
    let good = || Signed::broker([-1, 1], Some(&ours));
    taken(&good(), "127.0.0.1", &known);

    // The broker's people, or whoever sets clocks: we wait for them.
    let expired = Signed::broker([-2, -1], Some(&ours));
    let since = format!("has expired ({})", expired.certificate.not_after());
    refused(ErrorKind::Unavailable, &[&since], &expired.at_home(), &known);
    let early = Signed::broker([1, 2], Some(&ours));
    let from = format!("is not valid yet, only from {} on: check the clocks", early.certificate.not_before());
    refused(ErrorKind::Unavailable, &[&from], &early.at_home(), &known);
    let client = Signed::new("client", [-1, 1], Some(&ours), &|made| {
        made.append_extension(ExtendedKeyUsage::new().client_auth().build().unwrap()).unwrap();
    });
    refused(ErrorKind::Unavailable, &["certificate is refused: "], &client.at_home(), &known);

    // Ours: a name, or an authority.
    let another = "certificate is for another host name: write in brokers";
    let other_name = format!("localhost:{}", good().listen("localhost", &[]));
    refused(ErrorKind::Config, &[&format!("broker {other_name}: its"), another], &other_name, &known);
    let other_address = format!("127.0.0.2:{}", good().listen("127.0.0.2", &[]));
    refused(ErrorKind::Config, &[another], &other_address, &known);
    let theirs = Signed::authority("theirs");
    let unknown = "is not signed by an authority that we are told to trust: check ssl.ca.location";
    let of_strangers = Signed::broker([-1, 1], Some(&theirs));
    let whole = format!("127.0.0.1:{}", of_strangers.listen("127.0.0.1", &[&theirs]));
    for broker in [of_strangers.at_home(), whole, Signed::broker([-1, 1], None).at_home()] {
        refused(ErrorKind::Config, &[unknown, &format!("check ssl.ca.location = {file}")], &broker, &known);
    }
}

#[test]
fn a_knock_keeps_to_the_properties_of_the_client() {
    let (ours, folder) = (Signed::authority("ours"), TempDir::new().unwrap());
    let good = Signed::broker([-1, 1], Some(&ours));
    let home = || good.at_home();
    // Authorities as text, as a folder, as the system has them, or not at all.
    taken(&good, "127.0.0.1", &[("ssl.ca.pem", &ours.pem())]);
    refused(ErrorKind::Config, &["ssl.ca.location"], &home(), &[("ssl.ca.pem", &Signed::authority("other").pem())]);
    let name = format!("{:08x}.0", ours.certificate.subject_name_hash());
    std::fs::write(folder.path().join(name), ours.pem()).unwrap();
    taken(&good, "127.0.0.1", &[("ssl.ca.location", &folder.path().display().to_string())]);
    let empty = folder.path().join("empty").display().to_string();
    std::fs::create_dir(&empty).unwrap();
    refused(ErrorKind::Config, &[&empty], &home(), &[("ssl.ca.location", &empty)]);
    refused(ErrorKind::Config, &["ssl.ca.location"], &home(), &[("ssl.ca.location", "probe")]);
    refused(ErrorKind::Config, &["ssl.ca.location"], &home(), &[]);
    // Names are not looked at where they are not to be.
    let pem = ours.pem();
    let any_name = [("ssl.ca.pem", pem.as_str()), ("ssl.endpoint.identification.algorithm", "none")];
    taken(&good, "localhost", &any_name);
    let elsewhere = format!("localhost:{}", good.listen("localhost", &[]));
    refused(ErrorKind::Config, &["another host name"], &elsewhere, &any_name[..1]);
}

#[test]
fn every_broker_is_knocked_at_however_it_is_written() {
    let ours = Signed::authority("ours");
    let pem = ours.pem();
    let known = [("ssl.ca.pem", pem.as_str())];
    let (good, old) = (|| Signed::broker([-1, 1], Some(&ours)), Signed::broker([-2, -1], Some(&ours)));
    // A port where nobody listens, nor will: it is this end of a connection.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one_end = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let silent = one_end.local_addr().unwrap();
    let second = old.at_home();
    let brokers = format!("{silent}, SASL_SSL://{}, SSL://{second}", good().at_home());
    refused(
        ErrorKind::Unavailable,
        &[&format!("broker SSL://{second}: its certificate has expired")],
        &brokers,
        &known,
    );
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        taken(&good(), "::1", &known);
        refused(ErrorKind::Unavailable, &["expired"], &format!("[::1]:{}", old.listen("::1", &[])), &known);
    }
}

#[test]
fn a_broker_that_says_nothing_does_not_keep_us() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (done, told) = std::sync::mpsc::channel::<()>();
    let quiet = thread::spawn(move || {
        let _stream = listener.accept().unwrap();
        let _ = told.recv_timeout(4 * PATIENCE);
    });
    let begun = Instant::now();
    assert!(knock(&address, &[]).is_none());
    assert!(begun.elapsed() < PATIENCE * 3, "{:?}", begun.elapsed());
    drop(done);
    quiet.join().unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1), "it was given time to answer");
}
