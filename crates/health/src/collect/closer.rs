//! Asks what no list says. What is not answered is told, and is no error.
//!
//! The kubelet of each Node that mounts claims is asked through the API server how full they are;
//! of each Pod of a tunnel the end of its log is read. Only what is judged is kept.

use std::collections::BTreeSet;
use std::future::Future;

use futures::stream::{self, StreamExt};
use http::Request;
use kube::Client;

use super::AT_ONCE;
use super::list::{AskError, Question, ask};
use crate::facts::closer::{Closer, Summary, Unread, VolumeUse, has_connection};
use crate::facts::meta::{Condition, condition};
use crate::facts::pod::Pod;
use crate::index::Index;
use crate::issue::Layer;
use crate::world::World;

/// Lines at the end of a log that are read.
const LINES: u32 = 1000;

/// Asks what no list says of a world.
pub(super) async fn look(client: &Client, question: &Question, world: &World) -> Closer {
    let mut closer = Closer::default();
    let asked = mounting_nodes(world)
        .into_iter()
        .map(|node| async move { (node, volumes(client, question, node).await) });
    let mut failed = vec![];
    for (node, answer) in at_once(asked).await {
        match answer {
            Ok(volumes) => closer.volumes.extend(volumes),
            Err(error) => failed.push((node.to_owned(), error)),
        }
    }
    let what = "how full volumes are on Nodes";
    closer.unread.extend(unread(Layer::Storage, what, &failed));

    let asked = tunnel_pods(world)
        .into_iter()
        .map(|pod| async move { (pod, log(client, question, pod).await) });
    let mut failed = vec![];
    for (pod, answer) in at_once(asked).await {
        let reference = pod.reference();
        match answer {
            Ok(log) => {
                closer.tunnels.insert(reference, has_connection(&log));
            }
            Err(error) => failed.push((reference.name, error)),
        }
    }
    let what = "the log of the tunnel's Pods";
    closer.unread.extend(unread(Layer::Platform, what, &failed));
    closer
}

/// A few at a time, the answers in the order of the questions.
async fn at_once<T>(asked: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let asked: Vec<_> = asked.collect();
    stream::iter(asked).buffered(AT_ONCE).collect().await
}

/// Nodes that answer and have Pods with claims.
fn mounting_nodes(world: &World) -> BTreeSet<&str> {
    let nodes = world
        .nodes
        .iter()
        .filter(|node| condition(&node.status.conditions, "Ready").is_some_and(Condition::is_true));
    let answering: BTreeSet<&str> = nodes.map(|node| node.metadata.name.as_str()).collect();
    let pods = world.pods.iter();
    pods.filter(|pod| pod.status.phase == "Running" && pod.claims().next().is_some())
        .map(|pod| pod.spec.node_name.as_str())
        .filter(|node| answering.contains(node))
        .collect()
}

/// Pods of tunnels that say that they are ready.
fn tunnel_pods(world: &World) -> Vec<&Pod> {
    let index = Index::new(world);
    let tunnels = index.all_workloads().filter(|one| one.is_tunnel());
    let pods = tunnels.flat_map(|tunnel| index.pods_of(&tunnel.reference()).to_vec());
    pods.filter(|pod| pod.is_ready()).collect()
}

async fn volumes(
    client: &Client,
    question: &Question,
    node: &str,
) -> Result<Vec<VolumeUse>, AskError> {
    let path = format!("/api/v1/nodes/{node}/proxy/stats/summary");
    let text = ask(client, get(path)?, "application/json", question).await?;
    let summary: Summary = serde_json::from_slice(&text)?;
    Ok(summary.volumes().collect())
}

async fn log(client: &Client, question: &Question, pod: &Pod) -> Result<String, AskError> {
    let metadata = &pod.metadata;
    let names = pod.status.container_statuses.iter();
    let mut names = names.map(|container| container.name.as_str());
    let first = names.clone().next().unwrap_or_default();
    let container = names.find(|name| name.contains("cloudflared"));
    let path = format!(
        "/api/v1/namespaces/{}/pods/{}/log?container={}&tailLines={LINES}",
        metadata.namespace,
        metadata.name,
        container.unwrap_or(first)
    );
    let text = ask(client, get(path)?, "*/*", question).await?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn get(path: String) -> Result<Request<Vec<u8>>, AskError> {
    let request = Request::get(path).body(vec![]);
    request.map_err(|error| AskError::Broken(error.to_string()))
}

/// One thing that was not answered, for all of whom it was asked and the first reason.
fn unread(layer: Layer, what: &str, failed: &[(String, AskError)]) -> Option<Unread> {
    const NAMED: usize = 3;
    let (_, why) = failed.first()?;
    let names: Vec<&str> = failed.iter().map(|(name, _)| name.as_str()).collect();
    let named = names[..names.len().min(NAMED)].join(", ");
    let more = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(Unread {
        layer,
        what: format!("{what} {named}{more}"),
        why: why.to_string(),
    })
}
