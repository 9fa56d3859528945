//! Sessions to machines over SSH, with pinned host keys.
//!
//! Owns everything between a [`nico_api::Machine`] and a command that ran on it: which
//! Secrets hold the credentials, which host key is trusted, how long to wait, and what
//! exactly went wrong. Private keys live in memory only, and no `Debug` output shows them.
//!
//! - [`Access`]: from a Machine to a [`Target`] or straight to a [`Session`]
//! - [`connect`]: from a [`Target`] to a [`Session`], every failure told apart
//! - [`Session`]: runs commands with stdin, exit status, bounded output and a deadline
//! - [`Agent`]: an SSH agent in this process for programs that NICO starts
//! - [`Bridge`]: a way for such programs to machines that have a password only
//! - [`quote`]: one shell word from any text

mod access;
mod admission;
mod agent;
mod bridge;
mod connect;
mod credentials;
mod quote;
mod session;
mod target;
#[cfg(feature = "test-server")]
pub mod test_server;

pub use access::{Access, AccessError, KNOWN_HOSTS_SECRET, Pinning};
pub use agent::{Agent, AgentError};
pub use bridge::{Bridge, BridgeError};
pub use connect::{ConnectError, Line, Phase, connect, dial};
pub use credentials::{Credentials, KeyError};
pub use quote::quote;
pub use russh::keys::PublicKey;
pub use session::{MAX_OUTPUT_BYTES, Output, Proof, RunError, Session};
pub use target::{Deadlines, HostKeys, Target, fingerprint};
