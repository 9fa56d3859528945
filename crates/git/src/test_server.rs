//! A Git server over HTTP in this process, for tests: `git http-backend` behind a login.
//!
//! Only built with the feature `test-server`, which tests turn on.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri, header};
use axum::serve::Listener;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::server::TlsStream;

/// A server for all repositories below a directory. Gone when it is dropped.
pub struct GitServer {
    url: String,
    shared: Arc<Shared>,
    serving: AbortHandle,
}

struct Shared {
    root: PathBuf,
    authorization: Option<String>,
    requests: Mutex<Vec<String>>,
    open: watch::Sender<bool>,
    waiting: watch::Sender<bool>,
}

impl GitServer {
    /// Starts on loopback. With a user name and a password, whoever has others is turned away.
    ///
    /// # Errors
    /// When there is no port to listen on.
    pub async fn start(root: &Path, login: Option<(&str, &str)>) -> io::Result<Self> {
        Self::start_at(Ipv4Addr::LOCALHOST, root, login).await
    }

    /// Starts on a free port of an address.
    ///
    /// # Errors
    /// When there is no port to listen on.
    pub async fn start_at(
        address: Ipv4Addr,
        root: &Path,
        login: Option<(&str, &str)>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((address, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        Ok(Self::serve(url, listener, root, login))
    }

    /// Like [`start_at`](Self::start_at), over TLS with a certificate of an authority of its own;
    /// gives that authority's certificate too, as PEM.
    ///
    /// # Errors
    /// When there is no port to listen on, or no certificate can be made.
    pub async fn start_tls_at(
        address: Ipv4Addr,
        root: &Path,
        login: Option<(&str, &str)>,
    ) -> io::Result<(Self, String)> {
        let (authority, config) = certificates(address).map_err(io::Error::other)?;
        let tcp = TcpListener::bind((address, 0)).await?;
        let url = format!("https://{}", tcp.local_addr()?);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TlsListener { tcp, acceptor };
        Ok((Self::serve(url, listener, root, login), authority))
    }

    fn serve<L>(url: String, listener: L, root: &Path, login: Option<(&str, &str)>) -> Self
    where
        L: Listener<Addr = SocketAddr>,
    {
        let shared = Arc::new(Shared {
            root: root.to_owned(),
            authorization: login.map(|(username, password)| {
                format!(
                    "Basic {}",
                    STANDARD.encode(format!("{username}:{password}"))
                )
            }),
            requests: Mutex::default(),
            open: watch::Sender::new(true),
            waiting: watch::Sender::new(false),
        });
        let application = axum::Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move {
            // It ends when the server is dropped, and not by itself.
            let _ = axum::serve(listener, application).await;
        });
        Self {
            url,
            shared,
            serving: serving.abort_handle(),
        }
    }

    /// The URL of a repository, by its path below the directory.
    pub fn url(&self, repository: &str) -> String {
        format!("{}/{repository}", self.url)
    }

    /// Lets fetches wait, until [`release`](Self::release).
    pub fn hold(&self) {
        self.shared.open.send_replace(false);
    }

    /// Waits until a fetch waits.
    pub async fn waits(&self) {
        let mut waiting = self.shared.waiting.subscribe();
        // The sender is in `self`, so it is not gone.
        let _ = waiting.wait_for(|waiting| *waiting).await;
    }

    /// Lets the fetches go on that wait.
    pub fn release(&self) {
        self.shared.open.send_replace(true);
    }

    /// How many times somebody who may asked for the references of a repository. A `fetch` asks
    /// too, before it fetches.
    pub fn lookups(&self) -> usize {
        self.count("/info/refs")
    }

    /// How many requests for objects, or for references by their prefix, were answered.
    pub fn uploads(&self) -> usize {
        self.count("/git-upload-pack")
    }

    fn count(&self, end: &str) -> usize {
        let requests = self.shared.requests.lock();
        let requests = requests.unwrap_or_else(PoisonError::into_inner);
        requests.iter().filter(|path| path.ends_with(end)).count()
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(
    State(server): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let given = headers.get(header::AUTHORIZATION);
    let given = given.and_then(|value| value.to_str().ok());
    if server.authorization.is_some() && server.authorization.as_deref() != given {
        let asked = Response::builder()
            .status(StatusCode::UNAUTHORIZED)
            .header(header::WWW_AUTHENTICATE, "Basic realm=\"git\"");
        return asked.body(Body::empty()).unwrap_or_default();
    }
    let path = uri.path().to_owned();
    if path.ends_with("/git-upload-pack") {
        let mut open = server.open.subscribe();
        server.waiting.send_replace(!*open.borrow());
        // The sender is in `server`, so it is not gone.
        let _ = open.wait_for(|open| *open).await;
    }
    let requests = server.requests.lock();
    requests.unwrap_or_else(PoisonError::into_inner).push(path);
    backend(&server.root, &method, &uri, &headers, &body)
        .await
        .unwrap_or_else(|_| status(StatusCode::INTERNAL_SERVER_ERROR))
}

/// Runs `git http-backend`, a CGI program, for one request.
async fn backend(
    root: &Path,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
) -> io::Result<Response<Body>> {
    let header = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let mut backend = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        // The repositories of a test may belong to another user than the one who runs it.
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .env("REQUEST_METHOD", method.as_str())
        .env("PATH_INFO", uri.path())
        .env("QUERY_STRING", uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("REMOTE_USER", "test")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let input = backend.stdin.take();
    let feed = async {
        if let Some(mut input) = input {
            // It need not read all of it.
            let _ = input.write_all(body).await;
        }
    };
    let ((), output) = tokio::join!(feed, backend.wait_with_output());
    Ok(from_cgi(&output?.stdout))
}

/// The answer of a CGI program: headers, an empty line, the body.
fn from_cgi(output: &[u8]) -> Response<Body> {
    const GAP: &[u8] = b"\r\n\r\n";
    let Some(end) = output.windows(GAP.len()).position(|window| window == GAP) else {
        return status(StatusCode::BAD_GATEWAY);
    };
    let mut response = Response::builder();
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        if let Some((name, value)) = line.split_once(": ") {
            response = match name {
                "Status" => response.status(value.split(' ').next().unwrap_or_default()),
                _ => response.header(name, value),
            };
        }
    }
    let body = Body::from(output[end + GAP.len()..].to_vec());
    response
        .body(body)
        .unwrap_or_else(|_| status(StatusCode::BAD_GATEWAY))
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// The certificate of an authority, as PEM, and a server at `address` whose certificate it signed.
fn certificates(
    address: Ipv4Addr,
) -> Result<(String, ServerConfig), Box<dyn std::error::Error + Send + Sync>> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate()?;
    let certificate = authority.self_signed(&authority_key)?;
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate()?;
    let signed = CertificateParams::new(vec![address.to_string()])?.signed_by(&key, &issuer)?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![signed.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )?;
    Ok((certificate.pem(), config))
}

struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.tcp.accept().await else {
                continue;
            };
            // A client that does not trust the certificate hangs up here.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}
