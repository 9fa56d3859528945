//! One probe: one session, one or two commands, everything that is to be known of a machine.

use std::error::Error as StdError;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use nico_api::reason::MachineReason;
use nico_api::{Machine, labels};
use nico_runtime::category::{Categorized, Category};
use nico_ssh::{
    Access, AccessError, ConnectError, Deadlines, HostKeys, Line, PublicKey, RunError, Session,
    Target, dial, fingerprint,
};
use serde_json::{Map, Value};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::facts;
use super::metrics::MachineMetrics;
use super::settings::Settings;

/// A machine that takes longer than this to answer is waited for without a place, which costs
/// next to nothing: dead machines do not hold up live ones.
const PLACE_KEPT_UNANSWERED: Duration = Duration::from_millis(500);

/// A session that takes longer than this goes on without a place: machines that hang do not hold
/// up others. One that is merely slow, as all are when the operator has much to do, keeps it.
const PLACE_KEPT_IN_SESSION: Duration = Duration::from_secs(10);

/// Prints the store path of the running system on NixOS, and nothing elsewhere.
const CURRENT_SYSTEM: &[u8] = b"[ ! -L /run/current-system ] || readlink -f /run/current-system\n";

/// Reads a script from stdin, as root where that is possible: serial numbers are for root only.
const SCRIPT_AS_ROOT: &str =
    "sh -c 'if sudo -n true 2>/dev/null; then exec sudo -n sh -s; else exec sh -s; fi'";

/// Prints the report of `nixos-facter`, where it is installed, as one line.
const FACTER: &[u8] = b"PATH=\"$PATH:/run/current-system/sw/bin\"
! command -v nixos-facter >/dev/null || nixos-facter 2>/dev/null </dev/null
";

/// A longer report is not stored: an object in Kubernetes has at most 1.5 MB.
const MAX_FACTER_BYTES: usize = 512 * 1024;

/// What a probe found.
#[derive(Debug)]
pub(super) struct Observed {
    /// Whether the machine answered.
    pub(super) contact: Result<Contact, Failure>,
}

/// What an answering machine said.
#[derive(Debug)]
pub(super) struct Contact {
    /// The host key that it proved to have.
    pub(super) host_key: PublicKey,
    /// Fingerprints of the keys that are trusted.
    pub(super) trusted: Vec<String>,
    /// The facts, if they were asked for.
    pub(super) scan: Option<Scan>,
}

/// What is known of hardware and operating system.
#[derive(Debug)]
pub(super) struct Scan {
    /// The facts, or why there are none.
    pub(super) facts: Result<Map<String, Value>, String>,
    /// The report of `nixos-facter`, if it was asked for and is installed.
    pub(super) facter: Option<Map<String, Value>>,
}

/// Why a machine did not answer.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) reason: MachineReason,
    pub(super) category: Category,
    pub(super) message: String,
}

/// What a probe is to ask.
#[derive(Clone, Copy, Debug)]
pub(super) struct Questions {
    /// All facts, whether or not the system changed.
    pub(super) facts: bool,
    /// Also the report of `nixos-facter`, which takes the host some seconds.
    pub(super) facter: bool,
}

/// One of the probes that may be under way at once.
pub(super) struct Place {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Place {
    /// Waits for `work`. The place is given to others, and does not come back, when that takes
    /// longer than `patience`.
    async fn kept_for<T>(
        self,
        patience: Duration,
        work: impl Future<Output = T>,
    ) -> (T, Option<Self>) {
        let mut work = pin!(work);
        match timeout(patience, &mut work).await {
            Ok(done) => (done, Some(self)),
            Err(_) => {
                drop(self);
                (work.await, None)
            }
        }
    }
}

/// Probes machines, no more at once than the settings allow; those that do not answer do not
/// count.
pub(super) struct Prober {
    access: Access,
    deadlines: Deadlines,
    places: Arc<Semaphore>,
    metrics: MachineMetrics,
}

impl Prober {
    pub(super) fn new(access: Access, settings: &Settings, metrics: MachineMetrics) -> Self {
        Self {
            access,
            deadlines: Deadlines {
                connect: settings.probe_connect_timeout,
                total: settings.probe_timeout,
            },
            places: Arc::new(Semaphore::new(settings.probe_concurrency)),
            metrics,
        }
    }

    /// Waits for its turn to probe.
    pub(super) async fn place(&self) -> Place {
        Place {
            _permit: Arc::clone(&self.places).acquire_owned().await.ok(),
        }
    }

    /// Probes `machine`. The place is given to others when that takes long.
    ///
    /// # Errors
    /// Only when the Kubernetes API does not give what a probe needs; whatever is wrong with the
    /// machine, its spec or its Secrets is part of what was observed.
    pub(super) async fn observe(
        &self,
        machine: &Machine,
        questions: Questions,
        place: Place,
    ) -> Result<Observed, ProbeError> {
        let started = Instant::now();
        let contact = match self.contact(machine, questions, place).await {
            Ok(contact) => Ok(contact),
            Err(error) => Err(Failure {
                reason: match reason(&error) {
                    Some(reason) => reason,
                    None => return Err(error),
                },
                category: error.category(),
                message: describe(machine, &error),
            }),
        };
        let result = match &contact {
            Ok(_) => MachineReason::Connected,
            Err(failure) => failure.reason,
        };
        let namespace = machine.namespace().unwrap_or_default();
        self.metrics
            .connected(&namespace, result, started.elapsed());
        Ok(Observed { contact })
    }

    async fn contact(
        &self,
        machine: &Machine,
        questions: Questions,
        place: Place,
    ) -> Result<Contact, ProbeError> {
        let target = self.access.target(machine).await;
        let target = target.map_err(ConnectError::from)?;
        let dialled = dial(&target, &self.deadlines);
        let (line, place) = place.kept_for(PLACE_KEPT_UNANSWERED, dialled).await;
        let line = line?;
        let place = match place {
            Some(place) => place,
            None => self.place().await,
        };
        // In a box, because those that wait are many.
        let session = Box::pin(self.contact_by(line, &target, machine, questions));
        place.kept_for(PLACE_KEPT_IN_SESSION, session).await.0
    }

    /// Asks; and where the host key has changed and that is all right, asks again.
    async fn contact_by(
        &self,
        line: Line,
        target: &Target,
        machine: &Machine,
        questions: Questions,
    ) -> Result<Contact, ProbeError> {
        match self.ask(line, target, machine, questions).await {
            Err(ProbeError::Connect(ConnectError::HostKeyChanged {
                endpoint,
                seen,
                trusted,
            })) => {
                let anew = self.access.trust_anew(machine, target, &seen).await;
                match anew.map_err(ConnectError::from)? {
                    Some(target) => {
                        let line = dial(&target, &self.deadlines).await?;
                        self.ask(line, &target, machine, questions).await
                    }
                    None => Err(ConnectError::HostKeyChanged {
                        endpoint,
                        seen,
                        trusted,
                    }
                    .into()),
                }
            }
            other => other,
        }
    }

    /// One session: logs in, asks, says goodbye.
    async fn ask(
        &self,
        line: Line,
        target: &Target,
        machine: &Machine,
        questions: Questions,
    ) -> Result<Contact, ProbeError> {
        let session = line.log_in(target).await?;
        let deadline = self.deadlines.total;
        let current = session.run("sh -s", CURRENT_SYSTEM, deadline).await?;
        if !current.success() {
            let stderr = String::from_utf8_lossy(&current.stderr).trim().to_owned();
            return Err(ProbeError::Shell {
                status: current.status,
                stderr,
            });
        }
        let current = String::from_utf8_lossy(&current.stdout);
        let scan = if questions.facts || system_changed(machine, current.trim()) {
            Some(scan(&session, questions.facter, deadline).await?)
        } else {
            None
        };
        let host_key = session.host_key().clone();
        session.close().await;
        let trusted = match &target.host_keys {
            HostKeys::Pinned(keys) => keys.iter().map(fingerprint).collect(),
            HostKeys::FirstUse => vec![fingerprint(&host_key)],
        };
        Ok(Contact {
            host_key,
            trusted,
            scan,
        })
    }
}

/// Whether another system runs than the facts say. Nothing is known of machines without NixOS.
fn system_changed(machine: &Machine, current: &str) -> bool {
    let known = machine
        .fact("nixos.currentSystem")
        .and_then(Value::as_str)
        .unwrap_or_default();
    known != current
}

async fn scan(session: &Session, facter: bool, deadline: Duration) -> Result<Scan, ProbeError> {
    let output = session
        .run(SCRIPT_AS_ROOT, facts::SCRIPT.as_bytes(), deadline)
        .await?;
    let facts = facts::parse(&output.stdout).map_err(|error| {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said
            .trim()
            .lines()
            .next_back()
            .unwrap_or("nothing on stderr");
        format!("{error} (exit status {}: {said})", output.status)
    });
    let facter = if facter {
        run_facter(session, deadline).await
    } else {
        None
    };
    Ok(Scan { facts, facter })
}

/// The report is an extra: a host whose `nixos-facter` fails or hangs is inspected all the same.
async fn run_facter(session: &Session, deadline: Duration) -> Option<Map<String, Value>> {
    match session.run(SCRIPT_AS_ROOT, FACTER, deadline).await {
        Ok(output) if output.success() && output.stdout.len() <= MAX_FACTER_BYTES => {
            serde_json::from_slice(&output.stdout).ok()
        }
        Ok(output) => {
            let (status, bytes) = (output.status, output.stdout.len());
            tracing::debug!(status, bytes, "report of nixos-facter not used");
            None
        }
        Err(error) => {
            tracing::debug!(%error, "nixos-facter gave no report");
            None
        }
    }
}

/// Why a probe ended early.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// There was no session.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A command gave nothing back.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The shell does not do what shells do.
    #[error(
        "a shell on the machine ended with status {status}: {stderr}; look whether the user's shell works"
    )]
    Shell {
        /// Its exit status.
        status: u32,
        /// What it said.
        stderr: String,
    },
}

impl Categorized for ProbeError {
    fn category(&self) -> Category {
        match self {
            Self::Connect(error) => error.category(),
            Self::Run(error) => error.category(),
            Self::Shell { .. } => Category::InvalidInput,
        }
    }
}

/// What a failed probe says about the machine; `None` when it says something about the
/// Kubernetes API instead.
fn reason(error: &ProbeError) -> Option<MachineReason> {
    Some(match error {
        ProbeError::Connect(error) => match error {
            ConnectError::Access(error) => return access_reason(error),
            ConnectError::DnsFailure { .. } => MachineReason::DnsFailure,
            ConnectError::ConnectionRefused { .. } => MachineReason::ConnectionRefused,
            ConnectError::Unreachable { .. } => MachineReason::Unreachable,
            ConnectError::TimedOut { .. } => MachineReason::TimedOut,
            ConnectError::ConnectionFailed { .. } => MachineReason::ConnectionFailed,
            ConnectError::HostKeyChanged { .. } => MachineReason::HostKeyChanged,
            ConnectError::MissingCredentials { .. } => MachineReason::MissingCredentials,
            ConnectError::AuthenticationFailed { .. } => MachineReason::AuthenticationFailed,
        },
        ProbeError::Run(RunError::ConnectionLost { .. }) => MachineReason::ConnectionFailed,
        ProbeError::Run(RunError::TimedOut { .. }) => MachineReason::TimedOut,
        ProbeError::Run(_) | ProbeError::Shell { .. } => MachineReason::CommandFailed,
    })
}

fn access_reason(error: &AccessError) -> Option<MachineReason> {
    match error {
        AccessError::NoAddress { .. } | AccessError::InvalidHostKey { .. } => {
            Some(MachineReason::InvalidSpec)
        }
        AccessError::NoCredentials { .. }
        | AccessError::SecretNotFound { .. }
        | AccessError::KeyNotFound { .. } => Some(MachineReason::MissingCredentials),
        AccessError::CrossNamespace { .. } => Some(MachineReason::CrossNamespaceSecret),
        AccessError::NotText { .. } | AccessError::InvalidKey { .. } => {
            Some(MachineReason::InvalidCredentials)
        }
        AccessError::DamagedPin { .. } => Some(MachineReason::HostKeyChanged),
        AccessError::PinnedOtherwise { .. } | AccessError::Api { .. } => None,
    }
}

/// What went wrong, and what to do.
fn describe(machine: &Machine, error: &ProbeError) -> String {
    let mut message = chain(error);
    if let ProbeError::Connect(ConnectError::HostKeyChanged { seen, .. }) = error {
        message.push_str("; ");
        message.push_str(&way_back(machine, seen));
    }
    message
}

/// What to do about a changed host key, if the change is right.
fn way_back(machine: &Machine, seen: &PublicKey) -> String {
    if machine.spec.ssh_host_keys.is_empty() {
        format!(
            "if the machine was installed anew, compare with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on its console and set the annotation {}: \"{}\"",
            labels::RESET_HOST_KEY,
            fingerprint(seen)
        )
    } else {
        "if the new key is right, put it into spec.sshHostKeys".to_owned()
    }
}

/// An error with its causes, as one sentence.
pub(super) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
