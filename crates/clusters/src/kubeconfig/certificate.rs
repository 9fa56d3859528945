//! The name by which a server's certificate is checked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use x509_parser::extensions::GeneralName;

/// Names that Kubernetes distributions put into the certificates of their API servers, best
/// first: they stay the same when machines come and go.
const USUAL_NAMES: &[&str] = &[
    "kubernetes.default.svc",
    "kubernetes.default",
    "kubernetes",
    "localhost",
];

/// Why no name was found.
#[derive(Debug, thiserror::Error)]
pub enum CertificateNameError {
    /// The certificate authority of the kubeconfig is no certificate.
    #[error("its certificate authority is not a PEM certificate")]
    Authority,
    /// The server's name or address cannot be used with TLS.
    #[error("{0:?} is neither a DNS name nor an address")]
    Host(String),
    /// There was no connection.
    #[error("cannot connect to {address}")]
    Connect {
        /// Host and port.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The server took too long.
    #[error("{address} did not answer within {} s", .deadline.as_secs())]
    TimedOut {
        /// Host and port.
        address: String,
        /// How long was waited.
        deadline: Duration,
    },
    /// The server's certificate names nothing that could be checked.
    #[error("the certificate of {address} names no DNS name and no address")]
    Nameless {
        /// Host and port.
        address: String,
    },
}

/// The name by which the certificate of the server at `host` and `port` must be checked: `None`
/// when it names `host`, else a name that it has. The certificate must be signed by `authority`
/// (PEM under base64) in any case. Nothing is sent over the connection.
pub async fn server_name(
    authority: &str,
    host: &str,
    port: u16,
    deadline: Duration,
) -> Result<Option<String>, CertificateNameError> {
    let address = format!("{host}:{port}");
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| CertificateNameError::Host(host.to_owned()))?;
    let verifier = Arc::new(AnyName::new(authority)?);
    let connecting = async {
        let stream = TcpStream::connect((host, port)).await?;
        connector(verifier.clone()).connect(name, stream).await
    };
    let connected = tokio::time::timeout(deadline, connecting)
        .await
        .map_err(|_| CertificateNameError::TimedOut {
            address: address.clone(),
            deadline,
        })?;
    // A server that wants another client certificate ends the handshake only after it showed
    // its own, which is all that is needed.
    match (verifier.seen(), connected) {
        (Some(Seen::NamesHost), _) => Ok(None),
        (Some(Seen::NamesOthers(names)), _) => best(names)
            .map(Some)
            .ok_or(CertificateNameError::Nameless { address }),
        (None, Err(source)) => Err(CertificateNameError::Connect { address, source }),
        (None, Ok(_)) => Err(CertificateNameError::Nameless { address }),
    }
}

fn connector(verifier: Arc<AnyName>) -> TlsConnector {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

fn best(names: Vec<String>) -> Option<String> {
    let usual = USUAL_NAMES
        .iter()
        .find(|usual| names.iter().any(|name| name == *usual))
        .map(|usual| (*usual).to_owned());
    usual.or_else(|| names.into_iter().find(|name| !name.contains('*')))
}

/// Checks everything about a certificate but the name, and remembers the names that it has.
#[derive(Debug)]
struct AnyName {
    verifier: Arc<WebPkiServerVerifier>,
    seen: Mutex<Option<Seen>>,
}

#[derive(Clone, Debug)]
enum Seen {
    NamesHost,
    NamesOthers(Vec<String>),
}

impl AnyName {
    fn new(authority: &str) -> Result<Self, CertificateNameError> {
        let invalid = || CertificateNameError::Authority;
        let pem = STANDARD.decode(authority.trim()).map_err(|_| invalid())?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            roots
                .add(certificate.map_err(|_| invalid())?)
                .map_err(|_| invalid())?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Ok(Self {
            verifier: WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|_| invalid())?,
            seen: Mutex::new(None),
        })
    }

    fn seen(&self) -> Option<Seen> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn remember(&self, seen: Seen) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    }
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            Ok(verified) => {
                self.remember(Seen::NamesHost);
                Ok(verified)
            }
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => {
                self.remember(Seen::NamesOthers(names_in(end_entity)));
                Ok(ServerCertVerified::assertion())
            }
            Err(error) => Err(error),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// DNS names and addresses that a certificate is for.
fn names_in(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(certificate) else {
        return vec![];
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return vec![];
    };
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(text).collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(bytes).into());
    }
    <[u8; 16]>::try_from(bytes)
        .ok()
        .map(|bytes| Ipv6Addr::from(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_stays_is_better_than_one_of_a_machine() {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        let table: &[(&[&str], Option<&str>)] = &[
            (&["cp-01", "kubernetes", "localhost"], Some("kubernetes")),
            (&["cp-01", "127.0.0.1"], Some("cp-01")),
            (&["*.example", "127.0.0.1"], Some("127.0.0.1")),
            (&["*.example"], None),
            (&[], None),
        ];
        for (list, expected) in table {
            assert_eq!(best(names(list)).as_deref(), *expected, "{list:?}");
        }
    }
}
