//! Nodes are emptied before they change.

use super::*;

#[test]
fn a_worker_is_drained_before_it_changes_and_takes_pods_again_afterwards() {
    let mut case = Case::of(&["cp-01 current ready", "w-01 staged ready"]).drained();
    assert_eq!(case.moves(), ["drain w-01"]);
    case = Case::of(&["cp-01 current ready", "w-01 draining ready"]).drained();
    assert_eq!(case.moves(), NOTHING, "its Pods are not known yet");
    case.view()
        .draining
        .insert("w-01".to_owned(), vec![pod("db-0")]);
    assert_eq!(case.moves(), ["evict w-01"]);
    let held = DrainedPod {
        held_by: Some("db".to_owned()),
        ..pod("db-0")
    };
    case.view().draining.insert("w-01".to_owned(), vec![held]);
    assert_eq!(case.moves(), NOTHING);
    assert_eq!(case.step().state, State::DrainBlocked);
    assert!(case.step().waits_for[0].contains("PodDisruptionBudget db"));
    case.view().draining.insert("w-01".to_owned(), vec![]);
    assert_eq!(case.moves(), ["activate w-01"]);
    let mut back = member("w-01 arrived ready");
    back.seen.as_mut().unwrap().drain = Some(Drain {
        since: at(NOW - 10),
        attempt: ATTEMPT.to_owned(),
        cordoned: true,
    });
    case.members[1] = back;
    assert_eq!(case.moves(), ["settle w-01", "restore w-01"]);
}

#[test]
fn a_drain_that_takes_too_long_stops_the_rollout_with_the_node_as_it_was() {
    let mut case = Case::of(&["cp-01 current ready", "w-01 draining ready"]).drained();
    let held = DrainedPod {
        namespace: "default".to_owned(),
        name: "db-0".to_owned(),
        uid: "u".to_owned(),
        is_leaving: false,
        has_empty_dir: true,
        held_by: Some("db".to_owned()),
    };
    case.view().draining.insert("w-01".to_owned(), vec![held]);
    let seen = case.members[1].seen.as_mut().unwrap();
    seen.drain.as_mut().unwrap().since = at(NOW - 301);
    assert_eq!(case.moves(), ["note failure w-01"]);
    case.members[1].marks.failure = Some(Failure {
        attempt: ATTEMPT.to_owned(),
        ..Failure::default()
    });
    assert_eq!(case.moves(), ["restore w-01"]);
    assert!(matches!(case.step().state, State::Failed { .. }));
}

#[test]
fn a_control_plane_is_drained_only_if_it_runs_pods_that_another_node_can_take() {
    let mut case = Case::of(&["cp-01 staged ready", "cp-02 current ready"]).drained();
    assert_eq!(case.moves(), ["activate cp-01"], "it repels Pods");
    case.members[0].seen.as_mut().unwrap().repels_pods = false;
    assert_eq!(
        case.moves(),
        ["activate cp-01"],
        "the other one repels Pods"
    );
    case.view().nodes[1].repels_pods = false;
    assert_eq!(case.moves(), ["drain cp-01"]);
}
