//! A structural schema, read into memory: one node for each value that it describes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::merge_type::{ListKey, ListType};
use super::pattern::Pattern;
use super::rules::Rule;

/// The types that a value may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueType {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

impl ValueType {
    /// The type that a schema names; nothing for names that do not exist.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "object" => ValueType::Object,
            "array" => ValueType::Array,
            "string" => ValueType::String,
            "integer" => ValueType::Integer,
            "number" => ValueType::Number,
            "boolean" => ValueType::Boolean,
            _ => return None,
        })
    }

    /// The name of the type in a schema.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            ValueType::Object => "object",
            ValueType::Array => "array",
            ValueType::String => "string",
            ValueType::Integer => "integer",
            ValueType::Number => "number",
            ValueType::Boolean => "boolean",
        }
    }
}

/// What a schema says about one value.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) value_type: Option<ValueType>,
    pub(super) nullable: bool,
    pub(super) int_or_string: bool,
    pub(super) preserve_unknown_fields: bool,
    pub(super) embedded_resource: bool,
    pub(super) list_type: ListType,
    pub(super) atomic_map: bool,
    pub(super) properties: BTreeMap<String, Node>,
    pub(super) additional_properties: Option<Additional>,
    pub(super) items: Option<Box<Node>>,
    pub(super) default: Option<Value>,
    pub(super) limits: Limits,
    pub(super) all_of: Vec<Node>,
    pub(super) any_of: Vec<Node>,
    pub(super) one_of: Vec<Node>,
    pub(super) not: Option<Box<Node>>,
    pub(super) rules: Vec<Rule>,
    /// Whether there are rules here or further inside.
    pub(super) has_rules: bool,
}

/// What a schema says about entries of a map.
#[derive(Debug)]
pub(super) enum Additional {
    /// Anything (`additionalProperties: true`).
    Anything,
    /// Values of this schema.
    Values(Box<Node>),
}

impl Additional {
    /// The schema of the values, if there is one.
    pub(super) fn values(&self) -> Option<&Node> {
        match self {
            Additional::Anything => None,
            Additional::Values(node) => Some(node),
        }
    }
}

/// The bounds of a value.
#[derive(Debug, Default)]
pub(super) struct Limits {
    pub(super) enumeration: Option<Vec<Value>>,
    pub(super) pattern: Option<Pattern>,
    pub(super) format: Option<String>,
    pub(super) minimum: Option<f64>,
    pub(super) exclusive_minimum: bool,
    pub(super) maximum: Option<f64>,
    pub(super) exclusive_maximum: bool,
    pub(super) multiple_of: Option<f64>,
    pub(super) min_length: Option<u64>,
    pub(super) max_length: Option<u64>,
    pub(super) min_items: Option<u64>,
    pub(super) max_items: Option<u64>,
    pub(super) min_properties: Option<u64>,
    pub(super) max_properties: Option<u64>,
    pub(super) required: Vec<String>,
}

impl Node {
    /// Reads a schema that has passed the structural checks; what they do not know is
    /// passed over.
    pub(super) fn read(schema: &Value) -> Self {
        let mut node = Self::read_node(schema);
        node.has_rules = !node.rules.is_empty()
            || node.properties.values().any(|property| property.has_rules)
            || node.items.as_ref().is_some_and(|items| items.has_rules)
            || matches!(&node.additional_properties,
                Some(Additional::Values(values)) if values.has_rules);
        node
    }

    fn read_node(schema: &Value) -> Self {
        let flag = |name: &str| schema.get(name) == Some(&Value::Bool(true));
        let read_list = |name: &str| -> Vec<Node> {
            let branches = schema.get(name).and_then(Value::as_array);
            branches.into_iter().flatten().map(Node::read).collect()
        };
        let items = schema.get("items").map(|items| Box::new(Node::read(items)));
        Self {
            value_type: schema
                .get("type")
                .and_then(Value::as_str)
                .and_then(ValueType::parse),
            nullable: flag("nullable"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            preserve_unknown_fields: flag("x-kubernetes-preserve-unknown-fields"),
            embedded_resource: flag("x-kubernetes-embedded-resource"),
            list_type: read_list_type(schema, items.as_deref()),
            atomic_map: schema.get("x-kubernetes-map-type") == Some(&Value::from("atomic")),
            properties: schema
                .get("properties")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
                .map(|(name, property)| (name.clone(), Node::read(property)))
                .collect(),
            additional_properties: match schema.get("additionalProperties") {
                Some(Value::Bool(true)) => Some(Additional::Anything),
                Some(values @ Value::Object(_)) => {
                    Some(Additional::Values(Box::new(Node::read(values))))
                }
                _ => None,
            },
            items,
            default: schema.get("default").cloned(),
            limits: Limits::read(schema),
            all_of: read_list("allOf"),
            any_of: read_list("anyOf"),
            one_of: read_list("oneOf"),
            not: schema.get("not").map(|not| Box::new(Node::read(not))),
            rules: Rule::read_all(schema),
            has_rules: false,
        }
    }

    /// The schema of the field or map entry `name`.
    pub(super) fn field(&self, name: &str) -> Option<&Node> {
        self.properties.get(name).or_else(|| {
            self.additional_properties
                .as_ref()
                .and_then(Additional::values)
        })
    }

    /// Finds the item of `old` that has the same keys as `item`, in a list of type `map`.
    pub(super) fn same_item<'a>(&self, item: &Value, old: Option<&'a Value>) -> Option<&'a Value> {
        let ListType::Map(keys) = &self.list_type else {
            return None;
        };
        let same = |candidate: &&Value| {
            keys.iter()
                .all(|key| item.get(&key.name) == candidate.get(&key.name))
        };
        old?.as_array()?.iter().find(same)
    }
}

fn read_list_type(schema: &Value, items: Option<&Node>) -> ListType {
    match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => ListType::Set,
        Some("map") => {
            let keys = schema
                .get("x-kubernetes-list-map-keys")
                .and_then(Value::as_array);
            let read_key = |name: &str| ListKey {
                name: name.to_owned(),
                default: items.and_then(|items| items.properties.get(name)?.default.clone()),
            };
            let names = keys.into_iter().flatten().filter_map(Value::as_str);
            ListType::Map(names.map(read_key).collect())
        }
        _ => ListType::Atomic,
    }
}

impl Limits {
    fn read(schema: &Value) -> Self {
        let flag = |name: &str| schema.get(name) == Some(&Value::Bool(true));
        let number = |name: &str| schema.get(name).and_then(Value::as_f64);
        let count = |name: &str| schema.get(name).and_then(Value::as_u64);
        Self {
            enumeration: schema.get("enum").and_then(Value::as_array).cloned(),
            pattern: schema
                .get("pattern")
                .and_then(Value::as_str)
                .and_then(|text| Pattern::parse(text).ok()),
            format: schema
                .get("format")
                .and_then(Value::as_str)
                .map(str::to_owned),
            minimum: number("minimum"),
            exclusive_minimum: flag("exclusiveMinimum"),
            maximum: number("maximum"),
            exclusive_maximum: flag("exclusiveMaximum"),
            multiple_of: number("multipleOf"),
            min_length: count("minLength"),
            max_length: count("maxLength"),
            min_items: count("minItems"),
            max_items: count("maxItems"),
            min_properties: count("minProperties"),
            max_properties: count("maxProperties"),
            required: schema
                .get("required")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
        }
    }
}
