//! Values of custom resources as CEL sees them: typed by the schema.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube_cel::cel::objects::{Key, Map};
use kube_cel::cel::{Context, Value as CelValue};
use serde_json::{Number, Value};

use super::expression::Expression;
use super::node::{Node, ValueType};

/// Words of CEL that cannot be field names.
const RESERVED_WORDS: [&str; 21] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
];

/// A value of which the schema says nothing.
static ANYTHING: LazyLock<Node> = LazyLock::new(Node::default);

static TIMESTAMP: LazyLock<Expression> = LazyLock::new(|| conversion("timestamp(text)"));
static DURATION: LazyLock<Expression> = LazyLock::new(|| conversion("duration(text)"));

fn conversion(expression: &str) -> Expression {
    Expression::parse(expression).expect("a call with one argument is valid CEL")
}

/// A value as an expression sees it. Numbers of type `number` are doubles even if they
/// are whole; dates, durations and bytes get their own types. With `only`, the value has no
/// other fields than these, named as expressions name them. `functions` is a context with
/// the functions of CEL.
pub(super) fn to_cel(
    node: &Node,
    value: &Value,
    only: Option<&BTreeSet<&str>>,
    functions: &Context<'_>,
) -> CelValue {
    match value {
        Value::Null => CelValue::Null,
        Value::Bool(flag) => CelValue::Bool(*flag),
        Value::Number(number) => number_to_cel(number, node.value_type),
        Value::String(text) => string_to_cel(node, text, functions),
        Value::Array(items) => {
            let item_node = node.items.as_deref().unwrap_or(&ANYTHING);
            let items = items
                .iter()
                .map(|item| to_cel(item_node, item, None, functions));
            CelValue::List(Arc::new(items.collect()))
        }
        Value::Object(fields) => {
            let is_map = node.additional_properties.is_some();
            let mut map: HashMap<Key, CelValue> = HashMap::new();
            for (name, value) in fields {
                let key = if is_map { name.clone() } else { escape(name) };
                if only.is_none_or(|only| only.contains(key.as_str())) {
                    let field = node.field(name).unwrap_or(&ANYTHING);
                    let value = to_cel(field, value, None, functions);
                    map.insert(Key::String(Arc::new(key)), value);
                }
            }
            CelValue::Map(Map { map: Arc::new(map) })
        }
    }
}

fn number_to_cel(number: &Number, value_type: Option<ValueType>) -> CelValue {
    let as_double = CelValue::Float(number.as_f64().unwrap_or(f64::NAN));
    if value_type == Some(ValueType::Number) {
        return as_double;
    }
    number.as_i64().map_or(as_double, CelValue::Int)
}

fn string_to_cel(node: &Node, text: &str, functions: &Context<'_>) -> CelValue {
    let plain = || CelValue::String(Arc::new(text.to_owned()));
    if node.int_or_string {
        return plain();
    }
    let converted = match node.limits.format.as_deref() {
        Some("date-time") => convert(&TIMESTAMP, text, functions),
        Some("date") => convert(&TIMESTAMP, &format!("{text}T00:00:00Z"), functions),
        Some("duration") => convert(&DURATION, text, functions),
        Some("byte") => STANDARD
            .decode(text)
            .ok()
            .map(|bytes| CelValue::Bytes(Arc::new(bytes))),
        _ => None,
    };
    converted.unwrap_or_else(plain)
}

/// Lets CEL itself read a text as a timestamp or duration.
fn convert(expression: &Expression, text: &str, functions: &Context<'_>) -> Option<CelValue> {
    let mut context = functions.new_inner_scope();
    context.add_variable_from_value("text", text.to_owned());
    expression.evaluate(&context).ok()
}

/// A field name as expressions have to write it.
pub(super) fn escape(name: &str) -> String {
    if RESERVED_WORDS.contains(&name) {
        return format!("__{name}__");
    }
    if !name.contains(['.', '-', '/']) && !name.contains("__") {
        return name.to_owned();
    }
    name.replace("__", "__underscores__")
        .replace('.', "__dot__")
        .replace('-', "__dash__")
        .replace('/', "__slash__")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cel_cannot_write_are_escaped() {
        for (name, escaped) in [
            ("replicas", "replicas"),
            ("max_size", "max_size"),
            ("namespace", "__namespace__"),
            ("a.b-c/d", "a__dot__b__dash__c__slash__d"),
            ("a__b", "a__underscores__b"),
        ] {
            assert_eq!(escape(name), escaped);
        }
    }
}
