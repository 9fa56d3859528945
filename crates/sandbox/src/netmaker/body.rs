//! Request bodies as Go's `encoding/json` reads them: the first value counts and what follows it
//! does not, names match in any case, null is the zero value, unknown fields are ignored.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

/// A body that is an object, or null.
#[derive(Debug, Default)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Reads a body.
    ///
    /// # Errors
    /// A text for people, when it is not an object.
    pub(super) fn read(body: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(body);
        let mut values = serde_json::Deserializer::from_str(&text);
        match Value::deserialize(&mut values) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(Value::Null) => Ok(Self::default()),
            Ok(other) => Err(mismatch(&other, "", "an object")),
            Err(error) if error.is_eof() && text.trim().is_empty() => Err("EOF".to_owned()),
            Err(error) if error.is_eof() => Err("unexpected EOF".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The last field of this name that is not null.
    fn get(&self, name: &str) -> Option<&Value> {
        let exact = self.0.get(name);
        let similar = || {
            let mut fields = self.0.iter().rev();
            fields.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
        };
        exact.or_else(similar).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, name: &str) -> Result<String, String> {
        match self.get(name) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => Err(mismatch(other, name, "string")),
        }
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, String> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(mismatch(other, name, "bool")),
        }
    }

    pub(super) fn number(&self, name: &str) -> Result<i64, String> {
        match self.get(name) {
            None => Ok(0),
            Some(value) => value.as_i64().ok_or_else(|| mismatch(value, name, "int")),
        }
    }

    pub(super) fn numbers(&self, name: &str) -> Result<BTreeMap<String, i64>, String> {
        match self.get(name) {
            None => Ok(BTreeMap::new()),
            Some(Value::Object(entries)) => entries
                .iter()
                .map(|(key, value)| match value {
                    Value::Null => Ok((key.clone(), 0)),
                    value => value
                        .as_i64()
                        .map(|number| (key.clone(), number))
                        .ok_or_else(|| mismatch(value, name, "int")),
                })
                .collect(),
            Some(other) => Err(mismatch(other, name, "map[string]int")),
        }
    }

    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, String> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| match item {
                    Value::Null => Ok(String::new()),
                    Value::String(text) => Ok(text.clone()),
                    other => Err(mismatch(other, name, "string")),
                })
                .collect(),
            Some(other) => Err(mismatch(other, name, "[]string")),
        }
    }

    /// A field as it came; null when it is missing.
    pub(super) fn raw(&self, name: &str) -> Value {
        self.get(name).cloned().unwrap_or(Value::Null)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

fn mismatch(found: &Value, field: &str, wanted: &str) -> String {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    format!("json: cannot unmarshal {found} into Go struct field {field} of type {wanted}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_in_any_case_and_null_is_nothing() {
        let fields = Fields::read(br#"{"Name":"a","RANGE":null,"nodes":{"n":5}} rest"#).unwrap();
        assert_eq!(fields.text("name").unwrap(), "a");
        assert_eq!(fields.text("range").unwrap(), "");
        assert_eq!(fields.numbers("nodes").unwrap()["n"], 5);
    }

    #[test]
    fn other_types_are_refused() {
        let fields = Fields::read(br#"{"name":1,"nodes":{"n":"5"},"nat":"no"}"#).unwrap();
        assert!(fields.text("name").is_err());
        assert!(fields.numbers("nodes").is_err());
        assert!(fields.flag("nat").is_err());
        for body in ["", "[]", "{\"name\":", "hello", "7"] {
            assert!(Fields::read(body.as_bytes()).is_err(), "{body}");
        }
    }
}
