//! The client for Netmaker.
//!
//! It asks four kinds of list (hosts, nodes, networks, rules) and writes rules, and it is careful:
//! bodies are bounded and decoded as they come, every request has a deadline, redirects are
//! refused, a write always names its rule and always sends every field, and every failure says
//! whether the write may have been done all the same.
//!
//! - [`Netmaker`]: the calls
//! - [`error`]: what came back instead
//! - [`settings`]: address, credentials, certificates
//! - `session`: login and tokens
//! - `way`: directly, or through a proxy
//! - `transport`, `decode`: HTTP, and lists as they arrive
//! - [`types`]: what is kept of the answers

mod client;
mod decode;
pub mod error;
mod session;
pub mod settings;
mod transport;
pub mod types;
mod way;

pub use client::{Netmaker, RuleBody};
pub use error::ClientError;
pub use settings::{BaseUrl, ClientSettings, Credentials, Secret};
