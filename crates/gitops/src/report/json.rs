//! The report for programs. [`Output`] is its schema.

use schemars::JsonSchema;
use serde::Serialize;

use crate::finding::{Finding, Severity};

use super::Report;

/// The report of `nico check --format json`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "Report of nico check")]
pub struct Output<'a> {
    /// What was looked at, and how much was found.
    summary: Summary<'a>,
    /// The findings that nothing silences, by file and place.
    findings: Vec<Item<'a>>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Summary<'a> {
    /// YAML files.
    files: usize,
    /// Documents in them.
    documents: usize,
    /// Findings of severity `error`.
    errors: usize,
    /// Findings of severity `warning`.
    warnings: usize,
    /// Findings of severity `info`.
    infos: usize,
    /// Findings that comments in the repository silence.
    ignored: usize,
    /// Findings that the baseline silences.
    known: usize,
    /// Findings whose entry in the baseline has ended.
    expired: usize,
    /// Entries of the baseline for which there is no finding.
    unused: usize,
    /// Kustomizations that come from another repository, and were not looked at: `NAMESPACE/NAME`.
    external: Vec<String>,
    /// Kinds without a schema: the fields of their objects were not looked at.
    without_schema: Vec<Kind<'a>>,
    /// HelmReleases whose chart was rendered.
    rendered: usize,
    /// HelmReleases whose chart was not rendered.
    not_rendered: Vec<NotRendered>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct NotRendered {
    /// Why not.
    why: String,
    /// How many there are.
    releases: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Kind<'a> {
    /// `apiVersion Kind`.
    kind: &'a str,
    /// How many objects of it there are.
    objects: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Item<'a> {
    /// The rule's identifier, such as `FLX023`.
    rule: &'a str,
    /// How bad it is.
    severity: Severity,
    /// The path from the repository's root.
    file: &'a str,
    /// The line; the first is 1.
    line: usize,
    /// The column in characters; the first is 1.
    column: usize,
    /// `Kind namespace/name` after building.
    object: Option<String>,
    /// What is wrong.
    message: &'a str,
    /// What will happen.
    consequence: &'a str,
    /// What to do.
    fix: &'a str,
}

/// The report as one JSON object, with a newline at its end.
pub fn json(report: &Report<'_>) -> String {
    let output = Output {
        summary: Summary {
            files: report.sources.len(),
            documents: report.documents,
            errors: report.count(Severity::Error),
            warnings: report.count(Severity::Warning),
            infos: report.count(Severity::Info),
            ignored: report.ignored(),
            known: report.suppressed.len() - report.ignored(),
            expired: report.expired,
            unused: report.unused,
            external: report.external.clone(),
            without_schema: without_schema(report),
            rendered: report.rendering.rendered,
            not_rendered: not_rendered(report),
        },
        findings: report
            .findings
            .iter()
            .map(|finding| item(report, finding))
            .collect(),
    };
    let json = serde_json::to_string_pretty(&output).expect("plain structs become JSON");
    format!("{json}\n")
}

fn not_rendered(report: &Report<'_>) -> Vec<NotRendered> {
    let reasons = report.rendering.not_rendered.iter();
    reasons
        .map(|(why, releases)| NotRendered {
            why: why.to_string(),
            releases: *releases,
        })
        .collect()
}

fn without_schema<'a>(report: &'a Report<'_>) -> Vec<Kind<'a>> {
    let kinds = report.without_schema.iter();
    kinds
        .map(|(kind, objects)| Kind {
            kind,
            objects: *objects,
        })
        .collect()
}

fn item<'a>(report: &'a Report<'_>, finding: &'a Finding) -> Item<'a> {
    let position = report.sources.position(finding.location);
    Item {
        rule: finding.rule.id,
        severity: finding.severity,
        file: &report.sources.get(finding.location.file).path,
        line: position.line,
        column: position.column,
        object: finding.object.as_ref().map(ToString::to_string),
        message: &finding.message,
        consequence: &finding.consequence,
        fix: &finding.fix,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{report, repository};
    use super::*;

    #[test]
    fn a_finding_has_its_place_and_all_it_says() {
        let repository = repository(&[("b.yaml", "x: 1\n"), ("a.yaml", "a: 1\na: 2\n")]);
        let json: serde_json::Value = serde_json::from_str(&json(&report(&repository))).unwrap();
        assert_eq!(json["summary"]["files"], 2);
        assert_eq!(json["summary"]["errors"], 1);
        let finding = &json["findings"][0];
        assert_eq!(finding["rule"], "FLX023");
        assert_eq!(finding["severity"], "error");
        assert_eq!(
            (
                finding["file"].as_str(),
                finding["line"].as_u64(),
                finding["column"].as_u64()
            ),
            (Some("a.yaml"), Some(2), Some(1))
        );
        assert_eq!(
            finding["message"],
            "the key \"a\" stands twice in this mapping"
        );
    }
}
