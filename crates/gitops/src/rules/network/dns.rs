//! Names in DNS: who makes the records of a hostname.

use crate::build::Object;
use crate::finding::{Finding, Severity};
use crate::graph::Graph;
use crate::rules::helm::{chart, values};
use crate::rules::{Context, Rule};
use crate::yaml::Node;

/// A hostname without a record.
pub static NET004: Rule = Rule {
    id: "NET004",
    title: "a hostname outside of the domains of external-dns has a DNSEndpoint",
    severity: Severity::Warning,
    consequence: "external-dns makes no record for the name, and it does not resolve",
    fix: "add a DNSEndpoint, or the domain to `domainFilters`",
    page: include_str!("../pages/NET004.md"),
};

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let graph = context.graph;
    let Some(domains) = domains(graph) else {
        return Vec::new();
    };
    let endpoints = endpoints(graph);
    let mut findings = Vec::new();
    for (object, host) in hosts(graph) {
        let name = host.text().unwrap_or_default();
        let is_below = |domain: &String| {
            name == domain
                || name
                    .strip_suffix(domain.as_str())
                    .is_some_and(|rest| rest.ends_with('.'))
        };
        let is_named = endpoints.iter().any(|endpoint| {
            endpoint == name
                || endpoint
                    .strip_prefix('*')
                    .is_some_and(|end| name.ends_with(end))
        });
        if !domains.iter().any(is_below) && !is_named {
            let message =
                format!("{name} is in none of the domains of external-dns, and has no DNSEndpoint");
            findings.push(Finding::new(&NET004, host.at, message).about(object));
        }
    }
    findings
}

/// The domains that external-dns looks after; none where that is not known.
fn domains(graph: &Graph) -> Option<Vec<String>> {
    let mut domains = Vec::new();
    for release in graph.helm_releases() {
        if chart::name(graph, release).as_deref() != Some("external-dns") {
            continue;
        }
        let values = values::values(graph, release);
        let filters = values
            .parts
            .iter()
            .find_map(|part| part.get("domainFilters"))?;
        domains.extend(
            filters
                .items()
                .iter()
                .filter_map(Node::text)
                .map(str::to_owned),
        );
    }
    (!domains.is_empty()).then_some(domains)
}

fn endpoints(graph: &Graph) -> Vec<String> {
    let objects = graph.of_kind("externaldns.k8s.io", "DNSEndpoint");
    objects
        .flat_map(|object| object.spec(&["endpoints"]).map_or(&[][..], Node::items))
        .filter_map(|endpoint| endpoint.text_of("dnsName"))
        .map(str::to_owned)
        .collect()
}

/// The hostnames of Ingresses and routes that are public: those with a DNS target, and of routes all.
fn hosts(graph: &Graph) -> Vec<(&Object, &Node)> {
    let mut hosts = Vec::new();
    for ingress in graph.of_kind("networking.k8s.io", "Ingress") {
        if ingress
            .metadata("annotations", "external-dns.alpha.kubernetes.io/target")
            .is_some()
        {
            let rules = ingress.spec(&["rules"]).map_or(&[][..], Node::items).iter();
            hosts.extend(rules.filter_map(|rule| Some((ingress, rule.get("host")?))));
        }
    }
    for route in graph.of_kind("gateway.networking.k8s.io", "HTTPRoute") {
        let names = route
            .spec(&["hostnames"])
            .map_or(&[][..], Node::items)
            .iter();
        hosts.extend(names.map(|name| (route, name)));
    }
    hosts
}
