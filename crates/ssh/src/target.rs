//! Where to connect to, as whom, and whom to trust there.

use std::time::Duration;

use russh::keys::{HashAlg, PublicKey};

use crate::credentials::Credentials;

/// An SSH server and how to log in there.
#[derive(Clone, Debug)]
pub struct Target {
    /// DNS name, IPv4 or IPv6 address.
    pub address: String,
    /// TCP port.
    pub port: u16,
    /// User to log in as.
    pub user: String,
    /// What proves that we may.
    pub credentials: Credentials,
    /// What proves that the server is the right one.
    pub host_keys: HostKeys,
}

/// The host keys that are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostKeys {
    /// One of these keys; any other is refused as changed.
    Pinned(Vec<PublicKey>),
    /// Nothing is known of the server yet: the first key that it shows is trusted.
    FirstUse,
}

/// How long to wait for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// For name resolution and the TCP connection.
    pub connect: Duration,
    /// For everything up to the authenticated session, `connect` included.
    pub total: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            total: Duration::from_secs(30),
        }
    }
}

impl Target {
    /// The pinned host keys as lines of an OpenSSH `known_hosts` file, for child programs with
    /// `StrictHostKeyChecking=yes`. Empty when no key is pinned yet, so that such a program
    /// then refuses the server.
    pub fn known_hosts(&self) -> String {
        let HostKeys::Pinned(keys) = &self.host_keys else {
            return String::new();
        };
        let host = match self.port {
            22 => self.address.clone(),
            port => format!("[{}]:{port}", self.address),
        };
        keys.iter()
            .map(|key| format!("{host} {}\n", encode(key)))
            .collect()
    }

    /// Address and port as people write them, for messages.
    pub(crate) fn endpoint(&self) -> String {
        if self.address.contains(':') {
            format!("[{}]:{}", self.address, self.port)
        } else {
            format!("{}:{}", self.address, self.port)
        }
    }
}

/// The fingerprint of a key as OpenSSH prints it: `SHA256:…`.
pub fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// A public key in OpenSSH form, without a comment.
pub(crate) fn encode(key: &PublicKey) -> String {
    PublicKey::new(key.key_data().clone(), "")
        .to_openssh()
        .expect("a decoded public key can be encoded")
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::{HostKeys, Target, fingerprint};
    use crate::credentials::Credentials;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ me@laptop";

    fn target(address: &str, port: u16) -> Target {
        Target {
            address: address.to_owned(),
            port,
            user: "root".to_owned(),
            credentials: Credentials::default(),
            host_keys: HostKeys::Pinned(vec![KEY.parse().expect("a public key")]),
        }
    }

    #[test]
    fn known_hosts_lines_have_openssh_form_and_no_comment() {
        let key = KEY.rsplit_once(' ').expect("three words").0;
        assert_eq!(
            target("192.0.2.1", 22).known_hosts(),
            format!("192.0.2.1 {key}\n")
        );
        assert_eq!(
            target("2001:db8::1", 2222).known_hosts(),
            format!("[2001:db8::1]:2222 {key}\n")
        );
    }

    #[test]
    fn without_a_pin_no_host_is_known() {
        let target = Target {
            host_keys: HostKeys::FirstUse,
            ..target("192.0.2.1", 22)
        };
        assert_eq!(target.known_hosts(), "");
    }

    #[test]
    fn fingerprints_are_those_of_openssh() {
        let key = KEY.parse().expect("a public key");
        assert!(
            fingerprint(&key).starts_with("SHA256:"),
            "{}",
            fingerprint(&key)
        );
    }
}
