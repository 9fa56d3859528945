//! The shapes of the built-in types, compiled from the schemas that come with `k8s-openapi`.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::Value;

/// Where definitions point to each other.
const DEFINITIONS: &str = "#/components/schemas/";

/// What a value may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    Any,
    Text,
    Time,
    MicroTime,
    Base64,
    Integer,
    Number,
    Boolean,
    IntOrString,
    Quantity,
    List(Box<Shape>),
    Map(Box<Shape>),
    Object(String),
}

/// The fields of an object type.
#[derive(Debug, Default)]
pub struct Fields {
    /// Shapes by name.
    pub shapes: BTreeMap<String, Shape>,
    /// Those that are written out even if they are empty.
    pub required: BTreeSet<String>,
}

/// All object types that are reachable from one.
#[derive(Debug)]
pub struct Shapes {
    /// The type of the object itself.
    pub root: String,
    /// Fields by type.
    pub types: BTreeMap<String, Fields>,
}

/// OpenAPI definitions of a type and all that it refers to, by name; references are
/// `#/components/schemas/NAME`.
pub fn open_api_definitions<T: JsonSchema + ?Sized>() -> BTreeMap<String, Value> {
    let settings =
        SchemaSettings::draft2020_12().with(|s| s.definitions_path = "/components/schemas".into());
    let mut generator: SchemaGenerator = settings.into_generator();
    generator.subschema_for::<T>();
    generator.take_definitions(false).into_iter().collect()
}

impl Shapes {
    /// Compiles the type and all that it refers to.
    pub fn compile(root: &str, definitions: &BTreeMap<String, Value>) -> Self {
        let types = definitions
            .iter()
            .filter(|(_, definition)| definition["properties"].is_object())
            .map(|(name, definition)| (name.clone(), fields(definition)))
            .collect();
        Self {
            root: root.to_owned(),
            types,
        }
    }

    /// The fields of a type; none if it has no fixed fields.
    pub fn fields(&self, name: &str) -> Option<&Fields> {
        self.types.get(name)
    }
}

fn fields(definition: &Value) -> Fields {
    let properties = definition["properties"].as_object().into_iter().flatten();
    let required = definition["required"].as_array().into_iter().flatten();
    Fields {
        shapes: properties
            .map(|(name, schema)| (name.clone(), shape(schema)))
            .collect(),
        required: required
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
    }
}

fn shape(schema: &Value) -> Shape {
    if let Some(name) = schema["$ref"]
        .as_str()
        .and_then(|r| r.strip_prefix(DEFINITIONS))
    {
        return named(name);
    }
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("string"), Some("byte")) => Shape::Base64,
        (Some("string"), _) => Shape::Text,
        (Some("integer"), _) => Shape::Integer,
        (Some("number"), _) => Shape::Number,
        (Some("boolean"), _) => Shape::Boolean,
        (Some("array"), _) => Shape::List(Box::new(shape(&schema["items"]))),
        (Some("object"), _) if schema["additionalProperties"].is_object() => {
            Shape::Map(Box::new(shape(&schema["additionalProperties"])))
        }
        _ => Shape::Any,
    }
}

fn named(name: &str) -> Shape {
    match name.rsplit('.').next().unwrap_or_default() {
        "IntOrString" => Shape::IntOrString,
        "Time" => Shape::Time,
        "MicroTime" => Shape::MicroTime,
        "Quantity" => Shape::Quantity,
        "FieldsV1"
        | "RawExtension"
        | "JSON"
        | "JSONSchemaPropsOrArray"
        | "JSONSchemaPropsOrBool"
        | "JSONSchemaPropsOrStringArray"
        | "CustomResourceSubresourceStatus" => Shape::Any,
        _ => Shape::Object(name.to_owned()),
    }
}
