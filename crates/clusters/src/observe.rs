//! Reads the world once into one [`Observed`].
//!
//! What the cluster holds is read live: its own object, the machines that it claimed, the
//! configurations and Secrets that it owns. What it might take, and who competes for that, comes
//! from the watch caches: a claim is proven by its write anyway.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use kube::{Api, Client, Resource, ResourceExt};
use nico_api::names::MachineName;
use nico_api::reason::ClusterReason;
use nico_api::{KubernetesCluster, Machine, NixosConfiguration, labels};
use nico_runtime::category::{Categorized, Category};
use nico_runtime::causes::chain;

use crate::kubeconfig::{self, Contents, Hosts};
use crate::naming;
use crate::observed::{
    KubeconfigState, Observed, OwnedSecret, Problem, Published, Rival, Source, Workload,
    claimant_uid,
};
use crate::plan::marks::Marks;
use crate::plan::renewal::{self, Need};
use crate::plan::{self, readiness, selection};
use crate::source::Sources;
use crate::triggers::GuardedConfiguration;
use crate::workload::{Detail, KubeconfigLook, Workloads};

/// Where everything is read from.
pub struct Observer {
    /// The Kubernetes API.
    pub client: Client,
    /// All Machines, as last heard.
    pub machines: Store<DeserializeGuard<Machine>>,
    /// All NixosConfigurations, as last heard, without most of what is in them.
    pub configurations: Store<GuardedConfiguration>,
    /// All clusters, as last heard.
    pub clusters: Store<DeserializeGuard<KubernetesCluster>>,
    /// Git.
    pub sources: Sources,
    /// Machines over SSH; `None` when no machine is to be reached.
    pub hosts: Option<Arc<dyn Hosts>>,
    /// The new clusters.
    pub workloads: Workloads,
    /// Time between two looks at a kubeconfig that works, on its machine.
    pub kubeconfig_interval: Duration,
}

/// Why the world could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The Kubernetes API did not answer.
    #[error("cannot read {what}")]
    Read {
        /// What was to be read.
        what: String,
        /// Why.
        source: kube::Error,
    },
    /// The Kubernetes API does not know one of NICO's kinds.
    #[error("the API does not know {kinds}; to install them: nico crds | kubectl apply -f -")]
    NotInstalled {
        /// Which, as one says it of several objects.
        kinds: &'static str,
    },
    /// A NixosConfiguration of the cluster cannot be understood, so nothing is sure.
    #[error("cannot understand NixosConfiguration {name}: {problem}; correct or delete it")]
    Configuration {
        /// Its name.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

impl Categorized for ObserveError {
    fn category(&self) -> Category {
        match self {
            Self::Read { source, .. } => source.category(),
            Self::NotInstalled { .. } => Category::Waiting,
            Self::Configuration { .. } => Category::InvalidInput,
        }
    }
}

pub(crate) fn reading(what: impl Into<String>) -> impl FnOnce(kube::Error) -> ObserveError {
    let what = what.into();
    move |source| ObserveError::Read { what, source }
}

impl Observer {
    /// Reads everything that decides what becomes of a cluster; `None` when it is no more.
    pub async fn observe(
        &self,
        namespace: &str,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<Observed>, ObserveError> {
        let clusters: Api<KubernetesCluster> = Api::namespaced(self.client.clone(), namespace);
        let cluster = clusters
            .get_opt(name)
            .await
            .map_err(reading(format!("KubernetesCluster {namespace}/{name}")))?;
        let Some(cluster) = cluster else {
            return Ok(None);
        };
        let is_deleted = cluster.metadata.deletion_timestamp.is_some();
        let (machines, unreadable_machines) = self.machines(namespace, &cluster).await?;
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let join_token = secret(&secrets, &naming::join_token(name)).await?;
        let kubeconfig = secret(&secrets, &naming::kubeconfig(name)).await?;

        let mut observed = Observed {
            gone_clusters: self.gone_clusters(namespace, &cluster, &machines).await?,
            rivals: self.rivals(namespace, &cluster),
            configurations: self.configurations(namespace, &cluster).await?,
            configured_by_others: self.configured_by_others(namespace, &cluster),
            source: Source::Unresolved(Problem {
                reason: ClusterReason::Deleting,
                message: "the cluster is being deleted".to_owned(),
                needs_change: false,
            }),
            join_token: join_token_state(&cluster, join_token.as_ref()),
            kubeconfig: kubeconfig_state(&cluster, kubeconfig.as_ref()),
            workload: Workload::NotAsked,
            cluster,
            machines,
            unreadable_machines,
        };
        if !is_deleted {
            observed.source = self.sources.resolve(&observed.cluster).await;
            match &observed.kubeconfig {
                KubeconfigState::Published(_) => {
                    observed.workload = self.workload(&observed, kubeconfig.as_ref(), now).await;
                    self.look_for_another_kubeconfig(&mut observed, now).await;
                }
                KubeconfigState::Missing(None) => {
                    observed.kubeconfig = self.retrieve_kubeconfig(&observed).await;
                }
                KubeconfigState::Missing(Some(_)) | KubeconfigState::Proven(_) => {}
            }
        }
        Ok(Some(observed))
    }

    /// All machines of the namespace; those that the cluster holds, or seems to hold, as they
    /// are now.
    async fn machines(
        &self,
        namespace: &str,
        cluster: &KubernetesCluster,
    ) -> Result<
        (
            BTreeMap<MachineName, Arc<Machine>>,
            BTreeMap<String, String>,
        ),
        ObserveError,
    > {
        let api: Api<DeserializeGuard<Machine>> = Api::namespaced(self.client.clone(), namespace);
        let label = naming::label_value(&cluster.name_any());
        let held = api
            .list(&ListParams::default().labels(&format!("{}={label}", labels::CLUSTER)))
            .await
            .map_err(reading(format!("the Machines of cluster {label}")))?;
        let mut found = Machines::default();
        for guard in self.machines.state() {
            if guard.meta().namespace.as_deref() == Some(namespace) {
                found.take(&guard);
            }
        }
        let fresh: BTreeSet<String> = held.items.iter().map(ResourceExt::name_any).collect();
        for guard in &held.items {
            found.take(guard);
        }
        let stale: Vec<MachineName> = found
            .readable
            .iter()
            .filter(|(_, machine)| claimant_uid(machine) == cluster.metadata.uid.as_deref())
            .filter(|(name, _)| !fresh.contains(name.as_str()))
            .map(|(name, _)| name.clone())
            .collect();
        for name in stale {
            let machine = api
                .get_opt(name.as_str())
                .await
                .map_err(reading(format!("Machine {namespace}/{name}")))?;
            found.readable.remove(&name);
            if let Some(guard) = machine {
                found.take(&guard);
            }
        }
        Ok((found.readable, found.unreadable))
    }

    /// uids that stand on machines and belong to no cluster that exists.
    async fn gone_clusters(
        &self,
        namespace: &str,
        cluster: &KubernetesCluster,
        machines: &BTreeMap<MachineName, Arc<Machine>>,
    ) -> Result<BTreeSet<String>, ObserveError> {
        let known: BTreeSet<String> = self
            .clusters
            .state()
            .iter()
            .filter_map(|cluster| cluster.meta().uid.clone())
            .chain(cluster.metadata.uid.clone())
            .collect();
        let mut unknown: BTreeSet<String> = machines
            .values()
            .filter_map(|machine| claimant_uid(machine))
            .filter(|uid| !known.contains(*uid))
            .map(ToOwned::to_owned)
            .collect();
        if !unknown.is_empty() {
            // The cache may be behind: a claim only counts as left over when that is sure.
            let clusters: Api<KubernetesCluster> = Api::namespaced(self.client.clone(), namespace);
            let list = clusters
                .list_metadata(&ListParams::default())
                .await
                .map_err(reading(format!("the KubernetesClusters of {namespace}")))?;
            for uid in list
                .items
                .iter()
                .filter_map(|item| item.metadata.uid.as_ref())
            {
                unknown.remove(uid);
            }
        }
        Ok(unknown)
    }

    fn rivals(&self, namespace: &str, cluster: &KubernetesCluster) -> Vec<Rival> {
        self.clusters
            .state()
            .iter()
            .filter_map(|guard| guard.0.as_ref().ok())
            .filter(|other| other.metadata.namespace.as_deref() == Some(namespace))
            .filter(|other| other.metadata.uid != cluster.metadata.uid)
            .filter(|other| other.metadata.deletion_timestamp.is_none())
            .filter_map(|other| {
                Some(Rival {
                    uid: other.metadata.uid.clone()?,
                    created: other.metadata.creation_timestamp.as_ref()?.0,
                    control_plane: other.spec.control_plane.clone(),
                    data_plane: other.spec.data_plane(),
                    started: other
                        .status
                        .as_ref()
                        .is_some_and(|status| !status.applied_machines.is_empty()),
                })
            })
            .collect()
    }

    fn configured_by_others(
        &self,
        namespace: &str,
        cluster: &KubernetesCluster,
    ) -> BTreeMap<MachineName, String> {
        self.configurations
            .state()
            .iter()
            .filter(|guard| guard.meta().namespace.as_deref() == Some(namespace))
            .filter(|guard| !is_owned_by(guard.meta(), cluster))
            .filter_map(|guard| {
                let configuration = guard.0.as_ref().ok()?;
                let machine = configuration.spec.machine_ref.name.parse().ok()?;
                Some((machine, configuration.name_any()))
            })
            .collect()
    }

    async fn configurations(
        &self,
        namespace: &str,
        cluster: &KubernetesCluster,
    ) -> Result<BTreeMap<String, NixosConfiguration>, ObserveError> {
        let api: Api<DeserializeGuard<NixosConfiguration>> =
            Api::namespaced(self.client.clone(), namespace);
        let label = naming::label_value(&cluster.name_any());
        let list = api
            .list(&ListParams::default().labels(&format!("{}={label}", labels::CLUSTER)))
            .await
            .map_err(reading(format!(
                "the NixosConfigurations of cluster {label}"
            )))?;
        list.items
            .into_iter()
            .filter(|guard| is_owned_by(guard.meta(), cluster))
            .map(|guard| {
                let name = guard.name_any();
                match guard.0 {
                    Ok(configuration) => Ok((name, configuration)),
                    Err(invalid) => Err(ObserveError::Configuration {
                        name,
                        problem: invalid.error,
                    }),
                }
            })
            .collect()
    }

    async fn workload(
        &self,
        observed: &Observed,
        secret: Option<&Secret>,
        now: Timestamp,
    ) -> Workload {
        let Some((secret, text)) =
            secret.and_then(|secret| Some((secret, text(secret, "kubeconfig")?)))
        else {
            return Workload::NotAsked;
        };
        let version = secret.resource_version().unwrap_or_default();
        let changes = |configuration: &NixosConfiguration| {
            configuration.spec.hold || Marks::of(configuration) != Marks::default()
        };
        let selection = selection::select(observed);
        let goes_on = observed.configurations.values().any(changes)
            || !plan::leaving(observed, &selection).is_empty();
        let detail = match goes_on {
            true => Detail::Rollout,
            false => Detail::Nodes,
        };
        self.workloads
            .ask(observed.uid(), &version, &text, detail, now)
            .await
    }

    /// Asks machines whether they have another kubeconfig than the published one: now and then
    /// the machine that it came from, and at every look all of them when it does not work.
    async fn look_for_another_kubeconfig(&self, observed: &mut Observed, now: Timestamp) {
        let (Some(hosts), KubeconfigState::Published(published)) =
            (&self.hosts, &observed.kubeconfig)
        else {
            return;
        };
        let uid = observed.uid();
        let mut published = published.clone();
        let last = self.workloads.kubeconfig_look(uid).await;
        let need = renewal::need(&published, &observed.workload, now);
        let interval = i64::try_from(self.kubeconfig_interval.as_millis()).unwrap_or(i64::MAX);
        let is_due = last
            .as_ref()
            .is_none_or(|last| now.as_millisecond() - last.at.as_millisecond() >= interval);
        let is_urgent = need.is_some_and(|need| need != Need::Ending);
        if is_due || is_urgent {
            let machines = renewal::sources(&published, need, self.kubeconfig_sources(observed));
            let machines = with_objects(observed, machines);
            let endpoint = observed.cluster.spec.control_plane_endpoint.as_ref();
            let is_best = |found: &kubeconfig::Kubeconfig| {
                renewal::is_best(&published, need, found.contents())
            };
            let name = observed.name();
            let hosts = hosts.as_ref();
            let retrieved =
                kubeconfig::retrieve_best(hosts, &name, endpoint, &machines, &is_best).await;
            let (found, problem) = match retrieved {
                Ok(found) => (Some(found), None),
                Err(error) => (None, error.as_ref().map(problem_of)),
            };
            let look = KubeconfigLook {
                at: now,
                problem: problem.clone(),
            };
            self.workloads.note_kubeconfig_look(uid, look).await;
            (published.found, published.problem) = (found, problem);
        } else {
            published.problem = last.and_then(|last| last.problem);
        }
        observed.kubeconfig = KubeconfigState::Published(published);
    }

    /// Control-plane machines that may have a kubeconfig, in the order in which to ask them.
    fn kubeconfig_sources(&self, observed: &Observed) -> Vec<MachineName> {
        let control_plane = selection::select(observed).control_plane.members;
        readiness::kubeconfig_sources(observed, &control_plane)
    }

    async fn retrieve_kubeconfig(&self, observed: &Observed) -> KubeconfigState {
        let Some(hosts) = &self.hosts else {
            return KubeconfigState::Missing(None);
        };
        let machines = with_objects(observed, self.kubeconfig_sources(observed));
        let endpoint = observed.cluster.spec.control_plane_endpoint.as_ref();
        let retrieved =
            kubeconfig::retrieve(hosts.as_ref(), &observed.name(), endpoint, &machines).await;
        match retrieved {
            Ok(kubeconfig) => KubeconfigState::Proven(kubeconfig),
            Err(error) => KubeconfigState::Missing(error.as_ref().map(problem_of)),
        }
    }
}

fn problem_of(error: &kubeconfig::RetrievalError) -> Problem {
    Problem {
        reason: error.reason(),
        message: chain(error),
        needs_change: false,
    }
}

fn with_objects(observed: &Observed, names: Vec<MachineName>) -> Vec<(MachineName, &Machine)> {
    names
        .into_iter()
        .filter_map(|name| {
            let machine = observed.machines.get(&name)?.as_ref();
            Some((name, machine))
        })
        .collect()
}

#[derive(Default)]
struct Machines {
    readable: BTreeMap<MachineName, Arc<Machine>>,
    unreadable: BTreeMap<String, String>,
}

impl Machines {
    fn take(&mut self, guard: &DeserializeGuard<Machine>) {
        let name = guard.name_any();
        match (&guard.0, name.parse::<MachineName>()) {
            (Ok(machine), Ok(name)) => {
                self.readable.insert(name, Arc::new(machine.clone()));
            }
            (Ok(_), Err(error)) => {
                self.unreadable.insert(name, error.to_string());
            }
            (Err(invalid), _) => {
                self.unreadable.insert(name, invalid.error.clone());
            }
        }
    }
}

async fn secret(secrets: &Api<Secret>, name: &str) -> Result<Option<Secret>, ObserveError> {
    secrets
        .get_opt(name)
        .await
        .map_err(reading(format!("Secret {name}")))
}

/// Whether an object belongs to this very cluster, not to one of the same name.
pub fn is_owned_by(metadata: &ObjectMeta, cluster: &KubernetesCluster) -> bool {
    metadata
        .owner_references
        .iter()
        .flatten()
        .any(|owner| Some(&owner.uid) == cluster.metadata.uid.as_ref())
}

fn join_token_state(cluster: &KubernetesCluster, secret: Option<&Secret>) -> OwnedSecret {
    let Some(secret) = secret else {
        return OwnedSecret::Missing;
    };
    if text(secret, "token").is_none_or(|token| token.trim().is_empty()) {
        return OwnedSecret::Unusable(Problem {
            reason: ClusterReason::SecretNotFound,
            message: format!(
                "Secret {} has no key \"token\"; delete the Secret, or put the join token there",
                secret.name_any()
            ),
            needs_change: true,
        });
    }
    if is_owned_by(&secret.metadata, cluster) {
        OwnedSecret::Ours {
            uid: secret.uid().unwrap_or_default(),
        }
    } else {
        OwnedSecret::Foreign
    }
}

fn kubeconfig_state(cluster: &KubernetesCluster, secret: Option<&Secret>) -> KubeconfigState {
    match secret {
        None => KubeconfigState::Missing(None),
        Some(secret) if is_owned_by(&secret.metadata, cluster) => {
            KubeconfigState::Published(published(secret))
        }
        Some(secret) => KubeconfigState::Missing(Some(Problem {
            reason: ClusterReason::KubeconfigInvalid,
            message: format!(
                "Secret {} exists and is not of this cluster; rename or delete it, so that the kubeconfig can be put there",
                secret.name_any()
            ),
            needs_change: true,
        })),
    }
}

/// A kubeconfig in its Secret. A key that other tools read and that says something else makes it
/// unusable.
fn published(secret: &Secret) -> Published {
    let [ours, of_others] = ["kubeconfig", "value"].map(|key| text(secret, key));
    let contents = match ours {
        None => Err("it has no key \"kubeconfig\"".to_owned()),
        Some(_) if ours != of_others => {
            Err("its keys \"kubeconfig\" and \"value\" differ".to_owned())
        }
        Some(text) => Contents::read(&text).map_err(|error| chain(&error)),
    };
    let machine = secret.annotations().get(labels::KUBECONFIG_MACHINE);
    Published {
        uid: secret.uid().unwrap_or_default(),
        version: secret.resource_version().unwrap_or_default(),
        machine: machine.and_then(|machine| machine.parse().ok()),
        contents,
        found: None,
        problem: None,
    }
}

fn text(secret: &Secret, key: &str) -> Option<String> {
    let value = secret.data.as_ref()?.get(key)?;
    String::from_utf8(value.0.clone()).ok()
}
