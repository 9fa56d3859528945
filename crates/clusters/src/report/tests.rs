//! What is printed, compared with the files in `golden/`. With `NICO_WRITE_GOLDEN=1` the files
//! are written anew, to be read in the diff.

use std::path::Path;

use nico_api::names::MachineName;
use nico_terminal::tree::Line;

use crate::fixtures::{World, answers, at, name, named};
use crate::observed::{Drain, DrainedPod, KubeconfigState, Node, Problem, Source, View, Workload};
use crate::plan::Intervals;
use crate::report::preview::{self, PlanReport, PlanState};
use crate::report::snapshot::{Known, Snapshot};
use crate::report::state::MachineState;
use crate::report::status::{self, StatusReport};
use crate::report::{changes, text};

const WIDTH: usize = 80;

fn compare(file: &str, lines: &[Line]) {
    let plain: Vec<String> = lines.iter().map(Line::plain).collect();
    for line in &plain {
        assert!(line.chars().count() <= WIDTH, "{line:?} is too wide");
    }
    let text = format!("{}\n", plain.join("\n"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/report/golden")
        .join(file);
    if std::env::var_os("NICO_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        text == expected,
        "{file} is now:\n{text}\nand was:\n{expected}"
    );
}

/// Three control planes and two workers that all run commit `aaaa…`.
fn five() -> World {
    let machines = ["cp-01", "cp-02", "cp-03", "w-01", "w-02"];
    let mut world = World::new(
        named(&machines[..3]),
        Some(named(&machines[3..])),
        &machines,
    )
    .applied()
    .with_secrets();
    world.observed.workload = answers(machines.map(node).to_vec());
    world.step();
    world
}

fn node(name: &str) -> Node {
    Node {
        name: name.to_owned(),
        ready: true,
        repels_pods: name.starts_with("cp"),
        kubelet_version: Some("v1.32.4+k3s1".to_owned()),
        ..Node::default()
    }
}

/// What the cluster says of itself.
fn view(world: &mut World) -> &mut View {
    match &mut world.observed.workload {
        Workload::Answers(view) => view,
        other => panic!("the cluster answers, and not {other:?}"),
    }
}

/// What it says of one of its Nodes.
fn seen<'a>(world: &'a mut World, name: &str) -> &'a mut Node {
    let mut nodes = view(world).nodes.iter_mut();
    nodes.find(|node| node.name == name).unwrap()
}

/// A push of commit `bbbb…`.
fn push(world: &mut World) {
    world.observed.source = Source::Resolved {
        repository: "https://git.example/clusters.git".parse().unwrap(),
        commit: "b".repeat(40).parse().unwrap(),
    };
}

/// The worker w-01 is being drained.
fn draining(held_by: Option<&str>) -> World {
    let mut world = five();
    push(&mut world);
    world.step();
    world.apply_all();
    let attempt = world
        .plan()
        .actions
        .iter()
        .find_map(|action| match action {
            crate::action::Action::DrainNode { attempt, .. } => Some(attempt.clone()),
            _ => None,
        })
        .unwrap();
    let node = seen(&mut world, "w-01");
    node.unschedulable = true;
    node.drain = Some(Drain {
        since: at(980),
        attempt,
        cordoned: true,
    });
    let pod = DrainedPod {
        namespace: "shop".to_owned(),
        name: "db-0".to_owned(),
        uid: "pod-uid".to_owned(),
        is_leaving: false,
        has_empty_dir: false,
        held_by: held_by.map(ToOwned::to_owned),
    };
    view(&mut world)
        .draining
        .insert("w-01".to_owned(), vec![pod]);
    world
}

/// What the API has after the operator wrote what it plans to say.
fn snapshot(world: &World) -> Snapshot {
    let mut cluster = world.observed.cluster.clone();
    cluster.status = Some(world.plan().status);
    let machines = world.observed.machines.values();
    let configurations = world.observed.configurations.values().cloned();
    Snapshot {
        clusters: Known::of([cluster]),
        machines: Known::of(machines.map(|machine| machine.as_ref().clone())),
        configurations: Known::of(configurations.map(|mut configuration| {
            configuration.metadata.namespace = Some("default".to_owned());
            configuration
        })),
    }
}

fn report(world: &World) -> StatusReport {
    status::report(&snapshot(world), at(1060))
}

fn state_of(report: &StatusReport, machine: &str) -> MachineState {
    let cluster = &report.clusters[0];
    [
        &cluster.control_plane.machines,
        &cluster.data_plane.machines,
        &cluster.leaving,
    ]
    .into_iter()
    .flatten()
    .find(|report| report.name == machine)
    .unwrap_or_else(|| panic!("{machine} is not shown"))
    .state
}

fn preview(world: &World) -> PlanReport {
    preview::of(&world.observed, &Intervals::default(), at(1000))
}

#[test]
fn status_of_a_cluster_that_is_well() {
    let report = report(&five());
    assert!(report.clusters[0].ready);
    compare("status-ready.txt", &text::of_status(&report, WIDTH));
}

#[test]
fn status_of_a_cluster_that_starts() {
    let mut world = World::new(
        named(&["cp-01", "cp-09"]),
        Some(named(&["w-01"])),
        &["cp-01", "w-01"],
    );
    world.step();
    let report = report(&world);
    assert_eq!(state_of(&report, "cp-09"), MachineState::Missing);
    compare("status-starting.txt", &text::of_status(&report, WIDTH));
}

#[test]
fn status_while_a_drain_is_held_up() {
    let report = report(&draining(Some("db")));
    assert_eq!(state_of(&report, "w-01"), MachineState::Draining);
    assert_eq!(state_of(&report, "cp-01"), MachineState::Prepared);
    compare("status-drain-blocked.txt", &text::of_status(&report, WIDTH));
}

#[test]
fn status_after_a_bad_commit() {
    let report = report(&failed());
    assert_eq!(state_of(&report, "w-01"), MachineState::Failed);
    compare("status-failed.txt", &text::of_status(&report, WIDTH));
}

/// The worker w-01 did not activate the new commit and was put back.
fn failed() -> World {
    let mut world = five();
    world.observed.workload = Workload::NotAsked;
    push(&mut world);
    world.step();
    world.apply_all();
    world.step();
    world.say(
        "w-01",
        "RolledBack",
        "switch-to-configuration ended with status 4: k3s.service did not start",
    );
    world.step();
    world.apply("w-01");
    world
}

#[test]
fn status_while_a_machine_is_off_and_another_leaves() {
    let mut world = five();
    world.change("w-01", |machine| {
        let status = machine.status.get_or_insert_default();
        status.discoverable = Some(false);
        nico_api::condition::set(
            &mut status.conditions,
            nico_api::machine::conditions::REACHABLE,
            nico_api::condition::Truth::False,
            "TimedOut",
            "no answer from 10.0.0.4 port 22 within 5 s",
            None,
            at(700),
        );
    });
    let node = seen(&mut world, "w-01");
    node.ready = false;
    node.message = "Kubelet stopped posting node status.".to_owned();
    world.start_removal("w-02");
    let report = report(&world);
    assert_eq!(state_of(&report, "w-01"), MachineState::NotReady);
    assert_eq!(state_of(&report, "w-02"), MachineState::Leaving);
    compare("status-machine-off.txt", &text::of_status(&report, WIDTH));
}

#[test]
fn status_with_the_right_to_read_the_cluster_alone() {
    let forbidden = |what: &str| {
        format!(
            "{what}.nio.homystack.com is forbidden: User \"guest\" cannot list resource \"{what}\" in API group \"nio.homystack.com\" in the namespace \"default\""
        )
    };
    let snapshot = Snapshot {
        machines: Known::unreadable(forbidden("machines")),
        configurations: Known::unreadable(forbidden("nixosconfigurations")),
        ..snapshot(&five())
    };
    let report = status::report(&snapshot, at(1060));
    assert_eq!(report.unread.len(), 2);
    assert_eq!(state_of(&report, "w-02"), MachineState::Ready);
    compare("status-few-rights.txt", &text::of_status(&report, WIDTH));
}

#[test]
fn only_what_changed_is_told_where_nothing_can_be_drawn() {
    let before = report(&five());
    let after = report(&draining(Some("db")));
    let all = changes::between(None, &before);
    assert_eq!(all.len(), 6, "{all:?}");
    assert_eq!(changes::between(Some(&before), &before), [""; 0]);
    let told = changes::between(Some(&before), &after);
    let of_worker = told
        .iter()
        .find(|line| line.starts_with("default/home w-01: "));
    assert!(of_worker.unwrap().contains("Draining aaaaaaa"), "{told:?}");
    let gone = changes::between(
        Some(&before),
        &StatusReport {
            clusters: vec![],
            ..before.clone()
        },
    );
    assert!(gone.contains(&"default/home: gone".to_owned()), "{gone:?}");
}

#[test]
fn what_is_printed_as_json_is_read_back() {
    let report = report(&draining(Some("db")));
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<StatusReport>(&json).unwrap(), report);
    let report = preview(&draining(None));
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<PlanReport>(&json).unwrap(), report);
}

#[test]
fn plan_of_a_cluster_that_is_well() {
    let report = preview(&five());
    assert!(report.is_settled(), "{report:?}");
    compare("plan-settled.txt", &text::of_plan(&report, WIDTH));
}

#[test]
fn plan_of_a_new_cluster() {
    let mut world = World::new(
        named(&["cp-01"]),
        Some(named(&["w-01"])),
        &["cp-01", "w-01"],
    );
    compare("plan-new.txt", &text::of_plan(&preview(&world), WIDTH));
    world.step();
    compare("plan-claimed.txt", &text::of_plan(&preview(&world), WIDTH));
    world.step();
    world.apply_all();
    compare(
        "plan-kubeconfig.txt",
        &text::of_plan(&preview(&world), WIDTH),
    );
}

#[test]
fn plan_after_a_push() {
    let mut world = five();
    push(&mut world);
    compare("plan-staging.txt", &text::of_plan(&preview(&world), WIDTH));
    world.step();
    world.apply_all();
    let report = preview(&world);
    assert_eq!(report.later, ["w-02", "cp-01", "cp-02", "cp-03"]);
    compare("plan-drain.txt", &text::of_plan(&report, WIDTH));
}

#[test]
fn plan_while_a_node_is_drained() {
    compare(
        "plan-evict.txt",
        &text::of_plan(&preview(&draining(None)), WIDTH),
    );
    let report = preview(&draining(Some("db")));
    assert_eq!(report.state, PlanState::DrainBlocked);
    compare("plan-drain-blocked.txt", &text::of_plan(&report, WIDTH));
}

#[test]
fn plan_after_a_bad_commit() {
    let report = preview(&failed());
    assert_eq!(report.state, PlanState::Failed);
    compare("plan-failed.txt", &text::of_plan(&report, WIDTH));
}

#[test]
fn plan_on_doubt() {
    let mut world = five();
    push(&mut world);
    world.observed.workload = Workload::Unreachable {
        is_refusal: false,
        since: at(1000),
        last_nodes: None,
        message: "the API of the new cluster does not answer: no route to host".to_owned(),
    };
    compare(
        "plan-unreachable.txt",
        &text::of_plan(&preview(&world), WIDTH),
    );
    world.observed.source = Source::Unresolved(Problem {
        reason: nico_api::reason::ClusterReason::GitUnreachable,
        message: "git.example does not answer".to_owned(),
        needs_change: false,
    });
    world.observed.kubeconfig = KubeconfigState::Missing(None);
    world.observed.workload = Workload::NotAsked;
    compare(
        "plan-no-source.txt",
        &text::of_plan(&preview(&world), WIDTH),
    );
}

#[test]
fn a_plan_has_a_step_for_each_action_of_the_controller() {
    let mut deleted = draining(None);
    deleted.observed.cluster.metadata.deletion_timestamp = Some(
        k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(990)),
    );
    let mut shrunk = five();
    shrunk.observed.cluster.spec.data_plane = Some(named(&["w-01"]));
    for world in [
        five(),
        draining(None),
        draining(Some("db")),
        failed(),
        deleted,
        shrunk,
    ] {
        let report = preview(&world);
        assert_eq!(report.steps.len(), world.plan().actions.len(), "{report:?}");
        for step in &report.steps {
            let machine: Option<MachineName> = step.machine.as_deref().map(name);
            assert!(!step.what.is_empty() && !step.why.is_empty(), "{step:?}");
            assert!(
                machine.is_none_or(
                    |machine| format!("{} {}", step.what, step.why).contains(machine.as_str())
                ),
                "{step:?}"
            );
        }
    }
}
