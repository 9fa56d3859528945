//! The little of the controller-manager that others rely on.
//!
//! Each controller is a task that follows the changes of the storage and ends with the server.
//! Several servers may run the same controllers on the same storage: every write depends on what
//! was read, and whoever comes second finds it done.

mod accounts;
mod aggregation;
pub mod definitions;
pub mod disruption;
mod events;
mod follow;
mod garbage;
mod namespaces;
mod nodes;
mod workloads;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use crate::api::Api;

pub use accounts::furnish;
pub use aggregation::rules_of as aggregated_rules;

/// How controllers are to behave.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long an Event is kept after its last write.
    pub event_ttl: Duration,
    /// How long a Node may be silent.
    pub node_monitor_grace_period: Duration,
    /// Workloads make Pods, and Pods run.
    pub simulate_workloads: bool,
}

impl Default for Settings {
    /// As the real controller-manager, which nobody plays the kubelets for.
    fn default() -> Self {
        Self {
            event_ttl: Duration::from_secs(60 * 60),
            node_monitor_grace_period: Duration::from_secs(50),
            simulate_workloads: false,
        }
    }
}

/// Starts all controllers. `authority` is the certificate of the server's authority, PEM.
pub fn start(api: &Arc<Api>, tasks: &TaskTracker, settings: Settings, authority: &str) {
    tasks.spawn(accounts::run(api.clone(), authority.into()));
    tasks.spawn(aggregation::run(api.clone()));
    tasks.spawn(definitions::run(api.clone()));
    tasks.spawn(disruption::run(api.clone()));
    tasks.spawn(events::run(api.clone(), settings.event_ttl));
    tasks.spawn(garbage::run(api.clone()));
    tasks.spawn(namespaces::run(api.clone()));
    let grace = settings.node_monitor_grace_period;
    tasks.spawn(nodes::run(api.clone(), grace));
    if settings.simulate_workloads {
        tasks.spawn(workloads::run(api.clone()));
    }
}
