//! A machine, and what the machine layer does with it.

use nico_api::condition::{self, Truth};
use nico_api::nixos_configuration::StagedSystem;
use nico_api::nixos_configuration::conditions::{READY, STALLED};
use nico_api::{NixosConfiguration, NixosConfigurationSpec};

use crate::events::Quality;
use crate::world::at;

/// How long a machine takes to come up, in seconds.
const BOOT: i64 = 20;

/// A commit of the repository.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Commit {
    pub(crate) quality: Quality,
    /// Minor version of Kubernetes.
    pub(crate) minor: u32,
}

impl Commit {
    /// Whether the commit is bad for a machine in the way that `bad` says.
    fn is(self, bad: fn(usize) -> Quality, machine: usize) -> bool {
        self.quality == bad(machine)
    }
}

/// A machine as it really is.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// Its number, by which a commit can be bad for it.
    pub(crate) number: usize,
    pub(crate) has_power: bool,
    pub(crate) answers_ssh: bool,
    /// What it runs.
    pub(crate) runs: Option<(NixosConfigurationSpec, Commit)>,
    /// Whether its Node was removed from its cluster, to which it comes back when it starts anew.
    pub(crate) was_removed: bool,
    /// When its Node is up again.
    up_at: i64,
}

impl Host {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            number,
            has_power: true,
            answers_ssh: true,
            runs: None,
            was_removed: false,
            up_at: 0,
        }
    }

    /// Whether its Node works.
    pub(crate) fn is_up(&self, now: i64) -> bool {
        let is_broken = self.runs.as_ref().is_none_or(|(_, commit)| {
            commit.is(Quality::BreaksNode, self.number)
                || commit.quality == Quality::BreaksEveryNode
        });
        self.has_power && !is_broken && now >= self.up_at
    }

    pub(crate) fn power(&mut self, on: bool, now: i64) {
        if on && !self.has_power {
            self.up_at = now + BOOT;
            self.was_removed = false;
        }
        self.has_power = on;
    }

    pub(crate) fn can_be_reached(&self) -> bool {
        self.has_power && self.answers_ssh
    }

    /// Takes up a configuration, as the machine layer does. Whether the host was changed.
    pub(crate) fn take_up(
        &mut self,
        configuration: &mut NixosConfiguration,
        commit: Commit,
        now: i64,
    ) -> bool {
        let spec = configuration.spec.clone();
        let is_new = |host: &Self| {
            host.runs
                .as_ref()
                .is_none_or(|(runs, _)| !is_same(runs, &spec))
        };
        if !self.can_be_reached() {
            let is_settled = !spec.hold && !is_new(self) && is_reported(configuration);
            if !is_settled {
                report(configuration, "MachineNotReachable", false, now);
            }
            return false;
        }
        if commit.is(Quality::DoesNotEvaluate, self.number) {
            report(configuration, "EvaluationFailed", true, now);
            return false;
        }
        if spec.hold {
            report(configuration, "Staged", false, now);
            let status = configuration.status.get_or_insert_default();
            status.staged = Some(StagedSystem {
                commit: spec.reference,
                system_path: String::new(),
                kubernetes_version: Some(format!("1.{}.0", commit.minor)),
            });
            return false;
        }
        let is_change = is_new(self);
        if is_change && commit.is(Quality::DoesNotActivate, self.number) {
            self.up_at = now + BOOT;
            report(configuration, "RolledBack", false, now);
            return true;
        }
        if is_change {
            self.up_at = now + BOOT;
            self.runs = Some((spec.clone(), commit));
            self.was_removed = false;
        }
        report(configuration, "Applied", false, now);
        let status = configuration.status.get_or_insert_default();
        status.applied_commit = Some(spec.reference);
        status.staged = None;
        is_change
    }
}

/// Whether two specs bring the same to a host.
pub(crate) fn is_same(one: &NixosConfigurationSpec, other: &NixosConfigurationSpec) -> bool {
    one.reference == other.reference && one.additional_files == other.additional_files
}

fn is_reported(configuration: &NixosConfiguration) -> bool {
    configuration
        .status
        .as_ref()
        .is_some_and(|status| status.observed_generation == configuration.metadata.generation)
}

fn report(configuration: &mut NixosConfiguration, reason: &str, is_stalled: bool, now: i64) {
    let generation = configuration.metadata.generation;
    let status = configuration.status.get_or_insert_default();
    status.observed_generation = generation;
    let mut set = |kind: &str, truth: bool, reason: &str| {
        let truth = Truth::from(truth);
        condition::set(
            &mut status.conditions,
            kind,
            truth,
            reason,
            reason,
            generation,
            at(now),
        );
    };
    set(READY, reason == "Applied", reason);
    set(STALLED, is_stalled, "WaitingForChange");
}
