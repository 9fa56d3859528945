//! What a controller is given when it starts.

use kube::Client;
use tokio_util::sync::CancellationToken;

use crate::events::Events;

/// The world as a controller may touch it.
#[derive(Clone)]
pub struct Context {
    /// The Kubernetes API.
    pub client: Client,
    /// Where events are published.
    pub events: Events,
    /// Cancelled when the process is to end: take nothing new in hand, finish what is.
    pub shutdown: CancellationToken,
    /// The operator's own namespace, for what belongs to no user (pinned host keys, the lease).
    pub namespace: String,
}
