//! Mirrors of Git repositories: commits fetched once and exported once.
//!
//! Owns one bare mirror for each pair of repository and credentials, shared by every
//! configuration that uses it, and the exported trees that are in use. How a server is talked
//! to, and how credentials reach `git`, is the business of `nico_git`.
//!
//! - [`Mirrors`]: the set of mirrors; each has `resolve` and `export`
//! - [`MirrorError`]: what went wrong, told apart

mod error;
mod mirror;
mod mirrors;
#[cfg(test)]
mod tests;

pub use error::MirrorError;
pub use mirror::{Export, Freshness};
pub use mirrors::{Mirrors, Settings};
