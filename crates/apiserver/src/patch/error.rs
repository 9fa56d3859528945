//! Why a patch cannot be applied, and which answer that is.

use thiserror::Error;

/// Why a patch cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PatchError {
    /// The patch is not of the form that its media type asks for (400).
    #[error("{0}")]
    Malformed(String),
    /// An operation does not fit the document, or a `test` failed (422, reason `Invalid`).
    #[error("the server rejected our request due to an error in our request")]
    Inapplicable(String),
    /// More operations than the server takes (413).
    #[error("The allowed maximum operations in a JSON patch is {allowed}, got {got}")]
    TooManyOperations {
        /// How many operations are allowed.
        allowed: usize,
        /// How many were sent.
        got: usize,
    },
    /// A strategic merge patch that fits neither the document nor the type (500 in
    /// Kubernetes, for example an item without its merge key).
    #[error("{0}")]
    Unmergeable(String),
}

impl PatchError {
    /// The HTTP status of the answer.
    pub fn status_code(&self) -> u16 {
        match self {
            PatchError::Malformed(_) => 400,
            PatchError::Inapplicable(_) => 422,
            PatchError::TooManyOperations { .. } => 413,
            PatchError::Unmergeable(_) => 500,
        }
    }
}
