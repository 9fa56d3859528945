//! An embedded Kubernetes API server for development and tests.

pub mod apply;
pub mod patch;
pub mod schema;
