//! The rules for sources: repositories of charts, images and Git.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::build::Object;
use crate::duration;
use crate::finding::{Finding, Severity};
use crate::graph::{Graph, SOURCE_GROUP};
use crate::rules::helm::chart;
use crate::rules::{Context, Rule};
use crate::yaml::Node;

/// A source that no kustomization takes in.
pub static SRC001: Rule = Rule {
    id: "SRC001",
    title: "a file with a source is listed in the kustomization beside it",
    severity: Severity::Error,
    consequence: "the source does not exist in the cluster, and what uses it is never ready",
    fix: "list the file under `resources`",
    page: include_str!("pages/SRC001.md"),
};

/// A source whose parts do not fit.
pub static SRC002: Rule = Rule {
    id: "SRC002",
    title: "the URL of a source fits its type, and an OCI source of a chart picks the chart's layer",
    severity: Severity::Warning,
    consequence: "the source is never ready, or hands out something that Helm cannot read",
    fix: "set `type` and `url`, or `layerSelector`, so that they fit",
    page: include_str!("pages/SRC002.md"),
};

/// A source that moves by itself or is asked too often.
pub static SRC003: Rule = Rule {
    id: "SRC003",
    title: "a source says what it takes, and is asked at a sane interval",
    severity: Severity::Warning,
    consequence: "what is applied changes with a branch or tag that nobody named here, or the registry limits the requests",
    fix: "set `ref`, and an `interval` of a minute or more",
    page: include_str!("pages/SRC003.md"),
};

/// The media type of a Helm chart in a registry.
const CHART_LAYER: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

/// What breaks the rules of this module. Files of [`SRC001`] are found with others that nothing takes in.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let graph = context.graph;
    let mut findings = Vec::new();
    for source in graph.of_kind(SOURCE_GROUP, "HelmRepository") {
        findings.extend(repository_type(source));
    }
    for release in graph.helm_releases() {
        findings.extend(chart_layer(graph, release));
    }
    if context.settings.conventions.source_beside_release {
        findings.extend(sources_beside(context));
    }
    let objects = graph.all_objects();
    for source in objects.filter(|object| object.group() == SOURCE_GROUP) {
        findings.extend(reference(source));
        findings.extend(interval(source));
    }
    findings
}

/// HelmReleases with more or less than one source in their folder.
fn sources_beside(context: &Context<'_>) -> Vec<Finding> {
    let folder_of = |object: &Object| {
        let path = &context.repository.sources.get(object.node.at.file).path;
        path.rsplit_once('/').map_or(".", |(folder, _)| folder)
    };
    let mut sources: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, object) in context.graph.objects() {
        if object.group() == SOURCE_GROUP {
            *sources.entry(folder_of(object)).or_default() += 1;
        }
    }
    let releases = context.graph.helm_releases().filter_map(|release| {
        let count = sources.get(folder_of(release)).copied().unwrap_or_default();
        let message = format!("there are {count} sources in the folder of the HelmRelease");
        let finding = Finding::new(&SRC001, release.spec_at(), message).about(release);
        (count != 1).then(|| {
            finding
                .severity(Severity::Warning)
                .consequence("which source the release is installed from has to be looked for")
                .fix("keep one source beside each HelmRelease")
        })
    });
    releases.collect()
}

fn repository_type(source: &Object) -> Option<Finding> {
    let node = source.spec(&["url"])?;
    let is_oci_url = node.text()?.starts_with("oci://");
    let is_oci_type = source.spec(&["type"]).and_then(Node::text) == Some("oci");
    let (message, fix) = match (is_oci_url, is_oci_type) {
        (true, false) => (
            "the URL is that of a registry, and the type is not `oci`",
            "add `type: oci`",
        ),
        (false, true) => (
            "the type is `oci`, and the URL does not begin with oci://",
            "remove `type`, or correct the URL",
        ),
        _ => return None,
    };
    Some(
        Finding::new(&SRC002, node.at, message)
            .about(source)
            .fix(fix),
    )
}

/// Of an OCI source of a chart, the chart's layer must be taken as it is.
fn chart_layer(graph: &Graph, release: &Object) -> Option<Finding> {
    let source = chart::oci_source(graph, release)?;
    if source.kind() != "OCIRepository" {
        return None;
    }
    let selector = |key| source.spec(&["layerSelector", key]).and_then(Node::text);
    let fits = selector("mediaType") == Some(CHART_LAYER) && selector("operation") == Some("copy");
    let message = format!(
        "{} uses it as a chart, and it does not copy the chart's layer",
        release.display_name()
    );
    let fix = format!("add `layerSelector` with `mediaType: {CHART_LAYER}` and `operation: copy`");
    let at = source.spec_field_at("layerSelector");
    (!fits).then(|| Finding::new(&SRC002, at, message).about(source).fix(fix))
}

fn reference(source: &Object) -> Option<Finding> {
    let (default, at) = match source.kind() {
        "GitRepository" => ("the branch `master`", source.spec_field_at("url")),
        "OCIRepository" => ("the tag `latest`", source.spec_field_at("url")),
        _ => return None,
    };
    let reference = source.spec(&["ref"]);
    let is_missing = reference.is_none_or(|reference| reference.fields().is_empty());
    let message = format!("there is no `ref`, so that {default} is taken");
    let fix = "name a branch, tag or commit in `ref`";
    is_missing.then(|| Finding::new(&SRC003, at, message).about(source).fix(fix))
}

fn interval(source: &Object) -> Option<Finding> {
    let node = source.spec(&["interval"])?;
    let interval = duration::parse(node.text()?)?;
    let is_short = interval < Duration::from_secs(60);
    let message = format!("the source is fetched every {}", node.text()?);
    is_short.then(|| {
        Finding::new(&SRC003, node.at, message)
            .about(source)
            .fix("set an `interval` of a minute or more")
    })
}
