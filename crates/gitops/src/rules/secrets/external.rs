//! ExternalSecrets: their stores are there, and are not asked too often.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::build::Object;
use crate::duration;
use crate::finding::{Finding, Severity};
use crate::graph::Graph;
use crate::rules::{Context, Rule};
use crate::yaml::Node;

/// An ExternalSecret that will not be kept up to date.
pub static SEC005: Rule = Rule {
    id: "SEC005",
    title: "an ExternalSecret has a store, a version that is served, and asks not too often",
    severity: Severity::Warning,
    consequence: "the Secret is not made, or keeps an old value while nothing looks broken",
    fix: "correct the store, the version, or `refreshInterval`",
    page: include_str!("../pages/SEC005.md"),
};

const GROUP: &str = "external-secrets.io";

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let graph = context.graph;
    let mut findings = Vec::new();
    let mut budgets: BTreeMap<Store<'_>, Vec<(&Object, u64)>> = BTreeMap::new();
    for object in graph.of_kind(GROUP, "ExternalSecret") {
        findings.extend(old_version(object));
        findings.extend(bad_keys(object));
        let Some(store) = store_of(object) else {
            continue;
        };
        if !exists(graph, &store) {
            findings.push(without_store(object, &store));
        } else if is_limited(graph, &store) {
            budgets
                .entry(store)
                .or_default()
                .push((object, reads_a_day(object)));
        }
    }
    for (store, users) in budgets {
        findings.extend(over_budget(
            &store,
            &users,
            context.settings.secret_reads_a_day,
        ));
    }
    findings
}

/// A store: its kind, namespace (empty for one of the cluster) and name.
type Store<'a> = (&'a str, &'a str, &'a str);

fn store_of(object: &Object) -> Option<Store<'_>> {
    let reference = object.spec(&["secretStoreRef"])?;
    let kind = reference.text_of("kind").unwrap_or("SecretStore");
    let namespace = if kind == "ClusterSecretStore" {
        ""
    } else {
        object.namespace()
    };
    Some((kind, namespace, reference.text_of("name")?))
}

fn exists(graph: &Graph, (kind, namespace, name): &Store<'_>) -> bool {
    let mut stores = graph.of_kind(GROUP, kind);
    stores.any(|store| {
        store.name() == *name && (namespace.is_empty() || store.namespace() == *namespace)
    })
}

fn old_version(object: &Object) -> Option<Finding> {
    let node = object.node.get("apiVersion")?;
    let message = format!(
        "{} is dropped by newer versions of the operator",
        object.api_version()
    );
    let is_old = object.version() != "v1";
    let finding = || Finding::new(&SEC005, node.at, message).about(object);
    is_old.then(|| finding().fix("write `external-secrets.io/v1`"))
}

fn without_store(object: &Object, (kind, _, name): &Store<'_>) -> Finding {
    let message = format!("nothing makes {kind} {name}");
    let at = object
        .spec(&["secretStoreRef", "name"])
        .map_or(object.spec_at(), |node| node.at);
    Finding::new(&SEC005, at, message)
        .about(object)
        .fix("correct the kind and name of the store")
}

fn references(object: &Object) -> &[Node] {
    object.spec(&["data"]).map_or(&[][..], Node::items)
}

/// A key that is empty, or that begins or ends with what no store takes for a part of it.
fn bad_keys(object: &Object) -> Vec<Finding> {
    let keys = references(object)
        .iter()
        .filter_map(|entry| entry.path(&["remoteRef", "key"]));
    let bad = keys.filter(|key| {
        let text = key.scalar_text().unwrap_or_default();
        text.trim().is_empty() || text.trim() != text || text.ends_with('/')
    });
    bad.map(|key| {
        Finding::new(&SEC005, key.at, "the key in the store is not complete")
            .about(object)
            .fix("write the key as the store has it")
    })
    .collect()
}

/// 1Password counts what is read, and stops.
fn is_limited(graph: &Graph, (kind, namespace, name): &Store<'_>) -> bool {
    let mut stores = graph.of_kind(GROUP, kind);
    stores.any(|store| {
        let provider = store.spec(&["provider"]).map_or(&[][..], Node::fields);
        let is_meant =
            store.name() == *name && (namespace.is_empty() || store.namespace() == *namespace);
        is_meant
            && provider
                .iter()
                .any(|field| field.key.starts_with("onepassword"))
    })
}

fn reads_a_day(object: &Object) -> u64 {
    let interval = object.spec(&["refreshInterval"]).and_then(Node::text);
    let interval = interval
        .and_then(duration::parse)
        .unwrap_or(Duration::from_secs(3600));
    let items = object
        .spec(&["dataFrom"])
        .map_or(0, |items| items.items().len());
    let reads = (references(object).len() + items) as u64;
    match interval.as_secs() {
        0 => 0,
        seconds => reads * 86_400_u64.div_ceil(seconds),
    }
}

fn over_budget(
    (kind, _, name): &Store<'_>,
    users: &[(&Object, u64)],
    budget: u64,
) -> Option<Finding> {
    let total: u64 = users.iter().map(|(_, reads)| reads).sum();
    let (worst, reads) = users.iter().max_by_key(|(_, reads)| *reads)?;
    let message = format!(
        "{} ExternalSecrets read {total} values a day from {kind} {name}, {reads} of them this one; {budget} are allowed",
        users.len()
    );
    let finding =
        Finding::new(&SEC005, worst.spec_field_at("refreshInterval"), message).about(worst);
    (total > budget).then(|| finding.fix("set a longer `refreshInterval`, such as 24h"))
}
