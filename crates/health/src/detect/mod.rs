//! The detectors: each finds one kind of failure, in a file of its own, and stands in one table.
//!
//! The table goes from the bottom of a cluster to the top, and within a layer from the most to the
//! least telling. Of an object only what the first detector finds is told.

mod api_server;
pub(crate) mod flux;
mod network;
mod nico;
mod nodes;
mod platform;
mod storage;
mod workloads;

use jiff::{SignedDuration, Timestamp};

use crate::index::Index;
use crate::issue::{Issue, Layer, ObjectRef, Severity};
use crate::thresholds::{Span, Thresholds};
use crate::world::World;

/// Finds one kind of failure.
#[derive(Debug)]
pub struct Detector {
    /// Its name, which is part of the reports.
    pub id: &'static str,
    /// The part of the cluster.
    pub layer: Layer,
    /// What it finds, in a sentence.
    pub finds: &'static str,
    /// When that is a warning and when it is critical.
    pub severity: &'static str,
    /// What to do, where the issue does not say it more exactly.
    pub fix: &'static str,
    /// Finds it.
    pub detect: fn(&Scene<'_>, &mut Found),
}

/// What a detector looks at.
pub struct Scene<'a> {
    /// What was read.
    pub world: &'a World,
    /// Which objects belong together.
    pub index: Index<'a>,
    /// From when on something is worth to be told.
    pub thresholds: &'a Thresholds,
    /// When the cluster was read.
    pub now: Timestamp,
}

/// What a detector found.
pub struct Found {
    id: &'static str,
    layer: Layer,
    fix: &'static str,
    /// The issues.
    pub issues: Vec<Issue>,
}

/// All detectors, in the order in which they are asked.
pub fn all() -> Vec<&'static Detector> {
    [
        api_server::DETECTORS,
        nodes::DETECTORS,
        network::DETECTORS,
        storage::DETECTORS,
        flux::DETECTORS,
        platform::DETECTORS,
        workloads::DETECTORS,
        nico::DETECTORS,
    ]
    .into_iter()
    .flatten()
    .copied()
    .collect()
}

/// Everything that the detectors find.
pub fn issues(scene: &Scene<'_>) -> Vec<Issue> {
    let found = all().into_iter().flat_map(|detector| {
        let mut found = Found {
            id: detector.id,
            layer: detector.layer,
            fix: detector.fix,
            issues: vec![],
        };
        (detector.detect)(scene, &mut found);
        found.issues
    });
    found.collect()
}

impl Scene<'_> {
    /// Whether something has lasted for longer than a threshold. What began at an unknown time has.
    pub fn lasts(&self, since: Option<Timestamp>, threshold: Span) -> bool {
        since.is_none_or(|since| self.age(since) > threshold.0)
    }

    /// How long ago something was.
    pub fn age(&self, since: Timestamp) -> SignedDuration {
        self.now.duration_since(since)
    }

    /// Whether something happened within a threshold.
    pub fn is_recent(&self, when: Option<Timestamp>, threshold: Span) -> bool {
        when.is_some_and(|when| self.age(when) <= threshold.0)
    }
}

impl Found {
    /// Adds an issue that works for now.
    pub fn warning(&mut self, object: ObjectRef, message: impl Into<String>) -> &mut Issue {
        self.add(Severity::Warning, object, message.into())
    }

    /// Adds an issue that does not work.
    pub fn critical(&mut self, object: ObjectRef, message: impl Into<String>) -> &mut Issue {
        self.add(Severity::Critical, object, message.into())
    }

    /// Adds an issue.
    pub fn add(&mut self, severity: Severity, object: ObjectRef, message: String) -> &mut Issue {
        let at = self.issues.len();
        self.issues.push(Issue {
            id: self.id,
            severity,
            layer: self.layer,
            object,
            message,
            since: None,
            fix: self.fix.to_owned(),
            suspects: vec![],
        });
        &mut self.issues[at]
    }
}

impl Issue {
    /// Since when.
    pub fn since(&mut self, since: Option<Timestamp>) -> &mut Self {
        self.since = since;
        self
    }

    /// What to do.
    pub fn fix(&mut self, fix: impl Into<String>) -> &mut Self {
        self.fix = fix.into();
        self
    }

    /// Objects that may be the reason, the likeliest first.
    pub fn suspects(&mut self, suspects: impl IntoIterator<Item = ObjectRef>) -> &mut Self {
        self.suspects.extend(suspects);
        self
    }
}

/// A duration in words, such as `3 h` or `2 days`.
pub fn words(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_unique_and_layers_go_from_the_bottom_up() {
        let detectors = all();
        let mut ids: Vec<&str> = detectors.iter().map(|detector| detector.id).collect();
        ids.sort_unstable();
        let count = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), count);
        assert!(
            detectors
                .windows(2)
                .all(|pair| pair[0].layer <= pair[1].layer)
        );
    }

    #[test]
    fn every_detector_is_explained_in_the_documentation() {
        let page = include_str!("../../../../docs/health.md");
        for detector in all() {
            let Detector {
                id,
                finds,
                severity,
                fix,
                ..
            } = detector;
            let row = format!("| `{id}` | {finds} | {severity} | {fix} |");
            assert!(
                page.lines().any(|line| line == row),
                "the page has no\n{row}"
            );
        }
    }
}
