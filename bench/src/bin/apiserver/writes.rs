//! How many writes a second a server takes while clients watch all of them.

use std::time::{Duration, Instant};

use anyhow::Context;
use http::Method;
use nico_bench::process;
use nico_bench::table::{Against, Table};
use tokio::task::JoinSet;

use super::Sizes;
use super::objects::{self, CONFIG_MAPS};
use super::serve::Running;
use super::watchers::Watchers;

pub async fn measure(sizes: &Sizes, table: &mut Table) -> anyhow::Result<()> {
    let server = Running::start(&sizes.program).await?;
    for (what, method) in [("creations", Method::POST), ("updates", Method::PUT)] {
        let outcome = write(&server, sizes, &method).await?;
        table.add(
            format!(
                "{what} of 1 KB, {} watchers, {} writers",
                sizes.watchers, sizes.writers
            ),
            outcome.writes_per_second,
            "/s",
            Against::AtLeast(5000.0),
        );
        table.add(
            format!("{what}: processor time of the server"),
            outcome.server_microseconds,
            "µs a write",
            Against::Nothing,
        );
        table.add(
            format!("{what}: processor time of all clients"),
            outcome.client_microseconds,
            "µs a write",
            Against::Nothing,
        );
        // What else runs on the machine lowers the rate, but hardly the processor time.
        table.add(
            format!("{what}: rate at which both would use up two cores"),
            2e6 / (outcome.server_microseconds + outcome.client_microseconds),
            "/s",
            Against::AtLeast(5000.0),
        );
        table.add(
            format!("{what}: memory at the end"),
            server.memory()?,
            "MB",
            Against::Nothing,
        );
    }
    Ok(())
}

struct Outcome {
    writes_per_second: f64,
    /// Processor time of the server for a write and its events.
    server_microseconds: f64,
    /// Processor time of the writers and the watchers for a write and its events.
    client_microseconds: f64,
}

/// Every writer writes one object after the other, for a while. The time ends when the last
/// watcher has seen the last write.
async fn write(server: &Running, sizes: &Sizes, method: &Method) -> anyhow::Result<Outcome> {
    let endpoint = server.endpoint(0)?;
    let watchers = Watchers::open(&endpoint, CONFIG_MAPS, sizes.watchers).await?;
    let mut clients = Vec::new();
    for _ in 0..sizes.writers {
        clients.push(endpoint.connect().await?);
    }
    let times = || anyhow::Ok((server.processor_time()?, process::own_processor_time()?));
    let (server_before, clients_before) = times()?;
    let begun = Instant::now();
    let end = begun + sizes.duration;
    let mut writers = JoinSet::new();
    for (writer, mut client) in clients.into_iter().enumerate() {
        let method = method.clone();
        writers.spawn(async move {
            let mut writes = 0_usize;
            while Instant::now() < end {
                let marker = writes.to_string();
                // Updates go around among a few objects of the creations before.
                let (name, path) = if method == Method::POST {
                    (format!("map-{writer}-{writes}"), CONFIG_MAPS.to_owned())
                } else {
                    let name = format!("map-{writer}-{}", writes % 10);
                    let path = format!("{CONFIG_MAPS}/{name}");
                    (name, path)
                };
                let body = objects::config_map(&name, &format!("{method} {marker}"));
                client.request(method.clone(), &path, body).await?;
                writes += 1;
            }
            Ok::<_, anyhow::Error>(writes)
        });
    }
    let mut writes = 0;
    while let Some(done) = writers.join_next().await {
        writes += done.context("a writer has failed")??;
    }
    watchers.finish(writes).await?;
    let elapsed = begun.elapsed();
    let (server_after, clients_after) = times()?;
    let for_a_write = |before: Duration, after: Duration| {
        after.saturating_sub(before).as_secs_f64() * 1e6 / writes as f64
    };
    Ok(Outcome {
        writes_per_second: writes as f64 / elapsed.as_secs_f64(),
        server_microseconds: for_a_write(server_before, server_after),
        client_microseconds: for_a_write(clients_before, clients_after),
    })
}
