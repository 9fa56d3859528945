//! Namespaces that are going away: removes what is in them, then them.

mod content;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use crate::api::{self, Api};
use crate::objects::finalizers;
use crate::registry::Kind;
use crate::status::Status;
use crate::storage::Page;
use crate::verbs::{self, DeleteOptions, Propagation};

use super::follow::{Follower, Seen};
use content::Content;

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
            match finish(&api, &namespace).await {
                Ok(content) if content.has_failed() && terminating.contains(&namespace) => {
                    touched.insert(namespace);
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, %namespace, "cannot remove a namespace");
                    touched.insert(namespace);
                }
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

/// Deletes everything in a namespace, tells in its status what is left, and lets it go once it is
/// empty. Returns what is left.
async fn finish(api: &Arc<Api>, namespace: &str) -> Result<Content, Status> {
    let content = remove_content(api, namespace).await?;
    let Some(kind) = api.registry.find("", "v1", "namespaces") else {
        return Ok(content);
    };
    let key = kind.key(None, namespace);
    verbs::modify(api, &kind, &key, Some("status"), None, |namespace| {
        let mut reported = namespace.clone();
        if !namespace["metadata"]["deletionTimestamp"].is_null() {
            content.report(&mut reported["status"], &api::now());
        }
        Ok(reported)
    })
    .await?;
    if content.is_gone() {
        verbs::modify(api, &kind, &key, Some("finalize"), None, |namespace| {
            let mut finalized = namespace.clone();
            if !namespace["metadata"]["deletionTimestamp"].is_null()
                && let Some(list) = finalized["spec"]["finalizers"].as_array_mut()
            {
                list.retain(|finalizer| finalizer != finalizers::NAMESPACE);
            }
            Ok(finalized)
        })
        .await?;
    }
    Ok(content)
}

/// Deletes everything in a namespace: Pods first, and nothing else while there are any, as they
/// may need it to end. What is wrong with one kind does not keep the others.
///
/// # Errors
/// If the storage does not work.
async fn remove_content(api: &Arc<Api>, namespace: &str) -> Result<Content, Status> {
    let mut content = Content::default();
    let stored = api.registry.stored().into_iter();
    let (pods, others): (Vec<_>, Vec<_>) = stored
        .filter(|kind| kind.namespaced)
        .partition(|kind| kind.is("", "Pod"));
    for kind in pods {
        remove_all(api, &kind, namespace, &mut content).await?;
    }
    if content.has_remains() {
        return Ok(content);
    }
    for kind in others {
        remove_all(api, &kind, namespace, &mut content).await?;
    }
    Ok(content)
}

/// Deletes the objects of a kind, and notes those that stay and what could not be done.
async fn remove_all(
    api: &Arc<Api>,
    kind: &Kind,
    namespace: &str,
    content: &mut Content,
) -> Result<(), Status> {
    let page = objects(api, kind, namespace).await?;
    if page.entries.is_empty() {
        return Ok(());
    }
    let mut done = delete(api, kind, namespace, &page).await;
    for stored in &objects(api, kind, namespace).await?.entries {
        match api::decode(kind, stored) {
            Ok(object) => content.note(&kind.group, &kind.plural, &object),
            Err(status) => done = done.and(Err(status)),
        }
    }
    if let Err(status) = done {
        content.fail(status.to_string());
    }
    Ok(())
}

async fn objects(api: &Api, kind: &Kind, namespace: &str) -> Result<Page, Status> {
    let prefix = kind.collection_prefix(Some(namespace));
    let page = api.storage.list(&prefix, None, None, None).await;
    page.map_err(|error| api::storage_failed(&error))
}

async fn delete(api: &Arc<Api>, kind: &Kind, namespace: &str, page: &Page) -> Result<(), Status> {
    let options = DeleteOptions {
        // No kubelet ends the pods here.
        grace_period: Some(0),
        propagation: Some(Propagation::Background),
        ..DeleteOptions::default()
    };
    for stored in &page.entries {
        let object = api::decode(kind, stored)?;
        if !object["metadata"]["deletionTimestamp"].is_null() && !kind.is("", "Pod") {
            continue;
        }
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        match verbs::delete_object(api, kind, Some(namespace), name, &options).await {
            Err(status) if status.code != http::StatusCode::NOT_FOUND => return Err(status),
            _ => {}
        }
    }
    Ok(())
}
