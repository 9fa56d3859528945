//! The kubeconfig that opens a server.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::certificates::Pair;

/// A kubeconfig with one cluster, one user, and one context. `authority` is PEM.
pub fn kubeconfig(url: &str, authority: &str, user: &str, client: &Pair) -> String {
    let encode = |pem: &str| BASE64_STANDARD.encode(pem);
    // Names may have characters that mean something in YAML, which JSON is part of.
    let user = serde_json::Value::from(user);
    format!(
        "apiVersion: v1\n\
         kind: Config\n\
         clusters:\n\
         - name: nico\n  \
           cluster:\n    \
             server: {url}\n    \
             certificate-authority-data: {}\n\
         users:\n\
         - name: {user}\n  \
           user:\n    \
             client-certificate-data: {}\n    \
             client-key-data: {}\n\
         contexts:\n\
         - name: nico\n  \
           context:\n    \
             cluster: nico\n    \
             user: {user}\n\
         current-context: nico\n",
        encode(authority),
        encode(&client.certificate),
        encode(&client.key),
    )
}
