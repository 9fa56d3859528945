//! A reflector whose watcher can be listened to.

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::Api;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt, watcher};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::SOON;

/// A reflector that follows ConfigMaps, and what its watcher says.
pub(crate) struct Reflector {
    store: Store<ConfigMap>,
    said: mpsc::UnboundedReceiver<String>,
    task: JoinHandle<()>,
}

impl Drop for Reflector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reflector {
    pub(crate) async fn start(maps: &Api<ConfigMap>) -> Self {
        let (store, writer) = reflector::store();
        let (sender, said) = mpsc::unbounded_channel();
        let events = watcher(maps.clone(), watcher::Config::default())
            .default_backoff()
            .reflect(writer);
        let task = tokio::spawn(events.for_each(move |event| {
            let said = match event {
                Ok(watcher::Event::Init) => Some("init".to_owned()),
                Ok(watcher::Event::Apply(map)) => Some(format!("apply {}", map.name_any())),
                Ok(watcher::Event::Delete(map)) => Some(format!("delete {}", map.name_any())),
                Ok(_) => None,
                Err(watcher::Error::WatchError(status)) => Some(format!("error {}", status.code)),
                Err(error) => Some(format!("failure {error}")),
            };
            // Nobody listens at the end of a test.
            said.map(|said| sender.send(said).ok());
            async {}
        }));
        let mut reflector = Self { store, said, task };
        let ready = reflector.store.wait_until_ready();
        timeout(SOON, ready).await.unwrap().unwrap();
        assert_eq!(reflector.next().await, "init");
        reflector
    }

    /// What the watcher says next.
    pub(crate) async fn next(&mut self) -> String {
        timeout(SOON, self.said.recv()).await.unwrap().unwrap()
    }

    /// Whether the store has an object of this name.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.store.find(|map| map.name_any() == name).is_some()
    }
}
