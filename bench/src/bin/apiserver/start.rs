//! How soon a server is ready, and how much memory it needs before it has anything to keep.

use std::time::Duration;

use http::Method;
use nico_bench::percentile::percentile;
use nico_bench::table::{Against, Table};

use super::Sizes;
use super::serve::Running;

/// The real pair, kube-apiserver with etcd: the faster of its starts, and both processes' memory.
const REAL_READY: f64 = 2100.0;
const REAL_MEMORY: f64 = 324.0;
const REAL: &str = "kube-apiserver and etcd";

pub async fn measure(sizes: &Sizes, table: &mut Table) -> anyhow::Result<()> {
    let mut ready = Vec::new();
    let mut memory = Vec::new();
    for _ in 0..sizes.starts {
        let server = Running::start(&sizes.program).await?;
        let mut client = server.connect().await?;
        client.request(Method::GET, "/readyz", "").await?;
        ready.push(server.began.elapsed());
        memory.push(server.memory()?);
    }
    let slowest = ready.iter().max().copied().unwrap_or_default();
    let median = milliseconds(percentile(&mut ready, 0.5));
    memory.sort_by(f64::total_cmp);
    let megabytes = memory[memory.len() / 2];
    table.add("ready, median", median, "ms", Against::AtMost(50.0));
    table.add(
        "ready, slowest",
        milliseconds(slowest),
        "ms",
        Against::Nothing,
    );
    table.add(
        "ready, median",
        median,
        "ms",
        Against::Peer(REAL, REAL_READY),
    );
    table.add("memory, empty", megabytes, "MB", Against::AtMost(15.0));
    table.add(
        "memory, empty",
        megabytes,
        "MB",
        Against::Peer(REAL, REAL_MEMORY),
    );
    Ok(())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
