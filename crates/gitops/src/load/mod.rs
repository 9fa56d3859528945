//! Files to documents with positions, in bounded time and memory, whatever the files say.
//!
//! [`disk`] reads the folder, [`decode`] turns bytes into text, [`document`] text into documents,
//! [`scalar`] says what a word means. What cannot be read is a finding; loading itself cannot fail
//! but for a folder that cannot be opened.

pub mod disk;

mod decode;
mod document;
mod scalar;

use std::collections::HashSet;
use std::sync::Arc;

use crate::finding::Finding;
use crate::source::{FileId, Location, Sources};
use crate::yaml::Node;

pub(crate) use document::{Extent, MAX_DOCUMENT_BYTES};
pub use document::{Ignore, parse};
pub(crate) use scalar::resolve as plain_scalar;

/// A file as it came from outside.
#[derive(Debug)]
pub struct RawFile {
    /// The path from the repository's root, with `/`.
    pub path: String,
    /// Its bytes, or why it has none.
    pub content: Result<Vec<u8>, Unread>,
}

/// Why a file was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// A symbolic link leads out of the repository.
    #[error("the symbolic link leads out of the repository")]
    LeadsOutside,
    /// A symbolic link leads nowhere, or to itself.
    #[error("the symbolic link leads nowhere: {0}")]
    DanglingLink(String),
    /// Larger than what is read.
    #[error(
        "the file has {size} bytes; more than {} are not read",
        disk::MAX_FILE_BYTES
    )]
    TooLarge {
        /// Its size in bytes.
        size: u64,
    },
    /// The operating system says no.
    #[error("the file cannot be read: {0}")]
    Failed(String),
}

/// Files that are no YAML, which a generator may put into an object.
pub trait OtherFiles: std::fmt::Debug + Send + Sync {
    /// The bytes of the file at a path from the root.
    fn read(&self, path: &str) -> Result<Vec<u8>, Unread>;
    /// Whether there is a file or folder at this path.
    fn exists(&self, path: &str) -> bool;
}

/// One YAML document.
#[derive(Clone, Debug)]
pub struct Document {
    /// The file it stands in.
    pub file: FileId,
    /// Its root node.
    pub root: Node,
}

/// What a repository says, before anything is built.
#[derive(Debug, Default)]
pub struct Repository {
    /// The texts.
    pub sources: Sources,
    /// The documents of the YAML files, by file and in their order.
    pub documents: Vec<Document>,
    /// Places where a person has said that a rule does not apply.
    pub ignores: Vec<Ignore>,
    /// What was wrong with the files themselves.
    pub findings: Vec<Finding>,
    /// Where files are found that are no YAML.
    pub other_files: Option<Arc<dyn OtherFiles>>,
    /// The files that something is wrong with.
    broken: HashSet<FileId>,
}

impl Repository {
    /// Reads the documents of the files. Pure.
    pub fn from_files(files: impl IntoIterator<Item = RawFile>) -> Self {
        let mut repository = Self::default();
        for file in files {
            repository.add(file);
        }
        repository
    }

    /// The same repository with this file in the place of the one with its path, which is there. The
    /// other files are not read again.
    #[must_use]
    pub fn with(&self, file: RawFile) -> Self {
        let mut changed = Self {
            other_files: self.other_files.clone(),
            ..Self::default()
        };
        let replaced = self.sources.find(&file.path);
        let mut file = Some(file);
        for (id, known) in self.sources.iter() {
            if let Some(file) = file.take_if(|_| Some(id) == replaced) {
                changed.add(file);
                continue;
            }
            changed.sources.add(known.path.clone(), known.text.clone());
            changed.documents.extend_from_slice(self.documents_of(id));
        }
        let is_same = |file| Some(file) != replaced;
        let ignores = self.ignores.iter().filter(|ignore| is_same(ignore.at.file));
        changed.ignores.extend(ignores.cloned());
        let findings = self.findings.iter();
        let findings = findings.filter(|finding| is_same(finding.location.file));
        changed.findings.extend(findings.cloned());
        let broken = self.broken.iter().copied();
        changed.broken.extend(broken.filter(|file| is_same(*file)));
        changed
    }

    /// The documents of a file, in their order.
    pub fn documents_of(&self, file: FileId) -> &[Document] {
        let first = self
            .documents
            .partition_point(|document| document.file < file);
        let end = self
            .documents
            .partition_point(|document| document.file <= file);
        &self.documents[first..end]
    }

    /// Whether something is wrong with the text of a file.
    pub fn is_broken(&self, file: FileId) -> bool {
        self.broken.contains(&file)
    }

    /// The bytes of any file, by its path from the root.
    pub fn bytes(&self, path: &str) -> Result<Vec<u8>, Unread> {
        if let Some(file) = self.sources.find(path) {
            return Ok(self.sources.get(file).text.clone().into_bytes());
        }
        let missing = || Err(Unread::Failed("there is no such file".to_owned()));
        let files = self.other_files.as_ref();
        files.map_or_else(missing, |files| files.read(path))
    }

    /// Whether there is a file or folder at this path from the root.
    pub fn exists(&self, path: &str) -> bool {
        let files = self.other_files.as_ref();
        self.sources.find(path).is_some() || files.is_some_and(|files| files.exists(path))
    }

    fn add(&mut self, file: RawFile) {
        let bytes = match file.content {
            Ok(bytes) => bytes,
            Err(unread) => {
                let id = self.sources.add(file.path, String::new());
                self.findings.push(decode::unread(id, &unread));
                self.broken.insert(id);
                return;
            }
        };
        match decode::text(bytes) {
            Ok(text) => {
                let id = self.sources.add(file.path, text);
                let parsed = parse(id, &self.sources.get(id).text);
                if !parsed.findings.is_empty() {
                    self.broken.insert(id);
                }
                let documents = parsed.documents.into_iter();
                self.documents
                    .extend(documents.map(|root| Document { file: id, root }));
                self.ignores.extend(parsed.ignores);
                self.findings.extend(parsed.findings);
            }
            Err(error) => {
                let id = self.sources.add(file.path, error.readable_part.clone());
                let at = Location::new(id, error.readable_part.len(), error.readable_part.len());
                self.findings.push(decode::not_text(at, &error));
                self.broken.insert(id);
            }
        }
    }
}
