//! Namespaces that are going away: removes what is in them, then them.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use crate::api::{self, Api};
use crate::status::Status;
use crate::storage::{Expected, StorageError};
use crate::verbs::{self, DeleteOptions, Propagation};

use super::follow::{Follower, Seen};

const PREFIX: &str = "/namespaces/";

/// Runs until the server ends.
pub async fn run(api: Arc<Api>) {
    let mut follower = Follower::new(api.clone());
    let mut terminating: BTreeSet<String> = BTreeSet::new();
    let mut touched: BTreeSet<String> = BTreeSet::new();
    while let Some(seen) = follower.next(!touched.is_empty()).await {
        let (Seen::Everything(events) | Seen::Changes(events)) = seen;
        for event in events {
            if let Some(name) = event.key.strip_prefix(PREFIX) {
                let namespace: Option<Value> = event.after();
                let going =
                    |namespace: &Value| !namespace["metadata"]["deletionTimestamp"].is_null();
                if namespace.as_ref().is_some_and(going) {
                    terminating.insert(name.to_owned());
                    touched.insert(name.to_owned());
                } else {
                    terminating.remove(name);
                }
            } else if let Some(namespace) = namespace_of(&event.key)
                && terminating.contains(namespace)
            {
                touched.insert(namespace.to_owned());
            }
        }
        for namespace in std::mem::take(&mut touched) {
            if let Err(error) = finish(&api, &namespace).await {
                tracing::debug!(%error, %namespace, "cannot remove a namespace");
                touched.insert(namespace);
            }
        }
    }
}

/// The namespace in a key (`group/resource/namespace/name`); none for objects outside of
/// namespaces.
fn namespace_of(key: &str) -> Option<&str> {
    let (namespace, _) = key.splitn(3, '/').nth(2)?.split_once('/')?;
    Some(namespace)
}

/// Deletes everything in a namespace, and the namespace itself once it is empty.
async fn finish(api: &Arc<Api>, namespace: &str) -> Result<(), Status> {
    let failed = |error: StorageError| api::storage_failed(&error);
    let mut left = false;
    for kind in api.registry.stored().iter().filter(|kind| kind.namespaced) {
        let prefix = kind.collection_prefix(Some(namespace));
        let page = api
            .storage
            .list(&prefix, None, None, None)
            .await
            .map_err(failed)?;
        for stored in &page.entries {
            let object = api::decode(kind, stored)?;
            if !object["metadata"]["deletionTimestamp"].is_null() && !kind.is("", "Pod") {
                left = true;
                continue;
            }
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            // No kubelet ends the pods here.
            let options = DeleteOptions {
                grace_period: Some(0),
                propagation: Some(Propagation::Background),
                ..DeleteOptions::default()
            };
            match verbs::delete_object(api, kind, Some(namespace), name, &options).await {
                Ok(_) => {}
                Err(status) if status.code == http::StatusCode::NOT_FOUND => {}
                Err(status) => return Err(status),
            }
        }
        left |= !api
            .storage
            .list(&prefix, None, None, None)
            .await
            .map_err(failed)?
            .entries
            .is_empty();
    }
    if left {
        return Ok(());
    }
    let Some(kind) = api.registry.find("", "v1", "namespaces") else {
        return Ok(());
    };
    let key = kind.key(None, namespace);
    let Some(stored) = api.storage.get(&key).await.map_err(failed)? else {
        return Ok(());
    };
    let object = api::decode(&kind, &stored)?;
    let held = object["metadata"]["finalizers"]
        .as_array()
        .is_some_and(|list| !list.is_empty());
    if !held {
        // If it has changed meanwhile, that change brings us here again.
        match api
            .storage
            .write(&key, Expected::Revision(stored.revision), None)
            .await
        {
            Ok(_) | Err(StorageError::Changed) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(())
}
