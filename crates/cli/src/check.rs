//! `nico check`: a GitOps repository, before it is merged.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use nico_gitops::graph::Graph;
use nico_gitops::report::{self, Report};
use nico_gitops::{Severity, load, rules};

/// The exit code for what is neither right nor wrong.
pub(crate) const COULD_NOT_CHECK: u8 = 3;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    question: Option<Question>,
    /// The repository's root.
    #[arg(default_value = ".")]
    path: PathBuf,
    /// How findings are written.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The least severity that makes the command fail.
    #[arg(long, value_enum, default_value_t = Threshold::Warning, value_name = "SEVERITY")]
    fail_on: Threshold,
}

#[derive(Subcommand)]
enum Question {
    /// Explain a rule: what it wants, why, and how to put a finding right.
    Explain {
        /// The rule's identifier, as in FLX023.
        rule: String,
    },
    /// List all rules.
    Rules,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// For people: the lines in question, with a caret.
    Text,
    /// For programs: one object.
    Json,
}

#[derive(Clone, Copy, ValueEnum)]
enum Threshold {
    Error,
    Warning,
    Info,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let code = match &arguments.question {
        Some(Question::Explain { rule }) => explain(rule),
        Some(Question::Rules) => list_rules(),
        None => check(arguments),
    };
    match code {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            super::report(&error);
            ExitCode::from(COULD_NOT_CHECK)
        }
    }
}

fn check(arguments: &Arguments) -> anyhow::Result<u8> {
    let repository = load::disk::load(&arguments.path)?;
    let graph = Graph::new(&repository);
    let report = Report::new(&repository, rules::check(&repository, &graph));
    print(&match arguments.format {
        Format::Text => report::text(&report, io::stdout().is_terminal()),
        Format::Json => report::json(&report),
    })?;
    Ok(report::exit_code(
        report.worst(),
        arguments.fail_on.severity(),
    ))
}

fn explain(id: &str) -> anyhow::Result<u8> {
    let rule = rules::find(id)
        .with_context(|| format!("there is no rule {id}; `nico check rules` lists them"))?;
    print(&format!(
        "{} ({}): {}\n\nOtherwise {}.\nTo put it right: {}.\n\n{}",
        rule.id, rule.severity, rule.title, rule.consequence, rule.fix, rule.page
    ))?;
    Ok(0)
}

fn list_rules() -> anyhow::Result<u8> {
    let lines = rules::all().into_iter().map(|rule| {
        let (id, severity, title) = (rule.id, rule.severity.word(), rule.title);
        format!("{id:<8}{severity:<9}{title}\n")
    });
    print(&lines.collect::<String>())?;
    Ok(0)
}

pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut output = io::stdout().lock();
    output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
        .context("cannot write the output")
}

impl Threshold {
    fn severity(self) -> Severity {
        match self {
            Self::Error => Severity::Error,
            Self::Warning => Severity::Warning,
            Self::Info => Severity::Info,
        }
    }
}
