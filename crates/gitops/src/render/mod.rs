//! Charts that are in the repository, rendered by `helm` where somebody asks for it.
//!
//! [`releases`] says what can be rendered and [`objects`] what an output means; both are pure. [`helm`]
//! starts the program. Charts are never fetched.

pub mod helm;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::build::{Builds, Object, is_namespaced};
use crate::finding::Finding;
use crate::graph::Graph;
use crate::load::{self, Repository};
use crate::rules::build::BLD001;
use crate::rules::helm::values::{self, Values};
use crate::rules::schema;
use crate::settings::Settings;
use crate::source::Location;
use crate::yaml::Node;

/// A HelmRelease, and what is known of its chart.
#[derive(Debug)]
pub struct Release<'a> {
    /// The object.
    pub object: &'a Object,
    /// The cluster that it is in.
    pub cluster: &'a Graph,
    /// What is rendered; or why it cannot be.
    pub chart: Result<Chart, NotRendered>,
}

/// A chart in the repository, with the values of a release.
#[derive(Debug)]
pub struct Chart {
    /// Its folder, from the repository's root.
    pub folder: String,
    /// The name of the release.
    pub name: String,
    /// The namespace into which it is installed.
    pub namespace: String,
    /// The values as JSON; what comes later counts more.
    pub values: Vec<serde_json::Value>,
    /// What changes the objects before they are installed, each as a kustomization of patches and
    /// images.
    pub post_renderers: Vec<Node>,
    /// Where a person has named the chart.
    pub at: Location,
}

/// Why a release cannot be rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotRendered {
    /// Its chart is not in the repository.
    ChartElsewhere,
    /// Some of its values are not in the repository, or are encrypted.
    ValuesElsewhere,
    /// Nobody asked for it.
    NotAskedFor,
    /// There is no `helm`.
    NoHelm,
}

impl fmt::Display for NotRendered {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::ChartElsewhere => "the chart is not in the repository",
            Self::ValuesElsewhere => "not all values are in the repository",
            Self::NotAskedFor => "--helm was not given",
            Self::NoHelm => "there is no `helm` on the path",
        })
    }
}

/// How many HelmReleases were rendered.
#[derive(Clone, Debug, Default)]
pub struct Rendering {
    /// How many releases `helm` was asked to render. What it refused has a finding.
    pub rendered: usize,
    /// How many were not, and why.
    pub not_rendered: BTreeMap<NotRendered, usize>,
}

/// Renders the charts that are in the repository at `root`, and says what is wrong with them, and with the
/// fields of what they make. Without `is_asked_for`, the releases are only counted.
///
/// # Errors
/// If helm is there and cannot be run.
pub fn check(
    root: &Path,
    repository: &Repository,
    clusters: &[Graph],
    settings: &Settings,
    is_asked_for: bool,
) -> Result<(Rendering, Vec<Finding>), helm::Error> {
    let mut findings = Vec::new();
    let mut rendering = Rendering::default();
    let mut not_rendered = BTreeMap::new();
    let mut count = |why| *not_rendered.entry(why).or_default() += 1;
    for release in releases(repository, clusters) {
        let chart = match release.chart {
            Ok(chart) if is_asked_for => chart,
            Ok(_) => {
                count(NotRendered::NotAskedFor);
                continue;
            }
            Err(why) => {
                count(why);
                continue;
            }
        };
        let printed = match helm::template(root, &chart) {
            Err(helm::Error::NotInstalled) => {
                count(NotRendered::NoHelm);
                continue;
            }
            Err(helm::Error::Refused(why)) => Err(why),
            printed => Ok(printed?),
        };
        rendering.rendered += 1;
        let installed = printed.and_then(|printed| objects(repository, &chart, &printed));
        let found = match installed {
            Ok((objects, mut findings)) => {
                findings.extend(schema::check_rendered(&objects, release.cluster, settings));
                findings
            }
            Err(why) => vec![refused(&chart, &why)],
        };
        let about = |finding: Finding| finding.about(release.object);
        findings.extend(found.into_iter().map(about));
    }
    rendering.not_rendered = not_rendered;
    Ok((rendering, findings))
}

fn refused(chart: &Chart, why: &str) -> Finding {
    let message = format!("the chart in {} cannot be rendered: {why}", chart.folder);
    Finding::new(&BLD001, chart.at, message)
        .consequence("the HelmRelease is never ready")
        .fix("correct the chart, or the values")
}

/// The HelmReleases that the clusters apply.
pub fn releases<'a>(repository: &Repository, clusters: &'a [Graph]) -> Vec<Release<'a>> {
    let all = clusters
        .iter()
        .flat_map(|graph| graph.helm_releases().map(move |object| (graph, object)));
    all.map(|(graph, object)| Release {
        object,
        cluster: graph,
        chart: chart(repository, graph, object),
    })
    .collect()
}

fn chart(repository: &Repository, graph: &Graph, release: &Object) -> Result<Chart, NotRendered> {
    let folder = values::chart_folder(repository, graph, release);
    let folder = folder.ok_or(NotRendered::ChartElsewhere)?;
    let Values { parts, is_complete } = values::values(graph, release);
    if !is_complete {
        return Err(NotRendered::ValuesElsewhere);
    }
    let text = |key| release.spec(&[key]).and_then(Node::text);
    let mut values: Vec<_> = parts.iter().map(Node::to_json).collect();
    // What is written in the release itself stands first, and counts more than all others.
    if release
        .spec(&["values"])
        .is_some_and(|values| !values.is_null())
    {
        values.rotate_left(1);
    }
    let namespace = text("targetNamespace").unwrap_or(release.namespace());
    let named = text("targetNamespace").map(|namespace| format!("{namespace}-{}", release.name()));
    let name = text("releaseName").map(str::to_owned).or(named);
    Ok(Chart {
        folder,
        name: name.unwrap_or_else(|| release.name().to_owned()),
        namespace: namespace.to_owned(),
        values,
        post_renderers: post_renderers(release),
        at: release.spec_field_at("chart"),
    })
}

fn post_renderers(release: &Object) -> Vec<Node> {
    let all = release
        .spec(&["postRenderers"])
        .map_or(&[][..], Node::items);
    let kustomizations = all.iter().filter_map(|entry| entry.get("kustomize"));
    kustomizations.cloned().collect()
}

/// The objects in what `helm template` has printed, and what is wrong with the post renderers. The
/// error says why it cannot be read.
pub fn objects(
    repository: &Repository,
    chart: &Chart,
    printed: &str,
) -> Result<(Vec<Object>, Vec<Finding>), String> {
    let parsed = load::parse(chart.at.file, printed);
    if let Some(finding) = parsed.findings.first() {
        return Err(format!("what it makes is not YAML: {}", finding.message));
    }
    let documents = parsed.documents.into_iter();
    let mut objects: Vec<Object> = documents
        .filter_map(|mut document| {
            document.place_all(chart.at);
            Object::new(document)
        })
        .collect();
    let mut findings = Vec::new();
    for kustomization in &chart.post_renderers {
        let changed = Builds::new(repository).transform(kustomization, objects);
        objects = changed.objects;
        findings.extend(changed.findings);
    }
    for object in &mut objects {
        if is_namespaced(object) && object.namespace().is_empty() {
            object.move_to(&chart.namespace, chart.at);
        }
    }
    Ok((objects, findings))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::RawFile;

    const RELEASE: &str = "\
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: app}
spec:
  chart: {}
  postRenderers:
  - kustomize:
      images: [{name: app, newTag: v2}]
  - kustomize:
      patches:
      - target: {kind: Deployment}
        patch: '[{op: add, path: /spec/replicas, value: 3}]'
      - patch: |
          apiVersion: v1
          kind: Service
          metadata: {name: SERVICE, namespace: other}
          spec: {type: NodePort}
";

    const PRINTED: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec: {template: {spec: {containers: [{name: app, image: 'app:v1'}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: app, namespace: other}
";

    /// What is installed when the chart makes [`PRINTED`], and which rules are broken in which lines.
    fn installed(release: &str) -> (Vec<Object>, Vec<(&'static str, usize)>) {
        let repository = Repository::from_files([RawFile {
            path: "release.yaml".to_owned(),
            content: Ok(release.as_bytes().to_vec()),
        }]);
        let file = repository.sources.find("release.yaml").unwrap();
        let release = repository.documents_of(file)[0].root.clone();
        let release = Object::new(release).unwrap();
        let chart = Chart {
            folder: "chart".to_owned(),
            name: "app".to_owned(),
            namespace: "media".to_owned(),
            values: Vec::new(),
            post_renderers: post_renderers(&release),
            at: release.spec_field_at("chart"),
        };
        let (objects, findings) = objects(&repository, &chart, PRINTED).unwrap();
        let place = |finding: &Finding| {
            let position = repository.sources.position(finding.location);
            (finding.rule.id, position.line)
        };
        (objects, findings.iter().map(place).collect())
    }

    #[test]
    fn post_renderers_change_what_the_chart_makes() {
        let (objects, findings) = installed(&RELEASE.replace("SERVICE", "app"));
        assert!(findings.is_empty(), "{findings:?}");
        let [deployment, service] = &objects[..] else {
            panic!("{objects:?}");
        };
        let spec = deployment.node.get("spec").unwrap().to_json();
        assert_eq!(spec["replicas"], 3);
        assert_eq!(spec["template"]["spec"]["containers"][0]["image"], "app:v2");
        assert_eq!(
            service.spec(&["type"]).and_then(Node::text),
            Some("NodePort")
        );
        let namespaces = [deployment.namespace(), service.namespace()];
        assert_eq!(namespaces, ["media", "other"]);
    }

    #[test]
    fn a_post_renderer_that_changes_nothing_is_a_finding_where_it_stands() {
        let (_, findings) = installed(&RELEASE.replace("SERVICE", "ap"));
        assert_eq!(findings, [("BLD001", 14)]);
    }
}
