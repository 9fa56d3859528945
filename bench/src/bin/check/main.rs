//! Measures the check of a repository: `cargo run --release -p nico-bench --bin check`.
//!
//! A tree is taken as it is and multiplied, and each result is checked by a process of its own: loaded,
//! built, looked at by every rule, and reported. The time is from before the first file is opened until
//! the report is a text; the memory is the most that the process ever had.

mod measurement;
mod peer;
mod trees;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use nico_bench::table::{Against, Table};

use measurement::Measurement;
use trees::{Tree, Written};

/// Check trees of several sizes and print a table.
#[derive(Parser)]
struct Arguments {
    /// The repository that is multiplied.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "../shared/gitops/anton-2025-06"
    )]
    tree: PathBuf,
    /// How often each tree is checked; the median counts.
    #[arg(long, value_name = "N", default_value_t = 5)]
    runs: usize,
    /// Run with small sizes: to see that it works, not to get numbers.
    #[arg(long)]
    quick: bool,
    /// Check this tree once, and print the measurement as JSON.
    #[arg(long, value_name = "DIR", hide = true)]
    measure: Option<PathBuf>,
}

/// What a check may take, in ms, with so many files.
const TIME_LIMITS: [(usize, f64); 2] = [(350, 150.0), (35_000, 8000.0)];
/// What a check may take of memory, for each byte of YAML.
const MEMORY_LIMIT: f64 = 20.0;
/// Below so many files, the program itself is more than what it has read.
const FILES_FOR_MEMORY: usize = 10_000;

#[expect(clippy::print_stdout, reason = "a program for people")]
fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(tree) = &arguments.measure {
        println!("{}", serde_json::to_string(&Measurement::take(tree)?)?);
        return Ok(());
    }
    let tree = Tree::read(&arguments.tree)?;
    let sizes = if arguments.quick {
        vec![tree.files(), 2 * tree.files()]
    } else {
        vec![tree.files(), 350, 35_000]
    };
    let mut table = Table::default();
    for files in sizes {
        measure(&tree, files, arguments.runs, &mut table)?;
    }
    print!("{table}");
    Ok(())
}

fn measure(tree: &Tree, files: usize, runs: usize, table: &mut Table) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let Written { files, bytes } = tree.multiply(files, folder.path())?;
    let runs = (0..runs.max(1)).map(|_| in_own_process(folder.path()));
    let mut runs = runs.collect::<Result<Vec<_>>>()?;
    runs.sort_by_key(|run| run.time);
    let median = &runs[runs.len() / 2];
    ensure!(median.files == files, "not all files were checked");
    let milliseconds = median.time.as_secs_f64() * 1e3;
    let mut add = |what: &str, value, unit, against| {
        table.add(format!("{files} files: {what}"), value, unit, against);
    };
    add("YAML", bytes as f64 / 1e6, "MB", Against::Nothing);
    add("findings", median.findings as f64, "", Against::Nothing);
    add("check", milliseconds, "ms", time_limit(files));
    let processor = median.processor_time.as_secs_f64() * 1e3;
    add("processor time", processor, "ms", Against::Nothing);
    if let Some(peer) = peer::kubeconform(folder.path())? {
        let against = Against::Peer("kubeconform", peer.as_secs_f64() * 1e3);
        add("check", milliseconds, "ms", against);
    }
    let memory = median.memory_bytes as f64;
    add("memory", memory / 1e6, "MB", Against::Nothing);
    if files >= FILES_FOR_MEMORY {
        let limit = Against::AtMost(MEMORY_LIMIT);
        add(
            "memory for a byte of YAML",
            memory / bytes as f64,
            "bytes",
            limit,
        );
    }
    Ok(())
}

/// The limit of the smallest size that has one and is not smaller; multiples are a little larger than
/// what was asked for.
fn time_limit(files: usize) -> Against {
    let mut limits = TIME_LIMITS.iter();
    let limit = limits.find(|(most, _)| files <= most + most / 2);
    limit.map_or(Against::Nothing, |(_, limit)| Against::AtMost(*limit))
}

fn in_own_process(tree: &Path) -> Result<Measurement> {
    let program = env::current_exe().context("cannot find this program")?;
    let output = Command::new(program).arg("--measure").arg(tree).output()?;
    ensure!(
        output.status.success(),
        "the check failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).context("the check printed no measurement")
}
