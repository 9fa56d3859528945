//! What a host runs, and making it run something else.
//!
//! Both are POSIX shell scripts that are sent over standard input; nothing is installed on the
//! host. Under `/run/nio`, which only root can read and a reboot empties, the host remembers the
//! last activation, so that an operator that was killed in the middle of one learns how it ended
//! instead of starting it again.

use std::time::Duration;

use nico_api::names::StorePath;
use nico_api::nixos_configuration::ActivationAction;
use nico_runtime::category::{Categorized, Category};
use nico_ssh::{RunError, Session, quote};

use crate::program::{Redactor, tail};

/// Answers with what the host runs, one fact a line.
const INSPECT: &str = include_str!("inspect.sh");

/// Sets the system profile and switches, once for each attempt.
const ACTIVATE: &str = include_str!("activate.sh");

/// How long the host may take to say what it runs.
const INSPECT_DEADLINE: Duration = Duration::from_secs(30);

/// Exit status of the script when another activation holds the lock.
const STATUS_BUSY: u32 = 75;

/// Exit status of the script when the system profile cannot be set.
const STATUS_PROFILE: u32 = 73;

/// What a host runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostState {
    /// What the system profile points at: what the next boot runs.
    pub profile: Option<StorePath>,
    /// What was activated last. Absent on a system that was never activated as NixOS.
    pub current: Option<StorePath>,
    /// Generation number of the system profile.
    pub generation: Option<i64>,
    /// Whether kernel, initrd or kernel modules of the running system are others than those of
    /// the profile. Absent when the host was not booted into NixOS.
    pub reboot_required: Option<bool>,
    /// The activation that ran last since the host was booted.
    pub last_activation: Option<LastActivation>,
}

/// An activation that a host remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastActivation {
    /// The attempt that asked for it.
    pub attempt: String,
    /// The system that was activated.
    pub system: StorePath,
    /// Exit status of `switch-to-configuration`.
    pub status: u32,
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
    /// The host could not say what it runs.
    #[error("the host cannot say what it runs (status {status}):\n{tail}")]
    Inspect {
        /// Exit status.
        status: u32,
        /// Its last words.
        tail: String,
    },
    /// Another activation runs.
    #[error("another activation is still running on the host; it is waited for")]
    Busy,
    /// The system profile could not be set.
    #[error("cannot set the system profile on the host:\n{tail}")]
    Profile {
        /// Its last words.
        tail: String,
    },
    /// `switch-to-configuration` failed.
    #[error("switch-to-configuration ended with status {status} on the host:\n{tail}")]
    Switch {
        /// Exit status.
        status: u32,
        /// Its last words.
        tail: String,
    },
}

impl Categorized for HostError {
    /// What a host refuses today it may accept tomorrow (a unit that did not start, a full
    /// disk), so everything is tried again.
    fn category(&self) -> Category {
        match self {
            Self::Busy => Category::Waiting,
            Self::Session { .. }
            | Self::Inspect { .. }
            | Self::Profile { .. }
            | Self::Switch { .. } => Category::Transient,
        }
    }
}

/// One request to activate a system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation<'a> {
    /// What names the attempt: one that the host remembers is not run again.
    pub attempt: &'a str,
    /// The system, which is on the host already.
    pub system: &'a StorePath,
    /// What `switch-to-configuration` is asked to do.
    pub action: ActivationAction,
    /// How long it may take.
    pub deadline: Duration,
}

/// Asks a host what it runs.
///
/// # Errors
/// [`HostError`].
pub async fn inspect(session: &Session) -> Result<HostState, HostError> {
    let output = session
        .run_as_root("sh -s", INSPECT.as_bytes(), INSPECT_DEADLINE)
        .await
        .map_err(|source| HostError::Session {
            task: "ask what runs",
            source,
        })?;
    if output.success() {
        Ok(read(&String::from_utf8_lossy(&output.stdout)))
    } else {
        Err(HostError::Inspect {
            status: output.status,
            tail: tail(&output.stderr, &Redactor::default()),
        })
    }
}

/// Activates a system, unless the host remembers that this attempt did so already; then the
/// result is that of the first time. Survives a lost connection: the host goes on by itself.
///
/// # Errors
/// [`HostError`].
pub async fn activate(
    session: &Session,
    activation: &Activation<'_>,
    redactor: &Redactor,
) -> Result<(), HostError> {
    let action = match activation.action {
        ActivationAction::Switch => "switch",
        ActivationAction::Boot => "boot",
        ActivationAction::Test => "test",
    };
    let patience = (activation.deadline.as_secs() / 2).to_string();
    let arguments = [
        activation.attempt,
        activation.system.as_str(),
        action,
        &patience,
    ];
    let arguments: Vec<String> = arguments.into_iter().map(quote).collect();
    let output = session
        .run_as_root(
            &format!("sh -s -- {}", arguments.join(" ")),
            ACTIVATE.as_bytes(),
            activation.deadline,
        )
        .await
        .map_err(|source| HostError::Session {
            task: "activate the system",
            source,
        })?;
    let tail = || tail(&output.stderr, redactor);
    match output.status {
        0 => Ok(()),
        STATUS_BUSY => Err(HostError::Busy),
        STATUS_PROFILE => Err(HostError::Profile { tail: tail() }),
        status => Err(HostError::Switch {
            status,
            tail: tail(),
        }),
    }
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
    let last_activation = || {
        Some(LastActivation {
            attempt: fact("attempt")?.to_owned(),
            system: fact("attempt_system")?.parse().ok()?,
            status: fact("attempt_status")?.parse().ok()?,
        })
    };
    HostState {
        profile: fact("profile").and_then(|path| path.parse().ok()),
        current: fact("current").and_then(|path| path.parse().ok()),
        generation: fact("generation").and_then(|number| number.parse().ok()),
        reboot_required: match fact("reboot") {
            Some("yes") => Some(true),
            Some("no") => Some(false),
            _ => None,
        },
        last_activation: last_activation(),
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
        let said = read("profile=\ncurrent=/etc\ngeneration=x\nreboot=\nattempt=1\n");
        assert_eq!(said, HostState::default());
    }

    #[test]
    fn an_answer_is_read_whole() {
        let answer = format!(
            "profile={NEW}\ncurrent={OLD}\ngeneration=42\nreboot=yes\n\
             attempt=uid.1\nattempt_system={NEW}\nattempt_status=4\n"
        );
        let state = read(&answer);
        assert_eq!(state.generation, Some(42));
        assert_eq!(state.reboot_required, Some(true));
        assert_eq!(state.last_activation.unwrap().status, 4);
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
