//! Git repositories: references resolved, commits fetched once and exported once.
//!
//! Owns one bare mirror for each pair of repository and credentials, shared by every
//! configuration that uses it, and the exported trees that are in use. Drives the `git` program;
//! credentials reach it through an agent socket or the environment of that one child, never
//! through arguments, URLs or files.
//!
//! - [`Mirrors`]: the set of mirrors; [`Mirror`]: one of them, with `resolve` and `export`
//! - [`Credentials`]: what a Secret holds for a repository
//! - [`GitError`]: what went wrong, told apart

mod command;
mod credentials;
mod error;
mod mirror;
mod mirrors;
mod refs;
#[cfg(test)]
mod tests;

pub use credentials::{Credentials, CredentialsError};
pub use error::GitError;
pub use mirror::{Export, Freshness, LookupFailure, Mirror};
pub use mirrors::{Mirrors, Settings};
