//! A YAML value in which every node knows where it was written.
//!
//! Scalars follow YAML 1.2's core schema as Kubernetes' tools read it: `yes` and `on` are text.
//! Numbers keep the text they were written with, so that printing changes nothing.
//!
//! Copies share what they have in common: see [`Shared`].

mod shared;

pub use shared::Shared;

use crate::source::Location;

/// A value and its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it was written.
    pub at: Location,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing: `null`, `~`, or no text at all.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as it was written.
    Number(Box<str>),
    /// A string.
    Text(Box<str>),
    /// A list.
    Sequence(Shared<Node>),
    /// Fields, in the order in which they were written. Keys are unique.
    Mapping(Shared<Field>),
}

/// A field of a mapping.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its name.
    pub key: Box<str>,
    /// Where the name was written.
    pub key_at: Location,
    /// Its value.
    pub node: Node,
}

/// Values are equal when they mean the same, wherever they were written.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl PartialEq for Field {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.node == other.node
    }
}

impl Node {
    /// The value of a field, where this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.field(key).map(|field| &field.node)
    }

    /// The field with this name, where this is a mapping that has it.
    pub fn field(&self, key: &str) -> Option<&Field> {
        self.fields().iter().find(|field| &*field.key == key)
    }

    /// Which of the fields has this name.
    fn position(&self, key: &str) -> Option<usize> {
        self.fields().iter().position(|field| &*field.key == key)
    }

    /// The node at the end of a path of field names.
    pub fn path(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The fields; none where this is no mapping.
    pub fn fields(&self) -> &[Field] {
        match &self.value {
            Value::Mapping(fields) => fields,
            _ => &[],
        }
    }

    /// The items; none where this is no list.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::Sequence(items) => items,
            _ => &[],
        }
    }

    /// The text of a string.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The text of the string in a field.
    pub fn text_of(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Node::text)
    }

    /// The text of a scalar as it was written; none for null, lists and mappings.
    pub fn scalar_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) | Value::Number(text) => Some(text),
            Value::Bool(true) => Some("true"),
            Value::Bool(false) => Some("false"),
            Value::Null | Value::Sequence(_) | Value::Mapping(_) => None,
        }
    }

    /// The value of a field, to change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        let index = self.position(key)?;
        let Value::Mapping(fields) = &mut self.value else {
            return None;
        };
        Some(&mut fields[index].node)
    }

    /// The node at the end of a path of field names, to change it.
    pub fn path_mut(&mut self, path: &[&str]) -> Option<&mut Node> {
        path.iter().try_fold(self, |node, key| node.get_mut(key))
    }

    /// Sets the field at the end of a path, and makes the mappings that are missing on the way.
    /// Whatever stands in the way and is no mapping is replaced.
    pub fn set(&mut self, path: &[&str], node: Node) {
        let Some((key, rest)) = path.split_first() else {
            *self = node;
            return;
        };
        if !matches!(self.value, Value::Mapping(_)) {
            self.value = Value::Mapping(Shared::default());
        }
        let Value::Mapping(fields) = &mut self.value else {
            return;
        };
        let index = fields.iter().position(|field| &*field.key == *key);
        let index = index.unwrap_or_else(|| {
            fields.push(Field {
                key: (*key).into(),
                key_at: node.at,
                node: Node {
                    at: node.at,
                    value: Value::Null,
                },
            });
            fields.len() - 1
        });
        fields[index].node.set(rest, node);
    }

    /// Removes a field and returns it.
    pub fn remove(&mut self, key: &str) -> Option<Field> {
        let index = self.position(key)?;
        let Value::Mapping(fields) = &mut self.value else {
            return None;
        };
        Some(fields.remove(index))
    }

    /// Says that this and everything in it was written at `at`.
    pub fn place_all(&mut self, at: Location) {
        self.at = at;
        match &mut self.value {
            Value::Sequence(items) => items.iter_mut().for_each(|item| item.place_all(at)),
            Value::Mapping(fields) => {
                for field in fields {
                    field.key_at = at;
                    field.node.place_all(at);
                }
            }
            _ => {}
        }
    }

    /// The same value as JSON. Fields keep their order.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Number(text) => number(text),
            Value::Text(text) => Json::String(text.to_string()),
            Value::Sequence(items) => items.iter().map(Self::to_json).collect(),
            Value::Mapping(fields) => {
                let fields = fields.iter();
                fields
                    .map(|field| (field.key.to_string(), field.node.to_json()))
                    .collect()
            }
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        self.value == Value::Null
    }
}

/// A number as JSON has it. Infinity and the like are not among them, and become text.
fn number(text: &str) -> serde_json::Value {
    let plain = text.replace('_', "");
    let (sign, digits) = match plain.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let octal = || {
        let is_octal = digits.len() > 1 && digits.starts_with('0');
        is_octal.then_some(&digits[1..])
    };
    let in_base = |digits: Option<&str>, base| i64::from_str_radix(digits?, base).ok();
    let whole = in_base(digits.strip_prefix("0x"), 16)
        .or_else(|| in_base(digits.strip_prefix("0o").or_else(octal), 8))
        .or_else(|| in_base(digits.strip_prefix("0b"), 2))
        .or_else(|| digits.parse().ok());
    if let Some(whole) = whole {
        return (sign * whole).into();
    }
    let Some(float) = plain.parse::<f64>().ok().filter(|float| float.is_finite()) else {
        return text.into();
    };
    // Go writes a float without a fraction as a whole number.
    if float.fract() == 0.0 && float.abs() < 1e15 {
        return (float as i64).into();
    }
    float.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_mean_what_kubernetes_tools_take_them_for() {
        for (text, expected) in [
            ("12", json!(12)),
            ("-3", json!(-3)),
            ("1_000", json!(1000)),
            ("0777", json!(511)),
            ("0o17", json!(15)),
            ("0x1f", json!(31)),
            ("0b11", json!(3)),
            ("1.5", json!(1.5)),
            ("1e3", json!(1000)),
            ("089", json!(89)),
            (".inf", json!(".inf")),
        ] {
            assert_eq!(number(text), expected, "{text}");
        }
    }
}
