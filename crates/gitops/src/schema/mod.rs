//! Schemas: which fields the objects of a kind have.
//!
//! Kubernetes' own kinds are those of `k8s-openapi`, Flux' kinds are kept in `flux.json` (made by
//! `tools/flux-schemas`), NICO's are its own CustomResourceDefinitions; those in the repository come
//! on top, and between the two those of a [`directory`] that somebody names. A kind without a schema is not
//! looked at, and [`kinds_without`] says which these are.

pub mod directory;
mod kubernetes;
pub mod validate;
mod values;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde_json::{Map, Value, json};

use crate::build::Object;
use crate::graph::Graph;
use crate::load;
use crate::settings::Settings;
use crate::source::FileId;
use crate::yaml::Node;

/// The schemas of Flux' kinds, by `group/version/Kind`: those of their `spec`.
const FLUX: &str = include_str!("flux.json");

/// NICO's own definitions.
const NICO: [&str; 3] = [
    include_str!("../../../../crds/kubernetescluster.yaml"),
    include_str!("../../../../crds/machine.yaml"),
    include_str!("../../../../crds/nixosconfiguration.yaml"),
];

/// Schemas by `group/version/Kind`; none where the kind is known to have none.
pub type ByKind = HashMap<String, Option<Arc<Value>>>;

/// The schemas that are known for a repository.
pub struct Schemas<'a> {
    /// Those of the definitions in it.
    own: ByKind,
    /// Those that the user names.
    given: &'a ByKind,
}

impl<'a> Schemas<'a> {
    /// All schemas, with those of the definitions in the repository.
    pub fn new(graph: &Graph, settings: &'a Settings) -> Self {
        let definitions = graph.of_kind("apiextensions.k8s.io", "CustomResourceDefinition");
        let own = definitions.flat_map(|definition| versions(&definition.node));
        Self {
            own: own.collect(),
            given: &settings.schemas,
        }
    }

    /// The schema for an object, where there is one.
    pub fn of(&self, object: &Object) -> Option<Arc<Value>> {
        let key = key(object.group(), object.version(), object.kind());
        let known = self.own.get(&key).or_else(|| self.given.get(&key));
        known.map_or_else(|| built_in(&key), Clone::clone)
    }

    /// Whether Flux has this kind in this version.
    pub fn flux_has(object: &Object) -> bool {
        flux().contains_key(&key(object.group(), object.version(), object.kind()))
    }

    /// Whether Flux has this kind in any version.
    pub fn flux_has_kind(object: &Object) -> bool {
        let (start, end) = (
            format!("{}/", object.group()),
            format!("/{}", object.kind()),
        );
        flux()
            .keys()
            .any(|key| key.starts_with(&start) && key.ends_with(&end))
    }
}

/// The kinds without a schema, as `apiVersion Kind`, and how many objects of each there are in the clusters.
pub fn kinds_without(clusters: &[Graph], settings: &Settings) -> BTreeMap<String, usize> {
    let mut seen = BTreeSet::new();
    let mut without = BTreeMap::new();
    for graph in clusters {
        let schemas = Schemas::new(graph, settings);
        for object in graph.checked_objects() {
            if seen.insert(object.node.at) && schemas.of(object).is_none() {
                let kind = format!("{} {}", object.api_version(), object.kind());
                *without.entry(kind).or_default() += 1;
            }
        }
    }
    without
}

/// The schemas that come with this program. Each is made when it is first asked for.
fn built_in(key: &str) -> Option<Arc<Value>> {
    static KNOWN: OnceLock<Mutex<ByKind>> = OnceLock::new();
    let known = KNOWN.get_or_init(|| {
        let definitions = NICO
            .iter()
            .flat_map(|text| load::parse(FileId::default(), text).documents);
        Mutex::new(
            definitions
                .flat_map(|definition| versions(&definition))
                .collect(),
        )
    });
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(schema) = known.get(key) {
        return schema.clone();
    }
    let schema = flux()
        .get(key)
        .map(whole)
        .or_else(|| kubernetes::schema(key));
    let schema = schema.map(Arc::new);
    known.insert(key.to_owned(), schema.clone());
    schema
}

fn key(group: &str, version: &str, kind: &str) -> String {
    format!("{group}/{version}/{kind}")
}

fn flux() -> &'static Map<String, Value> {
    static SCHEMAS: OnceLock<Map<String, Value>> = OnceLock::new();
    SCHEMAS.get_or_init(|| serde_json::from_str(FLUX).expect("the file is generated"))
}

/// The schema of an object with this `spec`.
fn whole(spec: &Value) -> Value {
    json!({"type": "object", "properties": {"spec": spec}, "required": ["spec"]})
}

/// The schemas of a CustomResourceDefinition.
fn versions(definition: &Node) -> Vec<(String, Option<Arc<Value>>)> {
    let text = |path: &[&str]| {
        definition
            .path(path)
            .and_then(Node::text)
            .unwrap_or_default()
    };
    let group = text(&["spec", "group"]);
    let kind = text(&["spec", "names", "kind"]);
    let versions = definition
        .path(&["spec", "versions"])
        .map_or(&[][..], Node::items);
    versions
        .iter()
        .filter_map(|version| {
            let schema = version.path(&["schema", "openAPIV3Schema"])?;
            let key = key(group, version.text_of("name")?, kind);
            Some((key, Some(Arc::new(schema.to_json()))))
        })
        .collect()
}
