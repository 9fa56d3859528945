//! DaemonSets: one Pod on each Node that fits.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::status::Status;

use super::children::{self, Child};
use super::control::Control;
use super::placement;
use super::pod::{self, Owner};
use super::queue::{Key, Task};
use super::replica_set::{min_ready, next_available, set_number};
use super::rollout::share;
use super::{NODES, PODS, control, names, recorder, taints};

/// The label with the hash of the template of a Pod.
pub const HASH: &str = "controller-revision-hash";

/// Taints that the Pods of a DaemonSet always tolerate, and their effects.
const TOLERATED: &[(&str, &str)] = &[
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

/// One of the Pods of a Node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Daemon {
    pod: Key,
    /// It has the present template.
    updated: bool,
    available: bool,
    ready: bool,
    /// It has run to its end.
    over: bool,
    terminating: bool,
}

/// A Node and the Pods that are meant for it, the oldest first.
#[derive(Clone, Debug, Default)]
struct Place {
    node: String,
    /// There should be a Pod.
    wanted: bool,
    /// A Pod that is there may stay.
    allowed: bool,
    pods: Vec<Daemon>,
}

/// How an update goes.
#[derive(Clone, Copy, Debug)]
struct Update {
    /// Old Pods are replaced without being deleted by somebody else.
    rolling: bool,
    max_unavailable: usize,
    max_surge: usize,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    /// Nodes that get a Pod.
    create: Vec<String>,
    /// Pods that go.
    delete: Vec<Key>,
}

/// Makes and deletes Pods, and says how many there are.
///
/// # Errors
/// What the writes say.
pub async fn reconcile(control: &mut Control, key: &Key) -> Result<(), Status> {
    let Some(set) = control.world.get(key) else {
        return Ok(());
    };
    let owner = Owner {
        api_version: "apps/v1",
        kind: "DaemonSet",
        object: &set,
    };
    let pods = children::claim(control, key, owner, PODS).await?;
    let hash = names::template_hash(&set["spec"]["template"]);
    let now = Timestamp::now();
    let places = places(control, &set, &pods, &hash, now);
    if !pod::is_terminating(&set) {
        let wanted = places.iter().filter(|place| place.wanted).count();
        let plan = plan(&places, Update::of(&set, wanted));
        for node in &plan.create {
            create(control, key, owner, node, &hash).await?;
        }
        for gone in &plan.delete {
            control.delete(gone, None).await?;
        }
    }
    let pods = control.world.children(pod::uid(&set));
    let places = self::places(control, &set, &pods, &hash, now);
    write_status(control, key, &set, &places).await?;
    let pods = pods.iter().map(|(_, pod)| &**pod);
    if let Some(wait) = next_available(pods, min_ready(&set), now) {
        control.queue.later(Task::DaemonSet(key.clone()), wait);
    }
    Ok(())
}

/// The spec of the Pods.
fn pod_spec(set: &Value) -> Value {
    let mut spec = set["spec"]["template"]["spec"].clone();
    let mut tolerations = spec["tolerations"].as_array().cloned().unwrap_or_default();
    let host = spec["hostNetwork"] == true;
    let network = host.then_some(("node.kubernetes.io/network-unavailable", "NoSchedule"));
    for (key, effect) in TOLERATED.iter().copied().chain(network) {
        tolerations.push(json!({"key": key, "operator": "Exists", "effect": effect}));
    }
    spec["tolerations"] = tolerations.into();
    spec
}

fn places(
    control: &Control,
    set: &Value,
    pods: &[Child],
    hash: &str,
    now: Timestamp,
) -> Vec<Place> {
    let spec = pod_spec(set);
    let min_ready = min_ready(set);
    let mut places: Vec<Place> = control
        .world
        .range(NODES)
        .map(|(_, node)| place(&spec, node))
        .collect();
    let mut pods: Vec<&Child> = pods.iter().collect();
    pods.sort_by_key(|(key, pod)| (pod["metadata"]["creationTimestamp"].as_str(), key));
    for (key, pod) in pods {
        let Some(target) = target(pod) else { continue };
        let Some(place) = places.iter_mut().find(|place| place.node == target) else {
            continue;
        };
        place.pods.push(Daemon {
            pod: key.clone(),
            updated: pod["metadata"]["labels"][HASH] == hash,
            available: pod::is_available(pod, min_ready, now),
            ready: pod::is_ready(pod),
            over: pod::is_over(pod),
            terminating: pod::is_terminating(pod),
        });
    }
    places
}

fn place(spec: &Value, node: &Value) -> Place {
    let fits = placement::matches_selectors(spec, node);
    let keeps_away = taints::untolerated(spec, node);
    let taints = node["spec"]["taints"].as_array().into_iter().flatten();
    let mut driving = taints.filter(|taint| taint["effect"] == "NoExecute");
    Place {
        node: pod::name(node).to_owned(),
        wanted: fits && keeps_away.is_none(),
        allowed: fits && driving.all(|taint| taints::is_tolerated(spec, taint)),
        pods: Vec::new(),
    }
}

/// The Node that a Pod is for: where it is, or where it must go.
fn target(pod: &Value) -> Option<&str> {
    pod::node(pod).or_else(|| {
        let required = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution";
        let field = "/nodeSelectorTerms/0/matchFields/0/values/0";
        pod.pointer(&format!("{required}{field}"))?.as_str()
    })
}

impl Update {
    fn of(set: &Value, wanted: usize) -> Self {
        let strategy = &set["spec"]["updateStrategy"];
        let whole = i64::try_from(wanted).unwrap_or(i64::MAX);
        let number = |field: &str| {
            let number = share(&strategy["rollingUpdate"][field], whole, true);
            usize::try_from(number).unwrap_or_default()
        };
        let max_surge = number("maxSurge");
        let max_unavailable = number("maxUnavailable");
        Self {
            rolling: strategy["type"] != "OnDelete",
            max_surge,
            // Something must be able to move.
            max_unavailable: max_unavailable.max(usize::from(max_surge == 0)),
        }
    }
}

/// Which Nodes get a Pod, and which Pods go. Pure.
///
/// A Node whose Pod is still ending gets no other before it is gone.
fn plan(places: &[Place], update: Update) -> Plan {
    let mut plan = Plan::default();
    for place in places {
        let living: Vec<&Daemon> = place.pods.iter().filter(|p| !p.terminating).collect();
        if !place.allowed {
            plan.delete.extend(living.iter().map(|p| p.pod.clone()));
            continue;
        }
        let (over, running): (Vec<_>, Vec<_>) = living.into_iter().partition(|p| p.over);
        plan.delete.extend(over.iter().map(|p| p.pod.clone()));
        if place.wanted && place.pods.is_empty() {
            plan.create.push(place.node.clone());
        }
        // One of each template, for an update may need both for a while.
        for updated in [true, false] {
            let same = running.iter().filter(|p| p.updated == updated);
            plan.delete.extend(same.skip(1).map(|p| p.pod.clone()));
        }
    }
    if update.rolling {
        roll(places, update, &mut plan);
    }
    plan
}

fn roll(places: &[Place], update: Update, plan: &mut Plan) {
    let living = |place: &Place, updated: bool| {
        let mut pods = place.pods.iter().filter(|p| !p.terminating && !p.over);
        pods.find(|p| p.updated == updated).cloned()
    };
    let wanted = places.iter().filter(|place| place.wanted);
    let states: Vec<_> = wanted
        .map(|place| (place, living(place, true), living(place, false)))
        .collect();
    let is_served = |new: &Option<Daemon>, old: &Option<Daemon>| {
        [new, old].into_iter().flatten().any(|p| p.available)
    };
    let unavailable = states
        .iter()
        .filter(|(_, new, old)| !is_served(new, old))
        .count();
    let surging = states
        .iter()
        .filter(|(_, new, old)| new.is_some() && old.is_some())
        .count();
    let mut may_go = update.max_unavailable.saturating_sub(unavailable);
    let mut may_come = update.max_surge.saturating_sub(surging);
    for (place, new, old) in states {
        let Some(old) = old else { continue };
        match new {
            Some(new) if new.available => plan.delete.push(old.pod),
            None if !old.available => plan.delete.push(old.pod),
            None if may_come > 0 => {
                may_come -= 1;
                plan.create.push(place.node.clone());
            }
            None if update.max_surge == 0 && may_go > 0 => {
                may_go -= 1;
                plan.delete.push(old.pod);
            }
            // The new one is not available yet, or no more may change at once.
            _ => {}
        }
    }
}

async fn create(
    control: &mut Control,
    key: &Key,
    owner: Owner<'_>,
    node: &str,
    hash: &str,
) -> Result<(), Status> {
    let set = owner.object;
    let prefix = format!("{}-", pod::name(set));
    let name = control.next_name(owner, &prefix, &format!("{node} {hash}"));
    let mut made = owner.pod(&name);
    let metadata = &mut made["metadata"];
    metadata["generateName"] = prefix.into();
    metadata["labels"][HASH] = hash.into();
    metadata["labels"]["pod-template-generation"] =
        set["metadata"]["generation"].to_string().into();
    made["spec"] = pod_spec(set);
    let required = json!({"nodeSelectorTerms": [{"matchFields": [
        {"key": "metadata.name", "operator": "In", "values": [node]}]}]});
    let affinity = &mut made["spec"]["affinity"]["nodeAffinity"];
    affinity["requiredDuringSchedulingIgnoredDuringExecution"] = required;
    let namespace = control::namespace(key).unwrap_or_default();
    let pod: Key = format!("{PODS}{namespace}/{name}").into();
    control
        .create(Task::DaemonSet(key.clone()), &pod, made)
        .await?;
    let what = format!("Created pod: {name}");
    recorder::record(control, owner, "SuccessfulCreate", &what).await;
    Ok(())
}

async fn write_status(
    control: &mut Control,
    key: &Key,
    set: &Value,
    places: &[Place],
) -> Result<(), Status> {
    let status = status(places);
    let generation = set["metadata"]["generation"].clone();
    control
        .update(key, Some("status"), |set| {
            set["status"]["observedGeneration"] = generation.clone();
            for (field, number) in status {
                set["status"][field] = number.into();
            }
            for field in [
                "updatedNumberScheduled",
                "numberAvailable",
                "numberUnavailable",
            ] {
                let number = set["status"][field].as_u64().unwrap_or_default();
                set_number(
                    &mut set["status"],
                    field,
                    usize::try_from(number).unwrap_or(0),
                );
            }
        })
        .await
}

fn status(places: &[Place]) -> [(&'static str, usize); 7] {
    let is = |place: &Place, is: fn(&Daemon) -> bool| {
        place
            .pods
            .iter()
            .any(|p| !p.terminating && !p.over && is(p))
    };
    let wanted = || places.iter().filter(|place| place.wanted);
    let desired = wanted().count();
    let count = |what: fn(&Daemon) -> bool| wanted().filter(|place| is(place, what)).count();
    let available = count(|p| p.available);
    let elsewhere = places
        .iter()
        .filter(|place| !place.wanted && is(place, |_| true));
    [
        ("desiredNumberScheduled", desired),
        ("currentNumberScheduled", count(|_| true)),
        ("numberMisscheduled", elsewhere.count()),
        ("numberReady", count(|p| p.ready)),
        ("numberAvailable", available),
        ("numberUnavailable", desired - available),
        ("updatedNumberScheduled", count(|p| p.updated)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `node: state state …`, where a state is `old` or `new`, and `!` if it is not available,
    /// `-` if it is ending. A leading `x` forbids the Node, a `c` only keeps new Pods away.
    fn places(text: &[&str]) -> Vec<Place> {
        text.iter()
            .map(|text| {
                let (node, pods) = text.split_once(':').unwrap();
                let pods = pods.split_whitespace().enumerate();
                Place {
                    node: node.to_owned(),
                    wanted: !node.starts_with(['x', 'c']),
                    allowed: !node.starts_with('x'),
                    pods: pods
                        .map(|(index, state)| Daemon {
                            pod: format!("{node}{index}").into(),
                            updated: state.starts_with("new"),
                            available: state.len() == 3,
                            ready: state.len() == 3,
                            over: state.ends_with('#'),
                            terminating: state.ends_with('-'),
                        })
                        .collect(),
                }
            })
            .collect()
    }

    fn planned(text: &[&str], max_unavailable: usize, max_surge: usize) -> (String, String) {
        let update = Update {
            rolling: true,
            max_unavailable,
            max_surge,
        };
        let plan = plan(&places(text), update);
        (plan.create.join(" "), plan.delete.join(" "))
    }

    #[test]
    fn every_node_that_fits_has_one_pod() {
        for (nodes, create, delete) in [
            (&["a:", "b: new"][..], "a", ""),
            (&["a: new-"], "", ""),
            (&["x: new", "c: new"], "", "x0"),
            (&["a: new new"], "", "a1"),
            (&["a: new#"], "", "a0"),
        ] {
            let expected = (create.to_owned(), delete.to_owned());
            assert_eq!(planned(nodes, 1, 0), expected, "{nodes:?}");
        }
    }

    #[test]
    fn an_update_keeps_to_what_may_be_unavailable() {
        for (nodes, unavailable, delete) in [
            (&["a: old", "b: old"][..], 1, "a0"),
            (&["a: old", "b: old"], 2, "a0 b0"),
            (&["a: old", "b: new!"], 1, ""),
            (&["a: old", "b: new"], 1, "a0"),
            (&["a: old!", "b: old"], 1, "a0"),
            (&["a: old-", "b: old"], 1, ""),
        ] {
            assert_eq!(planned(nodes, unavailable, 0).1, delete, "{nodes:?}");
        }
    }

    #[test]
    fn an_update_with_a_surge_starts_the_new_pod_first() {
        let step = |nodes: &[&str]| planned(nodes, 0, 1);
        assert_eq!(step(&["a: old", "b: old"]), ("a".to_owned(), String::new()));
        assert_eq!(
            step(&["a: old new!", "b: old"]),
            (String::new(), String::new())
        );
        assert_eq!(step(&["a: old new", "b: old"]).1, "a0");
    }

    #[test]
    fn pods_of_daemon_sets_tolerate_a_cordon_but_not_any_taint() {
        let spec = pod_spec(&json!({"spec": {"template": {"spec": {}}}}));
        let node = |key: &str, effect: &str| json!({"metadata": {"name": "n"}, "spec": {"taints": [{"key": key, "effect": effect}]}});
        let state = |node: &Value| {
            let place = place(&spec, node);
            (place.wanted, place.allowed)
        };
        let cordoned = node("node.kubernetes.io/unschedulable", "NoSchedule");
        assert_eq!(state(&cordoned), (true, true));
        assert_eq!(state(&node("mine", "NoSchedule")), (false, true));
        assert_eq!(state(&node("mine", "NoExecute")), (false, false));
    }
}
