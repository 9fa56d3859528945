//! Volumes: one that a single node can use is used by one Pod at a time, and its class exists.

use crate::build::Object;
use crate::finding::{Finding, Severity};
use crate::graph::Graph;
use crate::rules::{Context, Rule};
use crate::yaml::{Node, Value};

use super::pods::{Workload, workloads};

/// A volume that two Pods want.
pub static WKL001: Rule = Rule {
    id: "WKL001",
    title: "a volume for one node is used by one Pod at a time",
    severity: Severity::Error,
    consequence: "the new Pod waits for the volume of the old one, and the old one waits for the new one",
    fix: "set `strategy.type: Recreate` and one replica, or use a volume for many nodes",
    page: include_str!("../pages/WKL001.md"),
};

/// A strategy with the parts of another.
pub static WKL002: Rule = Rule {
    id: "WKL002",
    title: "a Deployment with the strategy Recreate has no `rollingUpdate`",
    severity: Severity::Error,
    consequence: "the API server refuses the Deployment",
    fix: "remove `rollingUpdate`; in a patch, set it to null",
    page: include_str!("../pages/WKL002.md"),
};

/// A class of storage that nobody makes.
pub static WKL005: Rule = Rule {
    id: "WKL005",
    title: "the class of a volume exists",
    severity: Severity::Warning,
    consequence: "the volume is never made, and the Pods wait for it",
    fix: "correct `storageClassName`, or mark a StorageClass as the default",
    page: include_str!("../pages/WKL005.md"),
};

const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let graph = context.graph;
    let mut findings = Vec::new();
    for workload in workloads(graph).filter(|workload| workload.object.kind() == "Deployment") {
        findings.extend(deadlock(graph, &workload));
        findings.extend(leftover(workload.object));
    }
    findings.extend(classes(graph));
    findings
}

fn deadlock(graph: &Graph, workload: &Workload<'_>) -> Option<Finding> {
    let object = workload.object;
    let volumes = workload.pod()?.get("volumes")?.items();
    let claim = volumes.iter().find_map(|volume| {
        let name = volume.path(&["persistentVolumeClaim", "claimName"])?;
        is_for_one_node(graph, object.namespace(), name.text()?).then_some(name)
    })?;
    let name = claim.text().unwrap_or_default();
    if workload.replicas().is_some_and(|replicas| replicas > 1) {
        let message =
            format!("several Pods share the volume {name:?}, which one node at a time can use");
        return Some(
            Finding::new(&WKL001, object.spec_field_at("replicas"), message).about(object),
        );
    }
    let strategy = object.spec(&["strategy"]);
    let is_recreate = strategy.and_then(|strategy| strategy.text_of("type")) == Some("Recreate");
    // Without a surge, the old Pod goes first.
    let surge = strategy.and_then(|strategy| strategy.path(&["rollingUpdate", "maxSurge"]));
    let has_no_surge = surge
        .and_then(Node::scalar_text)
        .is_some_and(|surge| matches!(surge, "0" | "0%"));
    if is_recreate || has_no_surge || workload.replicas() == Some(0) {
        return None;
    }
    let message = format!(
        "a rolling update starts a second Pod with the volume {name:?}, which one node at a time can use"
    );
    Some(Finding::new(&WKL001, object.spec_field_at("strategy"), message).about(object))
}

fn is_for_one_node(graph: &Graph, namespace: &str, name: &str) -> bool {
    let mut claims = graph.of_kind("", "PersistentVolumeClaim");
    let claim = claims.find(|claim| claim.name() == name && claim.namespace() == namespace);
    let modes = claim.and_then(|claim| claim.spec(&["accessModes"]));
    let modes = modes.map_or(&[][..], Node::items);
    let is_single = |mode: &Node| matches!(mode.text(), Some("ReadWriteOnce" | "ReadWriteOncePod"));
    !modes.is_empty() && modes.iter().all(is_single)
}

fn leftover(object: &Object) -> Option<Finding> {
    let strategy = object.spec(&["strategy"])?;
    let field = strategy
        .field("rollingUpdate")
        .filter(|field| !field.node.is_null())?;
    let message = "`rollingUpdate` stands beside the strategy Recreate";
    let is_recreate = strategy.text_of("type") == Some("Recreate");
    is_recreate.then(|| Finding::new(&WKL002, field.key_at, message).about(object))
}

fn classes(graph: &Graph) -> Vec<Finding> {
    let classes: Vec<&Object> = graph.of_kind("storage.k8s.io", "StorageClass").collect();
    // Charts and other repositories make classes too; only where all is known can one be missing.
    let is_known =
        !classes.is_empty() && graph.is_complete() && graph.helm_releases().next().is_none();
    if !is_known {
        return Vec::new();
    }
    let has_default = classes
        .iter()
        .any(|class| class.metadata("annotations", DEFAULT) == Some("true"));
    let mut findings = Vec::new();
    for object in graph.all_objects() {
        for claim in claims(object) {
            match claim
                .field("storageClassName")
                .filter(|field| !field.node.is_null())
            {
                Some(field) => {
                    let name = field.node.text().unwrap_or_default();
                    let is_there = name.is_empty()
                        || name.contains("${")
                        || classes.iter().any(|class| class.name() == name);
                    if !is_there {
                        let message = format!("nothing makes the StorageClass {name:?}");
                        findings.push(Finding::new(&WKL005, field.node.at, message).about(object));
                    }
                }
                None if !has_default => {
                    let message = "no class is named, and no StorageClass is the default";
                    findings.push(Finding::new(&WKL005, claim.at, message).about(object));
                }
                None => {}
            }
        }
    }
    findings
}

/// The specifications of the claims that an object is or makes. A claim with a volume of its own needs
/// no class.
fn claims(object: &Object) -> Vec<&Node> {
    let all: Vec<&Node> = match (object.group(), object.kind()) {
        ("", "PersistentVolumeClaim") => object.node.get("spec").into_iter().collect(),
        ("apps", "StatefulSet") => {
            let templates = object
                .spec(&["volumeClaimTemplates"])
                .map_or(&[][..], Node::items);
            templates
                .iter()
                .filter_map(|template| template.get("spec"))
                .collect()
        }
        _ => Vec::new(),
    };
    let has_volume = |claim: &&Node| {
        claim
            .get("volumeName")
            .is_some_and(|name| name.value != Value::Null)
    };
    all.into_iter().filter(|claim| !has_volume(claim)).collect()
}
