//! Charts that are in the repository, rendered by `helm` where somebody asks for it.
//!
//! [`releases`] says what can be rendered and [`objects`] what an output means; both are pure. [`helm`]
//! starts the program. Charts are never fetched.

pub mod helm;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::build::{Object, is_namespaced};
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
        let found = match printed.and_then(|printed| objects(&chart, &printed)) {
            Ok(objects) => schema::check_rendered(&objects, release.cluster, settings),
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
        at: release.spec_field_at("chart"),
    })
}

/// The objects in what `helm template` has printed. The error says why it cannot be read.
pub fn objects(chart: &Chart, printed: &str) -> Result<Vec<Object>, String> {
    let parsed = load::parse(chart.at.file, printed);
    if let Some(finding) = parsed.findings.first() {
        return Err(format!("what it makes is not YAML: {}", finding.message));
    }
    let objects = parsed.documents.into_iter().filter_map(|mut document| {
        document.place_all(chart.at);
        let mut object = Object::new(document)?;
        if is_namespaced(&object) && object.namespace().is_empty() {
            object.move_to(&chart.namespace, chart.at);
        }
        Some(object)
    });
    Ok(objects.collect())
}
