//! Clusters, machines and configurations, as far as they may be read.
//!
//! What may not be read is no error: the report says what is missing, and shows the rest.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use futures::stream::{self, Stream, StreamExt};
use kube::api::ListParams;
use kube::core::{DeserializeGuard, NamespaceResourceScope};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use nico_api::{KubernetesCluster, Machine, NixosConfiguration};
use serde::de::DeserializeOwned;

use nico_runtime::causes::chain;

/// What is said of a kind that the API does not know.
const NOT_INSTALLED: &str =
    "the API does not know this kind; to install it: nico crds | kubectl apply -f -";

/// Which clusters a person asks about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The namespace; all of them when it is absent.
    pub namespace: Option<String>,
    /// The cluster; all of them when it is absent.
    pub cluster: Option<String>,
}

/// All that a status report is made from.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The clusters that were asked for.
    pub clusters: Known<KubernetesCluster>,
    /// All Machines of the scope.
    pub machines: Known<Machine>,
    /// All NixosConfigurations of the scope.
    pub configurations: Known<NixosConfiguration>,
}

/// What is known of the objects of one kind.
#[derive(Clone, Debug)]
pub struct Known<K> {
    objects: Option<Objects<K>>,
    incoming: Objects<K>,
    problem: Option<String>,
}

/// By namespace and name: the object, or why it cannot be understood.
type Objects<K> = BTreeMap<(String, String), Result<Arc<K>, String>>;

/// What a watch says.
type Heard<K> = Result<watcher::Event<DeserializeGuard<K>>, watcher::Error>;

/// Something that was heard of one of the kinds.
enum News {
    Cluster(Heard<KubernetesCluster>),
    Machine(Heard<Machine>),
    Configuration(Heard<NixosConfiguration>),
}

impl<K> Default for Known<K> {
    fn default() -> Self {
        Self {
            objects: None,
            incoming: Objects::new(),
            problem: None,
        }
    }
}

impl Snapshot {
    /// Reads everything once.
    pub async fn read(client: &Client, scope: &Scope) -> Self {
        let (clusters, machines, configurations) = tokio::join!(
            read_clusters(client, scope),
            Known::read_all(api(client, scope)),
            Known::read_all(api(client, scope)),
        );
        Self {
            clusters,
            machines,
            configurations,
        }
    }

    /// Reads everything, and again whenever something changes. The first item comes when it is
    /// known of each kind what is there, or that it may not be read.
    pub fn follow(client: &Client, scope: &Scope) -> impl Stream<Item = Self> + use<> {
        let every = watcher::Config::default();
        let of_clusters = match &scope.cluster {
            Some(name) => every.clone().fields(&format!("metadata.name={name}")),
            None => every.clone(),
        };
        let clusters = watcher(api(client, scope), of_clusters).default_backoff();
        let machines = watcher(api(client, scope), every.clone()).default_backoff();
        let configurations = watcher(api(client, scope), every).default_backoff();
        let news = stream::select_all([
            clusters.map(News::Cluster).boxed(),
            machines.map(News::Machine).boxed(),
            configurations.map(News::Configuration).boxed(),
        ]);
        news.scan(Self::default(), |snapshot, news| {
            snapshot.hear(news);
            let told = snapshot.is_complete().then(|| snapshot.clone());
            std::future::ready(Some(told))
        })
        .filter_map(std::future::ready)
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Cluster(heard) => self.clusters.hear(heard),
            News::Machine(heard) => self.machines.hear(heard),
            News::Configuration(heard) => self.configurations.hear(heard),
        }
    }

    fn is_complete(&self) -> bool {
        self.clusters.is_answered()
            && self.machines.is_answered()
            && self.configurations.is_answered()
    }

    /// What could not be read, a sentence each.
    pub fn unread(&self) -> Vec<String> {
        let mut unread = self.clusters.unread("KubernetesCluster");
        unread.extend(self.machines.unread("Machine"));
        unread.extend(self.configurations.unread("NixosConfiguration"));
        unread
    }
}

impl<K> Known<K> {
    /// Whether it is known which objects there are.
    pub fn is_read(&self) -> bool {
        self.objects.is_some()
    }

    /// Why the kind could not be read.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// The objects that can be understood, by namespace and name.
    pub fn iter(&self) -> impl Iterator<Item = &K> {
        let objects = self.objects.iter().flat_map(BTreeMap::values);
        objects.filter_map(|object| object.as_deref().ok())
    }

    /// An object, if it is there and can be understood.
    pub fn get(&self, namespace: &str, name: &str) -> Option<&K> {
        let key = (namespace.to_owned(), name.to_owned());
        self.objects.as_ref()?.get(&key)?.as_deref().ok()
    }

    /// Whether an object is there, whatever is in it; `None` when it is not known.
    pub fn exists(&self, namespace: &str, name: &str) -> Option<bool> {
        let key = (namespace.to_owned(), name.to_owned());
        Some(self.objects.as_ref()?.contains_key(&key))
    }

    fn is_answered(&self) -> bool {
        self.is_read() || self.problem.is_some()
    }

    fn unread(&self, kind: &str) -> Vec<String> {
        let problem = self.problem.iter().map(|why| format!("{kind}s: {why}"));
        let objects = self.objects.iter().flatten();
        let invalid = objects.filter_map(|((namespace, name), object)| {
            let why = object.as_ref().err()?;
            Some(format!(
                "{kind} {namespace}/{name} cannot be understood: {why}"
            ))
        });
        problem.chain(invalid).collect()
    }
}

impl<K> Known<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + 'static,
{
    /// What is known when exactly these objects are there.
    pub fn of(objects: impl IntoIterator<Item = K>) -> Self {
        let guards = objects
            .into_iter()
            .map(|object| DeserializeGuard(Ok(object)));
        Self {
            objects: Some(guards.map(keyed).collect()),
            ..Self::default()
        }
    }

    /// What is known when nothing could be read, for that reason.
    pub fn unreadable(why: impl Into<String>) -> Self {
        Self {
            problem: Some(why.into()),
            ..Self::default()
        }
    }

    async fn read_all(api: Api<DeserializeGuard<K>>) -> Self {
        match api.list(&ListParams::default()).await {
            Ok(list) => Self {
                objects: Some(list.items.into_iter().map(keyed).collect()),
                ..Self::default()
            },
            Err(error) => Self::unreadable(unlisted(&error)),
        }
    }

    fn hear(&mut self, heard: Heard<K>) {
        let event = match heard {
            Ok(event) => event,
            Err(watcher::Error::InitialListFailed(error)) => {
                self.problem = Some(unlisted(&error));
                return;
            }
            Err(error) => {
                self.problem = Some(chain(&error));
                return;
            }
        };
        match event {
            watcher::Event::Init => {
                self.incoming.clear();
                return;
            }
            watcher::Event::InitApply(object) => {
                self.incoming.extend([keyed(object)]);
                return;
            }
            watcher::Event::InitDone => self.objects = Some(std::mem::take(&mut self.incoming)),
            watcher::Event::Apply(object) => {
                self.objects.get_or_insert_default().extend([keyed(object)]);
            }
            watcher::Event::Delete(object) => {
                let (key, _) = keyed(object);
                self.objects.get_or_insert_default().remove(&key);
            }
        }
        self.problem = None;
    }
}

async fn read_clusters(client: &Client, scope: &Scope) -> Known<KubernetesCluster> {
    let clusters: Api<DeserializeGuard<KubernetesCluster>> = api(client, scope);
    let Some(name) = &scope.cluster else {
        return Known::read_all(clusters).await;
    };
    // The right to get one object is often all that a person has.
    match clusters.get_opt(name).await {
        Ok(found) => Known {
            objects: Some(found.into_iter().map(keyed).collect()),
            ..Known::default()
        },
        Err(error) => Known::unreadable(chain(&error)),
    }
}

fn api<K>(client: &Client, scope: &Scope) -> Api<DeserializeGuard<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match &scope.namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

fn keyed<K>(guard: DeserializeGuard<K>) -> ((String, String), Result<Arc<K>, String>)
where
    K: Resource<DynamicType = ()>,
{
    let key = (guard.namespace().unwrap_or_default(), guard.name_any());
    (key, guard.0.map(Arc::new).map_err(|invalid| invalid.error))
}

/// Why all objects of a kind could not be read.
fn unlisted(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 404 => NOT_INSTALLED.to_owned(),
        other => chain(other),
    }
}
