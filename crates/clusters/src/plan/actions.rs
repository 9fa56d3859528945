//! From what was concluded to what is done: the actions of a plan, in their order.

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use nico_api::names::MachineName;
use nico_api::{NixosConfiguration, NixosConfigurationSpec, labels};

use crate::action::Action;
use crate::observed::{KubeconfigState, Node, Observed, OwnedSecret, Workload};

use super::marks::Marks;
use super::rollout::Move;
use super::{Assessment, deletion, has_finalizer, readiness, renewal};

/// What is done now about a cluster that is to be. Machines are given back and claimed before
/// anything is made for one.
pub(super) fn of(observed: &Observed, assessment: &Assessment, now: Timestamp) -> Vec<Action> {
    if !has_finalizer(observed) {
        return vec![Action::AddFinalizer];
    }
    let selection = &assessment.selection;
    let version = |name: &MachineName| {
        observed.machines[name]
            .resource_version()
            .unwrap_or_default()
    };
    let claims = selection.claims.iter().map(|(name, role)| Action::Claim {
        machine: name.clone(),
        role: *role,
        version: version(name),
    });
    let mut actions = releases(observed, assessment);
    actions.extend(claims);
    let may_start = selection.control_plane.is_complete() || observed.has_started();
    if !selection.claims.is_empty() || !may_start {
        return actions;
    }
    actions.extend(changes(observed, assessment, now));
    actions.extend(installed(observed, assessment));
    actions.extend(kubeconfig(observed, assessment, now));
    actions
}

/// Publishes the kubeconfig, or another one in its place.
fn kubeconfig(observed: &Observed, assessment: &Assessment, now: Timestamp) -> Option<Action> {
    match &observed.kubeconfig {
        KubeconfigState::Proven(kubeconfig) => Some(Action::PublishKubeconfig(kubeconfig.clone())),
        KubeconfigState::Published(published) => {
            let control_plane = &assessment.selection.control_plane.members;
            renewal::replacement(published, &observed.workload, control_plane, now).map(
                |(kubeconfig, cause)| Action::RenewKubeconfig {
                    kubeconfig: kubeconfig.clone(),
                    version: published.version.clone(),
                    cause,
                },
            )
        }
        KubeconfigState::Missing(_) => None,
    }
}

/// The join token, and what the rollout does now.
fn changes(observed: &Observed, assessment: &Assessment, now: Timestamp) -> Vec<Action> {
    let moves = &assessment.step.moves;
    let changes = moves
        .iter()
        .flat_map(|(name, what)| change(observed, assessment, name, what, now));
    match &observed.join_token {
        OwnedSecret::Missing if !observed.cluster.spec.paused => [Action::CreateJoinToken]
            .into_iter()
            .chain(changes)
            .collect(),
        OwnedSecret::Missing | OwnedSecret::Ours { .. } | OwnedSecret::Foreign => changes.collect(),
        OwnedSecret::Unusable(_) => vec![],
    }
}

/// The actions of one move. None while what the machine should run is not known.
fn change(
    observed: &Observed,
    assessment: &Assessment,
    machine: &MachineName,
    what: &Move,
    now: Timestamp,
) -> Vec<Action> {
    let existing = observed.configuration_of(machine);
    let marks = existing.map(Marks::of).unwrap_or_default();
    let desired = |hold: bool, marks: &Marks| {
        let mut configuration = assessment.desired.get(machine)?.clone();
        configuration.spec.hold = hold;
        marks.write_on(&mut configuration);
        Some(Box::new(configuration))
    };
    let machine = machine.clone();
    let action = match what {
        Move::Create => desired(false, &Marks::default()).map(Action::CreateConfiguration),
        Move::Return => desired(false, &Marks::default()).map(Action::UpdateConfiguration),
        // The machine may have applied the earlier one since it was looked at.
        Move::Correct => {
            let marks = Marks {
                changing_since: Some(now),
                ..Marks::default()
            };
            desired(false, &marks).map(Action::UpdateConfiguration)
        }
        Move::Stage => {
            let marks = Marks {
                failure: None,
                ..marks_before_a_change(existing, marks)
            };
            desired(true, &marks).map(Action::StageConfiguration)
        }
        Move::Activate => {
            let marks = Marks {
                changing_since: Some(now),
                ..marks
            };
            desired(false, &marks).map(Action::UpdateConfiguration)
        }
        Move::Settle => existing.and_then(|existing| {
            let mut configuration = desired(false, &Marks::default())?;
            configuration.spec = what_it_asks_for(existing);
            let marks = Marks {
                failure: marks.failure,
                ..Marks::default()
            };
            marks.write_on(&mut configuration);
            Some(Action::SettleConfiguration(configuration))
        }),
        Move::RollBack(failure) => marks.previous.clone().and_then(|previous| {
            let mut configuration = desired(false, &Marks::default())?;
            configuration.spec = *previous;
            let marks = Marks {
                failure: Some(failure.clone()),
                ..marks
            };
            marks.write_on(&mut configuration);
            Some(Action::RollBackConfiguration {
                configuration,
                failure: failure.clone(),
            })
        }),
        Move::NoteFailure(failure) => existing.and_then(|existing| {
            let marks = Marks {
                failure: Some(failure.clone()),
                ..marks
            };
            Some(Action::NoteFailure {
                configuration: desired(existing.spec.hold, &marks)?,
                failure: failure.clone(),
            })
        }),
        Move::Drain {
            node,
            cordon,
            attempt,
        } => Some(Action::DrainNode {
            machine,
            node: node.clone(),
            since: now,
            attempt: attempt.clone(),
            cordon: *cordon,
        }),
        Move::Restore { node, uncordon } => Some(Action::RestoreNode {
            machine,
            node: node.clone(),
            uncordon: *uncordon,
        }),
        Move::DeleteNode { node, uid } => Some(Action::DeleteNode {
            machine,
            node: node.clone(),
            uid: uid.clone(),
        }),
        Move::Remove => existing.and_then(deletion::delete),
        Move::Evict(pods) => {
            return pods
                .iter()
                .map(|pod| Action::EvictPod {
                    machine: machine.clone(),
                    namespace: pod.namespace.clone(),
                    name: pod.name.clone(),
                    uid: pod.uid.clone(),
                })
                .collect();
        }
    };
    action.into_iter().collect()
}

/// What a configuration asks for, without the fields that are the user's.
fn what_it_asks_for(existing: &NixosConfiguration) -> NixosConfigurationSpec {
    NixosConfigurationSpec {
        activation: None,
        ..existing.spec.clone()
    }
}

/// The notes on a machine whose configuration is about to ask for something else: what it was
/// last seen to run, and since when it is in an unknown state, if it is.
fn marks_before_a_change(existing: Option<&NixosConfiguration>, marks: Marks) -> Marks {
    let Some(existing) = existing else {
        return Marks::default();
    };
    Marks {
        previous: match marks.previous {
            Some(previous) if marks.changing_since.is_some() || existing.spec.hold => {
                Some(previous)
            }
            _ => Some(Box::new(what_it_asks_for(existing))),
        },
        ..marks
    }
}

/// Notes on machines that their installation from scratch succeeded.
fn installed(observed: &Observed, assessment: &Assessment) -> Vec<Action> {
    let is_installed = |configuration: &NixosConfiguration| {
        let status = configuration.status.as_ref();
        status.and_then(|status| status.full_disk_install_completed) == Some(true)
    };
    assessment
        .members
        .iter()
        .filter_map(|member| {
            let machine = &observed.machines[&member.machine];
            let configuration = observed.configuration_of(&member.machine)?;
            let is_noted = machine
                .annotations()
                .contains_key(labels::FULL_INSTALLATION_APPLIED);
            (is_installed(configuration) && !is_noted).then(|| Action::MarkInstalled {
                machine: member.machine.clone(),
                configuration: configuration.name_any(),
                version: machine.resource_version().unwrap_or_default(),
            })
        })
        .collect()
}

/// Gives machines back that carry no configuration any more. The Node of one goes before, for
/// nothing would remember it afterwards: while the new cluster cannot be asked, the claim stays.
fn releases(observed: &Observed, assessment: &Assessment) -> Vec<Action> {
    let is_of_a_member = |node: &&Node| {
        let members = assessment.members.iter();
        let mut seen = members.filter_map(|member| member.seen.as_ref());
        seen.any(|seen| seen.name == node.name)
    };
    let release = |machine: &MachineName| {
        let release = Action::Release {
            machine: machine.clone(),
            version: observed.machines[machine]
                .resource_version()
                .unwrap_or_default(),
        };
        let node_in = |nodes| {
            readiness::node_of(observed, nodes, machine).filter(|node| !is_of_a_member(node))
        };
        match &observed.workload {
            Workload::NotAsked => vec![release],
            Workload::Answers(view) => node_in(&view.nodes)
                .map(|node| Action::DeleteNode {
                    machine: machine.clone(),
                    node: node.name.clone(),
                    uid: node.uid.clone(),
                })
                .into_iter()
                .chain([release])
                .collect(),
            Workload::Unreachable {
                last_nodes: Some(nodes),
                ..
            } if node_in(nodes).is_none() => vec![release],
            Workload::Unreachable { .. } => vec![],
        }
    };
    let all = &assessment.selection.releases;
    all.iter().flat_map(release).collect()
}
