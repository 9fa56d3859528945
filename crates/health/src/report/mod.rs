//! What is told: for people, for programs, for Prometheus.
//!
//! [`text`] for people, [`prometheus`] for a scraper, [`changes`] for where nothing can be drawn
//! again, [`redact`] for what nobody else may see. JSON is what the types here say.

pub mod changes;
pub mod prometheus;
pub mod redact;
pub mod text;

use jiff::Timestamp;
use serde::Serialize;

use crate::issue::{Layer, ObjectRef, Severity};
use crate::ongoing::Ongoing;

/// What is wrong with a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How it is as a whole.
    pub status: Status,
    /// When it was read.
    pub timestamp: Timestamp,
    /// How many objects are how.
    pub summary: Summary,
    /// The layers, from the bottom up.
    pub layers: Vec<LayerReport>,
    /// The issues, what to look at first at the front, each root followed by what it explains.
    pub issues: Vec<ReportedIssue>,
    /// What is under way and nothing to worry about.
    pub ongoing: Vec<Ongoing>,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All was looked at and is as it should be.
    Healthy,
    /// It works, and will not for ever.
    Warning,
    /// Something does not work.
    Critical,
    /// Not all could be looked at.
    Unknown,
    /// The cluster has nothing of the kind.
    Absent,
}

/// How many objects are how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// All together.
    pub total: usize,
    /// Without an issue.
    pub healthy: usize,
    /// With a warning.
    pub warnings: usize,
    /// That do not work.
    pub critical: usize,
    /// Kinds and objects that could not be read or understood.
    pub unknown: usize,
}

/// How a layer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LayerReport {
    /// The layer.
    pub layer: Layer,
    /// How it is.
    pub status: Status,
    /// How many objects are how.
    pub summary: Summary,
    /// What could not be looked at.
    #[serde(rename = "unread")]
    pub gaps: Vec<Gap>,
}

/// What could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
    /// Whether the cluster simply does not have it.
    pub is_absent: bool,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReportedIssue {
    /// The detector that found it.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The part of the cluster.
    pub layer: Layer,
    /// With what.
    pub object: ObjectRef,
    /// What is wrong.
    pub message: String,
    /// Since when, where that is known.
    pub since: Option<Timestamp>,
    /// The issue that explains it; none for one that stands for itself.
    pub cause: Option<Cause>,
    /// How many other issues it explains.
    pub explains: usize,
    /// What to do.
    pub fix: String,
}

/// An issue that explains another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// The detector that found it.
    pub id: &'static str,
    /// With what.
    pub object: ObjectRef,
}

impl Report {
    /// The issues that no other one explains.
    pub fn roots(&self) -> impl Iterator<Item = &ReportedIssue> {
        self.issues.iter().filter(|issue| issue.cause.is_none())
    }

    /// The exit code: 0 healthy, 1 warnings, 2 critical, 3 could not check. `fail_on` is the least
    /// severity that counts; what could not be checked always does.
    pub fn exit_code(&self, fail_on: Severity) -> u8 {
        match self.status {
            Status::Critical => 2,
            Status::Unknown => 3,
            Status::Warning if fail_on == Severity::Warning => 1,
            Status::Warning | Status::Healthy | Status::Absent => 0,
        }
    }
}

impl Status {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
            Self::Absent => "absent",
        }
    }
}
