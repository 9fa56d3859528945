//! What a recorded kube-apiserver 1.36 answers to applies, and how it keeps track of owners.

#![allow(
    clippy::needless_pass_by_value,
    reason = "the tests are tables of literals, which read better without `&`"
)]

mod applying;
mod lists;
mod writers;

use serde_json::{Value, json};

use super::{ApplyError, ApplyRequest, TypeInfo, UpdateRequest, apply, track_update};
use crate::schema::Schema;

/// One object and its type.
struct Store {
    object: Option<Value>,
    types: TypeInfo,
    api_version: &'static str,
    /// Seconds; every write is one later.
    clock: u32,
}

impl Store {
    fn of_kind(group: &str, kind: &str, api_version: &'static str) -> Self {
        Self {
            object: None,
            types: TypeInfo::for_kind(group, kind),
            api_version,
            clock: 0,
        }
    }

    fn config_map() -> Self {
        Self::of_kind("", "ConfigMap", "v1")
    }

    fn custom(spec: Value) -> Self {
        let schema = json!({"type": "object", "properties": {
            "spec": spec,
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }});
        let types = TypeInfo::for_custom_resource(&Schema::parse(&schema).unwrap());
        Self {
            object: None,
            types,
            api_version: "example.com/v1",
            clock: 0,
        }
    }

    fn now(&mut self) -> String {
        self.clock += 1;
        format!("2024-01-01T00:00:{:02}Z", self.clock)
    }

    fn request(&mut self, manager: &str, force: bool) -> ApplyRequest {
        ApplyRequest {
            manager: manager.into(),
            force,
            subresource: None,
            api_version: self.api_version.into(),
            now: self.now(),
            reset_fields: vec![],
        }
    }

    fn send(&mut self, applied: Value, request: &ApplyRequest) -> Result<(), ApplyError> {
        let mut applied = applied;
        applied["apiVersion"] = self.api_version.into();
        applied["kind"] = "Thing".into();
        applied["metadata"]["name"] = "one".into();
        let result = apply(self.object.as_ref(), &applied, request, &self.types)?;
        self.object = Some(result);
        Ok(())
    }

    fn apply(&mut self, manager: &str, applied: Value) -> Result<(), ApplyError> {
        let request = self.request(manager, false);
        self.send(applied, &request)
    }

    fn force(&mut self, manager: &str, applied: Value) {
        let request = self.request(manager, true);
        self.send(applied, &request).unwrap();
    }

    fn write(&mut self, manager: &str, mut object: Value) {
        let request = UpdateRequest {
            manager: manager.into(),
            subresource: None,
            api_version: self.api_version.into(),
            now: self.now(),
            reset_fields: vec![],
        };
        track_update(self.object.as_ref(), &mut object, &request, &self.types);
        self.object = Some(object);
    }

    fn patch(&mut self, manager: &str, patch: Value) {
        let mut object = self.object.clone().unwrap();
        crate::patch::merge(&mut object, &patch);
        self.write(manager, object);
    }

    fn get(&self, pointer: &str) -> Value {
        self.object
            .as_ref()
            .unwrap()
            .pointer(pointer)
            .cloned()
            .unwrap_or(Value::Null)
    }

    /// The owners in order: `manager operation fields`.
    fn owners(&self) -> Vec<String> {
        let entries = self.get("/metadata/managedFields");
        entries
            .as_array()
            .into_iter()
            .flatten()
            .map(|entry| {
                let text = |name: &str| entry[name].as_str().unwrap_or_default();
                let subresource = match text("subresource") {
                    "" => String::new(),
                    name => format!("/{name}"),
                };
                format!(
                    "{} {}{subresource} {}",
                    text("manager"),
                    text("operation"),
                    entry["fieldsV1"]
                )
            })
            .collect()
    }
}

/// The message and the fields of a refused apply.
fn conflict(result: Result<(), ApplyError>) -> (String, Vec<String>) {
    let error = result.unwrap_err();
    let ApplyError::Conflicts(conflicts) = &error else {
        panic!("{error}")
    };
    (
        error.to_string(),
        conflicts
            .iter()
            .map(|conflict| conflict.field.clone())
            .collect(),
    )
}
