//! What holds for every sequence of applies.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{ApplyRequest, TypeInfo, UpdateRequest, apply, track_update};
use crate::schema::Schema;

static TYPES: LazyLock<TypeInfo> = LazyLock::new(|| {
    let schema = json!({"type": "object", "properties": {"spec": {
        "type": "object",
        "properties": {
            "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            "atom": {"type": "array", "items": {"type": "string"}},
            "map": {"type": "array", "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["id"],
                    "items": {"type": "object", "required": ["id"], "properties":
                              {"id": {"type": "string"}, "v": {"type": "string"}}}},
            "free": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    }}});
    TypeInfo::for_custom_resource(&Schema::parse(&schema).unwrap())
});

/// A few different letters in any order.
fn letters() -> impl Strategy<Value = Vec<String>> {
    prop::sample::subsequence(vec!["a", "b", "c", "d"], 0..=4)
        .prop_shuffle()
        .prop_map(|letters| letters.into_iter().map(str::to_owned).collect())
}

/// A configuration: every part may be missing, nothing that is there is empty.
fn configuration() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec!["x", "y"]);
    let part = |make: fn(Vec<String>, &str) -> Value| {
        (letters(), word.clone())
            .prop_map(move |(letters, word)| (!letters.is_empty()).then(|| make(letters, word)))
    };
    (
        part(|letters, _| json!(letters)),
        part(|letters, _| json!(letters)),
        part(|letters, word| {
            letters
                .into_iter()
                .map(|id| json!({"id": id, "v": word}))
                .collect()
        }),
        part(|letters, word| {
            letters
                .into_iter()
                .map(|key| (key, Value::from(word)))
                .collect::<Map<_, _>>()
                .into()
        }),
    )
        .prop_map(|(set, atom, map, free)| {
            let parts = [("set", set), ("atom", atom), ("map", map), ("free", free)];
            let spec: Map<String, Value> = parts
                .into_iter()
                .filter_map(|(name, part)| Some((name.to_owned(), part?)))
                .collect();
            let mut object = json!({"metadata": {"name": "one"}});
            if !spec.is_empty() {
                object["spec"] = Value::Object(spec);
            }
            object
        })
}

fn forced(live: Option<&Value>, applied: &Value, manager: &str) -> Value {
    let request = ApplyRequest {
        manager: manager.into(),
        force: true,
        subresource: None,
        api_version: "example.com/v1".into(),
        now: "2024-01-01T00:00:00Z".into(),
        reset_fields: vec![],
    };
    apply(live, applied, &request, &TYPES).unwrap()
}

/// Whether all that is in `part` is in `whole`; lists of the spec are compared as sets, but
/// for the atomic one.
fn includes(whole: &Value, part: &Value) -> bool {
    let fields = |object: &Value, name: &str| object["spec"][name].clone();
    let list = |value: Value| value.as_array().cloned().unwrap_or_default();
    let all_in = |name: &str| {
        let whole = list(fields(whole, name));
        list(fields(part, name))
            .iter()
            .all(|item| whole.contains(item))
    };
    let free = fields(part, "free");
    let free_in = free
        .as_object()
        .into_iter()
        .flatten()
        .all(|(key, value)| fields(whole, "free").get(key) == Some(value));
    let atom = fields(part, "atom");
    all_in("set") && all_in("map") && free_in && (atom.is_null() || atom == fields(whole, "atom"))
}

proptest! {
    #[test]
    fn applying_again_changes_nothing(first in configuration(), second in configuration()) {
        let live = forced(None, &first, "alpha");
        let once = forced(Some(&live), &second, "beta");
        prop_assert_eq!(&forced(Some(&once), &second, "beta"), &once);
    }

    #[test]
    fn what_is_applied_with_force_is_there(first in configuration(), second in configuration()) {
        let live = forced(None, &first, "alpha");
        let both = forced(Some(&live), &second, "beta");
        prop_assert!(includes(&both, &second), "{both} lacks some of {second}");
    }

    #[test]
    fn a_single_applier_gets_what_it_applied_last(
        configurations in prop::collection::vec(configuration(), 1..4),
    ) {
        let live = configurations
            .iter()
            .fold(None, |live, applied| Some(forced(live.as_ref(), applied, "alpha")))
            .unwrap();
        let last = configurations.last().unwrap();
        let (mut live, mut fresh) = (live, forced(None, last, "alpha"));
        for object in [&mut live, &mut fresh] {
            for list in ["set", "map"] {
                if let Some(Value::Array(items)) = object.pointer_mut(&format!("/spec/{list}")) {
                    items.sort_by_key(ToString::to_string);
                }
            }
        }
        prop_assert_eq!(live, fresh);
    }

    #[test]
    fn fields_of_another_applier_stay(mine in configuration(), theirs in configuration()) {
        let live = forced(None, &theirs, "theirs");
        let both = forced(Some(&live), &mine, "mine");
        let after = forced(Some(&both), &json!({"metadata": {"name": "one"}}), "mine");
        let again = forced(Some(&after), &theirs, "theirs");
        prop_assert!(includes(&again, &theirs));
        let owners = again["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        prop_assert!(owners.iter().all(|owner| owner["manager"] == "theirs"), "{owners:?}");
    }

    #[test]
    fn a_plain_write_is_owned_as_a_whole(old in configuration(), new in configuration()) {
        let live = forced(None, &old, "alpha");
        let mut written = new.clone();
        let request = UpdateRequest {
            manager: "editor".into(),
            subresource: None,
            api_version: "example.com/v1".into(),
            now: "2024-01-01T00:00:01Z".into(),
            reset_fields: vec![],
        };
        track_update(Some(&live), &mut written, &request, &TYPES);
        // Whoever now wants it all differently is in conflict or changes nothing.
        let taken = forced(Some(&written), &new, "gamma");
        prop_assert_eq!(&taken["spec"], &new["spec"]);
    }
}
