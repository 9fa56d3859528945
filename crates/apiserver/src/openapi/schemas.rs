//! Schemas and paths of single kinds.

use serde_json::{Map, Value, json};

use crate::registry::{Kind, Source};
use crate::schema::MergeType;

use super::merge_keys;

/// Where schemas refer to each other.
pub const REFERENCE: &str = "#/components/schemas/";
const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The two versions of OpenAPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Swagger 2.
    V2,
    /// OpenAPI 3.
    V3,
}

/// Adds the schema of a kind and all that it refers to.
pub fn add(kind: &Kind, schemas: &mut Map<String, Value>) {
    let name = name(kind);
    match &kind.source {
        Source::BuiltIn(built_in) => {
            for (name, mut schema) in built_in.definitions() {
                make_usual(&name, &mut schema);
                schemas.entry(name).or_insert(schema);
            }
            let merge_type = MergeType::of_builtin(&kind.group, &kind.kind);
            merge_keys::annotate(schemas, &name, &merge_type);
        }
        Source::Custom(custom) => {
            use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
            for (name, schema) in crate::objects::open_api_definitions::<ObjectMeta>() {
                schemas.entry(name).or_insert(schema);
            }
            let mut schema = custom.open_api.clone();
            if !schema.is_object() {
                schema = json!({"type": "object"});
            }
            for (field, value) in [
                (
                    "apiVersion",
                    json!({"type": "string", "description": API_VERSION}),
                ),
                ("kind", json!({"type": "string", "description": KIND})),
                (
                    "metadata",
                    json!({
                        "allOf": [{"$ref": format!("{REFERENCE}{OBJECT_META}")}],
                        "description": METADATA,
                    }),
                ),
            ] {
                schema["properties"][field] = value;
            }
            schemas.insert(name.clone(), schema);
        }
    }
    let Some(schema) = schemas.get_mut(&name) else {
        return;
    };
    let own = json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
    schema["x-kubernetes-group-version-kind"] = json!([own]);
}

/// Some types have schemas that say less, or something else, than what they look like in Rust.
fn make_usual(name: &str, schema: &mut Value) {
    let description = schema["description"].clone();
    let short = name.rsplit('.').next().unwrap_or_default();
    *schema = match short {
        // Any value at all.
        "JSON"
        | "JSONSchemaPropsOrArray"
        | "JSONSchemaPropsOrBool"
        | "JSONSchemaPropsOrStringArray" => json!({"description": description}),
        "IntOrString" => {
            json!({"type": "string", "format": "int-or-string", "description": description})
        }
        "Quantity" => json!({"type": "string", "description": description}),
        _ => return,
    };
}

const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an \
    object. Servers should convert recognized schemas to the latest internal value, and may reject \
    unrecognized values.";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. \
    Cannot be updated. In CamelCase.";
const METADATA: &str = "Standard object's metadata.";

/// In OpenAPI 3.0 nothing may stand beside a reference but in `allOf`.
pub fn wrap_references(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            // A field may be called `$ref`; only texts are references.
            if map.len() > 1
                && map.get("$ref").is_some_and(Value::is_string)
                && let Some(reference) = map.shift_remove("$ref")
            {
                map.insert("allOf".to_owned(), json!([{"$ref": reference}]));
            }
            for value in map.values_mut() {
                wrap_references(value);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(wrap_references),
        _ => {}
    }
}

/// Rewrites schemas for Swagger 2, which knows references by another path and fewer words.
pub fn to_v2(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Array(all)) = map.get("allOf")
                && let [single] = all.as_slice()
                && let Some(reference) = single.get("$ref").cloned()
            {
                map.shift_remove("allOf");
                map.insert("$ref".to_owned(), reference);
            }
            if let Some(Value::String(reference)) = map.get_mut("$ref") {
                *reference = reference.replace(REFERENCE, "#/definitions/");
            }
            for word in ["oneOf", "anyOf", "not", "nullable"] {
                if map.get(word).is_some_and(|value| !is_property(value)) {
                    map.shift_remove(word);
                }
            }
            for value in map.values_mut() {
                to_v2(value);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(to_v2),
        _ => {}
    }
}

/// Fields may be called like the words of the schema language; their schemas are objects.
fn is_property(value: &Value) -> bool {
    value.is_object()
}

/// Adds the paths of a kind: clients look there for what can be asked.
pub fn add_paths(kind: &Kind, paths: &mut Map<String, Value>, dialect: Dialect) {
    let base = match kind.group.as_str() {
        "" => format!("/api/{}", kind.version),
        group => format!("/apis/{group}/{}", kind.version),
    };
    let collection = if kind.namespaced {
        format!("{base}/namespaces/{{namespace}}/{}", kind.plural)
    } else {
        format!("{base}/{}", kind.plural)
    };
    paths.insert(
        collection.clone(),
        json!({
            "get": operation(kind, "list", "list", dialect),
            "post": operation(kind, "post", "create", dialect),
        }),
    );
    if !kind.verbs.is_stored() {
        return;
    }
    paths.insert(
        format!("{collection}/{{name}}"),
        json!({
            "get": operation(kind, "get", "read", dialect),
            "put": operation(kind, "put", "replace", dialect),
            "patch": operation(kind, "patch", "patch", dialect),
            "delete": operation(kind, "delete", "delete", dialect),
        }),
    );
}

fn operation(kind: &Kind, action: &str, verb: &str, dialect: Dialect) -> Value {
    let mut parameters = Vec::new();
    let query = |name: &str| match dialect {
        Dialect::V2 => json!({"name": name, "in": "query", "type": "string", "uniqueItems": true}),
        Dialect::V3 => json!({
            "name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true},
        }),
    };
    if matches!(action, "post" | "put" | "patch") {
        parameters.extend(["dryRun", "fieldManager", "fieldValidation"].map(query));
    }
    if action == "patch" {
        parameters.push(query("force"));
    }
    let mut operation = json!({
        "operationId": format!("{verb}{}{}", camel(&kind.group, &kind.version), kind.kind),
        "description": format!("{verb} {}", kind.kind),
        "parameters": parameters,
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind":
            {"group": kind.group, "version": kind.version, "kind": kind.kind},
    });
    if action == "patch" {
        let mut media = vec![
            "application/json-patch+json",
            "application/merge-patch+json",
        ];
        if kind.custom().is_none() {
            media.push("application/strategic-merge-patch+json");
        }
        media.push("application/apply-patch+yaml");
        match dialect {
            Dialect::V2 => operation["consumes"] = json!(media),
            Dialect::V3 => {
                let content: Map<String, Value> = media
                    .iter()
                    .map(|media| ((*media).to_owned(), json!({})))
                    .collect();
                operation["requestBody"] = json!({"content": content});
            }
        }
    }
    operation
}

fn camel(group: &str, version: &str) -> String {
    let first = group
        .split('.')
        .next()
        .filter(|part| !part.is_empty())
        .unwrap_or("core");
    let capital = |text: &str| {
        let mut characters = text.chars();
        characters.next().map_or_else(String::new, |first| {
            first.to_uppercase().chain(characters).collect::<String>()
        })
    };
    format!("{}{}", capital(first), capital(version))
}

/// The name of a kind's schema.
fn name(kind: &Kind) -> String {
    match &kind.source {
        Source::BuiltIn(built_in) => built_in.name().into_owned(),
        Source::Custom(_) => {
            let reversed: Vec<&str> = kind.group.rsplit('.').collect();
            format!("{}.{}.{}", reversed.join("."), kind.version, kind.kind)
        }
    }
}
