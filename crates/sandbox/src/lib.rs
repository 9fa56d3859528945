//! Hosts made of Linux namespaces, and what runs NICO on one laptop.
//!
//! A development part: no production crate depends on it. It needs root, and Debian's packages
//! `nix-bin`, `openssh-server`, `git` and `iproute2`.

mod command;
pub mod flake;
pub mod host;
mod kubelet;
pub mod network;
mod sandbox;
pub mod state;

pub use command::CommandError;
pub use kubelet::{KubeletError, KubeletOptions, Role, kubelet};
pub use sandbox::{FIVE_HOSTS, Sandbox, SandboxError};
