//! ReplicaSets: as many Pods as are wanted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::status::Status;

use super::children::{self, Child};
use super::control::Control;
use super::pod::{self, Owner};
use super::queue::{Key, Task};
use super::{PODS, control, recorder};

/// Makes or deletes Pods, and says how many there are.
///
/// # Errors
/// What the writes say.
pub async fn reconcile(control: &mut Control, key: &Key) -> Result<(), Status> {
    let Some(set) = control.world.get(key) else {
        return Ok(());
    };
    let owner = Owner {
        api_version: "apps/v1",
        kind: "ReplicaSet",
        object: &set,
    };
    let pods = children::claim(control, key, owner, PODS).await?;
    let wanted = count(&set["spec"]["replicas"]);
    let active: Vec<&Child> = pods.iter().filter(|(_, p)| pod::is_active(p)).collect();
    if !pod::is_terminating(&set) {
        if active.len() < wanted {
            create(control, key, owner, wanted - active.len()).await?;
        } else {
            for (key, gone) in surplus(&active, wanted) {
                control.delete(&key, None).await?;
                let what = format!("Deleted pod: {}", pod::name(&gone));
                recorder::record(control, owner, "SuccessfulDelete", &what).await;
            }
        }
    }
    write_status(control, key, &set).await
}

async fn create(
    control: &mut Control,
    key: &Key,
    owner: Owner<'_>,
    missing: usize,
) -> Result<(), Status> {
    let namespace = control::namespace(key).unwrap_or_default();
    let prefix = format!("{}-", pod::name(owner.object));
    for _ in 0..missing {
        let name = control.next_name(owner, &prefix, "");
        let mut made = owner.pod(&name);
        made["metadata"]["generateName"] = prefix.as_str().into();
        let pod: Key = format!("{PODS}{namespace}/{name}").into();
        let task = Task::ReplicaSet(key.clone());
        control.create(task, &pod, made).await?;
        let what = format!("Created pod: {name}");
        recorder::record(control, owner, "SuccessfulCreate", &what).await;
    }
    Ok(())
}

async fn write_status(control: &mut Control, key: &Key, set: &Arc<Value>) -> Result<(), Status> {
    let now = Timestamp::now();
    let least = min_ready(set);
    let mut active = control.world.children(pod::uid(set));
    active.retain(|(_, p)| pod::is_active(p));
    let count = |is: &dyn Fn(&Value) -> bool| active.iter().filter(|(_, p)| is(p)).count();
    let ready = count(&pod::is_ready);
    let available = count(&|p| pod::is_available(p, least, now));
    let replicas = active.len();
    let generation = set["metadata"]["generation"].clone();
    control
        .update(key, Some("status"), |set| {
            let status = &mut set["status"];
            status["replicas"] = replicas.into();
            status["observedGeneration"] = generation.clone();
            for (field, number) in [
                ("fullyLabeledReplicas", replicas),
                ("readyReplicas", ready),
                ("availableReplicas", available),
            ] {
                set_number(status, field, number);
            }
        })
        .await?;
    if let Some(wait) = next_available(active.iter().map(|(_, p)| &**p), least, now) {
        control.queue.later(Task::ReplicaSet(key.clone()), wait);
    }
    Ok(())
}

/// Sets a number in a status, where zero is left out.
pub fn set_number(status: &mut Value, field: &str, number: usize) {
    if number > 0 {
        status[field] = number.into();
    } else if let Some(status) = status.as_object_mut() {
        status.shift_remove(field);
    }
}

/// A number of a spec; zero if it is none.
pub fn count(value: &Value) -> usize {
    value
        .as_u64()
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or_default()
}

/// `minReadySeconds` of a workload.
pub fn min_ready(workload: &Value) -> i64 {
    workload["spec"]["minReadySeconds"]
        .as_i64()
        .unwrap_or_default()
}

/// How long it takes until the next Pod has been Ready for `min_ready` seconds.
pub fn next_available<'a>(
    pods: impl Iterator<Item = &'a Value>,
    min_ready: i64,
    now: Timestamp,
) -> Option<Duration> {
    pods.filter_map(|p| pod::available_in(p, min_ready, now))
        .filter(|wait| !wait.is_zero())
        .min()
}

/// Which Pods go when fewer are wanted: first those without a place, then those that do not run,
/// those that are not Ready, those that cost least, those that share their Node with most others,
/// those that have been Ready for the shortest time, and the newest (`ActivePodsWithRanks` of
/// Kubernetes). The last resort is the name, so that everybody chooses the same.
fn surplus(active: &[&Child], wanted: usize) -> Vec<Child> {
    let mut on_node: HashMap<&str, usize> = HashMap::new();
    for (_, p) in active {
        *on_node.entry(pod::node(p).unwrap_or_default()).or_default() += 1;
    }
    let rank = |(key, p): &&Child| {
        let cost = &p["metadata"]["annotations"]["controller.kubernetes.io/pod-deletion-cost"];
        let cost: i64 = cost
            .as_str()
            .and_then(|cost| cost.parse().ok())
            .unwrap_or_default();
        let neighbours = on_node.get(pod::node(p).unwrap_or_default()).copied();
        let created = p["metadata"]["creationTimestamp"]
            .as_str()
            .unwrap_or_default();
        (
            pod::node(p).is_some(),
            pod::phase(p) == "Running",
            pod::is_ready(p),
            cost,
            std::cmp::Reverse(neighbours),
            std::cmp::Reverse(pod::ready_since(p)),
            std::cmp::Reverse(created.to_owned()),
            key.clone(),
        )
    };
    let mut ranked = active.to_vec();
    ranked.sort_by_cached_key(rank);
    let too_many = active.len().saturating_sub(wanted);
    ranked.into_iter().take(too_many).cloned().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `name node phase ready-since cost`.
    fn child(text: &str) -> Child {
        let parts: Vec<&str> = text.split(' ').collect();
        let [name, node, phase, since, cost] = parts[..] else {
            panic!("five words")
        };
        let ready = if since == "-" { "False" } else { "True" };
        let annotation = "controller.kubernetes.io/pod-deletion-cost";
        let pod = json!({
            "metadata": {"name": name, "annotations": {annotation: cost},
                "creationTimestamp": "2001-01-01T00:00:00Z"},
            "spec": {"nodeName": node.trim_matches('-')},
            "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready,
                "lastTransitionTime": format!("2001-01-01T00:00:0{}Z", since.replace('-', "0"))}]},
        });
        (name.into(), Arc::new(pod))
    }

    #[test]
    fn the_least_useful_pods_go_first() {
        let rules: &[(&str, &[&str], &str)] = &[
            (
                "without a place",
                &["a n1 Pending - 0", "b - Pending - 0"],
                "b",
            ),
            (
                "not running",
                &["a n1 Running - 0", "b n2 Pending - 0"],
                "b",
            ),
            ("not ready", &["a n1 Running 1 0", "b n2 Running - 0"], "b"),
            ("cheaper", &["a n1 Running 1 5", "b n2 Running 1 -5"], "b"),
            (
                "with neighbours",
                &["a n1 Running 1 0", "b n2 Running 1 0", "c n2 Running 1 0"],
                "b",
            ),
            (
                "ready for less time",
                &["a n1 Running 1 0", "b n2 Running 2 0"],
                "b",
            ),
            ("by name", &["b n1 Running 1 0", "a n2 Running 1 0"], "a"),
        ];
        for (rule, pods, first) in rules {
            let pods: Vec<Child> = pods.iter().map(|text| child(text)).collect();
            let all: Vec<&Child> = pods.iter().collect();
            let gone = surplus(&all, pods.len() - 1);
            let names: Vec<&str> = gone.iter().map(|(_, p)| pod::name(p)).collect();
            assert_eq!(names, [*first], "{rule}");
        }
    }

    #[test]
    fn nothing_goes_while_enough_are_wanted() {
        let pod = child("a n1 Running 1 0");
        assert!(surplus(&[&pod], 1).is_empty());
        assert!(surplus(&[&pod], 2).is_empty());
    }
}
