//! Measures the mesh: `cargo build --release --workspace --bin nico --bin mesh && target/release/mesh`.
//!
//! What is measured is a built `nico mesh run`, in a process of its own. So is the API server, with
//! Nodes of 10 KB. The stand-in for Netmaker runs in this process. All share the machine's cores.

mod events;
mod idle;
mod server_alone;
mod subject;
mod world;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use nico_bench::ending::until_signal;
use nico_bench::table::{Against, Table};

use subject::Subject;
use world::World;

/// Measure the mesh and print a table for each number of Nodes.
#[derive(Parser)]
struct Arguments {
    /// What is measured; by default the `nico` beside this program.
    #[arg(long, value_name = "FILE")]
    nico: Option<PathBuf>,
    /// Numbers of Nodes.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1000, 10_000])]
    nodes: Vec<usize>,
    /// Seconds between two full passes while idling is measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    resync: u64,
    /// Nodes that come and go again while latency is measured.
    #[arg(long, value_name = "N", default_value_t = 200)]
    events: usize,
    /// Run with small sizes: to see that it works, not to get numbers.
    #[arg(long)]
    quick: bool,
}

/// What the mesh may use of memory, in MB, with so many Nodes.
const MEMORY_LIMITS: [(usize, f64); 2] = [(1000, 15.0), (10_000, 40.0)];
/// What a cold start may take beyond what the server needs for the writes, with 1,000 Nodes.
const START_LIMIT: (usize, f64) = (1000, 3.0);
/// From the change of a Node to the write, in ms, for 99 of 100.
const LATENCY_LIMIT: f64 = 250.0;

fn main() -> anyhow::Result<()> {
    tokio::runtime::Runtime::new()?.block_on(measure(&Arguments::parse()))
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]
async fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    let nico = nico_bench::spawn::nico(arguments.nico.as_deref())?;
    let sizes = if arguments.quick {
        &vec![50]
    } else {
        &arguments.nodes
    };
    for &nodes in sizes {
        eprintln!("{nodes} Nodes");
        let mut table = Table::default();
        let size = Size {
            nodes,
            events: if arguments.quick {
                10
            } else {
                arguments.events
            },
            resync: Duration::from_secs(if arguments.quick {
                3
            } else {
                arguments.resync.max(3)
            }),
        };
        let measured = until_signal(measure_size(&nico, &size, &mut table)).await;
        // What is known is worth to be seen, also when the rest is not.
        println!("{table}");
        measured.with_context(|| format!("with {nodes} Nodes"))?;
    }
    Ok(())
}

/// How much is measured.
struct Size {
    nodes: usize,
    events: usize,
    resync: Duration,
}

async fn measure_size(nico: &Path, size: &Size, table: &mut Table) -> anyhow::Result<()> {
    let nodes = size.nodes;
    let name = |what: &str| format!("{nodes} Nodes: {what}");
    let limit = |limits: &[(usize, f64)]| {
        let limit = limits.iter().find(|(number, _)| *number == nodes);
        limit.map_or(Against::Nothing, |(_, limit)| Against::AtMost(*limit))
    };
    let alone = server_alone::time_of_writes(nodes).await?.as_secs_f64();
    let world = World::start(nico, nodes, size.events).await?;
    let mut subject = Subject::start(nico, &world, size.resync).await?;

    let cold = subject.wait_for_rules(&world, nodes).await?.as_secs_f64();
    table.add(
        name("cold start, until all rules are written"),
        cold,
        "s",
        Against::Nothing,
    );
    table.add(
        name("the same writes by a client that knows them already"),
        alone,
        "s",
        Against::Nothing,
    );
    table.add(
        name("cold start, beyond those writes"),
        (cold - alone).max(0.0),
        "s",
        limit(&[START_LIMIT]),
    );
    let requests = subject.requests(&world);
    for (what, number, expected) in [
        ("logins", requests.logins, 1),
        ("lists", requests.lists, 4),
        ("writes", requests.writes, nodes),
    ] {
        table.add(
            name(&format!("cold start, {what}")),
            number as f64,
            "requests",
            Against::AtMost(expected as f64),
        );
    }

    events::measure(&world, size, &mut subject, &name, table).await?;
    idle::measure(&world, size.resync, &mut subject, &name, table).await?;

    table.add(
        name("memory, the most that was seen"),
        subject.highest_memory(),
        "MB",
        limit(&MEMORY_LIMITS),
    );
    table.add(
        name("memory at the end"),
        subject.memory()?,
        "MB",
        limit(&MEMORY_LIMITS),
    );
    Ok(())
}
