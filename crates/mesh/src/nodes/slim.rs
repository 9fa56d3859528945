//! A Node as it is read: the fields that matter, so that a page of Nodes needs no more memory than
//! its text. Images and the notes on who wrote what are most of a Node, and are passed over.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource;
use kube::api::ObjectMeta;
use serde::{Deserialize, Deserializer};

/// A Node without what does not matter.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct SlimNode {
    #[serde(deserialize_with = "slim")]
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    pub(super) spec: Spec,
}

/// The CIDRs of a Node, as they are written.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Spec {
    #[serde(rename = "podCIDR", default)]
    pub(super) cidr: Option<String>,
    #[serde(rename = "podCIDRs", default)]
    pub(super) cidrs: Option<Vec<String>>,
}

fn slim<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Slim {
        name: Option<String>,
        resource_version: Option<String>,
        creation_timestamp: Option<Time>,
    }
    let slim = Slim::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name: slim.name,
        resource_version: slim.resource_version,
        creation_timestamp: slim.creation_timestamp,
        ..ObjectMeta::default()
    })
}

impl Resource for SlimNode {
    type DynamicType = ();
    type Scope = <Node as Resource>::Scope;

    fn kind(_: &()) -> Cow<'_, str> {
        Node::kind(&())
    }

    fn group(_: &()) -> Cow<'_, str> {
        Node::group(&())
    }

    fn version(_: &()) -> Cow<'_, str> {
        Node::version(&())
    }

    fn plural(_: &()) -> Cow<'_, str> {
        <Node as Resource>::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_node_only_what_matters_is_kept() {
        let node: SlimNode = serde_json::from_value(json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": "w-1",
                "resourceVersion": "7",
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {"a": "b"},
                "annotations": {"a": "b"},
                "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}],
            },
            "spec": {"podCIDR": "10.42.0.0/24", "podCIDRs": ["10.42.0.0/24"], "providerID": "x"},
            "status": {"images": [{"names": ["a"], "sizeBytes": 1}]},
        }))
        .unwrap();
        assert_eq!(node.name_any(), "w-1");
        assert_eq!(node.resource_version().as_deref(), Some("7"));
        assert!(node.creation_timestamp().is_some());
        assert!(node.labels().is_empty() && node.managed_fields().is_empty());
        assert_eq!(node.spec.cidrs, Some(vec!["10.42.0.0/24".to_owned()]));
    }

    #[test]
    fn a_node_without_a_spec_has_no_cidrs() {
        let node: SlimNode = serde_json::from_value(json!({"metadata": {"name": "w-1"}})).unwrap();
        assert_eq!(node.spec.cidrs, None);
        assert_eq!(node.spec.cidr, None);
    }
}
