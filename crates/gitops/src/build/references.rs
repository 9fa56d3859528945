//! Names that changed, changed also where others refer to them.

use std::sync::LazyLock;

use crate::yaml::{Node, Value};

use super::field_paths::{at_path, split};
use super::namespace::is_namespaced;
use super::object::{Object, text_at};

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

/// What a change of names did to the fields that refer to them.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unclear {
    /// A field may mean several objects.
    Ambiguous {
        /// Which object has the field, by its place in the list.
        from: usize,
        /// The name in it.
        name: String,
    },
}

/// Follows every reference. What was unclear is returned and left as it was.
pub(super) fn follow(objects: &mut [Object], custom: &[Reference]) -> Vec<Unclear> {
    if objects.iter().all(|object| object.earlier.is_empty()) {
        return Vec::new();
    }
    let targets: Vec<Object> = objects.to_vec();
    let mut unclear = Vec::new();
    for (from, object) in objects.iter_mut().enumerate() {
        let applies = |reference: &&Reference| {
            (reference.from_kind.is_empty() || reference.from_kind == object.kind())
                && (reference.from_group.is_empty() || reference.from_group == object.group())
        };
        for reference in BUILT_IN
            .iter()
            .chain(custom)
            .filter(applies)
            .collect::<Vec<_>>()
        {
            let role_kind = targets[from].node.path(&["roleRef", "kind"]);
            let names_role = reference.path.first().is_some_and(|part| part == "roleRef");
            if names_role && role_kind.and_then(Node::text) != Some(&reference.to_kind) {
                continue;
            }
            let referrer = &targets[from];
            at_path(&mut object.node, &reference.path, None, &mut |field| {
                each(field, &mut |field| {
                    if let Err(name) = point(field, reference, referrer, &targets) {
                        unclear.push(Unclear::Ambiguous { from, name });
                    }
                });
            });
        }
    }
    unclear
}

/// `resourceNames` of a role is a list of names.
fn each(field: &mut Node, change: &mut dyn FnMut(&mut Node)) {
    match &mut field.value {
        Value::Sequence(items) => items.iter_mut().for_each(change),
        _ => change(field),
    }
}

fn point(
    field: &mut Node,
    reference: &Reference,
    referrer: &Object,
    targets: &[Object],
) -> Result<(), String> {
    let is_mapping = matches!(field.value, Value::Mapping(_));
    let name = if is_mapping {
        field.text_of("name")
    } else {
        field.text()
    };
    let Some(name) = name.map(str::to_owned) else {
        return Ok(());
    };
    let stated = field.text_of("namespace").map(str::to_owned);
    let candidates: Vec<&Object> = targets
        .iter()
        .filter(|target| target.kind() == reference.to_kind)
        .filter(|target| match &stated {
            Some(namespace) => target.was_called(Some(namespace), &name),
            None => target.was_called(None, &name) && are_neighbours(referrer, target),
        })
        .collect();
    let Some(target) = candidates.first() else {
        return Ok(());
    };
    if candidates.iter().any(|other| other.name() != target.name()) {
        return Err(name);
    }
    if !is_mapping {
        if target.name() != name {
            *field = text_at(target.name(), field.at);
        }
        return Ok(());
    }
    if target.name() != name {
        field.set(&["name"], text_at(target.name(), field.at));
    }
    if stated.is_some_and(|stated| stated != target.namespace()) && !target.namespace().is_empty() {
        field.set(&["namespace"], text_at(target.namespace(), field.at));
    }
    Ok(())
}

/// Whether the two stand, or stood, in one namespace; a cluster-wide object is everybody's.
fn are_neighbours(one: &Object, other: &Object) -> bool {
    if !is_namespaced(one) || !is_namespaced(other) {
        return true;
    }
    let namespaces = |object: &Object| {
        let earlier = object
            .earlier
            .iter()
            .map(|(namespace, _)| namespace.clone());
        earlier
            .chain([object.namespace().to_owned()])
            .collect::<Vec<_>>()
    };
    let known = namespaces(other);
    namespaces(one)
        .iter()
        .any(|namespace| known.contains(namespace))
}

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
const ELSEWHERE: [(&str, &str, &str, &str); 38] = [
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
    ("IngressClass", "Ingress", "", "spec/ingressClassName"),
];

static BUILT_IN: LazyLock<Vec<Reference>> = LazyLock::new(built_in);

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
