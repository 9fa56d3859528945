//! From a Machine to a session: which Secrets hold the credentials, which host key is trusted.
//!
//! - [`secrets`]: reads credentials, with errors that name Secret and key
//! - [`pins`]: the host keys that were seen on first use, in the Secret `nio-known-hosts`

mod error;
mod pins;
mod secrets;

use std::sync::Arc;

use kube::{Client, ResourceExt};
use nico_api::{Machine, labels};
use russh::keys::PublicKey;

pub use error::AccessError;
pub use pins::KNOWN_HOSTS_SECRET;

use crate::connect::{ConnectError, connect};
use crate::credentials::Credentials;
use crate::session::Session;
use crate::target::{Deadlines, HostKeys, Target, fingerprint};
use pins::{Freshness, Pins};
use secrets::Secrets;

/// Opens sessions to Machines. Cheap to clone; clones share what they remember of pinned keys.
#[derive(Clone)]
pub struct Access {
    secrets: Secrets,
    pins: Arc<Pins>,
}

/// What became of a host key that was to be pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pinning {
    /// It is trusted already, by the spec or by an earlier pin.
    Unchanged,
    /// It is the first that was seen, and is trusted from now on.
    FirstUse,
    /// It takes the place of another one, as the user asked for by annotation.
    Replaced,
}

impl Access {
    /// Reads Secrets with `client`, and keeps pinned host keys in `operator_namespace`.
    ///
    /// `allow_cross_namespace` lets Machines refer to Secrets of other namespaces
    /// (`NIO_ALLOW_CROSS_NAMESPACE_SECRETS`).
    pub fn new(client: Client, operator_namespace: &str, allow_cross_namespace: bool) -> Self {
        Self {
            pins: Arc::new(Pins::new(client.clone(), operator_namespace)),
            secrets: Secrets::new(client, allow_cross_namespace),
        }
    }

    /// Puts together where the machine is, how to log in and which host keys are trusted.
    ///
    /// # Errors
    /// [`AccessError`], naming the field, Secret or key that is wrong.
    pub async fn target(&self, machine: &Machine) -> Result<Target, AccessError> {
        let address = machine
            .spec
            .address()
            .ok_or_else(|| AccessError::NoAddress {
                machine: identity(machine),
            })?
            .to_owned();
        Ok(Target {
            address,
            port: machine.spec.port(),
            user: machine.spec.ssh_user.clone(),
            credentials: self.credentials(machine).await?,
            host_keys: self.host_keys(machine, Freshness::Recent).await?,
        })
    }

    /// Opens a session: [`Access::target`], then the connection, then [`Access::pin`].
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(
        &self,
        machine: &Machine,
        deadlines: &Deadlines,
    ) -> Result<Session, ConnectError> {
        let target = self.target(machine).await?;
        let session = match connect(&target, deadlines).await {
            Err(ConnectError::HostKeyChanged {
                endpoint,
                seen,
                trusted,
            }) => match self.trust_anew(machine, &target, &seen).await? {
                Some(target) => connect(&target, deadlines).await?,
                None => {
                    return Err(ConnectError::HostKeyChanged {
                        endpoint,
                        seen,
                        trusted,
                    });
                }
            },
            other => other?,
        };
        self.pin(machine, session.host_key()).await?;
        Ok(session)
    }

    /// Opens a session to a machine that NICO installed from scratch, and that so may have a host
    /// key that nobody has seen. The key is trusted for this session only: whoever finds that it
    /// is the right machine calls [`Access::replace_pin`]. Keys of `spec.sshHostKeys` stay the
    /// only ones that are trusted.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect_anew(
        &self,
        machine: &Machine,
        deadlines: &Deadlines,
    ) -> Result<Session, ConnectError> {
        let target = self.target(machine).await?;
        match connect(&target, deadlines).await {
            Err(ConnectError::HostKeyChanged { seen, .. })
                if machine.spec.ssh_host_keys.is_empty() =>
            {
                let target = Target {
                    host_keys: HostKeys::Pinned(vec![*seen]),
                    ..target
                };
                connect(&target, deadlines).await
            }
            other => other,
        }
    }

    /// After a server showed another key than the one that is trusted: the target to try again
    /// with, if the user trusts `seen` by the annotation `nio.homystack.com/reset-host-key`, or
    /// if the pinned key was changed meanwhile. `None` when `seen` stays refused.
    ///
    /// # Errors
    /// [`AccessError`] when the pinned keys cannot be read.
    pub async fn trust_anew(
        &self,
        machine: &Machine,
        target: &Target,
        seen: &PublicKey,
    ) -> Result<Option<Target>, AccessError> {
        let host_keys = if resets_to(machine, seen) {
            HostKeys::Pinned(vec![seen.clone()])
        } else {
            self.host_keys(machine, Freshness::Now).await?
        };
        Ok((host_keys != target.host_keys).then(|| Target {
            host_keys,
            ..target.clone()
        }))
    }

    /// Remembers the host key of a machine on first use, or in place of another one when the
    /// annotation `nio.homystack.com/reset-host-key` names it. Nothing is stored for machines
    /// with `spec.sshHostKeys`.
    ///
    /// # Errors
    /// `PinnedOtherwise` when another key was pinned first; else what the API says.
    pub async fn pin(&self, machine: &Machine, key: &PublicKey) -> Result<Pinning, AccessError> {
        if !machine.spec.ssh_host_keys.is_empty() {
            return Ok(Pinning::Unchanged);
        }
        self.pins
            .put(&pin_name(machine), key, resets_to(machine, key))
            .await
    }

    /// Trusts `key` from now on, whatever was pinned before. For machines that NICO itself
    /// installed from scratch, and so knows to have a new key. Nothing is stored for machines
    /// with `spec.sshHostKeys`.
    ///
    /// # Errors
    /// What the API says.
    pub async fn replace_pin(
        &self,
        machine: &Machine,
        key: &PublicKey,
    ) -> Result<Pinning, AccessError> {
        if !machine.spec.ssh_host_keys.is_empty() {
            return Ok(Pinning::Unchanged);
        }
        self.pins.put(&pin_name(machine), key, true).await
    }

    async fn credentials(&self, machine: &Machine) -> Result<Credentials, AccessError> {
        let spec = &machine.spec;
        if spec.ssh_key_secret_ref.is_none() && spec.ssh_password_secret_ref.is_none() {
            return Err(AccessError::NoCredentials {
                machine: identity(machine),
            });
        }
        let mut credentials = Credentials::default();
        if let Some(reference) = &spec.ssh_key_secret_ref {
            credentials = self
                .secrets
                .private_key(machine, reference, credentials)
                .await?;
        }
        if let Some(reference) = &spec.ssh_password_secret_ref {
            credentials =
                credentials.with_password(self.secrets.password(machine, reference).await?);
        }
        Ok(credentials)
    }

    async fn host_keys(
        &self,
        machine: &Machine,
        freshness: Freshness,
    ) -> Result<HostKeys, AccessError> {
        let spec = &machine.spec.ssh_host_keys;
        if !spec.is_empty() {
            return parse_host_keys(machine, spec).map(HostKeys::Pinned);
        }
        let pinned = self.pins.get(&pin_name(machine), freshness).await?;
        Ok(if pinned.is_empty() {
            HostKeys::FirstUse
        } else {
            HostKeys::Pinned(pinned)
        })
    }
}

fn parse_host_keys(machine: &Machine, keys: &[String]) -> Result<Vec<PublicKey>, AccessError> {
    let parse = |(index, text): (usize, &String)| {
        text.trim()
            .parse::<PublicKey>()
            .map_err(|source| AccessError::InvalidHostKey {
                machine: identity(machine),
                index,
                source,
            })
    };
    keys.iter().enumerate().map(parse).collect()
}

/// Whether the user asked by annotation to trust exactly this key.
fn resets_to(machine: &Machine, key: &PublicKey) -> bool {
    machine.spec.ssh_host_keys.is_empty()
        && machine
            .annotations()
            .get(labels::RESET_HOST_KEY)
            .is_some_and(|wanted| wanted.trim() == fingerprint(key))
}

/// The key under which the host key of a machine stands. A namespace has no dots, so that no
/// two machines share one.
fn pin_name(machine: &Machine) -> String {
    format!(
        "{}.{}",
        machine.namespace().unwrap_or_default(),
        machine.name_any()
    )
}

fn identity(machine: &Machine) -> String {
    format!(
        "{}/{}",
        machine.namespace().unwrap_or_default(),
        machine.name_any()
    )
}
