//! What is wrong with a CustomResourceDefinition.
//!
//! Kubernetes checks its internal form, where what all versions say alike stands once, at the
//! top of `spec`; the fields of the problems are those of that form.

use serde_json::{Value, json};

use crate::schema::Schema;
use crate::status::Cause;

use super::crd_names::{invalid_name, kept_names, name_of_object, validate_group, validate_names};
use super::crd_versions;
use super::names;
use super::values::{items, text};

/// What a root schema may say if there is a status subresource.
const ROOT_WITH_STATUS: [&str; 22] = [
    "description",
    "type",
    "format",
    "title",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "multipleOf",
    "required",
    "items",
    "properties",
    "externalDocs",
    "example",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
];

/// What is wrong with a definition. Nothing new can be wrong with a `spec` that stays.
pub fn validate(crd: &Value, old: Option<&Value>) -> Vec<Cause> {
    let spec = &crd["spec"];
    if old.is_some_and(|old| old["spec"] == *spec) {
        return Vec::new();
    }
    let mut causes = match old {
        Some(old) => kept_names(crd, old),
        None => name_of_object(crd),
    };
    causes.extend(validate_group(crd));
    let scope = &spec["scope"];
    causes.extend(one_of("spec.scope", scope, &["Cluster", "Namespaced"]));
    if spec["preserveUnknownFields"] == true {
        let why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in \
                   spec.versions[*].schema instead";
        let value = Value::Bool(true);
        causes.push(Cause::invalid("spec.preserveUnknownFields", &value, why));
    }
    causes.extend(validate_names(&spec["names"]));
    causes.extend(validate_versions(crd));
    causes.extend(validate_schemas(spec));
    causes.extend(crd_versions::validate(spec));
    causes.extend(validate_conversion(&spec["conversion"]));
    causes
}

/// A required value that must be one of a few.
fn one_of(field: &str, value: &Value, known: &[&str]) -> Option<Cause> {
    match text(value) {
        "" => Some(Cause::required(field, "")),
        found if known.contains(&found) => None,
        _ => Some(Cause::not_supported(field, value, known)),
    }
}

fn validate_versions(crd: &Value) -> Vec<Cause> {
    let spec = &crd["spec"];
    let versions: Vec<&Value> = items(&spec["versions"]).collect();
    let mut causes = Vec::new();
    for (index, version) in versions.iter().enumerate() {
        let name = text(&version["name"]);
        let problems = names::label_1035(name);
        let field = format!("spec.versions[{index}].name");
        causes.extend(invalid_name(&field, name, &problems));
        // The first version also stands at the top.
        if index == 0 && !name.is_empty() {
            causes.extend(invalid_name("spec.version", name, &problems));
        }
    }
    let mut names: Vec<&str> = versions
        .iter()
        .map(|version| text(&version["name"]))
        .collect();
    let list = json!(names);
    let storage: Vec<_> = versions
        .iter()
        .filter(|version| version["storage"] == true)
        .collect();
    if storage.len() != 1 {
        let why = "must have exactly one version marked as storage version";
        causes.push(Cause::invalid("spec.versions", &list, why));
    }
    let known = names.clone();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        let why = "must contain unique version names";
        causes.push(Cause::invalid("spec.versions", &list, why));
    }
    causes.extend(validate_stored_versions(
        &crd["status"]["storedVersions"],
        &storage,
        &known,
    ));
    causes
}

/// What was ever stored must stay readable. `known` are the names of all versions.
fn validate_stored_versions(stored: &Value, storage: &[&&Value], known: &[&str]) -> Vec<Cause> {
    let field = "status.storedVersions";
    if items(stored).next().is_none() {
        let why = "must have at least one stored version";
        return vec![Cause::invalid(field, stored, why)];
    }
    let mut causes: Vec<Cause> = storage
        .iter()
        .filter(|version| !items(stored).any(|name| name == &version["name"]))
        .map(|version| {
            let why = format!("must have the storage version {}", text(&version["name"]));
            Cause::invalid(field, stored, why)
        })
        .collect();
    for (index, name) in items(stored).enumerate() {
        let version = text(name);
        if !known.contains(&version) {
            let why = format!(
                "missing from spec.versions; {version} was previously a storage version, and must \
                 remain in spec.versions until a storage migration ensures no data remains \
                 persisted in {version} and removes {version} from status.storedVersions"
            );
            causes.push(Cause::invalid(format!("{field}[{index}]"), name, why));
        }
    }
    causes
}

fn validate_schemas(spec: &Value) -> Vec<Cause> {
    let versions: Vec<&Value> = items(&spec["versions"]).collect();
    let shared = crd_versions::all_say_the_same(spec, "schema");
    let any_status = versions.iter().any(|version| has_status(version));
    let mut causes = Vec::new();
    for (index, version) in versions.iter().enumerate() {
        let schema = &version["schema"]["openAPIV3Schema"];
        if schema.is_null() {
            let field = format!("spec.versions[{index}].schema.openAPIV3Schema");
            causes.push(Cause::required(field, ""));
            continue;
        }
        if shared && index > 0 {
            continue;
        }
        let (field, status) = if shared {
            ("spec.validation.openAPIV3Schema".to_owned(), any_status)
        } else {
            let field = format!("spec.versions[{index}].schema.openAPIV3Schema");
            (field, has_status(version))
        };
        causes.extend(validate_schema(schema, &field, status));
    }
    causes
}

fn has_status(version: &Value) -> bool {
    version["subresources"]["status"].is_object()
}

fn validate_schema(schema: &Value, field: &str, status: bool) -> Vec<Cause> {
    let mut causes = Vec::new();
    let said = schema.as_object().into_iter().flatten();
    let surplus = said
        .filter(|(_, value)| !matches!(value, Value::Null | Value::Bool(false)))
        .find(|(name, _)| !ROOT_WITH_STATUS.contains(&name.as_str()));
    if status && surplus.is_some() {
        let why = "only fields that say nothing about status are allowed at the root of the \
                   schema if the status subresource is enabled";
        causes.push(Cause::invalid(field, schema, why));
    }
    if schema["nullable"] == true {
        let why = "nullable cannot be true at the root";
        causes.push(Cause::forbidden(format!("{field}.nullable"), why));
    }
    if let Err(problems) = Schema::parse(schema) {
        causes.extend(problems.into_iter().map(|problem| {
            let reason = problem.reason.as_str();
            let dot = if problem.field.is_empty() { "" } else { "." };
            let field = format!("{field}{dot}{}", problem.field);
            Cause::new(field, reason, problem.message)
        }));
    }
    causes
}

fn validate_conversion(conversion: &Value) -> Vec<Cause> {
    if conversion.is_null() {
        return Vec::new();
    }
    let client = "spec.conversion.webhookClientConfig";
    let reviews = "spec.conversion.conversionReviewVersions";
    let strategy = &conversion["strategy"];
    let known = ["None", "Webhook"];
    let mut causes: Vec<Cause> = one_of("spec.conversion.strategy", strategy, &known)
        .into_iter()
        .collect();
    let webhook = &conversion["webhook"];
    let versions: Vec<&str> = items(&webhook["conversionReviewVersions"])
        .map(text)
        .collect();
    if strategy != "Webhook" {
        let why = "should not be set when strategy is not set to Webhook";
        if !webhook["clientConfig"].is_null() {
            causes.push(Cause::forbidden(client, why));
        }
        if !versions.is_empty() {
            causes.push(Cause::forbidden(reviews, why));
        }
        return causes;
    }
    let config = &webhook["clientConfig"];
    if config.is_null() {
        let why = "required when strategy is set to Webhook";
        causes.push(Cause::required(client, why));
    } else if config["url"].is_null() == config["service"].is_null() {
        let why = "exactly one of url or service is required";
        causes.push(Cause::required(client, why));
    }
    if versions.is_empty() {
        causes.push(Cause::required(reviews, ""));
    } else if !versions
        .iter()
        .any(|known| ["v1", "v1beta1"].contains(known))
    {
        let why = "must include at least one of v1, v1beta1";
        causes.push(Cause::invalid(reviews, &json!(versions), why));
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition() -> Value {
        json!({
            "metadata": {"name": "widgets.example.com"},
            "spec": {
                "group": "example.com", "scope": "Namespaced",
                "names": {"plural": "widgets", "singular": "widget", "kind": "Widget",
                          "listKind": "WidgetList"},
                "conversion": {"strategy": "None"},
                "versions": [{
                    "name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                        "spec": {"type": "object", "properties": {
                            "a": {"type": "string"},
                            "l": {"type": "array", "items": {"type": "string"}},
                        }},
                    }}},
                }],
            },
            "status": {
                "storedVersions": ["v1"],
                "conditions": [{"type": "Established", "status": "True"}],
            },
        })
    }

    /// The definition with a value put at a pointer.
    fn with(pointer: &str, value: Value) -> Value {
        let mut crd = definition();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        crd.pointer_mut(parent).unwrap()[field] = value;
        crd
    }

    /// The fields and the short reasons of what is wrong.
    fn problems(crd: &Value, old: Option<&Value>) -> Vec<String> {
        let found = validate(crd, old).into_iter();
        found
            .map(|cause| format!("{} {}", cause.field, &cause.reason["FieldValue".len()..]))
            .collect()
    }

    #[test]
    fn a_definition_that_keeps_the_rules_has_no_problems() {
        assert_eq!(problems(&definition(), None), [""; 0]);
    }

    #[test]
    fn each_mistake_is_reported_with_its_field_in_the_internal_form() {
        for (pointer, value, wanted) in [
            ("/spec/scope", json!(null), "spec.scope Required"),
            ("/spec/scope", json!("Galactic"), "spec.scope NotSupported"),
            (
                "/spec/preserveUnknownFields",
                json!(true),
                "spec.preserveUnknownFields Invalid",
            ),
            (
                "/spec/names/singular",
                json!(""),
                "spec.names.singular Required",
            ),
            (
                "/spec/names/listKind",
                json!("Widget"),
                "spec.names.listKind Invalid",
            ),
            (
                "/spec/names/categories",
                json!(["all", "All!"]),
                "spec.names.categories[1] Invalid",
            ),
            (
                "/spec/conversion",
                json!({"strategy": "Magic"}),
                "spec.conversion.strategy NotSupported",
            ),
            (
                "/spec/conversion",
                json!({"strategy": "None", "webhook": {"conversionReviewVersions": ["v1"]}}),
                "spec.conversion.conversionReviewVersions Forbidden",
            ),
            (
                "/spec/versions/0/schema/openAPIV3Schema/nullable",
                json!(true),
                "spec.validation.openAPIV3Schema.nullable Forbidden",
            ),
            (
                "/status/storedVersions",
                json!(["v0", "v1"]),
                "status.storedVersions[0] Invalid",
            ),
        ] {
            let crd = with(pointer, value.clone());
            assert_eq!(problems(&crd, None), [wanted], "{pointer} {value}");
        }
    }

    #[test]
    fn a_webhook_needs_an_address_and_versions() {
        let crd = with("/spec/conversion", json!({"strategy": "Webhook"}));
        assert_eq!(
            problems(&crd, None),
            [
                "spec.conversion.webhookClientConfig Required",
                "spec.conversion.conversionReviewVersions Required",
            ]
        );
        let webhook = json!({"strategy": "Webhook", "webhook": {
            "conversionReviewVersions": ["v1"], "clientConfig": {"url": "https://example.com"},
        }});
        assert_eq!(problems(&with("/spec/conversion", webhook), None), [""; 0]);
    }

    #[test]
    fn what_tells_where_objects_are_stored_cannot_be_changed() {
        let old = definition();
        for (pointer, field) in [
            ("/spec/scope", "spec.scope"),
            ("/spec/names/kind", "spec.names.kind"),
            ("/spec/group", "spec.group"),
            ("/spec/names/plural", "spec.names.plural"),
        ] {
            let value = if pointer == "/spec/scope" {
                "Cluster"
            } else {
                "x.y"
            };
            let found = problems(&with(pointer, json!(value)), Some(&old));
            assert!(found.contains(&format!("{field} Invalid")), "{found:?}");
        }
        let mut young = definition();
        young["status"]["conditions"] = json!([]);
        let changed = with("/spec/scope", json!("Cluster"));
        assert_eq!(problems(&changed, Some(&young)), [""; 0]);
    }

    #[test]
    fn groups_of_the_community_need_an_approval() {
        let mut crd = with("/spec/group", json!("example.k8s.io"));
        crd["metadata"]["name"] = "widgets.example.k8s.io".into();
        let field = "metadata.annotations[api-approved.kubernetes.io]";
        assert_eq!(problems(&crd, None), [format!("{field} Required")]);
        crd["metadata"]["annotations"] = json!({"api-approved.kubernetes.io": "yes"});
        assert_eq!(problems(&crd, None), [format!("{field} Invalid")]);
        crd["metadata"]["annotations"] =
            json!({"api-approved.kubernetes.io": "unapproved, for tests"});
        assert_eq!(problems(&crd, None), [""; 0]);
    }

    #[test]
    fn a_root_schema_says_little_where_the_status_is_written_separately() {
        let mut crd = with("/spec/versions/0/subresources", json!({"status": {}}));
        assert_eq!(problems(&crd, None), [""; 0]);
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["not"] =
            json!({"required": ["spec"]});
        let wanted = ["spec.validation.openAPIV3Schema Invalid"];
        assert_eq!(problems(&crd, None), wanted);
    }
}
