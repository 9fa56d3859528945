//! An object against a schema, as strictly as an API server: no field that the kind does not have, the
//! right types, nothing missing.
//!
//! Texts that are encrypted, or that still have variables, may be anything.

use std::sync::OnceLock;

use serde_json::{Map, Value as Json};

use crate::build::Object;
use crate::pattern;
use crate::source::Location;
use crate::yaml::{Node, Value};

use super::kubernetes;
use super::values::EMPTY_IS_UNSET;

/// What an API server would refuse.
#[derive(Debug)]
pub struct Problem {
    /// The field.
    pub at: Location,
    /// What is wrong with it.
    pub message: String,
}

/// What every object has, and what its schema need not name.
const ROOT: [&str; 5] = ["apiVersion", "kind", "metadata", "status", "sops"];

/// Types of Kubernetes that take more than their schemas say: a quantity may be a number, and parts of
/// a schema are of several kinds.
const ANYTHING: [&str; 6] = [
    ".Quantity",
    ".JSON",
    ".JSONSchemaPropsOrArray",
    ".JSONSchemaPropsOrBool",
    ".JSONSchemaPropsOrStringArray",
    ".RawExtension",
];

/// What is wrong with an object.
pub fn object(object: &Object, schema: &Json) -> Vec<Problem> {
    let mut validator = Validator {
        root: schema,
        problems: Vec::new(),
    };
    validator.fields(&object.node, schema, &ROOT, "");
    let mut problems = validator.problems;
    if object.is("", "Secret") {
        problems
            .iter_mut()
            .for_each(|problem| hide_value(object, problem));
    }
    if let Some(metadata) = object.node.get("metadata") {
        let schema = metadata_schema();
        let mut validator = Validator {
            root: schema,
            problems: Vec::new(),
        };
        validator.value(metadata, schema, "metadata");
        problems.extend(validator.problems);
    }
    problems
}

/// A finding shows its line: in a Secret, it must not be the one with the value.
fn hide_value(secret: &Object, problem: &mut Problem) {
    for field in ["data", "stringData"]
        .iter()
        .filter_map(|key| secret.node.field(key))
    {
        let node = &field.node;
        let is_in_it = node.at.file == problem.at.file
            && (node.at.start..=node.at.end).contains(&problem.at.start);
        if is_in_it {
            problem.at = field.key_at;
        }
    }
}

fn metadata_schema() -> &'static Json {
    static SCHEMA: OnceLock<Json> = OnceLock::new();
    SCHEMA.get_or_init(kubernetes::metadata)
}

struct Validator<'a> {
    /// Where references begin.
    root: &'a Json,
    problems: Vec<Problem>,
}

impl<'a> Validator<'a> {
    fn report(&mut self, at: Location, message: String) {
        self.problems.push(Problem { at, message });
    }

    /// Checks a value. `path` is how people name it.
    fn value(&mut self, node: &Node, schema: &'a Json, path: &str) {
        let Some(schema) = self.resolve(schema) else {
            return;
        };
        if node.is_null() || is_unknown(node) {
            return;
        }
        let at = node.at;
        if let Some(message) = wrong_type(node, schema) {
            self.report(at, format!("`{path}` {message}"));
            return;
        }
        if let Some(message) = wrong_value(node, schema) {
            self.report(at, format!("`{path}` {message}"));
        }
        match &node.value {
            Value::Mapping(_) => self.fields(node, schema, &[], path),
            Value::Sequence(items) => {
                if let Some(of_items) = schema.get("items") {
                    for (index, item) in items.iter().enumerate() {
                        self.value(item, of_items, &format!("{path}[{index}]"));
                    }
                }
            }
            _ => {}
        }
    }

    fn fields(&mut self, node: &Node, schema: &'a Json, ignored: &[&str], path: &str) {
        let empty = Map::new();
        let properties = schema.get("properties").and_then(Json::as_object);
        let additional = schema
            .get("additionalProperties")
            .filter(|more| more.is_object());
        let is_open = properties.is_none()
            || additional.is_some()
            || schema.get("additionalProperties") == Some(&Json::Bool(true))
            || is_true(schema, "x-kubernetes-preserve-unknown-fields")
            || is_true(schema, "x-kubernetes-embedded-resource");
        for field in node.fields() {
            let key = &*field.key;
            if ignored.contains(&key) {
                continue;
            }
            let name = join(path, key);
            match properties.and_then(|known| known.get(key)).or(additional) {
                Some(schema) => self.value(&field.node, schema, &name),
                None if is_open || key.contains("${") => {}
                None => {
                    let message = match nearest(key, properties.unwrap_or(&empty)) {
                        Some(near) => format!("there is no field `{name}`; there is `{near}`"),
                        None => format!("there is no field `{name}`"),
                    };
                    self.report(field.key_at, message);
                }
            }
        }
        let required = schema.get("required").and_then(Json::as_array);
        for key in required.into_iter().flatten().filter_map(Json::as_str) {
            let is_missing = node.get(key).is_none_or(Node::is_null);
            if is_missing && !ignored.contains(&key) {
                let at = node.fields().first().map_or(node.at, |field| field.key_at);
                self.report(at, format!("the field `{}` is missing", join(path, key)));
            }
        }
    }

    /// Follows references. None for what may be anything.
    fn resolve(&self, schema: &'a Json) -> Option<&'a Json> {
        let mut schema = schema;
        // A circle of references has no end of its own.
        for _ in 0..32 {
            let Some(reference) = schema.get("$ref").and_then(Json::as_str) else {
                return Some(schema);
            };
            if ANYTHING.iter().any(|name| reference.ends_with(name)) {
                return None;
            }
            schema = self.root.pointer(reference.strip_prefix('#')?)?;
        }
        None
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

fn is_true(schema: &Json, key: &str) -> bool {
    schema.get(key) == Some(&Json::Bool(true))
}

/// Texts whose value is not to be seen here.
fn is_unknown(node: &Node) -> bool {
    let text = node.text().unwrap_or_default();
    text.contains("${") || text.starts_with("ENC[")
}

fn wrong_type(node: &Node, schema: &Json) -> Option<String> {
    let is_int_or_string = is_true(schema, "x-kubernetes-int-or-string")
        || schema.get("format").and_then(Json::as_str) == Some("int-or-string");
    let wanted: Vec<&str> = match schema.get("type")? {
        _ if is_int_or_string => vec!["integer", "string"],
        Json::String(wanted) => vec![wanted],
        Json::Array(several) => several.iter().filter_map(Json::as_str).collect(),
        _ => return None,
    };
    let is = match &node.value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if node.to_json().is_i64() || node.to_json().is_u64() => "integer",
        Value::Number(_) => "number",
        Value::Text(_) => "string",
        Value::Sequence(_) => "array",
        Value::Mapping(_) => "object",
    };
    let fits = wanted.contains(&is) || is == "integer" && wanted.contains(&"number");
    let quotes = if wanted == ["string"] && !matches!(is, "array" | "object") {
        "; put it in quotes"
    } else {
        ""
    };
    (!fits).then(|| {
        format!(
            "is {}, and {} is wanted{quotes}",
            article(is),
            article(wanted[0])
        )
    })
}

fn article(kind: &str) -> String {
    match kind {
        "array" => "a list".to_owned(),
        "boolean" => "true or false".to_owned(),
        "integer" => "a whole number".to_owned(),
        "object" => "a mapping".to_owned(),
        "string" => "a text".to_owned(),
        other => format!("a {other}"),
    }
}

fn wrong_value(node: &Node, schema: &Json) -> Option<String> {
    if let Some(values) = schema.get("enum").and_then(Json::as_array) {
        if node.text() == Some("") && is_true(schema, EMPTY_IS_UNSET) {
            return None;
        }
        let value = node.to_json();
        let known: Vec<String> = values.iter().map(ToString::to_string).collect();
        return (!values.contains(&value)).then(|| format!("must be one of {}", known.join(", ")));
    }
    let number = node.to_json().as_f64();
    let bound = |key: &str| schema.get(key).and_then(Json::as_f64);
    if let (Some(number), Some(least)) = (number, bound("minimum"))
        && number < least
    {
        return Some(format!("must be {least} or more"));
    }
    if let (Some(number), Some(most)) = (number, bound("maximum"))
        && number > most
    {
        return Some(format!("must be {most} or less"));
    }
    let text = node.text()?;
    let length = |key: &str| schema.get(key).and_then(Json::as_u64);
    if length("maxLength").is_some_and(|most| text.chars().count() as u64 > most) {
        return Some("is too long".to_owned());
    }
    if length("minLength").is_some_and(|least| (text.chars().count() as u64) < least) {
        return Some("is too short".to_owned());
    }
    let pattern = schema.get("pattern").and_then(Json::as_str)?;
    let is_match = pattern::compile(pattern)?.is_match(text);
    (!is_match).then(|| format!("does not match the pattern {pattern}"))
}

/// The field that was probably meant: one with another case, or with one letter more, less or changed.
fn nearest<'a>(key: &str, properties: &'a Map<String, Json>) -> Option<&'a str> {
    let mut names = properties.keys().map(String::as_str);
    names.find(|name| name.eq_ignore_ascii_case(key) || is_one_letter_off(key, name))
}

fn is_one_letter_off(a: &str, b: &str) -> bool {
    let start = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a.as_bytes()[start..], &b.as_bytes()[start..]);
    match a.len().abs_diff(b.len()) {
        0 => {
            let differing: Vec<_> = a.iter().zip(b).filter(|(a, b)| a != b).collect();
            differing.len() == 1
                || differing.len() == 2 && a.len() >= 2 && (a[0], a[1]) == (b[1], b[0])
        }
        1 if a.len() > b.len() => a[1..] == *b,
        1 => b[1..] == *a,
        _ => false,
    }
}
