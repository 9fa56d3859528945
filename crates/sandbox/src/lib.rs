//! Hosts made of Linux namespaces, and what runs NICO on one laptop.
//!
//! A development part: no production crate depends on it. It needs root, and Debian's packages
//! `nix-bin`, `openssh-server`, `git` and `iproute2`; [`tools::check`] tells what is missing.
//!
//! - [`Sandbox`]: hosts ([`host`]) on a network of their own ([`network`]), and a Git repository
//!   with a flake that needs no nixpkgs ([`flake`]); removed as a whole ([`state`])
//! - [`kubelet`](kubelet()): the heartbeat that makes a host a Node
//! - [`etcd`](etcd()): one member of the etcd that control planes share
//! - [`stack`]: API server and operator as processes
//! - [`manifests`], [`kubectl`]: what a user applies, and with what
//! - [`netmaker`]: a stand-in for a Netmaker server; it needs no root
//! - [`proof`]: what must be true once a cluster is deleted
//! - [`demo`](demo()), [`up`], [`clean`]: what `nico sandbox` does

mod command;
mod control_group;
mod daemon;
mod demo;
mod etcd;
pub mod flake;
pub mod host;
pub mod kubectl;
mod kubelet;
pub mod manifests;
pub mod netmaker;
pub mod network;
pub mod proof;
mod sandbox;
pub mod stack;
pub mod state;
pub mod tools;

pub use command::CommandError;
pub use demo::{DemoError, DemoOptions, UpOptions, demo, up};
pub use etcd::{EtcdError, EtcdOptions, Peer, etcd};
pub use kubelet::{KubeletError, KubeletOptions, Role, kubelet};
pub use sandbox::{FIVE_HOSTS, Sandbox, SandboxError, clean};
