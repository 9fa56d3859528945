//! Opens sessions, and tells every way in which that can fail apart.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fmt, io};

use nico_runtime::category::{Categorized, Category};
use russh::client::{self, AuthResult, DisconnectReason, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::{Algorithm, HashAlg, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{MethodKind, MethodSet, Preferred};
use thiserror::Error;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

use crate::access::AccessError;
use crate::session::Session;
use crate::target::{Deadlines, HostKeys, Target, fingerprint};

/// A server that says nothing for this long is asked whether it is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// After this many unanswered questions the connection counts as lost.
const KEEPALIVE_MAX: usize = 3;
/// Bounds what a server can hold up before authentication, when keepalives are not sent yet.
const INACTIVITY_TIMEOUT: Duration = Duration::from_secs(75);
/// A server may ask this many rounds of questions during keyboard-interactive login.
const MAX_PROMPT_ROUNDS: usize = 4;

/// Why there is no session. Messages say what to do.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// Credentials or trusted keys could not be put together.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The host name has no address.
    #[error(
        "cannot resolve the host name {host}; correct spec.hostname, set spec.ipAddress, or repair DNS"
    )]
    DnsFailure {
        /// The name.
        host: String,
        /// What the resolver says.
        #[source]
        source: io::Error,
    },
    /// The address answers, but nothing listens on the port.
    #[error("{endpoint} refused the connection; start sshd there, or correct spec.sshPort")]
    ConnectionRefused {
        /// Address and port.
        endpoint: String,
    },
    /// There is no way to the address.
    #[error("cannot reach {endpoint}; look at the address, the cable and the routes between")]
    Unreachable {
        /// Address and port.
        endpoint: String,
        /// What the network says.
        #[source]
        source: io::Error,
    },
    /// The other side did not answer in time.
    #[error("{endpoint} did not finish {phase} within {}", seconds(.after))]
    TimedOut {
        /// Address and port.
        endpoint: String,
        /// What was under way.
        phase: Phase,
        /// The deadline.
        after: Duration,
    },
    /// The connection broke, or the other side does not speak SSH.
    #[error("{endpoint} broke off {phase}; look at the log of its sshd")]
    ConnectionFailed {
        /// Address and port.
        endpoint: String,
        /// What was under way.
        phase: Phase,
        /// What came back.
        #[source]
        source: russh::Error,
    },
    /// The server shows another key than the one that is trusted.
    #[error(
        "{endpoint} shows the host key {}, but {} is trusted; nothing was sent to it", fingerprint(.seen), .trusted.iter().map(fingerprint).collect::<Vec<_>>().join(" or ")
    )]
    HostKeyChanged {
        /// Address and port.
        endpoint: String,
        /// The key that was shown.
        seen: Box<PublicKey>,
        /// The keys that are trusted.
        trusted: Vec<PublicKey>,
    },
    /// There is neither a key nor a password to log in with.
    #[error(
        "there are no credentials for {user} at {endpoint}; set spec.sshKeySecretRef or spec.sshPasswordSecretRef"
    )]
    MissingCredentials {
        /// Address and port.
        endpoint: String,
        /// The user.
        user: String,
    },
    /// The server accepts neither the key nor the password.
    #[error(
        "{endpoint} does not let {user} in with {tried} (it accepts: {accepted}); add the public key to the user's authorized_keys, or correct spec.sshUser or the Secret"
    )]
    AuthenticationFailed {
        /// Address and port.
        endpoint: String,
        /// The user.
        user: String,
        /// What was tried: fingerprints of keys, and the password.
        tried: String,
        /// The methods that the server offers.
        accepted: String,
    },
}

impl Categorized for ConnectError {
    fn category(&self) -> Category {
        match self {
            Self::Access(error) => error.category(),
            Self::DnsFailure { .. }
            | Self::ConnectionRefused { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::ConnectionFailed { .. } => Category::Transient,
            Self::HostKeyChanged { .. }
            | Self::MissingCredentials { .. }
            | Self::AuthenticationFailed { .. } => Category::InvalidInput,
        }
    }
}

/// The part of opening a session that was under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Name resolution.
    NameResolution,
    /// The TCP connection.
    Connection,
    /// Version and key exchange.
    KeyExchange,
    /// Authentication.
    Authentication,
}

impl fmt::Display for Phase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NameResolution => "the name resolution",
            Self::Connection => "the TCP connection",
            Self::KeyExchange => "the SSH key exchange",
            Self::Authentication => "the authentication",
        })
    }
}

/// Opens an authenticated session.
///
/// # Errors
/// [`ConnectError`], one variant for each thing that a person would do something else about.
pub async fn connect(target: &Target, deadlines: &Deadlines) -> Result<Session, ConnectError> {
    dial(target, deadlines).await?.login(target).await
}

/// A TCP connection to the SSH port, before anything was said.
///
/// Waiting for a dead address costs next to nothing; what follows costs processor time. Whoever
/// opens thousands of sessions bounds the two separately.
#[derive(Debug)]
pub struct Dialed {
    stream: TcpStream,
    started: Instant,
    total: Duration,
}

/// Opens the TCP connection: name resolution, then one address after the other.
///
/// # Errors
/// `DnsFailure`, `ConnectionRefused`, `Unreachable` or `TimedOut`.
pub async fn dial(target: &Target, deadlines: &Deadlines) -> Result<Dialed, ConnectError> {
    let started = Instant::now();
    let after = deadlines.connect.min(deadlines.total);
    let timed_out = |phase| {
        move |_| ConnectError::TimedOut {
            endpoint: target.endpoint(),
            phase,
            after,
        }
    };
    let addresses = timeout_at(started + after, resolve(target))
        .await
        .map_err(timed_out(Phase::NameResolution))??;
    let stream = timeout_at(started + after, open(target, &addresses))
        .await
        .map_err(timed_out(Phase::Connection))??;
    Ok(Dialed {
        stream,
        started,
        total: deadlines.total,
    })
}

async fn resolve(target: &Target) -> Result<Vec<SocketAddr>, ConnectError> {
    let failure = |source| ConnectError::DnsFailure {
        host: target.address.clone(),
        source,
    };
    let addresses: Vec<_> = lookup_host((target.address.as_str(), target.port))
        .await
        .map_err(failure)?
        .collect();
    if addresses.is_empty() {
        return Err(failure(io::Error::other("the name has no address")));
    }
    Ok(addresses)
}

async fn open(target: &Target, addresses: &[SocketAddr]) -> Result<TcpStream, ConnectError> {
    let mut last = io::Error::other("the name has no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Small packets back and forth: waiting to fill them would only cost time.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%address, %error, "cannot set TCP_NODELAY");
                }
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    let endpoint = target.endpoint();
    Err(match last.kind() {
        io::ErrorKind::ConnectionRefused => ConnectError::ConnectionRefused { endpoint },
        _ => ConnectError::Unreachable {
            endpoint,
            source: last,
        },
    })
}

impl Dialed {
    /// Checks the host key, then logs in. Nothing that is secret is sent before the host key is
    /// found to be right.
    ///
    /// # Errors
    /// Those of [`connect`] that come after the TCP connection.
    pub async fn login(self, target: &Target) -> Result<Session, ConnectError> {
        if target.credentials.is_empty() {
            return Err(ConnectError::MissingCredentials {
                endpoint: target.endpoint(),
                user: target.user.clone(),
            });
        }
        let remaining = (self.started + self.total).saturating_duration_since(Instant::now());
        let observer = Arc::new(Observer::default());
        match timeout(
            remaining,
            log_in(self.stream, target, Arc::clone(&observer)),
        )
        .await
        {
            Ok(result) => result,
            Err(_) => Err(ConnectError::TimedOut {
                endpoint: target.endpoint(),
                phase: observer.phase(),
                after: self.total,
            }),
        }
    }
}

async fn log_in(
    stream: TcpStream,
    target: &Target,
    observer: Arc<Observer>,
) -> Result<Session, ConnectError> {
    let config = Arc::new(client::Config {
        preferred: preferred(&target.host_keys),
        keepalive_interval: Some(KEEPALIVE_INTERVAL),
        keepalive_max: KEEPALIVE_MAX,
        inactivity_timeout: Some(INACTIVITY_TIMEOUT),
        ..client::Config::default()
    });
    let handler = Verifier {
        trusted: target.host_keys.clone(),
        observer: Arc::clone(&observer),
    };
    let mut handle = client::connect_stream(config, stream, handler)
        .await
        .map_err(|error| match error {
            HandshakeError::HostKeyChanged { seen, trusted } => ConnectError::HostKeyChanged {
                endpoint: target.endpoint(),
                seen,
                trusted,
            },
            HandshakeError::Ssh(source) => ConnectError::ConnectionFailed {
                endpoint: target.endpoint(),
                phase: Phase::KeyExchange,
                source,
            },
        })?;
    authenticate(&mut handle, target)
        .await
        .map_err(|error| error.into_connect_error(target, &observer))?;
    let host_key = observer
        .host_key()
        .ok_or_else(|| ConnectError::ConnectionFailed {
            endpoint: target.endpoint(),
            phase: Phase::KeyExchange,
            source: russh::Error::UnknownKey,
        })?;
    Ok(Session::new(
        handle,
        host_key,
        target.user == "root",
        observer,
    ))
}

/// The algorithms of the pinned keys come first, so that a server with several host keys shows
/// the one that is pinned. The others follow, so that a changed key can be named.
fn preferred(host_keys: &HostKeys) -> Preferred {
    let mut preferred = Preferred::DEFAULT;
    if let HostKeys::Pinned(keys) = host_keys {
        let pinned = |algorithm: &Algorithm| {
            keys.iter().any(|key| match (key.algorithm(), algorithm) {
                (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
                (one, other) => one == *other,
            })
        };
        let (mut first, rest): (Vec<_>, Vec<_>) = preferred.key.iter().cloned().partition(pinned);
        first.extend(rest);
        preferred.key = Cow::Owned(first);
    }
    preferred
}

enum AuthenticationError {
    Ssh(russh::Error),
    Refused {
        tried: Vec<String>,
        accepted: MethodSet,
    },
    /// The server closed the connection instead of answering.
    Closed,
}

impl From<russh::Error> for AuthenticationError {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

impl AuthenticationError {
    fn into_connect_error(self, target: &Target, observer: &Observer) -> ConnectError {
        let endpoint = target.endpoint();
        let phase = Phase::Authentication;
        match self {
            Self::Ssh(source) => ConnectError::ConnectionFailed {
                endpoint,
                phase,
                source,
            },
            Self::Closed => {
                let source = observer.take_end().unwrap_or(russh::Error::Disconnect);
                ConnectError::ConnectionFailed {
                    endpoint,
                    phase,
                    source,
                }
            }
            Self::Refused { tried, accepted } => ConnectError::AuthenticationFailed {
                endpoint,
                user: target.user.clone(),
                tried: tried.join(", "),
                accepted: accepted
                    .iter()
                    .map(<&str>::from)
                    .collect::<Vec<_>>()
                    .join(", "),
            },
        }
    }
}

/// Tries every key, then the password, as far as the server goes along.
async fn authenticate(
    handle: &mut Handle<Verifier>,
    target: &Target,
) -> Result<(), AuthenticationError> {
    let mut tried = Vec::new();
    let mut accepted = MethodSet::client_supported();
    for key in target.credentials.keys() {
        if !accepted.contains(&MethodKind::PublicKey) {
            break;
        }
        tried.push(format!("the key {}", fingerprint(key.public_key())));
        // Servers that do not say what they know are newer than the end of SHA-1.
        let hash = if key.algorithm().is_rsa() {
            handle
                .best_supported_rsa_hash()
                .await?
                .unwrap_or(Some(HashAlg::Sha512))
        } else {
            None
        };
        let key = PrivateKeyWithHashAlg::new(Arc::clone(key), hash);
        match handle.authenticate_publickey(&target.user, key).await? {
            AuthResult::Success => return Ok(()),
            AuthResult::Failure {
                remaining_methods, ..
            } => accepted = remaining_methods,
        }
        if handle.is_closed() {
            return Err(AuthenticationError::Closed);
        }
    }
    if let Some(password) = target.credentials.password() {
        tried.push("the password".to_owned());
        if accepted.contains(&MethodKind::Password) {
            match handle.authenticate_password(&target.user, password).await? {
                AuthResult::Success => return Ok(()),
                AuthResult::Failure {
                    remaining_methods, ..
                } => accepted = remaining_methods,
            }
        } else if accepted.contains(&MethodKind::KeyboardInteractive)
            && answer_prompts(handle, &target.user, password).await?
        {
            return Ok(());
        }
        if handle.is_closed() {
            return Err(AuthenticationError::Closed);
        }
    }
    Err(AuthenticationError::Refused { tried, accepted })
}

/// Keyboard-interactive login, as PAM offers it instead of plain passwords: every hidden prompt
/// is answered with the password.
async fn answer_prompts(
    handle: &mut Handle<Verifier>,
    user: &str,
    password: &str,
) -> Result<bool, russh::Error> {
    let mut response = handle
        .authenticate_keyboard_interactive_start(user, None)
        .await?;
    for _ in 0..MAX_PROMPT_ROUNDS {
        let prompts = match response {
            KeyboardInteractiveAuthResponse::Success => return Ok(true),
            KeyboardInteractiveAuthResponse::Failure { .. } => return Ok(false),
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => prompts,
        };
        let answers = prompts
            .iter()
            .map(|prompt| {
                if prompt.echo {
                    String::new()
                } else {
                    password.to_owned()
                }
            })
            .collect();
        response = handle
            .authenticate_keyboard_interactive_respond(answers)
            .await?;
    }
    Ok(false)
}

/// What the connection's own task tells about it.
#[derive(Debug, Default)]
pub(crate) struct Observer(Mutex<Observed>);

#[derive(Debug, Default)]
struct Observed {
    host_key: Option<PublicKey>,
    end: Option<russh::Error>,
}

impl Observer {
    fn phase(&self) -> Phase {
        match self.host_key() {
            Some(_) => Phase::Authentication,
            None => Phase::KeyExchange,
        }
    }

    fn host_key(&self) -> Option<PublicKey> {
        self.lock().host_key.clone()
    }

    /// Why the connection ended, if it did and nobody asked before.
    pub(crate) fn take_end(&self) -> Option<russh::Error> {
        self.lock().end.take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Observed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks the host key, at the first key exchange and at every later one.
pub(crate) struct Verifier {
    trusted: HostKeys,
    observer: Arc<Observer>,
}

/// Why a handshake ended.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    HostKeyChanged {
        seen: Box<PublicKey>,
        trusted: Vec<PublicKey>,
    },
    Ssh(russh::Error),
}

impl From<russh::Error> for HandshakeError {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

impl client::Handler for Verifier {
    type Error = HandshakeError;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, HandshakeError> {
        let seen = PublicKey::new(shown.public_key().key_data().clone(), "");
        match &self.trusted {
            HostKeys::Pinned(keys) if !keys.iter().any(|key| key.key_data() == seen.key_data()) => {
                return Err(HandshakeError::HostKeyChanged {
                    seen: Box::new(seen),
                    trusted: keys.clone(),
                });
            }
            HostKeys::Pinned(_) => {}
            HostKeys::FirstUse => self.trusted = HostKeys::Pinned(vec![seen.clone()]),
        }
        self.observer.lock().host_key = Some(seen);
        Ok(true)
    }

    async fn disconnected(
        &mut self,
        reason: DisconnectReason<HandshakeError>,
    ) -> Result<(), HandshakeError> {
        let end = match reason {
            DisconnectReason::Error(HandshakeError::Ssh(error)) => error,
            DisconnectReason::Error(HandshakeError::HostKeyChanged { .. }) => {
                russh::Error::UnknownKey
            }
            DisconnectReason::ReceivedDisconnect(info) => russh::Error::IO(io::Error::other(
                format!("the server says: {}", info.message),
            )),
        };
        self.observer.lock().end = Some(end);
        Ok(())
    }
}

/// A duration as a person reads it: `10s`, `1.5s`.
pub(crate) fn seconds(duration: &Duration) -> String {
    format!("{}s", (duration.as_secs_f64() * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use russh::keys::Algorithm;

    use super::{preferred, seconds};
    use crate::target::HostKeys;

    const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC5K9D2bvrOFEHibQFQo9/XuXBxyPspDVC2x7rcA6o/9Vgi2oQfy6evE+iBc0GCtwISb9xwtlmzITeqCncNFCSSq8mFno7xUE+xfGNl6xEKqgU0JzPL4x/RH9Ca9Gem7n7gMMvPSnu+uxFlb2OL9z3wrPF5SidaCSmVBoIFgs3zvlZ15Rgwa1vUwt80ISPXvuOBmXcLO20tErey7p1ySjBdxdi/WA9M9kDAlvj0njejVCFXv7XN3Be+4UzrO5gd271kdIqKvqTV1c4RPf9T4tYbmh8CjyjFRa//u+zqHsx5qPCRR4gE5Zi0P7AZhG9WnG+PufI6ha2D6ObRfqd2ewP5";

    #[test]
    fn the_kind_of_the_pinned_key_is_asked_for_first() {
        let keys = HostKeys::Pinned(vec![RSA.parse().expect("a public key")]);
        let asked = preferred(&keys).key;
        assert!(matches!(asked[0], Algorithm::Rsa { .. }), "{asked:?}");
        assert!(
            asked.contains(&Algorithm::Ed25519),
            "a changed key can still be named"
        );
        assert_eq!(asked.len(), preferred(&HostKeys::FirstUse).key.len());
    }

    #[test]
    fn deadlines_are_written_in_seconds() {
        assert_eq!(seconds(&Duration::from_secs(10)), "10s");
        assert_eq!(seconds(&Duration::from_millis(1500)), "1.5s");
    }
}
