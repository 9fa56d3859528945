//! What a host runs, and making it run something else under a guard.
//!
//! One POSIX shell script, sent over standard input; nothing is installed on the host. To change
//! a host it leaves a process there, the guard, which survives the connection and the operator:
//! it goes back to what ran before unless the change is confirmed in time. How the guard ended,
//! unless all went well, is in a record that only root can read, until the operator has told.

use std::time::Duration;

use nico_api::names::StorePath;
use nico_api::nixos_configuration::ActivationAction;
use nico_runtime::category::{Categorized, Category};
use nico_ssh::{RunError, Session, quote};

use crate::program::{Redactor, tail};

/// The script: the questions and the guard.
const GUARD: &str = include_str!("guard.sh");

/// How long the host may take to say what it runs, or to do something small.
const SHORT_DEADLINE: Duration = Duration::from_secs(30);

/// What a guard may take beside the steps of the change itself.
const ALLOWANCE: Duration = Duration::from_secs(60);

/// Exit status of the script when the guard of another attempt is at work.
const STATUS_BUSY: u32 = 75;

/// Exit status of the script when nothing was changed, because the host cannot keep a record.
const STATUS_REFUSED: u32 = 74;

/// Exit status of the script when the guard could not be started.
const STATUS_NOT_STARTED: u32 = 71;

/// What a host runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostState {
    /// Names the time since the host was booted.
    pub boot: Option<String>,
    /// What the system profile points at: what the next boot runs.
    pub profile: Option<StorePath>,
    /// What was activated last. Absent on a system that was never activated as NixOS.
    pub current: Option<StorePath>,
    /// Generation number of the system profile.
    pub generation: Option<i64>,
    /// Whether kernel, initrd or kernel modules of the running system are others than those of
    /// the profile. Absent when the host was not booted into NixOS.
    pub reboot_required: Option<bool>,
    /// The set of files that the host shows at `/var/lib/nio/files`, as [`Activation::files`]
    /// names it. Absent when it shows none.
    pub files: Option<String>,
    /// Whether a guard is at work.
    pub is_guarded: bool,
    /// The change that is under way, or that did not end well.
    pub record: Option<Record>,
}

/// What a host remembers of a change until it is confirmed, or until its failure was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The attempt that asked for it.
    pub attempt: String,
    /// The system that was to run.
    pub system: StorePath,
    /// How far it came.
    pub state: RecordState,
    /// Why it was undone, or failed.
    pub cause: Option<Cause>,
    /// Exit status of what failed.
    pub status: Option<u32>,
    /// The last lines that were said on the host.
    pub said: String,
}

/// How far a change came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordState {
    /// The guard is at it, or was killed at it.
    Underway,
    /// The new system runs, and a confirmation is waited for.
    Waiting,
    /// The host runs again what it ran before.
    RolledBack,
    /// It failed, and the host did not go back: that was not asked for, or did not work.
    Failed,
}

/// Why a change was undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Nobody confirmed it in time.
    NotConfirmed,
    /// `switch-to-configuration` failed.
    Switch,
    /// The system profile could not be set.
    Profile,
    /// The boot entry could not be made.
    Boot,
    /// The record could not be written.
    Record,
    /// The guard was killed.
    Killed,
    /// The host was rebooted before it was confirmed.
    Rebooted,
}

impl Cause {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "not-confirmed" => Self::NotConfirmed,
            "switch" => Self::Switch,
            "profile" => Self::Profile,
            "boot" => Self::Boot,
            "record" => Self::Record,
            "killed" => Self::Killed,
            "rebooted" => Self::Rebooted,
            _ => return None,
        })
    }
}

impl Record {
    /// Why it did not end well, for people.
    pub fn describe(&self) -> String {
        let status = self.status.unwrap_or_default();
        let why = match self.cause {
            Some(Cause::NotConfirmed) => {
                "nobody confirmed it over a new connection in time; did it change network, \
                 firewall, sshd or authorized_keys? This also happens when the operator is \
                 stopped meanwhile"
                    .to_owned()
            }
            Some(Cause::Switch) if status == 124 || status == 137 => {
                "switch-to-configuration did not end in time".to_owned()
            }
            Some(Cause::Switch) => format!("switch-to-configuration ended with status {status}"),
            Some(Cause::Profile) => {
                format!("the system profile could not be set (nix-env ended with status {status})")
            }
            Some(Cause::Boot) => format!(
                "the boot entry could not be made (switch-to-configuration boot ended with \
                 status {status})"
            ),
            Some(Cause::Record) => "the host could not write its record".to_owned(),
            Some(Cause::Killed) => "its guard on the host was killed".to_owned(),
            Some(Cause::Rebooted) => "the host was rebooted before it was confirmed".to_owned(),
            None => "for a reason that the host does not say".to_owned(),
        };
        if self.said.is_empty() {
            why
        } else {
            format!("{why}:\n{}", self.said)
        }
    }
}

/// A host that did not do what it was asked to do.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The command could not be run, or the connection was lost.
    #[error("cannot {task} on the host: {source}")]
    Session {
        /// What was being done.
        task: &'static str,
        /// How it failed.
        source: RunError,
    },
    /// The user may not become root.
    #[error("the SSH user may not become root on the host: {said}")]
    NotRoot {
        /// What `sudo` said.
        said: String,
    },
    /// The script ended in a way that it should not.
    #[error("cannot {task} on the host (status {status}):\n{tail}")]
    Script {
        /// What was being done.
        task: &'static str,
        /// Exit status.
        status: u32,
        /// Its last words.
        tail: String,
    },
    /// The guard of another attempt is at work.
    #[error("another activation is still under way on the host; it is waited for")]
    Busy,
    /// The host cannot keep a record of the change, without which it is not made.
    #[error("nothing was changed, for the host cannot keep a record of the change:\n{tail}")]
    Refused {
        /// What was said.
        tail: String,
    },
    /// The guard could not be started.
    #[error("nothing was changed, for the guard did not start on the host")]
    NotStarted,
}

impl Categorized for HostError {
    /// What a host refuses today it may accept tomorrow, so everything is tried again.
    fn category(&self) -> Category {
        match self {
            Self::Busy | Self::NotRoot { .. } => Category::Waiting,
            Self::Session { .. }
            | Self::Script { .. }
            | Self::Refused { .. }
            | Self::NotStarted => Category::Transient,
        }
    }
}

impl HostError {
    /// Whether the connection is gone, and the host may well go on.
    pub fn is_lost_connection(&self) -> bool {
        matches!(
            self,
            Self::Session {
                source: RunError::ConnectionLost { .. },
                ..
            }
        )
    }
}

/// One request to activate a system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation<'a> {
    /// What names the attempt: one that the host remembers is not run again.
    pub attempt: &'a str,
    /// The system, which is on the host already.
    pub system: &'a StorePath,
    /// What is wanted of `switch-to-configuration`.
    pub action: ActivationAction,
    /// How long the host waits for a confirmation before it goes back. `None`: it never does.
    pub confirm_timeout: Option<Duration>,
    /// How long each step may take on the host.
    pub deadline: Duration,
    /// The set of files that goes with the system, below `/var/lib/nio`: it is shown at
    /// `/var/lib/nio/files` as long as the change is not undone. `None`: what is shown stays.
    pub files: Option<&'a str>,
}

/// Asks a host what it runs.
///
/// # Errors
/// [`HostError`].
pub async fn inspect(session: &Session) -> Result<HostState, HostError> {
    let redactor = Redactor::default();
    let arguments = ["inspect"];
    ask(
        session,
        "ask what runs",
        &arguments,
        SHORT_DEADLINE,
        &redactor,
    )
    .await
}

/// Activates a system, unless the host remembers the attempt; then it tells what became of it.
/// Comes back when the host waits for a confirmation, or when the change has ended. The host
/// goes on by itself when the connection is lost.
///
/// # Errors
/// [`HostError`]. How the change itself went is in the [`Record`].
pub async fn activate(
    session: &Session,
    activation: &Activation<'_>,
    redactor: &Redactor,
) -> Result<HostState, HostError> {
    let action = match activation.action {
        ActivationAction::Switch => "switch",
        ActivationAction::Boot => "boot",
        ActivationAction::Test => "test",
    };
    let (rollback, seconds) = match activation.confirm_timeout {
        Some(timeout) => ("yes", timeout.as_secs().max(1)),
        None => ("no", 0),
    };
    let arguments = [
        "start",
        activation.attempt,
        activation.system.as_str(),
        action,
        rollback,
        &seconds.to_string(),
        &activation.deadline.as_secs().to_string(),
        activation.files.unwrap_or_default(),
    ];
    let deadline = activation.deadline * 2 + ALLOWANCE;
    let task = "activate the system";
    ask(session, task, &arguments, deadline, redactor).await
}

/// Tells the host to keep what an attempt changed, and waits until it is kept, or undone. To be
/// called over a connection that was opened after the change.
///
/// # Errors
/// [`HostError`]. How the change itself went is in the [`Record`]; there is none when all went
/// well.
pub async fn confirm(
    session: &Session,
    attempt: &str,
    deadline: Duration,
    redactor: &Redactor,
) -> Result<HostState, HostError> {
    let arguments = ["confirm", attempt, &deadline.as_secs().to_string()];
    let deadline = deadline * 3 + ALLOWANCE;
    let task = "confirm the system";
    ask(session, task, &arguments, deadline, redactor).await
}

/// Tells the host to forget an attempt that did not end well, for it was told.
///
/// # Errors
/// [`HostError`].
pub async fn forget(session: &Session, attempt: &str) -> Result<(), HostError> {
    let redactor = Redactor::default();
    let arguments = ["forget", attempt];
    let task = "remove the record of the attempt";
    run(session, task, &arguments, SHORT_DEADLINE, &redactor).await?;
    Ok(())
}

/// Reboots the host, unless it was rebooted since `boot`.
///
/// # Errors
/// [`HostError`].
pub async fn reboot(session: &Session, boot: &str) -> Result<(), HostError> {
    let redactor = Redactor::default();
    let arguments = ["reboot", boot];
    match run(session, "reboot", &arguments, SHORT_DEADLINE, &redactor).await {
        // It may well take the connection with it.
        Err(error) if error.is_lost_connection() => Ok(()),
        result => result.map(|_| ()),
    }
}

async fn ask(
    session: &Session,
    task: &'static str,
    arguments: &[&str],
    deadline: Duration,
    redactor: &Redactor,
) -> Result<HostState, HostError> {
    let answer = run(session, task, arguments, deadline, redactor).await?;
    let mut state = read(&answer);
    if let Some(record) = &mut state.record {
        record.said = redactor.redact(&record.said);
    }
    Ok(state)
}

/// Runs the script as root, and gives what it wrote.
async fn run(
    session: &Session,
    task: &'static str,
    arguments: &[&str],
    deadline: Duration,
    redactor: &Redactor,
) -> Result<String, HostError> {
    let arguments: Vec<String> = arguments.iter().map(|argument| quote(argument)).collect();
    let output = session
        .run_as_root(
            &format!("sh -s -- {}", arguments.join(" ")),
            script().as_bytes(),
            deadline,
        )
        .await
        .map_err(|source| HostError::Session { task, source })?;
    let tail = tail(&output.stderr, redactor);
    match output.status {
        0 => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        STATUS_BUSY => Err(HostError::Busy),
        STATUS_REFUSED => Err(HostError::Refused { tail }),
        STATUS_NOT_STARTED => Err(HostError::NotStarted),
        _ if tail.contains("sudo:") => Err(HostError::NotRoot { said: tail }),
        status => Err(HostError::Script { task, status, tail }),
    }
}

/// The script as it is sent: a variable with its text, which the guard on the host is started
/// from, and which is run only when it arrived as a whole.
fn script() -> String {
    format!("guard={}\neval \"$guard\"\n", quote(GUARD))
}

fn read(answer: &str) -> HostState {
    let fact = |name: &str| {
        answer
            .lines()
            .filter_map(|line| line.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
            .filter(|value| !value.is_empty())
    };
    HostState {
        boot: fact("boot").map(str::to_owned),
        profile: fact("profile").and_then(|path| path.parse().ok()),
        current: fact("current").and_then(|path| path.parse().ok()),
        generation: fact("generation").and_then(|number| number.parse().ok()),
        reboot_required: match fact("reboot") {
            Some("yes") => Some(true),
            Some("no") => Some(false),
            _ => None,
        },
        files: fact("files").map(str::to_owned),
        is_guarded: fact("guard").is_some(),
        record: fact("record.attempt").and_then(|attempt| {
            let said = answer
                .lines()
                .filter_map(|line| line.strip_prefix("record.said="));
            Some(Record {
                attempt: attempt.to_owned(),
                system: fact("record.system")?.parse().ok()?,
                state: match fact("record.state") {
                    Some("waiting") => RecordState::Waiting,
                    Some("rolled-back") => RecordState::RolledBack,
                    Some("failed") => RecordState::Failed,
                    _ => RecordState::Underway,
                },
                cause: fact("record.cause").and_then(Cause::parse),
                status: fact("record.status").and_then(|status| status.parse().ok()),
                said: said.collect::<Vec<_>>().join("\n"),
            })
        }),
    }
}

impl HostState {
    /// Whether the host does what activating `system` with `action` makes it do. A host without
    /// `/run/current-system` is believed by its profile.
    pub fn runs(&self, system: &StorePath, action: ActivationAction) -> bool {
        let is_profile = self.profile.as_ref() == Some(system);
        let is_current = self.current.as_ref() == Some(system);
        match action {
            ActivationAction::Switch => is_profile && (is_current || self.current.is_none()),
            ActivationAction::Boot => is_profile,
            ActivationAction::Test => is_current || self.current.is_none(),
        }
    }

    /// What the host runs, for messages.
    pub fn describe(&self) -> String {
        let shown = |path: &Option<StorePath>| {
            path.as_ref()
                .map_or_else(|| "nothing of NixOS".to_owned(), ToString::to_string)
        };
        format!(
            "the system profile is {}, {} is active",
            shown(&self.profile),
            shown(&self.current)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-nixos-system-old";
    const NEW: &str = "/nix/store/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb-nixos-system-new";

    #[test]
    fn what_a_host_does_not_say_is_absent() {
        assert_eq!(read(""), HostState::default());
        let said = read("profile=\ncurrent=/etc\ngeneration=x\nreboot=\nrecord.attempt=1\n");
        assert_eq!(said, HostState::default());
    }

    #[test]
    fn an_answer_is_read_whole() {
        let answer = format!(
            "boot=b\nprofile={NEW}\ncurrent={OLD}\ngeneration=42\nreboot=yes\n\
             files=sets/uid.1\nguard=running\n\
             record.attempt=uid.1\nrecord.system={NEW}\nrecord.state=rolled-back\n\
             record.cause=switch\nrecord.status=4\nrecord.said=one\nrecord.said=\nrecord.said=x=y\n"
        );
        let state = read(&answer);
        assert_eq!(state.boot.as_deref(), Some("b"));
        assert_eq!(state.generation, Some(42));
        assert_eq!(state.reboot_required, Some(true));
        assert_eq!(state.files.as_deref(), Some("sets/uid.1"));
        assert!(state.is_guarded);
        let record = state.record.unwrap();
        assert_eq!(record.state, RecordState::RolledBack);
        assert_eq!(
            record.describe(),
            "switch-to-configuration ended with status 4:\none\n\nx=y"
        );
    }

    #[test]
    fn each_action_is_judged_by_what_it_changes() {
        use ActivationAction::{Boot, Switch, Test};
        let state = |profile: Option<&str>, current: Option<&str>| HostState {
            profile: profile.map(|path| path.parse().unwrap()),
            current: current.map(|path| path.parse().unwrap()),
            ..HostState::default()
        };
        let new = NEW.parse().unwrap();
        let cases = [
            (Some(NEW), Some(NEW), [true, true, true]),
            (Some(NEW), Some(OLD), [false, true, false]),
            (Some(OLD), Some(NEW), [false, false, true]),
            (Some(NEW), None, [true, true, true]),
            (Some(OLD), Some(OLD), [false, false, false]),
            (None, Some(OLD), [false, false, false]),
        ];
        for (profile, current, expected) in cases {
            let state = state(profile, current);
            let judged = [Switch, Boot, Test].map(|action| state.runs(&new, action));
            assert_eq!(judged, expected, "{profile:?} {current:?}");
        }
    }
}
