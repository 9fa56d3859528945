//! `nico flux reconcile` does what `flux reconcile` does.

mod cluster;

use std::time::Duration;

use anyhow::{Context, Result};
use cluster::{Cluster, all_reads, kustomization, ready, repository};
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use nico_apiserver::faults::Faults;
use nico_health::flux::reconcile;
use nico_health::issue::ObjectRef;
use serde_json::json;

#[tokio::test]
async fn reconcile_annotates_as_flux_does_and_waits_until_flux_is_done() -> Result<()> {
    let rights = json!([
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["list", "get", "watch"]},
        {"apiGroups": ["kustomize.toolkit.fluxcd.io", "source.toolkit.fluxcd.io"], "resources": ["*"], "verbs": ["patch"]},
    ]);
    let cluster = Cluster::start(rights, Faults::default())
        .await?
        .with_flux()
        .await?;
    cluster.create(&repository()).await?;
    cluster
        .create(&kustomization(
            "apps",
            None,
            &ready("True", "ReconciliationSucceeded", "old"),
        ))
        .await?;
    let object = ObjectRef::new("Kustomization", "flux-system", "apps");
    let steps = reconcile::plan(&cluster.user, &object, true).await?;
    let repository = ObjectRef::new("GitRepository", "flux-system", "flux-system");
    assert_eq!(steps, [repository, object.clone()]);

    let now = jiff::Timestamp::now();
    let flux = async {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(
            "kustomize.toolkit.fluxcd.io",
            "v1",
            "Kustomization",
        ));
        let api: Api<DynamicObject> =
            Api::namespaced_with(cluster.admin.clone(), "flux-system", &resource);
        let is_asked = |found: Option<&DynamicObject>| {
            let annotations = found.and_then(|found| found.metadata.annotations.as_ref());
            annotations.is_some_and(|all| all.contains_key(reconcile::REQUESTED_AT))
        };
        let asked = kube::runtime::wait::await_condition(api.clone(), "apps", is_asked).await?;
        let annotations = asked.context("it is there")?.metadata.annotations;
        let request = annotations.and_then(|all| all.get(reconcile::REQUESTED_AT).cloned());
        let done = json!({"status": {
            "lastHandledReconcileAt": request,
            "conditions": ready("True", "ReconciliationSucceeded", "Applied revision: main@sha1:abc"),
        }});
        api.patch_status("apps", &PatchParams::default(), &Patch::Merge(done))
            .await?;
        anyhow::Ok(request)
    };
    let wait = Duration::from_secs(120);
    let (asked, done) = tokio::join!(
        flux,
        reconcile::reconcile(&cluster.user, &object, now, wait)
    );
    assert_eq!(asked?, Some(now.to_string()));
    assert_eq!(done?.message, "Applied revision: main@sha1:abc");
    Ok(())
}

#[tokio::test]
async fn reconcile_refuses_what_is_suspended() -> Result<()> {
    let cluster = Cluster::start(all_reads(), Faults::default())
        .await?
        .with_flux()
        .await?;
    let mut suspended = kustomization("apps", None, &ready("True", "x", ""));
    suspended["spec"]["suspend"] = json!(true);
    cluster.create(&suspended).await?;
    let object = ObjectRef::new("Kustomization", "flux-system", "apps");
    let refused = reconcile::plan(&cluster.user, &object, false).await;
    assert!(
        matches!(refused, Err(reconcile::ReconcileError::Suspended(_))),
        "{refused:?}"
    );
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_is_said_in_plain_words() -> Result<()> {
    let cluster = Cluster::start(all_reads(), Faults::default()).await?;
    let object = ObjectRef::new("Kustomization", "flux-system", "apps");
    let refused = reconcile::plan(&cluster.user, &object, false).await;
    let refused = refused.err().context("there is no Flux")?.to_string();
    assert_eq!(
        refused,
        "cannot find the API of Kustomization flux-system/apps: \
         this cluster does not serve kustomize.toolkit.fluxcd.io"
    );
    let cluster = cluster.with_flux().await?;
    let refused = reconcile::plan(&cluster.user, &object, false).await;
    let refused = refused.err().context("there is no such object")?;
    assert_eq!(
        refused.to_string(),
        "cannot read Kustomization flux-system/apps: \
         kustomizations.kustomize.toolkit.fluxcd.io \"apps\" not found"
    );
    Ok(())
}
