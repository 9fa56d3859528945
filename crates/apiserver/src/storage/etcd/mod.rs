//! A storage in an etcd, which several servers can share.
//!
//! Revisions are those of etcd. Reads and writes go to etcd and need its quorum. Changes come
//! from one watch for each server, whichever server made them, and are remembered for all
//! watches of clients; a new server reads what etcd still knows of them, so that a client can go
//! on at another server.

mod client;
mod messages;
mod window;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::{interval_at, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Code, Status};

use super::{Change, Changes, Expected, Page, Revision, Storage, StorageError, Stored};
use client::Client;
use messages::{
    Compare, Compared, DeleteRangeRequest, Event, KeyValue, Operation, PutRequest, RangeRequest,
    RangeResponse, RequestOp, ResponseHeader, Target, TxnRequest, WatchCreateRequest,
};
use window::Window;

/// How many changes are remembered.
const HISTORY: usize = 8192;
/// How many values are read at once; they are up to 1.5 MiB each.
const READ: usize = 500;
/// How long to wait before a watch that ended is begun anew.
const RETRY: Duration = Duration::from_millis(200);
/// How often etcd forgets what is older than this; kube-apiserver does the same.
const COMPACTION: Duration = Duration::from_secs(300);

/// An etcd cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is no URL.
    #[error("there is no URL of a member of etcd")]
    NoEndpoint,
    /// A URL or a certificate for it is none.
    #[error("{url:?} is not the URL of a member of etcd: {why}")]
    Endpoint {
        /// What was given.
        url: String,
        /// Why.
        why: String,
    },
    /// Nobody answers.
    #[error("etcd at {endpoints} does not work; check that a majority of its members runs")]
    Unavailable {
        /// The URLs.
        endpoints: String,
        /// Why.
        source: StorageError,
    },
}

/// Which etcd, and how it is reached.
#[derive(Clone, Default)]
pub struct EtcdOptions {
    /// URLs of members: `http://HOST:PORT` or `https://HOST:PORT`.
    pub endpoints: Vec<String>,
    /// What all keys begin with, such as `/nico/registry`.
    pub prefix: String,
    /// PEM of the authority that signed the members' certificates.
    pub authority: Option<String>,
    /// PEM of the client's certificate and key.
    pub identity: Option<(String, String)>,
}

impl std::fmt::Debug for EtcdOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdOptions")
            .field("endpoints", &self.endpoints)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// Keeps everything in an etcd.
#[derive(Debug)]
pub struct Etcd {
    shared: Arc<Shared>,
    _following: DropGuard,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    /// Ends with a slash.
    prefix: String,
    window: Window,
}

impl Etcd {
    /// Connects. Must be called in a Tokio runtime.
    ///
    /// # Errors
    /// If the options make no sense or etcd does not answer within seconds.
    pub async fn connect(options: EtcdOptions) -> Result<Self, ConnectError> {
        let client = Client::new(&options)?;
        let prefix = format!("{}/", options.prefix.trim_end_matches('/'));
        let probe = client.range(one(Bytes::from(prefix.clone()))).await;
        let current = probe.map_err(|status| ConnectError::Unavailable {
            endpoints: options.endpoints.join(", "),
            source: failed(&status),
        })?;
        let current = revision(current.header.as_ref());
        let start = current.saturating_sub(HISTORY as u64);
        let shared = Arc::new(Shared {
            client,
            prefix,
            window: Window::new(start, HISTORY),
        });
        let end = CancellationToken::new();
        tokio::spawn(
            end.clone()
                .run_until_cancelled_owned(shared.clone().follow()),
        );
        tokio::spawn(
            end.clone()
                .run_until_cancelled_owned(shared.clone().compact()),
        );
        Ok(Self {
            shared,
            _following: end.drop_guard(),
        })
    }
}

impl Shared {
    /// Keeps the window up to date.
    async fn follow(self: Arc<Self>) {
        loop {
            if let Err(status) = self.watch().await {
                tracing::debug!(%status, "the watch of etcd ended; it is begun anew");
                self.client.leave_member();
            }
            sleep(RETRY).await;
        }
    }

    /// Watches at one member until that fails.
    async fn watch(&self) -> Result<(), Status> {
        // A member that was cut off from the others would show an old state and no changes.
        let probe = self.client.range(one(Bytes::from(self.prefix.clone())));
        probe.await?;
        let create = WatchCreateRequest {
            key: Bytes::from(self.prefix.clone()),
            range_end: behind(self.prefix.as_bytes()),
            start_revision: signed(self.window.newest() + 1),
            prev_kv: true,
        };
        let mut stream = self.client.watch(create).await?;
        while let Some(response) = stream.message().await? {
            if response.compact_revision > 0 {
                let oldest = unsigned(response.compact_revision);
                tracing::info!(
                    oldest,
                    "etcd has forgotten changes; watches must begin anew"
                );
                self.window.reset(oldest);
                return Ok(());
            }
            if response.canceled {
                return Err(Status::cancelled(response.cancel_reason));
            }
            // The revision of the header is no measure: more events up to it may follow.
            let changes = response.events.into_iter();
            self.window
                .add(changes.filter_map(|event| self.change(event)));
        }
        Err(Status::unavailable("the member ended the watch"))
    }

    /// Lets etcd forget what has been known for long enough.
    async fn compact(self: Arc<Self>) {
        let mut known = self.window.newest();
        let mut ticks = interval_at(tokio::time::Instant::now() + COMPACTION, COMPACTION);
        loop {
            ticks.tick().await;
            // Never what the watch has not seen.
            let compacted = self.client.compact(signed(known)).await;
            if let Err(status) = compacted
                && status.code() != Code::OutOfRange
            {
                tracing::warn!(%status, "etcd cannot be compacted");
            }
            known = self.window.newest();
        }
    }

    fn full_key(&self, key: &str) -> Bytes {
        format!("{}{key}", self.prefix).into()
    }

    /// The key without the prefix; none for keys that are not ours.
    fn own_key(&self, key: &[u8]) -> Option<Arc<str>> {
        let key = std::str::from_utf8(key).ok()?;
        key.strip_prefix(&self.prefix).map(Arc::from)
    }

    fn stored(&self, kv: KeyValue) -> Option<Stored> {
        Some(Stored {
            key: self.own_key(&kv.key)?,
            value: kv.value,
            revision: unsigned(kv.mod_revision),
        })
    }

    fn change(&self, event: Event) -> Option<Change> {
        let now = self.stored(event.kv?)?;
        Some(Change {
            key: now.key,
            revision: now.revision,
            before: event.prev_kv.and_then(|kv| self.stored(kv)),
            after: (event.kind == 0).then_some(now.value),
        })
    }

    async fn read(&self, request: RangeRequest) -> Result<RangeResponse, StorageError> {
        let at = unsigned(request.revision);
        match self.client.range(request).await {
            Ok(response) => Ok(response),
            Err(status) if status.code() == Code::OutOfRange => Err(self.out_of_range(at).await?),
            Err(status) => Err(failed(&status)),
        }
    }

    /// Why a revision cannot be read.
    async fn out_of_range(&self, wanted: Revision) -> Result<StorageError, StorageError> {
        let probe = self
            .client
            .range(one(Bytes::from(self.prefix.clone())))
            .await;
        let current = revision(probe.map_err(|status| failed(&status))?.header.as_ref());
        Ok(if wanted > current {
            StorageError::Future { wanted, current }
        } else {
            StorageError::Compacted { oldest: wanted + 1 }
        })
    }
}

#[async_trait]
impl Storage for Etcd {
    async fn revision(&self) -> Result<Revision, StorageError> {
        let prefix = Bytes::from(self.shared.prefix.clone());
        let response = self.shared.read(one(prefix)).await?;
        Ok(revision(response.header.as_ref()))
    }

    async fn get(&self, key: &str) -> Result<Option<Stored>, StorageError> {
        let mut response = self.shared.read(one(self.shared.full_key(key))).await?;
        Ok(response.kvs.pop().and_then(|kv| self.shared.stored(kv)))
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        at: Option<Revision>,
        limit: Option<usize>,
    ) -> Result<Page, StorageError> {
        let prefix = self.shared.full_key(prefix);
        let range_end = behind(&prefix);
        let mut key = match after.map(|after| self.shared.full_key(after)) {
            Some(after) if after >= prefix => following(&after),
            _ => prefix,
        };
        let limit = limit.unwrap_or(usize::MAX);
        let mut at = at;
        let mut entries = Vec::new();
        loop {
            let wanted = READ.min(limit - entries.len());
            let response = self.shared.read(RangeRequest {
                key: key.clone(),
                range_end: range_end.clone(),
                limit: i64::try_from(wanted).unwrap_or(i64::MAX),
                revision: signed(at.unwrap_or_default()),
                count_only: false,
            });
            let response = response.await?;
            let revision = *at.get_or_insert(revision(response.header.as_ref()));
            let read = response.kvs.len();
            if let Some(last) = response.kvs.last() {
                key = following(&last.key);
            }
            let shared = &self.shared;
            entries.extend(response.kvs.into_iter().filter_map(|kv| shared.stored(kv)));
            let count = usize::try_from(response.count).unwrap_or_default();
            let remaining = count.saturating_sub(read);
            if remaining == 0 || entries.len() >= limit {
                return Ok(Page {
                    entries,
                    revision,
                    remaining,
                });
            }
        }
    }

    async fn write(
        &self,
        key: &str,
        expected: Expected,
        value: Option<Bytes>,
    ) -> Result<Revision, StorageError> {
        let key = self.shared.full_key(key);
        let expected = match expected {
            Expected::Absent => 0,
            Expected::Revision(revision) => signed(revision),
        };
        let condition = Compare {
            result: 0,
            target: Target::Mod.into(),
            key: key.clone(),
            with: Some(Compared::ModRevision(expected)),
        };
        let operation = match value {
            Some(value) => Operation::Put(PutRequest { key, value }),
            None => Operation::Delete(DeleteRangeRequest { key }),
        };
        let request = TxnRequest {
            compare: vec![condition],
            success: vec![RequestOp {
                request: Some(operation),
            }],
        };
        let response = self.shared.client.txn(request).await;
        let response = response.map_err(|status| failed(&status))?;
        if !response.succeeded {
            return Err(StorageError::Changed);
        }
        Ok(revision(response.header.as_ref()))
    }

    async fn changes(&self, prefix: &str, after: Revision) -> Result<Changes, StorageError> {
        self.shared.window.changes(prefix, after).await
    }
}

fn one(key: Bytes) -> RangeRequest {
    RangeRequest {
        key,
        ..RangeRequest::default()
    }
}

fn failed(status: &Status) -> StorageError {
    let message = status.message();
    StorageError::Unavailable(format!("etcd: {message} ({:?})", status.code()))
}

/// The first key that does not begin with these bytes, which end with ASCII here.
fn behind(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last = last.saturating_add(1);
    }
    end.into()
}

/// The next possible key.
fn following(key: &[u8]) -> Bytes {
    [key, b"\0"].concat().into()
}

fn revision(header: Option<&ResponseHeader>) -> Revision {
    unsigned(header.map_or(0, |header| header.revision))
}

fn unsigned(revision: i64) -> Revision {
    Revision::try_from(revision).unwrap_or_default()
}

fn signed(revision: Revision) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}
