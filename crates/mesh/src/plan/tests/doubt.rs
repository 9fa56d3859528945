//! Nothing is deleted on doubt, and of whom there is doubt nothing is changed.

use super::*;

#[test]
fn two_live_hosts_of_a_name_change_nothing() {
    let plan = of_nodes(2)
        .in_sync(1)
        .in_sync(2)
        .rule(150, "w-1", 3, 4, 91, "10.99.0.0/24")
        .host(9, "w-1", &[91])
        .plan();
    assert!(plan.is_settled());
    assert_eq!(plan.nodes[&NodeName::from("w-1")], NodeState::Ambiguous);
    assert_eq!(plan.rules[&NetworkName::from("net")].of(RuleState::Held), 2);
}

#[test]
fn two_dead_hosts_of_a_name_change_nothing() {
    let dead = |member: &mut Member| member.is_live = false;
    let world = of_nodes(1)
        .in_sync(1)
        .host(9, "w-1", &[91])
        .member(11, dead)
        .member(91, dead);
    assert!(world.plan().is_settled());
}

/// Netmaker's lists do not agree about the one host that lives: its doubles are in doubt too.
#[test]
fn doubt_about_a_host_spares_the_rules_of_its_doubles() {
    let world = of_nodes(1)
        .rule(101, "gone", 0, 1, 91, "10.42.1.0/24")
        .host(9, "w-1", &[91])
        .member(91, |member| member.is_live = false);
    let mut half_listed = world;
    half_listed.hosts[0].nodes = [11, 12].into_iter().map(id).collect();
    assert!(half_listed.plan().is_settled());
}

/// A double whose node is missing in one list looks as dead as one that is.
#[test]
fn a_double_that_is_half_there_does_not_count_as_dead() {
    let world = || of_nodes(1).in_sync(1).host(9, "w-1", &[91]);
    let mut without_member = world();
    without_member.members.retain(|member| member.id != id(91));
    let mut without_node = world();
    without_node.hosts[1].nodes = [].into();
    for world in [without_member, without_node] {
        let plan = world.rule(150, "w-1", 0, 1, 91, "10.42.1.0/24").plan();
        assert!(plan.is_settled(), "{:?}", plan.actions);
        assert_eq!(plan.nodes[&NodeName::from("w-1")], NodeState::Inconsistent);
    }
}

/// A host that says that it is in no network, while a node says that it is its own, just joined or
/// just left.
#[test]
fn a_host_whose_nodes_are_missing_keeps_its_rules() {
    let mut world = of_nodes(2).in_sync(1).in_sync(2);
    world.hosts[0].nodes = [].into();
    let plan = world.plan();
    assert!(plan.is_settled(), "{:?}", plan.actions);
    assert_eq!(plan.nodes[&NodeName::from("w-1")], NodeState::Inconsistent);
}

#[test]
fn a_node_that_two_hosts_claim_is_in_doubt() {
    let world = of_nodes(2)
        .in_sync(1)
        .in_sync(2)
        .member(11, |member| member.host = id(2));
    let plan = world.plan();
    assert!(plan.is_settled(), "{:?}", plan.actions);
}

/// A rule with several routing nodes, one of them in doubt, is left to whom it may belong.
#[test]
fn a_rule_that_is_shared_with_a_host_in_doubt_is_left_alone() {
    let shared = |rule: &mut Rule| rule.nodes = [(id(11), METRIC), (id(21), METRIC)].into();
    let world = || of_nodes(2).in_sync(1).changed(101, shared).in_sync(2);
    assert_eq!(world().actions(), ["update 101 w-1 nodes"]);
    let doubtful = world().host(9, "w-2", &[91]);
    assert_eq!(doubtful.actions(), ["create w-1 10.42.1.0/24"]);
}

/// D14: an empty or partial answer deleted every rule.
#[test]
fn d14_an_empty_list_deletes_nothing() {
    let mut without_hosts = of_nodes(3).in_sync(1).in_sync(2).in_sync(3);
    without_hosts.hosts.clear();
    without_hosts.members.clear();
    let plan = without_hosts.plan();
    assert!(plan.actions.is_empty());
    assert!(matches!(
        plan.withheld,
        Some((Withheld::EmptyList("hosts of Netmaker"), _))
    ));

    let mut without_nodes = of_nodes(3).in_sync(1).in_sync(2).in_sync(3);
    without_nodes.nodes.clear();
    let plan = without_nodes.plan();
    assert!(plan.actions.is_empty());
    assert!(matches!(
        plan.withheld,
        Some((Withheld::EmptyList("Nodes of Kubernetes"), _))
    ));

    // Hosts without their nodes, and nodes without their hosts.
    let mut without_members = of_nodes(3).in_sync(1).in_sync(2).in_sync(3);
    without_members.members.clear();
    assert!(without_members.plan().actions.is_empty());
    let mut without_hosts = of_nodes(3).in_sync(1).in_sync(2).in_sync(3);
    without_hosts.hosts.truncate(1);
    assert!(without_hosts.plan().is_settled());
}

/// D14: no pass deletes more than it may.
#[test]
fn d14_too_many_deletions_are_none() {
    let gone = |count: u128, gone: u128| {
        let world = (1..=count).fold(of_nodes(count), World::in_sync);
        (1..=gone).fold(world, |world, number| {
            world
                .without_node(&format!("w-{number}"))
                .without_host(number)
        })
    };
    assert_eq!(gone(12, 6).actions().len(), 6);
    let plan = gone(12, 7).plan();
    assert!(plan.actions.is_empty());
    let (reason, deletions) = plan.withheld.expect("a reason");
    assert_eq!(
        reason,
        Withheld::TooMany {
            deletions: 7,
            ours: 12,
            allowed: 6
        }
    );
    assert_eq!(deletions.len(), 7);
    let mut allowed = gone(12, 7);
    allowed.policy.max_deletes = Share::ALL;
    assert_eq!(allowed.actions().len(), 7);
    assert_eq!(gone(10, 9).actions().len(), 9);
}

/// What is needed is written even when deletions are withheld.
#[test]
fn withheld_deletions_keep_nobody_waiting() {
    let world = (2..=13).fold(of_nodes(13), World::in_sync);
    let world = (3..=13).fold(world, |world, number| {
        world.without_node(&format!("w-{number}"))
    });
    let plan = world.plan();
    assert!(plan.withheld.is_some());
    assert_eq!(plan.actions.len(), 1);
}

#[test]
fn a_young_node_without_cidrs_or_host_keeps_its_rules() {
    let without_cidrs = || of_nodes(2).in_sync(1).in_sync(2).node("w-1", &[]);
    assert!(without_cidrs().young("w-1").plan().is_settled());
    assert_eq!(without_cidrs().actions(), ["delete 101 Leftover"]);
    let without_host = || of_nodes(2).in_sync(1).in_sync(2).without_host(1);
    assert!(without_host().young("w-1").plan().is_settled());
    assert_eq!(without_host().actions(), ["delete 101 HostGone"]);
}

#[test]
fn a_cidr_that_is_none_changes_nothing() {
    let mut world = of_nodes(2).in_sync(1).in_sync(2);
    let node = world.nodes.get_mut("w-1").expect("a Node");
    node.cidrs = Cidrs::Unreadable("10.42".into());
    let plan = world.plan();
    assert!(plan.is_settled());
    assert_eq!(
        plan.nodes[&NodeName::from("w-1")],
        NodeState::UnreadableCidrs
    );
}
