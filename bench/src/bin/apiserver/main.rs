//! Measures the embedded Kubernetes API server: `cargo run --release -p nico-bench --bin apiserver`.
//!
//! The server runs in a process of its own, so that time and memory are its alone. The clients run
//! in this process and share the machine's cores with it.

mod instances;
mod latency;
mod nodes;
mod objects;
mod serve;
mod start;
mod watchers;
mod writes;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use nico_bench::ending::until_signal;
use nico_bench::table::Table;

/// Measure the embedded Kubernetes API server and print a table.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Measure `FILE apiserver`, a built nico, instead of the server that is built in here.
    #[arg(long, value_name = "FILE")]
    nico: Option<PathBuf>,
    /// Run with small sizes: to see that it works, not to get numbers.
    #[arg(long)]
    quick: bool,
    /// Starts of the server; the median counts.
    #[arg(long, value_name = "N", default_value_t = 21)]
    starts: usize,
    /// Nodes of 10 KB to keep.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    nodes: usize,
    /// Clients that write at the same time.
    #[arg(long, value_name = "N", default_value_t = 32)]
    writers: usize,
    /// Clients that watch everything that is written.
    #[arg(long, value_name = "N", default_value_t = 50)]
    watchers: usize,
    /// How long to write, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    seconds: u64,
    /// Servers in one process.
    #[arg(long, value_name = "N", default_value_t = 200)]
    instances: usize,
    /// Measure only the parts with these names.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve, and write a kubeconfig for each server into a folder. This is what is measured.
    #[command(hide = true)]
    Serve(serve::Arguments),
}

/// A part of the benchmark.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Start,
    Nodes,
    Writes,
    Latency,
    Instances,
}

/// How much to measure, and of what.
struct Sizes {
    program: serve::Program,
    starts: usize,
    nodes: usize,
    writers: usize,
    watchers: usize,
    duration: Duration,
    instances: usize,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(Command::Serve(serve)) = arguments.command {
        return serve::run(&serve);
    }
    tokio::runtime::Runtime::new()?.block_on(until_signal(measure(&arguments)))
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]
async fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    let sizes = Sizes::of(arguments);
    let mut table = Table::default();
    let wanted = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    if wanted(Part::Start) {
        eprintln!("starting the server {} times", sizes.starts);
        start::measure(&sizes, &mut table).await?;
    }
    if wanted(Part::Nodes) {
        eprintln!("creating {} Nodes", sizes.nodes);
        nodes::measure(&sizes, &mut table).await?;
    }
    if wanted(Part::Writes) {
        eprintln!("writing for {} s, twice", sizes.duration.as_secs());
        writes::measure(&sizes, &mut table).await?;
    }
    if wanted(Part::Latency) {
        eprintln!("measuring the way from writers to watchers");
        latency::measure(&sizes, &mut table).await?;
    }
    if wanted(Part::Instances) {
        eprintln!("starting {} servers in one process", sizes.instances);
        instances::measure(&sizes, &mut table).await?;
    }
    println!("{table}");
    Ok(())
}

impl Sizes {
    fn of(arguments: &Arguments) -> Self {
        let at_most = |size: usize, quick: usize| {
            if arguments.quick {
                size.min(quick)
            } else {
                size
            }
        };
        let seconds = if arguments.quick {
            1
        } else {
            arguments.seconds
        };
        Self {
            program: arguments
                .nico
                .clone()
                .map_or(serve::Program::BuiltIn, serve::Program::Nico),
            starts: at_most(arguments.starts, 3).max(1),
            nodes: at_most(arguments.nodes, 500).max(1),
            writers: at_most(arguments.writers, 8).max(1),
            watchers: at_most(arguments.watchers, 5).max(1),
            duration: Duration::from_secs(seconds.max(1)),
            instances: at_most(arguments.instances, 10).max(1),
        }
    }
}
