//! How requests come in: TLS, HTTP, credentials.

mod authenticate;
mod certificates;
mod connections;
mod kubeconfig;
mod link;
mod listener;
mod responder;

pub use certificates::{CertificateError, Certificates, Pair, usual_names};
pub use connections::Connections;
pub use kubeconfig::kubeconfig;
pub use link::Link;
pub use listener::Listener;
pub use responder::Responder;
