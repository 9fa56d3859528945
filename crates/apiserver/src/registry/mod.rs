//! Which kinds are served, and what is particular about each.
//!
//! Built-in kinds are a table ([`builtin`]); custom resources come and go with their
//! definitions ([`custom`]). Everything else in this crate works on [`Kind`].

pub mod builtin;
pub mod custom;
mod kind;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

pub use kind::{Behaviour, Kind, Source, Subresource, Verbs};

/// Group, version and plural name.
type Path = (String, String, String);

/// The kinds that are served at the moment.
#[derive(Debug)]
pub struct Registry {
    kinds: RwLock<Arc<BTreeMap<Path, Arc<Kind>>>>,
}

impl Registry {
    /// The built-in kinds.
    pub fn new() -> Self {
        let kinds = builtin::all()
            .iter()
            .map(|kind| (path(kind), kind.clone()))
            .collect();
        Self {
            kinds: RwLock::new(Arc::new(kinds)),
        }
    }

    fn snapshot(&self) -> Arc<BTreeMap<Path, Arc<Kind>>> {
        self.kinds
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The kind that is served under a group, version and plural name.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Kind>> {
        let path = (group.to_owned(), version.to_owned(), plural.to_owned());
        self.snapshot().get(&path).cloned()
    }

    /// A kind for each resource that is stored, whichever its version: the preferred one of those
    /// that need no webhook.
    pub fn stored(&self) -> Vec<Arc<Kind>> {
        let mut stored: BTreeMap<String, Arc<Kind>> = BTreeMap::new();
        for kind in self
            .snapshot()
            .values()
            .filter(|kind| kind.verbs.is_stored())
        {
            let better = |have: &Arc<Kind>| {
                let rank = |kind: &Kind| {
                    let own_group = kind.storage_group() == kind.group;
                    (own_group, kind.needs_no_webhook(), priority(&kind.version))
                };
                rank(kind) > rank(have)
            };
            if stored.get(&kind.storage_prefix()).is_none_or(better) {
                stored.insert(kind.storage_prefix(), kind.clone());
            }
        }
        stored.into_values().collect()
    }

    /// The kind that an `apiVersion` and a `kind` name.
    pub fn of_kind(&self, api_version: &str, name: &str) -> Option<Arc<Kind>> {
        let named = |kind: &&Arc<Kind>| kind.kind == name && kind.api_version() == api_version;
        self.snapshot().values().find(named).cloned()
    }

    /// The kind that a definition makes, in a version that is served and needs no webhook if there
    /// is one.
    pub fn of_definition(&self, definition: &str) -> Option<Arc<Kind>> {
        let snapshot = self.snapshot();
        let made = |kind: &&Arc<Kind>| kind.definition() == Some(definition);
        let made = snapshot.values().filter(made);
        made.max_by_key(|kind| kind.needs_no_webhook()).cloned()
    }

    /// Every group with its versions, the preferred version first, and their kinds by plural name.
    pub fn groups(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for kind in self.snapshot().values() {
            let group = match groups.iter_mut().find(|group| group.name == kind.group) {
                Some(group) => group,
                None => {
                    groups.push(Group {
                        name: kind.group.clone(),
                        versions: Vec::new(),
                    });
                    groups.last_mut().expect("it was pushed just now")
                }
            };
            match group
                .versions
                .iter_mut()
                .find(|version| version.name == kind.version)
            {
                Some(version) => version.kinds.push(kind.clone()),
                None => group.versions.push(Version {
                    name: kind.version.clone(),
                    kinds: vec![kind.clone()],
                }),
            }
        }
        for group in &mut groups {
            group
                .versions
                .sort_by_key(|version| std::cmp::Reverse(priority(&version.name)));
        }
        groups
    }

    /// Puts the kinds of a definition in the place of those that it had before.
    pub fn set_custom(&self, definition: &str, kinds: Vec<Kind>) {
        let mut guard = self.kinds.write().unwrap_or_else(PoisonError::into_inner);
        let map = Arc::make_mut(&mut guard);
        map.retain(|_, kind| kind.definition() != Some(definition));
        for kind in kinds {
            map.entry(path(&kind)).or_insert_with(|| Arc::new(kind));
        }
    }
}

/// An API group.
#[derive(Debug)]
pub struct Group {
    /// The name, empty for the core group.
    pub name: String,
    /// The versions, the preferred one first.
    pub versions: Vec<Version>,
}

/// A version of an API group.
#[derive(Debug)]
pub struct Version {
    /// The name, such as `v1beta1`.
    pub name: String,
    /// Its kinds, by plural name.
    pub kinds: Vec<Arc<Kind>>,
}

fn path(kind: &Kind) -> Path {
    (
        kind.group.clone(),
        kind.version.clone(),
        kind.plural.clone(),
    )
}

/// The order of versions: stable before beta before alpha, higher numbers first, anything else
/// last and by name (Kubernetes documentation, "Version priority").
fn priority(version: &str) -> (u8, u64, u64, std::cmp::Reverse<String>) {
    let other = (0, 0, 0, std::cmp::Reverse(version.to_owned()));
    let Some(rest) = version.strip_prefix('v') else {
        return other;
    };
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let Ok(major) = rest[..digits].parse() else {
        return other;
    };
    let (stability, minor) = match &rest[digits..] {
        "" => (3, "0"),
        rest => match (rest.strip_prefix("beta"), rest.strip_prefix("alpha")) {
            (Some(minor), _) => (2, minor),
            (_, Some(minor)) => (1, minor),
            _ => return other,
        },
    };
    match minor.parse() {
        Ok(minor) => (stability, major, minor, std::cmp::Reverse(String::new())),
        Err(_) => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_documented() {
        let mut versions = [
            "v11alpha2",
            "foo1",
            "v3beta1",
            "v1",
            "v10",
            "v12alpha1",
            "v2",
        ];
        versions.sort_by_key(|version| std::cmp::Reverse(priority(version)));
        assert_eq!(
            versions,
            [
                "v10",
                "v2",
                "v1",
                "v3beta1",
                "v12alpha1",
                "v11alpha2",
                "foo1"
            ]
        );
    }

    #[test]
    fn what_is_served_twice_is_stored_once_in_the_preferred_form() {
        let stored = Registry::new().stored();
        let events: Vec<_> = stored
            .iter()
            .filter(|kind| kind.plural == "events")
            .collect();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].group, "");
        let autoscalers = stored
            .iter()
            .filter(|kind| kind.plural == "horizontalpodautoscalers");
        let versions: Vec<&str> = autoscalers.map(|kind| kind.version.as_str()).collect();
        assert_eq!(versions, ["v2"]);
    }
}
