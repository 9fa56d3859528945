//! How requests come in: TLS, HTTP, credentials.

mod authenticate;
mod certificates;
mod kubeconfig;
mod listener;

pub use authenticate::Credentials;
pub use certificates::{CertificateError, Certificates, usual_names};
pub use kubeconfig::kubeconfig;
pub use listener::Listener;
