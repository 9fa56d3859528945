//! Measures how many machines an operator can probe: `cargo run --release -p nico-bench --bin probe`.
//!
//! The operator is a built `nico`, in a process of its own. So are the API server, which holds the
//! Machine objects, and the SSH servers, each on an address of its own in 127.0.0.0/8. They share
//! the cores of the machine with the operator, whose time and memory are measured alone.

mod hosts;
mod operator;
mod world;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use nico_bench::ending::until_signal;
use nico_bench::table::{Against, Table};

use operator::Operator;
use world::World;

/// Measure the probing of many machines and print a table.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The operator and API server to run; by default the `nico` beside this program.
    #[arg(long, value_name = "FILE")]
    nico: Option<PathBuf>,
    /// Numbers of machines that answer.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1000, 5000])]
    machines: Vec<usize>,
    /// Seconds between two probes of a machine, and how long is measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    interval: u64,
    /// Run with small sizes: to see that it works, not to get numbers.
    #[arg(long)]
    quick: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Be the machines.
    #[command(hide = true)]
    Hosts(hosts::Arguments),
}

/// Of every ten machines that answer, this many more refuse connections, and as many accept them
/// and then say nothing.
const SILENT_PER_TEN: usize = 1;

/// What the operator may use of memory with 5,000 machines, in MB.
const MEMORY_LIMIT: f64 = 150.0;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Runtime::new()?;
    match arguments.command {
        Some(Command::Hosts(hosts)) => runtime.block_on(hosts::serve(&hosts)),
        None => runtime.block_on(until_signal(measure(&arguments))),
    }
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]
async fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    let nico = nico_bench::spawn::nico(arguments.nico.as_deref())?;
    let (sizes, interval) = if arguments.quick {
        (vec![50], 5)
    } else {
        (arguments.machines.clone(), arguments.interval.max(1))
    };
    let mut table = Table::default();
    for machines in sizes {
        eprintln!("probing {machines} machines every {interval} s");
        let interval = Duration::from_secs(interval);
        measure_size(&nico, machines, interval, &mut table)
            .await
            .with_context(|| format!("with {machines} machines"))?;
    }
    println!("{table}");
    Ok(())
}

async fn measure_size(
    nico: &std::path::Path,
    machines: usize,
    interval: Duration,
    table: &mut Table,
) -> anyhow::Result<()> {
    let silent = machines * SILENT_PER_TEN / 10;
    let all = machines + 2 * silent;
    let world = World::start(nico, machines, silent).await?;
    let mut operator = Operator::start(nico, &world, interval).await?;
    let empty = operator.memory()?;

    let began = std::time::Instant::now();
    let (used_before, _) = operator.usage().await?;
    world.create_machines(all).await?;
    let created = began.elapsed();
    operator.wait_for_discoverable(machines).await?;
    let found = began.elapsed();
    let (used, _) = operator.usage().await?;
    let found_with = (used - used_before).as_secs_f64();

    // Until every machine has had a turn of its own, and those that are silent were given up.
    operator.rest(interval + Duration::from_secs(40)).await?;
    let (used_before, probes_before) = operator.usage().await?;
    let window = std::time::Instant::now();
    operator.rest(interval).await?;
    let (used, probes) = operator.usage().await?;
    let window = window.elapsed().as_secs_f64();

    let name = |what: &str| {
        format!(
            "{machines} machines and {} that are away: {what}",
            2 * silent
        )
    };
    let rate = probes.saturating_sub(probes_before) as f64 / window;
    table.add(
        name("creation of the objects"),
        created.as_secs_f64(),
        "s",
        Against::Nothing,
    );
    table.add(
        name("from the first object until all were found and inspected"),
        found.as_secs_f64(),
        "s",
        Against::Nothing,
    );
    table.add(
        name("processor time of the operator for that"),
        found_with,
        "s",
        Against::Nothing,
    );
    table.add(
        name("probes"),
        rate,
        "/s",
        Against::AtLeast(all as f64 / interval.as_secs_f64()),
    );
    table.add(
        name("processor time of the operator"),
        (used - used_before).as_secs_f64() / window,
        "cores",
        Against::AtMost(1.0),
    );
    let highest = operator.highest_memory();
    table.add(
        name("highest memory of the operator"),
        highest,
        "MB",
        Against::AtMost(MEMORY_LIMIT),
    );
    table.add(
        name("memory for each machine"),
        (highest - empty) * 1000.0 / all as f64,
        "KB",
        Against::Nothing,
    );
    Ok(())
}
