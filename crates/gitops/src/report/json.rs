//! The report for programs. `docs/check.md` has its schema.

use serde::Serialize;

use crate::finding::{Finding, Severity};

use super::Report;

#[derive(Serialize)]
struct Output<'a> {
    summary: Summary,
    findings: Vec<Item<'a>>,
}

#[derive(Serialize)]
struct Summary {
    files: usize,
    documents: usize,
    errors: usize,
    warnings: usize,
    infos: usize,
    ignored: usize,
}

#[derive(Serialize)]
struct Item<'a> {
    rule: &'a str,
    severity: Severity,
    file: &'a str,
    line: usize,
    column: usize,
    object: Option<String>,
    message: &'a str,
    consequence: &'a str,
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
            ignored: report.ignored,
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
