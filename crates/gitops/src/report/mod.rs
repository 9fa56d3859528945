//! Findings for people and for programs. Every format is a function of the same [`Report`].

mod json;
mod text;

use std::collections::HashSet;

use crate::finding::{Finding, Severity};
use crate::load::{Ignore, Repository};
use crate::source::{FileId, Sources};

pub use json::json;
pub use text::text;

/// What a check found, ready to be written.
#[derive(Debug)]
pub struct Report<'repository> {
    /// Where the findings' places are.
    pub sources: &'repository Sources,
    /// The findings, by file and place.
    pub findings: Vec<Finding>,
    /// Documents that were looked at.
    pub documents: usize,
    /// Findings that a comment in the repository silences.
    pub ignored: usize,
}

impl<'repository> Report<'repository> {
    /// Sorts the findings and leaves out those that a comment silences: one on the same line, or
    /// on a line of its own directly above.
    pub fn new(repository: &'repository Repository, mut findings: Vec<Finding>) -> Self {
        let sources = &repository.sources;
        let silenced: HashSet<_> = repository
            .ignores
            .iter()
            .map(|ignore| silenced_line(sources, ignore))
            .collect();
        let found = findings.len();
        findings.retain(|finding| {
            let line = sources.position(finding.location).line;
            let place = (finding.location.file, line, finding.rule.id.to_owned());
            !silenced.contains(&place)
        });
        let ignored = found - findings.len();
        findings.sort_by(|a, b| {
            let path = |finding: &Finding| sources.get(finding.location.file).path.as_str();
            (path(a), a.location, a.rule.id, &a.message).cmp(&(
                path(b),
                b.location,
                b.rule.id,
                &b.message,
            ))
        });
        Self {
            sources,
            findings,
            documents: repository.documents.len(),
            ignored,
        }
    }

    /// How many findings of this severity there are.
    pub fn count(&self, severity: Severity) -> usize {
        let same = |finding: &&Finding| finding.severity == severity;
        self.findings.iter().filter(same).count()
    }

    /// The worst severity there is.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }
}

/// The line for which a comment silences a rule: its own, or the next where it stands alone.
fn silenced_line(sources: &Sources, ignore: &Ignore) -> (FileId, usize, String) {
    let text = &sources.get(ignore.at.file).text;
    let before = &text[..ignore.at.start as usize];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let stands_alone = before[line_start..].trim().is_empty();
    let line = sources.position(ignore.at).line + usize::from(stands_alone);
    (ignore.at.file, line, ignore.rule.to_ascii_uppercase())
}

/// The command's exit code: 2 for errors, 1 for warnings, 0 for nothing at or above `fail_on`.
/// Where information is asked to fail a check, it counts as a warning.
pub fn exit_code(worst: Option<Severity>, fail_on: Severity) -> u8 {
    match worst {
        Some(Severity::Error) => 2,
        Some(worst) if worst >= fail_on => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::RawFile;

    pub(super) fn repository(files: &[(&str, &str)]) -> Repository {
        Repository::from_files(files.iter().map(|(path, text)| RawFile {
            path: (*path).to_owned(),
            content: Ok(text.as_bytes().to_vec()),
        }))
    }

    pub(super) fn report(repository: &Repository) -> Report<'_> {
        Report::new(repository, repository.findings.clone())
    }

    #[test]
    fn the_exit_code_follows_the_worst_finding_and_the_threshold() {
        use Severity::{Error, Info, Warning};
        for (worst, fail_on, expected) in [
            (None, Info, 0),
            (Some(Info), Info, 1),
            (Some(Info), Warning, 0),
            (Some(Warning), Warning, 1),
            (Some(Warning), Error, 0),
            (Some(Error), Warning, 2),
            (Some(Error), Error, 2),
        ] {
            assert_eq!(exit_code(worst, fail_on), expected, "{worst:?} {fail_on:?}");
        }
    }

    #[test]
    fn a_comment_silences_its_line_or_the_next_one_and_only_its_rule() {
        for (text, left) in [
            ("a: 1\na: 2 # nico-ignore: FLX023 on purpose\n", 0),
            ("a: 1\n# nico-ignore: FLX023 on purpose\na: 2\n", 0),
            ("a: 1\n  # nico-ignore: FLX023 on purpose\na: 2\n", 0),
            ("a: 1 # nico-ignore: FLX023 wrong line\na: 2\n", 1),
            ("a: 1\na: 2 # nico-ignore: FLX009 other rule\n", 1),
        ] {
            let repository = repository(&[("a.yaml", text)]);
            let report = report(&repository);
            assert_eq!(report.findings.len(), left, "{text}");
            assert_eq!(report.ignored, 1 - left, "{text}");
        }
    }
}
