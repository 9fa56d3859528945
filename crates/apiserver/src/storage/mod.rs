//! Where objects are kept: a revisioned map from keys to bytes, behind one small trait.
//!
//! [`Memory`] forgets everything with the process, [`Durable`] keeps it in a directory, [`Etcd`]
//! in an etcd that other servers may use as well.
//!
//! The storage knows nothing of Kubernetes. Keys are paths (`group/resource/namespace/name`),
//! values are serialised objects without a resourceVersion: that is the revision of their last
//! write, which the storage counts. The shape is that of etcd, so that etcd fits behind it.

mod durable;
mod etcd;
mod memory;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub use durable::{Durable, OpenError};
pub use etcd::{ConnectError, Etcd, EtcdOptions};
pub use memory::Memory;

/// A point in the history of the storage; grows with every write.
pub type Revision = u64;

/// A value and the revision of its last write.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The key.
    pub key: Arc<str>,
    /// The value, as it was written.
    pub value: Bytes,
    /// The revision of the last write.
    pub revision: Revision,
}

/// Part of a range of keys, and the revision at which it was read.
#[derive(Clone, Debug)]
pub struct Page {
    /// The entries in the order of their keys.
    pub entries: Vec<Stored>,
    /// The revision of the whole storage at which the page was read.
    pub revision: Revision,
    /// How many entries of the range lie behind the page.
    pub remaining: usize,
}

/// One write.
#[derive(Clone, Debug)]
pub struct Change {
    /// The key that was written.
    pub key: Arc<str>,
    /// The revision that the write made.
    pub revision: Revision,
    /// What was there before; none for a creation.
    pub before: Option<Stored>,
    /// What is there now; none for a deletion.
    pub after: Option<Bytes>,
}

/// Changes in their order, complete up to a revision.
#[derive(Clone, Debug)]
pub struct Changes {
    /// The changes of the wanted keys.
    pub changes: Vec<Arc<Change>>,
    /// Nothing is missing up to here.
    pub revision: Revision,
}

/// What a write expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// No value.
    Absent,
    /// A value that was last written at this revision.
    Revision(Revision),
}

/// Why the storage refused.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// A write found something else than it expected.
    #[error("the value has changed since it was read")]
    Changed,
    /// The history does not reach back to the wanted revision.
    #[error("the required revision has been compacted; the oldest one kept is {oldest}")]
    Compacted {
        /// The oldest revision that can still be read.
        oldest: Revision,
    },
    /// The wanted revision does not exist yet.
    #[error("the required revision {wanted} is in the future; the newest one is {current}")]
    Future {
        /// What was asked for.
        wanted: Revision,
        /// The newest revision.
        current: Revision,
    },
    /// The storage does not work at the moment. A write may have been done nevertheless.
    #[error("the storage is not available: {0}")]
    Unavailable(String),
}

/// A revisioned key-value store.
#[async_trait]
pub trait Storage: std::fmt::Debug + Send + Sync + 'static {
    /// The revision of the newest write.
    async fn revision(&self) -> Result<Revision, StorageError>;

    /// The newest value of a key.
    async fn get(&self, key: &str) -> Result<Option<Stored>, StorageError>;

    /// The first `limit` (none: all) of the entries whose keys begin with `prefix` and lie behind
    /// `after`, as they were at a revision (none: now).
    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        at: Option<Revision>,
        limit: Option<usize>,
    ) -> Result<Page, StorageError>;

    /// Writes a value, or removes it, if what is there is what was expected. Returns the
    /// revision of the write.
    async fn write(
        &self,
        key: &str,
        expected: Expected,
        value: Option<Bytes>,
    ) -> Result<Revision, StorageError>;

    /// Waits until there is something newer than `after` and returns what happened to the keys
    /// with this prefix since. Cancelling loses nothing.
    async fn changes(&self, prefix: &str, after: Revision) -> Result<Changes, StorageError>;
}
