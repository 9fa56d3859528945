//! SARIF 2.1.0, for code scanning services.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::finding::{Finding, Severity};
use crate::rules::Rule;

use super::{Report, Suppression};

/// The report as one SARIF log, with a newline at its end. `version` is that of the program.
pub fn sarif(report: &Report<'_>, version: &str) -> String {
    let rules = &report.rules;
    let index: BTreeMap<&str, usize> = rules.iter().map(|rule| rule.id).zip(0..).collect();
    let mut seen = BTreeMap::new();
    let found = report.findings.iter().map(|finding| (finding, None));
    let silenced = report.suppressed.iter();
    let silenced = silenced.map(|(finding, by)| (finding, Some(by)));
    let results: Vec<_> = found
        .chain(silenced)
        .map(|(finding, by)| {
            let mut result = result(report, finding, index[finding.rule.id], &mut seen);
            if let Some(by) = by {
                result["suppressions"] = json!([suppression(by)]);
            }
            result
        })
        .collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "nico check",
                "semanticVersion": version,
                "rules": rules.iter().map(|rule| descriptor(rule)).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "originalUriBaseIds": {
                "ROOT": { "description": { "text": "The root of the repository." } },
            },
            "results": results,
        }],
    });
    format!("{log:#}\n")
}

fn descriptor(rule: &Rule) -> Value {
    json!({
        "id": rule.id,
        "shortDescription": { "text": rule.title },
        "fullDescription": { "text": format!("Otherwise {}.", rule.consequence) },
        "help": { "text": format!("To put it right: {}.\n\n{}", rule.fix, rule.page) },
        "defaultConfiguration": { "level": level(rule.severity) },
    })
}

fn result(
    report: &Report<'_>,
    finding: &Finding,
    rule: usize,
    seen: &mut BTreeMap<String, u32>,
) -> Value {
    let file = &report.sources.get(finding.location.file).path;
    let (start, end) = (
        report.sources.position(finding.location),
        report.sources.end_position(finding.location),
    );
    let mut location = json!({
        "physicalLocation": {
            "artifactLocation": { "uri": uri(file), "uriBaseId": "ROOT" },
            "region": {
                "startLine": start.line,
                "startColumn": start.column,
                "endLine": end.line,
                "endColumn": end.column,
            },
        },
    });
    if let Some(object) = &finding.object {
        let name = object.to_string();
        location["logicalLocations"] = json!([{ "fullyQualifiedName": name, "kind": "object" }]);
    }
    let (message, consequence, fix) = (&finding.message, &finding.consequence, &finding.fix);
    json!({
        "ruleId": finding.rule.id,
        "ruleIndex": rule,
        "level": level(finding.severity),
        "message": { "text": format!("{message}. Otherwise: {consequence}. To put it right: {fix}.") },
        "locations": [location],
        "partialFingerprints": { "finding/v1": fingerprint(file, finding, seen) },
    })
}

/// What stays the same while lines move. Of several equal findings, the number tells them apart.
fn fingerprint(file: &str, finding: &Finding, seen: &mut BTreeMap<String, u32>) -> String {
    let object = finding.object.as_ref().map(ToString::to_string);
    let parts = [
        finding.rule.id,
        file,
        &object.unwrap_or_default(),
        &finding.message,
    ];
    let digest = Sha256::digest(parts.join("\0").as_bytes());
    let hex: String = digest[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let number = seen.entry(hex.clone()).or_default();
    *number += 1;
    format!("{hex}:{number}")
}

fn suppression(by: &Suppression) -> Value {
    match by {
        Suppression::Comment { reason } => json!({ "kind": "inSource", "justification": reason }),
        Suppression::Baseline { reason } => json!({ "kind": "external", "justification": reason }),
    }
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

/// A path as a relative URI.
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri += &format!("%{byte:02X}");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::super::tests::{report, repository};
    use super::*;

    #[test]
    fn a_finding_has_its_rule_place_and_what_silences_it() {
        let repository = repository(&[
            ("a b/ü.yaml", "a: 1\na: 2\na: 3\n"),
            ("c.yaml", "a: 1\na: 2 # nico-ignore: FLX023 on purpose\n"),
        ]);
        let log: Value = serde_json::from_str(&sarif(&report(&repository), "1.2.3")).unwrap();
        let run = &log["runs"][0];
        let results = run["results"].as_array().unwrap();
        assert_eq!(results.len(), 3);
        for result in results {
            let rule =
                &run["tool"]["driver"]["rules"][result["ruleIndex"].as_u64().unwrap() as usize];
            assert_eq!(rule["id"], "FLX023");
        }
        let place = &results[0]["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "a%20b/%C3%BC.yaml");
        let region = json!({"startLine": 2, "startColumn": 1, "endLine": 2, "endColumn": 2});
        assert_eq!(place["region"], region);
        assert_eq!(results[0]["suppressions"], Value::Null);
        assert_eq!(results[2]["suppressions"][0]["justification"], "on purpose");
        let prints: Vec<_> = results
            .iter()
            .map(|result| &result["partialFingerprints"])
            .collect();
        assert_ne!(prints[0], prints[1], "equal findings are told apart");
    }
}
