//! A sandbox: network, hosts and repository under one id, removed as a whole.

use std::path::{Path, PathBuf};

use russh::keys::PrivateKey;
use russh::keys::ssh_key::{self, LineEnding};

use crate::flake::{Repository, RepositoryError};
use crate::host::{Host, HostError, HostOptions};
use crate::network::{Network, NetworkError};
use crate::state::{self, StateError};

/// Why a sandbox cannot be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Its files.
    #[error(transparent)]
    State(#[from] StateError),
    /// Its network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// One of its hosts.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Its repository.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The key pair with which hosts are reached.
    #[error("cannot make a key pair for SSH")]
    Key(#[from] ssh_key::Error),
}

/// The hosts of the demo: name and last number of the address.
pub const FIVE_HOSTS: &[(&str, u8)] = &[
    ("cp-01", 11),
    ("cp-02", 12),
    ("cp-03", 13),
    ("w-01", 21),
    ("w-02", 22),
];

/// Hosts, network and repository. Everything is removed when it is dropped; what a killed
/// process left is removed by [`crate::clean`].
#[derive(Debug)]
pub struct Sandbox {
    id: String,
    directory: PathBuf,
    nico: PathBuf,
    key: PrivateKey,
    network: Network,
    repository: Repository,
    hosts: Vec<Host>,
    removal: Removal,
}

impl Sandbox {
    /// Makes the network and the repository, without a host. Removes leftovers first.
    ///
    /// `nico` is the binary that the hosts run.
    ///
    /// # Errors
    /// When a part cannot be made; the others are removed.
    pub fn create(nico: &Path) -> Result<Self, SandboxError> {
        clean()?;
        let id = format!("{:06x}", rand::random_range(0..0x0100_0000_u32));
        let removal = Removal { id: id.clone() };
        let directory = state::create(&id)?;
        Ok(Self {
            network: Network::create(&id)?,
            repository: Repository::create(&directory.join("repository"))?,
            key: PrivateKey::random(&mut rand::rng(), ssh_key::Algorithm::Ed25519)?,
            id,
            directory,
            nico: nico.to_owned(),
            hosts: Vec::new(),
            removal,
        })
    }

    /// Makes hosts, all at once, and powers them on.
    ///
    /// # Errors
    /// The first failure; the hosts that were made remain.
    pub fn add_hosts(&mut self, hosts: &[(&str, u8)]) -> Result<(), SandboxError> {
        let authorized_key = self.key.public_key().to_openssh()?;
        let made: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = hosts
                .iter()
                .map(|(name, number)| {
                    let options = HostOptions {
                        name: (*name).to_owned(),
                        number: *number,
                        authorized_key: authorized_key.clone(),
                        nico: self.nico.clone(),
                    };
                    let (id, directory, network) = (&self.id, &self.directory, &self.network);
                    scope.spawn(move || Host::create(id, directory, network, options))
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
                .collect()
        });
        let mut first_error = None;
        for host in made {
            match host {
                Ok(host) => self.hosts.push(host),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        first_error.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Six hexadecimal digits that are in the name of all that belongs to the sandbox.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The directory with everything that the sandbox keeps in files; in memory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The `nico` binary.
    pub fn nico(&self) -> &Path {
        &self.nico
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The Git repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The hosts, in the order in which they were added.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// A host by its name.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name() == name)
    }

    /// A host by its name, to switch its power.
    pub fn host_mut(&mut self, name: &str) -> Option<&mut Host> {
        self.hosts.iter_mut().find(|host| host.name() == name)
    }

    /// The private key that every host accepts for root, in OpenSSH form. It is in no file.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn private_key(&self) -> Result<String, SandboxError> {
        Ok(self.key.to_openssh(LineEnding::LF)?.to_string())
    }

    /// Removes everything now, to learn whether it could be removed.
    ///
    /// # Errors
    /// When something remains.
    pub fn remove(mut self) -> Result<(), SandboxError> {
        self.hosts.clear();
        Ok(state::remove(&self.removal.id)?)
    }
}

/// Removes what sandboxes left behind whose process was killed; gives their ids.
///
/// # Errors
/// When something remains.
pub fn clean() -> Result<Vec<String>, SandboxError> {
    // Two at once would get in each other's way.
    let _lock = state::lock()?;
    let ids = state::leftovers();
    for id in &ids {
        state::remove(id)?;
    }
    Ok(ids)
}

/// Removes the sandbox when dropped, also one that was made in part.
#[derive(Debug)]
struct Removal {
    id: String,
}

impl Drop for Removal {
    fn drop(&mut self) {
        if let Err(error) = state::remove(&self.id) {
            tracing::error!(sandbox = self.id, %error, "something of the sandbox remains; `nico sandbox clean` tries again");
        }
    }
}
