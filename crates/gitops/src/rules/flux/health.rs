//! Health: checks that are looked at, and that can be answered.

use crate::build::{self, Object};
use crate::finding::{Finding, Severity};
use crate::graph::{Graph, HELM_GROUP, KUSTOMIZE_GROUP, Kustomization, SOURCE_GROUP};
use crate::rules::{Context, Rule};
use crate::yaml::Node;

/// Health checks that are not looked at.
pub static FLX007: Rule = Rule {
    id: "FLX007",
    title: "`healthChecks` and `wait: true` do not stand together",
    severity: Severity::Warning,
    consequence: "Flux ignores the `healthChecks` and waits for every object",
    fix: "remove `healthChecks`, or set `wait: false`",
    page: include_str!("../pages/FLX007.md"),
};

/// Expressions that are never evaluated.
pub static FLX008: Rule = Rule {
    id: "FLX008",
    title: "`healthCheckExprs` stand beside `wait: true` or `healthChecks`",
    severity: Severity::Warning,
    consequence: "the expressions are never evaluated, and the Kustomization is ready at once",
    fix: "set `wait: true`, or name the objects in `healthChecks`",
    page: include_str!("../pages/FLX008.md"),
};

/// A health check that cannot be answered.
pub static FLX026: Rule = Rule {
    id: "FLX026",
    title: "an object that is checked for health has a namespace, and exists",
    severity: Severity::Error,
    consequence: "the Kustomization waits for the object until its timeout, and is never ready",
    fix: "name the namespace and the name of an object that is applied",
    page: include_str!("../pages/FLX026.md"),
};

/// Dependants that wait for a refresh of secrets.
pub static FLX027: Rule = Rule {
    id: "FLX027",
    title: "who depends on a Kustomization does not wait for its ExternalSecrets",
    severity: Severity::Info,
    consequence: "while the store of secrets cannot be reached, everything that depends on this Kustomization stops",
    fix: "set `wait: false`, and name the workloads, or the Secrets they need, in `healthChecks`",
    page: include_str!("../pages/FLX027.md"),
};

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for kustomization in context.graph.kustomizations.values() {
        findings.extend(ignored_checks(kustomization));
        findings.extend(ignored_expressions(kustomization));
        if !kustomization.waits() {
            findings.extend(unanswered(context.graph, kustomization));
        }
        findings.extend(refreshed_secrets(context.graph, kustomization));
    }
    findings
}

fn ignored_checks(kustomization: &Kustomization) -> Option<Finding> {
    let is_ignored = kustomization.waits() && kustomization.has_health_checks();
    let object = &kustomization.object;
    let message = "`healthChecks` stands beside `wait: true`";
    is_ignored
        .then(|| Finding::new(&FLX007, object.spec_field_at("healthChecks"), message).about(object))
}

fn ignored_expressions(kustomization: &Kustomization) -> Option<Finding> {
    let expressions = kustomization.spec("healthCheckExprs")?;
    let is_ignored = !kustomization.signals_readiness() && !expressions.items().is_empty();
    let object = &kustomization.object;
    let message = "`healthCheckExprs` stands there without `wait: true` and without `healthChecks`";
    is_ignored.then(|| {
        Finding::new(&FLX008, object.spec_field_at("healthCheckExprs"), message).about(object)
    })
}

fn unanswered(graph: &Graph, kustomization: &Kustomization) -> Vec<Finding> {
    let checks = kustomization.spec("healthChecks");
    let checks = checks.map_or(&[][..], Node::items).iter();
    checks
        .filter_map(|check| {
            let object = Object::new(with_name(check)?)?;
            let message = unanswered_because(graph, kustomization, &object)?;
            let at = check.get("name").map_or(check.at, |name| name.at);
            Some(Finding::new(&FLX026, at, message).about(&kustomization.object))
        })
        .collect()
}

/// The object that a check means, as far as it says.
fn with_name(check: &Node) -> Option<Node> {
    let mut object = check.clone();
    object.set(&["metadata", "name"], check.get("name")?.clone());
    if let Some(namespace) = check.get("namespace") {
        object.set(&["metadata", "namespace"], namespace.clone());
    }
    Some(object)
}

fn unanswered_because(
    graph: &Graph,
    kustomization: &Kustomization,
    object: &Object,
) -> Option<String> {
    let (kind, namespace, name) = (object.kind(), object.namespace(), object.name());
    let is_flux = [HELM_GROUP, KUSTOMIZE_GROUP, SOURCE_GROUP].contains(&object.group());
    let is_namespaced = is_flux || build::is_built_in(object) && build::is_namespaced(object);
    if is_namespaced && namespace.is_empty() {
        return Some(format!(
            "the health check of {kind} {name} names no namespace"
        ));
    }
    if name.contains("${") || namespace.contains("${") {
        return None;
    }
    // What a chart makes is not known here; what Flux itself makes is.
    let is_known = if is_flux {
        graph.is_complete()
    } else {
        let mut made = kustomization.objects.iter();
        let has_releases = made.any(|object| !build::is_built_in(object));
        kustomization.is_here
            && kustomization.is_complete
            && build::is_built_in(object)
            && !has_releases
    };
    let exists = match object.group() {
        KUSTOMIZE_GROUP => graph
            .kustomizations
            .contains_key(&(namespace.to_owned(), name.to_owned())),
        group => graph.find(group, kind, namespace, name).is_some(),
    };
    (is_known && !exists)
        .then(|| format!("nothing applies {kind} {namespace}/{name}, which is checked for health"))
}

fn refreshed_secrets(graph: &Graph, kustomization: &Kustomization) -> Option<Finding> {
    let mut objects = kustomization.objects.iter();
    let secret = objects.find(|object| object.is("external-secrets.io", "ExternalSecret"))?;
    let dependants = graph.dependants(&kustomization.key()).count();
    let object = &kustomization.object;
    let message = format!(
        "`wait: true` includes {}, and {dependants} other(s) depend on this Kustomization",
        secret.display_name()
    );
    let is_hurt = kustomization.waits() && dependants > 0;
    is_hurt.then(|| Finding::new(&FLX027, object.spec_field_at("wait"), message).about(object))
}
