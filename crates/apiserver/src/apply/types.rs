//! How objects of one kind are merged and compared.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use crate::schema::{MergeType, Schema};

/// The parts that built-in objects always have, even if empty: nobody owns them as such.
static ALWAYS_PRESENT: LazyLock<HashMap<String, Value>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("always_present.json"))
        .expect("the file is part of the source")
});

/// How objects of one kind are merged and compared.
#[derive(Debug, Clone)]
pub struct TypeInfo {
    pub(super) merge_type: Arc<MergeType>,
    always_present: Option<&'static Value>,
}

impl TypeInfo {
    /// The type of custom resources with this schema.
    pub fn for_custom_resource(schema: &Schema) -> Self {
        Self {
            merge_type: schema.merge_type(),
            always_present: None,
        }
    }

    /// The type of a built-in kind; `group` is empty for the core group.
    pub fn for_kind(group: &str, kind: &str) -> Self {
        Self {
            merge_type: MergeType::of_builtin(group, kind),
            always_present: ALWAYS_PRESENT.get(&format!("{group}/{kind}")),
        }
    }

    /// The object, with the parts that objects of its kind always have.
    pub(super) fn complete<'a>(&self, object: &'a Value) -> Cow<'a, Value> {
        let Some(parts) = self.always_present.filter(|parts| lacks(object, parts)) else {
            return Cow::Borrowed(object);
        };
        let mut object = object.clone();
        fill_in(&mut object, parts);
        Cow::Owned(object)
    }
}

/// Whether `object` lacks some of `parts`.
fn lacks(object: &Value, parts: &Value) -> bool {
    let (Value::Object(object), Value::Object(parts)) = (object, parts) else {
        return false;
    };
    parts
        .iter()
        .any(|(name, part)| object.get(name).is_none_or(|present| lacks(present, part)))
}

/// Adds what `object` lacks of `parts`.
fn fill_in(object: &mut Value, parts: &Value) {
    let (Value::Object(object), Value::Object(parts)) = (object, parts) else {
        return;
    };
    for (name, part) in parts {
        match object.get_mut(name) {
            Some(present) => fill_in(present, part),
            None => {
                object.insert(name.clone(), part.clone());
            }
        }
    }
}
