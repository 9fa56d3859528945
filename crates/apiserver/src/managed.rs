//! Managed fields: who wrote what.

use serde_json::Value;

use crate::registry::Kind;
use crate::status::Status;

/// Who writes.
#[derive(Clone, Debug)]
pub struct Writer<'a> {
    /// The field manager.
    pub manager: &'a str,
    /// The subresource that is written.
    pub subresource: Option<&'a str>,
}

/// Notes what a creation or update changed.
pub fn track_update(
    _kind: &Kind,
    _before: Option<&Value>,
    _after: &mut Value,
    _writer: &Writer<'_>,
) {
}

/// Merges an applied configuration into the live object.
///
/// # Errors
/// 409 if others own what would change.
pub fn apply(
    _kind: &Kind,
    live: Option<&Value>,
    applied: &Value,
    _writer: &Writer<'_>,
    _force: bool,
) -> Result<Value, Status> {
    let mut merged = live.cloned().unwrap_or_else(|| serde_json::json!({}));
    crate::patch::merge(&mut merged, applied);
    Ok(merged)
}
