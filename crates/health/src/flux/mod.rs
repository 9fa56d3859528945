//! What `nico flux` tells and does.
//!
//! [`status`]: every object of Flux and how it is; [`why`]: the chain from source to machine with the
//! link that fails; [`reconcile`]: the one thing in this crate that writes.

pub mod reconcile;
pub mod status;
pub mod why;
