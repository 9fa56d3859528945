//! The kubeconfig of the new cluster: found on a machine, corrected, proven.
//!
//! - [`document`]: the text, taken apart and put together anew
//! - [`hosts`]: how a script is run on a machine
//! - [`retrieval`]: from machines to a kubeconfig that works
//! - [`certificate`]: the name by which a server's certificate is checked
//! - [`validity`]: how long a client certificate is good

mod certificate;
mod document;
mod hosts;
mod retrieval;
mod validity;

pub use document::{Contents, DocumentError, Found, Kubeconfig};
pub use hosts::{HostError, Hosts, Script, SshHosts};
pub use retrieval::{ConnectError, RetrievalError, connect, retrieve, retrieve_best};
pub use validity::Validity;
