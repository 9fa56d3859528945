//! Annotations for GitHub's workflow runs, one line for each finding, and the summary.

use crate::finding::{Finding, Severity};

use super::Report;
use super::text::summary;

/// The report as workflow commands.
pub fn github(report: &Report<'_>) -> String {
    let lines = report.findings.iter();
    let lines: String = lines.map(|finding| annotation(report, finding)).collect();
    lines + &summary(report)
}

fn annotation(report: &Report<'_>, finding: &Finding) -> String {
    let command = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "notice",
    };
    let file = property(&report.sources.get(finding.location.file).path);
    let start = report.sources.position(finding.location);
    let end = report.sources.end_position(finding.location);
    // GitHub takes columns only where a finding stands on one line.
    let columns = if start.line == end.line {
        format!(",col={},endColumn={}", start.column, end.column)
    } else {
        String::new()
    };
    let title = match &finding.object {
        Some(object) => format!("{}: {object}", finding.rule.id),
        None => finding.rule.id.to_owned(),
    };
    let (line, end_line, title) = (start.line, end.line, property(&title));
    let text = data(&format!(
        "{}\n{}\nTo put it right: {}",
        finding.message, finding.consequence, finding.fix
    ));
    format!(
        "::{command} file={file},line={line},endLine={end_line}{columns},title={title}::{text}\n"
    )
}

fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{report, repository};
    use super::*;

    #[test]
    fn a_finding_is_one_line_whatever_it_says() {
        let repository = repository(&[("a,b:c.yaml", "\"%\\n\": 1\n\"%\\n\": 2\n")]);
        let mut report = report(&repository);
        report.findings[0].message += "\n::error::not one of its own";
        let text = github(&report);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        let head =
            "::error file=a%2Cb%3Ac.yaml,line=2,endLine=2,col=1,endColumn=6,title=FLX023::the key";
        assert!(lines[0].starts_with(head), "{text}");
        assert!(lines[0].contains("%0A::error"), "{text}");
        assert!(lines[1].starts_with("1 file"), "{text}");
    }
}
