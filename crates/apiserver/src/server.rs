//! Starting and ending a server.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::access::{
    self, Access, Audit, Authorization, MASTERS, SigningKey, SigningKeyError, TokenFileError,
    Tokens,
};
use crate::api::Api;
use crate::beginning;
use crate::controllers::{self, Settings};
use crate::faults::{Faults, Window};
use crate::status::Status;
use crate::storage::{Memory, Storage, StorageError};
use crate::transport::{
    CertificateError, Certificates, Connections, Listener, Pair, Responder, kubeconfig, usual_names,
};

/// A server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is not free, or not ours.
    #[error("cannot listen on {address}; choose another address, or port 0 for any free port")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A name cannot be in a certificate, or kept certificates cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The TLS library refuses the certificates.
    #[error("cannot use the certificates for TLS: {0}")]
    Tls(String),
    /// The key for the tokens of ServiceAccounts cannot be used.
    #[error("cannot use the signing key for tokens of ServiceAccounts: {0}")]
    SigningKey(#[from] SigningKeyError),
    /// The audit log cannot be written.
    #[error("cannot write the audit log {path}")]
    Audit {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The storage does not work.
    #[error("cannot write the first objects: {0}")]
    Storage(#[from] Status),
}

/// How a server is to be.
#[derive(Debug)]
pub struct Builder {
    listen: SocketAddr,
    authorization: Authorization,
    tokens: Tokens,
    signing_key: Option<String>,
    audit_log: Option<PathBuf>,
    names: Vec<String>,
    storage: Option<Arc<dyn Storage>>,
    faults: Faults,
    controllers: Settings,
    certificates: Option<PathBuf>,
}

/// A running Kubernetes API server. It ends when it is dropped or [shut down](Self::shutdown).
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    url: String,
    kubeconfig: String,
    certificates: Certificates,
    tasks: TaskTracker,
    connections: Arc<Connections>,
    faults: Faults,
    window: Arc<Window>,
    shutdown: DropGuard,
}

/// What a restart leaves of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// All of it: a client can go on where it was.
    Kept,
    /// Nothing: watches and lists of any older resourceVersion get 410.
    Lost,
}

impl Builder {
    /// The address to listen on; `127.0.0.1:0`, any free port of the loopback, unless told
    /// otherwise.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// How it is decided who may do what; everybody who is known may do everything, unless told
    /// otherwise.
    #[must_use]
    pub fn authorization(mut self, authorization: Authorization) -> Self {
        self.authorization = authorization;
        self
    }

    /// A bearer token that opens the server as an administrator, beside the administrator's
    /// certificate.
    #[must_use]
    pub fn token(self, token: impl AsRef<str>) -> Self {
        self.user_token(token, "admin", &[MASTERS])
    }

    /// A bearer token of a user with groups.
    #[must_use]
    pub fn user_token(
        mut self,
        token: impl AsRef<str>,
        user: impl AsRef<str>,
        groups: &[&str],
    ) -> Self {
        self.tokens.add(token.as_ref(), user.as_ref(), "", groups);
        self
    }

    /// Bearer tokens of users, as kube-apiserver's `--token-auth-file` has them: lines of
    /// `token,user,uid,"group1,group2"`.
    ///
    /// # Errors
    /// If a line is something else.
    pub fn user_tokens(mut self, csv: &str) -> Result<Self, TokenFileError> {
        self.tokens.add_file(csv)?;
        Ok(self)
    }

    /// The key that signs the tokens of ServiceAccounts: PKCS#8 in PEM, of the curve P-256. One
    /// is made at start unless told otherwise; servers of one cluster need the same.
    #[must_use]
    pub fn service_account_key(mut self, pem: impl Into<String>) -> Self {
        self.signing_key = Some(pem.into());
        self
    }

    /// A file to which a line is added for each request: who asked for what, whether they might,
    /// and by which rule.
    #[must_use]
    pub fn audit_log(mut self, path: impl Into<PathBuf>) -> Self {
        self.audit_log = Some(path.into());
        self
    }

    /// A further name or address by which clients reach the server.
    #[must_use]
    pub fn advertise_name(mut self, name: impl Into<String>) -> Self {
        self.names.push(name.into());
        self
    }

    /// Where objects are kept; in memory unless told otherwise.
    #[must_use]
    pub fn storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = Some(storage);
        self
    }

    /// What goes wrong on purpose from the beginning; nothing unless told otherwise. More can be
    /// added [later](Server::faults).
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// How long an Event is kept after it was last written; one hour unless told otherwise.
    #[must_use]
    pub fn event_ttl(mut self, time: Duration) -> Self {
        self.controllers.event_ttl = time;
        self
    }

    /// How long a Node with a Lease in `kube-node-lease` may send no heartbeat before it becomes
    /// Unknown; 50 seconds unless told otherwise.
    #[must_use]
    pub fn node_monitor_grace_period(mut self, time: Duration) -> Self {
        self.controllers.node_monitor_grace_period = time;
        self
    }

    /// Whether Deployments and their kin make Pods, and Pods on Ready Nodes run and end as if
    /// there were kubelets; not unless told so.
    #[must_use]
    pub fn simulate_workloads(mut self, simulate: bool) -> Self {
        self.controllers.simulate_workloads = simulate;
        self
    }

    /// The directory that keeps the authority and the administrator's certificate, so that a
    /// kubeconfig stays valid over restarts and opens all servers with this directory; new ones
    /// at every start unless told otherwise.
    #[must_use]
    pub fn certificates(mut self, directory: impl Into<PathBuf>) -> Self {
        self.certificates = Some(directory.into());
        self
    }

    /// Starts the server. When this returns, it serves.
    ///
    /// # Errors
    /// If the address cannot be used, or a name cannot be in a certificate.
    pub async fn start(self) -> Result<Server, StartError> {
        let listen = |source| StartError::Listen {
            address: self.listen,
            source,
        };
        let socket = TcpListener::bind(self.listen).await.map_err(listen)?;
        let address = socket.local_addr().map_err(listen)?;
        let mut names = usual_names(address.ip());
        names.extend(self.names.iter().cloned());
        let certificates = match &self.certificates {
            Some(directory) => Certificates::keep(directory, &names)?,
            None => Certificates::make(&names)?,
        };
        let tls = tls(&certificates)?;

        let shutdown = CancellationToken::new();
        let storage = self.storage.unwrap_or_else(|| Arc::new(Memory::default()));
        let window = Arc::new(Window::new(storage));
        let key = self
            .signing_key
            .as_deref()
            .unwrap_or(&certificates.token_key);
        let key = SigningKey::from_pem(key)?;
        let mut access = Access::new(self.authorization, self.tokens, key);
        if let Some(path) = self.audit_log {
            let audit =
                Audit::to_file(&path).map_err(|source| StartError::Audit { path, source })?;
            access = access.with_audit(audit);
        }
        let api = Arc::new(Api::new(window.clone(), access, shutdown.clone()));
        for namespace in beginning::NAMESPACES {
            beginning::ensure_namespace(&api, namespace).await?;
            controllers::furnish(&api, namespace, &certificates.authority).await?;
        }
        beginning::ensure_objects(&api).await?;
        controllers::definitions::load(&api).await?;
        let tasks = TaskTracker::new();
        if self.authorization == Authorization::Rbac {
            access::create_bootstrap_roles(&api).await?;
            let seen = access::load(&api)
                .await
                .map_err(|error| crate::api::storage_failed(&error))?;
            tasks.spawn(access::follow(api.clone(), seen));
        }
        controllers::start(&api, &tasks, self.controllers, &certificates.authority);
        let connections = Arc::new(Connections::default());
        let faults = self.faults;
        let listener = Listener {
            responder: Responder {
                api,
                faults: faults.clone(),
            },
            tls: Arc::new(tls),
            tasks: tasks.clone(),
            connections: connections.clone(),
        };
        tasks.spawn(listener.run(socket));
        let url = format!("https://{}", reachable(address));
        tracing::info!(
            %url,
            "the embedded Kubernetes API server is for development and tests; it serves"
        );
        let administrator = certificates.administrator()?;
        Ok(Server {
            address,
            kubeconfig: kubeconfig(&url, &certificates.authority, "admin", &administrator),
            certificates,
            url,
            tasks,
            connections,
            faults,
            window,
            shutdown: shutdown.drop_guard(),
        })
    }
}

impl Server {
    /// Describes a server to start.
    pub fn builder() -> Builder {
        Builder {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            authorization: Authorization::default(),
            tokens: Tokens::default(),
            signing_key: None,
            audit_log: None,
            names: Vec::new(),
            storage: None,
            faults: Faults::default(),
            controllers: Settings::default(),
            certificates: None,
        }
    }

    /// The URL, such as `https://127.0.0.1:6443`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A kubeconfig, in YAML, with the authority's certificate and the administrator's
    /// certificate and key.
    pub fn kubeconfig(&self) -> &str {
        &self.kubeconfig
    }

    /// What goes wrong on purpose.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Restarts the server as clients see it: every connection is closed, in the middle of
    /// whatever it does and without a TLS `close_notify`, and then the server serves again at the
    /// same address, with the same certificates and objects, and the history that is left. The
    /// server listens all the time: clients that connect meanwhile wait.
    ///
    /// # Errors
    /// If the history is to be lost and the storage does not work; the server serves all the same.
    pub async fn restart(&self, history: History) -> Result<(), StorageError> {
        self.connections
            .restart(async {
                match history {
                    History::Kept => Ok(()),
                    History::Lost => self.window.forget().await,
                }
            })
            .await
    }

    /// A kubeconfig, in YAML, for any user with any groups.
    ///
    /// # Errors
    /// If a name cannot be in a certificate.
    pub fn kubeconfig_for(&self, user: &str, groups: &[&str]) -> Result<String, CertificateError> {
        let client = self.certificates.client(user, groups)?;
        Ok(self.kubeconfig_with(user, &client))
    }

    /// As [`Self::kubeconfig_for`], with a client certificate that is good from the start of the
    /// first day to that of the last.
    ///
    /// # Errors
    /// If a name cannot be in a certificate.
    pub fn kubeconfig_during(
        &self,
        user: &str,
        groups: &[&str],
        days: &Range<Date>,
    ) -> Result<String, CertificateError> {
        let client = self.certificates.client_during(user, groups, days)?;
        Ok(self.kubeconfig_with(user, &client))
    }

    fn kubeconfig_with(&self, user: &str, client: &Pair) -> String {
        kubeconfig(&self.url, &self.certificates.authority, user, client)
    }

    /// Ends the server: open requests and watches are cut off, and everything has ended when
    /// this returns.
    pub async fn shutdown(self) {
        drop(self.shutdown);
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Clients cannot connect to "any address".
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let loopback: std::net::IpAddr = match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        address.set_ip(loopback);
    }
    address
}

fn tls(certificates: &Certificates) -> Result<rustls::ServerConfig, StartError> {
    fn failed(error: impl std::fmt::Display) -> StartError {
        StartError::Tls(error.to_string())
    }
    let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).map_err(failed);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots
        .add(certificate(&certificates.authority)?)
        .map_err(failed)?;
    let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(failed)?;
    let key = PrivateKeyDer::from_pem_slice(certificates.server.key.as_bytes()).map_err(failed)?;
    let chain = vec![certificate(&certificates.server.certificate)?];
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .map_err(failed)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
