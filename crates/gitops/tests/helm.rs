//! Charts of the repository, rendered by `helm` where it is installed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use nico_gitops::graph::Graph;
use nico_gitops::render::{self, NotRendered, Rendering};
use nico_gitops::{Settings, load};
use nico_sandbox::tools;
use tempfile::TempDir;

fn has_helm() -> bool {
    let is_there = Command::new("helm").arg("version").output().is_ok();
    if !is_there {
        tools::skip_unpackaged("there is no helm on the PATH");
    }
    is_there
}

const SYNC: &str = "\
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: flux-system, namespace: flux-system}
spec:
  path: ./cluster
  sourceRef: {kind: GitRepository, name: flux-system}
";

const RELEASE: &str = "\
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: app, namespace: flux-system}
spec:
  targetNamespace: media
  chart:
    spec:
      chart: ./charts/app
      sourceRef: {kind: GitRepository, name: flux-system}
  valuesFrom: [{kind: ConfigMap, name: more}]
  values: {strategy: STRATEGY}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: more, namespace: flux-system}
data:
  values.yaml: |
    strategy: overridden
    replicas: 2
";

const TEMPLATE: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: '{{ .Release.Name }}'}
spec:
  replicas: {{ required \"replicas are needed\" .Values.replicas }}
  strategy: {type: '{{ .Values.strategy }}'}
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec: {containers: [{name: app, image: app}]}
";

fn tree(release: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, text) in [
        ("cluster/flux-system.yaml", SYNC),
        ("cluster/release.yaml", release),
        (
            "charts/app/Chart.yaml",
            "apiVersion: v2\nname: app\nversion: 1.0.0\n",
        ),
        ("charts/app/templates/app.yaml", TEMPLATE),
    ] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    folder
}

/// What was rendered, and `RULE file:line object message` for each finding.
fn rendered(root: &Path, is_asked_for: bool) -> (Rendering, Vec<String>) {
    let repository = load::disk::load(root).expect("the folder is there");
    let clusters = Graph::clusters(&repository);
    let settings = Settings::default();
    let outcome = render::check(root, &repository, &clusters, &settings, is_asked_for);
    let (rendering, findings) = outcome.expect("helm runs");
    let line = |finding: nico_gitops::Finding| {
        let path = &repository.sources.get(finding.location.file).path;
        let line = repository.sources.position(finding.location).line;
        let object = finding.object.expect("a release");
        format!(
            "{} {path}:{line} {object} {}",
            finding.rule.id, finding.message
        )
    };
    (rendering, findings.into_iter().map(line).collect())
}

#[test]
fn what_a_chart_makes_is_checked_where_the_chart_is_named() {
    if !has_helm() {
        return;
    }
    for (strategy, expected) in [
        ("Recreate", None),
        (
            "Recreat",
            Some(
                "FLX024 cluster/release.yaml:6 HelmRelease flux-system/app the chart makes Deployment media/media-app: `spec.strategy.type` must be one of \"Recreate\", \"RollingUpdate\"",
            ),
        ),
    ] {
        let tree = tree(&RELEASE.replace("STRATEGY", strategy));
        let (rendering, found) = rendered(tree.path(), true);
        assert_eq!(rendering.rendered, 1);
        assert_eq!(rendering.not_rendered, BTreeMap::new());
        assert_eq!(found.first().map(String::as_str), expected);
    }
}

#[test]
fn a_chart_that_cannot_be_rendered_is_a_finding() {
    if !has_helm() {
        return;
    }
    let tree = tree(&RELEASE.replace("replicas: 2", "other: 2"));
    let (_, found) = rendered(tree.path(), true);
    assert_eq!(found.len(), 1, "{found:?}");
    let expected = "BLD001 cluster/release.yaml:6 HelmRelease flux-system/app the chart in charts/app cannot be rendered: ";
    assert!(found[0].starts_with(expected), "{found:?}");
    assert!(found[0].contains("replicas are needed"), "{found:?}");
}

#[test]
fn releases_that_are_not_rendered_are_counted() {
    let elsewhere = RELEASE.replace("./charts/app", "./charts/other");
    let hidden = RELEASE.replace("kind: ConfigMap, name: more", "kind: Secret, name: more");
    for (release, is_asked_for, why) in [
        (RELEASE, false, NotRendered::NotAskedFor),
        (&*elsewhere, true, NotRendered::ChartElsewhere),
        (&*hidden, true, NotRendered::ValuesElsewhere),
    ] {
        let tree = tree(release);
        let (rendering, found) = rendered(tree.path(), is_asked_for);
        assert_eq!(rendering.rendered, 0);
        assert_eq!(rendering.not_rendered, BTreeMap::from([(why, 1)]));
        assert_eq!(found, [""; 0]);
    }
}
