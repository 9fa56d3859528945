//! A file of findings that are known and not put right yet, each with a reason and a last day.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::finding::Finding;
use crate::source::Sources;

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// One for each finding.
    pub findings: Vec<Entry>,
}

/// A finding that is known. Lines may move: it is known again by its words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The rule's identifier.
    pub rule: String,
    /// The path from the repository's root.
    pub file: String,
    /// The object, as reports name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// What is wrong, as reports say it.
    pub message: String,
    /// Why it stays.
    pub reason: String,
    /// The last day on which it is silenced.
    pub expires: Date,
}

/// Why a baseline cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no baseline.
    #[error("this is no baseline")]
    Malformed(#[from] serde_saphyr::Error),
    /// An entry says nothing of why the finding stays.
    #[error("entry {number}, of {rule} in {file}, has no reason: say in `reason` why it stays")]
    NoReason {
        /// Its place in the list, beginning with 1.
        number: usize,
        /// Its rule.
        rule: String,
        /// Its file.
        file: String,
    },
}

/// What a baseline did to the findings of a check.
#[derive(Debug, Default)]
pub struct Applied {
    /// The findings that it does not silence.
    pub left: Vec<Finding>,
    /// Those that it silences, each with its reason.
    pub silenced: Vec<(Finding, String)>,
    /// Of those that are left: how many are in it, but their last day is over.
    pub expired: usize,
    /// Its entries for which there is no finding.
    pub unused: Vec<Entry>,
}

impl Baseline {
    /// Reads a baseline.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let baseline: Self = serde_saphyr::from_str(text)?;
        for (number, entry) in (1..).zip(&baseline.findings) {
            if entry.reason.trim().is_empty() {
                return Err(Error::NoReason {
                    number,
                    rule: entry.rule.clone(),
                    file: entry.file.clone(),
                });
            }
        }
        Ok(baseline)
    }

    /// The findings as a baseline. Those that `known` has already keep their reason and day.
    pub fn of(
        findings: &[Finding],
        sources: &Sources,
        known: Self,
        reason: &str,
        expires: Date,
    ) -> Self {
        let mut known = known.by_identity();
        let entry = |finding: &Finding| {
            let identity = Identity::of(finding, sources);
            let old = known.get_mut(&identity).and_then(Vec::pop);
            old.unwrap_or_else(|| Entry {
                rule: identity.rule,
                file: identity.file,
                object: identity.object,
                message: identity.message,
                reason: reason.to_owned(),
                expires,
            })
        };
        let mut findings: Vec<Entry> = findings.iter().map(entry).collect();
        findings.sort();
        Self { findings }
    }

    /// The file as text.
    pub fn to_yaml(&self) -> String {
        let yaml = serde_saphyr::to_string(self).expect("plain structs become YAML");
        format!("# Findings of `nico check` that are known. Written by --write-baseline.\n{yaml}")
    }

    /// Silences what it knows, until `today` is past the last day of an entry. An entry is for one
    /// finding: of two equal ones, the second needs its own.
    pub fn apply(self, findings: Vec<Finding>, sources: &Sources, today: Date) -> Applied {
        let mut known = self.by_identity();
        let mut applied = Applied::default();
        for finding in findings {
            let identity = Identity::of(&finding, sources);
            match known.get_mut(&identity).and_then(Vec::pop) {
                Some(entry) if entry.expires >= today => {
                    applied.silenced.push((finding, entry.reason));
                }
                Some(_) => {
                    applied.expired += 1;
                    applied.left.push(finding);
                }
                None => applied.left.push(finding),
            }
        }
        applied.unused = known.into_values().flatten().collect();
        applied
    }

    fn by_identity(self) -> BTreeMap<Identity, Vec<Entry>> {
        let mut known: BTreeMap<_, Vec<Entry>> = BTreeMap::new();
        for entry in self.findings {
            let identity = Identity {
                rule: entry.rule.to_ascii_uppercase(),
                file: entry.file.clone(),
                object: entry.object.clone(),
                message: entry.message.clone(),
            };
            known.entry(identity).or_default().push(entry);
        }
        known
    }
}

/// By what a finding is known again.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    rule: String,
    file: String,
    object: Option<String>,
    message: String,
}

impl Identity {
    fn of(finding: &Finding, sources: &Sources) -> Self {
        Self {
            rule: finding.rule.id.to_owned(),
            file: sources.get(finding.location.file).path.clone(),
            object: finding.object.as_ref().map(ToString::to_string),
            message: finding.message.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::load::{RawFile, Repository};

    const END: Date = date(2026, 12, 31);

    fn repository(text: &str) -> Repository {
        Repository::from_files([RawFile {
            path: "a.yaml".to_owned(),
            content: Ok(text.as_bytes().to_vec()),
        }])
    }

    fn baseline(repository: &Repository) -> Baseline {
        let known = Baseline::default();
        Baseline::of(
            &repository.findings,
            &repository.sources,
            known,
            "later",
            END,
        )
    }

    fn applied(baseline: &Baseline, text: &str, today: Date) -> (usize, usize, usize, usize) {
        let repository = repository(text);
        let findings = repository.findings.clone();
        let applied = baseline.clone().apply(findings, &repository.sources, today);
        (
            applied.left.len(),
            applied.silenced.len(),
            applied.expired,
            applied.unused.len(),
        )
    }

    #[test]
    fn what_is_known_is_silenced_until_its_last_day() {
        let baseline = baseline(&repository("a: 1\na: 2\n"));
        for (text, today, expected) in [
            ("a: 1\na: 2\n", END, (0, 1, 0, 0)),
            ("# moved\na: 1\nb: 1\na: 2\n", END, (0, 1, 0, 0)),
            ("a: 1\na: 2\n", date(2027, 1, 1), (1, 0, 1, 0)),
            ("a: 1\na: 2\na: 3\n", END, (1, 1, 0, 0)),
            ("b: 1\nb: 2\n", END, (1, 0, 0, 1)),
            ("a: 1\n", END, (0, 0, 0, 1)),
        ] {
            assert_eq!(applied(&baseline, text, today), expected, "{text} {today}");
        }
    }

    #[test]
    fn a_written_baseline_can_be_read_and_keeps_old_reasons() {
        let first = baseline(&repository("a: 1\na: 2\n"));
        let text = first.to_yaml();
        assert_eq!(Baseline::parse(&text).unwrap(), first, "{text}");
        let more = repository("a: 1\na: 2\nb: 1\nb: 2\n");
        let later = date(2030, 1, 1);
        let second = Baseline::of(&more.findings, &more.sources, first, "new", later);
        let reasons: Vec<_> = second
            .findings
            .iter()
            .map(|entry| (&*entry.reason, entry.expires))
            .collect();
        assert_eq!(reasons, [("later", END), ("new", later)]);
    }

    #[test]
    fn an_entry_says_why_and_until_when() {
        let entry = |more: &str| format!("findings:\n- {{rule: A1, file: a, message: m{more}}}\n");
        for (more, expected) in [
            (", reason: r", "expires"),
            (", expires: 2026-01-01", "reason"),
            (", reason: r, expires: tomorrow", "expires"),
            (
                ", reason: ' ', expires: 2026-01-01",
                "entry 1, of A1 in a, has no reason",
            ),
            (", reason: r, expires: 2026-01-01, until: x", "until"),
        ] {
            let error = anyhow_like(&Baseline::parse(&entry(more)).unwrap_err());
            assert!(error.contains(expected), "{more}: {error}");
        }
    }

    fn anyhow_like(error: &dyn std::error::Error) -> String {
        let source = error.source().map(ToString::to_string);
        format!("{error} {}", source.unwrap_or_default())
    }
}
