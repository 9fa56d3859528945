//! Why there is no session.

use std::time::Duration;
use std::{fmt, io};

use nico_runtime::category::{Categorized, Category};
use russh::keys::PublicKey;
use thiserror::Error;

use crate::access::AccessError;
use crate::target::fingerprint;

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

/// A duration as a person reads it: `10s`, `1.5s`.
pub(crate) fn seconds(duration: &Duration) -> String {
    format!("{}s", (duration.as_secs_f64() * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::seconds;

    #[test]
    fn deadlines_are_written_in_seconds() {
        assert_eq!(seconds(&Duration::from_secs(10)), "10s");
        assert_eq!(seconds(&Duration::from_millis(1500)), "1.5s");
    }
}
