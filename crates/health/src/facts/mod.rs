//! What is kept of the objects that were read: small structs, read straight from the answers.
//!
//! No field is wanted that an older or newer version of a kind may not have: what is missing is
//! its default, and what is not listed here is skipped while it is read.

pub mod closer;
pub mod flux;
pub mod meta;
pub mod network;
pub mod nico;
pub mod node;
pub mod platform;
pub mod pod;
pub mod workload;
