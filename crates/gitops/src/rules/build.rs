//! The rules for kustomizations. They are found by building.

use crate::finding::Severity;

use super::Rule;

/// The rules of this module.
pub const RULES: [&Rule; 5] = [&BLD001, &BLD002, &FLX014, &FLX021, &FLX022];

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

/// A path that leads nowhere.
pub static FLX014: Rule = Rule {
    id: "FLX014",
    title: "the path of a Kustomization exists and holds something",
    severity: Severity::Error,
    consequence: "the Kustomization is never ready: its path is not found",
    fix: "correct `spec.path`",
    page: include_str!("pages/FLX014.md"),
};

/// A file that a kustomization names and that is not there.
pub static FLX021: Rule = Rule {
    id: "FLX021",
    title: "what a kustomization names is in the repository",
    severity: Severity::Error,
    consequence: "the build fails, and nothing of the Kustomization is applied",
    fix: "correct the path, or add the file",
    page: include_str!("pages/FLX021.md"),
};

/// A base or resource on another machine.
pub static FLX022: Rule = Rule {
    id: "FLX022",
    title: "a kustomization needs nothing from the network",
    severity: Severity::Warning,
    consequence: "the build fails while that machine cannot be reached, and runs what it hands out",
    fix: "keep a copy in the repository, or make it a source of its own",
    page: include_str!("pages/FLX022.md"),
};
