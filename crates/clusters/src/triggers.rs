//! Which change of what makes which cluster be looked at.

use std::collections::HashMap;
use std::future::ready;
use std::hash::{DefaultHasher, Hash, Hasher};

use futures::{Stream, TryStreamExt};
use kube::core::{DeserializeGuard, Selector, SelectorExt};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};
use nico_api::kubernetes_cluster::{Plane, conditions as kind};
use nico_api::machine::conditions::NEEDS_CLEANUP;
use nico_api::{KubernetesCluster, Machine, NixosConfiguration, NixosConfigurationSpec, condition};

use crate::observed::claimant_uid;

/// A cluster, or why it cannot be understood.
pub(crate) type GuardedCluster = DeserializeGuard<KubernetesCluster>;

/// A machine, or why it cannot be understood.
pub(crate) type GuardedMachine = DeserializeGuard<Machine>;

/// A configuration, or why it cannot be understood.
pub type GuardedConfiguration = DeserializeGuard<NixosConfiguration>;

/// Takes from a machine, before it is cached, what is large and decides nothing here.
pub(crate) fn forget_what_decides_nothing(guard: &mut GuardedMachine) {
    guard.meta_mut().managed_fields = None;
    if let Ok(machine) = &mut guard.0
        && let Some(status) = &mut machine.status
    {
        status.nix_facter_result = None;
        if let Some(facts) = &mut status.hardware_facts {
            facts.retain(|name, _| name == "os");
        }
    }
}

/// Takes from a configuration, before it is cached, everything but whose it is and its machine.
pub(crate) fn forget_what_it_configures(guard: &mut GuardedConfiguration) {
    guard.meta_mut().managed_fields = None;
    guard.meta_mut().annotations = None;
    if let Ok(configuration) = &mut guard.0 {
        configuration.status = None;
        configuration.spec = NixosConfigurationSpec {
            machine_ref: std::mem::take(&mut configuration.spec.machine_ref),
            ..NixosConfigurationSpec::default()
        };
    }
}

/// The machines that changed so that a cluster may care, or that are no more: not every
/// heartbeat.
pub(crate) fn changes_that_matter(
    events: impl Stream<Item = Result<watcher::Event<GuardedMachine>, watcher::Error>>,
) -> impl Stream<Item = Result<GuardedMachine, watcher::Error>> {
    let mut known: HashMap<ObjectRef<GuardedMachine>, u64> = HashMap::new();
    events.try_filter_map(move |event| {
        let changed = match event {
            watcher::Event::Apply(machine) | watcher::Event::InitApply(machine) => {
                let now = fingerprint(&machine);
                let before = known.insert(ObjectRef::from_obj(&machine), now);
                (before != Some(now)).then_some(machine)
            }
            watcher::Event::Delete(machine) => {
                known.remove(&ObjectRef::from_obj(&machine));
                Some(machine)
            }
            watcher::Event::Init | watcher::Event::InitDone => None,
        };
        ready(Ok(changed))
    })
}

/// What clusters look at when they choose a machine.
fn fingerprint(guard: &GuardedMachine) -> u64 {
    let mut hasher = DefaultHasher::new();
    let metadata = guard.meta();
    metadata.labels.hash(&mut hasher);
    metadata.generation.hash(&mut hasher);
    metadata.deletion_timestamp.is_some().hash(&mut hasher);
    if let Ok(machine) = &guard.0 {
        let conditions = machine
            .status
            .as_ref()
            .map_or(&[][..], |status| &status.conditions);
        claimant_uid(machine).hash(&mut hasher);
        machine.is_discoverable().hash(&mut hasher);
        machine.has_configuration().hash(&mut hasher);
        condition::is_true(conditions, NEEDS_CLEANUP).hash(&mut hasher);
        machine
            .fact("os")
            .map(ToString::to_string)
            .hash(&mut hasher);
    }
    hasher.finish()
}

/// The clusters that hold a machine, name it, or look for one like it.
pub(crate) fn clusters_that_care(
    clusters: &Store<GuardedCluster>,
    machine: &GuardedMachine,
) -> Vec<ObjectRef<GuardedCluster>> {
    let name = machine.name_any();
    let claimant = machine.0.as_ref().ok().and_then(claimant_uid);
    let cares = |cluster: &KubernetesCluster| {
        let holds = claimant.is_some() && claimant == cluster.metadata.uid.as_deref();
        let data_plane = cluster.spec.data_plane();
        let planes = [&cluster.spec.control_plane, &data_plane];
        holds
            || planes.iter().any(|plane| names(plane, &name))
            || (!has_all_machines(cluster)
                && planes.iter().any(|plane| would_choose(plane, machine)))
    };
    clusters
        .state()
        .iter()
        .filter(|cluster| cluster.meta().namespace == machine.meta().namespace)
        .filter(|cluster| cluster.0.as_ref().is_ok_and(cares))
        .map(|cluster| ObjectRef::from_obj(cluster.as_ref()))
        .collect()
}

fn names(plane: &Plane, machine: &str) -> bool {
    plane
        .named_machines()
        .is_some_and(|list| list.iter().any(|name| name == machine))
}

fn would_choose(plane: &Plane, machine: &GuardedMachine) -> bool {
    plane
        .machine_selector
        .clone()
        .and_then(|selector| Selector::try_from(selector).ok())
        .is_some_and(|selector| selector.matches(machine.labels()))
}

fn has_all_machines(cluster: &KubernetesCluster) -> bool {
    cluster
        .status
        .as_ref()
        .is_some_and(|status| condition::is_true(&status.conditions, kind::MACHINES_SELECTED))
}

pub(crate) fn owner_of(object: &impl Resource) -> Option<ObjectRef<GuardedCluster>> {
    let metadata = object.meta();
    let owner = metadata
        .owner_references
        .iter()
        .flatten()
        .find(|owner| owner.kind == KubernetesCluster::kind(&()))?;
    let namespace = metadata.namespace.as_deref()?;
    Some(ObjectRef::new(&owner.name).within(namespace))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::machine;
    use futures::{FutureExt, StreamExt, stream};
    use watcher::Event;

    fn told(events: Vec<Event<GuardedMachine>>) -> usize {
        let events = stream::iter(events.into_iter().map(Ok));
        changes_that_matter(events).count().now_or_never().unwrap()
    }

    fn guarded(machine: &Machine) -> GuardedMachine {
        DeserializeGuard(Ok(machine.clone()))
    }

    #[test]
    fn a_heartbeat_is_no_change_and_a_deletion_is_one() {
        let mut machine = machine("m-01");
        let first = guarded(&machine);
        machine.metadata.resource_version = Some("2".to_owned());
        let heartbeat = guarded(&machine);
        machine.status.as_mut().unwrap().discoverable = Some(false);
        let lost = guarded(&machine);
        assert_eq!(told(vec![Event::InitApply(first.clone())]), 1);
        assert_eq!(
            told(vec![
                Event::Apply(first.clone()),
                Event::Apply(heartbeat.clone())
            ]),
            1
        );
        assert_eq!(
            told(vec![Event::Apply(first.clone()), Event::Apply(lost)]),
            2
        );
        assert_eq!(told(vec![Event::Apply(first), Event::Delete(heartbeat)]), 2);
    }

    #[test]
    fn only_what_decides_is_kept_of_a_machine() {
        let mut machine = machine("m-01");
        let facts = machine
            .status
            .as_mut()
            .unwrap()
            .hardware_facts
            .as_mut()
            .unwrap();
        facts.insert("storage".to_owned(), serde_json::json!({"disks": []}));
        let mut guard = guarded(&machine);
        forget_what_decides_nothing(&mut guard);
        let kept = guard.0.unwrap();
        assert_eq!(kept.fact("os.id").unwrap(), "nixos");
        assert_eq!(kept.fact("storage"), None);
    }
}
