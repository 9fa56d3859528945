//! One machine at a time: reach it, know it, configure it, take the configuration off again.
//!
//! - [`configuration`]: the NixosConfiguration controller
//! - [`git`], [`nix`]: the outside systems that it drives

pub mod configuration;
pub mod git;
mod hash;
pub mod nix;
pub mod program;
