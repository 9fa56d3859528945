//! Deployments: ReplicaSets, one for each template, that grow and shrink ([`super::rollout`]).

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::api;
use crate::objects;
use crate::status::Status;

use super::children::{self, Child};
use super::control::Control;
use super::history::{self, DESIRED, MOST, REVISION};
use super::names;
use super::pod::{self, Owner};
use super::queue::{Key, Task};
use super::replica_set::{count, set_number};
use super::rollout::{self, Goal, Size};
use super::{REPLICA_SETS, control, recorder};

/// The ReplicaSets of a Deployment, in the order of their age.
#[derive(Debug)]
struct Sets {
    all: Vec<Child>,
    /// Which of them has the template of the Deployment.
    new: Option<usize>,
}

/// Makes and sizes ReplicaSets, and says how far that is.
///
/// # Errors
/// What the writes say.
pub async fn reconcile(control: &mut Control, key: &Key) -> Result<(), Status> {
    let Some(deployment) = control.world.get(key) else {
        return Ok(());
    };
    let owner = Owner {
        api_version: "apps/v1",
        kind: "Deployment",
        object: &deployment,
    };
    let children = children::claim(control, key, owner, REPLICA_SETS).await?;
    let mut sets = Sets::sort(children, &deployment);
    let goal = Goal::of(&deployment);
    if !pod::is_terminating(&deployment) {
        let paused = deployment["spec"]["paused"] == true;
        if paused || rollout::is_rescaled(goal, &sets.sizes()) {
            let wanted = rollout::rescale(goal, &sets.sizes(), sets.new);
            resize(control, owner, goal, &sets, &wanted).await?;
        } else {
            step(control, key, owner, goal, &sets).await?;
        }
        let children = children::claim(control, key, owner, REPLICA_SETS).await?;
        sets = Sets::sort(children, &deployment);
        let revision = sets.newest().map(|set| history::revision(set));
        if let Some(revision) = revision.filter(|revision| *revision > 0) {
            let revision = revision.to_string();
            control
                .update(key, None, |deployment| {
                    deployment["metadata"]["annotations"][REVISION] = revision.as_str().into();
                })
                .await?;
        }
    }
    let Some(deployment) = control.world.get(key) else {
        return Ok(());
    };
    let complete = write_status(control, key, &deployment, &sets).await?;
    if complete && !pod::is_terminating(&deployment) {
        for (old, _) in history::outdated(&deployment, &sets.old()) {
            control.delete(&old, None).await?;
        }
    }
    Ok(())
}

/// Makes the next step of a rollout.
async fn step(
    control: &mut Control,
    key: &Key,
    owner: Owner<'_>,
    goal: Goal,
    sets: &Sets,
) -> Result<(), Status> {
    let old: Vec<Size> = sets.old().iter().map(|(_, set)| size(set)).collect();
    let new = sets.newest().map(|set| size(set));
    let recreates = owner.object["spec"]["strategy"]["type"] == "Recreate";
    let old_pods = sets.old().iter().any(|(_, set)| {
        let pods = control.world.children(pod::uid(set));
        pods.iter().any(|(_, pod)| !pod::is_over(pod))
    });
    let (grown, shrunk) = if recreates {
        rollout::recreate(goal, new.unwrap_or_default(), &old, old_pods)
    } else {
        rollout::roll(goal, new.unwrap_or_default(), &old)
    };
    let waits = recreates && (old_pods || old.iter().any(|size| size.replicas > 0));
    match sets.new {
        None if !waits => create(control, key, owner, goal, grown, sets).await?,
        None => {}
        Some(new) => {
            let (key, set) = &sets.all[new];
            let revision = history::next_revision(set, &sets.old());
            let annotations = &owner.object["metadata"]["annotations"];
            control
                .update(key, None, |set| {
                    history::copy_annotations(set, annotations);
                    history::set_revision(set, revision);
                })
                .await?;
        }
    }
    let mut old = shrunk.into_iter();
    let wanted: Vec<i64> = (0..sets.all.len())
        .map(|index| {
            if sets.new == Some(index) {
                grown
            } else {
                old.next().unwrap_or_default()
            }
        })
        .collect();
    resize(control, owner, goal, sets, &wanted).await
}

/// Makes the ReplicaSet of the template.
async fn create(
    control: &mut Control,
    key: &Key,
    owner: Owner<'_>,
    goal: Goal,
    replicas: i64,
    sets: &Sets,
) -> Result<(), Status> {
    let deployment = owner.object;
    let hash = names::template_hash(&deployment["spec"]["template"]);
    let name = format!("{}-{hash}", pod::name(deployment));
    let mut template = deployment["spec"]["template"].clone();
    template["metadata"]["labels"]["pod-template-hash"] = hash.as_str().into();
    let mut selector = deployment["spec"]["selector"].clone();
    selector["matchLabels"]["pod-template-hash"] = hash.as_str().into();
    let mut set = json!({
        "kind": "ReplicaSet", "apiVersion": "apps/v1",
        "metadata": {
            "name": name,
            "labels": template["metadata"]["labels"],
            "ownerReferences": [owner.reference()],
        },
        "spec": {"replicas": replicas, "selector": selector, "template": template},
    });
    if let Some(seconds) = deployment["spec"].get("minReadySeconds") {
        set["spec"]["minReadySeconds"] = seconds.clone();
    }
    history::copy_annotations(&mut set, &deployment["metadata"]["annotations"]);
    history::set_revision(&mut set, history::next_revision(&Value::Null, &sets.old()));
    set_limits(&mut set, goal);
    let namespace = control::namespace(key).unwrap_or_default();
    let made: Key = format!("{REPLICA_SETS}{namespace}/{name}").into();
    let task = Task::Deployment(key.clone());
    control.create(task, &made, set).await?;
    let what = format!("Scaled up replica set {name} from 0 to {replicas}");
    recorder::record(control, owner, "ScalingReplicaSet", &what).await;
    Ok(())
}

/// Tells ReplicaSets their sizes.
async fn resize(
    control: &mut Control,
    owner: Owner<'_>,
    goal: Goal,
    sets: &Sets,
    wanted: &[i64],
) -> Result<(), Status> {
    let min_ready = owner.object["spec"]["minReadySeconds"].clone();
    for (index, ((key, set), wanted)) in sets.all.iter().zip(wanted).enumerate() {
        let is_new = sets.new == Some(index);
        let before = size(set).replicas;
        let changes = before != *wanted;
        control
            .update(key, None, |set| {
                if changes {
                    set["spec"]["replicas"] = (*wanted).into();
                }
                if changes || *wanted > 0 {
                    set_limits(set, goal);
                }
                if is_new && min_ready != set["spec"]["minReadySeconds"] {
                    set["spec"]["minReadySeconds"] = min_ready.clone();
                }
            })
            .await?;
        if changes {
            let way = if before < *wanted { "up" } else { "down" };
            let name = pod::name(set);
            let what = format!("Scaled {way} replica set {name} from {before} to {wanted}");
            recorder::record(control, owner, "ScalingReplicaSet", &what).await;
        }
    }
    Ok(())
}

fn set_limits(set: &mut Value, goal: Goal) {
    let annotations = &mut set["metadata"]["annotations"];
    annotations[DESIRED] = goal.replicas.to_string().into();
    annotations[MOST] = goal.most().to_string().into();
}

impl Sets {
    fn sort(mut all: Vec<Child>, deployment: &Value) -> Self {
        all.sort_by_cached_key(|(key, set)| {
            let created = set["metadata"]["creationTimestamp"].as_str();
            let created = created.unwrap_or_default().to_owned();
            (created, history::revision(set), key.clone())
        });
        let wanted = names::template_hash(&deployment["spec"]["template"]);
        let new = all.iter().position(|(_, set)| {
            !pod::is_terminating(set) && names::template_hash(&set["spec"]["template"]) == wanted
        });
        Self { all, new }
    }

    fn newest(&self) -> Option<&Arc<Value>> {
        self.new.map(|new| &self.all[new].1)
    }

    fn old(&self) -> Vec<Child> {
        let all = self.all.iter().enumerate();
        all.filter(|(index, _)| Some(*index) != self.new)
            .map(|(_, child)| child.clone())
            .collect()
    }

    fn sizes(&self) -> Vec<Size> {
        self.all.iter().map(|(_, set)| size(set)).collect()
    }
}

fn size(set: &Value) -> Size {
    let annotation = |name: &str| set["metadata"]["annotations"][name].as_str()?.parse().ok();
    Size {
        replicas: set["spec"]["replicas"].as_i64().unwrap_or_default(),
        available: set["status"]["availableReplicas"]
            .as_i64()
            .unwrap_or_default(),
        desired: annotation(DESIRED),
        most: annotation(MOST),
    }
}

/// Says how far a rollout is; returns whether it is complete.
async fn write_status(
    control: &mut Control,
    key: &Key,
    deployment: &Value,
    sets: &Sets,
) -> Result<bool, Status> {
    let (now, time) = (Timestamp::now(), api::now());
    let status = status(deployment, sets, now, &time);
    control
        .update(key, Some("status"), |deployment| {
            deployment["status"] = status.clone();
        })
        .await?;
    if let Some(wait) = deadline(deployment, &status, now) {
        control.queue.later(Task::Deployment(key.clone()), wait);
    }
    Ok(is_complete(deployment, &status))
}

fn status(deployment: &Value, sets: &Sets, now: Timestamp, time: &str) -> Value {
    let sum = |field: &str| -> usize {
        let numbers = sets.all.iter().map(|(_, set)| count(&set["status"][field]));
        numbers.sum()
    };
    let wanted: usize = sets
        .all
        .iter()
        .map(|(_, set)| count(&set["spec"]["replicas"]))
        .sum();
    let available = sum("availableReplicas");
    let updated = sets
        .newest()
        .map_or(0, |new| count(&new["status"]["replicas"]));
    let old = &deployment["status"];
    let mut status = if old.is_object() {
        old.clone()
    } else {
        json!({})
    };
    status["observedGeneration"] = deployment["metadata"]["generation"].clone();
    for (field, number) in [
        ("replicas", sum("replicas")),
        ("updatedReplicas", updated),
        ("readyReplicas", sum("readyReplicas")),
        ("availableReplicas", available),
        ("unavailableReplicas", wanted.saturating_sub(available)),
    ] {
        set_number(&mut status, field, number);
    }
    let goal = Goal::of(deployment);
    let least = usize::try_from(goal.replicas - goal.max_unavailable).unwrap_or_default();
    let condition = if available >= least {
        json!({"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable",
            "message": "Deployment has minimum availability."})
    } else {
        json!({"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable",
            "message": "Deployment does not have minimum availability."})
    };
    put_condition(&mut status, condition, time);
    if !deployment["spec"]["progressDeadlineSeconds"].is_null()
        && let Some(condition) = progress(deployment, &status, sets, now)
    {
        put_condition(&mut status, condition, time);
    }
    status
}

/// The time of the last update is that of the last progress: it stays while nothing changes.
fn put_condition(status: &mut Value, mut condition: Value, time: &str) {
    let kind = condition["type"].as_str().unwrap_or_default().to_owned();
    let moves = condition["reason"] == "ReplicaSetUpdated";
    let known = objects::condition(status, &kind)
        .filter(|known| known["status"] == condition["status"])
        .filter(|known| known["reason"] == condition["reason"] && !moves);
    let update = known.map_or(&Value::Null, |known| &known["lastUpdateTime"]);
    condition["lastUpdateTime"] = match update {
        Value::Null => time.into(),
        known => known.clone(),
    };
    objects::set_condition(status, condition, time);
}

/// The condition Progressing, if it changes.
fn progress(deployment: &Value, status: &Value, sets: &Sets, now: Timestamp) -> Option<Value> {
    let old = &deployment["status"];
    let known = objects::condition(old, "Progressing");
    let subject = match sets.newest() {
        Some(set) => format!("ReplicaSet {:?}", pod::name(set)),
        None => format!("Deployment {:?}", pod::name(deployment)),
    };
    let condition = |is: &str, reason: &str, message: &str| {
        Some(
            json!({"type": "Progressing", "status": is, "reason": reason,
            "message": format!("{subject} {message}")}),
        )
    };
    let number = |status: &Value, field: &str| count(&status[field]);
    let grew = |field: &str| number(status, field) > number(old, field);
    let outdated = |s: &Value| number(s, "replicas").saturating_sub(number(s, "updatedReplicas"));
    if is_complete(deployment, status) {
        return condition(
            "True",
            "NewReplicaSetAvailable",
            "has successfully progressed.",
        );
    }
    if deployment["spec"]["paused"] == true {
        return Some(json!({"type": "Progressing", "status": "Unknown",
            "reason": "DeploymentPaused", "message": "Deployment is paused"}));
    }
    let finished = known.is_some_and(|known| known["reason"] == "NewReplicaSetAvailable");
    if finished
        && outdated(status) == 0
        && number(status, "replicas") > 0
        && !grew("updatedReplicas")
    {
        // What was complete and has lost Pods since makes no progress and misses no deadline.
        return None;
    }
    let moves = grew("updatedReplicas")
        || outdated(status) < outdated(old)
        || grew("readyReplicas")
        || grew("availableReplicas")
        || finished
        || known.is_none_or(|known| known["status"] == "Unknown");
    if moves {
        return condition("True", "ReplicaSetUpdated", "is progressing.");
    }
    let late = deadline(deployment, old, now).is_none();
    if late && known.is_some_and(|known| known["status"] == "True") {
        return condition(
            "False",
            "ProgressDeadlineExceeded",
            "has timed out progressing.",
        );
    }
    None
}

/// How long a rollout that makes no progress has left; none if it has no deadline, or missed it.
fn deadline(deployment: &Value, status: &Value, now: Timestamp) -> Option<Duration> {
    let known = objects::condition(status, "Progressing")?;
    if known["reason"] == "NewReplicaSetAvailable" || known["status"] != "True" {
        return None;
    }
    let seconds = deployment["spec"]["progressDeadlineSeconds"].as_i64()?;
    let since: Timestamp = known["lastUpdateTime"].as_str()?.parse().ok()?;
    let end = since + SignedDuration::from_secs(seconds);
    let left: Duration = end.duration_since(now).try_into().ok()?;
    (!left.is_zero()).then_some(left)
}

fn is_complete(deployment: &Value, status: &Value) -> bool {
    let wanted = count(&deployment["spec"]["replicas"]);
    ["updatedReplicas", "replicas", "availableReplicas"]
        .into_iter()
        .all(|field| count(&status[field]) == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2001-01-01T00:00:00Z";

    fn deployment(replicas: i64, status: &Value) -> Value {
        json!({
            "metadata": {"name": "d", "generation": 2},
            "spec": {"replicas": replicas, "progressDeadlineSeconds": 600,
                "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
                "template": {"spec": 1}},
            "status": status,
        })
    }

    fn sets(deployment: &Value, sizes: &[(&str, i64, i64)]) -> Sets {
        let set = |(template, replicas, available): &(&str, i64, i64)| -> Child {
            let spec = if *template == "new" { 1 } else { 0 };
            let set = json!({
                "metadata": {"name": template},
                "spec": {"replicas": replicas, "template": {"spec": spec}},
                "status": {"replicas": replicas, "readyReplicas": available,
                    "availableReplicas": available},
            });
            ((*template).into(), Arc::new(set))
        };
        Sets::sort(sizes.iter().map(set).collect(), deployment)
    }

    fn judged(
        deployment: &Value,
        sizes: &[(&str, i64, i64)],
        now: &str,
    ) -> (Value, String, String) {
        let status = status(
            deployment,
            &sets(deployment, sizes),
            now.parse().unwrap(),
            now,
        );
        let reason = |kind: &str| {
            let found = objects::condition(&status, kind).unwrap();
            found["reason"].as_str().unwrap().to_owned()
        };
        let (available, progressing) = (reason("Available"), reason("Progressing"));
        (status, available, progressing)
    }

    #[test]
    fn conditions_tell_of_a_rollout() {
        let fresh = deployment(2, &json!({}));
        let (first, available, progressing) = judged(&fresh, &[("old", 2, 2), ("new", 1, 0)], TIME);
        assert_eq!(available, "MinimumReplicasAvailable");
        assert_eq!(progressing, "ReplicaSetUpdated");
        assert_eq!(first["unavailableReplicas"], 1);
        assert_eq!(first["observedGeneration"], 2);

        let stuck = deployment(2, &first);
        let later = judged(
            &stuck,
            &[("old", 2, 2), ("new", 1, 0)],
            "2001-01-01T00:09:59Z",
        );
        assert_eq!(later.2, "ReplicaSetUpdated");
        let late = judged(
            &stuck,
            &[("old", 2, 2), ("new", 1, 0)],
            "2001-01-01T00:10:00Z",
        );
        assert_eq!(late.2, "ProgressDeadlineExceeded");

        let done = judged(&stuck, &[("new", 2, 2)], TIME);
        assert_eq!(done.2, "NewReplicaSetAvailable");
        let broken = judged(
            &deployment(2, &done.0),
            &[("new", 2, 1)],
            "2002-01-01T00:00:00Z",
        );
        assert_eq!(broken.1, "MinimumReplicasUnavailable");
        assert_eq!(broken.2, "NewReplicaSetAvailable", "the rollout had ended");
    }

    #[test]
    fn a_rollout_that_stands_still_looks_again_at_its_deadline() {
        let fresh = deployment(1, &json!({}));
        let (status, ..) = judged(&fresh, &[("new", 1, 0)], TIME);
        let left = |now: &str| deadline(&fresh, &status, now.parse().unwrap());
        assert_eq!(left(TIME), Some(Duration::from_secs(600)));
        assert_eq!(left("2001-01-01T00:10:00Z"), None);
    }
}
