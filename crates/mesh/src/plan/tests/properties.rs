//! What holds of every plan, whatever is observed.

use proptest::prelude::*;

use super::*;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn nodes() -> impl Strategy<Value = BTreeMap<NodeName, KubeNode>> {
    let node = (
        proptest::sample::subsequence(vec![1_u8, 2, 3, 4, 5], 0..3),
        any::<bool>(),
    );
    proptest::collection::btree_map(proptest::sample::select(&NAMES[..]), node, 1..4).prop_map(
        |nodes| {
            let nodes = nodes.into_iter().map(|(name, (cidrs, is_young))| {
                let cidrs = cidrs
                    .iter()
                    .map(|number| net(&format!("10.42.{number}.0/24")));
                let age = if is_young { 10 } else { 10_000 };
                let created = Timestamp::from_second(NOW - age).expect("a time");
                let node = KubeNode {
                    cidrs: Cidrs::Known(cidrs.collect()),
                    created,
                };
                (NodeName::from(name), node)
            });
            nodes.collect()
        },
    )
}

fn hosts() -> impl Strategy<Value = (Vec<Host>, Vec<Member>)> {
    let member = (any::<bool>(), any::<bool>(), any::<bool>(), 0..12_u8);
    let host = (
        proptest::sample::select(&NAMES[..]),
        proptest::collection::vec(member, 0..3),
    );
    proptest::collection::vec(host, 1..6).prop_map(|hosts| {
        let mut listed = (Vec::new(), Vec::new());
        for (number, (name, members)) in (1_u128..).zip(hosts) {
            let mut ids = Vec::new();
            for (other, (is_live, is_leaving, in_other, missing)) in (1_u128..).zip(members) {
                let member = id(number * 10 + other);
                // Now and then a list lacks an entry.
                if missing != 1 {
                    ids.push(member);
                }
                if missing != 0 {
                    listed.1.push(Member {
                        id: member,
                        host: id(number),
                        network: if in_other { "other" } else { "net" }.into(),
                        is_leaving,
                        is_live,
                    });
                }
            }
            listed.0.push(Host {
                id: id(number),
                name: name.into(),
                nodes: ids.into(),
            });
        }
        listed
    })
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let rule = (
        (
            any::<bool>(),
            0..3_i64,
            proptest::sample::select(&NAMES[..]),
        ),
        proptest::collection::vec(11..40_u128, 0..2),
        (
            proptest::option::of(1..6_u8),
            any::<bool>(),
            any::<bool>(),
            any::<bool>(),
        ),
    );
    proptest::collection::vec(rule, 0..12).prop_map(|rules| {
        let numbered = (1000_u128..).zip(rules);
        numbered
            .map(
                |(number, ((is_ours, index, name), members, (range, nat, is_on, in_other)))| Rule {
                    id: id(number),
                    network: if in_other { "other" } else { "net" }.into(),
                    name: format!("{name} pods ({}/2)", index + 1).into(),
                    owner: if is_ours {
                        Owner::Us {
                            index,
                            is_exact: true,
                        }
                    } else {
                        Owner::Others
                    },
                    range: range.map(|range| net(&format!("10.42.{range}.0/24"))),
                    nodes: members
                        .into_iter()
                        .map(|member| (id(member), METRIC))
                        .collect(),
                    has_more: false,
                    nat,
                    is_on,
                    created: Timestamp::from_second(i64::try_from(number).expect("a time"))
                        .expect("a time"),
                },
            )
            .collect()
    })
}

fn observed() -> impl Strategy<Value = Observed> {
    (nodes(), hosts(), rules()).prop_map(|(nodes, (hosts, members), rules)| Observed {
        nodes: Arc::new(nodes),
        hosts: Arc::new(hosts),
        members: Arc::new(members),
        networks: vec!["net".into(), "other".into()],
        rules,
    })
}

fn policy() -> Policy {
    Policy {
        cluster: cluster(),
        cidrs: Vec::new(),
        max_deletes: Share::ALL,
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(NOW).expect("a time")
}

/// The nodes of hosts of which the lists do not say the same, where a Node has that name and CIDRs.
fn half_there(observed: &Observed) -> Vec<Uuid> {
    let mut half_there = Vec::new();
    for (name, node) in &*observed.nodes {
        if node.cidrs == Cidrs::Known([].into()) {
            continue;
        }
        let doubles = observed
            .hosts
            .iter()
            .filter(|host| &*host.name == name.as_str());
        let mut nodes = Vec::new();
        let mut is_whole = true;
        for host in doubles {
            let members = observed.members.iter();
            let mut own = members.filter(|member| member.host == host.id);
            nodes.extend(host.nodes.iter().copied());
            nodes.extend(own.clone().map(|member| member.id));
            is_whole &= own.all(|member| member.is_leaving || host.nodes.contains(&member.id));
            let all = &observed.members;
            is_whole &= host
                .nodes
                .iter()
                .all(|node| all.iter().any(|member| member.id == *node));
        }
        if !is_whole {
            half_there.extend(nodes);
        }
    }
    half_there
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// One pass is enough, whatever was there; what is in doubt and what is others' stays.
    #[test]
    fn a_plan_that_was_done_leaves_nothing_to_do(mut observed in observed()) {
        let before = observed.clone();
        let first = plan(&observed, &policy(), now());
        apply(&mut observed, &first.actions, &mut 5000);
        let second = plan(&observed, &policy(), now());
        prop_assert_eq!(&second.actions, &Vec::new());
        for rule in before.rules.iter().filter(|rule| rule.owner == Owner::Others) {
            prop_assert!(observed.rules.contains(rule));
        }
        let ready = second.rules.values().map(|counts| counts.of(RuleState::InSync)).sum::<usize>();
        let wanted = super::super::desired::desired(&observed, &policy(), now()).wanted.len();
        prop_assert_eq!(ready, wanted);
    }

    /// A pass that ends anywhere, with any of its writes done or not, is made good by the next.
    #[test]
    fn a_plan_that_was_half_done_is_finished_by_the_next(
        mut observed in observed(),
        done in proptest::collection::vec(0..3_u8, 40),
    ) {
        let first = plan(&observed, &policy(), now());
        let mut number = 5000;
        for (action, times) in first.actions.iter().zip(done) {
            // A create whose answer was lost may be sent twice.
            let times = if matches!(action, Action::Create(_)) { times } else { times.min(1) };
            for _ in 0..times {
                apply(&mut observed, std::slice::from_ref(action), &mut number);
            }
        }
        let second = plan(&observed, &policy(), now());
        apply(&mut observed, &second.actions, &mut number);
        prop_assert_eq!(plan(&observed, &policy(), now()).actions, Vec::new());
    }

    /// Nothing of a Node in doubt is written or deleted.
    #[test]
    fn doubt_deletes_nothing(observed in observed()) {
        let plan = plan(&observed, &policy(), now());
        for action in &plan.actions {
            let node = match action {
                Action::Create(wanted) | Action::Update { wanted, .. } => Some(&wanted.node),
                Action::Delete(deletion) => deletion.node.as_ref(),
            };
            let state = node.and_then(|node| plan.nodes.get(node));
            prop_assert!(!matches!(
                state,
                Some(NodeState::Ambiguous | NodeState::Inconsistent | NodeState::Refused)
            ), "{action:?} with {state:?}");
        }
    }
    /// No rule changes or goes that is for a host of which the lists do not say the same.
    #[test]
    fn partial_lists_change_nothing(observed in observed()) {
        let half_there = half_there(&observed);
        let plan = plan(&observed, &policy(), now());
        for action in &plan.actions {
            let (rule, wanted) = match action {
                Action::Create(wanted) => (None, Some(wanted)),
                Action::Update { rule, wanted, .. } => (Some(*rule), Some(wanted)),
                Action::Delete(deletion) => (Some(deletion.rule), None),
            };
            let rule = observed.rules.iter().find(|found| Some(found.id) == rule);
            let mut nodes = rule.into_iter().flat_map(|rule| rule.nodes.iter());
            prop_assert!(!nodes.any(|(node, _)| half_there.contains(node)), "{action:?}");
            prop_assert!(!wanted.is_some_and(|wanted| half_there.contains(&wanted.member)));
        }
    }
}
