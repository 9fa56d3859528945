//! A storage that a directory keeps over restarts.
//!
//! Reads, watches and the history are those of [`Memory`]; every write is in the database, and
//! on the disk, before anybody sees it. One thread writes: what comes in while it waits for the
//! disk is written together next time, so that many writers do not wait in turn.
//!
//! The revision goes on where it was. The history does not outlive the process: a watch from an
//! older revision than the last one gets [`StorageError::Compacted`].

use std::collections::HashMap;
use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use async_trait::async_trait;
use bytes::Bytes;
use redb::backends::FileBackend;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::sync::oneshot;

use super::{Changes, Expected, Memory, Page, Revision, Storage, StorageError, Stored};

/// The database in the directory.
const FILE: &str = "objects.redb";
/// The arrangement of the tables below.
const FORMAT: u64 = 1;
/// Values, and the revisions of their last writes.
const OBJECTS: TableDefinition<'_, &str, (Revision, &[u8])> = TableDefinition::new("objects");
/// Numbers about the whole.
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
/// How many writes are put on the disk together at most.
const BATCH: usize = 1024;

/// A directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The system refuses.
    #[error("cannot use the data directory {}", directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory holds something else.
    #[error(
        "{} is neither empty nor the data directory of an API server; choose another one",
        .0.display()
    )]
    Foreign(PathBuf),
    /// Another process has it open.
    #[error(
        "the data directory {} is in use by another API server; stop that one, or choose another \
         directory",
        .0.display()
    )]
    InUse(PathBuf),
    /// Another version made it.
    #[error(
        "the data directory {} has format {found}, and this version knows format {FORMAT}; use \
         the version that made it, or another directory",
        directory.display()
    )]
    Format {
        /// The directory.
        directory: PathBuf,
        /// Its format.
        found: u64,
    },
    /// The database is damaged, or no database.
    #[error(
        "cannot read the database {}; restore it from a backup, or use another directory",
        file.display()
    )]
    Database {
        /// The file.
        file: PathBuf,
        /// Why.
        source: Box<redb::Error>,
    },
}

/// Keeps everything in memory, and every write in a directory as well.
#[derive(Debug)]
pub struct Durable {
    memory: Arc<Memory>,
    /// None while it is dropped.
    queue: Option<mpsc::Sender<Write>>,
    writer: Option<JoinHandle<()>>,
}

/// A write that waits for its turn.
#[derive(Debug)]
struct Write {
    key: String,
    expected: Expected,
    value: Option<Bytes>,
    done: oneshot::Sender<Result<Revision, StorageError>>,
}

impl Durable {
    /// Opens a directory, or makes it. Only its owner can read it afterwards, as there are
    /// Secrets in it.
    ///
    /// # Errors
    /// If the directory is in use, holds something else, or cannot be read.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let file = directory.join(FILE);
        let database = open_database(directory, &file)?;
        let (revision, entries) = match load(&database) {
            Ok(Loaded::Known(revision, entries)) => (revision, entries),
            Ok(Loaded::Unknown(found)) => {
                let directory = directory.to_owned();
                return Err(OpenError::Format { directory, found });
            }
            Err(source) => {
                let source = Box::new(source);
                return Err(OpenError::Database { file, source });
            }
        };
        let memory = Arc::new(Memory::restored(revision, entries));
        let (queue, writes) = mpsc::channel();
        let shown = memory.clone();
        let writer = std::thread::Builder::new()
            .name("storage".to_owned())
            .spawn(move || write_all(&database, &shown, &writes))
            .map_err(|source| OpenError::Directory {
                directory: directory.to_owned(),
                source,
            })?;
        Ok(Self {
            memory,
            queue: Some(queue),
            writer: Some(writer),
        })
    }
}

impl Drop for Durable {
    /// Waits for the last writes, and gives the directory free.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the thread that writes to the data directory has panicked");
        }
    }
}

fn open_database(directory: &Path, file: &Path) -> Result<Database, OpenError> {
    let failed = |source| OpenError::Directory {
        directory: directory.to_owned(),
        source,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(failed)?;
    let is_empty = directory.read_dir().map_err(failed)?.next().is_none();
    if !is_empty && !file.is_file() {
        return Err(OpenError::Foreign(directory.to_owned()));
    }
    std::fs::set_permissions(directory, Permissions::from_mode(0o700)).map_err(failed)?;
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(file)
        .map_err(failed)?;
    let backend = FileBackend::new(opened);
    match backend.and_then(|backend| Database::builder().create_with_backend(backend)) {
        Ok(database) => Ok(database),
        Err(DatabaseError::DatabaseAlreadyOpen) => Err(OpenError::InUse(directory.to_owned())),
        Err(source) => Err(OpenError::Database {
            file: file.to_owned(),
            source: Box::new(source.into()),
        }),
    }
}

/// What a database holds.
enum Loaded {
    /// The revision, if there was ever a write, and the entries.
    Known(Option<Revision>, Vec<Stored>),
    /// It has another format.
    Unknown(u64),
}

fn load(database: &Database) -> Result<Loaded, redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut numbers = transaction.open_table(NUMBERS)?;
        let found = numbers.get("format")?.map(|number| number.value());
        match found {
            None => drop(numbers.insert("format", FORMAT)?),
            Some(FORMAT) => {}
            Some(other) => return Ok(Loaded::Unknown(other)),
        }
        transaction.open_table(OBJECTS)?;
    }
    transaction.commit()?;
    let transaction = database.begin_read()?;
    let numbers = transaction.open_table(NUMBERS)?;
    let revision = numbers.get("revision")?.map(|number| number.value());
    let mut entries = Vec::new();
    for entry in transaction.open_table(OBJECTS)?.iter()? {
        let (key, value) = entry?;
        let (revision, value) = value.value();
        entries.push(Stored {
            key: key.value().into(),
            value: Bytes::copy_from_slice(value),
            revision,
        });
    }
    Ok(Loaded::Known(revision, entries))
}

/// Writes until nobody can ask any more.
fn write_all(database: &Database, memory: &Memory, writes: &mpsc::Receiver<Write>) {
    while let Ok(first) = writes.recv() {
        let batch = std::iter::once(first)
            .chain(writes.try_iter())
            .take(BATCH)
            .collect();
        write_batch(database, memory, batch);
    }
}

fn write_batch(database: &Database, memory: &Memory, batch: Vec<Write>) {
    let mut found: HashMap<String, Expected> = HashMap::new();
    let mut revision = memory.newest();
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    for write in batch {
        let is = found.get(&write.key).copied();
        if is.unwrap_or_else(|| memory.found(&write.key)) != write.expected {
            refused.push(write);
            continue;
        }
        revision += 1;
        let becomes = match write.value {
            Some(_) => Expected::Revision(revision),
            None => Expected::Absent,
        };
        found.insert(write.key.clone(), becomes);
        accepted.push((revision, write));
    }
    let committed = commit(database, &accepted).map_err(|error| {
        tracing::error!(%error, "cannot write to the data directory");
        format!("cannot write to the data directory: {error}; free the disk and start again")
    });
    for (_, write) in accepted {
        let Write {
            key,
            expected,
            value,
            done,
        } = write;
        let result = match &committed {
            Ok(()) => memory.write_now(&key, expected, value),
            Err(why) => Err(StorageError::Unavailable(why.clone())),
        };
        // Who asked may have gone.
        done.send(result).ok();
    }
    // Only now can the others read what disturbed them.
    for write in refused {
        write.done.send(Err(StorageError::Changed)).ok();
    }
}

fn commit(database: &Database, writes: &[(Revision, Write)]) -> Result<(), redb::Error> {
    let Some((newest, _)) = writes.last() else {
        return Ok(());
    };
    let transaction = database.begin_write()?;
    {
        let mut objects = transaction.open_table(OBJECTS)?;
        for (revision, write) in writes {
            match &write.value {
                Some(value) => {
                    objects.insert(write.key.as_str(), (*revision, &**value))?;
                }
                None => {
                    objects.remove(write.key.as_str())?;
                }
            }
        }
        transaction
            .open_table(NUMBERS)?
            .insert("revision", *newest)?;
    }
    transaction.commit()?;
    Ok(())
}

#[async_trait]
impl Storage for Durable {
    async fn revision(&self) -> Result<Revision, StorageError> {
        self.memory.revision().await
    }

    async fn get(&self, key: &str) -> Result<Option<Stored>, StorageError> {
        self.memory.get(key).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        at: Option<Revision>,
        limit: Option<usize>,
    ) -> Result<Page, StorageError> {
        self.memory.list(prefix, after, at, limit).await
    }

    async fn write(
        &self,
        key: &str,
        expected: Expected,
        value: Option<Bytes>,
    ) -> Result<Revision, StorageError> {
        let gone = || StorageError::Unavailable("the data directory is closed".to_owned());
        let (done, result) = oneshot::channel();
        let write = Write {
            key: key.to_owned(),
            expected,
            value,
            done,
        };
        let queue = self.queue.as_ref().ok_or_else(gone)?;
        queue.send(write).map_err(|_| gone())?;
        result.await.map_err(|_| gone())?
    }

    async fn changes(&self, prefix: &str, after: Revision) -> Result<Changes, StorageError> {
        self.memory.changes(prefix, after).await
    }
}
