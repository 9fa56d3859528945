//! Key exchange and authentication on an open connection.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{self, AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::{Algorithm, HashAlg, PrivateKeyWithHashAlg};
use russh::{MethodKind, MethodSet, Preferred};
use tokio::net::TcpStream;

use super::error::{ConnectError, Phase};
use super::verify::{HandshakeError, Observer, Verifier};
use crate::session::{Proof, Session};
use crate::target::{HostKeys, Target, fingerprint};

/// A server that says nothing for this long is asked whether it is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// After this many unanswered questions the connection counts as lost.
const KEEPALIVE_MAX: usize = 3;
/// Bounds what a server can hold up before authentication, when keepalives are not sent yet.
const INACTIVITY_TIMEOUT: Duration = Duration::from_secs(75);
/// A server may ask this many rounds of questions during keyboard-interactive login.
const MAX_PROMPT_ROUNDS: usize = 4;

/// Checks the host key, then tries every key and the password.
pub(super) async fn log_in(
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
    let proof = authenticate(&mut handle, target)
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
        proof,
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

/// Tries every key, then the password, as far as the server goes along. Gives what it took.
async fn authenticate(
    handle: &mut Handle<Verifier>,
    target: &Target,
) -> Result<Proof, AuthenticationError> {
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
            AuthResult::Success => return Ok(Proof::Key),
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
        if target.credentials.keys().is_empty() {
            // What the server accepts is known from its first refusal only. A wrong password is
            // not tried in two ways: servers lock users out for that.
            match handle.authenticate_none(&target.user).await? {
                AuthResult::Success => return Ok(Proof::Password),
                AuthResult::Failure {
                    remaining_methods, ..
                } => accepted = remaining_methods,
            }
        }
        if accepted.contains(&MethodKind::Password) {
            match handle.authenticate_password(&target.user, password).await? {
                AuthResult::Success => return Ok(Proof::Password),
                AuthResult::Failure {
                    remaining_methods, ..
                } => accepted = remaining_methods,
            }
        } else if accepted.contains(&MethodKind::KeyboardInteractive)
            && answer_prompts(handle, &target.user, password).await?
        {
            return Ok(Proof::Password);
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

#[cfg(test)]
mod tests {
    use russh::keys::Algorithm;

    use super::preferred;
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
}
