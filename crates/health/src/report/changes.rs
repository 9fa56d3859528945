//! What is different between two reports, a line for each thing.

use std::collections::BTreeMap;

use crate::issue::ObjectRef;

use super::{Report, ReportedIssue};

/// What is new, different or gone. Everything that is wrong, when there is nothing before.
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
    let gone = known.keys().filter(|object| !now.contains_key(*object));
    let gone = gone.map(|object| format!("gone {object}"));
    let mut lines: Vec<String> = told.chain(gone).collect();
    if before.is_none_or(|before| before.status != after.status) {
        lines.push(format!("the cluster is {}", after.status.word()));
    }
    lines
}

fn by_object(report: &Report) -> BTreeMap<&ObjectRef, &ReportedIssue> {
    report.roots().map(|issue| (&issue.object, issue)).collect()
}
