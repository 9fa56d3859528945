//! The little of the controller-manager that others rely on.
//!
//! Each controller is a task that follows the changes of the storage and ends with the server.

mod definitions;
pub mod disruption;
mod follow;
mod garbage;
mod namespaces;

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::api::Api;

/// Starts all controllers.
pub fn start(api: &Arc<Api>, tasks: &TaskTracker) {
    tasks.spawn(definitions::run(api.clone()));
    tasks.spawn(disruption::run(api.clone()));
    tasks.spawn(garbage::run(api.clone()));
    tasks.spawn(namespaces::run(api.clone()));
}
