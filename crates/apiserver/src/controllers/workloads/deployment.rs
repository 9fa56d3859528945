//! Deployments: ReplicaSets, one for each template, that grow and shrink ([`super::rollout`]).

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api;
use crate::status::Status;

use super::children::{self, Child};
use super::control::Control;
use super::history::{self, DESIRED, MOST, REVISION};
use super::names;
use super::pod::{self, Owner};
use super::queue::{Key, Task};
use super::rollout::{self, Goal, Size};
use super::{REPLICA_SETS, control, progress, recorder};

/// The ReplicaSets of a Deployment, in the order of their age.
#[derive(Debug)]
pub struct Sets {
    /// All of them.
    pub all: Vec<Child>,
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
    /// Puts ReplicaSets in order.
    pub fn sort(mut all: Vec<Child>, deployment: &Value) -> Self {
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

    /// The one that has the template of the Deployment.
    pub fn newest(&self) -> Option<&Arc<Value>> {
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
    let status = progress::status(deployment, sets, now, &time);
    control
        .update(key, Some("status"), |deployment| {
            deployment["status"] = status.clone();
        })
        .await?;
    if let Some(wait) = progress::deadline(deployment, &status, now) {
        control.queue.later(Task::Deployment(key.clone()), wait);
    }
    Ok(progress::is_complete(deployment, &status))
}
