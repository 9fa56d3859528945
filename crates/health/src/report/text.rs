//! A report for people: the one thing to fix first, the layers, then the rest.

use jiff::Timestamp;
use nico_terminal::tree::{Branch, Line, Span, Tone, list, set};

use crate::detect::words;
use crate::issue::Severity;

use super::{LayerReport, Report, ReportedIssue, Status};

/// How many are told of what there is much of.
const NAMED: usize = 3;

/// The report in lines no wider than `width` where text can be broken.
pub fn of(report: &Report, width: usize) -> Vec<Line> {
    let mut lines = vec![headline(report)];
    lines.extend(body(report, width));
    lines
}

/// The report as it is drawn again and again: what is new stands at the top, where it is not cut.
pub fn of_watch(report: &Report, now: &str, changes: &[String], width: usize) -> Vec<Line> {
    let mut lines = vec![headline(report)];
    lines.extend(news(now, changes, width));
    lines.extend(body(report, width));
    lines
}

fn body(report: &Report, width: usize) -> Vec<Line> {
    let mut lines = vec![];
    if let Some(why) = nothing_read(report) {
        lines.push(Line::default());
        let told = format!("Nothing could be read: {why}");
        lines.extend(list("", &[Span::new(Tone::Busy, told)], width));
        return lines;
    }
    if let Some(first) = report.roots().next() {
        lines.push(Line::default());
        lines.extend(list("", &[Span::new(Tone::Strong, "Fix first:")], width));
        lines.extend(issue(report, first, width));
    }
    lines.extend(ongoing(report, width));
    lines.push(Line::default());
    lines.extend(layers(report, width));
    let rest: Vec<&ReportedIssue> = report.roots().skip(1).collect();
    if !rest.is_empty() {
        lines.push(Line::default());
        lines.extend(list("", &[Span::new(Tone::Strong, "Then:")], width));
        for root in rest {
            lines.extend(issue(report, root, width));
        }
    }
    lines
}

/// What is under way: that somebody works on something is worth to be known before it is "fixed".
fn ongoing(report: &Report, width: usize) -> Vec<Line> {
    if report.ongoing.is_empty() {
        return vec![];
    }
    let mut lines = vec![Line::default()];
    lines.extend(list("", &[Span::new(Tone::Strong, "Under way:")], width));
    for one in report.ongoing.iter().take(NAMED) {
        let title = format!("{}{}", one.object, since(report, one.since));
        lines.extend(list("○ ", &[Span::new(Tone::Busy, title)], width));
        lines.extend(list("  ", &[Span::from(one.message.as_str())], width));
    }
    if let more @ 1.. = report.ongoing.len().saturating_sub(NAMED) {
        let more = format!("and {more} more");
        lines.extend(list("  ", &[Span::new(Tone::Faint, more)], width));
    }
    lines
}

/// How long something lasts, where that is known.
fn since(report: &Report, since: Option<Timestamp>) -> String {
    since.map_or(String::new(), |since| {
        format!(", for {}", words(report.timestamp.duration_since(since)))
    })
}

fn headline(report: &Report) -> Line {
    let roots = |severity| {
        report
            .roots()
            .filter(|root| root.severity == severity)
            .count()
    };
    let mut parts = vec![];
    let (critical, warnings) = (roots(Severity::Critical), roots(Severity::Warning));
    if critical > 0 {
        parts.push(format!("{critical} critical"));
    }
    if warnings > 0 {
        parts.push(count(warnings, "warning"));
    }
    if report.summary.unknown > 0 {
        parts.push(format!("{} not checked", report.summary.unknown));
    }
    let because = match parts.is_empty() {
        true => format!("{} objects looked at", report.summary.total),
        false => parts.join(", "),
    };
    Line(vec![
        Span::new(tone(report.status), report.status.word().to_uppercase()),
        Span::from(format!("  {because}").as_str()),
    ])
}

fn issue(report: &Report, issue: &ReportedIssue, width: usize) -> Vec<Line> {
    let tone = match issue.severity {
        Severity::Critical => Tone::Bad,
        Severity::Warning => Tone::Busy,
    };
    let title = format!("{}{}", issue.object, since(report, issue.since));
    let mut lines = list("● ", &[Span::new(tone, title)], width);
    let mut notes = vec![Span::from(issue.message.as_str())];
    if issue.explains > 0 {
        notes.push(Span::new(Tone::Faint, explained(report, issue)));
    }
    lines.extend(list("  ", &notes, width));
    let fix = format!("{} [{}]", issue.fix, issue.id);
    lines.extend(list("  → ", &[Span::from(fix.as_str())], width));
    lines
}

fn explained(report: &Report, root: &ReportedIssue) -> String {
    let named = report.issues.iter().filter(|issue| {
        issue
            .cause
            .as_ref()
            .is_some_and(|cause| cause.object == root.object)
    });
    let names: Vec<String> = named
        .take(NAMED)
        .map(|issue| issue.object.to_string())
        .collect();
    let more = match root.explains.saturating_sub(names.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "explains {}: {}{more}",
        count(root.explains, "other issue"),
        names.join(", ")
    )
}

fn layers(report: &Report, width: usize) -> Vec<Line> {
    let rows: Vec<Branch> = report
        .layers
        .iter()
        .map(|layer| {
            let sum = layer.summary;
            let number = |count: usize, tone| match count {
                0 => Span::new(Tone::Faint, "–"),
                count => Span::new(tone, count.to_string()),
            };
            let unread = unread(report, layer)
                .into_iter()
                .map(|text| Span::new(Tone::Busy, text));
            let absent: Vec<&str> = layer
                .gaps
                .iter()
                .filter(|gap| gap.is_absent)
                .filter_map(|gap| gap.what.strip_suffix(" objects"))
                .collect();
            let absent = (!absent.is_empty() && layer.status == Status::Absent).then(|| {
                Span::new(
                    Tone::Faint,
                    format!("this cluster has no {}", absent.join(", ")),
                )
            });
            Branch {
                name: Span::from(layer.layer.title()),
                cells: vec![
                    Span::new(tone(layer.status), layer.status.word()),
                    number(sum.healthy, Tone::Plain),
                    number(sum.warnings, Tone::Busy),
                    number(sum.critical, Tone::Bad),
                    number(sum.unknown, Tone::Busy),
                ],
                notes: unread.chain(absent).collect(),
                branches: vec![],
            }
        })
        .collect();
    set(
        &[
            "LAYER",
            "STATUS",
            "HEALTHY",
            "WARNINGS",
            "CRITICAL",
            "NOT CHECKED",
        ],
        &rows,
        width,
    )
}

/// Why nothing could be read at all: the same reason for everything, in all layers.
fn nothing_read(report: &Report) -> Option<&str> {
    let gaps = || report.layers.iter().flat_map(|layer| &layer.gaps);
    let first = gaps().next()?;
    let is_all =
        report.summary.total == report.summary.unknown && gaps().all(|gap| gap.why == first.why);
    (is_all && report.issues.is_empty()).then_some(first.why.as_str())
}

/// What could not be read, a line for each reason. The reason is told with the first layer that
/// misses a thing; others point there.
fn unread(report: &Report, layer: &LayerReport) -> Vec<String> {
    let mut by_reason: Vec<(String, Vec<&str>)> = vec![];
    for gap in layer.gaps.iter().filter(|gap| !gap.is_absent) {
        let mut layers = report.layers.iter();
        let first = layers.find(|one| one.gaps.contains(gap));
        let why = match first.filter(|first| first.layer != layer.layer) {
            Some(first) => format!("see {}", first.layer.title()),
            None => gap.why.clone(),
        };
        match by_reason.iter_mut().find(|(known, _)| *known == why) {
            Some((_, whats)) => whats.push(&gap.what),
            None => by_reason.push((why, vec![&gap.what])),
        }
    }
    let lines = by_reason.into_iter();
    lines
        .map(|(why, whats)| format!("{}: {why}", whats.join(", ")))
        .collect()
}

fn tone(status: Status) -> Tone {
    match status {
        Status::Healthy => Tone::Good,
        Status::Warning | Status::Unknown => Tone::Busy,
        Status::Critical => Tone::Bad,
        Status::Absent => Tone::Faint,
    }
}

fn count(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        more => format!("{more} {noun}s"),
    }
}

/// What is new since the last look, for a report that is drawn again.
pub fn news(now: &str, changes: &[String], width: usize) -> Vec<Line> {
    let title = match changes.is_empty() {
        true => format!("{now}  nothing changed since the last look"),
        false => format!("{now}  since the last look:"),
    };
    let changes: Vec<Span> = changes
        .iter()
        .map(|change| Span::from(change.as_str()))
        .collect();
    let mut lines = vec![Line(vec![Span::new(Tone::Faint, title)])];
    lines.extend(list("  ", &changes, width));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issue::{Layer, ObjectRef};
    use crate::report::Summary;

    #[test]
    fn how_long_is_told_whatever_the_message_says() {
        let now = jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(1000);
        let issue = ReportedIssue {
            id: "node-not-ready",
            severity: Severity::Critical,
            layer: Layer::Nodes,
            object: ObjectRef::new("Node", "", "node-1"),
            message: "waits for its kubelet".to_owned(),
            since: Some(now - jiff::SignedDuration::from_mins(65)),
            cause: None,
            explains: 0,
            fix: "look".to_owned(),
        };
        let report = Report {
            status: Status::Critical,
            timestamp: now,
            summary: Summary::default(),
            layers: vec![],
            issues: vec![issue],
            ongoing: vec![],
        };
        let lines: Vec<String> = of(&report, 80).iter().map(Line::plain).collect();
        assert!(
            lines.contains(&"● Node node-1, for 65 min".to_owned()),
            "{lines:?}"
        );
    }
}
