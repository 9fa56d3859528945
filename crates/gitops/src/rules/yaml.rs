//! The rules for files as text, before anything in them is understood. They are found by loading.

use crate::finding::Severity;

use super::Rule;

/// Text that is not the YAML that its writer meant.
pub static FLX023: Rule = Rule {
    id: "FLX023",
    title: "a file is YAML, and says each thing once",
    severity: Severity::Error,
    consequence: "the build of every Kustomization with this file fails, and nothing of it is applied",
    fix: "correct the YAML",
    page: include_str!("pages/FLX023.md"),
};

/// A file that cannot be read as text.
pub static LOD001: Rule = Rule {
    id: "LOD001",
    title: "a file can be read: UTF-8, of a sane size, inside the repository",
    severity: Severity::Error,
    consequence: "Flux cannot read the file either, or reads something else than what was written",
    fix: "save the file as UTF-8",
    page: include_str!("pages/LOD001.md"),
};

/// A document beyond what an API server takes.
pub static LOD002: Rule = Rule {
    id: "LOD002",
    title: "a document stays within what an API server accepts",
    severity: Severity::Error,
    consequence: "the API server refuses the object",
    fix: "make the document smaller",
    page: include_str!("pages/LOD002.md"),
};
