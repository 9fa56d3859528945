//! Patches: JSON patch (RFC 6902), JSON merge patch (RFC 7396) and Kubernetes' strategic
//! merge patch. Pure functions from a document and a patch to a new document.

mod element_order;
mod error;
mod json;
mod strategic;

pub use error::PatchError;
pub use json::{json, unknown_members};
pub use strategic::{MergeKeys, strategic};

use serde_json::Value;

/// Applies a JSON merge patch (RFC 7396): objects are merged, `null` removes, everything
/// else replaces.
pub fn merge(document: &mut Value, patch: &Value) {
    json_patch::merge(document, patch);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::*;

    /// Any document without nulls, with few different keys.
    fn document() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![
            any::<bool>().prop_map(Value::from),
            (0..3).prop_map(Value::from),
            "[xy]".prop_map(Value::from),
        ];
        let value = scalar.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                object(inner),
            ]
        });
        object(value)
    }

    fn object(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
        prop::collection::btree_map("[abc]", value, 0..4)
            .prop_map(|fields| Value::Object(fields.into_iter().collect()))
    }

    /// The merge patch that makes `new` of `old`.
    fn merge_patch(old: &Value, new: &Value) -> Value {
        let (Value::Object(old), Value::Object(new)) = (old, new) else {
            return new.clone();
        };
        let gone = old.keys().filter(|name| !new.contains_key(*name));
        let mut patch: Map<String, Value> = gone.map(|name| (name.clone(), Value::Null)).collect();
        for (name, value) in new {
            match old.get(name) {
                Some(before) if before == value => {}
                Some(before) => {
                    patch.insert(name.clone(), merge_patch(before, value));
                }
                None => {
                    patch.insert(name.clone(), value.clone());
                }
            }
        }
        Value::Object(patch)
    }

    proptest! {
        #[test]
        fn a_merge_patch_of_the_difference_gives_the_target(old in document(), new in document()) {
            let mut patched = old.clone();
            merge(&mut patched, &merge_patch(&old, &new));
            prop_assert_eq!(patched, new);
        }

        #[test]
        fn a_json_patch_of_the_difference_gives_the_target(old in document(), new in document()) {
            let patch = serde_json::to_value(json_patch::diff(&old, &new)).unwrap();
            prop_assert_eq!(json(&old, &patch), Ok(new));
        }

        #[test]
        fn a_strategic_patch_applied_again_changes_nothing(
            old in document(), patch in document(),
        ) {
            let wrap = |labels: Value| json!({"metadata": {"labels": labels}});
            let (old, patch) = (wrap(old), wrap(patch));
            let keys = MergeKeys::for_kind("", "ConfigMap");
            let once = strategic(&old, &patch, &keys).unwrap();
            prop_assert_eq!(&strategic(&once, &patch, &keys).unwrap(), &once);
        }
    }
}
