//! The suffix that a generated ConfigMap or Secret gets from its content.
//!
//! It has to be kustomize's to the letter, for it is part of a name: ten digits of the SHA-256 of the
//! object's JSON, with the digits exchanged that could make a word.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::object::Object;

/// The suffix of an object, without the dash.
pub(super) fn suffix(object: &Object) -> String {
    let json = object.node.to_json();
    let mut fields = Map::new();
    // Go writes the keys of a map in the order of the alphabet.
    if let Some(binary) = json.get("binaryData") {
        fields.insert("binaryData".into(), sorted(binary));
    }
    let data = json.get("data").map_or_else(|| json!(""), sorted);
    fields.insert("data".into(), data);
    fields.insert("kind".into(), json["kind"].clone());
    // kustomize means the name, looks for it under `metadata/name` as one key, and finds nothing.
    fields.insert("name".into(), json!(""));
    if object.kind() == "Secret" {
        fields.insert(
            "type".into(),
            json.get("type").cloned().unwrap_or_else(|| json!("")),
        );
    }
    let text = go_escapes(&Value::Object(fields).to_string());
    let digest = Sha256::digest(text.as_bytes());
    let hex = digest
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    hex.chars().take(10).map(harmless).collect()
}

fn sorted(value: &Value) -> Value {
    let Value::Object(fields) = value else {
        return value.clone();
    };
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort_by_key(|(key, _)| *key);
    fields
        .into_iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Go's JSON is safe to be put into HTML.
fn go_escapes(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for letter in json.chars() {
        match letter {
            '<' => text += "\\u003c",
            '>' => text += "\\u003e",
            '&' => text += "\\u0026",
            '\u{2028}' => text += "\\u2028",
            '\u{2029}' => text += "\\u2029",
            other => text.push(other),
        }
    }
    text
}

fn harmless(digit: char) -> char {
    match digit {
        '0' => 'g',
        '1' => 'h',
        '3' => 'k',
        'a' => 'm',
        'e' => 't',
        other => other,
    }
}
