//! What to do about a configuration. Pure.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use nico_api::condition;
use nico_api::labels::FORCE_REMOVE;
use nico_api::nixos_configuration::conditions::{ACTIVATED, STALLED};
use nico_api::nixos_configuration::{Attempt, Outcome, Step};
use nico_api::reason::ConfigurationReason;
use nico_api::{Machine, NixosConfiguration, NixosConfigurationStatus};
use nico_runtime::backoff::Backoff;
use nico_runtime::category::Category;

use super::claim::Holder;
use super::drift;
use super::observe::{Observed, has_finalizer};
use super::progress::{Progress, touched_the_host};
use super::wanted::{Obstacle, Purpose, Wanted};

/// A rolled back attempt is followed by the wait that comes after so many more failures.
const AFTER_ROLLBACK: u32 = 4;

/// What to do, in this order, and when to look again.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) actions: Vec<Action>,
    /// `None`: when something changes.
    pub(super) requeue: Option<Duration>,
}

/// One thing to do. Carries all that it needs.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// Put the finalizer on the object.
    AddFinalizer,
    /// Take the finalizer off: the object goes.
    RemoveFinalizer,
    /// Write the status, where it differs.
    Report(Progress),
    /// Take the machine, on condition that it did not change.
    Claim(Machine),
    /// Change the host.
    Apply(Box<Apply>),
    /// Take the files of the configuration off the host. They are in no Nix store, so no other
    /// configuration would replace them.
    RemoveFiles {
        /// The machine.
        machine: Machine,
        /// The status, to say why it cannot be done.
        progress: Box<Progress>,
    },
    /// Give the machine back.
    Release {
        /// The machine.
        machine: Machine,
        /// What is still on the host, if something is.
        left_behind: Option<String>,
    },
}

/// An attempt to change a host.
#[derive(Clone, Debug)]
pub(super) struct Apply {
    pub(super) machine: Machine,
    pub(super) wanted: Wanted,
    pub(super) progress: Progress,
    pub(super) started_at: Timestamp,
    /// Failed attempts for the same input before this one.
    pub(super) failures: u32,
    /// The step that this attempt had reached when a process was killed at it.
    pub(super) resumed_from: Option<Step>,
}

/// How often to look, and how long to wait after failures.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rhythm {
    pub(super) interval: Duration,
    pub(super) backoff: Backoff,
    /// 0 to 1, the same for an object as long as it lives: spreads the waits of many objects.
    pub(super) jitter: f64,
}

/// What to do about what was observed.
pub(super) fn plan(observed: &Observed, rhythm: &Rhythm, now: Timestamp) -> Plan {
    let configuration = &observed.configuration;
    if configuration.metadata.deletion_timestamp.is_some() {
        return if has_finalizer(configuration) {
            plan_removal(observed, rhythm, now)
        } else {
            Plan::idle(None)
        };
    }
    let mut actions = Vec::new();
    if !has_finalizer(configuration) {
        actions.push(Action::AddFinalizer);
    }
    if let Some(left) = &observed.left_machine {
        actions.push(Action::Release {
            machine: left.clone(),
            left_behind: status(configuration)
                .is_some_and(touched_the_host)
                .then(|| {
                    format!(
                        "NixosConfiguration {} moved to another machine; this one still runs it",
                        configuration.name_any()
                    )
                }),
        });
    }
    let rest = plan_install(observed, rhythm, now);
    actions.extend(rest.actions);
    Plan {
        actions,
        requeue: rest.requeue,
    }
}

fn plan_install(observed: &Observed, rhythm: &Rhythm, now: Timestamp) -> Plan {
    let configuration = &observed.configuration;
    let purpose = Purpose::Install;
    let (machine, wanted) = match ready_to_start(observed, purpose) {
        Ok(ready) => ready,
        Err(obstacle) => return blocked(observed, purpose, &obstacle, rhythm, now),
    };
    let mut progress = progress(configuration, purpose);
    if wanted.request.hold {
        return hold(observed, machine, wanted, progress, rhythm, now);
    }
    if observed.holder == Holder::Me && is_up_to_date(progress.status(), wanted) {
        if let Some(drift) = drift::of(progress.status(), machine, wanted.request.action) {
            progress.drifted(&drift, now);
            return Plan {
                actions: vec![Action::Report(progress)],
                requeue: Some(rhythm.backoff.base),
            };
        }
        if drift::is_rebooted(progress.status(), machine) {
            progress.rebooted();
        }
        progress.ready(now);
        return Plan {
            actions: vec![Action::Report(progress)],
            requeue: Some(spread(rhythm)),
        };
    }
    attempt(observed, machine, wanted, progress, rhythm, now)
}

/// Brings the system to the host, once, and leaves it there.
fn hold(
    observed: &Observed,
    machine: &Machine,
    wanted: &Wanted,
    mut progress: Progress,
    rhythm: &Rhythm,
    now: Timestamp,
) -> Plan {
    let is_staged = |last: &Attempt| {
        is_of(last, wanted)
            && last.outcome == Some(Outcome::Succeeded)
            && progress.status().staged.is_some()
    };
    let last = progress.status().last_attempt.as_ref();
    if observed.holder == Holder::Me && last.is_some_and(is_staged) {
        progress.waiting(now);
        return Plan {
            actions: vec![Action::Report(progress)],
            requeue: Some(spread(rhythm)),
        };
    }
    attempt(observed, machine, wanted, progress, rhythm, now)
}

fn plan_removal(observed: &Observed, rhythm: &Rhythm, now: Timestamp) -> Plan {
    let configuration = &observed.configuration;
    let (Some(machine), Holder::Me) = (&observed.machine, &observed.holder) else {
        return Plan::of(vec![Action::RemoveFinalizer]);
    };
    let touched = status(configuration).is_some_and(touched_the_host);
    let release = |left_behind| {
        Plan::of(vec![
            Action::Release {
                machine: machine.clone(),
                left_behind,
            },
            Action::RemoveFinalizer,
        ])
    };
    if is_forced(configuration) {
        let name = configuration.name_any();
        return release(touched.then(|| {
            format!("NixosConfiguration {name} was given up by force; the host still carries it")
        }));
    }
    let purpose = Purpose::Remove;
    if !touched || observed.wanted.is_none() {
        let mut plan = release(None);
        if status(configuration).is_some_and(|status| !status.host_files.is_empty()) {
            let remove = Action::RemoveFiles {
                machine: machine.clone(),
                progress: Box::new(progress(configuration, purpose)),
            };
            plan.actions.insert(0, remove);
        }
        return plan;
    }
    let wanted = match ready_to_start(observed, purpose) {
        Ok((_, wanted)) => wanted,
        Err(obstacle) => return blocked(observed, purpose, &obstacle, rhythm, now),
    };
    let progress = progress(configuration, purpose);
    let last = progress.status().last_attempt.as_ref();
    if last.is_some_and(|last| is_of(last, wanted) && last.outcome == Some(Outcome::Succeeded)) {
        return release(None);
    }
    let mut plan = attempt(observed, machine, wanted, progress, rhythm, now);
    if plan
        .actions
        .iter()
        .any(|action| matches!(action, Action::Apply(_)))
    {
        plan.actions.extend(release(None).actions);
    }
    plan
}

/// The machine and what it should run, if nothing stands in the way.
fn ready_to_start(observed: &Observed, purpose: Purpose) -> Result<(&Machine, &Wanted), Obstacle> {
    let configuration = &observed.configuration;
    let name = &configuration.spec.machine_ref.name;
    let waiting = |reason, message| Obstacle {
        step: None,
        reason,
        message,
        category: Category::Waiting,
        retry_in: None,
    };
    let Some(machine) = &observed.machine else {
        return Err(waiting(
            ConfigurationReason::MachineNotFound,
            format!("there is no Machine {name} in this namespace; spec.machineRef names it"),
        ));
    };
    if let Holder::Other(other) = &observed.holder {
        return Err(waiting(
            ConfigurationReason::MachineInUse,
            format!(
                "Machine {name} belongs to NixosConfiguration {other}; delete that one, or name \
                 another machine"
            ),
        ));
    }
    let wanted = match &observed.wanted {
        Some(Ok(wanted)) => wanted,
        Some(Err(obstacle)) => return Err(obstacle.clone()),
        None => {
            return Err(waiting(
                ConfigurationReason::Pending,
                "what should run is not known yet".to_owned(),
            ));
        }
    };
    let is_settled = purpose == Purpose::Install
        && observed.holder == Holder::Me
        && status(configuration).is_some_and(|status| is_up_to_date(status, wanted));
    if machine.spec.maintenance && !is_settled {
        return Err(waiting(
            ConfigurationReason::MachineInMaintenance,
            format!("Machine {name} is in maintenance and is not changed before that ends"),
        ));
    }
    Ok((machine, wanted))
}

/// Whether the host was seen to run exactly what is wanted, and nothing was begun since.
fn is_up_to_date(status: &NixosConfigurationStatus, wanted: &Wanted) -> bool {
    status.configuration_hash.as_deref() == Some(wanted.configuration_hash.as_str())
        && status.applied_commit.as_deref() == Some(wanted.commit.as_str())
        && condition::is_true(&status.conditions, ACTIVATED)
}

/// Makes an attempt, or waits for the time of the next one.
fn attempt(
    observed: &Observed,
    machine: &Machine,
    wanted: &Wanted,
    progress: Progress,
    rhythm: &Rhythm,
    now: Timestamp,
) -> Plan {
    let (started_at, failures, resumed_from) = match turn(observed, wanted, &progress, rhythm, now)
    {
        Turn::Now {
            started_at,
            failures,
            resumed_from,
        } => (started_at, failures, resumed_from),
        Turn::In(wait) => return Plan::idle(Some(wait)),
        Turn::AfterChange => return Plan::idle(Some(spread(rhythm))),
    };
    let mut actions = Vec::new();
    if observed.holder != Holder::Me {
        actions.push(Action::Claim(machine.clone()));
    }
    actions.push(Action::Apply(Box::new(Apply {
        machine: machine.clone(),
        wanted: wanted.clone(),
        progress,
        started_at,
        failures,
        resumed_from,
    })));
    Plan {
        actions,
        requeue: Some(spread(rhythm)),
    }
}

enum Turn {
    Now {
        started_at: Timestamp,
        failures: u32,
        resumed_from: Option<Step>,
    },
    In(Duration),
    AfterChange,
}

/// Whether it is time for an attempt. One that a killed process left behind goes on as the same
/// attempt, so that the host does not run it twice.
fn turn(
    observed: &Observed,
    wanted: &Wanted,
    progress: &Progress,
    rhythm: &Rhythm,
    now: Timestamp,
) -> Turn {
    let status = progress.status();
    let new = Turn::Now {
        started_at: now,
        failures: 0,
        resumed_from: None,
    };
    let Some(last) = status
        .last_attempt
        .as_ref()
        .filter(|last| is_of(last, wanted))
    else {
        return new;
    };
    let failures = last
        .failures
        .and_then(|failures| u32::try_from(failures).ok())
        .unwrap_or_default();
    match (last.outcome, &last.started_at, &last.finished_at) {
        (None, Some(started_at), _) => Turn::Now {
            started_at: started_at.0,
            failures,
            resumed_from: last.step,
        },
        (Some(Outcome::Failed | Outcome::RolledBack), _, Some(finished_at)) => {
            if condition::is_true(&status.conditions, STALLED) {
                return Turn::AfterChange;
            }
            // A host that went back may have been cut off for as long as it waited.
            let is_rolled_back = last.outcome == Some(Outcome::RolledBack);
            let further = if is_rolled_back { AFTER_ROLLBACK } else { 0 };
            let wait = rhythm.backoff.delay(failures + further, rhythm.jitter);
            let remaining = until(finished_at.0, wait, now);
            if remaining.is_zero() || came_back(observed, status, finished_at.0) {
                Turn::Now {
                    started_at: now,
                    failures,
                    resumed_from: None,
                }
            } else {
                Turn::In(remaining)
            }
        }
        _ => new,
    }
}

/// Whether the machine that could not be reached was reached since.
fn came_back(observed: &Observed, status: &NixosConfigurationStatus, failed_at: Timestamp) -> bool {
    let reason = ConfigurationReason::MachineNotReachable.as_str();
    let was_unreachable = status.conditions.iter().any(|it| it.reason == reason);
    let seen = observed
        .machine
        .as_ref()
        .filter(|machine| machine.is_discoverable())
        .and_then(|machine| machine.status.as_ref())
        .and_then(|status| status.last_seen_time.as_ref());
    was_unreachable && seen.is_some_and(|seen| seen.0 > failed_at)
}

fn until(from: Timestamp, wait: Duration, now: Timestamp) -> Duration {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    let passed = now.duration_since(from).max(SignedDuration::ZERO);
    Duration::try_from(wait.saturating_sub(passed)).unwrap_or(Duration::ZERO)
}

/// Says what stands in the way, and looks again: when the obstacle says so, else after as long
/// as it has stood there, so that a new one is looked at often and an old one rarely.
fn blocked(
    observed: &Observed,
    purpose: Purpose,
    obstacle: &Obstacle,
    rhythm: &Rhythm,
    now: Timestamp,
) -> Plan {
    let mut progress = progress(&observed.configuration, purpose);
    progress.blocked(obstacle, now);
    let shortest = rhythm.backoff.base.min(rhythm.interval);
    let retry_in = obstacle
        .retry_in
        .unwrap_or_else(|| progress.unready_for(now).clamp(shortest, rhythm.interval));
    Plan {
        actions: vec![Action::Report(progress)],
        requeue: Some(retry_in.max(Duration::from_millis(100))),
    }
}

fn progress(configuration: &NixosConfiguration, purpose: Purpose) -> Progress {
    let machine = match purpose {
        Purpose::Install => configuration.spec.machine_ref.name.clone(),
        Purpose::Remove => status(configuration)
            .and_then(|status| status.target_machine.clone())
            .unwrap_or_else(|| configuration.spec.machine_ref.name.clone()),
    };
    Progress::of(
        status(configuration),
        configuration.metadata.generation,
        &machine,
        purpose,
    )
}

fn status(configuration: &NixosConfiguration) -> Option<&NixosConfigurationStatus> {
    configuration.status.as_ref()
}

fn is_of(attempt: &Attempt, wanted: &Wanted) -> bool {
    attempt.input_hash.as_deref() == Some(wanted.input_hash.as_str())
}

fn is_forced(configuration: &NixosConfiguration) -> bool {
    let annotations = configuration.annotations();
    annotations
        .get(FORCE_REMOVE)
        .is_some_and(|value| value == "true")
}

/// The interval, shortened by up to a tenth, so that objects that were made together do not
/// come up together for ever.
fn spread(rhythm: &Rhythm) -> Duration {
    rhythm
        .interval
        .mul_f64(1.0 - rhythm.jitter.clamp(0.0, 1.0) / 10.0)
}

impl Plan {
    fn of(actions: Vec<Action>) -> Self {
        Self {
            actions,
            requeue: None,
        }
    }

    fn idle(requeue: Option<Duration>) -> Self {
        Self {
            actions: Vec::new(),
            requeue,
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
