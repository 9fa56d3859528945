//! What the end-to-end tests stand on: a sandbox with a management cluster, and waiting for
//! what a person would wait for.
//!
//! They need root and the programs that [`nico_sandbox::tools`] lists. Without them they say so
//! and are skipped, unless `NICO_REQUIRE_ALL=1` makes them fail. `NICO_BIN` names the binary
//! under test; otherwise it is the one of the same build.

mod lab;
mod waiting;

pub use lab::{Lab, nico_binary, say, skipped};
pub use waiting::{condition, eventually, reason};
