//! The `nico` binary: argument parsing and wiring, nothing else.
//!
//! One module for each subcommand. [`Command`] lists what can be run.

mod apiserver;
mod crds;
mod operator;
mod reference;
mod sandbox;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    Apiserver(apiserver::Arguments),
    /// Run NICO with hosts made of Linux namespaces, on this machine alone.
    Sandbox(sandbox::Arguments),
    /// Write the reference pages of the documentation.
    #[command(hide = true)]
    Reference(reference::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Operator(arguments) => operator::run(*arguments),
        Command::Crds(arguments) => crds::run(arguments),
        Command::Apiserver(arguments) => apiserver::run(arguments),
        Command::Sandbox(arguments) => sandbox::run(arguments),
        Command::Reference(arguments) => reference::run(arguments, &root()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

/// The definition of all commands.
fn root() -> clap::Command {
    <Arguments as clap::CommandFactory>::command()
}

/// What went wrong, and under it why, one cause a line.
#[expect(clippy::print_stderr, reason = "the answer of a command-line program")]
fn report(error: &anyhow::Error) {
    eprintln!("nico: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
}
