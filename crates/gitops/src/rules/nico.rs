//! The rules for NICO's own objects, beyond their schemas.

use std::collections::BTreeMap;

use crate::build::Object;
use crate::finding::{Finding, Severity};
use crate::graph::Graph;
use crate::rules::{Context, Rule};
use crate::yaml::Node;

/// One machine under two names, or in two places.
pub static NIC001: Rule = Rule {
    id: "NIC001",
    title: "a machine is described once, and used once",
    severity: Severity::Error,
    consequence: "two objects put their configuration on the same machine, each undoing the other",
    fix: "remove one of the two",
    page: include_str!("pages/NIC001.md"),
};

/// A reference to what is not there.
pub static NIC002: Rule = Rule {
    id: "NIC002",
    title: "what an object of NICO names or selects is in the repository",
    severity: Severity::Warning,
    consequence: "the cluster or configuration waits for a machine that nobody describes",
    fix: "correct the name or the labels, or add the Machine",
    page: include_str!("pages/NIC002.md"),
};

const MACHINES: &str = "nio.homystack.com";
const CLUSTERS: &str = "nico.homystack.com";

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let graph = context.graph;
    let machines: Vec<&Object> = graph.of_kind(MACHINES, "Machine").collect();
    let mut findings = same_address(&machines);
    findings.extend(used_twice(graph));
    // Machines may be kept elsewhere; then none is known.
    if !machines.is_empty() {
        for (user, namespace, name) in named(graph) {
            let is_there = machines.iter().any(|machine| {
                Some(machine.name()) == name.text() && machine.namespace() == namespace
            });
            if !is_there {
                let message = format!(
                    "there is no Machine {:?} in the repository",
                    name.text().unwrap_or_default()
                );
                findings.push(Finding::new(&NIC002, name.at, message).about(user));
            }
        }
        findings.extend(empty_selectors(graph, &machines));
    }
    findings
}

/// Two Machines with one address are one computer.
fn same_address(machines: &[&Object]) -> Vec<Finding> {
    let mut known: BTreeMap<String, &Object> = BTreeMap::new();
    let mut findings = Vec::new();
    for machine in machines {
        for key in ["ipAddress", "hostname"] {
            let Some(node) = machine.spec(&[key]) else {
                continue;
            };
            let Some(address) = node
                .text()
                .filter(|text| !text.is_empty() && !text.contains("${"))
            else {
                continue;
            };
            // The same object may be taken in by several builds.
            let other = known.insert(address.to_ascii_lowercase(), machine);
            if let Some(other) = other.filter(|other| other.id() != machine.id()) {
                let message = format!("{} has the address {address} too", other.display_name());
                findings.push(Finding::new(&NIC001, node.at, message).about(machine));
            }
        }
    }
    findings
}

const ROLES: [&str; 2] = ["controlPlane", "dataPlane"];

/// The machines that objects name: who names it, in which namespace, and where the name is written.
fn named(graph: &Graph) -> Vec<(&Object, &str, &Node)> {
    let mut named = Vec::new();
    for configuration in graph.of_kind(MACHINES, "NixosConfiguration") {
        let name = configuration.spec(&["machineRef", "name"]);
        named.extend(name.map(|name| (configuration, configuration.namespace(), name)));
    }
    for cluster in graph.of_kind(CLUSTERS, "KubernetesCluster") {
        for role in ROLES {
            let names = cluster
                .spec(&[role, "machines"])
                .map_or(&[][..], Node::items);
            named.extend(
                names
                    .iter()
                    .map(|name| (cluster, cluster.namespace(), name)),
            );
        }
    }
    named
}

/// A machine carries one configuration, and is in one cluster, in one role.
fn used_twice(graph: &Graph) -> Vec<Finding> {
    let mut known: BTreeMap<(&str, &str, &str), &Object> = BTreeMap::new();
    let mut findings = Vec::new();
    for (user, namespace, name) in named(graph) {
        let Some(text) = name.text().filter(|text| !text.contains("${")) else {
            continue;
        };
        let key = (user.kind(), namespace, text);
        if let Some(other) = known.insert(key, user) {
            let message = format!("{} uses the machine {text:?} too", other.display_name());
            findings.push(Finding::new(&NIC001, name.at, message).about(user));
        }
    }
    findings
}

fn empty_selectors(graph: &Graph, machines: &[&Object]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for cluster in graph.of_kind(CLUSTERS, "KubernetesCluster") {
        for role in ROLES {
            let Some(field) = cluster
                .spec(&[role])
                .and_then(|role| role.field("machineSelector"))
            else {
                continue;
            };
            let fits = |machine: &&&Object| {
                machine.namespace() == cluster.namespace() && selects(&field.node, machine)
            };
            let wanted = cluster
                .spec(&[role, "count"])
                .and_then(|count| count.to_json().as_u64());
            let found = machines.iter().filter(fits).count() as u64;
            let wanted = wanted.unwrap_or(1);
            if found < wanted {
                let message = format!(
                    "the selector matches {found} Machine(s) of the repository, and {wanted} are wanted"
                );
                findings.push(Finding::new(&NIC002, field.key_at, message).about(cluster));
            }
        }
    }
    findings
}

fn selects(selector: &Node, machine: &Object) -> bool {
    let labels = selector.get("matchLabels").map_or(&[][..], Node::fields);
    let expressions = selector
        .get("matchExpressions")
        .map_or(&[][..], Node::items);
    labels
        .iter()
        .all(|field| machine.metadata("labels", &field.key) == field.node.scalar_text())
        && expressions
            .iter()
            .all(|expression| fits(expression, machine))
}

fn fits(expression: &Node, machine: &Object) -> bool {
    let label = machine.metadata("labels", expression.text_of("key").unwrap_or_default());
    let values = expression.get("values").map_or(&[][..], Node::items);
    let is_among = label.is_some_and(|label| {
        values
            .iter()
            .any(|value| value.scalar_text() == Some(label))
    });
    match expression.text_of("operator") {
        Some("In") => is_among,
        Some("NotIn") => !is_among,
        Some("Exists") => label.is_some(),
        Some("DoesNotExist") => label.is_none(),
        _ => true,
    }
}
