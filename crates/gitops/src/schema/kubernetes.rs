//! The schemas of Kubernetes' own kinds.

use k8s_openapi::api::{
    admissionregistration, apps, autoscaling, batch, certificates, coordination, core, discovery,
    flowcontrol, networking, node, policy, rbac, scheduling, storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions;
use k8s_openapi::apimachinery::pkg::apis::meta;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value;

use super::values;

type Make = fn() -> Value;

/// The kinds, by `group/version/Kind`, and what makes their schemas.
pub(super) const KINDS: &[(&str, Make)] = &[
    ("/v1/ConfigMap", of::<core::v1::ConfigMap>),
    ("/v1/Endpoints", of::<core::v1::Endpoints>),
    ("/v1/LimitRange", of::<core::v1::LimitRange>),
    ("/v1/Namespace", of::<core::v1::Namespace>),
    ("/v1/PersistentVolume", of::<core::v1::PersistentVolume>),
    (
        "/v1/PersistentVolumeClaim",
        of::<core::v1::PersistentVolumeClaim>,
    ),
    ("/v1/Pod", of::<core::v1::Pod>),
    ("/v1/PodTemplate", of::<core::v1::PodTemplate>),
    (
        "/v1/ReplicationController",
        of::<core::v1::ReplicationController>,
    ),
    ("/v1/ResourceQuota", of::<core::v1::ResourceQuota>),
    ("/v1/Secret", of::<core::v1::Secret>),
    ("/v1/Service", of::<core::v1::Service>),
    ("/v1/ServiceAccount", of::<core::v1::ServiceAccount>),
    ("apps/v1/DaemonSet", of::<apps::v1::DaemonSet>),
    ("apps/v1/Deployment", of::<apps::v1::Deployment>),
    ("apps/v1/ReplicaSet", of::<apps::v1::ReplicaSet>),
    ("apps/v1/StatefulSet", of::<apps::v1::StatefulSet>),
    (
        "autoscaling/v2/HorizontalPodAutoscaler",
        of::<autoscaling::v2::HorizontalPodAutoscaler>,
    ),
    ("batch/v1/CronJob", of::<batch::v1::CronJob>),
    ("batch/v1/Job", of::<batch::v1::Job>),
    (
        "policy/v1/PodDisruptionBudget",
        of::<policy::v1::PodDisruptionBudget>,
    ),
    (
        "networking.k8s.io/v1/Ingress",
        of::<networking::v1::Ingress>,
    ),
    (
        "networking.k8s.io/v1/IngressClass",
        of::<networking::v1::IngressClass>,
    ),
    (
        "networking.k8s.io/v1/NetworkPolicy",
        of::<networking::v1::NetworkPolicy>,
    ),
    (
        "rbac.authorization.k8s.io/v1/ClusterRole",
        of::<rbac::v1::ClusterRole>,
    ),
    (
        "rbac.authorization.k8s.io/v1/ClusterRoleBinding",
        of::<rbac::v1::ClusterRoleBinding>,
    ),
    ("rbac.authorization.k8s.io/v1/Role", of::<rbac::v1::Role>),
    (
        "rbac.authorization.k8s.io/v1/RoleBinding",
        of::<rbac::v1::RoleBinding>,
    ),
    ("storage.k8s.io/v1/CSIDriver", of::<storage::v1::CSIDriver>),
    (
        "storage.k8s.io/v1/StorageClass",
        of::<storage::v1::StorageClass>,
    ),
    (
        "scheduling.k8s.io/v1/PriorityClass",
        of::<scheduling::v1::PriorityClass>,
    ),
    ("node.k8s.io/v1/RuntimeClass", of::<node::v1::RuntimeClass>),
    (
        "discovery.k8s.io/v1/EndpointSlice",
        of::<discovery::v1::EndpointSlice>,
    ),
    (
        "coordination.k8s.io/v1/Lease",
        of::<coordination::v1::Lease>,
    ),
    (
        "certificates.k8s.io/v1/CertificateSigningRequest",
        of::<certificates::v1::CertificateSigningRequest>,
    ),
    (
        "flowcontrol.apiserver.k8s.io/v1/FlowSchema",
        of::<flowcontrol::v1::FlowSchema>,
    ),
    (
        "flowcontrol.apiserver.k8s.io/v1/PriorityLevelConfiguration",
        of::<flowcontrol::v1::PriorityLevelConfiguration>,
    ),
    (
        "admissionregistration.k8s.io/v1/MutatingWebhookConfiguration",
        of::<admissionregistration::v1::MutatingWebhookConfiguration>,
    ),
    (
        "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy",
        of::<admissionregistration::v1::ValidatingAdmissionPolicy>,
    ),
    (
        "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicyBinding",
        of::<admissionregistration::v1::ValidatingAdmissionPolicyBinding>,
    ),
    (
        "admissionregistration.k8s.io/v1/ValidatingWebhookConfiguration",
        of::<admissionregistration::v1::ValidatingWebhookConfiguration>,
    ),
    (
        "apiextensions.k8s.io/v1/CustomResourceDefinition",
        of::<apiextensions::v1::CustomResourceDefinition>,
    ),
];

/// The schema for `group/version/Kind`.
pub(super) fn schema(key: &str) -> Option<Value> {
    let (_, make) = KINDS.iter().find(|(known, _)| *known == key)?;
    let mut schema = make();
    values::restrict(&mut schema, key.rsplit('/').next().unwrap_or(key));
    Some(schema)
}

/// The schema of the metadata of every object.
pub(super) fn metadata() -> Value {
    of::<meta::v1::ObjectMeta>()
}

fn of<T: JsonSchema>() -> Value {
    SchemaGenerator::default()
        .into_root_schema_for::<T>()
        .to_value()
}
