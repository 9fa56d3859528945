//! The nouns of NICO: the custom resources, their conditions, labels and names.
//!
//! No client, no async, no clock. What a person writes into a manifest or reads in a
//! status is defined here, and the CRDs under `crds/` are generated from these types.
//!
//! - [`machine`]: `Machine`, one computer that is reached over SSH
//! - [`nixos_configuration`]: `NixosConfiguration`, one NixOS flake output on one machine
//! - [`kubernetes_cluster`]: `KubernetesCluster`, many machines as one cluster
//! - [`condition`], [`reason`]: Kubernetes conditions and their closed sets of reasons
//! - [`labels`], [`names`], [`references`]: what ties objects together
//! - [`crds`]: all CustomResourceDefinitions

pub mod condition;
pub mod crds;
pub mod kubernetes_cluster;
pub mod labels;
pub mod machine;
pub mod names;
pub mod nixos_configuration;
pub mod reason;
pub mod references;
mod schema;

pub use kubernetes_cluster::{KubernetesCluster, KubernetesClusterSpec, KubernetesClusterStatus};
pub use machine::{Machine, MachineSpec, MachineStatus};
pub use nixos_configuration::{
    NixosConfiguration, NixosConfigurationSpec, NixosConfigurationStatus,
};
