//! Simulated workloads: what the controller-manager, the scheduler and the kubelets would do, as
//! far as it can be seen in the API. Nothing runs.
//!
//! One task knows the Nodes, Pods and workloads ([`world`]) and works off what is to be done about
//! each ([`queue`]). What it writes, it knows at once. Every write is made only if the object is
//! as it was when the decision fell, and names of new Pods follow from what is there, so that
//! several servers on one storage do the same and not twice.

mod children;
mod control;
mod daemon_set;
mod deployment;

mod history;
mod job;
mod kubelet;
mod names;
mod placement;
mod pod;
mod progress;
mod queue;
mod recorder;
mod replica_set;
mod rollout;
mod stateful_set;
mod taints;
mod world;

use std::sync::Arc;

use tokio::time::Instant;

use crate::api::Api;
use crate::status::Status;

use super::follow::{Follower, Seen};
use control::Control;
use queue::{RETRY, Task};

const DAEMON_SETS: &str = "apps/daemonsets/";
const DEPLOYMENTS: &str = "apps/deployments/";
const REPLICA_SETS: &str = "apps/replicasets/";
const STATEFUL_SETS: &str = "apps/statefulsets/";
const JOBS: &str = "batch/jobs/";
const NODES: &str = "/nodes/";
const PODS: &str = "/pods/";

const KEYS: &[&str] = &[
    DAEMON_SETS,
    DEPLOYMENTS,
    REPLICA_SETS,
    STATEFUL_SETS,
    JOBS,
    NODES,
    PODS,
];

/// Runs until the server ends.
pub async fn run(api: Arc<Api>) {
    let mut follower = Follower::of(api.clone(), KEYS);
    let mut control = Control::new(api);
    loop {
        let due = control.queue.wait();
        let seen = tokio::select! {
            biased;
            seen = follower.next(false) => match seen {
                Some(seen) => seen,
                None => return,
            },
            () = due => Seen::Changes(Vec::new()),
        };
        match seen {
            Seen::Everything(events) => control.restart(&events),
            Seen::Changes(events) => control.note(&events),
        }
        for task in control.queue.take(Instant::now()) {
            if let Err(error) = perform(&mut control, &task).await {
                tracing::debug!(%error, ?task, "cannot work on a workload");
                control.queue.later(task, RETRY);
            }
        }
    }
}

async fn perform(control: &mut Control, task: &Task) -> Result<(), Status> {
    match task {
        Task::Pod(key) => kubelet::pod(control, key).await,
        Task::End { pod, .. } => kubelet::end(control, pod).await,
        Task::DaemonSet(key) => daemon_set::reconcile(control, key).await,
        Task::Deployment(key) => deployment::reconcile(control, key).await,
        Task::Job(key) => job::reconcile(control, key).await,
        Task::ReplicaSet(key) => replica_set::reconcile(control, key).await,
        Task::StatefulSet(key) => stateful_set::reconcile(control, key).await,
    }
}
