//! The NixosConfiguration controller: one flake output on one machine, proven.
//!
//! A reconcile reads the world (`observe`), decides (`plan`, pure) and acts (`execute`). The long
//! action is an attempt to change a host (`apply`), whose steps are visible in the status as
//! they happen and can be resumed by another process.
//!
//! - `wanted`, `files`, `flake_url`: what a configuration asks for
//! - `delivery`: files on the host that are in no Nix store
//! - `claim`: who has a machine
//! - `drift`: whether a host still runs what was applied
//! - `progress`: the status, from one moment of an attempt to the next
//! - `install`: whether a machine is installed from scratch, which happens once
//! - `trouble`: what is wrong with a host, rather than with what is put on it
//! - `related`: which outputs of one tree will be wanted by others
//! - `workspace`: the private directory of one attempt

mod apply;
mod claim;
mod controller;
mod delivery;
mod drift;
mod execute;
mod files;
mod flake_url;
mod install;
pub mod metrics;
mod observe;
mod plan;
mod progress;
mod related;
mod settings;
mod step_error;
mod trouble;
mod wanted;
mod workspace;

pub use controller::Error;
pub(crate) use controller::run;
pub use settings::{BuildOn, Settings};

/// A configuration as it comes out of a watch: perhaps not decodable.
pub(crate) type Guarded = kube::core::DeserializeGuard<nico_api::NixosConfiguration>;
