//! Which fields messages have, read once from the table in `messages.txt`.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Text.
    Text,
    /// Bytes; base64 in JSON.
    Bytes,
    /// Whether something is so.
    Bool,
    /// A whole number of any size.
    Int,
    /// A number with a fraction.
    Double,
    /// A time, to the second.
    Time,
    /// A time, to the microsecond.
    MicroTime,
    /// An amount, which is a text.
    Quantity,
    /// A number or a text.
    IntOrString,
    /// A JSON document.
    Json,
    /// A message around texts.
    Items,
    /// A JSON schema, or whether anything is allowed.
    SchemaOrBool,
    /// One JSON schema or several.
    SchemaOrList,
    /// A JSON schema, or names of fields.
    SchemaOrTexts,
    /// The message of that name.
    Message(&'static str),
}

impl Type {
    /// Whether Go writes it also where it is not set.
    pub fn is_simple(self) -> bool {
        matches!(
            self,
            Self::Text | Self::Bytes | Self::Bool | Self::Int | Self::Double
        )
    }
}

/// How often a value comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Once.
    One,
    /// As often as wanted.
    List,
    /// As often as wanted, each time with a key.
    Map,
    /// Once, as a message whose fields belong to the one around it.
    Inline,
}

/// A field of a message.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name in JSON.
    pub name: &'static str,
    /// What it holds.
    pub value: Type,
    /// How often.
    pub shape: Shape,
    /// Whether JSON has it also where it is zero. Other simple values are always written here,
    /// and JSON leaves them out.
    pub zero_counts: bool,
}

/// The fields of a message by number.
pub type Message = HashMap<u64, Field>;

static MESSAGES: LazyLock<HashMap<&'static str, Message>> =
    LazyLock::new(|| parse(include_str!("messages.txt")));

/// The message of that name, such as `ObjectMeta` or `apps/v1/Deployment`.
pub fn find(name: &str) -> Option<&'static Message> {
    MESSAGES.get(name)
}

fn parse(table: &'static str) -> HashMap<&'static str, Message> {
    let mut messages: HashMap<&str, Message> = HashMap::new();
    let mut current = "";
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let mut columns = line.split_whitespace();
        match (columns.next(), columns.next(), columns.next()) {
            (Some(number), Some(name), Some(value)) => {
                if let Ok(number) = number.parse() {
                    let message = messages.entry(current).or_default();
                    message.insert(number, field(name, value));
                }
            }
            (Some(name), None, None) => {
                current = name;
                messages.entry(current).or_default();
            }
            _ => {}
        }
    }
    messages
}

fn field(name: &'static str, value: &'static str) -> Field {
    let (value, zero_counts) = match value.strip_suffix('?') {
        Some(value) => (value, true),
        None => (value, false),
    };
    let (value, shape) = if name == "-" {
        (value, Shape::Inline)
    } else if let Some(value) = value.strip_prefix("map:") {
        (value, Shape::Map)
    } else if let Some(value) = value.strip_suffix("[]") {
        (value, Shape::List)
    } else {
        (value, Shape::One)
    };
    Field {
        name,
        value: type_named(value),
        shape,
        zero_counts,
    }
}

fn type_named(name: &'static str) -> Type {
    match name {
        "text" => Type::Text,
        "bytes" => Type::Bytes,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "double" => Type::Double,
        "Time" => Type::Time,
        "MicroTime" => Type::MicroTime,
        "Quantity" => Type::Quantity,
        "IntOrString" => Type::IntOrString,
        "Json" => Type::Json,
        "Items" => Type::Items,
        "SchemaOrBool" => Type::SchemaOrBool,
        "SchemaOrList" => Type::SchemaOrList,
        "SchemaOrTexts" => Type::SchemaOrTexts,
        message => Type::Message(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::builtin;

    #[test]
    fn every_message_of_a_field_is_in_the_table() {
        for (message, fields) in MESSAGES.iter() {
            for field in fields.values() {
                if let Type::Message(name) = field.value {
                    assert!(find(name).is_some(), "{name} in {message}.{}", field.name);
                }
            }
        }
    }

    #[test]
    fn every_kind_that_is_served_is_in_the_table() {
        for kind in builtin::all() {
            let name = format!("{}/{}/{}", kind.group, kind.version, kind.kind);
            let message = find(&name).expect(&name);
            assert_eq!(message[&1].name, "metadata", "{name}");
        }
    }
}
