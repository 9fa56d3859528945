//! The set of mirrors: one for each pair of repository and credentials.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nico_api::names::GitUrl;
use nico_git::Credentials;
use nico_runtime::backoff::Backoff;

use super::error::MirrorError;
use super::mirror::Mirror;
use crate::configuration::metrics::ConfigurationMetrics;
use crate::hash::FieldHash;

/// How mirrors are kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Directory of the mirrors and exports; only this user may enter it.
    pub directory: PathBuf,
    /// Whether `file` URLs may be read.
    pub allow_file_urls: bool,
    /// How long the answer of a server to "what is this reference" is shared.
    pub interval: Duration,
    /// How long a failed answer is shared.
    pub backoff: Backoff,
    /// How long one `ls-remote` may take.
    pub lookup_deadline: Duration,
    /// How long one `fetch` or checkout may take.
    pub fetch_deadline: Duration,
}

/// All mirrors of the operator.
pub struct Mirrors {
    settings: Arc<Settings>,
    metrics: ConfigurationMetrics,
    mirrors: Mutex<HashMap<String, Arc<Mirror>>>,
}

impl Mirrors {
    /// Opens the directory, and removes the exports that an earlier process left there.
    ///
    /// # Errors
    /// [`MirrorError::Storage`] when the directory cannot be made or cleaned.
    pub fn open(settings: Settings, metrics: ConfigurationMetrics) -> Result<Self, MirrorError> {
        let exports = settings.directory.join("exports");
        for (path, result) in [
            (&exports, remove_all(&exports)),
            (&exports, std::fs::create_dir_all(&exports)),
            (
                &settings.directory,
                std::fs::create_dir_all(settings.directory.join("mirrors")),
            ),
        ] {
            result.map_err(|source| MirrorError::Storage {
                path: path.clone(),
                source,
            })?;
        }
        Ok(Self {
            settings: Arc::new(settings),
            metrics,
            mirrors: Mutex::default(),
        })
    }

    /// The mirror of a repository as seen with these credentials.
    ///
    /// # Errors
    /// [`MirrorError::FileUrlNotAllowed`].
    pub fn get(&self, url: &GitUrl, credentials: &Credentials) -> Result<Arc<Mirror>, MirrorError> {
        if url.is_file() && !self.settings.allow_file_urls {
            return Err(MirrorError::FileUrlNotAllowed {
                url: url.to_string(),
            });
        }
        let hash = FieldHash::default()
            .field(url.as_str())
            .field(fingerprint(credentials))
            .finish();
        let key = hash["sha256:".len()..][..32].to_owned();
        let mut mirrors = self.mirrors.lock().unwrap_or_else(PoisonError::into_inner);
        let mirror = mirrors.entry(key).or_insert_with_key(|key| {
            Arc::new(Mirror::new(
                key,
                url.clone(),
                credentials.clone(),
                Arc::clone(&self.settings),
                self.metrics.clone(),
            ))
        });
        Ok(Arc::clone(mirror))
    }
}

/// What tells credentials from others, without giving them away: the key of a mirror is a hash
/// over it.
fn fingerprint(credentials: &Credentials) -> String {
    let hash = FieldHash::default();
    match credentials {
        Credentials::Anonymous => hash,
        Credentials::Token(token) => hash.field("token").field(token),
        Credentials::Password { username, password } => {
            hash.field("password").field(username).field(password)
        }
        Credentials::Key {
            private_key,
            known_hosts,
        } => hash
            .field("key")
            .field(private_key)
            .field(known_hosts.as_deref().unwrap_or_default()),
    }
    .finish()
}

fn remove_all(directory: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
