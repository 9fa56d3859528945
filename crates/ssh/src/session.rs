//! A session: commands with stdin, exit status, bounded output and a deadline.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use nico_runtime::category::{Categorized, Category};
use russh::client::{Handle, Msg};
use russh::keys::PublicKey;
use russh::{Channel, ChannelMsg, Disconnect};
use thiserror::Error;
use tokio::time::timeout;

use crate::connect::{Observer, Verifier, seconds};
use crate::quote::quote;

/// The most that a command may write to stdout, and to stderr. More is an error, so that a
/// host that writes without end cannot fill the operator's memory.
pub const MAX_OUTPUT_BYTES: usize = 8 * 1024 * 1024;

/// Commands are shown in messages up to this length.
const SHOWN_COMMAND_LENGTH: usize = 80;

/// An authenticated connection to a machine. Dropping it closes it.
pub struct Session {
    handle: Handle<Verifier>,
    host_key: PublicKey,
    root: bool,
    proof: Proof,
    observer: Arc<Observer>,
}

/// What a server accepted of the credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// One of the private keys.
    Key,
    /// The password.
    Password,
}

/// What a command gave back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Exit status; 0 is success by convention.
    pub status: u32,
    /// What it wrote to stdout.
    pub stdout: Vec<u8>,
    /// What it wrote to stderr.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Whether the exit status is 0.
    pub fn success(&self) -> bool {
        self.status == 0
    }
}

/// Why a command gave back nothing that can be used. A command that ends with another status
/// than 0 is no error here.
#[derive(Debug, Error)]
pub enum RunError {
    /// The server does not run the command.
    #[error(
        "the SSH server does not run the command `{command}`; look whether the user's shell works and commands are not forced"
    )]
    Refused {
        /// The command, shortened.
        command: String,
    },
    /// The command took longer than it may. It may still be running on the host.
    #[error("the command `{command}` did not end within {}", seconds(.after))]
    TimedOut {
        /// The command, shortened.
        command: String,
        /// The deadline.
        after: Duration,
    },
    /// The connection ended before the command did.
    #[error("the connection was lost while the command `{command}` ran")]
    ConnectionLost {
        /// The command, shortened.
        command: String,
        /// Why the connection ended.
        #[source]
        source: russh::Error,
    },
    /// A signal ended the command.
    #[error("the command `{command}` was ended by the signal {signal}")]
    Signalled {
        /// The command, shortened.
        command: String,
        /// The signal, without `SIG`.
        signal: String,
    },
    /// The command wrote more than [`MAX_OUTPUT_BYTES`].
    #[error("the command `{command}` wrote more than {MAX_OUTPUT_BYTES} bytes")]
    TooMuchOutput {
        /// The command, shortened.
        command: String,
    },
}

impl Categorized for RunError {
    fn category(&self) -> Category {
        match self {
            Self::TimedOut { .. } | Self::ConnectionLost { .. } | Self::Signalled { .. } => {
                Category::Transient
            }
            Self::Refused { .. } | Self::TooMuchOutput { .. } => Category::InvalidInput,
        }
    }
}

impl Session {
    pub(crate) fn new(
        handle: Handle<Verifier>,
        host_key: PublicKey,
        root: bool,
        proof: Proof,
        observer: Arc<Observer>,
    ) -> Self {
        Self {
            handle,
            host_key,
            root,
            proof,
            observer,
        }
    }

    /// The host key that the server proved to have.
    pub fn host_key(&self) -> &PublicKey {
        &self.host_key
    }

    /// What the server accepted of the credentials.
    pub fn proof(&self) -> Proof {
        self.proof
    }

    /// Runs a command in the user's login shell, feeds it `stdin`, and waits for its end.
    /// Several may run at once in one session. Build commands with [`quote`].
    ///
    /// # Errors
    /// [`RunError`]; a command that ends with a status other than 0 is `Ok`.
    pub async fn run(
        &self,
        command: &str,
        stdin: &[u8],
        deadline: Duration,
    ) -> Result<Output, RunError> {
        let shown = shorten(command);
        match timeout(deadline, self.exchange(command, &shown, stdin)).await {
            Ok(result) => result,
            Err(_) => Err(RunError::TimedOut {
                command: shown,
                after: deadline,
            }),
        }
    }

    /// Like [`Session::run`], as root: through `sudo -n` when the user is another one.
    ///
    /// # Errors
    /// As [`Session::run`]; without the right to use `sudo`, an [`Output`] with its status.
    pub async fn run_as_root(
        &self,
        command: &str,
        stdin: &[u8],
        deadline: Duration,
    ) -> Result<Output, RunError> {
        if self.root {
            return self.run(command, stdin, deadline).await;
        }
        self.run(
            &format!("sudo -n -- sh -c {}", quote(command)),
            stdin,
            deadline,
        )
        .await
    }

    /// Starts a command and gives its channel, whose messages are for whoever asked.
    pub(crate) async fn open(&self, command: Vec<u8>) -> Result<Channel<Msg>, russh::Error> {
        let channel = self.handle.channel_open_session().await?;
        channel.exec(true, command).await?;
        Ok(channel)
    }

    /// Says goodbye to the server. Dropping the session does the same without a word.
    pub async fn close(self) {
        // The connection may be gone already, which is what was wanted.
        let _ = self
            .handle
            .disconnect(Disconnect::ByApplication, "", "")
            .await;
    }

    async fn exchange(&self, command: &str, shown: &str, stdin: &[u8]) -> Result<Output, RunError> {
        let channel = match self.handle.channel_open_session().await {
            Ok(channel) => channel,
            Err(russh::Error::ChannelOpenFailure(_)) => return Err(refused(shown)),
            Err(error) => return Err(self.lost(shown, error)),
        };
        if let Err(error) = channel.exec(true, command).await {
            return Err(self.lost(shown, error));
        }
        self.collect(channel, shown, stdin).await
    }

    /// Feeds and reads at once: a command may write before it has read everything, and may end
    /// without reading anything.
    async fn collect(
        &self,
        channel: Channel<Msg>,
        shown: &str,
        stdin: &[u8],
    ) -> Result<Output, RunError> {
        let (mut incoming, outgoing) = channel.split();
        let mut feeding = pin!(async {
            outgoing.data(stdin).await?;
            outgoing.eof().await
        });
        let mut fed = false;
        let mut status = None;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        loop {
            let message = tokio::select! {
                // A command that does not want its input shows by its status what it thinks.
                _ = &mut feeding, if !fed => { fed = true; continue; }
                message = incoming.wait() => message,
            };
            match message {
                Some(ChannelMsg::Data { data }) => append(&mut stdout, &data, shown)?,
                Some(ChannelMsg::ExtendedData { data, ext: 1 }) => {
                    append(&mut stderr, &data, shown)?;
                }
                Some(ChannelMsg::ExitStatus { exit_status }) => status = Some(exit_status),
                Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                    let signal = format!("{signal_name:?}");
                    return Err(RunError::Signalled {
                        command: shown.to_owned(),
                        signal,
                    });
                }
                Some(ChannelMsg::Failure) => return Err(refused(shown)),
                Some(ChannelMsg::Close) | None => break,
                Some(_) => {}
            }
        }
        match status {
            Some(status) => Ok(Output {
                status,
                stdout,
                stderr,
            }),
            None => Err(self.lost(shown, russh::Error::Disconnect)),
        }
    }

    fn lost(&self, shown: &str, error: russh::Error) -> RunError {
        let source = self.observer.take_end().unwrap_or(error);
        RunError::ConnectionLost {
            command: shown.to_owned(),
            source,
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Session")
            .field("host_key", &self.host_key)
            .finish_non_exhaustive()
    }
}

fn refused(shown: &str) -> RunError {
    RunError::Refused {
        command: shown.to_owned(),
    }
}

fn append(buffer: &mut Vec<u8>, data: &[u8], shown: &str) -> Result<(), RunError> {
    if buffer.len() + data.len() > MAX_OUTPUT_BYTES {
        return Err(RunError::TooMuchOutput {
            command: shown.to_owned(),
        });
    }
    buffer.extend_from_slice(data);
    Ok(())
}

/// The first line of a command, shortened for messages.
fn shorten(command: &str) -> String {
    let line = command.lines().next().unwrap_or_default();
    match line.char_indices().nth(SHOWN_COMMAND_LENGTH) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::shorten;

    #[test]
    fn messages_show_the_first_line_of_a_command_only() {
        assert_eq!(shorten("sh -s"), "sh -s");
        assert_eq!(shorten("cat <<E\nhunter2\nE"), "cat <<E");
        assert_eq!(shorten(&"ä".repeat(90)).chars().count(), 81);
    }
}
