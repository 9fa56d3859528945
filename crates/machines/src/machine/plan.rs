//! From what a probe found to the status of a Machine. Pure: no client, no clock.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use nico_api::condition::{self, Truth};
use nico_api::machine::conditions::{HARDWARE_INSPECTED, NEEDS_CLEANUP, REACHABLE, READY};
use nico_api::reason::MachineReason;
use nico_api::{Machine, MachineStatus};
use nico_runtime::events::{Event, EventKind};
use nico_ssh::PublicKey;
use serde_json::{Map, Value};

use super::observe::{Failure, Observed, Questions, Scan};

/// The conditions that this controller writes; others belong to other controllers.
const OWNED_CONDITIONS: [&str; 3] = [REACHABLE, HARDWARE_INSPECTED, READY];

/// A machine that was reached within this many intervals counts as there, though the last probe
/// failed.
const INTERVALS_OF_GRACE: u32 = 2;

/// The times that decisions depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Intervals {
    /// Between two probes.
    pub(super) discovery: Duration,
    /// Between two scans for facts.
    pub(super) scan: Duration,
}

/// What to do after a probe.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    /// In this order; the first that fails stops the rest.
    pub(super) actions: Vec<Action>,
}

/// One thing to do.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    /// Trust this host key from now on, if none is trusted yet or the user asked for it.
    PinHostKey(PublicKey),
    /// Write the facts and when they were gathered, which is known only when they are.
    ApplyFacts(Map<String, Value>, Timestamp),
    /// Write the other fields of the status that this controller owns: exactly these.
    ApplyStatus(Box<MachineStatus>),
    /// Write the report of `nixos-facter`, which is too big to be written with every change.
    ApplyFacterReport(Map<String, Value>),
    /// Tell people.
    Publish(Event),
}

/// What to ask the machine. Facts are asked for when they are old, missing or failed, and when
/// somebody changed the machine or asked for a look.
pub(super) fn questions(
    machine: &Machine,
    changed: bool,
    now: Timestamp,
    intervals: Intervals,
) -> Questions {
    let status = machine.status.as_ref();
    let scanned = status.and_then(|status| status.last_hardware_scan_time.as_ref());
    let fresh = scanned.is_some_and(|time| age(time.0, now) < intervals.scan);
    let inspected =
        status.is_some_and(|status| condition::is_true(&status.conditions, HARDWARE_INSPECTED));
    let reported = status.is_some_and(|status| status.nix_facter_result.is_some());
    Questions {
        facts: changed || !fresh || !inspected,
        facter: changed || !reported,
    }
}

/// What to do after a probe of `machine` that ended at `now`.
///
/// `last_success` is the last time that a probe succeeded, as far as this process knows.
pub(super) fn plan(
    machine: &Machine,
    observed: &Observed,
    last_success: Option<Timestamp>,
    now: Timestamp,
    intervals: Intervals,
) -> Plan {
    let before = owned(machine.status.clone().unwrap_or_default());
    let seen = [
        before.last_seen_time.as_ref().map(|time| time.0),
        last_success,
    ]
    .into_iter()
    .flatten()
    .max();
    let mut draft = Draft {
        machine,
        status: before.clone(),
        now,
    };
    let mut actions = Vec::new();
    let mut seen_time = seen;
    match &observed.contact {
        Ok(contact) => {
            if machine.spec.ssh_host_keys.is_empty() {
                actions.push(Action::PinHostKey(contact.host_key.clone()));
            }
            draft
                .status
                .ssh_host_key_fingerprints
                .clone_from(&contact.trusted);
            if let Some(Ok(facts)) = contact.scan.as_ref().map(|scan| &scan.facts) {
                actions.push(Action::ApplyFacts(facts.clone(), now));
            }
            draft.answered(contact.scan.as_ref());
            seen_time = Some(now);
        }
        Err(failure) => draft.failed(failure, seen, intervals),
    }
    draft.set_ready();
    let after = draft.status;

    let written = before.last_seen_time.as_ref().map(|time| time.0);
    let stale = written.is_none_or(|written| age(written, now) >= intervals.scan);
    if after != before || (observed.contact.is_ok() && stale) {
        let event = transition(&before.conditions, &after.conditions);
        let after = MachineStatus {
            last_seen_time: seen_time.map(Time),
            ..after
        };
        actions.push(Action::ApplyStatus(Box::new(after)));
        actions.extend(event.map(Action::Publish));
    }
    let facter = observed
        .contact
        .as_ref()
        .ok()
        .and_then(|contact| contact.scan.as_ref()?.facter.clone());
    actions.extend(facter.map(Action::ApplyFacterReport));
    Plan { actions }
}

/// The part of a status that this controller applies as one field manager. Facts have another,
/// so that they need not be kept in memory.
fn owned(mut status: MachineStatus) -> MachineStatus {
    status
        .conditions
        .retain(|condition| OWNED_CONDITIONS.contains(&condition.type_.as_str()));
    MachineStatus {
        observed_generation: status.observed_generation,
        discoverable: status.discoverable,
        last_seen_time: status.last_seen_time,
        ssh_host_key_fingerprints: status.ssh_host_key_fingerprints,
        conditions: status.conditions,
        ..MachineStatus::default()
    }
}

/// A status that is being written.
struct Draft<'a> {
    machine: &'a Machine,
    status: MachineStatus,
    now: Timestamp,
}

impl Draft<'_> {
    fn answered(&mut self, scan: Option<&Scan>) {
        self.status.discoverable = Some(true);
        self.set(
            REACHABLE,
            Truth::True,
            MachineReason::Connected,
            "the machine answers over SSH",
        );
        match scan.map(|scan| &scan.facts) {
            Some(Ok(_)) => {
                self.set(
                    HARDWARE_INSPECTED,
                    Truth::True,
                    MachineReason::Inspected,
                    "facts were gathered",
                );
            }
            Some(Err(message)) => {
                self.set(
                    HARDWARE_INSPECTED,
                    Truth::False,
                    MachineReason::InspectionFailed,
                    message,
                );
            }
            None => {}
        }
    }

    fn failed(&mut self, failure: &Failure, seen: Option<Timestamp>, intervals: Intervals) {
        let grace = intervals.discovery * INTERVALS_OF_GRACE;
        let lately = seen.is_some_and(|seen| age(seen, self.now) < grace);
        let was_there = self.status.discoverable == Some(true);
        self.status.discoverable = Some(was_there && lately && may_pass(failure.reason));
        self.set(REACHABLE, Truth::False, failure.reason, &failure.message);
        if condition::find(&self.status.conditions, HARDWARE_INSPECTED).is_none() {
            let message = "the machine was not reached yet";
            self.set(
                HARDWARE_INSPECTED,
                Truth::Unknown,
                MachineReason::NotReachable,
                message,
            );
        }
    }

    /// The summary. A failed probe within the grace period does not change it.
    fn set_ready(&mut self) {
        self.status.observed_generation = self.machine.metadata.generation;
        let status = self.machine.status.as_ref();
        let elsewhere = status
            .map(|status| status.conditions.as_slice())
            .unwrap_or_default();
        let (truth, reason, message) = if self.status.discoverable != Some(true) {
            let reachable = condition::find(&self.status.conditions, REACHABLE);
            let message = reachable
                .map(|reachable| reachable.message.clone())
                .unwrap_or_default();
            (Truth::False, MachineReason::NotReachable, message)
        } else if condition::is_true(elsewhere, NEEDS_CLEANUP) {
            let message = "a configuration was given up by force and is still on the machine; apply another one, or clear the condition NeedsCleanup";
            (
                Truth::False,
                MachineReason::RemovalForced,
                message.to_owned(),
            )
        } else if self.machine.spec.maintenance {
            let message = "spec.maintenance is set: the machine is neither selected nor changed";
            (Truth::False, MachineReason::Maintenance, message.to_owned())
        } else if !condition::is_true(&self.status.conditions, HARDWARE_INSPECTED) {
            let inspected = condition::find(&self.status.conditions, HARDWARE_INSPECTED);
            let message = inspected
                .map(|inspected| inspected.message.clone())
                .unwrap_or_default();
            (Truth::False, MachineReason::InspectionFailed, message)
        } else {
            let message = "the machine is reachable and inspected".to_owned();
            (Truth::True, MachineReason::Available, message)
        };
        self.set(READY, truth, reason, &message);
    }

    fn set(&mut self, kind: &str, truth: Truth, reason: MachineReason, message: &str) {
        let generation = self.machine.metadata.generation;
        condition::set(
            &mut self.status.conditions,
            kind,
            truth,
            reason,
            message,
            generation,
            self.now,
        );
    }
}

/// Whether a failure may be over at the next probe by itself. A changed host key, credentials
/// that are refused and a spec that is wrong are certain at once.
fn may_pass(reason: MachineReason) -> bool {
    matches!(
        reason,
        MachineReason::DnsFailure
            | MachineReason::ConnectionRefused
            | MachineReason::Unreachable
            | MachineReason::TimedOut
            | MachineReason::ConnectionFailed
            | MachineReason::CommandFailed
    )
}

/// The event for a machine that came, went, or is away for another reason than before.
fn transition(before: &[Condition], after: &[Condition]) -> Option<Event> {
    let now = condition::find(after, REACHABLE)?;
    let earlier = condition::find(before, REACHABLE);
    if earlier.is_some_and(|earlier| earlier.status == now.status && earlier.reason == now.reason) {
        return None;
    }
    let reason = MachineReason::ALL
        .iter()
        .find(|reason| reason.as_str() == now.reason)?;
    let kind = if now.status == "True" {
        EventKind::Normal
    } else {
        EventKind::Warning
    };
    Some(Event {
        kind,
        reason: reason.as_str(),
        action: "Probe",
        note: now.message.clone(),
    })
}

/// How long ago something was. A time that is yet to come was written by a clock that was wrong,
/// and counts as long ago.
fn age(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests;
