//! Nodes, Pods and workloads as they are known, and who is concerned when one changes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::Ipv4Addr;
use std::ops::Bound;
use std::sync::Arc;

use serde_json::Value;

use crate::objects;
use crate::storage::Revision;

use super::pod;
use super::queue::{Key, Task};
use super::{DAEMON_SETS, DEPLOYMENTS, JOBS, NODES, PODS, REPLICA_SETS, STATEFUL_SETS};

/// What is known.
#[derive(Debug, Default)]
pub struct World {
    objects: BTreeMap<Key, (Revision, Arc<Value>)>,
    /// What was removed by us and whose end has not been seen yet.
    removed: HashMap<Key, Revision>,
    /// Pods and ReplicaSets by the uid of their controller.
    children: BTreeMap<String, BTreeSet<Key>>,
    /// Pods and ReplicaSets without a controller.
    orphans: BTreeSet<Key>,
    /// Pods by Node, without those that have run to their end.
    on_node: BTreeMap<String, BTreeSet<Key>>,
    /// Pods without a Node.
    unplaced: BTreeSet<Key>,
    /// Addresses of Pods.
    addresses: BTreeSet<Ipv4Addr>,
    /// Names of all Pods that a controller has ever had, as far as they were seen.
    used: HashMap<String, HashSet<String>>,
}

impl World {
    /// The object of a key.
    pub fn get(&self, key: &str) -> Option<Arc<Value>> {
        self.objects.get(key).map(|(_, object)| object.clone())
    }

    /// The revision of the last write of an object.
    pub fn revision(&self, key: &str) -> Option<Revision> {
        self.objects.get(key).map(|(revision, _)| *revision)
    }

    /// The objects whose keys begin with a prefix.
    pub fn range<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> {
        self.objects
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(key, (_, object))| (key, object))
    }

    /// The objects that a controller owns.
    pub fn children(&self, uid: &str) -> Vec<(Key, Arc<Value>)> {
        self.all(self.children.get(uid).into_iter().flatten())
    }

    /// The objects without a controller whose keys begin with a prefix.
    pub fn orphans(&self, prefix: &str) -> Vec<(Key, Arc<Value>)> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let keys = self.orphans.range::<str, _>(from);
        self.all(keys.take_while(|key| key.starts_with(prefix)))
    }

    /// How many Pods are on a Node.
    pub fn count_on_node(&self, node: &str) -> usize {
        self.on_node.get(node).map_or(0, BTreeSet::len)
    }

    /// Whether a Pod has this address.
    pub fn has_address(&self, address: Ipv4Addr) -> bool {
        self.addresses.contains(&address)
    }

    /// Whether a Pod of a controller has, or has had, this name.
    pub fn is_used(&self, uid: &str, name: &str) -> bool {
        self.used.get(uid).is_some_and(|names| names.contains(name))
    }

    /// Notes the name of a Pod of a controller.
    pub fn use_name(&mut self, uid: &str, name: &str) {
        let names = self.used.entry(uid.to_owned()).or_default();
        names.insert(name.to_owned());
    }

    fn all<'a>(&self, keys: impl Iterator<Item = &'a Key>) -> Vec<(Key, Arc<Value>)> {
        keys.filter_map(|key| Some((key.clone(), self.get(key)?)))
            .collect()
    }

    /// Notes what a key has since a revision. Returns what is to be done about it; nothing, if
    /// something newer is known.
    pub fn put(&mut self, key: &Key, revision: Revision, object: Option<Value>) -> Vec<Task> {
        let known = self.revision(key).or(self.removed.get(key).copied());
        if self
            .removed
            .get(key)
            .is_some_and(|removed| *removed <= revision)
        {
            self.removed.remove(key);
        }
        if known.is_some_and(|known| known >= revision) {
            return Vec::new();
        }
        let new = object.map(Arc::new);
        let old = match &new {
            Some(new) => self.objects.insert(key.clone(), (revision, new.clone())),
            None => self.objects.remove(key),
        };
        let old = old.map(|(_, object)| object);
        if let Some(old) = &old {
            self.forget(key, old);
        }
        match (&old, &new) {
            (_, Some(new)) => self.remember(key, new),
            (Some(old), None) => {
                self.used.remove(pod::uid(old));
            }
            (None, None) => {}
        }
        self.concerned(key, old.as_deref(), new.as_deref())
    }

    /// Notes that we have removed an object, of which the storage will tell later.
    pub fn remove(&mut self, key: &Key, revision: Revision) -> Vec<Task> {
        let tasks = self.put(key, revision, None);
        self.removed.insert(key.clone(), revision);
        tasks
    }

    fn remember(&mut self, key: &Key, object: &Value) {
        let is_pod = key.starts_with(PODS);
        if !is_pod && !key.starts_with(REPLICA_SETS) {
            return;
        }
        match pod::controller(object) {
            Some(controller) => {
                let uid = controller["uid"].as_str().unwrap_or_default();
                let children = self.children.entry(uid.to_owned()).or_default();
                children.insert(key.clone());
                if is_pod {
                    self.use_name(uid, pod::name(object));
                }
            }
            None => {
                self.orphans.insert(key.clone());
            }
        }
        if !is_pod {
            return;
        }
        match pod::node(object) {
            Some(_) if pod::is_over(object) => {}
            Some(node) => {
                let pods = self.on_node.entry(node.to_owned()).or_default();
                pods.insert(key.clone());
            }
            None => {
                self.unplaced.insert(key.clone());
            }
        }
        self.addresses.extend(address(object));
    }

    fn forget(&mut self, key: &Key, object: &Value) {
        let remove = |map: &mut BTreeMap<String, BTreeSet<Key>>, name: &str| {
            if let Some(keys) = map.get_mut(name) {
                keys.remove(key);
                if keys.is_empty() {
                    map.remove(name);
                }
            }
        };
        if let Some(controller) = pod::controller(object) {
            let uid = controller["uid"].as_str().unwrap_or_default();
            remove(&mut self.children, uid);
        }
        self.orphans.remove(key);
        if key.starts_with(PODS) {
            remove(&mut self.on_node, pod::node(object).unwrap_or_default());
            self.unplaced.remove(key);
            if let Some(address) = address(object) {
                self.addresses.remove(&address);
            }
        }
    }

    /// What is to be done when an object has changed.
    fn concerned(&self, key: &Key, old: Option<&Value>, new: Option<&Value>) -> Vec<Task> {
        if let Some(node) = key.strip_prefix(NODES) {
            return self.concerned_by_node(node, old, new);
        }
        let mut tasks: Vec<Task> = new.and_then(|_| own_task(key)).into_iter().collect();
        for object in [old, new].into_iter().flatten() {
            tasks.extend(self.owners(key, object));
        }
        // A Deployment that recreates its Pods waits for the last old one.
        if new.is_none_or(pod::is_over) {
            tasks.extend(old.into_iter().flat_map(|old| self.grandparents(key, old)));
        }
        // Where a Pod was, another one may be now.
        if new.is_none() && old.is_some_and(|old| pod::node(old).is_some()) {
            tasks.extend(self.unplaced.iter().cloned().map(Task::Pod));
        }
        tasks
    }

    fn concerned_by_node(&self, node: &str, old: Option<&Value>, new: Option<&Value>) -> Vec<Task> {
        if matters(old) == matters(new) {
            return Vec::new();
        }
        let on_node = self.on_node.get(node).into_iter().flatten();
        let pods = on_node.chain(&self.unplaced).cloned().map(Task::Pod);
        let sets = self.range(DAEMON_SETS).map(|(key, _)| key.clone());
        pods.chain(sets.map(Task::DaemonSet)).collect()
    }

    /// The owners of the ReplicaSet of a Pod.
    fn grandparents(&self, key: &Key, pod: &Value) -> Vec<Task> {
        let owners = self.owners(key, pod).into_iter();
        let sets = owners.filter_map(|task| match task {
            Task::ReplicaSet(set) => Some((self.get(&set)?, set)),
            _ => None,
        });
        sets.flat_map(|(object, set)| self.owners(&set, &object))
            .collect()
    }

    /// The workloads to which a Pod or ReplicaSet belongs, or may belong.
    fn owners(&self, key: &Key, object: &Value) -> Vec<Task> {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let prefixes: &[&str] = if key.starts_with(PODS) {
            &[REPLICA_SETS, STATEFUL_SETS, DAEMON_SETS, JOBS]
        } else if key.starts_with(REPLICA_SETS) {
            &[DEPLOYMENTS]
        } else {
            return Vec::new();
        };
        if let Some(controller) = pod::controller(object) {
            let name = controller["name"].as_str().unwrap_or_default();
            let prefix = match controller["kind"].as_str() {
                Some("DaemonSet") => DAEMON_SETS,
                Some("Deployment") => DEPLOYMENTS,
                Some("Job") => JOBS,
                Some("ReplicaSet") => REPLICA_SETS,
                Some("StatefulSet") => STATEFUL_SETS,
                _ => return Vec::new(),
            };
            let owner: Key = format!("{prefix}{namespace}/{name}").into();
            return own_task(&owner).into_iter().collect();
        }
        let labels = &object["metadata"]["labels"];
        let candidates = prefixes.iter().flat_map(|prefix| {
            let all = format!("{prefix}{namespace}/");
            let wants = |(_, owner): &(&Key, &Arc<Value>)| {
                objects::selects(&owner["spec"]["selector"], labels)
            };
            let keys: Vec<Key> = self
                .range(&all)
                .filter(wants)
                .map(|(key, _)| key.clone())
                .collect();
            keys
        });
        candidates.filter_map(|key| own_task(&key)).collect()
    }
}

fn own_task(key: &Key) -> Option<Task> {
    type Make = fn(Key) -> Task;
    let tasks: [(&str, Make); 6] = [
        (PODS, Task::Pod),
        (DAEMON_SETS, Task::DaemonSet),
        (DEPLOYMENTS, Task::Deployment),
        (JOBS, Task::Job),
        (REPLICA_SETS, Task::ReplicaSet),
        (STATEFUL_SETS, Task::StatefulSet),
    ];
    let (_, task) = tasks
        .into_iter()
        .find(|(prefix, _)| key.starts_with(prefix))?;
    Some(task(key.clone()))
}

/// What of a Node matters for Pods; heartbeats do not.
fn matters(node: Option<&Value>) -> Option<[&Value; 5]> {
    let node = node?;
    let ready = objects::condition(&node["status"], "Ready");
    Some([
        &node["metadata"]["labels"],
        &node["spec"],
        ready.map_or(&Value::Null, |ready| &ready["status"]),
        &node["status"]["allocatable"],
        &node["status"]["addresses"],
    ])
}

fn address(pod: &Value) -> Option<Ipv4Addr> {
    if pod["spec"]["hostNetwork"] == true || pod::is_over(pod) {
        return None;
    }
    pod["status"]["podIP"].as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod_of(owner: &str, node: &str) -> Value {
        json!({
            "metadata": {"namespace": "ns", "name": "p", "ownerReferences": [
                {"kind": "ReplicaSet", "name": owner, "uid": owner, "controller": true}]},
            "spec": {"nodeName": node},
        })
    }

    fn key(text: &str) -> Key {
        text.into()
    }

    #[test]
    fn what_is_older_than_what_is_known_changes_nothing() {
        let mut world = World::default();
        let pod = key("/pods/ns/p");
        world.put(&pod, 5, Some(pod_of("a", "n")));
        assert!(world.put(&pod, 4, None).is_empty());
        assert!(world.get(&pod).is_some());
        world.remove(&pod, 7);
        assert!(world.put(&pod, 6, Some(pod_of("a", "n"))).is_empty());
        assert!(world.get(&pod).is_none());
        world.put(&pod, 7, None);
        world.put(&pod, 8, Some(pod_of("a", "n")));
        assert!(world.get(&pod).is_some());
    }

    #[test]
    fn a_pod_concerns_itself_and_its_owner() {
        let mut world = World::default();
        let pod = key("/pods/ns/p");
        let tasks = world.put(&pod, 1, Some(pod_of("a", "n")));
        let owner = Task::ReplicaSet(key("apps/replicasets/ns/a"));
        assert_eq!(tasks, [Task::Pod(pod.clone()), owner.clone()]);
        assert_eq!(world.children("a").len(), 1);
        assert_eq!(world.count_on_node("n"), 1);
        assert_eq!(world.put(&pod, 2, None), [owner]);
        assert!(world.children("a").is_empty());
        assert_eq!(world.count_on_node("n"), 0);
    }

    #[test]
    fn a_pod_that_nobody_owns_concerns_those_who_would_take_it() {
        let mut world = World::default();
        for (name, app) in [("a", "x"), ("b", "y")] {
            let set = json!({"metadata": {"namespace": "ns", "name": name},
                "spec": {"selector": {"matchLabels": {"app": app}}}});
            world.put(&key(&format!("apps/replicasets/ns/{name}")), 1, Some(set));
        }
        let orphan = json!({"metadata": {"namespace": "ns", "labels": {"app": "x"}}});
        let tasks = world.put(&key("/pods/ns/p"), 2, Some(orphan));
        assert!(tasks.contains(&Task::ReplicaSet(key("apps/replicasets/ns/a"))));
        assert_eq!(tasks.len(), 2);
    }

    #[test]
    fn a_heartbeat_of_a_node_concerns_nobody() {
        let mut world = World::default();
        let node = |time: &str, status: &str| {
            json!({"status": {"conditions": [
                {"type": "Ready", "status": status, "lastHeartbeatTime": time}]}})
        };
        world.put(&key("/pods/ns/p"), 1, Some(pod_of("a", "n")));
        let first = world.put(&key("/nodes/n"), 2, Some(node("1", "True")));
        assert_eq!(first, [Task::Pod(key("/pods/ns/p"))]);
        assert!(
            world
                .put(&key("/nodes/n"), 3, Some(node("2", "True")))
                .is_empty()
        );
        assert!(
            !world
                .put(&key("/nodes/n"), 4, Some(node("2", "False")))
                .is_empty()
        );
    }
}
