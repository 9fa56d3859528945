//! CustomResourceDefinitions: serves their kinds, and removes their objects with them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::api::{self, Api};
use crate::objects;
use crate::registry::custom;
use crate::status::Status;
use crate::verbs::{self, DeleteOptions};

use super::follow::{Event, Follower, Seen};

const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Runs until the server ends.
pub async fn run(api: Arc<Api>) {
    // Definitions, and the objects of those that are going away.
    let mut follower = Follower::new(api.clone(), "");
    let mut definitions: BTreeMap<String, Value> = BTreeMap::new();
    while let Some(seen) = follower.next().await {
        let (Seen::Everything(events) | Seen::Changes(events)) = seen;
        let mut touched: Vec<String> = Vec::new();
        for event in events {
            if let Some(name) = event.key.strip_prefix(prefix()) {
                touched.push(name.to_owned());
                serve(&api, name, &event, &mut definitions);
            } else {
                touched.extend(waiting_for(&event.key, &definitions));
            }
        }
        touched.sort_unstable();
        touched.dedup();
        for name in touched {
            let Some(definition) = definitions.get(&name) else {
                continue;
            };
            if let Err(error) = settle(&api, &name, definition).await {
                tracing::debug!(%error, %name, "cannot settle a CustomResourceDefinition");
            }
        }
    }
}

fn prefix() -> &'static str {
    "apiextensions.k8s.io/customresourcedefinitions/"
}

/// Makes the registry serve what a definition says.
fn serve(api: &Api, name: &str, event: &Event, definitions: &mut BTreeMap<String, Value>) {
    match &event.after {
        Some(definition) => {
            if event
                .before
                .as_ref()
                .is_none_or(|before| before["spec"] != definition["spec"])
            {
                api.registry.set_custom(name, custom::kinds(definition));
            }
            definitions.insert(name.to_owned(), definition.clone());
        }
        None => {
            api.registry.set_custom(name, Vec::new());
            definitions.remove(name);
        }
    }
}

/// The definition that is going away and to whose objects a key belongs.
fn waiting_for(key: &str, definitions: &BTreeMap<String, Value>) -> Option<String> {
    let (group, rest) = key.split_once('/')?;
    let (plural, _) = rest.split_once('/')?;
    let name = format!("{plural}.{group}");
    let definition = definitions.get(&name)?;
    (!definition["metadata"]["deletionTimestamp"].is_null()).then_some(name)
}

/// Says that a definition is established, or removes the objects of one that goes.
async fn settle(api: &Arc<Api>, name: &str, definition: &Value) -> Result<(), Status> {
    let Some(kind) = api
        .registry
        .find("apiextensions.k8s.io", "v1", "customresourcedefinitions")
    else {
        return Ok(());
    };
    let key = kind.key(None, name);
    if definition["metadata"]["deletionTimestamp"].is_null() {
        if definition["status"]["acceptedNames"] != definition["spec"]["names"] {
            verbs::modify(api, &kind, &key, Some("status"), None, |definition| {
                let mut established = definition.clone();
                objects::mark_established(&mut established, &api::now());
                Ok(established)
            })
            .await?;
        }
        return Ok(());
    }
    if !remove_objects(api, name).await? {
        return Ok(());
    }
    verbs::modify(api, &kind, &key, None, None, |definition| {
        let mut freed = definition.clone();
        if let Some(list) = freed["metadata"]["finalizers"].as_array_mut() {
            list.retain(|finalizer| finalizer != CLEANUP);
        }
        Ok(freed)
    })
    .await?;
    Ok(())
}

/// Deletes all objects of a definition; returns whether there are none left.
async fn remove_objects(api: &Arc<Api>, definition: &str) -> Result<bool, Status> {
    let Some(kind) = api.registry.of_definition(definition) else {
        return Ok(true);
    };
    let kind = &*kind;
    let failed = |error| api::storage_failed(&error);
    let page = api
        .storage
        .list(&kind.storage_prefix(), None, None)
        .await
        .map_err(failed)?;
    for stored in &page.entries {
        let object = api::decode(kind, stored)?;
        if !object["metadata"]["deletionTimestamp"].is_null() {
            continue;
        }
        let namespace = object["metadata"]["namespace"].as_str();
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let options = DeleteOptions::default();
        match verbs::delete_object(api, kind, namespace, name, &options).await {
            Err(status) if status.code != http::StatusCode::NOT_FOUND => return Err(status),
            _ => {}
        }
    }
    let page = api
        .storage
        .list(&kind.storage_prefix(), None, None)
        .await
        .map_err(failed)?;
    Ok(page.entries.is_empty())
}
