//! The rules for what reaches workloads over the network.

pub mod dns;
pub mod gateway;
pub mod ingress;
pub mod policy;
