//! How a report and a graph are written.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use nico_gitops::Severity;
use nico_gitops::graph::Graph;
use nico_gitops::report::{self, Report};

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Format {
    /// For people: the lines in question, with a caret.
    Text,
    /// For programs: one object.
    Json,
    /// For code scanning: SARIF 2.1.0.
    Sarif,
    /// For CI systems: JUnit XML, with a suite for each rule.
    Junit,
    /// For GitHub workflows: annotations.
    Github,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum GraphFormat {
    /// For people.
    Text,
    /// For Graphviz.
    Dot,
    /// For programs.
    Json,
}

impl Format {
    pub(super) fn write(self, report: &Report<'_>, fail_on: Severity) -> String {
        match self {
            Self::Text => report::text(report, io::stdout().is_terminal()),
            Self::Json => report::json(report),
            Self::Sarif => report::sarif(report, env!("CARGO_PKG_VERSION")),
            Self::Junit => report::junit(report, fail_on),
            Self::Github => report::github(report),
        }
    }

    pub(super) fn is_for_people(self) -> bool {
        matches!(self, Self::Text | Self::Github)
    }
}

impl GraphFormat {
    pub(super) fn write(self, clusters: &[Graph]) -> String {
        match self {
            Self::Text => report::graph_text(clusters),
            Self::Dot => report::graph_dot(clusters),
            Self::Json => report::graph_json(clusters),
        }
    }
}
