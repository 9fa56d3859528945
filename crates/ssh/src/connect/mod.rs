//! Opens sessions, and tells every way in which that can fail apart.
//!
//! - [`error`]: why there is no session
//! - [`login`]: key exchange and authentication
//! - [`verify`]: whether the server is the right one

mod error;
mod login;
mod verify;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use crate::session::Session;
use crate::target::{Deadlines, Target};

pub(crate) use error::seconds;
pub use error::{ConnectError, Phase};
pub(crate) use verify::{Observer, Verifier};

/// Opens an authenticated session: name resolution, then one address after the other, then the
/// host key, then the login. Nothing that is secret is sent before the host key is found to be
/// right.
///
/// # Errors
/// [`ConnectError`], one variant for each thing that a person would do something else about.
pub async fn connect(target: &Target, deadlines: &Deadlines) -> Result<Session, ConnectError> {
    if target.credentials.is_empty() {
        return Err(ConnectError::MissingCredentials {
            endpoint: target.endpoint(),
            user: target.user.clone(),
        });
    }
    let started = Instant::now();
    let stream = dial(target, deadlines.connect.min(deadlines.total)).await?;
    let observer = Arc::new(Observer::default());
    let login = login::log_in(stream, target, Arc::clone(&observer));
    match timeout_at(started + deadlines.total, login).await {
        Ok(result) => result,
        Err(_) => Err(ConnectError::TimedOut {
            endpoint: target.endpoint(),
            phase: observer.phase(),
            after: deadlines.total,
        }),
    }
}

async fn dial(target: &Target, after: Duration) -> Result<TcpStream, ConnectError> {
    let end = Instant::now() + after;
    let timed_out = |phase| {
        move |_| ConnectError::TimedOut {
            endpoint: target.endpoint(),
            phase,
            after,
        }
    };
    let addresses = timeout_at(end, resolve(target))
        .await
        .map_err(timed_out(Phase::NameResolution))??;
    timeout_at(end, open(target, &addresses))
        .await
        .map_err(timed_out(Phase::Connection))?
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
