//! The operator's custom resources must be installed before it can do anything.

use std::fmt::Debug;
use std::time::Duration;

use kube::api::{Api, ListParams};
use kube::{Client, Resource};
use nico_api::{KubernetesCluster, Machine, NixosConfiguration};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(2);

/// Waits until the API server knows all kinds, and says what to do while it does not. Ends
/// early at `stop`, and when the API server cannot tell: the controllers meet that anew.
pub(super) async fn wait_until_installed(client: &Client, stop: &CancellationToken) {
    let mut told = Vec::new();
    loop {
        let missing = missing(client).await;
        if missing.is_empty() {
            return;
        }
        if missing != told {
            warn!(
                kinds = missing.join(", "),
                "not installed; run: nico crds | kubectl apply -f -"
            );
            told = missing;
        }
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn missing(client: &Client) -> Vec<&'static str> {
    let kinds = [
        ("Machine", is_missing::<Machine>(client).await),
        (
            "NixosConfiguration",
            is_missing::<NixosConfiguration>(client).await,
        ),
        (
            "KubernetesCluster",
            is_missing::<KubernetesCluster>(client).await,
        ),
    ];
    let missing = kinds.into_iter().filter(|(_, is_missing)| *is_missing);
    missing.map(|(kind, _)| kind).collect()
}

async fn is_missing<K>(client: &Client) -> bool
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let objects = Api::<K>::all(client.clone());
    let listed = objects.list_metadata(&ListParams::default().limit(1)).await;
    matches!(listed, Err(kube::Error::Api(status)) if status.code == 404)
}
