//! The rules of planning, as tables.

mod doubt;
mod properties;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::nodes::{Cidrs, KubeNode};
use crate::ownership;

const NOW: i64 = 1_800_000_000;

/// An edit by hand.
type Change = fn(&mut Rule);

/// A mesh in the making. Ids are numbers.
struct World {
    nodes: BTreeMap<NodeName, KubeNode>,
    hosts: Vec<Host>,
    members: Vec<Member>,
    networks: Vec<NetworkName>,
    rules: Vec<Rule>,
    policy: Policy,
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn net(text: &str) -> IpNet {
    text.parse().expect("a range")
}

fn cluster() -> Cluster {
    Cluster::new("prod").expect("a name")
}

fn world() -> World {
    World {
        nodes: BTreeMap::new(),
        hosts: Vec::new(),
        members: Vec::new(),
        networks: vec!["net".into()],
        rules: Vec::new(),
        policy: Policy {
            cluster: cluster(),
            cidrs: Vec::new(),
            max_deletes: Share::HALF,
        },
    }
}

/// `w-1` is member 11 of host 1, with 10.42.1.0/24; and so on.
fn of_nodes(count: u128) -> World {
    (1..=count).fold(world(), |world, number| {
        world
            .node(&format!("w-{number}"), &[&format!("10.42.{number}.0/24")])
            .host(number, &format!("w-{number}"), &[number * 10 + 1])
    })
}

impl World {
    fn node(mut self, name: &str, cidrs: &[&str]) -> Self {
        let node = KubeNode {
            cidrs: Cidrs::Known(cidrs.iter().map(|cidr| net(cidr)).collect()),
            created: Timestamp::UNIX_EPOCH,
        };
        self.nodes.insert(name.into(), node);
        self
    }

    fn young(mut self, name: &str) -> Self {
        let node = self.nodes.get_mut(name).expect("a Node");
        node.created = Timestamp::from_second(NOW - 60).expect("a time");
        self
    }

    fn host(mut self, number: u128, name: &str, members: &[u128]) -> Self {
        self.hosts.push(Host {
            id: id(number),
            name: name.into(),
            nodes: members.iter().copied().map(id).collect(),
        });
        for member in members {
            self.members.push(Member {
                id: id(*member),
                host: id(number),
                network: "net".into(),
                is_leaving: false,
                is_live: true,
            });
        }
        self
    }

    fn member(mut self, number: u128, change: impl FnOnce(&mut Member)) -> Self {
        let member = self
            .members
            .iter_mut()
            .find(|member| member.id == id(number));
        change(member.expect("a member"));
        self
    }

    /// A rule just as it should be, made at `number` seconds.
    fn rule(
        mut self,
        number: u128,
        node: &str,
        index: usize,
        count: usize,
        member: u128,
        range: &str,
    ) -> Self {
        self.rules.push(Rule {
            id: id(number),
            network: "net".into(),
            name: ownership::rule_name(&node.into(), index, count).into(),
            owner: Owner::of(&cluster().description(index), &cluster()),
            range: Some(net(range)),
            nodes: [(id(member), METRIC)].into(),
            has_more: false,
            nat: false,
            is_on: true,
            created: Timestamp::from_second(i64::try_from(number).expect("a time"))
                .expect("a time"),
        });
        self
    }

    fn in_sync(self, number: u128) -> Self {
        let (node, range) = (format!("w-{number}"), format!("10.42.{number}.0/24"));
        self.rule(100 + number, &node, 0, 1, number * 10 + 1, &range)
    }

    fn changed(mut self, number: u128, change: impl FnOnce(&mut Rule)) -> Self {
        let rule = self.rules.iter_mut().find(|rule| rule.id == id(number));
        change(rule.expect("a rule"));
        self
    }

    fn without_node(mut self, name: &str) -> Self {
        self.nodes.remove(name);
        self
    }

    fn without_host(mut self, number: u128) -> Self {
        self.hosts.retain(|host| host.id != id(number));
        self.members.retain(|member| member.host != id(number));
        self
    }

    fn plan(self) -> Plan {
        let observed = Observed {
            nodes: Arc::new(self.nodes),
            hosts: Arc::new(self.hosts),
            members: Arc::new(self.members),
            networks: self.networks,
            rules: self.rules,
        };
        plan(
            &observed,
            &self.policy,
            Timestamp::from_second(NOW).expect("a time"),
        )
    }

    /// Each action in a few words.
    fn actions(self) -> Vec<String> {
        self.plan().actions.iter().map(words).collect()
    }
}

fn words(action: &Action) -> String {
    match action {
        Action::Create(wanted) => format!("create {} {}", wanted.node, wanted.cidr),
        Action::Update {
            rule,
            wanted,
            drift,
        } => {
            let drift: Vec<&str> = drift.iter().copied().map(Drift::as_str).collect();
            format!(
                "update {} {} {}",
                rule.as_u128(),
                wanted.node,
                drift.join("+")
            )
        }
        Action::Delete(deletion) => {
            format!("delete {} {:?}", deletion.rule.as_u128(), deletion.why)
        }
    }
}

#[test]
fn each_cidr_in_each_network_of_the_host_gets_a_rule() {
    let mut world = world()
        .node("w-1", &["10.42.1.0/24", "fd00:42:1::/64"])
        .host(1, "w-1", &[11, 12])
        .member(12, |member| member.network = "other".into());
    world.networks.push("other".into());
    assert_eq!(
        world.actions(),
        [
            "create w-1 10.42.1.0/24",
            "create w-1 fd00:42:1::/64",
            "create w-1 10.42.1.0/24",
            "create w-1 fd00:42:1::/64",
        ]
    );
}

#[test]
fn a_rule_that_the_go_program_wrote_is_taken_over_without_a_write() {
    let plan = of_nodes(2).in_sync(1).in_sync(2).plan();
    assert!(plan.is_settled());
    assert_eq!(
        plan.rules[&NetworkName::from("net")].of(RuleState::InSync),
        2
    );
}

#[test]
fn a_network_that_is_not_looked_at_gets_no_rule() {
    let world = world()
        .node("w-1", &["10.42.1.0/24"])
        .host(1, "w-1", &[11, 12])
        .member(12, |member| member.network = "hidden".into());
    assert_eq!(world.actions(), ["create w-1 10.42.1.0/24"]);
}

/// D3: only the range was compared.
#[test]
fn d03_every_drift_is_repaired_in_place() {
    let cases: [(&str, Change); 9] = [
        ("name", |rule| rule.name = "mine now".into()),
        ("description", |rule| {
            rule.owner = Owner::Us {
                index: 0,
                is_exact: false,
            }
        }),
        ("range", |rule| rule.range = None),
        ("range", |rule| rule.range = Some(net("10.99.0.0/16"))),
        ("nodes", |rule| rule.nodes = [(id(11), 100)].into()),
        ("nodes", |rule| {
            rule.nodes = [(id(11), METRIC), (id(99), METRIC)].into();
        }),
        ("nat", |rule| rule.nat = true),
        ("status", |rule| rule.is_on = false),
        ("tags or domain", |rule| rule.has_more = true),
    ];
    for (drift, change) in cases {
        let actions = of_nodes(1).in_sync(1).changed(101, change).actions();
        assert_eq!(actions, [format!("update 101 w-1 {drift}")]);
    }
}

/// D4: the rule of a CIDR that the Node lost stayed, and the others were still "(1/2)".
#[test]
fn d04_fewer_cidrs_leave_no_rule_behind() {
    let world = of_nodes(1).rule(101, "w-1", 0, 2, 11, "10.42.1.0/24").rule(
        102,
        "w-1",
        1,
        2,
        11,
        "fd00:42:1::/64",
    );
    assert_eq!(
        world.actions(),
        ["update 101 w-1 name", "delete 102 Leftover"]
    );
}

/// D5: a rule whose node was taken out was never seen again.
#[test]
fn d05_a_rule_with_nobody_in_it_is_still_ours() {
    let emptied = |rule: &mut Rule| rule.nodes = [].into();
    let world = of_nodes(2).in_sync(1).in_sync(2).changed(101, emptied);
    assert_eq!(world.actions(), ["update 101 w-1 nodes"]);
    let gone = of_nodes(2)
        .in_sync(1)
        .in_sync(2)
        .changed(101, emptied)
        .without_node("w-1")
        .without_host(1);
    assert_eq!(gone.actions(), ["delete 101 NodeGone"]);
}

/// D6: a create that seemed to have failed left duplicates.
#[test]
fn d06_of_duplicates_the_oldest_stays() {
    let world = of_nodes(1)
        .rule(103, "w-1", 0, 1, 11, "10.42.1.0/24")
        .rule(101, "w-1", 0, 1, 11, "10.42.1.0/24")
        .rule(102, "w-1", 0, 1, 11, "10.99.1.0/24");
    assert_eq!(
        world.actions(),
        ["delete 103 Duplicate", "delete 102 Duplicate"]
    );
}

/// D7: a machine that was installed anew has a second host of its name, and its rules were deleted
/// as those of nobody.
#[test]
fn d07_of_two_hosts_of_a_name_the_live_one_takes_the_rules_over() {
    let world = of_nodes(1)
        .in_sync(1)
        .host(9, "w-1", &[91])
        .member(11, |member| member.is_live = false);
    assert_eq!(world.actions(), ["update 101 w-1 nodes"]);
}

/// D15: two clusters without a name deleted each other's rules.
#[test]
fn d15_rules_of_another_cluster_are_never_touched() {
    let other = |rule: &mut Rule| rule.owner = Owner::Others;
    let world = of_nodes(1)
        .in_sync(1)
        .rule(102, "w-9", 0, 1, 99, "10.42.9.0/24")
        .changed(102, other);
    assert!(world.plan().is_settled());
    let twin = of_nodes(1)
        .rule(102, "w-1", 0, 1, 11, "10.42.1.0/24")
        .changed(102, other);
    assert_eq!(twin.actions(), ["create w-1 10.42.1.0/24"]);
}

/// D20: a node that leaves counted like one that stays.
#[test]
fn d20_a_node_that_leaves_counts_no_more() {
    let leaving = |member: &mut Member| member.is_leaving = true;
    let rejoined = world()
        .node("w-1", &["10.42.1.0/24"])
        .host(1, "w-1", &[11, 12])
        .member(11, leaving)
        .in_sync(1);
    assert_eq!(rejoined.actions(), ["update 101 w-1 nodes"]);
    let left = of_nodes(1).member(11, leaving).in_sync(1);
    assert_eq!(left.actions(), ["delete 101 HostGone"]);
}

/// D21: a Node whose CNI has ranges of its own cannot be served, and nothing said so.
#[test]
fn d21_a_node_without_cidrs_is_told_apart() {
    let plan = of_nodes(2).node("w-1", &[]).plan();
    let actions: Vec<String> = plan.actions.iter().map(words).collect();
    assert_eq!(actions, ["create w-2 10.42.2.0/24"]);
    assert_eq!(plan.nodes[&NodeName::from("w-1")], NodeState::WithoutCidrs);
    assert_eq!(plan.nodes[&NodeName::from("w-2")], NodeState::Ready);
}

/// D27: rules were deleted and made again under another id, and Netmaker takes the old one out of
/// the access policies that name it.
#[test]
fn d27_a_rule_keeps_its_id_whatever_becomes_of_its_host() {
    let one = || world().node("w-1", &["10.42.1.0/24"]).in_sync(1);
    let rejoined = one().host(1, "w-1", &[12]);
    let installed_anew = one().host(9, "w-1", &[91]);
    let other_range = one().node("w-1", &["10.42.7.0/24"]).host(1, "w-1", &[11]);
    let other_name = one()
        .without_node("w-1")
        .node("w-one", &["10.42.1.0/24"])
        .host(1, "w-one", &[11]);
    for (world, drift) in [
        (rejoined, "w-1 nodes"),
        (installed_anew, "w-1 nodes"),
        (other_range, "w-1 range"),
        (other_name, "w-one name"),
    ] {
        assert_eq!(world.actions(), [format!("update 101 {drift}")]);
    }
}

/// D28: the rules of a network that was deleted stayed for good.
#[test]
fn d28_rules_of_a_network_without_nodes_go() {
    let mut world = of_nodes(2)
        .in_sync(1)
        .rule(102, "w-1", 0, 1, 77, "10.42.1.0/24");
    world.networks.push("deleted".into());
    let world = world.changed(102, |rule| rule.network = "deleted".into());
    assert_eq!(
        world.actions(),
        ["create w-2 10.42.2.0/24", "delete 102 HostGone"]
    );
}

#[test]
fn a_host_that_came_back_takes_its_rules_over() {
    let world = of_nodes(1).rule(101, "w-1", 0, 1, 5, "10.42.1.0/24");
    assert_eq!(world.actions(), ["update 101 w-1 nodes"]);
}

#[test]
fn a_node_with_another_name_takes_the_rule_of_its_range_over() {
    let world = world()
        .node("new", &["10.42.1.0/24"])
        .host(2, "new", &[21])
        .rule(101, "old", 0, 1, 11, "10.42.1.0/24");
    assert_eq!(world.actions(), ["update 101 new name+nodes"]);
}

#[test]
fn nodes_that_swap_their_cidrs_keep_their_rules() {
    let world = of_nodes(2)
        .node("w-1", &["10.42.2.0/24"])
        .node("w-2", &["10.42.1.0/24"])
        .in_sync(1)
        .in_sync(2);
    assert_eq!(
        world.actions(),
        ["update 101 w-1 range", "update 102 w-2 range"]
    );
}

/// D22: there was no way to say which ranges may be written.
#[test]
fn d22_a_cidr_outside_of_what_is_allowed_is_not_written() {
    let mut world = of_nodes(2);
    world.policy.cidrs = vec![net("10.42.2.0/23")];
    let plan = world.plan();
    assert_eq!(
        plan.actions.iter().map(words).collect::<Vec<_>>(),
        ["create w-2 10.42.2.0/24"]
    );
    assert_eq!(plan.nodes[&NodeName::from("w-1")], NodeState::Refused);
}

#[test]
fn rules_of_others_in_the_way_are_told_of_and_left_alone() {
    let others = |rule: &mut Rule| rule.owner = Owner::Others;
    let base = || of_nodes(2).in_sync(1).in_sync(2);
    for (range, overlaps) in [
        ("10.42.1.0/24", true),
        ("10.42.1.128/25", true),
        ("10.0.0.0/8", true),
        ("0.0.0.0/0", true),
        ("10.43.0.0/16", false),
        ("fd00::/8", false),
    ] {
        let plan = base()
            .rule(150, "x", 0, 1, 99, range)
            .changed(150, others)
            .plan();
        assert!(plan.is_settled(), "{range}");
        assert_eq!(!plan.overlaps.is_empty(), overlaps, "{range}");
    }
}

#[test]
fn the_same_world_gives_the_same_plan() {
    let world = || {
        of_nodes(5)
            .in_sync(2)
            .rule(110, "w-3", 0, 1, 77, "10.42.3.0/24")
    };
    assert_eq!(world().plan(), world().plan());
}

/// Applies a plan to the rules, as a server would.
fn apply(observed: &mut Observed, actions: &[Action], number: &mut u128) {
    for action in actions {
        let written = |wanted: &Wanted, rule: Uuid, created: i64| Rule {
            id: rule,
            network: wanted.network.clone(),
            name: ownership::rule_name(&wanted.node, wanted.index, wanted.count).into(),
            owner: Owner::of(&cluster().description(wanted.index), &cluster()),
            range: Some(wanted.cidr),
            nodes: [(wanted.member, METRIC)].into(),
            has_more: false,
            nat: false,
            is_on: true,
            created: Timestamp::from_second(created).expect("a time"),
        };
        match action {
            Action::Create(wanted) => {
                *number += 1;
                observed.rules.push(written(wanted, id(*number), NOW));
            }
            Action::Update { rule, wanted, .. } => {
                let found = observed.rules.iter_mut().find(|found| found.id == *rule);
                let found = found.expect("a rule that is updated is there");
                assert!(
                    matches!(found.owner, Owner::Us { .. }),
                    "a rule of somebody else is updated"
                );
                let created = found.created.as_second();
                *found = written(wanted, *rule, created);
            }
            Action::Delete(deletion) => {
                let index = observed
                    .rules
                    .iter()
                    .position(|found| found.id == deletion.rule);
                let found = observed
                    .rules
                    .remove(index.expect("a rule that is deleted is there"));
                assert!(
                    matches!(found.owner, Owner::Us { .. }),
                    "a rule of somebody else is deleted"
                );
            }
        }
    }
}
