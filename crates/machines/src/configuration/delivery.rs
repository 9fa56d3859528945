//! Files on a host that are in no Nix store: written before an activation, settled after it.
//!
//! The content goes over standard input of one command, from memory to the host's disk. All
//! files of a configuration are one set, and become visible together: `/var/lib/nio/files` is a
//! symbolic link that is replaced when the set is whole. Sets of other attempts are kept until
//! the host is seen to run what is wanted.

use std::time::Duration;

use nico_api::Machine;
use nico_runtime::category::{Categorized, Category};
use nico_ssh::{Access, ConnectError, Deadlines, Output, RunError, Session, quote};

use super::files::HostFile;
use crate::program::{Redactor, tail};

const DELIVER: &str = include_str!("deliver.sh");

const SETTLE: &str = include_str!("settle.sh");

/// How long a host may take for either. A set has at most 64 files of at most 1 MiB.
const DEADLINE: Duration = Duration::from_secs(120);

/// The line after the last file: without it, a lost connection would look like the end.
const END: &[u8] = b"end\n";

/// Files that are not on the host as they should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeliveryError {
    /// The host cannot be reached.
    #[error("cannot {task} on the host: {source}")]
    Connect {
        /// What was to be done.
        task: &'static str,
        /// Why not.
        source: ConnectError,
    },
    /// The command could not be run, or the connection was lost.
    #[error("cannot {task} on the host: {source}")]
    Session {
        /// What was being done.
        task: &'static str,
        /// How it failed.
        source: RunError,
    },
    /// The host refused.
    #[error("cannot {task} on the host (status {status}):\n{tail}")]
    Refused {
        /// What was being done.
        task: &'static str,
        /// Exit status.
        status: u32,
        /// Its last words.
        tail: String,
    },
}

impl Categorized for DeliveryError {
    /// A disk may be emptied and an owner be created out of sight, so it is tried again.
    fn category(&self) -> Category {
        match self {
            Self::Connect { .. } | Self::Session { .. } | Self::Refused { .. } => {
                Category::Transient
            }
        }
    }
}

/// Makes `files` the files of the host, in place of those that were there.
///
/// # Errors
/// [`DeliveryError`]; then the files of before are still in place.
pub(super) async fn deliver(
    session: &Session,
    files: &[HostFile],
    redactor: &Redactor,
) -> Result<(), DeliveryError> {
    let mut input = Vec::new();
    for file in files {
        let HostFile {
            path, mode, owner, ..
        } = file;
        let length = file.content.len();
        input.extend_from_slice(format!("{length} {mode} {owner}\n{path}\n").as_bytes());
        input.extend_from_slice(&file.content);
    }
    input.extend_from_slice(END);
    run(session, DELIVER, &input, "write the files", redactor).await
}

/// Gives the files their owners, which an activation may have created, and removes what is left
/// of earlier attempts. Without files, nothing is left at all.
///
/// # Errors
/// [`DeliveryError`].
pub(super) async fn settle(
    session: &Session,
    files: &[HostFile],
    redactor: &Redactor,
) -> Result<(), DeliveryError> {
    let mut input = Vec::new();
    for file in files {
        let HostFile {
            path, mode, owner, ..
        } = file;
        input.extend_from_slice(format!("{mode} {owner}\n{path}\n").as_bytes());
    }
    input.extend_from_slice(END);
    let task = "give the files to their owners";
    run(session, SETTLE, &input, task, redactor).await
}

/// Removes all files from a machine.
///
/// # Errors
/// [`DeliveryError`]; then some may still be there.
pub(super) async fn remove(access: &Access, machine: &Machine) -> Result<(), DeliveryError> {
    let session = access.connect(machine, &Deadlines::default()).await;
    let session = session.map_err(|source| DeliveryError::Connect {
        task: "remove the files under /var/lib/nio/files",
        source,
    })?;
    settle(&session, &[], &Redactor::default()).await?;
    session.close().await;
    Ok(())
}

async fn run(
    session: &Session,
    script: &str,
    input: &[u8],
    task: &'static str,
    redactor: &Redactor,
) -> Result<(), DeliveryError> {
    let command = format!("sh -c {}", quote(script));
    let answer = session.run_as_root(&command, input, DEADLINE).await;
    match answer.map_err(|source| DeliveryError::Session { task, source })? {
        Output { status: 0, .. } => Ok(()),
        Output { status, stderr, .. } => Err(DeliveryError::Refused {
            task,
            status,
            tail: tail(&stderr, redactor),
        }),
    }
}
