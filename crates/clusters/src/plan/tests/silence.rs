//! What is said and done of a cluster that does not answer, or has not for long.

use nico_api::kubernetes_cluster::{Phase, conditions as kind};

use super::{condition, push, words};
use crate::fixtures::{World, answers, at};
use crate::observed::{Node, View, Workload};

/// A Node of a machine that is well.
fn well(name: &str) -> Node {
    Node {
        name: name.to_owned(),
        ready: true,
        ..Node::default()
    }
}

/// A cluster of one control plane that is Ready, and what its Node says.
fn solo() -> (World, Vec<Node>) {
    let mut world = World::of_one_control_plane().applied().with_secrets();
    let nodes = vec![well("cp-01")];
    world.observed.workload = answers(nodes.clone());
    world.step();
    (world, nodes)
}

/// No answer since `since`, where it is second 1000.
fn silent(since: i64, last_nodes: Option<Vec<Node>>) -> Workload {
    Workload::Unreachable {
        is_refusal: false,
        since: at(since),
        last_nodes,
        message: "refused".to_owned(),
    }
}

/// Those that hang on what the new cluster says.
const OF_THE_CLUSTER: [&str; 3] = [kind::READY, kind::CONTROL_PLANE_READY, kind::NODES_HEALTHY];

fn assert_all(world: &World, expected: (&str, &str)) {
    for kind in OF_THE_CLUSTER {
        let (truth, reason, message) = condition(world, kind);
        assert!(
            truth == expected.0 && (expected.1.is_empty() || reason == expected.1),
            "{kind}: {truth} {reason} {message}"
        );
    }
}

#[test]
fn a_cluster_that_is_silent_for_a_minute_is_ready_no_more_and_keeps_its_phase() {
    let (mut world, nodes) = solo();
    for (since, last_nodes, expected) in [
        (941, Some(nodes.clone()), ("True", "")),
        (941, None, ("True", "")),
        (940, Some(nodes), ("Unknown", "ClusterUnreachable")),
        (940, None, ("Unknown", "ClusterUnreachable")),
    ] {
        world.observed.workload = silent(since, last_nodes);
        assert_all(&world, expected);
        assert_eq!(world.plan().status.phase, Some(Phase::Ready));
    }
    push(&mut world, "b");
    assert_eq!(words(&world), ["stage cp-01"]);
    world.step();
    world.apply_all();
    assert_eq!(words(&world), [""; 0], "no step is taken on doubt");
}

#[test]
fn an_operator_that_starts_while_a_cluster_is_silent_does_not_call_it_ready() {
    let (mut world, _) = solo();
    world.observed.workload = silent(900, None);
    world.step();
    // It has asked once, and knows no earlier answer.
    world.observed.workload = silent(1000, None);
    assert_all(&world, ("Unknown", "ClusterUnreachable"));
    assert_eq!(world.plan().status.phase, Some(Phase::Ready));
}

#[test]
fn a_cluster_is_ready_only_once_its_nodes_were_seen() {
    let world = World::of_one_control_plane().applied();
    assert_eq!(
        world.plan().status.phase,
        Some(Phase::ControlPlaneReady),
        "no kubeconfig yet"
    );
    assert_eq!(world.plan().status.revision, None);
    let mut world = world.with_secrets();
    world.observed.workload = silent(990, None);
    for _ in 0..2 {
        assert_eq!(condition(&world, kind::READY).0, "Unknown");
        assert_eq!(condition(&world, kind::NODES_HEALTHY).0, "Unknown");
        assert_eq!(world.plan().status.phase, Some(Phase::ControlPlaneReady));
        world.step();
    }
    world.observed.workload = answers(vec![well("cp-01")]);
    let plan = world.step();
    assert_all(&world, ("True", ""));
    assert_eq!(plan.status.phase, Some(Phase::Ready));
    assert!(plan.status.revision.is_some());
}

#[test]
fn what_a_cluster_says_first_after_a_long_silence_is_not_relied_on() {
    let (mut world, nodes) = solo();
    world.observed.workload = silent(900, Some(nodes.clone()));
    world.step();
    let back = |since, nodes: &[Node]| {
        Workload::Answers(View {
            nodes: nodes.to_vec(),
            back_since: Some(at(since)),
            ..View::default()
        })
    };
    world.observed.workload = back(911, &nodes);
    assert_all(&world, ("Unknown", "ClusterUnreachable"));
    let (_, _, message) = condition(&world, kind::READY);
    assert!(
        message.contains("again only since 1970-01-01T00:15:11Z"),
        "{message}"
    );
    assert_eq!(world.plan().status.phase, Some(Phase::Ready));
    let mut down = nodes.clone();
    down[0].ready = false;
    world.observed.workload = back(911, &down);
    assert_all(&world, ("False", ""));

    push(&mut world, "b");
    world.observed.workload = back(911, &nodes);
    world.step();
    world.apply_all();
    assert_eq!(words(&world), [""; 0], "no step is taken on doubt");
    world.observed.workload = back(910, &nodes);
    assert_eq!(words(&world), ["update cp-01"]);
}
