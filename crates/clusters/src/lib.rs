//! The cluster layer: many machines as one Kubernetes cluster.

pub mod action;
#[cfg(test)]
mod fixtures;
pub mod kubeconfig;
pub mod naming;
pub mod observed;
pub mod plan;
pub mod role;
