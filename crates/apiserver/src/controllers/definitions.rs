//! CustomResourceDefinitions: serves their kinds, and removes their objects with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::api::{self, Api};
use crate::objects::{self, finalizers};
use crate::registry::{Kind, custom};
use crate::status::Status;
use crate::verbs::{self, DeleteOptions};

use super::follow::{Event, Follower, Seen};

const PREFIX: &str = "apiextensions.k8s.io/customresourcedefinitions/";

/// Definitions by name, for which `spec` their kinds are served, and those for which nothing new
/// may be made any more.
#[derive(Debug, Default)]
struct Definitions {
    known: BTreeMap<String, Value>,
    served: BTreeMap<String, Value>,
    terminating: BTreeSet<String>,
}

/// Runs until the server ends.
pub async fn run(api: Arc<Api>) {
    let mut follower = Follower::new(api.clone());
    let mut definitions = Definitions::default();
    let mut touched: BTreeSet<String> = BTreeSet::new();
    while let Some(seen) = follower.next(!touched.is_empty()).await {
        let events = match seen {
            Seen::Everything(events) => {
                // What is not among everything was deleted unseen.
                touched.extend(std::mem::take(&mut definitions.known).into_keys());
                events
            }
            Seen::Changes(events) => events,
        };
        touched.extend(events.iter().flat_map(|event| definitions.note(event)));
        for name in std::mem::take(&mut touched) {
            if let Err(error) = definitions.settle(&api, &name).await {
                tracing::debug!(%error, %name, "cannot settle a CustomResourceDefinition");
                touched.insert(name);
            }
        }
    }
}

/// Serves the kinds of the definitions that are there already, before anybody asks for them.
///
/// # Errors
/// If the definitions cannot be read.
pub async fn load(api: &Api) -> Result<(), Status> {
    let page = api.storage.list(PREFIX, None, None, None).await;
    let page = page.map_err(|error| api::storage_failed(&error))?;
    for stored in &page.entries {
        let definition: Value = serde_json::from_slice(&stored.value).unwrap_or_default();
        if let Some(name) = stored.key.strip_prefix(PREFIX)
            && objects::names_accepted(&definition)
        {
            api.registry.set_custom(name, custom::kinds(&definition));
        }
    }
    Ok(())
}

impl Definitions {
    /// Notes an event and returns the names of the definitions to look at.
    fn note(&mut self, event: &Event) -> Vec<String> {
        let Some(name) = event.key.strip_prefix(PREFIX) else {
            return self.owner_that_goes(&event.key).into_iter().collect();
        };
        match event.after() {
            Some(definition) => self.known.insert(name.to_owned(), definition),
            None => self.known.remove(name),
        };
        // Names that become free may be what others wait for.
        let waiting = self
            .known
            .iter()
            .filter(|(_, known)| !objects::names_accepted(known));
        let mut touched: Vec<String> = waiting.map(|(name, _)| name.clone()).collect();
        touched.push(name.to_owned());
        touched
    }

    /// The definition that is going away and to whose objects a key belongs.
    fn owner_that_goes(&self, key: &str) -> Option<String> {
        let (group, rest) = key.split_once('/')?;
        let (plural, _) = rest.split_once('/')?;
        let name = format!("{plural}.{group}");
        let definition = self.known.get(&name)?;
        (!definition["metadata"]["deletionTimestamp"].is_null()).then_some(name)
    }

    /// Makes the registry and the status say what a definition says, or removes the objects of one
    /// that goes.
    async fn settle(&mut self, api: &Arc<Api>, name: &str) -> Result<(), Status> {
        let Some(definition) = self.known.get(name) else {
            self.served.remove(name);
            self.terminating.remove(name);
            api.registry.set_custom(name, Vec::new());
            return Ok(());
        };
        if !definition["metadata"]["deletionTimestamp"].is_null() {
            // Another server may have served the kind, and have written objects of it.
            let known = self.served.contains_key(name) || objects::names_accepted(definition);
            let begun = self.terminating.insert(name.to_owned());
            let changed = self.served.get(name) != Some(&definition["spec"]);
            if known && (begun || changed) {
                api.registry.set_custom(name, custom::kinds(definition));
                let spec = definition["spec"].clone();
                self.served.insert(name.to_owned(), spec);
            }
            return remove(api, name).await;
        }
        let others = self.known.iter().filter(|(other, _)| *other != name);
        let others: Vec<&Value> = others.map(|(_, definition)| definition).collect();
        let conflicts = objects::conflicting_names(definition, &others);
        // The kind is served before the status says so.
        let served = conflicts.is_empty() || objects::names_accepted(definition);
        if served && self.served.get(name) != Some(&definition["spec"]) {
            api.registry.set_custom(name, custom::kinds(definition));
            self.served
                .insert(name.to_owned(), definition["spec"].clone());
        }
        let Some(kind) = definitions_kind(api) else {
            return Ok(());
        };
        verbs::modify(
            api,
            &kind,
            &kind.key(None, name),
            Some("status"),
            None,
            |definition| {
                let mut judged = definition.clone();
                objects::judge_names(&mut judged, &conflicts, &api::now());
                Ok(judged)
            },
        )
        .await?;
        Ok(())
    }
}

fn definitions_kind(api: &Api) -> Option<Arc<Kind>> {
    api.registry
        .find("apiextensions.k8s.io", "v1", "customresourcedefinitions")
}

/// Removes the objects of a definition, and what holds it once there are none left.
async fn remove(api: &Arc<Api>, name: &str) -> Result<(), Status> {
    let Some(kind) = definitions_kind(api) else {
        return Ok(());
    };
    let key = kind.key(None, name);
    let tell = async |reason: &str, message: &str| {
        verbs::modify(api, &kind, &key, Some("status"), None, |definition| {
            let mut told = definition.clone();
            objects::tell_deletion(&mut told, reason, message, &api::now());
            Ok(told)
        })
        .await
    };
    match remove_objects(api, name).await {
        Ok(true) => {}
        Ok(false) => {
            let message = "CustomResource deletion is in progress";
            tell("InstanceDeletionInProgress", message).await?;
            return Ok(());
        }
        Err(status) => {
            let message = format!("could not list instances: {status}");
            tell("InstanceDeletionFailed", &message).await?;
            return Err(status);
        }
    }
    verbs::modify(api, &kind, &key, None, None, |definition| {
        let mut freed = definition.clone();
        if let Some(list) = freed["metadata"]["finalizers"].as_array_mut() {
            list.retain(|finalizer| finalizer != finalizers::CUSTOM_RESOURCES);
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
        .list(&kind.storage_prefix(), None, None, None)
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
        .list(&kind.storage_prefix(), None, None, None)
        .await
        .map_err(failed)?;
    Ok(page.entries.is_empty())
}
