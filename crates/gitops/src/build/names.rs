//! The fields `namePrefix` and `nameSuffix`.

use crate::source::Location;

use super::object::Object;

/// Kinds whose name has a meaning of its own, and is left alone.
const KEPT: [&str; 3] = ["CustomResourceDefinition", "APIService", "Namespace"];

/// Puts the texts around the name. They were written at `at`.
pub(super) fn affix(object: &mut Object, prefix: &str, suffix: &str, at: Location) {
    let changes = !prefix.is_empty() || !suffix.is_empty();
    if changes && !KEPT.contains(&object.kind()) {
        let name = format!("{prefix}{}{suffix}", object.name());
        object.rename(name, at);
    }
}
