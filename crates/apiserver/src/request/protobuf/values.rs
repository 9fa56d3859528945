//! Values that JSON writes in another way than as an object with the message's fields.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde_json::{Map, Value};

use super::wire::{Wire, fields};
use super::{message, text};

/// The zero time of Go, the first second of our era.
const ZERO: i64 = -62_135_596_800;

/// The schemas of custom resources.
const SCHEMA: &str = "apiextensions.k8s.io/v1/JSONSchemaProps";

/// Bytes.
pub fn base64(bytes: &[u8]) -> Value {
    BASE64_STANDARD.encode(bytes).into()
}

/// A time with so many digits of fraction; null for Go's zero time.
pub fn time(bytes: &[u8], digits: u8) -> Result<Value, String> {
    let (mut seconds, mut nanoseconds) = (0, 0);
    for field in fields(bytes) {
        match field? {
            (1, Wire::Varint(number)) => seconds = number.cast_signed(),
            (2, Wire::Varint(number)) => {
                nanoseconds = i32::try_from(number).map_err(|error| error.to_string())?;
            }
            _ => {}
        }
    }
    if seconds == 0 || seconds == ZERO {
        return Ok(Value::Null);
    }
    let time = Timestamp::new(seconds, nanoseconds).map_err(|error| error.to_string())?;
    let printer = DateTimePrinter::new().precision(Some(digits));
    Ok(printer.timestamp_to_string(&time).into())
}

/// An amount.
pub fn quantity(bytes: &[u8]) -> Result<Value, String> {
    let mut amount = "0".to_owned();
    for field in fields(bytes) {
        if let (1, Wire::Bytes(bytes)) = field? {
            amount = text(bytes)?;
        }
    }
    Ok(amount.into())
}

/// A number or a text.
pub fn int_or_string(bytes: &[u8]) -> Result<Value, String> {
    let (mut is_text, mut number, mut found) = (false, 0, String::new());
    for field in fields(bytes) {
        match field? {
            (1, Wire::Varint(kind)) => is_text = kind == 1,
            (2, Wire::Varint(value)) => number = value.cast_signed(),
            (3, Wire::Bytes(bytes)) => found = text(bytes)?,
            _ => {}
        }
    }
    Ok(if is_text { found.into() } else { number.into() })
}

/// A document; null if there is none.
pub fn json(bytes: &[u8]) -> Result<Value, String> {
    for field in fields(bytes) {
        if let (1, Wire::Bytes(bytes)) = field? {
            return serde_json::from_slice(bytes).map_err(|error| error.to_string());
        }
    }
    Ok(Value::Null)
}

/// A list of texts.
pub fn items(bytes: &[u8]) -> Result<Value, String> {
    texts(bytes, 1)
}

/// A schema, or whether anything is allowed.
pub fn schema_or_bool(bytes: &[u8], depth: usize) -> Result<Value, String> {
    let mut found = Value::Bool(false);
    for field in fields(bytes) {
        match field? {
            (1, Wire::Varint(allows)) if found.is_boolean() => found = (allows != 0).into(),
            (2, Wire::Bytes(bytes)) => found = schema(bytes, depth)?,
            _ => {}
        }
    }
    Ok(found)
}

/// One schema, or several.
pub fn schema_or_list(bytes: &[u8], depth: usize) -> Result<Value, String> {
    let mut list = Vec::new();
    for field in fields(bytes) {
        match field? {
            (1, Wire::Bytes(bytes)) => return schema(bytes, depth),
            (2, Wire::Bytes(bytes)) => list.push(schema(bytes, depth)?),
            _ => {}
        }
    }
    Ok(list.into())
}

/// A schema, or names of fields.
pub fn schema_or_texts(bytes: &[u8], depth: usize) -> Result<Value, String> {
    for field in fields(bytes) {
        if let (1, Wire::Bytes(bytes)) = field? {
            return schema(bytes, depth);
        }
    }
    texts(bytes, 2)
}

fn schema(bytes: &[u8], depth: usize) -> Result<Value, String> {
    let mut object = Map::new();
    message(SCHEMA, bytes, depth + 1, &mut object)?;
    Ok(Value::Object(object))
}

fn texts(bytes: &[u8], number: u64) -> Result<Value, String> {
    let mut list = Vec::new();
    for field in fields(bytes) {
        if let (found, Wire::Bytes(bytes)) = field?
            && found == number
        {
            list.push(Value::from(text(bytes)?));
        }
    }
    Ok(list.into())
}
