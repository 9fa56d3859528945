//! The text of a kubeconfig: taken apart, checked, put together anew.
//!
//! What a machine says is not trusted further than needed: only the fields that are understood
//! are taken over. A kubeconfig could otherwise name a program for whoever uses it to run.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use k8s_openapi::ByteString;
use kube::config::{AuthInfo, Cluster, Context, NamedAuthInfo, NamedCluster, NamedContext};
use nico_api::kubernetes_cluster::Endpoint;
use nico_api::names::MachineName;

use super::validity::Validity;

/// A kubeconfig that was found on a machine and works from where the operator is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubeconfig {
    contents: Contents,
    machine: MachineName,
}

/// A kubeconfig as a text, and what of it decides how long it is good. `Debug` shows no text.
#[derive(Clone, PartialEq, Eq)]
pub struct Contents {
    text: String,
    authority: String,
    validity: Option<Validity>,
}

/// Why a text is no kubeconfig that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// It is no YAML of the right form.
    #[error("it cannot be parsed as a kubeconfig: {0}")]
    Syntax(String),
    /// It refers to an entry that it does not have.
    #[error("it has no {kind} {name:?}")]
    Dangling {
        /// `context`, `cluster` or `user`.
        kind: &'static str,
        /// What is referred to.
        name: String,
    },
    /// It lacks something.
    #[error("it has no {0}")]
    Missing(&'static str),
    /// The server is no URL.
    #[error("its server {0:?} is not an https URL")]
    Server(String),
    /// It asks not to check who answers.
    #[error("it has no certificate authority to check the server with; set one in the flake")]
    Unverified,
    /// It logs in by something that lies on the machine.
    #[error(
        "its user logs in by {0}, which works on the machine only; it needs certificate and key, or a token, in the file itself"
    )]
    NotSelfContained(&'static str),
}

/// A kubeconfig as a machine has it, taken apart.
#[derive(Clone, Debug)]
pub struct Found {
    parts: Parts,
    machine: MachineName,
}

/// The fields of a kubeconfig that are understood.
#[derive(Clone, Debug)]
struct Parts {
    cluster: Cluster,
    user: AuthInfo,
    host: String,
    port: u16,
}

impl Kubeconfig {
    /// The text, for the Secret and for a client.
    pub fn text(&self) -> &str {
        &self.contents.text
    }

    /// What is in it.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The machine on which it was found.
    pub fn machine(&self) -> &MachineName {
        &self.machine
    }

    /// The same machine with something else in its file.
    #[cfg(test)]
    pub(crate) fn with(self, contents: Contents) -> Self {
        Self { contents, ..self }
    }

    /// The text as the value of a Secret.
    pub fn to_bytes(&self) -> ByteString {
        ByteString(self.contents.text.clone().into_bytes())
    }
}

impl Contents {
    /// Reads a kubeconfig that lies in a Secret.
    ///
    /// # Errors
    /// When it could not be used by anybody but the machine that it came from, or at all.
    pub fn read(text: &str) -> Result<Self, DocumentError> {
        let parts = Parts::of(text)?;
        Ok(Self::of(text.to_owned(), &parts.cluster, &parts.user))
    }

    /// The same with another life.
    #[cfg(test)]
    pub(crate) fn good_during(self, validity: Option<Validity>) -> Self {
        Self { validity, ..self }
    }

    fn of(text: String, cluster: &Cluster, user: &AuthInfo) -> Self {
        let certificate = user.client_certificate_data.as_deref();
        Self {
            text,
            authority: cluster
                .certificate_authority_data
                .clone()
                .unwrap_or_default(),
            validity: certificate.and_then(Validity::of_certificate),
        }
    }

    /// The certificate authority, in PEM form under base64.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// From when to when the client certificate is good; `None` when there is none, as with a
    /// token.
    pub fn validity(&self) -> Option<Validity> {
        self.validity
    }
}

impl fmt::Debug for Contents {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Contents")
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

impl Parts {
    /// Takes a kubeconfig apart.
    fn of(text: &str) -> Result<Self, DocumentError> {
        let document: kube::config::Kubeconfig =
            serde_saphyr::from_str(text).map_err(|error| DocumentError::Syntax(syntax(&error)))?;
        let context = context(&document)?;
        let cluster = document
            .clusters
            .iter()
            .find(|cluster| cluster.name == context.cluster)
            .and_then(|named| named.cluster.as_ref())
            .ok_or_else(|| dangling("cluster", &context.cluster))?;
        let user_name = context
            .user
            .as_deref()
            .ok_or(DocumentError::Missing("user"))?;
        let user = document
            .auth_infos
            .iter()
            .find(|user| user.name == user_name)
            .and_then(|named| named.auth_info.as_ref())
            .ok_or_else(|| dangling("user", user_name))?;
        let server = cluster
            .server
            .as_deref()
            .ok_or(DocumentError::Missing("server"))?;
        let (host, port) = host_and_port(server)?;
        Ok(Self {
            cluster: Cluster {
                certificate_authority_data: Some(
                    cluster
                        .certificate_authority_data
                        .clone()
                        .filter(|data| !data.is_empty())
                        .ok_or(DocumentError::Unverified)?,
                ),
                ..Cluster::default()
            },
            user: self_contained(user)?,
            host,
            port,
        })
    }
}

impl Found {
    /// Takes a kubeconfig apart that was found on `machine`.
    pub fn parse(text: &str, machine: &MachineName) -> Result<Self, DocumentError> {
        Ok(Self {
            parts: Parts::of(text)?,
            machine: machine.clone(),
        })
    }

    /// Host and port at which the API is reached from elsewhere than the machine: what the
    /// kubeconfig says, or, if that leads back to the machine itself or nowhere, the endpoint
    /// of the cluster, or `address`, the machine's own.
    pub fn reachable_at(&self, endpoint: Option<&Endpoint>, address: &str) -> (String, u16) {
        if is_routable(&self.parts.host) {
            return (self.parts.host.clone(), self.parts.port);
        }
        match endpoint {
            Some(endpoint) => (
                endpoint.host.clone(),
                u16::try_from(endpoint.port).unwrap_or(self.parts.port),
            ),
            None => (address.to_owned(), self.parts.port),
        }
    }

    /// The host that the kubeconfig names, which the server's certificate is sure to name too.
    pub fn host(&self) -> &str {
        &self.parts.host
    }

    /// The certificate authority, in PEM form under base64.
    pub fn certificate_authority(&self) -> &str {
        self.parts
            .cluster
            .certificate_authority_data
            .as_deref()
            .unwrap_or_default()
    }

    /// Puts the kubeconfig together for use from elsewhere. `server_name` is the name by which
    /// the server's certificate is checked when it does not name `host`.
    pub fn rewrite(
        &self,
        cluster_name: &str,
        (host, port): &(String, u16),
        server_name: Option<String>,
    ) -> Kubeconfig {
        let server = if host.contains(':') {
            format!("https://[{host}]:{port}")
        } else {
            format!("https://{host}:{port}")
        };
        let name = cluster_name.to_owned();
        let document = kube::config::Kubeconfig {
            api_version: Some("v1".to_owned()),
            kind: Some("Config".to_owned()),
            current_context: Some(name.clone()),
            clusters: vec![NamedCluster {
                name: name.clone(),
                cluster: Some(Cluster {
                    server: Some(server),
                    tls_server_name: server_name,
                    ..self.parts.cluster.clone()
                }),
                ..NamedCluster::default()
            }],
            auth_infos: vec![NamedAuthInfo {
                name: name.clone(),
                auth_info: Some(self.parts.user.clone()),
                ..NamedAuthInfo::default()
            }],
            contexts: vec![NamedContext {
                name: name.clone(),
                context: Some(Context {
                    cluster: name.clone(),
                    user: Some(name),
                    ..Context::default()
                }),
                ..NamedContext::default()
            }],
            ..kube::config::Kubeconfig::default()
        };
        let text =
            serde_saphyr::to_string(&document).expect("a kubeconfig is maps, lists and strings");
        Kubeconfig {
            contents: Contents::of(text, &self.parts.cluster, &self.parts.user),
            machine: self.machine.clone(),
        }
    }
}

fn context(document: &kube::config::Kubeconfig) -> Result<&Context, DocumentError> {
    let named = match &document.current_context {
        Some(name) if !name.is_empty() => document
            .contexts
            .iter()
            .find(|context| context.name == *name)
            .ok_or_else(|| dangling("context", name))?,
        _ => document
            .contexts
            .first()
            .ok_or(DocumentError::Missing("context"))?,
    };
    named
        .context
        .as_ref()
        .ok_or_else(|| dangling("context", &named.name))
}

/// The user with what lies in the file itself, and nothing else.
fn self_contained(user: &AuthInfo) -> Result<AuthInfo, DocumentError> {
    let certificate = user
        .client_certificate_data
        .clone()
        .filter(|data| !data.is_empty());
    let kept = AuthInfo {
        client_certificate_data: certificate.clone(),
        client_key_data: user.client_key_data.clone(),
        token: user.token.clone(),
        ..AuthInfo::default()
    };
    let has_certificate = certificate.is_some() && user.client_key_data.is_some();
    if has_certificate || user.token.is_some() {
        return Ok(kept);
    }
    Err(if user.exec.is_some() {
        DocumentError::NotSelfContained("a program")
    } else if user.client_certificate.is_some()
        || user.client_key.is_some()
        || user.token_file.is_some()
    {
        DocumentError::NotSelfContained("a file")
    } else if user.auth_provider.is_some() {
        DocumentError::NotSelfContained("an authentication provider")
    } else {
        DocumentError::Missing("credentials")
    })
}

fn host_and_port(server: &str) -> Result<(String, u16), DocumentError> {
    let invalid = || DocumentError::Server(server.to_owned());
    let rest = server.strip_prefix("https://").ok_or_else(invalid)?;
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(invalid)?;
            (host, port.strip_prefix(':'))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().map_err(|_| invalid())?,
        None => 443,
    };
    if host.is_empty() {
        return Err(invalid());
    }
    Ok((host.to_owned(), port))
}

/// Whether a host can be reached from another computer, as far as its name tells.
fn is_routable(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => {
            !(address.is_loopback() || address.is_link_local() || address == Ipv4Addr::UNSPECIFIED)
        }
        Ok(IpAddr::V6(address)) => {
            !(address.is_loopback()
                || address.is_unicast_link_local()
                || address == Ipv6Addr::UNSPECIFIED)
        }
        Err(_) => {
            let name = host.trim_end_matches('.');
            let is_of_the_cluster_itself = name == "kubernetes"
                || name.starts_with("kubernetes.default")
                || name.ends_with(".cluster.local");
            name != "localhost" && !name.ends_with(".localhost") && !is_of_the_cluster_itself
        }
    }
}

/// What is wrong with the syntax, without the lines that the parser quotes: they may hold a key.
fn syntax(error: &serde_saphyr::Error) -> String {
    error.location().map_or_else(
        || "it is not a map of the known fields".to_owned(),
        |location| format!("line {}, column {}", location.line(), location.column()),
    )
}

fn dangling(kind: &'static str, name: &str) -> DocumentError {
    DocumentError::Dangling {
        kind,
        name: name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::name;
    use proptest::prelude::*;

    fn kubeconfig(server: &str, user: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: default\n\
             clusters:\n- name: default\n  cluster:\n    server: {server}\n    certificate-authority-data: Q0E=\n\
             contexts:\n- name: default\n  context: {{cluster: default, user: default}}\n\
             users:\n- name: default\n  user: {user}\n"
        )
    }

    const USER: &str = "{client-certificate-data: Q0VSVA==, client-key-data: S0VZ}";

    fn found(server: &str) -> Found {
        Found::parse(&kubeconfig(server, USER), &name("cp-01")).unwrap()
    }

    fn refused(text: &str) -> DocumentError {
        Found::parse(text, &name("cp-01")).unwrap_err()
    }

    #[test]
    fn a_server_that_leads_back_to_the_machine_becomes_the_endpoint_or_the_machine() {
        let endpoint = Endpoint {
            host: "10.0.0.10".to_owned(),
            port: 8443,
        };
        let table = [
            ("https://127.0.0.1:6443", true),
            ("https://localhost:6443", true),
            ("https://[::1]:6443", true),
            ("https://0.0.0.0:6443", true),
            ("https://kubernetes.default.svc:6443", true),
            ("https://10.0.0.11:6443", false),
            ("https://api.example:6443", false),
        ];
        for (server, is_replaced) in table {
            let found = found(server);
            let (with, _) = found.reachable_at(Some(&endpoint), "10.0.0.11");
            let without = found.reachable_at(None, "192.0.2.1");
            assert_eq!(with == "10.0.0.10", is_replaced, "{server}");
            assert_eq!(
                without == ("192.0.2.1".to_owned(), 6443),
                is_replaced,
                "{server}"
            );
        }
    }

    #[test]
    fn everything_is_named_after_the_cluster() {
        let kubeconfig = found("https://127.0.0.1:6443").rewrite(
            "home",
            &("10.0.0.11".to_owned(), 6443),
            Some("kubernetes".to_owned()),
        );
        let document = kube::config::Kubeconfig::from_yaml(kubeconfig.text()).unwrap();
        assert_eq!(document.current_context.as_deref(), Some("home"));
        assert_eq!(document.contexts[0].name, "home");
        let cluster = document.clusters[0].cluster.as_ref().unwrap();
        assert_eq!(cluster.server.as_deref(), Some("https://10.0.0.11:6443"));
        assert_eq!(cluster.tls_server_name.as_deref(), Some("kubernetes"));
        assert_eq!(cluster.certificate_authority_data.as_deref(), Some("Q0E="));
        let user = document.auth_infos[0].auth_info.as_ref().unwrap();
        assert_eq!(user.client_certificate_data.as_deref(), Some("Q0VSVA=="));
    }

    #[test]
    fn a_program_that_a_machine_names_is_never_taken_over() {
        let text = kubeconfig(
            "https://10.0.0.1:6443",
            "{exec: {command: /bin/evil, apiVersion: v1}}",
        );
        assert_eq!(refused(&text), DocumentError::NotSelfContained("a program"));
        let both = kubeconfig(
            "https://10.0.0.1:6443",
            "{token: abc, exec: {command: /bin/evil, apiVersion: v1}}",
        );
        let rewritten = Found::parse(&both, &name("cp-01")).unwrap().rewrite(
            "home",
            &("10.0.0.1".to_owned(), 6443),
            None,
        );
        assert!(!rewritten.text().contains("evil"));
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        let with = |user| kubeconfig("https://10.0.0.1:6443", user);
        assert_eq!(
            refused(&with("{client-certificate: /a, client-key: /b}")),
            DocumentError::NotSelfContained("a file")
        );
        assert_eq!(
            refused(&with("{username: a}")),
            DocumentError::Missing("credentials")
        );
        assert_eq!(
            refused(&kubeconfig("http://10.0.0.1:8080", USER)),
            DocumentError::Server("http://10.0.0.1:8080".to_owned())
        );
        let unverified = with(USER).replace(
            "certificate-authority-data: Q0E=",
            "insecure-skip-tls-verify: true",
        );
        assert_eq!(refused(&unverified), DocumentError::Unverified);
        let dangling = with(USER).replace("current-context: default", "current-context: other");
        assert!(matches!(
            refused(&dangling),
            DocumentError::Dangling {
                kind: "context",
                ..
            }
        ));
        assert!(matches!(refused("a: [b"), DocumentError::Syntax(_)));
    }

    #[test]
    fn a_syntax_error_quotes_nothing_of_the_text() {
        let text = "users:\n- name: a\n  user: {client-key-data: SECRET\n";
        assert!(!refused(text).to_string().contains("SECRET"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".*") {
            let _ = Found::parse(&text, &name("cp-01"));
        }

        #[test]
        fn no_server_makes_the_parser_panic(server in ".*") {
            let _ = host_and_port(&server);
        }
    }
}
