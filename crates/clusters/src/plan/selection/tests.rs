//! The rules of selection, one by one.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelectorRequirement, Time};
use nico_api::condition::{self, Truth};
use nico_api::machine::conditions::NEEDS_CLEANUP;
use nico_api::reason::ClusterReason;

use super::{Selection, select};
use crate::fixtures::{World, at, chosen, named};
use crate::observed::Rival;
use crate::role::Role;

fn claims(selection: &Selection) -> Vec<&str> {
    selection
        .claims
        .iter()
        .map(|(name, _)| name.as_str())
        .collect()
}

fn selected(world: &World) -> Selection {
    select(&world.observed)
}

/// Claims what the selection says, until it says no more.
fn settle(world: &mut World) -> Selection {
    loop {
        let selection = selected(world);
        if selection.claims.is_empty() && selection.releases.is_empty() {
            return selection;
        }
        for name in &selection.releases {
            world.release(name.as_str());
        }
        for (name, role) in &selection.claims {
            world.claim(name.as_str(), *role);
        }
    }
}

fn members(selection: &Selection, role: Role) -> Vec<String> {
    let plane = match role {
        Role::ControlPlane => &selection.control_plane,
        Role::Worker => &selection.workers,
    };
    plane.members.iter().map(ToString::to_string).collect()
}

fn rival(name: &str, created: i64) -> Rival {
    Rival {
        uid: format!("{name}-uid"),
        created: at(created),
        control_plane: named(&["m-1", "m-2", "m-3"]),
        data_plane: chosen("none", 0),
        started: false,
    }
}

#[test]
fn named_machines_are_taken_exactly_and_in_their_order() {
    let mut world = World::new(
        named(&["cp-03", "cp-01"]),
        None,
        &["cp-01", "cp-02", "cp-03"],
    );
    assert_eq!(
        members(&settle(&mut world), Role::ControlPlane),
        ["cp-03", "cp-01"]
    );
}

#[test]
fn a_selector_chooses_by_name_as_many_as_count_says() {
    let mut world = World::new(
        chosen("cp", 1),
        Some(chosen("w", 2)),
        &["cp-02", "cp-01", "w-3", "w-1", "w-2"],
    );
    let selection = settle(&mut world);
    assert_eq!(members(&selection, Role::ControlPlane), ["cp-01"]);
    assert_eq!(members(&selection, Role::Worker), ["w-1", "w-2"]);
}

#[test]
fn match_expressions_count() {
    let mut plane = chosen("w", 2);
    plane.machine_selector.as_mut().unwrap().match_expressions =
        Some(vec![LabelSelectorRequirement {
            key: "disk".to_owned(),
            operator: "NotIn".to_owned(),
            values: Some(vec!["small".to_owned()]),
        }]);
    let mut world = World::new(
        named(&["cp-01"]),
        Some(plane),
        &["cp-01", "w-1", "w-2", "w-3"],
    );
    world.change("w-1", |machine| {
        machine
            .metadata
            .labels
            .as_mut()
            .unwrap()
            .insert("disk".to_owned(), "small".to_owned());
    });
    assert_eq!(members(&settle(&mut world), Role::Worker), ["w-2", "w-3"]);
}

#[test]
fn only_machines_that_are_free_and_fit_are_chosen() {
    type Change = fn(&mut World);
    let unfit: &[(&str, Change)] = &[
        ("1 not discoverable", |world| {
            world.change("w-1", |m| {
                m.status.as_mut().unwrap().discoverable = Some(false);
            });
        }),
        ("1 in use", |world| {
            world.change("w-1", |m| {
                m.status.as_mut().unwrap().has_configuration = Some(true);
            });
        }),
        ("1 in use", |world| {
            world.claim_for("w-1", Role::Worker, "other");
        }),
        ("1 in maintenance", |world| {
            world.change("w-1", |m| m.spec.maintenance = true);
        }),
        ("1 being deleted", |world| {
            world.change("w-1", |m| m.metadata.deletion_timestamp = Some(Time(at(1))));
        }),
        ("1 in need of cleanup", |world| {
            world.change("w-1", |m| {
                let conditions = &mut m.status.as_mut().unwrap().conditions;
                condition::set(
                    conditions,
                    NEEDS_CLEANUP,
                    Truth::True,
                    "RemovalForced",
                    "",
                    None,
                    at(1),
                );
            });
        }),
    ];
    for (expected, change) in unfit {
        let mut world = World::new(
            named(&["cp-01"]),
            Some(chosen("w", 2)),
            &["cp-01", "w-1", "w-2"],
        );
        change(&mut world);
        let selection = settle(&mut world);
        assert_eq!(members(&selection, Role::Worker), ["w-2"]);
        let shortage = selection.workers.shortage.unwrap();
        assert_eq!(shortage.reason, ClusterReason::NotEnoughMachines);
        assert!(
            shortage.message.contains(expected),
            "{} should say {expected}",
            shortage.message
        );
    }
}

#[test]
fn why_machines_were_passed_over_is_counted() {
    let machines = ["cp-01", "w-1", "w-2", "w-3", "w-4", "w-5"];
    let mut world = World::new(named(&["cp-01"]), Some(chosen("w", 3)), &machines);
    for machine in ["w-1", "w-2"] {
        world.claim_for(machine, Role::Worker, "other");
    }
    world.change("w-3", |machine| machine.spec.maintenance = true);
    world.change("w-4", |machine| {
        machine.status.as_mut().unwrap().discoverable = Some(false);
    });
    assert_eq!(
        settle(&mut world).workers.shortage.unwrap().message,
        "data plane: 1 of 3 machines; 5 match the selector, 1 of them usable: 2 in use, 1 in maintenance, 1 not discoverable"
    );
}

#[test]
fn machines_that_were_chosen_stay_in_their_order_when_better_ones_appear() {
    let mut world = World::new(chosen("cp", 2), None, &["cp-02", "cp-03"]);
    world.step();
    world.step();
    let mut more = World::new(chosen("cp", 2), None, &["cp-01"]);
    world.observed.machines.append(&mut more.observed.machines);
    world.change("cp-02", |machine| {
        machine.status.as_mut().unwrap().discoverable = Some(false);
    });
    assert_eq!(
        members(&settle(&mut world), Role::ControlPlane),
        ["cp-02", "cp-03"]
    );
}

#[test]
fn another_selector_counts_for_those_that_are_still_to_be_chosen() {
    let machines = ["cp-01", "fast-01", "fast-02", "w-01", "w-02"];
    let mut world = World::new(named(&["cp-01"]), Some(chosen("w", 2)), &machines).applied();
    for (count, expected) in [(3, &["w-01", "w-02", "fast-01"][..]), (1, &["w-01"])] {
        world.observed.cluster.spec.data_plane = Some(chosen("fast", count));
        world.step();
        world.step();
        let selection = selected(&world);
        assert_eq!(members(&selection, Role::Worker), expected);
    }
}

#[test]
fn a_missing_machine_is_replaced_at_the_end() {
    let mut world = World::new(chosen("cp", 2), None, &["cp-01", "cp-02", "cp-03"]).applied();
    world
        .observed
        .machines
        .remove(&crate::fixtures::name("cp-01"));
    assert_eq!(
        members(&settle(&mut world), Role::ControlPlane),
        ["cp-02", "cp-03"]
    );
}

#[test]
fn nothing_is_claimed_while_the_control_plane_cannot_be_complete() {
    let world = World::new(
        named(&["cp-01", "cp-02"]),
        Some(chosen("w", 1)),
        &["cp-01", "w-1"],
    );
    let selection = selected(&world);
    assert_eq!(selection.claims, []);
    let shortage = selection.control_plane.shortage.unwrap();
    assert_eq!(shortage.reason, ClusterReason::MachineNotFound);
    assert!(
        shortage.message.contains("cp-02 does not exist"),
        "{}",
        shortage.message
    );
}

#[test]
fn workers_are_claimed_once_the_control_plane_is_held_and_do_not_hold_it_back() {
    let mut world = World::new(
        named(&["cp-01"]),
        Some(named(&["w-1", "w-2"])),
        &["cp-01", "w-1"],
    );
    assert_eq!(claims(&selected(&world)), ["cp-01"]);
    world.claim("cp-01", Role::ControlPlane);
    assert_eq!(claims(&selected(&world)), ["w-1"]);
    let selection = settle(&mut world);
    assert!(selection.control_plane.is_complete());
    assert_eq!(
        selection.workers.shortage.unwrap().reason,
        ClusterReason::MachineNotFound
    );
}

#[test]
fn a_named_machine_of_another_cluster_is_reported_with_that_cluster() {
    let mut world = World::new(named(&["cp-01"]), None, &["cp-01"]);
    world.claim_for("cp-01", Role::Worker, "other");
    let shortage = selected(&world).control_plane.shortage.unwrap();
    assert_eq!(shortage.reason, ClusterReason::MachineInUse);
    assert!(
        shortage
            .message
            .contains("cp-01 is claimed by cluster other"),
        "{}",
        shortage.message
    );
}

#[test]
fn a_claim_of_a_cluster_that_is_no_more_does_not_count() {
    let mut world = World::new(named(&["cp-01"]), None, &["cp-01"]);
    world.claim_for("cp-01", Role::Worker, "other");
    world.observed.gone_clusters.insert("other-uid".to_owned());
    assert_eq!(claims(&selected(&world)), ["cp-01"]);
}

#[test]
fn a_cluster_that_was_made_again_does_not_inherit_the_claims_of_the_old_one() {
    let mut world = World::new(named(&["cp-01"]), None, &["cp-01"]);
    world.claim("cp-01", Role::ControlPlane);
    world.observed.cluster.metadata.uid = Some("new-uid".to_owned());
    assert_eq!(members(&selected(&world), Role::ControlPlane), [""; 0]);
}

#[test]
fn the_elder_waits_for_what_the_younger_gives_back_and_the_younger_gives_it_back() {
    let machines = ["m-1", "m-2", "m-3"];
    let mut world = World::new(named(&machines), None, &machines);
    world.claim("m-1", Role::ControlPlane);
    world.claim_for("m-2", Role::ControlPlane, "other");
    world.observed.rivals = vec![rival("other", 200)];
    let elder = selected(&world);
    assert_eq!((elder.claims, elder.releases), (vec![], vec![]));
    assert_eq!(
        elder.control_plane.shortage.unwrap().reason,
        ClusterReason::ClaimContended
    );

    world.observed.rivals = vec![rival("other", 50)];
    let younger = selected(&world);
    assert_eq!(younger.releases, [crate::fixtures::name("m-1")]);
    assert_eq!(younger.claims, []);
    assert_eq!(members(&selected(&world), Role::ControlPlane), [""; 0]);
}

#[test]
fn a_cluster_that_has_started_gives_nothing_back() {
    let machines = ["m-1", "m-2", "m-3"];
    let mut world = World::new(named(&machines), None, &machines).applied();
    world.release("m-3");
    world.claim_for("m-3", Role::Worker, "other");
    world.observed.rivals = vec![rival("other", 50)];
    let selection = selected(&world);
    assert_eq!(selection.releases, []);
    assert_eq!(members(&selection, Role::ControlPlane), ["m-1", "m-2"]);
}

#[test]
fn the_first_control_plane_machine_stays_when_the_count_is_lowered() {
    let mut world = World::new(chosen("cp", 3), None, &["cp-01", "cp-02", "cp-03"]).applied();
    world.observed.cluster.spec.control_plane.count = Some(1);
    let selection = selected(&world);
    assert_eq!(members(&selection, Role::ControlPlane), ["cp-01"]);
    assert_eq!(selection.control_plane.leaving.len(), 2);
    assert_eq!(selection.releases, [], "they still carry configurations");
}

#[test]
fn a_selector_that_cannot_be_used_is_said_so() {
    let mut plane = chosen("w", 1);
    plane.machine_selector.as_mut().unwrap().match_expressions =
        Some(vec![LabelSelectorRequirement {
            key: "disk".to_owned(),
            operator: "Near".to_owned(),
            values: None,
        }]);
    let world = World::new(plane, None, &["w-1"]);
    assert_eq!(
        selected(&world).control_plane.shortage.unwrap().reason,
        ClusterReason::InvalidSpec
    );
}
