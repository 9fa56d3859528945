//! Paths of fields, written as Kubernetes writes them in errors.

/// The path of the field `name` of the object at `parent`: `spec.name`.
pub(super) fn child(parent: &str, name: &str) -> String {
    if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}.{name}")
    }
}

/// The path of the entry `key` of the map at `parent`: `spec[key]`.
pub(super) fn key(parent: &str, key: &str) -> String {
    format!("{parent}[{key}]")
}

/// The path of an item of the list at `parent`: `spec[3]`.
pub(super) fn index(parent: &str, index: usize) -> String {
    format!("{parent}[{index}]")
}
