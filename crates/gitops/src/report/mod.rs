//! Findings for people and for programs. Every format is a function of the same [`Report`].

mod github;
mod graph;
mod json;
mod junit;
mod sarif;
mod text;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::civil::Date;

use crate::baseline::Baseline;
use crate::finding::{Finding, Severity};
use crate::graph::Graph;
use crate::load::{Ignore, Repository};
use crate::render::Rendering;
use crate::rules::{self, Rule};
use crate::schema;
use crate::settings::Settings;
use crate::source::{FileId, Sources};

pub use github::github;
pub use graph::{graph_dot, graph_json, graph_text};
pub use json::{Output, json};
pub use junit::junit;
pub use sarif::sarif;
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
    /// Findings that somebody has silenced.
    pub suppressed: Vec<(Finding, Suppression)>,
    /// Of the findings: how many are in the baseline, but their last day is over.
    pub expired: usize,
    /// Entries of the baseline for which there is no finding.
    pub unused: usize,
    /// Kustomizations that come from another repository, and were not looked at.
    pub external: Vec<String>,
    /// Kinds without a schema, as `apiVersion Kind`, and how many objects of each there are: their fields
    /// were not looked at.
    pub without_schema: BTreeMap<String, usize>,
    /// Which HelmReleases were rendered.
    pub rendering: Rendering,
    /// What was looked for.
    pub rules: Vec<&'static Rule>,
}

/// What silences a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Suppression {
    /// A comment in the repository.
    Comment {
        /// What it says.
        reason: String,
    },
    /// An entry of the baseline.
    Baseline {
        /// What it says.
        reason: String,
    },
}

impl Suppression {
    /// Why the finding is silenced.
    pub fn reason(&self) -> &str {
        match self {
            Self::Comment { reason } | Self::Baseline { reason } => reason,
        }
    }
}

impl<'repository> Report<'repository> {
    /// Sorts the findings and leaves out those that a comment silences: one on the same line, or
    /// on a line of its own directly above.
    pub fn new(repository: &'repository Repository, mut findings: Vec<Finding>) -> Self {
        let sources = &repository.sources;
        let silenced: HashMap<_, _> = repository
            .ignores
            .iter()
            .map(|ignore| (silenced_line(sources, ignore), &ignore.reason))
            .collect();
        findings.sort_by(|a, b| {
            let path = |finding: &Finding| sources.get(finding.location.file).path.as_str();
            (path(a), a.location, a.rule.id, &a.message).cmp(&(
                path(b),
                b.location,
                b.rule.id,
                &b.message,
            ))
        });
        let mut report = Self {
            sources,
            findings: Vec::new(),
            documents: repository.documents.len(),
            suppressed: Vec::new(),
            expired: 0,
            unused: 0,
            external: Vec::new(),
            without_schema: BTreeMap::new(),
            rendering: Rendering::default(),
            rules: rules::all(),
        };
        for finding in findings {
            let line = sources.position(finding.location).line;
            let place = (finding.location.file, line, finding.rule.id.to_owned());
            match silenced.get(&place) {
                Some(reason) => {
                    let reason = (*reason).clone();
                    let by = Suppression::Comment { reason };
                    report.suppressed.push((finding, by));
                }
                None => report.findings.push(finding),
            }
        }
        report
    }

    /// The same, with what is known of other repositories.
    #[must_use]
    pub fn with_clusters(mut self, clusters: &[Graph]) -> Self {
        let all = clusters.iter().flat_map(|graph| &graph.kustomizations);
        let external = all.filter(|(_, kustomization)| !kustomization.is_here);
        let external = external.map(|((namespace, name), _)| format!("{namespace}/{name}"));
        self.external = external.collect::<BTreeSet<_>>().into_iter().collect();
        self
    }

    /// The same, with what was not looked at for want of a schema.
    #[must_use]
    pub fn with_schemas(mut self, clusters: &[Graph], settings: &Settings) -> Self {
        self.without_schema = schema::kinds_without(clusters, settings);
        self
    }

    /// The same, with what was rendered.
    #[must_use]
    pub fn with_rendering(mut self, rendering: Rendering) -> Self {
        self.rendering = rendering;
        self
    }

    /// The same, for some rules alone.
    #[must_use]
    pub fn with_rules(mut self, rules: Vec<&'static Rule>) -> Self {
        let is_asked_for = |finding: &Finding| rules.iter().any(|rule| rule.id == finding.rule.id);
        self.findings.retain(is_asked_for);
        self.suppressed.retain(|(finding, _)| is_asked_for(finding));
        self.rules = rules;
        self
    }

    /// Silences what the baseline knows.
    pub fn apply(&mut self, baseline: Baseline, today: Date) {
        let findings = std::mem::take(&mut self.findings);
        let applied = baseline.apply(findings, self.sources, today);
        self.findings = applied.left;
        let silenced = applied.silenced.into_iter();
        let silenced =
            silenced.map(|(finding, reason)| (finding, Suppression::Baseline { reason }));
        self.suppressed.extend(silenced);
        self.expired = applied.expired;
        self.unused = applied.unused.len();
    }

    /// How many findings comments silence.
    pub fn ignored(&self) -> usize {
        let by_comment = |by: &Suppression| matches!(by, Suppression::Comment { .. });
        let suppressed = self.suppressed.iter();
        suppressed.filter(|(_, by)| by_comment(by)).count()
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
            assert_eq!(report.ignored(), 1 - left, "{text}");
        }
    }
}
