//! Kinds made by CustomResourceDefinitions.

use std::sync::Arc;

use serde_json::Value;

use crate::schema::Schema;

use super::{Behaviour, Kind, Source, Subresource, Verbs};

/// What a definition says about one version of its kind.
#[derive(Debug)]
pub struct CustomResource {
    /// Name of the definition.
    pub definition: String,
    /// The structural schema; none if it cannot be used.
    pub schema: Option<Schema>,
    /// The schema of the version in which objects are stored, if that is another one: what it
    /// does not describe is not stored.
    pub storage_schema: Option<Schema>,
    /// The webhook that would have to convert the kind between versions; none if only the
    /// `apiVersion` changes.
    pub conversion: Option<ConversionWebhook>,
    /// Whether the definition is going away, so that nothing new may be made.
    pub terminating: bool,
    /// The schema as it was written, for OpenAPI.
    pub open_api: Value,
    /// `additionalPrinterColumns`.
    pub columns: Vec<Column>,
    /// JSON paths of fields that field selectors may name, such as `.spec.color`.
    pub selectable: Vec<String>,
    /// Where the scale subresource finds its numbers.
    pub scale: Option<ScalePaths>,
    /// A warning for those who use this version.
    pub deprecation: Option<String>,
}

/// A printer column.
#[derive(Clone, Debug)]
pub struct Column {
    /// The heading.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean`, `date`.
    pub kind: String,
    /// Format of the type, may be empty.
    pub format: String,
    /// Text for people.
    pub description: String,
    /// 0 is always shown, more only in wide output.
    pub priority: i64,
    /// Where the value is.
    pub json_path: String,
}

/// `subresources.scale`.
#[derive(Clone, Debug)]
pub struct ScalePaths {
    /// Where the wanted replicas are, as `.spec.replicas`.
    pub spec_replicas: String,
    /// Where the replicas are.
    pub status_replicas: String,
    /// Where the selector is, if anywhere.
    pub label_selector: Option<String>,
}

/// `spec.conversion` with the strategy `Webhook`.
#[derive(Clone, Debug)]
pub struct ConversionWebhook {
    /// Where it is called.
    pub url: String,
    /// The version in which objects are stored.
    pub storage_version: String,
}

/// The kinds that a definition serves: one for each served version.
pub fn kinds(definition: &Value) -> Vec<Kind> {
    let spec = &definition["spec"];
    let versions = spec["versions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    versions
        .iter()
        .filter(|version| version["served"] == true)
        .map(|version| kind(definition, version))
        .collect()
}

fn kind(definition: &Value, version: &Value) -> Kind {
    let spec = &definition["spec"];
    // Names that clash with others are not accepted; only the accepted ones are served.
    let names = match &definition["status"]["acceptedNames"] {
        accepted
            if accepted["kind"]
                .as_str()
                .is_some_and(|kind| !kind.is_empty()) =>
        {
            accepted
        }
        _ => &spec["names"],
    };
    let mut subresources = Vec::new();
    let scale = &version["subresources"]["scale"];
    if scale.is_object() {
        subresources.push(Subresource {
            name: "scale",
            kind: Some("Scale"),
            group_version: Some(("autoscaling", "v1")),
            verbs: &["get", "patch", "update"],
        });
    }
    if version["subresources"]["status"].is_object() {
        subresources.push(Subresource {
            name: "status",
            kind: None,
            group_version: None,
            verbs: &["get", "patch", "update"],
        });
    }
    Kind {
        group: text(&spec["group"]),
        version: text(&version["name"]),
        kind: text(&names["kind"]),
        list_kind: text(&names["listKind"]),
        plural: text(&spec["names"]["plural"]),
        singular: text(&names["singular"]),
        short_names: texts(&names["shortNames"]),
        categories: texts(&names["categories"]),
        namespaced: spec["scope"] == "Namespaced",
        verbs: Verbs::All,
        subresources,
        behaviour: Behaviour {
            generation: true,
            update_needs_version: true,
            ..Behaviour::default()
        },
        source: Source::Custom(Arc::new(custom_resource(definition, version))),
    }
}

fn custom_resource(definition: &Value, version: &Value) -> CustomResource {
    let open_api = &version["schema"]["openAPIV3Schema"];
    let scale = &version["subresources"]["scale"];
    let deprecated = version["deprecated"] == true;
    let default_warning = || {
        format!(
            "{}/{} {} is deprecated",
            text(&definition["spec"]["group"]),
            text(&version["name"]),
            text(&definition["spec"]["names"]["kind"])
        )
    };
    CustomResource {
        definition: text(&definition["metadata"]["name"]),
        schema: Schema::parse(open_api).ok(),
        storage_schema: storage_schema(definition, version),
        conversion: conversion(definition),
        terminating: !definition["metadata"]["deletionTimestamp"].is_null(),
        open_api: open_api.clone(),
        columns: columns(&version["additionalPrinterColumns"]),
        selectable: objects(&version["selectableFields"])
            .map(|field| text(&field["jsonPath"]))
            .collect(),
        scale: scale.is_object().then(|| ScalePaths {
            spec_replicas: text(&scale["specReplicasPath"]),
            status_replicas: text(&scale["statusReplicasPath"]),
            label_selector: scale["labelSelectorPath"].as_str().map(str::to_owned),
        }),
        deprecation: deprecated.then(|| {
            version["deprecationWarning"]
                .as_str()
                .map_or_else(default_warning, str::to_owned)
        }),
    }
}

fn storage_version(definition: &Value) -> Option<&Value> {
    objects(&definition["spec"]["versions"]).find(|known| known["storage"] == true)
}

fn conversion(definition: &Value) -> Option<ConversionWebhook> {
    let conversion = &definition["spec"]["conversion"];
    if conversion["strategy"] != "Webhook" {
        return None;
    }
    let client = &conversion["webhook"]["clientConfig"];
    let service = &client["service"];
    let url = client["url"].as_str().map_or_else(
        || {
            let (name, namespace) = (text(&service["name"]), text(&service["namespace"]));
            let port = service["port"].as_u64().unwrap_or(443);
            let path = text(&service["path"]);
            format!("https://{name}.{namespace}.svc:{port}{path}")
        },
        str::to_owned,
    );
    Some(ConversionWebhook {
        url,
        storage_version: text(&storage_version(definition)?["name"]),
    })
}

/// The schema of the storage version, if `version` is another one.
fn storage_schema(definition: &Value, version: &Value) -> Option<Schema> {
    let storage = storage_version(definition)?;
    if storage["name"] == version["name"] {
        return None;
    }
    Schema::parse(&storage["schema"]["openAPIV3Schema"]).ok()
}

fn columns(value: &Value) -> Vec<Column> {
    let given: Vec<Column> = objects(value)
        .map(|column| Column {
            name: text(&column["name"]),
            kind: text(&column["type"]),
            format: text(&column["format"]),
            description: text(&column["description"]),
            priority: column["priority"].as_i64().unwrap_or_default(),
            json_path: text(&column["jsonPath"]),
        })
        .collect();
    if !given.is_empty() {
        return given;
    }
    vec![Column {
        name: "Age".into(),
        kind: "date".into(),
        format: String::new(),
        description: "Time since creation".into(),
        priority: 0,
        json_path: ".metadata.creationTimestamp".into(),
    }]
}

fn objects(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    objects(value).map(text).collect()
}
