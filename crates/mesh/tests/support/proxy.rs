//! A proxy for one test, and TLS in front of a Netmaker.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What a proxy was asked: the first line, and whether with this authorization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) authorization: Option<String>,
}

/// Knows every name as the address of one server.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Proxy {
    /// Leads to `server`, and answers `refusal` in its place if there is one.
    pub(crate) async fn start(server: SocketAddr, refusal: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(lead(client, server, refusal, Arc::clone(&log)));
            }
        });
        Self { address, asked }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }
}

async fn lead(
    mut client: TcpStream,
    server: SocketAddr,
    refusal: Option<&'static str>,
    log: Arc<Mutex<Vec<Asked>>>,
) {
    let Some(head) = head(&mut client).await else {
        return;
    };
    let line = head.lines().next().unwrap_or_default().to_owned();
    let authorization = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("proxy-authorization")
            .then(|| value.to_owned())
    });
    let is_tunnel = line.starts_with("CONNECT ");
    log.lock().expect("no panic").push(Asked {
        line,
        authorization,
    });
    if let Some(refusal) = refusal {
        client.write_all(refusal.as_bytes()).await.ok();
        return;
    }
    let Ok(mut upstream) = TcpStream::connect(server).await else {
        return;
    };
    let begun = if is_tunnel {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await
    } else {
        // The server takes a whole address for a path too.
        upstream.write_all(head.as_bytes()).await
    };
    if begun.is_ok() {
        copy_bidirectional(&mut client, &mut upstream).await.ok();
    }
}

/// Reads up to the empty line.
async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// Speaks TLS as `name` in front of `server`. Returns where, and the certificate in PEM.
pub(crate) async fn tls(name: &str, server: SocketAddr) -> (SocketAddr, String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    let provider = rustls::crypto::ring::default_provider().into();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![cert.der().clone()],
            rustls::pki_types::PrivateKeyDer::Pkcs8(signing_key.serialize_der().into()),
        )
        .expect("a certificate with its key");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(client) = acceptor.accept(client).await {
                    join(client, server).await;
                }
            });
        }
    });
    (address, cert.pem())
}

async fn join(mut client: impl AsyncRead + AsyncWrite + Unpin, server: SocketAddr) {
    if let Ok(mut upstream) = TcpStream::connect(server).await {
        copy_bidirectional(&mut client, &mut upstream).await.ok();
    }
}
