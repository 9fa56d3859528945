//! What the new clusters say of themselves.
//!
//! - [`view`]: what one answer holds

mod view;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::Client;

use crate::kubeconfig;
use crate::observed::{Node, View, Workload};
use crate::source::chain;

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
    last_answer: Option<Timestamp>,
    last_nodes: Option<Vec<Node>>,
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
            Ok(view) => {
                known.last_answer = Some(now);
                known.last_nodes = Some(view.nodes.clone());
                Workload::Answers(view)
            }
            Err(message) => Workload::Unreachable {
                last_answer: known.last_answer,
                last_nodes: known.last_nodes.clone(),
                message: format!("the API of the new cluster does not answer: {message}"),
            },
        }
    }

    /// A client for the cluster with `uid`, once it was asked.
    pub async fn client(&self, uid: &str) -> Option<Client> {
        let known = self.known(uid);
        let known = known.lock().await;
        known.client.as_ref().map(|(_, client)| client.clone())
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
    async fn ask(&mut self, version: &str, text: &str, detail: Detail) -> Result<View, String> {
        let client = self.connect(version, text).await?;
        tokio::time::timeout(DEADLINE, view::read(&client, detail))
            .await
            .map_err(|_| format!("no answer within {} s", DEADLINE.as_secs()))?
            .map_err(|error| chain(&error))
    }

    async fn connect(&mut self, version: &str, text: &str) -> Result<Client, String> {
        if let Some((made_from, client)) = &self.client
            && made_from == version
        {
            return Ok(client.clone());
        }
        let client = kubeconfig::connect(text)
            .await
            .map_err(|error| chain(&error))?;
        self.client = Some((version.to_owned(), client.clone()));
        Ok(client)
    }
}
