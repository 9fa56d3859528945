//! Files on a host that are in no Nix store: written before an activation, settled after it.
//!
//! The content goes over standard input of one command, from memory to the host's disk. All
//! files of a configuration are one set, and become visible together: `/var/lib/nio/files` is a
//! symbolic link, which the guard of the activation points to the set, and back to the one
//! before when it goes back. Other sets are removed when the host is seen to run what is wanted.

use std::time::Duration;

use nico_api::Machine;
use nico_runtime::category::{Categorized, Category};
use nico_ssh::{Access, ConnectError, Deadlines, Output, RunError, Session, quote};

use super::files::HostFile;
use crate::program::{Redactor, tail};

const SCRIPT: &str = include_str!("files.sh");

/// How long a host may take. A set has at most 64 files of at most 1 MiB.
const DEADLINE: Duration = Duration::from_secs(120);

/// The line after the last file.
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

/// Writes `files` to the host as a set, and gives what the host calls it. It is shown when a
/// guard is told to.
///
/// # Errors
/// [`DeliveryError`]; then nothing is left of the set.
pub(super) async fn deliver(
    session: &Session,
    attempt: &str,
    files: &[HostFile],
    redactor: &Redactor,
) -> Result<String, DeliveryError> {
    // An attempt that is taken up again after a restart delivers once more.
    let set = format!("{}.{:08x}", set_of(attempt), rand::random::<u32>());
    let mut input = Vec::new();
    for file in files {
        input.extend_from_slice(format!("{} ", file.content.len()).as_bytes());
        describe(file, &mut input);
        input.extend_from_slice(&file.content);
    }
    let arguments = ["deliver", &set];
    run(session, "write the files", &arguments, input, redactor).await?;
    Ok(set)
}

/// How the host calls the sets of an attempt, or of all attempts whose names begin so.
pub(super) fn set_of(attempt: &str) -> String {
    format!("sets/{attempt}")
}

/// Gives the files that are shown to their owners, whom an activation may have created, and
/// removes what is left of other attempts. Without files, nothing is left at all.
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
        describe(file, &mut input);
    }
    let task = "give the files to their owners";
    run(session, task, &["settle"], input, redactor).await
}

/// Removes what attempts that were undone left on the host.
///
/// # Errors
/// [`DeliveryError`].
pub(super) async fn tidy(session: &Session) -> Result<(), DeliveryError> {
    let (task, redactor) = ("remove files of an earlier attempt", Redactor::default());
    run(session, task, &["tidy"], Vec::new(), &redactor).await
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

/// What the host is to know of a file besides its content.
fn describe(file: &HostFile, input: &mut Vec<u8>) {
    let HostFile {
        path, mode, owner, ..
    } = file;
    input.extend_from_slice(format!("{mode} {owner}\n{path}\n").as_bytes());
}

async fn run(
    session: &Session,
    task: &'static str,
    arguments: &[&str],
    mut input: Vec<u8>,
    redactor: &Redactor,
) -> Result<(), DeliveryError> {
    input.extend_from_slice(END);
    let command = ["sh", "-c", SCRIPT, "nio"].iter().chain(arguments);
    let command: Vec<String> = command.map(|word| quote(word)).collect();
    let answer = session
        .run_as_root(&command.join(" "), &input, DEADLINE)
        .await;
    match answer.map_err(|source| DeliveryError::Session { task, source })? {
        Output { status: 0, .. } => Ok(()),
        Output { status, stderr, .. } => Err(DeliveryError::Refused {
            task,
            status,
            tail: tail(&stderr, redactor),
        }),
    }
}
