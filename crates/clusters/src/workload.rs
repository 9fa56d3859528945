//! What the new clusters say of themselves.
//!
//! - [`view`]: what one answer holds
//! - [`contact`]: how long a cluster has answered, or has not

pub mod contact;
mod view;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::Client;

use crate::kubeconfig;
use crate::observed::{Node, Problem, View, Workload};
use nico_runtime::causes::chain;

use contact::Contact;

/// How long a new cluster may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// How much is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// How the Nodes are.
    Nodes,
    /// Also all that decides whether a Node may go down.
    Rollout,
}

/// Clients for the new clusters, and what each said last.
#[derive(Default)]
pub struct Workloads {
    clusters: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Known>>>>,
}

#[derive(Default)]
struct Known {
    /// The client, and the resourceVersion of the Secret that it was made from.
    client: Option<(String, Client)>,
    contact: Contact,
    last_nodes: Option<Vec<Node>>,
    kubeconfig: Option<KubeconfigLook>,
}

/// When the machines of a cluster were last asked for their kubeconfig.
#[derive(Clone, Debug)]
pub struct KubeconfigLook {
    /// When.
    pub at: Timestamp,
    /// What kept them from giving one.
    pub problem: Option<Problem>,
}

/// Why a new cluster gave no answer.
struct NoAnswer {
    is_refusal: bool,
    message: String,
}

impl Workloads {
    /// What the cluster with `uid` says, by the kubeconfig `text` of the Secret that has the
    /// resourceVersion `version`.
    pub async fn ask(
        &self,
        uid: &str,
        version: &str,
        text: &str,
        detail: Detail,
        now: Timestamp,
    ) -> Workload {
        let known = self.known(uid);
        let mut known = known.lock().await;
        match known.ask(version, text, detail).await {
            Ok(mut view) => {
                view.back_since = known.contact.answered(now);
                known.last_nodes = Some(view.nodes.clone());
                Workload::Answers(view)
            }
            Err(NoAnswer {
                is_refusal,
                message,
            }) => Workload::Unreachable {
                since: known.contact.failed(now),
                last_nodes: known.last_nodes.clone(),
                message: match is_refusal {
                    true => format!("the new cluster does not take its kubeconfig: {message}"),
                    false => format!("the API of the new cluster does not answer: {message}"),
                },
                is_refusal,
            },
        }
    }

    /// A client for the cluster with `uid`, once it was asked.
    pub async fn client(&self, uid: &str) -> Option<Client> {
        let known = self.known(uid);
        let known = known.lock().await;
        known.client.as_ref().map(|(_, client)| client.clone())
    }

    /// When the machines of the cluster with `uid` were last asked for their kubeconfig.
    pub async fn kubeconfig_look(&self, uid: &str) -> Option<KubeconfigLook> {
        self.known(uid).lock().await.kubeconfig.clone()
    }

    /// Notes that the machines of the cluster with `uid` were asked for their kubeconfig.
    pub async fn note_kubeconfig_look(&self, uid: &str, look: KubeconfigLook) {
        self.known(uid).lock().await.kubeconfig = Some(look);
    }

    /// Forgets the cluster with `uid`.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn known(&self, uid: &str) -> Arc<tokio::sync::Mutex<Known>> {
        self.lock().entry(uid.to_owned()).or_default().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<tokio::sync::Mutex<Known>>>> {
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    async fn ask(&mut self, version: &str, text: &str, detail: Detail) -> Result<View, NoAnswer> {
        let client = self.connect(version, text).await?;
        tokio::time::timeout(DEADLINE, view::read(&client, detail))
            .await
            .map_err(|_| NoAnswer {
                is_refusal: false,
                message: format!("no answer within {} s", DEADLINE.as_secs()),
            })?
            .map_err(|error| NoAnswer {
                is_refusal: is_refusal(&error),
                message: chain(&error),
            })
    }

    async fn connect(&mut self, version: &str, text: &str) -> Result<Client, NoAnswer> {
        if let Some((made_from, client)) = &self.client
            && made_from == version
        {
            return Ok(client.clone());
        }
        let client = kubeconfig::connect(text).await.map_err(|error| NoAnswer {
            is_refusal: false,
            message: chain(&error),
        })?;
        self.client = Some((version.to_owned(), client.clone()));
        Ok(client)
    }
}

/// Whether somebody answered, and it was the credentials or the certificate that would not do.
fn is_refusal(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code == 401,
        other => tls_error(other).is_some_and(|error| {
            matches!(
                error,
                rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_)
            )
        }),
    }
}

/// The TLS error below another one. An error of input or output does not count what it wraps as
/// its source.
fn tls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(error);
    }
    let wrapped = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref)
        .and_then(|wrapped| tls_error(wrapped));
    wrapped.or_else(|| tls_error(error.source()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{AlertDescription, CertificateError, Error};
    use std::io;

    #[test]
    fn a_refusal_is_told_from_silence() {
        let wrapped = |error: Error| {
            let inner = io::Error::other(error);
            kube::Error::Service(Box::new(io::Error::other(inner)))
        };
        let answered = |code| {
            kube::Error::Api(Box::new(kube::core::Status {
                code,
                ..kube::core::Status::default()
            }))
        };
        let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let expired = Error::AlertReceived(AlertDescription::CertificateExpired);
        for (error, expected) in [
            (answered(401), true),
            (answered(403), false),
            (answered(500), false),
            (wrapped(unknown), true),
            (wrapped(expired), true),
            (wrapped(Error::HandshakeNotComplete), false),
            (
                kube::Error::Service(Box::new(io::Error::from(io::ErrorKind::ConnectionRefused))),
                false,
            ),
        ] {
            assert_eq!(is_refusal(&error), expected, "{error:?}");
        }
    }
}
