//! Storages that show less than there is: one that has lost its history, and one that shows the
//! past.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use crate::storage::{Changes, Expected, Page, Revision, Storage, StorageError, Stored};

use super::rule::AsOf;

/// Prefix of no key.
const NOTHING: &str = "\0";

/// A storage whose history can be lost. Writes, and what is there now, are never touched.
#[derive(Debug)]
pub(crate) struct Forgetful {
    inner: Arc<dyn Storage>,
    /// The oldest revision that can still be read.
    oldest: AtomicU64,
}

impl Forgetful {
    /// Has lost nothing yet.
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

#[async_trait]
impl Storage for Forgetful {
    async fn revision(&self) -> Result<Revision, StorageError> {
        self.inner.revision().await
    }

    async fn get(&self, key: &str) -> Result<Option<Stored>, StorageError> {
        self.inner.get(key).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        at: Option<Revision>,
    ) -> Result<Page, StorageError> {
        at.map_or(Ok(()), |at| self.check(at))?;
        self.inner.list(prefix, after, at).await
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

/// A storage as it was; only what is there is from the past, not what is written.
#[derive(Debug)]
pub(crate) struct Past {
    inner: Arc<dyn Storage>,
    at: Revision,
}

impl Past {
    /// The storage as of then, or as of the oldest revision that can still be read.
    ///
    /// # Errors
    /// If the storage does not work, or the revision does not exist yet.
    pub async fn of(inner: Arc<dyn Storage>, as_of: AsOf) -> Result<Self, StorageError> {
        let wanted = match as_of {
            AsOf::Revision(revision) => revision,
            AsOf::Behind(writes) => inner.revision().await?.saturating_sub(writes),
        };
        let at = match inner.list(NOTHING, None, Some(wanted)).await {
            Ok(_) => wanted,
            Err(StorageError::Compacted { oldest }) => oldest,
            Err(error) => return Err(error),
        };
        Ok(Self { inner, at })
    }
}

#[async_trait]
impl Storage for Past {
    async fn revision(&self) -> Result<Revision, StorageError> {
        Ok(self.at)
    }

    async fn get(&self, key: &str) -> Result<Option<Stored>, StorageError> {
        let page = self.inner.list(key, None, Some(self.at)).await?;
        Ok(page.entries.into_iter().find(|entry| &*entry.key == key))
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        at: Option<Revision>,
    ) -> Result<Page, StorageError> {
        self.inner.list(prefix, after, at.or(Some(self.at))).await
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
        let storage = Forgetful::new(Arc::new(Memory::default()));
        let first = write(&storage, "a", "1").await;
        let second = write(&storage, "a", "2").await;
        storage.forget().await.unwrap();
        for old in [storage.list("", None, Some(first)).await.map(drop)]
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
        let storage: Arc<dyn Storage> = Arc::new(Memory::default());
        let first = write(&*storage, "a", "1").await;
        write(&*storage, "ab", "1").await;
        write(&*storage, "a", "2").await;
        for as_of in [AsOf::Revision(first), AsOf::Behind(2)] {
            let past = Past::of(storage.clone(), as_of).await.unwrap();
            assert_eq!(past.revision().await.unwrap(), first);
            assert_eq!(&*past.get("a").await.unwrap().unwrap().value, b"1");
            assert!(past.get("ab").await.unwrap().is_none());
            assert_eq!(past.list("", None, None).await.unwrap().entries.len(), 1);
        }
    }

    #[tokio::test]
    async fn the_past_begins_where_the_history_does() {
        let storage: Arc<dyn Storage> = Arc::new(Memory::with_history(1));
        for value in ["1", "2", "3"] {
            write(&*storage, "a", value).await;
        }
        let past = Past::of(storage, AsOf::Behind(100)).await.unwrap();
        assert_eq!(&*past.get("a").await.unwrap().unwrap().value, b"2");
    }
}
