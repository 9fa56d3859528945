//! Host keys that were pinned on first use: the Secret `nio-known-hosts`.
//!
//! One entry for each Machine, `<namespace>.<name>`, with one public key in OpenSSH form in
//! each line. Public keys are no secrets; the Secret keeps them from being changed by whoever
//! may edit ConfigMaps.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use nico_runtime::backoff::Backoff;
use russh::keys::PublicKey;
use serde_json::json;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep};

use super::Pinning;
use super::error::AccessError;
use crate::target::{encode, fingerprint};

/// Name of the Secret with the pinned host keys, in the operator's namespace.
pub const KNOWN_HOSTS_SECRET: &str = "nio-known-hosts";

/// What was read this lately is used again: thousands of machines are probed in a minute, and
/// each would read the same Secret. A key that does not match is always looked up anew.
const RECENT: Duration = Duration::from_secs(15);

/// A write that loses against another one is repeated this often, after waits that keep several
/// writers from running in step.
const MAX_CONFLICTS: u32 = 10;
const CONFLICT_BACKOFF: Backoff = Backoff {
    base: Duration::from_millis(10),
    max: Duration::from_millis(500),
};

/// The pinned host keys. One lock for all: reads are shared, and writes do not fight each other.
pub(super) struct Pins {
    api: Api<Secret>,
    secret: String,
    cache: Mutex<Option<Snapshot>>,
}

/// How new the answer must be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// A few seconds old is new enough.
    Recent,
    /// As it stands in the API now.
    Now,
}

struct Snapshot {
    /// `None` when there is no Secret.
    resource_version: Option<String>,
    data: BTreeMap<String, ByteString>,
    read_at: Instant,
}

impl Pins {
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            secret: format!("{namespace}/{KNOWN_HOSTS_SECRET}"),
            cache: Mutex::new(None),
        }
    }

    /// The keys that are pinned under `name`; empty when there are none.
    pub(super) async fn get(
        &self,
        name: &str,
        freshness: Freshness,
    ) -> Result<Vec<PublicKey>, AccessError> {
        let mut cache = self.cache.lock().await;
        let snapshot = self.snapshot(&mut cache, freshness).await?;
        self.parse(name, snapshot)
    }

    /// Pins `key` under `name`. When another key is there, `replace` decides.
    pub(super) async fn put(
        &self,
        name: &str,
        key: &PublicKey,
        replace: bool,
    ) -> Result<Pinning, AccessError> {
        let mut cache = self.cache.lock().await;
        let mut freshness = Freshness::Recent;
        let mut conflicts = 0;
        loop {
            let snapshot = self.snapshot(&mut cache, freshness).await?;
            let pinned = self.parse(name, snapshot)?;
            let outcome = match pinned.as_slice() {
                [] => Pinning::FirstUse,
                keys if keys.contains(key) => return Ok(Pinning::Unchanged),
                _ if replace => Pinning::Replaced,
                keys if freshness == Freshness::Now => {
                    return Err(AccessError::PinnedOtherwise {
                        secret: self.secret.clone(),
                        key: name.to_owned(),
                        seen: fingerprint(key),
                        pinned: keys.iter().map(fingerprint).collect::<Vec<_>>().join(", "),
                    });
                }
                _ => {
                    freshness = Freshness::Now;
                    continue;
                }
            };
            match self.write(snapshot, name, key).await {
                Ok(()) => return Ok(outcome),
                Err(error) if lost_a_race(&error) && conflicts < MAX_CONFLICTS => {
                    conflicts += 1;
                    freshness = Freshness::Now;
                    sleep(CONFLICT_BACKOFF.delay(conflicts, rand::random())).await;
                }
                Err(source) => {
                    *cache = None;
                    return Err(AccessError::Api {
                        action: "update",
                        secret: self.secret.clone(),
                        source,
                    });
                }
            }
        }
    }

    async fn snapshot<'a>(
        &self,
        cache: &'a mut MutexGuard<'_, Option<Snapshot>>,
        freshness: Freshness,
    ) -> Result<&'a mut Snapshot, AccessError> {
        let usable = freshness == Freshness::Recent
            && cache
                .as_ref()
                .is_some_and(|snapshot| snapshot.read_at.elapsed() < RECENT);
        if !usable {
            let secret = self
                .api
                .get_opt(KNOWN_HOSTS_SECRET)
                .await
                .map_err(|source| AccessError::Api {
                    action: "read",
                    secret: self.secret.clone(),
                    source,
                })?;
            **cache = None;
            return Ok(cache.get_or_insert(Snapshot::of(secret)));
        }
        Ok(cache.get_or_insert_with(|| Snapshot::of(None)))
    }

    fn parse(&self, name: &str, snapshot: &Snapshot) -> Result<Vec<PublicKey>, AccessError> {
        let Some(ByteString(bytes)) = snapshot.data.get(name) else {
            return Ok(Vec::new());
        };
        String::from_utf8_lossy(bytes)
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| {
                line.parse::<PublicKey>()
                    .map(|key| PublicKey::new(key.key_data().clone(), ""))
            })
            .collect::<Result<_, _>>()
            .map_err(|source| AccessError::DamagedPin {
                secret: self.secret.clone(),
                key: name.to_owned(),
                source,
            })
    }

    /// Writes one entry, provided that the Secret is still the one that was read. Of the answer
    /// only the version counts: with thousands of entries the rest is long, and known.
    async fn write(
        &self,
        snapshot: &mut Snapshot,
        name: &str,
        key: &PublicKey,
    ) -> Result<(), kube::Error> {
        let value = format!("{}\n", encode(key)).into_bytes();
        let Some(resource_version) = &snapshot.resource_version else {
            let secret = Secret {
                metadata: ObjectMeta {
                    name: Some(KNOWN_HOSTS_SECRET.to_owned()),
                    ..ObjectMeta::default()
                },
                type_: Some("Opaque".to_owned()),
                data: Some(BTreeMap::from([(name.to_owned(), ByteString(value))])),
                ..Secret::default()
            };
            let created = self.api.create(&PostParams::default(), &secret).await?;
            *snapshot = Snapshot::of(Some(created));
            return Ok(());
        };
        let patch = json!({
            "metadata": {"resourceVersion": resource_version},
            "data": {name: STANDARD.encode(&value)},
        });
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(patch));
        let written = self
            .api
            .patch_metadata(KNOWN_HOSTS_SECRET, &parameters, &patch)
            .await?;
        snapshot.data.insert(name.to_owned(), ByteString(value));
        snapshot.resource_version = written.metadata.resource_version;
        snapshot.read_at = Instant::now();
        Ok(())
    }
}

impl Snapshot {
    fn of(secret: Option<Secret>) -> Self {
        let secret = secret.unwrap_or_default();
        Self {
            resource_version: secret.metadata.resource_version,
            data: secret.data.unwrap_or_default(),
            read_at: Instant::now(),
        }
    }
}

/// Another writer came first (409), or removed the Secret (404).
fn lost_a_race(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 404 | 409))
}
