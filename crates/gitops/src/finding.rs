//! What is reported: one mistake, where it is, what comes of it, and how it is put right.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use crate::build::Object;
use crate::rules::Rule;
use crate::source::Location;

/// How bad a finding is. The order is that of weight: information first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Works today, and will hurt.
    Warning,
    /// Does not work, or destroys something.
    Error,
}

/// One mistake in the repository.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The rule that it breaks.
    pub rule: &'static Rule,
    /// How bad it is here.
    pub severity: Severity,
    /// The place that a person edits.
    pub location: Location,
    /// The object it is about, with the namespace that it has after building.
    pub object: Option<ObjectName>,
    /// What is wrong: one sentence.
    pub message: String,
    /// What will happen: one sentence.
    pub consequence: String,
    /// What to do.
    pub fix: String,
}

/// How people name an object: kind, namespace, name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// The kind, without its group.
    pub kind: String,
    /// Empty for an object without one.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Finding {
    /// A finding with the rule's own severity, consequence and fix.
    pub fn new(rule: &'static Rule, location: Location, message: impl Into<String>) -> Self {
        Self {
            rule,
            severity: rule.severity,
            location,
            object: None,
            message: message.into(),
            consequence: rule.consequence.to_owned(),
            fix: rule.fix.to_owned(),
        }
    }

    /// The same, about this object.
    #[must_use]
    pub fn about(mut self, object: &Object) -> Self {
        self.object = Some(object.display_name());
        self
    }

    /// The same, of another severity than the rule's general one.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// The same, with another fix than the rule's general one.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }

    /// The same, with another consequence than the rule's general one.
    #[must_use]
    pub fn consequence(mut self, consequence: impl Into<String>) -> Self {
        self.consequence = consequence.into();
        self
    }
}

impl Severity {
    /// The word for it in every format.
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ", self.kind)?;
        if !self.namespace.is_empty() {
            write!(formatter, "{}/", self.namespace)?;
        }
        formatter.write_str(&self.name)
    }
}
