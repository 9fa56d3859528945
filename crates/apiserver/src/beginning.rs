//! The objects that every cluster begins with, and that clients and manifests rely on.
//!
//! What is not here: the roles, which only RBAC needs, and what tells how the real server itself
//! is run, such as its flow control, its Lease and its Endpoints.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::Api;
use crate::objects::{self, SYSTEM_PRIORITIES};
use crate::status::Status;
use crate::verbs;

/// Namespaces that every cluster has.
pub const NAMESPACES: &[&str] = &["default", "kube-node-lease", "kube-public", "kube-system"];

/// Makes a namespace if it is missing.
///
/// # Errors
/// What the write says.
pub async fn ensure_namespace(api: &Arc<Api>, name: &str) -> Result<(), Status> {
    let metadata = json!({"metadata": {"name": name}});
    ensure(api, ("", "namespaces"), None, metadata).await
}

/// Makes what is missing beside the namespaces, which must be there.
///
/// # Errors
/// What the writes say.
pub async fn ensure_objects(api: &Arc<Api>) -> Result<(), Status> {
    ensure(api, ("", "services"), Some("default"), kubernetes()).await?;
    for (name, value, description) in SYSTEM_PRIORITIES {
        let class = json!({
            "metadata": {"name": name}, "value": value, "description": description,
        });
        ensure(api, ("scheduling.k8s.io", "priorityclasses"), None, class).await?;
    }
    Ok(())
}

/// The Service by which Pods reach the server, at the first address for Services.
fn kubernetes() -> Value {
    json!({
        "metadata": {
            "name": "kubernetes",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "10.96.0.1",
            "clusterIPs": ["10.96.0.1"],
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
        },
    })
}

async fn ensure(
    api: &Arc<Api>,
    (group, plural): (&str, &str),
    namespace: Option<&str>,
    mut object: Value,
) -> Result<(), Status> {
    let kind = api.registry.find(group, "v1", plural);
    let kind = kind.expect("it is part of Kubernetes");
    object["apiVersion"] = kind.api_version().into();
    object["kind"] = kind.kind.as_str().into();
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let key = kind.key(namespace, name);
    let found = api.storage.get(&key).await;
    if found
        .map_err(|error| crate::api::storage_failed(&error))?
        .is_some()
    {
        return Ok(());
    }
    objects::apply_defaults(&kind, &mut object);
    match verbs::create_object(api, &kind, namespace, object).await {
        // Another server was faster.
        Err(status) if status.reason != "AlreadyExists" => Err(status),
        _ => Ok(()),
    }
}
