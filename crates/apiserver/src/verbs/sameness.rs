//! Whether two versions of an object are the same: a write that changes nothing is none.

use serde_json::{Map, Value};

/// Whether two versions of an object differ in nothing but what changes when nothing changes: the
/// times in managed fields.
pub fn same_but_for_times(one: &Value, other: &Value) -> bool {
    same_fields(one, other, &["metadata"])
        && same_fields(&one["metadata"], &other["metadata"], &["managedFields"])
        && match (managers(one), managers(other)) {
            (Some(one), Some(other)) => {
                one.len() == other.len()
                    && one
                        .iter()
                        .zip(other)
                        .all(|(a, b)| same_fields(a, b, &["time"]))
            }
            (one, other) => one == other,
        }
}

fn managers(object: &Value) -> Option<&Vec<Value>> {
    object["metadata"]["managedFields"].as_array()
}

/// Whether two values have the same fields but for some.
pub fn same_fields(one: &Value, other: &Value, ignored: &[&str]) -> bool {
    let (Some(one), Some(other)) = (one.as_object(), other.as_object()) else {
        return one == other;
    };
    let counted = |name: &String| !ignored.contains(&name.as_str());
    let count = |map: &Map<String, Value>| map.keys().filter(|name| counted(name)).count();
    count(one) == count(other)
        && one
            .iter()
            .filter(|(name, _)| counted(name))
            .all(|(name, value)| other.get(name) == Some(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_version_that_differs_in_times_alone_is_the_same() {
        let object = |data: &str, manager: &str, time: &str| {
            json!({
                "metadata": {"name": "a", "managedFields": [{"manager": manager, "time": time}]},
                "data": data,
            })
        };
        let old = object("1", "me", "2001-01-01T00:00:00Z");
        for (new, same) in [
            (object("1", "me", "2002-01-01T00:00:00Z"), true),
            (object("2", "me", "2001-01-01T00:00:00Z"), false),
            (object("1", "you", "2001-01-01T00:00:00Z"), false),
            (json!({"metadata": {"name": "a"}, "data": "1"}), false),
            (json!({"metadata": old["metadata"]}), false),
        ] {
            assert_eq!(same_but_for_times(&new, &old), same, "{new}");
            assert_eq!(same_but_for_times(&old, &new), same, "{new}");
        }
    }
}
