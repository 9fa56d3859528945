//! An embedded Kubernetes API server for development and tests.
//!
//! It serves the API of Kubernetes 1.36 as controllers and `kubectl` see it, from memory, in
//! milliseconds, as often as wanted in one process:
//!
//! ```
//! # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
//! let server = nico_apiserver::Server::builder().start().await?;
//! std::fs::write("kubeconfig", server.kubeconfig())?;
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! No production crate depends on it.

mod access;
mod answer;
mod api;
mod beginning;
mod controllers;
mod discovery;
mod managed;
mod metrics;
mod objects;
mod openapi;
mod registry;
mod request;
mod server;
mod status;
mod table;
mod transport;
mod verbs;

pub mod apply;
pub mod faults;
#[doc(hidden)]
pub mod fuzzing;
pub mod patch;
pub mod schema;
pub mod storage;

pub use access::{Authorization, SigningKeyError, TokenFileError};
pub use server::{Builder, History, Server, StartError};
pub use status::{Cause, Details, Status};
pub use transport::CertificateError;
