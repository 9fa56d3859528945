//! Measures `nico health`:
//! `cargo build --release --workspace --bin nico --bin health && target/release/health`.
//!
//! What is measured is a built `nico health`, in a process of its own. So is the API server, with a
//! cluster of the size of the specification in it. Both share the machine's cores.

mod subject;
mod world;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use clap::Parser;
use nico_bench::ending::until_signal;
use nico_bench::percentile::percentile;
use nico_bench::table::{Against, Table};

use subject::Look;
use world::{Size, World};

/// Measure `nico health` and print a table.
#[derive(Parser)]
struct Arguments {
    /// What is measured; by default the `nico` beside this program.
    #[arg(long, value_name = "FILE")]
    nico: Option<PathBuf>,
    /// How often it is measured.
    #[arg(long, value_name = "N", default_value_t = 5)]
    runs: usize,
    /// Run with a small cluster: to see that it works, not to get numbers.
    #[arg(long)]
    quick: bool,
}

/// Requests for one look.
const REQUESTS: f64 = 40.0;
/// Seconds from the start of the process to its end.
const SECONDS: f64 = 3.0;
/// The most memory that the process has, in MB.
const MEMORY: f64 = 150.0;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    tokio::runtime::Runtime::new()?.block_on(until_signal(measure(&arguments)))
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]
async fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    let nico = nico_bench::spawn::nico(arguments.nico.as_deref())?;
    let size = match arguments.quick {
        true => Size::SMALL,
        false => Size::SPECIFIED,
    };
    eprintln!("{size:?}");
    let world = World::start(&nico, size).await?;
    let mut looks = vec![];
    for _ in 0..arguments.runs.max(1) {
        let look = subject::look(&nico, &world).await?;
        check(&look, size)?;
        looks.push(look);
    }
    println!("{}", table(&looks));
    Ok(())
}

/// What was measured must have done its work: all objects were seen, and the one Node that is off
/// was found to be what the Pods on it wait for.
fn check(look: &Look, size: Size) -> anyhow::Result<()> {
    let report = &look.report;
    let first = &report["issues"][0];
    ensure!(report["status"] == "critical", "not critical: {report}");
    ensure!(first["object"]["kind"] == "Node", "not the Node: {first}");
    let explains = first["explains"].as_u64().unwrap_or_default();
    let pods = size.pods_of_a_node() as u64;
    ensure!(explains >= pods, "{explains} of {pods} Pods are explained");
    let total = report["summary"]["total"].as_u64().unwrap_or_default();
    let expected = size.objects() as u64;
    ensure!(total >= expected, "{total} of {expected} objects were seen");
    Ok(())
}

fn table(looks: &[Look]) -> Table {
    let mut table = Table::default();
    let most = |value: fn(&Look) -> f64| looks.iter().map(value).fold(0.0, f64::max);
    let requests = most(|look| look.requests as f64);
    table.add("requests", requests, "", Against::AtMost(REQUESTS));
    let mut times: Vec<Duration> = looks.iter().map(|look| look.time).collect();
    for (name, share) in [("median", 0.5), ("longest", 1.0)] {
        let time = percentile(&mut times, share).as_secs_f64();
        table.add(format!("time, {name}"), time, "s", Against::AtMost(SECONDS));
    }
    let processor = most(|look| look.processor_time.as_secs_f64());
    table.add("processor time, most", processor, "s", Against::Nothing);
    let memory = most(|look| look.memory as f64 / 1e6);
    table.add("memory, most", memory, "MB", Against::AtMost(MEMORY));
    table
}
