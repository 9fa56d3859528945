//! Schemas that are refused.

use serde_json::{Value, json};

use super::lines;
use crate::schema::Schema;

/// What is said about a schema whose `spec` has these properties.
fn refusals(spec: Value) -> Vec<String> {
    let schema = json!({"type": "object", "properties":
        {"spec": {"type": "object", "properties": spec}}});
    Schema::parse(&schema).map_or_else(|causes| lines(&causes), |_| Vec::new())
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

#[test]
fn generated_definitions_are_accepted() {
    for (_, definition) in nico_api::crds::all() {
        for version in definition.spec.versions {
            let schema = version.schema.and_then(|schema| schema.open_api_v3_schema);
            let schema = serde_json::to_value(schema).unwrap();
            let parsed = Schema::parse(&schema);
            assert!(
                parsed.is_ok(),
                "{}: {:?}",
                definition.spec.names.kind,
                parsed.err()
            );
        }
    }
}

#[test]
fn what_every_resource_has_is_not_defaulted() {
    let schema = json!({"type": "object", "properties": {
        "metadata": {"type": "object", "properties": {
            "name": {"type": "string", "default": "one"},
        }},
    }});
    let causes = Schema::parse(&schema).unwrap_err();
    let fields: Vec<_> = causes.iter().map(|cause| cause.field.as_str()).collect();
    assert_eq!(
        fields,
        ["properties[metadata].properties[name].default"],
        "{causes:?}"
    );
}
