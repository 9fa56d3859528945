//! Texts of Kubernetes' own kinds of which only some are allowed.
//!
//! The bindings do not have them: this is what the API server's validation of 1.36 takes
//! (`+enum` types and `Unsupported value` errors in `k8s.io/api` and `pkg/apis/*/validation`). Where an
//! empty text means the default, it is allowed.

use serde_json::{Value, json};

/// Marks a field in which an empty text counts as none.
pub(super) const EMPTY_IS_UNSET: &str = "x-nico-empty-is-unset";

const RUN: &[&str] = &["OnDelete", "RollingUpdate"];
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const POLICIES: &[&str] = &["Cluster", "Local"];
const PROFILES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];
const HONOR: &[&str] = &["Honor", "Ignore"];
const DELETE_RETAIN: &[&str] = &["Delete", "Retain"];
const PREEMPTION: &[&str] = &["Never", "PreemptLowerPriority"];
const VOLUME_MODES: &[&str] = &["Block", "Filesystem"];
const FAILURE: &[&str] = &["Fail", "Ignore"];
const MATCH: &[&str] = &["Equivalent", "Exact"];
const ACCESS_MODES: &[&str] = &[
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOnce",
    "ReadWriteOncePod",
];

/// The type, its field, and what may stand there, or in the items of it.
const ALLOWED: &[(&str, &str, &[&str])] = &[
    (
        "Container",
        "imagePullPolicy",
        &["Always", "IfNotPresent", "Never"],
    ),
    (
        "Container",
        "terminationMessagePolicy",
        &["FallbackToLogsOnError", "File"],
    ),
    ("ContainerPort", "protocol", PROTOCOLS),
    (
        "CronJobSpec",
        "concurrencyPolicy",
        &["Allow", "Forbid", "Replace"],
    ),
    ("CustomResourceConversion", "strategy", &["None", "Webhook"]),
    (
        "CustomResourceDefinitionSpec",
        "scope",
        &["Cluster", "Namespaced"],
    ),
    ("DaemonSetUpdateStrategy", "type", RUN),
    ("DeploymentStrategy", "type", &["Recreate", "RollingUpdate"]),
    ("EndpointSlice", "addressType", &["FQDN", "IPv4", "IPv6"]),
    ("HPAScalingPolicy", "type", &["Percent", "Pods"]),
    (
        "HPAScalingRules",
        "selectPolicy",
        &["Disabled", "Max", "Min"],
    ),
    ("HTTPGetAction", "scheme", &["HTTP", "HTTPS"]),
    (
        "HTTPIngressPath",
        "pathType",
        &["Exact", "ImplementationSpecific", "Prefix"],
    ),
    (
        "HostPathVolumeSource",
        "type",
        &[
            "BlockDevice",
            "CharDevice",
            "Directory",
            "DirectoryOrCreate",
            "File",
            "FileOrCreate",
            "Socket",
        ],
    ),
    ("JobSpec", "completionMode", &["Indexed", "NonIndexed"]),
    (
        "JobSpec",
        "podReplacementPolicy",
        &["Failed", "TerminatingOrFailed"],
    ),
    (
        "LabelSelectorRequirement",
        "operator",
        &["DoesNotExist", "Exists", "In", "NotIn"],
    ),
    (
        "MetricSpec",
        "type",
        &[
            "ContainerResource",
            "External",
            "Object",
            "Pods",
            "Resource",
        ],
    ),
    (
        "MetricTarget",
        "type",
        &["AverageValue", "Utilization", "Value"],
    ),
    ("MutatingWebhook", "failurePolicy", FAILURE),
    ("MutatingWebhook", "matchPolicy", MATCH),
    (
        "MutatingWebhook",
        "reinvocationPolicy",
        &["IfNeeded", "Never"],
    ),
    ("MutatingWebhook", "sideEffects", &["None", "NoneOnDryRun"]),
    ("NetworkPolicyPort", "protocol", PROTOCOLS),
    ("NetworkPolicySpec", "policyTypes", &["Egress", "Ingress"]),
    (
        "NodeSelectorRequirement",
        "operator",
        &["DoesNotExist", "Exists", "Gt", "In", "Lt", "NotIn"],
    ),
    ("PersistentVolumeClaimSpec", "accessModes", ACCESS_MODES),
    ("PersistentVolumeClaimSpec", "volumeMode", VOLUME_MODES),
    ("PersistentVolumeSpec", "accessModes", ACCESS_MODES),
    (
        "PersistentVolumeSpec",
        "persistentVolumeReclaimPolicy",
        &["Delete", "Recycle", "Retain"],
    ),
    ("PersistentVolumeSpec", "volumeMode", VOLUME_MODES),
    (
        "PodDisruptionBudgetSpec",
        "unhealthyPodEvictionPolicy",
        &["AlwaysAllow", "IfHealthyBudget"],
    ),
    (
        "PodFailurePolicyRule",
        "action",
        &["Count", "FailIndex", "FailJob", "Ignore"],
    ),
    (
        "PodSecurityContext",
        "fsGroupChangePolicy",
        &["Always", "OnRootMismatch"],
    ),
    (
        "PodSpec",
        "dnsPolicy",
        &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"],
    ),
    ("PodSpec", "preemptionPolicy", PREEMPTION),
    (
        "PodSpec",
        "restartPolicy",
        &["Always", "Never", "OnFailure"],
    ),
    ("PriorityClass", "preemptionPolicy", PREEMPTION),
    (
        "RuleWithOperations",
        "operations",
        &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"],
    ),
    (
        "RuleWithOperations",
        "scope",
        &["*", "Cluster", "Namespaced"],
    ),
    ("SeccompProfile", "type", PROFILES),
    ("AppArmorProfile", "type", PROFILES),
    ("ServicePort", "protocol", PROTOCOLS),
    ("ServiceSpec", "externalTrafficPolicy", POLICIES),
    ("ServiceSpec", "internalTrafficPolicy", POLICIES),
    (
        "ServiceSpec",
        "ipFamilyPolicy",
        &["PreferDualStack", "RequireDualStack", "SingleStack"],
    ),
    ("ServiceSpec", "sessionAffinity", &["ClientIP", "None"]),
    (
        "ServiceSpec",
        "type",
        &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
    ),
    (
        "StatefulSetPersistentVolumeClaimRetentionPolicy",
        "whenDeleted",
        DELETE_RETAIN,
    ),
    (
        "StatefulSetPersistentVolumeClaimRetentionPolicy",
        "whenScaled",
        DELETE_RETAIN,
    ),
    (
        "StatefulSetSpec",
        "podManagementPolicy",
        &["OrderedReady", "Parallel"],
    ),
    ("StatefulSetUpdateStrategy", "type", RUN),
    ("StorageClass", "reclaimPolicy", DELETE_RETAIN),
    (
        "StorageClass",
        "volumeBindingMode",
        &["Immediate", "WaitForFirstConsumer"],
    ),
    ("Subject", "kind", &["Group", "ServiceAccount", "User"]),
    (
        "Toleration",
        "effect",
        &["NoExecute", "NoSchedule", "PreferNoSchedule"],
    ),
    ("Toleration", "operator", &["Equal", "Exists", "Gt", "Lt"]),
    ("TopologySpreadConstraint", "nodeAffinityPolicy", HONOR),
    ("TopologySpreadConstraint", "nodeTaintsPolicy", HONOR),
    (
        "TopologySpreadConstraint",
        "whenUnsatisfiable",
        &["DoNotSchedule", "ScheduleAnyway"],
    ),
    ("ValidatingWebhook", "failurePolicy", FAILURE),
    ("ValidatingWebhook", "matchPolicy", MATCH),
    (
        "ValidatingWebhook",
        "sideEffects",
        &["None", "NoneOnDryRun"],
    ),
];

/// Adds to the schema of a kind what may stand in its fields, and in those of the types in it.
pub(super) fn restrict(schema: &mut Value, kind: &str) {
    restrict_type(schema, kind);
    let types = schema.get_mut("$defs").and_then(Value::as_object_mut);
    for (name, schema) in types.into_iter().flatten() {
        let short = name.rsplit('.').next().unwrap_or(name).to_owned();
        restrict_type(schema, &short);
    }
}

fn restrict_type(schema: &mut Value, name: &str) {
    for (_, field, values) in ALLOWED.iter().filter(|(of, ..)| *of == name) {
        let Some(field) = schema.pointer_mut(&format!("/properties/{field}")) else {
            continue;
        };
        let field = if field.get("items").is_some() {
            &mut field["items"]
        } else {
            field
        };
        field["enum"] = json!(values);
        field[EMPTY_IS_UNSET] = json!(true);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::kubernetes;
    use super::*;

    /// Each entry means a field that is there: one that was misspelled would check nothing.
    #[test]
    fn every_entry_is_a_text_of_some_kind() {
        let mut used = BTreeSet::new();
        for (key, _) in kubernetes::KINDS {
            let schema = kubernetes::schema(key).unwrap();
            let types = schema["$defs"].as_object().into_iter().flatten();
            let types = types.map(|(name, schema)| (name.rsplit('.').next().unwrap(), schema));
            let kind = key.rsplit('/').next().unwrap();
            for (name, schema) in types.chain([(kind, &schema)]) {
                for (of, field, values) in ALLOWED.iter().filter(|(of, ..)| *of == name) {
                    let property = &schema["properties"][field];
                    let text = property.get("items").unwrap_or(property);
                    if text["type"] == "string" && text["enum"] == json!(values) {
                        used.insert((*of, *field));
                    }
                }
            }
        }
        let all: BTreeSet<_> = ALLOWED.iter().map(|(of, field, _)| (*of, *field)).collect();
        assert_eq!(
            all.difference(&used).collect::<Vec<_>>(),
            Vec::<&(&str, &str)>::new()
        );
        assert_eq!(all.len(), ALLOWED.len(), "an entry is there twice");
    }
}
