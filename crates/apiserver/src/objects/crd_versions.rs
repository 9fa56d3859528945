//! What the versions of a CustomResourceDefinition say beside their schema: warnings, printer
//! columns, subresources, selectable fields.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::status::Cause;

use super::values::{items, text};

const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: [&str; 8] = [
    "byte",
    "date",
    "date-time",
    "double",
    "float",
    "int32",
    "int64",
    "password",
];
/// How many fields may be selectable.
const MAX_SELECTABLE: usize = 8;
/// The longest warning, in bytes.
const MAX_WARNING: usize = 256;

/// Whether all versions have the same value, or none, under `part`.
pub fn all_say_the_same(spec: &Value, part: &str) -> bool {
    let mut said = items(&spec["versions"]).map(|version| {
        let value = &version[part];
        Some(value).filter(|value| !value.is_null() && value.as_array() != Some(&Vec::new()))
    });
    let first = said.next().flatten();
    said.all(|value| value == first)
}

/// What is wrong with the versions, schemas aside.
pub fn validate(spec: &Value) -> Vec<Cause> {
    let shared = |part| all_say_the_same(spec, part);
    let (columns, subresources, selectable) = (
        shared("additionalPrinterColumns"),
        shared("subresources"),
        shared("selectableFields"),
    );
    let mut causes = Vec::new();
    for (index, version) in items(&spec["versions"]).enumerate() {
        let own = format!("spec.versions[{index}]");
        causes.extend(validate_warning(version, &own));
        for (shared, check) in [
            (columns, validate_columns as fn(&Value, &str) -> Vec<Cause>),
            (subresources, validate_scale),
            (selectable, validate_selectable),
        ] {
            if !shared {
                causes.extend(check(version, &own));
            } else if index == 0 {
                causes.extend(check(version, "spec"));
            }
        }
    }
    causes
}

fn validate_warning(version: &Value, at: &str) -> Option<Cause> {
    let warning = version["deprecationWarning"].as_str()?;
    let why = if version["deprecated"] != true {
        "can only be set for deprecated versions"
    } else if warning.is_empty() {
        "must not be an empty string"
    } else if warning.len() > MAX_WARNING {
        "must be <= 256 characters long"
    } else if warning.chars().any(char::is_control) {
        "must only contain printable UTF-8 characters"
    } else {
        return None;
    };
    let field = format!("{at}.deprecationWarning");
    Some(Cause::invalid(field, &warning.into(), why))
}

fn validate_columns(version: &Value, at: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, column) in items(&version["additionalPrinterColumns"]).enumerate() {
        let field = |name: &str| format!("{at}.additionalPrinterColumns[{index}].{name}");
        if text(&column["name"]).is_empty() {
            causes.push(Cause::required(field("name"), ""));
        }
        let types = format!("must be one of {}", COLUMN_TYPES.join(","));
        match text(&column["type"]) {
            "" => causes.push(Cause::required(field("type"), &types)),
            known if COLUMN_TYPES.contains(&known) => {}
            _ => causes.push(Cause::invalid(field("type"), &column["type"], types)),
        }
        let format = text(&column["format"]);
        if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
            let why = format!("must be one of {}", COLUMN_FORMATS.join(","));
            causes.push(Cause::invalid(field("format"), &column["format"], why));
        }
        match text(&column["jsonPath"]) {
            "" => causes.push(Cause::required(field("JSONPath"), "")),
            path => causes.extend(not_simple(&field("JSONPath"), path)),
        }
    }
    causes
}

fn not_simple(field: &str, path: &str) -> Option<Cause> {
    let why = "must be a simple json path starting with .";
    (!path.starts_with('.')).then(|| Cause::invalid(field, &path.into(), why))
}

fn validate_scale(version: &Value, at: &str) -> Vec<Cause> {
    let scale = &version["subresources"]["scale"];
    if !scale.is_object() {
        return Vec::new();
    }
    let mut causes = Vec::new();
    for (name, roots, why) in [
        (
            "specReplicasPath",
            [".spec.", ".spec."],
            "should be a json path under .spec",
        ),
        (
            "statusReplicasPath",
            [".status.", ".status."],
            "should be a json path under .status",
        ),
        (
            "labelSelectorPath",
            [".spec.", ".status."],
            "should be a json path under either .spec or .status",
        ),
    ] {
        let field = format!("{at}.subresources.scale.{name}");
        let path = text(&scale[name]);
        if path.is_empty() {
            if name != "labelSelectorPath" {
                causes.push(Cause::required(field, ""));
            }
        } else if let Some(cause) = not_simple(&field, path) {
            causes.push(cause);
        } else if !roots.iter().any(|root| path.starts_with(root)) {
            causes.push(Cause::invalid(field, &path.into(), why));
        }
    }
    causes
}

fn validate_selectable(version: &Value, at: &str) -> Vec<Cause> {
    let schema = &version["schema"]["openAPIV3Schema"];
    let mut causes = Vec::new();
    let mut known = BTreeSet::new();
    for (index, selectable) in items(&version["selectableFields"]).enumerate() {
        let field = format!("{at}.selectableFields[{index}].jsonPath");
        let value = &selectable["jsonPath"];
        let path = text(value);
        if path.is_empty() {
            causes.push(Cause::required(field, ""));
            continue;
        }
        let Some(target) = follow(schema, path) else {
            let why = "is an invalid path: does not refer to a valid field";
            causes.push(Cause::invalid(field, value, why));
            continue;
        };
        if path.starts_with(".metadata") {
            let why = "must not point to fields in metadata";
            causes.push(Cause::invalid(field.as_str(), value, why));
        }
        if !matches!(text(&target["type"]), "string" | "boolean" | "integer") {
            let why = "must point to a field of type string, boolean or integer. Enum string \
                       fields and strings with formats are allowed.";
            causes.push(Cause::invalid(field.as_str(), value, why));
        }
        if !known.insert(path) {
            causes.push(Cause::duplicate(field, value));
        }
    }
    if known.len() > MAX_SELECTABLE {
        let count = known.len();
        causes.push(Cause::new(
            format!("{at}.selectableFields"),
            "FieldValueTooMany",
            format!("Too many: {count}: must have at most {MAX_SELECTABLE} items"),
        ));
    }
    causes
}

/// The schema of the field that a path such as `.spec.color` names.
fn follow<'a>(schema: &'a Value, path: &str) -> Option<&'a Value> {
    path.strip_prefix('.')?
        .split('.')
        .try_fold(schema, |schema, name| schema.get("properties")?.get(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(part: &str, value: &Value) -> Value {
        let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": {"type": "object", "properties": {
                "color": {"type": "string"},
                "list": {"type": "array", "items": {"type": "string"}},
            }},
        }}});
        json!({"versions": [{"name": "v1", "schema": schema, part: value}]})
    }

    fn problems(spec: &Value) -> Vec<String> {
        validate(spec)
            .into_iter()
            .map(|cause| format!("{} {}", cause.field, &cause.reason["FieldValue".len()..]))
            .collect()
    }

    #[test]
    fn mistakes_that_all_versions_share_stand_at_the_top() {
        let column = json!([{"name": "A", "type": "text", "jsonPath": "spec.a", "format": "x"}]);
        let mut spec = spec("additionalPrinterColumns", &column);
        let at = "spec.additionalPrinterColumns[0]";
        let wanted = ["type", "format", "JSONPath"].map(|name| format!("{at}.{name} Invalid"));
        assert_eq!(problems(&spec), wanted);

        let mut other = spec["versions"][0].clone();
        other["additionalPrinterColumns"] = json!([{}]);
        spec["versions"] = json!([other, {"name": "v2"}]);
        let at = "spec.versions[0].additionalPrinterColumns[0]";
        let wanted = ["name", "type", "JSONPath"].map(|name| format!("{at}.{name} Required"));
        assert_eq!(problems(&spec), wanted);
    }

    #[test]
    fn a_scale_has_its_numbers_where_they_belong() {
        let scale = |scale: Value| problems(&spec("subresources", &json!({"scale": scale})));
        let at = "spec.subresources.scale";
        assert_eq!(
            scale(json!({})),
            [
                format!("{at}.specReplicasPath Required"),
                format!("{at}.statusReplicasPath Required"),
            ]
        );
        assert_eq!(
            scale(json!({
                "specReplicasPath": ".status.n", "statusReplicasPath": "status.n",
                "labelSelectorPath": ".metadata.labels",
            })),
            [
                format!("{at}.specReplicasPath Invalid"),
                format!("{at}.statusReplicasPath Invalid"),
                format!("{at}.labelSelectorPath Invalid"),
            ]
        );
    }

    #[test]
    fn selectable_fields_are_scalars_of_the_schema_and_named_once() {
        let paths = [
            "",
            ".spec.none",
            ".metadata.name",
            ".spec.list",
            ".spec.color",
        ];
        let mut fields: Vec<Value> = paths.map(|path| json!({"jsonPath": path})).to_vec();
        fields.push(fields[4].clone());
        assert_eq!(
            problems(&spec("selectableFields", &json!(fields))),
            [
                "spec.selectableFields[0].jsonPath Required",
                "spec.selectableFields[1].jsonPath Invalid",
                "spec.selectableFields[2].jsonPath Invalid",
                "spec.selectableFields[3].jsonPath Invalid",
                "spec.selectableFields[5].jsonPath Duplicate",
            ]
        );
    }

    #[test]
    fn only_deprecated_versions_warn() {
        let mut spec = spec("deprecationWarning", &json!("use v2"));
        let wanted = ["spec.versions[0].deprecationWarning Invalid"];
        assert_eq!(problems(&spec), wanted);
        spec["versions"][0]["deprecated"] = true.into();
        assert_eq!(problems(&spec), [""; 0]);
        spec["versions"][0]["deprecationWarning"] = "".into();
        assert_eq!(problems(&spec), wanted);
    }
}
