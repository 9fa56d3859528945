//! Reads the cluster once, into a [`World`]. Nothing is ever written.
//!
//! A few lists in parallel, never one call for each namespace. [`discovery`] knows what is not
//! served; [`list`] reads the objects of one kind; [`closer`] asks, when it is wanted, what no list
//! says.

mod closer;
mod discovery;
pub mod list;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::stream::{self, StreamExt};
use http::{Request, Uri};
use kube::Client;

use crate::issue::Layer;
use crate::needs::is_needed;
use crate::world::{Fill, Kind, Outcome, Turn, World, ask};
use discovery::Served;
use list::{AskError, Question};

/// How many lists are read at once.
const AT_ONCE: usize = 8;

/// What is to be read.
#[derive(Clone, Debug)]
pub struct Scope {
    /// One namespace, with what has none and what a namespace depends on; all when there is none.
    pub namespace: Option<String>,
    /// What is to be known.
    pub wanted: Wanted,
    /// Whether also to ask what no list says: how full volumes are, one request for each Node that
    /// has some, and what tunnels say of their connections, one for each Pod of theirs.
    pub is_closer: bool,
    /// How long the API server may be silent before or in an answer.
    pub timeout: Duration,
}

/// Which kinds are read.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// Those by which some layers are judged, and those that explain what is found there; all when
    /// no layer is named.
    Layers(Vec<Layer>),
    /// Those of one layer, for who only wants to list them.
    Alone(Layer),
}

/// What was read, and how much was asked for that.
#[derive(Clone, Debug)]
pub struct Collected {
    /// What was read.
    pub world: World,
    /// How many requests it took.
    pub requests: usize,
}

/// Reads the cluster once. What cannot be read is said in the world, and is no error.
pub async fn collect(client: &Client, scope: &Scope) -> Collected {
    let requests = Arc::new(AtomicUsize::new(0));
    let question = Question {
        served: None,
        namespace: scope.namespace.clone(),
        timeout: scope.timeout,
        requests: requests.clone(),
    };
    let (checks, served) = tokio::join!(
        checks(client, &question),
        discovery::served(client, &question)
    );
    let mut world = World {
        checks: Some(checks),
        namespace: scope.namespace.clone(),
        ..World::default()
    };
    // Without any answer there is no point in waiting for forty more.
    if let (Some(Err(_)), Err(AskError::Broken(_) | AskError::TimedOut(_))) =
        (&world.checks, &served)
    {
        let why = served
            .err()
            .map_or_else(String::new, |error| error.to_string());
        world.forget(|_| true, &Outcome::Failed(why));
        return Collected {
            world,
            requests: requests.load(Ordering::Relaxed),
        };
    }
    let first = scope.unread(&world, |kind| matches!(kind.turn, Turn::First));
    read(client, first, &question, &served, &mut world).await;
    // What was read can call for more, and that for more again.
    loop {
        let then = scope.unread(&world, |kind| match kind.turn {
            Turn::First => true,
            Turn::IfNeeded(is_needed) => is_needed(&world),
        });
        if then.is_empty() {
            break;
        }
        read(client, then, &question, &served, &mut world).await;
    }
    if scope.is_closer {
        world.closer = closer::look(client, &question, &world).await;
    }
    Collected {
        world,
        requests: requests.load(Ordering::Relaxed),
    }
}

impl Scope {
    /// The kinds that are to be read and were not yet.
    fn unread(&self, world: &World, is_due: impl Fn(&Kind) -> bool) -> Vec<&'static Kind> {
        let is_wanted = |kind: &Kind| match &self.wanted {
            Wanted::Layers(layers) => is_needed(kind, layers, world),
            Wanted::Alone(layer) => kind.layer == *layer,
        };
        world
            .outcomes()
            .filter(|(kind, outcome, _)| {
                **outcome == Outcome::NotAsked && is_due(kind) && is_wanted(kind)
            })
            .map(|(kind, _, _)| kind)
            .collect()
    }
}

async fn read(
    client: &Client,
    mut kinds: Vec<&'static Kind>,
    question: &Question,
    served: &Result<Served, AskError>,
    world: &mut World,
) {
    // Most of a cluster are its Pods: the longest list begins first.
    kinds.sort_by_key(|kind| kind.name != "Pod");
    let asked = kinds.into_iter().map(|kind| {
        let served = match served {
            // The core group is in no list of groups.
            Ok(served) if !kind.group.is_empty() => Some(served.versions(kind)),
            _ => None,
        };
        let question = Question {
            served,
            ..question.clone()
        };
        ask(kind, client, question)
    });
    let fills: Vec<Fill> = stream::iter(asked.collect::<Vec<_>>())
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    for fill in fills {
        fill(world);
    }
}

/// What the API server says of its parts, such as `[+]etcd ok`. One that is not ready answers 500
/// with the same lines.
async fn checks(client: &Client, question: &Question) -> Result<Vec<String>, String> {
    let mut request = Request::new(vec![]);
    *request.uri_mut() = Uri::from_static("/readyz?verbose");
    let text = match list::ask(client, request, "*/*", question).await {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(AskError::Refused { message, .. }) if message.contains("[-]") => message,
        Err(error) => return Err(error.to_string()),
    };
    Ok(text.lines().map(str::to_owned).collect())
}

/// Whether the reading says anything of the objects.
pub fn reason(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Known { .. } | Outcome::NotAsked => None,
        Outcome::Absent => Some("not served by this cluster".to_owned()),
        Outcome::Forbidden(why) => Some(format!("may not be read: {why}")),
        Outcome::TimedOut(why) | Outcome::Failed(why) => Some(why.clone()),
    }
}
