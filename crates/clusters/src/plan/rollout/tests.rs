//! The rules of a rollout, each as a table of small clusters.

mod coming_and_going;
mod drain;

use nico_api::NixosConfigurationSpec;
use nico_api::kubernetes_cluster::Drain as DrainStrategy;

use super::super::marks::Marks;
use super::super::readiness::{NodeState, Progress};
use super::*;
use crate::fixtures::at;
use crate::observed::{Drain, Etcd, Node, View};

const ATTEMPT: &str = "this";
const NOW: i64 = 10_000;

/// A machine from words: a name that tells the role, where it stands (`none`, `new`, `new-old`,
/// `old`, `staging`, `stalled`, `staged`, `draining`, `changing`, `not-activated`, `arrived`,
/// `current`, `failed`), and how its Node is (`ready`, `down`).
fn member(line: &str) -> Member {
    let words: Vec<&str> = line.split(' ').collect();
    let [name, state, health] = words[..] else {
        panic!("{line}");
    };
    let progress = |obstacle| Progress {
        message: "what the machine layer says".to_owned(),
        step: None,
        obstacle,
    };
    let since = |seconds: i64| Some(at(NOW - seconds));
    let configuration = match state {
        "none" => ConfigurationState::Absent,
        "new" | "new-old" => ConfigurationState::New(progress(Obstacle::None)),
        "staging" if health == "down" => {
            ConfigurationState::Staging(progress(Obstacle::Unreachable))
        }
        "staging" => ConfigurationState::Staging(progress(Obstacle::None)),
        "stalled" => ConfigurationState::Staging(progress(Obstacle::Stalled)),
        "staged" | "draining" => ConfigurationState::Staged(None),
        "changing" => ConfigurationState::Behind(progress(Obstacle::None)),
        "not-activated" => ConfigurationState::Behind(progress(Obstacle::NotActivated)),
        "old" | "arrived" | "current" | "failed" => ConfigurationState::Applied,
        _ => panic!("{line}"),
    };
    let in_hand = matches!(state, "changing" | "not-activated" | "arrived");
    let failure = || Failure {
        attempt: ATTEMPT.to_owned(),
        step: "Activate".to_owned(),
        message: "status 4".to_owned(),
    };
    Member {
        machine: name.parse().unwrap(),
        role: match name.starts_with("cp") {
            true => Role::ControlPlane,
            false => Role::Worker,
        },
        configuration,
        updated: !matches!(state, "none" | "new-old" | "old" | "failed"),
        runs_wanted: false,
        runs_commit: matches!(state, "current" | "arrived"),
        node: match health {
            "down" => NodeState::NotReady("kubelet is silent".to_owned()),
            _ => NodeState::Ready,
        },
        is_fresh: true,
        seen: Some(Node {
            name: name.to_owned(),
            ready: health == "ready",
            repels_pods: name.starts_with("cp"),
            drain: (state == "draining").then_some(Drain {
                since: at(NOW - 10),
                attempt: ATTEMPT.to_owned(),
                cordoned: true,
            }),
            ..Node::default()
        }),
        marks: Marks {
            previous: Some(Box::new(NixosConfigurationSpec::default())),
            changing_since: in_hand.then(|| since(10)).flatten(),
            failure: (state == "failed").then(failure),
        },
    }
}

struct Case {
    members: Vec<Member>,
    leaving: Vec<Leaving>,
    workload: Workload,
    strategy: RolloutStrategy,
    paused: bool,
}

impl Case {
    /// A cluster that answers, where Pods are not drained.
    fn of(lines: &[&str]) -> Self {
        let members: Vec<Member> = lines.iter().map(|line| member(line)).collect();
        let nodes = members.iter().filter_map(|member| member.seen.clone());
        Self {
            workload: Workload::Answers(View {
                nodes: nodes.collect(),
                ..View::default()
            }),
            members,
            leaving: vec![],
            strategy: RolloutStrategy {
                drain: DrainStrategy {
                    enabled: false,
                    ..DrainStrategy::default()
                },
                ..RolloutStrategy::default()
            },
            paused: false,
        }
    }

    /// Machines that leave, in the words of [`member`]; `gone` before the name of one whose
    /// Machine is no more.
    fn leaving(mut self, lines: &[&str]) -> Self {
        for line in lines {
            let (line, has_machine) = match line.strip_prefix("gone ") {
                Some(line) => (line, false),
                None => (*line, true),
            };
            let member = member(line);
            self.view().nodes.extend(member.seen.clone());
            self.leaving.push(Leaving {
                member,
                has_machine,
                is_held: has_machine,
            });
        }
        self
    }

    fn drained(mut self) -> Self {
        self.strategy.drain.enabled = true;
        self
    }

    fn view(&mut self) -> &mut View {
        match &mut self.workload {
            Workload::Answers(view) => view,
            other => panic!("{other:?}"),
        }
    }

    fn etcd(mut self, members: &[(&str, bool)]) -> Self {
        let members = members
            .iter()
            .map(|(name, is_healthy)| ((*name).to_owned(), *is_healthy));
        self.view().etcd = Etcd::Members(members.collect());
        self
    }

    fn silent(mut self) -> Self {
        self.workload = Workload::Unreachable {
            is_refusal: false,
            since: at(NOW),
            last_nodes: None,
            message: "no answer".to_owned(),
        };
        for member in &mut self.members {
            member.is_fresh = false;
        }
        self
    }

    fn step(&self) -> Step {
        next_step(&Situation {
            members: &self.members,
            leaving: &self.leaving,
            is_complete: true,
            workload: &self.workload,
            strategy: &self.strategy,
            attempt: ATTEMPT,
            paused: self.paused,
            now: at(NOW),
        })
    }

    fn moves(&self) -> Vec<String> {
        let word = |what: &Move| match what {
            Move::Create => "create",
            Move::Correct => "correct",
            Move::Return => "return",
            Move::Stage => "stage",
            Move::Drain { .. } => "drain",
            Move::Evict(_) => "evict",
            Move::Activate => "activate",
            Move::Settle => "settle",
            Move::Restore { .. } => "restore",
            Move::RollBack(_) => "roll back",
            Move::NoteFailure(_) => "note failure",
            Move::DeleteNode { .. } => "delete node of",
            Move::Remove => "remove",
        };
        self.step()
            .moves
            .iter()
            .map(|(machine, what)| format!("{} {machine}", word(what)))
            .collect()
    }
}

fn moves(lines: &[&str]) -> Vec<String> {
    Case::of(lines).moves()
}

const NOTHING: [&str; 0] = [];

#[test]
fn first_configurations_go_to_all_machines_at_once() {
    assert_eq!(
        moves(&["cp-01 none down", "cp-02 new-old down", "w-01 none down"]),
        ["create cp-01", "correct cp-02", "create w-01"]
    );
}

#[test]
fn everything_is_prepared_before_the_first_node_is_touched() {
    let table: &[(&[&str], &[&str])] = &[
        (
            &["cp-01 old ready", "w-01 old ready"],
            &["stage cp-01", "stage w-01"],
        ),
        (&["cp-01 staged ready", "w-01 old ready"], &["stage w-01"]),
        (&["cp-01 staged ready", "w-01 staging ready"], &[]),
        (
            &["cp-01 staged ready", "w-01 staged ready"],
            &["activate w-01"],
        ),
    ];
    for (lines, expected) in table {
        assert_eq!(moves(lines), *expected, "{lines:?}");
    }
}

#[test]
fn a_flake_that_does_not_evaluate_for_one_node_changes_none() {
    let case = Case::of(&[
        "cp-01 staged ready",
        "w-01 stalled ready",
        "w-02 staged ready",
    ]);
    assert_eq!(case.moves(), NOTHING);
    let State::Failed { machine, .. } = case.step().state else {
        panic!("{:?}", case.step());
    };
    assert_eq!(machine.as_str(), "w-01");
}

#[test]
fn a_machine_that_is_down_and_does_not_answer_holds_no_preparation_up() {
    let mut case = Case::of(&[
        "cp-01 staged ready",
        "w-01 staging down",
        "w-02 staged ready",
    ]);
    assert_eq!(case.moves(), NOTHING, "it uses up the budget");
    assert_eq!(case.step().state, State::Unhealthy);
    case.strategy.max_unavailable_workers =
        k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(2);
    assert_eq!(case.moves(), ["activate w-02"]);
}

#[test]
fn workers_change_one_at_a_time_before_control_planes() {
    let table: &[(&[&str], &[&str])] = &[
        (
            &[
                "cp-01 staged ready",
                "w-01 staged ready",
                "w-02 staged ready",
            ],
            &["activate w-01"],
        ),
        (
            &[
                "cp-01 staged ready",
                "w-01 changing down",
                "w-02 staged ready",
            ],
            &[],
        ),
        (
            &[
                "cp-01 staged ready",
                "w-01 arrived ready",
                "w-02 staged ready",
            ],
            &["settle w-01"],
        ),
        (
            &[
                "cp-01 staged ready",
                "w-01 current ready",
                "w-02 staged ready",
            ],
            &["activate w-02"],
        ),
        (
            &[
                "cp-01 staged ready",
                "cp-02 staged ready",
                "w-01 current ready",
            ],
            &["activate cp-01"],
        ),
        (
            &[
                "cp-01 current ready",
                "cp-02 staged ready",
                "w-01 current ready",
            ],
            &["activate cp-02"],
        ),
        (&["cp-01 current ready", "w-01 current ready"], &[]),
    ];
    for (lines, expected) in table {
        assert_eq!(moves(lines), *expected, "{lines:?}");
    }
}

#[test]
fn the_users_order_is_obeyed() {
    let mut case = Case::of(&["cp-01 staged ready", "w-01 staged ready"]);
    case.strategy.order = RolloutOrder::ControlPlaneFirst;
    assert_eq!(case.moves(), ["activate cp-01"]);
    let mut case = Case::of(&["cp-01 changing ready", "w-01 staged ready"]);
    case.strategy.order = RolloutOrder::ControlPlaneFirst;
    assert_eq!(case.moves(), NOTHING);
}

#[test]
fn a_machine_that_is_down_gets_the_change_first() {
    assert_eq!(
        moves(&[
            "cp-01 staged ready",
            "w-01 staged ready",
            "w-02 staged down"
        ]),
        ["activate w-02"]
    );
    assert_eq!(
        moves(&[
            "cp-01 staged ready",
            "cp-02 staged down",
            "w-01 staged ready"
        ]),
        ["activate cp-02", "activate w-01"]
    );
}

#[test]
fn a_control_plane_goes_down_only_while_all_others_are_well() {
    let others_down = Case::of(&[
        "cp-01 staged ready",
        "cp-02 current down",
        "cp-03 current ready",
    ]);
    assert_eq!(others_down.moves(), NOTHING);
    assert_eq!(others_down.step().state, State::Unhealthy);
    let three = [
        "cp-01 staged ready",
        "cp-02 current ready",
        "cp-03 current ready",
    ];
    let sick = Case::of(&three).etcd(&[("cp-01", true), ("cp-02", false), ("cp-03", true)]);
    assert_eq!(sick.moves(), NOTHING);
    assert!(sick.step().waits_for[0].contains("etcd member of cp-02"));
    let well = Case::of(&three).etcd(&[("cp-01", true), ("cp-02", true), ("cp-03", true)]);
    assert_eq!(well.moves(), ["activate cp-01"]);
    let mut unready = Case::of(&three);
    unready.view().not_ready = Some("etcd failed".to_owned());
    assert_eq!(unready.moves(), NOTHING);
    let joining = Case::of(&["cp-01 staged ready", "cp-02 new down"]);
    assert_eq!(joining.moves(), NOTHING);
}

#[test]
fn a_control_plane_that_is_down_is_left_alone_while_its_etcd_member_counts() {
    let lines = [
        "cp-01 staged down",
        "cp-02 staged ready",
        "cp-03 staged ready",
    ];
    let counts = Case::of(&lines).etcd(&[("cp-01", true), ("cp-02", true), ("cp-03", false)]);
    assert_eq!(counts.moves(), NOTHING);
    let does_not = Case::of(&lines).etcd(&[("cp-01", false), ("cp-02", true), ("cp-03", true)]);
    assert_eq!(does_not.moves(), ["activate cp-01"]);
}

#[test]
fn a_cluster_of_one_or_two_control_planes_changes_too_and_says_what_that_means() {
    for (lines, word) in [
        (&["cp-01 staged ready"][..], "only control plane"),
        (&["cp-01 staged ready", "cp-02 staged ready"], "no quorum"),
    ] {
        let step = Case::of(lines).step();
        assert_eq!(step.moves.len(), 1);
        assert!(
            step.remarks.iter().any(|remark| remark.contains(word)),
            "{step:?}"
        );
        assert!(
            step.remarks
                .iter()
                .any(|remark| remark.contains("no etcd members"))
        );
    }
}

#[test]
fn nothing_that_works_is_touched_while_a_cluster_answers_again_since_just_now() {
    let back = |mut case: Case, seconds: i64| {
        case.view().back_since = Some(at(NOW - seconds));
        case
    };
    for lines in [
        &["cp-01 staged ready"][..],
        &["cp-01 current ready", "w-01 staged ready"],
        &["cp-01 current ready", "w-01 draining ready"],
    ] {
        let drained = || {
            let mut case = Case::of(lines);
            case.view().draining.insert("w-01".to_owned(), vec![]);
            case
        };
        let case = back(drained(), 89);
        assert_eq!(case.moves(), NOTHING, "{lines:?}");
        let waits_for = case.step().waits_for.join("; ");
        assert!(
            waits_for.contains("answers again only since"),
            "{waits_for}"
        );
        assert_eq!(back(drained(), 90).moves().len(), 1, "{lines:?}");
    }
    let leaves = || Case::of(&["cp-01 current ready"]).leaving(&["w-01 current ready"]);
    assert_eq!(back(leaves(), 89).moves(), NOTHING);
    assert_eq!(back(leaves(), 90).moves(), ["remove w-01"]);
    let down = back(Case::of(&["cp-01 current ready", "w-01 staged down"]), 1);
    assert_eq!(down.moves(), ["activate w-01"], "the change may heal it");
}

#[test]
fn nothing_that_works_is_touched_while_the_cluster_does_not_answer() {
    let silent = |lines: &[&str]| Case::of(lines).silent().moves();
    assert_eq!(
        silent(&["cp-01 staged ready", "w-01 staged ready"]),
        NOTHING
    );
    assert_eq!(
        silent(&["cp-01 staged down", "w-01 staged ready"]),
        ["activate cp-01"]
    );
    // An earlier rollout left it in an unknown state: only a change can heal it.
    let mut case = Case::of(&["cp-01 staged ready"]).silent();
    case.members[0].marks.changing_since = Some(at(NOW - 100));
    assert_eq!(case.moves(), ["activate cp-01"]);
}

#[test]
fn a_node_that_fails_goes_back_and_stops_the_rollout() {
    let case = Case::of(&[
        "cp-01 staged ready",
        "w-01 not-activated ready",
        "w-02 staged ready",
    ]);
    assert_eq!(case.moves(), ["roll back w-01"]);
    let failed = Case::of(&[
        "cp-01 staged ready",
        "w-01 failed ready",
        "w-02 staged ready",
    ]);
    assert_eq!(failed.moves(), NOTHING);
    assert!(matches!(failed.step().state, State::Failed { .. }));
    let mut stop = Case::of(&[
        "cp-01 staged ready",
        "w-01 not-activated down",
        "w-02 staged ready",
    ]);
    stop.strategy.on_failure = FailurePolicy::Stop;
    assert_eq!(stop.moves(), NOTHING);
    assert!(matches!(stop.step().state, State::Failed { .. }));
}

#[test]
fn a_node_that_is_not_ready_in_time_failed() {
    let mut case = Case::of(&["w-01 changing down"]);
    assert_eq!(case.moves(), NOTHING);
    case.members[0].marks.changing_since = Some(at(NOW - 601));
    assert_eq!(case.moves(), ["roll back w-01"]);
    case.members[0].marks.previous = None;
    assert_eq!(case.moves(), ["note failure w-01"]);
}

#[test]
fn a_failure_of_another_rollout_does_not_count() {
    let mut case = Case::of(&["cp-01 current ready", "w-01 failed ready"]);
    case.members[1].marks.failure.as_mut().unwrap().attempt = "another".to_owned();
    assert_eq!(case.moves(), ["stage w-01"]);
}

#[test]
fn a_pause_finishes_the_node_in_hand_and_starts_no_other() {
    let paused = |lines: &[&str]| {
        let mut case = Case::of(lines);
        case.paused = true;
        case
    };
    assert_eq!(paused(&["w-01 old ready"]).moves(), NOTHING);
    assert_eq!(paused(&["w-01 staged ready"]).step().state, State::Paused);
    let mut draining = paused(&["w-01 draining ready", "w-02 staged ready"]);
    draining.view().draining.insert("w-01".to_owned(), vec![]);
    assert_eq!(draining.moves(), ["activate w-01"]);
    assert_eq!(
        paused(&["w-01 arrived ready", "w-02 staged ready"]).moves(),
        ["settle w-01"]
    );
}

fn pod(name: &str) -> DrainedPod {
    DrainedPod {
        namespace: "default".to_owned(),
        name: name.to_owned(),
        uid: "uid".to_owned(),
        is_leaving: false,
        has_empty_dir: false,
        held_by: None,
    }
}
