//! Where text and bytes from outside meet this crate, for fuzzers: whatever comes in, each
//! function returns. None is of use for anything else.

use serde_json::Value;

use crate::apply::{ApplyRequest, TypeInfo, UpdateRequest, apply, track_update};
use crate::patch::{self, MergeKeys};
use crate::registry::{Source, builtin};
use crate::request::field_selector::FieldSelector;
use crate::request::label_selector::LabelSelector;
use crate::request::media::{self, Encoding};
use crate::request::options::{ListOptions, Query, WriteOptions, dry_run_problems};
use crate::request::{body, path};
use crate::schema::Schema;

/// Kinds whose merging differs: lists by key, sets, and nothing but metadata.
const KINDS: &[(&str, &str, &str)] = &[
    ("apps", "Deployment", "apps/v1"),
    ("", "Service", "v1"),
    ("", "ConfigMap", "v1"),
];

/// Bodies in each encoding, and what is decoded of them as a Pod.
pub fn bodies(bytes: &[u8]) {
    for encoding in [Encoding::Json, Encoding::Yaml, Encoding::Protobuf] {
        if let Ok(document) = body::parse(bytes, encoding) {
            decode(document.value);
        }
    }
}

/// Protocol buffers of any built-in kind: the first byte says which.
pub fn protobuf(bytes: &[u8]) {
    let Some((first, raw)) = bytes.split_first() else {
        return;
    };
    let kinds = builtin::all();
    let kind = &kinds[usize::from(*first) % kinds.len()];
    let field = |number: u8, bytes: &[u8]| {
        let mut length = bytes.len();
        let mut field = vec![number << 3 | 2];
        while length >= 0x80 {
            field.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        field.push(length as u8);
        field.extend_from_slice(bytes);
        field
    };
    let version = field(1, kind.api_version().as_bytes());
    let meta = [version, field(2, kind.kind.as_bytes())].concat();
    let whole = [b"k8s\0".to_vec(), field(1, &meta), field(2, raw)].concat();
    if let Ok(document) = body::parse(&whole, Encoding::Protobuf) {
        decode(document.value);
    }
}

fn decode(mut value: Value) {
    let kind = builtin::all().iter().find(|kind| {
        value["kind"] == kind.kind.as_str() && value["apiVersion"] == kind.api_version().as_str()
    });
    if let Some(Source::BuiltIn(built_in)) = kind.map(|kind| &kind.source) {
        let _ = built_in.decode(&mut value);
    }
}

/// Selectors of labels and fields.
pub fn selectors(text: &str) {
    let labels = serde_json::json!({"app": "web", "tier": "", "n": "5"});
    if let Ok(selector) = LabelSelector::parse(text) {
        selector.matches(&labels);
    }
    for kind in builtin::all() {
        if let Ok(selector) = FieldSelector::parse(text, kind) {
            selector.matches(&serde_json::json!({"metadata": {"name": "a"}, "spec": {}}));
        }
    }
}

/// Paths, and headers that say how content is written.
pub fn paths(text: &str) {
    let _ = path::parse(text);
    let _ = media::negotiate(Some(text));
    let _ = media::object_encoding(Some(text));
    let _ = media::patch_kind(Some(text), false);
    let _ = media::wants_aggregated(Some(text));
}

/// Options in queries.
pub fn queries(pairs: Vec<(String, String)>) {
    let query = Query(pairs);
    for watch in [false, true] {
        let _ = ListOptions::read(&query, watch);
    }
    let _ = WriteOptions::read(&query, "CreateOptions");
    let _ = dry_run_problems(&query);
}

/// Patches of all types of a document, by kinds that are merged in different ways.
pub fn patches(document: &Value, patch: &Value) {
    let _ = patch::json(document, patch);
    patch::merge(&mut document.clone(), patch);
    for (group, kind, api_version) in KINDS {
        let keys = MergeKeys::for_kind(group, kind);
        let _ = patch::strategic(document, patch, &keys);
        let types = TypeInfo::for_kind(group, kind);
        write(Some(document), patch, api_version, &types);
        write(None, patch, api_version, &types);
    }
}

fn write(live: Option<&Value>, new: &Value, api_version: &str, types: &TypeInfo) {
    let request = |force| ApplyRequest {
        manager: "fuzzer".to_owned(),
        force,
        subresource: None,
        api_version: api_version.to_owned(),
        now: "2026-01-01T00:00:00Z".to_owned(),
        reset_fields: vec!["status".to_owned()],
    };
    for force in [false, true] {
        if let Ok(applied) = apply(live, new, &request(force), types) {
            let _ = apply(Some(&applied), new, &request(force), types);
        }
    }
    let update = UpdateRequest {
        manager: "fuzzer".to_owned(),
        subresource: None,
        api_version: api_version.to_owned(),
        now: "2026-01-01T00:00:00Z".to_owned(),
        reset_fields: vec!["status".to_owned()],
    };
    if new.is_object() {
        track_update(live, &mut new.clone(), &update, types);
    }
}

/// The schema of a custom resource, and an object by it.
pub fn schemas(schema: &Value, object: &Value, old: &Value) {
    let Ok(schema) = Schema::parse(schema) else {
        return;
    };
    let mut object = object.clone();
    schema.prune(&mut object);
    schema.apply_defaults(&mut object);
    let _ = schema.validate(&object, None);
    let _ = schema.validate(&object, Some(old));
    write(
        Some(old),
        &object,
        "example.com/v1",
        &TypeInfo::for_custom_resource(&schema),
    );
}
