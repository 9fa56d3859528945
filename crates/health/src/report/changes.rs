//! What is different between two reports, a line for each thing.

use std::collections::BTreeMap;

use crate::issue::ObjectRef;

use super::{Report, ReportedIssue};

/// What is new, different or gone. Everything that is wrong, when there is nothing before. Nothing
/// is gone while not everything could be checked.
pub fn between(before: Option<&Report>, after: &Report) -> Vec<String> {
    let known = before.map(by_object).unwrap_or_default();
    let now = by_object(after);
    let told = now
        .iter()
        .filter_map(|(object, issue)| match known.get(object) {
            None => Some(format!(
                "{} {object}: {}",
                issue.severity.word(),
                issue.message
            )),
            Some(known) if (known.id, known.severity) != (issue.id, issue.severity) => Some(
                format!("now {} {object}: {}", issue.severity.word(), issue.message),
            ),
            Some(_) => None,
        });
    let is_whole = after.summary.unknown == 0;
    let gone = known
        .keys()
        .filter(|object| is_whole && !now.contains_key(*object));
    let gone = gone.map(|object| format!("gone {object}"));
    let mut lines: Vec<String> = told.chain(gone).collect();
    if before.is_none_or(|before| before.summary.unknown != after.summary.unknown) {
        lines.extend(not_checked(after));
    }
    if before.is_none_or(|before| before.status != after.status) {
        lines.push(format!("the cluster is {}", after.status.word()));
    }
    lines
}

/// The first thing that could not be checked, and how many there are.
fn not_checked(report: &Report) -> Option<String> {
    let mut gaps = report.layers.iter().flat_map(|layer| &layer.gaps);
    let gap = gaps.find(|gap| !gap.is_absent)?;
    let more = match report.summary.unknown {
        0 | 1 => String::new(),
        all => format!(" and {} more", all - 1),
    };
    Some(format!("not checked: {}{more}: {}", gap.what, gap.why))
}

fn by_object(report: &Report) -> BTreeMap<&ObjectRef, &ReportedIssue> {
    report.roots().map(|issue| (&issue.object, issue)).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::issue::{Layer, Severity};
    use crate::report::{Gap, LayerReport, Status, Summary};

    fn report(status: Status, nodes: &[&str], unread: &[&str]) -> Report {
        let issues = nodes.iter().map(|name| ReportedIssue {
            id: "node-not-ready",
            severity: Severity::Critical,
            layer: Layer::Nodes,
            object: ObjectRef::new("Node", "", *name),
            message: "is silent".to_owned(),
            since: None,
            cause: None,
            explains: 0,
            fix: String::new(),
        });
        let gaps = unread.iter().map(|what| Gap {
            what: (*what).to_owned(),
            why: "no answer".to_owned(),
            is_absent: false,
        });
        let summary = Summary {
            unknown: unread.len(),
            ..Summary::default()
        };
        Report {
            status,
            timestamp: Timestamp::UNIX_EPOCH,
            summary,
            layers: vec![LayerReport {
                layer: Layer::Nodes,
                status,
                summary,
                gaps: gaps.collect(),
            }],
            issues: issues.collect(),
            ongoing: vec![],
        }
    }

    #[test]
    fn what_cannot_be_checked_is_not_gone() {
        let before = report(Status::Critical, &["a", "b"], &[]);
        let first = [
            "critical Node a: is silent",
            "critical Node b: is silent",
            "the cluster is critical",
        ];
        assert_eq!(between(None, &before), first);
        assert_eq!(between(Some(&before), &before), [""; 0]);

        let better = report(Status::Critical, &["b"], &[]);
        assert_eq!(between(Some(&before), &better), ["gone Node a"]);

        let dark = report(Status::Unknown, &[], &["Node objects", "Pod objects"]);
        let told = [
            "not checked: Node objects and 1 more: no answer",
            "the cluster is unknown",
        ];
        assert_eq!(between(Some(&before), &dark), told);
        assert_eq!(between(Some(&dark), &dark), [""; 0]);
    }
}
