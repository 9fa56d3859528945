//! How bad an error is. The category alone decides backoff, metric label and severity.

/// What an error asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Category {
    /// Goes away by itself: a network that is down, a server that is busy. Retried for ever.
    Transient,
    /// Something else has to come first. Looked at again when it comes, or after a while.
    Waiting,
    /// A person has to correct something. Tried again when it changes.
    InvalidInput,
    /// Somebody else wrote first. Tried again at once, from what is true now.
    Conflict,
    /// The program is wrong.
    Bug,
}

/// An error that knows its category.
pub trait Categorized {
    /// What the error asks for.
    fn category(&self) -> Category;
}

impl Category {
    /// Every category.
    pub const ALL: [Self; 5] = [
        Self::Transient,
        Self::Waiting,
        Self::InvalidInput,
        Self::Conflict,
        Self::Bug,
    ];

    /// The word for metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Waiting => "waiting",
            Self::InvalidInput => "invalid_input",
            Self::Conflict => "conflict",
            Self::Bug => "bug",
        }
    }
}

impl Categorized for kube::Error {
    /// From the status code: 409 is a conflict, 400 and 422 were built wrongly by us, and all
    /// else (403 while RBAC is being set up, 404 of a kind that is not installed yet, 5xx,
    /// connections) may pass.
    fn category(&self) -> Category {
        match self {
            Self::Api(status) if status.code == 409 => Category::Conflict,
            Self::Api(status) if matches!(status.code, 400 | 422) => Category::Bug,
            Self::SerdeError(_) => Category::Bug,
            _ => Category::Transient,
        }
    }
}
