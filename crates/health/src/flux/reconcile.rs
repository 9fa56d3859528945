//! Asks Flux to look at an object now, and waits until it has: what `flux reconcile` does.
//!
//! The one thing in this crate that writes, and all that it writes is one annotation.

use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use kube::error::DiscoveryError;
use kube::runtime::wait::await_condition;
use kube::{Api, Client, discovery};
use serde_json::json;

use crate::collect::list::said;
use crate::facts::flux::{FluxObject, FluxStatus};
use crate::facts::flux::{HelmRelease, Kustomization, Source};
use crate::facts::meta::Condition;
use crate::issue::ObjectRef;

/// The annotation by which Flux is asked.
pub const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";

/// Who wrote the annotation.
const FIELD_MANAGER: &str = "nico";

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconciled {
    /// Which object.
    pub object: ObjectRef,
    /// What Flux says of it now.
    pub message: String,
}

/// It cannot be asked, or does not go well.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Flux has no such kind.
    #[error(
        "{0} is no kind that Flux reconciles; there are GitRepository, OCIRepository, HelmRepository, HelmChart, Bucket, Kustomization, HelmRelease"
    )]
    UnknownKind(String),
    /// The API server says no, or nothing.
    #[error("cannot {what} {object}: {why}")]
    Api {
        /// What was being done.
        what: &'static str,
        /// To which object.
        object: ObjectRef,
        /// What came back.
        why: String,
    },
    /// It would not be looked at.
    #[error("{0} is suspended and would not be looked at; `flux resume` it first")]
    Suspended(ObjectRef),
    /// Flux did not get to it.
    #[error("{object} was asked for and is not done after {} s: {last}", .waited.as_secs())]
    TimedOut {
        /// Which object.
        object: ObjectRef,
        /// How long it was waited.
        waited: Duration,
        /// What Flux said last.
        last: String,
    },
    /// Flux got to it, and it failed.
    #[error("{object} failed: {message}")]
    Failed {
        /// Which object.
        object: ObjectRef,
        /// What Flux says.
        message: String,
    },
}

/// The objects that are to be asked for, in their order: with its sources, or alone.
///
/// # Errors
/// When one of them cannot be read, is suspended, or is of no kind of Flux.
pub async fn plan(
    client: &Client,
    object: &ObjectRef,
    with_source: bool,
) -> Result<Vec<ObjectRef>, ReconcileError> {
    let mut steps = vec![object.clone()];
    let mut at = object.clone();
    loop {
        let api = api(client, &at).await?;
        let found = read(&api, &at).await?;
        let facts = Facts::of(&at, &found);
        if facts.is_suspended {
            return Err(ReconcileError::Suspended(at));
        }
        match facts
            .source
            .filter(|source| with_source && !steps.contains(source))
        {
            // A HelmRepository of type `oci` is looked at by nobody.
            Some(source) => {
                steps.insert(0, source.clone());
                at = source;
            }
            None => break,
        }
        if at.kind == "HelmRepository" && is_static(client, &at).await? {
            steps.remove(0);
            break;
        }
    }
    Ok(steps)
}

/// Asks for one object and waits until Flux is done with it.
///
/// # Errors
/// When it cannot be asked, does not get done in time, or fails.
pub async fn reconcile(
    client: &Client,
    object: &ObjectRef,
    now: Timestamp,
    timeout: Duration,
) -> Result<Reconciled, ReconcileError> {
    let api = api(client, object).await?;
    let request = now.to_string();
    let patch = Patch::Merge(json!({"metadata": {"annotations": {REQUESTED_AT: request}}}));
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let failed = |what| {
        let object = object.clone();
        move |why: String| ReconcileError::Api { what, object, why }
    };
    let patched = api.patch(&object.name, &parameters, &patch).await;
    patched.map_err(|error| failed("annotate")(answered(&error)))?;
    let is_done = {
        let (object, request) = (object.clone(), request.clone());
        move |found: Option<&DynamicObject>| {
            found.is_some_and(|found| Facts::of(&object, found).is_done_with(&request))
        }
    };
    let waited = await_condition(api.clone(), &object.name, is_done);
    let found = match tokio::time::timeout(timeout, waited).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return Err(failed("watch")(said(&error))),
        Err(_) => {
            let last = read(&api, object).await?;
            return Err(ReconcileError::TimedOut {
                object: object.clone(),
                waited: timeout,
                last: Facts::of(object, &last).message,
            });
        }
    };
    let facts = found.as_ref().map(|found| Facts::of(object, found));
    match facts {
        Some(facts) if facts.is_ready => Ok(Reconciled {
            object: object.clone(),
            message: facts.message,
        }),
        Some(facts) => Err(ReconcileError::Failed {
            object: object.clone(),
            message: facts.message,
        }),
        None => Err(failed("find")("it was deleted meanwhile".to_owned())),
    }
}

/// What the API server says, or why it says nothing.
fn answered(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => said(other),
    }
}

async fn is_static(client: &Client, repository: &ObjectRef) -> Result<bool, ReconcileError> {
    let api = api(client, repository).await?;
    let found = read(&api, repository).await?;
    Ok(found.data["spec"]["type"] == "oci")
}

async fn read(
    api: &Api<DynamicObject>,
    object: &ObjectRef,
) -> Result<DynamicObject, ReconcileError> {
    let found = api.get(&object.name).await;
    found.map_err(|error| ReconcileError::Api {
        what: "read",
        object: object.clone(),
        why: answered(&error),
    })
}

async fn api(client: &Client, object: &ObjectRef) -> Result<Api<DynamicObject>, ReconcileError> {
    let group = match object.kind.as_str() {
        "Kustomization" => "kustomize.toolkit.fluxcd.io",
        "HelmRelease" => "helm.toolkit.fluxcd.io",
        "GitRepository" | "OCIRepository" | "HelmRepository" | "HelmChart" | "Bucket" => {
            "source.toolkit.fluxcd.io"
        }
        other => return Err(ReconcileError::UnknownKind(other.to_owned())),
    };
    let failed = |why: String| ReconcileError::Api {
        what: "find the API of",
        object: object.clone(),
        why,
    };
    let not_served = || failed(format!("this cluster does not serve {group}"));
    let found = match discovery::group(client, group).await {
        Err(kube::Error::Discovery(DiscoveryError::MissingApiGroup(_))) => {
            return Err(not_served());
        }
        found => found.map_err(|error| failed(answered(&error)))?,
    };
    let served = found.recommended_kind(&object.kind);
    let (resource, _) = served.ok_or_else(not_served)?;
    Ok(Api::namespaced_with(
        client.clone(),
        &object.namespace,
        &resource,
    ))
}

/// What matters of an object that is asked for.
struct Facts {
    is_suspended: bool,
    source: Option<ObjectRef>,
    handled: String,
    is_settled: bool,
    is_ready: bool,
    message: String,
}

impl Facts {
    fn of(object: &ObjectRef, found: &DynamicObject) -> Self {
        let mut value = found.data.clone();
        value["metadata"] = json!({
            "name": object.name,
            "namespace": object.namespace,
            "generation": found.metadata.generation,
        });
        let read = |facts: &dyn FluxObject| Self::of_flux(facts);
        match object.kind.as_str() {
            "Kustomization" => {
                let facts: Kustomization = serde_json::from_value(value).unwrap_or_default();
                read(&facts)
            }
            "HelmRelease" => {
                let facts: HelmRelease = serde_json::from_value(value).unwrap_or_default();
                read(&facts)
            }
            kind => {
                let mut facts: Source = serde_json::from_value(value).unwrap_or_default();
                facts.kind = if kind == "HelmChart" { "HelmChart" } else { "" };
                read(&facts)
            }
        }
    }

    fn of_flux(facts: &dyn FluxObject) -> Self {
        let status: &FluxStatus = facts.status();
        let ready = facts.ready();
        Self {
            is_suspended: facts.is_suspended(),
            source: facts.source(),
            handled: status.last_handled_reconcile_at.clone(),
            is_settled: ready
                .is_some_and(|ready| ready.status != "Unknown" && ready.reason != "Progressing"),
            is_ready: ready.is_some_and(Condition::is_true),
            message: ready
                .map_or("it says nothing yet", |ready| ready.words())
                .to_owned(),
        }
    }

    fn is_done_with(&self, request: &str) -> bool {
        self.handled == request && self.is_settled
    }
}
