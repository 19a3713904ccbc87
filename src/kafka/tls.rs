//! Why a broker's certificate is not taken.
//!
//! librdkafka says only that it could not be verified, whether it has expired, belongs to another host or is of an
//! authority we do not know: three mistakes of three people. So we knock once more, with the same properties, and ask
//! OpenSSL. Nothing is sent over that connection.

use std::{
    net::{TcpStream, ToSocketAddrs},
    path::Path,
    time::Duration,
};

use openssl::{
    error::ErrorStack,
    ssl::{SslConnector, SslMethod, SslVerifyMode},
    x509::{X509, X509VerifyResult},
};

use crate::{
    config,
    error::{Error, ErrorKind},
};

const PATIENCE: Duration = Duration::from_secs(3);

/// What we need to knock, from the properties people wrote.
#[derive(Clone, Debug, Default)]
pub(super) struct Knock {
    pub(super) brokers: Vec<String>,
    /// Ours, in lower case.
    pub(super) protocol: String,
    authority: Option<String>,
    authority_pem: Option<String>,
    check_name: bool,
}

/// What is the matter, and who has to do something about it.
pub(super) struct Refusal {
    pub kind: ErrorKind,
    pub words: String,
}

impl Knock {
    pub fn new(config: &config::Kafka) -> Knock {
        let property = |name: &str| {
            let found = config.properties.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.expose().to_owned())
        };
        Knock {
            brokers: config.brokers.split(',').map(|broker| broker.trim().to_owned()).collect(),
            protocol: property("security.protocol").map_or("plaintext".to_owned(), |name| name.to_lowercase()),
            authority: property("ssl.ca.location").filter(|location| location != "probe"),
            authority_pem: property("ssl.ca.pem"),
            check_name: property("ssl.endpoint.identification.algorithm").is_none_or(|algorithm| algorithm != "none"),
        }
    }

    /// The first broker whose certificate is refused, and why; `None` when none is.
    pub fn refusal(&self) -> Option<Refusal> {
        self.brokers.iter().find_map(|broker| self.knock(broker))
    }

    fn knock(&self, broker: &str) -> Option<Refusal> {
        let (host, stream) = reach(broker, PATIENCE)?;
        let mut session = self.connector().ok()?.configure().ok()?;
        session.set_verify_hostname(self.check_name);
        let session = session.connect(host, stream).ok()?;
        let refused = session.ssl().verify_result();
        (refused != X509VerifyResult::OK).then(|| self.tell(broker, refused, session.ssl().peer_certificate()))
    }

    /// It goes through the handshake whatever it finds, and remembers what it found.
    pub(super) fn connector(&self) -> Result<SslConnector, ErrorStack> {
        let mut connector = SslConnector::builder(SslMethod::tls_client())?;
        connector.set_verify(SslVerifyMode::NONE);
        match &self.authority {
            Some(folder) if Path::new(folder).is_dir() => {
                connector.load_verify_locations(None, Some(folder.as_ref()))?
            }
            Some(file) => connector.set_ca_file(file)?,
            None => {}
        }
        for authority in self.authority_pem.iter().flat_map(|pem| X509::stack_from_pem(pem.as_bytes())).flatten() {
            connector.cert_store_mut().add_cert(authority)?;
        }
        Ok(connector.build())
    }

    fn tell(&self, broker: &str, refused: X509VerifyResult, certificate: Option<X509>) -> Refusal {
        let certificate = certificate.as_ref();
        // The codes of OpenSSL's x509_vfy.h.
        let (kind, what) = match refused.as_raw() {
            9 => {
                let from = certificate.map(|c| format!(", only from {} on", c.not_before())).unwrap_or_default();
                (ErrorKind::Unavailable, format!("certificate is not valid yet{from}: check the clocks"))
            }
            10 => {
                let since = certificate.map(|c| format!(" ({})", c.not_after())).unwrap_or_default();
                (ErrorKind::Unavailable, format!("certificate has expired{since}: the broker needs a new one"))
            }
            62..=64 => (
                ErrorKind::Config,
                "certificate is for another host name: write in brokers the name that it is for".to_owned(),
            ),
            2 | 18..=21 | 27 => {
                let location = self.authority.as_deref().map(|file| format!(" = {file}")).unwrap_or_default();
                let words =
                    "certificate is not signed by an authority that we are told to trust: check ssl.ca.location";
                (ErrorKind::Config, format!("{words}{location}"))
            }
            _ => (ErrorKind::Unavailable, format!("certificate is refused: {}", refused.error_string())),
        };
        Refusal { kind, words: format!("broker {broker}: its {what}") }
    }
}

/// A connection, and the host's name, if there is an answer in this time.
pub(super) fn reach(broker: &str, patience: Duration) -> Option<(&str, TcpStream)> {
    let (host, port) = broker.rsplit_once("://").map_or(broker, |(_, address)| address).rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let stream = (host, port).to_socket_addrs().ok()?.find_map(|a| TcpStream::connect_timeout(&a, patience).ok())?;
    stream.set_read_timeout(Some(patience)).ok()?;
    stream.set_write_timeout(Some(patience)).ok()?;
    Some((host, stream))
}

/// What a broker says of *our* certificate, if that is what it says: TLS has an alert for each case, and OpenSSL gives
/// their names in a text. The client reads the file once, so a new one needs a new start.
pub(super) fn alert(said: &str) -> Option<&'static str> {
    let (_, alert) = said.split_once(" alert ")?;
    let is = |names: &[&str]| names.iter().any(|name| alert.starts_with(name));
    match () {
        // Java says `bad certificate` where it got none, as older ones of version 17 do, or `certificate required`.
        () if is(&["certificate required", "bad certificate"]) => {
            // The client keeps back a certificate of an authority that the broker does not name.
            Some(
                "the broker wants a certificate of ours, of an authority that it trusts: set ssl.certificate.location and \
                 ssl.key.location",
            )
        }
        () if is(&["certificate expired"]) => {
            Some("our certificate has expired: put a new one at ssl.certificate.location")
        }
        () if is(&["unsupported certificate", "certificate unknown", "certificate revoked"])
            || is(&["unknown ca", "access denied"]) =>
        {
            Some("the broker does not take our certificate: check ssl.certificate.location, or its list of authorities")
        }
        () => None,
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        Error::new(refusal.kind, refusal.words)
    }
}

#[cfg(test)]
mod tests;
