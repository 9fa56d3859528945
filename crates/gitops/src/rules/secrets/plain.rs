//! Secrets that everybody can read.

use crate::build::Object;
use crate::finding::{Finding, Severity};
use crate::rules::{Context, Rule};
use crate::yaml::Node;

use super::encryption::is_encrypted;

/// A secret that is not encrypted.
pub static SEC002: Rule = Rule {
    id: "SEC002",
    title: "the values of a Secret are encrypted, or not in Git",
    severity: Severity::Error,
    consequence: "everybody who can read the repository has the secret, and its history keeps it",
    fix: "encrypt it with SOPS, or let an ExternalSecret bring it; and change the secret",
    page: include_str!("../pages/SEC002.md"),
};

/// With this annotation, the values of a Secret are known to be none.
const PLACEHOLDER: &str = "nico.homystack.com/placeholder";

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let secrets = context.graph.of_kind("", "Secret");
    secrets.filter_map(plain).collect()
}

fn plain(secret: &Object) -> Option<Finding> {
    let is_placeholder = secret.metadata("annotations", PLACEHOLDER) == Some("true");
    if is_placeholder || secret.is_generated() || is_encrypted(&secret.node) {
        return None;
    }
    let is_value = |node: &Node| {
        let text = node.scalar_text().unwrap_or_default();
        let is_variable = text.starts_with("${") && text.ends_with('}');
        !text.is_empty() && !is_variable
    };
    let mut fields = ["data", "stringData"]
        .into_iter()
        .filter_map(|key| secret.node.field(key));
    let field = fields.find(|field| {
        let mut values = field.node.fields().iter();
        values.any(|value| is_value(&value.node))
    })?;
    let message = format!(
        "`{}` of the Secret has values that are not encrypted",
        field.key
    );
    Some(Finding::new(&SEC002, field.key_at, message).about(secret))
}
