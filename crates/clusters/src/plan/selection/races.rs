//! Clusters that race for the same machines, in every order of their steps.
//!
//! Each cluster plans by a snapshot that may be old and then does its actions one by one, while
//! the others do theirs. A write only succeeds on the version that was read, as in the API.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use nico_api::kubernetes_cluster::Plane;
use nico_api::names::MachineName;
use nico_api::{Machine, NixosConfiguration, labels};
use proptest::prelude::*;

use crate::action::Action;
use crate::fixtures::{World, at, chosen, cluster, machine, name, named};
use crate::observed::{Observed, OwnedSecret, Rival, claimant_uid};
use crate::plan::selection::select;
use crate::role::Role;

/// What the API holds.
#[derive(Clone, Debug)]
struct Store {
    machines: BTreeMap<MachineName, Arc<Machine>>,
    configurations: BTreeMap<String, (usize, NixosConfiguration)>,
}

#[derive(Clone, Debug)]
struct Contender {
    control_plane: Plane,
    data_plane: Option<Plane>,
    created: i64,
    in_hand: VecDeque<Action>,
}

#[derive(Clone, Debug)]
struct Race {
    contenders: Vec<Contender>,
    history: Vec<Store>,
    writes: u64,
}

impl Race {
    fn new(machines: usize, contenders: Vec<Contender>) -> Self {
        let machines = (0..machines).map(|number| {
            let text = format!("m-{number}");
            (name(&text), Arc::new(machine(&text)))
        });
        Self {
            contenders,
            history: vec![Store {
                machines: machines.collect(),
                configurations: BTreeMap::new(),
            }],
            writes: 1,
        }
    }

    fn now(&self) -> &Store {
        self.history.last().unwrap()
    }

    /// What contender `index` sees: what it holds as it is, the rest as it was `age` writes ago.
    fn observe(&self, index: usize, age: usize) -> Observed {
        let contender = &self.contenders[index];
        let uid = uid(index);
        let past = &self.history[self.history.len().saturating_sub(age + 1)];
        let mut observed = World::new(
            contender.control_plane.clone(),
            contender.data_plane.clone(),
            &[],
        )
        .observed;
        observed.cluster.metadata = cluster(&label(index)).metadata;
        observed.cluster.metadata.creation_timestamp = Some(Time(at(contender.created)));
        observed.join_token = OwnedSecret::Foreign;
        observed.machines = past
            .machines
            .iter()
            .filter(|(_, machine)| claimant_uid(machine) != Some(&uid))
            .chain(
                self.now()
                    .machines
                    .iter()
                    .filter(|(_, machine)| claimant_uid(machine) == Some(&uid)),
            )
            .map(|(name, machine)| (name.clone(), machine.clone()))
            .collect();
        for (name, machine) in &self.now().machines {
            observed
                .machines
                .entry(name.clone())
                .or_insert_with(|| machine.clone());
        }
        observed.configurations = self
            .now()
            .configurations
            .iter()
            .filter(|(_, (owner, _))| *owner == index)
            .map(|(name, (_, configuration))| (name.clone(), configuration.clone()))
            .collect();
        observed.rivals = (0..self.contenders.len())
            .filter(|other| *other != index)
            .map(|other| Rival {
                uid: self::uid(other),
                created: at(self.contenders[other].created),
                control_plane: self.contenders[other].control_plane.clone(),
                data_plane: self.contenders[other]
                    .data_plane
                    .clone()
                    .unwrap_or_default(),
                started: past
                    .configurations
                    .values()
                    .any(|(owner, _)| *owner == other),
            })
            .collect();
        observed
    }

    /// Contender `index` does its next action, or plans anew when it has none. Gives whether
    /// there was anything to do.
    fn step(&mut self, index: usize, age: usize) -> bool {
        if let Some(action) = self.contenders[index].in_hand.pop_front() {
            if !self.perform(index, &action) {
                self.contenders[index].in_hand.clear();
            }
            return true;
        }
        let mut world = World {
            observed: self.observe(index, age),
        };
        world.observed.cluster.status = None;
        let actions = world.plan().actions;
        let has_work = !actions.is_empty();
        self.contenders[index].in_hand = actions.into();
        has_work
    }

    fn perform(&mut self, index: usize, action: &Action) -> bool {
        let mut store = self.now().clone();
        self.writes += 1;
        let version = self.writes.to_string();
        let done = match action {
            Action::Claim {
                machine,
                role,
                version: read,
            } => store.write(machine, read, &version, |machine| {
                machine
                    .labels_mut()
                    .insert(labels::CLUSTER.to_owned(), label(index));
                machine
                    .labels_mut()
                    .insert(labels::ROLE.to_owned(), role.as_str().to_owned());
                machine
                    .annotations_mut()
                    .insert(labels::CLUSTER_UID.to_owned(), uid(index));
            }),
            Action::Release {
                machine,
                version: read,
            } => store.write(machine, read, &version, |machine| {
                machine.labels_mut().remove(labels::CLUSTER);
                machine.labels_mut().remove(labels::ROLE);
                machine.annotations_mut().remove(labels::CLUSTER_UID);
            }),
            Action::CreateConfiguration(configuration)
            | Action::UpdateConfiguration(configuration) => {
                let target = name(&configuration.spec.machine_ref.name);
                let holder = claimant_uid(&store.machines[&target]).map(ToOwned::to_owned);
                assert_eq!(holder, Some(uid(index)), "no configuration without a claim");
                store
                    .configurations
                    .insert(configuration.name_any(), (index, (**configuration).clone()));
                true
            }
            other => panic!("not expected here: {other:?}"),
        };
        self.history.push(store);
        self.check();
        done
    }

    /// No machine is in two clusters.
    fn check(&self) {
        let mut owners: BTreeMap<&str, usize> = BTreeMap::new();
        for (owner, configuration) in self.now().configurations.values() {
            let machine = configuration.spec.machine_ref.name.as_str();
            let first = *owners.entry(machine).or_insert(*owner);
            assert_eq!(first, *owner, "{machine} is in two clusters");
        }
    }

    /// Everybody goes on, in turn and with fresh eyes, until nobody has anything to do.
    fn settle(&mut self) {
        for _ in 0..200 {
            let mut busy = false;
            for index in 0..self.contenders.len() {
                busy |= self.step(index, 0);
            }
            if !busy {
                return;
            }
        }
        panic!("the clusters never come to rest: {:?}", self.contenders);
    }

    fn held_by(&self, index: usize) -> usize {
        let uid = uid(index);
        self.now()
            .machines
            .values()
            .filter(|machine| claimant_uid(machine) == Some(&uid))
            .count()
    }

    fn has_started(&self, index: usize) -> bool {
        self.now()
            .configurations
            .values()
            .any(|(owner, _)| *owner == index)
    }
}

impl Store {
    fn write(
        &mut self,
        name: &MachineName,
        read: &str,
        version: &str,
        change: impl FnOnce(&mut Machine),
    ) -> bool {
        let machine = Arc::make_mut(self.machines.get_mut(name).unwrap());
        if machine.resource_version().as_deref() != Some(read) {
            return false;
        }
        change(machine);
        machine.metadata.resource_version = Some(version.to_owned());
        true
    }
}

fn label(index: usize) -> String {
    format!("c-{index}")
}

fn uid(index: usize) -> String {
    format!("c-{index}-uid")
}

fn contender(control_plane: Plane, data_plane: Option<Plane>) -> Contender {
    Contender {
        control_plane,
        data_plane,
        created: 100,
        in_hand: VecDeque::new(),
    }
}

fn any_contender() -> impl Strategy<Value = Contender> {
    let numbers = prop::sample::subsequence((0..6).collect::<Vec<usize>>(), 1..=5);
    let by_name = numbers.prop_shuffle().prop_map(|numbers| {
        let names: Vec<String> = numbers.iter().map(|number| format!("m-{number}")).collect();
        named(&names.iter().map(String::as_str).collect::<Vec<_>>())
    });
    let by_selector = (1..6).prop_map(|count| chosen("m", count));
    (
        prop_oneof![by_name, by_selector],
        prop::option::of((0..4).prop_map(|count| chosen("m", count))),
        100..103_i64,
    )
        .prop_map(|(control_plane, data_plane, created)| Contender {
            created,
            ..contender(control_plane, data_plane)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn clusters_never_share_a_machine_and_none_holds_a_part_for_ever(
        contenders in prop::collection::vec(any_contender(), 2..6),
        schedule in prop::collection::vec((any::<prop::sample::Index>(), 0..4_usize), 0..200),
    ) {
        let count = contenders.len();
        let mut race = Race::new(6, contenders);
        for (index, age) in schedule {
            race.step(index.index(count), age);
        }
        race.settle();
        for index in 0..count {
            let selection = select(&race.observe(index, 0));
            if race.has_started(index) {
                prop_assert!(selection.control_plane.is_complete());
            } else {
                prop_assert_eq!(race.held_by(index), 0, "c-{} holds machines that it cannot use", index);
                prop_assert!(selection.control_plane.shortage.is_some(), "c-{} does not say what is missing", index);
            }
        }
        let wants_none = |index: usize| !race.has_started(index);
        prop_assert!((0..count).any(|index| race.has_started(index)) || (0..count).all(wants_none));
    }
}

#[test]
fn of_two_clusters_that_want_the_same_machines_one_gets_all_and_the_other_none() {
    let five = || contender(named(&["m-0", "m-1", "m-2"]), Some(chosen("m", 2)));
    let mut backwards = five();
    backwards.control_plane = named(&["m-2", "m-1", "m-0"]);
    let mut race = Race::new(5, vec![five(), backwards]);
    // Both plan before either writes, and then write in turns.
    for _ in 0..3 {
        race.step(0, 0);
        race.step(1, 0);
    }
    race.settle();
    assert_eq!((race.held_by(0), race.held_by(1)), (5, 0));
    let loser = select(&race.observe(1, 0)).control_plane.shortage.unwrap();
    assert!(
        loser.message.contains("m-0 is claimed by cluster c-0"),
        "{}",
        loser.message
    );
}

#[test]
fn a_hundred_clusters_that_start_together_share_nothing() {
    let contenders = (0..100).map(|_| contender(chosen("m", 3), None)).collect();
    let mut race = Race::new(30, contenders);
    for index in 0..100 {
        race.step(index, 0);
    }
    race.settle();
    let started = (0..100).filter(|index| race.has_started(*index)).count();
    assert_eq!(started, 10, "thirty machines are ten clusters of three");
    let workers = |index: &usize| select(&race.observe(*index, 0)).workers.members.len();
    assert_eq!((0..100).map(|index| workers(&index)).sum::<usize>(), 0);
    assert!(
        (0..100).all(|index| matches!(race.held_by(index), 0 | 3)),
        "{:?}",
        Role::ControlPlane
    );
}
