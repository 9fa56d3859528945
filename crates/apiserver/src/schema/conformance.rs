//! What a recorded kube-apiserver 1.36 says about custom resources and their schemas.

#![allow(
    clippy::needless_pass_by_value,
    reason = "the tests are tables of literals, which read better without `&`"
)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Cause, Schema};

/// A schema whose `spec` has these properties.
fn schema_of(spec: Value) -> Schema {
    parse(json!({"type": "object", "properties": spec}))
}

fn parse(spec: Value) -> Schema {
    Schema::parse(&json!({"type": "object", "properties": {"spec": spec}})).unwrap()
}

fn widget(spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a"},
           "spec": spec})
}

/// What is stored of a `spec`: pruned and defaulted.
fn stored(schema: &Schema, spec: Value) -> Value {
    let mut object = widget(spec);
    schema.prune(&mut object);
    schema.apply_defaults(&mut object);
    object["spec"].take()
}

/// Causes as lines, sorted: `field: message (reason)`.
fn lines(causes: &[Cause]) -> Vec<String> {
    let mut lines: Vec<String> = causes
        .iter()
        .map(|cause| {
            format!(
                "{}: {} ({})",
                cause.field,
                cause.message,
                cause.reason.as_str()
            )
        })
        .collect();
    lines.sort();
    lines
}

/// What is said about a new object with this `spec`.
fn complaints(schema: &Schema, spec: Value) -> Vec<String> {
    let spec = stored(schema, spec);
    lines(&schema.validate(&widget(spec), None))
}

/// What is said about a change of `spec`.
fn complaints_on_update(schema: &Schema, old: Value, new: Value) -> Vec<String> {
    let (old, new) = (widget(stored(schema, old)), widget(stored(schema, new)));
    lines(&schema.validate(&new, Some(&old)))
}

/// What is said about a schema whose `spec` has these properties.
fn refusals(spec: Value) -> Vec<String> {
    let schema = json!({"type": "object", "properties":
        {"spec": {"type": "object", "properties": spec}}});
    Schema::parse(&schema).map_or_else(|causes| lines(&causes), |_| Vec::new())
}

const NOTHING: [&str; 0] = [];

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

#[test]
fn rules_are_evaluated_where_they_stand() {
    let schema = parse(json!({
        "type": "object",
        "properties": {
            "min": {"type": "integer"}, "max": {"type": "integer"},
            "name": {"type": "string",
                     "x-kubernetes-validations": [{"rule": "self.startsWith('x')"}]},
        },
        "x-kubernetes-validations":
            [{"rule": "self.min <= self.max", "message": "min must not exceed max"}],
    }));
    let exceeds = "spec: Invalid value: min must not exceed max (FieldValueInvalid)";
    let good = json!({"min": 1, "max": 2, "name": "xy"});
    assert_eq!(complaints(&schema, good.clone()), NOTHING);
    assert_eq!(complaints(&schema, json!({"min": 3, "max": 2})), [exceeds]);
    assert_eq!(
        complaints(&schema, json!({"min": 3, "max": 2, "name": "y"})),
        [
            "spec.name: Invalid value: \"y\": failed rule: self.startsWith('x') \
             (FieldValueInvalid)",
            exceeds,
        ]
    );
    assert_eq!(
        complaints(&schema, json!({"min": 1})),
        [
            "spec: Invalid value: \"object\": no such key: max evaluating rule: min must not exceed \
          max (FieldValueInvalid)"
        ]
    );
    assert_eq!(
        complaints_on_update(&schema, good, json!({"min": 9, "max": 2, "name": "xy"})),
        [exceeds]
    );
}

#[test]
fn rules_give_messages_reasons_and_paths() {
    let schema = parse(json!({
        "type": "object",
        "properties": {"n": {"type": "integer"}, "a": {"type": "string"},
                       "k": {"type": "string", "maxLength": 20}},
        "x-kubernetes-validations": [
            {"rule": "self.n < 10", "messageExpression": "'too big for ' + self.k",
             "fieldPath": ".n", "reason": "FieldValueForbidden"},
            {"rule": "has(self.a) || has(self.k)", "message": "a or k",
             "reason": "FieldValueRequired"},
        ],
    }));
    for (spec, line) in [
        (
            json!({"n": 12, "k": "kay"}),
            "spec.n: Forbidden: too big for kay (FieldValueForbidden)",
        ),
        (
            json!({"n": 12, "a": "x"}),
            "spec.n: Forbidden: failed rule: self.n < 10 (FieldValueForbidden)",
        ),
        (
            json!({"n": 1}),
            "spec: Required value: a or k (FieldValueRequired)",
        ),
    ] {
        assert_eq!(complaints(&schema, spec), [line]);
    }
    assert_eq!(complaints(&schema, json!({"n": 1, "k": "x"})), NOTHING);
}

#[test]
fn transition_rules_need_a_value_before() {
    let schema = schema_of(json!({
        "id": {"type": "string", "x-kubernetes-validations":
               [{"rule": "self == oldSelf", "message": "id is immutable"}]},
        "n": {"type": "integer", "x-kubernetes-validations":
              [{"rule": "self >= oldSelf", "message": "must not shrink"}]},
    }));
    let old = json!({"id": "x", "n": 5});
    assert_eq!(complaints(&schema, old.clone()), NOTHING);
    for (new, expected) in [
        (
            json!({"id": "y", "n": 5}),
            vec!["spec.id: Invalid value: \"y\": id is immutable (FieldValueInvalid)"],
        ),
        (
            json!({"id": "x", "n": 4}),
            vec!["spec.n: Invalid value: 4: must not shrink (FieldValueInvalid)"],
        ),
        (json!({"id": "x", "n": 6}), vec![]),
        (json!({"n": 6}), vec![]),
    ] {
        assert_eq!(complaints_on_update(&schema, old.clone(), new), expected);
    }
    assert_eq!(
        complaints_on_update(&schema, json!({"n": 6}), json!({"id": "z"})),
        NOTHING
    );
}

#[test]
fn an_optional_value_before_can_be_asked_for() {
    let schema = schema_of(
        json!({"n": {"type": "integer", "x-kubernetes-validations": [{
            "rule": "oldSelf.hasValue() ? self > oldSelf.value() : self == 1",
            "message": "starts at 1 and grows", "optionalOldSelf": true,
        }]}}),
    );
    let refused = |n: i64| {
        [format!(
            "spec.n: Invalid value: {n}: starts at 1 and grows (FieldValueInvalid)"
        )]
    };
    assert_eq!(complaints(&schema, json!({"n": 1})), NOTHING);
    assert_eq!(complaints(&schema, json!({"n": 2})), refused(2));
    assert_eq!(
        complaints_on_update(&schema, json!({"n": 1}), json!({"n": 2})),
        NOTHING
    );
    assert_eq!(
        complaints_on_update(&schema, json!({"n": 3}), json!({"n": 2})),
        refused(2)
    );
}

#[test]
fn items_of_keyed_lists_are_compared_with_themselves() {
    let schema = schema_of(json!({"l": {
        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
        "items": {"type": "object", "required": ["id"], "properties": {
            "id": {"type": "string"},
            "v": {"type": "integer", "x-kubernetes-validations": [{"rule": "self >= oldSelf"}]},
        }},
    }}));
    let old = json!({"l": [{"id": "a", "v": 5}, {"id": "b", "v": 1}]});
    let swapped = json!({"l": [{"id": "b", "v": 2}, {"id": "a", "v": 5}, {"id": "c", "v": 0}]});
    assert_eq!(complaints_on_update(&schema, old.clone(), swapped), NOTHING);
    assert_eq!(
        complaints_on_update(&schema, old, json!({"l": [{"id": "b", "v": 0}]})),
        ["spec.l[0].v: Invalid value: 0: failed rule: self >= oldSelf (FieldValueInvalid)"]
    );
}

#[test]
fn values_have_the_types_of_the_schema_in_rules() {
    let schema = parse(json!({
        "type": "object",
        "properties": {
            "ratio": {"type": "number"}, "at": {"type": "string", "format": "date-time"},
            "wait": {"type": "string", "format": "duration"},
            "data": {"type": "string", "format": "byte"},
            "a-b": {"type": "string"}, "namespace": {"type": "string"},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "x-kubernetes-validations": [
            {"rule": "self.ratio * 2.0 == 2.0"},
            {"rule": "self.at > timestamp('2020-01-01T00:00:00Z')"},
            {"rule": "self.wait == duration('90m')"},
            {"rule": "size(self.data) == 2"},
            {"rule": "self.a__dash__b == 'x' && self.__namespace__ == 'y'"},
            {"rule": "self.labels['a.b/c'] == 'z'"},
        ],
    }));
    let spec = json!({"ratio": 1, "at": "2024-01-01T00:00:00Z", "wait": "1h30m", "data": "YWI=",
                      "a-b": "x", "namespace": "y", "labels": {"a.b/c": "z"}});
    assert_eq!(complaints(&schema, spec), NOTHING);
}

#[test]
fn rules_wait_until_the_object_fits_its_schema() {
    let schema = parse(json!({
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "x-kubernetes-validations": [{"rule": "self.n > 0"}],
    }));
    let found = complaints(&schema, json!({"n": "x"}));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("<nil>: Invalid value: null: some validation rules"));
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
fn schemas_must_be_structural() {
    for (spec, line) in [
        (
            json!({"a": {"properties": {"b": {"type": "string"}}}}),
            "properties[spec].properties[a].type: Required value: must not be empty for specified \
          object fields (FieldValueRequired)",
        ),
        (
            json!({"a": {"type": "array"}}),
            "properties[spec].properties[a].items: Required value: must be specified \
          (FieldValueRequired)",
        ),
        (
            json!({"a": {"type": "object", "properties": {"b": {"type": "string"}},
                      "additionalProperties": {"type": "string"}}}),
            "properties[spec].properties[a].additionalProperties: Forbidden: additionalProperties \
          and properties are mutual exclusive (FieldValueForbidden)",
        ),
        (
            json!({"a": {"type": "object", "anyOf": [{"properties": {"b": {"type": "string"}}}]}}),
            "properties[spec].properties[a].anyOf[0].properties[b].type: Forbidden: must be empty \
          to be structural (FieldValueForbidden)",
        ),
        (
            json!({"a": {"type": "array", "items": {}}}),
            "properties[spec].properties[a].items.type: Required value: must not be empty for \
          specified array items (FieldValueRequired)",
        ),
        (
            json!({"a": {"type": "null"}}),
            "properties[spec].properties[a].type: Forbidden: type cannot be set to null, use \
          nullable as an alternative (FieldValueForbidden)",
        ),
        (
            json!({"a": {"type": "array", "items": {"type": "string"}, "uniqueItems": true}}),
            "properties[spec].properties[a].uniqueItems: Forbidden: uniqueItems cannot be set to \
          true since the runtime complexity becomes quadratic (FieldValueForbidden)",
        ),
        (
            json!({"a": {"type": "string", "default": 5}}),
            "properties[spec].properties[a].default: Invalid value: \"integer\": \
          properties[spec].properties[a].default in body must be of type string: \"integer\" \
          (FieldValueTypeInvalid)",
        ),
        (
            json!({"a": {"type": "array", "x-kubernetes-list-type": "map",
                      "x-kubernetes-list-map-keys": ["id"], "items": {"type": "object",
                      "properties": {"id": {"type": "string"}}}}}),
            "properties[spec].properties[a].items.properties[id].default: Required value: this \
          property is in x-kubernetes-list-map-keys, so it must have a default or be a required \
          property (FieldValueRequired)",
        ),
        (
            json!({"a": {"type": "string", "x-kubernetes-validations": [{"rule": " "}]}}),
            "properties[spec].properties[a].x-kubernetes-validations[0].rule: Required value: rule \
          is not specified (FieldValueRequired)",
        ),
    ] {
        assert_eq!(refusals(spec), [line]);
    }
    assert_eq!(
        lines(&Schema::parse(&json!({"type": "string"})).unwrap_err()),
        ["type: Invalid value: \"string\": must be object at the root (FieldValueInvalid)"]
    );
}

#[test]
fn rules_that_do_not_compile_are_refused() {
    for (rule, at) in [
        (json!({"rule": "self >"}), "rule"),
        (json!({"rule": "self == 1"}), "rule"),
        (json!({"rule": "self.field == 'x'"}), "rule"),
        (
            json!({"rule": "true", "messageExpression": "'a' +"}),
            "messageExpression",
        ),
        (json!({"rule": "true", "reason": "Whatever"}), "reason"),
        (json!({"rule": "true", "fieldPath": ".none"}), "fieldPath"),
        (json!({"rule": "true\n&& true"}), "message"),
        (
            json!({"rule": "true", "optionalOldSelf": true}),
            "optionalOldSelf",
        ),
    ] {
        let spec = json!({"a": {"type": "string", "x-kubernetes-validations": [rule]}});
        let found = refusals(spec);
        let field = format!("properties[spec].properties[a].x-kubernetes-validations[0].{at}: ");
        assert!(
            found.len() == 1 && found[0].starts_with(&field),
            "{found:?}"
        );
    }
    let in_atomic_list = json!({"l": {"type": "array", "items": {"type": "string",
        "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}}});
    assert_eq!(refusals(in_atomic_list).len(), 1);
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
