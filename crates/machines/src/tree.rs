//! Trees of files on the operator's disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A file or directory that cannot be copied.
#[derive(Debug, thiserror::Error)]
#[error("cannot copy to {}: {source}", path.display())]
pub(crate) struct CopyError {
    /// Where it should go.
    pub(crate) path: PathBuf,
    /// What the operating system said.
    pub(crate) source: io::Error,
}

/// Copies a tree by hard links, or byte for byte where the file system does not allow them. `to`
/// is made; it may be an empty directory already.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), CopyError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CopyError { path, source }
    };
    fs::create_dir_all(to).map_err(failed(to))?;
    for entry in fs::read_dir(from).map_err(failed(from))? {
        let entry = entry.map_err(failed(from))?;
        let kind = entry.file_type().map_err(failed(&entry.path()))?;
        let copy = to.join(entry.file_name());
        if kind.is_dir() {
            self::copy(&entry.path(), &copy)?;
        } else if kind.is_symlink() {
            fs::read_link(entry.path())
                .and_then(|target| std::os::unix::fs::symlink(target, &copy))
                .map_err(failed(&copy))?;
        } else if fs::hard_link(entry.path(), &copy).is_err() {
            fs::copy(entry.path(), &copy).map_err(failed(&copy))?;
        }
    }
    Ok(())
}
