//! Order: what uses a custom resource waits for what brings its definition.

use std::collections::{BTreeMap, BTreeSet};

use crate::build::Object;
use crate::finding::{Finding, Severity};
use crate::graph::{Graph, Key, Kustomization};
use crate::rules::helm::chart;
use crate::rules::{Context, Rule};
use crate::settings::Settings;
use crate::yaml::Node;

/// A custom resource that may be there before its kind.
pub static FLX006: Rule = Rule {
    id: "FLX006",
    title: "a Kustomization with custom resources waits for the one that brings their kinds",
    severity: Severity::Warning,
    consequence: "on a new cluster the apply fails with `no matches for kind` until the other one is done",
    fix: "add the other Kustomization to `dependsOn`",
    page: include_str!("../pages/FLX006.md"),
};

/// Charts that bring definitions, and the API groups of these.
const CHARTS: [(&str, &[&str]); 24] = [
    ("cert-manager", &["cert-manager.io", "acme.cert-manager.io"]),
    ("cilium", &["cilium.io"]),
    ("cloudnative-pg", &["postgresql.cnpg.io"]),
    ("dragonfly-operator", &["dragonflydb.io"]),
    ("external-dns", &["externaldns.k8s.io"]),
    (
        "external-secrets",
        &["external-secrets.io", "generators.external-secrets.io"],
    ),
    ("flux-operator", &["fluxcd.controlplane.io"]),
    (
        "gateway-helm",
        &["gateway.networking.k8s.io", "gateway.envoyproxy.io"],
    ),
    ("grafana-operator", &["grafana.integreatly.org"]),
    ("keda", &["keda.sh"]),
    ("kube-prometheus-stack", &["monitoring.coreos.com"]),
    ("kubeai", &["kubeai.org"]),
    ("kyverno", &["kyverno.io"]),
    ("longhorn", &["longhorn.io"]),
    ("metallb", &["metallb.io"]),
    ("multus", &["k8s.cni.cncf.io"]),
    ("node-feature-discovery", &["nfd.k8s-sigs.io"]),
    ("prometheus-operator-crds", &["monitoring.coreos.com"]),
    ("rook-ceph", &["ceph.rook.io"]),
    ("seaweedfs-operator", &["seaweed.seaweedfs.com"]),
    ("snapshot-controller", &["snapshot.storage.k8s.io"]),
    ("tailscale-operator", &["tailscale.com"]),
    ("traefik", &["traefik.io"]),
    ("volsync", &["volsync.backube"]),
];

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let graph = context.graph;
    let providers = providers(graph, context.settings);
    let mut findings = Vec::new();
    for (key, kustomization) in &graph.kustomizations {
        let mut seen = BTreeSet::new();
        for object in &kustomization.objects {
            let group = object.group();
            let Some(brought_by) = providers.get(group).filter(|_| seen.insert(group)) else {
                continue;
            };
            let is_ordered = brought_by
                .iter()
                .any(|provider| provider == key || graph.waits_for(key, provider));
            if !is_ordered {
                findings.push(unordered(kustomization, object, &brought_by[0]));
            }
        }
    }
    findings
}

fn unordered(kustomization: &Kustomization, object: &Object, provider: &Key) -> Finding {
    let (namespace, name) = provider;
    let message = format!(
        "it has {}, whose kind Kustomization {namespace}/{name} brings, and does not depend on that one",
        object.display_name()
    );
    let user = &kustomization.object;
    let finding = Finding::new(&FLX006, user.spec_field_at("dependsOn"), message).about(user);
    finding.fix(format!(
        "add `name: {name}` with `namespace: {namespace}` to `dependsOn`"
    ))
}

/// The Kustomizations that bring the kinds of an API group. What the owner says goes first.
fn providers(graph: &Graph, settings: &Settings) -> BTreeMap<String, Vec<Key>> {
    let mut providers: BTreeMap<String, Vec<Key>> = BTreeMap::new();
    let mut add = |group: &str, key: Key| providers.entry(group.to_owned()).or_default().push(key);
    for (kustomization, object) in graph.objects() {
        let key = kustomization.key();
        if object.is("apiextensions.k8s.io", "CustomResourceDefinition") {
            let group = object.spec(&["group"]).and_then(Node::text);
            add(group.unwrap_or_default(), key);
        } else if let Some(name) = chart::name(graph, object) {
            let charts = CHARTS.iter().filter(|(chart, _)| *chart == name);
            for group in charts.flat_map(|(_, groups)| *groups) {
                add(group, key.clone());
            }
        }
    }
    for (group, key) in &settings.providers {
        if graph.kustomizations.contains_key(key) {
            providers.insert(group.clone(), vec![key.clone()]);
        }
    }
    providers
}
