//! The Swagger document as protocol buffers, the only form that `kubectl` asks for.
//!
//! The messages are those of `OpenAPIv2.proto` of google/gnostic; what no client of Kubernetes
//! reads is left out. The number of each field stands beside its name.

use serde_json::{Map, Value};

/// Bytes of a message.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u64, wire_type: u64) {
        self.varint(field << 3 | wire_type);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.key(field, 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, field: u64, value: &Value) {
        if let Some(text) = value.as_str() {
            self.bytes(field, text.as_bytes());
        }
    }

    fn texts(&mut self, field: u64, value: &Value) {
        for text in value.as_array().into_iter().flatten() {
            self.text(field, text);
        }
    }

    fn boolean(&mut self, field: u64, value: &Value) {
        if value == true {
            self.key(field, 0);
            self.varint(1);
        }
    }

    fn message(&mut self, field: u64, message: &Self) {
        self.bytes(field, &message.0);
    }
}

/// The document.
pub fn document(document: &Value) -> Vec<u8> {
    let mut message = Message::default();
    message.text(1, &document["swagger"]);
    let mut info = Message::default();
    info.text(1, &document["info"]["title"]);
    info.text(2, &document["info"]["version"]);
    message.message(2, &info);
    let mut paths = Message::default();
    for (path, item) in fields(&document["paths"]) {
        paths.message(2, &named(path, &path_item(item)));
    }
    message.message(8, &paths);
    let mut definitions = Message::default();
    for (name, value) in fields(&document["definitions"]) {
        definitions.message(1, &named(name, &schema(value)));
    }
    message.message(9, &definitions);
    message.0
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn named(name: &str, value: &Message) -> Message {
    let mut message = Message::default();
    message.bytes(1, name.as_bytes());
    message.message(2, value);
    message
}

/// Any value, as YAML; JSON is YAML.
fn any(value: &Value) -> Message {
    let mut message = Message::default();
    message.bytes(2, value.to_string().as_bytes());
    message
}

fn extensions(message: &mut Message, field: u64, value: &Value) {
    for (name, value) in fields(value).filter(|(name, _)| name.starts_with("x-")) {
        message.message(field, &named(name, &any(value)));
    }
}

fn path_item(item: &Value) -> Message {
    let mut message = Message::default();
    for (field, method) in [
        (2, "get"),
        (3, "put"),
        (4, "post"),
        (5, "delete"),
        (8, "patch"),
    ] {
        if item[method].is_object() {
            message.message(field, &operation(&item[method]));
        }
    }
    message
}

fn operation(operation: &Value) -> Message {
    let mut message = Message::default();
    message.text(3, &operation["description"]);
    message.text(5, &operation["operationId"]);
    message.texts(7, &operation["consumes"]);
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        message.message(8, &query_parameter(parameter));
    }
    extensions(&mut message, 13, operation);
    message
}

fn query_parameter(parameter: &Value) -> Message {
    let mut query = Message::default();
    query.text(2, &parameter["in"]);
    query.text(4, &parameter["name"]);
    query.text(6, &parameter["type"]);
    query.boolean(20, &parameter["uniqueItems"]);
    // ParametersItem.parameter, Parameter.non_body_parameter,
    // NonBodyParameter.query_parameter_sub_schema.
    [3, 2, 1].into_iter().fold(query, |inner, field| {
        let mut outer = Message::default();
        outer.message(field, &inner);
        outer
    })
}

fn schema(schema: &Value) -> Message {
    let mut message = Message::default();
    message.text(1, &schema["$ref"]);
    message.text(2, &schema["format"]);
    message.text(4, &schema["description"]);
    message.texts(19, &schema["required"]);
    let additional = &schema["additionalProperties"];
    if additional.is_object() {
        let mut item = Message::default();
        item.message(1, &self::schema(additional));
        message.message(21, &item);
    }
    if schema["type"].is_string() {
        let mut types = Message::default();
        types.text(1, &schema["type"]);
        message.message(22, &types);
    }
    if schema["items"].is_object() {
        let mut items = Message::default();
        items.message(1, &self::schema(&schema["items"]));
        message.message(23, &items);
    }
    if schema["properties"].is_object() {
        let mut properties = Message::default();
        for (name, value) in fields(&schema["properties"]) {
            properties.message(1, &named(name, &self::schema(value)));
        }
        message.message(25, &properties);
    }
    extensions(&mut message, 31, schema);
    message
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_small_document_has_the_bytes_that_the_definition_says() {
        let bytes = document(&json!({
            "swagger": "2.0",
            "info": {"title": "K", "version": "1"},
            "definitions": {"A": {"type": "object", "x-k": 1}},
        }));
        let expected: &[u8] = &[
            0x0a, 3, b'2', b'.', b'0', // swagger
            0x12, 6, 0x0a, 1, b'K', 0x12, 1, b'1', // info
            0x42, 0, // paths
            0x4a, 31, // definitions
            0x0a, 29, // NamedSchema
            0x0a, 1, b'A', // name
            0x12, 24, // value
            0xb2, 1, 8, 0x0a, 6, b'o', b'b', b'j', b'e', b'c', b't', // type
            0xfa, 1, 10, 0x0a, 3, b'x', b'-', b'k', 0x12, 3, 0x12, 1, b'1', // extension
        ];
        assert_eq!(bytes, expected);
    }

    #[test]
    fn long_lengths_take_several_bytes() {
        let mut message = Message::default();
        message.bytes(1, &[7; 300]);
        assert_eq!(message.0[..3], [0x0a, 0xac, 0x02]);
        assert_eq!(message.0.len(), 303);
    }
}
