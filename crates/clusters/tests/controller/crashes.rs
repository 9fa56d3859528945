//! The operator is stopped dead after its 1st, 2nd, … nth write to each API, and another one
//! takes over: every run ends in the same state as the undisturbed one.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::{Node, Pod, Secret};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use nico_api::kubernetes_cluster::{Phase, conditions as kind};
use nico_api::{KubernetesCluster, Machine, NixosConfiguration, NixosConfigurationSpec, condition};
use nico_clusters::plan::Intervals;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::lab::{COMMIT, DEADLINE, Lab};
use crate::writes::{CrashPoint, Side, Writes};

/// Runs that go on at the same time. Most of a run is waiting.
const AT_ONCE: usize = 8;

/// How often it is looked whether a run has ended.
const POLL: Duration = Duration::from_millis(300);

/// How often an operator looks by itself. A look costs much more than the wait for it, for others
/// go on in the meantime.
const INTERVALS: Intervals = Intervals {
    starting: Duration::from_millis(300),
    unready: Duration::from_secs(1),
    ready: Duration::from_secs(1),
};

/// Another commit than that of [`Lab::create`].
const NEXT: &str = "2222222222222222222222222222222222222222";

/// Something that happens to a cluster, and the machines that it has in the end.
struct Scenario {
    name: &'static str,
    machines: &'static [&'static str],
    spec: Value,
    change: Change,
    /// The machines that are claimed, control planes first, before and after.
    before: &'static [&'static str],
    after: &'static [&'static str],
}

enum Change {
    Create,
    Spec(Value),
    DeleteMachine(&'static str),
    Delete,
}

fn scenarios() -> Vec<Scenario> {
    let workers =
        |count| json!({"machineSelector": {"matchLabels": {"role": "w"}}, "count": count});
    let spec = |control_plane: &[&str], count: usize| {
        json!({
            "controlPlane": {"machines": control_plane},
            "dataPlane": workers(count),
        })
    };
    let three = ["cp-01", "cp-02", "cp-03"];
    vec![
        Scenario {
            name: "creation",
            machines: &["cp-01", "cp-02", "cp-03", "w-01", "w-02"],
            spec: spec(&three, 2),
            change: Change::Create,
            before: &[],
            after: &["cp-01", "cp-02", "cp-03", "w-01", "w-02"],
        },
        Scenario {
            name: "rollout",
            machines: &["cp-01", "cp-02", "cp-03", "w-01"],
            spec: spec(&three, 1),
            change: Change::Spec(json!({"ref": NEXT})),
            before: &["cp-01", "cp-02", "cp-03", "w-01"],
            after: &["cp-01", "cp-02", "cp-03", "w-01"],
        },
        Scenario {
            name: "scale-down of workers",
            machines: &["cp-01", "w-01", "w-02"],
            spec: spec(&three[..1], 2),
            change: Change::Spec(json!({"dataPlane": {"count": 1}})),
            before: &["cp-01", "w-01", "w-02"],
            after: &["cp-01", "w-01"],
        },
        Scenario {
            name: "scale-down of control planes",
            machines: &["cp-01", "cp-02", "cp-03"],
            spec: spec(&three, 0),
            change: Change::Spec(json!({"controlPlane": {"machines": ["cp-01"]}})),
            before: &["cp-01", "cp-02", "cp-03"],
            after: &["cp-01"],
        },
        Scenario {
            name: "replacement of a control plane",
            machines: &["cp-01", "cp-02", "cp-03", "cp-04"],
            spec: spec(&three, 0),
            change: Change::Spec(
                json!({"controlPlane": {"machines": ["cp-01", "cp-02", "cp-04"]}}),
            ),
            before: &["cp-01", "cp-02", "cp-03"],
            after: &["cp-01", "cp-02", "cp-04"],
        },
        Scenario {
            name: "deletion of a Machine",
            machines: &["cp-01", "w-01", "w-02"],
            spec: spec(&three[..1], 1),
            change: Change::DeleteMachine("w-01"),
            before: &["cp-01", "w-01"],
            after: &["cp-01", "w-02"],
        },
        Scenario {
            name: "deletion",
            machines: &["cp-01", "cp-02", "cp-03", "w-01", "w-02"],
            spec: spec(&three, 2),
            change: Change::Delete,
            before: &["cp-01", "cp-02", "cp-03", "w-01", "w-02"],
            after: &[],
        },
    ]
}

/// What each configuration asks for, and what is noted on it.
type Configurations = BTreeMap<String, (NixosConfigurationSpec, BTreeMap<String, String>)>;

/// What a run ends in, without what is different each time.
#[derive(Debug, PartialEq)]
struct End {
    claims: BTreeMap<String, (String, String)>,
    configurations: Configurations,
    secrets: Vec<String>,
    phase: Option<Phase>,
    selected: Vec<String>,
    /// Whether each Node is cordoned, and what is noted on it.
    nodes: BTreeMap<String, (bool, BTreeMap<String, String>)>,
    pods: Vec<String>,
}

async fn configurations(lab: &Lab) -> Configurations {
    let configurations: Api<NixosConfiguration> = lab.api();
    let configurations = configurations.list(&ListParams::default()).await.unwrap();
    configurations
        .items
        .into_iter()
        .map(|configuration| {
            let notes = configuration.annotations().clone();
            (configuration.name_any(), (configuration.spec, notes))
        })
        .collect()
}

async fn end(lab: &Lab) -> End {
    let status = lab.status("home").await;
    let is_deleted = lab.names::<KubernetesCluster>().await.is_empty();
    let nodes = lab.nodes().list(&ListParams::default()).await.unwrap();
    let pods: Api<Pod> = Api::all(lab.new_client.clone());
    let pods = pods.list(&ListParams::default()).await.unwrap();
    End {
        claims: lab.claims().await,
        configurations: configurations(lab).await,
        secrets: lab.names::<Secret>().await,
        phase: status.phase,
        selected: [
            status.selected_control_plane_machines,
            status.selected_data_plane_machines,
        ]
        .concat(),
        // What is on the machines of a cluster that is no more is nobody's.
        nodes: nodes
            .items
            .into_iter()
            .filter(|_| !is_deleted)
            .map(|node: Node| {
                let is_cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable);
                let notes = node.annotations().clone();
                (node.name_any(), (is_cordoned == Some(true), notes))
            })
            .collect(),
        pods: pods
            .items
            .iter()
            .filter(|_| !is_deleted)
            .map(ResourceExt::name_any)
            .collect(),
    }
}

/// Whether what takes long to become like `wanted` is so, in two requests.
async fn may_have_ended(lab: &Lab, wanted: &End) -> bool {
    lab.status("home").await.phase == wanted.phase
        && configurations(lab).await == wanted.configurations
}

impl Scenario {
    /// Lets it happen under an operator that stops at `at`, and under its successor. Gives the
    /// writes of the first, whether it stopped at all, and the end: that of the undisturbed
    /// run, if it ever comes to that, else whatever it came to.
    async fn run(&self, at: CrashPoint, undisturbed: Option<&End>) -> Run {
        let mut lab = Lab::start_embedded(self.machines).await;
        lab.intervals = INTERVALS;
        if !self.before.is_empty() {
            let operator = lab.operator().await;
            lab.create("home", self.spec.clone()).await;
            let has_begun = self.settled(&lab, self.before, None).await;
            assert!(has_begun, "{}: {:#?}", self.name, end(&lab).await);
            drop(operator);
        }
        let (first, writes) = lab.operator_that_stops(at).await;
        self.change(&lab).await;
        let stopped = {
            let settled = self.settled(&lab, self.after, undisturbed);
            tokio::pin!(settled);
            tokio::select! {
                _ = &mut settled => false,
                () = writes.stopped() => {
                    drop(first);
                    writes.lift();
                    let _second = lab.operator().await;
                    settled.await;
                    true
                }
            }
        };
        lab.layer.assert_no_rule_was_broken();
        if undisturbed.is_none() {
            let is_settled = self.settled(&lab, self.after, None).await;
            assert!(is_settled, "{}: {:#?}", self.name, end(&lab).await);
        }
        Run {
            end: end(&lab).await,
            stopped,
            writes,
        }
    }

    async fn change(&self, lab: &Lab) {
        match &self.change {
            Change::Create => lab.create("home", self.spec.clone()).await,
            Change::Delete => lab.delete("home").await,
            Change::Spec(spec) => {
                let clusters: Api<KubernetesCluster> = lab.api();
                let patch = Patch::Merge(json!({"spec": spec}));
                let parameters = PatchParams::default();
                clusters.patch("home", &parameters, &patch).await.unwrap();
            }
            Change::DeleteMachine(machine) => {
                let machines: Api<Machine> = lab.api();
                let parameters = DeleteParams::default();
                machines.delete(machine, &parameters).await.unwrap();
            }
        }
    }

    /// Waits until nothing is left to do, with `machines` in the cluster, or until the run ends
    /// like the undisturbed one. Whether that ever came.
    async fn settled(&self, lab: &Lab, machines: &[&str], undisturbed: Option<&End>) -> bool {
        let deadline = Instant::now() + DEADLINE;
        let mut interval = tokio::time::interval(POLL);
        loop {
            interval.tick().await;
            let is_there = match undisturbed {
                Some(undisturbed) => {
                    // What costs one request says no most of the time.
                    may_have_ended(lab, undisturbed).await && end(lab).await == *undisturbed
                }
                None => self.is_settled(lab, machines).await,
            };
            if is_there || Instant::now() > deadline {
                return is_there;
            }
        }
    }

    async fn is_settled(&self, lab: &Lab, machines: &[&str]) -> bool {
        let clusters: Api<KubernetesCluster> = lab.api();
        let Some(cluster) = clusters.get_opt("home").await.unwrap() else {
            return machines.is_empty();
        };
        let status = cluster.status.unwrap_or_default();
        if status.observed_generation != cluster.metadata.generation
            || status.phase != Some(Phase::Ready)
        {
            return false;
        }
        let rolls = condition::is_true(&status.conditions, kind::ROLLING_OUT);
        let runs = status.revision.map(|revision| revision.commit);
        let end = end(lab).await;
        let configured: Vec<String> = end
            .configurations
            .values()
            .map(|(spec, _)| spec.machine_ref.name.clone())
            .collect();
        let is_of_the_spec =
            |(spec, notes): &(NixosConfigurationSpec, BTreeMap<String, String>)| {
                let wanted = cluster.spec.reference.as_deref().unwrap_or(COMMIT);
                spec.reference == wanted && !spec.hold && notes.is_empty()
            };
        runs == cluster.spec.reference
            && !rolls
            && end.claims.keys().eq(machines)
            && configured == machines
            && end.nodes.keys().eq(machines)
            && end.configurations.values().all(is_of_the_spec)
    }
}

struct Run {
    end: End,
    stopped: bool,
    writes: Writes,
}

/// A line of the table: how often the operator was stopped, and the runs that ended otherwise.
struct Line {
    name: &'static str,
    stops: BTreeMap<&'static str, u64>,
    different: Vec<String>,
}

/// Runs a scenario with every crash point.
async fn crash_at_every_write(scenario: &Scenario, permits: &Semaphore) -> Line {
    let run = async |at, undisturbed| {
        let _permit = permits.acquire().await.unwrap();
        scenario.run(at, undisturbed).await
    };
    let undisturbed = run(CrashPoint::NEVER, None).await;
    let mut line = Line {
        name: scenario.name,
        stops: BTreeMap::new(),
        different: vec![],
    };
    let sides = [
        (Side::Management, "management cluster"),
        (Side::NewCluster, "new cluster"),
    ];
    for (side, called) in sides {
        let seen = undisturbed.writes.seen(side);
        let at = |write| run(CrashPoint { side, write }, Some(&undisturbed.end));
        let mut runs: FuturesUnordered<_> = (1..=seen)
            .map(|write| {
                let run = at(write);
                async move { (write, run.await) }
            })
            .collect();
        let mut stops = 0;
        let mut count = |write, run: &Run| {
            stops += u64::from(run.stopped);
            if run.end != undisturbed.end {
                let differs = format!("{called}, write {write}: {:#?}", run.end);
                line.different.push(differs);
            }
        };
        while let Some((write, run)) = runs.next().await {
            count(write, &run);
        }
        drop(runs);
        // Not every run makes as many writes: until one is not reached any more.
        for write in seen + 1.. {
            let run = at(write).await;
            count(write, &run);
            if !run.stopped {
                break;
            }
        }
        line.stops.insert(called, stops);
    }
    if !line.different.is_empty() {
        line.different
            .insert(0, format!("undisturbed: {:#?}", undisturbed.end));
    }
    line
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_disturbed_at_any_write_ends_like_the_undisturbed() {
    let scenarios = scenarios();
    let permits = Semaphore::new(AT_ONCE);
    let lines = scenarios
        .iter()
        .map(|scenario| crash_at_every_write(scenario, &permits));
    let lines = futures::future::join_all(lines).await;
    let mut table = String::from(
        "operator stopped after each write to | management cluster | new cluster | ended otherwise\n",
    );
    for Line {
        name,
        stops,
        different,
    } in &lines
    {
        let stops = |called| stops[called];
        writeln!(
            table,
            "{name:36} | {:18} | {:11} | {}",
            stops("management cluster"),
            stops("new cluster"),
            different.len().saturating_sub(1)
        )
        .unwrap();
    }
    println!("{table}");
    let different: Vec<&String> = lines.iter().flat_map(|line| &line.different).collect();
    assert!(different.is_empty(), "{table}\n{different:#?}");
    assert!(
        lines
            .iter()
            .all(|line| line.stops["management cluster"] > 0),
        "{table}"
    );
}
