//! Does what was planned, in order. Every action may be done twice; the first failure stops the
//! rest, and the next pass plans anew from what is true then.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Node, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use nico_api::names::MachineName;
use nico_api::{KubernetesCluster, Machine, NixosConfiguration, labels};
use nico_runtime::category::{Categorized, Category};
use rand::RngExt;
use serde_json::{Value, json};

use crate::action::Action;
use crate::kubeconfig::Kubeconfig;
use crate::naming;
use crate::observe::is_owned_by;
use crate::plan::configuration::owner;
use crate::role::Role;

/// Why an action failed.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The API refused a write, or did not answer.
    #[error("cannot {what}")]
    Write {
        /// What was to be done.
        what: String,
        /// Why.
        source: kube::Error,
    },
    /// A machine was changed by somebody else since it was read.
    #[error("Machine {machine} was changed by somebody else; the machines are chosen anew")]
    ClaimLost {
        /// The machine.
        machine: MachineName,
    },
    /// There is no way to the new cluster yet.
    #[error("the new cluster cannot be reached without its kubeconfig")]
    NoNewCluster,
    /// Somebody else has an object of that name.
    #[error(
        "NixosConfiguration {name} exists and is not of this cluster; rename or delete it, so that the machine can be configured"
    )]
    NameTaken {
        /// The name.
        name: String,
    },
}

impl Categorized for ExecuteError {
    fn category(&self) -> Category {
        match self {
            Self::Write { source, .. } => source.category(),
            Self::ClaimLost { .. } => Category::Conflict,
            Self::NoNewCluster => Category::Waiting,
            Self::NameTaken { .. } => Category::InvalidInput,
        }
    }
}

fn doing(what: impl Into<String>) -> impl FnOnce(kube::Error) -> ExecuteError {
    let what = what.into();
    move |source| ExecuteError::Write { what, source }
}

/// Does things for one cluster.
pub struct Executor<'a> {
    client: &'a Client,
    cluster: &'a KubernetesCluster,
    namespace: String,
    new_cluster: Option<Client>,
}

impl<'a> Executor<'a> {
    /// Does things for `cluster`, which is as fresh as the plan. `new_cluster` reaches the API
    /// of that cluster, once it has one.
    pub fn new(
        client: &'a Client,
        cluster: &'a KubernetesCluster,
        new_cluster: Option<Client>,
    ) -> Self {
        Self {
            client,
            cluster,
            namespace: cluster.namespace().unwrap_or_default(),
            new_cluster,
        }
    }

    /// Does one action.
    pub async fn perform(&self, action: &Action) -> Result<(), ExecuteError> {
        match action {
            Action::AddFinalizer => self.set_finalizers(true).await,
            Action::RemoveFinalizer => self.set_finalizers(false).await,
            Action::Claim {
                machine,
                role,
                version,
            } => self.claim(machine, *role, version).await,
            Action::Release { machine, version } => self.release(machine, version).await,
            Action::CreateJoinToken => self.create_join_token().await,
            Action::CreateConfiguration(configuration) => self.create(configuration).await,
            Action::UpdateConfiguration(configuration)
            | Action::StageConfiguration(configuration)
            | Action::SettleConfiguration(configuration)
            | Action::RollBackConfiguration { configuration, .. }
            | Action::NoteFailure { configuration, .. } => self.apply(configuration).await,
            Action::DrainNode {
                node,
                since,
                attempt,
                cordon,
                ..
            } => self.drain(node, *since, attempt, *cordon).await,
            Action::EvictPod {
                namespace,
                name,
                uid,
                ..
            } => self.evict(namespace, name, uid).await,
            Action::RestoreNode { node, uncordon, .. } => self.restore(node, *uncordon).await,
            Action::DeleteNode { node, uid, .. } => {
                let nodes: Api<Node> = Api::all(self.new_cluster()?);
                delete(&nodes, node, uid).await
            }
            Action::DeleteConfiguration { name, uid, .. } => {
                delete(&self.api::<NixosConfiguration>(), name, uid).await
            }
            Action::MarkInstalled {
                machine,
                configuration,
                version,
            } => self.mark_installed(machine, configuration, version).await,
            Action::PublishKubeconfig(kubeconfig) => self.publish(kubeconfig).await,
            Action::RenewKubeconfig {
                kubeconfig,
                version,
                ..
            } => self.renew(kubeconfig, version).await,
            Action::DeleteSecret { name, uid } => delete(&self.api::<Secret>(), name, uid).await,
        }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn set_finalizers(&self, ours: bool) -> Result<(), ExecuteError> {
        let others = self
            .cluster
            .finalizers()
            .iter()
            .map(String::as_str)
            .filter(|finalizer| *finalizer != labels::CLUSTER_FINALIZER);
        let finalizers: Vec<&str> = others
            .chain(ours.then_some(labels::CLUSTER_FINALIZER))
            .collect();
        let patch = json!({"metadata": {
            "resourceVersion": self.cluster.resource_version(),
            "finalizers": finalizers,
        }});
        let name = self.cluster.name_any();
        let patched = self
            .api::<KubernetesCluster>()
            .patch_metadata(&name, &parameters(), &Patch::Merge(patch))
            .await;
        match patched {
            Err(error) if is_status(&error, 404) && !ours => Ok(()),
            other => other.map(drop).map_err(doing(format!(
                "write the finalizer of KubernetesCluster {name}"
            ))),
        }
    }

    async fn claim(
        &self,
        machine: &MachineName,
        role: Role,
        version: &str,
    ) -> Result<(), ExecuteError> {
        let cluster = naming::label_value(&self.cluster.name_any());
        self.patch_machine(
            machine,
            &json!({"metadata": {
                "resourceVersion": version,
                "labels": {labels::CLUSTER: cluster, labels::ROLE: role.as_str()},
                "annotations": {labels::CLUSTER_UID: self.cluster.uid()},
            }}),
        )
        .await
    }

    async fn release(&self, machine: &MachineName, version: &str) -> Result<(), ExecuteError> {
        let released = self
            .patch_machine(
                machine,
                &json!({"metadata": {
                    "resourceVersion": version,
                    "labels": {labels::CLUSTER: null, labels::ROLE: null},
                    "annotations": {labels::CLUSTER_UID: null},
                }}),
            )
            .await;
        match released {
            Err(ExecuteError::Write { source, .. }) if is_status(&source, 404) => Ok(()),
            other => other,
        }
    }

    async fn mark_installed(
        &self,
        machine: &MachineName,
        configuration: &str,
        version: &str,
    ) -> Result<(), ExecuteError> {
        self.patch_machine(
            machine,
            &json!({"metadata": {
                "resourceVersion": version,
                "annotations": {labels::FULL_INSTALLATION_APPLIED: configuration},
            }}),
        )
        .await
    }

    /// Writes the metadata of a machine, provided that it is still as it was read.
    async fn patch_machine(
        &self,
        machine: &MachineName,
        patch: &Value,
    ) -> Result<(), ExecuteError> {
        let patched = self
            .api::<Machine>()
            .patch_metadata(machine.as_str(), &parameters(), &Patch::Merge(patch))
            .await;
        match patched {
            Err(error) if is_status(&error, 409) => Err(ExecuteError::ClaimLost {
                machine: machine.clone(),
            }),
            other => other
                .map(drop)
                .map_err(doing(format!("write Machine {machine}"))),
        }
    }

    async fn create_join_token(&self) -> Result<(), ExecuteError> {
        let name = naming::join_token(&self.cluster.name_any());
        let token = ByteString(join_token().into_bytes());
        let data = [("token", token)].into();
        self.create_secret(&name, data, BTreeMap::new()).await
    }

    async fn publish(&self, kubeconfig: &Kubeconfig) -> Result<(), ExecuteError> {
        let name = naming::kubeconfig(&self.cluster.name_any());
        let text = kubeconfig.to_bytes();
        let machine = kubeconfig.machine().to_string();
        let notes = [(labels::KUBECONFIG_MACHINE.to_owned(), machine)].into();
        let data = [("kubeconfig", text.clone()), ("value", text)].into();
        self.create_secret(&name, data, notes).await
    }

    /// Puts another kubeconfig into its Secret, provided that this is still as it was read. Who
    /// reads it sees the old one or the new one.
    async fn renew(&self, kubeconfig: &Kubeconfig, version: &str) -> Result<(), ExecuteError> {
        let name = naming::kubeconfig(&self.cluster.name_any());
        let text = kubeconfig.to_bytes();
        let patch = json!({
            "metadata": {
                "resourceVersion": version,
                "annotations": {labels::KUBECONFIG_MACHINE: kubeconfig.machine().as_str()},
            },
            "data": {"kubeconfig": text, "value": text},
        });
        let patched = self
            .api::<Secret>()
            .patch_metadata(&name, &parameters(), &Patch::Merge(patch))
            .await;
        match patched {
            Err(error) if is_status(&error, 404) => Ok(()),
            other => other
                .map(drop)
                .map_err(doing(format!("write Secret {name}"))),
        }
    }

    /// Makes a Secret, unless there is one of that name: nothing is ever overwritten.
    async fn create_secret(
        &self,
        name: &str,
        data: BTreeMap<&str, ByteString>,
        annotations: BTreeMap<String, String>,
    ) -> Result<(), ExecuteError> {
        let cluster = naming::label_value(&self.cluster.name_any());
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some([(labels::CLUSTER.to_owned(), cluster)].into()),
                owner_references: owner(self.cluster).map(|owner| vec![owner]),
                annotations: Some(annotations).filter(|annotations| !annotations.is_empty()),
                ..ObjectMeta::default()
            },
            type_: Some("Opaque".to_owned()),
            data: Some(
                data.into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect(),
            ),
            ..Secret::default()
        };
        let parameters = PostParams {
            field_manager: Some(labels::CLUSTER_CONTROLLER.to_owned()),
            ..PostParams::default()
        };
        match self.api::<Secret>().create(&parameters, &secret).await {
            Err(error) if is_status(&error, 409) => Ok(()),
            other => other
                .map(drop)
                .map_err(doing(format!("create Secret {name}"))),
        }
    }

    async fn create(&self, configuration: &NixosConfiguration) -> Result<(), ExecuteError> {
        let name = configuration.name_any();
        let existing = self
            .api::<NixosConfiguration>()
            .get_metadata_opt(&name)
            .await
            .map_err(doing(format!("read NixosConfiguration {name}")))?;
        if existing.is_some_and(|existing| !is_owned_by(&existing.metadata, self.cluster)) {
            return Err(ExecuteError::NameTaken { name });
        }
        self.apply(configuration).await
    }

    async fn apply(&self, configuration: &NixosConfiguration) -> Result<(), ExecuteError> {
        let name = configuration.name_any();
        self.api::<NixosConfiguration>()
            .patch_metadata(&name, &parameters().force(), &Patch::Apply(configuration))
            .await
            .map(drop)
            .map_err(doing(format!("apply NixosConfiguration {name}")))
    }

    async fn drain(
        &self,
        node: &str,
        since: Timestamp,
        attempt: &str,
        cordon: bool,
    ) -> Result<(), ExecuteError> {
        let mut patch = json!({"metadata": {"annotations": {
            labels::DRAINING_SINCE: since.to_string(), labels::DRAINING_FOR: attempt,
        }}});
        if cordon {
            patch["metadata"]["annotations"][labels::CORDONED] = json!("true");
            patch["spec"] = json!({"unschedulable": true});
        }
        self.patch_node(node, &patch).await
    }

    async fn restore(&self, node: &str, uncordon: bool) -> Result<(), ExecuteError> {
        let mut patch = json!({"metadata": {"annotations": {
            labels::DRAINING_SINCE: null, labels::DRAINING_FOR: null, labels::CORDONED: null,
        }}});
        if uncordon {
            patch["spec"] = json!({"unschedulable": null});
        }
        self.patch_node(node, &patch).await
    }

    async fn patch_node(&self, node: &str, patch: &Value) -> Result<(), ExecuteError> {
        let nodes: Api<Node> = Api::all(self.new_cluster()?);
        let patched = nodes
            .patch_metadata(node, &parameters(), &Patch::Merge(patch))
            .await;
        match patched {
            Err(error) if is_status(&error, 404) => Ok(()),
            other => other
                .map(drop)
                .map_err(doing(format!("write Node {node} of the new cluster"))),
        }
    }

    /// Asks the new cluster to end a Pod. That a budget does not allow it is no failure: the
    /// next look names the budget and asks again.
    async fn evict(&self, namespace: &str, name: &str, uid: &str) -> Result<(), ExecuteError> {
        let pods: Api<Pod> = Api::namespaced(self.new_cluster()?, namespace);
        let eviction = json!({
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": {"preconditions": {"uid": uid}},
        });
        let evicted: Result<Value, kube::Error> = pods
            .create_subresource("eviction", name, &PostParams::default(), &eviction)
            .await;
        match evicted {
            Err(error) if [404, 409, 429].iter().any(|code| is_status(&error, *code)) => Ok(()),
            other => other
                .map(drop)
                .map_err(doing(format!("evict Pod {namespace}/{name}"))),
        }
    }

    fn new_cluster(&self) -> Result<Client, ExecuteError> {
        self.new_cluster.clone().ok_or(ExecuteError::NoNewCluster)
    }
}

/// Deletes the object of that uid; nothing happens when it is gone, or another stands there.
async fn delete<K>(api: &Api<K>, name: &str, uid: &str) -> Result<(), ExecuteError>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let parameters = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::background()
    };
    match api.delete(name, &parameters).await {
        Err(error) if is_status(&error, 404) || is_status(&error, 409) => Ok(()),
        other => other
            .map(drop)
            .map_err(doing(format!("delete {} {name}", K::kind(&())))),
    }
}

fn parameters() -> PatchParams {
    PatchParams::apply(labels::CLUSTER_CONTROLLER)
}

fn is_status(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

/// Six and sixteen lower-case letters and digits with a dot between them: the form that kubeadm
/// asks for, and that k3s takes. From the operating system's random source.
fn join_token() -> String {
    const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = rand::rng();
    let mut part = |length: usize| -> String {
        (0..length)
            .map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())]))
            .collect()
    };
    format!("{}.{}", part(6), part(16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_token_has_the_form_that_kubeadm_asks_for_and_is_never_the_same() {
        let token = join_token();
        let (id, secret) = token.split_once('.').unwrap();
        assert_eq!((id.len(), secret.len()), (6, 16));
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        assert!(token.replace('.', "").chars().all(is_plain), "{token}");
        assert_ne!(token, join_token());
    }
}
