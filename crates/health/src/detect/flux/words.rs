//! What the messages of Flux tell of the objects behind a failure.

use std::sync::LazyLock;

use regex::Regex;

use crate::detect::Scene;
use crate::facts::flux::FluxObject;
use crate::facts::meta::{Condition, condition};
use crate::facts::network::WebhookConfiguration;
use crate::issue::ObjectRef;

/// An object as Flux names it in a message: `Deployment/apps/web`.
static NAMED: LazyLock<Regex> =
    LazyLock::new(|| expression(r"\b([A-Z][A-Za-z]+)/([a-z0-9.-]+)/([a-z0-9.-]+)"));

/// A Service as the API server calls it: `https://web.apps.svc:443`.
static CALLED: LazyLock<Regex> =
    LazyLock::new(|| expression(r"https://([a-z0-9-]+)\.([a-z0-9-]+)\.svc"));

/// The condition Ready of an object that is to be kept and fails, for the spec as it is now.
pub(super) fn failure(object: &dyn FluxObject) -> Option<&Condition> {
    if object.is_suspended() || object.deleted_at().is_some() {
        return None;
    }
    object
        .ready()
        .filter(|ready| ready.is_false() && ready.reason != "Progressing")
}

/// What Flux says of a failure. `Ready` of a HelmRelease that was tried too often says only that;
/// what happened before stands in `Released`.
pub(super) fn story(object: &dyn FluxObject) -> String {
    let conditions = &object.status().conditions;
    let ready = condition(conditions, "Ready").map_or("", Condition::words);
    let released = condition(conditions, "Released").filter(|released| released.is_false());
    match released
        .map(Condition::words)
        .filter(|words| !ready.contains(words))
    {
        Some(before) => format!("{ready}; {before}"),
        None => ready.to_owned(),
    }
}

/// Objects that may be the reason of a failure, the likeliest first.
pub(super) fn suspects(scene: &Scene<'_>, object: &dyn FluxObject, story: &str) -> Vec<ObjectRef> {
    let mut suspects: Vec<ObjectRef> = NAMED
        .captures_iter(story)
        .map(|named| ObjectRef::new(&named[1], &named[2], &named[3]))
        .filter(|named| *named != object.reference())
        .collect();
    for called in CALLED.captures_iter(story) {
        suspects.extend(behind(scene, &called[2], &called[1]));
    }
    if story.contains(":53") || story.contains("no such host") {
        suspects.push(ObjectRef::new("Service", "kube-system", "kube-dns"));
    }
    suspects.extend(object.source());
    let reference = object.reference();
    let waits = [
        "health check",
        "timeout waiting",
        "deadline",
        "DependencyNotReady",
    ];
    if waits.iter().any(|words| story.contains(words)) {
        suspects.extend(crate::detect::flux::installed(scene, &reference));
    }
    suspects
}

/// What should answer when a Service is called, and the webhooks that call it.
fn behind(scene: &Scene<'_>, namespace: &str, name: &str) -> Vec<ObjectRef> {
    let world = scene.world;
    let calls = |one: &&WebhookConfiguration| {
        let mut services = one
            .webhooks
            .iter()
            .filter_map(|one| one.client_config.service.as_ref());
        services.any(|service| service.namespace == namespace && service.name == name)
    };
    let configurations = world
        .validating_webhooks
        .iter()
        .chain(&world.mutating_webhooks);
    let mut suspects: Vec<ObjectRef> = configurations
        .filter(calls)
        .map(|one| ObjectRef::new(one.kind, "", &one.metadata.name))
        .collect();
    suspects.push(ObjectRef::new("Service", namespace, name));
    suspects
}

fn expression(text: &str) -> Regex {
    Regex::new(text).expect("the expression is written here and tried by every test of this layer")
}
