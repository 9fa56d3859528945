//! The rules for kustomizations. They are found by building.

use crate::finding::Severity;

use super::Rule;

/// A kustomization that kustomize refuses.
pub static BLD001: Rule = Rule {
    id: "BLD001",
    title: "a kustomization builds",
    severity: Severity::Error,
    consequence: "the build fails, and nothing of the Kustomization is applied",
    fix: "correct the kustomization",
    page: include_str!("pages/BLD001.md"),
};

/// A feature that this program does not follow.
pub static BLD002: Rule = Rule {
    id: "BLD002",
    title: "a kustomization uses features that this program follows",
    severity: Severity::Warning,
    consequence: "what Flux applies differs from what was checked here",
    fix: "check this part with another tool, and silence the finding",
    page: include_str!("pages/BLD002.md"),
};
