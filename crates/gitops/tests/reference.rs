//! What must be found in a real repository, and nothing else.

use std::collections::BTreeSet;
use std::env;
use std::path::Path;

use nico_gitops::graph::Graph;
use nico_gitops::{Finding, Repository, load, rules};

/// Says that the test is skipped.
///
/// # Panics
/// When `NICO_REQUIRE_ALL=1` forbids to skip.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn skip(why: &str) {
    let required = env::var_os("NICO_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(!required, "NICO_REQUIRE_ALL=1, but: {why}");
    eprintln!("SKIPPED, nothing was tested: {why}");
}

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
// Its `targetNamespace: database`.
const FLX018: [&str; 1] = ["database/test-db/ks.yaml:22 Kustomization flux-system/test-db"];

#[test]
fn a_real_repository_has_these_mistakes_and_no_others() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/gitops/anton-2025-06");
    if !root.is_dir() {
        return skip("../shared/gitops is not there");
    }
    let repository = load::disk::load(&root).unwrap();
    let graph = Graph::new(&repository);
    assert_eq!(graph.kustomizations.len(), 33);
    let findings = rules::check(&repository, &graph);
    let places = |rule| places(&repository, &findings, rule);
    for (rule, expected) in [
        ("FLX003", &FLX003[..]),
        ("FLX005", &FLX005),
        ("FLX007", &FLX007),
        ("FLX018", &FLX018),
    ] {
        assert_eq!(places(rule), expected, "{rule}");
    }
    assert_eq!(places("FLX022").len(), 2);
    let endless: BTreeSet<_> = places("HR001")
        .iter()
        .map(|place| place.split(':').next().unwrap().to_owned())
        .collect();
    assert_eq!(endless.len(), 15, "{endless:?}");
    let expected = ["FLX003", "FLX005", "FLX007", "FLX018", "FLX022", "HR001"];
    let found: BTreeSet<_> = findings.iter().map(|finding| finding.rule.id).collect();
    assert_eq!(found, BTreeSet::from(expected));
}
