//! The `nico` binary: argument parsing and wiring, nothing else.
//!
//! One module for each subcommand. [`Command`] lists what can be run.

mod apiserver;
mod ask;
mod build;
mod check;
mod connection;
mod crds;
mod duration;
mod faults;
mod flux;
mod health;
mod live;
mod mesh;
mod operator;
mod plan;
mod process;
mod reference;
mod sandbox;
mod screen;
mod status;
mod watch;

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use nico_runtime::causes;

/// Exit code of a question whose answer is that something is not as it is to be.
const NOT_THERE_YET: u8 = 3;

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
    Status(status::Arguments),
    Plan(plan::Arguments),
    Health(Box<health::Arguments>),
    /// Show how the objects of Flux are, why one is not ready, and ask for it again.
    Flux(Box<flux::Arguments>),
    /// Keep pod CIDRs as egress rules of Netmaker.
    Mesh(mesh::Arguments),
    /// Print the CustomResourceDefinitions, or write them into a folder.
    Crds(crds::Arguments),
    /// Serve an embedded Kubernetes API, for development and tests.
    Apiserver(Box<apiserver::Arguments>),
    /// Run NICO with hosts made of Linux namespaces, on this machine alone.
    Sandbox(sandbox::Arguments),
    /// Check a GitOps repository before it is merged. Nothing is fetched, no cluster is asked.
    ///
    /// Exit codes: 0 nothing at or above the threshold, 1 warnings, 2 errors, 3 could not check.
    Check(Box<check::Arguments>),
    /// Print what a kustomization makes, as kustomize would, without kustomize.
    ///
    /// Prints nothing where the result would not be complete. Exit codes: 0 built, 2 not or not
    /// completely, 3 could not look.
    Build(build::Arguments),
    /// Write the reference pages of the documentation.
    #[command(hide = true)]
    Reference(reference::Arguments),
}

fn main() -> ExitCode {
    let done = |()| ExitCode::SUCCESS;
    let result = match parse().command {
        Command::Operator(arguments) => operator::run(*arguments).map(done),
        Command::Status(arguments) => status::run(&arguments),
        Command::Plan(arguments) => plan::run(arguments),
        Command::Mesh(arguments) => mesh::run(arguments).map(done),
        Command::Health(arguments) => return health::run(&arguments),
        Command::Flux(arguments) => return flux::run(&arguments),
        Command::Check(arguments) => return check::run(&arguments),
        Command::Build(arguments) => return build::run(&arguments),
        Command::Crds(arguments) => crds::run(arguments).map(done),
        Command::Apiserver(arguments) => apiserver::run(*arguments).map(done),
        Command::Sandbox(arguments) => sandbox::run(arguments).map(done),
        Command::Reference(arguments) => reference::run(arguments, &Arguments::command()).map(done),
    };
    match result {
        Ok(code) => code,
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
        .unwrap_or_else(|error| refuse(&name_the_variable(error)))
}

/// Ends the process. The code is 2, as with most programs; but for commands that check something, 2
/// means that errors were found.
fn refuse(error: &clap::Error) -> ! {
    let is_check = std::env::args_os().nth(1).is_some_and(|name| {
        ["build", "check", "flux", "health"]
            .iter()
            .any(|one| name == *one)
    });
    if is_check && error.use_stderr() {
        // Where not even this can be printed, the code still tells.
        let _ = error.print();
        std::process::exit(check::COULD_NOT_CHECK.into());
    }
    error.exit()
}

/// Says of a bad value from which environment variable it came.
fn name_the_variable(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let mut command = Arguments::command();
    command.build();
    let variable = all(&command)
        .into_iter()
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

/// A command and all below it.
fn all(command: &clap::Command) -> Vec<&clap::Command> {
    let below = command.get_subcommands().flat_map(all);
    std::iter::once(command).chain(below).collect()
}

/// What went wrong, and under it why, one cause a line.
#[expect(clippy::print_stderr, reason = "the answer of a command-line program")]
fn report(error: &anyhow::Error) {
    let causes = causes::of(error.as_ref());
    let (what, why) = causes.split_first().expect("an error says something");
    eprintln!("nico: {what}");
    for cause in why {
        eprintln!("  because: {cause}");
    }
}
