//! Events about workloads.

use serde_json::json;

use crate::api;
use crate::verbs;

use super::control::Control;
use super::names;
use super::pod::{self, Owner};

/// Records an Event of type Normal. It is no failure if that does not work: nothing depends on it.
pub async fn record(control: &Control, about: Owner<'_>, reason: &str, message: &str) {
    write(control, about, "Normal", reason, message).await;
}

/// Records an Event of type Warning.
pub async fn warn(control: &Control, about: Owner<'_>, reason: &str, message: &str) {
    write(control, about, "Warning", reason, message).await;
}

async fn write(control: &Control, about: Owner<'_>, kind: &str, reason: &str, message: &str) {
    let Some(events) = control.api.registry.find("", "v1", "events") else {
        return;
    };
    let object = about.object;
    let now = api::now();
    let component = match about.kind {
        "Pod" if reason.ends_with("Scheduled") || reason == "FailedScheduling" => {
            "default-scheduler".to_owned()
        }
        "Pod" => "kubelet".to_owned(),
        kind => format!("{}-controller", kind.to_lowercase()),
    };
    let metadata = &object["metadata"];
    let version = metadata["resourceVersion"].as_str().unwrap_or_default();
    let seeds = [pod::uid(object), reason, message, version, &now];
    let event = json!({
        "kind": "Event", "apiVersion": "v1",
        "metadata": {"name": names::name(&format!("{}.", pod::name(object)), seeds)},
        "involvedObject": {
            "apiVersion": about.api_version, "kind": about.kind,
            "namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"],
        },
        "type": kind, "reason": reason, "message": message, "count": 1,
        "firstTimestamp": now, "lastTimestamp": now,
        "source": {"component": component},
        "reportingComponent": component, "reportingInstance": "",
    });
    let namespace = metadata["namespace"].as_str();
    if let Err(error) = verbs::create_object(&control.api, &events, namespace, event).await
        && error.reason != "AlreadyExists"
    {
        tracing::debug!(%error, reason, "cannot record an event");
    }
}
