//! The cluster layer: many machines as one Kubernetes cluster.
//!
//! Owns `KubernetesCluster`: it selects and claims machines, tells each about all the others,
//! keeps the order when something changes, checks that the cluster is really alive, hands out
//! the kubeconfig, and gives everything back. All knowledge of a Kubernetes distribution is in
//! the user's flake; all work on a machine is done by whoever reconciles `NixosConfiguration`.
//!
//! - [`controller`]: watches, triggers, error policy; [`reconcile`]: one look at one cluster
//! - [`observe`]: reads the world into one [`observed::Observed`]
//! - [`plan`]: what to do about it, as pure functions; [`action`]: the things that can be done
//! - [`execute`]: does them; [`transitions`]: tells of them
//! - [`report`]: what a person at a terminal is told
//! - [`source`], [`kubeconfig`], [`workload`]: Git, machines over SSH, the new clusters

pub mod action;
pub mod controller;
pub mod execute;
#[cfg(test)]
mod fixtures;
pub mod kubeconfig;
pub mod metrics;
pub mod naming;
pub mod observe;
pub mod observed;
pub mod plan;
pub mod reconcile;
pub mod report;
pub mod role;
pub mod settings;
pub mod source;
pub mod transitions;
mod triggers;
pub mod workload;

pub use controller::{RunError, run, run_with};
pub use metrics::Metrics;
pub use settings::Settings;
