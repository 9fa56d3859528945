//! Patches: JSON patch (RFC 6902), JSON merge patch (RFC 7396) and Kubernetes' strategic
//! merge patch. Pure functions from a document and a patch to a new document.

mod element_order;
mod error;
mod json;
mod strategic;

pub use error::PatchError;
pub use json::json;
pub use strategic::{MergeKeys, strategic};

use serde_json::Value;

/// Applies a JSON merge patch (RFC 7396): objects are merged, `null` removes, everything
/// else replaces.
pub fn merge(document: &mut Value, patch: &Value) {
    json_patch::merge(document, patch);
}
