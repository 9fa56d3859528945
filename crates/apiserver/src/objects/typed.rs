//! Decoding of built-in kinds: what Go's typed decoding does to a document.
//!
//! Wrong types are errors, unknown fields are reported and dropped, nulls vanish, and so do
//! empty values of fields that are not written when empty.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use k8s_openapi::schemars::JsonSchema;
use serde_json::Value;

use super::shape::{Shape, Shapes, open_api_definitions};

/// A built-in type. Its shape is compiled when it is first needed, once for the process.
#[derive(Clone, Copy)]
pub struct Type {
    name: fn() -> Cow<'static, str>,
    definitions: fn() -> BTreeMap<String, Value>,
}

/// What decoding noticed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// Paths of fields that the type does not have; they were dropped.
    pub unknown: Vec<String>,
}

/// Booleans, numbers and strings that are pointers in Go keep their zero values; these fields
/// are plain and leave theirs out.
const PLAIN_BOOLEANS: &[&str] = &[
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "paused",
    "preserveUnknownFields",
    "publishNotReadyAddresses",
    "readOnly",
    "stdin",
    "stdinOnce",
    "tty",
    "unschedulable",
];
const PLAIN_INTEGERS: &[&str] = &[
    "active",
    "availableReplicas",
    "currentReplicas",
    "failed",
    "failureThreshold",
    "fullyLabeledReplicas",
    "generation",
    "hostPort",
    "initialDelaySeconds",
    "minReadySeconds",
    "nodePort",
    "numberAvailable",
    "numberUnavailable",
    "observedGeneration",
    "periodSeconds",
    "readyReplicas",
    "succeeded",
    "successThreshold",
    "timeoutSeconds",
    "unavailableReplicas",
    "updatedNumberScheduled",
    "updatedReplicas",
];
const POINTER_TEXTS: &[&str] = &[
    "appProtocol",
    "holderIdentity",
    "ingressClassName",
    "managedBy",
    "preferredHolder",
    "runtimeClassName",
    "storageClassName",
    "timeZone",
    "volumeAttributesClassName",
];

static COMPILED: LazyLock<Mutex<BTreeMap<String, Arc<Shapes>>>> = LazyLock::new(Mutex::default);

impl std::fmt::Debug for Type {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

impl Type {
    /// The type that `k8s-openapi` describes.
    pub fn of<T: JsonSchema>() -> Self {
        Self {
            name: T::schema_name,
            definitions: open_api_definitions::<T>,
        }
    }

    /// The name of its OpenAPI definition, as `io.k8s.api.core.v1.Pod`.
    pub fn name(&self) -> Cow<'static, str> {
        (self.name)()
    }

    /// Its OpenAPI definition and those that it refers to.
    pub fn definitions(&self) -> BTreeMap<String, Value> {
        (self.definitions)()
    }

    /// Brings a document into the form that the type has.
    ///
    /// # Errors
    /// A text that says which value has the wrong type.
    pub fn decode(&self, value: &mut Value) -> Result<Decoded, String> {
        let shapes = self.shapes();
        let mut decoder = Decoder {
            shapes: &shapes,
            decoded: Decoded::default(),
        };
        decoder.object(value, &shapes.root, &mut String::new())?;
        Ok(decoder.decoded)
    }

    fn shapes(&self) -> Arc<Shapes> {
        let name = self.name();
        let lock = || COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shapes) = lock().get(&*name) {
            return shapes.clone();
        }
        let shapes = Arc::new(Shapes::compile(&name, &self.definitions()));
        lock().insert(name.into_owned(), shapes.clone());
        shapes
    }
}

/// Checks and cleans an `ObjectMeta`, for custom resources.
///
/// # Errors
/// A text that says which value has the wrong type.
pub fn decode_metadata(metadata: &mut Value) -> Result<Decoded, String> {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    Type::of::<ObjectMeta>().decode(metadata)
}

struct Decoder<'a> {
    shapes: &'a Shapes,
    decoded: Decoded,
}

impl Decoder<'_> {
    fn object(&mut self, value: &mut Value, name: &str, path: &mut String) -> Result<(), String> {
        let Some(fields) = self.shapes.fields(name) else {
            return Ok(());
        };
        let Value::Object(map) = value else {
            return Err(mismatch(value, path, short(name)));
        };
        let mut outcome = Ok(());
        let length = path.len();
        map.retain(|key, value| {
            // What is wrong first is what is told.
            if outcome.is_err() {
                return true;
            }
            path.truncate(length);
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(key);
            let Some(shape) = fields.shapes.get(key) else {
                self.decoded.unknown.push(path.clone());
                return false;
            };
            if value.is_null() {
                return false;
            }
            outcome = self.value(value, shape, path);
            fields.required.contains(key) || !is_left_out(key, value, shape)
        });
        path.truncate(length);
        outcome
    }

    fn value(&mut self, value: &mut Value, shape: &Shape, path: &mut String) -> Result<(), String> {
        match shape {
            Shape::Any => Ok(()),
            Shape::Text => expect(value.is_string(), value, path, "string"),
            Shape::Boolean => expect(value.is_boolean(), value, path, "bool"),
            Shape::Integer => expect(value.is_i64() || value.is_u64(), value, path, "int64"),
            Shape::Number => expect(value.is_number(), value, path, "float64"),
            Shape::IntOrString => expect(
                value.is_i64() || value.is_string(),
                value,
                path,
                "intstr.IntOrString",
            ),
            Shape::Quantity => quantity(value, path),
            Shape::Time => time(value, path),
            Shape::MicroTime => micro_time(value, path),
            Shape::Base64 => base64(value, path),
            Shape::Object(name) => self.object(value, name, path),
            Shape::List(items) => self.list(value, items, path),
            Shape::Map(values) => self.map(value, values, path),
        }
    }

    fn list(&mut self, value: &mut Value, items: &Shape, path: &mut String) -> Result<(), String> {
        let Value::Array(list) = value else {
            return Err(mismatch(value, path, "slice"));
        };
        let length = path.len();
        for (index, item) in list.iter_mut().enumerate() {
            // Writing into a text cannot fail.
            let _ = write!(path, "[{index}]");
            self.value(item, items, path)?;
            path.truncate(length);
        }
        Ok(())
    }

    fn map(&mut self, value: &mut Value, values: &Shape, path: &mut String) -> Result<(), String> {
        let Value::Object(map) = value else {
            return Err(mismatch(value, path, "map"));
        };
        let length = path.len();
        for (key, item) in map.iter_mut() {
            path.push('.');
            path.push_str(key);
            match (&*item, values) {
                // Go reads null as the zero value of the map's type.
                (Value::Null, Shape::Text | Shape::Base64) => *item = "".into(),
                _ => self.value(item, values, path)?,
            }
            path.truncate(length);
        }
        Ok(())
    }
}

fn is_left_out(key: &str, value: &Value, shape: &Shape) -> bool {
    match (shape, value) {
        (Shape::List(_), Value::Array(list)) => list.is_empty(),
        (Shape::Map(_), Value::Object(map)) => map.is_empty(),
        (Shape::Text, Value::String(text)) => text.is_empty() && !POINTER_TEXTS.contains(&key),
        (Shape::Boolean, Value::Bool(false)) => PLAIN_BOOLEANS.contains(&key),
        (Shape::Integer, value) => value.as_i64() == Some(0) && PLAIN_INTEGERS.contains(&key),
        _ => false,
    }
}

fn expect(holds: bool, value: &Value, path: &str, wanted: &str) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err(mismatch(value, path, wanted))
    }
}

fn mismatch(value: &Value, path: &str, wanted: &str) -> String {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    format!("json: cannot unmarshal {found} into field {path} of type {wanted}")
}

fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn quantity(value: &mut Value, path: &str) -> Result<(), String> {
    if let Value::Number(number) = value {
        *value = number.to_string().into();
    }
    let valid = value.as_str().is_some_and(is_quantity);
    if valid {
        return Ok(());
    }
    Err(format!(
        "quantities must match the regular expression \
         '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$': field {path} is {value}"
    ))
}

/// A decimal number with an optional exponent or an SI or binary suffix.
fn is_quantity(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let number = text.len()
        - text
            .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
            .len();
    let (number, suffix) = text.split_at(number);
    let exponent = || {
        suffix
            .strip_prefix(['e', 'E'])
            .is_some_and(|exponent| exponent.parse::<i32>().is_ok())
    };
    let known = [
        "", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei",
    ];
    number.chars().any(|c| c.is_ascii_digit())
        && number.matches('.').count() <= 1
        && (known.contains(&suffix) || exponent())
}

fn time(value: &mut Value, path: &str) -> Result<(), String> {
    let Some(text) = value.as_str() else {
        return Err(mismatch(value, path, "Time"));
    };
    let parsed: Timestamp = text.parse().map_err(|_| {
        format!("parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse it")
    })?;
    *value = parsed.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into();
    Ok(())
}

/// Exactly six digits of fraction: anything else does not match Go's layout.
fn micro_time(value: &mut Value, path: &str) -> Result<(), String> {
    let Some(text) = value.as_str() else {
        return Err(mismatch(value, path, "MicroTime"));
    };
    let fraction = text
        .split_once('.')
        .map(|(_, rest)| rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len());
    let parsed = text
        .parse::<Timestamp>()
        .ok()
        .filter(|_| fraction == Some(6));
    let parsed = parsed.ok_or_else(|| {
        format!("parsing time {text:?} as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse it")
    })?;
    *value = parsed.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string().into();
    Ok(())
}

fn base64(value: &mut Value, path: &str) -> Result<(), String> {
    let Some(text) = value.as_str() else {
        return Err(mismatch(value, path, "[]uint8"));
    };
    // Go's decoder skips line breaks.
    let compact: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    match BASE64_STANDARD.decode(&compact) {
        Ok(_) => {
            if compact.len() != text.len() {
                *value = compact.into();
            }
            Ok(())
        }
        Err(error) => Err(format!("illegal base64 data in field {path}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::coordination::v1::Lease;
    use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_fields_are_named_by_their_path_and_dropped() {
        let mut value = json!({"metadata": {"labelz": {}}, "dataa": 1, "data": {"a": "1"}});
        let decoded = Type::of::<ConfigMap>().decode(&mut value).unwrap();
        assert_eq!(decoded.unknown, ["metadata.labelz", "dataa"]);
        assert_eq!(value, json!({"metadata": {}, "data": {"a": "1"}}));
    }

    #[test]
    fn wrong_types_are_errors() {
        for wrong in [
            json!({"data": {"a": 1}}),
            json!({"metadata": {"labels": ["x"]}}),
            json!({"binaryData": {"a": "no base64!"}}),
            json!([]),
        ] {
            assert!(
                Type::of::<ConfigMap>().decode(&mut wrong.clone()).is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn zero_values_of_plain_fields_are_left_out() {
        let mut node = json!({"spec": {"unschedulable": false, "taints": []}, "status": null});
        Type::of::<Node>().decode(&mut node).unwrap();
        assert_eq!(node, json!({"spec": {}}));
        let mut lease = json!({"spec": {"holderIdentity": ""}});
        Type::of::<Lease>().decode(&mut lease).unwrap();
        assert_eq!(lease, json!({"spec": {"holderIdentity": ""}}));
        let mut map = json!({"immutable": false, "data": {}});
        Type::of::<ConfigMap>().decode(&mut map).unwrap();
        assert_eq!(map, json!({"immutable": false}));
    }

    #[test]
    fn micro_times_have_six_digits() {
        let decode = |text: &str| {
            Type::of::<Lease>()
                .decode(&mut json!({"spec": {"renewTime": text}}))
                .is_ok()
        };
        assert!(decode("2001-02-03T04:05:06.000007Z"));
        assert!(!decode("2001-02-03T04:05:16.5Z"));
        assert!(!decode("2001-02-03T04:05:16Z"));
        assert!(!decode("not a time"));
    }

    #[test]
    fn quantities_may_be_written_as_numbers() {
        let mut pod = json!({"spec": {"containers": [
            {"name": "a", "resources": {"limits": {"cpu": 2, "memory": "1Gi"}}}]}});
        Type::of::<Pod>().decode(&mut pod).unwrap();
        let limits = &pod["spec"]["containers"][0]["resources"]["limits"];
        assert_eq!(limits, &json!({"cpu": "2", "memory": "1Gi"}));
        for (text, valid) in [
            ("100m", true),
            ("1e3", true),
            ("1Ki", true),
            ("", false),
            ("x", false),
            ("1.2.3", false),
        ] {
            assert_eq!(is_quantity(text), valid, "{text}");
        }
    }
}
