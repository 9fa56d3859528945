//! The set of mirrors: one for each pair of repository and credentials.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use nico_api::names::GitUrl;
use nico_git::Credentials;
use nico_runtime::backoff::Backoff;

use super::error::MirrorError;
use super::mirror::{Mirror, storage};
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
    /// How long a mirror is kept that nobody asks for.
    pub keep_unused: Duration,
}

/// All mirrors of the operator.
pub struct Mirrors(Arc<Set>);

/// What the mirrors themselves know of each other, for their submodules.
pub(super) struct Set {
    settings: Arc<Settings>,
    metrics: ConfigurationMetrics,
    mirrors: Mutex<HashMap<String, Entry>>,
}

struct Entry {
    mirror: Arc<Mirror>,
    last_used: Instant,
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
            result.map_err(storage(path))?;
        }
        Ok(Self(Arc::new(Set {
            settings: Arc::new(settings),
            metrics,
            mirrors: Mutex::default(),
        })))
    }

    /// The mirror of a repository as seen with these credentials.
    ///
    /// # Errors
    /// [`MirrorError::FileUrlNotAllowed`].
    pub fn get(&self, url: &GitUrl, credentials: &Credentials) -> Result<Arc<Mirror>, MirrorError> {
        self.0.get(url, credentials)
    }

    /// Removes the mirrors that nobody asked for lately, in this process or the one before.
    ///
    /// # Errors
    /// [`MirrorError::Storage`]; then what could not be removed is tried again the next time.
    pub fn remove_unused(&self) -> Result<(), MirrorError> {
        self.0.remove_unused()
    }

    /// Takes out of the mirrors in use what nobody asked for lately, one after the other.
    ///
    /// # Errors
    /// [`MirrorError`] of the last one that could not be cleaned up; that keeps none of the
    /// others from it.
    pub async fn compact(&self) -> Result<(), MirrorError> {
        let mirrors: Vec<Arc<Mirror>> = {
            let mirrors = self.0.mirrors.lock();
            let mirrors = mirrors.unwrap_or_else(PoisonError::into_inner);
            let mirrors = mirrors.values().map(|entry| Arc::clone(&entry.mirror));
            mirrors.collect()
        };
        let mut result = Ok(());
        for mirror in mirrors {
            if let Err(error) = mirror.compact().await {
                result = Err(error);
            }
        }
        result
    }
}

impl Set {
    pub(super) fn get(
        self: &Arc<Self>,
        url: &GitUrl,
        credentials: &Credentials,
    ) -> Result<Arc<Mirror>, MirrorError> {
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
        let entry = mirrors.entry(key).or_insert_with_key(|key| Entry {
            mirror: Arc::new(Mirror::new(
                key,
                url.clone(),
                credentials.clone(),
                Arc::clone(&self.settings),
                Arc::downgrade(self),
                self.metrics.clone(),
            )),
            last_used: Instant::now(),
        });
        entry.last_used = Instant::now();
        Ok(Arc::clone(&entry.mirror))
    }

    /// Forgets mirrors under the lock, where nobody can ask for them; what is on the disk and
    /// belongs to no mirror that is known goes when it is old enough. The time of a mirror's
    /// directory is that of its last use, also for the process after this one.
    fn remove_unused(&self) -> Result<(), MirrorError> {
        let directory = self.settings.directory.join("mirrors");
        let mut unused = Vec::new();
        {
            let mut mirrors = self.mirrors.lock().unwrap_or_else(PoisonError::into_inner);
            mirrors.retain(|_, entry| {
                entry.last_used.elapsed() < self.settings.keep_unused
                    || Arc::strong_count(&entry.mirror) > 1
            });
            let entries = std::fs::read_dir(&directory).map_err(storage(&directory))?;
            for path in entries.flatten().map(|entry| entry.path()) {
                let name = path.file_stem().unwrap_or_default().to_string_lossy();
                let is_known = mirrors.contains_key(&*name);
                let is_whole = path.extension().is_some_and(|extension| extension == "git");
                if is_known && is_whole {
                    touch(&path).map_err(storage(&path))?;
                } else if !is_known && is_older(&path, self.settings.keep_unused) {
                    let gone = path.with_extension("unused");
                    std::fs::rename(&path, &gone).map_err(storage(&path))?;
                    unused.push(gone);
                }
            }
        }
        for path in unused {
            tracing::info!(path = %path.display(), "removing a mirror that nobody uses");
            remove_all(&path).map_err(storage(&path))?;
        }
        Ok(())
    }
}

fn touch(path: &Path) -> std::io::Result<()> {
    std::fs::File::open(path)?.set_modified(SystemTime::now())
}

/// Whether nothing was changed for so long. What cannot be told is young.
fn is_older(path: &Path, age: Duration) -> bool {
    let changed = path.metadata().and_then(|metadata| metadata.modified());
    let passed = changed.ok().and_then(|changed| changed.elapsed().ok());
    passed.is_some_and(|passed| passed >= age)
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
