//! Git repositories from outside: references resolved to commits, credentials handed over
//! without a trace.
//!
//! Both layers need this: the cluster layer pins `spec.ref` to a commit, the machine layer
//! fetches that commit. The mirror and its exports belong to the machine layer alone.
//!
//! - [`Credentials`]: what a Secret says about how to log in
//! - [`Git`]: the `git` program, ready to talk to one repository with one set of credentials
//! - [`resolve()`]: a branch, a tag or the default branch as a commit
//!
//! Credentials reach `git` through memory that only this user's processes can open, or through an
//! SSH agent on a private socket; never through an argument, a variable, a URL or a file.

mod command;
mod credentials;
mod error;
mod login;
mod resolve;
#[cfg(feature = "test-server")]
pub mod test_server;

pub use command::Git;
pub use credentials::{Credentials, CredentialsError};
pub use error::GitError;
pub use nico_api::names::{CommitId, GitUrl};
pub use resolve::resolve;
