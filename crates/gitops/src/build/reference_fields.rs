//! Which fields name other objects.

use std::sync::LazyLock;

use super::field_paths::split;

/// A field that names another object.
#[derive(Clone, Debug)]
pub(super) struct Reference {
    /// The kind of the object that is named.
    pub(super) to_kind: String,
    /// The kind of the object that has the field; empty for every kind.
    pub(super) from_kind: String,
    /// The API group of the object that has the field; empty for every group.
    pub(super) from_group: String,
    /// Where the field is.
    pub(super) path: Vec<String>,
}

/// The fields of built-in kinds that name other objects.
pub(super) static BUILT_IN: LazyLock<Vec<Reference>> = LazyLock::new(built_in);

/// Where the Pod's specification is, in each kind that has one.
const POD_SPECS: [(&str, &str); 9] = [
    ("Pod", "spec"),
    ("PodTemplate", "template/spec"),
    ("Deployment", "spec/template/spec"),
    ("ReplicaSet", "spec/template/spec"),
    ("DaemonSet", "spec/template/spec"),
    ("StatefulSet", "spec/template/spec"),
    ("Job", "spec/template/spec"),
    ("CronJob", "spec/jobTemplate/spec/template/spec"),
    ("ReplicationController", "spec/template/spec"),
];

/// The fields of a Pod's specification that name other objects.
const IN_POD_SPEC: [(&str, &str); 14] = [
    ("ConfigMap", "volumes/configMap/name"),
    ("ConfigMap", "volumes/projected/sources/configMap/name"),
    ("ConfigMap", "containers/env/valueFrom/configMapKeyRef/name"),
    (
        "ConfigMap",
        "initContainers/env/valueFrom/configMapKeyRef/name",
    ),
    ("ConfigMap", "containers/envFrom/configMapRef/name"),
    ("ConfigMap", "initContainers/envFrom/configMapRef/name"),
    ("Secret", "volumes/secret/secretName"),
    ("Secret", "volumes/projected/sources/secret/name"),
    ("Secret", "containers/env/valueFrom/secretKeyRef/name"),
    ("Secret", "initContainers/env/valueFrom/secretKeyRef/name"),
    ("Secret", "containers/envFrom/secretRef/name"),
    ("Secret", "initContainers/envFrom/secretRef/name"),
    ("Secret", "imagePullSecrets/name"),
    (
        "PersistentVolumeClaim",
        "volumes/persistentVolumeClaim/claimName",
    ),
];

/// The fields of a Pod's specification that kustomize follows only outside `PodTemplate`s and
/// `ReplicaSet`s.
const IN_MOST_POD_SPECS: [(&str, &str); 2] = [
    ("ServiceAccount", "serviceAccountName"),
    ("PriorityClass", "priorityClassName"),
];

/// Fields of other kinds: the kind that is named, the kind and group that name it, and where.
const ELSEWHERE: [(&str, &str, &str, &str); 37] = [
    (
        "Deployment",
        "HorizontalPodAutoscaler",
        "",
        "spec/scaleTargetRef/name",
    ),
    (
        "ReplicationController",
        "HorizontalPodAutoscaler",
        "",
        "spec/scaleTargetRef/name",
    ),
    (
        "ReplicaSet",
        "HorizontalPodAutoscaler",
        "",
        "spec/scaleTargetRef/name",
    ),
    (
        "StatefulSet",
        "HorizontalPodAutoscaler",
        "",
        "spec/scaleTargetRef/name",
    ),
    ("ConfigMap", "Node", "", "spec/configSource/configMap"),
    ("ConfigMap", "Role", "", "rules/resourceNames"),
    ("ConfigMap", "ClusterRole", "", "rules/resourceNames"),
    (
        "ConfigMap",
        "Ingress",
        "",
        "metadata/annotations/nginx.ingress.kubernetes.io\\/fastcgi-params-configmap",
    ),
    ("Secret", "Ingress", "", "spec/tls/secretName"),
    (
        "Secret",
        "Ingress",
        "",
        "metadata/annotations/ingress.kubernetes.io\\/auth-secret",
    ),
    (
        "Secret",
        "Ingress",
        "",
        "metadata/annotations/nginx.ingress.kubernetes.io\\/auth-secret",
    ),
    (
        "Secret",
        "Ingress",
        "",
        "metadata/annotations/nginx.ingress.kubernetes.io\\/auth-tls-secret",
    ),
    ("Secret", "ServiceAccount", "", "imagePullSecrets/name"),
    ("Secret", "StorageClass", "", "parameters/secretName"),
    ("Secret", "StorageClass", "", "parameters/adminSecretName"),
    ("Secret", "StorageClass", "", "parameters/userSecretName"),
    ("Secret", "StorageClass", "", "parameters/secretRef"),
    ("Secret", "Role", "", "rules/resourceNames"),
    ("Secret", "ClusterRole", "", "rules/resourceNames"),
    (
        "Secret",
        "PersistentVolume",
        "",
        "spec/azureFile/secretName",
    ),
    ("Service", "StatefulSet", "apps", "spec/serviceName"),
    (
        "Service",
        "Ingress",
        "",
        "spec/rules/http/paths/backend/serviceName",
    ),
    ("Service", "Ingress", "", "spec/backend/serviceName"),
    (
        "Service",
        "Ingress",
        "",
        "spec/rules/http/paths/backend/service/name",
    ),
    ("Service", "Ingress", "", "spec/defaultBackend/service/name"),
    (
        "Service",
        "APIService",
        "apiregistration.k8s.io",
        "spec/service/name",
    ),
    (
        "Service",
        "ValidatingWebhookConfiguration",
        "admissionregistration.k8s.io",
        "webhooks/clientConfig/service",
    ),
    (
        "Service",
        "MutatingWebhookConfiguration",
        "admissionregistration.k8s.io",
        "webhooks/clientConfig/service",
    ),
    (
        "Role",
        "RoleBinding",
        "rbac.authorization.k8s.io",
        "roleRef/name",
    ),
    (
        "ClusterRole",
        "RoleBinding",
        "rbac.authorization.k8s.io",
        "roleRef/name",
    ),
    (
        "ClusterRole",
        "ClusterRoleBinding",
        "rbac.authorization.k8s.io",
        "roleRef/name",
    ),
    (
        "ServiceAccount",
        "RoleBinding",
        "rbac.authorization.k8s.io",
        "subjects",
    ),
    (
        "ServiceAccount",
        "ClusterRoleBinding",
        "rbac.authorization.k8s.io",
        "subjects",
    ),
    (
        "PersistentVolume",
        "PersistentVolumeClaim",
        "",
        "spec/volumeName",
    ),
    (
        "StorageClass",
        "PersistentVolume",
        "",
        "spec/storageClassName",
    ),
    (
        "StorageClass",
        "PersistentVolumeClaim",
        "",
        "spec/storageClassName",
    ),
    (
        "StorageClass",
        "StatefulSet",
        "",
        "spec/volumeClaimTemplates/spec/storageClassName",
    ),
];

fn built_in() -> Vec<Reference> {
    let reference = |to_kind: &str, from_kind: &str, from_group: &str, path: &str| Reference {
        to_kind: to_kind.to_owned(),
        from_kind: from_kind.to_owned(),
        from_group: from_group.to_owned(),
        path: split(path),
    };
    let mut references = Vec::new();
    for (from_kind, pod_spec) in POD_SPECS {
        let is_common = !["PodTemplate", "ReplicaSet"].contains(&from_kind);
        let more = IN_MOST_POD_SPECS.into_iter().filter(|_| is_common);
        for (to_kind, path) in IN_POD_SPEC.into_iter().chain(more) {
            references.push(reference(
                to_kind,
                from_kind,
                "",
                &format!("{pod_spec}/{path}"),
            ));
        }
    }
    references.extend(ELSEWHERE.map(|(to, from, group, path)| reference(to, from, group, path)));
    references
}
