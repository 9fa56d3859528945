//! What requests see of the storage: all of it, unless its history is lost or a request is shown
//! the past.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use crate::storage::{Changes, Expected, Page, Revision, Storage, StorageError, Stored};

use super::rule::AsOf;

/// Prefix of no key.
const NOTHING: &str = "\0";

tokio::task_local! {
    /// The revision that the request at hand is shown. Local to its task, so that nothing between
    /// the request and the storage needs to know of faults.
    static SHOWN: Revision;
}

/// A storage that can lose its history and show the past. What is written is never touched.
#[derive(Debug)]
pub(crate) struct Window {
    inner: Arc<dyn Storage>,
    /// The oldest revision that can still be read.
    oldest: AtomicU64,
}

impl Window {
    /// Shows everything.
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self {
            inner,
            oldest: AtomicU64::new(0),
        }
    }

    /// Loses the history up to now: older revisions are compacted.
    ///
    /// # Errors
    /// If the storage cannot say which revision is the newest.
    pub async fn forget(&self) -> Result<(), StorageError> {
        let now = self.inner.revision().await?;
        self.oldest.fetch_max(now, Ordering::AcqRel);
        Ok(())
    }

    fn check(&self, revision: Revision) -> Result<(), StorageError> {
        let oldest = self.oldest.load(Ordering::Acquire);
        if revision < oldest {
            return Err(StorageError::Compacted { oldest });
        }
        Ok(())
    }
}

/// Does `work`, which sees a [`Window`] as it was then, or as it was at the oldest revision that
/// can still be read.
///
/// # Errors
/// If the storage does not work, or the revision does not exist yet.
pub(super) async fn show<F: Future>(
    storage: &dyn Storage,
    as_of: AsOf,
    work: F,
) -> Result<F::Output, StorageError> {
    let wanted = match as_of {
        AsOf::Revision(revision) => revision,
        AsOf::Behind(writes) => storage.revision().await?.saturating_sub(writes),
    };
    let at = match storage.list(NOTHING, None, Some(wanted), Some(1)).await {
        Ok(_) => wanted,
        Err(StorageError::Compacted { oldest }) => oldest,
        Err(error) => return Err(error),
    };
    Ok(SHOWN.scope(at, work).await)
}

fn shown() -> Option<Revision> {
    SHOWN.try_with(|at| *at).ok()
}

#[async_trait]
impl Storage for Window {
    async fn revision(&self) -> Result<Revision, StorageError> {
        match shown() {
            Some(at) => Ok(at),
            None => self.inner.revision().await,
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Stored>, StorageError> {
        if shown().is_none() {
            return self.inner.get(key).await;
        }
        let page = self.list(key, None, None, Some(1)).await?;
        Ok(page.entries.into_iter().find(|entry| &*entry.key == key))
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        at: Option<Revision>,
        limit: Option<usize>,
    ) -> Result<Page, StorageError> {
        let at = at.or_else(shown);
        at.map_or(Ok(()), |at| self.check(at))?;
        self.inner.list(prefix, after, at, limit).await
    }

    async fn write(
        &self,
        key: &str,
        expected: Expected,
        value: Option<Bytes>,
    ) -> Result<Revision, StorageError> {
        self.inner.write(key, expected, value).await
    }

    async fn changes(&self, prefix: &str, after: Revision) -> Result<Changes, StorageError> {
        self.check(after)?;
        self.inner.changes(prefix, after).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Memory;

    async fn write(storage: &dyn Storage, key: &str, value: &'static str) -> Revision {
        let expected = match storage.get(key).await.unwrap() {
            Some(found) => Expected::Revision(found.revision),
            None => Expected::Absent,
        };
        let value = Some(Bytes::from_static(value.as_bytes()));
        storage.write(key, expected, value).await.unwrap()
    }

    #[tokio::test]
    async fn lost_history_is_compacted_and_the_present_is_not() {
        let storage = Window::new(Arc::new(Memory::default()));
        let first = write(&storage, "a", "1").await;
        let second = write(&storage, "a", "2").await;
        storage.forget().await.unwrap();
        for old in [storage.list("", None, Some(first), None).await.map(drop)]
            .into_iter()
            .chain([storage.changes("", first).await.map(drop)])
        {
            assert!(matches!(old, Err(StorageError::Compacted { oldest }) if oldest == second));
        }
        assert_eq!(&*storage.get("a").await.unwrap().unwrap().value, b"2");
        write(&storage, "a", "3").await;
        let changes = storage.changes("", second).await.unwrap().changes;
        assert_eq!(changes.len(), 1);
    }

    #[tokio::test]
    async fn the_past_shows_what_was_there_then() {
        let storage = Window::new(Arc::new(Memory::default()));
        let first = write(&storage, "a", "1").await;
        write(&storage, "ab", "1").await;
        write(&storage, "a", "2").await;
        for as_of in [AsOf::Revision(first), AsOf::Behind(2)] {
            let look = async {
                assert_eq!(storage.revision().await.unwrap(), first);
                assert_eq!(&*storage.get("a").await.unwrap().unwrap().value, b"1");
                assert!(storage.get("ab").await.unwrap().is_none());
                storage
                    .list("", None, None, None)
                    .await
                    .unwrap()
                    .entries
                    .len()
            };
            assert_eq!(show(&storage, as_of, look).await.unwrap(), 1);
        }
        assert_eq!(&*storage.get("a").await.unwrap().unwrap().value, b"2");
        let future = show(&storage, AsOf::Revision(99), async {}).await;
        assert!(matches!(future, Err(StorageError::Future { .. })));
    }

    #[tokio::test]
    async fn the_past_begins_where_the_history_does() {
        let short = Window::new(Arc::new(Memory::with_history(1)));
        let lost = Window::new(Arc::new(Memory::default()));
        for value in ["1", "2"] {
            write(&short, "a", value).await;
            write(&lost, "a", value).await;
        }
        lost.forget().await.unwrap();
        for storage in [short, lost] {
            write(&storage, "a", "3").await;
            let look = async { storage.get("a").await.unwrap().unwrap().value };
            let seen = show(&storage, AsOf::Behind(100), look).await.unwrap();
            assert_eq!(&*seen, b"2");
        }
    }
}
