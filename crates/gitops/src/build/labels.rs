//! The fields `labels`, `commonLabels` and `commonAnnotations`.

use crate::yaml::{Field, Node};

use super::field_paths::{at_path, split};
use super::limits::check_path;
use super::object::Object;

/// Where labels go beside the object's own.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reach {
    pub(super) selectors: bool,
    pub(super) templates: bool,
}

/// Kinds with a Pod template in `spec.template`.
const TEMPLATED: [&str; 6] = [
    "ReplicationController",
    "Deployment",
    "ReplicaSet",
    "DaemonSet",
    "StatefulSet",
    "Job",
];

/// Sets the labels `pairs` (a mapping of texts).
pub(super) fn set_labels(object: &mut Object, pairs: &Node, reach: Reach) {
    add(object, "metadata/labels", true, pairs);
    if reach.templates || reach.selectors {
        for (path, create) in templates(object.kind()) {
            add(object, path, create, pairs);
        }
    }
    if reach.selectors {
        for (path, create) in selectors(object) {
            add(object, path, create, pairs);
        }
    }
}

/// Sets the labels at one more place: an entry of `fields`.
pub(super) fn set_at(object: &mut Object, pairs: &Node, field: &Node) -> Result<(), String> {
    let fits = |key, value: &str| field.text_of(key).is_none_or(|wanted| wanted == value);
    let is_meant = fits("kind", object.kind())
        && fits("group", object.group())
        && fits("version", object.version());
    let path = field.text_of("path").filter(|_| is_meant);
    if let Some(path) = path {
        check_path(&split(path))?;
        let create = field.get("create").and_then(Node::scalar_text) == Some("true");
        add(object, path, create, pairs);
    }
    Ok(())
}

/// Sets the annotations `pairs`, also those of Pod templates.
pub(super) fn set_annotations(object: &mut Object, pairs: &Node) {
    add(object, "metadata/annotations", true, pairs);
    let kind = object.kind();
    let path = match kind {
        "CronJob" => {
            add(object, "spec/jobTemplate/metadata/annotations", true, pairs);
            "spec/jobTemplate/spec/template/metadata/annotations"
        }
        _ if TEMPLATED.contains(&kind) => "spec/template/metadata/annotations",
        _ => return,
    };
    add(object, path, true, pairs);
}

fn templates(kind: &str) -> Vec<(&'static str, bool)> {
    match kind {
        "CronJob" => vec![
            ("spec/jobTemplate/metadata/labels", true),
            ("spec/jobTemplate/spec/template/metadata/labels", true),
        ],
        "StatefulSet" => vec![
            ("spec/template/metadata/labels", true),
            ("spec/volumeClaimTemplates[]/metadata/labels", true),
        ],
        _ if TEMPLATED.contains(&kind) => vec![("spec/template/metadata/labels", true)],
        _ => Vec::new(),
    }
}

fn selectors(object: &Object) -> Vec<(&'static str, bool)> {
    const AFFINITIES: [&str; 4] = [
        "spec/template/spec/affinity/podAffinity/preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels",
        "spec/template/spec/affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels",
        "spec/template/spec/affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels",
        "spec/template/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels",
    ];
    const SPREAD: &str = "spec/template/spec/topologySpreadConstraints/labelSelector/matchLabels";
    let with_affinities = |create| {
        let mut paths = vec![("spec/selector/matchLabels", create), (SPREAD, false)];
        paths.extend(AFFINITIES.map(|path| (path, false)));
        paths
    };
    match (object.kind(), object.group()) {
        ("Service", "") | ("ReplicationController", _) => vec![("spec/selector", true)],
        ("Deployment" | "StatefulSet", _) => with_affinities(true),
        ("ReplicaSet" | "DaemonSet", _) => vec![("spec/selector/matchLabels", true)],
        ("Job" | "PodDisruptionBudget", _) => vec![("spec/selector/matchLabels", false)],
        ("CronJob", _) => vec![("spec/jobTemplate/spec/selector/matchLabels", false)],
        ("NetworkPolicy", "networking.k8s.io") => vec![
            ("spec/podSelector/matchLabels", false),
            ("spec/ingress/from/podSelector/matchLabels", false),
            ("spec/egress/to/podSelector/matchLabels", false),
        ],
        _ => Vec::new(),
    }
}

fn add(object: &mut Object, path: &str, create: bool, pairs: &Node) {
    let create = create.then_some(pairs.at);
    at_path(&mut object.node, &split(path), create, &mut |labels| {
        for Field { key, node, .. } in pairs.fields() {
            labels.set(&[&**key], node.clone());
        }
    });
}
