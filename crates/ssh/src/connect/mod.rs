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
use tokio::time::{Instant, timeout, timeout_at};

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
    let line = Line::open(target, deadlines).await?;
    line.log_in(target).await
}

/// Opens a connection and waits until the other side says something, as SSH servers do at once.
/// Many that wait cost next to nothing, which cannot be said of sessions.
///
/// # Errors
/// [`ConnectError`].
pub async fn dial(target: &Target, deadlines: &Deadlines) -> Result<Line, ConnectError> {
    let line = Line::open(target, deadlines).await?;
    // An error shows again as soon as the line is used.
    match timeout(line.left, line.stream.readable()).await {
        Ok(_) => Ok(line),
        Err(_) => Err(ConnectError::TimedOut {
            endpoint: target.endpoint(),
            phase: Phase::KeyExchange,
            after: deadlines.total,
        }),
    }
}

/// A connection on which nothing was said by us.
pub struct Line {
    stream: TcpStream,
    /// For the login, of what there is for the whole session.
    left: Duration,
    total: Duration,
}

impl Line {
    async fn open(target: &Target, deadlines: &Deadlines) -> Result<Self, ConnectError> {
        if target.credentials.is_empty() {
            return Err(ConnectError::MissingCredentials {
                endpoint: target.endpoint(),
                user: target.user.clone(),
            });
        }
        let total = deadlines.total;
        let started = Instant::now();
        let stream = open(target, deadlines.connect.min(total)).await?;
        Ok(Self {
            stream,
            left: total.saturating_sub(started.elapsed()),
            total,
        })
    }

    /// Makes it a session.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn log_in(self, target: &Target) -> Result<Session, ConnectError> {
        let observer = Arc::new(Observer::default());
        let login = login::log_in(self.stream, target, Arc::clone(&observer));
        match timeout(self.left, login).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::TimedOut {
                endpoint: target.endpoint(),
                phase: observer.phase(),
                after: self.total,
            }),
        }
    }
}

async fn open(target: &Target, after: Duration) -> Result<TcpStream, ConnectError> {
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
    timeout_at(end, open_one_of(target, &addresses))
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

async fn open_one_of(target: &Target, addresses: &[SocketAddr]) -> Result<TcpStream, ConnectError> {
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
