//! How many writes a second a server takes while clients watch all of them.

use std::time::Instant;

use anyhow::Context;
use http::Method;
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
            outcome.microseconds_per_write,
            "µs a write",
            Against::Nothing,
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
    microseconds_per_write: f64,
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
    let used = server.processor_time()?;
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
    let used = server.processor_time()?.saturating_sub(used);
    Ok(Outcome {
        writes_per_second: writes as f64 / elapsed.as_secs_f64(),
        microseconds_per_write: used.as_secs_f64() * 1e6 / writes as f64,
    })
}
