//! StatefulSets: Pods with names that stay, made and ended in their order.

use jiff::Timestamp;
use serde_json::Value;

use crate::status::Status;

use super::children;
use super::control::Control;
use super::daemon_set::HASH;
use super::pod::{self, Owner};
use super::queue::{Key, Task};
use super::replica_set::{min_ready, next_available, set_number};
use super::{PODS, control, names, recorder};

/// The replica of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Replica {
    ordinal: i64,
    /// It runs, is Ready, and has been for long enough.
    available: bool,
    /// It has run to its end.
    over: bool,
    terminating: bool,
    /// It has the present template.
    updated: bool,
}

/// What is wanted.
#[derive(Clone, Copy, Debug)]
struct Goal {
    /// The number of the first replica.
    first: i64,
    replicas: i64,
    /// Only one replica at a time is made or ended.
    ordered: bool,
    /// Replicas below this number keep the template that they have; none if all do.
    partition: Option<i64>,
}

/// What is to be done. Nothing, if there is something to wait for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    create: Vec<i64>,
    delete: Vec<i64>,
}

/// Makes or ends replicas, and says how many there are.
///
/// # Errors
/// What the writes say.
pub async fn reconcile(control: &mut Control, key: &Key) -> Result<(), Status> {
    let Some(set) = control.world.get(key) else {
        return Ok(());
    };
    let owner = Owner {
        api_version: "apps/v1",
        kind: "StatefulSet",
        object: &set,
    };
    children::claim(control, key, owner, PODS).await?;
    let hash = names::template_hash(&set["spec"]["template"]);
    let revision = format!("{}-{hash}", pod::name(&set));
    let now = Timestamp::now();
    if !pod::is_terminating(&set) {
        let plan = plan(Goal::of(&set), &replicas(control, &set, &revision, now));
        for ordinal in plan.create {
            create(control, key, owner, ordinal, &revision).await?;
        }
        for ordinal in plan.delete {
            control.delete(&pod_key(key, &set, ordinal), None).await?;
            let what = format!(
                "delete Pod {}-{ordinal} in StatefulSet successful",
                pod::name(&set)
            );
            recorder::record(control, owner, "SuccessfulDelete", &what).await;
        }
    }
    write_status(control, key, &set, &revision, now).await
}

impl Goal {
    fn of(set: &Value) -> Self {
        let spec = &set["spec"];
        let strategy = &spec["updateStrategy"];
        let partition = strategy["rollingUpdate"]["partition"].as_i64();
        Self {
            first: spec["ordinals"]["start"].as_i64().unwrap_or_default(),
            replicas: spec["replicas"].as_i64().unwrap_or(1),
            ordered: spec["podManagementPolicy"] != "Parallel",
            partition: (strategy["type"] != "OnDelete").then(|| partition.unwrap_or_default()),
        }
    }
}

fn pod_key(key: &Key, set: &Value, ordinal: i64) -> Key {
    let namespace = control::namespace(key).unwrap_or_default();
    format!("{PODS}{namespace}/{}-{ordinal}", pod::name(set)).into()
}

/// The replicas that there are, in their order.
fn replicas(control: &Control, set: &Value, revision: &str, now: Timestamp) -> Vec<Replica> {
    let min_ready = min_ready(set);
    let prefix = format!("{}-", pod::name(set));
    let pods = control.world.children(pod::uid(set));
    let mut replicas: Vec<Replica> = pods
        .iter()
        .filter_map(|(_, pod)| {
            Some(Replica {
                ordinal: pod::name(pod).strip_prefix(&prefix)?.parse().ok()?,
                available: pod::is_available(pod, min_ready, now),
                over: pod::is_over(pod),
                terminating: pod::is_terminating(pod),
                updated: pod["metadata"]["labels"][HASH] == revision,
            })
        })
        .collect();
    replicas.sort_by_key(|replica| replica.ordinal);
    replicas
}

/// The next step. Pure.
///
/// First all wanted replicas are there, the lowest number first; then those that are too many go,
/// the highest first; then those with an old template, the highest first and one at a time.
fn plan(goal: Goal, replicas: &[Replica]) -> Plan {
    let mut plan = Plan::default();
    let wanted = goal.first..goal.first + goal.replicas;
    for ordinal in wanted.clone() {
        let replica = replicas.iter().find(|replica| replica.ordinal == ordinal);
        match replica {
            None => plan.create.push(ordinal),
            Some(replica) if replica.terminating => {}
            Some(replica) if replica.over => plan.delete.push(ordinal),
            Some(replica) if !replica.available && goal.ordered => {
                // It may wait for ever if its template is wrong: then a better one replaces it.
                let outdated = goal.partition.is_some_and(|least| ordinal >= least);
                if outdated && !replica.updated {
                    plan.delete.push(ordinal);
                }
                return plan;
            }
            Some(_) => continue,
        }
        if goal.ordered {
            return plan;
        }
    }
    for replica in replicas
        .iter()
        .rev()
        .filter(|r| !wanted.contains(&r.ordinal))
    {
        if !replica.terminating {
            plan.delete.push(replica.ordinal);
        }
        if goal.ordered {
            return plan;
        }
    }
    let Some(partition) = goal.partition else {
        return plan;
    };
    let updatable = |replica: &&Replica| {
        wanted.contains(&replica.ordinal) && replica.ordinal >= partition.max(goal.first)
    };
    for replica in replicas.iter().rev().filter(updatable) {
        if !replica.updated && !replica.terminating {
            plan.delete.push(replica.ordinal);
            return plan;
        }
        if !replica.available || replica.terminating {
            return plan;
        }
    }
    plan
}

async fn create(
    control: &mut Control,
    key: &Key,
    owner: Owner<'_>,
    ordinal: i64,
    revision: &str,
) -> Result<(), Status> {
    let set = owner.object;
    let name = format!("{}-{ordinal}", pod::name(set));
    let mut made = owner.pod(&name);
    let labels = &mut made["metadata"]["labels"];
    labels[HASH] = revision.into();
    labels["statefulset.kubernetes.io/pod-name"] = name.as_str().into();
    labels["apps.kubernetes.io/pod-index"] = ordinal.to_string().into();
    made["spec"]["hostname"] = name.as_str().into();
    if let Some(service) = set["spec"]["serviceName"].as_str() {
        made["spec"]["subdomain"] = service.into();
    }
    let task = Task::StatefulSet(key.clone());
    control
        .create(task, &pod_key(key, set, ordinal), made)
        .await?;
    let what = format!(
        "create Pod {name} in StatefulSet {} successful",
        pod::name(set)
    );
    recorder::record(control, owner, "SuccessfulCreate", &what).await;
    Ok(())
}

async fn write_status(
    control: &mut Control,
    key: &Key,
    set: &Value,
    revision: &str,
    now: Timestamp,
) -> Result<(), Status> {
    let replicas = replicas(control, set, revision, now);
    let pods = control.world.children(pod::uid(set));
    let ready = pods
        .iter()
        .filter(|(_, p)| pod::is_active(p) && pod::is_ready(p))
        .count();
    let living = |is: fn(&Replica) -> bool| {
        replicas
            .iter()
            .filter(|r| !r.terminating && !r.over && is(r))
            .count()
    };
    let updated = living(|replica| replica.updated);
    let available = living(|replica| replica.available);
    let wanted = usize::try_from(Goal::of(set).replicas).unwrap_or_default();
    let complete = updated == wanted && available == wanted && replicas.len() == wanted;
    let generation = set["metadata"]["generation"].clone();
    control
        .update(key, Some("status"), |set| {
            let status = &mut set["status"];
            status["observedGeneration"] = generation.clone();
            status["replicas"] = replicas.len().into();
            status["availableReplicas"] = available.into();
            status["collisionCount"] = 0.into();
            status["updateRevision"] = revision.into();
            if complete || status["currentRevision"].is_null() {
                status["currentRevision"] = revision.into();
            }
            let current = if status["currentRevision"] == revision {
                updated
            } else {
                replicas.len() - updated
            };
            for (field, number) in [
                ("readyReplicas", ready),
                ("updatedReplicas", updated),
                ("currentReplicas", current),
            ] {
                set_number(status, field, number);
            }
        })
        .await?;
    let pods = pods.iter().map(|(_, pod)| &**pod);
    if let Some(wait) = next_available(pods, min_ready(set), now) {
        control.queue.later(Task::StatefulSet(key.clone()), wait);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Replicas from 0: `new` or `old`, with `!` if not available, `-` if ending, `#` if over; or
    /// `.` for one that is missing.
    fn replicas(text: &str) -> Vec<Replica> {
        let states = text.split_whitespace().zip(0..);
        states
            .filter(|(state, _)| *state != ".")
            .map(|(state, ordinal)| Replica {
                ordinal,
                available: state.len() == 3,
                over: state.ends_with('#'),
                terminating: state.ends_with('-'),
                updated: state.starts_with("new"),
            })
            .collect()
    }

    fn goal(replicas: i64) -> Goal {
        Goal {
            first: 0,
            replicas,
            ordered: true,
            partition: Some(0),
        }
    }

    #[test]
    fn replicas_come_and_go_in_their_order() {
        for (wanted, there, create, delete) in [
            (2, "", &[0][..], &[][..]),
            (2, "new!", &[], &[]),
            (2, "new", &[1], &[]),
            (2, "new new", &[], &[]),
            (2, ". new", &[0], &[]),
            (2, "new# new", &[], &[0]),
            (2, "new- new", &[], &[]),
            (1, "new new new", &[], &[2]),
            (1, "new new new-", &[], &[]),
            (1, "new! new", &[], &[]),
        ] {
            let plan = plan(goal(wanted), &replicas(there));
            assert_eq!(
                (&plan.create[..], &plan.delete[..]),
                (create, delete),
                "{wanted}: {there}"
            );
        }
    }

    #[test]
    fn an_update_goes_from_the_highest_number_to_the_partition() {
        for (partition, there, delete) in [
            (Some(0), "old old old", &[2][..]),
            (Some(0), "old old new-", &[]),
            (Some(0), "old old new", &[1]),
            (Some(1), "old new new", &[]),
            (Some(0), "old old old!", &[2]),
            (None, "old old old", &[]),
        ] {
            let goal = Goal {
                partition,
                ..goal(3)
            };
            let plan = plan(goal, &replicas(there));
            assert_eq!(plan.delete, delete, "{partition:?}: {there}");
        }
    }

    #[test]
    fn without_an_order_all_come_and_go_at_once() {
        let goal = Goal {
            ordered: false,
            ..goal(2)
        };
        assert_eq!(plan(goal, &[]).create, [0, 1]);
        assert_eq!(plan(goal, &replicas("new new new new")).delete, [3, 2]);
    }
}
