//! Charts: which one a release uses, from where, and in which version.

use std::collections::BTreeMap;

use crate::build::Object;
use crate::finding::{Finding, Severity};
use crate::graph::{Graph, HELM_GROUP, SOURCE_GROUP, source_name};
use crate::rules::{Context, Rule};
use crate::source::Location;
use crate::yaml::Node;

/// A release with no chart, two charts, or one from the wrong kind of source.
pub static HR003: Rule = Rule {
    id: "HR003",
    title: "a HelmRelease has one chart: `chart` or `chartRef`, from a source of a fitting kind",
    severity: Severity::Error,
    consequence: "the API server refuses the HelmRelease, or it is never ready",
    fix: "keep one of the two",
    page: include_str!("../pages/HR003.md"),
};

/// A version that moves.
pub static HR004: Rule = Rule {
    id: "HR004",
    title: "the version of a chart is written in full",
    severity: Severity::Error,
    consequence: "a new version of the chart is installed when it is published, without a commit here",
    fix: "write one version, and let a bot raise it",
    page: include_str!("../pages/HR004.md"),
};

/// The kinds of source from which `chart.spec` takes a chart.
const CHART_SOURCES: [&str; 3] = ["HelmRepository", "GitRepository", "Bucket"];

/// The kinds that `chartRef` may name.
const REFERENCES: [&str; 3] = ["OCIRepository", "HelmChart", "ExternalArtifact"];

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let graph = context.graph;
    let mut findings = Vec::new();
    for release in graph.helm_releases() {
        findings.extend(one_chart(release));
        findings.extend(fitting_source(release));
        findings.extend(version(release));
    }
    findings.extend(tags(graph));
    findings.extend(prefixes(graph));
    findings
}

/// The name of the chart that a HelmRelease installs.
pub fn name(graph: &Graph, release: &Object) -> Option<String> {
    if !release.is(HELM_GROUP, "HelmRelease") {
        return None;
    }
    let last = |path: &str| {
        path.trim_end_matches('/')
            .rsplit('/')
            .next()
            .map(str::to_owned)
    };
    if let Some(chart) = release
        .spec(&["chart", "spec", "chart"])
        .and_then(Node::text)
    {
        return last(chart);
    }
    let source = oci_source(graph, release)?;
    last(source.spec(&["url"]).and_then(Node::text)?)
}

/// The OCIRepository that a HelmRelease names in `chartRef`.
pub fn oci_source<'a>(graph: &'a Graph, release: &Object) -> Option<&'a Object> {
    let source = source_name(release, release.spec(&["chartRef"])?);
    graph.find(SOURCE_GROUP, &source.kind, &source.namespace, &source.name)
}

/// The version of a HelmRelease's chart, and where it is written.
pub fn version_of<'a>(graph: &'a Graph, release: &'a Object) -> Option<&'a Node> {
    let own = release.spec(&["chart", "spec", "version"]);
    own.or_else(|| oci_source(graph, release)?.spec(&["ref", "tag"]))
}

fn one_chart(release: &Object) -> Option<Finding> {
    let has = |key| release.spec(&[key]).is_some_and(|node| !node.is_null());
    let (message, at) = match (has("chart"), has("chartRef")) {
        (true, true) => (
            "it has both `chart` and `chartRef`",
            release.spec_field_at("chartRef"),
        ),
        (false, false) => ("it has neither `chart` nor `chartRef`", release.spec_at()),
        _ => return None,
    };
    let finding = Finding::new(&HR003, at, message).about(release);
    Some(if has("chart") {
        finding
    } else {
        finding.fix("name a chart")
    })
}

fn fitting_source(release: &Object) -> Vec<Finding> {
    let places: [(&[&str], &[&str]); 2] = [
        (&["chart", "spec", "sourceRef", "kind"], &CHART_SOURCES),
        (&["chartRef", "kind"], &REFERENCES),
    ];
    let wrong = places.into_iter().filter_map(|(path, kinds)| {
        let node = release.spec(path)?;
        let kind = node.text().filter(|kind| !kinds.contains(kind))?;
        let message = format!("a chart does not come from a {kind} here");
        let fix = format!("name one of {}", kinds.join(", "));
        Some(
            Finding::new(&HR003, node.at, message)
                .about(release)
                .fix(fix),
        )
    });
    wrong.collect()
}

/// The version of a chart that is looked up in a repository of charts.
fn version(release: &Object) -> Option<Finding> {
    let chart = release.spec(&["chart", "spec"])?;
    // In a folder, there is only one version.
    let kind = chart.path(&["sourceRef", "kind"]).and_then(Node::text);
    if kind != Some("HelmRepository") {
        return None;
    }
    let Some(version) = chart.get("version") else {
        let at = chart.field("chart").map_or(chart.at, |field| field.key_at);
        let message = "the chart has no `version`, so that the newest is installed";
        return Some(Finding::new(&HR004, at, message).about(release));
    };
    floating(version.scalar_text()?, version.at).map(|finding| finding.about(release))
}

/// The tags of OCI sources.
fn tags(graph: &Graph) -> Vec<Finding> {
    let sources = graph.of_kind(SOURCE_GROUP, "OCIRepository");
    let moving = sources.filter_map(|source| {
        let tag = source.spec(&["ref", "tag"]);
        let tag = tag.filter(|tag| tag.text() == Some("latest"));
        let range = source.spec(&["ref", "semver"]);
        let has_digest = source.spec(&["ref", "digest"]).is_some();
        let node = tag.or(range).filter(|_| !has_digest)?;
        floating(node.scalar_text()?, node.at).map(|finding| finding.about(source))
    });
    moving.collect()
}

fn floating(version: &str, at: Location) -> Option<Finding> {
    if version.contains("${") {
        return None;
    }
    if matches!(version, "" | "*" | "latest" | ">=0.0.0" | "> 0") {
        let message = format!("the version {version:?} is whatever is newest");
        return Some(Finding::new(&HR004, at, message));
    }
    let is_range = version.contains([' ', ',', '>', '<', '~', '^', '*', '|'])
        || version.split('.').any(|part| matches!(part, "x" | "X"))
        || version.trim_start_matches('v').split('.').count() < 3 && !version.contains(['-', '+']);
    let message = format!("the version {version:?} is a range");
    is_range.then(|| Finding::new(&HR004, at, message).severity(Severity::Warning))
}

/// Tags of one repository are written with or without `v`, never both.
fn prefixes(graph: &Graph) -> Vec<Finding> {
    let mut known: BTreeMap<&str, (&str, bool)> = BTreeMap::new();
    let mut findings = Vec::new();
    for source in graph.of_kind(SOURCE_GROUP, "OCIRepository") {
        let Some(node) = source.spec(&["ref", "tag"]) else {
            continue;
        };
        let Some((url, tag)) = source.spec(&["url"]).and_then(Node::text).zip(node.text()) else {
            continue;
        };
        let has_prefix = tag.starts_with('v');
        let (other, other_prefix) = *known.entry(url).or_insert((tag, has_prefix));
        if other_prefix != has_prefix {
            let message = format!(
                "the tag {tag:?} and the tag {other:?} of the same repository cannot both be right"
            );
            let finding = Finding::new(&HR004, node.at, message).about(source);
            let finding = finding.severity(Severity::Warning);
            let finding = finding
                .consequence("one of the two tags does not exist, and its source is never ready");
            findings.push(finding.fix("write the tag as the registry has it"));
        }
    }
    findings
}
