//! Keeps the rules as they are stored.

use std::sync::Arc;
use std::time::Duration;

use crate::api::Api;
use crate::storage::{Revision, StorageError};

use super::Access;
use super::policy::GROUP_PREFIX;

/// How long to wait before what failed is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Follows roles and bindings until the server ends. `seen` is the revision up to which they are
/// known.
pub async fn run(api: Arc<Api>, mut seen: Revision) {
    loop {
        let step = tokio::select! {
            () = api.shutdown.cancelled() => return,
            step = api.storage.changes(GROUP_PREFIX, seen) => step,
        };
        match step {
            Ok(changes) => {
                for change in &changes.changes {
                    api.access.note(&change.key, change.after.as_deref());
                }
                seen = changes.revision;
            }
            Err(error) => {
                tracing::debug!(%error, "cannot follow roles and bindings; they are read anew");
                match load(&api).await {
                    Ok(revision) => seen = revision,
                    Err(_) => tokio::time::sleep(RETRY).await,
                }
            }
        }
    }
}

/// Reads all roles and bindings; returns the revision at which they were read.
///
/// # Errors
/// If the storage does not work.
pub async fn load(api: &Api) -> Result<Revision, StorageError> {
    let page = api.storage.list(GROUP_PREFIX, None, None, None).await?;
    api.access.replace_rules(
        page.entries
            .iter()
            .map(|stored| (&*stored.key, &*stored.value)),
    );
    Ok(page.revision)
}

impl Access {
    /// Forgets the rules that are known and notes these.
    fn replace_rules<'a>(&self, entries: impl Iterator<Item = (&'a str, &'a [u8])>) {
        let mut policy = super::Policy::default();
        for (key, value) in entries {
            policy.note(key, Some(value));
        }
        *self.write_policy() = policy;
    }
}
