//! The kubeconfig that opens a server.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::Certificates;

/// A kubeconfig with one cluster, the administrator as its user, and one context.
pub fn kubeconfig(url: &str, certificates: &Certificates) -> String {
    let encode = |pem: &str| BASE64_STANDARD.encode(pem);
    let administrator = &certificates.administrator;
    format!(
        "apiVersion: v1\n\
         kind: Config\n\
         clusters:\n\
         - name: nico\n  \
           cluster:\n    \
             server: {url}\n    \
             certificate-authority-data: {}\n\
         users:\n\
         - name: admin\n  \
           user:\n    \
             client-certificate-data: {}\n    \
             client-key-data: {}\n\
         contexts:\n\
         - name: nico\n  \
           context:\n    \
             cluster: nico\n    \
             user: admin\n\
         current-context: nico\n",
        encode(&certificates.authority),
        encode(&administrator.certificate),
        encode(&administrator.key),
    )
}
