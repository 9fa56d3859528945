//! Bodies as protocol buffers, in which `kubectl` and other programs written in Go send
//! built-in objects.
//!
//! A body becomes the JSON that the same client would have sent. What the table of messages
//! does not have is refused, never misread. Answers are always JSON, which every client takes.

mod messages;
mod values;
mod wire;

use serde_json::{Map, Value, json};

use messages::{Field, Shape, Type};
use wire::{Wire, fields, packed};

/// What every body begins with.
const MAGIC: &[u8] = b"k8s\0";
/// How deep messages may be nested: enough for schemas of custom resources, which are nested
/// as deep as whoever wrote them liked, and no danger to the stack.
const DEPTH: usize = 60;

/// Decodes a body.
///
/// # Errors
/// A text that says what cannot be read.
pub fn parse(bytes: &[u8]) -> Result<Value, String> {
    let bytes = bytes
        .strip_prefix(MAGIC)
        .ok_or("the body does not begin as protocol buffers of Kubernetes do")?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in fields(bytes) {
        match field? {
            (1, Wire::Bytes(bytes)) => {
                for field in fields(bytes) {
                    match field? {
                        (1, Wire::Bytes(bytes)) => api_version = text(bytes)?,
                        (2, Wire::Bytes(bytes)) => kind = text(bytes)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let name = match api_version.as_str() {
        // Every group has these options.
        _ if kind == "DeleteOptions" => kind.clone(),
        version if version.contains('/') => format!("{version}/{kind}"),
        version => format!("/{version}/{kind}"),
    };
    let mut object = json!({"kind": kind, "apiVersion": api_version});
    if let Value::Object(object) = &mut object {
        message(&name, raw, 0, object)?;
    }
    Ok(object)
}

/// Reads a message into an object.
fn message(
    name: &str,
    bytes: &[u8],
    depth: usize,
    object: &mut Map<String, Value>,
) -> Result<(), String> {
    if depth > DEPTH {
        return Err("messages are nested too deeply".to_owned());
    }
    let known = messages::find(name)
        .ok_or_else(|| format!("{name} is not understood as protocol buffers; send JSON"))?;
    for field in fields(bytes) {
        let (number, wire) = field?;
        let field = known.get(&number).ok_or_else(|| {
            format!("field {number} of {name} is not understood as protocol buffers; send JSON")
        })?;
        add(object, field, wire, depth)?;
    }
    Ok(())
}

fn add(
    object: &mut Map<String, Value>,
    field: &Field,
    wire: Wire<'_>,
    depth: usize,
) -> Result<(), String> {
    match (field.shape, field.value, wire) {
        (Shape::Inline, Type::Message(name), Wire::Bytes(bytes)) => {
            message(name, bytes, depth + 1, object)?;
        }
        (Shape::One | Shape::Inline, ..) => {
            let value = value(field.value, wire, depth)?;
            if field.zero_counts || !field.value.is_simple() || !is_zero(&value) {
                object.insert(field.name.to_owned(), value);
            }
        }
        (Shape::List, ..) => {
            let list = object.entry(field.name).or_insert_with(|| json!([]));
            if let Value::Array(list) = list {
                match (field.value, wire) {
                    (Type::Int, Wire::Bytes(bytes)) => {
                        for number in packed(bytes) {
                            list.push(number?.cast_signed().into());
                        }
                    }
                    (kind, wire) => list.push(value(kind, wire, depth)?),
                }
            }
        }
        (Shape::Map, ..) => {
            let (key, value) = entry(field.value, wire, depth)?;
            object.entry(field.name).or_insert_with(|| json!({}))[key] = value;
        }
    }
    Ok(())
}

/// What JSON leaves out where nothing points to it.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Bool(value) => !value,
        Value::Number(value) => value.as_f64() == Some(0.0),
        Value::String(value) => value.is_empty(),
        _ => false,
    }
}

fn entry(values: Type, wire: Wire<'_>, depth: usize) -> Result<(String, Value), String> {
    let Wire::Bytes(bytes) = wire else {
        return Err("an entry of a map is not a message".to_owned());
    };
    let (mut key, mut found) = (String::new(), None);
    for field in fields(bytes) {
        match field? {
            (1, Wire::Bytes(bytes)) => key = text(bytes)?,
            (2, wire) => found = Some(value(values, wire, depth)?),
            _ => {}
        }
    }
    match found {
        Some(found) => Ok((key, found)),
        None => Ok((key, value(values, Wire::Bytes(&[]), depth)?)),
    }
}

fn value(kind: Type, wire: Wire<'_>, depth: usize) -> Result<Value, String> {
    match (kind, wire) {
        (Type::Bool, Wire::Varint(number)) => Ok((number != 0).into()),
        // Negative numbers are written in two's complement.
        (Type::Int, Wire::Varint(number)) => Ok(number.cast_signed().into()),
        (Type::Double, Wire::Fixed64(bytes)) => Ok(f64::from_le_bytes(bytes).into()),
        (Type::Bool | Type::Int | Type::Double, _) => {
            Err("a number or a boolean has another form".to_owned())
        }
        (Type::Text, Wire::Bytes(bytes)) => Ok(text(bytes)?.into()),
        (Type::Bytes, Wire::Bytes(bytes)) => Ok(values::base64(bytes)),
        (Type::Time, Wire::Bytes(bytes)) => values::time(bytes, 0),
        (Type::MicroTime, Wire::Bytes(bytes)) => values::time(bytes, 6),
        (Type::Quantity, Wire::Bytes(bytes)) => values::quantity(bytes),
        (Type::IntOrString, Wire::Bytes(bytes)) => values::int_or_string(bytes),
        (Type::Json, Wire::Bytes(bytes)) => values::json(bytes),
        (Type::Items, Wire::Bytes(bytes)) => values::items(bytes),
        (Type::SchemaOrBool, Wire::Bytes(bytes)) => values::schema_or_bool(bytes, depth),
        (Type::SchemaOrList, Wire::Bytes(bytes)) => values::schema_or_list(bytes, depth),
        (Type::SchemaOrTexts, Wire::Bytes(bytes)) => values::schema_or_texts(bytes, depth),
        (Type::Message(name), Wire::Bytes(bytes)) => {
            let mut object = Map::new();
            message(name, bytes, depth + 1, &mut object)?;
            Ok(Value::Object(object))
        }
        (_, _) => Err("a text or a message has another form".to_owned()),
    }
}

fn text(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "a text is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests;
