//! Strategic merge patch: a merge patch that knows which lists of built-in kinds are merged
//! item by item, with directives to delete, replace and order.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::PatchError;
use super::element_order::{Identity, arrange};
use crate::schema::{MergeType, PatchStrategy};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ELEMENT_ORDER: &str = "$setElementOrder/";
const DELETE_FROM_PRIMITIVE_LIST: &str = "$deleteFromPrimitiveList/";

/// Which lists of a kind are merged item by item, and by which key.
#[derive(Debug, Clone)]
pub struct MergeKeys(Arc<MergeType>);

impl MergeKeys {
    /// The merge keys of a built-in kind; `group` is empty for the core group. They are the
    /// same in all versions of a kind.
    pub fn for_kind(group: &str, kind: &str) -> Self {
        Self(MergeType::of_builtin(group, kind))
    }
}

/// Applies a strategic merge patch and gives the patched document.
///
/// # Errors
/// [`PatchError::Malformed`] if the patch is no object or has a directive that does not
/// exist; [`PatchError::Unmergeable`] if an item of a merged list lacks its merge key.
pub fn strategic(document: &Value, patch: &Value, keys: &MergeKeys) -> Result<Value, PatchError> {
    let (Value::Object(document), Value::Object(patch)) = (document, patch) else {
        return Err(PatchError::Malformed(
            "error decoding patch: json: cannot unmarshal a value that is no object into Go \
             value of type map[string]interface {}"
                .into(),
        ));
    };
    merge_object(document.clone(), patch.clone(), &keys.0).map(Value::Object)
}

type Object = Map<String, Value>;

/// Merges `patch` into `live`.
fn merge_object(
    mut live: Object,
    mut patch: Object,
    merge_type: &MergeType,
) -> Result<Object, PatchError> {
    if let Some(directive) = patch.shift_remove(PATCH) {
        return match directive.as_str() {
            Some("replace") => Ok(patch),
            Some("delete") => Ok(Object::new()),
            _ => Err(unknown_directive(&directive)),
        };
    }
    retain_keys(&mut live, &mut patch)?;
    merge_ordered_lists(&mut live, &mut patch, merge_type)?;
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix(DELETE_FROM_PRIMITIVE_LIST) {
            delete_values(&mut live, list, &value)?;
        } else if value.is_null() {
            live.shift_remove(&key);
        } else {
            let merged = match live.get_mut(&key).map(Value::take) {
                Some(old) => merge_value(old, value, merge_type.field(&key), &key)?,
                None => without_directives(value),
            };
            live.insert(key, merged);
        }
    }
    Ok(live)
}

/// Merges a value that is on both sides.
fn merge_value(
    old: Value,
    new: Value,
    merge_type: &MergeType,
    name: &str,
) -> Result<Value, PatchError> {
    match (old, new) {
        (Value::Object(_), Value::Object(new)) if merge_type.patch == PatchStrategy::Replace => {
            Ok(without_directives(Value::Object(new)))
        }
        (Value::Object(old), Value::Object(new)) => {
            merge_object(old, new, merge_type).map(Value::Object)
        }
        (Value::Array(old), Value::Array(new)) => {
            merge_list(old, new, merge_type, name).map(Value::Array)
        }
        (_, new) => Ok(without_directives(new)),
    }
}

/// Merges two lists, in the way that their type asks for.
fn merge_list(
    old: Vec<Value>,
    new: Vec<Value>,
    merge_type: &MergeType,
    name: &str,
) -> Result<Vec<Value>, PatchError> {
    match &merge_type.patch {
        PatchStrategy::MergeByKey(key) => merge_keyed_list(old, new, key, merge_type.element()),
        PatchStrategy::MergeValues => merge_scalars(&old, &new, name),
        PatchStrategy::Default | PatchStrategy::Replace => Ok(new),
    }
}

fn merge_scalars(old: &[Value], new: &[Value], name: &str) -> Result<Vec<Value>, PatchError> {
    if new.iter().any(|item| item.is_object() || item.is_array()) {
        return Err(PatchError::Unmergeable(format!(
            "cannot merge lists without merge key for type {name}"
        )));
    }
    let mut merged = old.to_vec();
    for item in new {
        if !merged.contains(item) {
            merged.push(item.clone());
        }
    }
    Ok(arrange(merged, new, old, Identity::Whole))
}

/// Merges lists of objects whose items are told apart by `key`.
fn merge_keyed_list(
    old: Vec<Value>,
    new: Vec<Value>,
    key: &str,
    item_type: &MergeType,
) -> Result<Vec<Value>, PatchError> {
    let identity = Identity::Key(key);
    let mut live = old;
    let mut additions = Vec::new();
    let mut replaces = false;
    for item in new {
        match item.get(PATCH).map(|directive| directive.as_str()) {
            None => additions.push(item),
            Some(Some("delete")) => {
                require_key(&item, key)?;
                live.retain(|candidate| !identity.same(candidate, &item));
            }
            Some(Some("replace")) => replaces = true,
            Some(_) => return Err(unknown_directive(&item[PATCH])),
        }
    }
    if replaces {
        return Ok(additions);
    }
    let mut merged = live.clone();
    for item in &additions {
        require_key(item, key)?;
        match merged
            .iter_mut()
            .find(|candidate| identity.same(candidate, item))
        {
            Some(found) => *found = merge_value(found.take(), item.clone(), item_type, key)?,
            None => merged.push(without_directives(item.clone())),
        }
    }
    Ok(arrange(merged, &additions, &live, identity))
}

/// Lists that come with `$setElementOrder/<list>` are merged first and put in that order.
fn merge_ordered_lists(
    live: &mut Object,
    patch: &mut Object,
    merge_type: &MergeType,
) -> Result<(), PatchError> {
    let directives: Vec<String> = patch
        .keys()
        .filter(|key| key.starts_with(SET_ELEMENT_ORDER))
        .cloned()
        .collect();
    for directive in directives {
        let Some(Value::Array(order)) = patch.shift_remove(&directive) else {
            return Err(PatchError::Malformed(format!(
                "invalid patch format of {directive:?}: expected a list"
            )));
        };
        let name = &directive[SET_ELEMENT_ORDER.len()..];
        let field_type = merge_type.field(name);
        let identity = match &field_type.patch {
            PatchStrategy::MergeByKey(key) => Identity::Key(key),
            _ => Identity::Whole,
        };
        let old = match live.get(name) {
            Some(Value::Array(items)) => items.clone(),
            _ => Vec::new(),
        };
        let merged = match (live.contains_key(name), patch.shift_remove(name)) {
            (false, None) => continue,
            (_, Some(Value::Null)) => {
                live.shift_remove(name);
                continue;
            }
            (_, Some(Value::Array(new))) => {
                check_order(&new, &order, identity)?;
                merge_list(old.clone(), new, field_type, name)?
            }
            (_, Some(_)) => {
                return Err(PatchError::Malformed(format!(
                    "{name} of the patch is no list"
                )));
            }
            (true, None) => old.clone(),
        };
        live.insert(
            name.to_owned(),
            Value::Array(arrange(merged, &order, &old, identity)),
        );
    }
    Ok(())
}

/// The list and its order must name the same items in the same order.
fn check_order(items: &[Value], order: &[Value], identity: Identity<'_>) -> Result<(), PatchError> {
    let mut places = order.iter();
    let kept = items.iter().filter(|item| item.get(PATCH).is_none());
    for item in kept {
        if !places.any(|place| identity.same(place, item)) {
            return Err(PatchError::Malformed(
                "The order in patch list doesn't match $setElementOrder list".into(),
            ));
        }
    }
    Ok(())
}

/// `$retainKeys` lists the keys that stay; the others are removed.
fn retain_keys(live: &mut Object, patch: &mut Object) -> Result<(), PatchError> {
    let Some(directive) = patch.shift_remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let Some(kept) = directive.as_array() else {
        return Err(PatchError::Malformed(
            "invalid patch format of retainKeys".into(),
        ));
    };
    let is_kept = |key: &str| kept.iter().any(|name| name == key);
    let sets_another = patch
        .iter()
        .any(|(key, value)| !value.is_null() && !key.starts_with('$') && !is_kept(key));
    if sets_another {
        return Err(PatchError::Malformed(
            "invalid patch format of retainKeys".into(),
        ));
    }
    live.retain(|key, _| is_kept(key));
    Ok(())
}

/// Removes values from a list of scalars.
fn delete_values(live: &mut Object, list: &str, values: &Value) -> Result<(), PatchError> {
    let Some(values) = values.as_array() else {
        return Err(PatchError::Malformed(
            "invalid patch format of primitive list".into(),
        ));
    };
    if let Some(Value::Array(items)) = live.get_mut(list) {
        items.retain(|item| !values.contains(item));
    }
    Ok(())
}

/// A value that is new to the document: nulls and directives have nothing to act on.
fn without_directives(value: Value) -> Value {
    match value {
        Value::Object(object) => Value::Object(
            object
                .into_iter()
                .filter(|(key, value)| !is_directive(key) && !value.is_null())
                .map(|(key, value)| (key, without_directives(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(
            items
                .into_iter()
                .filter(|item| item.get(PATCH).is_none())
                .map(without_directives)
                .collect(),
        ),
        scalar => scalar,
    }
}

fn is_directive(key: &str) -> bool {
    key == PATCH
        || key == RETAIN_KEYS
        || key.starts_with(SET_ELEMENT_ORDER)
        || key.starts_with(DELETE_FROM_PRIMITIVE_LIST)
}

fn require_key(item: &Value, key: &str) -> Result<(), PatchError> {
    if item.get(key).is_some() {
        return Ok(());
    }
    Err(PatchError::Unmergeable(format!(
        "map: {item} does not contain declared merge key: {key}"
    )))
}

fn unknown_directive(directive: &Value) -> PatchError {
    PatchError::Malformed(format!("unknown patch type: {directive}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod_spec(containers: &Value) -> Value {
        json!({"spec": {"containers": containers}})
    }

    fn patched(document: &Value, patch: &Value) -> Value {
        strategic(document, patch, &MergeKeys::for_kind("", "Pod")).unwrap()
    }

    #[test]
    fn containers_are_merged_by_name() {
        let live = pod_spec(&json!([{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]));
        let patch = pod_spec(&json!([{"name": "b", "image": "b:2"}]));
        assert_eq!(
            patched(&live, &patch)["spec"]["containers"],
            json!([{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:2"}])
        );
    }

    #[test]
    fn items_of_the_patch_keep_its_order() {
        let env = json!([{"name": "X", "value": "1"}]);
        let live = pod_spec(&json!([{"name": "a", "env": env}, {"name": "b"}]));
        let patch = pod_spec(&json!([
            {"name": "a", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "3"}]},
            {"name": "c", "image": "c:1"},
        ]));
        let containers = &patched(&live, &patch)["spec"]["containers"];
        assert_eq!(
            containers[0]["env"],
            json!([{"name": "Y", "value": "2"}, {"name": "X", "value": "3"}])
        );
        let names: Vec<_> = containers
            .as_array()
            .unwrap()
            .iter()
            .map(|c| &c["name"])
            .collect();
        assert_eq!(names, ["a", "c", "b"]);
    }

    #[test]
    fn an_item_is_deleted_by_directive() {
        let live = pod_spec(&json!([
            {"name": "a"},
            {"name": "b", "env": [{"name": "X"}, {"name": "Y"}]},
        ]));
        let patch = pod_spec(&json!([
            {"$patch": "delete", "name": "a"},
            {"name": "b", "env": [{"$patch": "delete", "name": "X"}]},
        ]));
        assert_eq!(
            patched(&live, &patch),
            pod_spec(&json!([{"name": "b", "env": [{"name": "Y"}]}]))
        );
    }

    #[test]
    fn lists_and_maps_are_replaced_by_directive() {
        let live = pod_spec(&json!([{"name": "a"}, {"name": "b"}]));
        let patch = pod_spec(&json!([{"$patch": "replace"}, {"name": "z"}]));
        assert_eq!(patched(&live, &patch), pod_spec(&json!([{"name": "z"}])));
        assert_eq!(
            patched(
                &json!({"metadata": {"labels": {"a": "1", "b": "2"}}}),
                &json!({"metadata": {"labels": {"$patch": "replace", "z": "26"}}}),
            ),
            json!({"metadata": {"labels": {"z": "26"}}})
        );
    }

    #[test]
    fn null_removes_and_is_not_stored() {
        assert_eq!(
            patched(
                &json!({"metadata": {"labels": {"x": "1", "y": "2"}}}),
                &json!({"metadata": {"labels": {"y": null, "w": "0", "none": null}},
                       "spec": {"nodeName": null}}),
            ),
            json!({"metadata": {"labels": {"x": "1", "w": "0"}}, "spec": {}})
        );
    }

    #[test]
    fn lists_without_a_merge_key_are_replaced() {
        let live = json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}});
        let patch = json!({"spec": {"taints": [{"key": "b", "effect": "NoExecute"}]}});
        let keys = MergeKeys::for_kind("", "Node");
        assert_eq!(strategic(&live, &patch, &keys).unwrap(), patch);
    }

    #[test]
    fn finalizers_are_added_and_deleted_one_by_one() {
        let live = json!({"metadata": {"finalizers": ["a", "b"]}});
        assert_eq!(
            patched(&live, &json!({"metadata": {"finalizers": ["c", "a"]}})),
            json!({"metadata": {"finalizers": ["c", "a", "b"]}})
        );
        assert_eq!(
            patched(
                &live,
                &json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}})
            ),
            json!({"metadata": {"finalizers": ["b"]}})
        );
    }

    #[test]
    fn the_order_of_items_can_be_set() {
        let live = pod_spec(&json!([{"name": "a"}, {"name": "b"}, {"name": "c"}]));
        let patch = json!({"spec": {
            "$setElementOrder/containers": [{"name": "c"}, {"name": "new"}, {"name": "a"}],
            "containers": [{"name": "new", "image": "n"}, {"$patch": "delete", "name": "b"}],
        }});
        assert_eq!(
            patched(&live, &patch),
            pod_spec(&json!([{"name": "c"}, {"name": "new", "image": "n"}, {"name": "a"}]))
        );
    }

    #[test]
    fn an_order_that_contradicts_the_list_is_refused() {
        let patch = json!({"spec": {
            "$setElementOrder/containers": [{"name": "a"}],
            "containers": [{"name": "b"}],
        }});
        let refused = strategic(
            &pod_spec(&json!([])),
            &patch,
            &MergeKeys::for_kind("", "Pod"),
        );
        assert!(matches!(refused, Err(PatchError::Malformed(_))));
    }

    #[test]
    fn keys_that_are_not_retained_are_removed() {
        let live = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {}}}});
        let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
        let keys = MergeKeys::for_kind("apps", "Deployment");
        assert_eq!(
            strategic(&live, &patch, &keys).unwrap(),
            json!({"spec": {"strategy": {"type": "Recreate"}}})
        );
        let patch = json!({"spec": {"strategy": {"$retainKeys": ["other"], "type": "Recreate"}}});
        assert!(matches!(
            strategic(&live, &patch, &keys),
            Err(PatchError::Malformed(_))
        ));
    }

    #[test]
    fn an_item_without_its_merge_key_is_refused() {
        let live = pod_spec(&json!([{"name": "a"}]));
        let refused = strategic(
            &live,
            &pod_spec(&json!([{"image": "x"}])),
            &MergeKeys::for_kind("", "Pod"),
        );
        assert!(
            matches!(refused, Err(PatchError::Unmergeable(_))),
            "{refused:?}"
        );
    }

    #[test]
    fn an_unknown_directive_is_refused() {
        let patch = json!({"metadata": {"$patch": "conquer"}});
        let refused = strategic(
            &json!({"metadata": {}}),
            &patch,
            &MergeKeys::for_kind("", "Pod"),
        );
        assert!(
            matches!(refused, Err(PatchError::Malformed(_))),
            "{refused:?}"
        );
    }
}
