//! Which `security.protocol` a broker's port takes.
//!
//! Who speaks otherwise than the port is cut off without a word, as by a broker that is just going away, and librdkafka
//! would try for ever. So, when a broker does not answer our first question, we ask its port in another way: a
//! `SaslHandshake` for a mechanism that nobody has is answered before anybody is known, and by every port
//! (<https://kafka.apache.org/protocol>, key 17). Its error tells whether SASL is spoken there; that it is answered at all
//! tells whether TLS is. No name and no password is sent.

use std::{
    io::{Read, Write},
    time::Duration,
};

use super::tls::{Knock, Refusal, reach};
use crate::error::ErrorKind;

/// A test that answers must be woken twice within it.
const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 20 } else { 1 });

/// After its length: key 17, version 1, correlation 7, client `huiju`, mechanism `?`.
const REQUEST: &[u8] = b"\0\0\0\x12\0\x11\0\x01\0\0\0\x07\0\x05huiju\0\x01?";
/// The response after its length: the correlation, then an error.
const CORRELATION: [u8; 4] = *b"\0\0\0\x07";
const UNSUPPORTED_SASL_MECHANISM: i16 = 33;
const ILLEGAL_SASL_STATE: i16 = 34;

impl Knock {
    /// The first broker, when the ports of all that are named take another protocol than ours; `None` when one may take
    /// ours: one that does not answer now may be the one that is to come back.
    pub fn other_protocol(&self) -> Option<Refusal> {
        let ours = &self.protocol;
        let mut first = None;
        for broker in &self.brokers {
            let taken = self.taken_by(broker).filter(|taken| taken != ours)?;
            first.get_or_insert((broker, taken));
        }
        let (broker, taken) = first?;
        Some(Refusal {
            kind: ErrorKind::Config,
            words: format!(
                "broker {broker}: its port takes security.protocol = {taken}, and ours is {ours}: set it in \
                 [kafka.properties], or name another port in brokers"
            ),
        })
    }

    fn taken_by(&self, broker: &str) -> Option<&'static str> {
        let (_, mut stream) = reach(broker, PATIENCE)?;
        if let Some(sasl) = wants_sasl(&mut stream) {
            return Some(if sasl { "sasl_plaintext" } else { "plaintext" });
        }
        let (host, stream) = reach(broker, PATIENCE)?;
        let mut stream = self.connector().ok()?.configure().ok()?.verify_hostname(false).connect(host, stream).ok()?;
        Some(if wants_sasl(&mut stream)? { "sasl_ssl" } else { "ssl" })
    }
}

/// `None` when what answers is no Kafka, or nothing does.
fn wants_sasl(stream: &mut (impl Read + Write)) -> Option<bool> {
    stream.write_all(REQUEST).ok()?;
    let mut response = [0; 10];
    stream.read_exact(&mut response).ok()?;
    let (correlation, error) = response[4..].split_first_chunk()?;
    match i16::from_be_bytes(error.try_into().ok()?) {
        _ if *correlation != CORRELATION => None,
        UNSUPPORTED_SASL_MECHANISM => Some(true),
        ILLEGAL_SASL_STATE => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;
    use crate::{config, kafka::tls::Knock};

    const OURS: &[u8] = b"\0\0\0\x0a\0\0\0\x07\0\x22\0\0\0\0";
    const SASL: &[u8] = b"\0\0\0\x0a\0\0\0\x07\0\x21\0\0\0\0";

    /// A port that answers each of two connections like this.
    fn port(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming().take(2) {
                let mut stream = stream.unwrap();
                let asked = stream.read_exact(&mut [0; REQUEST.len()]);
                drop(asked.and_then(|()| stream.write_all(answer)));
            }
        });
        format!("PLAINTEXT://127.0.0.1:{port}")
    }

    /// What is said of brokers whose ports answer like this.
    fn told(answers: &[&'static [u8]]) -> Option<String> {
        let brokers = answers.iter().map(|answer| port(answer)).collect::<Vec<_>>().join(",");
        let (client_id, group) = ("huiju".into(), "huiju".into());
        let knock =
            Knock::new(&config::Kafka { brokers, client_id, group, properties: Vec::new(), lacking: Vec::new() });
        knock.other_protocol().map(|refusal| refusal.words)
    }

    #[test]
    fn a_port_is_told_by_what_it_answers() {
        assert_eq!(usize::from(REQUEST[3]), REQUEST.len() - 4);
        assert_eq!(told(&[OURS]), None);
        let sasl = told(&[SASL]).unwrap();
        assert!(sasl.contains("takes security.protocol = sasl_plaintext, and ours is plaintext"), "{sasl}");
        for other in [&b""[..], b"\0\0\0", b"\0\0\0\x0a\0\0\0\x08\0\x21\0\0\0\0", b"\0\0\0\x0a\0\0\0\x07\0\0\0\0\0\0"] {
            assert_eq!(told(&[other]), None, "{other:?}");
        }
        assert_eq!(told(&[b"HTTP/1.1 400 Bad Request\r\n"]), None);
    }

    #[test]
    fn one_wrong_port_of_several_is_no_reason_to_give_up() {
        assert!(told(&[SASL, SASL]).is_some());
        for other in [OURS, b""] {
            assert_eq!(told(&[SASL, other]), None, "{other:?}");
            assert_eq!(told(&[other, SASL]), None, "{other:?}");
        }
    }
}
