//! Routes: the gateway and the listener that they name are there and take them.

use crate::build::Object;
use crate::finding::{Finding, Severity};
use crate::graph::Graph;
use crate::rules::helm::values::is_made;
use crate::rules::{Context, Rule};
use crate::yaml::Node;

/// A route that no listener takes.
pub static NET003: Rule = Rule {
    id: "NET003",
    title: "a route names a listener of a gateway that exists and takes its hostnames",
    severity: Severity::Error,
    consequence: "the route is not attached, and its hosts answer nothing",
    fix: "correct the gateway, the section or the hostname",
    page: include_str!("../pages/NET003.md"),
};

const GROUP: &str = "gateway.networking.k8s.io";

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let graph = context.graph;
    let mut findings = Vec::new();
    for kind in ["HTTPRoute", "GRPCRoute", "TLSRoute"] {
        for route in graph.of_kind(GROUP, kind) {
            let parents = route.spec(&["parentRefs"]).map_or(&[][..], Node::items);
            for parent in parents
                .iter()
                .filter(|parent| parent.text_of("kind").is_none_or(|kind| kind == "Gateway"))
            {
                findings.extend(attachment(graph, route, parent));
            }
        }
    }
    for gateway in graph.of_kind(GROUP, "Gateway") {
        findings.extend(certificates(graph, gateway));
    }
    findings
}

fn attachment(graph: &Graph, route: &Object, parent: &Node) -> Vec<Finding> {
    let Some(name) = parent
        .get("name")
        .filter(|name| !name.text().unwrap_or("${").contains("${"))
    else {
        return Vec::new();
    };
    let namespace = parent.text_of("namespace").unwrap_or(route.namespace());
    let report = |at, message: String| Finding::new(&NET003, at, message).about(route);
    let mut gateways = graph.of_kind(GROUP, "Gateway");
    let called = name.text().unwrap_or_default();
    let Some(gateway) =
        gateways.find(|gateway| gateway.name() == called && gateway.namespace() == namespace)
    else {
        let finding = report(name.at, format!("there is no Gateway {namespace}/{called}"));
        // A chart may make it.
        let has_any = graph.of_kind(GROUP, "Gateway").next().is_some();
        return vec![if has_any {
            finding
        } else {
            finding.severity(Severity::Warning)
        }];
    };
    let mut findings = Vec::new();
    for field in ["namespace", "sectionName"] {
        if parent.get(field).is_none() {
            let finding =
                report(name.at, format!("the parent has no `{field}`")).severity(Severity::Warning);
            let finding = finding.consequence(
                "the route attaches to whatever listener is there, also those that come later",
            );
            findings.push(finding.fix(format!("add `{field}`")));
        }
    }
    let listeners = gateway.spec(&["listeners"]).map_or(&[][..], Node::items);
    let Some(section) = parent.get("sectionName") else {
        return findings;
    };
    let listener = listeners
        .iter()
        .find(|listener| listener.text_of("name") == section.text());
    match listener {
        None => findings.push(report(
            section.at,
            format!(
                "the Gateway has no listener {:?}",
                section.text().unwrap_or_default()
            ),
        )),
        Some(listener) => findings.extend(hostnames(route, listener)),
    }
    findings
}

fn hostnames(route: &Object, listener: &Node) -> Vec<Finding> {
    let Some(wanted) = listener
        .text_of("hostname")
        .filter(|name| !name.contains("${"))
    else {
        return Vec::new();
    };
    let hosts = route
        .spec(&["hostnames"])
        .map_or(&[][..], Node::items)
        .iter();
    let wrong = hosts.filter(|host| {
        host.text()
            .is_some_and(|host| !host.contains("${") && !intersects(host, wanted))
    });
    wrong
        .map(|host| {
            let message = format!(
                "the listener takes {wanted:?}, and not {:?}",
                host.text().unwrap_or_default()
            );
            Finding::new(&NET003, host.at, message).about(route)
        })
        .collect()
}

/// Whether a hostname of a route and that of a listener have hosts in common. `*.` stands for one label
/// or more.
fn intersects(host: &str, listener: &str) -> bool {
    match (host.strip_prefix('*'), listener.strip_prefix('*')) {
        (None, None) => host == listener,
        (None, Some(end)) => host.ends_with(end) && host.len() > end.len(),
        (Some(end), None) => listener.ends_with(end) && listener.len() > end.len(),
        (Some(a), Some(b)) => a.ends_with(b) || b.ends_with(a),
    }
}

/// The Secrets of a gateway's listeners, unless an annotation has them made.
fn certificates(graph: &Graph, gateway: &Object) -> Vec<Finding> {
    let annotations = gateway
        .node
        .path(&["metadata", "annotations"])
        .map_or(&[][..], Node::fields);
    if annotations
        .iter()
        .any(|field| field.key.starts_with("cert-manager.io/"))
    {
        return Vec::new();
    }
    let listeners = gateway
        .spec(&["listeners"])
        .map_or(&[][..], Node::items)
        .iter();
    let references = listeners.flat_map(|listener| {
        listener
            .path(&["tls", "certificateRefs"])
            .map_or(&[][..], Node::items)
    });
    let missing = references.filter_map(|reference| {
        let name = reference.get("name")?;
        let namespace = reference
            .text_of("namespace")
            .unwrap_or(gateway.namespace());
        let called = name.text().filter(|name| !name.contains("${"))?;
        let message = format!("nothing makes Secret {namespace}/{called}");
        let finding = || {
            Finding::new(&NET003, name.at, message)
                .about(gateway)
                .severity(Severity::Warning)
        };
        (!is_made(graph, "Secret", namespace, called)).then(|| {
            finding()
                .consequence("the listener serves nothing until the Secret is there")
                .fix("add a Certificate that makes it")
        })
    });
    missing.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_labels() {
        for (host, listener, expected) in [
            ("a.example", "a.example", true),
            ("a.example", "b.example", false),
            ("a.example", "*.example", true),
            ("b.a.example", "*.example", true),
            ("example", "*.example", false),
            ("*.example", "a.example", true),
            ("*.a.example", "*.example", true),
            ("*.a.example", "*.b.example", false),
        ] {
            assert_eq!(intersects(host, listener), expected, "{host} {listener}");
        }
    }
}
