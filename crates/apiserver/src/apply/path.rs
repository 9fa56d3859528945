//! One step of the path to a field, as managed fields write it.

use std::fmt;

use serde_json::{Map, Value};

/// One step of the path to a field. Values are kept as canonical JSON text, so that steps
/// can be compared and sorted; the order is that of FieldsV1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PathElement {
    /// A field of an object or a key of a map: `f:name`.
    Field(String),
    /// An item of a keyed list, by the values of its keys: `k:{"name":"a"}`.
    Key(Vec<(String, String)>),
    /// An item of a set: `v:"a"`.
    Value(String),
    /// An item of a list by its position: `i:0`.
    Index(usize),
}

impl PathElement {
    /// The step to the field `name`.
    pub(super) fn field(name: &str) -> Self {
        PathElement::Field(name.to_owned())
    }

    /// The step to the item with these keys.
    pub(super) fn key<'a>(keys: impl IntoIterator<Item = (&'a str, &'a Value)>) -> Self {
        let mut keys: Vec<_> = keys
            .into_iter()
            .map(|(name, value)| (name.to_owned(), canonical(value)))
            .collect();
        keys.sort();
        PathElement::Key(keys)
    }

    /// The step to an item of a set.
    pub(super) fn value(value: &Value) -> Self {
        PathElement::Value(canonical(value))
    }

    /// Reads a step as it is written in FieldsV1; nothing if it is not of that form.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        Some(match kind {
            "f" => PathElement::field(rest),
            "k" => {
                let keys: Map<String, Value> = serde_json::from_str(rest).ok()?;
                PathElement::key(keys.iter().map(|(name, value)| (name.as_str(), value)))
            }
            "v" => PathElement::value(&serde_json::from_str(rest).ok()?),
            "i" => PathElement::Index(rest.parse().ok()?),
            _ => return None,
        })
    }

    /// The step as it is written in FieldsV1.
    pub(super) fn to_fields_v1(&self) -> String {
        match self {
            PathElement::Field(name) => format!("f:{name}"),
            PathElement::Key(keys) => {
                let keys: Vec<String> = keys
                    .iter()
                    .map(|(name, value)| format!("{}:{value}", Value::from(name.as_str())))
                    .collect();
                format!("k:{{{}}}", keys.join(","))
            }
            PathElement::Value(value) => format!("v:{value}"),
            PathElement::Index(index) => format!("i:{index}"),
        }
    }
}

/// As conflicts show a step: `.name`, `[id="2"]`, `[="a"]`, `[0]`.
impl fmt::Display for PathElement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathElement::Field(name) => write!(formatter, ".{name}"),
            PathElement::Key(keys) => {
                let keys: Vec<String> = keys
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                write!(formatter, "[{}]", keys.join(","))
            }
            PathElement::Value(value) => write!(formatter, "[={value}]"),
            PathElement::Index(index) => write!(formatter, "[{index}]"),
        }
    }
}

/// JSON text that is the same for equal values: keys sorted, whole numbers without a
/// fraction.
fn canonical(value: &Value) -> String {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(double) if number.is_f64() => double.to_string(),
            _ => number.to_string(),
        },
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(fields) => {
            let mut fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), canonical(value)))
                .collect();
            fields.sort();
            format!("{{{}}}", fields.join(","))
        }
        scalar => scalar.to_string(),
    }
}
