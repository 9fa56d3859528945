//! What a recorded kube-apiserver 1.36 says about custom resources and their schemas.

#![allow(
    clippy::needless_pass_by_value,
    reason = "the tests are tables of literals, which read better without `&`"
)]

mod rules;
mod schemas;
mod storing;
mod values;

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

const NOTHING: [&str; 0] = [];
