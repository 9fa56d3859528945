//! What runs for users.

mod configuration;
mod crash_loops;
mod failed;
mod images;
mod jobs;
mod memory;
mod not_ready;
mod refused;
mod restarts;
mod starting;
mod terminating;
mod together;
mod tombstones;
mod unavailable;
mod unknown;
mod unschedulable;

use super::Detector;
use crate::facts::meta::condition;
use crate::facts::pod::Pod;
use crate::issue::ObjectRef;
use crate::world::World;

/// In the order in which they are asked.
pub(super) const DETECTORS: &[&Detector] = &[
    &unknown::DETECTOR,
    &terminating::DETECTOR,
    &refused::DETECTOR,
    &unschedulable::DETECTOR,
    &images::DETECTOR,
    &configuration::DETECTOR,
    &memory::DETECTOR,
    &crash_loops::DETECTOR,
    &failed::DETECTOR,
    &starting::DETECTOR,
    &restarts::DETECTOR,
    &not_ready::DETECTOR,
    &jobs::DETECTOR,
    &unavailable::DETECTOR,
    &together::DETECTOR,
    &tombstones::DETECTOR,
];

/// Pods that are to run: neither done nor on their way out.
fn alive(world: &World) -> impl Iterator<Item = &Pod> {
    let pods = world.pods.iter();
    pods.filter(|pod| {
        !pod.is_over() && pod.status.phase != "Unknown" && pod.metadata.deletion_timestamp.is_none()
    })
}

/// What is left of a Pod that was taken away: evicted, preempted, lost with its Node, or of a Job,
/// which tells itself.
fn is_tombstone(pod: &Pod) -> bool {
    const TAKEN: &[&str] = &[
        "Evicted",
        "NodeAffinity",
        "NodeLost",
        "NodeShutdown",
        "Preempting",
        "Shutdown",
        "Terminated",
    ];
    let is_disrupted = condition(&pod.status.conditions, "DisruptionTarget")
        .is_some_and(super::super::facts::meta::Condition::is_true);
    let is_of_job = pod
        .metadata
        .controller()
        .is_some_and(|owner| owner.kind == "Job");
    pod.status.phase == "Failed"
        && (is_disrupted || is_of_job || TAKEN.contains(&pod.status.reason.as_str()))
}

/// The cluster's DNS, when a message says that a name could not be resolved.
fn dns(message: &str) -> Option<ObjectRef> {
    let is_name = message.contains("no such host") || message.contains(":53");
    is_name.then(|| ObjectRef::new("Service", "kube-system", "kube-dns"))
}

/// The Services that a message names as `https://NAME.NAMESPACE.svc`.
fn called(message: &str) -> Vec<ObjectRef> {
    let urls = message.split("https://").skip(1);
    let services = urls.filter_map(|url| {
        let (name, rest) = url.split_once('.')?;
        let (namespace, rest) = rest.split_once('.')?;
        rest.starts_with("svc")
            .then(|| ObjectRef::new("Service", namespace, name))
    });
    services.collect()
}
