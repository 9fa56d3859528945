//! Garbage collection by owner references: background, foreground and orphaning.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use crate::api::Api;
use crate::objects::finalizers::{FOREGROUND, ORPHAN};
use crate::registry::Kind;
use crate::status::Status;
use crate::storage::Revision;
use crate::verbs::{self, DeleteOptions, Propagation};

use super::follow::{Event, Follower, Seen};

/// The part of an object that matters.
#[derive(Debug, Deserialize)]
struct Object {
    metadata: Metadata,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    uid: String,
    namespace: Option<String>,
    deletion_timestamp: Option<String>,
    #[serde(default)]
    finalizers: Vec<String>,
    #[serde(default)]
    owner_references: Vec<Owner>,
}

/// What the collector remembers of an object.
#[derive(Clone, Debug)]
struct Node {
    key: String,
    revision: Revision,
    namespace: Option<String>,
    owners: Vec<Owner>,
    deleting: bool,
    foreground: bool,
    orphan: bool,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
struct Owner {
    #[serde(default)]
    uid: String,
    #[serde(default, rename = "blockOwnerDeletion")]
    blocks: bool,
}

/// Objects and their owners, by uid.
#[derive(Debug, Default)]
struct Graph {
    nodes: BTreeMap<String, Node>,
    dependents: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Notes an event and returns the uids of objects to look at.
    fn note(&mut self, event: &Event) -> Vec<String> {
        let mut touched = Vec::new();
        let after: Option<Object> = event.after();
        if let Some(before) = event.before::<Object>() {
            let uid = before.metadata.uid;
            if after.as_ref().is_none_or(|after| after.metadata.uid != uid) {
                touched.extend(self.remove(&uid));
            }
        }
        if let Some(after) = after {
            let uid = after.metadata.uid.clone();
            touched.extend(self.remove_links(&uid));
            let node = Node::new(event, after.metadata);
            for owner in &node.owners {
                self.dependents
                    .entry(owner.uid.clone())
                    .or_default()
                    .insert(uid.clone());
            }
            if node.foreground {
                touched.extend(self.dependents_of(&uid));
            }
            self.nodes.insert(uid.clone(), node);
            touched.push(uid);
        }
        touched
    }

    fn dependents_of(&self, uid: &str) -> Vec<String> {
        self.dependents
            .get(uid)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// Forgets an object; its dependents and its owners need a look.
    fn remove(&mut self, uid: &str) -> Vec<String> {
        let mut touched = self.remove_links(uid);
        self.nodes.remove(uid);
        touched.extend(self.dependents_of(uid));
        touched
    }

    fn remove_links(&mut self, uid: &str) -> Vec<String> {
        let Some(node) = self.nodes.get(uid) else {
            return Vec::new();
        };
        let owners: Vec<String> = node.owners.iter().map(|owner| owner.uid.clone()).collect();
        for owner in &owners {
            if let Some(dependents) = self.dependents.get_mut(owner) {
                dependents.remove(uid);
                if dependents.is_empty() {
                    self.dependents.remove(owner);
                }
            }
        }
        owners
    }

    /// Whether an owner is there for a dependent: alive, and not in another namespace.
    fn is_there(&self, owner: &str, dependent: &Node) -> bool {
        self.nodes
            .get(owner)
            .is_some_and(|node| node.namespace.is_none() || node.namespace == dependent.namespace)
    }

    /// What should be done about an object now.
    fn decide(&self, uid: &str) -> Option<Step> {
        let node = self.nodes.get(uid)?;
        if node.orphan {
            return Some(Step::Orphan(self.dependents_of(uid)));
        }
        if node.foreground {
            let blocking = self
                .dependents
                .get(uid)
                .into_iter()
                .flatten()
                .any(|dependent| {
                    self.nodes.get(dependent).is_some_and(|node| {
                        node.owners
                            .iter()
                            .any(|owner| owner.uid == uid && owner.blocks)
                    })
                });
            if !blocking {
                return Some(Step::Release);
            }
        }
        if node.deleting || node.owners.is_empty() {
            return None;
        }
        let waits = |owner: &&Owner| self.nodes.get(&owner.uid).is_some_and(|o| o.foreground);
        let (there, absent): (Vec<&Owner>, Vec<&Owner>) = node
            .owners
            .iter()
            .partition(|owner| self.is_there(&owner.uid, node));
        let (waiting, solid): (Vec<&Owner>, Vec<&Owner>) = there.into_iter().partition(waits);
        if solid.is_empty() {
            let has_dependents = self.dependents.contains_key(uid);
            let foreground = !waiting.is_empty() && has_dependents;
            return Some(Step::Delete { foreground });
        }
        let mut gone: Vec<String> = absent.iter().map(|owner| owner.uid.clone()).collect();
        gone.extend(waiting.iter().map(|owner| owner.uid.clone()));
        (!gone.is_empty()).then_some(Step::Disown(gone))
    }
}

/// What to do about an object.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Nobody owns it any more.
    Delete {
        /// Its own dependents go first.
        foreground: bool,
    },
    /// Some owners are gone, others are not.
    Disown(Vec<String>),
    /// It waited for its dependents, and they are gone.
    Release,
    /// It goes, and its dependents stay.
    Orphan(Vec<String>),
}

/// Runs until the server ends.
pub async fn run(api: Arc<Api>) {
    let mut follower = Follower::new(api.clone());
    let mut graph = Graph::default();
    let mut touched: BTreeSet<String> = BTreeSet::new();
    while let Some(seen) = follower.next(!touched.is_empty()).await {
        let events = match seen {
            Seen::Everything(events) => {
                graph = Graph::default();
                events
            }
            Seen::Changes(events) => events,
        };
        // Everything is noted before anything is decided: an owner may come right behind.
        touched.extend(events.iter().flat_map(|event| graph.note(event)));
        for uid in std::mem::take(&mut touched) {
            let Some(step) = graph.decide(&uid) else {
                continue;
            };
            if let Err(error) = perform(&api, &graph, &uid, &step).await {
                tracing::debug!(%error, %uid, ?step, "cannot collect garbage");
                touched.insert(uid);
            }
        }
    }
}

async fn perform(api: &Arc<Api>, graph: &Graph, uid: &str, step: &Step) -> Result<(), Status> {
    let Some(node) = graph.nodes.get(uid) else {
        return Ok(());
    };
    match step {
        Step::Delete { foreground } => delete(api, node, uid, *foreground).await,
        Step::Disown(owners) => disown(api, node, uid, owners).await,
        Step::Release => drop_finalizer(api, node, uid, FOREGROUND).await,
        Step::Orphan(dependents) => {
            for dependent in dependents {
                if let Some(node) = graph.nodes.get(dependent) {
                    disown(api, node, dependent, &[uid.to_owned()]).await?;
                }
            }
            drop_finalizer(api, node, uid, ORPHAN).await
        }
    }
}

async fn delete(api: &Arc<Api>, node: &Node, uid: &str, foreground: bool) -> Result<(), Status> {
    let Some(kind) = kind_of(api, &node.key) else {
        return Ok(());
    };
    let propagation = if foreground {
        Propagation::Foreground
    } else {
        Propagation::Background
    };
    let options = DeleteOptions {
        uid: Some(uid.to_owned()),
        // If it has changed since, the change will be seen, and decided on.
        resource_version: Some(node.revision.to_string()),
        propagation: foreground.then_some(propagation),
        ..DeleteOptions::default()
    };
    let name = node.key.rsplit('/').next().unwrap_or_default();
    match verbs::delete_object(api, &kind, node.namespace.as_deref(), name, &options).await {
        Err(status) if !is_past(&status) => Err(status),
        _ => Ok(()),
    }
}

/// The object is not the one that was meant any more.
fn is_past(status: &Status) -> bool {
    matches!(
        status.code,
        http::StatusCode::NOT_FOUND | http::StatusCode::CONFLICT
    )
}

async fn disown(api: &Api, node: &Node, uid: &str, owners: &[String]) -> Result<(), Status> {
    change(api, node, uid, |object| {
        let Some(metadata) = object["metadata"].as_object_mut() else {
            return;
        };
        let Some(references) = metadata
            .get_mut("ownerReferences")
            .and_then(Value::as_array_mut)
        else {
            return;
        };
        references.retain(|reference| {
            let uid = reference["uid"].as_str().unwrap_or_default();
            !owners.iter().any(|owner| owner == uid)
        });
        if references.is_empty() {
            metadata.shift_remove("ownerReferences");
        }
    })
    .await
}

async fn drop_finalizer(api: &Api, node: &Node, uid: &str, finalizer: &str) -> Result<(), Status> {
    change(api, node, uid, |object| {
        let Some(metadata) = object["metadata"].as_object_mut() else {
            return;
        };
        if let Some(list) = metadata.get_mut("finalizers").and_then(Value::as_array_mut) {
            list.retain(|known| known != finalizer);
            if list.is_empty() {
                metadata.shift_remove("finalizers");
            }
        }
    })
    .await
}

async fn change<F>(api: &Api, node: &Node, uid: &str, edit: F) -> Result<(), Status>
where
    F: Fn(&mut Value),
{
    let Some(kind) = kind_of(api, &node.key) else {
        return Ok(());
    };
    verbs::modify(api, &kind, &node.key, None, None, |object| {
        let mut changed = object.clone();
        if object["metadata"]["uid"] == uid {
            edit(&mut changed);
        }
        Ok(changed)
    })
    .await?;
    Ok(())
}

/// The kind whose objects have keys like this one.
fn kind_of(api: &Api, key: &str) -> Option<Arc<Kind>> {
    let mut parts = key.splitn(3, '/');
    let (group, plural) = (parts.next()?, parts.next()?);
    let stored = api.registry.stored();
    stored
        .into_iter()
        .find(|kind| kind.storage_group() == group && kind.plural == plural)
}

impl Node {
    fn new(event: &Event, metadata: Metadata) -> Self {
        let deleting = metadata.deletion_timestamp.is_some();
        let has = |wanted: &str| deleting && metadata.finalizers.iter().any(|f| f == wanted);
        Self {
            key: event.key.to_string(),
            revision: event.revision,
            deleting,
            foreground: has(FOREGROUND),
            orphan: has(ORPHAN),
            namespace: metadata.namespace,
            owners: metadata.owner_references,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(key: &str, after: &Value) -> Event {
        Event::new(key, None, Some(after))
    }

    fn object(uid: &str, owners: &[&str]) -> Value {
        let owners: Vec<Value> = owners
            .iter()
            .map(|owner| json!({"uid": owner, "blockOwnerDeletion": true}))
            .collect();
        json!({"metadata": {"uid": uid, "namespace": "ns", "ownerReferences": owners}})
    }

    #[test]
    fn an_object_goes_with_its_last_owner() {
        let mut graph = Graph::default();
        for (uid, owners) in [("a", &[][..]), ("b", &[]), ("c", &["a", "b"])] {
            graph.note(&event(uid, &object(uid, owners)));
        }
        assert_eq!(graph.decide("c"), None);
        assert!(graph.remove("a").contains(&"c".to_owned()));
        assert_eq!(graph.decide("c"), Some(Step::Disown(vec!["a".to_owned()])));
        graph.remove("b");
        assert_eq!(graph.decide("c"), Some(Step::Delete { foreground: false }));
    }

    #[test]
    fn an_owner_in_another_namespace_does_not_count() {
        let mut graph = Graph::default();
        let mut owner = object("a", &[]);
        owner["metadata"]["namespace"] = "other".into();
        graph.note(&event("a", &owner));
        graph.note(&event("b", &object("b", &["a"])));
        assert_eq!(graph.decide("b"), Some(Step::Delete { foreground: false }));
    }

    #[test]
    fn foreground_waits_for_blocking_dependents() {
        let mut graph = Graph::default();
        let mut owner = object("a", &[]);
        owner["metadata"]["deletionTimestamp"] = "2001-01-01T00:00:00Z".into();
        owner["metadata"]["finalizers"] = json!([FOREGROUND]);
        graph.note(&event("b", &object("b", &["a"])));
        let touched = graph.note(&event("a", &owner));
        assert!(touched.contains(&"b".to_owned()));
        assert_eq!(graph.decide("a"), None);
        assert_eq!(graph.decide("b"), Some(Step::Delete { foreground: false }));
        graph.remove("b");
        assert_eq!(graph.decide("a"), Some(Step::Release));
    }
}
