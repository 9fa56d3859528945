//! Objects of Flux that fail: what Flux says of that, and which objects its words name.

use std::sync::LazyLock;

use regex::Regex;

use crate::detect::{Found, Scene};
use crate::facts::flux::FluxObject;
use crate::facts::meta::{Condition, condition};
use crate::facts::network::WebhookConfiguration;
use crate::issue::{Issue, ObjectRef};

/// An object as Flux names it in a message: `Deployment/apps/web`.
static NAMED: LazyLock<Regex> =
    LazyLock::new(|| expression(r"\b([A-Z][A-Za-z]+)/([a-z0-9.-]+)/([a-z0-9.-]+)"));

/// A Service as the API server calls it: `https://web.apps.svc:443`.
static CALLED: LazyLock<Regex> =
    LazyLock::new(|| expression(r"https://([a-z0-9-]+)\.([a-z0-9-]+)\.svc"));

/// An object that is to be kept and fails.
pub(super) struct Failure<'a> {
    /// The object.
    pub(super) object: &'a dyn FluxObject,
    /// Its condition Ready, which is false for the spec as it is now.
    pub(super) ready: &'a Condition,
    /// What Flux says of it.
    pub(super) story: String,
}

/// All that fail.
pub(super) fn failures<'a>(scene: &'a Scene<'_>) -> impl Iterator<Item = Failure<'a>> {
    scene.index.all_flux().filter_map(Failure::of)
}

impl<'a> Failure<'a> {
    fn of(object: &'a dyn FluxObject) -> Option<Self> {
        let is_kept = !object.is_suspended() && object.deleted_at().is_none();
        let ready = object.ready().filter(|_| is_kept)?;
        (ready.is_false() && ready.reason != "Progressing").then(|| Self {
            object,
            ready,
            story: story(object),
        })
    }

    pub(super) fn is_of_a_release(&self) -> bool {
        self.object.reference().kind == "HelmRelease"
    }

    pub(super) fn is_of_a_source(&self) -> bool {
        let kind = self.object.reference().kind;
        !matches!(kind.as_str(), "Kustomization" | "HelmRelease")
    }

    /// Tells of it, with the objects that Flux names as suspects.
    pub(super) fn tell(&self, scene: &Scene<'_>, found: &mut Found, what: &str) {
        self.issue(found, what).suspects(self.suspects(scene));
    }

    /// An issue that says what Flux says.
    pub(super) fn issue<'found>(&self, found: &'found mut Found, what: &str) -> &'found mut Issue {
        found
            .critical(self.object.reference(), format!("{what}: {}", self.story))
            .since(self.ready.last_transition_time)
    }

    /// Objects that may be the reason, the likeliest first.
    pub(super) fn suspects(&self, scene: &Scene<'_>) -> Vec<ObjectRef> {
        suspects(scene, self.object, &self.story)
    }
}

/// What Flux says of a failure. `Ready` of a HelmRelease that was tried too often says only that;
/// what happened before stands in `Released`.
fn story(object: &dyn FluxObject) -> String {
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

fn suspects(scene: &Scene<'_>, object: &dyn FluxObject, story: &str) -> Vec<ObjectRef> {
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
