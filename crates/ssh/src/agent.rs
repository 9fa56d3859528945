//! An SSH agent inside this process, for programs that NICO starts.
//!
//! `git`, `nix copy` and `nixos-anywhere` find keys through `SSH_AUTH_SOCK`. The key itself
//! never leaves this process: not on disk, not in an argument, not in an environment variable.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::stream;
use nico_runtime::category::{Categorized, Category};
use russh::keys::agent::client::AgentClient;
use russh::keys::agent::server::{self, MessageType};
use tempfile::TempDir;
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::AbortHandle;

use crate::credentials::Credentials;

/// A running agent. Its socket lies in a directory that only this user can enter, and is gone
/// when the agent is dropped.
#[derive(Debug)]
pub struct Agent {
    socket: PathBuf,
    _directory: TempDir,
    listener: AbortHandle,
}

/// Why there is no agent.
#[derive(Debug, Error)]
pub enum AgentError {
    /// There is no private key that it could hold.
    #[error(
        "there is no private key for an SSH agent; programs such as nix and git cannot use a password"
    )]
    NoKey,
    /// The socket could not be made.
    #[error(
        "cannot make the socket of the SSH agent in a private directory under {directory}; set TMPDIR to a directory that can be written"
    )]
    Socket {
        /// The directory for temporary files.
        directory: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// The agent did not take the key.
    #[error("the SSH agent does not take the key")]
    AddKey(#[source] russh::keys::Error),
}

impl Categorized for AgentError {
    fn category(&self) -> Category {
        match self {
            Self::NoKey => Category::InvalidInput,
            Self::Socket { .. } => Category::Transient,
            Self::AddKey(_) => Category::Bug,
        }
    }
}

impl Agent {
    /// Starts an agent that holds the keys of `credentials` and takes no others.
    ///
    /// # Errors
    /// [`AgentError`]; credentials without a key are one.
    pub async fn start(credentials: &Credentials) -> Result<Self, AgentError> {
        if !credentials.has_key() {
            return Err(AgentError::NoKey);
        }
        let socket_error = |source| AgentError::Socket {
            directory: std::env::temp_dir(),
            source,
        };
        let directory = tempfile::Builder::new()
            .prefix("nico-agent-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .map_err(socket_error)?;
        let socket = directory.path().join("socket");
        let listener = UnixListener::bind(&socket).map_err(socket_error)?;
        let policy = Policy::default();
        let connections = stream::poll_fn(move |context| {
            listener
                .poll_accept(context)
                .map(|accepted| Some(accepted.map(|(stream, _)| stream)))
        });
        let serving = tokio::spawn(server::serve(connections, policy.clone()));
        let agent = Self {
            socket,
            _directory: directory,
            listener: serving.abort_handle(),
        };

        let stream = UnixStream::connect(&agent.socket)
            .await
            .map_err(socket_error)?;
        let mut client = AgentClient::connect(stream);
        for key in credentials.keys() {
            client
                .add_identity(key, &[])
                .await
                .map_err(AgentError::AddKey)?;
        }
        policy.seal();
        Ok(agent)
    }

    /// The socket, for `SSH_AUTH_SOCK` of child programs.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// Lets keys be added until it is sealed, then only listed and used.
#[derive(Clone, Default)]
struct Policy {
    sealed: Arc<AtomicBool>,
}

impl Policy {
    fn seal(&self) {
        self.sealed.store(true, Ordering::Release);
    }
}

impl server::Agent for Policy {
    async fn confirm_request(&self, message: MessageType) -> bool {
        match message {
            MessageType::RequestKeys | MessageType::Sign => true,
            MessageType::AddKeys => !self.sealed.load(Ordering::Acquire),
            MessageType::RemoveKeys
            | MessageType::RemoveAllKeys
            | MessageType::Lock
            | MessageType::Unlock => false,
        }
    }
}
