//! Reading what is known, and writing so that it is known.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tokio::time::Instant;

use crate::api::Api;
use crate::controllers::follow::Event;
use crate::objects;
use crate::registry::Kind;
use crate::status::Status;
use crate::storage::Revision;
use crate::verbs::{self, DeleteOptions};

use super::names;
use super::placement::Addresses;
use super::pod::{self, Owner};
use super::queue::{Key, Queue, RETRY, Task};
use super::world::World;

/// What the simulation knows and has to do.
#[derive(Debug)]
pub struct Control {
    /// The server's state.
    pub api: Arc<Api>,
    /// What there is.
    pub world: World,
    /// What is to be done.
    pub queue: Queue,
    /// Addresses to give out.
    pub addresses: Addresses,
    /// Since when Pods are on Nodes that are not there.
    pub lost: BTreeMap<Key, Instant>,
}

impl Control {
    /// Knows nothing yet.
    pub fn new(api: Arc<Api>) -> Self {
        Self {
            api,
            world: World::default(),
            queue: Queue::default(),
            addresses: Addresses::default(),
            lost: BTreeMap::new(),
        }
    }

    /// Forgets everything, and notes what there is.
    pub fn restart(&mut self, events: &[Event]) {
        self.world = World::default();
        self.note(events);
    }

    /// Notes what has changed.
    pub fn note(&mut self, events: &[Event]) {
        for event in events {
            for task in self.world.put(&event.key, event.revision, event.after()) {
                self.queue.push(task);
            }
        }
    }

    fn note_written(&mut self, key: &Key, object: Value) {
        let revision = revision_of(&object);
        for task in self.world.put(key, revision, Some(object)) {
            self.queue.push(task);
        }
    }

    /// A name for the next Pod of a controller: the first of a series that it has not used yet.
    /// The series follows from the controller and the seed, so that somebody who has seen only
    /// some of its Pods goes on where the others are.
    pub fn next_name(&mut self, owner: Owner<'_>, prefix: &str, seed: &str) -> String {
        let uid = pod::uid(owner.object);
        let mut series = (0u64..).map(|number| {
            let number = number.to_string();
            names::name(prefix, [uid, seed, number.as_str()])
        });
        let free = series.find(|name| !self.world.is_used(uid, name));
        let name = free.expect("the series does not end");
        self.world.use_name(uid, &name);
        name
    }

    /// Makes an object. It is no failure if there is one of its name: then somebody was faster,
    /// and it will be seen; if not, the task is done again.
    ///
    /// # Errors
    /// What the write says.
    pub async fn create(&mut self, task: Task, key: &Key, mut object: Value) -> Result<(), Status> {
        let Some(kind) = self.kind(key) else {
            return Ok(());
        };
        objects::apply_defaults(&kind, &mut object);
        let namespace = namespace(key).map(str::to_owned);
        match verbs::create_object(&self.api, &kind, namespace.as_deref(), object).await {
            Ok(made) => {
                self.note_written(key, made);
                Ok(())
            }
            Err(status) if status.reason == "AlreadyExists" => {
                self.queue.later(task, RETRY);
                Ok(())
            }
            Err(status) => Err(status),
        }
    }

    /// Changes an object, or a subresource of it, if it is as it is known.
    ///
    /// # Errors
    /// 409 if it has changed; else what the write says.
    pub async fn update<F>(
        &mut self,
        key: &Key,
        subresource: Option<&str>,
        edit: F,
    ) -> Result<(), Status>
    where
        F: Fn(&mut Value),
    {
        let (Some(kind), Some(known)) = (self.kind(key), self.world.revision(key)) else {
            return Ok(());
        };
        let before = self.world.get(key);
        let mut wanted = before.as_deref().cloned().unwrap_or_default();
        edit(&mut wanted);
        if before.is_some_and(|before| *before == wanted) {
            return Ok(());
        }
        let written = verbs::modify(&self.api, &kind, key, subresource, None, |object| {
            if revision_of(object) != known {
                return Err(Status::stale(kind.resource_name(), pod::name(object)));
            }
            let mut changed = object.clone();
            edit(&mut changed);
            Ok(changed)
        })
        .await?;
        if let Some(written) = written {
            self.note_written(key, written);
        }
        Ok(())
    }

    /// Deletes an object, if it still is the one that is known.
    ///
    /// # Errors
    /// What the deletion says.
    pub async fn delete(&mut self, key: &Key, grace_period: Option<i64>) -> Result<(), Status> {
        let (Some(kind), Some(object)) = (self.kind(key), self.world.get(key)) else {
            return Ok(());
        };
        let options = DeleteOptions {
            grace_period,
            uid: Some(pod::uid(&object).to_owned()),
            ..DeleteOptions::default()
        };
        let name = pod::name(&object);
        match verbs::delete_object(&self.api, &kind, namespace(key), name, &options).await {
            Ok(deleted) if kind.behaviour.delete_returns_object => {
                if verbs::is_ready_to_go(&kind, &deleted) {
                    let tasks = self.world.remove(key, revision_of(&deleted));
                    tasks.into_iter().for_each(|task| self.queue.push(task));
                } else {
                    self.note_written(key, deleted);
                }
                Ok(())
            }
            Err(status) if !is_past(&status) => Err(status),
            _ => Ok(()),
        }
    }

    /// The kind whose objects have keys like this one.
    fn kind(&self, key: &str) -> Option<Arc<Kind>> {
        let mut parts = key.splitn(3, '/');
        let (group, plural) = (parts.next()?, parts.next()?);
        self.api.registry.find(group, "v1", plural)
    }
}

/// The object is not there, or another one has its name.
fn is_past(status: &Status) -> bool {
    matches!(
        status.code,
        http::StatusCode::NOT_FOUND | http::StatusCode::CONFLICT
    )
}

/// The namespace in a key (`group/resource/namespace/name`).
pub fn namespace(key: &str) -> Option<&str> {
    let (namespace, _) = key.splitn(3, '/').nth(2)?.split_once('/')?;
    Some(namespace)
}

fn revision_of(object: &Value) -> Revision {
    let version = object["metadata"]["resourceVersion"].as_str();
    version
        .and_then(|version| version.parse().ok())
        .unwrap_or_default()
}
