//! A repository, and larger ones made of copies of it.
//!
//! Each copy is a cluster of its own: its paths lead into the copy, and its namespaces have a number, so
//! that no object is one of another copy.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The YAML files of a repository.
pub(crate) struct Tree {
    files: Vec<(PathBuf, String)>,
}

/// What was written.
pub(crate) struct Written {
    pub(crate) files: usize,
    pub(crate) bytes: usize,
}

impl Tree {
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            let entries = fs::read_dir(&folder)
                .with_context(|| format!("cannot read {}", folder.display()))?;
            for entry in entries {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Ok(text) = fs::read_to_string(&path) {
                    files.push((path.strip_prefix(root)?.to_owned(), text));
                }
            }
        }
        ensure!(!files.is_empty(), "{} is empty", root.display());
        Ok(Self { files })
    }

    /// How many of the files are YAML.
    pub(crate) fn files(&self) -> usize {
        self.files.iter().filter(|(path, _)| is_yaml(path)).count()
    }

    /// Writes as many copies into `target` as make at least `files` files. One is the tree itself.
    pub(crate) fn multiply(&self, files: usize, target: &Path) -> Result<Written> {
        let copies = files.div_ceil(self.files());
        let mut bytes = 0;
        for number in 0..copies {
            let root = format!("cluster-{number:04}");
            for (path, text) in &self.files {
                let (path, text) = if copies == 1 {
                    (target.join(path), text.clone())
                } else {
                    (target.join(&root).join(path), copied(text, number, &root))
                };
                if is_yaml(&path) {
                    bytes += text.len();
                }
                fs::create_dir_all(path.parent().context("a file has a folder")?)?;
                fs::write(path, text)?;
            }
        }
        let files = copies * self.files();
        Ok(Written { files, bytes })
    }
}

fn is_yaml(path: &Path) -> bool {
    let extension = path.extension();
    extension.is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// The text in one of the copies.
fn copied(text: &str, number: usize, root: &str) -> String {
    let is_namespace = text.lines().any(|line| line == "kind: Namespace");
    let mut copy = String::with_capacity(text.len() + 100);
    for line in text.split_inclusive('\n') {
        let content = line.trim_end();
        let field = content.trim_start().trim_start_matches("- ");
        let has_namespace = field.starts_with("namespace: ")
            || field.starts_with("targetNamespace: ")
            || is_namespace && content.starts_with("  name: ");
        let (value, comment) = match content.split_once(" #") {
            Some((value, comment)) => (value.trim_end(), format!(" #{comment}")),
            None => (content, String::new()),
        };
        if let Some(path) = field.strip_prefix("path: ./") {
            let indent = &content[..content.len() - field.len()];
            copy += &format!("{indent}path: ./{root}/{path}\n");
        } else if has_namespace && !value.contains(": *") {
            copy += &format!("{value}-{number}{comment}\n");
        } else {
            copy += line;
        }
    }
    copy
}
