//! Mirrors of Git repositories: commits fetched once and exported once.
//!
//! Owns one bare mirror for each pair of repository and credentials, shared by every
//! configuration that uses it, and the exported trees that are in use. How a server is talked
//! to, and how credentials reach `git`, is the business of `nico_git`.
//!
//! - [`Mirrors`]: the set of mirrors; each has `resolve` and `export`
//! - [`MirrorError`]: what went wrong, told apart

mod error;
mod export;
mod mirror;
mod mirrors;
mod submodules;
#[cfg(test)]
mod tests;

pub use error::MirrorError;
pub use export::Export;
pub use mirror::Freshness;
pub use mirrors::{Mirrors, Settings};
pub(crate) use submodules::credentials as credentials_for;
