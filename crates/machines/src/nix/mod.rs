//! Nix: a flake output becomes a derivation, a system, and the system that a host runs.
//!
//! Owns how the `nix` programs are called (2.8 and newer, machine-readable output only) and the
//! script that runs on a host. Knows nothing of Kubernetes objects.
//!
//! - [`Nix`]: evaluate, build and copy on the operator, and install from scratch
//! - [`host`]: ask a host what it runs, and make it run something else

pub mod anywhere;
mod copy;
mod destination;
mod error;
mod evaluate;
pub mod host;
mod kubernetes;
mod local;
mod remote;

#[cfg(test)]
mod tests;

pub use destination::Destination;
pub use error::NixError;
pub use evaluate::Tree;
pub use local::{Nix, Settings};
