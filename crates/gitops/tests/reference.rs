//! What must be found in a real repository, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use nico_gitops::graph::Graph;
use nico_gitops::{Finding, Repository, load, rules};
use nico_sandbox::tools::skip;

/// `file:line object`, for each finding of the rule.
fn places(repository: &Repository, findings: &[Finding], rule: &str) -> Vec<String> {
    let of_rule = findings.iter().filter(|finding| finding.rule.id == rule);
    let mut places: Vec<_> = of_rule
        .map(|finding| {
            let path = &repository.sources.get(finding.location.file).path;
            let path = path.strip_prefix("kubernetes/apps/").unwrap_or(path);
            let line = repository.sources.position(finding.location).line;
            let object = finding.object.as_ref().map(|object| format!(" {object}"));
            format!("{path}:{line}{}", object.unwrap_or_default())
        })
        .collect();
    places.sort();
    places
}

const FLX003: [&str; 2] = [
    "system-health/node-problem-detector/ks.yaml:14 Kustomization system-health/node-problem-detector",
    "system-health/node-problem-detector/ks.yaml:15 Kustomization system-health/node-problem-detector",
];
const FLX005: [&str; 5] = [
    "kubeai/deepcoder-1-5b/ks.yaml:16 Kustomization kubeai/deepcoder-1-5b",
    "kubeai/deepseek-r1-1-5b/ks.yaml:16 Kustomization kubeai/deepseek-r1-1-5b",
    "kubeai/faster-whisper-medium-en-cpu/ks.yaml:16 Kustomization kubeai/faster-whisper-medium-en-cpu",
    "kubeai/gemma3-4b/ks.yaml:16 Kustomization kubeai/gemma3-4b",
    "monitoring/kube-prometheus-stack/ks.yaml:18 Kustomization monitoring/kube-prometheus-stack",
];
const FLX007: [&str; 6] = [
    "cnpg-system/cnpg-operator/ks.yaml:22 Kustomization cnpg-system/cnpg-operator",
    "database/dragonfly-operator/ks.yaml:22 Kustomization flux-system/dragonfly-operator",
    "database/test-cache/ks.yaml:25 Kustomization flux-system/test-cache",
    "database/test-db/ks.yaml:25 Kustomization flux-system/test-db",
    "external-secrets/external-secrets/ks.yaml:18 Kustomization external-secrets/external-secrets",
    "monitoring/kube-prometheus-stack/ks.yaml:20 Kustomization monitoring/kube-prometheus-stack",
];
const FLX024: [&str; 1] = [
    "system-health/node-problem-detector/app/helmrelease.yaml:9 HelmRelease system-health/node-problem-detector",
];
// Its `targetNamespace: database`.
const FLX018: [&str; 1] = ["database/test-db/ks.yaml:22 Kustomization flux-system/test-db"];

/// All findings, each of which was looked at by eye.
const COUNTS: [(&str, usize); 17] = [
    ("FLX003", 2),
    ("FLX005", 5),
    ("FLX006", 1),
    ("FLX007", 6),
    ("FLX009", 11),
    ("FLX010", 7),
    ("FLX013", 2),
    // The Kustomizations whose file says flux-system, and that are elsewhere.
    ("FLX017", 11),
    ("FLX018", 1),
    ("FLX022", 2),
    ("FLX024", 1),
    ("HR001", 15),
    ("HR002", 1),
    ("HR004", 1),
    ("HR005", 14),
    // The class `tailscale`, which is made by hand.
    ("NET001", 4),
    ("SEC002", 1),
];

#[test]
fn a_real_repository_has_these_mistakes_and_no_others() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/gitops/anton-2025-06");
    if !root.is_dir() {
        return skip("../shared/gitops is not there");
    }
    let repository = load::disk::load(&root).unwrap();
    let clusters = Graph::clusters(&repository);
    assert_eq!(clusters.len(), 1);
    assert_eq!(clusters[0].kustomizations.len(), 33);
    let findings = rules::check(&repository, &clusters);
    let places = |rule| places(&repository, &findings, rule);
    for (rule, expected) in [
        ("FLX003", &FLX003[..]),
        ("FLX005", &FLX005),
        ("FLX007", &FLX007),
        ("FLX018", &FLX018),
        ("FLX024", &FLX024),
    ] {
        assert_eq!(places(rule), expected, "{rule}");
    }
    assert_eq!(places("FLX022").len(), 2);
    let endless: BTreeSet<_> = places("HR001")
        .iter()
        .map(|place| place.split(':').next().unwrap().to_owned())
        .collect();
    assert_eq!(endless.len(), 15, "{endless:?}");
    let unpinned = findings
        .iter()
        .filter(|finding| finding.rule.id == "FLX022");
    let severities: Vec<_> = unpinned.map(|finding| finding.severity.word()).collect();
    assert_eq!(severities, ["error", "warning"], "one names a branch");
    let mut counts = BTreeMap::new();
    for finding in &findings {
        *counts.entry(finding.rule.id).or_insert(0) += 1;
    }
    assert_eq!(counts, BTreeMap::from(COUNTS));
}
