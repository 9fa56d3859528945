//! The whole plan, step by step.

mod silence;

use nico_api::condition;
use nico_api::kubernetes_cluster::{Phase, conditions as kind};

use super::Intervals;
use crate::action::Action;
use crate::fixtures::{World, answers, at, chosen, name, named};
use crate::observed::{KubeconfigState, Node, OwnedSecret, Problem, Source};
use kube::ResourceExt;
use nico_api::labels;
use nico_api::reason::ClusterReason;

fn words(world: &World) -> Vec<String> {
    world
        .plan()
        .actions
        .iter()
        .map(|action| match action {
            Action::AddFinalizer => "finalizer".to_owned(),
            Action::Claim { machine, .. } => format!("claim {machine}"),
            Action::Release { machine, .. } => format!("release {machine}"),
            Action::CreateJoinToken => "join token".to_owned(),
            Action::CreateConfiguration(made) => format!("create {}", made.spec.machine_ref.name),
            Action::UpdateConfiguration(made) => format!("update {}", made.spec.machine_ref.name),
            Action::StageConfiguration(made) => format!("stage {}", made.spec.machine_ref.name),
            Action::SettleConfiguration(made) => format!("settle {}", made.spec.machine_ref.name),
            Action::RollBackConfiguration { configuration, .. } => {
                format!("roll back {}", configuration.spec.machine_ref.name)
            }
            Action::NoteFailure { configuration, .. } => {
                format!("note failure {}", configuration.spec.machine_ref.name)
            }
            Action::DrainNode { node, .. } => format!("drain {node}"),
            Action::EvictPod { name, .. } => format!("evict {name}"),
            Action::RestoreNode { node, .. } => format!("restore {node}"),
            Action::DeleteNode { node, .. } => format!("delete node {node}"),
            Action::DeleteConfiguration { machine, .. } => format!("remove {machine}"),
            Action::MarkInstalled { machine, .. } => format!("installed {machine}"),
            Action::PublishKubeconfig(_) => "publish".to_owned(),
            Action::RenewKubeconfig { kubeconfig, .. } => {
                format!("renew of {}", kubeconfig.machine())
            }
            Action::DeleteSecret { name, .. } => format!("delete {name}"),
            Action::RemoveFinalizer => "finish".to_owned(),
        })
        .collect()
}

fn condition(world: &World, kind: &str) -> (String, String, String) {
    let status = world.plan().status;
    let found = condition::find(&status.conditions, kind).unwrap();
    (
        found.status.clone(),
        found.reason.clone(),
        found.message.clone(),
    )
}

fn home() -> World {
    World::new(
        named(&["cp-01", "cp-02", "cp-03"]),
        Some(chosen("w", 2)),
        &["cp-01", "cp-02", "cp-03", "w-01", "w-02"],
    )
}

fn push(world: &mut World, digit: &str) {
    world.observed.source = Source::Resolved {
        repository: "https://git.example/clusters.git".parse().unwrap(),
        commit: digit.repeat(40).parse().unwrap(),
    };
}

#[test]
fn a_cluster_is_made_in_order_finalizer_claims_token_configurations() {
    let mut world = home();
    world.observed.cluster.metadata.finalizers = None;
    assert_eq!(words(&world), ["finalizer"]);
    world.observed.cluster.metadata.finalizers = home().observed.cluster.metadata.finalizers;
    assert_eq!(words(&world), ["claim cp-01", "claim cp-02", "claim cp-03"]);
    world.step();
    assert_eq!(words(&world), ["claim w-01", "claim w-02"]);
    world.step();
    assert_eq!(
        words(&world),
        [
            "join token",
            "create cp-01",
            "create cp-02",
            "create cp-03",
            "create w-01",
            "create w-02"
        ]
    );
    world.step();
    assert_eq!(words(&world), [""; 0]);
}

#[test]
fn every_configuration_of_a_cluster_carries_the_same_topology_and_the_pinned_commit() {
    let mut world = home();
    for _ in 0..3 {
        world.step();
    }
    let files: Vec<_> = world
        .observed
        .configurations
        .values()
        .map(|c| c.spec.additional_files[0].inline.clone())
        .collect();
    assert!(files.windows(2).all(|pair| pair[0] == pair[1]));
    assert!(files[0].as_ref().unwrap().contains("w-02"));
    assert!(
        world
            .observed
            .configurations
            .values()
            .all(|c| c.spec.reference == "a".repeat(40))
    );
}

#[test]
fn nothing_is_created_while_the_source_is_not_resolved() {
    let mut world = home();
    world.observed.source = Source::Unresolved(Problem {
        reason: ClusterReason::RepositoryNotFound,
        message: "there is no Git repository at https://git.example/none".to_owned(),
        needs_change: true,
    });
    world.step();
    world.step();
    assert_eq!(words(&world), ["join token"]);
    assert_eq!(
        condition(&world, kind::SOURCE_RESOLVED).1,
        "RepositoryNotFound"
    );
    assert_eq!(condition(&world, kind::READY).1, "RepositoryNotFound");
    assert_eq!(world.plan().status.phase, Some(Phase::Failed));
}

/// Everything that is done until nothing is left to do, by machines that apply at once.
fn run(world: &mut World) -> Vec<String> {
    let mut done = vec![];
    for _ in 0..60 {
        let changes = words(world);
        if changes.is_empty() {
            return done;
        }
        done.extend(changes);
        world.step();
        world.apply_all();
    }
    panic!("it does not end: {done:?}");
}

#[test]
fn a_new_commit_is_prepared_everywhere_then_goes_to_workers_then_to_control_planes() {
    let mut world = home().applied().with_secrets();
    push(&mut world, "b");
    let machines = ["w-01", "w-02", "cp-01", "cp-02", "cp-03"];
    let in_turn = machines
        .iter()
        .flat_map(|machine| [format!("update {machine}"), format!("settle {machine}")]);
    let prepared = ["cp-01", "cp-02", "cp-03", "w-01", "w-02"].map(|name| format!("stage {name}"));
    let expected: Vec<String> = prepared.into_iter().chain(in_turn).collect();
    assert_eq!(run(&mut world), expected);
    assert_eq!(condition(&world, kind::ROLLING_OUT).1, "Finished");
    assert_eq!(
        world.plan().status.revision.unwrap().short_commit,
        "bbbbbbb"
    );
}

#[test]
fn while_a_rollout_goes_on_the_cluster_is_not_ready_and_its_phase_stays() {
    let mut world = home().applied().with_secrets();
    world.step();
    assert_eq!(world.plan().status.phase, Some(Phase::Ready));
    push(&mut world, "b");
    for (reason, applies) in [("Staging", false), ("Staging", true), ("Updating", false)] {
        assert_eq!(condition(&world, kind::READY).1, reason);
        assert_eq!(condition(&world, kind::ROLLING_OUT).0, "True");
        assert_eq!(world.plan().status.phase, Some(Phase::Ready));
        world.step();
        if applies {
            world.apply_all();
        }
    }
    assert_eq!(words(&world), [""; 0], "nothing while it is not ready");
    let status = world.plan().status;
    assert_eq!(status.rollout.unwrap().current, ["w-01"]);
    assert_eq!(status.phase, Some(Phase::Ready));
}

#[test]
fn a_node_that_fails_goes_back_to_what_it_ran_and_the_rollout_can_be_given_another_target() {
    let mut world = home().applied().with_secrets();
    push(&mut world, "b");
    world.step();
    world.apply_all();
    assert_eq!(words(&world), ["update w-01"]);
    world.step();
    world.say("w-01", "ActivationFailed", "exit status 4");
    assert_eq!(words(&world), ["roll back w-01"]);
    world.step();
    let spec = &world.configuration("w-01").spec;
    assert_eq!(
        (spec.reference.as_str(), spec.hold),
        (&*"a".repeat(40), false)
    );
    world.apply_all();
    assert_eq!(words(&world), ["settle w-01"]);
    world.step();
    assert_eq!(words(&world), [""; 0], "the others keep what they have");
    let (_, reason, message) = condition(&world, kind::ROLLING_OUT);
    assert_eq!(reason, "NodeFailed");
    assert!(
        message.contains("w-01 failed at Apply: ActivationFailed: exit status 4"),
        "{message}"
    );
    assert_eq!(world.plan().status.phase, Some(Phase::Failed));

    let mut again = world.clone();
    let request = labels::RECONCILE_AT.to_owned();
    again
        .observed
        .cluster
        .annotations_mut()
        .insert(request, "now".to_owned());
    assert_eq!(words(&again), ["stage w-01"]);

    push(&mut world, "c");
    run(&mut world);
    assert_eq!(
        world.plan().status.revision.unwrap().short_commit,
        "ccccccc"
    );
}

#[test]
fn going_back_to_the_old_commit_ends_a_rollout_that_failed() {
    let mut world = home().applied();
    push(&mut world, "b");
    world.step();
    world.apply_all();
    world.step();
    world.say("w-01", "RolledBack", "nobody confirmed");
    world.step();
    push(&mut world, "a");
    run(&mut world);
    assert_eq!(condition(&world, kind::ROLLING_OUT).1, "Finished");
    assert!(
        world
            .observed
            .configurations
            .values()
            .all(|it| !it.spec.hold)
    );
}

#[test]
fn nothing_is_changed_while_the_cluster_is_paused() {
    let mut world = home().applied();
    push(&mut world, "b");
    world.observed.cluster.spec.paused = true;
    assert_eq!(words(&world), [""; 0]);
    assert_eq!(condition(&world, kind::PAUSED).0, "True");
}

#[test]
fn a_machine_that_may_not_be_wiped_is_not_touched_and_says_what_to_do() {
    let mut world = home();
    world.change("cp-02", |machine| {
        let facts = serde_json::json!({"os": {"id": "debian", "name": "Debian"}});
        machine.status.as_mut().unwrap().hardware_facts = facts.as_object().cloned();
    });
    world.step();
    world.step();
    assert!(!words(&world).contains(&"create cp-02".to_owned()));
    let (_, reason, message) = condition(&world, kind::CONTROL_PLANE_READY);
    assert_eq!(reason, "MachineNotInstallable");
    assert!(message.contains("cp-02 runs Debian"), "{message}");
}

#[test]
fn an_installation_from_scratch_is_noted_on_the_machine_once() {
    let mut world = World::of_one_control_plane().applied();
    world
        .configuration("cp-01")
        .status
        .as_mut()
        .unwrap()
        .full_disk_install_completed = Some(true);
    assert_eq!(words(&world), ["installed cp-01"]);
    world.change("cp-01", |machine| {
        let key = nico_api::labels::FULL_INSTALLATION_APPLIED.to_owned();
        machine
            .metadata
            .annotations
            .get_or_insert_default()
            .insert(key, "home-cp-01".to_owned());
    });
    assert_eq!(words(&world), [""; 0]);
}

#[test]
fn a_failed_configuration_makes_the_cluster_failed_until_it_is_corrected() {
    let mut world = World::of_one_control_plane();
    for _ in 0..2 {
        world.step();
    }
    world.say("cp-01", "EvaluationFailed", "attribute 'cp-01' missing");
    let generation = world.configuration("cp-01").metadata.generation;
    let conditions = &mut world
        .configuration("cp-01")
        .status
        .as_mut()
        .unwrap()
        .conditions;
    condition::set(
        conditions,
        "Stalled",
        condition::Truth::True,
        "WaitingForChange",
        "",
        generation,
        at(1),
    );
    let (_, reason, message) = condition(&world, kind::READY);
    assert_eq!(reason, "ConfigurationFailed");
    assert!(
        message.contains("cp-01 EvaluationFailed: attribute 'cp-01' missing"),
        "{message}"
    );
    assert_eq!(world.plan().status.phase, Some(Phase::Failed));
    push(&mut world, "b");
    assert_eq!(words(&world), ["update cp-01"]);
    world.step();
    assert_eq!(world.plan().status.phase, Some(Phase::Provisioning));
}

#[test]
fn a_cluster_is_ready_when_its_nodes_are_and_its_kubeconfig_is_there() {
    let mut world = World::of_one_control_plane_and_one_worker();
    assert_eq!(world.plan().status.phase, Some(Phase::Provisioning));
    for _ in 0..3 {
        world.step();
    }
    world.apply("cp-01");
    assert_eq!(world.plan().status.phase, Some(Phase::ControlPlaneReady));
    world.apply("w-01");
    assert_eq!(
        condition(&world, kind::READY).1,
        "WaitingForControlPlane",
        "no kubeconfig yet"
    );
    let mut world = world.with_secrets();
    let node = |name: &str, ready| Node {
        name: name.to_owned(),
        ready,
        ..Node::default()
    };
    world.observed.workload = answers(vec![node("cp-01", true)]);
    assert_eq!(condition(&world, kind::READY).1, "WaitingForNodes");
    world.observed.workload = answers(vec![node("cp-01", true), node("w-01", true)]);
    let plan = world.step();
    assert_eq!(plan.status.phase, Some(Phase::Ready));
    assert_eq!(plan.status.data_plane_ready.as_deref(), Some("1/1"));
    assert_eq!(
        plan.status.kubeconfig_secret.as_deref(),
        Some("home-kubeconfig")
    );
    assert_eq!(plan.look_again, Intervals::default().ready);
    world.observed.workload = answers(vec![node("cp-01", true), node("w-01", false)]);
    assert_eq!(world.plan().status.phase, Some(Phase::ControlPlaneReady));
    assert_eq!(condition(&world, kind::NODES_HEALTHY).0, "False");
}

#[test]
fn a_worker_that_is_no_longer_wanted_leaves_when_all_others_are_well() {
    let mut world = World::new(
        named(&["cp-01"]),
        Some(named(&["w-01", "w-02"])),
        &["cp-01", "w-01", "w-02"],
    )
    .applied();
    world.observed.cluster.spec.data_plane = Some(named(&["w-01"]));
    let seen = run(&mut world);
    assert_eq!(
        seen,
        [
            "stage cp-01",
            "stage w-01",
            "update w-01",
            "settle w-01",
            "update cp-01",
            "settle cp-01",
            "remove w-02"
        ]
    );
    world.finish_removal("w-02");
    assert_eq!(words(&world), ["release w-02"]);
}

#[test]
fn the_configuration_of_a_machine_that_is_no_more_is_deleted_and_the_total_stays() {
    let mut world = World::new(
        named(&["cp-01"]),
        Some(chosen("w", 2)),
        &["cp-01", "w-01", "w-02"],
    )
    .applied();
    world.observed.machines.remove(&name("w-02"));
    // It may have a Node until the cluster says that there is none.
    assert_eq!(words(&world), ["stage cp-01", "stage w-01"]);
    world.observed.workload = answers(vec![]);
    assert!(
        words(&world).contains(&"remove w-02".to_owned()),
        "{:?}",
        words(&world)
    );
    assert_eq!(world.plan().status.data_plane.unwrap().total, 2);
    assert_eq!(
        condition(&world, kind::MACHINES_SELECTED).1,
        "NotEnoughMachines"
    );
}

#[test]
fn a_join_token_that_cannot_be_used_stops_creation() {
    let mut world = World::of_one_control_plane();
    world.step();
    world.observed.join_token = OwnedSecret::Unusable(Problem {
        reason: ClusterReason::SecretNotFound,
        message: "Secret default/home-join-token has no key \"token\"".to_owned(),
        needs_change: true,
    });
    assert_eq!(words(&world), [""; 0]);
    assert_eq!(condition(&world, kind::READY).1, "SecretNotFound");
}

#[test]
fn the_transition_time_of_a_condition_changes_with_its_status_only() {
    let mut world = World::of_one_control_plane().applied();
    let time = |world: &World| {
        let status = world.observed.cluster.status.as_ref().unwrap();
        condition::find(&status.conditions, kind::READY)
            .unwrap()
            .last_transition_time
            .clone()
    };
    let before = time(&world);
    let later = super::plan(&world.observed, &Intervals::default(), at(5000));
    world.observed.cluster.status = Some(later.status.clone());
    assert_eq!(time(&world), before);
    let again = super::plan(&world.observed, &Intervals::default(), at(6000));
    assert_eq!(
        again.status, later.status,
        "an unchanged world gives an unchanged status"
    );
}

#[test]
fn a_deletion_in_the_middle_of_a_creation_finds_everything_without_the_status() {
    let mut world = World::of_one_control_plane_and_one_worker();
    for _ in 0..3 {
        world.step();
    }
    world.observed.cluster.status = None;
    world.observed.cluster.metadata.deletion_timestamp = Some(
        k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(900)),
    );
    assert_eq!(words(&world), ["remove w-01"]);
    assert_eq!(world.plan().status.phase, Some(Phase::Deleting));
}

#[test]
fn a_kubeconfig_problem_is_told() {
    let mut world = World::of_one_control_plane().applied();
    world.observed.kubeconfig = KubeconfigState::Missing(Some(Problem {
        reason: ClusterReason::KubeconfigNotFound,
        message: "cp-01: none of the known paths".to_owned(),
        needs_change: false,
    }));
    assert_eq!(
        condition(&world, kind::KUBECONFIG_AVAILABLE).1,
        "KubeconfigNotFound"
    );
    let look_again =
        |second| super::plan(&world.observed, &Intervals::default(), at(second)).look_again;
    assert_eq!(look_again(1010), Intervals::default().starting);
    assert_eq!(
        look_again(5000),
        Intervals::default().unready,
        "it has long been so"
    );
}
