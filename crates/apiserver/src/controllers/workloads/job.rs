//! Jobs: Pods that run to their end.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::api;
use crate::objects;
use crate::status::Status;

use super::children::{self, Child};
use super::control::Control;
use super::pod::{self, Owner};
use super::queue::{Key, Task};
use super::replica_set::{count, set_number};
use super::{PODS, control, recorder};

const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// How often Pods may fail unless a Job says otherwise.
const BACKOFF_LIMIT: usize = 6;

/// How far a Job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    active: usize,
    succeeded: usize,
    failed: usize,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// There are as many Pods as there should be.
    Wait,
    /// To make so many Pods.
    Create(usize),
    /// To delete so many Pods.
    Delete(usize),
    /// It has done what it should.
    Complete,
    /// Its Pods failed too often.
    Fail,
}

/// Makes or deletes Pods, and says how far that is.
///
/// # Errors
/// What the writes say.
pub async fn reconcile(control: &mut Control, key: &Key) -> Result<(), Status> {
    let Some(job) = control.world.get(key) else {
        return Ok(());
    };
    let is = |condition: &str| objects::is_true(&job["status"], condition);
    if is("Complete") || is("Failed") {
        return Ok(());
    }
    let owner = Owner {
        api_version: "batch/v1",
        kind: "Job",
        object: &job,
    };
    let pods = children::claim(control, key, owner, PODS).await?;
    let step = match pod::is_terminating(&job) {
        true => Step::Wait,
        false => next_step(&job, Progress::of(&job, &pods)),
    };
    let active = pods.iter().filter(|(_, p)| pod::is_active(p));
    match step {
        Step::Create(missing) => create(control, key, owner, &pods, missing).await?,
        Step::Delete(too_many) => {
            for (gone, _) in active.take(too_many) {
                control.delete(gone, None).await?;
            }
        }
        Step::Complete | Step::Fail => {
            for (gone, _) in active {
                control.delete(gone, None).await?;
            }
        }
        Step::Wait => {}
    }
    write_status(control, key, &job, step).await?;
    let (reason, message) = match step {
        Step::Complete => ("Completed", "Job completed"),
        Step::Fail => (
            "BackoffLimitExceeded",
            "Job has reached the specified backoff limit",
        ),
        _ => return Ok(()),
    };
    recorder::record(control, owner, reason, message).await;
    Ok(())
}

impl Progress {
    fn of(job: &Value, pods: &[Child]) -> Self {
        let count = |is: &dyn Fn(&Value) -> bool| pods.iter().filter(|(_, p)| is(p)).count();
        let succeeded = match is_indexed(job) {
            true => done_indexes(pods).len(),
            false => count(&|p| pod::phase(p) == "Succeeded"),
        };
        let known = |field: &str| self::count(&job["status"][field]);
        Self {
            active: count(&pod::is_active),
            // Pods that somebody has removed since still count.
            succeeded: succeeded.max(known("succeeded")),
            failed: count(&|p| pod::phase(p) == "Failed").max(known("failed")),
        }
    }
}

fn is_indexed(job: &Value) -> bool {
    job["spec"]["completionMode"] == "Indexed"
}

fn next_step(job: &Value, progress: Progress) -> Step {
    let spec = &job["spec"];
    let limit = match &spec["backoffLimit"] {
        Value::Null => BACKOFF_LIMIT,
        limit => count(limit),
    };
    if progress.failed > limit {
        return Step::Fail;
    }
    let parallelism = spec["parallelism"]
        .as_u64()
        .map_or(1, |_| count(&spec["parallelism"]));
    let wanted = match &spec["completions"] {
        // Once one has succeeded, the others are only waited for.
        Value::Null if progress.succeeded > 0 && progress.active == 0 => return Step::Complete,
        Value::Null if progress.succeeded > 0 => progress.active,
        Value::Null => parallelism,
        completions => {
            let left = count(completions).saturating_sub(progress.succeeded);
            if left == 0 {
                return Step::Complete;
            }
            left.min(parallelism)
        }
    };
    let wanted = if spec["suspend"] == true { 0 } else { wanted };
    match wanted.cmp(&progress.active) {
        std::cmp::Ordering::Less => Step::Delete(progress.active - wanted),
        std::cmp::Ordering::Equal => Step::Wait,
        std::cmp::Ordering::Greater => Step::Create(wanted - progress.active),
    }
}

fn index(pod: &Value) -> Option<usize> {
    pod["metadata"]["annotations"][INDEX].as_str()?.parse().ok()
}

fn done_indexes(pods: &[Child]) -> BTreeSet<usize> {
    let done = pods.iter().filter(|(_, p)| pod::phase(p) == "Succeeded");
    done.filter_map(|(_, p)| index(p)).collect()
}

async fn create(
    control: &mut Control,
    key: &Key,
    owner: Owner<'_>,
    pods: &[Child],
    missing: usize,
) -> Result<(), Status> {
    let job = owner.object;
    let namespace = control::namespace(key).unwrap_or_default();
    let taken: BTreeSet<usize> = pods
        .iter()
        .filter(|(_, p)| pod::phase(p) != "Failed")
        .filter_map(|(_, p)| index(p))
        .collect();
    let free = (0..).filter(|index| !taken.contains(index)).take(missing);
    for number in free {
        let text = number.to_string();
        let prefix = match is_indexed(job) {
            true => format!("{}-{number}-", pod::name(job)),
            false => format!("{}-", pod::name(job)),
        };
        let name = control.next_name(owner, &prefix, "");
        let mut made = owner.pod(&name);
        made["metadata"]["generateName"] = prefix.into();
        if is_indexed(job) {
            made["metadata"]["annotations"][INDEX] = text.as_str().into();
            made["metadata"]["labels"][INDEX] = text.into();
        }
        let pod: Key = format!("{PODS}{namespace}/{name}").into();
        control.create(Task::Job(key.clone()), &pod, made).await?;
        let what = format!("Created pod: {name}");
        recorder::record(control, owner, "SuccessfulCreate", &what).await;
    }
    Ok(())
}

async fn write_status(
    control: &mut Control,
    key: &Key,
    job: &Value,
    step: Step,
) -> Result<(), Status> {
    let pods = control.world.children(pod::uid(job));
    let progress = Progress::of(job, &pods);
    let ready = pods
        .iter()
        .filter(|(_, p)| pod::is_active(p) && pod::is_ready(p))
        .count();
    let terminating = pods.iter().filter(|(_, p)| pod::is_terminating(p)).count();
    let indexes = is_indexed(job).then(|| ranges(&done_indexes(&pods)));
    let suspended = job["spec"]["suspend"] == true;
    let now = api::now();
    control
        .update(key, Some("status"), |job| {
            let status = &mut job["status"];
            if status["startTime"].is_null() && !suspended {
                status["startTime"] = now.as_str().into();
            }
            for (field, number) in [
                ("active", progress.active),
                ("succeeded", progress.succeeded),
                ("failed", progress.failed),
            ] {
                set_number(status, field, number);
            }
            status["ready"] = ready.into();
            status["terminating"] = terminating.into();
            status["uncountedTerminatedPods"] = json!({});
            if let Some(indexes) = &indexes {
                status["completedIndexes"] = indexes.as_str().into();
            }
            conclude(status, step, &now);
        })
        .await
}

fn conclude(status: &mut Value, step: Step, now: &str) {
    let conditions = match step {
        Step::Complete => {
            status["completionTime"] = now.into();
            [
                ("SuccessCriteriaMet", "CompletionsReached"),
                ("Complete", "CompletionsReached"),
            ]
        }
        Step::Fail => [
            ("FailureTarget", "BackoffLimitExceeded"),
            ("Failed", "BackoffLimitExceeded"),
        ],
        _ => return,
    };
    let message = match step {
        Step::Fail => "Job has reached the specified backoff limit",
        _ => "Reached expected number of succeeded pods",
    };
    for (kind, reason) in conditions {
        let condition = json!({"type": kind, "status": "True", "reason": reason,
            "message": message, "lastProbeTime": now});
        objects::set_condition(status, condition, now);
    }
}

/// `0-2,4`.
fn ranges(numbers: &BTreeSet<usize>) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let text = |(first, last): &(usize, usize)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let texts: Vec<String> = ranges.iter().map(text).collect();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_runs_as_many_pods_at_once_as_it_may_until_enough_have_succeeded() {
        let job = json!({"spec": {"parallelism": 2, "completions": 3, "backoffLimit": 1}});
        for ((active, succeeded, failed), step) in [
            ((0, 0, 0), Step::Create(2)),
            ((2, 0, 0), Step::Wait),
            ((1, 1, 0), Step::Create(1)),
            ((2, 2, 0), Step::Delete(1)),
            ((1, 2, 1), Step::Wait),
            ((0, 3, 0), Step::Complete),
            ((1, 0, 2), Step::Fail),
        ] {
            let progress = Progress {
                active,
                succeeded,
                failed,
            };
            assert_eq!(next_step(&job, progress), step, "{progress:?}");
        }
    }

    #[test]
    fn a_suspended_job_has_no_pods() {
        let job = json!({"spec": {"parallelism": 1, "completions": 1, "suspend": true}});
        let active = Progress {
            active: 1,
            ..Progress::default()
        };
        assert_eq!(next_step(&job, active), Step::Delete(1));
        assert_eq!(next_step(&job, Progress::default()), Step::Wait);
    }

    #[test]
    fn numbers_in_a_row_are_one_range() {
        assert_eq!(ranges(&BTreeSet::from([0, 1, 2, 4])), "0-2,4");
        assert_eq!(ranges(&BTreeSet::new()), "");
    }
}
