//! What is stored: pruned and defaulted objects.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{NOTHING, lines, schema_of, stored, widget};
use crate::schema::Schema;

#[test]
fn unknown_fields_are_pruned_and_named() {
    let schema = schema_of(json!({
        "a": {"type": "string"},
        "l": {"type": "array", "items": {"type": "object", "properties":
              {"x": {"type": "string"}}}},
        "keep": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties":
                 {"k": {"type": "object", "properties": {"y": {"type": "string"}}}}},
        "res": {"type": "object", "x-kubernetes-embedded-resource": true, "properties":
                {"spec": {"type": "object"}}},
    }));
    let mut object = widget(json!({
        "a": "1", "b": "2", "l": [{"x": "1", "z": "2"}],
        "keep": {"any": {"thing": 1}, "k": {"y": "1", "z": "2"}},
        "res": {"apiVersion": "v1", "kind": "X", "metadata": {"name": "n", "bogus": 1}, "o": 1},
    }));
    object["extra"] = json!({"x": 1});
    assert_eq!(
        schema.prune(&mut object),
        [
            "extra",
            "spec.b",
            "spec.keep.k.z",
            "spec.l[0].z",
            "spec.res.metadata.bogus",
            "spec.res.o"
        ]
    );
    assert_eq!(
        object,
        widget(json!({
            "a": "1", "l": [{"x": "1"}], "keep": {"any": {"thing": 1}, "k": {"y": "1"}},
            "res": {"apiVersion": "v1", "kind": "X", "metadata": {"name": "n"}},
        }))
    );
    assert_eq!(schema.prune(&mut object), NOTHING);
}

#[test]
fn a_schema_can_keep_everything() {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let schema = Schema::parse(&schema).unwrap();
    let object = json!({"spec": {"a": {"b": [1, "x", null, true, 1.5]}}, "other": {"k": "v"}});
    let mut kept = object.clone();
    assert_eq!(schema.prune(&mut kept), NOTHING);
    schema.apply_defaults(&mut kept);
    assert_eq!(kept, object);
}

#[test]
fn defaults_are_filled_in_where_their_parent_is() {
    let schema = schema_of(json!({
        "size": {"type": "integer", "default": 3},
        "deep": {"type": "object", "default": {}, "properties": {
            "on": {"type": "boolean", "default": true},
            "list": {"type": "array", "items": {"type": "object", "properties":
                     {"n": {"type": "string", "default": "x"}}}}}},
        "opt": {"type": "object", "properties": {"v": {"type": "string", "default": "never alone"}}},
    }));
    for (spec, expected) in [
        (json!({}), json!({"size": 3, "deep": {"on": true}})),
        (
            json!({"size": 0, "deep": {"list": [{}, {"n": "y"}]}, "opt": {}}),
            json!({"size": 0, "deep": {"list": [{"n": "x"}, {"n": "y"}], "on": true},
                   "opt": {"v": "never alone"}}),
        ),
        (
            json!({"size": null}),
            json!({"size": 3, "deep": {"on": true}}),
        ),
    ] {
        assert_eq!(stored(&schema, spec), expected);
    }
    let mut without_spec = json!({"kind": "Widget"});
    schema.apply_defaults(&mut without_spec);
    assert_eq!(without_spec, json!({"kind": "Widget"}));
}

#[test]
fn nulls_stay_only_where_they_are_allowed() {
    let schema = schema_of(json!({
        "n": {"type": "string", "nullable": true},
        "s": {"type": "string"},
        "d": {"type": "string", "default": "x"},
        "nd": {"type": "string", "nullable": true, "default": "y"},
        "o": {"type": "object", "properties": {"k": {"type": "string"}}},
    }));
    for (spec, expected) in [
        (json!({"n": null}), json!({"n": null, "d": "x", "nd": "y"})),
        (json!({"s": null}), json!({"d": "x", "nd": "y"})),
        (
            json!({"d": null, "nd": null}),
            json!({"d": "x", "nd": null}),
        ),
        (json!({"o": null}), json!({"d": "x", "nd": "y"})),
    ] {
        let got = stored(&schema, spec);
        assert_eq!(lines(&schema.validate(&widget(got.clone()), None)), NOTHING);
        assert_eq!(got, expected);
    }
}

proptest! {
    #[test]
    fn pruning_and_defaulting_again_change_nothing(mut object in any_spec()) {
        let schema = schema_of(json!({
            "a": {"type": "string", "default": "x"},
            "b": {"type": "object", "default": {}, "properties": {
                "a": {"type": "integer", "default": 1},
                "c": {"type": "array", "items": {"type": "object", "properties":
                      {"b": {"type": "boolean", "default": true}}}}}},
            "c": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                  "properties": {"b": {"type": "object"}}},
        }));
        schema.prune(&mut object);
        schema.apply_defaults(&mut object);
        let once = object.clone();
        prop_assert_eq!(schema.prune(&mut object), NOTHING);
        schema.apply_defaults(&mut object);
        prop_assert_eq!(object, once);
    }
}

/// Any object with few different field names.
fn any_spec() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3).prop_map(Value::from),
        "[xy]".prop_map(Value::from),
    ];
    let value = scalar.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[abcd]", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    });
    value.prop_map(widget)
}
