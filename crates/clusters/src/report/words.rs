//! What an action does, and why it is done, in words. Pure.

use kube::ResourceExt;
use nico_api::names::MachineName;
use nico_api::{NixosConfiguration, NixosConfigurationSpec};

use crate::action::Action;
use crate::naming;
use crate::observed::Observed;
use crate::plan::Assessment;
use crate::plan::marks::{Failure, Marks};
use crate::plan::rollout::{Move, State};
use crate::role::Role;

use super::preview::{OrderReport, StepReport};
use super::text::short;

/// Says what an action does and why. `assessment` is that of a cluster that is to be, and
/// absent for one that is being deleted.
pub(super) fn of(
    observed: &Observed,
    assessment: Option<&Assessment>,
    action: &Action,
) -> StepReport {
    let words = Words {
        observed,
        assessment,
    };
    let step = |machine: Option<&MachineName>, what: String, why: String| StepReport {
        machine: machine.map(ToString::to_string),
        what,
        why,
    };
    match action {
        Action::AddFinalizer => step(
            None,
            "put the finalizer on the cluster".to_owned(),
            "nothing may be left behind when the cluster is deleted".to_owned(),
        ),
        Action::Claim { machine, role, .. } => step(
            Some(machine),
            format!("claim Machine {machine} as {role}"),
            words.of_claim(*role),
        ),
        Action::Release { machine, .. } => step(
            Some(machine),
            format!("give Machine {machine} back"),
            match assessment {
                Some(_) => "the cluster does not use it, and nothing of the cluster is on it",
                None => "the cluster is being deleted, and nothing of it is on the machine",
            }
            .to_owned(),
        ),
        Action::CreateJoinToken => step(
            None,
            format!(
                "make Secret {} with a join token",
                naming::join_token(&observed.name())
            ),
            "there is none".to_owned(),
        ),
        Action::PublishKubeconfig(kubeconfig) => step(
            Some(kubeconfig.machine()),
            format!(
                "make Secret {} with the kubeconfig",
                naming::kubeconfig(&observed.name())
            ),
            format!("it was found on {} and works", kubeconfig.machine()),
        ),
        Action::RenewKubeconfig {
            kubeconfig, cause, ..
        } => step(
            Some(kubeconfig.machine()),
            format!(
                "put the kubeconfig of {} into Secret {}",
                kubeconfig.machine(),
                naming::kubeconfig(&observed.name())
            ),
            cause.to_string(),
        ),
        Action::DeleteSecret { name, .. } => step(
            None,
            format!("delete Secret {name}"),
            "the cluster is being deleted".to_owned(),
        ),
        Action::RemoveFinalizer => step(
            None,
            "take the finalizer off the cluster".to_owned(),
            "nothing of it is left".to_owned(),
        ),
        Action::DeleteNode { machine, node, .. } => step(
            Some(machine),
            format!("remove Node {node} from the cluster"),
            words.of_removal(machine),
        ),
        Action::DeleteConfiguration { machine, name, .. } => step(
            Some(machine),
            format!("delete NixosConfiguration {name}, which puts #minimal on {machine}"),
            words.of_removal(machine),
        ),
        Action::MarkInstalled {
            machine,
            configuration,
            ..
        } => step(
            Some(machine),
            format!("note on Machine {machine} that it was installed from scratch"),
            format!("NixosConfiguration {configuration} says so; it is never wiped again"),
        ),
        Action::DrainNode {
            machine,
            node,
            cordon,
            ..
        } => step(
            Some(machine),
            match cordon {
                true => format!("cordon and drain Node {node}"),
                false => format!("drain Node {node}, which is cordoned already"),
            },
            words.of_turn(machine),
        ),
        Action::EvictPod {
            machine,
            namespace,
            name,
            ..
        } => step(
            Some(machine),
            format!("evict Pod {namespace}/{name}"),
            format!("{machine} is being drained, and nothing forbids it"),
        ),
        Action::RestoreNode {
            machine,
            node,
            uncordon,
        } => step(
            Some(machine),
            match uncordon {
                true => format!("uncordon Node {node}"),
                false => format!("take the notes of the drain off Node {node}"),
            },
            format!("{machine} is not being changed any more"),
        ),
        Action::CreateConfiguration(configuration)
        | Action::UpdateConfiguration(configuration)
        | Action::StageConfiguration(configuration)
        | Action::SettleConfiguration(configuration)
        | Action::RollBackConfiguration { configuration, .. }
        | Action::NoteFailure { configuration, .. } => {
            let (what, why) = words.of_configuration(action, configuration);
            StepReport {
                machine: Some(configuration.spec.machine_ref.name.clone()),
                what,
                why,
            }
        }
    }
}

struct Words<'a> {
    observed: &'a Observed,
    assessment: Option<&'a Assessment>,
}

impl Words<'_> {
    fn of_claim(&self, role: Role) -> String {
        let plane = self.assessment.map(|assessment| match role {
            Role::ControlPlane => &assessment.selection.control_plane,
            Role::Worker => &assessment.selection.workers,
        });
        let (held, wanted) = plane.map_or((0, 0), |plane| (plane.members.len(), plane.wanted));
        format!("the {} has {held} of {wanted} machines", role.plane())
    }

    fn of_removal(&self, machine: &MachineName) -> String {
        if self.assessment.is_none() {
            "the cluster is being deleted".to_owned()
        } else if self.observed.machines.contains_key(machine) {
            "the spec does not want the machine any more, and all others are well".to_owned()
        } else {
            "its Machine is no more".to_owned()
        }
    }

    /// Why it is the turn of a machine.
    fn of_turn(&self, machine: &MachineName) -> String {
        let state = self.assessment.map(|assessment| &assessment.step.state);
        if let Some(State::Leaving { .. }) = state {
            return self.of_removal(machine);
        }
        let order = self.assessment.and_then(|assessment| {
            assessment
                .step
                .order
                .as_ref()
                .map(|order| OrderReport::of(order).say())
        });
        match order {
            Some(order) => format!("it is the turn of {machine}: {order}"),
            None => format!("it is the turn of {machine}"),
        }
    }

    fn of_configuration(&self, action: &Action, wanted: &NixosConfiguration) -> (String, String) {
        let name = wanted.name_any();
        let machine = &wanted.spec.machine_ref.name;
        let revision = short(&wanted.spec.reference);
        match action {
            Action::CreateConfiguration(_) => (
                format!(
                    "make NixosConfiguration {name} at {revision}{}",
                    wipe(wanted)
                ),
                format!("{machine} has no configuration"),
            ),
            Action::StageConfiguration(_) => (
                format!("have {revision} copied to {machine}, where it waits"),
                self.of_difference(wanted),
            ),
            Action::SettleConfiguration(_) => (
                format!("note that {machine} is back"),
                format!("it runs {revision} and is ready"),
            ),
            Action::RollBackConfiguration { failure, .. } => {
                (format!("put {machine} back to {revision}"), failed(failure))
            }
            Action::NoteFailure { failure, .. } => (
                format!("stop the rollout at {machine}, which stays as it is"),
                failed(failure),
            ),
            _ => self.of_update(wanted, machine, revision),
        }
    }

    /// An update is one of three things; which, the move tells.
    fn of_update(
        &self,
        wanted: &NixosConfiguration,
        machine: &str,
        revision: &str,
    ) -> (String, String) {
        let what = self.assessment.and_then(|assessment| {
            let moves = &assessment.step.moves;
            moves
                .iter()
                .find(|(name, _)| name.as_str() == machine)
                .map(|(name, what)| (name, what))
        });
        match what {
            Some((_, Move::Return)) => (
                format!("take back what waits on {machine}"),
                format!("it runs {revision} already, which is wanted again"),
            ),
            Some((_, Move::Correct)) => (
                format!(
                    "bring NixosConfiguration {} to {revision}",
                    wanted.name_any()
                ),
                format!("the first one of {machine} never worked"),
            ),
            Some((name, _)) => (
                format!("activate {revision} on {machine}"),
                self.of_turn(name),
            ),
            None => (
                format!("bring {machine} to {revision}"),
                self.of_difference(wanted),
            ),
        }
    }

    /// What is different between what a machine runs and what it is to run.
    fn of_difference(&self, wanted: &NixosConfiguration) -> String {
        let machine = &wanted.spec.machine_ref.name;
        let existing = self
            .observed
            .configurations
            .values()
            .find(|existing| existing.spec.machine_ref.name == *machine);
        let Some(existing) = existing else {
            return format!("{machine} has no configuration");
        };
        let previous = Marks::of(existing).previous;
        let runs = previous
            .as_deref()
            .filter(|_| existing.spec.hold)
            .unwrap_or(&existing.spec);
        let differences = differences(runs, &wanted.spec);
        match differences.is_empty() {
            true => format!("what waits on {machine} is not what is wanted"),
            false => format!("{machine} differs in {}", differences.join(", ")),
        }
    }
}

fn failed(failure: &Failure) -> String {
    format!("it failed at {}: {}", failure.step, failure.message)
}

fn wipe(configuration: &NixosConfiguration) -> &'static str {
    match configuration.spec.full_install {
        true => ", which WIPES its disk and installs it from scratch",
        false => "",
    }
}

/// In what two specs differ, for a person.
fn differences(runs: &NixosConfigurationSpec, wanted: &NixosConfigurationSpec) -> Vec<String> {
    let mut found = vec![];
    if runs.reference != wanted.reference {
        found.push(format!(
            "commit ({} to {})",
            short(&runs.reference),
            short(&wanted.reference)
        ));
    }
    if runs.git_repo != wanted.git_repo {
        found.push("gitRepo".to_owned());
    }
    if runs.configuration_subdir != wanted.configuration_subdir {
        found.push("configurationSubdir".to_owned());
    }
    if runs.credentials_ref != wanted.credentials_ref {
        found.push("credentialsRef".to_owned());
    }
    let paths = runs.additional_files.iter().chain(&wanted.additional_files);
    let mut paths: Vec<&str> = paths.map(|file| file.path.as_str()).collect();
    paths.sort_unstable();
    paths.dedup();
    let file = |spec: &NixosConfigurationSpec, path: &str| {
        spec.additional_files
            .iter()
            .find(|file| file.path == path)
            .cloned()
    };
    found.extend(
        paths
            .into_iter()
            .filter(|path| file(runs, path) != file(wanted, path))
            .map(ToOwned::to_owned),
    );
    found
}
