//! Everything that was read, or why it was not: the table of kinds.

mod reading;

use std::fmt;

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::Client;
use serde_json::Value;

use crate::collect::list::{Question, list};
use crate::facts::closer::Closer;
use crate::facts::flux::{HelmRelease, Kustomization, Source};
use crate::facts::network::{
    EndpointSlice, Gateway, HttpRoute, Ingress, Service, WebhookConfiguration,
};
use crate::facts::nico::{Cluster, Configuration, Machine};
use crate::facts::node::{ApiService, Definition, Event, Namespace, Node};
use crate::facts::platform::{
    AcmeStep, Certificate, Claim, ExternalSecret, Issuer, LonghornVolume, SecretStore, StorageClass,
};
use crate::facts::pod::Pod;
use crate::facts::workload::{DaemonSet, Deployment, DisruptionBudget, Job, StatefulSet};
use crate::issue::Layer;

pub(crate) use reading::Listed;
use reading::keep;
pub use reading::{Outcome, Reading};

/// A kind of objects that is read.
#[derive(Debug)]
pub struct Kind {
    /// Its name, as in a manifest.
    pub name: &'static str,
    /// Its API group; empty for the core group.
    pub group: &'static str,
    /// Versions that are understood, the best first.
    pub versions: &'static [&'static str],
    /// Its name in URLs.
    pub plural: &'static str,
    /// Where its objects are looked for.
    pub reach: Reach,
    /// Whether every cluster serves it; the others are known by their group.
    pub is_built_in: bool,
    /// The layer that cannot be judged without it.
    pub layer: Layer,
    /// When it is read.
    pub turn: Turn,
}

impl Kind {
    /// Whether only the metadata is asked for: definitions carry large schemas that nobody needs.
    pub(crate) fn is_metadata_enough(&self) -> bool {
        self.name == "CustomResourceDefinition"
    }
}

/// Where objects of a kind are looked for when one namespace is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// They have no namespace.
    Cluster,
    /// In that namespace.
    Namespace,
    /// Everywhere, for what a namespace holds often comes from another one; in that namespace
    /// alone when the rest may not be read.
    Everywhere,
}

/// When a kind is read.
#[derive(Clone, Copy)]
pub enum Turn {
    /// Always.
    First,
    /// Only when something in what was read first calls for it.
    IfNeeded(fn(&World) -> bool),
}

impl fmt::Debug for Turn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::First => "First",
            Self::IfNeeded(_) => "IfNeeded",
        })
    }
}

/// A result that is to be put into its place.
pub(crate) type Fill = Box<dyn FnOnce(&mut World) + Send>;

macro_rules! kinds {
    ($($(#[$doc:meta])* $field:ident: $facts:ident = $name:literal, $group:literal, [$($version:literal),+], $plural:literal, $reach:ident, $built_in:literal, $layer:ident, $turn:expr;)+) => {
        /// Everything that was read, or why it was not.
        #[derive(Clone, Debug, Default)]
        pub struct World {
            /// What the API server says of itself, a check a line; `Err` says why it says nothing.
            pub checks: Option<Result<Vec<String>, String>>,
            /// The namespace that is asked about; all when there is none.
            pub namespace: Option<String>,
            /// What was asked beside the lists; nothing unless that was wanted.
            pub closer: Closer,
            $($(#[$doc])* pub $field: Reading<$facts>,)+
        }

        /// All kinds that are read, in the order of their layers.
        pub static KINDS: &[Kind] = &[$(Kind {
            name: $name,
            group: $group,
            versions: &[$($version),+],
            plural: $plural,
            reach: Reach::$reach,
            is_built_in: $built_in,
            layer: Layer::$layer,
            turn: $turn,
        },)+];

        impl World {
            /// How reading went, for each kind.
            pub fn outcomes(&self) -> impl Iterator<Item = (&'static Kind, &Outcome, usize)> {
                let outcomes = [$((&self.$field.outcome, self.$field.items.len()),)+];
                KINDS.iter().zip(outcomes).map(|(kind, (outcome, count))| (kind, outcome, count))
            }

            /// Forgets the objects of some kinds, as if reading them had gone like this.
            pub fn forget(&mut self, is_lost: impl Fn(&Kind) -> bool, outcome: &Outcome) {
                let mut kinds = KINDS.iter();
                $(if kinds.next().is_some_and(&is_lost) {
                    self.$field = Reading { items: vec![], outcome: outcome.clone() };
                })+
            }

            /// Puts objects into their places as if they had been listed. What is of no kind that
            /// is read is given back.
            pub fn with_objects(mut self, objects: Vec<Value>) -> (Self, Vec<Value>) {
                $(if self.$field.outcome == Outcome::NotAsked {
                    self.$field.outcome = Outcome::Known { malformed: vec![] };
                })+
                let mut others = vec![];
                for object in objects {
                    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
                    let version = object["apiVersion"].as_str().unwrap_or_default().to_owned();
                    let group = version.rsplit_once('/').map_or("", |(group, _)| group);
                    match (kind.as_str(), group) {
                        $(($name, $group) => keep($name, &mut self.$field, object),)+
                        _ => others.push(object),
                    }
                }
                $(self.$field.sort();)+
                (self, others)
            }
        }

        /// The question for a kind, still to be asked.
        pub(crate) fn ask<'a>(kind: &'static Kind, client: &'a Client, question: Question) -> BoxFuture<'a, Fill> {
            match (kind.name, kind.group) {
                $(($name, $group) => async move {
                    let reading: Reading<$facts> = list(client, kind, question).await;
                    Box::new(move |world: &mut World| world.$field = reading) as Fill
                }.boxed(),)+
                _ => unreachable!("every kind of the table has its place"),
            }
        }
    };
}

kinds! {
    /// Namespaces.
    namespaces: Namespace = "Namespace", "", ["v1"], "namespaces", Cluster, true, ApiServer, Turn::First;
    /// Definitions of custom resources.
    definitions: Definition = "CustomResourceDefinition", "apiextensions.k8s.io", ["v1"], "customresourcedefinitions", Cluster, true, ApiServer, Turn::First;
    /// What serves parts of the API.
    api_services: ApiService = "APIService", "apiregistration.k8s.io", ["v1"], "apiservices", Cluster, false, ApiServer, Turn::First;
    /// Who is asked before something is written.
    validating_webhooks: WebhookConfiguration = "ValidatingWebhookConfiguration", "admissionregistration.k8s.io", ["v1"], "validatingwebhookconfigurations", Cluster, true, ApiServer, Turn::IfNeeded(needed::webhooks);
    /// Who may change what is written.
    mutating_webhooks: WebhookConfiguration = "MutatingWebhookConfiguration", "admissionregistration.k8s.io", ["v1"], "mutatingwebhookconfigurations", Cluster, true, ApiServer, Turn::IfNeeded(needed::webhooks);
    /// Nodes.
    nodes: Node = "Node", "", ["v1"], "nodes", Cluster, true, Nodes, Turn::First;
    /// Services.
    services: Service = "Service", "", ["v1"], "services", Namespace, true, Network, Turn::First;
    /// What is behind Services.
    endpoints: EndpointSlice = "EndpointSlice", "discovery.k8s.io", ["v1"], "endpointslices", Namespace, true, Network, Turn::First;
    /// Claims.
    claims: Claim = "PersistentVolumeClaim", "", ["v1"], "persistentvolumeclaims", Namespace, true, Storage, Turn::First;
    /// Classes of storage.
    storage_classes: StorageClass = "StorageClass", "storage.k8s.io", ["v1"], "storageclasses", Cluster, true, Storage, Turn::IfNeeded(needed::storage_classes);
    /// Volumes of Longhorn.
    longhorn_volumes: LonghornVolume = "Volume", "longhorn.io", ["v1beta2", "v1beta1"], "volumes", Everywhere, false, Storage, Turn::First;
    /// Git repositories.
    git_repositories: Source = "GitRepository", "source.toolkit.fluxcd.io", ["v1", "v1beta2"], "gitrepositories", Everywhere, false, Flux, Turn::First;
    /// OCI repositories.
    oci_repositories: Source = "OCIRepository", "source.toolkit.fluxcd.io", ["v1", "v1beta2"], "ocirepositories", Everywhere, false, Flux, Turn::First;
    /// Helm repositories.
    helm_repositories: Source = "HelmRepository", "source.toolkit.fluxcd.io", ["v1", "v1beta2"], "helmrepositories", Everywhere, false, Flux, Turn::First;
    /// Helm charts.
    helm_charts: Source = "HelmChart", "source.toolkit.fluxcd.io", ["v1", "v1beta2"], "helmcharts", Everywhere, false, Flux, Turn::First;
    /// Buckets.
    buckets: Source = "Bucket", "source.toolkit.fluxcd.io", ["v1", "v1beta2"], "buckets", Everywhere, false, Flux, Turn::IfNeeded(needed::buckets);
    /// Kustomizations.
    kustomizations: Kustomization = "Kustomization", "kustomize.toolkit.fluxcd.io", ["v1", "v1beta2"], "kustomizations", Everywhere, false, Flux, Turn::First;
    /// Helm releases.
    helm_releases: HelmRelease = "HelmRelease", "helm.toolkit.fluxcd.io", ["v2", "v2beta2", "v2beta1"], "helmreleases", Everywhere, false, Flux, Turn::First;
    /// Certificates.
    certificates: Certificate = "Certificate", "cert-manager.io", ["v1"], "certificates", Namespace, false, Platform, Turn::First;
    /// Issuers of a namespace.
    issuers: Issuer = "Issuer", "cert-manager.io", ["v1"], "issuers", Namespace, false, Platform, Turn::First;
    /// Issuers of the cluster.
    cluster_issuers: Issuer = "ClusterIssuer", "cert-manager.io", ["v1"], "clusterissuers", Cluster, false, Platform, Turn::First;
    /// Orders of certificates.
    orders: AcmeStep = "Order", "acme.cert-manager.io", ["v1"], "orders", Namespace, false, Platform, Turn::IfNeeded(needed::orders);
    /// Proofs of domains.
    challenges: AcmeStep = "Challenge", "acme.cert-manager.io", ["v1"], "challenges", Namespace, false, Platform, Turn::IfNeeded(needed::challenges);
    /// Secrets from elsewhere.
    external_secrets: ExternalSecret = "ExternalSecret", "external-secrets.io", ["v1", "v1beta1"], "externalsecrets", Namespace, false, Platform, Turn::First;
    /// Where they come from.
    secret_stores: SecretStore = "SecretStore", "external-secrets.io", ["v1", "v1beta1"], "secretstores", Namespace, false, Platform, Turn::First;
    /// Where they come from, for the whole cluster.
    cluster_secret_stores: SecretStore = "ClusterSecretStore", "external-secrets.io", ["v1", "v1beta1"], "clustersecretstores", Cluster, false, Platform, Turn::First;
    /// Gateways.
    gateways: Gateway = "Gateway", "gateway.networking.k8s.io", ["v1", "v1beta1"], "gateways", Everywhere, false, Platform, Turn::First;
    /// Routes.
    http_routes: HttpRoute = "HTTPRoute", "gateway.networking.k8s.io", ["v1", "v1beta1"], "httproutes", Namespace, false, Platform, Turn::First;
    /// Ingresses.
    ingresses: Ingress = "Ingress", "networking.k8s.io", ["v1"], "ingresses", Namespace, true, Platform, Turn::First;
    /// Pods.
    pods: Pod = "Pod", "", ["v1"], "pods", Namespace, true, Workloads, Turn::First;
    /// Warnings.
    events: Event = "Event", "", ["v1"], "events", Namespace, true, Workloads, Turn::First;
    /// Deployments.
    deployments: Deployment = "Deployment", "apps", ["v1"], "deployments", Namespace, true, Workloads, Turn::First;
    /// StatefulSets.
    stateful_sets: StatefulSet = "StatefulSet", "apps", ["v1"], "statefulsets", Namespace, true, Workloads, Turn::First;
    /// DaemonSets.
    daemon_sets: DaemonSet = "DaemonSet", "apps", ["v1"], "daemonsets", Namespace, true, Workloads, Turn::First;
    /// Jobs.
    jobs: Job = "Job", "batch", ["v1"], "jobs", Namespace, true, Workloads, Turn::First;
    /// What limits that Pods are taken away.
    disruption_budgets: DisruptionBudget = "PodDisruptionBudget", "policy", ["v1"], "poddisruptionbudgets", Namespace, true, Workloads, Turn::IfNeeded(needed::disruption_budgets);
    /// Machines.
    machines: Machine = "Machine", "nio.homystack.com", ["v1alpha1"], "machines", Everywhere, false, Nico, Turn::First;
    /// What machines run.
    configurations: Configuration = "NixosConfiguration", "nio.homystack.com", ["v1alpha1"], "nixosconfigurations", Everywhere, false, Nico, Turn::First;
    /// Clusters.
    clusters: Cluster = "KubernetesCluster", "nico.homystack.com", ["v1alpha1"], "kubernetesclusters", Everywhere, false, Nico, Turn::First;
}

/// What calls for a second look.
mod needed {
    use super::{Outcome, World};
    use crate::facts::meta::condition;

    /// A webhook matters when what it asks does not answer.
    pub(super) fn webhooks(world: &World) -> bool {
        !world.endpoints.is_known()
            || crate::index::Index::new(world)
                .services_without_endpoints()
                .next()
                .is_some()
    }

    pub(super) fn storage_classes(world: &World) -> bool {
        world
            .claims
            .iter()
            .any(|claim| claim.status.phase == "Pending")
    }

    pub(super) fn buckets(world: &World) -> bool {
        let of_kustomizations = world.kustomizations.iter().map(|one| &one.spec.source_ref);
        let of_charts = world.helm_charts.iter().map(|one| &one.spec.source_ref);
        of_kustomizations
            .chain(of_charts)
            .any(|source| source.kind == "Bucket")
    }

    pub(super) fn challenges(world: &World) -> bool {
        world.certificates.iter().any(|certificate| {
            condition(&certificate.status.conditions, "Ready").is_none_or(|ready| !ready.is_true())
        })
    }

    /// An Order that has Challenges waits for them, and they say why.
    pub(super) fn orders(world: &World) -> bool {
        let were_asked = world.challenges.outcome != Outcome::NotAsked;
        challenges(world) && were_asked && world.challenges.items.is_empty()
    }

    /// A budget matters to who wants to empty a Node.
    pub(super) fn disruption_budgets(world: &World) -> bool {
        world.nodes.iter().any(|node| node.spec.unschedulable)
    }
}
