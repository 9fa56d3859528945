//! Files to documents with positions, in bounded time and memory, whatever the files say.
//!
//! [`disk`] reads the folder, [`decode`] turns bytes into text, [`document`] text into documents,
//! [`scalar`] says what a word means. What cannot be read is a finding; loading itself cannot fail
//! but for a folder that cannot be opened.

pub mod disk;

mod decode;
mod document;
mod scalar;

use crate::finding::Finding;
use crate::source::{FileId, Location, Sources};
use crate::yaml::Node;

pub use document::{Ignore, parse};

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

/// One YAML document.
#[derive(Debug)]
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

    fn add(&mut self, file: RawFile) {
        let bytes = match file.content {
            Ok(bytes) => bytes,
            Err(unread) => {
                let id = self.sources.add(file.path, String::new());
                self.findings.push(decode::unread(id, &unread));
                return;
            }
        };
        match decode::text(bytes) {
            Ok(text) => {
                let id = self.sources.add(file.path, text);
                let parsed = parse(id, &self.sources.get(id).text);
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
            }
        }
    }
}
