//! How much memory ten thousand Nodes of 10 KB need.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use http::Method;
use nico_bench::nodes::node;
use nico_bench::table::{Against, Table};
use tokio::task::JoinSet;

use super::Sizes;
use super::serve::Running;

const NODES: &str = "/api/v1/nodes";

pub async fn measure(sizes: &Sizes, table: &mut Table) -> anyhow::Result<()> {
    let server = Running::start(&sizes.program).await?;
    for_all(&server, sizes, |number| {
        (Method::POST, NODES.to_owned(), node(number, 1))
    })
    .await?;
    let created = server.memory()?;
    // The history then holds old versions as well.
    for_all(&server, sizes, |number| {
        let path = format!("{NODES}/node-{number:05}");
        (Method::PUT, path, node(number, 2))
    })
    .await?;
    let updated = server.memory()?;
    let nodes = sizes.nodes;
    for (what, megabytes) in [("created", created), ("each updated once", updated)] {
        table.add(
            format!("memory, {nodes} Nodes of 10 KB, {what}"),
            megabytes,
            "MB",
            Against::AtMost(250.0),
        );
    }
    Ok(())
}

/// Sends a request for every Node, from several connections.
async fn for_all<F>(server: &Running, sizes: &Sizes, request: F) -> anyhow::Result<()>
where
    F: Fn(usize) -> (Method, String, bytes::Bytes) + Copy + Send + 'static,
{
    let next = Arc::new(AtomicUsize::new(0));
    let nodes = sizes.nodes;
    let mut writers = JoinSet::new();
    for _ in 0..sizes.writers {
        let mut client = server.connect().await?;
        let next = next.clone();
        writers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= nodes {
                    return Ok::<_, anyhow::Error>(());
                }
                let (method, path, body) = request(number);
                client.request(method, &path, body).await?;
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.context("a writer has failed")??;
    }
    Ok(())
}
