//! Why a configuration cannot be applied.

use std::fmt;

use thiserror::Error;

/// Why a configuration cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ApplyError {
    /// Others own fields that would change (409, reason `Conflict`). Every conflict is a
    /// cause of reason `FieldManagerConflict`.
    #[error("{}", describe(.0))]
    Conflicts(Vec<Conflict>),
    /// The request is not allowed, whatever the object (400, reason `BadRequest`).
    #[error("{0}")]
    BadRequest(String),
    /// The configuration does not fit the type (500 in Kubernetes, reason `InternalError`).
    /// The text names the configuration and the first problem with its path:
    /// `(ns/name; v1, Kind=ConfigMap): .bogus: field not declared in schema`.
    #[error("failed to create typed patch object {0}")]
    Invalid(String),
}

/// A field that somebody else owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The owner in words: `"alpha"`, or `"editor" using v1` for owners by plain writes.
    pub manager: String,
    /// The path of the field, for example `.spec.map[id="2"].v`.
    pub field: String,
}

/// As the message of the cause in a `Status`.
impl fmt::Display for Conflict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "conflict with {}", self.manager)
    }
}

/// The message of the answer. Conflicts of one manager follow each other.
fn describe(conflicts: &[Conflict]) -> String {
    if let [conflict] = conflicts {
        return format!(
            "Apply failed with 1 conflict: {conflict}: {}",
            conflict.field
        );
    }
    let mut lines = Vec::new();
    let mut named = None;
    for conflict in conflicts {
        if named != Some(&conflict.manager) {
            lines.push(format!("conflicts with {}:", conflict.manager));
            named = Some(&conflict.manager);
        }
        lines.push(format!("- {}", conflict.field));
    }
    format!(
        "Apply failed with {} conflicts: {}",
        conflicts.len(),
        lines.join("\n")
    )
}
