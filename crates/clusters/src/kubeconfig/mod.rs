//! The kubeconfig of the new cluster: found on a machine, corrected, proven.
//!
//! - [`document`]: the text, taken apart and put together anew
//! - [`hosts`]: how a script is run on a machine
//! - [`retrieval`]: from machines to a kubeconfig that works
//! - [`certificate`]: the name by which a server's certificate is checked

mod certificate;
mod document;
mod hosts;
mod retrieval;

pub use document::{DocumentError, Found, Kubeconfig};
pub use hosts::{HostError, Hosts, Script, SshHosts};
pub use retrieval::{RetrievalError, connect, retrieve};
