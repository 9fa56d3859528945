//! What builds may take, in time and memory. A kustomization of a few lines can ask for more than any
//! machine has; it gets a finding.

use std::cell::Cell;

use crate::load::Extent;
use crate::yaml::Node;

/// A build takes in at most this many kustomizations: bases of bases of bases, each used twice, are a
/// bomb.
pub(super) const KUSTOMIZATIONS: usize = 10_000;

/// All builds of a repository together take in at most this many.
pub(super) const KUSTOMIZATIONS_IN_ALL: usize = 1_000_000;

/// A build makes at most this many objects.
pub(super) const OBJECTS: usize = 100_000;

/// All builds of a repository together make at most this many.
pub(super) const OBJECTS_IN_ALL: usize = 400_000;

/// Generators of a repository together read at most this many bytes.
pub(super) const GENERATED_BYTES: usize = 256 * 1024 * 1024;

/// What patches and replacements may make of one object, as [`Extent`] counts it.
const OBJECT_BYTES: usize = 32 * 1024 * 1024;

/// The same, in levels of nesting. Files have at most 400.
const OBJECT_DEPTH: usize = 500;

/// A path into an object has at most this many parts.
const PATH_PARTS: usize = 100;

/// What the builds of a repository have taken so far.
#[derive(Debug, Default)]
pub(super) struct Spent {
    pub(super) kustomizations: Count,
    pub(super) objects: Count,
    pub(super) generated_bytes: Count,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Count(Cell<usize>);

impl Count {
    /// Adds to it, and says whether it is still within a limit.
    pub(super) fn add(&self, more: usize, limit: usize) -> bool {
        let sum = self.0.get().saturating_add(more);
        self.0.set(sum);
        sum <= limit
    }
}

/// Refuses an object that has become too large.
pub(super) fn check_object(node: &Node) -> Result<(), String> {
    let extent = Extent::within(node, OBJECT_BYTES);
    match extent.filter(|extent| extent.depth <= OBJECT_DEPTH) {
        Some(_) => Ok(()),
        None => Err("this makes the object larger than any API server takes".to_owned()),
    }
}

/// Refuses a path that would make an object too deep.
pub(super) fn check_path(parts: &[String]) -> Result<(), String> {
    if parts.len() <= PATH_PARTS {
        return Ok(());
    }
    let count = parts.len();
    Err(format!(
        "the path has {count} parts; no object is so deeply nested"
    ))
}
