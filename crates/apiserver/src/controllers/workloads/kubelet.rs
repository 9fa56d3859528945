//! What scheduler and kubelets do with a Pod: it gets a Node, runs as long as that is Ready, and
//! ends when it is deleted.
//!
//! Containers start and stop at once. A Pod of a Job ends with success as soon as it runs. Whatever
//! is on a Node that is not Ready stays as it is, for nobody hears of it there.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::api;
use crate::objects;
use crate::status::Status;

use super::control::Control;
use super::placement::{self, Candidate};
use super::pod::{self, Owner};
use super::queue::{Key, Task};
use super::{NODES, recorder, taints};

/// The scheduler that is simulated.
const SCHEDULER: &str = "default-scheduler";

/// How long a Pod stays that is on a Node that is not there.
const LOST: Duration = Duration::from_secs(40);

fn as_owner(pod: &Value) -> Owner<'_> {
    Owner {
        api_version: "v1",
        kind: "Pod",
        object: pod,
    }
}

/// Does what is to be done next about a Pod.
///
/// # Errors
/// What the writes say.
pub async fn pod(control: &mut Control, key: &Key) -> Result<(), Status> {
    let Some(pod) = control.world.get(key) else {
        control.lost.remove(key);
        return Ok(());
    };
    let Some(name) = pod::node(&pod) else {
        return if pod::is_active(&pod) {
            place(control, key, &pod).await
        } else {
            Ok(())
        };
    };
    let Some(node) = control.world.get(&format!("{NODES}{name}")) else {
        return give_up(control, key).await;
    };
    control.lost.remove(key);
    if pod::is_terminating(&pod) {
        let at = pod["metadata"]["deletionTimestamp"].as_str();
        control.queue.push(Task::End {
            at: at.unwrap_or_default().to_owned(),
            pod: key.clone(),
        });
        return Ok(());
    }
    if pod::is_over(&pod) {
        return Ok(());
    }
    match taints::stays_for(&pod, &node, Timestamp::now()) {
        Some(Duration::ZERO) => {
            let what = format!("Marking for deletion Pod {}", pod::name(&pod));
            recorder::record(control, as_owner(&pod), "TaintManagerEviction", &what).await;
            return control.delete(key, None).await;
        }
        Some(wait) => control.queue.later(Task::Pod(key.clone()), wait),
        None => {}
    }
    run(control, key, &pod, &node).await
}

/// Ends a Pod that is being deleted, if its Node is there to do so.
///
/// # Errors
/// What the deletion says.
pub async fn end(control: &mut Control, key: &Key) -> Result<(), Status> {
    let Some(pod) = control.world.get(key).filter(|p| pod::is_terminating(p)) else {
        return Ok(());
    };
    let node = format!("{NODES}{}", pod::node(&pod).unwrap_or_default());
    let node = control.world.get(&node);
    if node.is_some_and(|node| placement::is_ready(&node)) {
        control.delete(key, Some(0)).await?;
    }
    Ok(())
}

/// Deletes a Pod whose Node is not there, after a while: it may come back.
async fn give_up(control: &mut Control, key: &Key) -> Result<(), Status> {
    let now = Instant::now();
    let since = *control.lost.entry(key.clone()).or_insert(now);
    let left = LOST.saturating_sub(now.duration_since(since));
    if !left.is_zero() {
        control.queue.later(Task::Pod(key.clone()), left);
        return Ok(());
    }
    control.lost.remove(key);
    control.delete(key, Some(0)).await
}

/// Puts a Pod on a Node, or says why there is none for it.
async fn place(control: &mut Control, key: &Key, pod: &Arc<Value>) -> Result<(), Status> {
    let gated = pod["spec"]["schedulingGates"]
        .as_array()
        .is_some_and(|gates| !gates.is_empty());
    if gated || pod["spec"]["schedulerName"] != SCHEDULER {
        return Ok(());
    }
    let controller = pod::controller(pod);
    let uid = controller.and_then(|controller| controller["uid"].as_str());
    let siblings = uid
        .map(|uid| control.world.children(uid))
        .unwrap_or_default();
    let candidates: Vec<Candidate<'_>> = control
        .world
        .range(NODES)
        .filter(|(_, node)| !pod::is_terminating(node))
        .map(|(_, node)| {
            let name = pod::name(node);
            let is_there =
                |sibling: &Value| pod::node(sibling) == Some(name) && pod::is_active(sibling);
            Candidate {
                node,
                pods: control.world.count_on_node(name),
                siblings: siblings.iter().filter(|(_, s)| is_there(s)).count(),
            }
        })
        .collect();
    let now = api::now();
    match placement::choose(pod, &candidates) {
        Ok(node) => {
            let node = node.to_owned();
            control
                .update(key, Some("binding"), |pod| bind(pod, &node, &now))
                .await?;
            let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
            let name = pod::name(pod);
            let what = format!("Successfully assigned {namespace}/{name} to {node}");
            recorder::record(control, as_owner(pod), "Scheduled", &what).await;
        }
        Err(why) => {
            let known = objects::condition(&pod["status"], "PodScheduled");
            if known.is_some_and(|known| known["message"] == why.as_str()) {
                return Ok(());
            }
            let condition = json!({"type": "PodScheduled", "status": "False",
                "reason": "Unschedulable", "message": why});
            control
                .update(key, Some("status"), |pod| {
                    objects::set_condition(&mut pod["status"], condition.clone(), &now);
                })
                .await?;
            recorder::warn(control, as_owner(pod), "FailedScheduling", &why).await;
        }
    }
    Ok(())
}

fn bind(pod: &mut Value, node: &str, now: &str) {
    pod["spec"]["nodeName"] = node.into();
    let condition = json!({"type": "PodScheduled", "status": "True"});
    objects::set_condition(&mut pod["status"], condition, now);
}

/// Makes the status of a Pod that of one on its Node.
async fn run(
    control: &mut Control,
    key: &Key,
    pod: &Arc<Value>,
    node: &Value,
) -> Result<(), Status> {
    let now = api::now();
    if !placement::is_ready(node) {
        if pod::is_ready(pod) {
            control
                .update(key, Some("status"), |pod| {
                    set(pod, "Ready", false, Some("NodeNotReady"), &now);
                })
                .await?;
        }
        return Ok(());
    }
    if pod::phase(pod) != "Running" {
        let host = internal_address(node);
        let address = if pod["spec"]["hostNetwork"] == true && host.is_some() {
            host.map(str::to_owned)
        } else {
            let world = &control.world;
            let next = control
                .addresses
                .next(node, |address| world.has_address(address));
            next.map(|address| address.to_string())
        };
        control
            .update(key, Some("status"), |pod| {
                start(pod, host, address.as_deref(), &now);
            })
            .await?;
        recorder::record(control, as_owner(pod), "Started", "Started containers").await;
        return Ok(());
    }
    let of_job = pod::controller(pod).is_some_and(|owner| owner["kind"] == "Job");
    control
        .update(key, Some("status"), |pod| {
            if of_job {
                succeed(pod, &now);
            } else {
                judge_readiness(pod, &now);
            }
        })
        .await
}

fn internal_address(node: &Value) -> Option<&str> {
    let mut addresses = node["status"]["addresses"].as_array()?.iter();
    let internal = addresses.find(|address| address["type"] == "InternalIP")?;
    internal["address"].as_str()
}

fn set(pod: &mut Value, kind: &str, is: bool, reason: Option<&str>, now: &str) {
    let status = if is { "True" } else { "False" };
    let mut condition = json!({"type": kind, "status": status});
    if let Some(reason) = reason {
        condition["reason"] = reason.into();
    }
    let known = objects::condition(&pod["status"], kind);
    let same = |known: &Value| {
        known["status"] == condition["status"] && known["reason"] == condition["reason"]
    };
    if !known.is_some_and(same) {
        objects::set_condition(&mut pod["status"], condition, now);
    }
}

/// All containers run.
fn start(pod: &mut Value, host: Option<&str>, address: Option<&str>, now: &str) {
    for kind in [
        "PodScheduled",
        "PodReadyToStartContainers",
        "Initialized",
        "ContainersReady",
    ] {
        set(pod, kind, true, None, now);
    }
    let status = |container: &Value, state: Value, ready: bool| {
        json!({
            "name": container["name"], "image": container["image"], "imageID": "",
            "containerID": format!("simulated://{}", container["name"].as_str().unwrap_or_default()),
            "ready": ready, "started": ready, "restartCount": 0, "state": state, "lastState": {},
        })
    };
    let ended = json!({"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now,
        "finishedAt": now}});
    let runs = json!({"running": {"startedAt": now}});
    for (list, statuses, in_the_end) in [
        ("initContainers", "initContainerStatuses", &ended),
        ("containers", "containerStatuses", &runs),
    ] {
        let made: Vec<Value> = pod["spec"][list]
            .as_array()
            .into_iter()
            .flatten()
            .map(|container| {
                // An init container that always restarts is a sidecar.
                let state = if container["restartPolicy"] == "Always" {
                    &runs
                } else {
                    in_the_end
                };
                status(container, state.clone(), true)
            })
            .collect();
        if !made.is_empty() {
            pod["status"][statuses] = made.into();
        }
    }
    let status = &mut pod["status"];
    status["phase"] = "Running".into();
    status["startTime"] = now.into();
    if let Some(host) = host {
        status["hostIP"] = host.into();
        status["hostIPs"] = json!([{"ip": host}]);
    }
    if let Some(address) = address {
        status["podIP"] = address.into();
        status["podIPs"] = json!([{"ip": address}]);
    }
    judge_readiness(pod, now);
}

/// A Pod that runs is Ready once all its readiness gates are open.
fn judge_readiness(pod: &mut Value, now: &str) {
    let gates = pod["spec"]["readinessGates"]
        .as_array()
        .into_iter()
        .flatten();
    let mut gates = gates.filter_map(|gate| gate["conditionType"].as_str());
    let ready = gates.all(|gate| objects::is_true(&pod["status"], gate));
    let reason = (!ready).then_some("ReadinessGatesNotReady");
    set(pod, "Ready", ready, reason, now);
}

/// All containers have ended well.
fn succeed(pod: &mut Value, now: &str) {
    for kind in ["Initialized", "Ready", "ContainersReady"] {
        let reason = Some("PodCompleted");
        set(pod, kind, kind == "Initialized", reason, now);
    }
    let started = pod["status"]["startTime"].clone();
    let containers = pod["status"]["containerStatuses"].as_array_mut();
    for container in containers.into_iter().flatten() {
        container["ready"] = false.into();
        container["started"] = false.into();
        container["state"] = json!({"terminated": {"exitCode": 0, "reason": "Completed",
            "startedAt": started, "finishedAt": now}});
    }
    pod["status"]["phase"] = "Succeeded".into();
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2001-01-01T00:00:00Z";

    fn started(spec: &Value) -> Value {
        let mut pod = json!({"spec": spec, "status": {"phase": "Pending"}});
        start(&mut pod, Some("192.0.2.1"), Some("10.244.0.2"), NOW);
        pod
    }

    #[test]
    fn a_pod_that_starts_runs_in_all_its_containers_and_is_ready() {
        let pod = started(&json!({
            "initContainers": [{"name": "first", "image": "i"},
                {"name": "beside", "image": "i", "restartPolicy": "Always"}],
            "containers": [{"name": "main", "image": "i"}],
        }));
        let status = &pod["status"];
        assert_eq!(status["phase"], "Running");
        assert!(pod::is_ready(&pod));
        assert!(status["initContainerStatuses"][0]["state"]["terminated"].is_object());
        assert!(status["initContainerStatuses"][1]["state"]["running"].is_object());
        assert!(status["containerStatuses"][0]["state"]["running"].is_object());
        assert_eq!(status["podIPs"][0]["ip"], status["podIP"]);
    }

    #[test]
    fn a_closed_readiness_gate_keeps_a_pod_from_being_ready() {
        let mut pod = started(&json!({"readinessGates": [{"conditionType": "open"}]}));
        assert!(!pod::is_ready(&pod));
        objects::set_condition(
            &mut pod["status"],
            json!({"type": "open", "status": "True"}),
            NOW,
        );
        judge_readiness(&mut pod, NOW);
        assert!(pod::is_ready(&pod));
    }

    #[test]
    fn a_pod_that_has_succeeded_is_not_ready_any_more() {
        let mut pod = started(&json!({"containers": [{"name": "main", "image": "i"}]}));
        succeed(&mut pod, NOW);
        assert_eq!(pod::phase(&pod), "Succeeded");
        assert!(!pod::is_ready(&pod));
        let state = &pod["status"]["containerStatuses"][0]["state"];
        assert_eq!(state["terminated"]["exitCode"], 0);
    }
}
