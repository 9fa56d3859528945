//! Values that do not fit their schema.

use serde_json::json;

use super::{NOTHING, complaints, complaints_on_update, parse, schema_of};

#[test]
fn wrong_types_are_reported_with_their_path() {
    let schema = schema_of(json!({
        "s": {"type": "string"}, "i": {"type": "integer"}, "b": {"type": "boolean"},
        "n": {"type": "number"},
        "l": {"type": "array", "items": {"type": "integer"}},
        "o": {"type": "object", "properties": {"x": {"type": "string"}}},
        "m": {"type": "object", "additionalProperties": {"type": "integer"}},
    }));
    let good = json!({"s": "x", "i": 1, "b": true, "n": 1, "l": [1], "o": {"x": "y"}});
    assert_eq!(complaints(&schema, good), NOTHING);
    for (spec, field, found, wanted) in [
        (json!({"s": 1}), "spec.s", "integer", "string"),
        (json!({"i": "1"}), "spec.i", "string", "integer"),
        (json!({"b": "true"}), "spec.b", "string", "boolean"),
        (json!({"n": "1"}), "spec.n", "string", "number"),
        (json!({"l": {"a": 1}}), "spec.l", "object", "array"),
        (json!({"l": ["x", 1]}), "spec.l[0]", "string", "integer"),
        (json!({"l": [null]}), "spec.l[0]", "null", "integer"),
        (json!({"o": []}), "spec.o", "array", "object"),
        (json!({"m": {"a": "x"}}), "spec.m.a", "string", "integer"),
    ] {
        let line = format!(
            "{field}: Invalid value: \"{found}\": {field} in body must be of type {wanted}: \
             \"{found}\" (FieldValueTypeInvalid)"
        );
        assert_eq!(complaints(&schema, spec), [line]);
    }
    let fraction = complaints(&schema, json!({"i": 1.5}));
    assert_eq!(
        fraction,
        [
            "<nil>: Invalid value: \"\": Checked value must be of type integer (default format) \
             in spec.i (FieldValueInvalid)",
            "spec.i: Invalid value: \"number\": spec.i in body must be of type integer: \
             \"number\" (FieldValueTypeInvalid)",
        ]
    );
}

#[test]
fn integers_or_strings_are_both() {
    let schema = schema_of(json!({"p": {"x-kubernetes-int-or-string": true}}));
    assert_eq!(complaints(&schema, json!({"p": 80})), NOTHING);
    assert_eq!(complaints(&schema, json!({"p": "80%"})), NOTHING);
    for (value, found) in [(json!(1.5), "number"), (json!(true), "boolean")] {
        let line = format!(
            "spec.p: Invalid value: \"{found}\": spec.p in body must be of type \
             integer,string: \"{found}\" (FieldValueTypeInvalid)"
        );
        assert_eq!(complaints(&schema, json!({"p": value})), [line]);
    }
}

#[test]
fn bounds_are_worded_as_recorded() {
    let schema = schema_of(json!({
        "a": {"type": "integer", "minimum": 1, "maximum": 5},
        "b": {"type": "number", "minimum": 0, "exclusiveMinimum": true},
        "c": {"type": "integer", "multipleOf": 3},
        "e": {"type": "string", "enum": ["red", "blue"]},
        "n": {"type": "integer", "enum": [1, 2]},
        "p": {"type": "string", "pattern": "^[a-z]+$"},
        "t": {"type": "string", "minLength": 2, "maxLength": 4},
        "l": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2},
        "m": {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 1},
        "f": {"type": "string", "format": "date-time"},
    }));
    let good = json!({"a": 1, "b": 0.5, "c": 6, "e": "red", "n": 1, "p": "abc", "t": "äöüß",
                      "l": ["a"], "m": {"k": "v"}, "f": "2024-01-01T00:00:00Z"});
    assert_eq!(complaints(&schema, good), NOTHING);
    for (spec, line) in [
        (
            json!({"a": 0}),
            "spec.a: Invalid value: 0: spec.a in body should be greater than or \
                           equal to 1 (FieldValueInvalid)",
        ),
        (
            json!({"a": 6}),
            "spec.a: Invalid value: 6: spec.a in body should be less than or \
                           equal to 5 (FieldValueInvalid)",
        ),
        (
            json!({"b": 0}),
            "spec.b: Invalid value: 0: spec.b in body should be greater than 0 \
                           (FieldValueInvalid)",
        ),
        (
            json!({"c": 4}),
            "spec.c: Invalid value: 4: spec.c in body should be a multiple of 3 \
                           (FieldValueInvalid)",
        ),
        (
            json!({"e": "green"}),
            "spec.e: Unsupported value: \"green\": supported values: \
                                 \"red\", \"blue\" (FieldValueNotSupported)",
        ),
        (
            json!({"e": ""}),
            "spec.e: Unsupported value: \"\": supported values: \"red\", \
                            \"blue\" (FieldValueNotSupported)",
        ),
        (
            json!({"n": 3}),
            "spec.n: Unsupported value: 3: supported values: \"1\", \"2\" \
                           (FieldValueNotSupported)",
        ),
        (
            json!({"p": "ABC"}),
            "spec.p: Invalid value: \"ABC\": spec.p in body should match \
                               '^[a-z]+$' (FieldValueInvalid)",
        ),
        (
            json!({"t": "x"}),
            "spec.t: Invalid value: \"x\": spec.t in body should be at least 2 \
                             chars long (FieldValueInvalid)",
        ),
        (
            json!({"t": "xxxxx"}),
            "spec.t: Too long: may not be more than 4 bytes \
                                 (FieldValueTooLong)",
        ),
        (
            json!({"l": []}),
            "spec.l: Invalid value: 0: spec.l in body should have at least 1 \
                            items (FieldValueInvalid)",
        ),
        (
            json!({"l": ["a", "b", "c"]}),
            "spec.l: Too many: 3: must have at most 2 items \
                                         (FieldValueTooMany)",
        ),
        (
            json!({"m": {"a": "1", "b": "2"}}),
            "spec.m: Too many: 2: must have at most 1 item \
                                              (FieldValueTooMany)",
        ),
        (
            json!({"f": "now"}),
            "spec.f: Invalid value: \"now\": spec.f in body must be of type \
                               date-time: \"now\" (FieldValueTypeInvalid)",
        ),
    ] {
        assert_eq!(complaints(&schema, spec), [line]);
    }
}

#[test]
fn missing_fields_are_named() {
    let schema = parse(json!({
        "type": "object",
        "required": ["a"],
        "properties": {
            "a": {"type": "string"},
            "in": {"type": "object", "required": ["b"],
                   "properties": {"b": {"type": "integer"}}},
            "m": {"type": "object", "additionalProperties":
                  {"type": "object", "required": ["x"], "properties": {"x": {"type": "string"}}}},
        },
    }));
    let line = |field: &str| [format!("{field}: Required value (FieldValueRequired)")];
    assert_eq!(complaints(&schema, json!({})), line("spec.a"));
    assert_eq!(complaints(&schema, json!({"a": null})), line("spec.a"));
    assert_eq!(
        complaints(&schema, json!({"a": "x", "in": {}})),
        line("spec.in.b")
    );
    assert_eq!(
        complaints(&schema, json!({"a": "x", "m": {"k": {}}})),
        line("spec.m.k.x")
    );
    assert_eq!(complaints(&schema, json!({"in": {"b": "text"}})).len(), 2);
}

#[test]
fn sets_and_keyed_lists_hold_every_entry_once() {
    let schema = schema_of(json!({
        "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "map": {"type": "array", "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["id", "p"],
                "items": {"type": "object", "required": ["id"], "properties": {
                    "id": {"type": "string"}, "p": {"type": "string", "default": "TCP"}}}},
        "atom": {"type": "array", "items": {"type": "string"},
                 "x-kubernetes-list-type": "atomic"},
    }));
    let good = json!({"set": ["x", "y"], "map": [{"id": "1"}, {"id": "1", "p": "UDP"}],
                      "atom": ["x", "x"]});
    assert_eq!(complaints(&schema, good.clone()), NOTHING);
    assert_eq!(
        complaints(&schema, json!({"set": ["x", "x", "x"]})),
        ["spec.set[1]: Duplicate value: \"x\" (FieldValueDuplicate)"]
    );
    assert_eq!(
        complaints(
            &schema,
            json!({"map": [{"id": "1"}, {"id": "1", "p": "TCP"}]})
        ),
        ["spec.map[1]: Duplicate value: {\"id\":\"1\",\"p\":\"TCP\"} (FieldValueDuplicate)"]
    );
    assert_eq!(
        complaints(&schema, json!({"map": [{"p": "TCP"}]})),
        ["spec.map[0].id: Required value (FieldValueRequired)"]
    );
    assert_eq!(
        complaints_on_update(&schema, good, json!({"set": ["x", "y", "x"]})),
        ["spec.set[2]: Duplicate value: \"x\" (FieldValueDuplicate)"]
    );
}

#[test]
fn what_has_not_changed_is_not_complained_about() {
    let schema = schema_of(json!({
        "a": {"type": "integer", "maximum": 5},
        "b": {"type": "string", "x-kubernetes-validations": [{"rule": "self == 'ok'"}]},
        "c": {"type": "string"},
        "s": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
    }));
    let old = json!({"a": 9, "b": "bad", "s": ["x", "x"]});
    let mut new = old.clone();
    new["c"] = json!("new");
    assert_eq!(complaints_on_update(&schema, old.clone(), new), NOTHING);
    let worse = json!({"a": 8, "b": "worse", "s": ["x", "x"]});
    assert_eq!(complaints_on_update(&schema, old, worse).len(), 2);
}

#[test]
fn alternatives_are_checked() {
    let schema = schema_of(json!({"v": {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
        "not": {"properties": {"a": {"enum": ["bad"]}}, "required": ["a"]},
    }}));
    assert_eq!(complaints(&schema, json!({"v": {"a": "x"}})), NOTHING);
    assert_eq!(
        complaints(&schema, json!({"v": {}})),
        [
            "<nil>: Invalid value: \"\": \"spec.v\" must validate one and only one schema \
             (oneOf). Found none valid (FieldValueInvalid)",
            "spec.v.a: Required value (FieldValueRequired)",
        ]
    );
    let both = complaints(&schema, json!({"v": {"a": "x", "b": "y"}}));
    assert!(both[0].contains("Found 2 valid alternatives"), "{both:?}");
    let bad = complaints(&schema, json!({"v": {"a": "bad"}}));
    assert!(
        bad[0].contains("must not validate the schema (not)"),
        "{bad:?}"
    );
}

#[test]
fn embedded_resources_say_what_they_are() {
    let schema = schema_of(json!({"list": {"type": "array", "items": {
        "type": "object", "x-kubernetes-embedded-resource": true,
        "x-kubernetes-preserve-unknown-fields": true,
    }}}));
    let good = json!({"list": [{"apiVersion": "apps/v1", "kind": "Deployment", "spec": {}}]});
    assert_eq!(complaints(&schema, good), NOTHING);
    assert_eq!(
        complaints(
            &schema,
            json!({"list": [{"apiVersion": "a/b/c", "metadata": {}}]})
        ),
        [
            "spec.list[0].apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string \
             (FieldValueInvalid)",
            "spec.list[0].kind: Required value: must not be empty (FieldValueRequired)",
        ]
    );
    let odd = complaints(
        &schema,
        json!({"list": [{"apiVersion": "", "kind": "1st kind"}]}),
    );
    assert_eq!(odd.len(), 2, "{odd:?}");
}
