//! The `nico` binary: argument parsing and wiring, nothing else.
//!
//! One module for each subcommand. [`Command`] lists what can be run.

mod apiserver;
mod crds;
mod duration;
mod faults;
mod operator;
mod reference;
mod sandbox;

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

/// Bare-metal Kubernetes from Git: machines, clusters, and what runs them.
#[derive(Parser)]
#[command(name = "nico", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the controllers for Machines, NixosConfigurations and KubernetesClusters.
    Operator(Box<operator::Arguments>),
    /// Print the CustomResourceDefinitions, or write them into a folder.
    Crds(crds::Arguments),
    /// Serve an embedded Kubernetes API, for development and tests.
    Apiserver(Box<apiserver::Arguments>),
    /// Run NICO with hosts made of Linux namespaces, on this machine alone.
    Sandbox(sandbox::Arguments),
    /// Write the reference pages of the documentation.
    #[command(hide = true)]
    Reference(reference::Arguments),
}

fn main() -> ExitCode {
    let result = match parse().command {
        Command::Operator(arguments) => operator::run(*arguments),
        Command::Crds(arguments) => crds::run(arguments),
        Command::Apiserver(arguments) => apiserver::run(*arguments),
        Command::Sandbox(arguments) => sandbox::run(arguments),
        Command::Reference(arguments) => reference::run(arguments, &Arguments::command()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

/// The arguments of the process; ends it with a message when they cannot be understood.
fn parse() -> Arguments {
    Arguments::command()
        .try_get_matches()
        .and_then(|matches| Arguments::from_arg_matches(&matches))
        .unwrap_or_else(|error| name_the_variable(error).exit())
}

/// Says of a bad value from which environment variable it came.
fn name_the_variable(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let mut command = Arguments::command();
    command.build();
    let variable = command
        .get_subcommands()
        .flat_map(clap::Command::get_arguments)
        .filter(|candidate| candidate.to_string() == *argument)
        .filter_map(clap::Arg::get_env)
        .find(|variable| std::env::var_os(variable).is_some());
    if let Some(variable) = variable {
        let tip = format!(
            "the environment variable {} has this value",
            variable.display()
        );
        error.insert(
            ContextKind::Suggested,
            ContextValue::StyledStrs(vec![tip.into()]),
        );
    }
    error
}

/// What went wrong, and under it why, one cause a line. A cause that the line before tells
/// already is left out.
#[expect(clippy::print_stderr, reason = "the answer of a command-line program")]
fn report(error: &anyhow::Error) {
    let mut told = error.to_string();
    eprintln!("nico: {told}");
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !told.contains(&cause) {
            eprintln!("  because: {cause}");
            told = cause;
        }
    }
}
