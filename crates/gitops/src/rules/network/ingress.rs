//! Ingresses: a class that somebody serves, and exposure that is meant.

use std::collections::BTreeSet;

use crate::build::Object;
use crate::finding::{Finding, Severity};
use crate::graph::Graph;
use crate::rules::helm::values;
use crate::rules::{Context, Rule};
use crate::yaml::Node;

/// An Ingress that nobody serves.
pub static NET001: Rule = Rule {
    id: "NET001",
    title: "an Ingress has a class that something in the repository makes",
    severity: Severity::Warning,
    consequence: "no controller serves the Ingress, or the default one does, whichever that is",
    fix: "set `ingressClassName` to a class that exists",
    page: include_str!("../pages/NET001.md"),
};

/// An Ingress that is more, or less, public than it looks.
pub static NET002: Rule = Rule {
    id: "NET002",
    title: "an external Ingress has its DNS target, and an internal one has none",
    severity: Severity::Warning,
    consequence: "the name does not resolve from outside, or something internal is published",
    fix: "add the annotation `external-dns.alpha.kubernetes.io/target` to external Ingresses only",
    page: include_str!("../pages/NET002.md"),
};

const GROUP: &str = "networking.k8s.io";
const TARGET: &str = "external-dns.alpha.kubernetes.io/target";

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let classes = classes(context);
    let mut findings = Vec::new();
    // Where no class is made here, they come from elsewhere, and none is known.
    let are_known = !classes.is_empty();
    let has_both = ["internal", "external"]
        .iter()
        .all(|class| classes.contains(*class));
    for ingress in context.graph.of_kind(GROUP, "Ingress") {
        findings.extend(class(ingress, &classes, are_known));
        if has_both {
            findings.extend(exposure(ingress));
        }
        findings.extend(unexpected(context, ingress));
    }
    findings
}

/// The classes that objects and charts of the repository make.
fn classes(context: &Context<'_>) -> BTreeSet<String> {
    let graph = context.graph;
    let objects = graph.of_kind(GROUP, "IngressClass");
    let mut classes: BTreeSet<String> = objects.map(|class| class.name().to_owned()).collect();
    classes.extend(made_by_charts(graph));
    if !classes.is_empty() {
        classes.extend(context.settings.ingress_classes.iter().cloned());
    }
    classes
}

fn made_by_charts(graph: &Graph) -> Vec<String> {
    let mut names = Vec::new();
    for release in graph.helm_releases() {
        for part in values::values(graph, release).parts {
            collect(&part, &mut names);
        }
    }
    names
}

/// Names in `ingressClassResource` and `ingressClass`, as charts of controllers have them.
fn collect(node: &Node, names: &mut Vec<String>) {
    for field in node.fields() {
        if matches!(&*field.key, "ingressClassResource" | "ingressClass")
            && let Some(name) = field.node.text_of("name")
        {
            names.push(name.to_owned());
        }
        collect(&field.node, names);
    }
}

fn class_of(ingress: &Object) -> Option<&Node> {
    let old = ["metadata", "annotations", "kubernetes.io/ingress.class"];
    let class = ingress.spec(&["ingressClassName"]);
    class.or_else(|| ingress.node.path(&old))
}

fn class(ingress: &Object, classes: &BTreeSet<String>, are_known: bool) -> Option<Finding> {
    let Some(node) = class_of(ingress) else {
        let message = "the Ingress has no `ingressClassName`";
        return Some(Finding::new(&NET001, ingress.spec_at(), message).about(ingress));
    };
    let name = node.text().filter(|name| !name.contains("${"))?;
    let message = format!("nothing in the repository makes the class {name:?}");
    let is_unknown = are_known && !classes.contains(name);
    is_unknown.then(|| Finding::new(&NET001, node.at, message).about(ingress))
}

/// An external Ingress that the repository's owner does not name.
fn unexpected(context: &Context<'_>, ingress: &Object) -> Option<Finding> {
    let expected = context.settings.conventions.external_ingresses.as_ref()?;
    let class = class_of(ingress).filter(|class| class.text() == Some("external"))?;
    let name = format!("{}/{}", ingress.namespace(), ingress.name());
    if expected.iter().any(|pattern| pattern.is_match(&name)) {
        return None;
    }
    let message = "the Ingress is external, and no pattern of `externalIngresses` is for it";
    Some(
        Finding::new(&NET002, class.at, message)
            .about(ingress)
            .consequence("something is published that nobody has named as public")
            .fix("make it internal, or add it to `conventions.externalIngresses` in .nico.yaml"),
    )
}

fn exposure(ingress: &Object) -> Option<Finding> {
    let class = class_of(ingress)?;
    let target = ingress
        .node
        .path(&["metadata", "annotations"])
        .and_then(|all| all.field(TARGET));
    match (class.text()?, target) {
        ("external", None) => {
            let message = "the Ingress is external, and has no DNS target";
            Some(
                Finding::new(&NET002, class.at, message)
                    .about(ingress)
                    .fix(format!("annotate it with `{TARGET}`")),
            )
        }
        ("internal", Some(field)) => {
            let message = "the Ingress is internal, and has a DNS target";
            Some(
                Finding::new(&NET002, field.key_at, message)
                    .about(ingress)
                    .fix("remove the annotation"),
            )
        }
        _ => None,
    }
}
