//! Sees what the controller sees, once and without a controller.

use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::core::{DeserializeGuard, NamespaceResourceScope};
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::Event;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use crate::observe::{ObserveError, Observer, reading};
use crate::observed::Observed;
use crate::settings::Settings;
use crate::source::Sources;
use crate::workload::Workloads;

/// Reads everything that decides what becomes of a cluster; `None` when there is none of that
/// name. Machines are not reached: what only they know stays unknown.
///
/// # Errors
/// When the Kubernetes API refuses something, or does not answer.
pub async fn look(
    client: &Client,
    settings: &Settings,
    namespace: &str,
    cluster: &str,
    now: Timestamp,
) -> Result<Option<Observed>, ObserveError> {
    let (machines, configurations, clusters) = tokio::try_join!(
        all(client, namespace, "Machines"),
        all(client, namespace, "NixosConfigurations"),
        all(client, namespace, "KubernetesClusters"),
    )?;
    let observer = Observer {
        client: client.clone(),
        machines,
        configurations,
        clusters,
        sources: Sources::new(client.clone(), settings),
        hosts: None,
        workloads: Workloads::default(),
        kubeconfig_interval: settings.kubeconfig_interval,
    };
    observer.observe(namespace, cluster, now).await
}

/// All objects of a kind, as a cache would have them.
async fn all<K>(
    client: &Client,
    namespace: &str,
    kinds: &'static str,
) -> Result<Store<DeserializeGuard<K>>, ObserveError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + std::fmt::Debug + DeserializeOwned + 'static,
{
    let api: Api<DeserializeGuard<K>> = Api::namespaced(client.clone(), namespace);
    let list = match api.list(&ListParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            return Err(ObserveError::NotInstalled { kinds });
        }
        other => other.map_err(reading(format!("the {kinds} of {namespace}")))?,
    };
    let (store, mut writer) = reflector::store();
    writer.apply_watcher_event(&Event::Init);
    for object in list.items {
        writer.apply_watcher_event(&Event::InitApply(object));
    }
    writer.apply_watcher_event(&Event::InitDone);
    Ok(store)
}
