//! The rules that a schema must keep to be structural, so that it can be used to prune and
//! to default, and the limits that Kubernetes sets to schemas of custom resources.

use serde_json::{Map, Value};

use super::cause::Cause;
use super::node::ValueType;
use super::path::{child, index, key};
use super::pattern::Pattern;

type Object = Map<String, Value>;

/// Where in the schema a node stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Keywords of JSON Schema that Kubernetes does not take.
const UNSUPPORTED: [(&str, &str); 6] = [
    ("id", "id is not supported"),
    ("additionalItems", "additionalItems is not supported"),
    ("patternProperties", "patternProperties is not supported"),
    ("definitions", "definitions is not supported"),
    ("dependencies", "dependencies is not supported"),
    ("$ref", "$ref is not supported"),
];

/// What only the structure may say, not a value validation nested in `anyOf` and the like.
const FORBIDDEN_IN_BRANCHES: [(&str, &str); 13] = [
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    ("externalDocs", "must be undefined to be structural"),
    (
        "x-kubernetes-preserve-unknown-fields",
        "must be false to be structural",
    ),
    (
        "x-kubernetes-embedded-resource",
        "must be false to be structural",
    ),
    (
        "x-kubernetes-int-or-string",
        "must be false to be structural",
    ),
    (
        "x-kubernetes-list-map-keys",
        "must be empty to be structural",
    ),
    (
        "x-kubernetes-list-type",
        "must be undefined to be structural",
    ),
    (
        "x-kubernetes-map-type",
        "must be undefined to be structural",
    ),
];

/// Checks a schema. Fields of the causes are relative to it.
pub(super) fn check(schema: &Value) -> Vec<Cause> {
    let Value::Object(root) = schema else {
        return vec![Cause::required("", "must be an object")];
    };
    let mut causes = Vec::new();
    check_structure(root, Level::Root, "", &mut causes);
    check_completeness(root, root, "", "", &mut causes);
    causes
}

fn flag(schema: &Object, name: &str) -> bool {
    schema.get(name) == Some(&Value::Bool(true))
}

fn text<'a>(schema: &'a Object, name: &str) -> &'a str {
    schema.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn object<'a>(schema: &'a Object, name: &str) -> Option<&'a Object> {
    schema.get(name).and_then(Value::as_object)
}

/// The schemas of the fields, with their paths.
fn properties<'a>(schema: &'a Object, at: &str) -> Vec<(&'a str, &'a Object, String)> {
    let at = child(at, "properties");
    object(schema, "properties")
        .into_iter()
        .flatten()
        .filter_map(|(name, property)| Some((name.as_str(), property.as_object()?, key(&at, name))))
        .collect()
}

/// The schemas under `anyOf`, `allOf`, `oneOf` and `not`, with their paths.
fn branches<'a>(schema: &'a Object, at: &str) -> Vec<(&'static str, &'a Object, String)> {
    let mut found = Vec::new();
    for name in ["anyOf", "allOf", "oneOf"] {
        let listed = schema.get(name).and_then(Value::as_array);
        for (position, branch) in listed.into_iter().flatten().enumerate() {
            if let Some(branch) = branch.as_object() {
                found.push((name, branch, index(&child(at, name), position)));
            }
        }
    }
    if let Some(not) = object(schema, "not") {
        found.push(("not", not, child(at, "not")));
    }
    found
}

/// Checks a part of the structure and all that lies under it.
fn check_structure(schema: &Object, level: Level, at: &str, causes: &mut Vec<Cause>) {
    check_keywords(schema, at, causes);
    check_type(schema, level, at, causes);
    check_embedded(schema, level, at, causes);
    super::list_rules::check(schema, at, causes);
    check_map(schema, level, at, causes);
    if text(schema, "type") == "array" && !schema.contains_key("items") {
        causes.push(Cause::required(child(at, "items"), "must be specified"));
    }
    if let Some(items) = object(schema, "items") {
        check_structure(items, Level::Item, &child(at, "items"), causes);
    }
    for (name, property, at) in properties(schema, at) {
        if !(level == Level::Root && name == "metadata") {
            check_structure(property, Level::Field, &at, causes);
        }
    }
    if let Some(values) = object(schema, "additionalProperties") {
        check_structure(
            values,
            Level::Field,
            &child(at, "additionalProperties"),
            causes,
        );
    }
    for (keyword, branch, branch_at) in branches(schema, at) {
        let first = branch_at.ends_with("allOf[0]");
        if keyword == "anyOf" && is_int_or_string(schema)
            || first && is_int_or_string(branch) && branch.len() == 1
        {
            continue;
        }
        check_branch(branch, &branch_at, causes);
    }
}

/// Whether the alternatives are the ones allowed to say that a value is an integer or text.
fn is_int_or_string(schema: &Object) -> bool {
    schema.get("anyOf") == Some(&serde_json::json!([{"type": "integer"}, {"type": "string"}]))
}

/// Checks a value validation nested in `anyOf` and the like.
fn check_branch(branch: &Object, at: &str, causes: &mut Vec<Cause>) {
    check_keywords(branch, at, causes);
    for (name, detail) in FORBIDDEN_IN_BRANCHES {
        let unset = match branch.get(name) {
            None | Some(Value::Null | Value::Bool(false)) => true,
            Some(Value::String(text)) => text.is_empty(),
            Some(Value::Array(items)) => items.is_empty(),
            Some(_) => false,
        };
        if !unset {
            causes.push(Cause::forbidden(child(at, name), detail));
        }
    }
    if branch.contains_key("x-kubernetes-validations") {
        let field = child(at, "x-kubernetes-validations");
        causes.push(Cause::forbidden(field, "must be empty to be structural"));
    }
    if let Some(items) = object(branch, "items") {
        check_branch(items, &child(at, "items"), causes);
    }
    for (name, property, at) in properties(branch, at) {
        if name == "metadata" {
            causes.push(Cause::forbidden(
                &at,
                "must not be specified in a nested context",
            ));
        }
        check_branch(property, &at, causes);
    }
    for (_, nested, at) in branches(branch, at) {
        check_branch(nested, &at, causes);
    }
}

/// Fields that a branch speaks of must be part of the structure.
fn check_completeness(
    structure: &Object,
    validation: &Object,
    structure_at: &str,
    at: &str,
    causes: &mut Vec<Cause>,
) {
    for (_, branch, at) in branches(validation, at) {
        check_branch_completeness(structure, branch, structure_at, &at, causes);
    }
}

fn check_branch_completeness(
    structure: &Object,
    branch: &Object,
    structure_at: &str,
    at: &str,
    causes: &mut Vec<Cause>,
) {
    check_completeness(structure, branch, structure_at, at, causes);
    for (name, property, at) in properties(branch, at) {
        let structure_at = key(&child(structure_at, "properties"), name);
        match object(structure, "properties").and_then(|fields| object(fields, name)) {
            Some(field) => check_branch_completeness(field, property, &structure_at, &at, causes),
            None => causes.push(Cause::required(
                structure_at,
                format!("because it is defined in {at}"),
            )),
        }
    }
    if let Some(items) = object(branch, "items") {
        let structure_at = child(structure_at, "items");
        let at = child(at, "items");
        match object(structure, "items") {
            Some(field) => check_branch_completeness(field, items, &structure_at, &at, causes),
            None => causes.push(Cause::required(
                structure_at,
                format!("because it is defined in {at}"),
            )),
        }
    }
}

fn check_keywords(schema: &Object, at: &str, causes: &mut Vec<Cause>) {
    for (name, detail) in UNSUPPORTED {
        if schema.get(name).is_some_and(|value| !value.is_null()) {
            causes.push(Cause::forbidden(child(at, name), detail));
        }
    }
    if flag(schema, "uniqueItems") {
        causes.push(Cause::forbidden(
            child(at, "uniqueItems"),
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        ));
    }
    if schema.get("items").is_some_and(Value::is_array) {
        let detail = "items must be a schema object and not an array";
        causes.push(Cause::forbidden(child(at, "items"), detail));
    }
    let pattern = text(schema, "pattern");
    if let Err(error) = Pattern::parse(pattern) {
        let detail = format!("must be a valid regular expression, but isn't: {error}");
        causes.push(Cause::invalid(
            child(at, "pattern"),
            &Value::from(pattern),
            detail,
        ));
    }
    if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
        let field = child(at, "x-kubernetes-preserve-unknown-fields");
        causes.push(Cause::invalid(
            field,
            &Value::Bool(false),
            "must be true or undefined",
        ));
    }
}

fn check_type(schema: &Object, level: Level, at: &str, causes: &mut Vec<Cause>) {
    let field = child(at, "type");
    let named = text(schema, "type");
    let untyped = flag(schema, "x-kubernetes-int-or-string")
        || flag(schema, "x-kubernetes-preserve-unknown-fields");
    match named {
        "" if flag(schema, "x-kubernetes-embedded-resource") => causes.push(Cause::required(
            field,
            "must be object if x-kubernetes-embedded-resource is true",
        )),
        "" if untyped => {}
        "" => causes.push(Cause::required(
            field,
            match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field => "must not be empty for specified object fields",
            },
        )),
        "null" => causes.push(Cause::forbidden(
            field,
            "type cannot be set to null, use nullable as an alternative",
        )),
        name if ValueType::parse(name).is_none() => {
            let known = ["array", "boolean", "integer", "number", "object", "string"];
            let known: Vec<String> = known.map(str::to_owned).to_vec();
            causes.push(Cause::not_supported(field, &Value::from(name), &known));
        }
        name if level == Level::Root && name != "object" => {
            causes.push(Cause::invalid(
                field,
                &Value::from(name),
                "must be object at the root",
            ));
        }
        _ => {}
    }
}

/// Rules for objects with metadata of their own: the root and embedded resources.
fn check_embedded(schema: &Object, level: Level, at: &str, causes: &mut Vec<Cause>) {
    let embedded = flag(schema, "x-kubernetes-embedded-resource");
    let preserves = flag(schema, "x-kubernetes-preserve-unknown-fields");
    let named = text(schema, "type");
    if embedded && !named.is_empty() && named != "object" {
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        causes.push(Cause::invalid(
            child(at, "type"),
            &Value::from(named),
            detail,
        ));
    }
    if flag(schema, "x-kubernetes-int-or-string") {
        for (set, name) in [
            (preserves, "x-kubernetes-preserve-unknown-fields"),
            (embedded, "x-kubernetes-embedded-resource"),
        ] {
            if set {
                let detail = "must be false if x-kubernetes-int-or-string is true";
                causes.push(Cause::invalid(child(at, name), &Value::Bool(true), detail));
            }
        }
    }
    if embedded && schema.contains_key("additionalProperties") {
        let detail = "must not be used if x-kubernetes-embedded-resource is set";
        causes.push(Cause::forbidden(child(at, "additionalProperties"), detail));
    }
    let fields = properties(schema, at);
    if embedded && !preserves && fields.is_empty() {
        let detail = "must not be empty if x-kubernetes-embedded-resource is true without \
                      x-kubernetes-preserve-unknown-fields";
        causes.push(Cause::required(child(at, "properties"), detail));
    }
    if level != Level::Root && !embedded {
        return;
    }
    for (name, property, field_at) in fields {
        let named = text(property, "type");
        let mut refuse = |wanted: &str| {
            causes.push(Cause::invalid(
                child(&field_at, "type"),
                &Value::from(named),
                wanted,
            ));
        };
        match name {
            "apiVersion" | "kind" if named != "string" => refuse("must be string"),
            "metadata" if named != "object" => refuse("must be object"),
            _ => {}
        }
        if name == "metadata" && level == Level::Root && restricts_metadata(property) {
            let detail = "must not specify anything other than name and generateName, but \
                          metadata is implicitly specified";
            causes.push(Cause::forbidden(&field_at, detail));
        }
    }
}

/// Whether a schema of root metadata says more than is allowed.
fn restricts_metadata(schema: &Object) -> bool {
    let of_names = ["type", "properties", "description"];
    schema.keys().any(|name| !of_names.contains(&name.as_str()))
        || object(schema, "properties").is_some_and(|fields| {
            fields
                .keys()
                .any(|name| name != "name" && name != "generateName")
        })
}

/// Maps have free keys or named fields, not both.
fn check_map(schema: &Object, level: Level, at: &str, causes: &mut Vec<Cause>) {
    let field = child(at, "additionalProperties");
    let additional = schema.get("additionalProperties");
    let has_properties = object(schema, "properties").is_some_and(|fields| !fields.is_empty());
    match additional {
        Some(Value::Bool(false)) => causes.push(Cause::forbidden(
            &field,
            "additionalProperties cannot be set to false",
        )),
        Some(Value::Object(_)) if has_properties => causes.push(Cause::forbidden(
            &field,
            "additionalProperties and properties are mutual exclusive",
        )),
        _ => {}
    }
    if level == Level::Root && additional.is_some_and(|value| !value.is_null()) {
        causes.push(Cause::forbidden(&field, "must not be used at the root"));
    }
    let Some(map_type) = schema.get("x-kubernetes-map-type") else {
        return;
    };
    if !matches!(map_type.as_str(), Some("atomic" | "granular")) {
        let known = ["atomic".to_owned(), "granular".to_owned()];
        causes.push(Cause::not_supported(
            child(at, "x-kubernetes-map-type"),
            map_type,
            &known,
        ));
    }
    super::list_rules::require_type(
        schema,
        at,
        "object",
        "must be object if x-kubernetes-map-type is specified",
        causes,
    );
}
