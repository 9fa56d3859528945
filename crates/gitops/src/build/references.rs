//! Names that changed, changed also where others refer to them.

use std::collections::HashMap;
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
    let targets: Vec<Target> = objects.iter().map(Target::of).collect();
    let index = Index::of(&targets);
    let mut unclear = Vec::new();
    for (from, object) in objects.iter_mut().enumerate() {
        let applies = |reference: &&Reference| {
            (reference.from_kind.is_empty() || reference.from_kind == object.kind())
                && (reference.from_group.is_empty() || reference.from_group == object.group())
        };
        let references = BUILT_IN.iter().chain(custom).filter(applies);
        let role_kind = object.node.path(&["roleRef", "kind"]).and_then(Node::text);
        let role_kind = role_kind.map(str::to_owned);
        for reference in references.collect::<Vec<_>>() {
            let names_role = reference.path.first().is_some_and(|part| part == "roleRef");
            if names_role && role_kind.as_ref() != Some(&reference.to_kind) {
                continue;
            }
            at_path(&mut object.node, &reference.path, None, &mut |field| {
                each(field, &mut |field| {
                    if let Err(name) = point(field, reference, &targets[from], &index) {
                        unclear.push(Unclear::Ambiguous { from, name });
                    }
                });
            });
        }
    }
    unclear
}

/// What is asked of an object that may be named, or that names others.
struct Target {
    kind: String,
    is_namespaced: bool,
    /// Namespace and name, and all that it had before.
    now: (String, String),
    earlier: Vec<(String, String)>,
}

impl Target {
    fn of(object: &Object) -> Self {
        Self {
            kind: object.kind().to_owned(),
            is_namespaced: is_namespaced(object),
            now: (object.namespace().to_owned(), object.name().to_owned()),
            earlier: object.earlier.clone(),
        }
    }

    fn names(&self) -> impl Iterator<Item = &(String, String)> {
        self.earlier.iter().chain([&self.now])
    }

    /// Whether it has, or had, this name; in this namespace, where one is asked for.
    fn was_called(&self, namespace: Option<&str>, name: &str) -> bool {
        self.names().any(|(had_namespace, had_name)| {
            had_name == name && namespace.is_none_or(|namespace| had_namespace == namespace)
        })
    }
}

/// The objects of a kind, by each name that they have or had.
struct Index<'a>(HashMap<(&'a str, &'a str), Vec<&'a Target>>);

impl<'a> Index<'a> {
    fn of(targets: &'a [Target]) -> Self {
        let mut index: HashMap<(&'a str, &'a str), Vec<&'a Target>> = HashMap::new();
        for target in targets {
            for (_, name) in target.names() {
                let known = index.entry((&*target.kind, &**name)).or_default();
                if !known.last().is_some_and(|last| std::ptr::eq(*last, target)) {
                    known.push(target);
                }
            }
        }
        Self(index)
    }

    fn find<'b>(&'b self, kind: &'b str, name: &'b str) -> &'b [&'a Target] {
        self.0.get(&(kind, name)).map_or(&[], Vec::as_slice)
    }
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
    referrer: &Target,
    index: &Index<'_>,
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
    let known = index.find(&reference.to_kind, &name).iter().copied();
    let candidates: Vec<&Target> = known
        .filter(|target| match &stated {
            Some(namespace) => target.was_called(Some(namespace), &name),
            None => target.was_called(None, &name) && are_neighbours(referrer, target),
        })
        .collect();
    let Some(target) = candidates.first() else {
        return Ok(());
    };
    let (namespace, new_name) = &target.now;
    if candidates.iter().any(|other| other.now.1 != *new_name) {
        return Err(name);
    }
    if !is_mapping {
        if *new_name != name {
            *field = text_at(new_name.as_str(), field.at);
        }
        return Ok(());
    }
    if *new_name != name {
        field.set(&["name"], text_at(new_name.as_str(), field.at));
    }
    if stated.is_some_and(|stated| stated != *namespace) && !namespace.is_empty() {
        field.set(&["namespace"], text_at(namespace.as_str(), field.at));
    }
    Ok(())
}

/// Whether the two stand, or stood, in one namespace; a cluster-wide object is everybody's.
fn are_neighbours(one: &Target, other: &Target) -> bool {
    if !one.is_namespaced || !other.is_namespaced {
        return true;
    }
    one.names()
        .any(|(namespace, _)| other.names().any(|(known, _)| known == namespace))
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
