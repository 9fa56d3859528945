//! The report for people: each finding with the lines it is about, and a summary.

use std::cmp::Reverse;
use std::fmt::Write;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::finding::{Finding, Severity};
use crate::source::Sources;

use super::Report;

/// A line that is longer is cut in the excerpt: nobody reads a value of a megabyte.
const MAX_EXCERPT_BYTES: usize = 400;

/// The report as text. `color` for a terminal.
pub fn text(report: &Report<'_>, color: bool) -> String {
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let mut output = String::new();
    for finding in &report.findings {
        output += &render(&renderer, report.sources, finding);
        output += "\n\n";
    }
    output += &summary(report);
    output
}

fn render(renderer: &Renderer, sources: &Sources, finding: &Finding) -> String {
    let file = sources.get(finding.location.file);
    let excerpt = Excerpt::around(
        &file.text,
        finding.location.start as usize,
        finding.location.end as usize,
    );
    let line = sources.position(finding.location).line;
    let snippet = Snippet::source(excerpt.text)
        .line_start(line)
        .path(&*file.path)
        .annotation(AnnotationKind::Primary.span(excerpt.span));
    let about = finding.object.as_ref().map(|object| format!("{object}: "));
    let title = format!("{}{}", about.unwrap_or_default(), finding.message);
    let group = level(finding.severity)
        .primary_title(title)
        .id(finding.rule.id)
        .element(snippet)
        .element(Level::NOTE.message(&*finding.consequence))
        .element(Level::HELP.message(&*finding.fix));
    renderer.render(&[group])
}

fn level(severity: Severity) -> Level<'static> {
    match severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Info => Level::INFO,
    }
}

/// The line on which a finding begins, and the finding's part of it.
struct Excerpt<'text> {
    text: &'text str,
    span: std::ops::Range<usize>,
}

impl<'text> Excerpt<'text> {
    fn around(text: &'text str, start: usize, end: usize) -> Self {
        let start = text.floor_char_boundary(start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..]
            .find(['\n', '\r'])
            .map_or(text.len(), |length| start + length);
        let first =
            text.floor_char_boundary(line_start.max(start.saturating_sub(MAX_EXCERPT_BYTES / 2)));
        let last = text.floor_char_boundary(line_end.min(start + MAX_EXCERPT_BYTES / 2));
        let end = text.floor_char_boundary(end.clamp(start, last));
        Self {
            text: &text[first..last],
            span: start - first..end - first,
        }
    }
}

/// One line, and what else is to be known.
pub(super) fn summary(report: &Report<'_>) -> String {
    let mut line = format!(
        "{}, {}: {}, {}",
        count(report.sources.len(), "file"),
        count(report.documents, "document"),
        count(report.count(Severity::Error), "error"),
        count(report.count(Severity::Warning), "warning"),
    );
    let more = [
        (report.count(Severity::Info), "for information"),
        (report.ignored(), "ignored by comments"),
        (
            report.suppressed.len() - report.ignored(),
            "in the baseline",
        ),
    ];
    for (number, what) in more {
        if number > 0 {
            write!(line, ", {number} {what}").expect("a string takes all");
        }
    }
    line.push('\n');
    if report.expired > 0 {
        let number = report.expired;
        writeln!(
            line,
            "{number} of them in the baseline, but their last day is over"
        )
        .expect("a string takes all");
    }
    if report.unused > 0 {
        let number = report.unused;
        writeln!(
            line,
            "{number} in the baseline that are no more: remove them there"
        )
        .expect("a string takes all");
    }
    if !report.external.is_empty() {
        let names = report.external.join(", ");
        writeln!(
            line,
            "not looked at, for it comes from another repository: {names}"
        )
        .expect("a string takes all");
    }
    for (why, releases) in &report.rendering.not_rendered {
        let releases = count(*releases, "HelmRelease");
        writeln!(line, "not rendered: {releases}, for {why}").expect("a string takes all");
    }
    if !report.without_schema.is_empty() {
        line += &without_schema(report);
    }
    line
}

/// The kinds with most objects; the rest is in the JSON.
fn without_schema(report: &Report<'_>) -> String {
    let mut kinds: Vec<_> = report.without_schema.iter().collect();
    kinds.sort_by_key(|(kind, objects)| (Reverse(**objects), *kind));
    let objects = kinds.iter().map(|(_, objects)| **objects).sum();
    let names: Vec<_> = kinds
        .iter()
        .take(5)
        .map(|(kind, _)| kind.as_str())
        .collect();
    let more = if kinds.len() > names.len() {
        ", …"
    } else {
        ""
    };
    format!(
        "no schema, so that fields were not looked at: {} of {} ({}{more})\n",
        count(objects, "object"),
        count(kinds.len(), "kind"),
        names.join(", "),
    )
}

fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{report, repository};
    use super::*;

    #[test]
    fn a_finding_shows_its_line_with_a_caret() {
        let repository = repository(&[(
            "app/a.yaml",
            "# ü\nspec:\n  wait: true\n  wait: false # ü\n",
        )]);
        let expected = "\
error[FLX023]: the key \"wait\" stands twice in this mapping
 --> app/a.yaml:4:3
  |
4 |   wait: false # ü
  |   ^^^^
  |
  = note: the build of every Kustomization with this file fails, and nothing of it is applied
  = help: remove one of the two

1 file, 1 document: 1 error, 0 warnings
";
        assert_eq!(text(&report(&repository), false), expected);
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let text = format!("a: \"{}", "ü".repeat(100_000));
        let excerpt = Excerpt::around(&text, 50_001, 200_000);
        assert!(excerpt.text.len() <= MAX_EXCERPT_BYTES);
        assert!(excerpt.span.end <= excerpt.text.len());
    }
}
