//! What every namespace has for its Pods: the ServiceAccount `default`, and the ConfigMap
//! `kube-root-ca.crt` with the authority of the server.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::{self, Api};
use crate::registry::Kind;
use crate::status::Status;
use crate::verbs::{self, DeleteOptions};

use super::follow::{Event, Follower, Seen};

const NAMESPACES: &str = "/namespaces/";
const ACCOUNTS: &str = "/serviceaccounts/";
const MAPS: &str = "/configmaps/";

const ACCOUNT: &str = "default";
const ROOT: &str = "kube-root-ca.crt";
const FILE: &str = "ca.crt";

const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when \
                           using internal endpoints such as the internal service IP or \
                           kubernetes.default.svc. No other usage is guaranteed across \
                           distributions of Kubernetes clusters.";

/// Runs until the server ends. `authority` is the certificate of the server's authority, PEM.
pub async fn run(api: Arc<Api>, authority: Arc<str>) {
    let mut follower = Follower::of(api.clone(), &[NAMESPACES, ACCOUNTS, MAPS]);
    let mut touched: BTreeSet<String> = BTreeSet::new();
    while let Some(seen) = follower.next(!touched.is_empty()).await {
        let (Seen::Everything(events) | Seen::Changes(events)) = seen;
        touched.extend(
            events
                .iter()
                .filter_map(namespace_to_check)
                .map(str::to_owned),
        );
        for namespace in std::mem::take(&mut touched) {
            if let Err(error) = furnish(&api, &namespace, &authority).await {
                tracing::debug!(%error, %namespace, "cannot furnish a namespace");
                touched.insert(namespace);
            }
        }
    }
}

/// The namespace that an event concerns: a new one, or one whose account or map has changed.
fn namespace_to_check(event: &Event) -> Option<&str> {
    if let Some(namespace) = event.key.strip_prefix(NAMESPACES) {
        return event.is_there().then_some(namespace);
    }
    let (rest, ours) = match event.key.strip_prefix(ACCOUNTS) {
        Some(rest) => (rest, ACCOUNT),
        None => (event.key.strip_prefix(MAPS)?, ROOT),
    };
    let (namespace, name) = rest.split_once('/')?;
    (name == ours).then_some(namespace)
}

/// Makes what is missing in a namespace, unless that goes away. `authority` is PEM.
///
/// # Errors
/// What the writes say.
pub async fn furnish(api: &Arc<Api>, namespace: &str, authority: &str) -> Result<(), Status> {
    let kind = |plural| api.registry.find("", "v1", plural);
    let (Some(accounts), Some(maps)) = (kind("serviceaccounts"), kind("configmaps")) else {
        return Ok(());
    };
    if !is_active(api, namespace).await? {
        return Ok(());
    }
    let alone = with_authority("", authority);
    ensure(
        api,
        &accounts,
        namespace,
        ACCOUNT,
        || json!({"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": ACCOUNT}}),
    )
    .await?;
    let made = ensure(api, &maps, namespace, ROOT, || {
        json!({
            "kind": "ConfigMap", "apiVersion": "v1",
            "metadata": {
                "name": ROOT, "annotations": {"kubernetes.io/description": DESCRIPTION},
            },
            "data": {FILE: alone},
        })
    })
    .await?;
    if made {
        return Ok(());
    }
    let key = maps.key(Some(namespace), ROOT);
    verbs::modify(api, &maps, &key, None, None, |map| {
        let mut restored = map.clone();
        let found = map["data"][FILE].as_str().unwrap_or_default();
        let bundle = with_authority(found, authority);
        if map["data"] != json!({FILE: bundle}) {
            restored["data"] = json!({FILE: bundle});
        }
        Ok(restored)
    })
    .await?;
    Ok(())
}

async fn is_active(api: &Api, namespace: &str) -> Result<bool, Status> {
    let key = format!("{NAMESPACES}{namespace}");
    let stored = api
        .storage
        .get(&key)
        .await
        .map_err(|error| api::storage_failed(&error))?;
    let Some(stored) = stored else {
        return Ok(false);
    };
    let namespace: Value = serde_json::from_slice(&stored.value).unwrap_or_default();
    Ok(namespace["metadata"]["deletionTimestamp"].is_null())
}

/// Makes an object unless there is one of its name; returns whether it made one.
async fn ensure<F>(
    api: &Arc<Api>,
    kind: &Kind,
    namespace: &str,
    name: &str,
    object: F,
) -> Result<bool, Status>
where
    F: FnOnce() -> Value,
{
    let there = api
        .storage
        .get(&kind.key(Some(namespace), name))
        .await
        .map_err(|error| api::storage_failed(&error))?;
    if there.is_some() {
        return Ok(false);
    }
    match verbs::create_object(api, kind, Some(namespace), object()).await {
        Ok(_) => {}
        Err(status) if status.reason == "AlreadyExists" => return Ok(false),
        Err(status) => return Err(status),
    }
    // The namespace may have gone meanwhile, and nobody else would clean up behind it.
    if !is_active(api, namespace).await? {
        let options = DeleteOptions::default();
        match verbs::delete_object(api, kind, Some(namespace), name, &options).await {
            Err(status) if status.code != http::StatusCode::NOT_FOUND => return Err(status),
            _ => {}
        }
    }
    Ok(true)
}

/// The certificates of a bundle, and that of an authority. Other certificates stay: each of
/// several servers of one cluster may have an authority of its own. Anything else goes.
fn with_authority(bundle: &str, authority: &str) -> String {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let certificates = |text: &str| -> Vec<String> {
        text.split(BEGIN)
            .skip(1)
            .filter_map(|rest| rest.split_once(END))
            .map(|(inner, _)| format!("{BEGIN}\n{}\n{END}\n", inner.trim()))
            .collect()
    };
    let mut all = certificates(bundle);
    for certificate in certificates(authority) {
        if !all.contains(&certificate) {
            all.push(certificate);
        }
    }
    all.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(content: &str) -> String {
        format!("-----BEGIN CERTIFICATE-----\n{content}\n-----END CERTIFICATE-----\n")
    }

    #[test]
    fn servers_of_one_cluster_leave_each_other_their_authorities() {
        let (ours, theirs) = (certificate("b3Vycw=="), certificate("dGhlaXJz"));
        let both = with_authority(&theirs, &ours);
        assert_eq!(both, format!("{theirs}{ours}"));
        assert_eq!(with_authority(&both, &ours), both);
        assert_eq!(with_authority(&both, &theirs), both);
    }

    #[test]
    fn what_is_no_certificate_does_not_stay() {
        let ours = certificate("b3Vycw==");
        assert_eq!(with_authority("nonsense", &ours), ours);
    }

    #[test]
    fn only_the_account_and_the_map_of_a_namespace_concern_it() {
        let check = |key: &str| {
            let event = Event::new(key, None, Some(&json!({})));
            namespace_to_check(&event).map(str::to_owned)
        };
        assert_eq!(check("/namespaces/a").as_deref(), Some("a"));
        assert_eq!(check("/serviceaccounts/a/default").as_deref(), Some("a"));
        assert_eq!(check("/serviceaccounts/a/robot"), None);
        assert_eq!(
            check("/configmaps/a/kube-root-ca.crt").as_deref(),
            Some("a")
        );
        assert_eq!(check("/configmaps/a/default"), None);
    }
}
