//! JSON patch (RFC 6902), with the deviations of the library that Kubernetes uses.

use json_patch::jsonptr::PointerBuf;
use json_patch::{
    AddOperation, CopyOperation, MoveOperation, PatchOperation, RemoveOperation, TestOperation,
};
use serde_json::{Map, Value};

use super::PatchError;

/// How many operations one patch may have (`maxJSONPatchOperations` of kube-apiserver).
const MAX_OPERATIONS: usize = 10_000;

/// Applies a JSON patch and gives the patched document.
///
/// It differs from RFC 6902 as Kubernetes does: `replace` of a missing key of an object
/// adds it, negative indices count from the end of a list, and a `test` for `null` holds
/// where nothing is.
///
/// # Errors
/// [`PatchError::Malformed`] if the patch is not a list of operations;
/// [`PatchError::Inapplicable`] if an operation cannot be carried out or a `test` fails;
/// [`PatchError::TooManyOperations`] beyond 10,000 operations.
pub fn json(document: &Value, patch: &Value) -> Result<Value, PatchError> {
    let operations = read_operations(patch)?;
    let mut patched = document.clone();
    for operation in operations {
        apply(&mut patched, operation)?;
    }
    Ok(patched)
}

/// The objects of which the patch consists.
fn read_operations(patch: &Value) -> Result<Vec<&Map<String, Value>>, PatchError> {
    let Value::Array(items) = patch else {
        return Err(undecodable(patch, "[]handlers.jsonPatchOp"));
    };
    if items.len() > MAX_OPERATIONS {
        return Err(PatchError::TooManyOperations {
            allowed: MAX_OPERATIONS,
            got: items.len(),
        });
    }
    items.iter().map(read_operation).collect()
}

fn read_operation(item: &Value) -> Result<&Map<String, Value>, PatchError> {
    let operation = item
        .as_object()
        .ok_or_else(|| undecodable(item, "handlers.jsonPatchOp"))?;
    for name in ["op", "path", "from"] {
        match operation.get(name) {
            None | Some(Value::Null | Value::String(_)) => {}
            Some(other) => return Err(undecodable(other, "string")),
        }
    }
    Ok(operation)
}

/// What operations have that no operation knows, in words: `json patch unknown field
/// "[0].extra"`. Values are not looked at.
pub fn unknown_members(patch: &Value) -> Vec<String> {
    let operations = patch.as_array().into_iter().flatten().enumerate();
    operations
        .flat_map(|(position, operation)| {
            let members = operation.as_object().into_iter().flatten();
            members
                .filter(|(name, _)| !["op", "path", "from", "value"].contains(&name.as_str()))
                .map(move |(name, _)| format!("json patch unknown field \"[{position}].{name}\""))
        })
        .collect()
}

fn undecodable(value: &Value, wanted: &str) -> PatchError {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    PatchError::Malformed(format!(
        "error decoding patch: json: cannot unmarshal {found} into Go value of type {wanted}"
    ))
}

/// Carries out one operation.
fn apply(document: &mut Value, operation: &Map<String, Value>) -> Result<(), PatchError> {
    let name = operation
        .get("op")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let path = pointer(document, operation, "path", name == "add")?;
    let value = || operation.get("value").cloned().unwrap_or(Value::Null);
    let operation = match name {
        "add" if path.is_root() => {
            return Err(PatchError::Inapplicable("missing container".to_owned()));
        }
        "add" => PatchOperation::Add(AddOperation {
            path,
            value: value(),
        }),
        "remove" => PatchOperation::Remove(RemoveOperation { path }),
        "replace" => replace(document, path, value()),
        "move" => {
            let from = pointer(document, operation, "from", false)?;
            PatchOperation::Move(MoveOperation { from, path })
        }
        "copy" => {
            let from = pointer(document, operation, "from", false)?;
            PatchOperation::Copy(CopyOperation { from, path })
        }
        "test" if value().is_null() && is_absent(document, &path) => return Ok(()),
        "test" => PatchOperation::Test(TestOperation {
            path,
            value: value(),
        }),
        other => {
            return Err(PatchError::Inapplicable(format!(
                "unexpected operation {other:?}"
            )));
        }
    };
    json_patch::patch_unsafe(document, std::slice::from_ref(&operation))
        .map_err(|error| PatchError::Inapplicable(error.to_string()))
}

/// A `replace` that also adds a key that an object does not have.
fn replace(document: &Value, path: PointerBuf, value: Value) -> PatchOperation {
    let parent = path
        .split_back()
        .and_then(|(parent, _)| document.pointer(parent.as_str()));
    if matches!(parent, Some(Value::Object(_))) {
        PatchOperation::Add(AddOperation { path, value })
    } else {
        PatchOperation::Replace(json_patch::ReplaceOperation { path, value })
    }
}

/// Whether nothing is at `path`, though an object is there to hold it.
fn is_absent(document: &Value, path: &PointerBuf) -> bool {
    path.split_back().is_some_and(|(parent, last)| {
        document
            .pointer(parent.as_str())
            .and_then(Value::as_object)
            .is_some_and(|object| !object.contains_key(last.decoded().as_ref()))
    })
}

/// Reads the pointer under `name` of an operation and turns a negative last index into
/// the position that it stands for. With `inserting`, -1 is the place behind the end.
fn pointer(
    document: &Value,
    operation: &Map<String, Value>,
    name: &str,
    inserting: bool,
) -> Result<PointerBuf, PatchError> {
    let text = operation
        .get(name)
        .and_then(Value::as_str)
        .ok_or_else(|| PatchError::Inapplicable(format!("operation missing {name} field")))?;
    let resolved = resolve_negative_index(document, text, inserting);
    PointerBuf::parse(resolved.unwrap_or_else(|| text.to_owned()))
        .map_err(|_| PatchError::Inapplicable(format!("invalid pointer {text:?}")))
}

fn resolve_negative_index(document: &Value, pointer: &str, inserting: bool) -> Option<String> {
    let (parent, last) = pointer.rsplit_once('/')?;
    let from_end: usize = last.strip_prefix('-')?.parse().ok()?;
    let length = document.pointer(parent)?.as_array()?.len() + usize::from(inserting);
    Some(format!("{parent}/{}", length.checked_sub(from_end)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json as value;

    fn config_map() -> Value {
        value!({"data": {"a": "1", "b": "2"}, "list": ["x", "y"]})
    }

    #[test]
    fn operations_are_carried_out_in_order() {
        let patch = value!([
            {"op": "add", "path": "/data/c", "value": "3"},
            {"op": "replace", "path": "/data/a", "value": "9"},
            {"op": "remove", "path": "/data/b"},
            {"op": "copy", "from": "/data/c", "path": "/data/d"},
            {"op": "move", "from": "/data/a", "path": "/data/e"},
            {"op": "test", "path": "/data/e", "value": "9"},
        ]);
        let patched = json(&config_map(), &patch).unwrap();
        assert_eq!(patched["data"], value!({"c": "3", "d": "3", "e": "9"}));
    }

    #[test]
    fn replace_adds_a_key_that_an_object_does_not_have() {
        let patch = value!([{"op": "replace", "path": "/data/new~1key", "value": "n"}]);
        assert_eq!(json(&config_map(), &patch).unwrap()["data"]["new/key"], "n");
    }

    #[test]
    fn negative_indices_count_from_the_end() {
        for (patch, list) in [
            (
                value!([{"op": "add", "path": "/list/-", "value": "z"}]),
                value!(["x", "y", "z"]),
            ),
            (
                value!([{"op": "add", "path": "/list/-1", "value": "z"}]),
                value!(["x", "y", "z"]),
            ),
            (
                value!([{"op": "remove", "path": "/list/-1"}]),
                value!(["x"]),
            ),
            (
                value!([{"op": "replace", "path": "/list/-2", "value": "z"}]),
                value!(["z", "y"]),
            ),
        ] {
            assert_eq!(
                json(&config_map(), &patch).unwrap()["list"],
                list,
                "{patch}"
            );
        }
    }

    #[test]
    fn a_test_for_null_holds_where_nothing_is() {
        let patch = value!([{"op": "test", "path": "/data/none", "value": null}]);
        assert_eq!(json(&config_map(), &patch), Ok(config_map()));
    }

    #[test]
    fn operations_that_do_not_fit_are_refused() {
        for patch in [
            value!([{"op": "add", "path": "/data/x", "value": "1"},
                    {"op": "test", "path": "/data/a", "value": "other"}]),
            value!([{"op": "remove", "path": "/data/none"}]),
            value!([{"op": "remove", "path": "/list/-3"}]),
            value!([{"op": "add", "path": "/no/such", "value": "1"}]),
            value!([{"op": "replace", "path": "/list/2", "value": "1"}]),
            value!([{"op": "replace", "path": "/no/such", "value": "1"}]),
            value!([{"op": "move", "from": "/data/none", "path": "/data/a"}]),
            value!([{"op": "bogus", "path": "/data/a"}]),
            value!([{"op": "add"}]),
            value!([{"op": "add", "path": "", "value": {}}]),
            value!([{"path": "/data/a"}]),
        ] {
            let refused = json(&config_map(), &patch);
            assert!(
                matches!(refused, Err(PatchError::Inapplicable(_))),
                "{patch}: {refused:?}"
            );
        }
    }

    #[test]
    fn a_patch_that_is_no_list_of_operations_is_malformed() {
        let error = json(&config_map(), &value!({"op": "add"})).unwrap_err();
        assert_eq!(
            error.to_string(),
            "error decoding patch: json: cannot unmarshal object into Go value of type \
             []handlers.jsonPatchOp"
        );
        assert_eq!(error.status_code(), 400);
        for patch in [
            value!(["add"]),
            value!([{"op": 1, "path": "/a"}]),
            value!(null),
        ] {
            let error = json(&config_map(), &patch).unwrap_err();
            assert!(
                matches!(error, PatchError::Malformed(_)),
                "{patch}: {error}"
            );
        }
    }

    #[test]
    fn members_that_operations_do_not_have_are_named() {
        let patch = value!([
            {"op": "test", "path": "/a", "value": {"any": 1}},
            {"op": "remove", "path": "/a", "why": "because"},
        ]);
        assert_eq!(
            unknown_members(&patch),
            ["json patch unknown field \"[1].why\""]
        );
    }

    #[test]
    fn the_number_of_operations_is_limited() {
        let one = value!({"op": "test", "path": "/data/a", "value": "1"});
        let patch = Value::Array(vec![one; MAX_OPERATIONS + 1]);
        assert_eq!(json(&config_map(), &patch).unwrap_err().status_code(), 413);
    }
}
