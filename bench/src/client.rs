//! A client for Kubernetes APIs that does as little as possible: HTTP/1.1 over TLS, one
//! connection for each request that is under way, bodies as they are.

use std::sync::Arc;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde::Deserialize;
use serde::de::Error;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How much is read from a socket at once. The TLS library by itself asks for 4 KiB each time,
/// which is four calls of the system for every full record.
const READ_SIZE: usize = 64 * 1024;

/// A server, and how to get in.
#[derive(Clone)]
pub struct Endpoint {
    address: String,
    tls: TlsConnector,
}

/// A connection that takes one request at a time.
#[derive(Debug)]
pub struct Connection {
    address: String,
    sender: SendRequest<Full<Bytes>>,
}

#[derive(Deserialize)]
struct Kubeconfig {
    clusters: Vec<Named>,
    users: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    cluster: Option<Cluster>,
    #[serde(default)]
    user: Option<User>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    #[serde(deserialize_with = "decoded")]
    certificate_authority_data: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    #[serde(deserialize_with = "decoded")]
    client_certificate_data: Vec<u8>,
    #[serde(deserialize_with = "decoded")]
    client_key_data: Vec<u8>,
}

fn decoded<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    use base64::Engine;
    let text = String::deserialize(deserializer)?;
    base64::prelude::BASE64_STANDARD
        .decode(text)
        .map_err(D::Error::custom)
}

impl Endpoint {
    /// The server of a kubeconfig that holds certificates.
    ///
    /// # Errors
    /// If the kubeconfig cannot be understood.
    pub fn from_kubeconfig(text: &str) -> anyhow::Result<Self> {
        let kubeconfig: Kubeconfig =
            serde_saphyr::from_str(text).context("cannot read the kubeconfig")?;
        let cluster = kubeconfig.clusters.into_iter().find_map(|c| c.cluster);
        let user = kubeconfig.users.into_iter().find_map(|u| u.user);
        let (Some(cluster), Some(user)) = (cluster, user) else {
            bail!("the kubeconfig has no cluster, or no user");
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(
            &cluster.certificate_authority_data,
        )?)?;
        let certificate = CertificateDer::from_pem_slice(&user.client_certificate_data)?;
        let key = PrivateKeyDer::from_pem_slice(&user.client_key_data)?;
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], key)?;
        Ok(Self {
            address: cluster
                .server
                .trim_start_matches("https://")
                .trim_end_matches('/')
                .to_owned(),
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// If nobody listens, or the certificates do not fit.
    pub async fn connect(&self) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let host = self.address.rsplit_once(':').map_or("", |(host, _)| host);
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
        let stream = BufReader::with_capacity(READ_SIZE, stream);
        let stream = self.tls.connect(name, stream).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // It ends with its sender; what goes wrong is seen there.
        tokio::spawn(connection);
        Ok(Connection {
            address: self.address.clone(),
            sender,
        })
    }
}

impl Connection {
    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// If the connection breaks, or the answer is not a success.
    pub async fn request(
        &mut self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Bytes> {
        let (status, body) = self.send(method.clone(), path, body.into()).await?;
        let body = body.collect().await?.to_bytes();
        if !status.is_success() {
            let text = String::from_utf8_lossy(&body);
            bail!("{method} {path} was answered {status}: {text}");
        }
        Ok(body)
    }

    /// Sends a GET and returns the answer's body, to be read as it comes.
    ///
    /// # Errors
    /// If the connection breaks, or the answer is not a success.
    pub async fn stream(&mut self, path: &str) -> anyhow::Result<Incoming> {
        let (status, body) = self.send(Method::GET, path, Bytes::new()).await?;
        if !status.is_success() {
            bail!("GET {path} was answered {status}");
        }
        Ok(body)
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<(StatusCode, Incoming)> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, &self.address)
            .header(http::header::USER_AGENT, "nico-bench")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        Ok((answer.status(), answer.into_body()))
    }
}
