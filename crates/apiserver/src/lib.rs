//! An embedded Kubernetes API server for development and tests.

pub mod patch;
pub mod schema;
