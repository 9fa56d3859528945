//! Writing the status of an object, as one owner among others.

use kube::api::{Api, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::fmt::Debug;

/// Applies `status` to `object` with server-side apply.
///
/// `manager` owns exactly the fields that `status` serializes: fields that it applied before
/// and leaves out now are removed, fields of other managers stay.
///
/// # Errors
/// What the API server or the connection says; 404 when the object is gone.
pub async fn apply<K>(
    client: &Client,
    manager: &str,
    object: &K,
    status: impl Serialize,
) -> Result<K, kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned,
{
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<K> = Api::namespaced(client.clone(), &namespace);
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": object.name_any(), "namespace": namespace},
        "status": status,
    });
    let parameters = PatchParams::apply(manager).force();
    api.patch_status(&object.name_any(), &parameters, &Patch::Apply(patch))
        .await
}
