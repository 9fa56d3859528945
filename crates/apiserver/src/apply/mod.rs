//! Server-side apply and managed fields.
//!
//! Every field of an object may have owners: managers that applied it, and managers that
//! wrote it in another way. Applying a configuration changes only what nobody else owns,
//! and removes what the same manager applied before and nobody owns any more. The
//! semantics are those of Kubernetes' structured-merge-diff.

mod compare;
mod configuration;
#[cfg(test)]
mod conformance;
mod error;
mod field_set;
mod items;
mod last_applied;
mod managers;
mod merge;
mod owned;
mod path;
#[cfg(test)]
mod properties;
mod remove;
mod tracking;
mod types;

pub use configuration::{ApplyRequest, apply};
pub use error::{ApplyError, Conflict};
pub use tracking::{UpdateRequest, track_update};
pub use types::TypeInfo;
