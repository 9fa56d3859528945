//! Network policies that keep out what must come in.

use crate::build::Object;
use crate::finding::{Finding, Severity};
use crate::graph::Graph;
use crate::rules::workloads::pods::{Workload, workloads};
use crate::rules::{Context, Rule};
use crate::yaml::Node;

/// A probe that a policy keeps out.
pub static NET005: Rule = Rule {
    id: "NET005",
    title: "the policies of a Pod let its probes through",
    severity: Severity::Warning,
    consequence: "with a network that applies policies to the kubelet, the probe fails and the container is restarted again and again",
    fix: "add the port of the probe to `ingress`",
    page: include_str!("../pages/NET005.md"),
};

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let graph = context.graph;
    let mut findings = Vec::new();
    for workload in workloads(graph) {
        let policies = policies_of(graph, &workload);
        let Some(first) = policies.first() else {
            continue;
        };
        for container in workload.containers() {
            for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
                let Some(port) = container
                    .get(probe)
                    .and_then(|probe| port_of(container, probe))
                else {
                    continue;
                };
                if !policies
                    .iter()
                    .any(|policy| lets_in(policy, container, &port))
                {
                    let message = format!(
                        "the policy keeps out port {port} of {}, at which its {probe} knocks",
                        workload.object.display_name()
                    );
                    findings.push(
                        Finding::new(&NET005, first.spec_field_at("ingress"), message).about(first),
                    );
                }
            }
        }
    }
    findings
}

/// The policies for traffic to the Pods of a workload.
fn policies_of<'a>(graph: &'a Graph, workload: &Workload<'_>) -> Vec<&'a Object> {
    let policies = graph.of_kind("networking.k8s.io", "NetworkPolicy");
    policies
        .filter(|policy| policy.namespace() == workload.object.namespace())
        .filter(|policy| {
            let types = policy.spec(&["policyTypes"]).map_or(&[][..], Node::items);
            types.is_empty() || types.iter().any(|kind| kind.text() == Some("Ingress"))
        })
        .filter(|policy| {
            policy
                .spec(&["podSelector"])
                .is_none_or(|selector| workload.is_selected_by(selector))
        })
        .collect()
}

/// The port at which a probe knocks, as a number where that is known.
fn port_of(container: &Node, probe: &Node) -> Option<String> {
    let port = ["httpGet", "tcpSocket", "grpc"]
        .iter()
        .find_map(|kind| probe.path(&[kind, "port"]))?;
    Some(number_of(container, port.scalar_text()?))
}

/// The number of a port that is called by name.
fn number_of(container: &Node, port: &str) -> String {
    let ports = container.get("ports").map_or(&[][..], Node::items);
    let named = ports
        .iter()
        .find(|known| known.text_of("name") == Some(port));
    let number = named.and_then(|known| known.get("containerPort")?.scalar_text());
    number.unwrap_or(port).to_owned()
}

fn lets_in(policy: &Object, container: &Node, port: &str) -> bool {
    let rules = policy.spec(&["ingress"]).map_or(&[][..], Node::items);
    rules.iter().any(|rule| {
        let ports = rule.get("ports").map_or(&[][..], Node::items);
        ports.is_empty() || ports.iter().any(|entry| is_port(entry, container, port))
    })
}

fn is_port(entry: &Node, container: &Node, port: &str) -> bool {
    let Some(first) = entry.get("port").and_then(Node::scalar_text) else {
        return true;
    };
    if number_of(container, first) == port {
        return true;
    }
    let number = |text: &str| text.parse::<u32>().ok();
    let last = entry
        .get("endPort")
        .and_then(Node::scalar_text)
        .and_then(number);
    match (number(first), last, number(port)) {
        (Some(first), Some(last), Some(port)) => (first..=last).contains(&port),
        _ => false,
    }
}
