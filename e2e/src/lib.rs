//! What the end-to-end tests stand on: a sandbox with a management cluster, and waiting for
//! what a person would wait for.
//!
//! Those with hosts need root and the programs that [`nico_sandbox::tools`] lists; those of the
//! API server alone need the client that they try. Without them they say so and are skipped,
//! unless `NICO_REQUIRE_ALL=1` makes them fail. `NICO_BIN` names the binary under test;
//! otherwise it is the one of the same build.

mod api;
mod lab;
pub mod needles;
mod old_kubectl;
mod one_host;
mod rights;
mod waiting;

pub use api::{ApiServer, Client, with_each_kubectl};
pub use lab::{Lab, nico_binary, say, skipped, skipped_without};
pub use old_kubectl::old_kubectl;
pub use one_host::OneHost;
pub use rights::{asked_for, rights_of};
pub use waiting::{condition, eventually, reason};
