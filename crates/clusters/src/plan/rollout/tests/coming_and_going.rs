//! Machines that leave a cluster that goes on, and those that join it.

use super::*;

#[test]
fn a_machine_leaves_when_all_others_run_what_is_wanted_and_alone() {
    let leaving = |lines: &[&str], leaving: &[&str]| Case::of(lines).leaving(leaving).moves();
    let settled = ["cp-01 current ready", "w-01 current ready"];
    let two = ["w-02 current ready", "w-03 current ready"];
    assert_eq!(leaving(&settled, &two), ["remove w-02"]);
    let changing = ["cp-01 current ready", "w-01 staged ready"];
    assert_eq!(leaving(&changing, &two), ["activate w-01"]);
    let down = ["cp-01 current ready", "w-01 current down"];
    assert_eq!(leaving(&down, &two), NOTHING);
}

#[test]
fn a_machine_that_leaves_is_drained_before_its_configuration_is_taken_off() {
    let settled = ["cp-01 current ready", "w-01 current ready"];
    let case = Case::of(&settled).drained();
    let before = case.leaving(&["w-02 current ready"]);
    assert_eq!(before.moves(), ["drain w-02"]);
    let state = State::Leaving {
        is_drain_blocked: false,
    };
    assert_eq!(before.step().state, state);

    let draining = |pods| {
        let mut case = Case::of(&settled)
            .drained()
            .leaving(&["w-02 draining ready"]);
        case.view().draining.insert("w-02".to_owned(), pods);
        case
    };
    assert_eq!(draining(vec![pod("a")]).moves(), ["evict w-02"]);
    let held = DrainedPod {
        held_by: Some("budget".to_owned()),
        ..pod("a")
    };
    let held = draining(vec![held]);
    assert_eq!(held.moves(), NOTHING, "however long it takes");
    let step = held.step();
    let state = State::Leaving {
        is_drain_blocked: true,
    };
    assert_eq!(step.state, state);
    assert!(
        step.waits_for[0].contains("PodDisruptionBudget budget"),
        "{step:?}"
    );
    assert_eq!(draining(vec![]).moves(), ["remove w-02"]);
}

#[test]
fn a_machine_that_is_down_or_has_no_machine_waits_for_nobody() {
    let changing = ["cp-01 current ready", "w-01 changing ready"];
    let moves = |leaving: &[&str]| Case::of(&changing).leaving(leaving).moves();
    assert_eq!(moves(&["w-02 current ready"]), NOTHING);
    assert_eq!(moves(&["w-02 current down"]), ["remove w-02"]);
    assert_eq!(
        moves(&["gone w-02 current ready"]),
        ["delete node of w-02", "remove w-02"]
    );
    let silent = Case::of(&changing).leaving(&["w-02 current down"]).silent();
    assert_eq!(silent.moves(), NOTHING, "nobody can say that it is down");
}

#[test]
fn a_control_plane_leaves_the_cluster_before_it_goes_down_and_only_if_the_quorum_bears_it() {
    let healthy = |member| (member, true);
    let moves = |lines: &[&str], leaving: &[&str], etcd: &[(&str, bool)]| {
        Case::of(lines).leaving(leaving).etcd(etcd).moves()
    };
    let two = ["cp-01 current ready", "cp-02 current ready"];
    let goes = ["delete node of cp-03", "remove cp-03"];
    let all = ["cp-01", "cp-02", "cp-03"].map(healthy);
    assert_eq!(moves(&two, &["cp-03 current ready"], &all), goes);
    let one_is_ill = [healthy("cp-01"), ("cp-02", false), healthy("cp-03")];
    assert_eq!(moves(&two, &["cp-03 current ready"], &one_is_ill), NOTHING);
    assert_eq!(
        moves(&two, &["cp-03 current down"], &one_is_ill),
        NOTHING,
        "one of two is no quorum"
    );
    let it_is_ill = [healthy("cp-01"), healthy("cp-02"), ("cp-03", false)];
    assert_eq!(moves(&two, &["cp-03 current down"], &it_is_ill), goes);
    let two_leave = ["cp-03 current ready", "cp-04 current ready"];
    assert_eq!(moves(&two, &two_leave, &[]), goes, "one at a time");
    let in_hand = ["cp-01 current ready", "cp-02 changing down"];
    assert_eq!(moves(&in_hand, &["cp-03 current down"], &[]), NOTHING);
}

#[test]
fn a_paused_cluster_lets_nobody_go_but_whom_it_is_draining() {
    let paused = |leaving: &str| {
        let mut case = Case::of(&["cp-01 current ready"])
            .drained()
            .leaving(&[leaving]);
        case.paused = true;
        case.view().draining.insert("w-02".to_owned(), vec![]);
        case.moves()
    };
    assert_eq!(paused("w-02 current ready"), NOTHING);
    assert_eq!(paused("w-02 draining ready"), ["remove w-02"]);
}

#[test]
fn nobody_joins_with_a_newer_kubernetes_than_the_control_planes_run() {
    let with_versions = |runs: Option<&str>, wanted: Option<&str>| {
        let mut case = Case::of(&["cp-01 staged ready", "cp-02 none down", "w-01 none down"]);
        case.members[0].configuration = ConfigurationState::Staged(wanted.map(ToOwned::to_owned));
        let node = case.members[0].seen.as_mut().unwrap();
        node.kubelet_version = runs.map(ToOwned::to_owned);
        case.moves()
    };
    let all_join = ["create cp-02", "create w-01"];
    let first = with_versions(Some("v1.31.4+k3s1"), Some("1.32.0"));
    assert_eq!(first, ["activate cp-01"], "those that are there go first");
    let same = with_versions(Some("v1.31.4+k3s1"), Some("1.31.9"));
    assert_eq!(same[..2], all_join);
    assert_eq!(with_versions(None, Some("1.32.0")), ["activate cp-01"]);
    assert_eq!(with_versions(Some("v1.31.4"), None), ["activate cp-01"]);
    let current = ["cp-01 current ready", "cp-02 none down", "w-01 none down"];
    assert_eq!(moves(&current), all_join);
}
