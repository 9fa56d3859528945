//! The kubeconfig of the new cluster: found on a machine, corrected, proven.

mod document;

pub use document::{DocumentError, Found, Kubeconfig};
