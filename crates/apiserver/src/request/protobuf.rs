//! Bodies as protocol buffers, which newer `kubectl` sends for small built-in objects.
//!
//! The messages that are understood are those of the table `protobuf.txt`; anything else is
//! refused, never misread. Answers are always JSON, which every client takes.

use std::collections::HashMap;
use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// What every body begins with.
const MAGIC: &[u8] = b"k8s\0";
/// How deep messages may be nested; far more than any of the table is.
const DEPTH: usize = 32;

/// Fields by number: name and type.
type Fields = HashMap<u64, (&'static str, &'static str)>;

static MESSAGES: LazyLock<HashMap<&'static str, Fields>> = LazyLock::new(|| {
    let mut messages: HashMap<&str, Fields> = HashMap::new();
    for line in include_str!("protobuf.txt").lines() {
        let mut columns = line.split_whitespace();
        let (Some(message), Some(number), Some(field), Some(kind)) = (
            columns.next(),
            columns.next(),
            columns.next(),
            columns.next(),
        ) else {
            continue;
        };
        if let Ok(number) = number.parse() {
            messages
                .entry(message)
                .or_default()
                .insert(number, (field, kind));
        }
    }
    messages.insert("Empty", Fields::new());
    messages
});

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
        version if version.contains('/') => format!("{version}/{kind}"),
        version => format!("/{version}/{kind}"),
    };
    let mut object = if kind == "DeleteOptions" {
        message("DeleteOptions", raw, 0)?
    } else {
        message(&name, raw, 0)?
    };
    object.insert("kind".to_owned(), kind.into());
    object.insert("apiVersion".to_owned(), api_version.into());
    Ok(Value::Object(object))
}

fn message(name: &str, bytes: &[u8], depth: usize) -> Result<Map<String, Value>, String> {
    if depth > DEPTH {
        return Err("messages are nested too deeply".to_owned());
    }
    let known = MESSAGES
        .get(name)
        .ok_or_else(|| format!("{name} is not understood as protocol buffers; send JSON"))?;
    let mut object = Map::new();
    for field in fields(bytes) {
        let (number, wire) = field?;
        let (field, kind) = known.get(&number).copied().ok_or_else(|| {
            format!("field {number} of {name} is not understood as protocol buffers; send JSON")
        })?;
        if kind == "Ignored" {
            continue;
        }
        if let Some(values) = kind.strip_prefix("map:") {
            let (key, value) = entry(values, &wire, depth)?;
            let map = object.entry(field).or_insert_with(|| json!({}));
            map[key] = value;
        } else if let Some(item) = kind.strip_suffix("[]") {
            let value = value(item, &wire, depth)?;
            let list = object.entry(field).or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.push(value);
            }
        } else {
            object.insert(field.to_owned(), value(kind, &wire, depth)?);
        }
    }
    // Go writes empty texts; in JSON they are left out.
    object.retain(|_, value| value != "");
    Ok(object)
}

fn entry(values: &str, wire: &Wire<'_>, depth: usize) -> Result<(String, Value), String> {
    let Wire::Bytes(bytes) = wire else {
        return Err("an entry of a map is not a message".to_owned());
    };
    let (mut key, mut found) = (String::new(), Value::from(""));
    for field in fields(bytes) {
        match field? {
            (1, Wire::Bytes(bytes)) => key = text(bytes)?,
            (2, wire) => found = value(values, &wire, depth)?,
            _ => {}
        }
    }
    Ok((key, found))
}

fn value(kind: &str, wire: &Wire<'_>, depth: usize) -> Result<Value, String> {
    match (kind, wire) {
        ("text", Wire::Bytes(bytes)) => Ok(text(bytes)?.into()),
        ("bytes", Wire::Bytes(bytes)) => Ok(BASE64_STANDARD.encode(bytes).into()),
        ("bool", Wire::Varint(number)) => Ok((*number != 0).into()),
        // Negative numbers are written in two's complement.
        ("int", Wire::Varint(number)) => Ok(number.cast_signed().into()),
        ("Time", Wire::Bytes(bytes)) => time(bytes),
        (name, Wire::Bytes(bytes)) => Ok(Value::Object(message(name, bytes, depth + 1)?)),
        (name, _) => Err(format!("a value of type {name} has another form")),
    }
}

fn time(bytes: &[u8]) -> Result<Value, String> {
    let mut seconds = None;
    for field in fields(bytes) {
        if let (1, Wire::Varint(number)) = field? {
            seconds = Some(number.cast_signed());
        }
    }
    // The zero time of Go is written without fields, or as a time long before our era.
    let Some(time) = seconds.filter(|seconds| *seconds > 0) else {
        return Ok(Value::Null);
    };
    let time = Timestamp::from_second(time).map_err(|error| error.to_string())?;
    Ok(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into())
}

fn text(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "a text is not UTF-8".to_owned())
}

/// A field's value as it is written.
enum Wire<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Other,
}

/// The fields of a message, with their numbers.
fn fields(bytes: &[u8]) -> impl Iterator<Item = Result<(u64, Wire<'_>), String>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = next_field(&mut rest);
        if field.is_none() {
            rest = &[];
        }
        Some(field.ok_or_else(|| "a message ends in the middle of a field".to_owned()))
    })
}

fn next_field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Wire<'a>)> {
    let key = varint(rest)?;
    let wire = match key & 7 {
        0 => Wire::Varint(varint(rest)?),
        1 => {
            take(rest, 8)?;
            Wire::Other
        }
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            Wire::Bytes(take(rest, length)?)
        }
        5 => {
            take(rest, 4)?;
            Wire::Other
        }
        _ => return None,
    };
    Some((key >> 3, wire))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Field `number` with these bytes.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        field.extend_from_slice(bytes);
        field
    }

    fn envelope(version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [field(1, version.as_bytes()), field(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), field(1, &meta), field(2, raw)].concat()
    }

    #[test]
    fn a_secret_is_read() {
        let metadata = field(1, b"name");
        let entry = [field(1, b"key"), field(2, b"value")].concat();
        let secret = [field(1, &metadata), field(2, &entry), field(3, b"Opaque")].concat();
        assert_eq!(
            parse(&envelope("v1", "Secret", &secret)).unwrap(),
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "name"},
                "data": {"key": "dmFsdWU="}, "type": "Opaque",
            })
        );
    }

    #[test]
    fn what_the_table_does_not_have_is_refused() {
        assert!(
            parse(&envelope("v1", "Pod", &[]))
                .unwrap_err()
                .contains("send JSON")
        );
        let unknown = field(9, b"x");
        assert!(
            parse(&envelope("v1", "Secret", &unknown))
                .unwrap_err()
                .contains("field 9")
        );
        assert!(parse(b"{}").is_err());
    }

    #[test]
    fn every_type_of_the_table_is_known() {
        let simple = ["text", "bytes", "bool", "int", "Time", "Ignored"];
        for fields in MESSAGES.values() {
            for (_, kind) in fields.values() {
                let kind = kind.trim_end_matches("[]").trim_start_matches("map:");
                assert!(
                    simple.contains(&kind) || MESSAGES.contains_key(kind),
                    "{kind}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&[MAGIC, &bytes].concat());
            let _ = parse(&envelope("v1", "Secret", &bytes[..bytes.len().min(100)]));
        }
    }
}
