//! The numbers of the script `check-flux-config`, on the repository that it was written for.

use std::collections::BTreeMap;
use std::path::Path;

use nico_gitops::graph::Graph;
use nico_gitops::presets::{Intervals, Preset};
use nico_gitops::{Severity, load};
use nico_sandbox::tools::skip;

#[test]
fn the_preset_has_the_numbers_of_the_script() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/gitops/anton-2025-06");
    if !root.is_dir() {
        return skip("../shared/gitops is not there");
    }
    let repository = load::disk::load(&root).unwrap();
    let clusters = Graph::clusters(&repository);
    let findings = Preset::CheckFluxConfig.findings(&repository, &clusters);
    let (warnings, others): (Vec<_>, Vec<_>) = findings
        .iter()
        .partition(|finding| finding.severity == Severity::Warning);
    let mut counts = BTreeMap::new();
    for finding in warnings {
        *counts.entry(finding.rule.id).or_insert(0) += 1;
    }
    let expected = [
        ("CFC001", 15),
        ("CFC002", 20),
        ("CFC003", 6),
        ("CFC004", 7),
        ("CFC006", 13),
    ];
    assert_eq!(counts, BTreeMap::from(expected), "and none of CFC005");
    // The script took a comment for a setting.
    let others: Vec<_> = others
        .iter()
        .map(|finding| {
            let path = repository.sources.get(finding.location.file).path.as_str();
            (finding.rule.id, finding.severity, path)
        })
        .collect();
    let commented = "kubernetes/apps/monitoring/kube-prometheus-stack/app/helmrelease.yaml";
    assert_eq!(others, [("CFC006", Severity::Info, commented)]);

    let intervals = Intervals::of(&repository, &clusters).to_string();
    let line = |start: &str| {
        let mut lines = intervals.lines();
        let line = lines.find_map(|line| line.strip_prefix(start));
        line.unwrap_or_else(|| panic!("there is no {start} in {intervals}"))
    };
    // In four files, the script also took in the comment behind the interval.
    assert_eq!(
        line("intervals, first in a file with a HelmRelease: "),
        "1h ×11, 5m ×6, 15m ×4, 30m ×1"
    );
    assert_eq!(
        line("intervals, first in a file with a Kustomization: "),
        "1h ×13, 10m ×9, 30m ×3, 15m ×2"
    );
}
